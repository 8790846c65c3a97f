"""How the test processes end."""

import atexit
import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # DuckDB's binding prints a report of leaks when an interpreter is torn down while its types are still
    # referenced, as pytest's own records do. A worker has reported its results by then and just ends.
    atexit.register(os._exit, 0)
