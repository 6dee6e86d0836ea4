"""Facts of instruments alone: what an exchange says of its pairs today, without asking for bars."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from assay.base.errors import SourceError, UsageError
from assay.lake.lake import Lake, TableChange
from assay.runs.documents import Finding
from assay.sources import facts
from assay.sources.base import midnight
from assay.sources.clients import connect
from assay.sources.exchange import ExchangeSource
from assay.sources.http import Exhausted, run
from assay.sources.rules import RuleBook


@dataclass(frozen=True)
class Refreshed:
    """What came of it.

    Attributes
    ----------
    head : int
        The lake's state now.
    changed : bool
        False where every fact is as it was: then nothing was written.
    pairs : int
        Pairs that the exchange has.
    findings : tuple of Finding
        Pairs that changed their status, are gone or cannot be read.
    """

    head: int
    changed: bool
    pairs: int
    findings: tuple[Finding, ...]


def refresh(lake: Lake) -> Refreshed:
    """Ask for the pairs of a lake's exchange and bring its ``instruments`` up to date.

    Raises
    ------
    UsageError
        If the lake's source is no exchange.
    SourceError
        If the exchange cannot be reached, or gives only a part of its pairs.
    DataError
        If the lake is empty: facts are kept beside bars.
    """
    source = lake.source
    if not isinstance(source, ExchangeSource):
        what = f"{source.name} tells nothing of instruments"
        raise UsageError(what, where="--facts", hint="give --source binance or ccxt:NAME")
    with lake.locked():
        now, book = run(_ask(source))
        snapshot = lake.latest()
        held = snapshot.instruments()
        closed = midnight(now)
        # As in an ingestion: facts meet the orders of the last close, unless a decision may have been made with others.
        since = now if snapshot.last_close() >= closed else closed
        with_bars = set(snapshot.bars(columns=("symbol",))["symbol"].unique())
        table, findings = facts.merge(held, book, with_bars, since)
        changed = held is None or not table.equals(held)
        head = lake.commit([TableChange("instruments", table, replace=True)]).head if changed else snapshot.head
    return Refreshed(head, changed, len(book.rules), tuple(findings))


async def _ask(source: ExchangeSource) -> tuple[dt.datetime, RuleBook]:
    exchange = connect(source.exchange, source.access)
    try:
        told, book = await exchange.time(), await exchange.pairs()
    except Exhausted as error:
        raise SourceError(
            f"the exchange cannot be reached: {error}",
            where=source.name,
            hint="nothing was stored: check the network and run again",
            code="SOURCE_UNREACHABLE",
        ) from error
    finally:
        await exchange.close()
    local = source.clock()
    return (local if told is None else min(told, local)), book
