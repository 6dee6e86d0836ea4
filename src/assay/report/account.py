"""The day of an account, answer first: what it is worth, what changed and why, what is ordered, how far from expected.

Everything here is read from the ledger's entries, in their order; the page of an account and the day's report show the
same facts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from assay.account.expectation import (
    ALARMS,
    LEAST_DAYS,
    PriorBand,
    PriorVerdict,
    TrackedDay,
    judge,
    paid_fills,
    prior_band,
    told,
    track,
)
from assay.account.ledger import LEDGER, read_account
from assay.account.money import EXACT, ZERO, text
from assay.base.constants import DAYS_PER_YEAR, Floats
from assay.base.domain import DAY
from assay.base.errors import AssayError
from assay.report.figures.figure import Figure
from assay.report.figures.lines import lines_over, span
from assay.report.html import report_page
from assay.report.markdown import count, percent, ratio
from assay.report.templating import Banner, Kind, markdown_environment, tidy
from assay.runs.home import RUN_ID, Home
from assay.settings.model import Costs, Margin

SHOWN = 12
"""Coins that changed, of which the report tells."""
NOTES = {
    "MISSED_DECISION": "the tranche was not decided in time and keeps what it holds until its next turn",
    "MARKET_HOLE": "the whole market lacks the day: nothing was decided",
    "LIQUIDATED": "the account was liquidated: nothing is decided any more",
    "FILTERS_UNKNOWN": "the source does not tell the exchange's filters: paper orders are exact quantities",
    "HISTORY_CHANGED": "bars of days that are closed have other values now; what was booked stays",
    "EPOCH": "settings changed: a new epoch began, the days before it are judged by what held then",
    "ACCEPT": "something that was refused has been accepted",
    "ACCOUNT_CLOSED": "the account is closed",
    "SIMULATED": "days that were stepped through afterwards; no expectation is judged by them",
    "LATE_DECISION": "tranches were decided late, with what was known then",
    "FLOW": "deposits and withdrawals of the day; returns are time-weighted at the close before them",
    "NO_PRIOR": f"fewer than {LEAST_DAYS} days are known from before the account began: no band can be drawn",
    "FILTERS_OFF": "the exchange's filters are switched off: these orders are paper",
}
"""What each note says."""


class LedgerEntry(Protocol):
    """One line of an account's ledger."""

    @property
    def kind(self) -> str:
        """Kind of the entry."""

    @property
    def body(self) -> Mapping[str, Any]:
        """Its facts."""


@dataclass
class AccountDay:
    """One closed day, by kinds of entries."""

    day: dt.date
    bodies: dict[str, list[Mapping[str, Any]]]
    simulated: bool
    held: dict[str, Decimal] = field(default_factory=dict)
    """Units after it."""

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the bodies of one kind."""
        return self.bodies.get(kind, [])

    @property
    def mark(self) -> Mapping[str, Any]:
        """What it was worth at the close."""
        return self.of("mark")[-1]


def days_of(entries: Iterable[LedgerEntry]) -> list[AccountDay]:
    """Return the days of a ledger that were closed; what follows the last of them is not done."""
    days: list[AccountDay] = []
    bodies: dict[str, list[Mapping[str, Any]]] = {}
    held: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind == "close_day":
            one = AccountDay(dt.date.fromisoformat(entry.body["day"]), bodies, bool(entry.body.get("simulated")))
            moved = dict(held)
            for body in one.of("fill"):
                moved[body["symbol"]] = EXACT.add(moved.get(body["symbol"], ZERO), Decimal(body["quantity"]))
            one.held = held = {symbol: units for symbol, units in moved.items() if units}
            if one.of("mark"):
                days.append(one)
            bodies = {}
        elif "day" in entry.body:
            bodies.setdefault(entry.kind, []).append(entry.body)
    return days


# --- facts ------------------------------------------------------------------------------------------------------------


def account_rows(home: Home) -> list[dict[str, Any]]:
    """Return a row for each account of a home, sorted by name; one that cannot be read says why."""
    if not home.accounts.is_dir():
        return []
    folders = [one for one in home.accounts.iterdir() if RUN_ID.fullmatch(one.name) and (one / LEDGER).is_file()]
    return [_row(folder) for folder in sorted(folders)]


def _row(folder: Path) -> dict[str, Any]:
    blank = dict.fromkeys(("portfolio", "headline", "source", "day", "nav", "wealth"))
    row: dict[str, Any] = {"account": folder.name, "state": "UNREADABLE", **blank, "simulated": False, "alarms": [],
                           "error": ""}  # fmt: skip
    try:
        facts = account_facts(read_account(folder))
    except (AssayError, ArithmeticError, KeyError, TypeError, ValueError) as error:
        return row | {"error": error.what if isinstance(error, AssayError) else f"a field is wrong: {error!r}"}
    state = "CLOSED" if facts["closed"] else "LIQUIDATED" if facts["liquidated"] else "OPEN" if facts["day"] else "NEW"
    told_ = {name: facts.get(name) for name in (*blank, "simulated")}
    return row | told_ | {"state": state, "alarms": [alarm["code"] for alarm in facts["alarms"]]}


def account_facts(entries: Sequence[LedgerEntry], day: dt.date | None = None) -> dict[str, Any]:
    """Return what is to be said of an account after one of its days.

    Parameters
    ----------
    entries : sequence of LedgerEntry
        The whole ledger; the first is the genesis.
    day : date, optional
        A closed day; the last one where None.

    Returns
    -------
    dict
        Plain values, as the page answers them; ``day`` is None before the first day is closed.
    """
    genesis = entries[0].body
    days = [one for one in days_of(entries) if day is None or one.day <= day]
    facts: dict[str, Any] = {
        name: genesis.get(name) for name in ("account", "portfolio", "kind", "headline", "source", "paper", "filters",
                                             "band", "tranches", "start")
    } | {
        "began_with": float(genesis["nav"]),
        "closed": any(entry.kind == "close" for entry in entries),
        "liquidated": any(body.get("moment") for one in days for body in one.of("look")),
        "day": None,
        "simulated": False,
        "days": len(days),
        "simulated_days": sum(one.simulated for one in days),
        "alarms": [],
        "notes": [],
        "answer": "no day is done yet: assay account step",
        "tone": "open",
    }  # fmt: skip
    if not days:
        return facts
    settings = _settings(entries)
    expected = _expected(days, genesis, settings)
    facts |= _worth(days, float(genesis["nav"])) | _book(days) | _ordered(days[-1]) | expected
    facts |= {"margin": _margin(days[-1], settings), "notes": _notes(entries, days, facts)}
    return facts | _answer(facts)


def _settings(entries: Sequence[LedgerEntry]) -> Mapping[str, Any]:
    """Return the settings in force."""
    found: Mapping[str, Any] = entries[0].body.get("settings") or {}
    for entry in entries:
        if entry.kind == "epoch":
            found = entry.body.get("settings") or found
    return found


def _group(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a group of settings of a sleeve's profile, or of the first sleeve of a portfolio."""
    profile = settings.get("profile")
    sleeves = settings.get("sleeves")
    if profile is None and isinstance(sleeves, Mapping) and sleeves:
        first = sleeves[min(sleeves)]
        profile = first.get("profile", first) if isinstance(first, Mapping) else None
    found = profile.get(name) if isinstance(profile, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _worth(days: Sequence[AccountDay], began: float) -> dict[str, Any]:
    """Return NAV, its parts and what moved it today."""
    last, before = days[-1], days[-2] if len(days) > 1 else None
    mark = last.mark
    nav_before = began if before is None else float(before.mark["nav"]) + _flows(before)
    wealth = [1.0, *(float(one.mark["wealth"]) for one in days)]
    rebalanced = [body for body in last.of("fill") if body["reason"] == "rebalance"]
    forced = [body for body in last.of("fill") if body["reason"] != "rebalance"]
    paid = {
        "fees": -sum(float(body["fee"]) for body in rebalanced),
        "slippage": -sum(float(body["slippage"]) for body in rebalanced),
        "borrow": -sum(float(body["amount"]) for body in last.of("borrow")),
        "forced exits": -sum(float(body["fee"]) + float(body["slippage"]) for body in forced),
    }
    moved = float(mark["nav"]) - nav_before
    bridge = {"prices": moved - sum(paid.values()), **paid}
    flow = _flows(last)
    return {
        "day": last.day.isoformat(),
        "simulated": last.simulated,
        **{name: float(mark[name]) for name in ("nav", "cash", "gross", "net")},
        "nav_after_flows": float(mark["nav"]) + flow,
        "wealth": wealth[-1],
        "day_return": wealth[-1] / wealth[-2] - 1.0 if wealth[-2] else None,
        "moved": moved,
        "flow": flow,
        "bridge": [{"name": name, "amount": amount} for name, amount in bridge.items() if amount or name == "prices"],
        "traded": sum(abs(float(body["quantity"])) * float(body["price"]) for body in last.of("fill")),
    }


def _flows(day: AccountDay) -> float:
    return sum(float(body["amount"]) for body in day.of("flow"))


def _weights(day: AccountDay) -> dict[str, float]:
    nav, marks = float(day.mark["nav"]), day.mark["marks"]
    return {symbol: float(units) * float(marks[symbol]) / nav for symbol, units in day.held.items()} if nav else {}


def _book(days: Sequence[AccountDay]) -> dict[str, Any]:
    """Return what is held, what changed and why, and what was not filled."""
    last = days[-1]
    weights, earlier = _weights(last), _weights(days[-2]) if len(days) > 1 else {}
    marks = last.mark["marks"]
    held = [
        {
            "symbol": symbol,
            "quantity": text(last.held[symbol]),
            "price": float(marks[symbol]),
            "value": float(last.held[symbol]) * float(marks[symbol]),
            "weight": weights.get(symbol, 0.0),
        }
        for symbol in sorted(last.held, key=lambda name: (-abs(weights.get(name, 0.0)), name))
    ]
    why: dict[str, list[str]] = {}
    for body in last.of("fill"):
        why.setdefault(body["symbol"], []).append(_reason(body))
    apart = {symbol: abs(weights.get(symbol, 0.0) - earlier.get(symbol, 0.0)) for symbol in {*weights, *earlier, *why}}
    changes = [
        {
            "symbol": symbol,
            "before": earlier.get(symbol, 0.0),
            "after": weights.get(symbol, 0.0),
            "why": ", ".join(dict.fromkeys(why.get(symbol, ["prices"]))),
        }
        for symbol in sorted(apart, key=lambda name: (name not in why, -apart[name], name))
    ]
    lost = [
        {"symbol": body["symbol"], "tranche": body["tranche"], "quantity": body["quantity"], "what": kind,
         "why": body.get("why") or ""}
        for kind in ("cancelled", "unfilled", "partial")
        for body in last.of(kind)
    ]  # fmt: skip
    return {"held": held, "changes": changes, "not_filled": lost}


def _reason(body: Mapping[str, Any]) -> str:
    """Say why a fill was."""
    if body["reason"] != "rebalance":
        return f"{body['reason']}: {body['cause']}" if body["cause"] not in ("", body["reason"]) else body["reason"]
    named = {"FILL_LATE": ", filled late", "FILL_NOT_ORDERED": ", not ordered"}.get(body["cause"], "")
    return f"{'bought' if Decimal(body['quantity']) > 0 else 'sold'} by tranche {body['tranche']}{named}"


def _ordered(last: AccountDay) -> dict[str, Any]:
    """Return the orders for the next open, and what was left out of them by name."""
    rows, left = [], dict[str, int]()
    for body in last.of("orders"):
        for row in body["rows"]:
            for line in row.get("lines") or {}:
                left[line] = left.get(line, 0) + 1
            if Decimal(row["quantity"]):
                value = float(row["quantity"]) * float(row["decided"])
                rows.append({"symbol": row["symbol"], "tranche": row["tranche"], "quantity": row["quantity"],
                             "decided": float(row["decided"]), "value": value})  # fmt: skip
    nav = float(last.mark["nav"]) + _flows(last)
    worth = sum(abs(row["value"]) for row in rows)
    return {
        "orders": sorted(rows, key=lambda row: (-abs(row["value"]), row["symbol"])),
        "orders_for": (last.day + DAY).isoformat(),
        "orders_share": worth / nav if nav > 0 else None,
        "left_out": dict(sorted(left.items())),
        "decided": [
            {"tranche": body["tranche"], "late": bool(body.get("late")), "summary": str(body.get("summary") or "")}
            for body in last.of("decision")
        ],
    }


def _margin(last: AccountDay, settings: Mapping[str, Any]) -> dict[str, Any]:
    least = _group(settings, "margin").get("maintenance", Margin().maintenance)
    looks = last.of("look")
    told_ = looks[-1] if looks else {}
    levels = {name: None if told_.get(name) is None else float(told_[name]) for name in ("level", "worst_level")}
    return {**levels, "maintenance": float(least), "moment": told_.get("moment")}


# --- expectation ------------------------------------------------------------------------------------------------------


def _expected(
    days: Sequence[AccountDay], genesis: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    lived = [one for one in days if not one.simulated]
    returns = _returns(days)
    own: Floats = np.array([returns[one.day] for one in lived])
    prior = genesis.get("prior") or {}
    before = zip(prior.get("days", []), prior.get("returns", []), strict=True)
    known = [float(value) for day, value in before if not days or day < days[0].day.isoformat()]
    block = float((_group(settings, "walk_forward") or {}).get("hold", 10))
    band = prior_band(known, block=block)
    years = judge(band, own) if band is not None else []
    costs = Costs.model_validate(dict(_group(settings, "costs"))) if _group(settings, "costs") else Costs()
    tracking = track([_tracked(one, costs) for one in lived])
    alarms = [{"code": code, "what": ALARMS[code], "since": day.isoformat()} for code, day in tracking.alarms.items()]
    if years and years[-1].alarm is not None and years[-1].since is not None:
        at = (len(years) - 1) * DAYS_PER_YEAR + years[-1].since
        code = years[-1].alarm
        alarms.append({"code": code, "what": ALARMS[code], "since": lived[at].day.isoformat()})
    return {
        "prior": None if not years or band is None else _told(years[-1], band),
        "tracking": told(tracking) | {"times": tracking.times},
        "alarms": alarms,
        "history": _history(days, band),
    }


def _returns(days: Sequence[AccountDay]) -> dict[dt.date, float]:
    """Return the time-weighted return of each day."""
    wealth = [1.0, *(float(one.mark["wealth"]) for one in days)]
    return {one.day: wealth[at + 1] / wealth[at] - 1.0 if wealth[at] else 0.0 for at, one in enumerate(days)}


def _tracked(day: AccountDay, costs: Costs) -> TrackedDay:
    compared = next((body["tracking"] for body in day.of("reconcile") if body.get("tracking")), None)
    fills = paid_fills(day.of("fill"), costs)
    if compared is None:
        return TrackedDay(day.day, fills=fills)
    lines = {name: float(amount) for name, amount in compared["lines"].items()}
    return TrackedDay(day.day, float(compared["total"]), lines, fills)


def _told(verdict: PriorVerdict, band: PriorBand) -> dict[str, Any]:
    return verdict._asdict() | {"prior_days": band.prior_days}


def _history(days: Sequence[AccountDay], band: PriorBand | None) -> list[dict[str, Any]]:
    """Return NAV day by day, and the edges of the band on days that are judged."""
    rows, at, base = [], 0, 1.0
    before = 1.0
    for one in days:
        wealth = float(one.mark["wealth"])
        row: dict[str, Any] = {"day": one.day.isoformat(), "nav": float(one.mark["nav"]), "wealth": wealth,
                               "low": None, "high": None, "simulated": one.simulated}  # fmt: skip
        if not one.simulated:
            if at % DAYS_PER_YEAR == 0:
                base, at = before, 0
            if band is not None:
                row |= {"low": base * float(band.low[at]), "high": base * float(band.high[at])}
            at += 1
        before = wealth
        rows.append(row)
    return rows


# --- in words ---------------------------------------------------------------------------------------------------------


def _notes(
    entries: Sequence[LedgerEntry], days: Sequence[AccountDay], facts: Mapping[str, Any]
) -> list[dict[str, Any]]:  # fmt: skip
    """Return everything else that a reader must know, each by its name."""
    found = _of_life(entries) | _of_day(days[-1])
    if facts["simulated_days"]:
        found["SIMULATED"] = [count(facts["simulated_days"], "day")]
    if facts["filters"] == "off":
        found["FILTERS_OFF"] = []
    if facts["prior"] is None and facts["days"] > facts["simulated_days"]:
        found["NO_PRIOR"] = []
    notes = [{"code": code, "what": NOTES[code], "names": list(filter(None, names))} for code, names in found.items()]
    for body in days[-1].of("reconcile"):
        notes += [{name: one[name] for name in ("code", "what", "names")} for one in body.get("findings") or ()]
    return notes


def _of_day(last: AccountDay) -> dict[str, list[str]]:
    """Return the names of what happened on one day."""
    found: dict[str, list[str]] = {}
    for body in last.of("missed"):
        code = body["why"] if body.get("why") in NOTES else "MISSED_DECISION"
        found.setdefault(code, []).append(f"tranche {body['tranche']}")
    for body in last.of("decision"):
        if body.get("late"):
            found.setdefault("LATE_DECISION", []).append(f"tranche {body['tranche']}")
    for body in last.of("orders"):
        if body.get("unknown"):
            found.setdefault("FILTERS_UNKNOWN", []).extend(body["unknown"])
    for body in last.of("history_changed"):
        coins = ", ".join(body.get("coins") or ())
        found.setdefault("HISTORY_CHANGED", []).append(f"{body.get('of', '')} {coins}".strip())
    for body in last.of("flow"):
        found.setdefault("FLOW", []).append(f"refused: {body['refused']}" if body.get("refused") else body["amount"])
    return found


def _of_life(entries: Sequence[LedgerEntry]) -> dict[str, list[str]]:
    """Return the names of what changed an account between its days."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry.kind == "epoch":
            found.setdefault("EPOCH", []).extend(entry.body.get("changed") or ())
        elif entry.kind == "accept":
            found.setdefault("ACCEPT", []).append(str(entry.body.get("code") or ""))
        elif entry.kind == "close":
            found["ACCOUNT_CLOSED"] = [str(entry.body.get("because") or "")]
    return found


def _answer(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first sentence, and how it stands out."""
    since = f"{percent(facts['day_return'], 2)} on the day, {percent(facts['wealth'] - 1.0)} since the beginning"
    said = [f"NAV {facts['nav']:,.2f}, {since}."]
    orders = facts["orders"]
    if facts["closed"]:
        said.append("The account is closed.")
    elif facts["liquidated"]:
        said.append("It was liquidated: nothing is ordered any more.")
    elif orders:
        share = percent(facts["orders_share"])
        said.append(f"{count(len(orders), 'order')} for the open of {facts['orders_for']}, {share} of NAV.")
    else:
        said.append(f"Nothing is ordered for the open of {facts['orders_for']}.")
    if facts["not_filled"]:
        said.append(f"{count(len(facts['not_filled']), 'order')} of yesterday not filled, or in part.")
    said += [f"ALARM {alarm['code']}: {alarm['what']}." for alarm in facts["alarms"]]
    if not facts["alarms"]:
        said.append("No alarm.")
    kind: Kind = "bad" if facts["alarms"] or facts["liquidated"] else "open" if facts["simulated"] else "good"
    return {"answer": " ".join(said), "tone": kind}


def day_report(facts: Mapping[str, Any]) -> str:
    """Return the day's report as Markdown.

    Parameters
    ----------
    facts : mapping
        Of :func:`account_facts`.
    """
    template = markdown_environment().get_template("account.md.j2")
    return str(tidy(template.render(facts=facts, shown=SHOWN, alarms=ALARMS)))


def day_page(facts: Mapping[str, Any]) -> str:
    """Return the day's report as one page of HTML that loads nothing."""
    head = Banner("SIMULATED" if facts["simulated"] else "ALARM" if facts["alarms"] else "ACCOUNT",
                  str(facts["answer"]), facts["tone"],
                  [("Account", str(facts["account"])), ("Follows", str(facts["portfolio"])),
                   ("Book", str(facts["headline"])), ("Day", str(facts["day"] or "none yet"))])  # fmt: skip
    figures = nav_figures(facts)
    return report_page(day_report(facts), {"How far from what was expected": figures} if figures else {}, head)


def nav_figures(facts: Mapping[str, Any]) -> list[Figure]:
    """Show what 1 became, between the edges of the band."""
    rows = facts.get("history") or []
    if len(rows) < 2:
        return []
    days = np.array([row["day"] for row in rows], dtype="datetime64[D]")
    series = {
        label: np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        for label, name in (("account", "wealth"), ("lower edge", "low"), ("upper edge", "high"))
    }
    lines = {label: values for label, values in series.items() if np.isfinite(values).any()}
    what = f"What 1 became, {span(days)}: {ratio(float(series['account'][-1]))}"
    edges = "; nineteen of twenty years stay between the edges." if len(lines) > 1 else "; no band can be drawn."
    return [lines_over("nav", "NAV against expectation", what + edges, days, {"": lines}, (ratio,), level=1.0)]
