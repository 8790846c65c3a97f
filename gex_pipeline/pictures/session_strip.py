"""A session as a strip: how many snapshots there are, and where there are none."""

from collections.abc import Sequence

import numpy as np

from gex_pipeline.pictures.svg import Times, document, text, time_axis

WIDTH, HEIGHT = 720, 104
LEFT, RIGHT, TOP, BOTTOM, LEGEND = 10, 710, 32, 80, 21
BAR_MS = 300_000
THERE, MISSING, USUAL = "#409cff", "#ff8c28", "#ffe14d"


def session_strip(
    times: Times,
    opened_ms: int,
    closed_ms: int,
    missing: Sequence[tuple[int, int]],
    usual_per_hour: float | None = None,
) -> str:
    """Return the strip as an SVG document: a bar for five minutes, and what is missing in another colour.

    Args:
        times: of the snapshots, epoch milliseconds UTC.
        opened_ms: the same.
        closed_ms: the same.
        missing: from when to when there are no snapshots, the same.
        usual_per_hour: how many snapshots are usual; None when it is not known.
    """
    edges = np.arange(opened_ms, closed_ms + BAR_MS, BAR_MS)
    counts = np.histogram(times, edges)[0]
    usual = None if usual_per_hour is None else usual_per_hour * BAR_MS / 3_600_000
    most = max(counts.max(initial=0), usual or 0, 1)
    per_ms = (RIGHT - LEFT) / (closed_ms - opened_ms)
    x = np.rint(LEFT + (np.minimum(edges, closed_ms) - opened_ms) * per_ms).astype(int).tolist()
    height = np.rint((BOTTOM - TOP) * counts / most).astype(int).tolist()
    bars = "".join(
        f"M{left},{BOTTOM}v-{high}h{right - left - 1}v{high}z"
        for left, right, high in zip(x, x[1:], height, strict=False)
        if high
    )
    gaps = "".join(
        f"M{LEFT + (begin - opened_ms) * per_ms:.0f},{TOP}h{max(2.0, (end - begin) * per_ms):.0f}v{BOTTOM - TOP}H"
        f"{LEFT + (begin - opened_ms) * per_ms:.0f}z"
        for begin, end in missing
    )
    return document(
        WIDTH,
        HEIGHT,
        f"<path d='{bars}' fill='{THERE}'/><path d='{gaps}' fill='{MISSING}'/>",
        _usual_line(usual, most),
        _legend(usual is not None),
        time_axis(opened_ms, closed_ms, LEFT, RIGHT, BOTTOM, WIDTH - LEFT),
    )


def _usual_line(usual: float | None, most: float) -> str:
    if usual is None:
        return ""
    y = round(BOTTOM - (BOTTOM - TOP) * usual / most)
    return f"<path d='M{LEFT},{y}H{RIGHT}' stroke='{USUAL}' stroke-width='1.5' stroke-dasharray='6,3'/>"


def _legend(has_usual: bool) -> str:
    named = [(THERE, "snapshots in five minutes"), (MISSING, "none")] + ([(USUAL, "usual")] if has_usual else [])
    places = (LEFT, LEFT + 180, LEFT + 250)
    return "".join(
        f"<path d='M{x},{LEGEND - 9}h10v10h-10z' fill='{colour}'/>{text(x + 16, LEGEND, name)}"
        for x, (colour, name) in zip(places, named, strict=False)
    )
