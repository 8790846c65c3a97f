"""The files that are imported: `python -m gex_pipeline.bench.session_files DAY [FOURFOLD]` writes them."""

import datetime as dt
import gzip
import re
import sys
from pathlib import Path

from gex_pipeline.bench.turns import BenchmarkError, say
from gex_pipeline.demo.sessions import Session, write_history_file
from gex_pipeline.feeds import Feed, HistoryName, normalise_ticker, read_history_name
from gex_pipeline.formats.history_file import is_gzip
from gex_pipeline.history.candidates import find_candidates
from gex_pipeline.history.paths import Partition
from gex_pipeline.trading_days import new_york_time

FULL_SESSION = Session(feed=Feed("NQ_NDX", "gex_zero"), date=dt.date(2025, 11, 14))
DAY_NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
_HEAD_BYTES = 1 << 16
_TICKER = re.compile(rb'"ticker"\s*:\s*"([^"]+)"')
_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"?(\d{10})')


def write_fourfold(day: Path, target: Path) -> None:
    """Write a generated file with each of its snapshots four times, a quarter of a second apart."""
    between = b'},{"timestamp":'
    records = day.read_bytes().removeprefix(b'[{"timestamp":').removesuffix(b"}]").split(between)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        before = b'[{"timestamp":'
        for record in records:
            seconds, _, rest = record.partition(b",")
            for quarter in range(4):
                file.write(b"%s%s%03d,%s" % (before, seconds, 250 * quarter, rest))
                before = between
        file.write(b"}]")


def partition_of(file: Path) -> Partition:
    """Return of which feed and day a file is, by its name and, where that is silent, its first record.

    Raises:
        BenchmarkError: neither says it, or the day is no trading day.
    """
    named = read_history_name(file.name)
    try:
        with gzip.open(file) if is_gzip(file) else file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError as error:
        raise BenchmarkError(f"{file} cannot be read: {error.strerror or error}") from error
    ticker, timestamp = _TICKER.search(head), _TIMESTAMP.search(head)
    given = HistoryName(
        named.ticker or (normalise_ticker(ticker[1].decode()) if ticker else None),
        named.endpoint,
        named.date or (new_york_time(int(timestamp[1]) * 1000).date() if timestamp else None),
    )
    candidates, refused = find_candidates([file], given)
    if refused:
        raise BenchmarkError(f"{file} cannot be measured: {refused[0][1]}")
    return candidates[0].partition


def main() -> None:
    """Write a full session's file and, when a second path is given, the fourfold one."""
    day = Path(sys.argv[1])
    write_history_file(day, FULL_SESSION)
    for fourfold in sys.argv[2:]:
        write_fourfold(day, Path(fourfold))
    say(day.stat().st_size)


if __name__ == "__main__":
    main()
