"""The checks that validation makes of a portfolio: its artifacts against each other and against its sleeves' runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from assay.base.constants import TOLERANCE
from assay.base.errors import GateError
from assay.gates import eligibility
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
from assay.gates.portfolio_signs import meta_sign_test
from assay.gates.sign_test import StageName
from assay.gates.streams import days
from assay.runs.artifacts import (
    FLATTENED,
    MANIFEST,
    META_ALIGNMENT,
    META_ANALYSIS,
    META_CONTRIBUTORS,
    META_OPTIMIZED,
    META_RETURNS,
    META_SLEEVES,
    SIGN_POST,
    SIGN_PRE,
    WALK_RETURNS,
    Artifact,
)
from assay.runs.documents import ContributorBook, FlattenedProfile, MetaProfileWeights, Refusal, SignTest
from assay.runs.run import Run
from assay.settings.model import MetaProfile
from assay.sources.acceptance import Acceptance

WEIGHT_SUM = "META_WEIGHT_SUM"
BOUNDS_BREACH = "META_BOUNDS_BREACH"
CONCENTRATION = "META_CONCENTRATION"


def _replayable(run: Run, tally: Tally) -> None:
    tally.expect(run[MANIFEST].get("run_id") == run.folder.name, "the manifest's run_id is another run's")
    tally.expect(bool(run[MANIFEST].get("environment")), "the manifest has no environment")
    accepted = {facts.sleeve for facts in run[META_SLEEVES].accepted}
    for one in run.of_portfolio.pins:
        pinned = bool(one.run_id and one.head and one.seal)
        tally.expect(pinned or one.sleeve not in accepted, f"{one.sleeve} is pinned to no sealed run")


def _sleeves(run: Run, tally: Tally) -> str | None:
    """Judge every accepted sleeve again, as it is now."""
    asked, judged = run.of_portfolio, run[META_SLEEVES]
    accept = Acceptance.recorded(asked.accepted)
    terms = eligibility.Terms(run.runs, asked.profile, asked.as_of, asked.lake, accept)
    pins = {one.sleeve: one for one in asked.pins}
    code = None
    for facts in judged.accepted:
        one = pins.get(facts.sleeve)
        same_run = one is not None and (one.run_id, one.head, one.seal) == (facts.run_id, facts.head, facts.seal)
        tally.expect(same_run, f"{facts.sleeve} is not the run that the manifest pins")
        if one is None:
            continue
        again = eligibility.examine(terms, one)
        if isinstance(again, Refusal):
            tally.expect(False, f"{facts.sleeve}: {again.reason}")
            code = code or again.code
            continue
        same_ruin = again.ruined == facts.ruined
        tally.expect(same_ruin, f"{facts.sleeve}: ruin bars {again.ruined}, not {facts.ruined}")
    known = {facts.sleeve for facts in judged.accepted} | {one.sleeve for one in judged.refused}
    for sleeve in asked.profile.sleeves:
        tally.expect(sleeve in known, f"{sleeve} was neither accepted nor refused")
    return code


def _calendar(run: Run, tally: Tally) -> None:
    check_dates(run, tally)
    last, profile = last_day(run), run.of_portfolio.profile
    for table in (META_RETURNS, WALK_RETURNS):
        for (name,), rows in run[table].group_by("risk_profile", maintain_order=True):
            check_daily(f"{table} {name}", days(rows.sort("date")["date"], table), last, tally)
    for name in profile.risk_profiles:
        n_days, walked = (
            run[table].filter(pl.col("risk_profile") == name).height for table in (META_RETURNS, WALK_RETURNS)
        )
        what = f"{name}: {walked} days walked forward of {n_days}, of which the first {profile.train} only train"
        tally.expect(walked == max(0, n_days - profile.train), what)


def _sign(stage: StageName, artifact: Artifact[SignTest]) -> CheckFunction:
    def check(run: Run, tally: Tally) -> str | None:
        recorded, again = run[artifact], meta_sign_test(run, stage)
        tally.checked += again.values_compared + again.weights_compared
        tally.expect(recorded.ok and recorded.stage == stage and not recorded.violations, "the test did not pass")
        tally.expect(again == recorded, "the same test gives another result now")
        tally.faults += [f"{one.where}: {one.what}" for one in again.violations]
        return again.violations[0].code if again.violations else None

    return check


# --- weights ----------------------------------------------------------------------------------------------------------


def _profiles(run: Run, tally: Tally) -> None:
    documents: Mapping[str, Mapping[str, object]] = {
        META_OPTIMIZED: run[META_OPTIMIZED].profiles,
        META_CONTRIBUTORS: run[META_CONTRIBUTORS].profiles,
        FLATTENED: run[FLATTENED].profiles,
        META_ALIGNMENT: run[META_ALIGNMENT].profiles,
        META_ANALYSIS: run[META_ANALYSIS].profiles,
    }
    for place, found in documents.items():
        for name in run.of_portfolio.profile.risk_profiles:
            tally.expect(name in found, f"{name} is not in {place}")
    accepted = [facts.sleeve for facts in run[META_SLEEVES].accepted]
    for told, weights in run[META_OPTIMIZED].profiles.items():
        tally.expect([one.Sleeve for one in weights.sleeves] == accepted, f"{told}: not the accepted sleeves")


def bounds(n_sleeves: int, profile: MetaProfile) -> tuple[float, float]:
    """Return the least and the greatest weight of each of ``n_sleeves``.

    0.05 to max(0.5, 1.9 / n), at most 1. More sleeves than the floors have room for lower the floor to 1 / n.

    Examples
    --------
    >>> profile = MetaProfile(name="m", sleeves=("a",))
    >>> [bounds(n, profile) for n in (1, 2, 3, 4)]
    [(0.05, 1.0), (0.05, 0.95), (0.05, 0.6333333333333333), (0.05, 0.5)]
    >>> bounds(25, profile)
    (0.04, 0.5)
    """
    upper = min(1.0, max(profile.max_weight, profile.weight_slack / n_sleeves))
    return min(profile.min_weight, 1.0 / n_sleeves), max(upper, 1.0 / n_sleeves)


def faults(name: str, weights: MetaProfileWeights, profile: MetaProfile) -> list[tuple[str, str]]:
    """Return what is wrong with the weights of one risk profile, as code and words.

    Bounds are those of the settings for the sleeves that vary, not those that the document tells.
    """
    found = []
    held = [one for one in weights.sleeves if one.Sleeve not in weights.in_cash]
    total = math.fsum(one.Weight for one in weights.sleeves)
    if not abs(total + weights.cash - 1.0) <= TOLERANCE or not -TOLERANCE <= weights.cash <= 1.0 + TOLERANCE:
        found.append((WEIGHT_SUM, f"{name}: sleeves and cash sum to {total + weights.cash!r}"))
    lower, upper = bounds(max(1, len(held)), profile)
    for one in weights.sleeves:
        low, high = (lower, upper) if one in held else (0.0, 0.0)
        if not low - TOLERANCE <= one.Weight <= high + TOLERANCE:
            what = f"{name}: {one.Sleeve} weighs {one.Weight!r}, its bounds are {low!r} and {high!r}"
            found.append((BOUNDS_BREACH, what))
    return found


def refuse_faults(name: str, weights: MetaProfileWeights, profile: MetaProfile) -> None:
    """Raise :class:`GateError` for the first fault."""
    for code, what in faults(name, weights, profile):
        raise GateError(what, where=name, hint="the weights are not what the optimizer gave", code=code)


def _weights(run: Run, tally: Tally, wanted: str) -> None:
    for name, weights in run[META_OPTIMIZED].profiles.items():
        tally.checked += len(weights.sleeves)
        found = faults(name, weights, run.of_portfolio.profile)
        tally.faults += [what for code, what in found if code == wanted]


def _in_cash(run: Run, tally: Tally) -> None:
    """Work out from the sleeves' own days who was left out, and whether what is left is a portfolio."""
    profile = run.of_portfolio.profile
    days = {name: rows["date"].dt.date() for (name,), rows in run[META_RETURNS].group_by("risk_profile")}
    ruined = {facts.sleeve: facts.ruined for facts in run[META_SLEEVES].accepted}
    books = {one.sleeve: run.beside(one.run_id)[WALK_RETURNS] for one in run.accepted}
    for name, told in run[META_OPTIMIZED].profiles.items():
        last = days[name].sort()[-profile.train :]
        out = set()
        for sleeve, table in books.items():
            own = table.filter(pl.col("risk_profile") == name, pl.col("date").cast(pl.Date).is_in(last.implode()))
            mean = math.fsum(own["gross"]) / max(1, own.height)
            tally.expect(near(told.mean_gross.get(sleeve, -1.0), mean), f"{name}: {sleeve}: mean gross is {mean!r}")
            if mean < profile.min_gross or own["ret"].n_unique() < 2 or name in ruined[sleeve]:
                out.add(sleeve)
        if not eligibility.enough(profile, len(books) - len(out)):
            out = set(books)
        said = (
            f"{name}: left out are {', '.join(sorted(told.in_cash)) or 'none'}, not {', '.join(sorted(out)) or 'none'}"
        )
        tally.expect(set(told.in_cash) == out, said)


def _sum(run: Run, tally: Tally) -> None:
    _weights(run, tally, WEIGHT_SUM)
    for name, flat in run[FLATTENED].profiles.items():
        gross = math.fsum(coin.Gross_Weight for coin in flat.assets)
        tally.expect(near(gross + flat.cash, 1.0), f"flattened {name}: weights and cash sum to {gross + flat.cash!r}")


def _bounds(run: Run, tally: Tally) -> None:
    _weights(run, tally, BOUNDS_BREACH)


def _held(run: Run, tally: Tally) -> None:
    """Check that something is held, unless the sleeves that have weight hold nothing."""
    for name, book, flat in _pairs(run):
        reachable = _reachable(book)
        tally.expect(flat.gross > 0.0 or reachable == 0.0, f"{name} holds nothing, though its sleeves do")


def _mass(run: Run, tally: Tally) -> None:
    for name, book, flat in _pairs(run):
        for what, left, right in identities(book):
            tally.expect(near(left, right), f"{name}: {what}: {left!r} is not {right!r}")
        for what, left, right in (("gross", flat.gross, book.gross), ("net", flat.net, book.net)):
            tally.expect(near(left, right), f"{name}: the coins' {what} is {left!r}, the contributors' {right!r}")


def _pairs(run: Run) -> Iterator[tuple[str, ContributorBook, FlattenedProfile]]:
    """Yield the risk profiles that both documents have; that none is missing is another check's business."""
    for name, book in run[META_CONTRIBUTORS].profiles.items():
        if name in run[FLATTENED].profiles:
            yield name, book, run[FLATTENED].profiles[name]


def _reachable(book: ContributorBook) -> float:
    """Gross weight that the sleeves' weights buy."""
    return math.fsum(weight * book.sleeve_gross.get(sleeve, 0.0) for sleeve, weight in book.sleeve_weight.items())


def identities(book: ContributorBook) -> list[tuple[str, float, float]]:
    """Return the identities of one risk profile, as words and the two sides that must be equal."""
    given = _reachable(book)
    parts = math.fsum(part.Weight for part in book.contributors)
    held = math.fsum(part.Held for part in book.contributors)
    whole = [
        ("sleeve weight x sleeve gross = gross before netting", given, book.before_netting),
        ("contributors = gross before netting", parts, book.before_netting),
        ("gross before netting - concentration = gross", book.before_netting - book.concentration_cash, book.gross),
        ("contributors held = gross", held, book.gross),
        ("net + netted = gross", book.abs_net + book.netted, book.gross),
        ("gross + cash = 1", book.gross + book.cash, 1.0),
        (
            "cash = sleeves' cash + unallocated + concentration",
            book.sleeve_cash + book.unallocated + book.concentration_cash,
            book.cash,
        ),
    ]
    coins = [(f"{coin.Symbol}: net + netted = gross", abs(coin.Net) + coin.Netted, coin.Gross) for coin in book.coins]
    sides = [(f"{coin.Symbol}: long + short = gross", coin.Long + coin.Short, coin.Gross) for coin in book.coins]
    return whole + coins + sides


def _concentration(run: Run, tally: Tally) -> None:
    limit = run.of_portfolio.profile.max_coin
    told = {(entry.body["values"].get("risk_profile"), entry.body["values"].get("symbol")) for entry in _cuts(run)}
    for name, flat in run[FLATTENED].profiles.items():
        for coin in flat.assets:
            what = f"{name}: {coin.Symbol} holds {coin.Gross_Weight!r}, the limit is {limit!r}"
            tally.expect(coin.Gross_Weight <= limit + TOLERANCE and abs(coin.Net_Weight) <= limit + TOLERANCE, what)
    for name, book in run[META_CONTRIBUTORS].profiles.items():
        cut = math.fsum(row.To_Cash for row in book.coins)
        tally.expect(near(cut, book.concentration_cash), f"{name}: the cuts of coins are {cut!r} in sum")
        for row in book.coins:
            what = f"{name}: {row.Symbol} was cut, and no event says so"
            tally.expect(row.To_Cash <= 0.0 or (name, row.Symbol) in told, what)


def _cuts(run: Run) -> list[Any]:
    events = [entry for entry in run.current if entry.kind == "event"]
    return [entry for entry in events if entry.body.get("code") == CONCENTRATION]


CHECKS: tuple[Family, ...] = (
    same("META_MISSING_ARTIFACTS", check_artifacts),
    same("META_LEDGER_BROKEN", check_ledger),
    same("META_CONTRACT_FAILED", check_contracts),
    same("META_HASH_MISMATCH", check_hashes),
    same("META_NOT_REPLAYABLE", _replayable),
    same(eligibility.SLEEVE_INVALID, _sleeves),
    same("META_CALENDAR", _calendar),
    same("META_SIGN_TEST_PRE", _sign("pre_opt", SIGN_PRE)),
    same(eligibility.PROFILE_MISSING, _profiles),
    same("META_SLEEVE_IN_CASH", _in_cash),
    same(WEIGHT_SUM, _sum),
    same(BOUNDS_BREACH, _bounds),
    same("META_ALL_CASH", _held),
    same("META_MASS", _mass),
    same(CONCENTRATION, _concentration),
    same("META_SIGN_TEST_POST", _sign("post_opt", SIGN_POST)),
)
"""Code and check, in order."""
