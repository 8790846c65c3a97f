"""Logging for every process: standard error, and a rotating file when a folder is named. Times are UTC."""

import logging
import logging.handlers
import os
import shutil
import time
from pathlib import Path

from gex_pipeline.settings import Settings

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
_FILE_BYTES = 10 * 1024**2
_FILES_KEPT = 5


def rotate(path: Path) -> None:
    """Begin a file anew that another process appends to, when it is long: the old text goes to `<name>.1` and so on.

    What is written between copying and emptying it is lost.
    """
    try:
        if path.stat().st_size < _FILE_BYTES:
            return
    except FileNotFoundError:
        return
    for number in range(_FILES_KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def configure_logging(settings: Settings, process: str) -> None:
    """Send this process's logs to standard error and to `<log dir>/<process>.log`."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    path = settings.log_file
    if settings.log_dir is not None:
        path = settings.log_dir / f"{process}.log"
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            logging.handlers.RotatingFileHandler(
                path, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
            )
        )
    formatter = logging.Formatter(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=handlers, force=True)
    for library in ("alembic", "filelock", "urllib3", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
