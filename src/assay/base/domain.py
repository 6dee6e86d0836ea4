"""The words that every layer shares: instruments, directions, atoms and instants."""

from __future__ import annotations

import datetime as dt
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from assay.base.errors import UsageError

UTC = dt.UTC

# What spot pairs are quoted in, at Binance and elsewhere; used only where the exchange's own metadata is absent.
# fmt: off
QUOTES = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDS", "DAI", "PAX", "UST", "VAI", "USD",
    "EUR", "GBP", "AUD", "TRY", "BRL", "RUB", "UAH", "NGN", "ZAR", "PLN", "JPY", "MXN", "ARS", "RON", "CZK", "COP",
    "BIDR", "BKRW", "IDRT", "BVND", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL",
    # and other exchanges do
    "AED", "CAD", "CHF", "HKD", "IDR", "INR", "KRW", "NZD", "SEK", "SGD", "THB", "TWD",
    "EURC", "EURI", "GUSD", "PYUSD", "RLUSD", "USD1", "USDD", "USDE",
)
# fmt: on

LOGICS = ("rating_all", "rating_ma", "rating_other")
"""Signals by which a scanner may find a candidate; the rating column is ``recommend_<x>``."""

RATINGS = ("recommend_all", "recommend_ma", "recommend_other")
"""Columns of the three ratings, each in [-1, 1]."""

EARLIEST = dt.datetime(2009, 1, 1, tzinfo=UTC)
"""No coin was traded before."""
LATEST = dt.datetime(2100, 1, 1, tzinfo=UTC)
"""What claims to be later is no instant of a bar."""

BENCHMARK = "BINANCE:BTCUSDT"

Edition: TypeAlias = Literal["2026", "2021"]
"""Of the rating rules: what the screener answers since 2024-12-26, and what it did from 2021-03-31 to 2024-06-23."""
DEFAULT_EDITION: Final = "2026"
MIXED_EDITION: Final = "mixed"
"""Rules of former versions of this program, which no screener ever had; their lakes are rated anew."""


class Direction(Enum):
    """Side of an atom; the value is the sign of its physical holding."""

    LONG = 1
    SHORT = -1

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short."""
        return self.value

    @classmethod
    def parse(cls, text: str) -> Direction:
        """Read ``long``/``short`` in any case.

        >>> Direction.parse("short")
        <Direction.SHORT: -1>
        """
        try:
            return cls[text.upper()]
        except KeyError:
            raise UsageError(f"unknown direction {text!r}", hint="use LONG or SHORT") from None


_SIDES = frozenset(Direction.__members__)  # which makes a new mapping at each look


@dataclass(frozen=True, order=True, slots=True)
class Atom:
    """A selected candidate: asset x logic x direction.

    The id is built, never parsed; every table and map about atoms is keyed by the atom.

    Examples
    --------
    >>> Atom("BINANCE:BTCUSDT", "rating_all", "LONG").id
    'BINANCE:BTCUSDT_rating_all_LONG'
    """

    symbol: str
    logic: str
    direction: str
    """Name of a :class:`Direction`; a string so that atoms sort and serialise by themselves."""

    def __post_init__(self) -> None:
        if self.logic not in LOGICS:
            raise UsageError(f"unknown logic {self.logic!r}", where=self.symbol, hint=f"one of {', '.join(LOGICS)}")
        if self.direction not in _SIDES:
            raise UsageError(f"unknown direction {self.direction!r}", where=self.symbol, hint="use LONG or SHORT")

    @property
    def id(self) -> str:
        """``<symbol>_<logic>_<LONG or SHORT>``."""
        return f"{self.symbol}_{self.logic}_{self.direction}"

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short."""
        return Direction[self.direction].value


def rating_column(logic: str) -> str:
    """Return the rating that a logic reads.

    >>> rating_column("rating_ma")
    'recommend_ma'
    """
    if logic not in LOGICS:
        raise UsageError(f"unknown logic {logic!r}", hint=f"one of {', '.join(LOGICS)}")
    return logic.replace("rating_", "recommend_")


@dataclass(frozen=True, order=True, slots=True)
class Instrument:
    """One spot pair in three notations, converted without loss.

    Examples
    --------
    >>> pair = Instrument.parse("BINANCE:TUSDT")
    >>> pair.base, pair.quote, pair.exchange_symbol, pair.ccxt
    ('T', 'USDT', 'TUSDT', 'T/USDT')
    """

    exchange: str
    base: str
    quote: str

    @property
    def symbol(self) -> str:
        """TradingView notation, ``BINANCE:BTCUSDT``."""
        return f"{self.exchange}:{self.base}{self.quote}"

    @property
    def exchange_symbol(self) -> str:
        """The exchange's own notation, ``BTCUSDT``."""
        return f"{self.base}{self.quote}"

    @property
    def ccxt(self) -> str:
        """ccxt's notation, ``BTC/USDT``."""
        return f"{self.base}/{self.quote}"

    @classmethod
    def parse(cls, symbol: str) -> Instrument:
        """Split a symbol by the longest known quote at its end.

        Metadata of the exchange, where a lake has it, takes precedence over this.

        Raises
        ------
        UsageError
            If the symbol has no exchange, no known quote, or a character that no symbol may hold.
        """
        check_symbol(symbol)
        exchange, _, pair = symbol.partition(":")
        fitting = [quote for quote in QUOTES if pair.endswith(quote) and len(pair) > len(quote)]
        if not exchange or not fitting:
            raise UsageError(
                f"cannot split {symbol!r} into base and quote", hint="write EXCHANGE:BASEQUOTE with a known quote"
            )
        quote = max(fitting, key=len)
        return cls(exchange, pair.removesuffix(quote), quote)


@lru_cache(maxsize=1 << 14)
def symbol_fault(symbol: str) -> str | None:
    """Return why a text cannot be a symbol, or None.

    Any Unicode is allowed but slash, control characters and white space: a symbol may become part of a path.

    >>> symbol_fault("BINANCE:BTC/USDT")
    'a slash'
    >>> symbol_fault("BINANCE:BTC.DUSDT") is None
    True
    """
    if not symbol:
        return "no characters"
    if "/" in symbol or "\\" in symbol:
        return "a slash"
    if symbol.count(":") > 1:
        return "two colons, as a contract's"
    if any(character.isspace() for character in symbol):
        return "white space"
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in symbol):
        return "a control character"
    return None


def check_symbol(symbol: str) -> str:
    """Return the symbol, or raise :class:`UsageError` saying what is wrong with it."""
    fault = symbol_fault(symbol)
    if fault is not None:
        raise UsageError(f"symbol {symbol!r} has {fault}", hint="write it as TradingView does: BINANCE:BTCUSDT")
    return symbol


def symbol_of(text: str, exchange: str) -> str:
    """Write a pair of an exchange as TradingView does, however it was written.

    >>> [symbol_of(text, "BINANCE") for text in ("BTCUSDT", "BTC/USDT", "BINANCE:BTCUSDT", "OKX:BTCUSDT")]
    ['BINANCE:BTCUSDT', 'BINANCE:BTCUSDT', 'BINANCE:BTCUSDT', 'OKX:BTCUSDT']
    """
    named, colon, pair = text.rpartition(":")
    base, slash, quote = pair.partition("/")
    joined = f"{base}{quote}" if slash and base and quote else pair
    return f"{named}:{joined}" if colon else f"{exchange}:{joined}"


DAY = dt.timedelta(days=1)

INTERVALS = {
    "1m": dt.timedelta(minutes=1),
    "3m": dt.timedelta(minutes=3),
    "5m": dt.timedelta(minutes=5),
    "15m": dt.timedelta(minutes=15),
    "30m": dt.timedelta(minutes=30),
    "1h": dt.timedelta(hours=1),
    "2h": dt.timedelta(hours=2),
    "4h": dt.timedelta(hours=4),
    "6h": dt.timedelta(hours=6),
    "8h": dt.timedelta(hours=8),
    "12h": dt.timedelta(hours=12),
    "1d": DAY,
    "3d": dt.timedelta(days=3),
    "1w": dt.timedelta(days=7),
}
"""Length of each bar interval; a bar is known when ``open + interval <= as_of``."""


def parse_as_of(text: str) -> dt.datetime:
    """Read a UTC instant; a bare date D means its end, ``(D + 1)T00:00Z``.

    >>> parse_as_of("2024-03-31").isoformat()
    '2024-04-01T00:00:00+00:00'
    >>> parse_as_of("2024-03-31T12:00Z").isoformat()
    '2024-03-31T12:00:00+00:00'
    """
    try:
        if len(text) == 10:
            day = dt.date.fromisoformat(text)
            return dt.datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
        instant = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"cannot read {text!r} as a date", hint="write 2024-03-31 or 2024-03-31T12:00:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def format_instant(instant: dt.datetime) -> str:
    """Write an instant the one way that artifacts use.

    >>> format_instant(parse_as_of("2024-03-31"))
    '2024-04-01T00:00:00Z'
    """
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
