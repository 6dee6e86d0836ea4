"""The checks that validation makes of a portfolio: its artifacts against each other and against its sleeves' runs."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from assay.base.constants import TOLERANCE
from assay.base.domain import UTC
from assay.base.errors import GateError
from assay.gates import eligibility
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
    WALK_DECISIONS,
    WALK_RETURNS,
    WALK_WEIGHTS,
    Artifact,
)
from assay.runs.documents import ContributorBook, FlattenedProfile, MetaProfileWeights, Refusal, SignTest
from assay.runs.run import Run, counted_days
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
    began = run[WALK_DECISIONS]["fill_date"].min()
    for name in profile.risk_profiles:
        mine = pl.col("risk_profile") == name
        shared = run[META_RETURNS].filter(mine)["date"].dt.date()
        walked = run[WALK_RETURNS].filter(mine)["date"].cast(pl.Date).sort().to_list()
        due = shared.filter(shared >= began).sort().to_list() if isinstance(began, dt.date) else []
        tally.expect(walked == due, f"{name}: {len(walked)} days walked forward, and {len(due)} follow the first order")


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


def _walk(run: Run, tally: Tally) -> None:
    """Work out every day's decision again: who takes part, within what bounds, and what that makes of the coins."""
    profile, accepted = run.of_portfolio.profile, run[META_SLEEVES].accepted
    sleeves = {one.sleeve: run.beside(one.run_id) for one in run.accepted}
    ruined = {facts.sleeve: facts.ruined for facts in accepted}
    turns = [
        dict(one[WALK_DECISIONS].drop_nulls("tranche").select("as_of", "tranche").iter_rows())
        for one in sleeves.values()
    ]
    held = {sleeve: _coins(one) for sleeve, one in sleeves.items()}
    made, told = _coins(run), {(at, name): rest for at, name, *rest in _blends(run, list(sleeves))}
    for name in profile.risk_profiles:
        days = {sleeve: _days(one, name) for sleeve, one in sleeves.items()}
        shared = sorted(set.intersection(*(set(own) for own in days.values())))
        for known, after in enumerate(shared[profile.train :], start=profile.train):
            at = dt.datetime(after.year, after.month, after.day, tzinfo=UTC)
            where = f"{name} {after}"
            tranches = {own.get(at) for own in turns}
            found = told.pop((at, name), None)
            if None in tranches or found is None:
                tally.expect(None in tranches and found is None, f"{where}: decided is not what sleeves decided")
                continue
            tranche, *weights = found
            tally.expect(tranches == {tranche}, f"{where}: it is the turn of tranche {tranches}")
            given = dict(zip(sleeves, weights, strict=True))
            window = shared[known - profile.train : known]
            on = {
                sleeve
                for sleeve, own in days.items()
                if name not in ruined[sleeve] and _takes_part([own[day] for day in window], profile.min_gross)
            }
            on = on if eligibility.enough(profile, len(on)) else set()
            low, high = bounds(len(on), profile) if on else (0.0, 0.0)
            good = all(
                low - TOLERANCE <= weight <= high + TOLERANCE if sleeve in on else weight == 0.0
                for sleeve, weight in given.items()
            )
            good = good and math.fsum(weights) <= 1.0 + TOLERANCE
            tally.expect(good, f"{where}: the weights of sleeves are {given!r}, in use are {sorted(on)}")
            wanted = _netted(given, {sleeve: held[sleeve].get((at, name), {}) for sleeve in on}, profile.max_coin)
            have = made.pop((at, name), {})
            same = all(near(have.get(coin, 0.0), wanted.get(coin, 0.0)) for coin in wanted.keys() | have.keys())
            tally.expect(same, f"{where}: coins are not the sleeves' coins, times weights, cut and netted")
    left = {key for key, coins in made.items() if any(coins.values())} | told.keys()
    tally.expect(not left, f"{len(left)} decisions are of days on which not all sleeves decided")


Key = tuple[dt.datetime, str]


def _coins(run: Run) -> dict[Key, dict[str, float]]:
    found: dict[Key, dict[str, float]] = {}
    for at, name, symbol, weight in (
        run[WALK_WEIGHTS].select("as_of", "risk_profile", "symbol", "net_weight").iter_rows()
    ):
        found.setdefault((at, name), {})[symbol] = weight
    return found


def _blends(run: Run, sleeves: list[str]) -> Iterator[tuple[Any, ...]]:
    wanted = ["as_of", "risk_profile", "tranche", *(f"weight {sleeve}" for sleeve in sleeves)]
    return iter(run[WALK_DECISIONS].select(wanted).rows())


def _days(run: Run, name: str) -> dict[dt.date, tuple[float, float]]:
    own = counted_days(run[WALK_RETURNS]).filter(pl.col("risk_profile") == name)
    return {day: (ret, gross) for day, ret, gross in own.select("date", "ret", "gross").iter_rows()}


def _takes_part(days: list[tuple[float, float]], least: float) -> bool:
    mean = math.fsum(gross for _, gross in days) / len(days)
    return len({ret for ret, _ in days}) > 1 and mean > 0.0 and mean >= least * (1.0 - TOLERANCE)


def _netted(given: Mapping[str, float], held: Mapping[str, Mapping[str, float]], limit: float) -> dict[str, float]:
    parts: dict[str, list[float]] = {}
    for sleeve, coins in held.items():
        for coin, weight in coins.items():
            parts.setdefault(coin, []).append(given[sleeve] * weight)
    size = {coin: math.fsum(map(abs, own)) for coin, own in parts.items()}
    return {coin: math.fsum(own) * (limit / size[coin] if size[coin] > limit else 1.0) for coin, own in parts.items()}


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
    same("META_WALK", _walk),
    same("META_RUIN", check_ruin),
    same("META_BOOK", check_book),
)
"""Code and check, in order."""
