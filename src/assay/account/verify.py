"""Verify an account: its chain by the verifier of runs, its days, and sums to the last digit."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from itertools import pairwise
from pathlib import Path

from assay.account.ledger import ASKED, BETWEEN, CLOSE, CLOSE_DAY, GENESIS, KINDS, LEDGER, ClosedDay, content_of, split
from assay.account.money import EXACT, text, total
from assay.account.state import apply, replay
from assay.base import files
from assay.base.errors import AssayError
from assay.runs.verify import Entry, Problem, Verdict, newer, read_chain

COPY = re.compile(r"(\d{4}-\d\d-\d\d)\.(?:csv|json|md|html)")


def verify_account(folder: Path, head: str | None = None) -> Verdict:
    """Verify an account as it lies there.

    Parameters
    ----------
    folder : Path
        Of the account; its name must be the account's.
    head : str, optional
        Hash of a line that was noted elsewhere: the ledger must hold it.

    Returns
    -------
    Verdict
        ``sealed`` says whether the account was closed.
    """
    verdict = Verdict(folder.name)
    try:
        data = files.read(folder / LEDGER)
    except AssayError as error:
        verdict.add("LEDGER_MISSING", LEDGER, error.what)
        return verdict
    chain = read_chain(data, LEDGER, KINDS)
    entries, (days, begun) = chain.entries, split(chain.entries)
    verdict.head, verdict.sealed = chain.head, any(entry.kind == CLOSE for entry in entries)
    verdict.checked.update(lines=len(entries), days=len(days))
    if entries and (fault := newer(entries[0].body)):
        verdict.add("NEWER_FORMAT", f"{LEDGER} line 1", fault)
        return verdict
    try:
        verdict.problems.extend(_order(folder.name, entries))
        verdict.problems.extend(_days(entries, days))
        verdict.problems.extend(_sums(entries, days, verdict))
    except (KeyError, TypeError, ValueError, InvalidOperation, AttributeError) as error:
        verdict.add("SHAPE", LEDGER, f"a field is missing or of the wrong type: {error!r}")
    if chain.fault is not None:
        verdict.problems.append(chain.fault)
    elif chain.torn or begun:
        what = "a day was not written to its end: the next step cuts it, and does it again"
        verdict.add("UNCLOSED", f"{LEDGER} line {len(entries) - len(begun) + 1}", what)
    verdict.problems.extend(_copies(folder, days))
    if head is not None and head.lower() not in {entry.hash for entry in entries}:
        verdict.add("NOTED_HEAD", LEDGER, f"the ledger has no line of the noted head {head}")
    return verdict


def _where(entry: Entry) -> str:
    return f"{LEDGER} line {entry.seq + 1}"


def _order(name: str, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Check which lines stand where: one genesis, whole days, nothing behind the end."""
    if not entries or entries[0].kind != GENESIS:
        yield Problem("GENESIS", f"{LEDGER} line 1", "a ledger begins with its genesis")
        return
    if entries[0].body["account"] != name:
        what = f"the ledger is of account {entries[0].body['account']!r}, the folder is called {name!r}"
        yield Problem("ACCOUNT_NAME", f"{LEDGER} line 1", what)
    inside = False
    for before, entry in pairwise(entries):
        if entry.kind == GENESIS:
            yield Problem("GENESIS", _where(entry), "a ledger has one genesis")
        if before.kind == CLOSE:
            yield Problem("AFTER_CLOSE", _where(entry), "something follows the end of the account")
        if inside and entry.kind in BETWEEN:
            yield Problem("UNCLOSED", _where(entry), "a day has no end, and other lines follow it")
        inside = entry.kind not in BETWEEN and entry.kind != CLOSE_DAY


def _days(entries: Sequence[Entry], days: Sequence[ClosedDay]) -> Iterator[Problem]:
    """Check that each day follows the one before, and is what its last line says."""
    last: dt.date | None = None
    start = entries[0].body.get("start") if entries else None
    for day in days:
        where = _where(day.close)
        if last is None and start is not None and day.day.isoformat() != start:
            yield Problem("DAY_ORDER", where, f"the account begins on {start}, and its first day is {day.day}")
        if last is not None and day.day != last + dt.timedelta(days=1):
            yield Problem("DAY_ORDER", where, f"{day.day} follows {last}: a day was done twice, or left out")
        if any(entry.body.get("day") != day.day.isoformat() for entry in day.entries):
            yield Problem("DAY_ORDER", where, f"a line of {day.day} names another day")
        if content_of([(entry.kind, entry.body) for entry in day.entries]) != day.close.body["content"]:
            yield Problem("DAY_CONTENT", where, f"the lines of {day.day} are not those that were closed")
        if len(day.bodies("mark")) != 1:
            yield Problem("DAY_ORDER", where, f"{day.day} is not marked once")
        last = day.day


def _sums(entries: Sequence[Entry], days: Sequence[ClosedDay], verdict: Verdict) -> Iterator[Problem]:
    """Replay every line; check cash, quantities, asked flows and states, each to the last digit."""
    if not entries or entries[0].kind != GENESIS:
        return
    sums = _Sums(entries)
    with localcontext(EXACT):
        for entry in entries[1:]:
            try:
                sums.state = apply(sums.state, entry)
            except AssayError as error:
                yield Problem("SUM", _where(entry), error.what)
                return
            if (look := getattr(sums, entry.kind, None)) is not None and (found := look(entry)) is not None:
                code, what = found
                yield Problem(code, _where(entry), what)
        for symbol, amounts in sorted(sums.units.items()):
            if total(amounts) != sums.state.net(symbol):
                what = f"fills of {symbol} come to {text(total(amounts))}, and {text(sums.state.net(symbol))} are held"
                yield Problem("SUM", LEDGER, what)
    verdict.checked["fills"] = sum(map(len, sums.units.values()))
    verdict.checked["sums"] = len(sums.units) + len(days)


class _Sums:
    """All movements so far, kind by kind; a method says what is wrong with a line of its name, or None."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.state = replay(entries[:1])
        self.moved = [Decimal(entries[0].body["nav"])]
        self.units: dict[str, list[Decimal]] = {}
        self.trades: dict[tuple[str, str], str] = {}
        self.waiting = {entry.seq for entry in entries if entry.kind == ASKED}

    def fill(self, entry: Entry) -> tuple[str, str] | None:
        """Book a trade on one day only; it may fill the orders of several tranches."""
        body = entry.body
        self.moved.append(Decimal(body["cash"]))
        self.units.setdefault(body["symbol"], []).append(Decimal(body["quantity"]))
        if body.get("trade_id") is None:
            return None
        key = str(body["venue"]), str(body["trade_id"])
        if self.trades.setdefault(key, body["day"]) != body["day"]:
            return "TRADE_TWICE", f"trade {key[1]} of {key[0]} was booked on {self.trades[key]}"
        return None

    def borrow(self, entry: Entry) -> None:
        """Take borrow from cash."""
        self.moved.append(-Decimal(entry.body["amount"]))

    def flow(self, entry: Entry) -> tuple[str, str] | None:
        """Move money once for each time that it was asked for."""
        self.moved.append(Decimal(entry.body["amount"]))
        if entry.body["request"] not in self.waiting:
            return "FLOW", "nobody asked for it, or it was booked before"
        self.waiting.remove(entry.body["request"])
        return None

    def mark(self, entry: Entry) -> tuple[str, str] | None:
        """Compare cash with all that moved."""
        if total(self.moved) == Decimal(entry.body["cash"]):
            return None
        return "SUM", f"cash is {entry.body['cash']}, and all movements come to {text(total(self.moved))}"

    def close_day(self, entry: Entry) -> tuple[str, str] | None:
        """Compare the state with that which the day was closed with."""
        if files.content_hash_json(self.state.document()) == entry.body["state"]:
            return None
        return "STATE", f"the lines do not make the state that {entry.body['day']} was closed with"


def _copies(folder: Path, days: Sequence[ClosedDay]) -> Iterator[Problem]:
    """Name copies of days that the ledger does not have: its end was cut off."""
    last = days[-1].day.isoformat() if days else ""
    found = sorted(path for part in ("orders", "reports") for path in (folder / part).glob("*") if path.is_file())
    for path in found:
        told = COPY.fullmatch(path.name)
        if told is not None and told[1] > last:
            what = f"the ledger ends with {last or 'no day'}: its end was cut off, or somebody put it there"
            yield Problem("LEDGER_CUT", f"{path.parent.name}/{path.name}", what)
            return
