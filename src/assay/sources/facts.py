"""What the exchange says of its pairs today, joined to what the lake knows: facts with the dates they were valid.

When facts become valid
-----------------------
A decision is made for the instant at which the last bar closed, a midnight, and an ingestion comes some minutes after
it. Facts seen then are those that the decision's orders will meet, so that they are valid *from that midnight on*: from
the minute of the ingestion on they would be missing at every decision, and a pair that is missing is vetoed. Only where
the lake already held the bars up to that midnight may a decision have been made with the old facts; what is new then is
valid from the moment it was seen.

Before the first look at a pair nothing is known of it but that it may have existed. Its first row says so: base,
quote and permission sets, which say what the pair is, all other facts null, from 2009 on. Today's status or filters
must not reach into the past (a coin that is halted today was traded then), and a missing row would veto every coin in
the whole history. What one side does not tell (an older lake's table, an answer that leaves permission sets out)
changes nothing of what is known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.base import files
from assay.base.domain import EARLIEST, Instrument
from assay.base.errors import IntegrityError, SourceError, UsageError
from assay.market.instruments import TRADING
from assay.market.schema import INSTRUMENTS
from assay.runs.documents import Finding
from assay.sources.acceptance import NOTHING_ACCEPTED, SHRUNK, Acceptance, digest, offer
from assay.sources.base import midnight
from assay.sources.loading import finding
from assay.sources.rules import RuleBook

FACTS = ("base", "quote", "status", "tick_size", "step_size", "min_qty", "min_notional", "margin_allowed")
LATER_FACTS = ("spot_allowed", "permissions")
"""Facts that an older lake does not have, and an answer may leave out."""
_SHRUNK = 0.2
_SHRUNK_LEAST = 5
_HALF_LEAST = 3
"""Pairs that are no accident where they are half of all."""


@dataclass(frozen=True)
class Judge:
    """Which source is judged, as users write it, and what they accept of it."""

    source: str = ""
    accept: Acceptance = NOTHING_ACCEPTED


LOOKS = "instruments_shrunk.json"
"""File of a lake: which trading pairs a refused answer lacked, and on which days."""
_LOOKS_ENOUGH = 3
"""Days on which an answer that lacks the same pairs is no accident."""


def merge(
    held: pl.DataFrame | None,
    book: RuleBook,
    with_bars: Collection[str],
    since: dt.datetime,
    folder: Path | None = None,
    judge: Judge | None = None,
) -> tuple[pl.DataFrame, list[Finding]]:
    """Join today's facts to the table of the lake.

    Parameters
    ----------
    held : DataFrame or None
        The lake's ``instruments``.
    book : RuleBook
        What the exchange says now.
    with_bars : collection of str
        Symbols of which the lake has, or will have, bars.
    since : datetime
        From when on what is new is valid; see the module.
    folder : Path, optional
        The lake's, where refused answers are noted.
    judge : Judge, optional
        What the user accepts, and of which source.

    Returns
    -------
    tuple of DataFrame and list of Finding
        The whole table, sorted by symbol and valid_from; pairs that changed their status, are gone, or are unreadable.

    Raises
    ------
    SourceError
        If more than a fifth of the trading pairs, or of few the half, are gone at once (``INSTRUMENTS_SHRUNK``): the
        answer is a part. On the third day on which the same ones are gone, or where the user accepts it, it is taken.
    """
    old = held if held is not None else pl.DataFrame(schema=INSTRUMENTS)
    fresh = book.frame().with_columns(valid_from=pl.lit(since).cast(INSTRUMENTS["valid_from"]))
    old, fresh = _told(old, fresh)
    current = old.filter(pl.col("valid_to").is_null())
    both = current.join(fresh, on="symbol", suffix="_now")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in (*FACTS, *LATER_FACTS))
    changed = both.filter(differs)
    gone = current.join(fresh, on="symbol", how="anti").filter(~pl.col("symbol").is_in(list(book.unreadable)))
    trading = pl.col("status").eq_missing(TRADING)
    lost = gone.filter(trading)["symbol"].sort().to_list()
    before = current.filter(trading)["symbol"].sort().to_list()
    taken = _shrinkage(lost, before, folder, since.date(), judge or Judge())
    ended = pl.concat([changed.select("symbol"), gone.select("symbol")])["symbol"].to_list()
    closed = pl.col("symbol").is_in(ended) & pl.col("valid_to").is_null()
    kept = old.with_columns(
        valid_to=pl.when(closed).then(pl.lit(since)).otherwise("valid_to").cast(INSTRUMENTS["valid_to"])
    ).filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from")))
    started = fresh.filter(pl.col("symbol").is_in(changed["symbol"].to_list()))
    returned = fresh.join(current, on="symbol", how="anti")
    pairs = {symbol: rule.instrument for symbol, rule in book.rules.items()}
    kinds = {symbol: rule.permissions for symbol, rule in book.rules.items()}
    others = {s: p for s in with_bars if s not in pairs and (p := split(s)) is not None}
    unseen = _before(old, pairs | others, since, kinds)
    table = pl.concat([kept, started, returned, unseen]).select(list(INSTRUMENTS)).sort("symbol", "valid_from")
    return table, [*taken, *_findings(changed, gone, book)]


def _told(old: pl.DataFrame, fresh: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Fill in what one side tells of the later facts and the other does not; a pair's kind is told of its past too."""
    current = old.filter(pl.col("valid_to").is_null())
    known = fresh.select("symbol", *LATER_FACTS).join(
        current.select("symbol", *LATER_FACTS), on="symbol", how="left", suffix="_old", maintain_order="left"
    )
    fresh = fresh.with_columns(known[name].fill_null(known[f"{name}_old"]).alias(name) for name in LATER_FACTS)
    now = old.join(fresh.select("symbol", *LATER_FACTS), on="symbol", how="left", suffix="_now", maintain_order="left")
    open_ended = pl.col("valid_to").is_null()
    filled = now.with_columns(
        permissions=pl.coalesce("permissions", "permissions_now"),
        spot_allowed=pl.coalesce("spot_allowed", pl.when(open_ended).then("spot_allowed_now")),
    )
    return filled.select(old.columns), fresh


def valid_since(now: dt.datetime, last_close: dt.datetime | None) -> dt.datetime:
    """Return from when on facts that are seen now are valid, in a lake whose bars end there; see the module."""
    closed = midnight(now)
    return now if last_close is not None and last_close >= closed else closed


def unseen(held: pl.DataFrame, with_bars: Collection[str], since: dt.datetime) -> pl.DataFrame:
    """Return the lake's table with the row of what is not known, for symbols with bars that it has no row of.

    An archive has the bars of pairs that the exchange no longer lists: nothing is known of them before ``since``, and
    they are absent after it.
    """
    pairs = {symbol: pair for symbol in with_bars if (pair := split(symbol)) is not None}
    return pl.concat([held, _before(held, pairs, since)]).sort("symbol", "valid_from")


def _before(
    old: pl.DataFrame,
    pairs: Mapping[str, Instrument],
    since: dt.datetime,
    kinds: Mapping[str, str | None] | None = None,
) -> pl.DataFrame:
    """Return the row of what was before the first look, of every pair that has none."""
    seen = set(old["symbol"].to_list())
    span, kinds = {"valid_from": EARLIEST, "valid_to": since}, kinds or {}
    rows = [
        {"symbol": symbol, "base": pair.base, "quote": pair.quote, "permissions": kinds.get(symbol), **span}
        for symbol, pair in pairs.items()
        if symbol not in seen
    ]
    return pl.DataFrame(rows, schema=INSTRUMENTS)


def split(symbol: str) -> Instrument | None:
    """Return a pair by the known list of quotes, None where none of them fits."""
    try:
        return Instrument.parse(symbol)
    except UsageError:
        return None


def _shrinkage(gone: list[str], were: list[str], folder: Path | None, day: dt.date, judge: Judge) -> list[Finding]:
    """Refuse an answer that lacks many trading pairs, until it is the same on some days; then say that it was taken."""
    path, before = None if folder is None else folder / LOOKS, len(were)
    half = len(gone) >= _HALF_LEAST and 2 * len(gone) >= before
    if not half and len(gone) <= max(_SHRUNK_LEAST, _SHRUNK * before):
        if path is not None:
            path.unlink(missing_ok=True)
        return []
    days = _looks(path, gone) | {day.isoformat()}
    if len(days) >= _LOOKS_ENOUGH:
        return finding(SHRUNK, gone)
    command = f"ingest --source {judge.source}"
    state, what = digest({"gone": gone, "trading": were}), f"{len(gone)} of {before} trading pairs are gone"
    if judge.accept.takes(SHRUNK, state, what):
        if path is not None:
            path.unlink(missing_ok=True)
        return [Finding(code=SHRUNK, what=f"accepted: {what}: {judge.accept.because}", count=len(gone), names=gone)]
    if path is not None:
        files.write_json(path, {"gone": gone, "days": sorted(days)})
    raise SourceError(
        f"{len(gone)} of {before} trading pairs are missing from exchangeInfo: the answer is only a part",
        where="exchangeInfo",
        hint="nothing was stored; look at the exchange's announcements, and try again later: an answer that lacks the "
        f"same pairs on {_LOOKS_ENOUGH} days is taken, this is day {len(days)}; " + offer(command, SHRUNK, state),
        code=SHRUNK,
    )


def _looks(path: Path | None, gone: list[str]) -> set[str]:
    """Return the days on which the same pairs were missing; none where the note of them cannot be read."""
    try:
        noted: Any = {} if path is None else files.read_json(path)
        return set(noted["days"]) if noted["gone"] == gone else set()
    except (OSError, IntegrityError, KeyError, TypeError):
        return set()


def _findings(changed: pl.DataFrame, gone: pl.DataFrame, book: RuleBook) -> list[Finding]:
    status = changed.filter(pl.col("status").ne_missing(pl.col("status_now")))
    return [
        *finding("PAIR_STATUS", status["symbol"].to_list()),
        *finding("PAIR_GONE", gone["symbol"].to_list()),
        *finding("PAIR_UNREADABLE", book.unreadable),
    ]
