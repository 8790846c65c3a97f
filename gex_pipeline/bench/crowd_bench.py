"""The gateway under strain: a crowd of clients, and an hour of captures that nobody loads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gex_pipeline.bench.capture_bench import CLIENTS
from gex_pipeline.bench.load import LoadRun
from gex_pipeline.bench.servers import GATEWAY, Server, running
from gex_pipeline.bench.turns import Tell, in_fresh_process, scratch_folder

CROWD = 200
HOUR_CAPTURES = 432_000  # 40 tickers x 3 endpoints, once a second
BEFORE, DURING, AFTER = f"{CLIENTS} clients", f"{CROWD} clients", f"{CLIENTS} clients again"
BACKLOG_FIRST, BACKLOG_LAST = "first captures that nobody loads", "last captures that nobody loads"


@dataclass(frozen=True)
class CrowdRun:
    """What the clients saw in one phase, and the most memory the gateway ever had until its end, 10^6 bytes."""

    load: LoadRun
    peak_mb: float


def measure_crowd(*, seconds: float, backlog: int, tell: Tell) -> Mapping[str, CrowdRun]:
    """Let a crowd come and go; then let a backlog grow beside a database that cannot be opened.

    Args:
        seconds: of load in each phase.
        backlog: how many captures nobody loads; loads of `seconds` follow each other until there are as many or more.
        tell: told which phase is next.

    Returns:
        The phases by name, in their order.

    Raises:
        BenchmarkError: an answer other than 202 and 503, or none.
    """
    phases: dict[str, CrowdRun] = {}
    with scratch_folder() as folder, running(GATEWAY, folder) as server:
        for phase, clients in ((BEFORE, CLIENTS), (DURING, CROWD), (AFTER, CLIENTS)):
            tell(phase)
            phases[phase] = _load(server, folder, clients, seconds)
    with scratch_folder() as folder:
        (folder / "data").mkdir()
        (folder / "data" / "gex_data.db").write_bytes(b"this is no database")
        with running(GATEWAY, folder) as server:
            tell(BACKLOG_FIRST)
            run = phases[BACKLOG_FIRST] = _load(server, folder, CLIENTS, seconds)
            waiting = run.load.answered
            while waiting < backlog or BACKLOG_LAST not in phases:
                tell(f"{waiting:,} of {backlog:,} captures that nobody loads")
                run = phases[BACKLOG_LAST] = _load(server, folder, CLIENTS, seconds)
                waiting += run.load.answered
    return phases


def _load(server: Server, folder: Path, clients: int, seconds: float) -> CrowdRun:
    load = in_fresh_process("load", server.port, clients, seconds, cwd=folder, result=LoadRun)
    return CrowdRun(load, server.peak_mb)
