"""Markets for tests: small ones made by hand, and the recorded bars as one panel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from assay.base.domain import DAY, UTC
from assay.market.panel import BAR_FIELDS, RATING_FIELDS, Market

NAN = float("nan")


def market(
    closes: Mapping[str, Sequence[float]],
    first: dt.date = dt.date(2023, 1, 1),
    *,
    late: dt.timedelta = dt.timedelta(0),
    **fields: Mapping[str, Sequence[float]],
) -> Market:
    """Make a market of closes; NaN is a day without a bar. ``fields`` override what follows from the closes."""
    symbols = tuple(sorted(closes))
    close = np.array([closes[symbol] for symbol in symbols], dtype=np.float64).T
    panel = {
        "open": close.copy(),
        "high": close * 1.02,
        "low": close * 0.98,
        "close": close,
        "volume": np.where(np.isnan(close), NAN, 1000.0),
        "value_traded": np.where(np.isnan(close), NAN, 5e6),
        **{name: np.where(np.isnan(close), NAN, 0.5) for name in RATING_FIELDS},
    }
    for name, columns in fields.items():
        for symbol, values in columns.items():
            panel[name][:, symbols.index(symbol)] = values
    days = np.arange(np.datetime64(first), np.datetime64(first) + close.shape[0])
    end = dt.datetime.combine(days[-1].item(), dt.time(), UTC) + DAY
    return Market(days, symbols, panel, listings(~np.isnan(close)), end + late)


def listings(bars: np.ndarray) -> np.ndarray:
    """Number the listings of each column: three or more missing days end one."""
    result = np.full(bars.shape, -1, dtype=np.int32)
    for column in range(bars.shape[1]):
        rows = np.flatnonzero(bars[:, column])
        if rows.size:
            result[rows, column] = np.cumsum(np.diff(rows, prepend=rows[0]) > 3)
    return result


def panel(bars: pl.DataFrame, ratings: pl.DataFrame | None) -> Market:
    """Make a market of long tables with the columns of the lake."""
    symbols = tuple(bars["symbol"].unique().sort())
    place = {symbol: i for i, symbol in enumerate(symbols)}
    day = bars["open_time"].dt.date().to_numpy().astype("datetime64[D]")
    days = np.arange(day.min(), day.max() + 1)
    shape = (days.size, len(symbols))
    fields = {name: np.full(shape, NAN) for name in (*BAR_FIELDS, *RATING_FIELDS)}
    traded = pl.coalesce("quote_volume", pl.col("close") * pl.col("volume")).alias("value_traded")
    _fill(fields, BAR_FIELDS, bars.with_columns(traded), days[0], place)
    if ratings is not None:
        _fill(fields, RATING_FIELDS, ratings, days[0], place)
    as_of = dt.datetime.combine(days[-1].item(), dt.time(), UTC) + DAY
    return Market(days, symbols, fields, listings(~np.isnan(fields["close"])), as_of)


def _fill(
    fields: dict[str, np.ndarray],
    names: Sequence[str],
    table: pl.DataFrame,
    first: np.datetime64,
    place: Mapping[str, int],
) -> None:
    rows = (table["open_time"].dt.date().to_numpy().astype("datetime64[D]") - first).astype(int)
    columns = table["symbol"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    for name in names:
        fields[name][rows, columns] = table[name].fill_null(NAN).to_numpy()


def shared_bars(shared: Path) -> pl.DataFrame:
    """Return the recorded bars with the lake's names."""
    return pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").rename({"timestamp": "open_time"})
