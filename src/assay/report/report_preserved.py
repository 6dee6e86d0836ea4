"""Capital preservation: what the guard kept out, and what it could not see."""

from __future__ import annotations

from collections.abc import Mapping

from assay.report.markdown import Safe, bullets, fill, integer, percent, ratio, section, table, yes
from assay.report.view import RunView, in_order
from assay.runs import artifacts as layout
from assay.runs.documents import CapitalPreservation, Preserved, StandingExposure


def preservation(view: RunView) -> Safe:
    """Return weight on loss makers, exposure, drawdown and losses of each risk profile, guard on and off."""
    title = "Capital preservation"
    document = view.preservation
    if document is None:
        return section(title, fill("Nothing: {why}.", why=view.absent(layout.PRESERVATION)))
    return section(
        title,
        bullets(_facts(document)),
        *_standing(document.standing),
        Safe("Walk-forward, weights as decided and exposure as it was every day:"),
        _books(document),
        Safe(
            "What holdings earned until the next rebalance, in units of the first account. A later loser was no loss "
            "maker when it was decided on: no guard that looks back can know it."
        ),
        _losses(document),
    )


def _facts(document: CapitalPreservation) -> list[Safe]:
    above = [name for name, profile in document.profiles.items() if not profile.gross_never_above_guard_off]
    return [
        fill(
            "**Guard {state}:** loss makers of the last {days} days, {mean} a decision.",
            state="on" if document.guard_enabled else "off",
            days=integer(document.guard_days),
            mean=ratio(document.mean_loss_makers),
        ),
        fill(
            "**Rebalances:** {n}, of which {cash} in cash.",
            n=integer(document.rebalances),
            cash=integer(document.rebalances_in_cash),
        ),
        fill("**No loss maker held, at any rebalance:** {answer}.", answer=yes(document.no_loss_maker_held)),
        fill(
            "**Gross never above the unguarded gross:** {answer}.",
            answer=f"no, above it in {', '.join(above)}" if above else "yes",
        ),
    ]


def _standing(standing: Mapping[str, StandingExposure]) -> list[Safe]:
    if not standing:
        return []
    columns = ["risk profile", ">gross", ">gross, guard off", ">on loss makers", ">on loss makers, guard off"]
    rows = [
        [
            name,
            percent(book.gross),
            percent(book.gross_guard_off),
            percent(book.loss_maker_weight),
            percent(book.loss_maker_weight_guard_off),
        ]
        for name in in_order(standing)
        for book in (standing[name],)
    ]
    return [Safe("Decision of this run:"), table(columns, rows)]


def _pairs(document: CapitalPreservation) -> list[tuple[str, str, Preserved]]:
    state = "on" if document.guard_enabled else "off (profile)"
    return [
        (name, label, book)
        for name in in_order(document.profiles)
        for label, book in ((state, document.profiles[name].as_run), ("off", document.profiles[name].guard_off))
    ]


def _books(document: CapitalPreservation) -> Safe:
    columns = [
        "risk profile",
        "guard",
        ">on loss makers, mean",
        ">most",
        ">rebalances with any",
        ">decided gross, mean",
    ]
    columns += [
        ">most",
        ">average gross",
        ">max drawdown",
        ">final wealth",
        "liquidated",
        "worst period",
        ">its return",
    ]
    rows = [
        [
            name,
            label,
            percent(book.loss_maker_weight_mean),
            percent(book.loss_maker_weight_max),
            integer(book.loss_maker_rebalances),
            percent(book.decided_gross_mean),
            percent(book.decided_gross_max),
            percent(book.average_gross),
            percent(book.max_drawdown),
            ratio(book.final_wealth, 4),
            yes(book.liquidated),
            book.worst_period.as_of,
            percent(book.worst_period.ret),
        ]
        for name, label, book in _pairs(document)
    ]
    return table(columns, rows)


def _losses(document: CapitalPreservation) -> Safe:
    columns = [
        "risk profile",
        "guard",
        ">lost to loss makers",
        ">their profit",
        ">lost to later losers",
        ">others' profit",
    ]
    columns += [">later losers", ">holdings"]
    rows = [
        [
            name,
            label,
            ratio(book.losses.from_loss_makers, 4),
            ratio(book.losses.pnl_loss_makers, 4),
            ratio(book.losses.from_later_losers, 4),
            ratio(book.losses.pnl_others, 4),
            integer(book.losses.later_losers),
            integer(book.losses.holdings),
        ]
        for name, label, book in _pairs(document)
    ]
    return table(columns, rows)
