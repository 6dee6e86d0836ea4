"""An account that follows a portfolio of sleeves, decided as its walk-forward decides.

Each sleeve lives in a tranche book of its own, which is no money but says how the sleeve went: its returns of the last
days decide what the sleeve is worth today. Its decisions before the account's first day come from the walk-forward's
machinery, once; those since then stand in the ledger, so that a day costs one decision a sleeve.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from assay.account.ledger import AccountLedger, Event
from assay.account.terms import AccountTerms
from assay.backtest.decision import decide
from assay.backtest.preservation import QUARTER
from assay.backtest.walk_forward import (
    DatedTargets,
    Grid,
    close_of,
    decide_row,
    due,
    hold_book,
    prices_of,
)
from assay.base.errors import GateError, UsageError
from assay.gates import eligibility
from assay.gates import portfolio as gates
from assay.lake.lake import Lake
from assay.market.holes import MARKET
from assay.meta import alignment, allocate, walk
from assay.pipeline.account_decision import decide_today
from assay.pipeline.account_follow import (
    AccountGround,
    AccountTarget,
    Follower,
    SleeveFollower,
    prior,
    refuse_ruin,
    ruin_of,
    settled,
)
from assay.runs.home import Home
from assay.settings import Catalog
from assay.settings.model import MetaProfile, Profile, RiskProfile
from assay.sources import open_source
from assay.sources.acceptance import RUIN, Acceptance, offer

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.pipeline.flow import Foundation
    from assay.risk.regime import RegimeName
    from assay.runs.documents import SleeveDirection

SLEEVE = "sleeve"
"""Kind of a line that says what a sleeve decided."""


@dataclass(frozen=True)
class SleeveTurn:
    """What a sleeve decided on a day, as the engine takes it."""

    weights: Mapping[str, float]
    regime: str | None
    headline: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    loss_makers: Sequence[str] = ()
    choice: Any = None

    @property
    def net(self) -> Mapping[str, Mapping[str, float]]:
        """By risk profile."""
        return {self.headline: self.weights}

    @property
    def unguarded(self) -> Mapping[str, Mapping[str, float]]:
        """The same: no book is held without a guard."""
        return self.net

    def document(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        return {"weights": {name: repr(weight) for name, weight in sorted(self.weights.items())}, "regime": self.regime}

    @classmethod
    def read(cls, body: Mapping[str, Any], headline: str) -> SleeveTurn:
        """Read it from the ledger."""
        weights = {name: float(weight) for name, weight in body["weights"].items()}
        return cls(weights, body["regime"], headline)


@dataclass(frozen=True)
class PortfolioFollower:
    """An account that holds a portfolio of sleeves."""

    ground: AccountGround
    profile: MetaProfile
    sleeves: Mapping[str, Profile]
    tranches: int
    known: dict[str, dict[dt.date, SleeveTurn]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """Sleeves whose own last run was ruined: they are weighed with nothing."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The sleeves'."""
        return tuple(self.sleeves.values())

    @cached_property
    def account(self) -> Profile:
        """Costs, margin and tranches of the portfolio's book of coins."""
        return walk.account_of(self.sleeves, self.profile)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Portfolio, sleeves, scanners, edition and provider."""
        sleeves = {name: one.model_dump(mode="json") for name, one in self.sleeves.items()}
        return {"meta": self.profile.model_dump(mode="json"), "sleeves": sleeves, **self.ground.pinned()}

    def since(self, began: dt.date) -> dt.date:
        """Return the day from which sleeves are lived, so that as many days as a decision reads are counted by then."""
        return began - dt.timedelta(days=self.profile.train + self.account.walk_forward.settling)

    def stand_on(self, snapshot: Snapshot, panel: Market, day: dt.date) -> Foundation:
        """Pin the lake and make sure of the superset of a day."""
        return self.ground.foundation(snapshot, panel, day)

    # ---- what the sleeves decide

    def watch(self, kept: AccountLedger, panel: Market, foundation: Foundation | None, day: dt.date) -> Iterator[Event]:
        """Take today's decision of each sleeve, and on the first day all that came before."""
        began = kept.days[0].day if kept.days else day
        self._read(kept)
        for name, profile in self.sleeves.items():
            own = self.known.setdefault(name, {})
            body: dict[str, Any] = {"day": day.isoformat(), "sleeve": name}
            if not own:
                past = self._past(profile, panel, self.since(began), day)
                own |= past
                body["before"] = {str(one): turn.document() for one, turn in past.items()}
            if foundation is None:
                own[day] = self._walked(profile, panel, day)
                yield SLEEVE, {**body, **own[day].document()}
                continue
            made = decide_today(self.ground.home, self.ground.catalog, foundation, profile)
            own[day] = SleeveTurn(made.weights[profile.headline], made.regime, profile.headline)
            yield SLEEVE, {**body, **own[day].document(), "record": made.record}

    def _read(self, kept: AccountLedger) -> None:
        """Read what the ledger knows, once."""
        if self.known:
            return
        for done in kept.days:
            for body in done.bodies(SLEEVE):
                own = self.known.setdefault(body["sleeve"], {})
                headline = self.account.headline
                own |= {
                    dt.date.fromisoformat(day): SleeveTurn.read(turn, headline)
                    for day, turn in body.get("before", {}).items()
                }
                own[done.day] = SleeveTurn.read(body, headline)

    def _past(self, profile: Profile, panel: Market, since: dt.date, day: dt.date) -> dict[dt.date, SleeveTurn]:
        """Decide the days before the account as a walk-forward does; a hole of the market decides nothing."""
        first, last = (int((np.datetime64(one) - panel.days[0]).astype(np.int64)) for one in (since, day))
        if first < profile.walk_forward.train:
            what = f"the portfolio needs its sleeves since {since}, and the bars do not reach far enough before"
            hint = f"begin the account {profile.walk_forward.train - first} days later, or load earlier bars"
            raise UsageError(what, where=str(day), hint=hint)
        holes = panel.holes[:, panel.column(profile.benchmark)]
        days = [since + dt.timedelta(days=n) for n in range(last - first)]
        return {
            one: self._walked(profile, panel, one)
            for at, one in enumerate(days, start=first)
            if holes[at] != MARKET and due(np.datetime64(one), np.datetime64(since), profile.walk_forward) is not None
        }

    def _walked(self, profile: Profile, panel: Market, day: dt.date) -> SleeveTurn:
        """Take the decision of a day as a walk-forward does."""
        scanners = self.ground.catalog.scanners()

        def guarded(known: Market) -> Any:
            return decide(known, profile, scanners, unguarded=False)

        row = int((np.datetime64(day) - panel.days[0]).astype(np.int64))
        made = decide_row(panel, profile, guarded, row)
        regime = made.summary.get("regime")
        weights = {symbol: weight for symbol, weight in made.net.get(profile.headline, {}).items() if weight}
        return SleeveTurn(weights, None if regime is None else str(regime), profile.headline)

    # ---- what the portfolio decides

    def decide(self, foundation: Foundation, panel: Market, day: dt.date) -> AccountTarget:
        """Weigh the sleeves by how their own books went, and net what they decided today."""
        name = self.account.headline
        known = panel.until(close_of(np.datetime64(day)))
        found = {sleeve: self._record(sleeve, profile, known) for sleeve, profile in self.sleeves.items()}
        ruined = [sleeve for sleeve, (_, lost) in found.items() if lost or sleeve in self.lost]
        records = {sleeve: record for sleeve, (record, _) in found.items()}
        aligned = alignment.align(records, self.profile.min_days, name)
        zeros = np.where([sleeve in ruined for sleeve in records], 0.0, aligned.returns)
        aligned = replace(aligned, returns=zeros)
        instant = np.datetime64(day, "us") + np.timedelta64(1, "D")
        mood = cast("RegimeName", alignment.gravest([self._mood(own) for own in self.known.values()]))
        made = allocate.decide(zeros, aligned.gross, aligned.sleeves, name, self.profile, mood)
        directions = [cast("SleeveDirection", one.direction) for one in self.sleeves.values()]
        gates.refuse_faults(name, allocate.document(made, aligned.sleeves, directions, mood), self.profile)
        blended = walk.blend(aligned, len(aligned.days), instant, name, self.profile, mood, single=False)
        record = {
            "head": foundation.snapshot.head,
            "sleeves": dict(zip(aligned.sleeves, map(repr, made.weights.tolist()), strict=True)),
            "in_cash": [sleeve for sleeve, on in zip(aligned.sleeves, made.on, strict=True) if not on],
            "ruined": ruined,
            "to_cash": repr(blended.to_cash),
            "reason": blended.reason,
            "regime": mood,
            "days": len(aligned.days),
        }
        return AccountTarget({symbol: weight for symbol, weight in blended.net.items() if weight}, record)

    def _mood(self, own: Mapping[dt.date, SleeveTurn]) -> str:
        """Return the last regime that a sleeve's decisions named."""
        named = [turn.regime for _, turn in sorted(own.items()) if turn.regime is not None]
        return named[-1] if named else ""

    def _record(self, sleeve: str, profile: Profile, known: Market) -> tuple[alignment.SleeveRecord, bool]:
        """Hold a sleeve's decisions in its tranche book up to the last bar, and say how it went, and if it was lost."""
        own = sorted(self.known[sleeve].items())
        rows = {int((np.datetime64(day) - known.days[0]).astype(np.int64)): turn for day, turn in own}
        began, settings = np.datetime64(own[0][0]), profile.walk_forward
        tranche = {row: cast("int", due(known.days[row], began, settings)) for row in rows}
        past = [row for row in rows if row < len(known.days) - 1]
        decided = {row: DatedTargets(row, close_of(known.days[row]), turn) for row, turn in rows.items()}
        only = profile.risk.model_copy(update={"risk_profiles": (profile.headline,)})
        held = hold_book(
            known,
            prices_of(known, profile.costs),
            profile.model_copy(update={"risk": only}),
            {row: decided[row] for row in past},
            Grid(tuple(past), tuple(tranche[row] for row in past), (tuple(past),)),
        )
        book = held.books[profile.headline]
        instants = {row: known.days[row].astype("datetime64[us]") + np.timedelta64(1, "D") for row in rows}
        record = alignment.SleeveRecord(
            days=held.days[held.counted :],
            returns=book.returns[held.counted :],
            gross=book.gross[held.counted :],
            decided={instants[row]: turn.weights for row, turn in rows.items()},
            tranches={instants[row]: tranche[row] for row in rows},
        )
        return record, book.liquidated is not None or bool((book.nav < QUARTER).any())

    def refuse_ruin(self, account: str, known: Sequence[str]) -> list[dict[str, str]]:
        """Refuse a portfolio whose last run was ruined; a ruined sleeve is left out by name while enough are left."""
        noted = refuse_ruin(self.ground, self.profile.name, self.profile.headline, account, known)
        self.lost.clear()
        offers = []
        for name in self.sleeves:
            found = ruin_of(self.ground, name, self.profile.headline, known)
            if found is None:
                continue
            if self.ground.accept.takes(RUIN, found[1], f"{name}: {found[0]}"):
                noted.append(self.ground.accept.used[-1])
                continue
            self.lost.append(name)
            offers.append((f"{name}: RUIN: {found[0]}", offer(f"account {account}", RUIN, found[1])))
        if offers and not eligibility.enough(self.profile, len(self.sleeves) - len(self.lost)):
            what, hint = offers[0]
            raise GateError(what, where=self.lost[0], hint=hint, code=eligibility.SLEEVE_RUINED)
        return noted


def follower_of(home: Home, catalog: Catalog, terms: AccountTerms, lake: Lake, accept: Acceptance) -> Follower:
    """Return what an account follows, by the settings that are in force now."""
    ground = AccountGround(home, catalog, terms.source, lake, accept)
    if terms.kind == "sleeve":
        return SleeveFollower(ground, settled(terms, catalog.profile(terms.portfolio)))
    profile = catalog.meta(terms.portfolio)
    if nested := [name for name in profile.sleeves if name in catalog.names("meta")]:
        what = f"{terms.portfolio} holds the portfolio {nested[0]}, and an account follows sleeves of coins"
        raise UsageError(what, where=terms.portfolio, hint="follow a portfolio of profiles")
    sleeves = {name: settled(terms, catalog.profile(name)) for name in profile.sleeves}
    if terms.tranches == 1:
        what = "sleeves that decide once a step share no days with an account that begins between"
        raise UsageError(what, where="--tranches", hint="leave it out for the default")
    headline = cast("RiskProfile", terms.headline)
    return PortfolioFollower(ground, profile.model_copy(update={"headline": headline}), sleeves, terms.tranches)


def opened(
    home: Home, catalog: Catalog, terms: AccountTerms, accept: Acceptance
) -> tuple[AccountTerms, list[dict[str, str]]]:
    """Return the terms of a new account with all that they leave to the settings, and what was accepted for it.

    Raises
    ------
    GateError
        ``RUIN``: what it is to follow was not survived.
    """
    lake = Lake(home.path, open_source(terms.source), home.lake_at)
    if not terms.tranches:
        first = catalog.meta(terms.portfolio).sleeves[0] if terms.kind == "portfolio" else terms.portfolio
        terms = replace(terms, tranches=catalog.profile(first).walk_forward.parts)
    follower = follower_of(home, catalog, terms, lake, accept)
    walk = follower.account.walk_forward
    if walk.step % terms.tranches:
        what = f"{terms.tranches} tranches do not divide a step of {walk.step} days"
        raise UsageError(what, where="--tranches", hint=f"choose a divisor of {walk.step}")
    found = replace(terms, settings=follower.settings)
    accepted = follower.refuse_ruin(f"new {terms.account} ...", ())
    ground = AccountGround(home, catalog, terms.source, lake, accept)
    return replace(found, prior=prior(ground, found)), accepted
