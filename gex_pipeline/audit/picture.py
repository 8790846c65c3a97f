"""The coverage calendar: feeds by trading days as an SVG picture, a colour and a letter for each state."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from html import escape

from gex_pipeline.audit.coverage import DayCoverage
from gex_pipeline.audit.states import STATES, State

# Told apart by people who do not tell red from green, and on light and dark ground.
COLOURS: dict[State, str] = {
    "complete": "#2f9e72",
    "partial": "#e0a100",
    "missing": "#8a8f98",
    "conflicting": "#b455a8",
    "never_exported": "#3f8fd2",
    "about_to_expire": "#d9480f",
    "expired": "#b58863",
    "never_published": "#c5cad3",
}
LETTERS: dict[State, str] = {
    "complete": "",
    "partial": "p",
    "missing": "m",
    "conflicting": "c",
    "never_exported": "n",
    "about_to_expire": "!",
    "expired": "x",
    "never_published": "-",
}
# So many sessions fit into one line of the picture, about three months.
DAYS_IN_LINE = 66
_CELL, _STEP, _ROW, _TOP, _LABEL_CHARACTER, _INK = 12, 14, 18, 26, 7.2, "#7d8590"
_FEWEST_NAMED, _LETTER_INK = 5, "#0b1220"


def draw(days: Sequence[DayCoverage]) -> str:
    """Return the picture of days, by feed and date, as SVG; its ground is transparent."""
    feeds = sorted({day.partition.feed.key for day in days})
    found = {(day.partition.feed.key, day.partition.date): day.state for day in days}
    dates = sorted({date for _, date in found})
    lines = [dates[start : start + DAYS_IN_LINE] for start in range(0, len(dates), DAYS_IN_LINE)]
    left = int(max((len(feed) for feed in feeds), default=0) * _LABEL_CHARACTER) + 14
    shapes: list[str] = []
    y = 0
    for line in lines:
        shapes += _months(line, left, y + 10)
        y += _TOP - 8
        for feed in feeds:
            shapes.append(_text(0, y + 10, feed))
            for column, date in enumerate(line):
                if state := found.get((feed, date)):
                    shapes += _cell(left + column * _STEP, y, state)
            y += _ROW
        y += 10
    legend, legend_width = _legend(Counter(found.values()), y + 4)
    width = max(left + _STEP * max(map(len, lines), default=0), legend_width, 780)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 24}" '
        f'viewBox="0 0 {width} {y + 24}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12">'
        f"{''.join(shapes + legend)}</svg>"
    )


def _months(line: Sequence[dt.date], left: int, y: int) -> list[str]:
    """Return the names of the months above their first days; of one with few days there is no room for its name."""
    days = Counter((date.year, date.month) for date in line)
    first = {(date.year, date.month): column for column, date in reversed(list(enumerate(line)))}
    return [
        _text(left + column * _STEP, y, f"{line[column]:%b %Y}")
        for month, column in first.items()
        if days[month] >= _FEWEST_NAMED
    ]


def _legend(counts: Counter[State], y: int) -> tuple[list[str], int]:
    """Return what the states that occur look like, and how wide that is."""
    shapes: list[str] = []
    x = 0
    for state in (state for state in STATES if counts[state]):
        label = f"{state.replace('_', ' ')} {counts[state]:,}"
        shapes += [*_cell(x, y, state), _text(x + 18, y + 10, label)]
        x += 18 + int(len(label) * _LABEL_CHARACTER) + 16
    return shapes, x


def _cell(x: int, y: int, state: State) -> list[str]:
    cell = f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="2" fill="{COLOURS[state]}"/>'
    letter = LETTERS[state]
    return [cell, _text(x + 3, y + 9, letter, size=9, ink=_LETTER_INK)] if letter else [cell]


def _text(x: int, y: int, text: str, *, size: int = 12, ink: str = _INK) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{ink}">{escape(text)}</text>'
