"""The accounts of a home: opened, stepped, shown, closed; and the copies of a day that are written for people."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.account import ledger as book
from assay.account.ledger import AccountLedger, ClosedDay, private, read_account, split
from assay.account.money import exact, product, text
from assay.account.orders import BAND
from assay.account.reconcile import HoldingsCheck, reconcile
from assay.account.state import State, replay
from assay.account.terms import AccountTerms
from assay.base import files
from assay.base.errors import AssayError, UsageError
from assay.orders.inputs import read_holdings
from assay.orders.records import safe_cell
from assay.pipeline.account_follow import kind_of
from assay.pipeline.account_portfolio import opened
from assay.pipeline.account_step import StepAsked, Stepped, step
from assay.report.account import account_facts, day_page, day_report
from assay.runs.home import RUN_ID, Home
from assay.runs.verify import Entry
from assay.settings.model import RISK_PROFILES
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance
from assay.sources.rules import RuleBook

if TYPE_CHECKING:
    from assay.settings import Catalog

FIELDS = ("symbol", "side", "quantity", "decided", "value", "tranche", "late")
"""Columns of a day's orders."""


@dataclass(frozen=True)
class Opening:
    """What an account is to be."""

    name: str
    portfolio: str
    nav: Decimal
    headline: str | None = None
    tranches: int | None = None
    source: str = "sample"
    band: Decimal | None = None
    filters: str = "on"
    start: dt.date | None = None
    accept: Acceptance = NOTHING_ACCEPTED


def account_folder(home: Home, name: str) -> Path:
    """Return the folder of an account that is there.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    folder = home.accounts / name
    if not RUN_ID.fullmatch(name) or not (folder / book.LEDGER).is_file():
        hint = "list them with: assay account list"
        raise UsageError(f"no account {name!r}", where=str(home.accounts), hint=hint)
    return folder


def source_of(folder: Path) -> str:
    """Return where an account's bars come from."""
    return AccountTerms.of(read_account(folder)).source


def open_account(home: Home, catalog: Catalog, asked: Opening) -> tuple[Path, AccountTerms]:
    """Open an account: its folder and genesis are there whole or not at all.

    Raises
    ------
    UsageError
        If the name is taken or cannot be one, or a term cannot be.
    GateError
        ``RUIN``: the last run of what it follows was not survived.
    """
    _check(asked)
    kind = kind_of(catalog, asked.portfolio)
    settings = catalog.meta(asked.portfolio) if kind == "portfolio" else catalog.profile(asked.portfolio)
    headline = asked.headline or settings.headline
    if headline not in RISK_PROFILES:
        raise UsageError(f"no risk profile {headline!r}", where="--headline", hint=f"one of {', '.join(RISK_PROFILES)}")
    drafted = AccountTerms(
        account=asked.name,
        kind=kind,
        portfolio=asked.portfolio,
        settings={},
        source=asked.source,
        headline=headline,
        nav=exact(asked.nav),
        tranches=asked.tranches or 0,
        band=BAND if asked.band is None else asked.band,
        filters=asked.filters == "on",
        start=asked.start,
    )
    terms, accepted = opened(home, catalog, drafted, asked.accept)
    folder = home.accounts / asked.name
    with private(), AccountLedger.create(folder, terms.genesis()) as kept:
        for note in accepted:
            kept.append(book.ACCEPT, note)
    return folder, terms


def _check(asked: Opening) -> None:
    if not RUN_ID.fullmatch(asked.name):
        hint = "letters, digits, dot, dash and underscore, at most 100, no path"
        raise UsageError(f"{asked.name!r} cannot name an account", where="NAME", hint=hint)
    if asked.nav <= 0 or asked.nav > Decimal("1E15"):
        raise UsageError("an account begins with some cash", where="--nav", hint="give dollars, such as 100000")
    if asked.band is not None and not 0 <= asked.band < 1:
        raise UsageError("a band is a share of a tranche", where="--band", hint="from 0 to below 1, such as 0.01")
    if asked.filters not in ("on", "off"):
        raise UsageError(f"filters are on or off, not {asked.filters!r}", where="--filters", hint="write on or off")
    if asked.tranches is not None and asked.tranches < 1:
        raise UsageError("an account has at least one tranche", where="--tranches", hint="leave it out for the default")


def step_account(home: Home, catalog: Catalog, name: str, asked: StepAsked) -> Stepped:
    """Step an account, and write the copies of its days that are missing."""
    folder = account_folder(home, name)
    done = step(home, catalog, folder, asked)
    write_copies(folder)
    return done


# --- copies for people ------------------------------------------------------------------------------------------------


def write_copies(folder: Path) -> None:
    """Write each day's orders and report where they are missing, as after a step that died."""
    entries = read_account(folder)
    days, _ = split(entries)
    with private():
        for day in days:
            orders, report = folder / "orders" / f"{day.day}.csv", folder / "reports" / f"{day.day}.md"
            pages = orders.with_suffix(".json"), report.with_suffix(".html")
            if not (orders.exists() and pages[0].exists()):
                files.write(orders, _csv(ordered(day)))
                files.write(pages[0], _json(folder.name, day))
            if not (report.exists() and pages[1].exists()):
                facts = account_facts(entries, day.day)
                files.write(report, day_report(facts).encode())
                files.write(pages[1], day_page(facts).encode())


def ordered(day: ClosedDay) -> list[dict[str, Any]]:
    """Return the orders that a day wrote for the next open, coin by coin and tranche by tranche, sells first."""
    rows = []
    for body in day.bodies("orders"):
        for row in body["rows"]:
            quantity, decided = Decimal(row["quantity"]), Decimal(row["decided"])
            if not quantity:
                continue
            rows.append(
                {
                    "symbol": row["symbol"],
                    "side": "sell" if quantity < 0 else "buy",
                    "quantity": text(abs(quantity)),
                    "decided": row["decided"],
                    "value": text(abs(product(quantity, decided))),
                    "tranche": row["tranche"],
                    "late": row["late"],
                }
            )
    return sorted(rows, key=lambda row: (row["side"] != "sell", row["symbol"], row["tranche"]))


def _json(account: str, day: ClosedDay) -> bytes:
    unknown = sorted({symbol for body in day.bodies("orders") for symbol in body["unknown"]})
    document = {
        "account": account,
        "day": day.day.isoformat(),
        "simulated": day.simulated,
        "ledger": day.close.hash,
        "orders": ordered(day),
        "findings": [{"code": "FILTERS_UNKNOWN", "names": unknown}] if unknown else [],
        "sent": False,
    }
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def _csv(rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow(safe_cell(str(row[name])) for name in FIELDS)
    return stream.getvalue().encode()


# --- what is asked of an account --------------------------------------------------------------------------------------


def status_of(entries: list[Entry], state: State) -> str:
    """Return one word on how an account stands."""
    if any(entry.kind == book.CLOSE for entry in entries):
        return "CLOSED"
    return "LIQUIDATED" if state.liquidated else "OPEN" if state.day else "NEW"


def shown(home: Home, name: str) -> dict[str, Any]:
    """Return what an account is, holds and has ordered, with all digits."""
    entries = read_account(account_folder(home, name))
    terms, state, (days, _) = AccountTerms.of(entries), replay(entries), split(entries)
    holdings = []
    for symbol, parts in sorted(state.held.items()):
        units, price = state.net(symbol), state.marks[symbol]
        value = product(units, price)
        weight = None if not state.nav else text(exact(value / state.nav))
        row = {"symbol": symbol, "quantity": text(units), "price": text(price), "value": text(value), "weight": weight}
        holdings.append(row | {"tranches": [text(part) for part in parts]})
    return {
        "account": name,
        **{key: value for key, value in terms.genesis().items() if key not in ("account", "settings", "nav")},
        "status": status_of(entries, state),
        "begun_with": text(terms.nav),
        "day": None if state.day is None else state.day.isoformat(),
        "days": len(days),
        "simulated_days": sum(day.simulated for day in days),
        "nav": text(state.nav),
        "cash": text(state.cash),
        "wealth": str(state.wealth),
        "holdings": holdings,
        "orders": ordered(days[-1]) if days else [],
        "head": entries[-1].hash,
    }


def filled(home: Home, name: str, day: dt.date | None) -> list[dict[str, Any]]:
    """Return every fill, and every order that was not filled, of one day or all."""
    days, _ = split(read_account(account_folder(home, name)))
    kinds = ("fill", "cancelled", "partial", "unfilled")
    return [
        {"kind": entry.kind, **entry.body, "simulated": one.simulated}
        for one in days
        if day in (None, one.day)
        for entry in one.entries
        if entry.kind in kinds
    ]


def reconciled(home: Home, name: str, holdings: Path) -> HoldingsCheck:
    """Compare the last day's intentions, fills and holdings with what an exchange says."""
    entries = read_account(account_folder(home, name))
    state, (days, _) = replay(entries), split(entries)
    if not days:
        raise UsageError("the account has no day yet", where=name, hint=f"run: assay account step {name}")
    moved = [(str(body["symbol"]), Decimal(body["quantity"])) for body in days[-1].bodies("fill")]
    before = {symbol: state.net(symbol) for symbol in state.held}
    for symbol, units in moved:
        before[symbol] = before.get(symbol, Decimal(0)) - units
    wanted = [
        (str(row["symbol"]), Decimal(row["quantity"]))
        for body in (days[-2].bodies("orders") if len(days) > 1 else [])
        for row in body["rows"]
    ]
    return reconcile(
        before,
        wanted,
        moved,
        {symbol: state.net(symbol) for symbol in state.held},
        state.cash,
        there=read_holdings(holdings, RuleBook({}, dt.datetime.fromtimestamp(0, dt.UTC))),
        prices=state.marks,
    )


def ask_flow(home: Home, name: str, amount: Decimal, day: dt.date | None, because: str) -> dict[str, Any]:
    """Note that money is to come in or go out.

    Raises
    ------
    UsageError
        If it is nothing, more than the account has, or of a day that was done.
    """
    if not amount or not amount.is_finite() or abs(amount) > Decimal("1E15"):
        raise UsageError("nothing is moved", where=name, hint="give an amount above 0")
    with private(), AccountLedger.open(account_folder(home, name)) as kept:
        state, last = replay(kept.entries), kept.last_day
        if day is not None and last is not None and day <= last:
            hint = "leave --on out for the next day"
            raise UsageError(f"{last} was done already, and {day} is not after it", where="--on", hint=hint)
        if amount < 0 and state.nav + amount <= 0:
            what = f"{text(-amount)} is more than the account is worth: {text(state.nav)}"
            raise UsageError(what, where="--withdraw", hint="withdraw less, or close the account")
        body = {
            "amount": text(exact(amount)),
            "day": None if day is None else day.isoformat(),
            "because": " ".join(because.split()),
        }
        kept.append(book.ASKED, body)
    return {"account": name, **body}


def close_account(home: Home, name: str, because: str) -> dict[str, Any]:
    """Close an account for good."""
    with private(), AccountLedger.open(account_folder(home, name)) as kept:
        state = replay(kept.entries)
        body = {"nav": text(state.nav), "holdings": len(state.held), "because": " ".join(because.split())}
        kept.append(book.CLOSE, body)
    return {"account": name, **body}


def listed(home: Home) -> list[dict[str, Any]]:
    """Return a line for each account of a home; one that cannot be read says why."""
    rows: list[dict[str, Any]] = []
    for name in names(home):
        try:
            entries = read_account(home.accounts / name)
            terms, state = AccountTerms.of(entries), replay(entries)
        except AssayError as error:
            rows.append({"account": name, "status": error.code, "error": str(error)})
            continue
        day = None if state.day is None else state.day.isoformat()
        told = {"portfolio": terms.portfolio, "headline": terms.headline, "day": day, "nav": text(state.nav)}
        rows.append({"account": name, **told, "status": status_of(entries, state)})
    return rows


def names(home: Home) -> list[str]:
    """Names of the accounts of a home, sorted."""
    if not home.accounts.is_dir():
        return []
    return sorted(one.name for one in home.accounts.iterdir() if (one / book.LEDGER).exists())
