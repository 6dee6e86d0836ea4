"""What an exchange's own metadata say of a pair at an instant: what it is, and whether it trades.

Permission sets tell what a name does not: a leveraged token, or a share whose pair looks as a coin's does. Their words
are read by a list in the package; of the pairs of a trade group that the list does not have, and in which no coin is
that everybody knows, nobody knows that they are coins.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from assay.market.instruments import TRADING, valid_at
from assay.market.schema import INSTRUMENTS
from assay.market.universe import KINDS, known_coins, permissions

NOT_TRADING = "not_trading"
UNKNOWN_GROUP = "unknown_group"
NOT_SPOT = "not_spot"
REASONS: tuple[str, ...] = (*KINDS, UNKNOWN_GROUP, NOT_SPOT, NOT_TRADING)
"""Why a pair is left out though its name can be read and its quote is wanted, in the order in which they are asked."""

_SPOT = "SPOT"
_GROUP = re.compile(r"TRD_GRP_\w+")
_WORD = re.compile(r"[^ &]+")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why the exchange's metadata leave a pair out."""

    kind: str
    """One of :data:`REASONS`."""
    reason: str
    """In words."""


@dataclass(frozen=True)
class ListedKinds:
    """What a table of instruments says of its pairs, at any instant.

    Parameters
    ----------
    instruments : DataFrame or None
        The lake's table; None says nothing of any pair.
    """

    instruments: pl.DataFrame | None
    _seen: dict[int, Mapping[str, LeftOut]] = field(default_factory=dict, compare=False, repr=False)

    def at(self, as_of: dt.datetime) -> Mapping[str, LeftOut]:
        """Return the pairs that are left out at an instant, with the reason.

        Examples
        --------
        >>> since = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        >>> rows = [("X:BTCUSDT", "BTC", "TRADING", "MARGIN SPOT TRD_GRP_004"), ("X:CUSDT", "C", "HALT", None)]
        >>> rows += [("X:AUSDT", "A", "TRADING", "LEVERAGED"), ("X:BUSDT", "B", "TRADING", "SPOT TRD_GRP_777")]
        >>> table = pl.DataFrame(rows, schema=["symbol", "base", "status", "permissions"], orient="row")
        >>> table = table.with_columns(valid_from=pl.lit(since), valid_to=pl.lit(None, pl.Datetime("us", "UTC")))
        >>> {symbol: out.kind for symbol, out in ListedKinds(table).at(since).items()}
        {'X:AUSDT': 'leveraged', 'X:BUSDT': 'unknown_group', 'X:CUSDT': 'not_trading'}

        What nothing is said of is not here: a pair without permission sets or status, and a symbol without a row.
        """
        if self.instruments is None:
            return {}
        changes = pl.concat([self.instruments["valid_from"], self.instruments["valid_to"].drop_nulls()])
        since = int((changes <= as_of).sum())  # the same rows are valid for as long as no other one begins or ends
        if since not in self._seen:
            self._seen[since] = _left_out(with_facts(valid_at(self.instruments, as_of)))
        return self._seen[since]


def with_facts(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of instruments with the columns of facts that former versions did not keep, all unknown.

    >>> with_facts(pl.DataFrame({"symbol": ["X:BTCUSDT"]})).columns
    ['symbol', 'permissions', 'spot_allowed']
    """
    lacking = [name for name in ("permissions", "spot_allowed") if name not in table.columns]
    return table.with_columns(pl.lit(None, INSTRUMENTS[name]).alias(name) for name in lacking)


def _left_out(valid: pl.DataFrame) -> dict[str, LeftOut]:
    rows = valid.select("symbol", "base", "status", "permissions", "spot_allowed").to_dicts()
    sets = {row["symbol"]: _sets(row["permissions"]) for row in rows}
    ordinary = _ordinary({row["symbol"]: row["base"] for row in rows}, sets)
    found = {}
    for row in rows:
        symbol = row["symbol"]
        why = _kind(sets[symbol], ordinary) or _closed(sets[symbol], row["spot_allowed"], row["status"])
        if why is not None:
            found[symbol] = why
    return found


def _sets(text: str | None) -> list[frozenset[str]]:
    return [frozenset(_WORD.findall(part)) for part in text.split("&")] if text else []


def _ordinary(bases: Mapping[str, str], sets: Mapping[str, Iterable[frozenset[str]]]) -> frozenset[str] | None:
    """Return the groups that a well-known coin is in, or a pair on margin; None where there is no such coin."""
    if known_coins().isdisjoint(bases.values()):
        return None
    return frozenset(
        word
        for symbol, own in sets.items()
        for one in own
        for word in one
        if bases[symbol] in known_coins() or "MARGIN" in one
    )


def _kind(sets: list[frozenset[str]], ordinary: frozenset[str] | None) -> LeftOut | None:
    words = sorted(frozenset().union(*sets))
    for word in words:
        if word in permissions():
            kind, reason = permissions()[word]
            return LeftOut(kind, f"{reason} ({word})")
    if ordinary is None:
        return None
    apart = [word for word in words if _GROUP.fullmatch(word) and word not in ordinary]
    what = (
        f"the exchange keeps it in {', '.join(apart)}, in which no well-known coin is: nobody knows that it is a coin"
    )
    return LeftOut(UNKNOWN_GROUP, what) if apart else None


def _closed(sets: list[frozenset[str]], spot_allowed: bool | None, status: str | None) -> LeftOut | None:
    if spot_allowed is False or any(_SPOT not in one for one in sets):
        return LeftOut(NOT_SPOT, "the exchange does not open it to spot orders of every account")
    if status not in (None, TRADING):
        return LeftOut(NOT_TRADING, f"the exchange says {status}, not {TRADING}")
    return None
