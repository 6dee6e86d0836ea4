"""The returns matrix: simple close-to-close returns, days x symbols, of the symbols that have enough of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from assay.base.constants import LARGEST_RETURN, TOLERANCE, Bools, Days, Floats
from assay.base.errors import DataError
from assay.market.panel import Market
from assay.runs.documents import Drop
from assay.settings.model import DataSettings


@dataclass(frozen=True)
class ReturnsMatrix:
    """Daily returns of the symbols that passed, the benchmark among them.

    Attributes
    ----------
    days : (n_days,) datetime64[D] array
        Open day of the bar at whose close the return is known; consecutive.
    symbols : tuple of str
        Sorted.
    values : (n_days, n_symbols) float64 array
        Simple returns per day, NaN where there is none.
    benchmark : str
        One of the symbols: it rides along and is no candidate by being here.
    dropped : list of Drop
        Symbols that were asked for and left out, with the reason.
    """

    days: Days
    symbols: tuple[str, ...]
    values: Floats
    benchmark: str
    dropped: list[Drop]

    def __getitem__(self, symbol: str) -> Floats:
        """Return one symbol's column, (n_days,)."""
        try:
            return self.values[:, self.symbols.index(symbol)]
        except ValueError:
            raise DataError("symbol is not in the returns matrix", where=symbol, hint="see data_health.json") from None

    def to_frame(self) -> pl.DataFrame:
        """Return ``date`` (microseconds, UTC) and one Float64 column for each symbol, null where there is no return."""
        frame = pl.from_numpy(np.ascontiguousarray(self.values), schema=list(self.symbols)).fill_nan(None)
        dates = pl.Series("date", self.days.astype("datetime64[us]")).dt.replace_time_zone("UTC")
        return frame.insert_column(0, dates)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, benchmark: str) -> Self:
        """Read what :meth:`to_frame` wrote; ``dropped`` is not part of a frame and comes back empty."""
        symbols = tuple(name for name in frame.columns if name != "date")
        values = frame.select(symbols).cast(pl.Float64).fill_null(float("nan")).to_numpy()
        days = frame["date"].dt.replace_time_zone(None).to_numpy().astype("datetime64[D]")
        return cls(days, symbols, np.ascontiguousarray(values), benchmark, [])


def returns_matrix(market: Market, symbols: Iterable[str], benchmark: str, settings: DataSettings) -> ReturnsMatrix:
    """Cut the returns matrix of a market.

    The last ``settings.lookback`` days are seen, so that longer history changes nothing; the first of them can have no
    return and is no row. A return exists between consecutive days of one listing only; nothing is filled.

    Parameters
    ----------
    market : Market
        Bars known at the decision.
    symbols : iterable of str
        Candidates' symbols, in any order.
    benchmark : str
        Rides along always.
    settings : DataSettings
        ``lookback`` days, ``floor`` observations, ``coverage`` of the days since the first bar in the window.

    Returns
    -------
    ReturnsMatrix
        Symbols in order; what was left out is in ``dropped`` with one of the reasons ``MISSING``,
        ``TOO_FEW_OBSERVATIONS``, ``COVERAGE``, ``TOXIC`` and ``ZERO_VARIANCE``.

    Raises
    ------
    DataError
        If the benchmark itself cannot be kept.
    """
    wanted = sorted({*symbols, benchmark})
    present = [symbol for symbol in wanted if symbol in market.index]
    values, bars = _window(market, present, settings.lookback)
    reasons = _faults(values, bars, settings)
    absent = [symbol for symbol in wanted if symbol not in market.index]
    dropped = [Drop(name=symbol, reason="MISSING", detail="no bar in the window") for symbol in absent]
    dropped += [Drop(name=present[i], reason=reason, detail=detail) for i, (reason, detail) in reasons.items()]
    for drop in dropped:
        if drop.name == benchmark:
            raise DataError(
                f"the benchmark cannot be kept: {drop.reason}, {drop.detail}",
                where=benchmark,
                hint="choose a later date, a source that has it, or another benchmark",
            )
    kept = [i for i in range(len(present)) if i not in reasons]
    return ReturnsMatrix(
        days=market.days[-values.shape[0] :] if values.shape[0] else market.days[:0],
        symbols=tuple(present[i] for i in kept),
        values=np.ascontiguousarray(values[:, kept]),
        benchmark=benchmark,
        dropped=sorted(dropped, key=lambda drop: drop.name),
    )


def _window(market: Market, present: list[str], lookback: int) -> tuple[Floats, Bools]:
    """Return returns (n_days - 1, n) and presence of bars (n_days, n) of some symbols in the last days."""
    columns = [market.index[symbol] for symbol in present]
    return market.returns_of(columns, lookback), market.listing[-lookback:, columns] >= 0


def _faults(values: Floats, bars: Bools, settings: DataSettings) -> dict[int, tuple[str, str]]:
    """Return the first reason against each column that has one."""
    observed = ~np.isnan(values)
    counts = observed.sum(axis=0)
    first_bar = np.where(bars.any(axis=0), bars.argmax(axis=0), bars.shape[0])
    possible = np.maximum(values.shape[0] - first_bar, 0)
    # Columns without a value get bounds that no comparison below calls faulty; they fall to the floor before.
    lowest = np.min(values, axis=0, initial=np.inf, where=observed)
    highest = np.max(values, axis=0, initial=-np.inf, where=observed)
    with np.errstate(invalid="ignore"):  # a column without a value has no bounds
        sound = (counts >= settings.floor) & (counts + TOLERANCE >= settings.coverage * possible)
        sound &= (lowest > -1.0) & (highest <= LARGEST_RETURN) & (lowest < highest)
    reasons: dict[int, tuple[str, str]] = {}
    for i in np.flatnonzero(~sound).tolist():
        if not bars[:, i].any():
            reasons[i] = ("MISSING", f"no bar in the last {bars.shape[0]} days")
        elif counts[i] < settings.floor:
            reasons[i] = ("TOO_FEW_OBSERVATIONS", f"{counts[i]} returns, {settings.floor} needed")
        elif counts[i] + TOLERANCE < settings.coverage * possible[i]:  # 0.9 is not nine tenths in binary
            reasons[i] = ("COVERAGE", f"{counts[i]} returns in {possible[i]} days, {settings.coverage:.0%} needed")
        elif not (lowest[i] > -1.0 and highest[i] <= LARGEST_RETURN):
            reasons[i] = ("TOXIC", f"returns from {lowest[i]:.6g} to {highest[i]:.6g}, beyond (-1, {LARGEST_RETURN:g}]")
        elif lowest[i] == highest[i]:
            reasons[i] = ("ZERO_VARIANCE", f"every return is {lowest[i]:.6g}")
    return reasons
