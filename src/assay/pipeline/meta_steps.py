"""The steps of a meta-portfolio: each reads artifacts, calls one module, writes artifacts, and records its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from assay.base import files
from assay.base.domain import Atom, format_instant
from assay.base.environment import environment
from assay.base.errors import ContractError, GateError, RunFailed
from assay.base.files import as_json, read_json
from assay.gates import eligibility
from assay.gates import portfolio as gates
from assay.gates import portfolio_signs as signs
from assay.gates.sign_test import StageName
from assay.gates.validation import to_markdown, validate
from assay.meta import alignment as returns
from assay.meta import allocate, flatten, walk
from assay.meta.analysis import analyse
from assay.pipeline.context import MetaContext
from assay.risk.regime import RegimeName
from assay.runs import artifacts as layout
from assay.runs.documents import (
    Analysis,
    Contributors,
    Flattened,
    MetaOptimized,
    Refusal,
    SignTest,
    SleeveFacts,
    Sleeves,
)
from assay.runs.run import Run

if TYPE_CHECKING:
    from assay.gates.contract import ContractResult

NO_WALK_FORWARD = "META_NO_WALK_FORWARD"


# --- 1 to 4: what goes in ---------------------------------------------------------------------------------------------


def preflight(context: MetaContext) -> None:
    """Write down every value, sleeve and version that the run will use."""
    request = context.request
    context.save(layout.MANIFEST, request.manifest() | {"environment": environment()})
    heads = {one.sleeve: one.head for one in request.pins}
    context.event("META_PINNED", "sleeves pinned by their ledger heads", heads)


def check_eligibility(context: MetaContext) -> None:
    """Judge every pinned sleeve; refuse the portfolio where one is refused, or go on where the profile allows it."""
    request = context.request
    terms = eligibility.Terms(request.runs, context.profile, request.as_of, request.lake)
    judged = [eligibility.examine(terms, one, validate) for one in request.pins]
    accepted = [one for one in judged if isinstance(one, SleeveFacts)]
    refused = [one for one in judged if isinstance(one, Refusal)]
    passed = [Refusal.model_validate(dict(one)) for one in request.passed_over]
    document = Sleeves(as_of=format_instant(request.as_of), accepted=accepted, refused=[*refused, *passed])
    context.save(layout.META_SLEEVES, document)
    for one in document.refused:
        context.event(one.code, one.reason, {"sleeve": one.sleeve, "run_id": one.run_id})
    few = not eligibility.enough(context.profile, len(accepted))
    bad = [f"{one.code} {one.reason}" for one in refused] if context.profile.require_all or few else []
    ok, checked = not bad and not few, sum(facts.checked for facts in accepted)
    # A refusal is the outcome of a comparison too.
    context.ledger.gate(context.number, "eligibility", ok=ok, checked=checked + len(refused), violations=bad)
    if bad:
        hint = "run that sleeve again, or set meta.require_all=false to go on without it"
        raise GateError(refused[0].reason, where=refused[0].sleeve, hint=hint, code=refused[0].code)
    if few:
        raise GateError(
            f"{len(accepted)} sleeve is no portfolio of sleeves",
            where=context.profile.name,
            hint="name another sleeve, or set meta.allow_single=true",
            code=eligibility.TOO_FEW_SLEEVES,
        )


def meta_returns(context: MetaContext) -> None:
    """Align the sleeves' walk-forward returns on the days that all share."""
    from assay.gates.returns import check_l0

    profile, sleeves = context.profile, _sleeves(context)
    records = _records(context)
    aligned: dict[str, returns.Aligned] = {
        name: returns.align({sleeve: records[sleeve][name] for sleeve in sleeves}, profile.min_days, name)
        for name in profile.risk_profiles
    }
    document = returns.alignment(format_instant(context.request.as_of), aligned, profile.train)
    context.save(layout.META_ALIGNMENT, document)
    context.events(document.shortfalls)
    frame = returns.returns_frame(aligned, sleeves)
    for name, one in aligned.items():
        moving = [sleeve for sleeve, on in zip(sleeves, returns.varying(one.returns), strict=True) if on]
        own = frame.filter(frame["risk_profile"] == name).select("date", *moving)
        if moving:
            _record(context, check_l0(own, benchmark=moving[0], floor=profile.min_days))
    context.save(layout.META_RETURNS, frame)


def sign_test_pre_opt(context: MetaContext) -> None:
    """Check every sleeve's streams against its coins, and test the signs of all sleeves."""
    from assay.gates.returns import check_l3

    for sleeve, run in _leaf_runs(context):
        profile = read_json(run / layout.MANIFEST)["profile"]
        atoms = _atoms(run)
        if atoms:
            streams, physical = _table(run / layout.SYNTHETIC), _table(run / layout.RETURNS)
            _record(context, check_l3(streams, physical, atoms, profile["direction"]), sleeve)
    _sign_test(context, "pre_opt", layout.SIGN_PRE)


# --- 5 to 7: weights --------------------------------------------------------------------------------------------------


def optimization(context: MetaContext) -> None:
    """Weigh the sleeves in five ways, from the last days that all share."""
    profile, sleeves = context.profile, _sleeves(context)
    facts = {one.sleeve: one for one in context.load(Sleeves, layout.META_SLEEVES).accepted}
    regime = cast("RegimeName", returns.live_regime([context.sleeve_run(sleeve) for sleeve in sleeves]))
    weights = {}
    for name, one in _aligned(context).items():
        made = _decide(context, one, name, regime)
        weights[name] = allocate.document(made, sleeves, [facts[sleeve].direction for sleeve in sleeves], regime)
    context.save(layout.META_OPTIMIZED, MetaOptimized(as_of=format_instant(context.request.as_of), profiles=weights))
    for name, given in weights.items():
        gates.refuse_faults(name, given, profile)
        for event in given.events:
            context.event(event.code, f"{name}: {event.what}", event.values | {"risk_profile": name})
        for fallback in given.solver.fallbacks:
            context.ledger.fallback(context.number, "SOLVER_FALLBACK", f"{name}: {fallback}")


def _decide(context: MetaContext, one: returns.Aligned, name: str, regime: RegimeName) -> allocate.Decision:
    made = allocate.decide(one.returns, one.sleeves, name, context.profile, regime)
    n_on = 0 if made is None else int(made.on.sum())
    if made is None or not eligibility.enough(context.profile, n_on):
        idle = [sleeve for sleeve, on in zip(one.sleeves, _varying(context, one), strict=True) if not on]
        for sleeve in idle:
            context.event(
                returns.SLEEVE_IN_CASH, f"{name}: {sleeve} has no variance and is left out", {"sleeve": sleeve}
            )
        raise RunFailed(
            f"{n_on} of {len(one.sleeves)} sleeves vary: that is no portfolio",
            where=name,
            hint=f"in cash: {', '.join(idle)}; choose another date, or set meta.allow_single=true",
            code=eligibility.TOO_FEW_SLEEVES,
        )
    return made


def _varying(context: MetaContext, one: returns.Aligned) -> list[bool]:
    return [bool(on) for on in returns.varying(one.returns[-context.profile.train :])]


def weight_flattening(context: MetaContext) -> None:
    """Net the sleeves' atoms to physical coins, and give to cash what exceeds the limit per coin."""
    from assay.gates.weights import check_l4

    profile, as_of = context.profile, format_instant(context.request.as_of)
    optimized = context.load(MetaOptimized, layout.META_OPTIMIZED)
    for name, given in optimized.profiles.items():
        gates.refuse_faults(name, given, profile)
    held = {sleeve: _books(context, sleeve) for sleeve in _sleeves(context)}
    books = {
        name: flatten.flatten(given, {sleeve: book[name] for sleeve, book in held.items()}, profile.max_coin)
        for name, given in optimized.profiles.items()
    }
    document = Contributors(as_of=as_of, max_coin=profile.max_coin, profiles=books)
    flattened = Flattened(as_of=as_of, profiles={name: flatten.flattened_profile(book) for name, book in books.items()})
    atoms = flatten.as_optimized(as_of, flattened.profiles, profile.max_coin)
    if any(flat.assets for flat in flattened.profiles.values()):
        _record(context, check_l4(atoms, flattened, _symbols(context), profile.risk_profiles))
    context.save(layout.META_CONTRIBUTORS, document)
    context.save(layout.FLATTENED, flattened)
    for name, book in books.items():
        context.events(flatten.events(name, book, profile.max_coin))


def _books(context: MetaContext, sleeve: str) -> dict[str, flatten.SleeveBook]:
    return flatten.read_books(context.sleeve_run(sleeve), sleeve, context.profile.risk_profiles)


def sign_test_post_opt(context: MetaContext) -> None:
    """Test, over all sleeves and risk profiles, that coins carry the contributors' signs and weights."""
    _sign_test(context, "post_opt", layout.SIGN_POST)


# --- 8 and 9: evidence ------------------------------------------------------------------------------------------------


def walk_forward(context: MetaContext) -> None:
    """Decide again every few days from the days before, and hold what was decided."""
    walks = _walks(context)
    for name, frame in walk.frames(walks, tuple(_sleeves(context))).items():
        context.save(f"{layout.WALK}{name}.parquet", frame)
    context.save(layout.WALK_STATISTICS, as_json(walk.statistics(walks)))
    short = [name for name, one in walks.items() if not len(one.days)]
    if short:
        what = f"the shared days suffice for the decision only: no day is left to walk forward for {', '.join(short)}"
        context.event(NO_WALK_FORWARD, what, {"train": context.profile.train})


def analysis(context: MetaContext) -> None:
    """Measure concentration, bets, correlation, and what each sleeve adds."""
    profile = context.profile
    optimized = context.load(MetaOptimized, layout.META_OPTIMIZED)
    contributors = context.load(Contributors, layout.META_CONTRIBUTORS)
    facts = context.load(Sleeves, layout.META_SLEEVES).accepted
    shorts = [one.sleeve for one in facts if one.direction == "SHORT"]
    walks, regime = _walks(context), _regime_of(context)
    profiles = {}
    for name, one in _aligned(context).items():
        made = _decide(context, one, name, cast("RegimeName", optimized.profiles[name].regime))
        decided = (made, contributors.profiles[name])
        profiles[name] = analyse(one, name, profile, decided, walks[name], regime, shorts)
    context.save(layout.META_ANALYSIS, Analysis(as_of=format_instant(context.request.as_of), profiles=profiles))


def _walks(context: MetaContext) -> dict[str, walk.Walk]:
    key = files.sha256_file(context.path(layout.META_RETURNS))
    if key not in context.memory:
        regime = _regime_of(context)
        context.memory[key] = {
            name: walk.walk(one, name, context.profile, regime) for name, one in _aligned(context).items()
        }
    found: dict[str, walk.Walk] = context.memory[key]
    return found


def _regime_of(context: MetaContext) -> walk.RegimeOf:
    """Return a function that tells the gravest regime that the sleeves' last decisions had found."""
    told = [returns.regimes(context.sleeve_run(sleeve)) for sleeve in _sleeves(context)]

    def at(instant: np.datetime64) -> RegimeName:
        last = [[name for moment, name in one if moment <= instant][-1:] for one in told]
        return cast("RegimeName", returns.gravest([name for names in last for name in names]))

    return at


# --- 10: verdict ------------------------------------------------------------------------------------------------------


def meta_validation(context: MetaContext) -> None:
    """Check all artifacts against each other and against the sleeves."""
    result = validate(Run(context.folder, context.request.runs))
    stem = f"{layout.VALIDATION}meta_validation_{context.profile.name}_{context.folder.name}"
    context.save(f"{stem}.json", result)
    context.save(f"{stem}.md", to_markdown(result))
    failed = [check for check in result.checks if not check.ok]
    codes, checked = [check.code for check in failed], sum(check.checked for check in result.checks)
    context.ledger.gate(context.number, "meta_validation", ok=result.ok, checked=checked, violations=codes)
    if failed:
        what = f"meta validation refused the run: {failed[0].what}"
        raise GateError(what, where=stem, hint="see that report", code=failed[0].code)


def reporting(context: MetaContext) -> None:
    """Deflate the Sharpe ratios by what was tried, write the report from ledger and artifacts, and the run's index."""
    from assay.report.html import render_meta_page
    from assay.report.index import render_meta_index
    from assay.report.meta import render_meta

    context.save(layout.TRIALS, _trials(context))
    context.save(layout.REPORT, render_meta(context.folder))
    context.save(layout.PAGE, render_meta_page(context.folder))
    context.save(layout.INDEX, render_meta_index(context.folder))


def _trials(context: MetaContext) -> dict[str, Any]:
    """Deflated Sharpe ratios, given what was tried before."""
    from assay.backtest.statistics import deflated, trial_variance

    earlier = context.request.trials
    n = int(earlier["n"]) + 1
    frame = context.table(layout.WALK_RETURNS).sort("date")
    days = frame["date"].n_unique()
    variance = trial_variance(days, n - 1, earlier["sharpe_variance"]) if days > 1 else None
    series: dict[str, returns.Floats] = {
        name: frame.filter(frame["risk_profile"] == name)["ret"].to_numpy() for name in context.profile.risk_profiles
    }
    known = {name: found for name, found in series.items() if len(found) > 1}
    return as_json({"trials": n, "sharpe_variance": variance, "as_run": deflated(known, n, variance)})


# --- what steps share -------------------------------------------------------------------------------------------------


def _sleeves(context: MetaContext) -> list[str]:
    return [one.sleeve for one in context.load(Sleeves, layout.META_SLEEVES).accepted]


def _records(context: MetaContext) -> dict[str, dict[str, returns.SleeveRecord]]:
    names, known = context.profile.risk_profiles, context.memory.setdefault("records", {})
    for sleeve in _sleeves(context):
        if sleeve not in known:  # sealed: it cannot change while the run goes on
            known[sleeve] = returns.read_sleeve(context.sleeve_run(sleeve), names)
    return {sleeve: known[sleeve] for sleeve in _sleeves(context)}


def _aligned(context: MetaContext) -> dict[str, returns.Aligned]:
    """Return the meta returns of step 3 with the sleeves' exposures and holdings."""
    frame, records = context.table(layout.META_RETURNS), _records(context)
    return {name: returns.rejoin(frame, records, name) for name in context.profile.risk_profiles}


def _leaf_runs(context: MetaContext) -> list[tuple[str, Path]]:
    pins = {one.sleeve: one for one in context.request.pins}
    found: dict[Path, str] = {}
    for sleeve in _sleeves(context):
        whole = Run(context.folder, context.request.runs)
        for leaf, run in eligibility.leaves(whole, pins[sleeve], (context.profile.name,)):
            if run.has(layout.SYNTHETIC):
                found.setdefault(run.folder, leaf.sleeve)
    return [(sleeve, run) for run, sleeve in found.items()]


def _atoms(run: Path) -> list[Atom]:
    kept = {one["atom_id"] for one in read_json(run / layout.ENRICHED)["winners"]}
    winners = read_json(run / layout.WINNERS)["winners"]
    return [Atom(one["symbol"], one["logic"], one["direction"]) for one in winners if one["atom_id"] in kept]


def _symbols(context: MetaContext) -> list[str]:
    """Return every coin of any sleeve's returns matrix."""
    import polars as pl

    found: set[str] = set()
    for _, run in _leaf_runs(context):
        found |= set(pl.read_parquet_schema(run / layout.RETURNS)) - {"date"}
    return sorted(found)


def _table(path: Path) -> Any:
    import polars as pl

    return pl.read_parquet(path)


def _sign_test(context: MetaContext, stage: StageName, name: str) -> None:
    result: SignTest = signs.meta_sign_test(Run(context.folder, context.request.runs), stage)
    context.save(name, result)
    checked = result.values_compared + result.weights_compared
    codes = [f"{violation.code} {violation.where}" for violation in result.violations]
    context.ledger.gate(context.number, f"sign_test_{stage}", ok=result.ok, checked=checked, violations=codes)
    if result.violations:
        first = result.violations[0]
        raise GateError(f"sign test failed: {first.what}", where=first.where, hint=f"see {name}", code=first.code)
    if not result.ok:
        raise GateError("the sign test compared nothing", where=name, hint="report this", code=signs.EMPTY)


def _record(context: MetaContext, result: ContractResult, sleeve: str | None = None) -> None:
    """Write a contract's outcome to the ledger; every fault is fatal here: a sleeve cannot lose a column."""
    told = result.as_event()
    if sleeve is not None:
        told["details"] = told["details"] | {"sleeve": sleeve}
    context.ledger.contract(context.number, **told)
    if result.action != "passed":
        first = result.violations[0]
        where = first.where if sleeve is None else f"{sleeve} {first.where}"
        raise ContractError(
            f"{result.layer} broken: {first.what}", where=where, hint=f"see {layout.LEDGER}", code=first.code
        )
