"""The steps of a portfolio of sleeves: each opens artifacts of its run and of its sleeves' runs, which are sealed.

What it opens of a sleeve needs no hash of its own in the ledger: the manifest pins the seal, and gates check it.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from assay.backtest.holdings import holdings
from assay.backtest.preservation import ruin
from assay.base.domain import DAY, format_instant
from assay.base.environment import environment
from assay.base.errors import GateError
from assay.base.files import as_json
from assay.gates import eligibility
from assay.gates import portfolio as gates
from assay.gates.portfolio_signs import meta_sign_test
from assay.gates.returns import check_books, check_l3
from assay.gates.validation import validate
from assay.gates.weights import check_l4
from assay.meta import alignment, allocate, flatten, walk
from assay.meta.analysis import analyse
from assay.pipeline.context import ContractCheck, Gate, GivenPortfolio, Said, event
from assay.pipeline.sleeve_steps import deflated_by_trials, signs, solved, today, validated
from assay.report.html import page_of_portfolio
from assay.report.index import render_index
from assay.report.meta import compose_meta
from assay.runs import artifacts as layout
from assay.runs import documents as doc
from assay.runs.run import Run
from assay.sources.acceptance import RUIN, Acceptance, offer

if TYPE_CHECKING:
    from assay.risk.regime import RegimeName

NO_WALK_FORWARD = "META_NO_WALK_FORWARD"
ANALYSED = (layout.META_SLEEVES, layout.META_RETURNS, layout.META_OPTIMIZED, layout.META_CONTRIBUTORS)


# --- 1 to 4: what goes in ---------------------------------------------------------------------------------------------


def preflight(given: GivenPortfolio) -> Iterator[Said]:
    """Write down every value, sleeve and version that the run will use."""
    request = given.request
    yield {layout.MANIFEST: request.manifest() | {"environment": environment()}}
    heads = {one.sleeve: one.head for one in request.pins}
    yield event("META_PINNED", "sleeves pinned by their ledger heads", heads)


def check_eligibility(given: GivenPortfolio) -> Iterator[Said]:
    """Judge every pinned sleeve; refuse the portfolio where one is refused, or go on where the profile allows it."""
    request, profile = given.request, given.profile
    accept = Acceptance.recorded(request.accepted)
    terms = eligibility.Terms(request.runs, profile, given.as_of, request.lake, accept)
    judged = [eligibility.examine(terms, one, validate) for one in request.pins]
    accepted = [one for one in judged if isinstance(one, doc.SleeveFacts)]
    refused = [one for one in judged if isinstance(one, doc.Refusal)]
    passed = [doc.Refusal.model_validate(dict(one)) for one in request.passed_over]
    document = doc.Sleeves(as_of=format_instant(given.as_of), accepted=accepted, refused=[*refused, *passed])
    yield {layout.META_SLEEVES: document}
    for one in document.refused:
        yield event(one.code, one.reason, {"sleeve": one.sleeve, "run_id": one.run_id})
    for facts in accepted:
        if facts.ruined:
            what = f"{facts.sleeve} is left out of {', '.join(facts.ruined)}: its own book was ruined"
            hint = offer(f"meta run {profile.name}", RUIN, eligibility.ruin_of(given.run.beside(facts.run_id)))
            yield event(eligibility.SLEEVE_RUINED, f"{what}; {hint}", {"sleeve": facts.sleeve, "run_id": facts.run_id})
    for note in accept.used:
        yield event("ACCEPTED", note["what"], note)
    few = not eligibility.enough(profile, len(accepted))
    bars = few or profile.require_all  # a ruined sleeve is left out by name: the others are a portfolio without it
    bad = [f"{one.code} {one.reason}" for one in refused if few or (bars and one.code != eligibility.SLEEVE_RUINED)]
    checked = sum(facts.checked for facts in accepted) + len(refused)  # a refusal is the outcome of a comparison too
    yield Gate("eligibility", not bad and not few, checked, bad, _ineligible(profile.name, len(accepted), refused, bad))


def _ineligible(name: str, n_accepted: int, refused: list[doc.Refusal], bad: list[str]) -> GateError:
    if bad:
        hint = "run that sleeve again, or set meta.require_all=false to go on without it"
        return GateError(refused[0].reason, where=refused[0].sleeve, hint=hint, code=refused[0].code)
    what, hint = f"{n_accepted} sleeve is no portfolio of sleeves", "name another sleeve, or set meta.allow_single=true"
    return GateError(what, where=name, hint=hint, code=eligibility.TOO_FEW_SLEEVES)


def meta_returns(given: GivenPortfolio) -> Iterator[Said]:
    """Align the sleeves' walk-forward returns on the days that all share."""
    profile, records = given.profile, _records(given)
    aligned: dict[str, alignment.Aligned] = {
        name: alignment.align({sleeve: own[name] for sleeve, own in records.items()}, profile.min_days, name)
        for name in profile.risk_profiles
    }
    document = alignment.alignment(format_instant(given.as_of), aligned, profile.train, profile.min_gross)
    yield {layout.META_ALIGNMENT: document}
    yield from document.shortfalls
    frame = alignment.returns_frame(aligned, list(records))
    for name, one in aligned.items():
        own = frame.filter(frame["risk_profile"] == name).select("date", *one.sleeves)
        yield ContractCheck(check_books(own, _ruined(given, name), profile.min_days), sleeve=name)
    yield {layout.META_RETURNS: frame}


def sign_test_pre_opt(given: GivenPortfolio) -> Iterator[Said]:
    """Check every sleeve's streams against its coins, and test the signs of all sleeves."""
    for name, run in _leaf_runs(given):
        atoms = [winner.atom for winner in run.atoms]
        if atoms:
            direction = run.of_sleeve.profile.direction
            yield ContractCheck(check_l3(run[layout.SYNTHETIC], run[layout.RETURNS], atoms, direction), sleeve=name)
    yield from signs(meta_sign_test(given.run, "pre_opt"))


# --- 5 to 7: weights --------------------------------------------------------------------------------------------------


def optimization(given: GivenPortfolio) -> Iterator[Said]:
    """Weigh the sleeves in five ways, from the last days that all share."""
    facts = given.run[layout.META_SLEEVES].accepted
    sleeves, directions = [one.sleeve for one in facts], [one.direction for one in facts]
    regime = cast("RegimeName", alignment.live_regime(list(given.sleeves.values())))
    weights = {}
    for name, one in _aligned(given).items():
        weights[name] = allocate.document(_decide(given, one, name, regime), sleeves, directions, regime)
    yield {layout.META_OPTIMIZED: doc.MetaOptimized(as_of=format_instant(given.as_of), profiles=weights)}
    for name, made in weights.items():
        gates.refuse_faults(name, made, given.profile)
        yield from solved(name, made)


def _decide(given: GivenPortfolio, one: alignment.Aligned, name: str, regime: RegimeName) -> allocate.SleeveDecision:
    return allocate.decide(one.returns, one.gross, one.sleeves, name, given.profile, regime)


def weight_flattening(given: GivenPortfolio) -> Iterator[Said]:
    """Net the sleeves' atoms to physical coins, and give to cash what exceeds the limit per coin."""
    profile, as_of = given.profile, format_instant(given.as_of)
    optimized = given.run[layout.META_OPTIMIZED]
    for name, made in optimized.profiles.items():
        gates.refuse_faults(name, made, profile)
    held = {name: flatten.read_books(run, name, profile.risk_profiles) for name, run in given.sleeves.items()}
    books = {
        name: flatten.flatten(made, {sleeve: book[name] for sleeve, book in held.items()}, profile.max_coin)
        for name, made in optimized.profiles.items()
    }
    coins = {name: flatten.flattened_profile(book) for name, book in books.items()}
    flattened = doc.Flattened(as_of=as_of, profiles=coins)
    if any(flat.assets for flat in coins.values()):
        atoms = flatten.as_optimized(as_of, coins, profile.max_coin)
        yield ContractCheck(check_l4(atoms, flattened, _symbols(given), profile.risk_profiles))
    contributors = doc.Contributors(as_of=as_of, max_coin=profile.max_coin, profiles=books)
    yield {layout.META_CONTRIBUTORS: contributors, layout.FLATTENED: flattened}
    for name, book in books.items():
        yield from flatten.events(name, book, profile.max_coin)


def sign_test_post_opt(given: GivenPortfolio) -> Iterator[Said]:
    """Test, over all sleeves and risk profiles, that coins carry the contributors' signs and weights."""
    yield from signs(meta_sign_test(given.run, "post_opt"))


# --- 8 and 9: evidence ------------------------------------------------------------------------------------------------


def walk_forward(given: GivenPortfolio) -> Iterator[Said]:
    """Weigh the sleeves on every day by the days before, and hold what they decided that day in its tranche."""
    whole = _walk(given)
    yield {f"{layout.WALK}{name}.parquet": frame for name, frame in whole.frames().items()}
    book = holdings(whole.market, whole.account, whole.held, today(given, given.profile.risk_profiles))
    yield {layout.WALK_STATISTICS: as_json(whole.statistics()), layout.HOLDINGS: book}
    if not whole.blends:
        what = "the shared days suffice for the decision only: no day is left to walk forward"
        yield event(NO_WALK_FORWARD, what, {"train": given.profile.train})


def analysis(given: GivenPortfolio) -> Iterator[Said]:
    """Say which books were ruined; measure concentration, bets, correlation, and what each sleeve adds."""
    profile, run = given.profile, given.run
    shorts = [one.sleeve for one in run[layout.META_SLEEVES].accepted if one.direction == "SHORT"]
    whole, regime = _walk(given), _regime_of(given)
    profiles = {}
    for name, one in _aligned(given).items():
        made = _decide(given, one, name, cast("RegimeName", run[layout.META_OPTIMIZED].profiles[name].regime))
        decided = (made, run[layout.META_CONTRIBUTORS].profiles[name])
        profiles[name] = analyse(one, name, profile, decided, whole, _footing(given), regime, shorts)
    found = {}
    for (name,), days in run[layout.WALK_RETURNS].group_by("risk_profile", maintain_order=True):
        found[str(name)] = ruin(days.sort("date"), run[layout.WALK_TRADES].filter(pl.col("risk_profile") == name))
    document = doc.Analysis(as_of=format_instant(given.as_of), profiles=profiles, ruin=found)
    yield {layout.META_ANALYSIS: document}
    if found:
        yield Gate(layout.RUIN, not document.ruined, run[layout.WALK_RETURNS].height, document.ruined, None)


def _walk(given: GivenPortfolio) -> walk.Walk:
    aligned = _aligned(given)
    key = "walk", given.run.read[layout.META_RETURNS]
    if key not in given.memory:
        given.memory[key] = walk.walk(aligned, given.profile, _footing(given), _regime_of(given))
    whole: walk.Walk = given.memory[key]
    return whole


def _footing(given: GivenPortfolio) -> walk.Footing:
    """Return the sleeves' bars up to the last day that all share, and the account of the book."""
    leaves = dict(_leaf_runs(given))
    account = walk.account_of({name: run.of_sleeve.profile for name, run in leaves.items()}, given.profile)
    last = given.run[layout.META_RETURNS]["date"].max()
    assert isinstance(last, dt.datetime)
    return walk.Footing(given.market(leaves.values()).until(last + DAY), account)


def _regime_of(given: GivenPortfolio) -> walk.RegimeOf:
    """Return a function that tells the gravest regime that the sleeves' last decisions had found."""
    told = [tuple(zip(*alignment.regimes(run), strict=True)) for run in given.sleeves.values()]

    def at(instant: np.datetime64) -> RegimeName:
        known = [(names, bisect_right(moments, instant)) for moments, names in filter(None, told)]
        return cast("RegimeName", alignment.gravest([names[count - 1] for names, count in known if count]))

    return at


# --- 10 and 11: verdict and report ------------------------------------------------------------------------------------


def meta_validation(given: GivenPortfolio) -> Iterator[Said]:
    """Check all artifacts against each other and against the sleeves."""
    yield from validated("meta_validation", given, validate(given.run))


def reporting(given: GivenPortfolio) -> Iterator[Said]:
    """Deflate the Sharpe ratios by what was tried, write the report from ledger and artifacts, and the run's index."""
    yield {layout.TRIALS: deflated_by_trials(given, given.profile.risk_profiles)}
    yield {layout.REPORT: compose_meta(given.run), layout.PAGE: page_of_portfolio(given.run)}
    yield {layout.INDEX: render_index(given.run)}


# --- what steps share -------------------------------------------------------------------------------------------------


def _records(given: GivenPortfolio) -> dict[str, dict[str, alignment.SleeveRecord]]:
    names = given.profile.risk_profiles
    return {sleeve: alignment.read_sleeve(run, names) for sleeve, run in given.sleeves.items()}


def _aligned(given: GivenPortfolio) -> dict[str, alignment.Aligned]:
    """Return the meta returns of step 3 with the sleeves' exposures and holdings."""
    frame, records, accepted = given.run[layout.META_RETURNS], _records(given), given.run[layout.META_SLEEVES].accepted
    aligned = {name: alignment.rejoin(frame, records, name) for name in given.profile.risk_profiles}
    return {
        name: replace(one, returns=alignment.without_ruined(one.returns, one.sleeves, accepted, name))
        for name, one in aligned.items()
    }


def _ruined(given: GivenPortfolio, name: str) -> set[str]:
    """Return the sleeves whose book was ruined: left out by name, or accepted by name."""
    return {sleeve for sleeve, run in given.sleeves.items() if name in run.books.ruined}


def _leaf_runs(given: GivenPortfolio) -> list[tuple[str, Run]]:
    """Return the sleeves of coins behind all sleeves, each run once, by the name that its portfolio gives it."""
    found: dict[Path, tuple[str, Run]] = {}
    for one in given.run.accepted:
        for leaf, run in eligibility.leaves(given.run, one, (given.profile.name,)):
            found.setdefault(run.folder, (leaf.sleeve, run))
    return [(name, run) for name, run in found.values() if run.kind == "run"]


def _symbols(given: GivenPortfolio) -> list[str]:
    """Return every coin of any sleeve's returns matrix."""
    return sorted({name for _, run in _leaf_runs(given) for name in run[layout.RETURNS].columns} - {"date"})
