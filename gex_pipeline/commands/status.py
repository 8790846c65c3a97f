"""`gex status`: how the whole system is, on one screen."""

import datetime as dt
import json
import sys
from typing import Annotated

import typer

from gex_pipeline.commands.options import PLAIN_WIDTH, DataDir
from gex_pipeline.settings import load_settings


def show_status(
    data_dir: DataDir = None,
    port: Annotated[int | None, typer.Option(help="Port the gateway listens on (8877).")] = None,
    dagster_port: Annotated[int | None, typer.Option(help="Port of the Dagster UI (3000).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how everything is; the exit status is 0 when all is well, 1 degraded, 2 when the gateway is down."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gex_pipeline.status import parts
    from gex_pipeline.status.capturing import capturing
    from gex_pipeline.status.dagster_runs import dagster
    from gex_pipeline.status.stored import stored

    settings = load_settings(data_dir=data_dir, port=port, dagster_port=dagster_port)
    found = [*capturing(settings), *stored(settings), *dagster(settings)]
    status = parts.overall(found)
    if as_json:
        typer.echo(json.dumps(parts.as_json(found, dt.datetime.now(dt.UTC).isoformat(timespec="seconds")), indent=2))
    else:
        colours = {"ok": "green", "degraded": "yellow", "down": "red", "not running": "red"}
        table = Table(box=None, show_header=False, pad_edge=False)
        for part in found:
            colour = colours[part.state]
            table.add_row(part.name, f"[{colour}]{part.state}[/]", escape("\n".join(part.lines)))
        console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        console.print(table)
        wrong = ", ".join(part.name for part in found if part.state != "ok") if status == "degraded" else ""
        console.print(f"[{colours[status]}]{status}[/]{wrong and f': {wrong}'}")
    raise typer.Exit(parts.EXIT_STATUS[status])
