"""The market behind the local exchange: bars, pairs and a clock that a test turns.

Bars are real: the recorded ones, or the sample in the package. ``World.truth()`` says, in the lake's columns, what a
loader must end with.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

DAY_MS = 86_400_000
UTC = dt.UTC
SAMPLE = Path(__file__).resolve().parents[2] / "src/assay/sources/sample/binance_spot_daily_2023.parquet"
VALUES = ("open", "high", "low", "close", "volume", "quote_volume")

NO_COINS = (
    *("AUD", "EUR", "GBP", "AEUR", "EURI", "USDP", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USDS", "USDSB", "PAX"),
    *(
        "WBTC",
        "WBETH",
        "BETH",
        "UST",
        "USTC",
        "PAXG",
        "SUSD",
        "BTCUP",
        "BTCDOWN",
        "ETHUP",
        "ETHDOWN",
        "BNBUP",
        "BNBDOWN",
        "XRPUP",
        "XRPDOWN",
    ),
)
"""Bases among the recorded bars that are money, metal or leveraged tokens."""

Row = list[Any]
"""``[open time, open, high, low, close, volume, close time, quote volume, trades, taker base, taker quote, "0"]``"""


def text(value: float) -> str:
    """A number as the exchange writes it: eight digits after the point, or more where eight would lose some."""
    plain = f"{value:.8f}"
    return plain if float(plain) == value else repr(value)


def stamp(day: dt.date | str) -> int:
    """Epoch milliseconds of a day's begin."""
    day = dt.date.fromisoformat(day) if isinstance(day, str) else day
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def make_row(opened: int, values: tuple[float, ...]) -> Row:
    """One kline from open, high, low, close, volume and quote volume."""
    o, h, low, c, v, q = (text(value) for value in values)
    return [opened, o, h, low, c, v, opened + DAY_MS - 1, q, 1 + opened // DAY_MS % 977, text(values[4] / 2), q, "0"]


@dataclass
class Pair:
    base: str
    quote: str
    status: str | None = None
    """None: ``TRADING``, or ``BREAK`` once the bars have ended."""
    margin: bool = True
    tick: str = "0.00010000"
    step: str = "0.01000000"
    min_qty: str = "0.01000000"
    min_notional: str = "5.00000000"
    sets: list[list[str]] | None = None
    """Permission sets as the exchange tells them since 2024; None: the older single set."""

    @property
    def name(self) -> str:
        return self.base + self.quote


@dataclass
class World:
    """Everything that the exchange knows.

    Attributes
    ----------
    rows : dict of str to dict of int to Row
        Bars by pair and opening time.
    now : int
        The exchange's clock, epoch milliseconds.
    skew : int
        By how much the clock that it tells is wrong.
    micro_from : date
        First day whose archive files have microseconds.
    """

    rows: dict[str, dict[int, Row]]
    pairs: dict[str, Pair]
    now: int
    skew: int = 0
    micro_from: dt.date = dt.date(2025, 1, 1)
    header: bool = False
    """Whether archive files begin with the names of columns."""
    spoilt: dict[str, str] = field(default_factory=dict)
    """Files of the archive that are not what they should be; see ``exchange_archive``."""
    unfiled: set[tuple[str, str]] = field(default_factory=set)
    """Kinds of the archive's files, ``monthly`` or ``daily``, and days that they lack."""
    hidden: set[str] = field(default_factory=set)
    _ordered: dict[str, tuple[list[int], list[Row]]] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pl.DataFrame) -> World:
        """Make a market of bars with the columns of the shared ones; no quote volume becomes close x volume."""
        if "quote_volume" not in table.columns:
            table = table.with_columns(pl.lit(None, pl.Float64).alias("quote_volume"))
        table = table.with_columns(
            pl.col("timestamp").cast(pl.Datetime("ms")).to_physical(),
            pl.coalesce("quote_volume", pl.col("close") * pl.col("volume")),
        ).sort("symbol", "timestamp")
        rows: dict[str, dict[int, Row]] = {}
        for (symbol,), own in table.group_by("symbol", maintain_order=True):
            name = str(symbol).removeprefix("BINANCE:")
            rows[name] = {line[0]: make_row(line[0], line[1:]) for line in own.select("timestamp", *VALUES).iter_rows()}
        pairs = {name: Pair(name.removesuffix("USDT"), "USDT") for name in rows}
        last = max(max(own) for own in rows.values())
        return cls(rows, pairs, last + DAY_MS + 300_000)

    @classmethod
    def sample(cls, *names: str) -> World:
        """The embedded sample, or some of its pairs."""
        table = pl.read_parquet(SAMPLE)
        return cls.of(table.filter(pl.col("symbol").is_in([f"BINANCE:{n}" for n in names])) if names else table)

    @classmethod
    def recorded(cls, shared: Path, days: int, symbols: int | None = None) -> World:
        """The last days of the recorded bars, of the coins with the greatest value traded."""
        table = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet")
        table = table.filter(pl.col("timestamp") > pl.col("timestamp").max() - dt.timedelta(days=days))
        table = table.filter(~pl.col("symbol").is_in([f"BINANCE:{base}USDT" for base in NO_COINS]))
        if symbols is not None:
            worth = table.group_by("symbol").agg((pl.col("close") * pl.col("volume")).sum().alias("worth"))
            table = table.join(worth.sort("worth", "symbol", descending=True).head(symbols), on="symbol", how="semi")
        return cls.of(table)

    # --- the clock ------------------------------------------------------------------------------------------------

    def at(self, day: str, minutes: int = 5) -> None:
        """Turn the clock to some minutes after the close of a day's bar."""
        self.now = stamp(day) + DAY_MS + minutes * 60_000

    def next_day(self) -> None:
        self.now += DAY_MS

    @property
    def today(self) -> int:
        """Opening time of the bar that is forming."""
        return self.now - self.now % DAY_MS

    # --- what it shows --------------------------------------------------------------------------------------------

    def ordered(self, name: str) -> tuple[list[int], list[Row]]:
        """Opening times and bars of a pair, in order."""
        if name not in self._ordered:
            own = sorted(self.rows[name].items())
            self._ordered[name] = [at for at, _ in own], [row for _, row in own]
        return self._ordered[name]

    def listed(self) -> list[Pair]:
        """Pairs that have begun, in order of their first bar."""
        shown = [name for name in self.pairs if self.rows.get(name) and name not in self.hidden]
        begun = [(self.ordered(name)[0][0], name) for name in shown]
        return [self.pairs[name] for first, name in sorted(begun) if first <= self.now]

    def status(self, pair: Pair) -> str:
        if pair.status is not None:
            return pair.status
        return "TRADING" if self.ordered(pair.name)[0][-1] >= min(self.today, self.last_open()) - DAY_MS else "BREAK"

    def last_open(self) -> int:
        return max(opened[-1] for opened, _ in map(self.ordered, self.rows) if opened)

    def klines(self, name: str, start: int | None, end: int | None, limit: int) -> list[Row]:
        """Bars of a pair as the exchange cuts them: the first ones from ``start``, else the last ones."""
        last = self.now if end is None else min(end, self.now)
        opened, rows = self.ordered(name)
        own = rows[0 if start is None else bisect_left(opened, start) : bisect_right(opened, last)]
        return own[:limit] if start is not None else own[-limit:]

    def truth(self, *names: str, since: str | None = None) -> pl.DataFrame:
        """Closed bars: ``symbol``, ``open_time`` and values, in order of time and symbol."""
        first = 0 if since is None else stamp(since)
        lines = [
            (f"BINANCE:{name}", at, *(float(row[i]) for i in (1, 2, 3, 4, 5, 7)))
            for name, own in self.rows.items()
            if not names or name in names
            for at, row in own.items()
            if first <= at < self.today
        ]
        schema = {"symbol": pl.String, "open_time": pl.Int64, **dict.fromkeys(VALUES, pl.Float64)}
        table = pl.DataFrame(lines, schema=schema, orient="row")
        opened = pl.from_epoch("open_time", "ms").cast(pl.Datetime("us", "UTC"))
        return table.with_columns(opened).sort("open_time", "symbol")

    # --- how a test changes it ------------------------------------------------------------------------------------

    def edit(self, name: str, day: str, factor: float) -> None:
        """Revise a bar: all prices times a factor."""
        row = self.rows[name][stamp(day)]
        row[1:5] = [text(float(value) * factor) for value in row[1:5]]
        self._ordered.clear()

    def add(self, pair: Pair, like: str, since: str, price: float = 1.0) -> None:
        """List a pair from a day on, with another one's bars at a multiple of their price."""
        first = stamp(since)
        self.pairs[pair.name] = pair
        fresh = {}
        for at, row in self.rows[like].items():
            if at >= first:
                prices = [text(float(value) * price) for value in row[1:5]]
                fresh[at] = [at, *prices, *row[5:]]
        self.rows[pair.name] = {**self.rows.get(pair.name, {}), **fresh}
        self._ordered.clear()

    def delete(self, name: str, since: str, until: str) -> None:
        """Take away the bars of some days, the last included."""
        for at in range(stamp(since), stamp(until) + DAY_MS, DAY_MS):
            self.rows[name].pop(at, None)
        self._ordered.clear()
