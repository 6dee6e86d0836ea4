"""Atomic validation of weights: steps 9 and 10 against each other and against what they came from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from assay.runs import artifacts as layout
from assay.runs.documents import (
    Clusters,
    Enrichment,
    Flattened,
    FlattenedAsset,
    Optimized,
    OptimizedProfile,
    RiskAnalysis,
    Winners,
)
from assay.runs.run import Evidence, Tally
from assay.settings.model import RISK_PROFILES, Caps

TOLERANCE = 1e-9
"""By how much weights may miss their sum or their caps."""

ALL_LOSS_MAKERS = "ALL_LOSS_MAKERS"
NO_POSITIVE_EXPECTED_RETURN = "NO_POSITIVE_EXPECTED_RETURN"
"""With :data:`~assay.runs.run.STAND_ASIDE`, the events without which an empty portfolio is a fault."""


def optimized(evidence: Evidence) -> Optimized:
    """Return step 9's document."""
    return evidence.document(Optimized, layout.OPTIMIZED)


def flattened(evidence: Evidence) -> Flattened:
    """Return step 10's document."""
    return evidence.document(Flattened, layout.FLATTENED)


def every_profile(evidence: Evidence) -> Iterator[tuple[str, OptimizedProfile]]:
    """Yield the guarded and the unguarded profiles of step 9, by what to call them."""
    document = optimized(evidence)
    yield from document.profiles.items()
    yield from ((f"unguarded {name}", profile) for name, profile in document.unguarded.items())


def cash_is_explained(evidence: Evidence, name: str) -> bool:
    """Whether the ledger has the event that makes an all-cash risk profile a valid result, and it is true."""
    atoms = {atom.atom_id for atom in evidence.atoms}
    if evidence.stands_aside:
        return not atoms
    if ALL_LOSS_MAKERS in evidence.events:
        return set(evidence.document(RiskAnalysis, layout.RISK).loss_makers) == atoms
    return name == "max_sharpe" and NO_POSITIVE_EXPECTED_RETURN in evidence.events


def check_optimized(evidence: Evidence, tally: Tally) -> None:
    """Check that step 9's document can be read."""
    tally.checked += len(optimized(evidence).profiles) + len(optimized(evidence).unguarded)


def check_flattened(evidence: Evidence, tally: Tally) -> None:
    """Check that step 10's document can be read."""
    tally.checked += len(flattened(evidence).profiles)


def check_profiles(evidence: Evidence, tally: Tally) -> None:
    """Check that each of the five risk profiles is in both documents."""
    for name in RISK_PROFILES:
        tally.expect(name in optimized(evidence).profiles, f"{name} is not in {layout.OPTIMIZED}")
        tally.expect(name in optimized(evidence).unguarded, f"unguarded {name} is not in {layout.OPTIMIZED}")
        tally.expect(name in flattened(evidence).profiles, f"{name} is not in {layout.FLATTENED}")


def check_hrp(evidence: Evidence, tally: Tally) -> None:
    """Check that hrp holds something, or why not."""
    profile = optimized(evidence).profiles.get("hrp")
    held = 0 if profile is None else sum(asset.Weight > 0.0 for asset in profile.assets)
    tally.checked += held
    if not held:
        tally.expect(
            profile is not None and cash_is_explained(evidence, "hrp"), "hrp holds nothing, and no event says why"
        )


def check_holdings(evidence: Evidence, tally: Tally) -> None:
    """Check that every flattened risk profile holds something, or why not."""
    for name, profile in flattened(evidence).profiles.items():
        held = sum(asset.Gross_Weight > 0.0 for asset in profile.assets)
        tally.expect(held > 0 or cash_is_explained(evidence, name), f"{name} holds nothing, and no event says why")


def check_sums(evidence: Evidence, tally: Tally) -> None:
    """Check that weights and cash make one, before and after flattening."""
    for name, profile in every_profile(evidence):
        gross = math.fsum(abs(asset.Weight) for asset in profile.assets)
        tally.expect(_near(gross + profile.cash, 1.0), f"{name}: weights and cash sum to {gross + profile.cash!r}")
        tally.expect(-TOLERANCE <= profile.cash <= 1.0 + TOLERANCE, f"{name}: cash is {profile.cash!r}")
    for name, flat in flattened(evidence).profiles.items():
        gross = math.fsum(asset.Gross_Weight for asset in flat.assets)
        net = math.fsum(asset.Net_Weight for asset in flat.assets)
        tally.expect(_near(gross + flat.cash, 1.0), f"flattened {name}: weights and cash sum to {gross + flat.cash!r}")
        tally.expect(_near(gross, flat.gross), f"flattened {name}: gross is {flat.gross!r}, its coins sum to {gross!r}")
        tally.expect(_near(net, flat.net), f"flattened {name}: net is {flat.net!r}, its coins sum to {net!r}")
        given = optimized(evidence).profiles.get(name)
        if given is not None:
            tally.expect(_near(given.cash, flat.cash), f"flattened {name}: cash was {given.cash!r}, is {flat.cash!r}")


def check_caps(evidence: Evidence, tally: Tally) -> None:
    """Check atom and cluster caps, recomputed from the settings; loss makers have a cap of zero."""
    profile, risk = evidence.manifest.profile, evidence.document(RiskAnalysis, layout.RISK)
    clusters = evidence.document(Clusters, layout.CLUSTERS).clusters
    if evidence.atoms:
        atom_cap, cluster_cap = _caps(profile.caps, len(evidence.atoms), len(clusters), risk.regime)
        tally.expect(
            _near(risk.atom_cap, atom_cap), f"the atom cap is {risk.atom_cap!r}, the settings give {atom_cap!r}"
        )
        what = f"the cluster cap is {risk.cluster_cap!r}, the settings give {cluster_cap!r}"
        tally.expect(_near(risk.cluster_cap, cluster_cap), what)
    for name, weights in every_profile(evidence):
        same = (weights.atom_cap, weights.cluster_cap) == (risk.atom_cap, risk.cluster_cap)
        tally.expect(same, f"{name}: its caps are not those of the risk analysis")
        _check_bounds(name, weights, tally)
        if profile.guard.enabled and not name.startswith("unguarded "):
            tally.expect(
                _near(weights.budget, risk.budget), f"{name}: budget {weights.budget!r}, decided {risk.budget!r}"
            )
            for asset in weights.assets:
                held = asset.Atom in risk.loss_makers and asset.Weight > 0.0
                tally.expect(not held, f"{name}: holds the loss maker {asset.Atom}")


def _caps(settings: Caps, n_atoms: int, n_clusters: int, regime: str) -> tuple[float, float]:
    cluster = {"TURBULENT": settings.cluster_turbulent, "CRISIS": settings.cluster_crisis}.get(regime, settings.cluster)
    return (
        min(1.0, max(settings.atom, settings.slack / n_atoms)),
        min(1.0, max(cluster, settings.slack / max(n_clusters, 1))),
    )


def _check_bounds(name: str, profile: OptimizedProfile, tally: Tally) -> None:
    sums: dict[str, list[float]] = {cluster: [] for cluster in profile.clusters}
    for asset in profile.assets:
        within = 0.0 <= asset.Weight <= profile.atom_cap + TOLERANCE
        tally.expect(within, f"{name}: {asset.Atom} weighs {asset.Weight!r}, its cap is {profile.atom_cap!r}")
        sums.setdefault(str(asset.Cluster_ID), []).append(asset.Weight)
    for cluster, weights in sums.items():
        total, told = math.fsum(weights), profile.clusters.get(cluster)
        what = f"{name}: cluster {cluster} weighs {total!r}, its cap is {profile.cluster_cap!r}"
        tally.expect(total <= profile.cluster_cap + TOLERANCE, what)
        tally.expect(
            told is not None and _near(total, told), f"{name}: cluster {cluster} weighs {total!r}, not {told!r}"
        )
    invested = math.fsum(asset.Weight for asset in profile.assets)
    tally.expect(invested <= profile.budget + TOLERANCE, f"{name}: {invested!r} is invested of {profile.budget!r}")


def check_directions(evidence: Evidence, tally: Tally) -> None:
    """Check that everything points the way of the profile."""
    direction = evidence.manifest.profile.direction
    winners = evidence.document(Winners, layout.WINNERS).winners
    tally.checked += int(evidence.stands_aside)  # there is nothing to point anywhere
    for winner in winners:
        tally.expect(winner.direction == direction, f"{winner.atom_id} is not {direction}")
        turned = winner.direction != winner.scan_direction
        tally.expect(
            winner.inverted == turned, f"{winner.atom_id} was scanned {winner.scan_direction}; inverted says not"
        )
    sign = 1.0 if direction == "LONG" else -1.0
    for name, weights in every_profile(evidence):
        for asset in weights.assets:
            good = asset.Direction == direction and asset.Net_Weight == sign * asset.Weight
            tally.expect(good, f"{name}: {asset.Atom} is {asset.Direction} with net weight {asset.Net_Weight!r}")
    for name, flat in flattened(evidence).profiles.items():
        for coin in flat.assets:
            what = f"flattened {name}: {coin.Symbol} is {coin.Direction} with net weight {coin.Net_Weight!r}"
            tally.expect(_coin_points(coin, direction), what)


def _coin_points(coin: FlattenedAsset, direction: str) -> bool:
    told = {"LONG": 1, "SHORT": -1, "FLAT": 0}[coin.Direction]
    sign = (coin.Net_Weight > 0.0) - (coin.Net_Weight < 0.0)
    wanted = 1 if direction == "LONG" else -1
    return told == sign and sign in (0, wanted) and all(part.Direction == direction for part in coin.Atoms)


def check_identity(evidence: Evidence, tally: Tally) -> None:
    """Check that winners, enriched, streams, clusters, optimized atoms and flattened provenance are the same."""
    atoms = {atom.atom_id: atom for atom in evidence.atoms}
    _check_winners(evidence, tally)
    _same(tally, set(atoms), list(evidence.panel(layout.SYNTHETIC).columns), layout.SYNTHETIC)
    clusters = evidence.document(Clusters, layout.CLUSTERS).clusters
    members = {atom: cluster for cluster, inside in clusters.items() for atom in inside}
    _same(tally, set(atoms), [atom for inside in clusters.values() for atom in inside], layout.CLUSTERS)
    for name, weights in every_profile(evidence):
        _same(tally, set(atoms), [asset.Atom for asset in weights.assets], name)
        for asset in weights.assets:
            atom = atoms.get(asset.Atom)
            known = atom is not None and (asset.Symbol, asset.Logic) == (atom.symbol, atom.logic)
            tally.expect(known, f"{name}: {asset.Atom} is not the winner of that id")
            tally.expect(
                str(asset.Cluster_ID) == members.get(asset.Atom), f"{name}: {asset.Atom} is in another cluster"
            )
    physical = set(evidence.panel(layout.RETURNS).columns)
    for name, flat in flattened(evidence).profiles.items():
        given = optimized(evidence).profiles.get(name)
        weights_of = {} if given is None else {asset.Atom: asset.Weight for asset in given.assets}
        parts = [part for coin in flat.assets for part in coin.Atoms]
        _same(tally, set(atoms), [part.Atom for part in parts], f"flattened {name}")
        for part in parts:
            what = f"flattened {name}: {part.Atom} weighs {part.Weight!r}, optimized {weights_of.get(part.Atom)!r}"
            tally.expect(part.Weight == weights_of.get(part.Atom), what)
        tally.expect(len({coin.Symbol for coin in flat.assets}) == len(flat.assets), f"flattened {name}: a coin twice")
        for coin in flat.assets:
            _check_coin(f"flattened {name}: {coin.Symbol}", coin, tally)
            tally.expect(coin.Symbol in physical, f"flattened {name}: {coin.Symbol} is not in the returns matrix")
            own = all(part.Atom in atoms and atoms[part.Atom].symbol == coin.Symbol for part in coin.Atoms)
            tally.expect(own, f"flattened {name}: {coin.Symbol} holds another coin's atom")


def _check_winners(evidence: Evidence, tally: Tally) -> None:
    winners = evidence.document(Winners, layout.WINNERS).winners
    enrichment = evidence.document(Enrichment, layout.ENRICHED)
    dropped = [drop.name for drop in enrichment.dropped]
    _same(
        tally,
        {winner.atom_id for winner in winners},
        [w.atom_id for w in enrichment.winners] + dropped,
        layout.ENRICHED,
    )
    tally.expect(len({winner.atom_id for winner in winners}) == len(winners), "a winner stands twice")
    for winner in winners:
        built = f"{winner.symbol}_{winner.logic}_{winner.direction}"
        tally.expect(winner.atom_id == built, f"{winner.atom_id} is not built from its fields")


def _check_coin(where: str, coin: FlattenedAsset, tally: Tally) -> None:
    gross = math.fsum(abs(part.Weight) for part in coin.Atoms)
    tally.expect(
        _near(gross, coin.Gross_Weight), f"{where}: its atoms sum to {gross!r}, its gross is {coin.Gross_Weight!r}"
    )
    tally.expect(
        coin.Weight == coin.Gross_Weight >= 0.0, f"{where}: weight {coin.Weight!r}, gross {coin.Gross_Weight!r}"
    )
    within = abs(coin.Net_Weight) <= coin.Gross_Weight + TOLERANCE
    tally.expect(within, f"{where}: net {coin.Net_Weight!r} is beyond gross {coin.Gross_Weight!r}")


def _same(tally: Tally, expected: set[str], found: list[str], where: str) -> None:
    missing, extra = sorted(expected - set(found)), sorted(set(found) - expected)
    tally.checked += len(expected | set(found))
    if missing or extra or len(found) != len(set(found)):
        tally.faults.append(f"{where}: atoms missing {missing[:3]}, unknown {extra[:3]}, or one twice")


def _near(left: float, right: float) -> bool:
    return abs(left - right) <= TOLERANCE
