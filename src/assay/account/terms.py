"""The terms of an account: what its genesis says, and what later epochs changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, Self

from assay.account.ledger import EPOCH, GENESIS
from assay.account.money import text
from assay.base.errors import LedgerError, UsageError
from assay.runs.verify import Entry
from assay.settings.resolve import dotted

Kind = Literal["sleeve", "portfolio"]
GRID = "ACCOUNT_GRID"
"""A change of the days on which an account decides: its tranches would not be the same any more."""
FIXED = ("walk_forward.step", "walk_forward.hold", "walk_forward.tranches", "meta.hold", "meta.train", "meta.sleeves")
"""Settings that an account keeps for life."""


@dataclass(frozen=True)
class AccountTerms:
    """What was agreed when an account was opened, with the settings that are in force.

    Attributes
    ----------
    account, portfolio : str
        Its name, and the profile or meta-portfolio that it follows.
    kind : {"sleeve", "portfolio"}
    settings : dict
        As manifests pin them: ``profile`` (or ``meta`` and ``sleeves``), ``scanners``, ``edition``, ``provider``.
    source : str
    headline : str
        The risk profile that it holds.
    nav : Decimal
        Cash that it began with.
    tranches : int
    band : Decimal
        Share of NAV / tranches below which nothing is traded.
    filters : bool
        Whether the exchange's filters round its orders.
    start : date or None
        Its first day; that of the first step where None.
    paper : bool
        Its orders are filled from the lake unless fills are imported.
    prior : dict
        How what it follows went by the last run before it was opened: ``run``, ``days`` and ``returns``; empty where no
        run of these settings was there.
    """

    account: str
    kind: Kind
    portfolio: str
    settings: Mapping[str, Any]
    source: str
    headline: str
    nav: Decimal
    tranches: int
    band: Decimal
    filters: bool
    start: dt.date | None
    paper: bool = True
    prior: Mapping[str, Any] = field(default_factory=dict)

    def genesis(self) -> dict[str, Any]:
        """Return the body of the genesis."""
        return {
            "account": self.account,
            "kind": self.kind,
            "portfolio": self.portfolio,
            "settings": self.settings,
            "source": self.source,
            "headline": self.headline,
            "nav": text(self.nav),
            "tranches": self.tranches,
            "band": text(self.band),
            "filters": "on" if self.filters else "off",
            "start": None if self.start is None else self.start.isoformat(),
            "paper": self.paper,
            "prior": dict(self.prior),
        }

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Read the terms in force from a ledger.

        Raises
        ------
        LedgerError
            If the genesis or an epoch does not say them.
        """
        try:
            body = entries[0].body if entries[0].kind == GENESIS else {}
            terms = cls(
                account=str(body["account"]),
                kind=body["kind"],
                portfolio=str(body["portfolio"]),
                settings=body["settings"],
                source=str(body["source"]),
                headline=str(body["headline"]),
                nav=Decimal(body["nav"]),
                tranches=int(body["tranches"]),
                band=Decimal(body["band"]),
                filters=body["filters"] == "on",
                start=None if body["start"] is None else dt.date.fromisoformat(body["start"]),
                paper=bool(body["paper"]),
                prior=body.get("prior", {}),
            )
            for entry in entries:
                terms = replace(terms, settings=entry.body["settings"]) if entry.kind == EPOCH else terms
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError) as error:
            what = f"the genesis of the account cannot be read: {error}"
            raise LedgerError(what, hint="run: assay account verify") from error
        return terms


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that differ, by dotted name, each with both values.

    >>> changed({"profile": {"caps": {"atom": 0.25}}}, {"profile": {"caps": {"atom": 0.2}}})
    {'profile.caps.atom': [0.25, 0.2]}
    """
    old, new = dotted(before), dotted(after)
    return {
        name: [old.get(name), new.get(name)]
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) or (name in old) != (name in new)
    }


def refuse_grid(account: str, changes: Mapping[str, Sequence[Any]]) -> None:
    """Refuse settings under which the tranches of an account would be others.

    Raises
    ------
    UsageError
        ``ACCOUNT_GRID``.
    """
    for name, (old, new) in changes.items():
        if name.endswith(FIXED):
            what = f"{name} was {old} when the account was opened and is {new} now: its tranches would be others"
            hint = f"set it back to {old}, or open another account"
            raise UsageError(what, where=account, hint=hint, code=GRID)
