"""The fifteen steps: each reads artifacts, calls one layer, writes artifacts, and records its contract or gate.

What is computed lives in the layers; nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.alpha.enrichment import enrich
from assay.alpha.synthesis import synthetic_frame
from assay.backtest import decision
from assay.base.domain import DAY, UTC, Atom, format_instant
from assay.base.errors import ContractError, GateError, IntegrityError, NoCandidates, RunFailed
from assay.base.files import as_json, sha256_file
from assay.market.health import data_health, missing_audit
from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix
from assay.risk import allocate as documents
from assay.risk.allocate import RiskState, analyse, optimize
from assay.risk.flatten import flatten
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.documents import (
    Clusters,
    DataHealth,
    Drop,
    Enrichment,
    Flattened,
    Optimized,
    RawCandidates,
    RiskAnalysis,
    SelectionAudit,
    Superset,
    Winner,
    Winners,
)
from assay.runs.run import Run
from assay.screening.superset import profile_pool

if TYPE_CHECKING:
    import polars as pl

    from assay.gates.contract import ContractResult
    from assay.gates.sign_test import StageName
    from assay.pipeline.context import Context, Workspace


# --- 1 to 3: foundation -----------------------------------------------------------------------------------------------


def preflight(context: Context) -> None:
    """Pin the lake and write down every value and version that the run will use."""
    from assay.base.environment import environment

    request = context.request
    snapshot = context.snapshot
    if dict(snapshot.versions) != dict(request.tables):
        raise IntegrityError("the pinned head names other table versions", where=request.lake, hint="run: assay ingest")
    context.save(layout.MANIFEST, request.manifest() | {"environment": environment()})
    context.event("PINNED", "lake pinned", {"head": request.head, **request.tables})


def discovery(context: Context) -> None:
    """Take this profile's candidates from the superset."""
    request = context.request
    path = request.home / request.superset
    if not path.is_file() or sha256_file(path) != request.superset_sha256:
        raise IntegrityError("superset is not the one that was pinned", where=request.superset, hint="run it anew")
    superset = artifacts.load(Superset, path)
    pool = profile_pool(superset, context.profile)
    context.save(
        layout.RAW,
        RawCandidates(
            as_of=superset.as_of,
            pool=context.profile.pool,
            superset_sha256=request.superset_sha256,
            provider=superset.provider,
            fallback=superset.fallback,
            candidates=pool.candidates,
            scanners=_own_scanners(superset, context),
            merged_quotes=superset.merged_quotes,
            invalid_records=superset.invalid_records,
        ),
    )
    if superset.fallback is not None:
        values = {"asked": superset.asked, "answered": superset.provider}
        context.ledger.fallback(context.number, "SCAN_FALLBACK", superset.fallback, values)
    if pool.merged:
        context.event("POOL_MERGED", "turned records that were there already", {"count": pool.merged})
    if not pool.candidates:
        _stand_aside(context, NoCandidates, "the scan found nobody", decision.NO_CANDIDATES)


def _stand_aside(context: Context, failure: type[RunFailed], what: str, code: str) -> None:
    """End the run for want of atoms, or go on as all cash where its profile says so."""
    if not context.profile.stand_aside:
        hint = "choose another date, or set stand_aside=true for an empty, valid sleeve"
        raise failure(what, where=context.profile.name, hint=hint, code=code)
    context.event("STAND_ASIDE", f"{what}; the sleeve is all cash, as its profile says", {"reason": code})


def _own_scanners(superset: Superset, context: Context) -> list[artifacts.ScannerCount]:
    if context.profile.pool == "superset":
        return superset.scanners
    return [count for count in superset.scanners if count.scanner in context.profile.scanners]


def data_prep(context: Context) -> None:
    """Cut the returns matrix and audit every candidate's bars."""
    from assay.gates.returns import check_l0

    raw = context.load(RawCandidates, layout.RAW)
    market = known(context)
    matrix = decision.prepare(market, raw.candidates, context.profile)
    result = check_l0(matrix.to_frame(), benchmark=context.profile.benchmark, floor=context.profile.data.floor)
    frame = _record(context, result)
    rejected = market.rejections()
    missing = missing_audit(market, raw.candidates, raw.merged_quotes, rejected)
    symbols = {candidate.symbol for candidate in raw.candidates}
    dropped = [*matrix.dropped, *(Drop(name=v.where, reason=v.code, detail=v.what) for v in result.violations)]
    health = data_health(market, replace(matrix, dropped=dropped), symbols, missing, rejected)
    context.save(layout.RETURNS, frame)
    context.save(layout.HEALTH, health)
    _foundation_gate(context, raw, health, set(frame.columns))


def _foundation_gate(context: Context, raw: RawCandidates, health: DataHealth, columns: set[str]) -> None:
    """Refuse bars on which nothing can be decided: each candidate has a column or a reason, the benchmark is fresh."""
    explained = columns | {drop.name for drop in health.dropped}
    audited = {entry.symbol: entry.status for entry in health.symbols}
    faults = [f"{c.symbol}: neither a column nor a reason" for c in raw.candidates if c.symbol not in explained]
    faults += [f"{c.symbol}: not audited" for c in raw.candidates if c.symbol not in audited]
    if audited.get(health.benchmark) not in {"OK", "GAPS"}:
        faults.append(f"{health.benchmark}: the benchmark is {audited.get(health.benchmark, 'not audited')}")
    if health.last != str((context.as_of - DAY).date()):  # the last day that has closed
        faults.append(f"the returns end on {health.last}, the decision is of {format_instant(context.as_of)}")
    checked = 2 * len(raw.candidates) + 2
    context.ledger.gate(context.number, "foundation", ok=not faults, checked=checked, violations=faults)
    if faults:
        raise GateError(faults[0], where=layout.HEALTH, hint="look at the bars of that symbol, or load newer ones")


def known(context: Context) -> Market:
    """Return what the decision may look at."""
    return context.market.until(context.as_of, context.profile.data.lookback)


# --- 4 to 7: alpha ----------------------------------------------------------------------------------------------------


def natural_selection(context: Context) -> None:
    """Choose the winners, and give every candidate its reason."""
    from assay.gates.scores import check_l1, check_l2

    raw = context.load(RawCandidates, layout.RAW)
    found = decision.Discovery(raw.candidates, raw.scanners, raw.merged_quotes, raw.invalid_records)
    rows = _features(context, raw)
    if found.candidates:
        features = check_l1(rows, context.as_of)
        rows = _record(context, features)
        _refuse_unseen(context, raw, features)
    matrix = replace(_returns(context), dropped=context.load(DataHealth, layout.HEALTH).dropped)
    selection = decision.choose(known(context), matrix, found, context.profile)
    if selection.atoms:
        _record(context, check_l2(selection.inference_frame(), [atom.id for atom in selection.atoms]))
    audit = selection.audit()
    context.save(layout.FEATURES, rows)
    context.save(layout.WINNERS, selection.winners_document())
    context.save(layout.SELECTION, audit)
    if audit.relaxed:
        context.event("RELAXED", "empty clusters restored their best atom", {"relaxed": audit.relaxed})
    if selection.atoms and not audit.n_winners:
        _stand_aside(context, RunFailed, "every candidate was vetoed", decision.NO_WINNERS)


def _features(context: Context, raw: RawCandidates) -> pl.DataFrame:
    """Rows of the feature store that the decision reads: the last day's, of the candidates."""
    symbols = sorted({candidate.symbol for candidate in raw.candidates})
    last = known(context).days[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
    return context.snapshot.ratings(last, context.as_of, symbols)


def _refuse_unseen(context: Context, raw: RawCandidates, features: ContractResult) -> None:
    """Stop for a row that the contract leaves out and the decision does not: a walk-forward would decide otherwise."""
    ill = decision.ill_health(known(context), {candidate.symbol for candidate in raw.candidates})
    for fault in features.violations:
        if fault.where.partition(" ")[0] not in ill:
            hint = "ingest the source again; the lake's ratings are not what its bars give"
            raise ContractError(f"L1 broken: {fault.what}", where=fault.where, hint=hint, code=fault.code)


def enrichment(context: Context) -> None:
    """Give winners exchange filters, liquidity, margin permission and beta, or drop them with a reason."""
    winners = context.load(Winners, layout.WINNERS).winners
    settings = context.profile
    enriched = enrich(
        winners,
        known(context),
        _returns(context),
        feature_bars=settings.selection.feature_bars,
        estimation_rows=settings.data.estimation_rows,
    )
    context.save(layout.ENRICHED, enriched)
    if enriched.dropped:
        drop = enriched.dropped[0]
        hint = "look at the bars and the instrument of that coin; a decision cannot leave it out afterwards"
        raise RunFailed(f"a winner cannot be enriched: {drop.detail}", where=drop.name, hint=hint, code=drop.reason)


def strategy_synthesis(context: Context) -> None:
    """Turn physical returns into the winners' streams."""
    from assay.gates.returns import check_l3

    atoms = _atoms(context)
    matrix = _returns(context)
    columns = [matrix.symbols.index(atom.symbol) for atom in atoms]
    frame = synthetic_frame(matrix.days, atoms, matrix.values, columns)
    if atoms:
        _record(context, check_l3(frame, context.table(layout.RETURNS), atoms, context.profile.direction))
    context.save(layout.SYNTHETIC, frame)


def sign_test_pre_opt(context: Context) -> None:
    """Test that every short is an inverted long before anything is optimized."""
    _sign_test(context, "pre_opt", layout.SIGN_PRE)


# --- 8 to 11: risk ----------------------------------------------------------------------------------------------------


def risk_analysis(context: Context) -> None:
    """Find regime, clusters, caps, loss makers and budget."""
    state = _state(context)
    threshold = context.profile.selection.cluster_threshold
    if state is None:
        context.save(layout.CLUSTERS, Clusters(threshold=threshold, clusters={}))
        context.save(layout.RISK, documents.no_risk(decision.benchmark_close(known(context), context.profile)))
        return
    analysis = documents.risk_analysis(state)
    context.save(layout.CLUSTERS, documents.clusters(state, threshold))
    context.save(layout.RISK, analysis)
    context.events(analysis.events)


def optimization(context: Context) -> None:
    """Weigh the atoms in five ways, with the guard and without."""
    state = _state(context)
    names: tuple[str, ...] = context.profile.risk.risk_profiles
    if state is None:
        empty = {name: documents.all_cash() for name in names}
        optimized = Optimized(as_of=format_instant(context.as_of), profiles=empty, unguarded=empty)
    else:
        guarded = optimize(state, context.profile, guarded=True)
        unguarded = optimize(state, context.profile, guarded=False)
        optimized = Optimized(
            as_of=format_instant(context.as_of),
            profiles={name: documents.optimized_profile(state, guarded[name]) for name in names},
            unguarded={name: documents.optimized_profile(state, unguarded[name]) for name in names},
        )
    context.save(layout.OPTIMIZED, optimized)
    for name, profile in optimized.profiles.items():
        for event in profile.events:
            context.event(event.code, f"{name}: {event.what}", event.values)
        for fallback in profile.solver.fallbacks:
            context.ledger.fallback(context.number, "SOLVER_FALLBACK", f"{name}: {fallback}")


def weight_flattening(context: Context) -> None:
    """Net atoms to physical coins."""
    from assay.gates.weights import check_l4

    optimized = context.load(Optimized, layout.OPTIMIZED)
    flattened = Flattened(
        as_of=optimized.as_of,
        profiles={name: _flatten(profile) for name, profile in optimized.profiles.items()},
    )
    if any(profile.assets for profile in optimized.profiles.values()):
        _record(context, check_l4(optimized, flattened, _returns(context).symbols, context.profile.risk.risk_profiles))
    context.save(layout.FLATTENED, flattened)
    _tell_small_books(context, flattened)


def _tell_small_books(context: Context, flattened: Flattened) -> None:
    """Record each risk profile that holds few coins or little of its budget, with the numbers of what kept it small."""
    from assay.report.small_book import FEWEST_COINS, LEAST_SHARE

    audit, risk = context.load(SelectionAudit, layout.SELECTION), context.load(RiskAnalysis, layout.RISK)
    vetoed = sum(fate.reason.startswith("VETO_") for fate in audit.fates)
    numbers = {
        "candidates": len(audit.fates),
        "vetoed": vetoed,
        "winners": audit.n_winners,
        "loss_makers": len(risk.loss_makers),
        "budget": risk.budget,
    }
    for name, profile in flattened.profiles.items():
        coins = sum(asset.Net_Weight != 0.0 for asset in profile.assets)
        if coins < FEWEST_COINS or profile.gross < LEAST_SHARE:
            what = f"{name} holds {coins} coins and {profile.gross:.1%} of the capital"
            context.event("SMALL_BOOK", what, {"risk_profile": name, "coins": coins, "gross": profile.gross, **numbers})


def _flatten(profile: artifacts.OptimizedProfile) -> artifacts.FlattenedProfile:
    atoms = [Atom(asset.Symbol, asset.Logic, asset.Direction) for asset in profile.assets]
    return flatten(atoms, [a.Weight for a in profile.assets], [a.Cluster_ID for a in profile.assets])


def sign_test_post_opt(context: Context) -> None:
    """Test, over every risk profile, that optimizers saw longs and that coins carry the atoms' signs."""
    _sign_test(context, "post_opt", layout.SIGN_POST)


# --- 12 and 13: evidence ----------------------------------------------------------------------------------------------


def walk_forward(context: Context) -> None:
    """Repeat the whole decision over past dates and hold what it decided."""
    from assay.backtest.benchmarks import benchmark_returns
    from assay.backtest.causality import probe
    from assay.backtest.survivorship import survivorship
    from assay.backtest.walk_forward import walk_forward as walk
    from assay.pipeline.parallel import each_of, with_whole_middle

    profile, scanners = context.profile, context.request.scanners

    def decide(market: Market) -> decision.Decision:
        return decision.decide(market, profile, scanners)

    # One worker takes the decisions here; several take them in parts, and the tables are the same.
    result = walk(context.market, profile, decide, each=each_of(context))
    frames = result.frames()
    for name, frame in frames.items():
        context.save(f"{layout.WALK}{name}.parquet", frame)
    universe = scanners[profile.scanners[0]].universe
    context.save(layout.WALK_YARDSTICKS, benchmark_returns(result, context.market, universe))
    context.save(layout.WALK_STATISTICS, as_json(result.statistics()))
    alive = survivorship(context.market, profile, decide, result, each=each_of(context, survivors=True))
    context.save(layout.WALK_SURVIVORSHIP, as_json(alive.as_dict()))
    context.save(layout.WALK_BY_YEAR, as_json(result.by_year()))
    context.save(layout.WALK_BY_REGIME, as_json(result.by_regime()))
    verdict = probe(with_whole_middle(result, context.market, profile, decide), context.market, profile, decide, frames)
    context.ledger.gate(context.number, "causality", ok=verdict.ok, checked=verdict.rows, violations=verdict.violations)
    if not verdict.ok:
        hint = f"see all of it with: assay causality {context.request.run.name}"
        raise GateError(verdict.violations[0], where="walk_forward", hint=hint, code="CAUSALITY")


def capital_preservation(context: Context) -> None:
    """Compare the walk-forward with the guard on and off."""
    from assay.backtest.preservation import preservation

    names = ("returns", "unguarded_returns", "weights", "unguarded_weights", "decisions")
    tables = {name: context.table(f"{layout.WALK}{name}.parquet") for name in names}
    document = preservation(
        tables,
        context.profile.guard,
        context.load(Optimized, layout.OPTIMIZED),
        context.load(RiskAnalysis, layout.RISK).loss_makers,
    )
    context.save(layout.PRESERVATION, document)
    if context.profile.guard.enabled:
        ok = document.no_loss_maker_held
        context.ledger.gate(
            context.number, "capital_preservation", ok=ok, checked=document.rebalances, violations=int(not ok)
        )
        if not ok:
            raise GateError("the guard is on, and a loss maker was held", where=layout.PRESERVATION, hint="report this")


# --- 14 and 15: verdict and report ------------------------------------------------------------------------------------


def atomic_validation(context: Context) -> None:
    """Check all artifacts against each other."""
    from assay.gates.validation import to_markdown, validate

    result = validate(Run(context.request.run))
    stem = f"{layout.VALIDATION}atomic_validation_{context.profile.name}_{context.request.run.name}"
    context.save(f"{stem}.json", result)
    context.save(f"{stem}.md", to_markdown(result))
    failed = [check.code for check in result.checks if not check.ok]
    checked = sum(check.checked for check in result.checks)
    context.ledger.gate(context.number, "atomic_validation", ok=result.ok, checked=checked, violations=failed)
    if not result.ok:
        raise GateError(
            f"atomic validation refused the run: {', '.join(failed)}",
            where=stem,
            hint="see that report",
            code=failed[0],
        )


def reporting(context: Context) -> None:
    """Deflate the Sharpe ratios by what was tried, write the report from ledger and artifacts, and the run's index."""
    from assay.report.audit_report import render
    from assay.report.html import render_page
    from assay.report.index import render_index

    context.save(layout.TRIALS, _trials(context))
    context.save(layout.REPORT, render(context.request.run))
    context.save(layout.PAGE, render_page(context.request.run))
    context.save(layout.INDEX, render_index(context.request.run))


def _trials(context: Context) -> dict[str, Any]:
    """Deflated Sharpe ratios: they depend on the registry of runs, and so are no artifact of the steps before."""
    from assay.backtest.statistics import deflated, trial_variance

    earlier = context.request.trials
    n = int(earlier["n"]) + 1
    frame = context.table(layout.WALK_RETURNS).sort("date")
    days = frame["date"].n_unique()
    variance = trial_variance(days, n - 1, earlier["sharpe_variance"]) if days > 1 else None
    names = frame["risk_profile"].unique().sort().to_list()
    returns = {name: frame.filter(frame["risk_profile"] == name)["ret"].to_numpy() for name in names}
    return as_json({"trials": n, "sharpe_variance": variance, "as_run": deflated(returns, n, variance)})


# --- what steps share -------------------------------------------------------------------------------------------------


def performance(context: Workspace) -> dict[str, float | None]:
    """Annual Sharpe ratio of each risk profile, for the registry's count of trials."""
    from assay.base.files import read_json

    statistics = read_json(context.path(layout.WALK_STATISTICS))["as_run"]
    return {name: metrics["sharpe"] for name, metrics in statistics.items()}


def _returns(context: Context) -> ReturnsMatrix:
    return ReturnsMatrix.from_frame(context.table(layout.RETURNS), context.profile.benchmark)


def _winners(context: Context) -> list[Winner]:
    """Winners that enrichment kept, in the order of selection."""
    kept = {winner.atom_id for winner in context.load(Enrichment, layout.ENRICHED).winners}
    return [winner for winner in context.load(Winners, layout.WINNERS).winners if winner.atom_id in kept]


def _atoms(context: Context) -> list[Atom]:
    return [Atom(winner.symbol, winner.logic, winner.direction) for winner in _winners(context)]


def _state(context: Context) -> RiskState | None:
    """Measure the winners' risk from the streams on disk; None for a sleeve without winners."""
    winners, atoms = _winners(context), _atoms(context)
    if not atoms:
        return None
    frame = context.table(layout.SYNTHETIC)
    streams = frame.select([atom.id for atom in atoms]).fill_null(float("nan")).to_numpy()
    fragility = np.array([_or_nan(winner.features["antifragility"]) for winner in winners])
    close = decision.benchmark_close(known(context), context.profile)
    return analyse(np.ascontiguousarray(streams), atoms, close, context.profile, fragility)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _sign_test(context: Context, stage: StageName, name: str) -> None:
    from assay.gates.sign_test import run_sign_test

    aside = any(entry.kind == "event" and entry.body["code"] == "STAND_ASIDE" for entry in context.ledger.entries)
    result = run_sign_test(Run(context.request.run), stage, context.profile.direction, aside)
    context.save(name, result)
    checked = result.values_compared + result.weights_compared
    codes = [f"{violation.code} {violation.where}" for violation in result.violations]
    context.ledger.gate(context.number, f"sign_test_{stage}", ok=result.ok, checked=checked, violations=codes)
    if not result.ok:
        first = result.violations[0]
        raise GateError(f"sign test failed: {first.what}", where=first.where, hint=f"see {name}", code=first.code)


def _record(context: Context, result: ContractResult) -> pl.DataFrame:
    """Write a contract's outcome to the ledger and return what passed; stop where a fault is fatal."""
    context.ledger.contract(context.number, **result.as_event())
    if result.action == "failed" or result.frame is None:
        first = result.violations[0]
        raise ContractError(
            f"{result.layer} broken: {first.what}", where=first.where, hint=f"see {layout.LEDGER}", code=first.code
        )
    return result.frame
