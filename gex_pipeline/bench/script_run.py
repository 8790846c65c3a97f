"""One run of a yardstick, timed in this process: `python -m gex_pipeline.bench.script_run SCRIPT FILE DB PARQUET`."""

import runpy
import sys
import time

import duckdb

from gex_pipeline.bench.runs import ImportRun, peak_mb
from gex_pipeline.bench.turns import say


def main() -> None:
    """Run the script as if it had been started with these arguments; imports are not part of the time."""
    duckdb.connect().close()  # nor is what the first connection of a process loads
    sys.argv = sys.argv[1:]
    started = time.perf_counter()
    runpy.run_path(sys.argv[0], run_name="__main__")
    say(ImportRun({"all": time.perf_counter() - started}, peak_mb()))


if __name__ == "__main__":
    main()
