"""Ratings of any bars that somebody has in a table: ``assay.rate``."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any, TypeVar

import numpy as np
import polars as pl

from assay.base.domain import DEFAULT_EDITION, RATINGS
from assay.base.errors import DataError, UsageError
from assay.ratings.table import rate as rate_bars
from assay.ratings.tape import OPEN_TIME, interval_length
from assay.ratings.votes import VOTES, check_edition

Frame = TypeVar("Frame")
"""Polars or pandas; the package does not need pandas, and never imports it."""
PRICES = ("open", "high", "low", "close")
COLUMNS = ("symbol", "timestamp", *PRICES, "volume")
_EPOCH_MS = (315_532_800_000, 4_102_444_800_000)
"""1980 to 2100: milliseconds there are no other unit's instants of these years."""


def rate(frame: Frame, interval: str = "1d", edition: str = DEFAULT_EDITION, votes: bool = False) -> Frame:
    """Rate bars as TradingView's screener does: ``Recommend.All``, ``Recommend.MA`` and ``Recommend.Other``.

    Every row is rated by the bars of its symbol up to and including its own. Recursive averages start at a symbol's
    first bar, so give at least 1,000 bars before the first rating that shall equal the screener's (an EMA of 200 bars
    still remembers its start by 1.8 % after 600 bars). Three or more missing intervals in a row end a listing, and what
    comes after them is rated as a new one. Bars without volume exist, but are neither rated nor seen by later ratings.

    Parameters
    ----------
    frame : polars.DataFrame or pandas.DataFrame
        Columns ``symbol``, ``timestamp``, ``open``, ``high``, ``low``, ``close`` and ``volume``, others are left out;
        rows in any order. ``timestamp`` is the bar's opening time: datetimes (without a time zone: UTC), dates, or
        whole epoch milliseconds.
    interval : str
        Length of a bar, ``"1m"`` to ``"1w"``.
    edition : {"2026", "2021"}
        Rules of the screener since 2024-12-26, or from 2021-03-31 to 2024-06-23.
    votes : bool
        Add the 26 votes, columns ``vote_sma_10`` to ``vote_ultimate``: 1 buy, 0 neutral, -1 sell.

    Returns
    -------
    polars.DataFrame or pandas.DataFrame
        The kind that was given, one row for each of its rows, in their order (a pandas index is kept): ``symbol`` and
        ``timestamp`` as they were given, ``recommend_all``, ``recommend_ma``, ``recommend_other`` between -1 and 1, and
        the votes. Missing where nothing can be computed yet, or the bar has no volume.

    Raises
    ------
    UsageError
        If the interval or the edition is unknown, or ``frame`` is no such table.
    DataError
        If a column is missing or of another type, a value is missing, not finite or not positive (a volume may be 0), a
        high lies below its low, a bar is there twice, or bars lie closer together, or all much further apart, than the
        interval.

    Examples
    --------
    >>> import datetime as dt
    >>> import polars as pl
    >>> import assay
    >>> days = pl.datetime_range(dt.datetime(2024, 1, 1), dt.datetime(2024, 3, 31), "1d", eager=True)
    >>> close = [100.0 + day for day in range(91)]
    >>> bars = pl.DataFrame({"symbol": "BINANCE:AUSDT", "timestamp": days, "open": close, "volume": 1.0})
    >>> bars = bars.with_columns(high=pl.col("open") + 1, low=pl.col("open") - 1, close=pl.col("open"))
    >>> rated = assay.rate(bars, votes=True)
    >>> rated.tail(1).select("recommend_all", "recommend_ma", "vote_ema_50", "vote_rsi", "vote_sma_100").row(0)
    (0.4090909090909091, 0.8181818181818182, 1, 0, None)

    Ninety-one days do not hold a mean of a hundred: eleven of the fifteen votes on averages are counted.
    """
    length = interval_length(interval)
    check_edition(edition)
    bars = _bars(frame, interval)
    _judge(bars, length, interval)
    wanted = [*RATINGS, *(f"vote_{name}" for name in VOTES if votes)]
    rated = rate_bars(bars.drop("row"), interval, edition).select("symbol", "open_time", *wanted)
    found = bars.join(rated, on=["symbol", "open_time"], how="left").sort("row").select(wanted)
    if isinstance(frame, pl.DataFrame):
        return frame.select("symbol", "timestamp").hstack(found)  # type: ignore[return-value]  # the same kind
    return _beside(frame, found)  # type: ignore[no-any-return]  # pandas has no types here


def _bars(frame: Any, interval: str) -> pl.DataFrame:
    """Return the rows in lake columns, numbered."""
    if not isinstance(frame, pl.DataFrame) and not _is_pandas(frame):
        hint = "call .collect() first" if isinstance(frame, pl.LazyFrame) else "pass a Polars or pandas DataFrame"
        raise UsageError(f"a {type(frame).__name__} is no table of bars", hint=hint)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(
            f"no column {', '.join(missing)}",
            where=f"columns {', '.join(map(str, frame.columns))}"[:200],
            hint=f"rename or add them: {', '.join(COLUMNS)} are needed",
        )
    if not len(frame):  # whose columns may be of any type
        frame = pl.DataFrame(schema={**dict.fromkeys(COLUMNS, pl.Float64), "symbol": pl.String, "timestamp": OPEN_TIME})
    columns = {name: _column(frame, name) for name in COLUMNS}
    symbol = columns["symbol"]
    if symbol.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        raise DataError(f"column symbol is {symbol.dtype}", hint="write names such as BINANCE:BTCUSDT")
    for name in (*PRICES, "volume"):
        if not columns[name].dtype.is_numeric() and columns[name].dtype != pl.Null:
            raise DataError(f"column {name} is {columns[name].dtype}", hint="cast it to floats")
    return pl.DataFrame(
        {
            "symbol": symbol.cast(pl.String),
            "interval": pl.repeat(interval, len(symbol), dtype=pl.String, eager=True),
            "open_time": _open_time(columns["timestamp"]),
            **{name: columns[name].cast(pl.Float64) for name in (*PRICES, "volume")},
            "row": pl.int_range(len(symbol), eager=True),
        }
    )


def as_polars(frame: Any) -> pl.DataFrame:
    """Return a Polars or pandas table as a Polars one; what pandas keeps in a named index becomes columns.

    Raises
    ------
    UsageError
        If it is neither.
    DataError
        If a column is there twice, or holds values of several types.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if not _is_pandas(frame):
        hint = "call .collect() first" if isinstance(frame, pl.LazyFrame) else "pass a Polars or pandas DataFrame"
        raise UsageError(f"a {type(frame).__name__} is no table of bars", hint=hint)
    named = [name for name in frame.index.names if name is not None]
    if not named and str(frame.index.dtype).startswith("datetime64"):
        frame = frame.rename_axis(index="timestamp")
        named = ["timestamp"]
    frame = frame.reset_index() if named else frame
    return pl.DataFrame({str(name): _column(frame, name) for name in frame.columns})


def _is_pandas(frame: object) -> bool:
    pandas = sys.modules.get("pandas")  # who has such a frame has imported it
    return pandas is not None and isinstance(frame, pandas.DataFrame)


def _column(frame: Any, name: str) -> pl.Series:
    column = frame[name]
    if isinstance(column, pl.Series):
        return column
    if getattr(column, "ndim", 1) != 1:
        raise DataError(f"there are several columns {name}", hint="keep one of them")
    kind = str(column.dtype)
    if kind.startswith("datetime64"):
        zoned = column if column.dt.tz is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, zoned.to_numpy().astype("datetime64[us]"))
    values = column.astype(object).where(column.notna(), None).tolist() if column.dtype.kind not in "iuf" else column
    try:
        return pl.Series(name, values if isinstance(values, list) else values.to_numpy(dtype=None), nan_to_null=True)
    except (TypeError, pl.exceptions.PolarsError):
        raise DataError(f"column {name} holds values of several types", hint="convert it to one") from None


def _open_time(stamps: pl.Series) -> pl.Series:
    """Read time stamps as instants in UTC."""
    kind = stamps.dtype
    if isinstance(kind, pl.Datetime):
        zoned = stamps.dt.replace_time_zone("UTC") if kind.time_zone is None else stamps.dt.convert_time_zone("UTC")
        return zoned.cast(OPEN_TIME)
    if kind in (pl.Date, pl.Null):
        return stamps.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if not kind.is_integer():
        raise DataError(f"column timestamp is {kind}", hint="pass datetimes, dates, or whole epoch milliseconds")
    whole = stamps.cast(pl.Int64)
    strange = whole.filter(~whole.is_between(*_EPOCH_MS))
    if len(strange):
        raise DataError(
            f"time stamp {strange[0]} is no epoch millisecond of the years 1980 to 2100",
            hint="convert seconds, microseconds and nanoseconds to milliseconds, or pass datetimes",
        )
    return whole.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").cast(OPEN_TIME)


def _judge(bars: pl.DataFrame, length: dt.timedelta, interval: str) -> None:
    """Refuse what cannot be rated, by name."""
    price, volume = pl.col(*PRICES), pl.col("volume")
    checks = [
        (pl.col("symbol").is_null(), "has no symbol", "give each bar its symbol"),
        (pl.col("open_time").is_null(), "has no time stamp", "give each bar its opening time"),
        (pl.any_horizontal(price.is_null() | price.is_nan()), "lacks a price", "leave the bar out"),
        (pl.any_horizontal(price.is_infinite()), "has a price that is not finite", "leave the bar out"),
        (pl.any_horizontal(price <= 0), "has a price that is not positive", "leave the bar out"),
        (pl.col("high") < pl.col("low"), "has a high below its low", "leave the bar out"),
        (volume.is_null() | volume.is_nan(), "lacks its volume", "write 0 where nothing was traded"),
        (volume.is_infinite() | (volume < 0), "has a volume that cannot be", "write 0 where nothing was traded"),
    ]
    for wrong, what, hint in checks:
        found = bars.filter(wrong)
        if found.height:
            raise DataError(f"bar {_name(found)} {what} ({found.height} such rows)", where=_row(found), hint=hint)
    ordered = bars.sort("symbol", "open_time")
    step = ordered.select(pl.col("open_time").diff().over("symbol"))["open_time"]
    twice = ordered.filter(step == dt.timedelta())
    if twice.height:
        raise DataError(f"bar {_name(twice)} is there twice", where=_row(twice), hint="keep one of the rows")
    closest: dt.timedelta | None = step.min()  # type: ignore[assignment]  # the column's type is known
    if closest is not None and not length <= closest < 4 * length:
        raise DataError(
            f"bars lie {closest} apart, an interval of {interval} is {length}", hint="name the interval of the bars"
        )


def _name(rows: pl.DataFrame) -> str:
    symbol, opened = rows.select("symbol", "open_time").row(0)
    return f"{symbol} without a time" if opened is None else f"{symbol} {opened:%Y-%m-%d %H:%M}"


def _row(rows: pl.DataFrame) -> str:
    return f"row {rows['row'][0]}"


def _beside(frame: Any, found: pl.DataFrame) -> Any:
    """Put ratings beside the keys of a pandas frame, whose index they take."""
    pandas: Any = sys.modules["pandas"]
    result = frame[["symbol", "timestamp"]].copy()
    for column in found.iter_columns():
        if column.dtype == pl.Int8:
            missing = column.is_null().to_numpy()
            values = pandas.arrays.IntegerArray(column.fill_null(0).to_numpy().copy(), np.array(missing, dtype=bool))
            result[column.name] = pandas.Series(values, index=frame.index)
        else:
            result[column.name] = column.to_numpy()
    return result
