"""The tables of docs/formats.md: every example is staged, checked and imported, and ends as its row says."""

import gzip
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from gex_pipeline.errors import PermanentError
from gex_pipeline.feeds import Feed
from gex_pipeline.history.download import find_unrecorded_source
from gex_pipeline.history.importing import import_staged
from gex_pipeline.history.judging import require_sound
from gex_pipeline.history.paths import Partition
from gex_pipeline.history.staging import StagedSummary, stage
from gex_pipeline.settings import load_settings
from gex_pipeline.storage.lease import fetch_row, lease
from gex_pipeline.storage.schema import TABLES, ensure_schema

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
SPX = Partition(Feed("SPX", "gex_zero"), date(2025, 11, 14))
OTHER_DAY = Partition(Feed("SPX", "gex_zero"), date(2025, 11, 13))
FIRST, ODD, LAST = 1763130601, 1763130602, 1763164800  # 09:30:01, 09:30:02 and 19:00 New York
PRIORS = [1.0, 2.0, 3.0, 4.0, 5.0]
USUAL: dict[str, str] = {
    "timestamp": str(ODD),
    "ticker": '"SPX"',
    "spot": "6734.25",
    "strikes": "[[6730,-228.01,-86.9,[1,2,3,4,5]]]",
}
USUAL_ROW: dict[str, Any] = dict.fromkeys(TABLES["gex_snapshots"]) | {
    "timestamp": ODD * 1000,
    "ticker": "SPX",
    "endpoint": "gex_zero",
    "spot_price": 6734.25,
    "source": "history",
}
USUAL_STRIKE = (6730.0, -228.01, -86.9, None, PRIORS)
SPOTS = {"A": 1.5, "A'": 2.5, "B": 3.5}
SECONDS = {"A": FIRST, "A'": FIRST, "B": LAST}
FILLING = 998  # one bad record besides these and A and B is under 0.1 %
LAST_LINEAGE = """SELECT status, records_imported, records_present, records_differing
                  FROM data_lineage ORDER BY import_id DESC LIMIT 1"""


@dataclass(frozen=True)
class Loaded:
    """The odd record becomes this row and these strikes; what is not named is as in an ordinary record."""

    row: dict[str, Any] = field(default_factory=dict)
    strikes: list[Any] = field(default_factory=lambda: [USUAL_STRIKE])
    outcome = "loaded"


@dataclass(frozen=True)
class LoadedFile:
    """Of the file these records are stored; staging and the lineage count as told."""

    stored: tuple[str, ...] = ("A", "B")
    staged: dict[str, int] = field(default_factory=dict)
    lineage: tuple[str, int, int, int] | None = None
    outcome = "loaded"


@dataclass(frozen=True)
class Quarantined:
    """The record is put aside with a reason that matches; this many records of the file are stored."""

    reason: str
    stored: int = FILLING + 2
    outcome = "quarantined"


@dataclass(frozen=True)
class Refused:
    """The error matches."""

    error: str
    outcome = "refused"


Case = Loaded | LoadedFile | Quarantined | Refused

SHORT_AND_LONG = [(6730, 1, 2, None, [1.5, 2.5]), (6735, 1, 2, None, [1, 2, 3, 4, 5, 6])]
ALL_SHAPES = [
    (25197.21, 1, 2, None, [3, 4, 5, 6, 7]),
    (25200.5, None, None, None, None),
    (25205, 1, None, None, None),
]
CASES: dict[str, Case] = {
    # Documents
    "an array": LoadedFile(),
    "JSON lines": LoadedFile(),
    "a wrapper": LoadedFile(),
    "a wrapper that says more": LoadedFile(),
    "a single record": LoadedFile(("A",)),
    "a byte-order mark": LoadedFile(),
    "gzip, whatever the name says": LoadedFile(),
    "plain JSON named as gzip": LoadedFile(),
    "no records": Refused("0 snapshots"),
    "an empty file": Refused(r"is empty; download it again|a JSON array, JSON lines or an object was expected"),
    "a wrapper with two lists": Refused("more than one list of records"),
    "a wrapper under another name": Refused("1 of 1 records are bad"),
    "something else": Refused("a JSON array, JSON lines or an object was expected"),
    # Times
    "epoch seconds": Loaded(),
    "epoch milliseconds, fractions of a second": Loaded({"timestamp": ODD * 1000 + 412}),
    "ISO 8601": Loaded({"timestamp": ODD * 1000 + 412}),
    "ISO 8601 without a zone": Loaded({"timestamp": ODD * 1000 + 412}),
    "before the opening or after the close": Loaded({"timestamp": 1763161200000}),
    "no time": Quarantined("^timestamp: got (nothing|None), expected epoch seconds"),
    "a time that is none, or not between 2000 and 2100": Quarantined("^timestamp: .* between 2000 and 2100"),
    "a time on another day": Refused("1 on another day"),
    # Tickers and endpoints
    "a ticker in another spelling": Loaded(),
    "no ticker": Loaded(),
    "no endpoint": Loaded(),
    "an endpoint by an alias, under any of its names": Loaded(),
    "two endpoints": Loaded({"extra": '{"endpoint":"gex_full"}'}),
    "another ticker, or none by that name": Quarantined("^ticker: got (NDX|None|5|../SPX), expected"),
    "another endpoint, or none by that name": Quarantined("^endpoint: got (gex_one|gex_full|0), expected"),
    "a file of another ticker": Refused("2 of 2 records are bad"),
    # Numbers
    "a number": Loaded({"zero_gamma": 6712.5}),
    "a numeral in a string": Loaded({"zero_gamma": 6712.5}),
    "null, or no such field": Loaded(),
    "more digits than a double has": Loaded({"sum_gex_vol": 9007199254740992.0}),
    "a whole number of days, however it is written": Loaded({"min_dte": 1}),
    "spot under its other name": Loaded(),
    "spot under both names": Loaded({"extra": '{"spot_price":6735}'}),
    "no spot, but strikes": Loaded({"spot_price": None}),
    "no spot and no strikes": Quarantined("^spot: got nothing, expected a spot price, strikes, or both"),
    "NaN, infinity": Quarantined("^payload: got .*, expected a JSON object"),
    "the same in a string, a number too large": Quarantined("^zero_gamma: got (NaN|Infinity|1e400|inf), expected"),
    "a string that is no plain numeral": Quarantined("^zero_gamma: got .*, expected a finite number"),
    "a wrong type": Quarantined("^zero_gamma: got (True|{}|.*6712.5.*), expected a finite number"),
    "a fraction of a day, or too many days": Quarantined("^min_dte: got (1.5|2147483648), expected a whole number"),
    # Strikes
    "an array of 4": Loaded(),
    "an array of 3": Loaded(strikes=[(6730, -228.01, -86.9, None, None)]),
    "an array of 2": Loaded(strikes=[(6730, -228.01, None, None, None)]),
    "an object": Loaded(strikes=[(6730, -228.01, -86.9, 0.5, PRIORS)]),
    "an object that says more": Loaded(
        {"extra": '{"strikes":[{"strike":6730,"gamma":-228.01,"charm":0.1}]}'},
        [(6730, -228.01, None, None, None)],
    ),
    "all shapes in one ladder": Loaded(strikes=ALL_SHAPES),
    "a strike without values": Loaded(strikes=[(6730, None, None, None, None)]),
    "strikes in any order, a strike twice": Loaded(
        strikes=[(6735, 1, 2, None, None), (6730, 3, 4, None, None), (6735, 5, 6, None, None)]
    ),
    "no strikes": Loaded(strikes=[]),
    "a strike of another shape": Quarantined(
        r"^strikes\.0: got .*, expected \[strike, gamma, oi gamma, \[priors\]\]"
    ),
    "a strike without a price, a value that is no number": Quarantined(r"^strikes(\.0\.[01])?: got .*, expected"),
    "strikes that are no list": Quarantined("^strikes: got .*, expected a list of strikes"),
    # Priors
    "fewer than five, or more": Loaded(strikes=SHORT_AND_LONG),
    "an empty list": Loaded(strikes=[(6730, 1, 2, None, [])]),
    "none": Loaded(strikes=[(6730, 1, 2, None, None)]),
    "a null among them": Loaded(strikes=[(6730, 1, 2, None, [1, None, 3, 4, 5])]),
    "no list, or a value that is no number": Quarantined(r"^strikes\.0\.3(\.1)?: got .*, expected"),
    # Other fields
    "maxima as pairs": Loaded({"max_priors": "[[7140,170979.742],[7135,2E+3]]"}),
    "maxima flat, or as a JSON string": Loaded({"max_priors": "[7140, 1.10]"}),
    "maxima of windows": Loaded({"max_change": '{"one":[7140, 1.10]}'}),
    "no maxima": Loaded(),
    "maxima as a string that is not JSON": Loaded({"max_priors": '"none yet"'}),
    "unknown fields": Loaded({"extra": '{"vix":17.10,"greeks":{"a":[1E+3, null]},"big":1e400}'}),
    "a key twice in one object": Loaded({"zero_gamma": 6712.5}),
    "bytes that are not UTF-8, half of an escaped character": Quarantined("^(note|payload): got .*, expected"),
    # Repeated and conflicting records
    "a record twice": LoadedFile(staged={"records": 3, "duplicates": 1, "duplicates_differing": 0}),
    "a time twice, with other values": LoadedFile(staged={"records": 3, "duplicates": 1, "duplicates_differing": 1}),
    "the same file again": LoadedFile(lineage=("unchanged", 0, 2, 0)),
    "another file with other values": LoadedFile(lineage=("imported", 0, 2, 1)),
    "records out of order": Refused("1 not increasing"),
    # Damage
    "a record that is not JSON": Quarantined("^payload: got *{oops}, expected a JSON object"),
    "a record that is no object": Quarantined("^payload: got .*, expected a JSON object .*Expected `object`"),
    "a line that is cut off, with more after it": Quarantined('^payload: got {"spot":1, expected a JSON object'),
    "more than 0.1 % of the records bad": Refused("2 of 1,002 records are bad"),
    "a comma too many": LoadedFile(),
    "a file cut off": Refused("ends in the middle|not a whole gzip file|does not end after its array"),
    "JSON lines cut off between two lines": LoadedFile(),
    "a record in an array that does not end": Refused("ends in the middle"),
    "more after the end": Refused("more after the end of the array|does not end after its array"),
    "records over several lines without an array": Refused("not valid JSON"),
}


# The page


@dataclass(frozen=True)
class Row:
    """One row of the page: its examples are written in Markdown, each by itself."""

    group: str
    examples: tuple[str, ...]
    outcome: str


def rows_of_page() -> Iterator[tuple[str, Row]]:
    for section in PAGE.split("\n## ")[1:]:
        group, _, text = section.partition("\n")
        for line in text.splitlines():
            if line.startswith("| ") and not line.startswith(("| what arrives", "| ---")):
                what, example, outcome, _becomes = (cell.strip() for cell in line.strip("|").split("|"))
                yield what, Row(group, tuple(re.split(r" or (?=`|no |every )", example)), outcome)


ROWS = dict(rows_of_page())


def test_every_row_has_a_case_and_every_case_a_row_with_the_same_outcome() -> None:
    assert [what for what, _ in rows_of_page()] == list(CASES)
    assert {what: row.outcome for what, row in ROWS.items()} == {what: case.outcome for what, case in CASES.items()}


# What an example stands for


def record(name: str) -> str:
    return f'{{"timestamp":{SECONDS[name]},"ticker":"SPX","spot":{SPOTS[name]},"strikes":[[1,2,3,[4,5,6,7,8]]]}}'


@cache
def filling(separator: str) -> str:
    return separator.join(f'{{"timestamp":{FIRST + 60 + index},"spot":4.5}}' for index in range(FILLING))


def document(example: str) -> bytes:
    """Write out a whole file."""
    if packed := re.fullmatch(r"(half of )?gzip\((.*)\)", example):
        content = gzip.compress(document(packed[2]))
        return content[: len(content) // 2] if packed[1] else content
    text = example.replace("⏎", "\n")
    text = re.sub(r"\b(A'|A|B)(?!\w)", lambda found: record(found[1]), text)
    text = text.replace("…", filling("\n" if "⏎" in example else ","))
    parts = re.split("⟨(..)⟩", text)
    return b"".join(bytes.fromhex(part) if index % 2 else part.encode() for index, part in enumerate(parts))


def odd_record(example: str) -> str:
    """Write out an ordinary record that says what the example says."""
    dropped = re.findall(r"\bno `(\w+)`", example)
    members = [span for span in re.findall("`([^`]+)`", example) if span not in dropped]
    named = set(re.findall(r'"(\w+)":', ",".join(members))).union(dropped)
    return "{" + ",".join([f'"{name}":{USUAL[name]}' for name in USUAL if name not in named] + members) + "}"


def files(group: str, example: str, outcome: str) -> list[tuple[str, bytes]]:
    """Return the files that an example imports one after the other, each with the end of its name."""
    spans = re.findall("`([^`]+)`", example)
    if example == "no bytes":
        return [(".json", b"")]
    if example.startswith("every record"):
        other = odd_record(f"`{spans[0]}`")
        return [(".json", f"[{other}, {other.replace(str(ODD), str(LAST))}]".encode())]
    if group not in {"Documents", "Repeated and conflicting records", "Damage"}:
        many = "…, " if outcome == "quarantined" else ""
        before, after = document("[A, "), document(f", {many}B]")
        return [(".json", before + document(odd_record(example)) + after)]
    if "named" in example:
        return [(spans[1], document(spans[0]))]
    return [(".json", document(span)) for span in spans]


# What becomes of it


class Stored(NamedTuple):
    """What the database has of the day, and the last line of its lineage: status, imported, present, differing."""

    snapshots: list[dict[str, Any]]
    strikes: list[dict[str, Any]]
    lineage: tuple[Any, ...]


class World:
    """A data folder whose database already has another day."""

    def __init__(self, folder: Path, filled: Path) -> None:
        self.settings = load_settings(data_dir=folder)
        folder.mkdir(exist_ok=True)
        shutil.copy(filled, self.settings.database_path)

    def import_file(self, content: bytes, ending: str = ".json", partition: Partition = SPX) -> StagedSummary:
        """Take a file the way a run of the job does."""
        base = partition.source(self.settings)
        path = base.with_name(base.name + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        source = find_unrecorded_source(self.settings, partition)
        assert source is not None
        assert source.path == path
        summary = stage(self.settings, partition, source)
        require_sound(self.settings, partition)
        import_staged(self.settings, partition, run_id=None)
        return summary

    def look(self) -> "Stored":
        with lease(self.settings.database_path, purpose="look", read_only=True) as connection:

            def rows(table: str, order: str) -> list[dict[str, Any]]:
                found = connection.execute(f"FROM {table} WHERE timestamp > {FIRST * 1000 - 1} ORDER BY {order}")
                columns = [column[0] for column in found.description or []]
                return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

            lineage = fetch_row(connection, LAST_LINEAGE)
            assert lineage is not None
            return Stored(rows("gex_snapshots", "timestamp"), rows("gex_strikes", "rowid"), lineage)

    def quarantined(self) -> list[dict[str, Any]]:
        files = self.settings.quarantine_dir.rglob("*.jsonl")
        return [msgspec.json.decode(line) for path in files for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with another day in it."""
    folder = tmp_path_factory.mktemp("filled")
    database = load_settings(data_dir=folder).database_path
    with lease(database, purpose="test") as connection:
        ensure_schema(connection)
    day_before = document("[A]").replace(str(FIRST).encode(), str(FIRST - 86_400).encode())
    world = World(folder / "world", database)
    world.import_file(day_before, partition=OTHER_DAY)
    return world.settings.database_path


@pytest.mark.parametrize(
    ("what", "example"), [(what, example) for what, row in ROWS.items() for example in row.examples]
)
def test_an_example_ends_as_its_row_says(what: str, example: str, tmp_path: Path, filled: Path) -> None:
    world = World(tmp_path, filled)
    row, case = ROWS[what], CASES[what]
    *earlier, (ending, content) = files(row.group, example, row.outcome)
    for earlier_ending, earlier_content in earlier:
        world.import_file(earlier_content, earlier_ending)
    if isinstance(case, Refused):
        before = world.settings.database_path.read_bytes()
        with pytest.raises(PermanentError, match=case.error):
            world.import_file(content, ending)
        assert world.settings.database_path.read_bytes() == before
        return
    summary = world.import_file(content, ending)
    stored, quarantined = world.look(), world.quarantined()
    observed = [(snapshot["timestamp"], snapshot["spot_price"]) for snapshot in stored.snapshots]
    if isinstance(case, Quarantined):
        (bad,) = quarantined
        assert re.search(case.reason, bad["reason"])
        assert bad["position"] == 1
        assert len(observed) == len(set(observed)) == case.stored == summary.records - 1
        assert {observed[0], observed[-1]} == {(SECONDS[name] * 1000, SPOTS[name]) for name in "AB"}
        return
    assert quarantined == []
    if isinstance(case, LoadedFile):
        assert observed == [(SECONDS[name] * 1000, SPOTS[name]) for name in case.stored]
        assert asdict(summary) | case.staged == asdict(summary)
        assert stored.lineage == (case.lineage or ("imported", len(case.stored), 0, 0))
        return
    first, odd, last = stored.snapshots
    expected = USUAL_ROW | case.row
    assert odd | {"import_id": None} == expected
    assert [
        tuple(strike[name] for name in ("strike", "gamma", "oi_gamma", "vanna", "priors"))
        for strike in stored.strikes
        if strike["timestamp"] == expected["timestamp"]
    ] == case.strikes
    assert (first["spot_price"], last["spot_price"]) == (SPOTS["A"], SPOTS["B"])
