"""Meta validation: every artifact of a meta-portfolio against the others and against its sleeves' runs.

Each check counts what it compared; a check that compared nothing has failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import TOLERANCE
from assay.base.domain import DAY, parse_as_of
from assay.base.errors import AssayError, GateError
from assay.gates import eligibility
from assay.gates import portfolio_signs as signs
from assay.runs import artifacts as layout
from assay.runs.documents import (
    Alignment,
    Analysis,
    AtomicValidation,
    Check,
    ContributorBook,
    Contributors,
    Document,
    Flattened,
    FlattenedProfile,
    MetaOptimized,
    MetaProfileWeights,
    Refusal,
    SignTest,
    Sleeves,
)
from assay.runs.ledger import check_chain
from assay.runs.request import MetaRequest
from assay.runs.run import Evidence, Tally, days
from assay.runs.verify import Story
from assay.settings.model import MetaProfile

MISSING_ARTIFACTS = "META_MISSING_ARTIFACTS"
LEDGER_BROKEN = "META_LEDGER_BROKEN"
HASH_MISMATCH = "META_HASH_MISMATCH"
NOT_REPLAYABLE = "META_NOT_REPLAYABLE"
CALENDAR = "META_CALENDAR"
SIGN_PRE = "META_SIGN_TEST_PRE"
SIGN_POST = "META_SIGN_TEST_POST"
MASS = "META_MASS"
ALL_CASH = "META_ALL_CASH"
WEIGHT_SUM = "META_WEIGHT_SUM"
BOUNDS_BREACH = "META_BOUNDS_BREACH"
CONCENTRATION = "META_CONCENTRATION"

BEFORE = 9
"""Steps that must have ended well before this gate."""
LAYERS = ("L0", "L3", "L4")
GATES = {2: "eligibility", 4: "sign_test_pre_opt", 7: "sign_test_post_opt"}

DOCUMENTS: Mapping[str, type[Document]] = {
    layout.META_SLEEVES: Sleeves,
    layout.META_ALIGNMENT: Alignment,
    layout.SIGN_PRE: SignTest,
    layout.META_OPTIMIZED: MetaOptimized,
    layout.META_CONTRIBUTORS: Contributors,
    layout.FLATTENED: Flattened,
    layout.SIGN_POST: SignTest,
    layout.META_ANALYSIS: Analysis,
}
TABLES = (layout.META_RETURNS, layout.WALK_RETURNS, layout.WALK_WEIGHTS, layout.WALK_DECISIONS)
ARTIFACTS: tuple[str, ...] = tuple(str(row) for row in layout.evidence("meta") if row != layout.LEDGER)
"""What steps 1 to 9 leave."""


@dataclass
class MetaEvidence(Evidence):
    """The directory of a meta-portfolio, read lazily."""

    @cached_property
    def request(self) -> MetaRequest:
        """What the manifest records; IntegrityError if it is incomplete."""
        return MetaRequest.of(self.run_dir.parent.parent, self.run_dir)

    @property
    def optimized(self) -> MetaOptimized:
        """Weights of sleeves."""
        return self.document(MetaOptimized, layout.META_OPTIMIZED)

    @property
    def contributors(self) -> Contributors:
        """Contributors and netting."""
        return self.document(Contributors, layout.META_CONTRIBUTORS)

    @property
    def flattened(self) -> Flattened:
        """Coins."""
        return self.document(Flattened, layout.FLATTENED)

    @property
    def sleeves(self) -> Sleeves:
        """Sleeves that were accepted and refused."""
        return self.document(Sleeves, layout.META_SLEEVES)


CheckFunction = Callable[[MetaEvidence, Tally], str | None]


def validate_meta(run_dir: Path) -> AtomicValidation:
    """Validate the directory of a meta-portfolio, steps 1 to 9 done; its sleeves lie beside it.

    Returns
    -------
    AtomicValidation
        One check for each code; ``ok`` only if each is ok and compared something.
    """
    evidence = MetaEvidence(run_dir)
    checks = [_run(evidence, code, check) for code, check in _CHECKS]
    try:
        name = evidence.request.profile.name
    except AssayError:
        name = "unknown"
    return AtomicValidation(run_id=run_dir.name, profile=name, ok=all(check.ok for check in checks), checks=checks)


def _run(evidence: MetaEvidence, code: str, check: CheckFunction) -> Check:
    tally, found = Tally(), None
    try:
        found = check(evidence, tally)
    except AssayError as error:
        tally.faults.append(f"cannot be checked: {error.what} [{Path(error.where).name}]")
    except eligibility.Refused as refused:
        tally.faults.append(refused.reason)
        found = refused.code
    if not tally.checked and not tally.faults:
        tally.faults.append("nothing was checked")
    ok = not tally.faults
    words = "; ".join(tally.faults[:3]) + (f"; and {len(tally.faults) - 3} more" if len(tally.faults) > 3 else "")
    return Check(code=code if ok else found or code, ok=ok, checked=tally.checked, what="ok" if ok else words)


# --- papers -----------------------------------------------------------------------------------------------------------


def _artifacts(evidence: MetaEvidence, tally: Tally) -> None:
    for name in (str(layout.LEDGER), *ARTIFACTS):
        tally.expect((evidence.run_dir / name).is_file(), f"{name} is missing")
    for name, kind in DOCUMENTS.items():
        evidence.document(kind, name)
    for name in TABLES:
        evidence.table(name)


def _ledger(evidence: MetaEvidence, tally: Tally) -> None:
    tally.checked += check_chain(evidence.run_dir / layout.LEDGER)
    entries = evidence.ledger
    tally.expect(entries[0].body.get("run_id") == evidence.run_dir.name, "the ledger is another run's")
    outcomes = {entry.body["step"]: entry.body for entry in entries if entry.kind == "outcome"}
    for number, name in enumerate(layout.STEP_NAMES["meta"][:BEFORE], start=1):
        body = outcomes.get(number, {})
        good = body.get("state") == "ok" and body.get("name") == name
        tally.expect(good, f"step {number} {name} has not ended well")
    said = [entry for entry in evidence.current if entry.kind in ("contract", "gate")]
    said = [entry for entry in said if entry.body.get("step") in range(BEFORE + 1)]
    for entry in said:
        what = f"{entry.kind} {entry.body.get('schema', entry.body.get('gate'))} of step {entry.body.get('step')}"
        tally.expect(bool(entry.body.get("checked")), f"{what} checked nothing")
        tally.expect(entry.body.get("ok", True) is True, f"{what} did not pass")
    layers = {str(entry.body.get("layer"))[:2] for entry in said if entry.kind == "contract"}
    for layer in LAYERS:
        tally.expect(layer in layers, f"no contract of {layer} was checked")
    gates = {entry.body.get("step"): entry.body.get("gate") for entry in said if entry.kind == "gate"}
    for step, gate in GATES.items():
        tally.expect(gates.get(step) == gate, f"step {step} passed no gate {gate}")


def _hashes(evidence: MetaEvidence, tally: Tally) -> None:
    story = Story(evidence.ledger)
    recorded = {
        path: digest for step, written in story.steps.items() if step <= BEFORE for path, digest in written.items()
    }
    for name in ARTIFACTS:
        tally.expect(name in recorded, f"{name} was recorded by no step")
    for name, digest in sorted(recorded.items()):
        path = evidence.run_dir / name
        tally.expect(path.is_file() and files.sha256_file(path) == digest, f"{name} is not what its step recorded")


def _replayable(evidence: MetaEvidence, tally: Tally) -> None:
    request = evidence.request
    tally.expect(request.run.name == evidence.run_dir.name, "the manifest is another run's")
    tally.expect(bool(evidence.json(layout.MANIFEST).get("environment")), "the manifest has no environment")
    accepted = {facts.sleeve for facts in evidence.sleeves.accepted}
    for one in request.pins:
        pinned = bool(one.run_id and one.head and one.seal)
        tally.expect(pinned or one.sleeve not in accepted, f"{one.sleeve} is pinned to no sealed run")


# --- sleeves ----------------------------------------------------------------------------------------------------------


def _sleeves(evidence: MetaEvidence, tally: Tally) -> str | None:
    """Judge every accepted sleeve again, as it is now."""
    request = evidence.request
    terms = eligibility.Terms(request.runs, request.profile, request.as_of, request.lake)
    pins = {one.sleeve: one for one in request.pins}
    code = None
    for facts in evidence.sleeves.accepted:
        one = pins.get(facts.sleeve)
        same = one is not None and (one.run_id, one.head, one.seal) == (facts.run_id, facts.head, facts.seal)
        tally.expect(same, f"{facts.sleeve} is not the run that the manifest pins")
        if one is None:
            continue
        again = eligibility.examine(terms, one, revalidated=False)
        tally.expect(not isinstance(again, Refusal), f"{facts.sleeve}: {getattr(again, 'reason', '')}")
        if isinstance(again, Refusal):
            code = code or again.code
    known = {facts.sleeve for facts in evidence.sleeves.accepted} | {one.sleeve for one in evidence.sleeves.refused}
    for sleeve in request.profile.sleeves:
        tally.expect(sleeve in known, f"{sleeve} was neither accepted nor refused")
    return code


def _calendar(evidence: MetaEvidence, tally: Tally) -> None:
    request = evidence.request
    as_of = evidence.json(layout.MANIFEST)["as_of"]
    instant = parse_as_of(as_of)
    last = np.datetime64((instant - DAY).replace(tzinfo=None), "D")
    for name, kind in DOCUMENTS.items():
        if "as_of" in kind.model_fields:
            told = evidence.json(name)["as_of"]
            tally.expect(told == as_of, f"{name} is as of {told}, the run as of {as_of}")
    for name in (layout.META_RETURNS, layout.WALK_RETURNS):
        for (risk_profile,), rows in evidence.table(name).group_by("risk_profile", maintain_order=True):
            found = days(rows.sort("date")["date"], name)
            daily = bool((np.diff(found) == np.timedelta64(1, "D")).all()) and bool((found <= last).all())
            tally.checked += len(found)
            tally.expect(daily, f"{name} {risk_profile} is not one row for each day up to {last}")
    shared = evidence.table(layout.META_RETURNS)
    for name in request.profile.risk_profiles:
        n_days = shared.filter(pl.col("risk_profile") == name).height
        wanted = max(0, n_days - request.profile.train)
        walked = evidence.table(layout.WALK_RETURNS).filter(pl.col("risk_profile") == name).height
        what = f"{name}: {walked} days walked forward of {wanted} that come after the first {request.profile.train}"
        tally.expect(walked == wanted, what)


def _sign(stage: signs.Stage, name: str) -> CheckFunction:
    def check(evidence: MetaEvidence, tally: Tally) -> str | None:
        recorded = evidence.document(SignTest, name)
        again = signs.meta_sign_test(evidence.run_dir, stage)
        tally.checked += again.values_compared + again.weights_compared
        tally.expect(recorded.ok and recorded.stage == stage and not recorded.violations, "the test did not pass")
        tally.expect(again == recorded, "the same test gives another result now")
        tally.faults += [f"{one.where}: {one.what}" for one in again.violations]
        return again.violations[0].code if again.violations else None

    return check


# --- weights ----------------------------------------------------------------------------------------------------------


def _profiles(evidence: MetaEvidence, tally: Tally) -> None:
    documents: dict[str, Mapping[str, object]] = {
        layout.META_OPTIMIZED: evidence.optimized.profiles,
        layout.META_CONTRIBUTORS: evidence.contributors.profiles,
        layout.FLATTENED: evidence.flattened.profiles,
        layout.META_ALIGNMENT: evidence.document(Alignment, layout.META_ALIGNMENT).profiles,
        layout.META_ANALYSIS: evidence.document(Analysis, layout.META_ANALYSIS).profiles,
    }
    for place, found in documents.items():
        for name in evidence.request.profile.risk_profiles:
            tally.expect(name in found, f"{name} is not in {place}")
    accepted = [facts.sleeve for facts in evidence.sleeves.accepted]
    for told, weights in evidence.optimized.profiles.items():
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


def _weights(evidence: MetaEvidence, tally: Tally, wanted: str) -> None:
    for name, weights in evidence.optimized.profiles.items():
        tally.checked += len(weights.sleeves)
        found = faults(name, weights, evidence.request.profile)
        tally.faults += [what for code, what in found if code == wanted]


def _sum(evidence: MetaEvidence, tally: Tally) -> None:
    _weights(evidence, tally, WEIGHT_SUM)
    for name, flat in evidence.flattened.profiles.items():
        gross = math.fsum(coin.Gross_Weight for coin in flat.assets)
        tally.expect(_near(gross + flat.cash, 1.0), f"flattened {name}: weights and cash sum to {gross + flat.cash!r}")


def _bounds(evidence: MetaEvidence, tally: Tally) -> None:
    _weights(evidence, tally, BOUNDS_BREACH)


def _held(evidence: MetaEvidence, tally: Tally) -> None:
    """Check that something is held, unless the sleeves that have weight hold nothing."""
    for name, book, flat in _pairs(evidence):
        reachable = _reachable(book)
        tally.expect(flat.gross > 0.0 or reachable == 0.0, f"{name} holds nothing, though its sleeves do")


def _mass(evidence: MetaEvidence, tally: Tally) -> None:
    for name, book, flat in _pairs(evidence):
        for what, left, right in identities(book):
            tally.expect(_near(left, right), f"{name}: {what}: {left!r} is not {right!r}")
        for what, left, right in (("gross", flat.gross, book.gross), ("net", flat.net, book.net)):
            tally.expect(_near(left, right), f"{name}: the coins' {what} is {left!r}, the contributors' {right!r}")


def _pairs(evidence: MetaEvidence) -> Iterator[tuple[str, ContributorBook, FlattenedProfile]]:
    """Yield the risk profiles that both documents have; that none is missing is another check's business."""
    for name, book in evidence.contributors.profiles.items():
        if name in evidence.flattened.profiles:
            yield name, book, evidence.flattened.profiles[name]


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


def _concentration(evidence: MetaEvidence, tally: Tally) -> None:
    limit = evidence.request.profile.max_coin
    told = {(entry.body["values"].get("risk_profile"), entry.body["values"].get("symbol")) for entry in _cuts(evidence)}
    for name, flat in evidence.flattened.profiles.items():
        for coin in flat.assets:
            what = f"{name}: {coin.Symbol} holds {coin.Gross_Weight!r}, the limit is {limit!r}"
            tally.expect(coin.Gross_Weight <= limit + TOLERANCE and abs(coin.Net_Weight) <= limit + TOLERANCE, what)
    for name, book in evidence.contributors.profiles.items():
        for row in book.coins:
            what = f"{name}: {row.Symbol} was cut, and no event says so"
            tally.expect(row.To_Cash <= 0.0 or (name, row.Symbol) in told, what)


def _cuts(evidence: MetaEvidence) -> list[Any]:
    events = [entry for entry in evidence.current if entry.kind == "event"]
    return [entry for entry in events if entry.body.get("code") == CONCENTRATION]


def _near(left: float, right: float) -> bool:
    return abs(left - right) <= TOLERANCE


_CHECKS: tuple[tuple[str, CheckFunction], ...] = (
    (MISSING_ARTIFACTS, _artifacts),
    (LEDGER_BROKEN, _ledger),
    (HASH_MISMATCH, _hashes),
    (NOT_REPLAYABLE, _replayable),
    (eligibility.SLEEVE_INVALID, _sleeves),
    (CALENDAR, _calendar),
    (SIGN_PRE, _sign("pre_opt", layout.SIGN_PRE)),
    (eligibility.PROFILE_MISSING, _profiles),
    (WEIGHT_SUM, _sum),
    (BOUNDS_BREACH, _bounds),
    (ALL_CASH, _held),
    (MASS, _mass),
    (CONCENTRATION, _concentration),
    (SIGN_POST, _sign("post_opt", layout.SIGN_POST)),
)
