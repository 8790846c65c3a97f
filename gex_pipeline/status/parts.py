"""The parts of a report, and what they say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "degraded", "down"]
EXIT_STATUS: dict[str, int] = {"ok": 0, "degraded": 1, "not running": 2}


@dataclass(frozen=True)
class Part:
    """How one part of the system is.

    Attributes:
        lines: what there is to say of it, the most important first.
        figures: the same for programs.
    """

    name: str
    state: State
    lines: Sequence[str]
    figures: Mapping[str, Any] = field(default_factory=dict)


def overall(parts: Sequence[Part]) -> str:
    """Return `not running` without a gateway, `degraded` when anything is not as it should be, or `ok`."""
    if any(part.name == "gateway" and part.state == "down" for part in parts):
        return "not running"
    return "ok" if all(part.state == "ok" for part in parts) else "degraded"


def as_json(parts: Sequence[Part], at: str) -> dict[str, Any]:
    """Return a report for programs."""
    told = {part.name: {"state": part.state, "lines": list(part.lines), **part.figures} for part in parts}
    return {"status": overall(parts), "at": at, "parts": told}


def ago(seconds: float) -> str:
    """Return a duration in one unit, as people say it."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
