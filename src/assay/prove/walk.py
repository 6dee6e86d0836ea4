"""The walk-forward's figures against each other: NAV from trades and closes, returns from NAV, statistics from returns.

None of it is computed by the code that made it: the engine holds weights, here units are added up; the statistics are
written out once more, in plain arithmetic.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist, fmean, pstdev, stdev
from typing import Any

import numpy as np
import polars as pl

from assay.base.constants import DAYS_PER_YEAR, TOLERANCE, Floats, Scalar
from assay.base.domain import DAY, format_instant
from assay.gates.eligibility import leaves
from assay.lake.snapshot import Snapshot, pinned
from assay.prove.links import Link, Pair
from assay.prove.sealed import Sealed
from assay.runs import artifacts as layout
from assay.runs.artifacts import Artifact

PROOF = 1e-8
"""By how much a statistic may differ that is computed in another way, absolutely or relatively."""


@dataclass(frozen=True)
class WalkLinks:
    """The walk-forward of a sealed run, a sleeve or a portfolio, added up again."""

    sealed: Sealed

    def links(self) -> Iterator[Link]:
        """Compare returns with NAV, cash with trades, statistics with returns."""
        is_sleeve, statistics = self.sealed.kind == "run", self.sealed[layout.WALK_STATISTICS]
        books = {"as_run": layout.WALK_RETURNS} | ({"unguarded": layout.WALK_UNGUARDED} if is_sleeve else {})
        for label, artifact in books.items():
            told = statistics.get(label)
            figures: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
            tables = {str(name): part for (name,), part in self.sealed[artifact].sort("date").group_by("risk_profile")}
            for name in sorted({*figures, *tables}):
                days = tables.get(name, self.sealed[artifact].clear())
                yield self._returns_link(artifact, name, days)
                since = days.filter("counted")
                if label == "as_run":
                    yield self._trades_link(name, days)
                    yield self._book_link(name, days)
                yield self._statistics_link(f"{label} {name}", since, figures.get(name) or {})

    def _returns_link(self, artifact: Artifact[pl.DataFrame], name: str, days: pl.DataFrame) -> Link:
        nav, dates = days["nav"].to_list(), days["date"].to_list()
        before = [1.0, *nav][: len(nav)]
        made = [
            after / first - 1.0 if first and after != first else 0.0 for first, after in zip(before, nav, strict=True)
        ]
        steps = {(later - day).days for day, later in pairwise(dates)}
        return self.sealed.link(
            f"walk-forward returns of {name}",
            "the return of each day from NAV at its close and at the close before",
            artifact,
            (Pair("greatest difference", _apart(days["ret"].to_list(), made), 0.0), Pair("gaps", len(steps - {1}), 0)),
            notes={"days": len(nav), "NAV at the end": nav[-1] if nav else None},
        )

    @cached_property
    def _lake(self) -> Snapshot:
        """The lake as it was pinned; of a portfolio the newest state that a sleeve pinned."""
        if self.sealed.kind == "run":
            return self.sealed.snapshot
        below = [
            run.of_sleeve
            for one in self.sealed.accepted
            for _, run in leaves(self.sealed, one, ())
            if run.kind == "run"
        ]
        return pinned(max(below, key=lambda one: (one.as_of, one.head)))

    @cached_property
    def _closes(self) -> pl.DataFrame:
        """Closes of what was traded, in the pinned lake."""
        traded = self.sealed[layout.WALK_TRADES]["symbol"].unique().to_list()
        bars = self._lake.bars(until=self.sealed.manifest.as_of, symbols=traded)
        return bars.select("symbol", pl.col("open_time").dt.date().alias("date"), "close").sort("date")

    def _trades_link(self, name: str, days: pl.DataFrame) -> Link:
        trades = self.sealed[layout.WALK_TRADES].filter(pl.col("risk_profile") == name)
        size = pl.col("quantity").abs() * pl.col("reference")
        paid = pl.col("quantity") * pl.col("price") + pl.col("fee")
        sums = trades.group_by("date").agg(
            traded=size.sum(), paid=paid.sum(), cost=(pl.col("fee") + pl.col("slippage")).sum()
        )
        table = days.join(sums, on="date", how="left").fill_null(0.0).sort("date")
        before = np.concatenate([[1.0], table["nav"].to_numpy()[:-1]])
        cash = 1.0 - np.cumsum(table["paid"].to_numpy() + table["borrow"].to_numpy() * before)
        held = self._value(trades, table.select("date"))
        strangers = trades.join(days, on="date", how="anti").height
        return self.sealed.link(
            f"walk-forward trades of {name}",
            "cash, turnover, cost and NAV of each day from the trades so far, borrow and the lake's closes",
            layout.WALK_TRADES,
            (
                Pair("turnover", _apart(table["turnover"] * before, table["traded"]), 0.0),
                Pair("cost", _apart(table["cost"] * before, table["cost_right"]), 0.0),
                Pair("cash", _apart(table["cash"], cash), 0.0),
                Pair("NAV", _apart(table["nav"], cash + held), 0.0),
                Pair("trades on other days", strangers, 0),
            ),
            notes={"trades": trades.height},
        )

    def _book_link(self, name: str, days: pl.DataFrame) -> Link:
        """Compare what tranches hold with what their last decisions ordered, at NAV and closes of these days."""
        book, sealed = self.sealed[layout.HOLDINGS], self.sealed
        mine = pl.col("risk_profile") == name
        nav = dict(days.select("date", "nav").iter_rows())
        close = {(symbol, date): price for symbol, date, price in self._closes.iter_rows()}
        weights = sealed[layout.WALK_WEIGHTS].filter(mine).select("as_of", "symbol", "net_weight").iter_rows()
        decided = {(format_instant(at), symbol): weight for at, symbol, weight in weights}
        made, told, strangers = [], [], 0
        assets = book.profiles[name].assets if name in book.profiles else []
        for symbol, part in ((asset.Symbol, part) for asset in assets for part in asset.Parts if part.age):
            eve = (dt.datetime.fromisoformat(part.as_of) - DAY).date()
            weight, price = decided.get((part.as_of, symbol)), close.get((symbol, eve))
            if weight is None or not price:
                strangers += 1
                continue
            made.append(weight * nav.get(eve, 1.0) / book.tranches / price)
            told.append(part.units)
        return sealed.link(
            f"book of {name}",
            "units of each tranche from its last decision, with the NAV and the close of that day",
            layout.HOLDINGS,
            (Pair("units", _apart(told, made), 0.0), Pair("parts that nobody decided", strangers, 0)),
            notes={"parts": len(told)},
        )

    def _value(self, trades: pl.DataFrame, days: pl.DataFrame) -> Floats:
        """Units held after each day at the last close, (n_days,)."""
        moves = trades.group_by("symbol", "date").agg(pl.col("quantity").sum()).sort("date")
        grid = days.join(moves.select("symbol").unique(), how="cross").sort("date")
        units = grid.join(moves, on=["symbol", "date"], how="left").with_columns(
            pl.col("quantity").fill_null(0.0).cum_sum().over("symbol", order_by="date")
        )
        marked = units.sort("date").join_asof(
            self._closes, on="date", by="symbol", strategy="backward", check_sortedness=False
        )
        worth = pl.when(pl.col("quantity").abs() > TOLERANCE).then(pl.col("quantity") * pl.col("close")).otherwise(0.0)
        total = marked.group_by("date").agg(worth.sum().alias("worth"))
        return days.join(total, on="date", how="left").sort("date")["worth"].fill_null(0.0).to_numpy()

    def _statistics_link(self, name: str, days: pl.DataFrame, told: Mapping[str, Scalar]) -> Link:
        made = statistics_of(days["ret"].to_list())
        if "beta" in told and self.sealed.kind == "run":
            made |= _beside(days.select("date", "ret").join(self.sealed[layout.WALK_YARDSTICKS], on="date", how="left"))
        for column in ("turnover", "cost", "borrow"):
            made[column] = fmean(days[column].to_list()) * DAYS_PER_YEAR if days.height else None
        made["average_gross"] = fmean(days["gross"].to_list()) if days.height else None
        return self.sealed.link(
            f"walk-forward statistics, {name}",
            "figures of the track record from its daily returns",
            layout.WALK_STATISTICS,
            tuple(Pair(key, told.get(key), value, PROOF) for key, value in made.items()),
        )


def statistics_of(returns: list[float]) -> dict[str, Scalar]:
    """Return the figures of daily returns that need no draw.

    >>> figures = statistics_of([0.5, -0.5, 0.1])
    >>> round(figures["final_wealth"], 12), figures["max_drawdown"], round(figures["hit_rate"], 4)
    (0.825, -0.5, 0.6667)
    """
    n, path, top, depth = len(returns), 1.0, 1.0, 0.0
    for one in returns:
        path *= 1.0 + one
        top = max(top, path)
        depth = min(depth, path / top - 1.0)
    moved = [one for one in returns if one != 0.0]
    known: dict[str, Scalar] = {
        "days": float(n),
        "final_wealth": path,
        "max_drawdown": depth if n else None,
        "best_day": max(returns, default=None),
        "worst_day": min(returns, default=None),
        "hit_rate": sum(one > 0.0 for one in moved) / len(moved) if moved else None,
        "volatility": stdev(returns) * math.sqrt(DAYS_PER_YEAR) if n > 1 else None,
    }
    growth = path ** (DAYS_PER_YEAR / n) - 1.0 if n and path > 0.0 else None
    if growth is not None:
        known |= {"cagr": growth, "calmar": growth / -depth if depth else None}
    if n > 1 and max(returns) > min(returns):
        mean, spread = fmean(returns), stdev(returns)
        ratio = mean / spread
        third, fourth = (fmean(((one - mean) / pstdev(returns)) ** k for one in returns) for k in (3, 4))
        width = 1.0 - third * ratio + (fourth - 1.0) / 4.0 * ratio**2
        chance = NormalDist().cdf(ratio * math.sqrt((n - 1) / width)) if width > 0.0 else None
        known |= {"sharpe": ratio * math.sqrt(DAYS_PER_YEAR), "skewness": third, "kurtosis": fourth, "psr": chance}
    return known


def _beside(days: pl.DataFrame) -> dict[str, Scalar]:
    """Slope on the benchmark's returns, and correlation with them."""
    pairs = [(own, other) for _, own, other, *_ in days.rows() if other is not None and math.isfinite(other)]
    if len(pairs) < 2 or len({other for _, other in pairs}) < 2 or len({own for own, _ in pairs}) < 2:
        return {}
    own, other = fmean(one for one, _ in pairs), fmean(two for _, two in pairs)
    both = sum((one - own) * (two - other) for one, two in pairs)
    wide = sum((two - other) ** 2 for _, two in pairs)
    return {"beta": both / wide, "correlation": both / math.sqrt(wide * sum((one - own) ** 2 for one, _ in pairs))}


def _apart(left: Any, right: Any) -> float:
    """Return the greatest difference of two series, infinite where one has a number that the other lacks."""
    one, other = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return math.inf
    return float(np.max(np.abs(one - other) / np.maximum(1.0, np.abs(other)), initial=0.0))
