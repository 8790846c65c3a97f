"""The heat map shows each strike's exposure where and when it was, and nothing where nothing is known."""

import numpy as np
import pytest

from gex_pipeline.pictures.heat_map import (
    MOST_ROWS,
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    Ladders,
    Prices,
    grid,
    heat_map_png,
    prices_shown,
)
from gex_pipeline.pictures.svg import Floats
from gex_pipeline_tests.pictures.seen import read_png

NONE: Floats = np.array([np.nan])
PRICES = Prices(lowest=97.5, step=5, rows=3)


def ladders(*each: tuple[int, dict[float, float]]) -> Ladders:
    """Arrange ladders, each a time and its values by strike."""
    rows = [(time, strike, value) for time, ladder in each for strike, value in ladder.items()]
    times, strikes, values = zip(*rows, strict=True)
    return Ladders(np.array(times), np.array(strikes, float), np.array(values, float))


def test_a_cell_has_the_last_exposure_said_before_its_moment() -> None:
    said = ladders((10, {100: 1, 105: 2, 110: 3}), (20, {100: -4, 105: -5, 110: -6}))
    columns = np.array([9, 10, 19, 20, 25, 26])
    assert np.array_equal(
        grid(said, PRICES, columns, 5),
        [
            [np.nan, 1, np.nan, -4, -4, np.nan],
            [np.nan, 2, np.nan, -5, -5, np.nan],
            [np.nan, 3, np.nan, -6, -6, np.nan],
        ],
        equal_nan=True,
    )


def test_strikes_that_share_a_row_add_up_and_a_row_between_two_takes_the_nearer_one() -> None:
    said = ladders((10, {99: 1, 101: 2, 116: 8}))
    assert grid(said, Prices(97.5, 5, 5), np.array([10]), 0)[:, 0].tolist()[:4] == [3, 3, 8, 8]
    assert np.isnan(grid(said, Prices(97.5, 5, 5), np.array([10]), 0)[4, 0])


def test_a_strike_without_a_value_counts_for_nothing() -> None:
    said = ladders((10, {100: np.nan, 105: 7}))
    assert np.array_equal(grid(said, PRICES, np.array([10]), 0)[:, 0], [np.nan, 7, np.nan], equal_nan=True)


def test_colours_are_orange_below_zero_neutral_at_zero_blue_above_and_nothing_where_nothing_is_known() -> None:
    values = np.array([[-9.0, 0.0], [9.0, np.nan]])
    seen = read_png(heat_map_png(values, 9)).tolist()
    assert seen == [[[*POSITIVE, 255], [0, 0, 0, 0]], [[*NEGATIVE, 255], [*NEUTRAL, 255]]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_more_exposure_is_never_a_fainter_colour(sign: int) -> None:
    values = sign * np.linspace(0, 1, 200)[None, :]
    seen = read_png(heat_map_png(values, 1))[0, :, :3].astype(int)
    away = np.abs(seen - np.array(NEUTRAL)).sum(axis=1)
    assert (np.diff(away) >= 0).all()
    assert away[-1] > away[50] > away[10] > away[0] == 0


def test_prices_hold_the_exposure_and_the_lines_but_not_every_distant_strike() -> None:
    far = {float(strike): 0.001 for strike in range(1000, 9000, 5)}
    said = ladders((10, far | {float(strike): 50.0 for strike in range(5000, 5101, 5)}))
    shown = prices_shown(said, np.array([4990.0, np.nan, 5050.0]))
    assert (shown.lowest, shown.step) == (4982.5, 5)
    assert 5100 < shown.highest < 5120


def test_a_long_ladder_is_drawn_in_rows_of_several_whole_strikes() -> None:
    said = ladders((10, {float(strike): 1.0 for strike in range(1000, 2000)}))
    shown = prices_shown(said, NONE)
    assert shown.step == 8
    assert shown.rows <= MOST_ROWS


@pytest.mark.parametrize("said", [ladders((10, {100: 0})), ladders((10, {100: np.nan}))])
def test_a_ladder_without_exposure_is_drawn_all_the_same(said: Ladders) -> None:
    values = grid(said, prices_shown(said, NONE), np.array([10]), 0)
    assert read_png(heat_map_png(values, 0)).shape[2] == 4
