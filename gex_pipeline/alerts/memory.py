"""What outlives this process: what operators were told, and when each feed sent last."""

from pathlib import Path

import msgspec

from gex_pipeline.alerts.telling import Standing


class Memory(msgspec.Struct):
    """What is remembered. `last_seen_ms`: by feed, epoch milliseconds UTC."""

    standings: dict[str, Standing] = {}
    last_seen_ms: dict[str, int] = {}


def write_memory(journal_dir: Path, memory: Memory) -> None:
    """Replace what is remembered; losing it means that something is told twice, so it is not synced."""
    path = journal_dir / "alerts.json"
    beside = path.with_suffix(".tmp")
    beside.write_bytes(msgspec.json.encode(memory))
    beside.replace(path)


def read_memory(journal_dir: Path) -> Memory:
    """Return what is remembered, nothing when there is no such file or it cannot be read.

    How long a condition has held is not: nobody knows what was while nobody looked.
    """
    try:
        memory = msgspec.json.decode((journal_dir / "alerts.json").read_bytes(), type=Memory)
    except (OSError, msgspec.DecodeError):
        return Memory()
    memory.standings = {
        key: msgspec.structs.replace(standing, differs_since_ms=None) for key, standing in memory.standings.items()
    }
    return memory
