"""Generated GexBot sessions: a trading day of classic snapshots, the same bytes for the same `Session`."""

import datetime as dt
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from gex_pipeline.feeds import Feed

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Damage: TypeAlias = Callable[[int, bytes], bytes]
Layout: TypeAlias = Literal["array", "lines", "wrapped"]

_NEW_YORK = ZoneInfo("America/New_York")
_CLOSE, _HALF_DAY_CLOSE = dt.time(16), dt.time(13)
_PRIOR_LAGS_SECONDS = (60, 300, 600, 900, 1800)
_FUTURES_MAPPED = frozenset({"NQ_NDX", "ES_SPX"})
_FUTURES_BASIS = 7.21
# Ticker: (usual price, distance between strikes).
_MARKETS = {"SPX": (7140, 5), "ES_SPX": (7140, 5), "NDX": (25190, 10), "NQ_NDX": (25190, 10)}
_OTHER_MARKET = (600, 1)
# numpy works on whole blocks, while memory stays at one block and thirty minutes of any session.
_BLOCK_SNAPSHOTS = 1_000
# Layout: what stands before, between and after the records.
_LAYOUTS: dict[Layout, tuple[bytes, bytes, bytes]] = {
    "array": (b"[", b",", b"]"),
    "lines": (b"", b"\n", b"\n"),
    "wrapped": (b'{"data":[', b",", b"]}"),
}


@dataclass(frozen=True, kw_only=True)
class Session:
    """One feed's trading day.

    Attributes:
        feed: ticker and endpoint. The ticker sets the price level; feed, date and seed set the random numbers.
        date: trading day, New York.
        snapshots: how many are wanted, 0 or more; those that would come after the close are left out.
        strikes: size of the ladder, 2 or more.
        first_at: New York time of the opening snapshot. From 09:30:01, 23,400 snapshots end at 16:00:00 sharp.
        cadence_seconds: seconds between snapshots, 1 or more; timestamps are rounded down to whole seconds.
        half_day: closes at 13:00 New York instead of 16:00.
        fractional: strikes carry a futures basis, 25197.21; None means for NQ_NDX and ES_SPX only.
        gaps: (index, seconds) pairs: snapshot `index` and all after it come that many seconds later.
        duplicates: indexes of the snapshots that a file holds twice in a row.
        seed: 0 or more; another seed is another market.

    Raises:
        ValueError: a number is outside the bounds above.
    """

    feed: Feed
    date: dt.date
    snapshots: int = 23_400
    strikes: int = 100
    first_at: dt.time = dt.time(9, 30, 1)
    cadence_seconds: float = 1.0
    half_day: bool = False
    fractional: bool | None = None
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what would leave no ladder or timestamps that do not increase."""
        if self.snapshots < 0 or self.strikes < 2 or self.cadence_seconds < 1 or self.seed < 0:
            raise ValueError(f"need snapshots >= 0, strikes >= 2, cadence_seconds >= 1 and seed >= 0, got {self}")
        if any(index < 0 or seconds < 0 for index, seconds in self.gaps):
            raise ValueError(f"need gaps as (index, seconds), both 0 or more, got {self.gaps}")


def write_history_file(
    path: Path,
    session: Session,
    *,
    layout: Layout = "array",
    gzip: bool = False,
    damage: Damage | None = None,
) -> int:
    """Write the session as compact JSON and return the number of records written, duplicates counted.

    Args:
        path: appears only once it is whole; an existing file is replaced.
        session: what to write.
        layout: a JSON array, JSON lines, or the array inside `{"data": [...]}`.
        gzip: compress, with no time or name in the header, so that equal sessions make equal files.
        damage: called with a snapshot's index and JSON, returns the bytes to write instead.
    """
    before, between, after = _LAYOUTS[layout]
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    try:
        with (
            partial.open("wb") as plain,
            GzipFile("", "wb", 1, plain, mtime=0) if gzip else nullcontext(plain) as file,
        ):
            file.write(before)
            for count, record in enumerate(_records(session, damage), start=1):
                file.write(record if count == 1 else between + record)
            file.write(after)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _records(session: Session, damage: Damage | None) -> Iterator[bytes]:
    """Yield each record's JSON as the file will hold it, duplicates right after their originals."""
    encode = msgspec.json.Encoder().encode
    duplicates = frozenset(session.duplicates)
    for index, snapshot in enumerate(snapshots(session)):
        record = encode(snapshot)
        if damage is not None:
            record = damage(index, record)
        yield record
        if index in duplicates:
            yield record


def snapshots(session: Session) -> Iterator[dict[str, object]]:
    """Yield the session's GexBot classic snapshots in order, each once: duplicates are a matter of files.

    `timestamp` is in epoch seconds. Each strike is `[strike, gex by volume, gex by open interest, priors]`; its
    priors are its gex by volume 1, 5, 10, 15 and 30 minutes ago, or at the opening where that is later.
    `max_priors` pairs the strike of the highest gex by volume with the value, now and at those five times.
    """
    entropy = (session.seed, session.date.toordinal(), zlib.crc32(session.feed.key.encode()))
    price_rng, zero_rng, reversal_rng, volume_rng, oi_rng = np.random.default_rng(entropy).spawn(5)
    timestamps = _timestamps(session)
    count = len(timestamps)
    ladder = _ladder(session, price_rng)
    weights = 20 + 400 * np.exp(-np.square(np.linspace(-2.5, 2.5, session.strikes)))
    zero_gamma = _price_walk(zero_rng, ladder, count)
    zero_gamma[:1] = 0

    strikes = _numbers(ladder)
    past: dict[int, _Column] = {}
    oldest = 0
    for index, (timestamp, spot, zero, reversal, prior_indexes, by_volume, by_oi) in enumerate(
        zip(
            timestamps.tolist(),
            _numbers(_price_walk(price_rng, ladder, count)),
            _numbers(zero_gamma),
            _numbers(np.round(reversal_rng.normal(0, 0.1, count), 3)),
            _prior_indexes(timestamps).tolist(),
            _columns(volume_rng, weights, count),
            _columns(oi_rng, weights, count),
            strict=True,
        )
    ):
        past[index] = by_volume
        priors = [past[prior_index] for prior_index in prior_indexes]
        while oldest < prior_indexes[-1]:
            del past[oldest]
            oldest += 1
        yield {
            "timestamp": timestamp,
            "ticker": session.feed.ticker,
            "min_dte": 0,
            "sec_min_dte": 1,
            "spot": spot,
            "zero_gamma": zero,
            "major_pos_vol": strikes[by_volume.highest],
            "major_pos_oi": strikes[by_oi.highest],
            "major_neg_vol": strikes[by_volume.lowest],
            "major_neg_oi": strikes[by_oi.lowest],
            "strikes": [
                [strike, volume, oi, list(values)]
                for strike, volume, oi, values in zip(
                    strikes, by_volume.gex, by_oi.gex, zip(*(prior.gex for prior in priors), strict=True), strict=True
                )
            ],
            "sum_gex_vol": by_volume.total,
            "sum_gex_oi": by_oi.total,
            "delta_risk_reversal": reversal,
            "max_priors": [[strikes[then.highest], then.gex[then.highest]] for then in (by_volume, *priors)],
        }


class _Column(NamedTuple):
    """One snapshot's gex by strike, its sum, and the positions of its extremes in the ladder."""

    gex: list[int | float]
    total: int | float
    highest: int
    lowest: int


def _columns(rng: np.random.Generator, weights: Floats, count: int) -> Iterator[_Column]:
    """Yield `count` columns of a random walk per strike, its size given by the strike's weight.

    As in real ladders most of the gex is negative below the middle and positive above it.
    """
    tilt = np.tanh(np.linspace(-3, 3, len(weights)))
    level = rng.normal(tilt * weights, weights / 3)
    for start in range(0, count, _BLOCK_SNAPSHOTS):
        steps = rng.normal(0, weights / 100, (min(_BLOCK_SNAPSHOTS, count - start), len(weights)))
        steps[0] += level
        walk = steps.cumsum(axis=0)
        level = walk[-1]
        gex = np.round(walk, 2)
        totals = np.round(gex.sum(axis=1), 3)
        extremes = gex.argmax(axis=1).tolist(), gex.argmin(axis=1).tolist()
        yield from map(_Column, _numbers(gex), _numbers(totals), *extremes)


def _numbers(values: Floats) -> list[Any]:
    """Turn an array into lists of Python numbers of its shape; whole numbers become int, as GexBot writes them."""
    whole = values == np.trunc(values)
    numbers = values.astype(object)
    numbers[whole] = values[whole].astype(np.int64)
    rows: list[Any] = numbers.tolist()
    return rows


def _timestamps(session: Session) -> Integers:
    """Epoch seconds of the snapshots, strictly increasing, none after the close."""
    opening, close = (
        int(dt.datetime.combine(session.date, time, _NEW_YORK).timestamp())
        for time in (session.first_at, _HALF_DAY_CLOSE if session.half_day else _CLOSE)
    )
    elapsed = np.floor(np.arange(session.snapshots) * session.cadence_seconds)
    timestamps: Integers = opening + elapsed.astype(np.int64)
    for index, seconds in session.gaps:
        timestamps[index:] += seconds
    return timestamps[timestamps <= close]


def _prior_indexes(timestamps: Integers) -> Integers:
    """For each snapshot, the indexes of the latest ones at least each prior's lag ago; the first if there is none.

    Shape: (snapshots, 5).
    """
    times_ago = timestamps[:, np.newaxis] - np.array(_PRIOR_LAGS_SECONDS)
    latest: Integers = np.searchsorted(timestamps, times_ago, side="right") - 1
    return latest.clip(min=0)


def _ladder(session: Session, rng: np.random.Generator) -> Floats:
    """Ascending strikes around the day's opening price."""
    usual_price, distance = _MARKETS.get(session.feed.ticker, _OTHER_MARKET)
    middle = round(usual_price * rng.normal(1, 0.01) / distance)
    lowest = max(1, middle - session.strikes // 2)
    fractional = session.feed.ticker in _FUTURES_MAPPED if session.fractional is None else session.fractional
    basis = _FUTURES_BASIS if fractional else 0
    return np.round(distance * np.arange(lowest, lowest + session.strikes) + basis, 2)


def _price_walk(rng: np.random.Generator, ladder: Floats, count: int) -> Floats:
    """Prices to two decimals, a random walk from the middle of the ladder that turns back at its ends."""
    highest = ladder[-1]
    width = highest - ladder[0]
    walk = width / 2 + np.cumsum(rng.normal(0, highest * 6e-5, count))
    prices: Floats = highest - np.abs(walk % (2 * width) - width)
    return np.round(prices, 2)
