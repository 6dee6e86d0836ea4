"""L1 and L2: the feature store, and the scores that are made of features."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandera.polars as pa
import polars as pl

from assay.base.domain import INTERVALS, format_instant
from assay.gates.contract import INSTANT, Contract, ContractResult, Rule, Violation, neighbours_equal

MEAN_TOLERANCE = 1e-12
OSCILLATOR_TOLERANCE = 1e-9
"""Oscillators are ratios times 100 and may miss a bound by their last bits."""
N_VOTES = 26
RATINGS = ("recommend_all", "recommend_ma", "recommend_other")
OSCILLATORS = ("rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d")
SCORE_FLOOR = 0.001
"""A feature that is its own score is cut to [0.001, 1]: beyond these bounds it varies without a trace in the score."""

_L1_COLUMNS: Mapping[str, pa.Column] = {
    "symbol": pa.Column(pl.String, nullable=False),
    "open_time": pa.Column(INSTANT, nullable=False),
    **{name: pa.Column(pl.Float64, nullable=True) for name in (*RATINGS, *OSCILLATORS)},
}


def check_l1(frame: pl.DataFrame, as_of: dt.datetime, interval: str = "1d") -> ContractResult:
    """Check rows of the feature store (the lake's ``ratings``).

    Filter faults, by row ``<symbol> <open time>``: ``L1_RATING_RANGE``, ``L1_VOTE`` (-1, 0, 1),
    ``L1_OSCILLATOR_RANGE``, ``L1_MEAN`` (all = mean of the two). Fatal: ``L1_FUTURE`` (a bar that had not closed at the
    decision), ``L1_VOTES`` (not 26 of them), ``L1_DUPLICATE_KEY``, ``L1_EMPTY``, and missing or mistyped columns.

    Parameters
    ----------
    frame : DataFrame
        Columns of the ratings table; null where a value could not be computed.
    as_of : datetime
        Instant of the decision.
    interval : str
        Length of the bars.
    """
    values = (len(RATINGS) + len(OSCILLATORS) + N_VOTES) * _height(frame)
    return _L1.check(frame, values, {"L1_FUTURE": _future_rule(as_of, interval)})


def _height(frame: pl.DataFrame) -> int:
    """Return the number of rows; a lazy frame has none yet, and is refused."""
    return frame.height if isinstance(frame, pl.DataFrame) else 0


def _row_rules() -> dict[str, Rule]:
    every, averages, others = (pl.col(name) for name in RATINGS)
    ratings = pl.any_horizontal(~pl.col(name).is_between(-1.0, 1.0) for name in RATINGS)
    low, high = -OSCILLATOR_TOLERANCE, 100.0 + OSCILLATOR_TOLERANCE
    oscillators = pl.any_horizontal(~pl.col(name).is_between(low, high) for name in OSCILLATORS)
    # A NaN compares as greater than every number. A null, what is not known, is a fault only where its parts are known.
    mean = (every - (averages + others) / 2.0).abs() > MEAN_TOLERANCE
    parted = every.is_null() != (averages.is_null() | others.is_null())
    return {
        "L1_RATING_RANGE": _row_rule("L1_RATING_RANGE", "a rating is outside [-1, 1]", ratings),
        "L1_VOTE": _vote_rule,
        "L1_OSCILLATOR_RANGE": _row_rule("L1_OSCILLATOR_RANGE", "an oscillator is outside [0, 100]", oscillators),
        "L1_MEAN": _row_rule("L1_MEAN", "recommend_all is not the mean of the two", mean.fill_null(False) | parted),
    }


def _row_names() -> pl.Expr:
    return pl.format("{} {}", "symbol", pl.col("open_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _row_rule(code: str, what: str, fault: pl.Expr) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        wrong = frame.filter(fault.fill_null(False))
        return [Violation(code, name, what) for name in wrong.select(_row_names()).to_series()]

    return rule


def _without_rows(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.filter(~_row_names().is_in(names))


def _votes(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith("vote_")]


def _votes_rule(frame: pl.DataFrame) -> list[Violation]:
    found = [name for name in _votes(frame) if frame.schema[name].is_integer()]
    if len(found) == len(_votes(frame)) == N_VOTES:
        return []
    what = f"{len(found)} whole votes of {len(_votes(frame))}, {N_VOTES} needed"
    return [Violation("L1_VOTES", "vote_*", what)]


def _vote_rule(frame: pl.DataFrame) -> list[Violation]:
    fault = pl.any_horizontal(~pl.col(name).is_between(-1, 1) for name in _votes(frame))
    return _row_rule("L1_VOTE", "a vote is not -1, 0 or 1", fault)(frame)


def _duplicate_keys(frame: pl.DataFrame) -> list[Violation]:
    twice = neighbours_equal(frame, ["symbol", "open_time"]).select(_row_names()).to_series()
    return [Violation("L1_DUPLICATE_KEY", name, "stands more than once") for name in twice]


def _future_rule(as_of: dt.datetime, interval: str) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        late = frame.filter(pl.col("open_time") + INTERVALS[interval] > pl.lit(as_of).cast(INSTANT))
        what = f"was not known at {format_instant(as_of)}"
        return [Violation("L1_FUTURE", name, what) for name in late.select(_row_names()).to_series()]

    return rule


_ROW_RULES = _row_rules()

_L1 = Contract(
    layer="L1",
    name="FeatureStoreSchema",
    columns=_L1_COLUMNS,
    shape={"L1_VOTES": _votes_rule},
    rules={"L1_DUPLICATE_KEY": _duplicate_keys, **_ROW_RULES},
    filters=frozenset(_ROW_RULES),
    keep=_without_rows,
)

FeatureStoreSchema = _L1.schema()

_L2_COLUMNS: Mapping[str, pa.Column] = {
    "atom_id": pa.Column(pl.String, nullable=False),
    "alpha_score": pa.Column(pl.Float64, nullable=True),
}


def check_l2(frame: pl.DataFrame, atoms: Iterable[str]) -> ContractResult:
    """Check the scores of candidates.

    Filter faults, by row: ``L2_NULL`` and ``L2_RANGE`` of ``alpha_score`` or a ``*_prob`` column. Fatal: ``L2_ATOMS``
    (not one row for each candidate atom), ``L2_NO_SCORES``, ``L2_NO_FEATURE`` (a score without its raw feature),
    ``L2_DTYPE``, ``L2_CONSTANT_SCORE`` (the raw feature varies, its score does not), ``L2_EMPTY``.

    Parameters
    ----------
    frame : DataFrame
        ``atom_id``, ``alpha_score``, and for each feature its raw value ``<feature>`` and ``<feature>_prob``.
    atoms : iterable of str
        Ids of the candidate atoms.
    """
    values = (1 + len(_scores(frame))) * frame.height if isinstance(frame, pl.DataFrame) else 0
    return _L2.check(frame, values, {"L2_ATOMS": _atoms_rule(list(atoms))})


def _without_atoms(frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    return frame.filter(~pl.col("atom_id").is_in(names))


def _scores(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.endswith("_prob")]


def _atoms_rule(atoms: list[str]) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        wanted, found = Counter(atoms), Counter(frame["atom_id"].to_list())
        wrong = sorted(name for name in wanted.keys() | found.keys() if not wanted[name] == found[name] == 1)
        return [Violation("L2_ATOMS", name, f"{wanted[name]} asked for, {found[name]} there") for name in wrong]

    return rule


def _no_scores(frame: pl.DataFrame) -> list[Violation]:
    return [] if _scores(frame) else [Violation("L2_NO_SCORES", "*_prob", "there is no score column")]


def _no_feature(frame: pl.DataFrame) -> list[Violation]:
    orphans = [name for name in _scores(frame) if name.removesuffix("_prob") not in frame.columns]
    return [Violation("L2_NO_FEATURE", name, "its raw feature is not in the table") for name in orphans]


def _mistyped(frame: pl.DataFrame) -> list[Violation]:
    pairs = {name for score in _scores(frame) for name in (score, score.removesuffix("_prob"))}
    wrong = [name for name, dtype in frame.schema.items() if name in pairs and dtype != pl.Float64]
    return [Violation("L2_DTYPE", name, f"is {frame.schema[name]}, not Float64") for name in wrong]


def _score_rule(code: str, what: str, fault: Callable[[pl.Expr], pl.Expr]) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        names = ["alpha_score", *_scores(frame)]
        faults = frame.select("atom_id", *(fault(pl.col(name)).fill_null(False) for name in names))
        wrong = faults.filter(pl.any_horizontal(names))
        return [Violation(code, row[0], f"{_first(names, row[1:])} {what}") for row in wrong.iter_rows()]

    return rule


def _first(names: Sequence[str], flags: Sequence[bool]) -> str:
    return next(name for name, flag in zip(names, flags, strict=True) if flag)


def _constant_scores(frame: pl.DataFrame) -> list[Violation]:
    what = "is constant while its raw feature varies"
    pairs = [(name, name.removesuffix("_prob")) for name in _scores(frame)]
    stuck = [score for score, raw in pairs if _stuck(frame[score], frame[raw])]
    return [Violation("L2_CONSTANT_SCORE", name, what) for name in stuck]


def _stuck(score: pl.Series, raw: pl.Series) -> bool:
    values = raw.to_numpy().astype(np.float64)
    known = np.isfinite(values)
    seen, scores = values[known], score.to_numpy()[known]
    if seen.size < 2 or seen.min() == seen.max() or not (scores == scores[0]).all():
        return False
    return not (seen.max() <= SCORE_FLOOR == scores[0] or (seen.min() >= 1.0 and scores[0] == 1.0))


_L2 = Contract(
    layer="L2",
    name="InferenceSchema",
    columns=_L2_COLUMNS,
    shape={"L2_NO_SCORES": _no_scores, "L2_NO_FEATURE": _no_feature, "L2_DTYPE": _mistyped},
    rules={
        "L2_CONSTANT_SCORE": _constant_scores,
        "L2_NULL": _score_rule("L2_NULL", "is missing", lambda score: score.is_null() | score.is_nan()),
        "L2_RANGE": _score_rule("L2_RANGE", "is outside [0, 1]", lambda score: ~score.is_between(0.0, 1.0)),
    },
    filters=frozenset({"L2_NULL", "L2_RANGE"}),
    keep=_without_atoms,
)

InferenceSchema = _L2.schema()
