"""What a whole file says that no row of it shows: names in several notations, columns of nothing, rows far off.

Each is refused, put aside or named before anything is stored or rated, with the one cause in words.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from typing import Any

import polars as pl

from assay.base.domain import BENCHMARK, DAY, QUOTES, Instrument, symbol_fault
from assay.base.errors import SourceError, UsageError
from assay.market.holes import LEAST_COINS, LONGEST_HOLE, MOST_LACK
from assay.runs.documents import Finding

EXCHANGE = BENCHMARK.partition(":")[0]
"""Whose pairs names are that tell no exchange: the one that the profiles name."""
STRAY = "STRAY"
TOLD_IN_RUNS = frozenset(
    {"SYMBOLS_MIXED", "NO_EXCHANGE", "OTHER_EXCHANGE", "QUOTE_VOLUME_ZERO", "END_REFUSED", f"QUARANTINE_{STRAY}"}
    | {"HOLE_TOO_LONG", "VANISHED"}
)
"""What the reading of a source found that a reader of a run must know too."""
_PAIR = re.compile(r"(?:([^:/\s]+):)?([^:/\s_-]+)([/_-])([^:/\s_-]+)")
_A_PAIR = "a pair is written in capitals and ends in a known quote"
_MOST_ZERO = 0.5
"""Share of the traded bars whose quote volume may be 0: beyond it the column says nothing."""
_NOT_LATER = ("FORMING", "FUTURE", STRAY)
"""Reasons for which a row may lie behind the last bar without a word more."""


def read_symbols(names: Collection[str], exchange: str = EXCHANGE) -> dict[str, str]:
    """Return the names that are read as another one, ``BINANCE:BTCUSDT`` for ``BTCUSDT`` and ``BTC/USDT``.

    Parameters
    ----------
    names : collection of str
        As a file has them.
    exchange : str
        Whose pairs names are that tell no exchange.

    Examples
    --------
    >>> read_symbols(["BTCUSDT", "ETH/USDT", "BINANCE:XRPUSDT", "apples"])
    {'BTCUSDT': 'BINANCE:BTCUSDT', 'ETH/USDT': 'BINANCE:ETHUSDT'}
    >>> read_symbols(["SOL-USDC", "KRAKEN:ADA/USD"])
    {'SOL-USDC': 'BINANCE:SOLUSDC', 'KRAKEN:ADA/USD': 'KRAKEN:ADAUSD'}
    """
    read = {name: _canonical(name, exchange) for name in names}
    return {name: symbol for name, symbol in read.items() if symbol != name}


def _canonical(name: str, exchange: str) -> str:
    pair = _PAIR.fullmatch(name)
    if pair is not None and pair[4] in QUOTES and (pair[3] == "/" or pair[1] is None):
        symbol = Instrument(pair[1] or exchange, pair[2], pair[4]).symbol
        return symbol if symbol_fault(symbol) is None else name
    if ":" in name:
        return name
    try:
        return Instrument.parse(f"{exchange}:{name}").symbol
    except UsageError:
        return name


def _may_be_pair(symbol: str) -> bool:
    """Say whether a name has an exchange, and both it and a quote in capitals; a base may have small letters."""
    exchange, colon, _ = symbol.partition(":")
    if symbol == symbol.upper():
        return bool(colon)
    try:
        return Instrument.parse(symbol).exchange == exchange.upper()
    except UsageError:
        return False


def check_names(names: Collection[str], where: str, exchange: str = EXCHANGE) -> tuple[dict[str, str], list[Finding]]:
    """Read the names of a file; see :func:`read_symbols`.

    Raises
    ------
    SourceError
        ``SYMBOLS_UNREADABLE`` if no name tells a pair.
    """
    read = read_symbols(names, exchange)
    known: dict[str, list[str]] = {}
    for name in sorted(names):
        known.setdefault(read.get(name, name), []).append(name)
    bad = sorted(name for name in names if not _may_be_pair(read.get(name, name)))
    if bad and len(bad) == len(names):
        what = f"no symbol can be read as a pair, such as {', '.join(map(repr, bad[:3]))}: {_A_PAIR}"
        hint = "write symbols as BINANCE:BTCUSDT, BTCUSDT or BTC/USDT"
        raise SourceError(what, where=where, hint=hint, code="SYMBOLS_UNREADABLE")
    found = []
    if read:
        what = f"symbols were read as {exchange}:BTCUSDT is written; those that name no exchange as {exchange}'s"
        found.append(Finding(code="SYMBOLS_READ", what=what, count=len(read), names=sorted(read)))
    mixed = sorted(" and ".join(own) for own in known.values() if len(own) > 1)
    if mixed:
        what = "coins come under several names; their rows were put together"
        found.append(Finding(code="SYMBOLS_MIXED", what=what, count=len(mixed), names=mixed))
    foreign = sorted(name for name in set(names).difference(bad) if read.get(name, name).partition(":")[0] != exchange)
    if foreign:
        exchanges = ", ".join(sorted({name.partition(":")[0] for name in foreign}))
        what = f"symbols are of {exchanges}: scanners look at them only where their universe.exchange names it"
        found.append(Finding(code="OTHER_EXCHANGE", what=what, count=len(foreign), names=foreign))
    if bad:
        what = f"symbols cannot be read as a pair, so that no scanner looks at them: {_A_PAIR}"
        found.append(Finding(code="NO_EXCHANGE", what=what, count=len(bad), names=bad))
    return read, found


def check_volumes(bars: pl.DataFrame, where: str) -> list[Finding]:
    """Look for volumes that cannot be: nothing traded at all, or traded for no money.

    Parameters
    ----------
    bars : DataFrame
        Good bars, with ``symbol``, ``volume`` and ``quote_volume``.
    where : str
        Name of the file, for messages.

    Raises
    ------
    SourceError
        ``VOLUME_ZERO`` if no bar has volume, ``QUOTE_VOLUME_ZERO`` if most bars with volume have a quote volume of 0.
    """
    traded = bars.filter(pl.col("volume") > 0)
    if traded.is_empty():
        what = f"volume is 0 in all {bars.height:,} bars: nothing was traded, and nothing can be rated"
        raise SourceError(what, where=where, hint="write the volume in base currency", code="VOLUME_ZERO")
    odd = traded.filter(pl.col("quote_volume") == 0)
    if odd.height > _MOST_ZERO * traded.height:
        what = (
            f"quote_volume is 0 in {odd.height:,} of {traded.height:,} bars that have volume: no coin would be traded"
        )
        hint = "write the value traded, or leave the column out: close x volume is taken then"
        raise SourceError(what, where=where, hint=hint, code="QUOTE_VOLUME_ZERO")
    if odd.is_empty():
        return []
    names = odd["symbol"].unique().sort().to_list()
    what = "bars have volume and a quote volume of 0: no scanner finds these coins on these days"
    return [Finding(code="QUOTE_VOLUME_ZERO", what=what, count=odd.height, names=names)]


def strays(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of daily bars that lie far from all others: their days would be the data's end, or its begin.

    A stretch of at most ten days on which hardly any coin has a bar, more than ten days before or after what the
    others have.

    Parameters
    ----------
    bars : DataFrame
        ``code`` of the coin, ``open_time`` and ``row``.
    """
    days = bars.group_by("open_time").agg("code").sort("open_time")
    begins = (days["open_time"].diff() > (LONGEST_HOLE + 1) * DAY).fill_null(False)
    if not begins.any():
        return bars.clear()
    days = days.with_columns(begins.cast(pl.Int32).cum_sum().alias("stretch"))
    told = (
        days.explode("code").group_by("stretch").agg(pl.col("code").n_unique().alias("coins"), pl.len().alias("rows"))
    )
    told = told.join(days.group_by("stretch").len("days"), on="stretch")
    most = told.sort("rows", descending=True).row(0, named=True)
    # One is few of any number, and a tenth is not: 1 - 0.9 is a little less than a tenth.
    few = (pl.col("coins") <= max(1.0, round((1 - MOST_LACK) * most["coins"], 9))) & (pl.col("days") <= LONGEST_HOLE)
    odd = told.filter(few & (pl.col("stretch") != most["stretch"]))
    if most["coins"] < LEAST_COINS or odd.is_empty():
        return bars.clear()
    times = days.filter(pl.col("stretch").is_in(odd["stretch"].to_list()))["open_time"]
    return bars.filter(pl.col("open_time").is_in(times.to_list()))


def refused_behind(rejected: pl.DataFrame, last: dt.datetime) -> pl.DataFrame:
    """Return the refused rows behind the last bar, which would have been the data's end."""
    return rejected.filter((pl.col("open_time") > last) & ~pl.col("reason").is_in(_NOT_LATER))


def check_end(bars: pl.DataFrame, rejected: pl.DataFrame) -> list[Finding]:
    """Say where the data end earlier than their rows do, since the last ones were refused."""
    last: Any = bars["open_time"].max()
    later = refused_behind(rejected, last)
    if later.is_empty():
        return []
    names = later["symbol"].drop_nulls().unique().sort().to_list()
    end: Any = later["open_time"].max()
    what = f"rows behind the last bar were refused: the data end with the bar of {last:%Y-%m-%d}, not of {end:%Y-%m-%d}"
    return [Finding(code="END_REFUSED", what=what, count=later.height, names=names)]
