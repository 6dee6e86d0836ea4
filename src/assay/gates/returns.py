"""L0 and L3: the returns matrix, and the synthetic returns that are made of it."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandera.polars as pa
import polars as pl

from assay.base.domain import BENCHMARK, DAY, Atom, Direction
from assay.gates.contract import INSTANT, Contract, ContractResult, Floats, Mask, Rule, Violation

LARGEST_RETURN = 5.0
FLOOR = 252

Test = Callable[[pl.DataFrame], Mask]

_DATED: Mapping[str, pa.Column] = {"date": pa.Column(INSTANT, nullable=False)}


def check_l0(frame: pl.DataFrame, *, benchmark: str = BENCHMARK, floor: int = FLOOR) -> ContractResult:
    """Check the returns matrix.

    Filter faults, by column: ``L0_NOT_FINITE``, ``L0_RANGE`` (-1 < r <= 5), ``L0_OBSERVATIONS``, ``L0_ZERO_VARIANCE``.
    Fatal: ``L0_INDEX`` (daily, strictly increasing; another type than UTC microseconds is ``L0_WRONG_DATATYPE``),
    ``L0_DTYPE``, ``L0_DUPLICATE_COLUMN``, ``L0_BENCHMARK`` (missing, or itself at fault) and ``L0_EMPTY``.

    Parameters
    ----------
    frame : DataFrame
        ``date`` and one Float64 column of simple daily returns for each symbol, null where there is none.
    benchmark : str
        Column that a run cannot do without.
    floor : int
        Observations that a column needs.
    """
    more = {"L0_OBSERVATIONS": _observations_rule(floor), "L0_BENCHMARK": _benchmark_rule(benchmark, floor)}
    return _L0.check(frame, _size(frame), more)


def _benchmark_rule(benchmark: str, floor: int) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        if benchmark not in frame.columns:
            return [Violation("L0_BENCHMARK", benchmark, "the benchmark has no column")]
        narrow = frame.select(benchmark)
        rules = (*_COLUMN_RULES.values(), _observations_rule(floor))
        faults = [found for one in rules for found in one(narrow)]
        return [Violation("L0_BENCHMARK", benchmark, f"the benchmark is at fault: {found.what}") for found in faults]

    return rule


def _observations_rule(floor: int) -> Rule:
    what = f"fewer than {floor} observations"
    return _column_rule("L0_OBSERVATIONS", what, lambda frame: _counts(frame) < floor)


def _size(frame: pl.DataFrame) -> int:
    """Return the number of returns; a lazy frame has none yet, and is refused."""
    return frame.height * len(_symbols(frame)) if isinstance(frame, pl.DataFrame) else 0


def _symbols(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name != "date"]


def _matrix(frame: pl.DataFrame) -> Floats:
    """Return every column but the date, null as NaN, (n_days, n_columns)."""
    return np.asarray(frame.select(_symbols(frame)).to_numpy(), dtype=np.float64)


def _column_rule(code: str, what: str, test: Test) -> Rule:
    """Make a rule of a test that tells for each column whether it is at fault."""

    def rule(frame: pl.DataFrame) -> list[Violation]:
        names = _symbols(frame)
        return [Violation(code, names[i], what) for i in np.flatnonzero(test(frame))] if names else []

    return rule


def _not_finite(frame: pl.DataFrame) -> Mask:
    # A null is no observation; a NaN or an infinity is a fault.
    finite = frame.select(pl.col(_symbols(frame)).is_finite().fill_null(True).all())
    return ~finite.to_numpy().reshape(-1).astype(np.bool_)


def _outside_l0(frame: pl.DataFrame) -> Mask:
    values = _matrix(frame)
    return np.asarray(((values <= -1.0) | (values > LARGEST_RETURN)).any(axis=0))


def _outside_l3(frame: pl.DataFrame) -> Mask:
    values = _matrix(frame)
    return np.asarray(((values < -1.0) | (values > LARGEST_RETURN)).any(axis=0))


def _counts(frame: pl.DataFrame) -> Floats:
    return np.asarray((~np.isnan(_matrix(frame))).sum(axis=0), dtype=np.float64)


def _constant(frame: pl.DataFrame) -> Mask:
    values = _matrix(frame)
    seen = ~np.isnan(values)
    low = np.min(values, axis=0, initial=np.inf, where=seen)
    return np.asarray(low == np.max(values, axis=0, initial=-np.inf, where=seen))


def _index_rule(code: str) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        stamps, day = frame["date"].to_physical().to_numpy(), DAY // dt.timedelta(microseconds=1)
        steps = np.diff(stamps)
        if (steps <= 0).any():
            return [Violation(code, "date", "days are not strictly increasing")]
        if (steps != day).any() or (stamps % day != 0).any():
            return [Violation(code, "date", "days are not consecutive midnights of UTC")]
        return []

    return rule


def _dtype_rule(code: str) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        wrong = [(name, dtype) for name, dtype in frame.schema.items() if name != "date" and dtype != pl.Float64]
        return [Violation(code, name, f"is {dtype}, not Float64") for name, dtype in wrong]

    return rule


def _duplicate_columns(frame: pl.DataFrame) -> list[Violation]:
    """Find names that are one symbol: equal in Unicode's normal form, or renamed by a reader that met a name twice."""
    plain = [re.sub(r"_duplicated_\d+$", "", unicodedata.normalize("NFC", name)) for name in _symbols(frame)]
    twice = [name for name, count in Counter(plain).items() if count > 1]
    return [Violation("L0_DUPLICATE_COLUMN", name, "several columns are one symbol") for name in twice]


_COLUMN_RULES: Mapping[str, Rule] = {
    "L0_NOT_FINITE": _column_rule("L0_NOT_FINITE", "a return is NaN or infinite", _not_finite),
    "L0_RANGE": _column_rule("L0_RANGE", f"a return is outside (-1, {LARGEST_RETURN:g}]", _outside_l0),
    "L0_ZERO_VARIANCE": _column_rule("L0_ZERO_VARIANCE", "every return is the same", _constant),
}

_L0 = Contract(
    layer="L0",
    name="ReturnsMatrixSchema",
    columns=_DATED,
    shape={"L0_DTYPE": _dtype_rule("L0_DTYPE"), "L0_DUPLICATE_COLUMN": _duplicate_columns},
    rules={"L0_INDEX": _index_rule("L0_INDEX"), **_COLUMN_RULES, "L0_OBSERVATIONS": _observations_rule(FLOOR)},
    filters=frozenset({*_COLUMN_RULES, "L0_OBSERVATIONS"}),
    keep=lambda frame, names: frame.drop(names),
)

ReturnsMatrixSchema = _L0.schema()


def check_l3(
    frame: pl.DataFrame, returns: pl.DataFrame, atoms: Sequence[Atom], profile_direction: str
) -> ContractResult:
    """Check the synthetic returns against the returns matrix, exactly; every fault is fatal.

    ``L3_INDEX``, ``L3_INDEX_DIFFERS`` (from L0's), ``L3_DTYPE``, ``L3_NOT_FINITE``, ``L3_RANGE`` (-1 <= r <= 5),
    ``L3_COLUMNS`` (not one for each winner), ``L3_PHYSICAL_COLUMN`` (the winner's symbol is not in the matrix),
    ``L3_LONG_MISMATCH``, ``L3_SHORT_NOT_INVERTED``, ``L3_DIRECTION`` (an atom points another way than its profile) and
    ``L3_EMPTY``.

    Parameters
    ----------
    frame : DataFrame
        ``date`` and one Float64 column for each winner, named by the atom's id.
    returns : DataFrame
        The returns matrix that L0 passed.
    atoms : sequence of Atom
        The winners.
    profile_direction : str
        LONG or SHORT.
    """
    more: dict[str, Rule] = {
        "L3_INDEX_DIFFERS": _same_index_rule(returns),
        "L3_COLUMNS": _columns_rule(atoms),
        "L3_PHYSICAL_COLUMN": _physical_rule(returns, atoms),
        "L3_LONG_MISMATCH": _stream_rule("L3_LONG_MISMATCH", Direction.LONG, returns, atoms),
        "L3_SHORT_NOT_INVERTED": _stream_rule("L3_SHORT_NOT_INVERTED", Direction.SHORT, returns, atoms),
        "L3_DIRECTION": _direction_rule(atoms, Direction.parse(profile_direction)),
    }
    return _L3.check(frame, _size(frame), more)


def _same_index_rule(returns: pl.DataFrame) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        same = frame["date"].equals(returns["date"], check_dtypes=True)
        return [] if same else [Violation("L3_INDEX_DIFFERS", "date", "the index is not the returns matrix's")]

    return rule


def _columns_rule(atoms: Sequence[Atom]) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        wanted, found = Counter(atom.id for atom in atoms), Counter(_symbols(frame))
        wrong = sorted(name for name in wanted.keys() | found.keys() if not wanted[name] == found[name] == 1)
        return [Violation("L3_COLUMNS", name, f"{wanted[name]} winners, {found[name]} columns") for name in wrong]

    return rule


def _physical_rule(returns: pl.DataFrame, atoms: Sequence[Atom]) -> Rule:
    missing = [atom for atom in atoms if atom.symbol not in returns.columns]
    found = [Violation("L3_PHYSICAL_COLUMN", atom.id, f"{atom.symbol} is not in the matrix") for atom in missing]
    return lambda _frame: found


def _stream_rule(code: str, side: Direction, returns: pl.DataFrame, atoms: Sequence[Atom]) -> Rule:
    formula = "r" if side is Direction.LONG else "-min(r, 1)"

    def rule(frame: pl.DataFrame) -> list[Violation]:
        own = [atom for atom in atoms if atom.direction == side.name]
        there = [atom for atom in own if atom.id in frame.columns and atom.symbol in returns.columns]
        wrong = [atom for atom in there if not _is_stream(frame[atom.id], returns[atom.symbol], side)]
        return [Violation(code, atom.id, f"is not {formula} of {atom.symbol}") for atom in wrong]

    return rule


def _is_stream(stream: pl.Series, physical: pl.Series, side: Direction) -> bool:
    raw = physical.to_numpy()
    expected = raw if side is Direction.LONG else -np.minimum(raw, 1.0)
    return np.array_equal(stream.to_numpy(), expected, equal_nan=True)


def _direction_rule(atoms: Sequence[Atom], direction: Direction) -> Rule:
    other = [atom for atom in atoms if atom.direction != direction.name]
    what = f"points another way than its profile, which is {direction.name}"
    found = [Violation("L3_DIRECTION", atom.id, what) for atom in other]
    return lambda _frame: found


_L3 = Contract(
    layer="L3",
    name="SyntheticReturnsSchema",
    columns=_DATED,
    shape={"L3_DTYPE": _dtype_rule("L3_DTYPE")},
    rules={
        "L3_INDEX": _index_rule("L3_INDEX"),
        "L3_NOT_FINITE": _column_rule("L3_NOT_FINITE", "a return is NaN or infinite", _not_finite),
        "L3_RANGE": _column_rule("L3_RANGE", f"a return is outside [-1, {LARGEST_RETURN:g}]", _outside_l3),
    },
)

SyntheticReturnsSchema = _L3.schema()
