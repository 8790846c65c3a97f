"""The file that is downloaded, its partition, and what is on the disk of it."""

import datetime as dt
import random
import traceback
from collections.abc import Callable
from pathlib import Path

from gex_pipeline.demo.gexbot_standin import GexBotStandIn
from gex_pipeline.feeds import Feed
from gex_pipeline.history.download import SourceFile
from gex_pipeline.history.paths import Partition
from gex_pipeline.settings import Settings

PARTITION = Partition(Feed("NQ_NDX", "gex_zero"), dt.date(2025, 11, 14))
NAME = "2025-11-14_NQ_NDX_classic_gex_zero.json"
BODY = b"[" + random.Random(14).randbytes(3_000_000)
CUT_AT = 2_500_000

Download = Callable[[str], SourceFile]


def folder(settings: Settings) -> Path:
    return PARTITION.source(settings).parent


def names(settings: Settings) -> set[str]:
    """Return the names of the history files, partial ones included, without locks."""
    return {path.name for path in folder(settings).iterdir() if path.suffix != ".lock"}


def kept(settings: Settings) -> list[bytes]:
    return [path.read_bytes() for path in sorted(settings.backups_dir.rglob("*")) if path.is_file()]


def ranges(host: GexBotStandIn) -> list[str | None]:
    return [request.range for request in host.requests]


def shown(error: BaseException) -> str:
    """Return every text of an error that a log, a traceback or Dagster would show."""
    texts = ["".join(traceback.format_exception(error)), str(error), repr(error)]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join([*texts, shown(cause) if cause else ""])
