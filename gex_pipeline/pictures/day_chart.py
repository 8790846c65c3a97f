"""A trading day at a glance: spot and zero gamma as lines, GEX by strike and time behind them."""

import base64
from typing import NamedTuple

import numpy as np

from gex_pipeline.pictures.heat_map import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    Ladders,
    Prices,
    grid,
    heat_map_png,
    prices_shown,
    strongest,
)
from gex_pipeline.pictures.svg import INK, PANEL, Floats, Times, document, polyline, text, time_axis

WIDTH, HEIGHT = 720, 330
LEFT, RIGHT, TOP, BOTTOM, LEGEND = 10, 662, 34, 306, 21
LINE_POINTS, COLUMN_MS = 652, 60_000
SPOT, ZERO_GAMMA = "#ffffff", "#ffe14d"


class Session(NamedTuple):
    """What is drawn of a feed's day, in the order of time.

    Attributes:
        title: which day of which feed.
        opened_ms: epoch milliseconds UTC.
        closed_ms: the same.
        times: of the snapshots, the same.
        spot: NaN where it is not known.
        zero_gamma: the same; 0 stands for "not yet".
        ladders: some of the day's ladders, one a minute or so.
        longest_step_ms: how long one snapshot may stand for what comes after.
    """

    title: str
    opened_ms: int
    closed_ms: int
    times: Times
    spot: Floats
    zero_gamma: Floats
    ladders: Ladders
    longest_step_ms: float


def day_chart(session: Session) -> str:
    """Return the chart as an SVG document; empty when no snapshot with a spot lies in the session."""
    moments = np.linspace(session.opened_ms, session.closed_ms, LINE_POINTS + 1)
    spot, zero_gamma = (_sampled(session, values, moments) for values in (session.spot, session.zero_gamma))
    zero_gamma = np.where(zero_gamma == 0, np.nan, zero_gamma)
    if np.isnan(spot).all():
        return ""
    prices = prices_shown(session.ladders, np.concatenate([spot, _near(zero_gamma, session.ladders)]))
    columns = np.arange(session.opened_ms, session.closed_ms, COLUMN_MS) + COLUMN_MS
    values = grid(session.ladders, prices, columns, max(COLUMN_MS, session.longest_step_ms))
    limit = strongest(values)
    image = base64.b64encode(heat_map_png(values, limit)).decode()
    x = LEFT + (RIGHT - LEFT) * np.arange(LINE_POINTS + 1) / LINE_POINTS
    frame = f"x='{LEFT}' y='{TOP}' width='{RIGHT - LEFT}' height='{BOTTOM - TOP}'"
    return document(
        WIDTH,
        HEIGHT,
        f"<clipPath id='c'><rect {frame}/></clipPath>"
        f"<image {frame} preserveAspectRatio='none' style='image-rendering:pixelated' "
        f"href='data:image/png;base64,{image}'/>",
        time_axis(session.opened_ms, session.closed_ms, LEFT, RIGHT, BOTTOM, WIDTH - 8),
        _price_axis(prices),
        "<g clip-path='url(#c)' fill='none' stroke-linejoin='round'>",
        _line(polyline(x, _height(prices, zero_gamma)), ZERO_GAMMA, "6 3"),
        _line(polyline(x, _height(prices, spot)), SPOT),
        "</g>",
        _legend(session.title, _last(spot), _last(zero_gamma), limit),
    )


def _sampled(session: Session, values: Floats, moments: Floats) -> Floats:
    """Return the last value before each moment; NaN where there is none or it is too old."""
    if not len(session.times):
        return np.full(len(moments), np.nan)
    last = np.searchsorted(session.times, moments, "right") - 1
    is_known = (last >= 0) & (moments - session.times[last] <= session.longest_step_ms)
    return np.where(is_known & (session.times[last] >= session.opened_ms), values[last], np.nan)


def _near(zero_gamma: Floats, ladders: Ladders) -> Floats:
    """Return the zero gammas that lie among the strikes; others are left outside the picture."""
    if not len(ladders.strikes):
        return zero_gamma
    is_near = (zero_gamma >= ladders.strikes.min()) & (zero_gamma <= ladders.strikes.max())
    return np.where(is_near, zero_gamma, np.nan)


def _height(prices: Prices, values: Floats) -> Floats:
    return BOTTOM - (BOTTOM - TOP) * (values - prices.lowest) / (prices.highest - prices.lowest)


def _line(path: str, colour: str, dashes: str = "") -> str:
    """Return a line with a dark edge, which keeps it apart from any colour behind it."""
    dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
    return (
        f"<path d='{path}' stroke='{PANEL}' stroke-width='4' stroke-opacity='.7'/>"
        f"<path d='{path}' stroke='{colour}' stroke-width='1.6'{dashed}/>"
        if path
        else ""
    )


def _price_axis(prices: Prices) -> str:
    levels = _round_levels(prices.lowest, prices.highest)
    heights = _height(prices, levels)
    lines = "".join(f"M{LEFT},{y:.0f}H{RIGHT}" for y in heights)
    names = "".join(text(RIGHT + 6, round(y) + 4, f"{level:,.10g}") for level, y in zip(levels, heights, strict=True))
    return f"<path d='{lines}' stroke='{INK}' stroke-opacity='.18'/>{names}"


def _round_levels(lowest: float, highest: float) -> Floats:
    """Return four to eight round prices between two."""
    rough = (highest - lowest) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(step for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if step >= rough * 0.75)
    levels: Floats = np.arange(np.ceil(lowest / step), np.floor(highest / step) + 1) * step
    return levels.round(6)


def _last(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else None


def _legend(title: str, spot: float | None, zero_gamma: float | None, limit: float) -> str:
    """Return what the lines and the colours stand for, in the line above the chart."""
    negative, neutral, positive = (f"rgb{colour}".replace(" ", "") for colour in (NEGATIVE, NEUTRAL, POSITIVE))
    stops = (
        f"<stop stop-color='{negative}'/><stop offset='.5' stop-color='{neutral}'/>"
        f"<stop offset='1' stop-color='{positive}'/>"
    )
    return (
        f"<g font-weight='600'>{text(LEFT, LEGEND, title)}</g>"
        f"<path d='M210,{LEGEND - 4}h16' stroke='{SPOT}' stroke-width='2'/>"
        f"{text(231, LEGEND, f'spot {_price(spot)}')}"
        f"<path d='M322,{LEGEND - 4}h20' stroke='{ZERO_GAMMA}' stroke-width='2' stroke-dasharray='6 3'/>"
        f"{text(347, LEGEND, f'zero gamma {_price(zero_gamma)}')}"
        f"<linearGradient id='g'>{stops}</linearGradient>"
        f"<rect x='612' y='{LEGEND - 9}' width='50' height='10' fill='url(#g)'/>"
        f"{text(606, LEGEND, f'GEX by volume &#8722;{_short(limit)}', 'end')}{text(668, LEGEND, f'+{_short(limit)}')}"
    )


def _short(value: float) -> str:
    """Return two or three digits of a number, thousands as k and so on."""
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2g}{name}" if value < 100 * size else f"{value / size:.0f}{name}"
    return f"{value:.3g}"


def _price(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
