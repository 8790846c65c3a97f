"""Dagster's own folder: made once with a `dagster.yaml` that the user may then keep as he likes."""

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gex_pipeline.settings import (
    POSTGRES_URL,
    Settings,
    SettingsError,
    environment_for_children,
    require_writable,
)
from gex_pipeline.storage.files import write_whole

if TYPE_CHECKING:
    from dagster import DagsterInstance

_STORAGE = re.compile(rb"^(storage|run_storage|event_log_storage|schedule_storage)\s*:", re.MULTILINE)
CONFIGURATION = b"""\
# Written once by gex; yours to change.
telemetry:
  enabled: false

nux:
  enabled: false

python_logs:
  python_log_level: INFO

# Whoever uses the database takes turns anyway, and three files are downloaded at a time.
concurrency:
  runs:
    max_concurrent_runs: 4

# A run is forked from a process that has everything imported, which saves four seconds for each.
run_launcher:
  module: gex_pipeline.run_launcher
  class: ForkingRunLauncher

# An announced file should not wait for the queue.
run_queue:
  dequeue_interval_seconds: 1

# Notices runs that never start or run too long (GEX_IMPORT_TIMEOUT).
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  poll_interval_seconds: 10

# Sensor ticks come every two seconds; the uneventful ones need not be kept. Old runs go by GEX_RUN_KEEP_DAYS.
retention:
  schedule:
    purge_after_days:
      skipped: 30
      success: 90
      failure: 90
  sensor:
    purge_after_days:
      skipped: 1
      success: 30
      failure: 30
"""
POSTGRES_STORAGE = b"""
# Runs, events and schedules are in PostgreSQL, because GEX_DAGSTER_POSTGRES_URL is set.
storage:
  postgres:
    postgres_url:
      env: GEX_DAGSTER_POSTGRES_URL
"""


def prepare_dagster_home(settings: Settings) -> Path:
    """Create DAGSTER_HOME and its `dagster.yaml` unless they exist; return the folder, absolute.

    With GEX_DAGSTER_POSTGRES_URL a file that says nothing of the storage gets it added.

    Raises:
        SettingsError: PostgreSQL is asked for and cannot be used, or the file asks for it and the address is missing.
    """
    home = settings.dagster_home_path
    home.mkdir(parents=True, exist_ok=True)
    path = home / "dagster.yaml"
    found = path.read_bytes() if path.exists() else None
    configuration = CONFIGURATION if found is None else found
    if settings.dagster_postgres_url is not None:
        if importlib.util.find_spec("dagster_postgres") is None:
            raise SettingsError(f"{POSTGRES_URL} needs dagster-postgres; pip install 'gex-pipeline[postgres]'")
        if not _STORAGE.search(configuration):
            configuration = configuration.rstrip() + b"\n" + POSTGRES_STORAGE
    elif POSTGRES_URL.encode() in configuration:
        raise SettingsError(
            f"{path} has Dagster's storage in PostgreSQL: set {POSTGRES_URL}, or delete `storage` there to go back "
            "to SQLite, which knows nothing of the runs and materializations since"
        )
    if configuration != found:
        write_whole(path, configuration)
    return home


def dagster_instance(settings: Settings) -> "DagsterInstance":
    """Open the Dagster instance of a data folder, making its home when it is new."""
    from dagster import DagsterInstance  # noqa: PLC0415 - takes a second, which other users of this module save

    require_writable(settings.dagster_home_path)
    prepare_dagster_home(settings)
    wanted = environment_for_children(settings)
    os.environ.update({name: wanted[name] for name in ("DAGSTER_HOME", POSTGRES_URL) if name in wanted})
    return DagsterInstance.get()
