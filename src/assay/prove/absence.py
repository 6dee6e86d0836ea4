"""Where a coin fell out that a book does not hold."""

from __future__ import annotations

from assay.prove.sealed import Sealed
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.request import MetaRequest, is_meta


def fell_out(sealed: Sealed, risk_profile: str, symbol: str) -> str:
    """Say in words why a portfolio does not hold a coin, by the run's own records."""
    if is_meta(sealed.run):
        pins = MetaRequest.of(sealed.home, sealed.run).pins
        return "none of its sleeves holds it: " + ", ".join(one.run_id for one in pins if one.run_id)
    reasons = [
        *_before_selection(sealed, symbol),
        *_in_selection(sealed, symbol),
        *_after(sealed, risk_profile, symbol),
    ]
    return "; ".join(reasons) or "no scanner of the profile found it"


def _before_selection(sealed: Sealed, symbol: str) -> list[str]:
    health = sealed.document(artifacts.DataHealth, layout.HEALTH)
    lost = [drop for drop in (*health.missing, *health.dropped) if drop.name == symbol]
    return [f"data: {drop.reason} ({drop.detail})" for drop in lost]


def _in_selection(sealed: Sealed, symbol: str) -> list[str]:
    audit = sealed.document(artifacts.SelectionAudit, layout.SELECTION)
    return [
        f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}{f' ({fate.detail})' if fate.detail else ''}"
        for fate in audit.fates
        if fate.symbol == symbol
    ]


def _after(sealed: Sealed, risk_profile: str, symbol: str) -> list[str]:
    """Say what happened to a winner that has no weight."""
    enriched = sealed.document(artifacts.Enrichment, layout.ENRICHED)
    optimized = sealed.document(artifacts.Optimized, layout.OPTIMIZED).profiles[risk_profile]
    losing = sealed.document(artifacts.RiskAnalysis, layout.RISK).loss_makers
    found = [f"enrichment: {drop.reason} ({drop.detail})" for drop in enriched.dropped if drop.name == symbol]
    for asset in optimized.assets:
        if asset.Symbol == symbol and asset.Atom in losing:
            found.append(f"guard: it lost money of late (mean net return {losing[asset.Atom]:.6f} a day), its cap is 0")
        elif asset.Symbol == symbol:
            found.append(f"optimization: {optimized.solver.name} {optimized.solver.status} gave it no weight")
    return found
