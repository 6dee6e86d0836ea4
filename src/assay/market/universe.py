"""What may be traded: which bases are coins, and which pair of a base stands for it.

Fiat, stablecoins, metal-backed, leveraged and wrapped tokens and tokenized shares are no coins; a dated list in the
package names them, and :mod:`assay.market.kinds` reads what the exchange itself says. A suffix says nothing: JUP ends
as BTCUP does and is a coin. A base is traded once, whoever asks: a scanner, or a book of all coins.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from assay.base.constants import Bools, Floats, Ints
from assay.base.domain import Instrument, symbol_fault
from assay.base.errors import UsageError
from assay.market.panel import Market

Kind = Literal["fiat", "stablecoin", "metal", "leveraged", "wrapped", "tokenized_share"]
KINDS: tuple[Kind, ...] = ("fiat", "stablecoin", "metal", "leveraged", "wrapped", "tokenized_share")
Metadata = tuple[tuple[str, str, str], ...]
"""(symbol, base, quote) as the exchange's own table, or a provider, splits pairs; the last of several counts."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a base, as the exchange writes it, is not traded; None for days on which it always stood for that asset."""

    base: str
    kind: Kind
    reason: str
    since: dt.date | None = None
    until: dt.date | None = None

    def holds(self, on: dt.date | None) -> bool:
        """Whether the exclusion holds on a day; without a day, whether it ever did."""
        if on is None:
            return True
        return (self.since is None or self.since <= on) and (self.until is None or on <= self.until)


def excluded(base: str, on: dt.date | None = None) -> Exclusion | None:
    """Return why a base is not a coin to trade, or None if it is one.

    Parameters
    ----------
    base : str
        Asset as the exchange writes it.
    on : date, optional
        Day of the question; some letters named something else on other days.

    Examples
    --------
    >>> excluded("BTCUP").kind
    'leveraged'
    >>> excluded("JUP") is None
    True
    >>> excluded("BULL", dt.date(2020, 1, 1)).kind, excluded("BULL", dt.date(2025, 1, 1))
    ('leveraged', None)
    """
    entry = exclusions().get(base)
    return entry if entry is not None and entry.holds(on) else None


@lru_cache(maxsize=1)
def exclusions() -> dict[str, Exclusion]:
    """Return the whole list by base.

    Raises
    ------
    ValueError
        If a base stands in two classes, or a note has no base: the file in the package is wrong.
    """
    table = _document()
    entries: dict[str, Exclusion] = {}
    for kind in KINDS:
        group = table[kind]
        notes: dict[str, dict[str, Any]] = group.get("notes", {})
        for base in group["bases"]:
            if base in entries:
                raise ValueError(f"universe.toml names {base} twice: {entries[base].kind} and {kind}")
            entries[base] = Exclusion(base, kind, **{"reason": group["reason"], **notes.get(base, {})})
        if not notes.keys() <= set(group["bases"]):
            raise ValueError(f"universe.toml has notes without a base: {sorted(notes.keys() - set(group['bases']))}")
    return entries


@lru_cache(maxsize=1)
def permissions() -> Mapping[str, tuple[Kind, str]]:
    """Return what words of an exchange's permission sets say of a pair: kind and reason.

    >>> permissions()["LEVERAGED"][0]
    'leveraged'
    """
    return {word: (entry["kind"], entry["reason"]) for word, entry in _document()["permissions"].items()}


@lru_cache(maxsize=1)
def known_coins() -> frozenset[str]:
    """Return bases that are coins for certain: a trade group that one of them is in says nothing of a pair."""
    return frozenset(_document()["known_coins"])


def compiled_on() -> dt.date:
    """Return the day for which the list was compiled."""
    day: dt.date = _document()["compiled"]
    return day


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    return tomllib.loads(files("assay.market").joinpath("universe.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Pairs:
    """What the symbols of a market are; arrays are (n_symbols,)."""

    faults: tuple[str | None, ...]
    """Why a symbol cannot be split; None where it can."""
    faulty: Bools
    foreign: Bools
    """Of another exchange."""
    rank: Ints
    """Rank of the quote, -1 where the universe does not have it."""
    base: Ints
    """Code of the base: equal bases, equal codes."""
    suspects: tuple[tuple[int, str], ...]
    """Columns whose base stands on the list of exclusions, on whatever days."""
    spellings: tuple[frozenset[str], ...] = ()
    """How each may be named: by symbol, pair or base."""

    def named(self, coins: Collection[str]) -> Bools:
        """Columns that one of the names is of, ``BTC``, ``BTCUSDT``, ``BTC/USDT`` or ``BINANCE:BTCUSDT``."""
        return np.array([not names.isdisjoint(coins) for names in self.spellings], dtype=np.bool_)

    def excluded(self, on: dt.date, kind: str | None = None) -> Bools:
        """Columns whose base is no coin on a day, or of one kind of what is none."""
        mask = np.zeros(self.rank.size, dtype=np.bool_)
        found = ((column, excluded(base, on)) for column, base in self.suspects)
        mask[[column for column, entry in found if entry is not None and kind in (None, entry.kind)]] = True
        return mask

    def coins(self, on: dt.date) -> Bools:
        """Columns of the universe whose base is a coin on a day."""
        return ~(self.faulty | self.foreign | (self.rank < 0) | self.excluded(on))

    def traded(self, columns: Ints, value: Floats, advantage: float) -> Ints:
        """Return the pair that is traded for the base of each column.

        The best ranked quote, unless a lower one trades more than ``advantage`` times its value.

        Parameters
        ----------
        columns : (n_columns,) int array
            Pairs that may be traded; all of the universe.
        value : (n_symbols,) array
            Value traded in quote currency on the last closed day.
        advantage : float
            See :class:`assay.settings.model.Universe`.

        Examples
        --------
        >>> pairs = pairs_of(("BINANCE:XUSDC", "BINANCE:XUSDT", "BINANCE:YUSDC"), (), "BINANCE", ("USDT", "USDC"))
        >>> columns = np.arange(3)
        >>> [pairs.traded(columns, np.array([usdc, 1.0, 1.0]), 3.0).tolist() for usdc in (3.0, 3.1)]
        [[1, 1, 2], [0, 0, 2]]
        """
        best: dict[int, int] = {}
        for column in columns[np.argsort(self.rank[columns], kind="stable")].tolist():
            rival = best.setdefault(self.base[column], column)
            if value[column] > advantage * value[rival]:
                best[self.base[column]] = column
        return np.array([best[base] for base in self.base[columns]], dtype=np.int64)


@lru_cache(maxsize=16)
def pairs_of(symbols: tuple[str, ...], metadata: Metadata, exchange: str, quotes: tuple[str, ...]) -> Pairs:
    """Split the symbols of a market, once for each tuple of symbols.

    Parameters
    ----------
    symbols : tuple of str
        Any.
    metadata : Metadata
        Splits that are known; other symbols are split by the known quotes.
    exchange : str
        Whose pairs are wanted.
    quotes : tuple of str
        Allowed quotes in order of rank.
    """
    known = {symbol: (base, quote) for symbol, base, quote in metadata}
    faults: list[str | None] = []
    split: list[Instrument | None] = []
    for symbol in symbols:
        instrument, fault = _split(symbol, known.get(symbol))
        split.append(instrument)
        faults.append(fault)
    codes: dict[str, int] = {}
    # A symbol that cannot be split shares its base with nothing.
    base = [codes.setdefault(pair.base if pair else f"?{i}", len(codes)) for i, pair in enumerate(split)]
    return Pairs(
        faults=tuple(faults),
        faulty=np.array([fault is not None for fault in faults], dtype=np.bool_),
        foreign=np.array([pair is not None and pair.exchange != exchange for pair in split], dtype=np.bool_),
        rank=np.array(
            [quotes.index(pair.quote) if pair and pair.quote in quotes else -1 for pair in split], dtype=np.int64
        ),
        base=np.array(base, dtype=np.int64),
        spellings=tuple(
            frozenset({symbol, *((pair.base, pair.exchange_symbol, pair.ccxt) if pair else ())})
            for symbol, pair in zip(symbols, split, strict=True)
        ),
        suspects=tuple((i, pair.base) for i, pair in enumerate(split) if pair and pair.base in exclusions()),
    )


def _split(symbol: str, known: tuple[str, str] | None) -> tuple[Instrument | None, str | None]:
    """Split a symbol by the exchange's metadata, else by the known quotes; a fault in words where neither can."""
    fault = symbol_fault(symbol)
    if fault is not None:
        return None, f"the symbol has {fault}"
    if known is not None:
        return Instrument(symbol.partition(":")[0], *known), None
    try:
        return Instrument.parse(symbol), None
    except UsageError as error:
        return None, error.what


def market_metadata(market: Market) -> Metadata:
    """Return base and quote as the exchange's own table has them, the latest row of each symbol last."""
    if market.instruments is None:
        return ()
    return tuple(market.instruments.sort("valid_from").select("symbol", "base", "quote").iter_rows())
