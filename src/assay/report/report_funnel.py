"""The funnel with its reasons, and the winners."""

from __future__ import annotations

import polars as pl

from assay.report.markdown import ABSENT, Safe, count, fill, integer, names, percent, plain, ratio, section, table
from assay.report.view import RunView
from assay.runs import artifacts as layout
from assay.runs.documents import ScannerCount, SelectionAudit, Stage, Winner

LISTED = 40
SCAN_REASONS = (
    "invalid",
    "exchange",
    "quote",
    "base_excluded",
    "value_traded",
    "volatility",
    "unrated",
    "history",
    "rating",
    "merged_quote",
    "limit",
)
"""Filters in the order in which a scanner applies them."""


def funnel(view: RunView) -> Safe:
    """Return scanners, stages and reasons, relaxation and merged quotes."""
    return section("Funnel", _scanners(view), *_stages(view), *_relaxation(view), *_merged(view))


def _scanners(view: RunView) -> Safe:
    if view.raw is None:
        return fill("No candidates: {why}.", why=view.absent(layout.RAW))
    return scanner_table(view.raw.scanners)


def scanner_table(scanners: list[ScannerCount]) -> Safe:
    """Return what became of each scanner's universe; filters that dropped nobody have no column."""
    seen = {reason for scanner in scanners for reason, n in scanner.dropped.items() if n}
    reasons = [*(reason for reason in SCAN_REASONS if reason in seen), *sorted(seen - set(SCAN_REASONS))]
    columns = ["scanner", ">universe", *(f">- {reason}" for reason in map(plain, reasons)), ">matched", ">kept"]
    rows = [
        [
            scanner.scanner,
            integer(scanner.universe),
            *(integer(scanner.dropped.get(reason, 0)) for reason in reasons),
            integer(scanner.matched),
            integer(scanner.kept),
        ]
        for scanner in scanners
    ]
    return table(columns, rows)


def _stages(view: RunView) -> list[Safe]:
    if view.selection is None:
        return [fill("No funnel: {why}.", why=view.absent(layout.SELECTION))]
    return [stage_table(view.selection), _reasons(view.selection)]


def stage_table(audit: SelectionAudit) -> Safe:
    """Return the stages with their balance."""
    columns = ["stage", ">in", ">expanded", ">dropped", ">out", "in + expanded - dropped = out"]
    return table(columns, [_stage_row(stage) for stage in audit.stages])


def _stage_row(stage: Stage) -> list[object]:
    holds = stage.n_in + stage.expanded - stage.dropped == stage.n_out
    numbers = (stage.n_in, stage.expanded, stage.dropped, stage.n_out)
    return [stage.stage, *map(integer, numbers), "holds" if holds else "BROKEN"]


def _reasons(audit: SelectionAudit) -> Safe:
    rows: list[list[object]] = []
    for stage in audit.stages:
        rows += [[stage.stage, "expanded", reason, integer(n), ABSENT] for reason, n in stage.expanded_by.items()]
        for reason, n in stage.dropped_by.items():
            who = [fate.symbol for fate in audit.fates if (fate.stage, fate.reason) == (stage.stage, reason)]
            rows.append([stage.stage, "dropped", reason, integer(n), names(who) or ABSENT])
    if not rows:
        return Safe("Reasons: no stage expanded or dropped a candidate.")
    return table(["stage", "what", "reason", ">count", "who"], rows)


def _relaxation(view: RunView) -> list[Safe]:
    lines = []
    if view.selection is not None:
        audit = view.selection
        lines.append(
            fill(
                "**Relaxation, this run:** {relaxed} of {winners} came by relaxation ({share}); {wanted} were wanted.",
                relaxed=integer(audit.relaxed),
                winners=count(audit.n_winners, "winner"),
                share=percent(audit.relaxed_share),
                wanted=integer(audit.wanted),
            )
        )
    return [*lines, fill("**Relaxation, walk-forward:** {text}.", text=_relaxed_decisions(view))]


def _relaxed_decisions(view: RunView) -> str:
    decisions = view.decisions
    if decisions is None:
        return view.absent(layout.WALK_DECISIONS)
    if not {"winners", "relaxed"} <= set(decisions.columns):
        return f"no winners in {count(decisions.height, 'decision')}"
    winners = int(decisions["winners"].fill_null(0).sum())
    relaxed = int(decisions["relaxed"].fill_null(0).sum())
    some = decisions.filter(pl.col("relaxed") > 0).height
    share = percent(relaxed / winners) if winners else ABSENT
    return (
        f"{integer(relaxed)} of {count(winners, 'winner')} ({share}) in {count(decisions.height, 'decision')}, "
        f"{integer(some)} of which relaxed at all"
    )


def _merged(view: RunView) -> list[Safe]:
    if view.raw is None:
        return []
    if not view.raw.merged_quotes:
        return [Safe("Merged quotes: none.")]
    rows = [(quote.symbol, quote.into, quote.scanner, quote.reason) for quote in view.raw.merged_quotes]
    return [Safe("Merged quotes:"), table(["pair", "into", "scanner", "reason"], rows, LISTED, f"; see {layout.RAW}")]


def winners(view: RunView) -> Safe:
    """Return the winners with what they were chosen for, and those that enrichment dropped."""
    if view.winners is None:
        return section("Winners", fill("No winners: {why}.", why=view.absent(layout.WINNERS)))
    if not view.winners.winners:
        return section("Winners", Safe("No winners: the selection chose none."))
    ratings = list(dict.fromkeys(name for winner in view.winners.winners for name in winner.ratings))
    columns = ["atom", ">alpha", ">rank", ">cluster", *(f">{plain(name)}" for name in ratings), "admitted", ">beta"]
    columns += [">correlation", ">liquidity", ">median value traded", "facts", "margin"]
    rows = [_winner_row(view, winner, ratings) for winner in view.winners.winners]
    return section("Winners", table(columns, rows), *_inverted(view), *_unenriched(view))


def _winner_row(view: RunView, winner: Winner, ratings: list[str]) -> list[object]:
    row: list[object] = [winner.atom_id, ratio(winner.alpha_score, 4), integer(winner.rank), winner.cluster_id]
    row += [ratio(winner.ratings.get(name), 3) for name in ratings]
    row.append(winner.admitted)
    known = view.enriched.get(winner.atom_id)
    if known is None:
        return row + [ABSENT] * 6
    margin = ABSENT if known.margin_allowed is None else ("allowed" if known.margin_allowed else "refused")
    measured = [ratio(known.beta), ratio(known.correlation), ratio(known.liquidity)]
    return [*row, *measured, integer(known.median_value_traded), known.facts, margin]


def _inverted(view: RunView) -> list[Safe]:
    turned = [winner.atom_id for winner in view.winners.winners if winner.inverted] if view.winners else []
    if not turned:
        return []
    return [fill("**Inverted**, found by a scanner on the other side: {who}.", who=names(turned, LISTED))]


def _unenriched(view: RunView) -> list[Safe]:
    if view.enrichment is None:
        return [fill("Beta and liquidity: {why}.", why=view.absent(layout.ENRICHED))]
    if not view.enrichment.dropped:
        return []
    rows = [(drop.name, drop.reason, drop.detail) for drop in view.enrichment.dropped]
    return [Safe("Dropped by enrichment:"), table(["atom", "reason", "detail"], rows, LISTED)]
