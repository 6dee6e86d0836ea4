"""What an account follows: a sleeve, or a portfolio of sleeves; each decides by what a run of it decides by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import polars as pl

from assay.account.ledger import AccountLedger, Event
from assay.account.terms import AccountTerms, Kind
from assay.backtest.walk_forward import close_of
from assay.base.errors import GateError, UsageError
from assay.lake.lake import Lake
from assay.pipeline.account_decision import decide_today
from assay.pipeline.flow import stand_on
from assay.runs.artifacts import LEDGER, MANIFEST, WALK_RETURNS
from assay.runs.documents import as_plain
from assay.runs.home import Home
from assay.runs.run import Run, counted_days
from assay.settings import Catalog
from assay.settings.model import Profile, RiskProfile
from assay.sources.acceptance import RUIN, Acceptance, offer, ruin_state
from assay.sources.rules import RuleBook, rules_from_instruments

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.pipeline.flow import Foundation


@dataclass(frozen=True)
class AccountTarget:
    """What an account is to hold by today's decision: net weights of the whole, and how they came about."""

    weights: Mapping[str, float]
    record: Mapping[str, Any]


class Follower(Protocol):
    """What the step of an account asks of what it follows."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides, as the ledger pins it."""

    @property
    def account(self) -> Profile:
        """Costs, margin and tranches of the account."""

    @property
    def profiles(self) -> Sequence[Profile]:
        """Sleeves whose history is read."""

    def since(self, began: dt.date) -> dt.date:
        """Return the first day whose decisions count, for an account that begins on a day."""

    def stand_on(self, snapshot: Snapshot, panel: Market, day: dt.date) -> Foundation:
        """Pin the lake and make sure of the superset of a day."""

    def watch(self, kept: AccountLedger, panel: Market, foundation: Foundation | None, day: dt.date) -> Iterator[Event]:
        """Take what is decided on every day, whether the account has a turn or not.

        Without a foundation the day is past, and its decisions are those of a walk-forward.
        """

    def decide(self, foundation: Foundation, panel: Market, day: dt.date) -> AccountTarget:
        """Decide what the account is to hold."""

    def refuse_ruin(self, account: str, known: Sequence[str]) -> list[dict[str, str]]:
        """Refuse what was not survived, unless it is accepted, or was: then its digest is known."""


def rules_of(snapshot: Snapshot, as_of: dt.datetime) -> RuleBook | None:
    """Return the exchange's rules that hold at an instant; None where the source has none."""
    table = snapshot.instruments()
    return None if table is None else rules_from_instruments(table, as_of)


@dataclass(frozen=True)
class AccountGround:
    """What every follower stands on."""

    home: Home
    catalog: Catalog
    source: str
    lake: Lake
    accept: Acceptance

    def foundation(self, snapshot: Snapshot, panel: Market, day: dt.date) -> Foundation:
        """Pin the lake, and make sure of the superset of a day."""
        instant = close_of(np.datetime64(day))
        return stand_on(self.catalog, self.source, self.lake, snapshot, instant, panel=panel)

    def pinned(self) -> dict[str, Any]:
        """Return the settings of scanners and ratings, as manifests pin them."""
        scanners = {name: one.model_dump(mode="json") for name, one in self.catalog.scanners().items()}
        provider = self.catalog.scan().provider
        return {"scanners": scanners, "edition": self.catalog.ratings().edition, "provider": provider}


@dataclass(frozen=True)
class SleeveFollower:
    """An account that holds one sleeve."""

    ground: AccountGround
    account: Profile

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The one."""
        return (self.account,)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Profile, scanners, edition and provider."""
        return {"profile": self.account.model_dump(mode="json"), **self.ground.pinned()}

    def stand_on(self, snapshot: Snapshot, panel: Market, day: dt.date) -> Foundation:
        """Pin the lake and make sure of the superset of a day."""
        return self.ground.foundation(snapshot, panel, day)

    def since(self, began: dt.date) -> dt.date:
        """Return the account's own first day."""
        return began

    def watch(self, kept: AccountLedger, panel: Market, foundation: Foundation | None, day: dt.date) -> Iterator[Event]:
        """Take nothing: a sleeve's turns are the account's."""
        del kept, panel, foundation, day
        yield from ()

    def decide(self, foundation: Foundation, panel: Market, day: dt.date) -> AccountTarget:
        """Take the sleeve's decision as it is."""
        del panel, day
        made = decide_today(self.ground.home, self.ground.catalog, foundation, self.account)
        return AccountTarget(made.weights[self.account.headline], made.record)

    def refuse_ruin(self, account: str, known: Sequence[str]) -> list[dict[str, str]]:
        """Refuse a sleeve whose last run was ruined."""
        return refuse_ruin(self.ground, self.account.name, self.account.headline, account, known)


def refuse_ruin(
    ground: AccountGround, profile: str, headline: str, account: str, known: Sequence[str]
) -> list[dict[str, str]]:
    """Refuse a profile whose last sealed run on the same lake was not survived, unless that is or was accepted.

    Returns
    -------
    list of dict
        What was accepted now, for the ledger.

    Raises
    ------
    GateError
        ``RUIN``, with what to type.
    """
    found = ruin_of(ground, profile, headline, known)
    if found is None:
        return []
    what, state = found
    if not ground.accept.takes(RUIN, state, what):
        hint = offer(f"account {account}", RUIN, state)
        raise GateError(f"RUIN: {what}; no account follows it", where=profile, hint=hint, code=RUIN)
    return [ground.accept.used[-1]]


def ruin_of(ground: AccountGround, profile: str, headline: str, known: Sequence[str]) -> tuple[str, str] | None:
    """Say what a profile's last sealed run did not survive, and its digest; None if nothing, or if it is known."""
    run = last_run(ground, profile)
    if run is None or headline not in run.books.barred(run.manifest.profile.headline):
        return None
    told = run.books
    whose = headline if headline in told.ruined else run.manifest.profile.headline
    state = ruin_state(run.folder.name, as_plain(told)["ruin"])
    return None if state in known else (f"{whose} {told.ruin[whose].told}, in {run.folder.name}", state)


def last_run(ground: AccountGround, profile: str) -> Run | None:
    """Return the last sealed run of a profile on the account's lake, None where there is none."""
    folder = f"lake/{ground.lake.folder.name}"
    for name in reversed(ground.home.sealed(profile)):
        run = Run(ground.home.runs / name, ground.home.runs)
        if (run.folder / MANIFEST).is_file() and (run.folder / LEDGER).is_file() and run.manifest.lake == folder:
            return run
    return None


def prior(ground: AccountGround, terms: AccountTerms) -> dict[str, Any]:
    """Return how the last sealed run of the same settings went, day by day, for an account to be judged by.

    The headline and its own days do not count as settings; a run of other costs, caps or tranches is another book.
    """
    run = last_run(ground, terms.portfolio)
    if run is None:
        return {}
    wanted = terms.settings["meta" if terms.kind == "portfolio" else "profile"]
    if _book(run.manifest.profile.model_dump(mode="json")) != _book(wanted):
        return {}
    days = counted_days(run[WALK_RETURNS]).filter(pl.col("risk_profile") == terms.headline).sort("date")
    returns = [repr(value) for value in days["ret"].to_list()]
    return {"run": run.folder.name, "days": days["date"].cast(pl.String).to_list(), "returns": returns}


def _book(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a profile's settings which risk profile and which days were looked at."""
    book = {name: value for name, value in settings.items() if name != "headline"}
    if "walk_forward" in book:
        walk = {name: value for name, value in book["walk_forward"].items() if name not in ("start", "days")}
        book["walk_forward"] = {**walk, "tranches": walk["tranches"] or walk["step"]}
    return book


def settled(terms: AccountTerms, profile: Profile) -> Profile:
    """Return a profile with the headline and the tranches of an account."""
    walk = profile.walk_forward.model_copy(update={"tranches": terms.tranches})
    headline = cast("RiskProfile", terms.headline)
    return profile.model_copy(update={"headline": headline, "walk_forward": walk})


def kind_of(catalog: Catalog, portfolio: str) -> Kind:
    """Say whether a name is of a profile or of a portfolio of sleeves.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if portfolio in catalog.names("meta"):
        return "portfolio"
    if portfolio in catalog.names("profiles"):
        return "sleeve"
    hint = "list them with: assay profiles list"
    raise UsageError(f"no profile or portfolio {portfolio!r}", where="--portfolio", hint=hint)
