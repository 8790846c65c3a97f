"""Captures: the whole gateway with its loader over loopback, beside what does nothing and what does it plainly."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gex_pipeline.bench.load import LoadRun
from gex_pipeline.bench.servers import GATEWAY, NOOP, PER_REQUEST, running
from gex_pipeline.bench.turns import BenchmarkError, Tell, in_fresh_process, scratch_folder, take_turns

CLIENTS = 10
OURS, NOTHING, PLAIN = "gateway", "no-op route", "a connection for each request"
_MODULES = {OURS: GATEWAY, NOTHING: NOOP, PLAIN: PER_REQUEST}


@dataclass(frozen=True)
class CaptureRun:
    """What the clients saw of one server, and the processor seconds it used for 1,000 requests."""

    load: LoadRun
    cpu_seconds: float


@dataclass(frozen=True)
class CaptureComparison:
    """Medians of each contender over the rounds, by its name."""

    servers: Mapping[str, CaptureRun]

    def ratio(self, other: str) -> float:
        """Requests per second of the gateway, as a multiple of another's."""
        return self.servers[OURS].load.requests_per_second / self.servers[other].load.requests_per_second

    @property
    def tail_ratio(self) -> float:
        """The gateway's p99, as a multiple of the no-op route's."""
        return self.servers[OURS].load.p99_ms / self.servers[NOTHING].load.p99_ms


def compare_captures(*, repeat: int, seconds: float, tell: Tell) -> CaptureComparison:
    """Load the servers in turns, each just started on an empty folder.

    Args:
        repeat: how many rounds, at least 1.
        seconds: of load in each turn.
        tell: told which turn is next.

    Raises:
        BenchmarkError: a server did not start, or an answer was not 202.
    """
    contenders = {name: partial(_load, module, seconds) for name, module in _MODULES.items()}
    runs = take_turns(contenders, repeat, tell)
    return CaptureComparison({name: _medians(each) for name, each in runs.items()})


def _load(module: str, seconds: float, _turn: int) -> CaptureRun:
    with scratch_folder() as folder, running(module, folder) as server:
        before = server.cpu_seconds
        load = in_fresh_process("load", server.port, CLIENTS, seconds, cwd=folder, result=LoadRun)
        if load.refused:
            raise BenchmarkError(f"{module} refused {load.refused:,} requests")
        return CaptureRun(load, (server.cpu_seconds - before) / load.answered * 1000)


def _medians(runs: Sequence[CaptureRun]) -> CaptureRun:
    loads = [run.load for run in runs]
    return CaptureRun(
        LoadRun(
            loads[0].body_bytes,
            sum(load.answered for load in loads),
            0,
            statistics.median(load.requests_per_second for load in loads),
            statistics.median(load.p50_ms for load in loads),
            statistics.median(load.p95_ms for load in loads),
            statistics.median(load.p99_ms for load in loads),
        ),
        statistics.median(run.cpu_seconds for run in runs),
    )
