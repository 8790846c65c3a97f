"""Options that several commands have."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path | None, typer.Option(help="Folder of everything that is recorded (data).")]
Feeds = Annotated[list[str] | None, typer.Option("--feed", help="TICKER:endpoint; every feed if none.")]
First = Annotated[str | None, typer.Option("--from", help="The first trading day, YYYY-MM-DD.")]
Last = Annotated[str | None, typer.Option("--to", help="The last trading day, YYYY-MM-DD.")]


def read_day(option: str, text: str | None) -> dt.date | None:
    """Read a day that an option names; RecordError for what is none."""
    from gex_pipeline.errors import RecordError

    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError as error:
        raise RecordError.of(option, text, "a day such as 2025-11-14") from error
