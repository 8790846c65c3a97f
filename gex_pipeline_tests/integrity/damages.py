"""Kinds of damage to a day: to its file, to what was captured live, or to what a step left behind."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline_tests.integrity.days import STEP_SECONDS, Records, Row, Step, records_of

# 26 November 2025, the eve of Thanksgiving; the days before it are whole. The 28th closes at 13:00.
DATE, HALF_DAY = dt.date(2025, 11, 26), dt.date(2025, 11, 28)
NOON = 150  # of a day's 390 snapshots


@dataclass(frozen=True)
class Damage:
    """What is done to a day that is well otherwise.

    Attributes:
        file: makes the file's records of those of a whole day.
        live: makes what is captured live of them; nothing is by default.
        after: by the name of a step, what is done to what it left behind.
    """

    file: Callable[[Records], Records] = lambda records: records
    live: Callable[[Records], Records] = lambda _: []
    after: dict[str, Step] = field(default_factory=dict)
    date: dt.date = DATE


def at(change: Callable[[Row], Row], *positions: int) -> Damage:
    """Change some of the file's records."""
    chosen = frozenset(positions or {NOON})
    return Damage(
        lambda records: [
            record | change(record) if index in chosen else record for index, record in enumerate(records)
        ]
    )


def everywhere(change: Callable[[Row], Row]) -> Damage:
    return Damage(lambda records: [record | change(record) for record in records])


def without(name: str, position: int = NOON) -> Damage:
    def leave_out(records: Records) -> Records:
        del records[position][name]
        return records

    return Damage(leave_out)


def later(record: Row, seconds: float) -> Row:
    return record | {"timestamp": record["timestamp"] + seconds}


def strikes(change: Callable[[list[Any]], list[Any]]) -> Callable[[Row], Row]:
    return lambda record: {"strikes": change([list(strike) for strike in record["strikes"]])}


def scaled(column: int, factor: float) -> Callable[[Row], Row]:
    def change(ladder: list[Any]) -> list[Any]:
        for strike in ladder:
            strike[column] *= factor
        return ladder

    return strikes(change)


def with_first(**values: float) -> Callable[[Row], Row]:
    """Change values of a ladder's first strike."""
    columns = {"strike": 0, "gamma": 1, "oi_gamma": 2}

    def change(ladder: list[Any]) -> list[Any]:
        for name, value in values.items():
            ladder[0][columns[name]] = value
        return ladder

    return strikes(change)


def cut(ladder: list[Any]) -> list[Any]:
    """Leave a third of a ladder, around its middle, where the spot is."""
    return ladder[len(ladder) // 3 : 2 * len(ladder) // 3]


def exchanged(record: Row) -> Row:
    return strikes(lambda ladder: [[level, oi, vol, priors] for level, vol, oi, priors in ladder])(record)


def spot_off(records: Records) -> Records:
    """Move one spot by 6 %, in ladders with a strike far below and one far above."""
    for record in records:
        lowest, highest = record["strikes"][0][0], record["strikes"][-1][0]
        record["strikes"] = [[0.8 * lowest, 0, 0, []], *record["strikes"], [1.2 * highest, 0, 0, []]]
    records[NOON]["spot"] *= 1.06
    return records


def doubled(records: Records) -> Records:
    return [copy for record in records for copy in (record, later(record, STEP_SECONDS / 2))]


def rewritten(table: Table, change: Callable[[pa.Table], pa.Table], *, is_published: bool = False) -> Step:
    """Write a Parquet file anew with other rows, what staging noted in it kept."""

    def step(settings: Settings, partition: Partition) -> None:
        path = partition.published(settings, table) if is_published else partition.staged(settings, table)
        read, noted = pq.read_table(path), pq.read_metadata(path).metadata
        path.unlink()  # it may be the staged file under a second name
        pq.write_table(change(read).replace_schema_metadata(noted), path)

    return step


def sql(*statements: str) -> Step:
    def step(settings: Settings, _partition: Partition) -> None:
        with lease(settings.database_path, purpose="damage", timeout_seconds=10) as connection:
            for statement in statements:
                connection.execute(statement)

    return step


def cut_off(path: Path) -> None:
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])


def more_by_one(column: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = pc.add(table[column], pa.array([1.0] + [0.0] * (table.num_rows - 1)))
        return table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)

    return change


def orphaned(table: pa.Table) -> pa.Table:
    stray = table.slice(0, 1)
    return pa.concat_tables(
        [table, stray.set_column(0, "timestamp", pa.array([stray["timestamp"][0].as_py() - 500]))]
    )


LAST_STORED = "SELECT timestamp FROM gex_snapshots ORDER BY timestamp DESC LIMIT 1"

DAMAGES: dict[str, Damage] = {
    "records that cannot be read": at(lambda _: {"spot": "high"}),
    "records out of order": Damage(lambda records: [*records[1:], records[0]]),
    "one record of another day": Damage(lambda records: [*records, later(records[-1], 86_400)]),
    "another day's file": everywhere(lambda record: later(record, 86_400)),
    "another ticker's file": everywhere(lambda _: {"ticker": "NDX"}),
    "no records": Damage(lambda _: []),
    "a column of another type": Damage(
        after={
            "staged": rewritten(
                "snapshots", lambda table: table.set_column(3, "spot_price", table["spot_price"].cast(pa.string()))
            )
        }
    ),
    "strikes without a snapshot": Damage(after={"staged": rewritten("strikes", orphaned)}),
    "negative spots": everywhere(lambda record: {"spot": -record["spot"]}),
    "a strike of 0 in each ladder": everywhere(with_first(strike=0)),
    "a timestamp twice, with other values": Damage(
        lambda records: [*records[: NOON + 1], records[NOON] | {"spot": 1.0}, *records[NOON + 1 :]]
    ),
    "a ladder in another order": at(strikes(lambda ladder: ladder[::-1])),
    "a strike twice in a ladder": at(strikes(lambda ladder: [ladder[0], [ladder[0][0], 0, 0, []], *ladder[1:]])),
    "the morning is missing": Damage(lambda records: records[100:]),
    "the afternoon is missing": Damage(lambda records: records[:-100]),
    "a half day that goes on": Damage(
        lambda records: [*records, *(later(record, 12_600) for record in records[1::2])], date=HALF_DAY
    ),
    "new values after the close": Damage(
        lambda records: [
            *records,
            *(later(record, 60 * (len(records) - NOON)) for record in records[NOON + 5 : NOON + 9]),
        ]
    ),
    "an hour is missing": Damage(lambda records: records[:NOON] + records[NOON + 60 :]),
    "every second snapshot is missing": Damage(lambda records: records[::2]),
    "each snapshot again half a step later": Damage(doubled),
    "a spot ten times as high": at(lambda record: {"spot": record["spot"] * 10}),
    "a spot 6 % off, in the ladder": Damage(spot_off),
    "a spot is missing": without("spot"),
    "a ladder is missing": at(lambda _: {"strikes": []}),
    "a sum is missing": without("sum_gex_vol"),
    "a major is missing": without("major_neg_oi"),
    "zero gamma 0 at noon": at(lambda _: {"zero_gamma": 0}),
    "a ladder of another price level": at(scaled(0, 2)),
    "a ladder cut to a third": at(strikes(cut)),
    "a major that is another strike": at(lambda record: {"major_pos_vol": record["major_neg_vol"]}),
    "majors exchanged for an hour": at(
        lambda record: {"major_pos_oi": record["major_neg_oi"], "major_neg_oi": record["major_pos_oi"]},
        *range(NOON, NOON + 60),
    ),
    "majors far from the ladder all day": everywhere(lambda record: {"major_pos_vol": record["major_pos_vol"] * 2}),
    "a sum with the wrong sign": at(lambda record: {"sum_gex_oi": -record["sum_gex_oi"]}),
    "gex in another unit for an hour": at(scaled(1, 1000), *range(NOON, NOON + 60)),
    "one gex of a ladder off by 5": at(
        strikes(lambda ladder: [[*ladder[0][:2], ladder[0][2] + 5, ladder[0][3]], *ladder[1:]])
    ),
    "volume and open interest exchanged": at(exchanged, *range(NOON, NOON + 10)),
    "live says another spot": Damage(live=lambda records: [records[NOON] | {"spot": records[NOON]["spot"] + 1}]),
    "live on a clock of its own": Damage(live=lambda records: [later(record, 7) for record in records[10:60]]),
    "live stopped for two hours": Damage(live=lambda records: records[10:100] + records[220:300]),
    "a stored row deleted": Damage(
        after={"imported": sql(f"DELETE FROM gex_snapshots WHERE timestamp = ({LAST_STORED})")}  # noqa: S608
    ),
    "a stored value changed": Damage(
        after={
            "imported": sql(
                f"UPDATE gex_strikes SET gamma = gamma + 1 WHERE timestamp = ({LAST_STORED}) "  # noqa: S608
                f"AND strike = (SELECT max(strike) FROM gex_strikes WHERE timestamp = ({LAST_STORED}))"
            )
        }
    ),
    "a published value changed": Damage(
        after={"exported": rewritten("snapshots", more_by_one("delta_risk_reversal"), is_published=True)}
    ),
    "a published file cut off": Damage(
        after={"exported": lambda settings, partition: cut_off(partition.published(settings, "strikes"))}
    ),
}


# What passes all checks though it is wrong.
UNSEEN: dict[str, Damage] = {
    "a few snapshots missing in a row": Damage(lambda records: records[:NOON] + records[NOON + 5 :]),
    "a spot off by 0.1 %": at(lambda record: {"spot": record["spot"] * 1.001}),
    "sums wrong all day": everywhere(lambda record: {"sum_gex_vol": record["sum_gex_vol"] * 2}),
    "majors exchanged all day": everywhere(
        lambda record: {"major_pos_oi": record["major_neg_oi"], "major_neg_oi": record["major_pos_oi"]}
    ),
    "a ladder scaled with its sum": at(
        lambda record: scaled(1, 3)(record) | {"sum_gex_vol": record["sum_gex_vol"] * 3}
    ),
    "priors of another ladder": at(strikes(lambda ladder: [[*strike[:3], [9, 9, 9, 9, 9]] for strike in ladder])),
    "a zero gamma that is none": at(lambda _: {"zero_gamma": 1.0}),
    "another max_priors or delta_risk_reversal": at(lambda _: {"max_priors": [[1, 2]], "delta_risk_reversal": 99}),
    "a quarter of the snapshots missing, here and there": Damage(
        lambda records: [record for index, record in enumerate(records) if index % 4]
    ),
    "a whole day of another day, its times moved": Damage(lambda _: records_of(DATE, seed=77)),
}
