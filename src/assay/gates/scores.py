"""L1 and L2: the feature store, and the scores that are made of features."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pandera.polars as pa
import polars as pl

from assay.base.domain import INTERVALS, RATINGS, format_instant
from assay.gates.contract import INSTANT, Contract, ContractResult, neighbours_equal
from assay.gates.rules import FILTERS, Violation, score_faults
from assay.ratings.soundness import BOUNDED, row_faults

N_VOTES = 26

_L1_COLUMNS: Mapping[str, pa.Column] = {
    "symbol": pa.Column(pl.String, nullable=False),
    "open_time": pa.Column(INSTANT, nullable=False),
    **{name: pa.Column(pl.Float64, nullable=True) for name in (*RATINGS, *BOUNDED)},
}


def check_l1(frame: pl.DataFrame, as_of: dt.datetime, interval: str = "1d") -> ContractResult:
    """Check rows of the feature store (the lake's ``ratings``).

    Filter faults, by row ``<symbol> <open time>``: ``L1_RATING_RANGE``, ``L1_VOTE`` (-1, 0, 1),
    ``L1_OSCILLATOR_RANGE``, ``L1_MEAN`` (all = mean of the two, or the one that exists). Fatal: ``L1_FUTURE`` (a bar
    that had not closed at the decision), ``L1_VOTES`` (not 26 of them), ``L1_DUPLICATE_KEY``, ``L1_EMPTY``, and missing
    or mistyped columns.

    Parameters
    ----------
    frame : DataFrame
        Columns of the ratings table; null where a value could not be computed.
    as_of : datetime
        Instant of the decision.
    interval : str
        Length of the bars.
    """
    values = (len(RATINGS) + len(BOUNDED) + N_VOTES) * _height(frame)
    return _L1.check(frame, values, lambda own: [*_l1_faults(own), *_future_faults(own, as_of, interval)])


def _height(frame: pl.DataFrame) -> int:
    """Return the number of rows; a lazy frame has none yet, and is refused."""
    return frame.height if isinstance(frame, pl.DataFrame) else 0


def _l1_faults(frame: pl.DataFrame) -> Iterator[Violation]:
    yield from _rows("L1_DUPLICATE_KEY", "stands more than once", neighbours_equal(frame, ["symbol", "open_time"]))
    for code, (what, fault) in row_faults(_votes(frame)).items():
        yield from _rows(code, what, frame.filter(fault.fill_null(False)))


def _future_faults(frame: pl.DataFrame, as_of: dt.datetime, interval: str) -> Iterator[Violation]:
    late = frame.filter(pl.col("open_time") + INTERVALS[interval] > pl.lit(as_of).cast(INSTANT))
    return _rows("L1_FUTURE", f"was not known at {format_instant(as_of)}", late)


def _rows(code: str, what: str, wrong: pl.DataFrame) -> Iterator[Violation]:
    return (Violation(code, name, what) for name in wrong.select(_row_names()).to_series())


def _row_names() -> pl.Expr:
    return pl.format("{} {}", "symbol", pl.col("open_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _votes(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.startswith("vote_")]


def _l1_shape(frame: pl.DataFrame) -> Iterator[Violation]:
    whole = sum(frame.schema[name].is_integer() for name in _votes(frame))
    if not whole == len(_votes(frame)) == N_VOTES:
        yield Violation("L1_VOTES", "vote_*", f"{whole} whole votes of {len(_votes(frame))}, {N_VOTES} needed")


_L1 = Contract(
    layer="L1",
    name="FeatureStoreSchema",
    columns=_L1_COLUMNS,
    rules=_l1_faults,
    shape=_l1_shape,
    filters=FILTERS["L1"],
    keep=lambda frame, names: frame.filter(~_row_names().is_in(names)),
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
    return _L2.check(frame, values, lambda own: [*_l2_faults(own), *_missing_atoms(own, Counter(atoms))])


def _scores(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name.endswith("_prob")]


def _missing_atoms(frame: pl.DataFrame, wanted: Counter[str]) -> Iterator[Violation]:
    found = Counter(frame["atom_id"].to_list())
    for name in sorted(wanted.keys() | found.keys()):
        if not wanted[name] == found[name] == 1:
            yield Violation("L2_ATOMS", name, f"{wanted[name]} asked for, {found[name]} there")


def _l2_shape(frame: pl.DataFrame) -> Iterator[Violation]:
    scores = _scores(frame)
    if not scores:
        yield Violation("L2_NO_SCORES", "*_prob", "there is no score column")
    for name in scores:
        if name.removesuffix("_prob") not in frame.columns:
            yield Violation("L2_NO_FEATURE", name, "its raw feature is not in the table")
    pairs = {name for score in scores for name in (score, score.removesuffix("_prob"))}
    for name, dtype in frame.schema.items():
        if name in pairs and dtype != pl.Float64:
            yield Violation("L2_DTYPE", name, f"is {dtype}, not Float64")


def _l2_faults(frame: pl.DataFrame) -> Iterator[Violation]:
    pairs = (name for score in _scores(frame) for name in (score, score.removesuffix("_prob")))
    columns = {name: frame[name].to_numpy() for name in ("alpha_score", *pairs)}
    return score_faults(frame["atom_id"].to_list(), columns)


_L2 = Contract(
    layer="L2",
    name="InferenceSchema",
    columns=_L2_COLUMNS,
    rules=_l2_faults,
    shape=_l2_shape,
    filters=FILTERS["L2"],
    keep=lambda frame, names: frame.filter(~pl.col("atom_id").is_in(names)),
)

InferenceSchema = _L2.schema()
