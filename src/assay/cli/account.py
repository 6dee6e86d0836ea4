"""``account``: a book that lives from day to day; nothing is ever sent to an exchange."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.base.errors import UsageError
from assay.cli import output
from assay.cli.app import (
    DEFAULT_HOME,
    AcceptOption,
    AsOfOption,
    BecauseOption,
    HomeOption,
    JsonOption,
    SourceOption,
    accepted,
    account_app,
    command,
    home_at,
    read_catalog,
)

if TYPE_CHECKING:
    from assay.pipeline.account_step import Stepped

NameArgument = Annotated[str, typer.Argument(help="Account.")]


@command("new", account_app)
def new(
    name: NameArgument,
    portfolio: Annotated[str, typer.Option(help="Profile, or meta-portfolio, that it follows.")],
    nav: Annotated[str, typer.Option(help="Cash that it begins with, in dollars.")],
    headline: Annotated[str | None, typer.Option(help="Risk profile that it holds; default: the profile's.")] = None,
    tranches: Annotated[int | None, typer.Option(help="Parts, each with its day; default: the profile's.")] = None,
    source: SourceOption = "sample",
    band: Annotated[
        str | None, typer.Option(help="Share of a tranche below which nothing is traded; default 0.01.")
    ] = None,
    filters: Annotated[str, typer.Option(help="on or off: whether the exchange's filters round orders.")] = "on",
    start: Annotated[str | None, typer.Option(help="First day; default: that of the first step.")] = None,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Open an account; nothing is decided or ordered before its first step."""
    from assay.pipeline.accounts import Opening, open_account

    taken = accepted(accept, because)
    asked = Opening(
        name=name,
        portfolio=portfolio,
        nav=_amount(nav, "--nav"),
        headline=headline,
        tranches=tranches,
        source=source,
        band=None if band is None else _amount(band, "--band"),
        filters=filters,
        start=None if start is None else _day(start, "--start"),
        accept=taken,
    )
    folder, terms = open_account(home_at(home), read_catalog(), asked)
    output.told_accepted(taken)
    if as_json:
        output.as_json({"account": name, "folder": str(folder), **terms.genesis()})
        return
    began = "its first step's day" if terms.start is None else str(terms.start)
    output.line(f"{name}: {terms.nav:,.2f} in cash, follows {terms.portfolio} ({terms.headline}) from {began}")
    output.line(f"next: assay account step {name}")


@command("step", account_app)
def step(
    names: Annotated[list[str], typer.Argument(help="Account, or several.")],
    as_of: AsOfOption = None,
    fills: Annotated[
        Path | None, typer.Option(help="Trades of the exchange: CSV, or JSON as ccxt gives them; default: on paper.")
    ] = None,
    late: Annotated[bool, typer.Option("--late", help="Decide now for tranches whose turn was missed.")] = False,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Decide past days as if on time; they are SIMULATED for ever.")
    ] = False,
    take: Annotated[list[str] | None, typer.Option(help="Coin whose trades are taken though not ordered.")] = None,
    every: Annotated[str | None, typer.Option(help="day: ingest and step after each close, until stopped.")] = None,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Do every day up to the last that has closed: fill, mark, decide, and write tomorrow's orders."""
    from assay.pipeline.account_step import StepAsked
    from assay.pipeline.accounts import step_account

    taken, place, catalog = accepted(accept, because), home_at(home), read_catalog()
    asked = StepAsked(as_of, fills, late, backfill, tuple(take or ()), taken)
    if every is not None:
        from assay.cli.schedule import every_account

        for option, given in (("--as-of", as_of), ("--fills", fills), ("--late", late), ("--backfill", backfill)):
            if given:
                raise UsageError(f"{option} is of one day, and --every of all that come", where="--every")
        if taken.wanted:
            raise UsageError("--accept is of one call, and --every of all that come", where="--every")
        return every_account(place, catalog, names, every, as_json)
    if fills is not None and len(names) > 1:
        raise UsageError("fills are of one account", where="--fills", hint="step one account at a time")
    done = [step_account(place, catalog, name, asked) for name in names]
    output.told_accepted(taken)
    if as_json:
        told = [_stepped(one) for one in done]
        output.as_json(told[0] if len(told) == 1 else {"accounts": told})
        return 0
    for one in done:
        _print_step(one)
    return 0


def _stepped(done: Stepped) -> dict[str, Any]:
    last = done.days[-1]
    told = [
        {
            "day": day.day.isoformat(),
            "simulated": day.simulated,
            "nav": day.bodies("mark")[-1]["nav"],
            "fills": len(day.bodies("fill")),
            "cancelled": len(day.bodies("cancelled")),
            "decided": [body["tranche"] for body in day.bodies("decision")],
            "orders": sum(bool(Decimal(row["quantity"])) for body in day.bodies("orders") for row in body["rows"]),
            "missed": [{"tranche": body["tranche"], "why": body["why"]} for body in day.bodies("missed")],
            "history_changed": [body["of"] for body in day.bodies("history_changed")],
        }
        for day in done.days
    ]
    files = {
        form: str(path) for form in ("csv", "json") if (path := done.folder / "orders" / f"{last.day}.{form}").is_file()
    }
    return {
        "account": done.account,
        "outcome": done.outcome,
        "day": last.day.isoformat(),
        "days": told,
        "epoch": dict(done.epoch),
        "orders": files,
    }


def _print_step(done: Stepped) -> None:
    told = _stepped(done)
    if done.outcome == "ALREADY_DONE":
        output.line(f"{done.account}: {told['day']} was done: ALREADY_DONE")
        return
    for name, (before, after) in done.epoch.items():
        output.line(f"{done.account}: new epoch: {name} {before} -> {after}")
    for day in told["days"]:
        words = [f"NAV {Decimal(day['nav']):,.2f}", f"{day['fills']} fills", f"{day['orders']} orders"]
        words += [f"tranche {one['tranche']}: {one['why']}" for one in day["missed"]]
        words += ["HISTORY_CHANGED of " + ", ".join(day["history_changed"])] if day["history_changed"] else []
        words += ["SIMULATED"] if day["simulated"] else []
        output.line(f"{done.account} {day['day']}: {', '.join(words)}")
    if told["orders"]:
        output.line(f"written, not sent: {told['orders']['csv']}")


@command("show", account_app)
def show(name: NameArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Print what an account holds, what it is worth, and the orders that are written for the next open."""
    from assay.pipeline.accounts import shown

    told = shown(home_at(home), name)
    if as_json:
        output.as_json(told)
        return
    output.line(f"{name}: {told['status']}, {told['portfolio']} ({told['headline']}), {told['days']} days")
    output.line(f"day {told['day'] or 'none yet'}: NAV {Decimal(told['nav']):,.2f}, cash {Decimal(told['cash']):,.2f}")
    _print_rows(told["holdings"], ("symbol", "quantity", "price", "value", "weight"), "no holdings")
    _print_rows(told["orders"], ("symbol", "side", "quantity", "decided", "value"), "no orders for the next open")


@command("fills", account_app)
def fills(
    name: NameArgument,
    day: Annotated[str | None, typer.Option(help="One day; default: all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List what was filled, and what was not."""
    from assay.pipeline.accounts import filled

    rows = filled(home_at(home), name, None if day is None else _day(day, "--day"))
    if as_json:
        output.as_json({"account": name, "fills": rows})
        return
    _print_rows(rows, ("day", "kind", "symbol", "quantity", "price", "fee", "cash", "reason"), "no fills")


@command("reconcile", account_app)
def reconcile(
    name: NameArgument,
    holdings: Annotated[Path, typer.Option(help="What the exchange says: CSV or JSON of symbol, quantity.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Compare what was intended, filled and held with what the exchange says; nothing is changed."""
    from assay.pipeline.accounts import reconciled

    check = reconciled(home_at(home), name, holdings)
    differs = any(line.standing in ("DIFFERS", "NOT_THERE") for line in check.lines)
    if as_json:
        output.as_json(check.document())
        return int(differs)
    rows = check.document()["lines"]
    _print_rows(rows, ("symbol", "intended", "filled", "held", "there", "drift", "standing"), "nothing is held")
    for finding in check.findings:
        output.line(f"{finding.code}: {finding.what}{output.names(finding.names)}")
    return int(differs)


@command("flow", account_app)
def flow(
    name: NameArgument,
    deposit: Annotated[str | None, typer.Option(help="Dollars that come in.")] = None,
    withdraw: Annotated[str | None, typer.Option(help="Dollars that go out.")] = None,
    on: Annotated[str | None, typer.Option(help="Day at whose close; default: the next that is stepped.")] = None,
    because: BecauseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Note a deposit or a withdrawal; the step of its day books it at the close."""
    from assay.pipeline.accounts import ask_flow

    if (deposit is None) == (withdraw is None):
        raise UsageError("one of --deposit and --withdraw is needed", where="account flow", hint="give one amount")
    text, option = (deposit, "--deposit") if deposit is not None else (str(withdraw), "--withdraw")
    amount = _amount(text or "", option)
    day = None if on is None else _day(on, "--on")
    told = ask_flow(home_at(home), name, amount if deposit is not None else -amount, day, because or "")
    if as_json:
        output.as_json(told)
        return
    output.line(f"{name}: {Decimal(told['amount']):+,.2f} at the close of {told['day'] or 'the next day stepped'}")


@command("close", account_app)
def close(
    name: NameArgument,
    because: BecauseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Close an account for good; what it holds is yours to sell, and its ledger stays."""
    from assay.pipeline.accounts import close_account

    told = close_account(home_at(home), name, because or "")
    if as_json:
        output.as_json(told)
        return
    output.line(f"{name}: closed with NAV {Decimal(told['nav']):,.2f} and {told['holdings']} coins")


@command("verify", account_app)
def verify(
    name: NameArgument,
    head: Annotated[str | None, typer.Option(help="Head that was noted elsewhere.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Check the chain of an account's ledger, its days, and that cash and quantities add up to the last digit."""
    from assay.account.verify import verify_account
    from assay.pipeline.accounts import account_folder

    verdict = verify_account(account_folder(home_at(home), name), head)
    if as_json:
        output.as_json(verdict.as_dict())
    else:
        for problem in verdict.problems:
            output.line(str(problem))
        counts = ", ".join(f"{count} {what}" for what, count in verdict.checked.items())
        output.line(f"{'OK' if verdict.ok else 'NOT OK'} {name}: {counts}")
        output.line(f"head {verdict.head}")
    return 0 if verdict.ok else 3


@command("list", account_app)
def list_accounts(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the accounts of a home."""
    from assay.pipeline.accounts import listed

    rows = listed(home_at(home))
    if as_json:
        output.as_json({"accounts": rows})
        return
    _print_rows(rows, ("account", "portfolio", "headline", "day", "nav", "status"), "no accounts")


def _print_rows(rows: list[dict[str, Any]], names: tuple[str, ...], nothing: str) -> None:
    cells = [["" if row.get(name) is None else _short(row[name]) for name in names] for row in rows]
    output.line(output.table(list(names), cells) if rows else nothing)


def _short(value: Any) -> str:
    """Shorten the digits of an amount for people; JSON has all of them."""
    text = str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return text if len(text) <= 14 else f"{number:.8g}"


def _amount(text: str, option: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(f"{text!r} is no number", where=option, hint="write digits, such as 100000 or 0.01")
    return number


def _day(text: str, option: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date", where=option, hint="write YYYY-MM-DD") from None
