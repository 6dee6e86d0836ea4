"""Recorded screener answers of 2026, and the bars behind them, as the tests of ratings read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

import assay
from assay.ratings import VOTES
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import indicators
from assay.ratings.tape import tape

BAR = ("timestamp", "open", "high", "low", "close", "volume")
RECOMMEND = {"recommend_all": "Recommend.All", "recommend_ma": "Recommend.MA", "recommend_other": "Recommend.Other"}
DEPTH = 1_000
"""Bars before the forming one: what the corpus's description asks for."""

WINDOWS = (10, 20, 30, 50, 100, 200)
FIELDS = {
    **{f"{kind}{n}": f"{kind.lower()}_{n}" for kind in ("SMA", "EMA") for n in WINDOWS},
    "VWMA": "vwma_20",
    "HullMA9": "hull_ma_9",
    "Ichimoku.BLine": "base",
    "close": "close",
    "RSI": "rsi",
    "RSI[1]": "rsi_prev",
    "Stoch.K": "stoch_k",
    "Stoch.D": "stoch_d",
    "Stoch.K[1]": "stoch_k_prev",
    "Stoch.D[1]": "stoch_d_prev",
    "CCI20": "cci",
    "CCI20[1]": "cci_prev",
    "ADX": "adx",
    "ADX[1]": "adx_prev",
    "ADX+DI": "plus_di",
    "ADX-DI": "minus_di",
    "ADX+DI[1]": "plus_di_prev",
    "ADX-DI[1]": "minus_di_prev",
    "AO": "ao",
    "AO[1]": "ao_prev",
    "AO[2]": "ao_prev2",
    "Mom": "momentum",
    "Mom[1]": "momentum_prev",
    "MACD.macd": "macd",
    "MACD.signal": "macd_signal",
    "Stoch.RSI.K": "stoch_rsi_k",
    "Stoch.RSI.D": "stoch_rsi_d",
    "UO": "ultimate",
    "W.R": "williams_r",
}
"""The screener's columns under our names."""


class Corpus:
    """The folder of recorded scans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def cases(self) -> pl.DataFrame:
        """2,940 forming bars with the recorded ratings."""
        return self.table("cases_1h")

    def hours(self) -> dict[str, pl.DataFrame]:
        """The bars before them, by coin."""
        bars = self.table("bars_1h").sort("timestamp")
        return {str(name): bars.filter(symbol=name).select(BAR) for name in bars["symbol"].unique()}

    def quarters(self) -> pl.DataFrame:
        """The 4h scans that have bars, as cases: the forming bar's volume solved from VWMA."""
        days = {name: by_four(bars) for name, bars in self.hours().items()}
        scans = self.table("scans_4h").with_columns(pl.col("bar_open_time").dt.replace_time_zone("UTC").alias("bar"))
        rows = []
        for scan in scans.iter_rows(named=True):
            before = days[scan["symbol"]].filter(pl.col("timestamp") < scan["bar"]).tail(19)
            if before["timestamp"][-1] != scan["bar"] - dt.timedelta(hours=4):
                continue
            sold, traded = before["volume"].sum(), (before["close"] * before["volume"]).sum()
            close = scan["close.bar"]
            volume = max(
                (scan["VWMA"] * sold - traded) / (close - scan["VWMA"]), 1.0
            )  # just opened: 0 but for rounding
            prices = {"open": scan["open.bar"], "high": scan["high.bar.implied"], "low": scan["low.bar.implied"]}
            rows.append(scan | prices | {"close": close, "volume": volume, "scan": scan["collected_at"]})
        return pl.DataFrame(rows, infer_schema_length=None)


def by_four(bars: pl.DataFrame) -> pl.DataFrame:
    """Join bars of one hour into bars of four."""
    joined = bars.group_by_dynamic("timestamp", every="4h").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    return joined.select(BAR)


def with_history(cases: pl.DataFrame, bars: dict[str, pl.DataFrame], part: int = 250) -> Iterator[pl.DataFrame]:
    """Yield bars of some cases at a time: each case a symbol of its own, its forming bar behind the ones before it."""
    for some in cases.with_row_index("case").iter_slices(part):
        series = []
        for case in some.iter_rows(named=True):
            before = bars[case["symbol"]].filter(pl.col("timestamp") < case["bar"]).tail(DEPTH)
            last = pl.DataFrame([{"timestamp": case["bar"], **{name: case[name] for name in BAR[1:]}}], before.schema)
            series.append(pl.concat([before, last]).with_columns(pl.lit(f"X:{case['case']:05d}").alias("symbol")))
        yield pl.concat(series)


def rated(cases: pl.DataFrame, bars: dict[str, pl.DataFrame], interval: str, edition: str = "2026") -> pl.DataFrame:
    """Rate every case from bars; the votes come with it."""
    last = [
        assay.rate(frame, interval, edition, votes=True).group_by("symbol", maintain_order=True).last()
        for frame in with_history(cases, bars)
    ]
    return cases.hstack(pl.concat(last).drop("symbol", "timestamp"))


def measured(cases: pl.DataFrame, bars: dict[str, pl.DataFrame], interval: str) -> dict[str, np.ndarray]:
    """Indicator values of every case, from bars."""
    parts = []
    for frame in with_history(cases, bars):
        on = tape(frame.rename({"timestamp": "open_time"}).with_columns(pl.lit(interval).alias("interval")), interval)
        values = indicators(on, recursive_averages(on, whole(on)), slice(0, on.keys.height))
        parts.append({name: value[on.starts[1:] - 1] for name, value in values.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def misses(found: pl.DataFrame, group: str) -> list[str]:
    """Name the cases whose rating is not the recorded one to 1e-6."""
    wrong = found.filter((pl.col(group) - pl.col(RECOMMEND[group])).abs() >= 1e-6)
    return [f"{coin.removeprefix('BINANCE:')} {scan[:16]}" for coin, scan in wrong.select("symbol", "scan").iter_rows()]


def vote_columns() -> list[str]:
    return [f"vote_{name}" for name in VOTES]
