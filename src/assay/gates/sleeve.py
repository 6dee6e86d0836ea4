"""The checks that validation makes of a sleeve: steps 2 to 11 against each other and against what they came from."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from assay.base.constants import TOLERANCE
from assay.base.errors import AssayError, IntegrityError
from assay.base.files import sha256_file
from assay.gates.book import check_book, check_ruin
from assay.gates.checks import (
    CheckFunction,
    Family,
    Tally,
    check_artifacts,
    check_contracts,
    check_daily,
    check_dates,
    check_hashes,
    check_ledger,
    last_day,
    near,
    same,
)
from assay.gates.sign_test import StageName, run_sign_test
from assay.gates.streams import days, streams
from assay.lake.storage import HEADS, storage_of
from assay.runs.artifacts import (
    CLUSTERS,
    ENRICHED,
    FLATTENED,
    MANIFEST,
    OPTIMIZED,
    RAW,
    RETURNS,
    RISK,
    SELECTION,
    SIGN_POST,
    SIGN_PRE,
    SYNTHETIC,
    TABLE,
    WALK,
    WALK_RETURNS,
    WINNERS,
    Artifact,
)
from assay.runs.documents import FlattenedAsset, OptimizedProfile, Scalar, SelectionAudit, SignTest
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES, Profile

STAGES = ("discovery", "normalization", "deduplication", "selection")

ALL_LOSS_MAKERS = "ALL_LOSS_MAKERS"
NO_POSITIVE_EXPECTED_RETURN = "NO_POSITIVE_EXPECTED_RETURN"
"""With :data:`~assay.runs.run.STAND_ASIDE`, the events without which an empty portfolio is a fault."""
CAPS_BIND, ALL_CASH = "CAPS_BIND", "ALL_CASH"
TAKEN = 1e-6
"""Share of the capital that caps may take from a budget without a word."""


def _replayable(run: Run, tally: Tally) -> None:
    """Check that the manifest is complete, and that what it pins can be read."""
    asked = run.of_sleeve
    tally.expect(bool(run[MANIFEST].get("environment")), "the manifest has no environment")
    tally.expect(run[MANIFEST].get("run_id") == run.folder.name, "the manifest's run_id is another run's")
    for scanner in asked.profile.scanners:
        tally.expect(scanner in asked.scanners, f"scanner {scanner} is not in the manifest")
    raw = run[RAW]
    tally.expect(raw.pool == asked.profile.pool, f"the pool is {raw.pool}, the profile's {asked.profile.pool}")
    tally.expect(raw.superset_sha256 == asked.superset_sha256, "the candidates come from another superset")
    superset = _inside(asked.home, asked.superset)
    found = superset.is_file() and sha256_file(superset) == asked.superset_sha256
    tally.expect(found, f"{asked.superset} is missing or changed")
    try:
        _find_head(_inside(asked.home, asked.lake), asked.head, asked.tables)
    except AssayError as error:
        tally.faults.append(f"head {asked.head} of {asked.lake} cannot be read: {error.what}")
    tally.checked += 1


def _inside(home: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise IntegrityError(f"{name!r} leaves the home folder", where=MANIFEST, hint="run: assay verify")
    return home / name


def _find_head(folder: Path, head: int, tables: Mapping[str, int]) -> None:
    """Look the head up in the list of states; the tables are not opened."""
    place = storage_of(folder)
    path = f"{place.uri}/{HEADS}"
    try:
        lines = [json.loads(line) for line in place.heads()]
    except ValueError as error:
        raise IntegrityError(f"heads cannot be read: {error}", where=path, hint="ingest the source again") from error
    for line in lines:
        if isinstance(line, dict) and line.get("head") == head:
            if line.get("tables") != dict(tables):
                raise IntegrityError("the head names other table versions", where=path, hint="ingest the source again")
            return
    raise IntegrityError("no such head", where=path, hint="ingest the source again")


def _returns_parse(run: Run, tally: Tally) -> None:
    """Check that both matrices are panels of returns."""
    for name in (RETURNS, SYNTHETIC):
        streams(run, name)
        tally.expect(True, name)


def _returns_hold(run: Run, tally: Tally) -> None:
    """Check that both matrices hold observations."""
    for name in (RETURNS, SYNTHETIC):
        panel = streams(run, name)
        tally.checked += int(np.isfinite(panel.values).sum())
        tally.expect(not panel.empty or (run.stands_aside and not run.atoms), f"{name} is empty")


def _calendar(run: Run, tally: Tally) -> None:
    """Check that every document has the run's date, and that no table knows more than was known."""
    check_dates(run, tally)
    last, instant = last_day(run), run.manifest.as_of
    returns, synthetic = streams(run, RETURNS).days, streams(run, SYNTHETIC).days
    tally.expect(np.array_equal(returns, synthetic), "the synthetic returns have other days than the returns matrix")
    check_daily(RETURNS, returns, last, tally)
    check_daily(SYNTHETIC, synthetic, last, tally)
    walk = run[WALK_RETURNS]
    keyed = {"risk_profile", "date"} <= set(walk.columns)
    tally.expect(keyed, f"{WALK_RETURNS} has no risk_profile or date")
    for (name,), rows in walk.group_by("risk_profile", maintain_order=True) if keyed else ():
        check_daily(f"{WALK_RETURNS} {name}", days(rows["date"], WALK_RETURNS), last, tally)
    for row in TABLE:
        if row.startswith(WALK) and row.keys:
            _check_known(row, run[row], last, instant, tally)


def _check_known(name: str, table: pl.DataFrame, last: np.datetime64, instant: dt.datetime, tally: Tally) -> None:
    for column in table.iter_columns():
        what = f"{name}: {column.name} is not in UTC, or later than the run knows"
        if column.dtype == pl.Date:
            tally.checked += len(column)
            tally.expect(not (column.drop_nulls() > last.item()).any(), what)
        elif isinstance(column.dtype, pl.Datetime):
            tally.checked += len(column)
            tally.expect(column.dtype.time_zone == "UTC" and not (column.drop_nulls() > instant).any(), what)


def _funnel(run: Run, tally: Tally) -> None:
    """Check that nobody got lost between the scan and the winners."""
    audit = run[SELECTION]
    n_candidates = len(run[RAW].candidates)
    winners = run[WINNERS].winners
    _check_stages(audit, n_candidates, len(winners), tally)
    later = audit.stages[1:]
    everyone = n_candidates + sum(stage.expanded for stage in later)
    ended = [fate for fate in audit.fates if fate.stage != "discovery"]
    tally.expect(len(ended) == everyone, f"{everyone} candidates have {len(ended)} fates")
    _check_discovery(run, audit, tally)
    lost = Counter((fate.stage, fate.reason) for fate in ended if fate.reason != "winner")
    told = Counter({(stage.stage, reason): n for stage in later for reason, n in stage.dropped_by.items() if n})
    tally.expect(lost == told, "the fates' reasons are not those of the stages")
    taken = Counter((fate.symbol, fate.logic, fate.direction) for fate in audit.fates if fate.reason == "winner")
    same = taken == Counter((winner.symbol, winner.logic, winner.direction) for winner in winners)
    tally.expect(same, "the fates' winners are not the winners")


def _check_discovery(run: Run, audit: SelectionAudit, tally: Tally) -> None:
    """Check that the first stage's losses are the scanners' counts and named records, never a difference."""
    raw, profile = run[RAW], run.of_sleeve.profile
    named = Counter(name for candidate in raw.candidates for name in candidate.scanners)
    own = [count for count in raw.scanners if profile.pool == "superset" or count.scanner in profile.scanners]
    dropped: Counter[str] = Counter(fate.reason for fate in audit.fates if fate.stage == "discovery")
    for count in own:
        came = named[count.scanner]
        tally.expect(came == count.kept, f"{count.scanner} kept {count.kept} candidates, and {came} came")
        left = count.universe - sum(count.dropped.values())
        tally.expect(left == count.kept, f"{count.scanner} kept {count.kept} candidates, its counts leave {left}")
        for reason, records in (("merged_quote", raw.merged_quotes), ("invalid", raw.invalid_records)):
            told, found = count.dropped.get(reason, 0), sum(one.scanner == count.scanner for one in records)
            tally.expect(told == found, f"{count.scanner} dropped {told} for {reason}, and {found} have a name")
        for reason, names in count.names.items():
            told = count.dropped.get(reason, 0)
            tally.expect(told == len(names), f"{count.scanner} dropped {told} for {reason}, and names {len(names)}")
        dropped.update(count.dropped)
    losses = Counter(audit.stages[0].dropped_by if audit.stages else {})
    tally.expect(not own or +losses == +dropped, "the losses of discovery are not the scanners' and the named ones")


def _check_stages(audit: SelectionAudit, n_candidates: int, n_winners: int, tally: Tally) -> None:
    names = tuple(stage.stage for stage in audit.stages)
    tally.expect(names == STAGES, f"the stages are {', '.join(names)}")
    for stage in audit.stages:
        balanced = stage.n_out == stage.n_in + stage.expanded - stage.dropped >= 0
        tally.expect(balanced, f"{stage.stage}: {stage.n_in} + {stage.expanded} - {stage.dropped} is not {stage.n_out}")
        explained = (sum(stage.expanded_by.values()), sum(stage.dropped_by.values()))
        tally.expect(explained == (stage.expanded, stage.dropped), f"{stage.stage}: its reasons do not add up")
    for before, after in zip(audit.stages, audit.stages[1:], strict=False):
        what = f"{before.n_out} leave {before.stage}, {after.n_in} enter {after.stage}"
        tally.expect(before.n_out == after.n_in, what)
    ends = [stage.n_out for stage in audit.stages]
    tally.expect(ends[:1] == [n_candidates], f"discovery ends with {ends[:1]}, there are {n_candidates} candidates")
    tally.expect(ends[-1:] == [n_winners] == [audit.n_winners], f"the funnel ends with {ends[-1:]}, not {n_winners}")


def _every_profile(run: Run) -> Iterator[tuple[str, OptimizedProfile]]:
    """Yield the guarded and the unguarded profiles of step 9, by what to call them."""
    document = run[OPTIMIZED]
    yield from document.profiles.items()
    yield from ((f"unguarded {name}", profile) for name, profile in document.unguarded.items())


def _cash_is_explained(run: Run, name: str) -> bool:
    """Whether the ledger has the event that makes an all-cash risk profile a valid result, and it is true."""
    atoms = {atom.atom_id for atom in run.atoms}
    if run.stands_aside:
        return not atoms
    if ALL_LOSS_MAKERS in run.events:
        return set(run[RISK].loss_makers) == atoms
    return name == "max_sharpe" and NO_POSITIVE_EXPECTED_RETURN in run.events


def _optimized(run: Run, tally: Tally) -> None:
    """Check that step 9's document can be read."""
    tally.checked += len(run[OPTIMIZED].profiles) + len(run[OPTIMIZED].unguarded)


def _flattened(run: Run, tally: Tally) -> None:
    """Check that step 10's document can be read."""
    tally.checked += len(run[FLATTENED].profiles)


def _profiles(run: Run, tally: Tally) -> None:
    """Check that each of the five risk profiles is in both documents."""
    for name in RISK_PROFILES:
        tally.expect(name in run[OPTIMIZED].profiles, f"{name} is not in {OPTIMIZED}")
        tally.expect(name in run[OPTIMIZED].unguarded, f"unguarded {name} is not in {OPTIMIZED}")
        tally.expect(name in run[FLATTENED].profiles, f"{name} is not in {FLATTENED}")


def _hrp(run: Run, tally: Tally) -> None:
    """Check that hrp holds something, or why not."""
    profile = run[OPTIMIZED].profiles.get("hrp")
    held = 0 if profile is None else sum(asset.Weight > 0.0 for asset in profile.assets)
    tally.checked += held
    if not held:
        tally.expect(profile is not None and _cash_is_explained(run, "hrp"), "hrp holds nothing, and no event says why")


def _holdings(run: Run, tally: Tally) -> None:
    """Check that every flattened risk profile holds something, or why not."""
    for name, profile in run[FLATTENED].profiles.items():
        held = sum(asset.Gross_Weight > 0.0 for asset in profile.assets)
        tally.expect(held > 0 or _cash_is_explained(run, name), f"{name} holds nothing, and no event says why")


def _sums(run: Run, tally: Tally) -> None:
    """Check that weights and cash make one, before and after flattening."""
    for name, profile in _every_profile(run):
        gross = math.fsum(abs(asset.Weight) for asset in profile.assets)
        tally.expect(near(gross + profile.cash, 1.0), f"{name}: weights and cash sum to {gross + profile.cash!r}")
        tally.expect(-TOLERANCE <= profile.cash <= 1.0 + TOLERANCE, f"{name}: cash is {profile.cash!r}")
    for name, flat in run[FLATTENED].profiles.items():
        gross = math.fsum(asset.Gross_Weight for asset in flat.assets)
        net = math.fsum(asset.Net_Weight for asset in flat.assets)
        tally.expect(near(gross + flat.cash, 1.0), f"flattened {name}: weights and cash sum to {gross + flat.cash!r}")
        tally.expect(near(gross, flat.gross), f"flattened {name}: gross is {flat.gross!r}, its coins sum to {gross!r}")
        tally.expect(near(net, flat.net), f"flattened {name}: net is {flat.net!r}, its coins sum to {net!r}")
        given = run[OPTIMIZED].profiles.get(name)
        if given is not None:
            tally.expect(near(given.cash, flat.cash), f"flattened {name}: cash was {given.cash!r}, is {flat.cash!r}")


def _within_caps(run: Run, tally: Tally) -> None:
    """Check atom and cluster caps, recomputed from the settings; loss makers have a cap of zero."""
    profile, risk = run.of_sleeve.profile, run[RISK]
    clusters = run[CLUSTERS].clusters
    if run.atoms:
        atom_cap, cluster_cap = _caps(profile, len(clusters), risk.regime)
        tally.expect(
            near(risk.atom_cap, atom_cap), f"the atom cap is {risk.atom_cap!r}, the settings give {atom_cap!r}"
        )
        what = f"the cluster cap is {risk.cluster_cap!r}, the settings give {cluster_cap!r}"
        tally.expect(near(risk.cluster_cap, cluster_cap), what)
    for name, weights in _every_profile(run):
        same = (weights.atom_cap, weights.cluster_cap) == (risk.atom_cap, risk.cluster_cap)
        tally.expect(same, f"{name}: its caps are not those of the risk analysis")
        _check_bounds(name, weights, tally)
        _check_cuts(name, weights, profile.risk.min_weight, tally)
        if profile.guard.enabled and not name.startswith("unguarded "):
            tally.expect(
                near(weights.budget, risk.budget), f"{name}: budget {weights.budget!r}, decided {risk.budget!r}"
            )
            for asset in weights.assets:
                held = asset.Atom in risk.loss_makers and asset.Weight > 0.0
                tally.expect(not held, f"{name}: holds the loss maker {asset.Atom}")


def _caps(profile: Profile, n_clusters: int, regime: str) -> tuple[float, float]:
    """Return the caps of an atom and of a cluster; only a long cluster's is raised, and in calm only."""
    caps = profile.caps
    if profile.direction == "SHORT":
        own = {"TURBULENT": caps.cluster_short_turbulent, "CRISIS": caps.cluster_short_crisis}
        return caps.atom_short, own.get(regime, caps.cluster_short)
    lower = {"TURBULENT": caps.cluster_turbulent, "CRISIS": caps.cluster_crisis}
    return caps.atom, lower.get(regime) or min(1.0, max(caps.cluster, caps.slack / max(n_clusters, 1)))


def _check_cuts(name: str, profile: OptimizedProfile, least: float, tally: Tally) -> None:
    """Check that caps cut and never push, and that what they take from the budget is said, and rightly."""
    invested = math.fsum(asset.Weight for asset in profile.assets)
    told = [event.values for event in profile.events if event.code == CAPS_BIND]
    if told:
        same = len(told) == 1 and near(_number(told[0], "budget"), profile.budget)
        same = same and near(_number(told[0], "held"), invested)
        tally.expect(same, f"{name}: caps leave {invested!r} of {profile.budget!r}, {CAPS_BIND} says {told}")
    elif profile.solver.status != ALL_CASH:
        kept = invested >= profile.budget - least * len(profile.assets) - TAKEN
        tally.expect(kept, f"{name}: {invested!r} is invested of {profile.budget!r}, and no {CAPS_BIND} says why")
    if name.endswith("equal_weight"):
        for asset in profile.assets:
            equal = asset.Weight <= 1.0 / len(profile.assets) + TOLERANCE
            tally.expect(equal, f"{name}: {asset.Atom} weighs {asset.Weight!r}, more than its equal share")


def _number(values: Mapping[str, Scalar], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan


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
            told is not None and near(total, told), f"{name}: cluster {cluster} weighs {total!r}, not {told!r}"
        )
    invested = math.fsum(asset.Weight for asset in profile.assets)
    tally.expect(invested <= profile.budget + TOLERANCE, f"{name}: {invested!r} is invested of {profile.budget!r}")


def _directions(run: Run, tally: Tally) -> None:
    """Check that everything points the way of the profile."""
    direction = run.of_sleeve.profile.direction
    winners = run[WINNERS].winners
    tally.checked += int(run.stands_aside)  # there is nothing to point anywhere
    for winner in winners:
        tally.expect(winner.direction == direction, f"{winner.atom_id} is not {direction}")
        turned = winner.direction != winner.scan_direction
        tally.expect(
            winner.inverted == turned, f"{winner.atom_id} was scanned {winner.scan_direction}; inverted says not"
        )
    sign = 1.0 if direction == "LONG" else -1.0
    for name, weights in _every_profile(run):
        for asset in weights.assets:
            good = asset.Direction == direction and asset.Net_Weight == sign * asset.Weight
            tally.expect(good, f"{name}: {asset.Atom} is {asset.Direction} with net weight {asset.Net_Weight!r}")
    for name, flat in run[FLATTENED].profiles.items():
        for coin in flat.assets:
            what = f"flattened {name}: {coin.Symbol} is {coin.Direction} with net weight {coin.Net_Weight!r}"
            tally.expect(_coin_points(coin, direction), what)


def _coin_points(coin: FlattenedAsset, direction: str) -> bool:
    told = {"LONG": 1, "SHORT": -1, "FLAT": 0}[coin.Direction]
    sign = (coin.Net_Weight > 0.0) - (coin.Net_Weight < 0.0)
    wanted = 1 if direction == "LONG" else -1
    return told == sign and sign in (0, wanted) and all(part.Direction == direction for part in coin.Atoms)


def _identity(run: Run, tally: Tally) -> None:
    """Check that winners, enriched, streams, clusters, optimized atoms and flattened provenance are the same."""
    atoms = {atom.atom_id: atom for atom in run.atoms}
    _check_winners(run, tally)
    _same_atoms(tally, set(atoms), list(streams(run, SYNTHETIC).columns), SYNTHETIC)
    clusters = run[CLUSTERS].clusters
    members = {atom: cluster for cluster, inside in clusters.items() for atom in inside}
    _same_atoms(tally, set(atoms), [atom for inside in clusters.values() for atom in inside], CLUSTERS)
    for name, weights in _every_profile(run):
        _same_atoms(tally, set(atoms), [asset.Atom for asset in weights.assets], name)
        for asset in weights.assets:
            atom = atoms.get(asset.Atom)
            known = atom is not None and (asset.Symbol, asset.Logic) == (atom.symbol, atom.logic)
            tally.expect(known, f"{name}: {asset.Atom} is not the winner of that id")
            tally.expect(
                str(asset.Cluster_ID) == members.get(asset.Atom), f"{name}: {asset.Atom} is in another cluster"
            )
    physical = set(streams(run, RETURNS).columns)
    for name, flat in run[FLATTENED].profiles.items():
        given = run[OPTIMIZED].profiles.get(name)
        weights_of = {} if given is None else {asset.Atom: asset.Weight for asset in given.assets}
        parts = [part for coin in flat.assets for part in coin.Atoms]
        _same_atoms(tally, set(atoms), [part.Atom for part in parts], f"flattened {name}")
        for part in parts:
            what = f"flattened {name}: {part.Atom} weighs {part.Weight!r}, optimized {weights_of.get(part.Atom)!r}"
            tally.expect(part.Weight == weights_of.get(part.Atom), what)
        tally.expect(len({coin.Symbol for coin in flat.assets}) == len(flat.assets), f"flattened {name}: a coin twice")
        for coin in flat.assets:
            _check_coin(f"flattened {name}: {coin.Symbol}", coin, tally)
            tally.expect(coin.Symbol in physical, f"flattened {name}: {coin.Symbol} is not in the returns matrix")
            own = all(part.Atom in atoms and atoms[part.Atom].symbol == coin.Symbol for part in coin.Atoms)
            tally.expect(own, f"flattened {name}: {coin.Symbol} holds another coin's atom")


def _check_winners(run: Run, tally: Tally) -> None:
    winners = run[WINNERS].winners
    enrichment = run[ENRICHED]
    dropped = [drop.name for drop in enrichment.dropped]
    _same_atoms(
        tally,
        {winner.atom_id for winner in winners},
        [w.atom_id for w in enrichment.winners] + dropped,
        ENRICHED,
    )
    tally.expect(len({winner.atom_id for winner in winners}) == len(winners), "a winner stands twice")
    for winner in winners:
        built = f"{winner.symbol}_{winner.logic}_{winner.direction}"
        tally.expect(winner.atom_id == built, f"{winner.atom_id} is not built from its fields")


def _check_coin(where: str, coin: FlattenedAsset, tally: Tally) -> None:
    gross = math.fsum(abs(part.Weight) for part in coin.Atoms)
    tally.expect(
        near(gross, coin.Gross_Weight), f"{where}: its atoms sum to {gross!r}, its gross is {coin.Gross_Weight!r}"
    )
    tally.expect(
        coin.Weight == coin.Gross_Weight >= 0.0, f"{where}: weight {coin.Weight!r}, gross {coin.Gross_Weight!r}"
    )
    within = abs(coin.Net_Weight) <= coin.Gross_Weight + TOLERANCE
    tally.expect(within, f"{where}: net {coin.Net_Weight!r} is beyond gross {coin.Gross_Weight!r}")


def _same_atoms(tally: Tally, expected: set[str], found: list[str], where: str) -> None:
    missing, extra = sorted(expected - set(found)), sorted(set(found) - expected)
    tally.checked += len(expected | set(found))
    if missing or extra or len(found) != len(set(found)):
        tally.faults.append(f"{where}: atoms missing {missing[:3]}, unknown {extra[:3]}, or one twice")


def _sign(stage: StageName, artifact: Artifact[SignTest], code: str) -> CheckFunction:
    """Return the check of a recorded sign test, and that the same test says the same now."""

    def check(run: Run, tally: Tally) -> str | None:
        if not run.has(artifact):
            tally.faults.append(f"{artifact} is missing")
            return f"{code}_MISSING"
        recorded = run.get(artifact)
        if recorded is None:
            tally.faults.append(run.faults[artifact])
            return f"{code}_PARSE"
        tally.checked += recorded.values_compared + recorded.weights_compared
        tally.expect(recorded.ok and recorded.stage == stage and not recorded.violations, "the test did not pass")
        tally.expect(recorded.values_compared > 0 or run.stands_aside, "the test compared nothing")
        again = run_sign_test(run, stage, run.of_sleeve.profile.direction, run.stands_aside)
        tally.expect(again == recorded, "the same test gives another result now")
        return None

    return check


CHECKS: tuple[Family, ...] = (
    same("ATOMIC_MISSING_ARTIFACTS", check_artifacts),
    same("ATOMIC_LEDGER_BROKEN", check_ledger),
    same("ATOMIC_CONTRACT_FAILED", check_contracts),
    same("ATOMIC_HASH_MISMATCH", check_hashes),
    same("ATOMIC_NOT_REPLAYABLE", _replayable),
    same("ATOMIC_RETURNS_PARSE", _returns_parse),
    same("ATOMIC_EMPTY_RETURNS", _returns_hold),
    same("ATOMIC_CALENDAR", _calendar),
    same("ATOMIC_FUNNEL", _funnel),
    ("ATOMIC_SIGN_TEST_PRE_FAIL", "ATOMIC_SIGN_TEST_PRE_PASS", _sign("pre_opt", SIGN_PRE, "ATOMIC_SIGN_TEST_PRE")),
    ("ATOMIC_SIGN_TEST_POST_FAIL", "ATOMIC_SIGN_TEST_POST_PASS", _sign("post_opt", SIGN_POST, "ATOMIC_SIGN_TEST_POST")),
    same("ATOMIC_OPT_PARSE", _optimized),
    same("ATOMIC_PROFILE_MISSING", _profiles),
    ("ATOMIC_EMPTY_HRP", "ATOMIC_HRP_PRESENT", _hrp),
    same("ATOMIC_FLATTEN_PARSE", _flattened),
    ("ATOMIC_EMPTY_FLATTENED", "ATOMIC_FLATTENED_PRESENT", _holdings),
    same("ATOMIC_WEIGHT_SUM", _sums),
    same("ATOMIC_CAP_BREACH", _within_caps),
    same("ATOMIC_DIRECTION_MISMATCH", _directions),
    same("ATOMIC_CROSS_ARTIFACT", _identity),
    same("ATOMIC_RUIN", check_ruin),
    same("ATOMIC_BOOK", check_book),
)
"""Code where a check finds a fault, code where it finds none, and the check, in order."""
