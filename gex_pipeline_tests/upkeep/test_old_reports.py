"""Old reports of audits go, and nothing else of their folder."""

import datetime as dt
from pathlib import Path

from gex_pipeline.audit.report import KEPT_REPORTS, delete_old_reports, write_report
from gex_pipeline.settings import load_settings

FIRST = dt.datetime(2025, 11, 14, 22, tzinfo=dt.UTC)


def test_the_last_reports_stay_with_both_files_and_whatever_is_not_one(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    assert delete_old_reports(settings) == 0
    times = [FIRST + dt.timedelta(hours=hour) for hour in range(KEPT_REPORTS + 2)]
    reports = [write_report(settings, [], "", each) for each in times]
    mine = reports[0].with_name("audit-notes.md")
    mine.write_text("mine")
    assert delete_old_reports(settings) == 2
    kept = {path.with_suffix(suffix) for path in reports[2:] for suffix in (".md", ".parquet")}
    assert set(settings.reports_dir.iterdir()) == kept | {mine}
    assert delete_old_reports(settings) == 0
