"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

# Of tables that do not go to a terminal.
PLAIN_WIDTH = 130

DataDir = Annotated[Path | None, typer.Option(help="Folder of everything that is recorded (data).")]
