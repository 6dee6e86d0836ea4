"""Figures of a walk-forward that lies in a run directory, of a sleeve or of a portfolio of sleeves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl

from assay.backtest.statistics import drawdowns
from assay.base.constants import DAYS_PER_YEAR, TOLERANCE, Days, Floats
from assay.report.figures import grids, lines
from assay.report.figures.figure import Figure
from assay.report.small_book import by_size
from assay.report.view import RETURN_COLUMNS, Columns, table_of
from assay.runs import artifacts as layout
from assay.runs.artifacts import Artifact
from assay.runs.run import Run, counted_days

Drawn = Figure | str
"""A figure, or why there is none."""

COST_COLUMNS: Columns = {
    **RETURN_COLUMNS,
    "turnover": pl.Float64(),
    "cost": pl.Float64(),
    "borrow": pl.Float64(),
}
CONTRIBUTION_COLUMNS: Columns = {
    "risk_profile": pl.String(),
    "symbol": pl.String(),
    "net_weight": pl.Float64(),
    "pnl": pl.Float64(),
}
YARDSTICK_COLUMNS: Columns = {
    "date": pl.Date(),
    "benchmark": pl.Float64(),
    "universe": pl.Float64(),
}
YARDSTICKS = ("benchmark", "universe")


class WalkFigures:
    """Figures of daily walk-forward rows.

    Parameters
    ----------
    run : Run
        Reader of the run's directory.
    names : sequence of str
        Risk profiles in their order.
    measured : Run, optional
        The run that holds the yardsticks of the same days; default: the run itself.
    """

    def __init__(self, run: Run, names: Sequence[str], measured: Run | None = None) -> None:
        self.run = run
        self.names = tuple(names)
        self.measured = measured or run

    def table(self, artifact: Artifact[pl.DataFrame], columns: Columns) -> pl.DataFrame | str:
        """Return a table of the run, or why there is none."""
        found = table_of(self.run, artifact, columns)
        return self.absent(artifact) if found is None else found

    def absent(self, path: str) -> str:
        """Say why a file is not there."""
        return f"{path}: {self.run.faults[path]}" if path in self.run.faults else f"{path} is not there"

    @cached_property
    def walk(self) -> pl.DataFrame | str:
        """Daily rows of every risk profile."""
        found = self.table(layout.WALK_RETURNS, COST_COLUMNS)
        if isinstance(found, pl.DataFrame) and found.filter(pl.col("risk_profile").is_in(self.names)).is_empty():
            return "the walk-forward has no day"
        return found

    @cached_property
    def days(self) -> Days:
        """Days that any risk profile has."""
        assert isinstance(self.walk, pl.DataFrame)
        found: Days = self.walk["date"].drop_nulls().unique().sort().to_numpy().astype("datetime64[D]")
        return found

    def column(self, name: str) -> dict[str, Floats]:
        """Return one column of the rows, risk profile to one value a day."""
        assert isinstance(self.walk, pl.DataFrame)
        return {one: on_days(self.walk.filter(pl.col("risk_profile") == one), name, self.days) for one in self.names}

    @cached_property
    def yardsticks(self) -> dict[str, Floats]:
        """Daily returns of benchmark and universe; none where the run has no such table."""
        found = table_of(self.measured, layout.WALK_YARDSTICKS, YARDSTICK_COLUMNS)
        return {} if found is None else {name: on_days(found, name, self.days) for name in YARDSTICKS}

    @cached_property
    def returns(self) -> dict[str, Floats]:
        """Daily returns of risk profiles and yardsticks."""
        return {**self.column("ret"), **self.yardsticks}

    def performance(self, headline: str) -> list[Drawn]:
        """Draw all figures of the walk-forward's daily rows, some of them of the headline's book alone."""
        series = [self.equity(), self.drawdown(), self.rolling_sharpe(), self.rolling_beta()]
        own = [self.months(headline), self.histogram(headline), self.contributions(headline)]
        return [*series, self.monthly(), *own, self.turnover()]

    def equity(self, name: str = "equity") -> Drawn:
        """Draw the growth of 1: risk profiles, Bitcoin, all coins in equal weights; ``name`` is the figure's id."""
        if isinstance(self.walk, str):
            return self.walk
        measured = {one: growth_of(series) for one, series in self.yardsticks.items()}
        return lines.equity(self.days, self.column("nav"), measured, name)

    def drawdown(self) -> Drawn:
        """Draw the fall from the highest value so far."""
        if isinstance(self.walk, str):
            return self.walk
        return lines.drawdown(self.days, {name: drawdowns(np.nan_to_num(r)) for name, r in self.returns.items()})

    def rolling_beta(self, window: int = lines.BETA_DAYS) -> Drawn:
        """Draw the beta to Bitcoin over the last days.

        Parameters
        ----------
        window : int
            Days of each beta, at least 2.
        """
        if isinstance(self.walk, str):
            return self.walk
        if "benchmark" not in self.yardsticks:
            return f"{layout.WALK_YARDSTICKS} is not there"
        if len(self.days) < window:
            return f"the walk-forward has {len(self.days)} days, fewer than the {window} of the window"
        benchmark = self.yardsticks["benchmark"]
        found = {name: rolling_beta(series, benchmark, window) for name, series in self.column("ret").items()}
        return lines.rolling_beta(self.days[window - 1 :], found, window)

    def rolling_sharpe(self, window: int = lines.SHARPE_DAYS) -> Drawn:
        """Draw the Sharpe ratio over the last days.

        Parameters
        ----------
        window : int
            Days of each ratio, at least 2.
        """
        if isinstance(self.walk, str):
            return self.walk
        if len(self.days) < window:
            return f"the walk-forward has {len(self.days)} days, fewer than the {window} of the window"
        found = {name: rolling_sharpe(series, window) for name, series in self.returns.items()}
        return lines.rolling_sharpe(self.days[window - 1 :], found, window)

    def _book(self, name: str) -> tuple[Days, dict[str, Floats]] | str:
        """Return the counted days of one risk profile, its returns on them and those of the yardsticks."""
        if isinstance(self.walk, str):
            return self.walk
        own = counted_days(self.walk.filter(pl.col("risk_profile") == name))
        days: Days = own["date"].drop_nulls().sort().to_numpy().astype("datetime64[D]")
        if not len(days):
            return f"the walk-forward has no counted day of {name}"
        at = np.isin(self.days, days)
        return days, {name: on_days(own, "ret", days), **{one: moves[at] for one, moves in self.yardsticks.items()}}

    def months(self, name: str) -> Drawn:
        """Draw the months and years of one risk profile, year by month."""
        found = self._book(name)
        return found if isinstance(found, str) else grids.year_by_month(found[0], found[1][name], name)

    def histogram(self, name: str) -> Drawn:
        """Draw how often one risk profile, and the benchmark, had daily returns of each size."""
        found = self._book(name)
        return found if isinstance(found, str) else grids.histogram(found[1], name)

    def contributions(self, name: str) -> Drawn:
        """Draw what each coin earned in the book of one risk profile."""
        found = self.run.get(layout.WALK_WEIGHTS)
        if found is not None and "pnl" not in found.columns:
            return "a run of the first version does not say what coins earned"
        table = self.table(layout.WALK_WEIGHTS, CONTRIBUTION_COLUMNS)
        if isinstance(table, str):
            return table
        own = table.filter(pl.col("risk_profile") == name).group_by("symbol")
        earned = own.agg(pl.col("pnl").sum(), pl.col("net_weight").ne(0.0).sum().alias("decisions"))
        if earned.is_empty():
            return f"no decision of {name} wanted a coin"
        rows = earned.sort(["pnl", "symbol"], descending=[True, False]).rows()
        return grids.contributions(rows, name)

    def monthly(self) -> Drawn:
        """Draw the return of every month."""
        if isinstance(self.walk, str):
            return self.walk
        months = self.days.astype("datetime64[M]")
        labels, starts = np.unique(months, return_index=True)
        found = {
            name: np.multiply.reduceat(1.0 + np.nan_to_num(series), starts) - 1.0
            for name, series in self.returns.items()
        }
        return grids.monthly([str(label) for label in labels], found)

    def turnover(self) -> Drawn:
        """Draw what was traded and what it cost."""
        if isinstance(self.walk, str):
            return self.walk
        cost, borrow = self.column("cost"), self.column("borrow")
        paid = {name: cost[name] + borrow[name] for name in self.names}
        return lines.turnover(self.days, self.column("turnover"), paid)


def weights_by_size(
    columns: Mapping[str, Mapping[str, float]], name: str, title: str, none: str = "every risk profile is all cash"
) -> Drawn:
    """Draw weights side by side, the largest first; say ``none`` where there are none."""
    rows = by_size(columns.values())
    return grids.weights(rows, columns, name, title) if rows else none


def growth_of(returns: Floats) -> Floats:
    """Return what 1 became by each day; a day without a return changes nothing."""
    return np.asarray(np.cumprod(1.0 + np.nan_to_num(returns)), dtype=np.float64)


def on_days(frame: pl.DataFrame, column: str, days: Days) -> Floats:
    """Return a column by date, NaN on days that it does not have."""
    values = np.full(len(days), np.nan)
    own = frame.drop_nulls("date")
    at = np.searchsorted(days, own["date"].to_numpy().astype("datetime64[D]"))
    there = (at < len(days)) & (days[np.minimum(at, len(days) - 1)] == own["date"].to_numpy().astype("datetime64[D]"))
    values[at[there]] = own[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()[there]
    return values


def rolling_beta(returns: Floats, benchmark: Floats, window: int) -> Floats:
    """Beta to a benchmark over every ``window`` successive days, (n_days - window + 1,).

    NaN where a day of the window is missing, or the benchmark does not move.
    """
    own = np.lib.stride_tricks.sliding_window_view(returns, window)
    other = np.lib.stride_tricks.sliding_window_view(benchmark, window)
    own = own - own.mean(axis=1, keepdims=True)
    other = other - other.mean(axis=1, keepdims=True)
    spread = (other**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > 0.0, (own * other).sum(axis=1) / spread, np.nan)
    return found


def rolling_sharpe(returns: Floats, window: int) -> Floats:
    """Annual Sharpe ratio of every ``window`` successive days, (n_days - window + 1,).

    NaN where a day of the window is missing, or the returns do not vary.
    """
    own = np.lib.stride_tricks.sliding_window_view(returns, window)
    spread = own.std(axis=1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(spread > TOLERANCE, own.mean(axis=1) / spread * np.sqrt(DAYS_PER_YEAR), np.nan)
    return found
