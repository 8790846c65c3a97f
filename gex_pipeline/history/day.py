"""The steps of one trading day of one feed, as Dagster's assets and `gex import` both take them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gex_pipeline.clock import epoch_ms
from gex_pipeline.errors import MalformedFileError
from gex_pipeline.history.attempts import Attempt, recorded
from gex_pipeline.history.download import SourceFile, distrust
from gex_pipeline.history.exporting import Exported, export_day
from gex_pipeline.history.importing import ImportResult, import_staged
from gex_pipeline.history.judging import require_sound
from gex_pipeline.history.paths import Partition, Table
from gex_pipeline.history.pictured import picture_of_day
from gex_pipeline.history.staging import StagedSummary, stage, staging_lock
from gex_pipeline.settings import Settings

TABLES: tuple[Table, Table] = ("snapshots", "strikes")


@dataclass(frozen=True)
class Staged:
    """A staged file, what was found in it, and how long it took."""

    source: SourceFile
    summary: StagedSummary
    seconds: float


def stage_file(settings: Settings, partition: Partition, source: SourceFile, run_id: str | None) -> Staged:
    """Stage a history file; one that is no whole document is not trusted again.

    Raises:
        MalformedFileError: it is not a whole document of snapshots.
    """
    started = time.monotonic()
    with recorded(settings, Attempt(partition, source.path.name, source.sha256, run_id, epoch_ms())):
        try:
            summary = stage(settings, partition, source)
        except MalformedFileError:
            distrust(source)
            raise
    return Staged(source, summary, time.monotonic() - started)


def import_rows(
    settings: Settings, partition: Partition, run_id: str | None, *, replace: bool = False
) -> ImportResult:
    """Judge the staged rows and insert what the database does not have; arguments and errors of `import_staged`.

    The checks have passed, but another run of this partition may have staged another file since.
    """
    with staging_lock(settings, partition), recorded(settings, Attempt.of_staged(settings, partition, run_id)):
        require_sound(settings, partition)
        return import_staged(settings, partition, run_id, replace=replace)


def export_tables(settings: Settings, partition: Partition) -> Iterator[tuple[Table, Exported]]:
    """Publish both files of the day, one after the other, the second with a picture; errors of `export_day`."""
    yield "snapshots", export_day(settings, partition, "snapshots")
    strikes = export_day(settings, partition, "strikes")
    yield "strikes", replace(strikes, picture=picture_of_day(settings, partition))
