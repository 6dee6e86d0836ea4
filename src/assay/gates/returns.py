"""L0 and L3: the returns matrix, and the synthetic returns that are made of it."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandera.polars as pa
import polars as pl

from assay.base.constants import LARGEST_RETURN, Bools, Floats
from assay.base.domain import BENCHMARK, DAY, Atom, Direction
from assay.gates.contract import INSTANT, Contract, ContractResult
from assay.gates.rules import FILTERS, Violation, column_faults, direction_faults, named, stream_faults

FLOOR = 252

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
    return _L0.check(frame, _size(frame), partial(_l0_faults, floor=floor, benchmark=benchmark))


def _l0_faults(frame: pl.DataFrame, floor: int = FLOOR, benchmark: str | None = None) -> Iterator[Violation]:
    yield from _index_faults("L0_INDEX", frame)
    yield from _column_faults(frame, floor)
    if benchmark is not None and benchmark not in frame.columns:
        yield Violation("L0_BENCHMARK", benchmark, "the benchmark has no column")
    elif benchmark is not None:
        for found in _column_faults(frame.select(benchmark), floor):
            yield Violation("L0_BENCHMARK", benchmark, f"the benchmark is at fault: {found.what}")


def _column_faults(frame: pl.DataFrame, floor: int) -> Iterator[Violation]:
    yield from named("L0_NOT_FINITE", "a return is NaN or infinite", _symbols(frame), _not_finite(frame))
    yield from column_faults(_symbols(frame), _matrix(frame), floor)


def _size(frame: pl.DataFrame) -> int:
    """Return the number of returns; a lazy frame has none yet, and is refused."""
    return frame.height * len(_symbols(frame)) if isinstance(frame, pl.DataFrame) else 0


def _symbols(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name != "date"]


def _matrix(frame: pl.DataFrame) -> Floats:
    """Return every column but the date, null as NaN, (n_days, n_columns)."""
    names = _symbols(frame)
    return np.asarray(frame.select(names).to_numpy(), dtype=np.float64).reshape(frame.height, len(names))


def _not_finite(frame: pl.DataFrame) -> Bools:
    # A null is no observation; a NaN or an infinity is a fault.
    finite = frame.select(pl.col(_symbols(frame)).is_finite().fill_null(True).all())
    return ~finite.to_numpy().reshape(-1).astype(np.bool_)


def _index_faults(code: str, frame: pl.DataFrame) -> Iterator[Violation]:
    stamps, day = frame["date"].to_physical().to_numpy(), DAY // dt.timedelta(microseconds=1)
    steps = np.diff(stamps)
    if (steps <= 0).any():
        yield Violation(code, "date", "days are not strictly increasing")
    elif (steps != day).any() or (stamps % day != 0).any():
        yield Violation(code, "date", "days are not consecutive midnights of UTC")


def _mistyped(code: str, frame: pl.DataFrame) -> Iterator[Violation]:
    for name, dtype in frame.schema.items():
        if name != "date" and dtype != pl.Float64:
            yield Violation(code, name, f"is {dtype}, not Float64")


def _l0_shape(frame: pl.DataFrame) -> Iterator[Violation]:
    """Find columns of another type, and names that are one symbol.

    Two are one where they are equal in Unicode's normal form, or were renamed by a reader that met a name twice.
    """
    yield from _mistyped("L0_DTYPE", frame)
    plain = [re.sub(r"_duplicated_\d+$", "", unicodedata.normalize("NFC", name)) for name in _symbols(frame)]
    for name, count in Counter(plain).items():
        if count > 1:
            yield Violation("L0_DUPLICATE_COLUMN", name, "several columns are one symbol")


_L0 = Contract(
    layer="L0",
    name="ReturnsMatrixSchema",
    columns=_DATED,
    rules=_l0_faults,
    shape=_l0_shape,
    filters=FILTERS["L0"],
    keep=lambda frame, names: frame.drop(names),
)

ReturnsMatrixSchema = _L0.schema()


def check_books(frame: pl.DataFrame, ruined: Collection[str], floor: int) -> ContractResult:
    """Check daily returns of books: what a portfolio of them is decided by. Every fault is fatal.

    A book is no coin: with borrowed money it may earn more than all of its worth in a day, so nothing bounds its return
    from above. ``L0_INDEX``, ``L0_DTYPE``, ``L0_DUPLICATE_COLUMN``, ``L0_NOT_FINITE`` (a missing day too),
    ``L0_BOOK_LOST`` (a return of -100 % or less, which only a ruined book has), ``L0_OBSERVATIONS`` and ``L0_EMPTY``.

    Parameters
    ----------
    frame : DataFrame
        ``date`` and one Float64 column for each book.
    ruined : collection of str
        Books that were ruined, and say so.
    floor : int
        Days that are needed.
    """

    def of_books(own: pl.DataFrame) -> Iterator[Violation]:
        yield from _book_faults(own)
        lost = np.asarray(np.any(_matrix(own) <= -1.0, axis=0))
        lost[[name in ruined for name in _symbols(own)]] = False
        yield from named("L0_BOOK_LOST", "a day lost all that it had, and no ruin was told", _symbols(own), lost)
        short = np.full(len(_symbols(own)), own.height < floor)
        yield from named("L0_OBSERVATIONS", f"fewer than {floor} days", _symbols(own), short)

    return _BOOKS.check(frame, _size(frame), of_books)


def _book_faults(frame: pl.DataFrame) -> Iterator[Violation]:
    yield from _index_faults("L0_INDEX", frame)
    missing = np.asarray(~np.isfinite(_matrix(frame)).all(axis=0))
    yield from named("L0_NOT_FINITE", "a return is missing, NaN or infinite", _symbols(frame), missing)


_BOOKS = Contract(
    layer="L0",
    name="BookReturnsSchema",
    columns=_DATED,
    rules=_book_faults,
    shape=_l0_shape,
)

BookReturnsSchema = _BOOKS.schema()


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
    direction = Direction.parse(profile_direction)
    return _L3.check(frame, _size(frame), lambda own: [*_l3_faults(own), *_atom_faults(own, returns, atoms, direction)])


def _l3_faults(frame: pl.DataFrame) -> Iterator[Violation]:
    yield from _index_faults("L3_INDEX", frame)
    yield from named("L3_NOT_FINITE", "a return is NaN or infinite", _symbols(frame), _not_finite(frame))
    values = _matrix(frame)
    outside = np.any((values < -1.0) | (values > LARGEST_RETURN), axis=0)
    yield from named("L3_RANGE", f"a return is outside [-1, {LARGEST_RETURN:g}]", _symbols(frame), outside)


def _atom_faults(
    frame: pl.DataFrame, returns: pl.DataFrame, atoms: Sequence[Atom], direction: Direction
) -> Iterator[Violation]:
    if not frame["date"].equals(returns["date"], check_dtypes=True):
        yield Violation("L3_INDEX_DIFFERS", "date", "the index is not the returns matrix's")
    wanted, found = Counter(atom.id for atom in atoms), Counter(_symbols(frame))
    for name in sorted(wanted.keys() | found.keys()):
        if not wanted[name] == found[name] == 1:
            yield Violation("L3_COLUMNS", name, f"{wanted[name]} winners, {found[name]} columns")
    for atom in atoms:
        if atom.symbol not in returns.columns:
            yield Violation("L3_PHYSICAL_COLUMN", atom.id, f"{atom.symbol} is not in the matrix")
    there = [atom for atom in atoms if atom.id in frame.columns and atom.symbol in returns.columns]
    streams = [frame[atom.id].to_numpy() for atom in there]
    yield from stream_faults(there, streams, [returns[atom.symbol].to_numpy() for atom in there])
    yield from direction_faults(atoms, direction.name)


_L3 = Contract(
    layer="L3",
    name="SyntheticReturnsSchema",
    columns=_DATED,
    rules=_l3_faults,
    shape=partial(_mistyped, "L3_DTYPE"),
)

SyntheticReturnsSchema = _L3.schema()
