"""Which history files there are among files and folders, and of which partition each is."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gex_pipeline.errors import PermanentError
from gex_pipeline.feeds import DEFAULT_ENDPOINT, Feed, HistoryName, read_date, read_history_name
from gex_pipeline.history.paths import Partition
from gex_pipeline.trading_days import FIRST_DAY, is_trading_day

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True)
class Candidate:
    """A file and the partition that its name, or a flag, says it is of."""

    path: Path
    partition: Partition


def find_candidates(
    paths: Sequence[Path], given: HistoryName
) -> tuple[list[Candidate], list[tuple[Path, PermanentError]]]:
    """Find the history files, the earliest day first, and those that have no partition with the reason.

    Args:
        paths: files, and folders that are searched with all theirs.
        given: what the flags say; it wins over the names.
    """
    candidates, refused = [], []
    found = sorted({file for named in paths for file in _files(named)})
    for path in {path.parent.resolve() / path.name: path for path in found}.values():
        try:
            candidates.append(Candidate(path, _partition_of(path, given)))
        except PermanentError as error:
            refused.append((path, error))
    return sorted(candidates, key=lambda each: (each.partition.date, each.partition.feed, each.path)), refused


def _files(path: Path) -> Iterable[Path]:
    with suppress(OSError):  # the path is then refused with the reason
        if path.is_dir():
            return (file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
    return (path,)


def _partition_of(path: Path, given: HistoryName) -> Partition:
    try:
        is_file = path.is_file()
    except OSError as error:
        raise PermanentError(f"it cannot be looked at: {error.strerror}") from error
    if not is_file:
        raise PermanentError("there is no such file")
    is_history = path.name.endswith(SUFFIXES)
    named = read_history_name(path.name) if is_history else HistoryName(None, None, read_date(path.name))
    ticker, date = given.ticker or named.ticker, given.date or named.date
    if ticker is None or date is None:
        missing = [flag for flag, value in (("--ticker", ticker), ("--date", date)) if value is None]
        raise PermanentError(f"its name does not say what it is of; give {' and '.join(missing)}")
    if date < FIRST_DAY or not is_trading_day(date):
        raise PermanentError(f"{date} is not an NYSE trading day since {FIRST_DAY}")
    return Partition(Feed(ticker, given.endpoint or named.endpoint or DEFAULT_ENDPOINT), date)
