"""Random snapshots of a day read from the raw history file again, and compared with the database and Parquet."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from gex_pipeline.audit.plain_reading import TEXTS, BadRecordError, Held, Object, load, read_record
from gex_pipeline.audit.raw_records import sample_records
from gex_pipeline.formats.columns import SNAPSHOTS_SCHEMA, STRIKES_SCHEMA
from gex_pipeline.history.download import SourceFile, find_source
from gex_pipeline.history.importing import LEASE_TIMEOUT_SECONDS
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.staging import mapped
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease, quoted
from gex_pipeline.storage.lineage import import_ids
from gex_pipeline.storage.snapshots import as_read_back, rows_sql
from gex_pipeline.trading_days import new_york_time

SCHEMAS: dict[Table, pa.Schema] = {"snapshots": SNAPSHOTS_SCHEMA, "strikes": STRIKES_SCHEMA}
_JSON_COLUMNS = (*TEXTS, "extra")

Row = dict[str, Any]
# The rows of each timestamp, epoch milliseconds UTC.
Rows = Mapping[int, Sequence[Row]]


@dataclass(frozen=True)
class SpotCheck:
    """What came of it.

    Attributes:
        compared: snapshots that were compared value for value, with their ladders.
        differences: what is not as the file says, in a line each.
        skipped: why nothing could be compared; empty when something was.
    """

    compared: int = 0
    differences: tuple[str, ...] = field(default_factory=tuple)
    skipped: str = ""


def check_spots(
    settings: Settings, partition: Partition, imported: Collection[str], samples: int, random_numbers: random.Random
) -> SpotCheck:
    """Compare random snapshots of the history file in place with the database and, where it is, with Parquet.

    What was recorded before the file came stays as it was recorded, so of that only the presence is checked.

    Args:
        settings: where everything is.
        partition: which day of which feed.
        imported: the SHA-256 of the files that were imported.
        samples: how many snapshots.
        random_numbers: choose them.

    Raises:
        GexError, OSError, duckdb.Error, pyarrow.ArrowException: the file, the database or Parquet cannot be read.
    """
    source = find_source(settings, partition)
    if source is None:
        return _without_source(settings, partition)
    if source.sha256 not in imported:
        return SpotCheck(skipped=f"{source.path.name} was not imported")
    with mapped(source, settings.staging_path) as document:
        records = sample_records(document, samples, random_numbers)
    expected: dict[Table, dict[int, list[Row]]] = {"snapshots": {}, "strikes": {}}
    for moment, record in records.items():
        try:
            snapshot, ladder = read_record(record, partition.feed)
        except BadRecordError:
            continue  # in quarantine
        key = {name: snapshot[name] for name in ("timestamp", "ticker", "endpoint")}
        expected["snapshots"][moment] = [snapshot]
        expected["strikes"][moment] = [key | strike for strike in ladder]
    if not expected["snapshots"]:
        return SpotCheck(skipped=f"{source.path.name} has no snapshots")
    return _compare(settings, partition, source, expected)


def _without_source(settings: Settings, partition: Partition) -> SpotCheck:
    base = partition.source(settings)
    marks = list(base.parent.glob(f"{base.name}.json*.sha256"))
    for mark in marks:
        if mark.with_suffix("").exists():
            return SpotCheck(differences=(f"{mark.stem} is not what its recorded SHA-256 says",))
    return SpotCheck(skipped="its history file is not in data/source")


def _compare(
    settings: Settings, partition: Partition, source: SourceFile, expected: Mapping[Table, dict[int, list[Row]]]
) -> SpotCheck:
    moments = list(expected["snapshots"])
    differences: list[str] = []
    with lease(
        settings.database_path,
        purpose=f"spot-check {partition.key}",
        timeout_seconds=LEASE_TIMEOUT_SECONDS,
        read_only=True,
    ) as connection:
        brought = import_ids(connection, partition.feed, partition.date, source.sha256)
        compared: set[int] = set()
        for table, wanted in expected.items():
            as_stored = _read_back(connection, table, wanted)
            stored = _stored(connection, partition, table, moments)
            if table == "snapshots":
                differences += [f"{_clock(each)}: not in the database" for each in moments if each not in stored]
                compared = {moment for moment, rows in stored.items() if rows[0]["import_id"] in brought}
            places = {"the database": stored, "Parquet": _published(connection, settings, partition, table, moments)}
            differences += [
                each
                for place, rows in places.items()
                for moment in sorted(compared)
                if rows is not None
                for each in _differences(place, moment, as_stored.get(moment, []), rows.get(moment, []))
            ]
    return SpotCheck(len(compared), tuple(differences))


def _read_back(connection: duckdb.DuckDBPyConnection, table: Table, wanted: Mapping[int, list[Row]]) -> Rows:
    """Return expected rows as the types of the user's columns give them back."""
    schema = SCHEMAS[table]
    plain = [
        {name: None if name in _JSON_COLUMNS else row[name] for name in schema.names}
        for rows in wanted.values()
        for row in rows
    ]
    connection.register("expected", pa.Table.from_pylist(plain, schema=schema))
    try:
        relation = as_read_back(connection, f"gex_{table}", tuple(schema.names), "expected")
        found = _by_time(connection.execute(f"FROM {relation}"))
    finally:
        connection.unregister("expected")
    if table == "snapshots":
        for moment, [row] in found.items():
            row |= {name: wanted[moment][0][name] for name in _JSON_COLUMNS}
    return found


def _stored(
    connection: duckdb.DuckDBPyConnection, partition: Partition, table: Table, moments: Sequence[int]
) -> Rows:
    rows = rows_sql(connection, f"gex_{table}", (*SCHEMAS[table].names, "import_id"))
    feed = partition.feed
    return _with_json_read(
        connection.execute(
            f"{rows} WHERE timestamp IN ({', '.join(map(str, moments))}) "
            f"AND ticker = ? AND coalesce(gex_{table}.endpoint, 'gex_zero') = ?",
            [feed.ticker, feed.endpoint],
        )
    )


def _published(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    partition: Partition,
    table: Table,
    moments: Sequence[int],
) -> Rows | None:
    """Return the rows of the Parquet file; None when there is none that can be read, which has a check of its own."""
    path = partition.published(settings, table)
    try:
        found = connection.execute(
            f"FROM read_parquet('{quoted(path)}') WHERE timestamp IN ({', '.join(map(str, moments))})"
        )
        return _with_json_read(found)
    except duckdb.Error:
        return None


def _with_json_read(found: duckdb.DuckDBPyConnection) -> Rows:
    """Return rows by time with their JSON texts read, as the plain reading reads them."""
    rows = _by_time(found)
    for row in (row for each in rows.values() for row in each if "extra" in row):
        for name in _JSON_COLUMNS:
            if row[name] is not None:
                row[name] = load(row[name]) if name == "extra" else Held(load(row[name]))
    return rows


def _by_time(found: duckdb.DuckDBPyConnection) -> dict[int, list[Row]]:
    names = [column[0] for column in found.description or []]
    rows: defaultdict[int, list[Row]] = defaultdict(list)
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        rows[row["timestamp"]].append(row)
    return rows


def _differences(place: str, moment: int, expected: Sequence[Row], found: Sequence[Row]) -> Iterator[str]:
    """Yield in which columns rows of one time are not as expected; a column that one side lacks is no matter."""
    if len(found) != len(expected):
        yield f"{_clock(moment)}: {len(found)} rows in {place}, {len(expected)} in the file"
        return
    for wanted, row in zip(sorted(expected, key=_in_ladder), sorted(found, key=_in_ladder), strict=True):
        where = f"{_clock(moment)} strike {wanted['strike']:g}" if "strike" in wanted else _clock(moment)
        for name in wanted.keys() & row.keys():
            if row[name] != wanted[name]:
                yield f"{where} {name}: {_shown(row[name])} in {place}, {_shown(wanted[name])} in the file"


def _in_ladder(row: Row) -> tuple[float, str]:
    """Order the rows of a ladder, also those of which there are two with the same strike."""
    return row.get("strike", 0.0), repr((row.get("gamma"), row.get("oi_gamma")))


def _shown(value: object) -> str:
    return "other JSON" if isinstance(value, Held | Object) else str(value)


def _clock(moment: int) -> str:
    return f"{new_york_time(moment):%H:%M:%S}"
