"""Staging against a slow reading that is obviously right: generated history files, value for value."""

import datetime as dt
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gex_pipeline.feeds import Feed
from gex_pipeline.formats import history_file
from gex_pipeline.formats.history_file import PIECE_BYTES
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import StagedSummary, stage
from gex_pipeline.settings import Settings, load_settings

RECORDS = 3300
SPX = Partition(Feed("SPX", "gex_zero"), dt.date(2025, 11, 14))
OPENING = 1763130601
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
WHOLE = ("min_dte", "sec_min_dte")
NUMBERS = (
    "spot_price", "zero_gamma", "net_gex", "min_dte", "sec_min_dte", "major_pos_vol", "major_pos_oi",
    "major_neg_vol", "major_neg_oi", "sum_gex_vol", "sum_gex_oi", "delta_risk_reversal", "net_gex_vol", "net_gex_oi",
)  # fmt: skip
TEXTS = ("max_priors", "max_change")


# The reading


@dataclass(frozen=True)
class Number:
    """A JSON number, digit for digit."""

    text: str


@dataclass(frozen=True)
class Object:
    """A JSON object with its members in order, repeated ones too."""

    members: tuple[tuple[str, Any], ...]


class BadRecordError(Exception):
    """The record is bad because of the field."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Reading:
    """What a file holds.

    Attributes:
        snapshots: rows of the table, with `max_priors`, `max_change` and `extra` read as JSON.
        strikes: rows of the table.
        bad: position, name of the field and text of each bad record.
        first: text of the first record of each time, epoch milliseconds.
    """

    snapshots: list[dict[str, Any]] = field(default_factory=list)
    strikes: list[dict[str, Any]] = field(default_factory=list)
    bad: list[tuple[int, str, str]] = field(default_factory=list)
    first: dict[int, str] = field(default_factory=dict)
    duplicates: int = 0
    differing: int = 0


def reference_rows(records: list[str]) -> Reading:
    """Read the records of a file with nothing but Python's json."""
    reading = Reading()
    for position, text in enumerate(records):
        try:
            snapshot, strikes = read_record(text)
        except BadRecordError as bad:
            reading.bad.append((position, bad.name, text))
            continue
        moment = snapshot["timestamp"]
        if moment in reading.first:
            reading.duplicates += 1
            reading.differing += reading.first[moment] != text
            continue
        reading.first[moment] = text
        reading.snapshots.append(snapshot)
        key = {name: snapshot[name] for name in ("timestamp", "ticker", "endpoint")}
        reading.strikes += [key | strike for strike in strikes]
    return reading


def load(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(
        text,
        parse_int=Number,
        parse_float=Number,
        parse_constant=refuse,
        object_pairs_hook=lambda pairs: Object(tuple(pairs)),
    )


def read_record(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        record = load(text)
    except ValueError:
        raise BadRecordError("payload") from None
    if not isinstance(record, Object):
        raise BadRecordError("payload")
    row: dict[str, Any] = dict.fromkeys(("timestamp", "ticker", "endpoint", *NUMBERS, *TEXTS))
    extra: list[tuple[str, Any]] = []
    strikes: list[dict[str, Any]] = []
    for name, value in dict(record.members).items():
        column = "spot_price" if name == "spot" else name
        if column in NUMBERS:
            number = read_number(value, name, is_whole=column in WHOLE)
            if row[column] is None:
                row[column] = int(number) if number is not None and column in WHOLE else number
            else:
                extra.append((name, value))
        elif name == "strikes":
            strikes = read_strikes(value)
            known = {"strike", "gamma_now", "gamma", "oi_gamma", "vanna", "history"}
            objects = [dict(strike.members) for strike in value or () if isinstance(strike, Object)]
            if any(
                named.keys() - known or None not in (named.get("gamma_now"), named.get("gamma")) for named in objects
            ):
                extra.append((name, value))
        elif name in {"endpoint", "category", "gex_type"} and row["endpoint"] is None:
            row["endpoint"] = read_endpoint(value)
        elif name in READ:
            row[name] = READ[name](value)
        else:
            extra.append((name, value))
    for name, is_bad in (
        ("timestamp", row["timestamp"] is None),
        ("spot", row["spot_price"] is None and not strikes),
        ("ticker", row["ticker"] not in {None, "SPX"}),
        ("endpoint", row["endpoint"] not in {None, "gex_zero"}),
    ):
        if is_bad:
            raise BadRecordError(name)
    feed = {"ticker": "SPX", "endpoint": "gex_zero"}
    return row | feed | {"extra": Object(tuple(extra)) if extra else None}, strikes


def read_number(value: Any, name: str, *, is_whole: bool = False) -> float | None:
    if value is None:
        return None
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str) or not set(text) <= set("0123456789.+-eE"):
        raise BadRecordError(name)
    try:
        number = float(int(text)) if isinstance(value, Number) and text.lstrip("-").isdigit() else float(text)
    except (ValueError, OverflowError):
        raise BadRecordError(name) from None
    if not math.isfinite(number) or (is_whole and (number != int(number) or abs(number) >= 2**31)):
        raise BadRecordError(name)
    return number


def read_time(value: Any) -> int:
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str):
        raise BadRecordError("timestamp")
    try:
        if set(text.strip()) <= set("0123456789.+-eE"):
            number = Fraction(text.strip())
            milliseconds = round(number * 1000 if number < 10**11 else number)
        else:
            moment = dt.datetime.fromisoformat(text.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            milliseconds = (moment - EPOCH) // dt.timedelta(milliseconds=1)
    except ValueError:
        raise BadRecordError("timestamp") from None
    if not 946_684_800_000 <= milliseconds < 4_102_444_800_000:  # 2000 to 2100
        raise BadRecordError("timestamp")
    return milliseconds


def read_ticker(value: Any) -> str:
    return read_name(value, "ticker").upper()


def read_endpoint(value: Any) -> str | None:
    endpoint = None if value is None else read_name(value, "endpoint").lower()
    return f"gex_{endpoint}" if endpoint in {"zero", "one", "full"} else endpoint


def read_name(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip().replace("_", "").isalnum():
        raise BadRecordError(name)
    return value.strip()


def read_json(value: Any, name: str) -> Any:
    """Return JSON that was sent as it is or in a string, read; the string itself when it holds none."""
    if too_large(value):
        raise BadRecordError(name)
    if isinstance(value, str):
        try:
            held = load(value)
        except ValueError:
            return Held(value)
        return Held(value) if too_large(held) else Held(held)
    return None if value is None else Held(value)


@dataclass(frozen=True)
class Held:
    """What a column of JSON text holds, so that NULL and `null` differ."""

    value: Any


def too_large(value: Any) -> bool:
    """Tell whether a number in the value is infinite as a double."""
    if isinstance(value, Object):
        return any(too_large(member) for _, member in value.members)
    if isinstance(value, list):
        return any(map(too_large, value))
    return isinstance(value, Number) and not value.text.lstrip("-").isdigit() and math.isinf(float(value.text))


def read_strikes(ladder: Any) -> list[dict[str, Any]]:
    if too_large(ladder) or not isinstance(ladder, list | None):
        raise BadRecordError("strikes")
    rows = []
    for position, strike in enumerate(ladder or ()):
        path = f"strikes.{position}"
        values: list[Any]
        if isinstance(strike, list) and 2 <= len(strike) <= 4:
            values = [*strike, *[None] * (4 - len(strike)), None]
        elif isinstance(strike, Object) and "strike" in dict(strike.members):
            named = dict(strike.members)
            values = [named.get(name) for name in ("strike", "gamma_now", "oi_gamma", "history", "vanna")]
            values[1] = named.get("gamma") if values[1] is None else values[1]
        else:
            raise BadRecordError(path)
        level, gamma, oi_gamma, priors, vanna = values
        if level is None:
            raise BadRecordError(f"{path}.0")
        row: dict[str, Any] = {
            "strike": read_number(level, f"{path}.0"),
            "gamma": read_number(gamma, f"{path}.1"),
            "oi_gamma": read_number(oi_gamma, f"{path}.2"),
            "vanna": read_number(vanna, f"{path}.vanna"),
            "priors": None,
        }
        if isinstance(priors, list):
            row["priors"] = [read_number(prior, f"{path}.3.{index}") for index, prior in enumerate(priors)]
        elif priors is not None:
            raise BadRecordError(f"{path}.3")
        rows.append(row)
    return rows


READ: dict[str, Callable[[Any], Any]] = {
    "timestamp": read_time,
    "ticker": read_ticker,
    "max_priors": partial(read_json, name="max_priors"),
    "max_change": partial(read_json, name="max_change"),
}


# The files

# Numerals as they stand in JSON, then other values that mean a number or none, then what is no number.
NUMERALS = (
    "0", "-0", "-0.0", "1e3", "1E-2", "-2.5E+1", "0.1", "0.30000000000000004", "9007199254740993",
    "6712.950000000001", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "1" + "0" * 300, "5e-324", "1e-400", "2.2250738585072011e-308", "1.7976931348623157e308",
    "123456789.123456789123456789",
)  # fmt: skip
OTHER_VALUES = ("null", '"17"', '"-1.5e3"', '".5"', '"5."', '"+0"', '"-0"', '"1e-400"')
NO_NUMBERS = ("1e400", "9" * 400, '"1e400"', '"NaN"', '"x"', '""', '" 1"', '"1_0"', "true", "[1]", "{}", '"0x1"')
NO_JSON = ("NaN", "-Infinity", "01", "+1", ".5", "1.", "[1,]", "tru", "{oops}", "'x'")
MAXIMA = (
    "null", '"null"', "[]", "[7140, 1.10]", "[[7140,170979.742],[7135,-0]]", '"[[7140, 1.10]]"', '" [1]"', '"[1,"',
    '""', '"none"', '"[1e400]"', "[1e400]", '{"one":[7140,2E+3],"one":1}', "5", '"NaN"',
    '"\\u005b1]"', '"\\"x\\""', "true",
)  # fmt: skip
UNKNOWN = (
    "1.10",
    "1e400",
    "null",
    '"\\u00e9\\n"',
    '"é, ] }"',
    "[1, 2E+3, [ ]]",
    '{"spot":1,"spot":2}',
    '"["',
    "9" * 30,
)
ODD_NAMES = {
    "spot": '"\\u0073pot"',
    "strikes": '"strike\\u0073"',
    "timestamp": '"time\\u0073tamp"',
    "ticker": '"tick\\u0065r"',
}
VENDOR_NUMBERS = (
    "min_dte", "sec_min_dte", "spot", "zero_gamma", "major_pos_vol", "major_pos_oi", "major_neg_vol", "major_neg_oi",
)  # fmt: skip


class Writer:
    """Writes records of which each is odd in the ways that are named; what is chosen follows from `random` alone."""

    def __init__(self, random: Random, blanks: tuple[str, ...]) -> None:
        self._random = random
        self._blanks = blanks

    def record(self, position: int, strikes: int, oddities: frozenset[str]) -> str:
        self._oddities = oddities
        # Records that differ from the vendor's in one value only, and such that differ everywhere.
        self._density = self._random.choice([0.05, 0.3, 1])
        if self._is("no JSON at all", 0.3):
            return self._random.choice(
                ["{oops}", '{"timestamp":}', "5", "null", '[{"spot":1}]', '"x"', "{}", "{1:2}"]
            )
        members = {"timestamp": self._time(position), "ticker": '"SPX"'}
        members |= {name: self._number(name) for name in VENDOR_NUMBERS}
        members["strikes"] = self._list([self._strike() for _ in range(strikes)])
        members |= {name: self._number(name) for name in ("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal")}
        members["max_priors"] = self._list([self._list([self._number(), self._number()]) for _ in range(6)])
        if self._is("values", self._density):
            members["max_priors"] = self._random.choice(MAXIMA)
        if self._is("bad", 0.1):
            members["ticker"] = self._random.choice(['"NDX"', "null", "5", '""'])
        if self._is("bad", 0.1):
            members["min_dte"] = self._random.choice(["1.5", "2147483648", "-2147483648", '"1.5"', "1E-1"])
        pairs = list(members.items())
        if "fields" in oddities:
            pairs = self._other_fields(pairs)
        if self._is("bad", 0.2):
            pairs.append((self._random.choice(["note", "spot"]), self._random.choice(NO_JSON)))
        blank = self._blank
        return (
            "{"
            + ",".join(f"{blank()}{self._name(name)}{blank()}:{blank()}{value}{blank()}" for name, value in pairs)
            + "}"
        )

    def _is(self, oddity: str, share: float) -> bool:
        return oddity in self._oddities and self._random.random() < share

    def _blank(self) -> str:
        return self._random.choice(self._blanks)

    def _list(self, values: list[str]) -> str:
        return "[" + ",".join(f"{self._blank()}{value}{self._blank()}" for value in values) + "]"

    def _name(self, name: str) -> str:
        return ODD_NAMES[name] if name in ODD_NAMES and self._is("fields", 0.1) else json.dumps(name)

    def _number(self, name: str = "") -> str:
        random = self._random
        if self._is("bad", 0.01):
            return random.choice(NO_NUMBERS)
        if self._is("values", 0.3 * self._density):
            return random.choice(OTHER_VALUES)
        if name in WHOLE:
            return (
                random.choice(["1", "1.0", "2147483647", "1E1", "-0"]) if self._is("numerals", self._density) else "1"
            )
        if self._is("numerals", self._density):
            return random.choice(NUMERALS)
        return random.choice([str(random.randint(-9999, 9999)), str(round(random.uniform(-9999, 9999), 2))])

    def _strike(self) -> str:
        level, gamma, oi_gamma = self._number(), self._number(), self._number()
        level = "6730.25" if level == "null" else level
        priors = self._list([self._number() for _ in range(5)])
        if self._is("bad", 0.03):
            return self._random.choice(
                ["[]", "[1]", "5", "null", "[null,1]", "[1,2,3,4]", "[1,2,3,[],5]", '{"gamma":1}']
            )
        if not self._is("shapes", self._density):
            return self._list([level, gamma, oi_gamma, priors])
        some = self._list([self._number() for _ in range(self._random.choice([0, 1, 2, 4, 6]))])
        arrays = (
            [level, gamma],
            [level, gamma, oi_gamma],
            [level, gamma, oi_gamma, some],
            [level, gamma, oi_gamma, "null"],
        )
        if self._random.random() < 0.6:
            return self._list(self._random.choice(arrays))
        fields = [
            ("gamma_now", self._random.choice([gamma, "null"])),
            ("gamma", self._number()),
            ("oi_gamma", oi_gamma),
            ("vanna", self._number()),
        ]
        fields += [("history", self._random.choice([priors, some, "null"])), ("charm", "0.5"), ("gamma", gamma)]
        chosen = [("strike", level), *self._random.sample(fields, self._random.randint(0, 5))]
        self._random.shuffle(chosen)
        return "{" + ",".join(f'{self._blank()}"{name}":{value}' for name, value in chosen) + "}"

    def _time(self, position: int) -> str:
        seconds = OPENING + position
        if "times" not in self._oddities:
            return str(seconds)
        if self._is("bad", 0.1):
            return self._random.choice(
                ["null", "0", "1e400", '"yesterday"', "true", "99999999999", '"1763130602412000"']
            )
        seconds -= self._random.choice([0, 0, 1, 2, 30])
        thousandths = self._random.choice([0, 0, 412, 999])
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=thousandths * 1000)
        return self._random.choice(
            [
                f"{seconds}.{thousandths:03}",
                f"{seconds}.4127",
                f"{seconds}{thousandths:03}",
                f'" {seconds}{thousandths:03}"',
                f"{seconds / 1e9:.9f}e9",
                json.dumps(moment.isoformat()),
                json.dumps(moment.replace(tzinfo=None).isoformat(" ")),
                json.dumps(moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
                json.dumps(moment.astimezone(dt.timezone(dt.timedelta(hours=-5))).isoformat()),
            ]
        )

    def _other_fields(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Leave out, repeat, move and add fields."""
        random = self._random
        pairs = [pair for pair in pairs if pair[0] == "timestamp" or random.random() > 0.2 * self._density]
        if random.random() < 0.2 * self._density:
            random.shuffle(pairs)
        tickers = ['"SPX"', '"spx"', '" SPX "'] + (['"NDX"', "null", "5", '""'] if self._is("bad", 0.3) else [])
        endpoints = ['"gex_zero"', '"ZERO"', '"zero"', "null"] + (['"one"', "0"] if self._is("bad", 0.3) else [])
        offered = [
            ("ticker", random.choice(tickers)),
            ("endpoint", random.choice(endpoints)),
            ("category", random.choice(endpoints)),
            ("gex_type", random.choice(endpoints)),
            ("spot_price", self._number()),
            ("spot", self._number()),
            ("net_gex", self._number()),
            ("net_gex_vol", self._number()),
            ("max_priors", random.choice(MAXIMA)),
            ("max_change", random.choice(MAXIMA)),
            ("strikes", random.choice(["[]", "null", self._list([self._strike()])])),
            *((name, random.choice(UNKNOWN)) for name in ("vix", "rows", "é", "")),
        ]
        if self._is("bad", 0.2):
            offered += [
                ("min_dte", random.choice(["1.5", "2147483648", '"1.5"'])),
                ("strikes", random.choice(["{}", '"x"'])),
            ]
        for pair in random.sample(offered, random.randint(0, 5)):
            pairs.insert(random.choice([0, len(pairs), random.randint(0, len(pairs))]), pair)
        return pairs


ODDITIES = ("numerals", "values", "shapes", "times", "fields", "bad", "no JSON at all")


@dataclass(frozen=True)
class Plan:
    """How to write a file: its layout, and of each record the seed, ladder size, oddities, or that it repeats one."""

    layout: str
    records: list[tuple[int, int, frozenset[str], bool]]


record_plans = st.tuples(
    st.integers(0, 2**32),
    st.integers(0, 12),
    st.just(frozenset[str]()) | st.frozensets(st.sampled_from(ODDITIES), max_size=4),
    st.sampled_from([False] * 9 + [True]),
)
plans = st.builds(
    Plan,
    st.sampled_from(["array", "lines", "wrapper"]),
    st.integers(1, 40).flatmap(lambda size: st.lists(record_plans, min_size=size, max_size=size)),
)


def write_records(plan: Plan) -> list[str]:
    blanks = ("", "", " ") if plan.layout == "lines" else ("", "", "", " ", "\n\t", "\r\n")
    records: list[str] = []
    for position, (seed, strikes, oddities, repeats) in enumerate(plan.records):
        random = Random(seed)
        if repeats and records:
            records.append(random.choice(records))
            continue
        is_blank = random.random() < 0.3
        # What opens a file of lines has to be a record for the file to be taken as one.
        is_plain = plan.layout == "lines" and position == 0
        writer = Writer(random, blanks if is_blank else ("",))
        records.append(writer.record(position, strikes, frozenset() if is_plain else oddities))
    return records


def write_document(layout: str, records: list[str]) -> bytes:
    if layout == "lines":
        return "".join(f"{record}\n" for record in records).encode()
    array = f"[{','.join(records)}]"
    return (f'{{"results":{array},"next":null}}' if layout == "wrapper" else array).encode()


# The comparison


def staged_rows(settings: Settings, table: Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(SPX.staged(settings, table)).to_pylist()
    for row in rows:
        if table == "strikes":
            row.setdefault("vanna", None)  # may be left out where no strike has one
            continue
        assert row.pop("source") == "history"
        row["extra"] = None if row["extra"] is None else load(row["extra"])
        row |= {name: None if row[name] is None else Held(load(row[name])) for name in TEXTS}
    return rows


def told_apart(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as texts in which 1 and 1.0, 0.0 and -0.0 differ."""
    return [repr(sorted(row.items())) for row in rows]


def assert_staged_as_read(
    folder: Path, content: bytes, records: list[str], piece_bytes: int = PIECE_BYTES
) -> tuple[StagedSummary, Reading]:
    settings = load_settings(data_dir=folder)
    path = SPX.source(settings).with_suffix(".json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    source = find_unrecorded_source(settings, SPX)
    assert source is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_file, "PIECE_BYTES", piece_bytes)
        summary = stage(settings, SPX, source)
    reading = reference_rows(records)

    assert told_apart(staged_rows(settings, "snapshots")) == told_apart(reading.snapshots)
    assert told_apart(staged_rows(settings, "strikes")) == told_apart(reading.strikes)
    assert (summary.records, summary.snapshots, summary.strikes, summary.bad) == (
        len(records), len(reading.snapshots), len(reading.strikes), len(reading.bad)
    )  # fmt: skip
    assert (summary.duplicates, summary.duplicates_differing) == (reading.duplicates, reading.differing)
    assert (summary.first_ms, summary.last_ms) == (
        min(reading.first, default=None), max(reading.first, default=None)
    )  # fmt: skip
    quarantined = Path(summary.quarantine).read_text().splitlines() if summary.quarantine else []
    assert [
        (bad["position"], bad["reason"].partition(":")[0], bad["record"].strip())
        for bad in map(json.loads, quarantined)
    ] == reading.bad
    return summary, reading


@hypothesis.settings(max_examples=100, deadline=None)
@given(plan=plans, piece_bytes=st.sampled_from([PIECE_BYTES, 2_000, 200, 1]))
def test_a_file_is_staged_as_the_slow_reading_reads_it(
    plan: Plan, piece_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = write_records(plan)
    content = write_document(plan.layout, records)
    hypothesis.note(content.decode())
    assert_staged_as_read(tmp_path_factory.mktemp("file"), content, records, piece_bytes)


def test_a_file_of_several_pieces_is_staged_as_the_slow_reading_reads_it(tmp_path: Path) -> None:
    random = Random(7)
    odd = [frozenset({name}) for name in ODDITIES] + [frozenset(ODDITIES[:5]), frozenset(ODDITIES)]
    plan = Plan(
        "array",
        [
            (
                random.getrandbits(32),
                random.choice([0, 1, 1, 2, 3]),
                random.choice(odd) if random.random() < 0.3 else frozenset(),
                random.random() < 0.02,
            )
            for _ in range(RECORDS)
        ],
    )
    records = write_records(plan)
    content = write_document("array", records)
    summary, reading = assert_staged_as_read(tmp_path / "data", content, records, len(content) // 12)
    # The file has something of everything, or the comparison says little.
    assert summary.snapshots > RECORDS // 2
    assert min(summary.bad, summary.duplicates_differing, summary.duplicates - summary.duplicates_differing) > 3
    for table, names in ((reading.snapshots, ("extra", *TEXTS)), (reading.strikes, ("vanna",))):
        assert all(any(row[name] is not None for row in table) for name in names)
