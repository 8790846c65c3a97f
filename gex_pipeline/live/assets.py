"""The asset group `live`: the tables that captures reach, observed while a session is on and judged after it."""

from collections.abc import Iterator

import dagster as dg

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import GexError
from gex_pipeline.history.assets import permanent_failures
from gex_pipeline.history.metadata import Metadata, describe_verdict
from gex_pipeline.history.verdicts import Verdict, clock, markdown
from gex_pipeline.live.judging import (
    FRESH,
    MESSAGE_CHECKS,
    judge_freshness,
    judge_messages,
    session_to_judge,
)
from gex_pipeline.live.stored import TABLES, Sender, senders
from gex_pipeline.settings import Settings
from gex_pipeline.storage.lease import lease
from gex_pipeline.storage.schema import missing_schema
from gex_pipeline.trading_days import new_york_time, session_opened_ms

GROUP = "live"
INTERVAL_SECONDS, LEASE_SECONDS = 180, 10.0
_DESCRIPTIONS = {
    "webhooks": "Unusual Whales messages as they came (universal_webhooks).",
    "option_trades": "The option trades in them, typed (option_trades_events).",
    "live_snapshots": "Snapshots that were posted, polled or came in messages (gex_snapshots).",
    "live_strikes": "Their strikes (gex_strikes).",
}
_UPSTREAM = {"option_trades": ["webhooks"], "live_snapshots": ["webhooks"], "live_strikes": ["webhooks"]}

live_assets = [
    dg.AssetSpec(name, deps=_UPSTREAM.get(name, []), group_name=GROUP, kinds={"duckdb"}, description=description)
    for name, description in _DESCRIPTIONS.items()
]


@dg.sensor(minimum_interval_seconds=INTERVAL_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def live_tables_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Observe the tables while a session is on, and judge its messages half an hour after it. No runs are started."""
    return look(settings, epoch_ms(), context.cursor)


def look(settings: Settings, now_ms: int, judged_last: str | None) -> dg.SensorResult | dg.SkipReason:
    """Return what is to be told of the tables at a moment (epoch ms UTC).

    Args:
        settings: which database.
        now_ms: epoch milliseconds UTC.
        judged_last: the session whose messages were judged last, an ISO date; None: none was.
    """
    date = session_to_judge(now_ms, judged_last)
    if session_opened_ms(now_ms) is None and date is None:
        return dg.SkipReason("no session is on, and the messages of the last one are judged")
    if not settings.database_path.exists():
        return dg.SkipReason("there is no database yet")
    try:
        with lease(
            settings.database_path, purpose="look at live tables", timeout_seconds=LEASE_SECONDS, read_only=True
        ) as connection:
            if missing_schema(connection):
                return dg.SkipReason("the loader has not adopted the database yet")
            seen = {live: senders(connection, live, now_ms) for live in TABLES}
            judged = judge_messages(connection, date) if date else []
    except GexError as error:
        return dg.SkipReason(f"the live tables could not be read: {error}")
    observed = [dg.AssetObservation(live.asset, metadata=_describe(found, now_ms)) for live, found in seen.items()]
    freshness = judge_freshness(settings, seen, now_ms)
    evaluated = [_evaluation(asset, "fresh", verdict, {}) for asset, verdict in freshness.items()]
    day: Metadata = {"trading_day": date.isoformat()} if date else {}
    evaluated += [_evaluation(check.asset, check.name, verdict, day) for check, verdict in judged]
    return dg.SensorResult(asset_events=[*observed, *evaluated], cursor=date.isoformat() if date else judged_last)


@dg.multi_asset_check(
    name="check_live",
    specs=[
        *(dg.AssetCheckSpec("fresh", asset=asset, description=description) for asset, description in FRESH.items()),
        *(dg.AssetCheckSpec(each.name, asset=each.asset, description=each.description) for each in MESSAGE_CHECKS),
    ],
)
def live_checks(settings: dg.ResourceParam[Settings]) -> Iterator[dg.AssetCheckResult]:
    """Judge now what the sensor judges by itself, of the last session that has settled."""
    now_ms = epoch_ms()
    date = session_to_judge(now_ms, None)
    with (
        permanent_failures(),
        lease(settings.database_path, purpose="check live tables", read_only=True) as connection,
    ):
        seen = {live: senders(connection, live, now_ms) for live in TABLES}
        judged = judge_messages(connection, date) if date else []
    for asset, verdict in judge_freshness(settings, seen, now_ms).items():
        yield _result(_evaluation(asset, "fresh", verdict, {}))
    for check, verdict in judged:
        yield _result(_evaluation(check.asset, check.name, verdict, {"trading_day": str(date)}))


def _evaluation(asset: str, name: str, verdict: Verdict, more: Metadata) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset),
        check_name=name,
        passed=verdict.passed,
        metadata={**more, **describe_verdict(verdict)},
        severity=dg.AssetCheckSeverity.WARN,
        description=verdict.description,
    )


def _result(evaluation: dg.AssetCheckEvaluation) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=evaluation.asset_key,
        check_name=evaluation.check_name,
        passed=evaluation.passed,
        metadata=evaluation.metadata,
        severity=evaluation.severity,
        description=evaluation.description,
    )


def _describe(found: list[Sender], now_ms: int) -> Metadata:
    """Describe what is there of a table."""
    if not found:
        return {"rows_of_the_day": 0}
    newest_ms = max(each.newest_ms for each in found)
    rows = [
        (each.name, f"{each.rows:,}", clock(each.newest_ms), f"{(now_ms - each.newest_ms) / 1000:,.0f}")
        for each in found
    ]
    return {
        "rows_of_the_day": sum(each.rows for each in found),
        "newest": new_york_time(newest_ms).isoformat(),
        "age_seconds": (now_ms - newest_ms) / 1000,
        "senders": dg.MetadataValue.md(markdown(("sender", "rows of the day", "newest", "seconds ago"), rows)),
    }
