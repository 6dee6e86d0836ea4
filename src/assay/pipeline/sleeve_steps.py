"""The steps of a sleeve: each opens artifacts, asks one room, and gives back artifacts and its contract or gate.

What is computed lives in the rooms; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from assay.alpha.enrichment import enrich
from assay.alpha.synthesis import synthetic_frame
from assay.backtest import decision
from assay.backtest.benchmarks import benchmark_returns
from assay.backtest.causality import probe
from assay.backtest.holdings import holdings
from assay.backtest.preservation import preservation
from assay.backtest.statistics import deflated, trial_variance
from assay.backtest.survivorship import survivorship
from assay.backtest.walk_forward import phases
from assay.backtest.walk_forward import walk_forward as walk
from assay.backtest.worth import worth
from assay.base.domain import DAY, UTC, format_instant
from assay.base.environment import environment
from assay.base.errors import ContractError, GateError, IntegrityError, NoCandidates, RunFailed
from assay.base.files import as_json, sha256_file
from assay.gates.portfolio_signs import EMPTY
from assay.gates.returns import check_l0, check_l3
from assay.gates.scores import check_l1, check_l2
from assay.gates.sign_test import StageName, run_sign_test
from assay.gates.validation import to_markdown, validate
from assay.gates.weights import check_l4
from assay.market.borrow import rate_gaps
from assay.market.health import data_health, missing_audit
from assay.market.whole import TOLD_IN_RUNS
from assay.pipeline.context import ContractCheck, Fallback, Gate, Given, GivenSleeve, Said, event
from assay.pipeline.parallel import each_of, with_whole_middle
from assay.report.audit_report import compose
from assay.report.html import page_of_sleeve
from assay.report.index import render_index
from assay.report.view import RunView
from assay.risk import allocate as documents
from assay.risk.flatten import flatten, is_small
from assay.runs import artifacts as layout
from assay.runs import documents as doc
from assay.runs.documents import Event, load
from assay.runs.home import behind, ruin_told
from assay.runs.run import Run, counted_days
from assay.screening.nobody import NO_UNIVERSE, nobody
from assay.screening.provider import check_superset
from assay.screening.recorded_scans import PROVIDER
from assay.screening.scanner import scan
from assay.screening.superset import profile_pool
from assay.settings.model import RISK_PROFILES, SCAN_DAYS, RiskProfile
from assay.sources.acceptance import IMPLAUSIBLE

if TYPE_CHECKING:
    import polars as pl

    from assay.market.panel import Market

PRESERVED = (
    layout.WALK_RETURNS,
    layout.WALK_PHASE,
    layout.WALK_PHASE_WEIGHTS,
    layout.WALK_UNGUARDED,
    layout.WALK_WEIGHTS,
    layout.WALK_UNGUARDED_WEIGHTS,
    layout.WALK_DECISIONS,
    layout.WALK_TRADES,
)
"""Tables of the walk-forward that tell what the guard was worth, and what was ruined."""


# --- 1 to 3: foundation -----------------------------------------------------------------------------------------------


def preflight(given: GivenSleeve) -> Iterator[Said]:
    """Pin the lake and write down every value and version that the run will use."""
    request = given.request
    given.snapshot.prove()
    yield {layout.MANIFEST: request.manifest() | {"environment": environment()}}
    yield event("PINNED", "lake pinned", {"head": request.head, **request.tables})
    for one in given.snapshot.record.in_force(request.as_of):
        if one.code == IMPLAUSIBLE and request.provider != PROVIDER:
            continue  # the screener's answer is not what this run reads
        yield event("ACCEPTED", one.said, one.model_dump(mode="json"))


def discovery(given: GivenSleeve) -> Iterator[Said]:
    """Take this profile's candidates from the superset, once the pinned lake gives the same one again."""
    profile, asked = given.profile, given.run.of_sleeve
    path = given.request.home / asked.superset
    if not path.is_file() or sha256_file(path) != asked.superset_sha256:
        raise IntegrityError("superset is not the one that was pinned", where=asked.superset, hint="run it anew")
    superset = load(doc.Superset, path)
    known = given.market.until(given.as_of, SCAN_DAYS)
    check_superset(superset, asked.superset, given.snapshot, known, asked.scanners)
    pool = profile_pool(superset, profile)
    raw = doc.RawCandidates(
        as_of=superset.as_of,
        pool=profile.pool,
        superset_sha256=asked.superset_sha256,
        provider=superset.provider,
        fallback=superset.fallback,
        candidates=pool.candidates,
        scanners=_own_scanners(superset, given),
        merged_quotes=superset.merged_quotes,
        invalid_records=superset.invalid_records,
    )
    yield {layout.RAW: raw}
    if superset.fallback is not None:
        values = {"asked": superset.asked, "answered": superset.provider}
        yield Fallback("SCAN_FALLBACK", superset.fallback, values)
    if pool.merged:
        what = "turned records that were there already"
        yield event("POOL_MERGED", what, {"count": pool.merged})
    if not pool.candidates:
        own = (scan(known, one.scanner, asked.scanners[one.scanner]).count for one in raw.scanners)
        why = nobody(raw.scanners, known, given.snapshot, own if raw.provider != "ratings" else ())
        if why.code == NO_UNIVERSE:
            raise NoCandidates(why.what, where=profile.name, hint=why.hint, code=why.code, facts=why.facts)
        yield _stand_aside(given, NoCandidates, why.what, why.code, why.hint, why.facts)


def _own_scanners(superset: doc.Superset, given: GivenSleeve) -> list[doc.ScannerCount]:
    if given.profile.pool == "superset":
        return superset.scanners
    return [count for count in superset.scanners if count.scanner in given.profile.scanners]


def _stand_aside(
    given: GivenSleeve,
    failure: type[RunFailed],
    what: str,
    code: str,
    hint: str = "choose another date",
    facts: Mapping[str, Any] | None = None,
) -> Event:
    """End the run for want of atoms, or go on as all cash where its profile says so."""
    if not given.profile.stand_aside:
        aside = f"{hint}, or set stand_aside=true for an empty, valid sleeve"
        raise failure(what, where=given.profile.name, hint=aside, code=code, facts=facts)
    told = f"{what}; the sleeve is all cash, as its profile says"
    plain = {name: value for name, value in (facts or {}).items() if isinstance(value, (str, int))}
    return event("STAND_ASIDE", told, {"reason": code, **plain})


def data_prep(given: GivenSleeve) -> Iterator[Said]:
    """Cut the returns matrix and audit every candidate's bars."""
    deciding = given.decision
    raw, market, cut = given.run[layout.RAW], deciding.known, deciding.cut.to_frame()
    contract = check_l0(cut, benchmark=deciding.cut.benchmark, floor=given.profile.data.floor)
    yield ContractCheck(contract, without=[name for name in cut.columns if name not in deciding.returns.symbols])
    matrix = deciding.returns
    frame = cut if matrix is deciding.cut else matrix.to_frame()
    rejected = market.rejections()
    missing = missing_audit(market, raw.candidates, raw.merged_quotes, rejected)
    symbols = {candidate.symbol for candidate in raw.candidates}
    told = [finding for finding in given.snapshot.record.findings if finding.code in TOLD_IN_RUNS]
    health = data_health(market, matrix, symbols, missing, rejected, told)
    yield {layout.RETURNS: frame, layout.HEALTH: health}
    yield _foundation_gate(given, raw, health, set(frame.columns))


def _foundation_gate(given: GivenSleeve, raw: doc.RawCandidates, health: doc.DataHealth, columns: set[str]) -> Gate:
    """Refuse bars on which nothing can be decided: each candidate has a column or a reason, the benchmark is fresh."""
    explained = columns | {drop.name for drop in health.dropped}
    audited = {entry.symbol: entry.status for entry in health.symbols}
    faults = [f"{c.symbol}: neither a column nor a reason" for c in raw.candidates if c.symbol not in explained]
    faults += [f"{c.symbol}: not audited" for c in raw.candidates if c.symbol not in audited]
    if audited.get(health.benchmark) not in {"OK", "GAPS"}:
        faults.append(f"{health.benchmark}: the benchmark is {audited.get(health.benchmark, 'not audited')}")
    if health.last != str((given.as_of - DAY).date()):  # the last day that has closed
        faults.append(f"the returns end on {health.last}, the decision is of {format_instant(given.as_of)}")
    hint = "look at the bars of that symbol, or load newer ones"
    refusal = GateError(faults[0] if faults else "", where=layout.HEALTH, hint=hint)
    return Gate("foundation", not faults, 2 * len(raw.candidates) + 2, faults, refusal)


# --- 4 to 7: alpha ----------------------------------------------------------------------------------------------------


def natural_selection(given: GivenSleeve) -> Iterator[Said]:
    """Choose the winners, and give every candidate its reason."""
    deciding = given.decision
    given.recall(layout.RETURNS, deciding.returns.to_frame())
    symbols = {candidate.symbol for candidate in deciding.discovery.candidates}
    rows = _features(given, deciding.known, symbols)
    if symbols:
        contract = check_l1(rows, given.as_of)
        yield ContractCheck(contract, without=deciding.ill)
        rows = rows if contract.frame is None else contract.frame
    selection = deciding.selection
    if selection.atoms:
        contract = check_l2(deciding.scored.inference_frame(), [atom.id for atom in selection.atoms])
        yield ContractCheck(contract, without=deciding.unsound)
    audit = selection.audit()
    yield {layout.FEATURES: rows, layout.WINNERS: selection.winners_document(), layout.SELECTION: audit}
    if audit.relaxed:
        what = "empty clusters restored their best atom"
        yield event("RELAXED", what, {"relaxed": audit.relaxed})
    if selection.atoms and not audit.n_winners:
        yield _stand_aside(given, RunFailed, "every candidate was vetoed", decision.NO_WINNERS)


def _features(given: GivenSleeve, known: Market, symbols: set[str]) -> pl.DataFrame:
    """Rows of the feature store that the decision reads: the last day's, of the candidates."""
    last = known.days[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
    return given.snapshot.ratings(last, given.as_of, sorted(symbols))


def enrichment(given: GivenSleeve) -> Iterator[Said]:
    """Give winners exchange filters, liquidity, margin permission and beta."""
    deciding, settings = given.decision, given.profile
    given.recall(layout.RETURNS, deciding.returns.to_frame())
    enriched = enrich(
        given.run[layout.WINNERS].winners,
        deciding.known,
        deciding.returns,
        feature_bars=settings.selection.feature_bars,
        estimation_rows=settings.data.estimation_rows,
    )
    yield {layout.ENRICHED: enriched}
    for drop in enriched.dropped:  # a decision cannot leave it out afterwards: no walk-forward does
        what = f"a winner cannot be enriched: {drop.detail}"
        raise RunFailed(
            what, where=drop.name, hint="look at the bars and the instrument of that coin", code=drop.reason
        )


def strategy_synthesis(given: GivenSleeve) -> Iterator[Said]:
    """Turn physical returns into the winners' streams."""
    atoms, frame = [winner.atom for winner in given.run.atoms], _streams(given)
    returns = given.recall(layout.RETURNS, given.decision.returns.to_frame())
    if atoms:
        yield ContractCheck(check_l3(frame, returns, atoms, given.profile.direction))
    yield {layout.SYNTHETIC: frame}


def _streams(given: GivenSleeve) -> pl.DataFrame:
    return synthetic_frame(given.decision.returns, given.decision.selection.winner_atoms)


def sign_test_pre_opt(given: GivenSleeve) -> Iterator[Said]:
    """Test that every short is an inverted long before anything is optimized."""
    yield from _sign_test(given, "pre_opt")


# --- 8 to 11: risk ----------------------------------------------------------------------------------------------------


def risk_analysis(given: GivenSleeve) -> Iterator[Said]:
    """Find regime, clusters, caps, loss makers and budget."""
    given.recall(layout.SYNTHETIC, _streams(given))
    state, threshold = given.decision.state, given.profile.selection.cluster_threshold
    if state is None:
        none = documents.no_risk(decision.benchmark_close(given.decision.known, given.profile))
        yield {layout.CLUSTERS: doc.Clusters(threshold=threshold, clusters={}), layout.RISK: none}
        return
    analysis = documents.risk_analysis(state)
    yield {layout.CLUSTERS: documents.clusters(state, threshold), layout.RISK: analysis}
    yield from analysis.events


def optimization(given: GivenSleeve) -> Iterator[Said]:
    """Weigh the atoms in five ways, with the guard and without."""
    given.recall(layout.SYNTHETIC, _streams(given))
    deciding = given.decision
    optimized = doc.Optimized(
        as_of=format_instant(given.as_of),
        profiles=_optimized(given, deciding.guarded),
        unguarded=_optimized(given, deciding.unguarded),
    )
    yield {layout.OPTIMIZED: optimized}
    for name, profile in optimized.profiles.items():
        yield from solved(name, profile)


def _optimized(given: GivenSleeve, allocations: decision.Allocations | None) -> dict[str, doc.OptimizedProfile]:
    state = given.decision.state
    if state is None or allocations is None:
        return {name: documents.all_cash() for name in given.profile.risk.risk_profiles}
    return {name: documents.optimized_profile(state, made) for name, made in allocations.items()}


def weight_flattening(given: GivenSleeve) -> Iterator[Said]:
    """Net atoms to physical coins."""
    optimized, names = given.run[layout.OPTIMIZED], given.profile.risk.risk_profiles
    profiles = {name: _flatten(profile) for name, profile in optimized.profiles.items()}
    flattened = doc.Flattened(as_of=optimized.as_of, profiles=profiles)
    symbols = [name for name in given.run[layout.RETURNS].columns if name != "date"]
    if any(profile.assets for profile in optimized.profiles.values()):
        yield ContractCheck(check_l4(optimized, flattened, symbols, names))
    yield {layout.FLATTENED: flattened}
    yield from _small_books(given, flattened)


def _flatten(profile: doc.OptimizedProfile) -> doc.FlattenedProfile:
    assets = profile.assets
    return flatten([a.atom for a in assets], [a.Weight for a in assets], [a.Cluster_ID for a in assets])


def _small_books(given: GivenSleeve, flattened: doc.Flattened) -> Iterator[Event]:
    """Name each risk profile that holds little, with the numbers of what kept it small."""
    audit, risk = given.run[layout.SELECTION], given.run[layout.RISK]
    numbers = {
        "candidates": len(audit.fates),
        "vetoed": sum(fate.reason.startswith("VETO_") for fate in audit.fates),
        "winners": audit.n_winners,
        "loss_makers": len(risk.loss_makers),
        "budget": risk.budget,
    }
    for name, profile in flattened.profiles.items():
        coins = sum(asset.Net_Weight != 0.0 for asset in profile.assets)
        if is_small(coins, profile.gross):
            what = f"{name} holds {coins} coins and {profile.gross:.1%} of the account"
            values = {"risk_profile": name, "coins": coins, "gross": profile.gross, **numbers}
            yield event("SMALL_BOOK", what, values)


def sign_test_post_opt(given: GivenSleeve) -> Iterator[Said]:
    """Test, over every risk profile, that optimizers saw longs and that coins carry the atoms' signs."""
    yield from _sign_test(given, "post_opt")


def _sign_test(given: GivenSleeve, stage: StageName) -> Iterator[Said]:
    aside = given.profile.stand_aside and not given.run.atoms
    yield from signs(run_sign_test(given.run, stage, given.profile.direction, aside))


# --- 12 and 13: evidence ----------------------------------------------------------------------------------------------


def walk_forward(given: GivenSleeve) -> Iterator[Said]:
    """Repeat the whole decision over past dates and hold what it decided."""
    profile, scanners, market = given.profile, given.run.of_sleeve.scanners, given.market

    def decide(known: Market) -> decision.Decision:
        return decision.decide(known, profile, scanners)

    decided = decision.decider(market, profile, scanners)
    # One worker takes the decisions here; several take them in parts, and the tables are the same.
    result = walk(market, profile, decided, each=each_of(given))
    yield {f"{layout.WALK}{name}.parquet": frame for name, frame in result.frames().items()}
    gaps = rate_gaps(market, {name: (book.rows, book.columns, book.quantities) for name, book in result.books.items()})
    if gaps is not None:
        what = "days on which a short paid a rate that was not of the day: the last known, or costs.borrow"
        yield event("BORROW_RATES", what, gaps)
    alive = survivorship(market, profile, decide, result, each=each_of(given, survivors=True))
    yield {
        layout.WALK_YARDSTICKS: benchmark_returns(result, market, scanners[profile.scanners[0]].universe),
        layout.HOLDINGS: holdings(market, profile, result, today(given, profile.risk.risk_profiles)),
        layout.WALK_STATISTICS: as_json(result.statistics(phases(market, profile, result), profile.walk_forward.seed)),
        layout.WALK_SURVIVORSHIP: as_json(asdict(alive)),
        layout.WALK_BY_YEAR: as_json(result.by_year()),
        layout.WALK_BY_REGIME: as_json(result.by_regime()),
        layout.WORTH: worth(market, profile, result),
    }
    verdict = probe(with_whole_middle(result, market, profile, decided), market, profile, decided)
    hint = f"see all of it with: assay causality {given.run.folder.name}"
    what = verdict.violations[0] if verdict.violations else ""
    refusal = GateError(what, where="walk_forward", hint=hint, code="CAUSALITY")
    yield Gate("causality", verdict.ok, verdict.rows, verdict.violations, refusal)


def capital_preservation(given: GivenSleeve) -> Iterator[Said]:
    """Compare the walk-forward with the guard on and off, and say which books were ruined."""
    run, guard = given.run, given.profile.guard
    tables = {row.removeprefix(layout.WALK).removesuffix(".parquet"): run[row] for row in PRESERVED}
    losers, margin = run[layout.RISK].loss_makers, given.profile.margin
    document = preservation(tables, guard, run[layout.OPTIMIZED], losers, margin)
    yield {layout.PRESERVATION: document}
    if guard.enabled:
        ok = document.no_loss_maker_held
        what = "the guard is on, and a loss maker was held"
        refusal = GateError(what, where=layout.PRESERVATION, hint="report this")
        yield Gate("capital_preservation", ok, document.rebalances, int(not ok), refusal)
    yield Gate("ruin", not document.ruined, tables["returns"].height, document.ruined, None)


# --- 14 and 15: verdict and report ------------------------------------------------------------------------------------


def atomic_validation(given: GivenSleeve) -> Iterator[Said]:
    """Check all artifacts against each other."""
    yield from validated("atomic_validation", given, validate(given.run))


def reporting(given: GivenSleeve) -> Iterator[Said]:
    """Deflate the Sharpe ratios by what was tried, write the report from ledger and artifacts, and the run's index."""
    yield {layout.TRIALS: deflated_by_trials(given, given.profile.risk.risk_profiles)}
    view = RunView(given.run)
    text = compose(view)
    yield {layout.REPORT: text, layout.PAGE: page_of_sleeve(view, text)}
    yield {layout.INDEX: render_index(given.run)}


# --- what both kinds of run say ---------------------------------------------------------------------------------------


def today(given: Given[Any], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return today's decision on coins, by risk profile."""
    profiles = given.run[layout.FLATTENED].profiles
    for name in names:
        if name not in profiles:
            what = f"{name} is missing from today's decision"
            raise ContractError(what, where=layout.FLATTENED, hint="report this", code="L4_PROFILE")
    return {name: {asset.Symbol: asset.Net_Weight for asset in one.assets} for name, one in profiles.items()}


def signs(result: doc.SignTest) -> Iterator[Said]:
    """Say what a sign test found, and pass its gate."""
    row = layout.SIGN_PRE if result.stage == "pre_opt" else layout.SIGN_POST
    yield {row: result}
    codes = [f"{violation.code} {violation.where}" for violation in result.violations]
    refusal = GateError("the sign test compared nothing", where=row, hint="report this", code=EMPTY)
    if result.violations:
        first = result.violations[0]
        refusal = GateError(f"sign test failed: {first.what}", where=first.where, hint=f"see {row}", code=first.code)
    checked = result.values_compared + result.weights_compared
    yield Gate(f"sign_test_{result.stage}", result.ok, checked, codes, refusal)


def solved(name: str, weights: doc.OptimizedProfile | doc.MetaProfileWeights) -> Iterator[Said]:
    """Say what changed the weights of a risk profile, and which solver gave way to which."""
    for found in weights.events:
        yield event(found.code, f"{name}: {found.what}", found.values | {"risk_profile": name})
    for fallback in weights.solver.fallbacks:
        yield Fallback("SOLVER_FALLBACK", f"{name}: {fallback}")


def validated(name: str, given: Given[Any], result: doc.AtomicValidation) -> Iterator[Said]:
    """Say what the validation of a run found, for machines and for people, and pass its gate."""
    stem = layout.VALIDATION.below(f"{name}_{given.profile.name}_{given.run.folder.name}")
    yield {f"{stem}.json": result, f"{stem}.md": to_markdown(result)}
    failed = [check for check in result.checks if not check.ok]
    codes = [check.code for check in failed]
    what = f"{name.replace('_', ' ')} refused the run: {', '.join(codes)}"
    refusal = GateError(what, where=stem, hint="see that report", code=codes[0] if codes else None)
    yield Gate(name, result.ok, sum(check.checked for check in result.checks), codes, refusal)


def deflated_by_trials(given: Given[Any], names: Sequence[RiskProfile]) -> dict[str, Any]:
    """Deflated Sharpe ratios: they depend on the registry of runs, and so are no artifact of the steps before.

    The headline was chosen before its figures were seen, so that only the sets of settings count; of another risk
    profile each set was tried in all five.
    """
    found = [entry.body["values"] for entry in given.run.current if entry.body.get("code") == layout.TRIED]
    if not found:
        raise IntegrityError("nobody has counted what was tried", where=layout.LEDGER, hint="run it again")
    told, headline = found[-1], given.profile.headline
    frame = counted_days(given.run[layout.WALK_RETURNS]).sort("date")
    days, spread = frame["date"].n_unique(), told["sharpe_variance"]
    variance = trial_variance(days, len(told["records"]), spread) if days > 1 else None
    made = {}
    for name in names:
        returns = frame.filter(frame["risk_profile"] == name)["ret"].to_numpy()
        n = int(told["n"]) * (1 if name == headline else len(RISK_PROFILES))
        if len(returns) > 1:
            made[name] = deflated({name: returns}, n, variance)[name] | {"trials": n}
    counted = {"trials": told["n"], "headline": headline, "spread": spread, "sharpe_variance": variance}
    told = {name: value for name, value in told.items() if name != "n"}
    return as_json(told | counted | {"as_run": made})


def verdict_of(run: Run) -> str:
    """Return the verdict of a run whose steps have all ended well, as its seal says it."""
    return "VALID" + behind(ruin_told(run.books.ruined, run.manifest.profile.headline))


def performance(run: Run) -> dict[str, float | None]:
    """Annual Sharpe ratio of each risk profile, for the registry's count of trials."""
    return {name: metrics["sharpe"] for name, metrics in run[layout.WALK_STATISTICS]["as_run"].items()}
