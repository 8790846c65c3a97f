"""The asset `coverage`, the job that makes it and the schedule that runs that: the audit in Dagster."""

import base64
import datetime as dt
from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from gex_pipeline.audit.coverage import find_coverage
from gex_pipeline.audit.picture import draw
from gex_pipeline.audit.report import by_feed, not_well, summary, write_report
from gex_pipeline.audit.verifying import SAMPLES, VerifiedDay, verify_days
from gex_pipeline.clock import epoch_ms
from gex_pipeline.feeds import Feed, parse_day
from gex_pipeline.history.assets import permanent_failures
from gex_pipeline.history.reporting import report_verdicts
from gex_pipeline.settings import Settings
from gex_pipeline.trading_days import NEW_YORK, new_york_time

GROUP = "audit"
AUDITED_DAYS = 90
# What the UI shows; the report has all.
MOST_LISTED = 50
TOLD_EVERY = 20


class AuditConfig(dg.Config):
    """Which days are audited."""

    feeds: list[str] = Field(default=[], description="TICKER:endpoint; every feed if none.")
    first: str | None = Field(None, alias="from", description="The first trading day; 90 days ago if none.")
    last: str | None = Field(None, alias="to", description="The last trading day; the last one there is if none.")
    samples: int = Field(SAMPLES, ge=0, description="Snapshots of each day that are compared with its raw file.")


@dg.asset(group_name=GROUP, kinds={"parquet", "markdown"})
def coverage(
    context: dg.AssetExecutionContext, config: AuditConfig, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Which days of which feeds are stored, checked again, and in what state each is."""
    now_ms = epoch_ms()
    with permanent_failures():
        feeds = [Feed.parse(feed) for feed in config.feeds]
        first = new_york_time(now_ms).date() - dt.timedelta(days=AUDITED_DAYS)
        first = parse_day("from", config.first) if config.first else first
        last = parse_day("to", config.last) if config.last else None
    found = find_coverage(settings, feeds, first, last, now_ms)
    verified: list[VerifiedDay] = []
    for each in verify_days(settings, found.days, config.samples):
        verified.append(each)
        report_verdicts(context.instance, context.run, each.day.partition, each.judged)
        if len(verified) % TOLD_EVERY == 0:
            context.log.info("%d of %d days", len(verified), len(found.days))
    now = dt.datetime.now(dt.UTC)
    report = write_report(settings, verified, found.problem, now)
    context.log.info("%s", summary(verified, found.problem))
    return dg.MaterializeResult(metadata=_described(verified, found.problem, str(report)))


def _described(verified: Sequence[VerifiedDay], problem: str, report: str) -> dict[str, dg.MetadataValue | int]:
    picture = base64.b64encode(draw([each.day for each in verified]).encode()).decode()
    return {
        "calendar": dg.MetadataValue.md(f"![which days are stored](data:image/svg+xml;base64,{picture})"),
        "summary": dg.MetadataValue.text(summary(verified, problem)),
        "by_feed": dg.MetadataValue.md(by_feed(verified)),
        "not_complete": dg.MetadataValue.md(not_well(verified, MOST_LISTED) or "nothing"),
        "days": len(verified),
        "days_to_look_at": sum(not each.is_well for each in verified),
        "report": dg.MetadataValue.path(report),
    }


integrity_audit = dg.define_asset_job(
    "integrity_audit",
    selection=dg.AssetSelection.assets(coverage),
    executor_def=dg.in_process_executor,
    description="Check again what is stored, without importing anything, and report the state of each day.",
)

weekly_audit = dg.ScheduleDefinition(
    name="weekly_audit",
    job=integrity_audit,
    cron_schedule="0 6 * * 6",
    execution_timezone=NEW_YORK.key,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=f"Audits the last {AUDITED_DAYS} days, each Saturday morning.",
)
