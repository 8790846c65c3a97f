"""What all charts have in common: colours, the time axis, lines."""

import datetime as dt
import math
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# A panel of its own, so that a chart reads the same on a light and on a dark page.
PANEL, INK = "#14171c", "#c9d1d9"
_NEW_YORK = ZoneInfo("America/New_York")
_HOUR_MS = 3_600_000
_FONT = "ui-sans-serif,system-ui,sans-serif"


def document(width: int, height: int, *content: str) -> str:
    """Return an SVG document of so many pixels, with the panel behind its content."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        f"font-family='{_FONT}' font-size='11' fill='{INK}'>"
        f"<rect width='{width}' height='{height}' rx='6' fill='{PANEL}'/>{''.join(content)}</svg>"
    )


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    """Return a text whose base line is at `y`."""
    anchored = f" text-anchor='{anchor}'" if anchor != "start" else ""
    return f"<text x='{x:g}' y='{y:g}'{anchored}>{content}</text>"


def polyline(x: Floats, y: Floats) -> str:
    """Return the path through some points, in whole pixels, broken where `y` is NaN; empty without any."""
    path: list[str] = []
    at: tuple[int, int] | None = None
    for exact_x, exact_y in zip(x.tolist(), y.tolist(), strict=True):
        if math.isnan(exact_y):
            at = None
            continue
        point = round(exact_x), round(exact_y)
        if at is None:
            path.append(f"M{point[0]},{point[1]}l0,0")
        else:
            path.append(f",{point[0] - at[0]},{point[1] - at[1]}")
        at = point
    return "".join(path).replace(",-", "-")


def time_axis(opened_ms: int, closed_ms: int, left: int, right: int, y: int, end: int) -> str:
    """Return a mark and a name for each full hour of a session, New York time.

    Args:
        opened_ms: epoch milliseconds UTC, at the pixel `left`.
        closed_ms: the same, at the pixel `right`.
        left: pixels, as all that follow.
        right: the same.
        y: where the marks begin; the names are below.
        end: where the last name ends, which also names the time zone.
    """
    first, last = math.ceil(opened_ms / _HOUR_MS), closed_ms // _HOUR_MS
    moments = [hour * _HOUR_MS for hour in range(first, last + 1)]
    names = [f"{dt.datetime.fromtimestamp(moment / 1000, _NEW_YORK):%H:%M}" for moment in moments]
    places = [round(left + (moment - opened_ms) * (right - left) / (closed_ms - opened_ms)) for moment in moments]
    marks = "".join(f"M{x},{y}v4" for x in places)
    others = "".join(text(x, y + 16, name, "middle") for x, name in zip(places[:-1], names[:-1], strict=True))
    return f"<path d='{marks}' stroke='{INK}'/>{others}{text(end, y + 16, f'{names[-1]} New York', 'end')}"
