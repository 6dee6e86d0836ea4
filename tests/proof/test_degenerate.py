"""Markets that no one would choose: no unhandled error, no silent fallback, and every constraint holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from constraints import breaches
from degenerate import SMALL, attempt, market_of, profile_of, scanners_of
from hypothesis import HealthCheck, given, settings
from loops import often
from universes import HOSTILE, TRAITS, Universe, draw, raw_bars, universes

from assay.backtest.decision import decide
from assay.base.errors import AssayError, Exit, SourceError
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.risk.solve import ALL_CASH
from assay.runs import artifacts as layout
from assay.runs.documents import Event
from assay.runs.home import Home
from assay.runs.verify import verify
from assay.settings import load

QUICK, SHARDS = 40, 10
NAMED = {
    "PORTFOLIO",
    "ALL_CASH",
    "NO_UNIVERSE",
    "NO_CANDIDATES",
    "NO_WINNERS",
    "DATA",
    "SOURCE_EMPTY",
    "VOLUME_ZERO",
    "QUOTE_VOLUME_ZERO",
    "INTERVAL_UNKNOWN",
    "INTERVAL_MIXED",
    "L0_DUPLICATE_COLUMN",
}
"""Every ending that a universe may have."""


def endings(seeds: range) -> Counter[str]:
    """Attempt universes; return how they ended, faults among them with their seeds."""
    found: Counter[str] = Counter()
    for seed in seeds:
        ending = attempt(draw(seed))
        found.update([ending.outcome, *(f"{seed}: {fault}" for fault in ending.faults)])
    return found


def test_generated_universes_keep_every_constraint():
    found = endings(range(QUICK))
    assert set(found) <= NAMED, found
    assert found["PORTFOLIO"] > QUICK / 4
    assert len(found) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_ten_thousand_universes_keep_every_constraint(shard):
    found = endings(range(shard, often("UNIVERSES"), SHARDS))
    assert set(found) <= NAMED, found


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(universes())
def test_any_traits_together_keep_every_constraint(universe):
    ending = attempt(universe)
    assert ending.outcome in NAMED
    assert not ending.faults


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(universes(max_coins=40))
def test_many_traits_together_keep_every_constraint(universe):
    ending = attempt(universe)
    assert ending.outcome in NAMED
    assert not ending.faults


@pytest.mark.parametrize("trait", TRAITS)
def test_a_trait_alone_does_what_it_says_and_is_survived(trait):
    plain = Universe(11, frozenset(), 8, 60, settings={"lenient": True, "free": True})
    universe = replace(plain, traits=frozenset({trait}))
    assert not raw_bars(universe).equals(raw_bars(plain))
    ending = attempt(universe)
    assert ending.outcome in NAMED
    assert not ending.faults


def of_size(coins, days):
    return Universe(3, frozenset(), coins, days, settings={"lenient": True, "free": True})


def test_degenerate_sizes():
    for coins, days in ((1, 60), (60, 30), (1, 21), (5, 2), (5, 1), (3, 20)):
        ending = attempt(of_size(coins, days))
        assert ending.outcome in NAMED, (coins, days)
        assert not ending.faults
    assert attempt(of_size(5, 2)).outcome == "NO_UNIVERSE"  # nobody has the 20 bars that a scanner asks for


# ---- the checker itself ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decided():
    """A decision that holds several coins, some loss makers and caps that bind."""
    for seed in range(1000):
        universe = draw(seed)
        if universe.coins < 6 or not universe.settings["guard"]["enabled"]:
            continue
        market = market_of(raw_bars(universe), universe)
        profile, scanners = profile_of(universe), scanners_of(universe)
        try:
            decision = decide(market, profile, scanners)
        except AssayError:
            continue
        state = decision.state
        if state is not None and 0 < state.guard.loss_makers.sum() < len(state.atoms) - 2 and len(state.atoms) > 4:
            return decision, market, profile, scanners
    raise AssertionError("no universe has what the test needs")


def with_book(decision, **changes):
    book = replace(decision.guarded_on_atoms["hrp"], **changes)
    return replace(decision, guarded_on_atoms={**decision.guarded_on_atoms, "hrp": book})


def moved(decision, share):
    """Move weight to the first loss maker, so that the sum stays."""
    weights = decision.guarded_on_atoms["hrp"].weights.copy()
    loser = int(np.flatnonzero(decision.state.guard.loss_makers)[0])
    giver = int(weights.argmax())
    weights[[giver, loser]] += [-share, share]
    return weights


def unfound(decision, **dropped):
    """Forget everybody who was found, and let every scanner say that it dropped these."""
    counts = [one.model_copy(update={"matched": 0, "dropped": dropped}) for one in decision.discovery.scanners]
    return replace(
        decision, discovery=replace(decision.discovery, candidates=[], scanners=counts), selection=None, state=None
    )


RAISED = (Event(code="CAP_RELAXED", what="an atom's cap, which nothing raises", values={"cap": "atom"}),)
FORGED = {
    "cash is": lambda d: with_book(d, weights=d.guarded_on_atoms["hrp"].weights * 1.01),
    "not finite": lambda d: with_book(d, weights=d.guarded_on_atoms["hrp"].weights * np.nan),
    "negative": lambda d: with_book(d, weights=moved(d, -0.01)),
    "loss maker and weighs": lambda d: with_book(d, weights=moved(d, 0.01)),
    "its cap is": lambda d: with_book(d, weights=np.eye(len(d.state.atoms))[0] * 0.99, cash=0.01),
    "no event says why": lambda d: with_book(d, events=()),
    "no event says so": lambda d: with_book(
        d, solver=d.guarded_on_atoms["hrp"].solver.model_copy(update={"fallbacks": ["piqp: NUMERICS"]})
    ),
    "with status ALL_CASH": lambda d: with_book(d, solver=ALL_CASH),
    "risk profiles are": lambda d: replace(d, guarded_on_atoms={"hrp": d.guarded_on_atoms["hrp"]}),
    "clusters do not cover": lambda d: replace(d, state=replace(d.state, labels=d.state.labels - 1)),
    "the settings give": lambda d: replace(d, state=replace(d.state, caps=replace(d.state.caps, atom=0.9))),
    "caps were raised": lambda d: replace(d, state=replace(d.state, caps=replace(d.state.caps, events=RAISED))),
    "is a loss maker": lambda d: replace(
        d, state=replace(d.state, guard=replace(d.state.guard, loss_makers=~d.state.guard.loss_makers))
    ),
    "the atoms are not the winners": lambda d: replace(d, state=replace(d.state, atoms=d.state.atoms[::-1])),
    "not what its closes say": lambda d: replace(
        d, selection=replace(d.selection, streams=d.selection.streams[:, ::-1])
    ),
    "is a candidate twice": lambda d: replace(
        d, discovery=replace(d.discovery, candidates=[*d.discovery.candidates, d.discovery.candidates[0]])
    ),
    "was scanned": lambda d: replace(
        d,
        discovery=replace(
            d.discovery,
            candidates=[one.model_copy(update={"inverted": not one.inverted}) for one in d.discovery.candidates],
        ),
    ),
    "nothing was selected": lambda d: replace(d, selection=None),
    "no risk was measured": lambda d: replace(d, state=None),
    "no coin could be asked, and": lambda d: unfound(d, history=9),
}


@pytest.mark.parametrize("fault", FORGED)
def test_the_checker_has_teeth(decided, fault):
    decision, market, profile, scanners = decided
    assert breaches(decision, market, profile, scanners) == []
    found = breaches(FORGED[fault](decision), market, profile, scanners)
    assert any(fault in one for one in found), found


def test_the_checker_tells_nobody_wanted_from_nobody_asked():
    universe = of_size(5, 2)
    asked = market_of(raw_bars(universe), universe), profile_of(universe), scanners_of(universe)
    decision = decide(*asked)
    assert decision.reason == "NO_UNIVERSE"
    assert breaches(decision, *asked) == []
    assert any("no coin could be asked" in one for one in breaches(unfound(decision, rating=5), *asked))


# ---- the whole run -----------------------------------------------------------------------------------------------


def dotted():
    """The small settings as ``--set`` takes them."""
    small = [f"{group}.{name}={value}" for group, values in SMALL.items() for name, value in values.items()]
    few = [one.replace("(", "[").replace(")", "]") for one in small]
    return [
        *few,
        "universe.min_bars=20",
        "guard.days=20",
        "selection.vetoes.entropy=10",
        "selection.vetoes.kurtosis=1e9",
    ]


def run_through(folder, universe):
    """Load a universe from a file and run a profile on it; return the state or the code of what refused it."""
    path = folder / f"{universe.seed}.parquet"
    raw_bars(universe).write_parquet(path)
    home, catalog = Home(folder / "home"), load(settings=dotted())
    try:
        foundation = lay_foundation(home, catalog, f"parquet:{path}")
    except SourceError as error:
        return error.code
    [request] = requests(home, catalog, foundation, [universe.profile])
    outcome = execute(request)
    assert outcome.exit_code in {Exit.OK, Exit.FAILED}, outcome.error
    assert not (request.run / "logs").exists()
    verdict = verify(request.run, registry=home.registry)
    if outcome.error is None:
        assert verdict.ok, verdict.problems
        told = (request.run / layout.REPORT).read_text() + (request.run / layout.INDEX).read_text()
        assert "<script" not in told
        assert "\u202e" not in told
        return "VALID"
    assert verdict.intact, verdict.problems
    assert outcome.error["hint"]
    return outcome.error["code"]


def lively(seed):
    """A universe of a seed that has a chance to get far: its benchmark is whole."""
    universe = draw(seed)
    kept = frozenset(trait for trait in universe.traits if not trait.startswith("benchmark"))
    return replace(universe, traits=kept | {"hostile", "shuffled"} - {"instruments"}, days=80)


def test_the_whole_run_survives_generated_universes(tmp_path):
    told = Counter(run_through(tmp_path, lively(seed)) for seed in (1, 5))
    assert told.total() == 2


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(5))
def test_the_whole_run_survives_many_universes(tmp_path, shard):
    told = Counter(run_through(tmp_path, lively(seed)) for seed in range(100 + shard, 100 + often("MARKETS"), 5))
    assert told["VALID"] >= 1, told


def test_hostile_names_reach_decisions_and_are_held_like_any_other():
    """A name is only a name: what a symbol may hold is told by its characters alone."""
    readable = [base for base in HOSTILE if not any(c in base for c in "/\\ \n\0\u202e\u200b")]
    held = set()
    for seed, base in enumerate(readable):
        universe = Universe(seed, frozenset({"rising"}), 4, 60, settings={"lenient": True, "free": True})
        raw = raw_bars(universe)
        raw = raw.with_columns(raw["symbol"].str.replace_all("C00", base, literal=True))
        market = market_of(raw, universe)
        decision = decide(market, profile_of(universe), scanners_of(universe))
        assert breaches(decision, market, profile_of(universe), scanners_of(universe)) == []
        held |= {symbol for book in decision.net.values() for symbol in book}
    strange = {base for base in readable if any(base in symbol for symbol in held)}
    assert len(strange) > len(readable) / 2
