from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandera.errors
import polars as pl
import pytest
from contract_tables import AS_OF, BTC, atoms, returns, synthetic

from assay.base.domain import DAY, Atom
from assay.gates.contract import ContractResult
from assay.gates.returns import ReturnsMatrixSchema, SyntheticReturnsSchema, check_l0, check_l3

COIN = "BINANCE:A002USDT"


def codes(result: ContractResult) -> set[str]:
    return {violation.code for violation in result.violations}


def cell(frame: pl.DataFrame, column: str, row: int, value: float | None) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=pl.Float64))


def dates(frame: pl.DataFrame, change: Callable[[list[dt.datetime]], list[dt.datetime]]) -> pl.DataFrame:
    return frame.with_columns(pl.Series("date", change(frame["date"].to_list()), dtype=frame.schema["date"]))


def swapped(days: list[dt.datetime]) -> list[dt.datetime]:
    days[3], days[4] = days[4], days[3]
    return days


# --- L0 -------------------------------------------------------------------------------------------


def test_a_clean_returns_matrix_passes_and_is_handed_on_as_it_is() -> None:
    frame = returns()
    result = check_l0(frame)
    assert result.action == "passed"
    assert (result.layer, result.schema, result.rows, result.columns) == ("L0", "ReturnsMatrixSchema", 300, 5)
    assert result.checked == 300 * 4
    assert result.violations == []
    assert result.dropped == []
    assert result.frame is frame


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (lambda frame: cell(frame, COIN, 9, float("inf")), "L0_NOT_FINITE"),
        (lambda frame: cell(frame, COIN, 9, float("-inf")), "L0_NOT_FINITE"),
        (lambda frame: cell(frame, COIN, 9, float("nan")), "L0_NOT_FINITE"),
        (lambda frame: cell(frame, COIN, 9, 5.000001), "L0_RANGE"),
        (lambda frame: cell(frame, COIN, 9, -1.0), "L0_RANGE"),
        (lambda frame: frame.with_columns(pl.lit(0.25).alias(COIN)), "L0_ZERO_VARIANCE"),
        (lambda frame: frame.with_columns(pl.col(COIN).shift(49)), "L0_OBSERVATIONS"),
        (lambda frame: frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(COIN)), "L0_OBSERVATIONS"),
    ],
)
def test_a_faulty_column_is_named_and_left_out(mutate: Callable[[pl.DataFrame], pl.DataFrame], code: str) -> None:
    frame = mutate(returns())
    result = check_l0(frame)
    assert result.action == "filtered"
    assert code in codes(result)
    assert {violation.where for violation in result.violations} == {COIN}
    assert result.dropped == [COIN]
    assert result.frame is not None
    assert result.frame.equals(frame.drop(COIN))
    assert check_l0(result.frame).action == "passed"


def test_bounds_that_are_allowed_pass() -> None:
    frame = cell(cell(returns(), COIN, 9, 5.0), COIN, 10, -0.999999)
    assert check_l0(frame).action == "passed"
    assert check_l0(returns().with_columns(pl.col(COIN).shift(48))).action == "passed"
    assert check_l0(returns().with_columns(pl.col(COIN).shift(49)), floor=251).action == "passed"


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (lambda frame: dates(frame, swapped), "L0_INDEX"),
        (lambda frame: dates(frame, lambda days: [*days[:-1], days[-2]]), "L0_INDEX"),
        (lambda frame: dates(frame, lambda days: [*days[:-1], days[-1] + DAY]), "L0_INDEX"),
        (lambda frame: dates(frame, lambda days: [day + dt.timedelta(hours=1) for day in days]), "L0_INDEX"),
        (lambda frame: frame.reverse(), "L0_INDEX"),
        (lambda frame: frame.with_row_index("n").filter(pl.col("n") != 100).drop("n"), "L0_INDEX"),
        (lambda frame: frame.with_columns(pl.col("date").dt.replace_time_zone(None)), "L0_WRONG_DATATYPE"),
        (lambda frame: frame.with_columns(pl.col("date").dt.cast_time_unit("ms")), "L0_WRONG_DATATYPE"),
        (lambda frame: frame.with_columns(pl.col("date").dt.convert_time_zone("Asia/Tokyo")), "L0_WRONG_DATATYPE"),
        (lambda frame: frame.drop("date"), "L0_COLUMN_NOT_IN_DATAFRAME"),
        (
            lambda frame: frame.with_columns(pl.when(pl.col("date") < AS_OF - DAY).then("date")),
            "L0_SERIES_CONTAINS_NULLS",
        ),
        (lambda frame: frame.with_columns(pl.col(COIN).cast(pl.Float32)), "L0_DTYPE"),
        (lambda frame: frame.with_columns(pl.col(COIN).cast(pl.String)), "L0_DTYPE"),
        (lambda frame: frame.with_columns(pl.col(COIN).alias(f"{COIN}_duplicated_0")), "L0_DUPLICATE_COLUMN"),
        (
            lambda frame: frame.rename({COIN: "X:\u00c4"}).with_columns(pl.col(BTC).alias("X:A\u0308")),
            "L0_DUPLICATE_COLUMN",
        ),
        (lambda frame: frame.drop(BTC), "L0_BENCHMARK"),
        (lambda frame: cell(frame, BTC, 9, float("inf")), "L0_BENCHMARK"),
        (lambda frame: frame.with_columns(pl.lit(0.0).alias(BTC)), "L0_BENCHMARK"),
        (lambda frame: frame.head(251), "L0_BENCHMARK"),
        (lambda frame: frame.clear(), "L0_BENCHMARK"),
    ],
)
def test_a_fault_of_structure_is_fatal(mutate: Callable[[pl.DataFrame], pl.DataFrame], code: str) -> None:
    result = check_l0(mutate(returns()))
    assert result.action == "failed"
    assert code in codes(result)
    assert result.frame is None
    assert result.dropped == []


def test_a_day_that_stands_twice_is_told_as_such() -> None:
    result = check_l0(dates(returns(), lambda days: [*days[:-1], days[-2]]))
    assert [violation.what for violation in result.violations] == ["days are not strictly increasing"]


@pytest.mark.parametrize("frame", [pl.DataFrame(), returns().select("date"), pl.DataFrame(schema=returns().schema)])
def test_checking_nothing_is_fatal(frame: pl.DataFrame) -> None:
    result = check_l0(frame)
    assert result.action == "failed"
    assert result.checked == 0
    assert result.violations


def test_a_matrix_of_the_benchmark_alone_passes_and_one_of_faulty_columns_does_not() -> None:
    assert check_l0(returns().select("date", BTC)).action == "passed"
    assert (
        check_l0(returns().select("date", COIN).with_columns(pl.lit(1.0).alias(COIN)), benchmark=COIN).action
        == "failed"
    )


def test_lazy_frames_are_refused() -> None:
    with pytest.raises(TypeError, match="LazyFrame"):
        check_l0(returns().lazy())  # type: ignore[arg-type]  # a lazy frame is what must be refused


def test_the_schema_alone_is_pandera_s() -> None:
    assert ReturnsMatrixSchema.validate(returns()).height == 300
    with pytest.raises(pandera.errors.SchemaError, match="L0_RANGE"):
        ReturnsMatrixSchema.validate(cell(returns(), COIN, 9, 6.0))


def test_the_event_is_what_the_ledger_takes() -> None:
    event = check_l0(cell(returns(), COIN, 9, 6.0)).as_event()
    assert event == {
        "layer": "L0",
        "schema": "ReturnsMatrixSchema",
        "rows": 300,
        "columns": 5,
        "checked": 1200,
        "action": "filtered",
        "violations": 1,
        "details": {
            "violations": [{"code": "L0_RANGE", "where": COIN, "what": "a return is outside (-1, 5]"}],
            "dropped": [COIN],
        },
    }


# --- L3 -------------------------------------------------------------------------------------------

RETURNS = returns()
SHORTS = atoms(RETURNS)
LONGS = atoms(RETURNS, "LONG")
SHORT = SHORTS[2]


@pytest.mark.parametrize(("winners", "direction"), [(SHORTS, "SHORT"), (LONGS, "LONG"), (SHORTS[:1], "SHORT")])
def test_clean_synthetic_returns_pass(winners: list[Atom], direction: str) -> None:
    frame = synthetic(RETURNS, winners)
    result = check_l3(frame, RETURNS, winners, direction)
    assert result.action == "passed"
    assert result.checked == 300 * len(winners)
    assert result.frame is frame


def test_a_short_loses_at_most_what_was_staked() -> None:
    # The jump of 500 % in the matrix is a loss of 100 %, and clipping is not optional.
    clipped = synthetic(RETURNS, SHORTS)
    assert clipped[SHORTS[1].id][11] == -1.0
    raw = clipped.with_columns((-RETURNS[SHORTS[1].symbol]).alias(SHORTS[1].id))
    result = check_l3(raw, RETURNS, SHORTS, "SHORT")
    assert {"L3_SHORT_NOT_INVERTED", "L3_RANGE"} <= codes(result)


def swap(frame: pl.DataFrame, one: str, other: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(one).alias(other), pl.col(other).alias(one))


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (lambda frame: frame.with_columns(-pl.col(SHORT.id)), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: frame.with_columns(RETURNS[SHORT.symbol].alias(SHORT.id)), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: swap(frame, SHORTS[0].id, SHORT.id), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: cell(frame, SHORT.id, 50, frame[SHORT.id][50] + 1e-15), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: cell(frame, SHORT.id, 50, None), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: frame.with_columns(pl.col(SHORTS[1].id).fill_null(0.0)), "L3_SHORT_NOT_INVERTED"),
        (lambda frame: cell(frame, SHORT.id, 50, float("nan")), "L3_NOT_FINITE"),
        (lambda frame: cell(frame, SHORT.id, 50, float("inf")), "L3_NOT_FINITE"),
        (lambda frame: cell(frame, SHORT.id, 50, -1.01), "L3_RANGE"),
        (lambda frame: cell(frame, SHORT.id, 50, 5.01), "L3_RANGE"),
        (lambda frame: frame.drop(SHORT.id), "L3_COLUMNS"),
        (lambda frame: frame.with_columns(pl.lit(0.5).alias("X")), "L3_COLUMNS"),
        (lambda frame: frame.with_columns(pl.col(SHORT.id).cast(pl.Float32)), "L3_DTYPE"),
        (lambda frame: dates(frame, swapped), "L3_INDEX"),
        (lambda frame: dates(frame, lambda days: [day + DAY for day in days]), "L3_INDEX_DIFFERS"),
        (lambda frame: frame.tail(299), "L3_INDEX_DIFFERS"),
        (lambda frame: frame.with_columns(pl.col("date").dt.replace_time_zone(None)), "L3_WRONG_DATATYPE"),
        (lambda frame: frame.drop("date"), "L3_COLUMN_NOT_IN_DATAFRAME"),
    ],
)
def test_every_fault_of_synthetic_returns_is_fatal(mutate: Callable[[pl.DataFrame], pl.DataFrame], code: str) -> None:
    result = check_l3(mutate(synthetic(RETURNS, SHORTS)), RETURNS, SHORTS, "SHORT")
    assert result.action == "failed"
    assert code in codes(result)
    assert result.frame is None


@pytest.mark.parametrize("change", [lambda r: -r, lambda r: r.clip(-1.0, 1.0), lambda r: r * 1.1, lambda r: r.shift()])
def test_a_long_that_is_not_its_physical_column_is_fatal(change: Callable[[pl.Expr], pl.Expr]) -> None:
    frame = synthetic(RETURNS, LONGS)
    assert "L3_LONG_MISMATCH" in codes(
        check_l3(frame.with_columns(change(pl.col(LONGS[1].id))), RETURNS, LONGS, "LONG")
    )


@pytest.mark.parametrize(("direction", "wrong"), [("LONG", 4), ("SHORT", 1)])
def test_an_atom_that_points_another_way_than_its_profile_is_fatal(direction: str, wrong: int) -> None:
    mixed = [*SHORTS, Atom(BTC, "rating_ma", "LONG")]
    result = check_l3(synthetic(RETURNS, mixed), RETURNS, mixed, direction)
    assert result.action == "failed"
    assert [violation.code for violation in result.violations] == ["L3_DIRECTION"] * wrong


def test_a_winner_whose_symbol_is_not_in_the_matrix_is_fatal() -> None:
    result = check_l3(synthetic(RETURNS, SHORTS), RETURNS.drop(SHORT.symbol), SHORTS, "SHORT")
    assert {(one.code, one.where) for one in result.violations} == {("L3_PHYSICAL_COLUMN", SHORT.id)}


def test_a_winner_named_twice_is_fatal() -> None:
    result = check_l3(synthetic(RETURNS, SHORTS), RETURNS, [*SHORTS, SHORT], "SHORT")
    assert codes(result) == {"L3_COLUMNS"}


def test_no_winner_is_nothing_checked() -> None:
    result = check_l3(RETURNS.select("date"), RETURNS, [], "SHORT")
    assert codes(result) == {"L3_EMPTY"}
    assert result.action == "failed"


def test_the_schema_of_streams_alone() -> None:
    frame = synthetic(RETURNS, SHORTS)
    assert SyntheticReturnsSchema.validate(frame).height == 300
    with pytest.raises(pandera.errors.SchemaError, match="L3_RANGE"):
        SyntheticReturnsSchema.validate(cell(frame, SHORT.id, 3, -np.e))
