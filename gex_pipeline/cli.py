"""The command line, `gex`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gex_pipeline.commands.backup import backup_app
from gex_pipeline.commands.bench import bench_app
from gex_pipeline.commands.export import export_days
from gex_pipeline.commands.import_files import import_paths
from gex_pipeline.commands.options import DataDir
from gex_pipeline.commands.status import show_status
from gex_pipeline.commands.verify import verify
from gex_pipeline.dagster_home import dagster_instance
from gex_pipeline.errors import GexError
from gex_pipeline.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
feeds_app = typer.Typer(no_args_is_help=True, help="The feeds that Dagster knows.")
app.add_typer(feeds_app, name="feeds")
app.add_typer(backup_app, name="backup")
app.add_typer(bench_app, name="bench")
app.command("import")(import_paths)
app.command("export")(export_days)
app.command("status")(show_status)
app.command("verify")(verify)


@app.command()
def up(
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address the gateway listens on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port the gateway listens on (8877).")] = None,
    dagster_port: Annotated[int | None, typer.Option(help="Port of the Dagster UI (3000).")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error (info).")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for log files.")] = None,
) -> None:
    """Run the gateway with its loader, the Dagster UI and the daemon, until Ctrl-C or SIGTERM."""
    from gex_pipeline.supervisor import run_all

    settings = load_settings(
        data_dir=data_dir, host=host, port=port, dagster_port=dagster_port, log_level=log_level, log_dir=log_dir
    )
    sys.exit(run_all(settings))


@app.command()
def demo() -> None:
    """Show the whole system at work on a sample session, in a scratch folder. DEMO_EXIT=1 stops it by itself."""
    from gex_pipeline.demo.show import run_demo

    sys.exit(run_demo(keep_running=os.environ.get("DEMO_EXIT") != "1"))


@feeds_app.command("add")
def feeds_add(
    feeds: Annotated[list[str], typer.Argument(help="TICKER:endpoint, for example NQ_NDX:gex_zero.")],
) -> None:
    """Make feeds known to Dagster, so that their partitions exist."""
    from gex_pipeline.feeds import Feed
    from gex_pipeline.history.partitions import FEEDS

    keys = [Feed.parse(feed).key for feed in feeds]
    with dagster_instance(load_settings()) as instance:
        instance.add_dynamic_partitions(FEEDS.name or "", keys)
    for key in keys:
        typer.echo(f"{key} is known; its partitions are written as 2025-11-14|{key}")


@feeds_app.command("list")
def feeds_list() -> None:
    """List the feeds that Dagster knows."""
    from gex_pipeline.history.partitions import FEEDS

    with dagster_instance(load_settings()) as instance:
        for key in sorted(instance.get_dynamic_partitions(FEEDS.name or "")):
            typer.echo(key)


def main() -> None:
    """Run the command line; what went wrong is said in one line."""
    try:
        app()
    except GexError as error:
        sys.stderr.write(f"gex: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
