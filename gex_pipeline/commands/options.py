"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

# Of tables that do not go to a terminal.
PLAIN_WIDTH = 130

DataDir = Annotated[Path | None, typer.Option(help="Folder of everything that is recorded (data).")]
Feeds = Annotated[list[str] | None, typer.Option("--feed", help="TICKER:endpoint; every feed if none.")]
First = Annotated[str | None, typer.Option("--from", help="The first trading day, YYYY-MM-DD.")]
Last = Annotated[str | None, typer.Option("--to", help="The last trading day, YYYY-MM-DD.")]
