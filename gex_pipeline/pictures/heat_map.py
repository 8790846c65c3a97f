"""GEX by strike and time as a grid of values, and the grid as an image in diverging colours."""

from typing import NamedTuple

import numpy as np

from gex_pipeline.pictures.png import Bytes, indexed_png
from gex_pipeline.pictures.svg import Floats, Times

# Orange and blue are told apart by everybody; zero is neutral, and index 0 of the palette is nothing at all.
NEGATIVE, NEUTRAL, POSITIVE = (255, 140, 40), (36, 41, 49), (64, 156, 255)
SHADES = 16
MOST_ROWS = 130


class Ladders(NamedTuple):
    """Ladders one after the other, in the order of time; a row for each strike.

    Attributes:
        times: epoch milliseconds UTC, the same in all rows of a ladder.
        strikes: prices.
        values: GEX by volume; NaN where there is none.
    """

    times: Times
    strikes: Floats
    values: Floats


class Prices(NamedTuple):
    """The rows of a grid: the lowest edge, and how much each is high."""

    lowest: float
    step: float
    rows: int

    @property
    def highest(self) -> float:
        """The upper edge of the last row."""
        return self.lowest + self.rows * self.step


def prices_shown(ladders: Ladders, lines: Floats) -> Prices:
    """Choose rows of whole strikes that hold all but 2 % of the exposure, and the prices of the lines (NaN: none)."""
    steps = np.diff(ladders.strikes)[ladders.times[1:] == ladders.times[:-1]]
    steps = steps[steps > 0]
    step = float(np.median(steps)) if len(steps) else 1.0
    order = np.argsort(ladders.strikes)
    weights = np.abs(np.nan_to_num(ladders.values[order]))
    below, all_of_it = weights.cumsum() - weights, weights.sum()
    is_amid = (below + weights >= 0.01 * all_of_it) & (below <= 0.99 * all_of_it)
    shown = np.concatenate([ladders.strikes[order][is_amid], lines[np.isfinite(lines)]])
    lowest, highest = float(shown.min()) - 1.5 * step, float(shown.max()) + 1.5 * step
    step *= max(1, int(np.ceil((highest - lowest) / step / MOST_ROWS)))
    return Prices(lowest, step, max(1, int(np.ceil((highest - lowest) / step))))


def grid(ladders: Ladders, prices: Prices, columns: Times, oldest_ms: float) -> Floats:
    """Return the exposure at each price and moment; NaN where no strike is near or no ladder is young enough.

    A row is the sum of the strikes in it. One between two strikes has the value of the nearer one.

    Args:
        ladders: what there is.
        prices: the rows, from the lowest.
        columns: epoch milliseconds UTC; each shows the last ladder before it.
        oldest_ms: how long a ladder stands when none follows.
    """
    if not len(ladders.times):
        return np.full((prices.rows, len(columns)), np.nan)
    starts = np.flatnonzero(np.diff(ladders.times, prepend=-1))
    of_ladder = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(ladders.times)))
    row = np.floor((ladders.strikes - prices.lowest) / prices.step).astype(np.int64)
    is_shown = (row >= 0) & (row < prices.rows) & ~np.isnan(ladders.values)
    cells, size = (of_ladder * prices.rows + row)[is_shown], len(starts) * prices.rows
    sums = np.bincount(cells, ladders.values[is_shown], size).reshape(-1, prices.rows)
    counts = np.bincount(cells, minlength=size).reshape(-1, prices.rows)
    filled = _from_nearest(np.where(counts > 0, sums, np.nan))
    last = np.searchsorted(ladders.times[starts], columns, "right") - 1
    is_known = (last >= 0) & (columns - ladders.times[starts][last] <= oldest_ms)
    return np.where(is_known, filled[last].T, np.nan)


def _from_nearest(values: Floats) -> Floats:
    """Fill NaN between two numbers of a row with the nearer one."""
    place = np.arange(values.shape[1])
    is_known = ~np.isnan(values)
    before = np.maximum.accumulate(np.where(is_known, place, -1), axis=1)
    after = np.minimum.accumulate(np.where(is_known, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(place - before <= after - place, before, after)
    nearest = np.where((before < 0) | (after == len(place)), place, nearest)
    return np.take_along_axis(values, nearest, axis=1)


def strongest(values: Floats) -> float:
    """Return the exposure that has the strongest colour: 1 % are stronger; 0 when nothing is known."""
    known = np.abs(values[~np.isnan(values)])
    return float(np.quantile(known, 0.99)) if len(known) else 0.0


def shades(values: Floats, limit: float) -> Bytes:
    """Return each value's index in the palette: 0 for none, SHADES + 1 for zero, strength by the square root."""
    scaled = np.clip(np.nan_to_num(values) / (limit or 1), -1, 1)
    strength: Floats = np.rint(np.sign(scaled) * np.sqrt(np.abs(scaled)) * SHADES)
    indexes: Floats = np.where(np.isnan(values), 0, strength + SHADES + 1)
    return indexes.astype(np.uint8)


def palette() -> Bytes:
    """Return the colours: nothing, then from the strongest negative by way of the neutral one to the strongest."""
    share = np.linspace(1, 0, SHADES, endpoint=False)[:, None]
    negative, positive = (share * np.array(end) + (1 - share) * np.array(NEUTRAL) for end in (NEGATIVE, POSITIVE))
    colours = np.concatenate([[(0, 0, 0)], negative, [NEUTRAL], positive[::-1]])
    return colours.round().astype(np.uint8)


def heat_map_png(values: Floats, limit: float) -> bytes:
    """Return a grid, lowest price first, as an image with the highest price at the top."""
    return indexed_png(shades(values[::-1], limit), palette())
