"""L4: the weights of every risk profile, on atoms and on coins, made into one table of holdings and checked there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum

import pandera.polars as pa
import polars as pl

from assay.base.constants import TOLERANCE
from assay.base.domain import Direction
from assay.gates.contract import Contract, ContractResult, neighbours_equal
from assay.gates.rules import Violation
from assay.runs.documents import Contribution, Flattened, FlattenedAsset, Optimized, OptimizedAsset
from assay.settings.model import RISK_PROFILES

HOLDINGS: Mapping[str, pl.DataType] = {
    "book": pl.String(),
    "level": pl.String(),
    "name": pl.String(),
    "symbol": pl.String(),
    "direction": pl.String(),
    "weight": pl.Float64(),
    "gross": pl.Float64(),
    "net": pl.Float64(),
    "explained_gross": pl.Float64(),
    "explained_net": pl.Float64(),
    "cap": pl.Float64(),
    "cluster": pl.Int64(),
    "cluster_cap": pl.Float64(),
}
"""One row for each atom and each coin of each risk profile. What explains an atom is its own weight and side, what
explains a coin is the atoms that it lists. Coins have infinite caps: caps are the atoms'."""

NUMBERS = ("weight", "gross", "net", "explained_gross", "explained_net")
_COLUMNS: Mapping[str, pa.Column] = {name: pa.Column(dtype, nullable=True) for name, dtype in HOLDINGS.items()}


def check_l4(
    optimized: Optimized,
    flattened: Flattened,
    symbols: Collection[str],
    risk_profiles: Sequence[str] = RISK_PROFILES,
) -> ContractResult:
    """Check the weights of every risk profile, on atoms and on coins; every fault is fatal.

    ``L4_PROFILE`` (one is missing or not asked for), ``L4_SUM`` (gross + cash = 1), ``L4_TOTAL`` (the document's gross
    and net are its assets'), ``L4_BUDGET``, ``L4_ALL_CASH`` (no weight, and no event says why), ``L4_PROVENANCE``
    (coins do not list the optimizer's atoms, each once, with their weights), ``L4_NOT_FINITE``, ``L4_NEGATIVE``,
    ``L4_GROSS`` (Weight is not Gross_Weight), ``L4_NET`` (net beyond gross), ``L4_DIRECTION``, ``L4_UNEXPLAINED`` (not
    the sum of its atoms), ``L4_ATOM_CAP``, ``L4_CLUSTER_CAP``, ``L4_DUPLICATE``, ``L4_SYMBOL`` (not in the returns
    matrix) and ``L4_EMPTY``.

    Parameters
    ----------
    optimized, flattened : Optimized, Flattened
        Documents of steps 9 and 10. What the optimizer gave with the guard off is checked too, on atoms.
    symbols : collection of str
        Symbols of the returns matrix.
    risk_profiles : sequence of str
        Those that must be there.

    Returns
    -------
    ContractResult
        ``where`` of a violation is ``<risk profile>/<level>/<atom or coin>``; ``frame`` is the table of holdings.
    """
    books = _books(optimized, flattened)
    frame = holdings(books)

    def faults(table: pl.DataFrame) -> Iterator[Violation]:
        yield from _row_faults(table)
        yield from _profile_faults(optimized, flattened, risk_profiles)
        yield from _sum_faults(books)
        yield from _total_faults(flattened)
        yield from _budget_faults(optimized)
        yield from _cash_faults(optimized)
        yield from _provenance_faults(optimized, flattened)
        strange = table.filter(~pl.col("symbol").is_in(sorted(symbols)))
        yield from _rows("L4_SYMBOL", "is no symbol of the returns matrix", strange)

    return _L4.check(frame, frame.height * len(NUMBERS) + len(books), faults)


# --- documents as a table -------------------------------------------------------------------------


@dataclass(frozen=True)
class Book:
    """Assets of one risk profile on one level, with what is not allocated."""

    name: str
    assets: Sequence[OptimizedAsset] | Sequence[FlattenedAsset]
    cash: float
    atom_cap: float = float("inf")
    cluster_cap: float = float("inf")

    @property
    def gross(self) -> float:
        """Sum of the weights."""
        return fsum(asset.Weight for asset in self.assets)


def _books(optimized: Optimized, flattened: Flattened) -> list[Book]:
    guarded = [(f"{name}/atom", book) for name, book in optimized.profiles.items()]
    unguarded = [(f"{name}/unguarded", book) for name, book in optimized.unguarded.items()]
    atoms = [Book(name, book.assets, book.cash, book.atom_cap, book.cluster_cap) for name, book in guarded + unguarded]
    return atoms + [Book(f"{name}/coin", book.assets, book.cash) for name, book in flattened.profiles.items()]


def holdings(books: Iterable[Book]) -> pl.DataFrame:
    """Return the table of holdings, see :data:`HOLDINGS`."""
    rows = [(book.name, *_row(asset, book)) for book in books for asset in book.assets]
    return pl.DataFrame(rows, schema=dict(HOLDINGS), orient="row")


def _row(asset: OptimizedAsset | FlattenedAsset, book: Book) -> tuple[object, ...]:
    if isinstance(asset, OptimizedAsset):
        level, name, gross, parts = "atom", asset.Atom, asset.Weight, [(asset.Weight, _signed(asset))]
    else:
        level, name, gross = "coin", asset.Symbol, asset.Gross_Weight
        parts = [(part.Weight, _signed(part)) for part in asset.Atoms]
    explained = fsum(abs(weight) for weight, _ in parts), fsum(net for _, net in parts)
    numbers = asset.Weight, gross, asset.Net_Weight, *explained
    return level, name, asset.Symbol, asset.Direction, *numbers, book.atom_cap, asset.Cluster_ID, book.cluster_cap


def _signed(part: OptimizedAsset | Contribution) -> float:
    return Direction[part.Direction].sign * part.Weight


# --- rules on the documents -----------------------------------------------------------------------


def _profile_faults(optimized: Optimized, flattened: Flattened, wanted: Sequence[str]) -> Iterator[Violation]:
    for place, found in (("optimized", optimized.profiles.keys()), ("flattened", flattened.profiles.keys())):
        for name in sorted(found ^ set(wanted)):
            yield Violation("L4_PROFILE", name, f"is missing from or not asked of the {place} weights")


def _sum_faults(books: Iterable[Book]) -> Iterator[Violation]:
    for book in books:
        total = book.gross + book.cash
        if _apart(total, 1.0):
            yield Violation("L4_SUM", book.name, f"gross + cash is {total!r}, not 1")


def _total_faults(flattened: Flattened) -> Iterator[Violation]:
    for name, book in flattened.profiles.items():
        for kind, field in (("gross", "Gross_Weight"), ("net", "Net_Weight")):
            told, found = getattr(book, kind), fsum(getattr(asset, field) for asset in book.assets)
            if _apart(told, found):
                yield Violation("L4_TOTAL", f"{name}/coin", f"{kind} is told as {told!r} and is {found!r}")


def _budget_faults(optimized: Optimized) -> Iterator[Violation]:
    for name, book in chain(optimized.profiles.items(), optimized.unguarded.items()):
        gross = fsum(asset.Weight for asset in book.assets)
        if not gross <= book.budget + TOLERANCE:
            yield Violation("L4_BUDGET", name, f"holds {gross!r} of a budget of {book.budget!r}")


def _cash_faults(optimized: Optimized) -> Iterator[Violation]:
    for name, book in optimized.profiles.items():
        if not any(asset.Weight for asset in book.assets) and not book.events:
            yield Violation("L4_ALL_CASH", name, "holds nothing, and no event says why")


def _provenance_faults(optimized: Optimized, flattened: Flattened) -> Iterator[Violation]:
    for name in sorted(optimized.profiles.keys() & flattened.profiles.keys()):
        for atom, what in _unlisted(optimized.profiles[name].assets, flattened.profiles[name].assets):
            yield Violation("L4_PROVENANCE", f"{name}/coin/{atom}", what)


def _unlisted(atoms: Iterable[OptimizedAsset], coins: Iterable[FlattenedAsset]) -> list[tuple[str, str]]:
    """Compare the optimizer's atoms with those that coins list; an atom without weight need not be listed."""
    given = {(a.Atom, a.Symbol, a.Direction, a.Logic): a.Weight for a in atoms}
    parts = [
        ((part.Atom, coin.Symbol, part.Direction, part.Logic), part.Weight) for coin in coins for part in coin.Atoms
    ]
    listed = dict(parts)
    faults = [(key[0], "is listed by a coin, not so by the optimizer") for key, _ in parts if key not in given]
    faults += [(key[0], "has weight and is listed by no coin") for key in given if given[key] and key not in listed]
    shared = given.keys() & listed.keys()
    faults += [(key[0], "has two weights") for key in sorted(shared) if _apart(given[key], listed[key])]
    return faults + ([("", "an atom is listed twice")] if len(listed) < len(parts) else [])


def _apart(one: float, other: float) -> bool:
    return not abs(one - other) <= TOLERANCE


# --- rules on the table ---------------------------------------------------------------------------


def _rows(code: str, what: str, wrong: pl.DataFrame) -> Iterator[Violation]:
    return (Violation(code, f"{book}/{name}", what) for book, name in wrong.select("book", "name").iter_rows())


def _beyond(one: str, other: str) -> pl.Expr:
    return ~((pl.col(one) - pl.col(other)).abs() <= TOLERANCE)


_TOWARDS = pl.col("net") * pl.when(pl.col("direction") == "LONG").then(1.0).otherwise(-1.0)
_SIDE = (
    pl.when(pl.col("direction") == "FLAT")
    .then(pl.col("net").abs() <= TOLERANCE)
    .when(pl.col("level") == "atom")  # an atom without weight keeps its side
    .then(_TOWARDS >= 0.0)
    .otherwise(_TOWARDS > 0.0)
)
_ROW_FAULTS: tuple[tuple[str, str, pl.Expr], ...] = (
    (
        "L4_NOT_FINITE",
        "a weight is missing or not finite",
        ~pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in NUMBERS),
    ),
    ("L4_NEGATIVE", "a weight is negative", (pl.col("weight") < 0) | (pl.col("gross") < 0)),
    ("L4_GROSS", "Weight is not Gross_Weight", _beyond("weight", "gross")),
    ("L4_NET", "net is beyond gross", ~(pl.col("net").abs() <= pl.col("gross") + TOLERANCE)),
    ("L4_DIRECTION", "the direction is not the sign of the net weight", ~_SIDE),
    (
        "L4_UNEXPLAINED",
        "is not the sum of its atoms",
        _beyond("gross", "explained_gross") | _beyond("net", "explained_net"),
    ),
    ("L4_ATOM_CAP", "is above its cap", ~(pl.col("weight") <= pl.col("cap") + TOLERANCE)),
)


def _row_faults(frame: pl.DataFrame) -> Iterator[Violation]:
    for code, what, fault in _ROW_FAULTS:
        yield from _rows(code, what, frame.filter(fault))
    keys = ["book", "cluster", "cluster_cap"]
    sums = frame.filter(level="atom").group_by(keys, maintain_order=True).agg(pl.col("weight").sum())
    over = sums.filter(~(pl.col("weight") <= pl.col("cluster_cap") + TOLERANCE))
    for book, cluster, cap, weight in over.iter_rows():
        yield Violation("L4_CLUSTER_CAP", f"{book}/cluster {cluster}", f"holds {weight!r}, its cap is {cap!r}")
    yield from _rows("L4_DUPLICATE", "stands more than once", neighbours_equal(frame, ["book", "name"]))


_L4 = Contract(layer="L4", name="WeightsSchema", columns=_COLUMNS, rules=_row_faults)

WeightsSchema = _L4.schema()
