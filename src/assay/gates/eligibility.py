"""Which runs may be sleeves: sealed, verified, valid, young enough, of one lake and one calendar, and no cycle.

Every refusal has a code and a reason. Ages are measured between the decisions' instants, never by the clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.base.domain import DAY, format_instant, parse_as_of
from assay.base.errors import AssayError, RunFailed
from assay.runs.artifacts import LEDGER, MANIFEST, STATUS
from assay.runs.documents import AtomicValidation, Pin, Refusal, SleeveDirection, SleeveFacts, as_plain
from assay.runs.request import pin
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings.model import MetaProfile
from assay.sources.acceptance import NOTHING_ACCEPTED, RUIN, Acceptance, offer, ruin_state

SLEEVE_MISSING = "META_SLEEVE_MISSING"
SLEEVE_UNSEALED = "META_SLEEVE_UNSEALED"
SLEEVE_HASH_MISMATCH = "META_SLEEVE_HASH_MISMATCH"
SLEEVE_INVALID = "META_SLEEVE_INVALID"
SLEEVE_RUINED = "META_SLEEVE_RUINED"
SLEEVE_STALE = "META_SLEEVE_STALE"
SLEEVE_FUTURE = "META_SLEEVE_FUTURE"
SLEEVE_OTHER_PROFILE = "META_SLEEVE_OTHER_PROFILE"
SLEEVE_OTHER_SETTINGS = "META_SLEEVE_OTHER_SETTINGS"
LAKE_MISMATCH = "META_LAKE_MISMATCH"
CALENDAR_MISMATCH = "META_CALENDAR_MISMATCH"
PROFILE_MISSING = "META_PROFILE_MISSING"
CYCLE = "META_CYCLE"
TOO_FEW_SLEEVES = "META_TOO_FEW_SLEEVES"


class Refused(Exception):  # noqa: N818 - an outcome of one sleeve, caught where it is judged
    """A run may not be a sleeve."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Terms:
    """What every sleeve of one portfolio must agree with.

    Attributes
    ----------
    runs : Path
        Folder of runs; the registry lies in it.
    profile : MetaProfile
    as_of : datetime
        Instant of the portfolio's decision.
    lake : str
        Lake folder relative to the home folder.
    accept : Acceptance
        Ruined sleeves that are taken all the same.
    """

    runs: Path
    profile: MetaProfile
    as_of: dt.datetime
    lake: str
    accept: Acceptance = NOTHING_ACCEPTED


Validate = Callable[[Run], AtomicValidation]


def examine(terms: Terms, one: Pin, validate: Validate | None = None) -> SleeveFacts | Refusal:
    """Judge one pinned sleeve.

    Parameters
    ----------
    terms : Terms
    one : Pin
        The sleeve as the manifest has it.
    validate : callable, optional
        Validates its artifacts again. A sleeve that was accepted once and whose bytes are still those of its pin need
        not be: the same bytes get the same verdict.

    Returns
    -------
    SleeveFacts or Refusal
        The refusal names the first reason, in the order: missing, unsealed, bytes, verdict, cycle, profile, lake,
        calendar, age, ruin.
    """
    try:
        return _accept(terms, one, validate)
    except Refused as refused:
        return Refusal(sleeve=one.sleeve, run_id=one.run_id, code=refused.code, reason=refused.reason)
    except AssayError as error:
        reason = f"cannot be read: {error.what}"
        return Refusal(sleeve=one.sleeve, run_id=one.run_id, code=SLEEVE_INVALID, reason=reason)


def _accept(terms: Terms, one: Pin, validate: Validate | None) -> SleeveFacts:
    run = Run(terms.runs / one.run_id)
    checked = _check_seal(run.folder, one) + _check_verdict(run, validate)
    for leaf, below in leaves(run, one, (terms.profile.name,)):
        if leaf.run_id != one.run_id:
            checked += _check_seal(below.folder, leaf)
    manifest = run[MANIFEST]
    _check_terms(terms, one, manifest)
    ruined = _check_ruin(terms, run)
    as_of = parse_as_of(manifest["as_of"])
    return SleeveFacts(
        sleeve=one.sleeve,
        run_id=one.run_id,
        head=one.head,
        seal=one.seal,
        as_of=format_instant(as_of),
        age_days=(terms.as_of - as_of) / DAY,
        direction=_direction(manifest),
        is_meta=run.kind == "meta",
        lake=manifest["lake"]["folder"],
        lake_head=int(manifest["lake"].get("head", 0)),
        ruined=ruined,
        checked=checked,
    )


def _check_seal(run: Path, one: Pin) -> int:
    """Check that a run is there, sealed, whole, and the one that was pinned; return how much was compared."""
    if not one.run_id or not (run / LEDGER).is_file():
        raise Refused(SLEEVE_MISSING, f"there is no run of {one.sleeve}")
    verdict = verify(run, registry=run.parent / "registry.jsonl")
    if not verdict.sealed or not one.head:
        raise Refused(SLEEVE_UNSEALED, f"{run.name} is not sealed: it failed or has not finished")
    if not verdict.ok:
        raise Refused(SLEEVE_HASH_MISMATCH, f"{run.name} is broken: {verdict.problems[0]}")
    now = pin(run.parent, one.sleeve, run.name)
    if now != one:
        raise Refused(SLEEVE_HASH_MISMATCH, f"{run.name} is not what was pinned: its head or seal differs")
    # Not the registry's lines: later runs add some, and a replay must count the same.
    return sum(count for name, count in verdict.checked.items() if name != "registry_lines")


def _check_verdict(run: Run, validate: Validate | None) -> int:
    """Check that the run says that it is valid, and that its artifacts still agree; return how much was compared."""
    state = str(run[STATUS].get("state"))
    if state != "VALID":
        raise Refused(SLEEVE_INVALID, f"{run.folder.name} ended {state}")
    try:
        run.check_format()
    except RunFailed as error:
        raise Refused(SLEEVE_INVALID, f"{run.folder.name}: {error.code}: {error.what}") from None
    if validate is None:
        return 1
    again = validate(run)
    failed = [check.code for check in again.checks if not check.ok]
    if failed:
        raise Refused(SLEEVE_INVALID, f"{run.folder.name} is not valid: {', '.join(failed)}")
    return sum(check.checked for check in again.checks)


def _check_terms(terms: Terms, one: Pin, manifest: dict[str, Any]) -> None:
    profile = manifest["profile"]
    if profile["name"] != one.sleeve:
        raise Refused(SLEEVE_OTHER_PROFILE, f"{one.run_id} is of {profile['name']}, not of {one.sleeve}")
    if manifest["lake"]["folder"] != terms.lake:
        raise Refused(LAKE_MISMATCH, f"{one.run_id} read {manifest['lake']['folder']}, the portfolio {terms.lake}")
    interval = profile.get("interval", "1d")
    if interval != "1d":
        raise Refused(CALENDAR_MISMATCH, f"{one.run_id} has bars of {interval}, not of a day")
    offered = profile.get("risk_profiles") or profile["risk"]["risk_profiles"]
    lacking = sorted(set(terms.profile.risk_profiles) - set(offered))
    if lacking:
        raise Refused(PROFILE_MISSING, f"{one.run_id} was not optimized for {', '.join(lacking)}")
    age = terms.as_of - parse_as_of(manifest["as_of"])
    if age > terms.profile.max_age_days * DAY:
        what = (
            f"{one.run_id} is {age / DAY:g} days older than the portfolio; {terms.profile.max_age_days:g} are allowed"
        )
        raise Refused(SLEEVE_STALE, what)
    if age < dt.timedelta(0):
        raise Refused(SLEEVE_FUTURE, f"{one.run_id} knows {-age / DAY:g} days that the portfolio does not")


def _check_ruin(terms: Terms, run: Run) -> list[str]:
    """Refuse a sleeve whose headline was ruined, unless it is accepted; return risk profiles barred by their own."""
    document, headline = run.books, run.manifest.profile.headline
    barred = document.barred(headline)
    wanted: list[str] = [name for name in terms.profile.risk_profiles if name in barred]
    if not wanted:
        return []
    first = headline if headline in document.ruined else wanted[0]
    what, state = f"{first} {document.ruin[first].told}", ruin_of(run)
    if terms.accept.takes(RUIN, state, f"{run.folder.name}: {what}"):
        return []
    if headline in document.ruined:
        hint = offer(f"meta run {terms.profile.name}", RUIN, state)
        raise Refused(SLEEVE_RUINED, f"{run.folder.name}: RUIN: {what}; {hint}")
    return wanted


def ruin_of(run: Run) -> str:
    """Return the digest by which a sleeve's ruin is accepted."""
    return ruin_state(run.folder.name, as_plain(run.books)["ruin"])


def leaves(run: Run, one: Pin, above: tuple[str, ...]) -> Iterator[tuple[Pin, Run]]:
    """Yield the sleeves behind a sleeve, itself included, the deepest last.

    Parameters
    ----------
    run : Run
        Any run of the home.
    one : Pin
        Sleeve to go down from.
    above : tuple of str
        Profiles on the way from the portfolio to it.

    Raises
    ------
    Refused
        If a profile contains itself, on whatever way.
    """
    if one.sleeve in above:
        raise Refused(CYCLE, f"{' holds '.join((*above, one.sleeve))}: a portfolio cannot hold itself")
    sleeve = run.beside(one.run_id)
    yield one, sleeve
    for below in sleeve.accepted if sleeve.kind == "meta" else ():
        yield from leaves(run, below, (*above, one.sleeve))


def _direction(manifest: dict[str, Any]) -> SleeveDirection:
    found = manifest["profile"].get("direction")
    return found if found in ("LONG", "SHORT") else "MIXED"


def enough(profile: MetaProfile, n_sleeves: int) -> bool:
    """Whether so many sleeves make a portfolio.

    >>> enough(MetaProfile(name="m", sleeves=("a", "b")), 1)
    False
    >>> enough(MetaProfile(name="m", sleeves=("a",), allow_single=True), 1)
    True
    """
    return n_sleeves >= (1 if profile.allow_single else max(2, profile.min_sleeves))


def choose(
    terms: Terms, sleeve: str, settings: dict[str, Any] | None, names: Collection[str]
) -> tuple[Pin | None, list[Refusal]]:
    """Find the latest run of a sleeve that may be taken.

    Parameters
    ----------
    terms : Terms
        Its ``as_of`` must be the run's.
    sleeve : str
        Profile.
    settings : dict, optional
        The profile as it is configured now; a run with other settings is another portfolio. None does not compare.
    names : collection of str
        Run ids, the latest first.

    Returns
    -------
    pin : Pin or None
    passed_over : list of Refusal
        Later runs of the sleeve on that date which were not taken. Runs of other dates or lakes are not named: they
        answer another question.
    """
    passed: list[Refusal] = []
    for name in names:
        run = Run(terms.runs / name)
        manifest = run[MANIFEST] if run.has(MANIFEST) else {}
        if not _is_of(terms, sleeve, manifest):
            continue
        if settings is not None and manifest["profile"] != settings:
            reason = f"{name} was run with other settings than are configured now"
            passed.append(Refusal(sleeve=sleeve, run_id=name, code=SLEEVE_OTHER_SETTINGS, reason=reason))
            continue
        one = pin(terms.runs, sleeve, name)
        try:
            _check_seal(run.folder, one)
        except Refused as refused:
            passed.append(Refusal(sleeve=sleeve, run_id=name, code=refused.code, reason=refused.reason))
            continue
        return one, passed
    return None, passed


def _is_of(terms: Terms, sleeve: str, manifest: dict[str, Any]) -> bool:
    return (
        manifest.get("profile", {}).get("name") == sleeve
        and manifest.get("lake", {}).get("folder") == terms.lake
        and manifest.get("as_of") == format_instant(terms.as_of)
    )
