from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from alpha_worlds import FIRST
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assay.alpha.synthesis import synthetic, synthetic_frame
from assay.base.domain import Atom
from assay.market.returns import ReturnsMatrix

TABLES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-1, 5) | st.just(np.nan),
)


def test_worked_example() -> None:
    physical = np.array([[0.25, 0.25, 0.25], [-0.5, -0.5, -0.5], [3.0, 3.0, 3.0], [1.0, 1.0, 1.0]])
    expected = np.array([[0.25, -0.25, 0.25], [-0.5, 0.5, -0.5], [3.0, -1.0, 3.0], [1.0, -1.0, 1.0]])
    np.testing.assert_array_equal(synthetic(physical, [1, -1, 1]), expected)


@given(TABLES)
def test_a_short_loses_at_most_everything_and_nan_stays(table: np.ndarray) -> None:
    short = synthetic(table, [-1] * table.shape[1])
    np.testing.assert_array_equal(np.isnan(short), np.isnan(table))
    assert np.nanmin(short, initial=0.0) >= -1.0
    assert np.nanmax(short, initial=0.0) <= 1.0
    np.testing.assert_array_equal(synthetic(table, [1] * table.shape[1]), table)


@given(TABLES)
def test_below_plus_100_percent_a_short_is_the_mirror_of_the_long(table: np.ndarray) -> None:
    calm = np.minimum(table, 1.0)
    np.testing.assert_array_equal(synthetic(calm, [-1] * table.shape[1]), -calm)


def test_input_is_not_changed() -> None:
    table = np.array([[0.1, 0.2]])
    synthetic(table, [1, -1])[:] = 9.0
    np.testing.assert_array_equal(table, [[0.1, 0.2]])


@pytest.mark.parametrize("signs", [[1], [1, 0], [1, -2], [[1, -1]]])
def test_signs_that_do_not_fit_are_refused(signs: list[int]) -> None:
    with pytest.raises(ValueError):
        synthetic(np.zeros((3, 2)), signs)


def test_frame_has_a_column_per_atom_in_their_order() -> None:
    days = FIRST + np.arange(2)
    atoms = [Atom("X:BUSDT", "rating_ma", "SHORT"), Atom("X:AUSDT", "rating_all", "LONG")]
    values = np.array([[0.1, 7.0, 0.5], [np.nan, 7.0, 2.0]])
    frame = synthetic_frame(ReturnsMatrix(days, ("X:AUSDT", "X:BTCUSDT", "X:BUSDT"), values, "X:BTCUSDT", []), atoms)
    day = dt.datetime(2022, 1, 1, tzinfo=dt.UTC)
    expected = pl.DataFrame(
        {
            "date": pl.Series([day, day + dt.timedelta(days=1)], dtype=pl.Datetime("us", "UTC")),
            "X:BUSDT_rating_ma_SHORT": [-0.5, -1.0],
            "X:AUSDT_rating_all_LONG": [0.1, None],
        }
    )
    assert frame.equals(expected)
    assert frame.schema == expected.schema


def test_frame_refuses_double_atoms_and_missing_columns() -> None:
    atom = Atom("X:AUSDT", "rating_all", "LONG")
    returns = ReturnsMatrix(FIRST + np.arange(1), ("X:AUSDT",), np.zeros((1, 1)), "X:AUSDT", [])
    with pytest.raises(ValueError, match="twice"):
        synthetic_frame(returns, [atom, atom])
    with pytest.raises(ValueError, match="not in"):
        synthetic_frame(returns, [Atom("X:BUSDT", "rating_all", "LONG")])
