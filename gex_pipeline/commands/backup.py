"""`gex backup`: make, list, verify and restore backups of the database."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gex_pipeline.commands.options import DataDir
from gex_pipeline.priority import IMPORTING, give_way
from gex_pipeline.settings import load_settings

if TYPE_CHECKING:
    from gex_pipeline.backups.folder import Backup, Progress

backup_app = typer.Typer(no_args_is_help=True, help="Backups of the database.")


@backup_app.command("create")
def create(data_dir: DataDir = None) -> None:
    """Back the database up, while the system runs or not, and verify the copy."""
    from gex_pipeline.backups.creating import create_backup

    give_way(IMPORTING)
    with _progress_bar() as progress:
        backup = create_backup(load_settings(data_dir=data_dir), reason="by hand", progress=progress)
    made = backup.manifest
    typer.echo(
        f"{backup.path} is verified: {len(made.tables)} tables, {backup.rows:,} rows; {made.size_bytes:,} bytes "
        f"{made.method} in {made.seconds:.1f} s, of which the database was held for {made.lease_seconds:.2f} s"
    )


@backup_app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """List the backups, the newest first."""
    from gex_pipeline.backups.folder import list_backups

    folder = load_settings(data_dir=data_dir).database_backups_dir
    backups = list_backups(folder)
    if not backups:
        typer.echo(f"there is no backup in {folder} yet; gex backup create makes one")
        return
    lines = [("NAME", "MB", "ROWS", "VERIFIED", "REASON"), *map(_columns, backups)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, size, rows, verified, reason in lines:
        typer.echo(
            f"{name:<{widths[0]}}  {size:>{widths[1]}}  {rows:>{widths[2]}}  {verified:<{widths[3]}}  {reason}"
        )


@backup_app.command("verify")
def verify(
    name: Annotated[
        str | None, typer.Argument(help="As gex backup list shows it; the newest when none is given.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare a backup with what its manifest says; the exit status is 1 when it is damaged."""
    from gex_pipeline.backups.verifying import verify_backup

    give_way(IMPORTING)
    with _progress_bar() as progress:
        backup = verify_backup(load_settings(data_dir=data_dir), name, progress)
    if not backup.manifest.problems:
        typer.echo(f"{backup.path} is sound: {len(backup.manifest.tables)} tables, {backup.rows:,} rows")
        return
    typer.echo(f"{backup.path} is damaged:", err=True)
    for problem in backup.manifest.problems:
        typer.echo(f"  {problem}", err=True)
    raise typer.Exit(1)


@backup_app.command("restore")
def restore(
    name: Annotated[str, typer.Argument(help="As gex backup list shows it.")],
    to: Annotated[Path | None, typer.Option(help="The file to write; without it the database itself.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there; it is kept aside.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Verify a backup and restore it: to a new path, or in place while the system runs or not."""
    from gex_pipeline.backups.restoring import restore_backup

    with _progress_bar() as progress:
        restored = restore_backup(load_settings(data_dir=data_dir), name, to=to, force=force, progress=progress)
    typer.echo(f"{restored.path} is {restored.backup.name} again: {restored.backup.rows:,} rows")
    if restored.kept_aside:
        typer.echo(f"what was there before is {restored.kept_aside}")


def _columns(backup: "Backup") -> tuple[str, str, str, str, str]:
    made = backup.manifest
    verified = _shown(made.verified_at) if made.verified_at else "DAMAGED"
    return backup.name, f"{made.size_bytes / 1e6:,.1f}", f"{backup.rows:,}", verified, made.reason


def _shown(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def _progress_bar() -> Iterator["Progress"]:
    """Show on a terminal what is being done and how far it is; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description:>14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("waiting", total=None)
        step = ""

        def show(description: str, done: int, total: int) -> None:
            nonlocal step
            if description != step:
                step = description
                bar.reset(task, description=description)
            bar.update(task, completed=done, total=total or None)

        yield show
