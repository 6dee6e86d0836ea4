"""Optimization and flattening: regime, caps, guard, solvers, weights, and why a book is small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from assay.report.markdown import (
    ABSENT,
    Number,
    Safe,
    bullets,
    count,
    fill,
    integer,
    number,
    percent,
    plain,
    ratio,
    section,
    table,
)
from assay.report.small_book import (
    Cause,
    Holdings,
    causes,
    guarded_book,
    own_causes,
    shared_causes,
    small_books,
    unguarded_book,
)
from assay.report.view import RunView
from assay.risk.flatten import FEWEST_COINS, LEAST_SHARE
from assay.runs import artifacts as layout
from assay.runs.documents import Event, FlattenedProfile

LISTED = 40

REGIME_WORDS: Mapping[str, tuple[str, Callable[[Number], str]]] = {
    "v": ("volatility of 20 days", percent),
    "p": ("its percentile", ratio),
    "d": ("fall from the high of 60 days", percent),
    "n": ("volatilities ranked", integer),
}
"""Key of an input to its words and its form."""


def allocation(view: RunView) -> Safe:
    """Return everything between winners and weights on coins."""
    return section(
        "Optimization and flattening",
        *_risk(view),
        Safe("### Risk profiles"),
        *_profiles(view),
        Safe("### Weights on coins"),
        *_weights(view),
        *_netting(view),
        *_small(view),
    )


def _risk(view: RunView) -> list[Safe]:
    risk = view.risk
    if risk is None:
        return [fill("No risk analysis: {why}.", why=view.absent(layout.RISK))]
    lines = [
        fill("**Regime {regime}:** {inputs}.", regime=risk.regime, inputs=_regime(risk.regime_inputs)),
        fill(
            "**Covariance:** {rows} used, {left} left out; condition number {condition}, shrinkage {shrinkage}, "
            "extra shrinkage {extra}.",
            rows=count(risk.rows_used, "row"),
            left=integer(risk.rows_left_out),
            condition=number(risk.condition_number),
            shrinkage=percent(risk.shrinkage),
            extra=percent(risk.extra_shrinkage),
        ),
        fill(
            "**Caps:** {atom} an atom, {cluster} a cluster, for {atoms} in {clusters}.",
            atom=percent(risk.atom_cap),
            cluster=percent(risk.cluster_cap),
            atoms=count(_atoms(view), "atom"),
            clusters=count(len(view.clusters.clusters) if view.clusters else 0, "cluster"),
        ),
        _guard_line(view, len(risk.loss_makers), risk.budget),
    ]
    return [bullets(lines), *_loss_makers(risk.loss_makers), *_events("Events of the risk analysis:", risk.events)]


def _regime(inputs: Mapping[str, float | None]) -> str:
    """Return what the regime was read from, in words."""
    keys = [*(key for key in REGIME_WORDS if key in inputs), *(key for key in inputs if key not in REGIME_WORDS)]
    told = ((REGIME_WORDS.get(key, (key, number)), inputs[key]) for key in keys)
    return ", ".join(f"{words} {show(value)}" for (words, show), value in told)


def _atoms(view: RunView) -> int:
    return sum(len(atoms) for atoms in view.clusters.clusters.values()) if view.clusters else 0


def _guard_line(view: RunView, losers: int, budget: float) -> Safe:
    state = "on" if view.guarded else "off"
    days = view.setting("profile.guard.days")
    return fill(
        "**Guard {state}:** {losers} of {atoms} (mean daily net return of the last {days} days not positive); "
        "budget {budget}.",
        state=state,
        losers=count(losers, "loss maker"),
        atoms=count(_atoms(view), "atom"),
        days=plain(days),
        budget=percent(budget),
    )


def _loss_makers(losers: dict[str, float]) -> list[Safe]:
    if not losers:
        return []
    rows = [(atom, percent(mean, 3)) for atom, mean in sorted(losers.items(), key=lambda pair: (pair[1], pair[0]))]
    return [table(["loss maker", ">mean daily net return"], rows, LISTED, f"; see {layout.RISK}")]


def _events(intro: str, events: Sequence[Event]) -> list[Safe]:
    if not events:
        return []
    rows = [(event.code, event.what, plain(event.values)) for event in events]
    return [Safe(intro), table(["event", "what", "values"], rows, LISTED)]


def _profiles(view: RunView) -> list[Safe]:
    if view.optimized is None:
        return [fill("No weights: {why}.", why=view.absent(layout.OPTIMIZED))]
    columns = ["risk profile", "solver", "status", ">iterations", ">residual", ">gap", "fallbacks", ">projected by"]
    solvers = []
    for name in view.risk_profiles:
        profile = view.optimized.profiles.get(name)
        if profile is None:
            solvers.append([name, "MISSING", *[ABSENT] * 6])
            continue
        solver = profile.solver
        numbers = [integer(solver.iterations), number(solver.residual), number(solver.gap)]
        chain = ", ".join(solver.fallbacks) or "none"
        solvers.append([name, solver.name, solver.status, *numbers, chain, number(solver.projection_distance)])
    events = [event for profile in view.optimized.profiles.values() for event in profile.events]
    unique = list({event.model_dump_json(): event for event in events}.values())
    return [table(columns, solvers), book_table(view), *_events("Events of the optimization:", unique)]


def book_table(view: RunView) -> Safe:
    """Return coins held, gross, net, cash and the largest coin of each risk profile, guard on and off."""
    columns = ["risk profile", "guard", ">coins", ">gross", ">net", ">cash", "largest coin", ">weight"]
    rows: list[list[object]] = []
    state = "on" if view.guarded else "off (profile)"
    for name in view.risk_profiles:
        rows.append([name, state, *_book_cells(guarded_book(view, name))])
        rows.append([name, "off", *_book_cells(unguarded_book(view, name))])
    return table(columns, rows)


def _book_cells(book: Holdings | None) -> list[object]:
    if book is None:
        return [ABSENT] * 6
    symbol, weight = book.largest or (None, None)
    return [integer(book.coins), percent(book.gross), percent(book.net), percent(book.cash), symbol, percent(weight, 2)]


def _weights(view: RunView) -> list[Safe]:
    if view.flattened is None:
        return [fill("No weights on coins: {why}.", why=view.absent(layout.FLATTENED))]
    books = {name: book for name in view.risk_profiles if (book := guarded_book(view, name)) is not None}
    if not any(book.coins for book in books.values()):
        return [Safe("Every risk profile is all cash.")]
    rows: list[list[object]] = [
        [symbol, *(weight_cell(book.weights.get(symbol)) for book in books.values())]
        for symbol in by_size(book.weights for book in books.values())
    ]
    for label, field in (("gross", "gross"), ("net", "net"), ("cash", "cash")):
        rows.append([Safe(f"**{label}**"), *(percent(getattr(book, field), 2) for book in books.values())])
    return [Safe("Net weight, signed."), table(["coin", *(f">{name}" for name in books)], rows)]


def weight_cell(weight: float | None) -> str:
    """Return a net weight; nothing held is absent."""
    return percent(weight, 2) if weight else ABSENT


def by_size(columns: Iterable[dict[str, float]]) -> list[str]:
    """Return all coins, the largest sum of absolute weights first, equals by name."""
    total: dict[str, float] = {}
    for weights in columns:
        for symbol, weight in weights.items():
            total[symbol] = total.get(symbol, 0.0) + abs(weight)
    return sorted(total, key=lambda symbol: (-total[symbol], symbol))


def _netting(view: RunView) -> list[Safe]:
    """Return coins that more than one atom holds, with what was netted."""
    rows = [row for name in view.risk_profiles for row in _netted_rows(name, view.holding(name))]
    if not rows:
        return [Safe("Netting: every coin is held by one atom.")] if view.flattened else []
    return [
        Safe("Coins of more than one atom:"),
        table(["risk profile", "coin", ">gross", ">net", "atoms"], rows, LISTED),
    ]


def _netted_rows(name: str, profile: FlattenedProfile | None) -> list[list[object]]:
    return [
        [
            name,
            asset.Symbol,
            percent(asset.Gross_Weight, 2),
            percent(asset.Net_Weight, 2),
            ", ".join(f"{atom.Atom} {percent(atom.Weight, 2)}" for atom in asset.Atoms),
        ]
        for asset in (profile.assets if profile else [])
        if asset.Gross_Weight and sum(atom.Weight != 0.0 for atom in asset.Atoms) > 1
    ]


def _small(view: RunView) -> list[Safe]:
    """Explain every small book, with the book without the guard beside it."""
    small = small_books(view)
    if not small:
        return []
    shared = shared_causes(view)
    intro = fill(
        "{small} of {all}: fewer than {coins} coins, or less than {share} of the account. {rest}",
        small=integer(len(small)),
        all=count(len(view.risk_profiles), "risk profile"),
        coins=FEWEST_COINS,
        share=percent(LEAST_SHARE, 0),
        rest="What kept each of them from more:" if shared else "Each has causes of its own.",
    )
    blocks = [Safe("### Small books"), intro, *([_cause_list(shared)] if shared else [])]
    for name, book in small.items():
        own = own_causes(view, name) if shared else causes(view, name)
        held = fill("Held: {coins}, gross {gross}.", coins=count(book.coins, "coin"), gross=percent(book.gross))
        blocks += [fill("#### Small book: {name}", name=name), held]
        blocks += [_cause_list(own)] if own else []
        blocks.append(_beside(view, name, book))
    return blocks


def _cause_list(found: Sequence[Cause]) -> Safe:
    return bullets(fill("**{code}:** {what}.", code=cause.code, what=cause.what.rstrip(".")) for cause in found)


def _beside(view: RunView, name: str, book: Holdings) -> Safe:
    """Return a small book beside the book of the same decision with the guard off."""
    other = unguarded_book(view, name)
    if other is None:
        return Safe("The book without the guard is not in the artifacts.")
    rows: list[list[object]] = [
        [symbol, weight_cell(book.weights.get(symbol)), weight_cell(other.weights.get(symbol))]
        for symbol in by_size([other.weights, book.weights])
    ]
    rows.append([Safe("**coins held**"), integer(book.coins), integer(other.coins)])
    for label, pair in (
        ("gross", (book.gross, other.gross)),
        ("net", (book.net, other.net)),
        ("cash", (book.cash, other.cash)),
    ):
        rows.append([Safe(f"**{label}**"), *(percent(value, 2) for value in pair)])
    return table(["coin", ">guard on" if view.guarded else ">as run", ">guard off"], rows)
