"""Logging for every process: standard error, and a rotating file when a folder is named. Times are UTC."""

import logging
import logging.handlers
import time

from gex_pipeline.settings import Settings

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
_FILE_BYTES = 10 * 1024**2
_FILES_KEPT = 5


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
