"""The process that runs are forked from, because a new one takes four seconds to import everything.

Standard input gives a line for each run, the arguments of `dagster api execute_run`; the answer is a line with the
id of the run's process. The starter ends with its standard input; its runs go on.
"""

import gc
import os
import signal
import sys
import traceback
from typing import NoReturn

from dagster._cli.api import execute_run_command

from gex_pipeline.definitions import defs


def main() -> None:
    """Start runs until standard input ends."""
    defs.get_repository_def().load_all_definitions()
    gc.freeze()  # what is shared stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a run
    for arguments in sys.stdin.buffer:
        process_id = os.fork()
        if process_id == 0:
            _run(arguments.decode())
        os.write(sys.stdout.fileno(), b"%d\n" % process_id)


def _run(arguments: str) -> NoReturn:
    """Do a run in this process, as `dagster api execute_run` does, and end it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        execute_run_command.main([arguments], standalone_mode=False)
    except BaseException:  # noqa: BLE001 - the starter's loop is no place for it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
