from __future__ import annotations

from collections.abc import Callable

import pandera.errors
import polars as pl
import pytest
from contract_tables import AS_OF, BTC, OSCILLATORS, scores, store

from assay.base.domain import DAY
from assay.gates.contract import ContractResult
from assay.gates.scores import FeatureStoreSchema, InferenceSchema, check_l1, check_l2

Mutate = Callable[[pl.DataFrame], pl.DataFrame]


def codes(result: ContractResult) -> set[str]:
    return {violation.code for violation in result.violations}


def put(frame: pl.DataFrame, column: str, value: object, row: int = 1) -> pl.DataFrame:
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))


def rate(frame: pl.DataFrame, averages: float, others: float, every: float) -> pl.DataFrame:
    frame = put(put(frame, "recommend_ma", averages), "recommend_other", others)
    return put(frame, "recommend_all", every)


# --- L1 -------------------------------------------------------------------------------------------


def test_a_clean_feature_store_passes() -> None:
    frame = store()
    result = check_l1(frame, AS_OF)
    assert result.action == "passed"
    assert result.violations == []
    assert (result.schema, result.rows, result.checked) == ("FeatureStoreSchema", 3, 3 * (3 + 8 + 26))
    assert result.frame is frame


def test_what_could_not_be_computed_is_no_fault() -> None:
    """A young listing has averages before it has oscillators, and then their rating is the whole."""
    frame = store()
    for column in ("recommend_other", "rsi", "vote_v3"):
        frame = put(frame, column, None)
    assert check_l1(put(frame, "recommend_all", frame["recommend_ma"][1]), AS_OF).action == "passed"
    assert check_l1(put(frame, "recommend_all", None), AS_OF).action == "filtered"
    nothing = put(put(frame, "recommend_ma", None), "recommend_all", None)
    assert check_l1(nothing, AS_OF).action == "passed"


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (lambda frame: rate(frame, 1.0001, 0.0, 0.50005), "L1_RATING_RANGE"),
        (lambda frame: rate(frame, 0.0, -1.2, -0.6), "L1_RATING_RANGE"),
        (lambda frame: put(frame, "recommend_all", 1.01), "L1_RATING_RANGE"),
        (lambda frame: put(frame, "recommend_ma", float("nan")), "L1_RATING_RANGE"),
        (lambda frame: put(frame, "recommend_ma", float("inf")), "L1_RATING_RANGE"),
        (lambda frame: put(frame, "vote_v5", 2), "L1_VOTE"),
        (lambda frame: put(frame, "vote_v25", -2), "L1_VOTE"),
        *((lambda frame, name=name: put(frame, name, 100.01), "L1_OSCILLATOR_RANGE") for name in OSCILLATORS),
        (lambda frame: put(frame, "rsi", -0.01), "L1_OSCILLATOR_RANGE"),
        (lambda frame: put(frame, "adx", float("nan")), "L1_OSCILLATOR_RANGE"),
        (lambda frame: put(frame, "adx", float("inf")), "L1_OSCILLATOR_RANGE"),
        (lambda frame: rate(frame, 0.4, 0.2, 0.31), "L1_MEAN"),
        (lambda frame: put(frame, "recommend_all", None), "L1_MEAN"),
        (lambda frame: put(frame, "recommend_ma", None), "L1_MEAN"),
    ],
)
def test_a_faulty_row_is_named_and_left_out(mutate: Mutate, code: str) -> None:
    frame = mutate(store())
    result = check_l1(frame, AS_OF)
    assert result.action == "filtered"
    assert code in codes(result)
    assert result.dropped == [f"{BTC} 2024-01-21T00:00:00Z"]
    assert result.frame is not None
    assert result.frame.equals(frame.filter(pl.col("symbol") != BTC))
    assert check_l1(result.frame, AS_OF).action == "passed"


def later(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.col("symbol") == BTC).then(pl.col("open_time") + DAY).otherwise("open_time"))


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (later, "L1_FUTURE"),
        (lambda frame: frame.drop("vote_v7"), "L1_VOTES"),
        (lambda frame: frame.with_columns(pl.lit(1, dtype=pl.Int8).alias("vote_v26")), "L1_VOTES"),
        (lambda frame: frame.drop([f"vote_v{i}" for i in range(26)]), "L1_VOTES"),
        (lambda frame: frame.with_columns(pl.col("vote_v5").cast(pl.Float64)), "L1_VOTES"),
        (lambda frame: pl.concat([frame, frame.tail(1)]), "L1_DUPLICATE_KEY"),
        (lambda frame: frame.drop("recommend_other"), "L1_COLUMN_NOT_IN_DATAFRAME"),
        (lambda frame: frame.drop("stoch_rsi_k"), "L1_COLUMN_NOT_IN_DATAFRAME"),
        (lambda frame: frame.with_columns(pl.col("rsi").cast(pl.Float32)), "L1_WRONG_DATATYPE"),
        (lambda frame: frame.with_columns(pl.col("open_time").dt.replace_time_zone(None)), "L1_WRONG_DATATYPE"),
        (lambda frame: put(frame, "symbol", None), "L1_SERIES_CONTAINS_NULLS"),
        (lambda frame: frame.clear(), "L1_EMPTY"),
        (lambda frame: frame.with_columns(pl.lit(9.0).alias("recommend_all")), "L1_EMPTY"),
    ],
)
def test_a_fault_of_structure_is_fatal(mutate: Mutate, code: str) -> None:
    result = check_l1(mutate(store()), AS_OF)
    assert result.action == "failed"
    assert code in codes(result)
    assert result.frame is None


def test_a_bar_is_known_at_its_close_and_not_before() -> None:
    assert check_l1(store(), AS_OF).action == "passed"
    assert codes(check_l1(store(), AS_OF - DAY / 86_400)) == {"L1_FUTURE"}
    hourly = store().with_columns(pl.col("open_time") + DAY * 23 / 24)
    assert check_l1(hourly, AS_OF, "1h").action == "passed"
    assert check_l1(hourly, AS_OF, "1d").action == "failed"


def test_rows_of_one_symbol_at_several_times_are_told_apart() -> None:
    earlier = store().with_columns(pl.col("open_time") - DAY)
    both = pl.concat([put(earlier, "rsi", 101.0), store()])
    result = check_l1(both, AS_OF)
    assert result.dropped == [f"{BTC} 2024-01-20T00:00:00Z"]
    assert result.frame is not None
    assert result.frame.height == 5


def test_the_schema_of_the_feature_store_alone() -> None:
    assert FeatureStoreSchema.validate(store()).height == 3
    with pytest.raises(pandera.errors.SchemaError, match="L1_MEAN"):
        FeatureStoreSchema.validate(rate(store(), 0.4, 0.2, 0.31))


def test_ratings_of_recorded_bars_pass(shared: object) -> None:
    from assay.ratings import rate as rate_bars

    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").rename({"timestamp": "open_time"})
    some = bars.filter(pl.col("symbol").str.starts_with("BINANCE:A"))
    some = some.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")), pl.lit("1d").alias("interval"))
    ratings = rate_bars(some.sort("open_time", "symbol"))
    result = check_l1(ratings, ratings["open_time"].max() + DAY)
    assert result.violations == []
    assert result.action == "passed"
    assert result.rows > 30_000


# --- L2 -------------------------------------------------------------------------------------------

IDS = scores()["atom_id"].to_list()


def test_clean_scores_pass() -> None:
    frame = scores()
    result = check_l2(frame, IDS)
    assert result.action == "passed"
    assert (result.schema, result.checked) == ("InferenceSchema", 5 * 4)
    assert result.frame is frame


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("alpha_score", None, "L2_NULL"),
        ("alpha_score", float("nan"), "L2_NULL"),
        ("alpha_score", 1.0000001, "L2_RANGE"),
        ("alpha_score", float("inf"), "L2_RANGE"),
        ("momentum_prob", -1e-9, "L2_RANGE"),
        ("adx_prob", None, "L2_NULL"),
        ("adx_prob", float("nan"), "L2_NULL"),
        ("efficiency_prob", 1.5, "L2_RANGE"),
    ],
)
def test_a_faulty_score_is_named_and_its_atom_left_out(column: str, value: float | None, code: str) -> None:
    frame = put(scores(), column, value)
    result = check_l2(frame, IDS)
    assert result.action == "filtered"
    assert code in codes(result)
    assert result.dropped == [IDS[1]]
    assert column in next(violation.what for violation in result.violations if violation.code == code)
    assert result.frame is not None
    assert result.frame.equals(frame.filter(pl.col("atom_id") != IDS[1]))


@pytest.mark.parametrize(
    ("mutate", "code"),
    [
        (lambda frame: frame.head(4), "L2_ATOMS"),
        (lambda frame: pl.concat([frame, frame.head(1)]), "L2_ATOMS"),
        (lambda frame: put(frame, "atom_id", "X"), "L2_ATOMS"),
        (lambda frame: frame.with_columns(pl.lit(0.5).alias("adx_prob")), "L2_CONSTANT_SCORE"),
        (lambda frame: frame.drop("adx"), "L2_NO_FEATURE"),
        (lambda frame: frame.with_columns(pl.col("adx").cast(pl.String)), "L2_DTYPE"),
        (lambda frame: frame.with_columns(pl.col("adx_prob").cast(pl.String)), "L2_DTYPE"),
        (lambda frame: frame.drop("momentum_prob", "efficiency_prob", "adx_prob"), "L2_NO_SCORES"),
        (lambda frame: frame.drop("alpha_score"), "L2_COLUMN_NOT_IN_DATAFRAME"),
        (lambda frame: frame.with_columns(pl.col("alpha_score").cast(pl.String)), "L2_WRONG_DATATYPE"),
        (lambda frame: frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("alpha_score")), "L2_EMPTY"),
    ],
)
def test_a_fault_of_structure_of_scores_is_fatal(mutate: Mutate, code: str) -> None:
    result = check_l2(mutate(scores()), IDS)
    assert result.action == "failed"
    assert code in codes(result)


def test_no_candidates_is_nothing_checked() -> None:
    assert codes(check_l2(scores().clear(), [])) == {"L2_EMPTY"}


@pytest.mark.parametrize(
    ("raw", "score", "fault"),
    [
        ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], False),
        ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], True),
        ([1.0, None, None], [0.5, 0.01, 0.01], False),
        ([1.0, 1.0, None], [0.5, 0.5, 0.01], False),
        ([1.0, 2.0, None], [0.5, 0.5, 0.01], True),
        # A share below a thousandth, or above one, is cut to the bound of its score.
        ([0.0, 0.0004, 0.001], [0.001, 0.001, 0.001], False),
        ([0.0, 0.0004, 0.002], [0.001, 0.001, 0.001], True),
        ([0.0, 0.0004, 0.001], [0.5, 0.5, 0.5], True),
        ([1.0, 1.5, 2.0], [1.0, 1.0, 1.0], False),
        ([0.9, 1.5, 2.0], [1.0, 1.0, 1.0], True),
    ],
)
def test_a_score_may_stand_still_only_while_its_feature_does(
    raw: list[float | None], score: list[float], fault: bool
) -> None:
    columns = {"adx": pl.Series(raw, dtype=pl.Float64), "adx_prob": score}
    frame = scores(3).with_columns(**{name: pl.lit(pl.Series(values)) for name, values in columns.items()})
    assert ("L2_CONSTANT_SCORE" in codes(check_l2(frame, IDS[:3]))) is fault


def test_the_schema_of_scores_alone() -> None:
    assert InferenceSchema.validate(scores()).height == 5
    with pytest.raises(pandera.errors.SchemaError, match="L2_RANGE"):
        InferenceSchema.validate(put(scores(), "alpha_score", 2.0))
