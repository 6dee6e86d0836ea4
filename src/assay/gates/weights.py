"""L4: the weights of every risk profile, on atoms and on coins, made into one table of holdings and checked there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum

import pandera.polars as pa
import polars as pl

from assay.base.domain import Direction
from assay.gates.contract import Contract, ContractResult, Rule, Violation, neighbours_equal
from assay.runs.documents import Contribution, Flattened, FlattenedAsset, Optimized, OptimizedAsset
from assay.settings.model import RISK_PROFILES

TOLERANCE = 1e-9
"""Of sums of weights and of caps."""

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
    documents: dict[str, Rule] = {
        "L4_PROFILE": lambda _frame: _profile_faults(optimized, flattened, risk_profiles),
        "L4_SUM": lambda _frame: _sum_faults(books),
        "L4_TOTAL": lambda _frame: _total_faults(flattened),
        "L4_BUDGET": lambda _frame: _budget_faults(optimized),
        "L4_ALL_CASH": lambda _frame: _cash_faults(optimized),
        "L4_PROVENANCE": lambda _frame: _provenance_faults(optimized, flattened),
        "L4_SYMBOL": _symbol_rule(symbols),
    }
    return _L4.check(frame, frame.height * len(NUMBERS) + len(books), documents)


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


def _profile_faults(optimized: Optimized, flattened: Flattened, wanted: Sequence[str]) -> list[Violation]:
    documents = (("optimized", optimized.profiles.keys()), ("flattened", flattened.profiles.keys()))
    odd = [(name, place) for place, found in documents for name in sorted(found ^ set(wanted))]
    return [
        Violation("L4_PROFILE", name, f"is missing from or not asked of the {place} weights") for name, place in odd
    ]


def _sum_faults(books: Iterable[Book]) -> list[Violation]:
    sums = [(book.name, book.gross + book.cash) for book in books]
    return [
        Violation("L4_SUM", name, f"gross + cash is {total!r}, not 1")
        for name, total in sums
        if not abs(total - 1.0) <= TOLERANCE
    ]


def _total_faults(flattened: Flattened) -> list[Violation]:
    told = [
        (name, kind, getattr(book, kind), fsum(getattr(asset, field) for asset in book.assets))
        for name, book in flattened.profiles.items()
        for kind, field in (("gross", "Gross_Weight"), ("net", "Net_Weight"))
    ]
    wrong = [
        (name, f"{kind} is told as {says!r} and is {is_!r}") for name, kind, says, is_ in told if _apart(says, is_)
    ]
    return [Violation("L4_TOTAL", f"{name}/coin", what) for name, what in wrong]


def _budget_faults(optimized: Optimized) -> list[Violation]:
    both = chain(optimized.profiles.items(), optimized.unguarded.items())
    spent = [(name, fsum(asset.Weight for asset in book.assets), book.budget) for name, book in both]
    over = [(name, gross, budget) for name, gross, budget in spent if not gross <= budget + TOLERANCE]
    return [Violation("L4_BUDGET", name, f"holds {gross!r} of a budget of {budget!r}") for name, gross, budget in over]


def _cash_faults(optimized: Optimized) -> list[Violation]:
    idle = [name for name, book in optimized.profiles.items() if not any(asset.Weight for asset in book.assets)]
    silent = [name for name in idle if not optimized.profiles[name].events]
    return [Violation("L4_ALL_CASH", name, "holds nothing, and no event says why") for name in silent]


def _provenance_faults(optimized: Optimized, flattened: Flattened) -> list[Violation]:
    return [
        Violation("L4_PROVENANCE", f"{name}/coin/{atom}", what)
        for name in sorted(optimized.profiles.keys() & flattened.profiles.keys())
        for atom, what in _unlisted(optimized.profiles[name].assets, flattened.profiles[name].assets)
    ]


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


def _places(frame: pl.DataFrame) -> pl.Series:
    return frame.select(pl.format("{}/{}", "book", "name")).to_series()


def _row_rule(code: str, what: str, fault: pl.Expr) -> Rule:
    def rule(frame: pl.DataFrame) -> list[Violation]:
        return [Violation(code, place, what) for place in _places(frame.filter(fault))]

    return rule


def _cluster_caps(frame: pl.DataFrame) -> list[Violation]:
    keys = ["book", "cluster", "cluster_cap"]
    sums = frame.filter(level="atom").group_by(keys, maintain_order=True).agg(pl.col("weight").sum())
    over = sums.filter(~(pl.col("weight") <= pl.col("cluster_cap") + TOLERANCE))
    return [
        Violation("L4_CLUSTER_CAP", f"{book}/cluster {cluster}", f"holds {weight!r}, its cap is {cap!r}")
        for book, cluster, cap, weight in over.iter_rows()
    ]


def _duplicates(frame: pl.DataFrame) -> list[Violation]:
    twice = neighbours_equal(frame, ["book", "name"])
    return [Violation("L4_DUPLICATE", place, "stands more than once") for place in _places(twice)]


def _symbol_rule(symbols: Collection[str]) -> Rule:
    unknown = ~pl.col("symbol").is_in(sorted(symbols))
    return _row_rule("L4_SYMBOL", "is no symbol of the returns matrix", unknown)


def _beyond(one: str, other: str) -> pl.Expr:
    return ~((pl.col(one) - pl.col(other)).abs() <= TOLERANCE)


_SIDE = (
    pl.when(pl.col("direction") == "FLAT")
    .then(pl.col("net").abs() <= TOLERANCE)
    .when(pl.col("level") == "atom")  # an atom without weight keeps its side
    .then(pl.col("net") * pl.when(pl.col("direction") == "LONG").then(1.0).otherwise(-1.0) >= 0.0)
    .otherwise(pl.col("net") * pl.when(pl.col("direction") == "LONG").then(1.0).otherwise(-1.0) > 0.0)
)

_RULES: Mapping[str, Rule] = {
    "L4_NOT_FINITE": _row_rule(
        "L4_NOT_FINITE",
        "a weight is missing or not finite",
        ~pl.all_horizontal(pl.col(name).is_finite().fill_null(False) for name in NUMBERS),
    ),
    "L4_NEGATIVE": _row_rule("L4_NEGATIVE", "a weight is negative", (pl.col("weight") < 0) | (pl.col("gross") < 0)),
    "L4_GROSS": _row_rule("L4_GROSS", "Weight is not Gross_Weight", _beyond("weight", "gross")),
    "L4_NET": _row_rule("L4_NET", "net is beyond gross", ~(pl.col("net").abs() <= pl.col("gross") + TOLERANCE)),
    "L4_DIRECTION": _row_rule("L4_DIRECTION", "the direction is not the sign of the net weight", ~_SIDE),
    "L4_UNEXPLAINED": _row_rule(
        "L4_UNEXPLAINED",
        "is not the sum of its atoms",
        _beyond("gross", "explained_gross") | _beyond("net", "explained_net"),
    ),
    "L4_ATOM_CAP": _row_rule("L4_ATOM_CAP", "is above its cap", ~(pl.col("weight") <= pl.col("cap") + TOLERANCE)),
    "L4_CLUSTER_CAP": _cluster_caps,
    "L4_DUPLICATE": _duplicates,
}

_L4 = Contract(layer="L4", name="WeightsSchema", columns=_COLUMNS, shape={}, rules=_RULES)

WeightsSchema = _L4.schema()
