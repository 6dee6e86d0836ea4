"""What a decision was worth: the headline's book against plain books, against lots, and against its own costs.

Everything is held in the same engine on the same days, and by the same tranches, at the gross that each decision really
had. Statistics begin on the first day on which every tranche is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from assay.backtest.book import BookResult, Prices, Target, simulate
from assay.backtest.bootstrap import MIN_DAYS, block_indices
from assay.backtest.capacity import capacity, depth, rolling_std
from assay.backtest.choice import Choice, Named
from assay.backtest.draws import Drawn, Lot, draw_books
from assay.backtest.regression import line
from assay.backtest.statistics import max_drawdown, sharpe
from assay.backtest.walk_forward import WalkForwardResult, prices_of
from assay.base.constants import DAYS_PER_YEAR, Floats, Ints
from assay.base.domain import Direction
from assay.market.panel import Market
from assay.runs.documents import Baseline, Capacity, Exposure, Legs, Lots, Worth
from assay.settings.model import Profile

DRAWS = 100
SAMPLES = 1000
"""Records that a bootstrap draws."""
BENCHMARK = "benchmark"
CANDIDATES = "candidates"
WINNERS = "winners"
INVERSE_VOLATILITY = "inverse_volatility"
BASELINES = (BENCHMARK, CANDIDATES, WINNERS, INVERSE_VOLATILITY)


class Wanted(NamedTuple):
    """One target of the book, and the choice that it came from."""

    target: Target
    choice: Choice

    @property
    def gross(self) -> float:
        """Share of the account that was decided."""
        return float(np.abs(self.target.weights).sum())


def worth(market: Market, profile: Profile, result: WalkForwardResult) -> Worth:
    """Judge a walk-forward.

    Parameters
    ----------
    market : Market
        What the walk-forward was made on.
    profile : Profile
        Headline, side, costs, margin, benchmark, seed.
    result : WalkForwardResult

    Returns
    -------
    Worth
    """
    name = profile.headline if profile.headline in result.books else next(iter(result.books))
    return _Judge(market, profile, result, name).worth()


class _Judge:
    def __init__(self, market: Market, profile: Profile, result: WalkForwardResult, name: str) -> None:
        held = result.held
        self.market, self.profile, self.result, self.name = market, profile, result, name
        self.seed = profile.walk_forward.seed
        self.prices: Prices = prices_of(market, profile.costs)
        self.changes = market.returns()
        self.sign = Direction[profile.direction].value
        self.book = held.books[name]
        self.counted = result.counted
        choices = [rebalance.targets.choice for rebalance in held.rebalances]
        self.wanted = [
            Wanted(target, choices[index])
            for target, index in zip(held.targets[name], held.of_target.tolist(), strict=True)
        ]
        self.returns = self._counted(self.book.returns)

    def _counted(self, values: Floats) -> Floats:
        return values[..., self.counted :]

    def worth(self) -> Worth:
        """Judge the book by everything."""
        days, gross = self.result.days[self.counted :], [one.gross for one in self.wanted]
        held = any(gross)
        return Worth(
            risk_profile=self.name,
            first=str(days[0]),
            last=str(days[-1]),
            days=len(days),
            final_wealth=float(np.prod(1.0 + self.returns)),
            sharpe=sharpe(self.returns),
            mean_gross=float(np.mean(gross)),
            baselines={name: self.against(name) for name in BASELINES} if held else {},
            exposure=self.exposure(),
            lots=self.lots() if held else None,
            capacity=self.capacity() if held else None,
            legs=legs(self.book, self.counted),
        )

    def hold(self, targets: Sequence[Target], initial: float = 1.0, impact: Floats | None = None) -> BookResult:
        """Hold targets as the sleeve's were held."""
        costs, margin = self.profile.costs, self.profile.margin
        n_tranches = self.profile.walk_forward.parts
        return simulate(
            self.prices, targets, costs, n_tranches=n_tranches, margin=margin, initial=initial, impact=impact
        )

    # --- plain books

    def against(self, name: str) -> Baseline:
        """Set the book against a plain one."""
        made = [replace(one.target, weights=self.plain(name, one)) for one in self.wanted]
        book = self.hold(made)
        return compared(self.returns, self._counted(book.returns), self.profile.walk_forward.step, self.seed)

    def plain(self, name: str, one: Wanted) -> Floats:
        """Return the weights of a plain book in place of decided ones."""
        weights, choice = np.zeros(len(self.market.symbols)), one.choice
        if not one.gross:
            return weights
        if name == BENCHMARK:
            columns, shares = [self.market.column(self.profile.benchmark)], np.ones(1)
        elif name == CANDIDATES:
            columns = [self.market.index[symbol] for symbol in choice.candidates if symbol in self.market.index]
            shares = np.ones(len(columns))
        else:
            columns = [self.market.column(symbol) for symbol, _ in choice.winners]
            shares = np.ones(len(columns))
            if name == INVERSE_VOLATILITY:
                shares = self.calm(one.target.row, columns)
        np.add.at(weights, columns, self.sign * one.gross * shares / shares.sum())
        return weights

    def calm(self, row: int, columns: Sequence[int]) -> Floats:
        """Return one over the volatility of coins, over the days that the covariance is estimated on."""
        window = self.profile.data.estimation_rows
        seen = self.changes[max(0, row + 1 - window) : row + 1, columns]
        spread = rolling_std(seen, window)[-1]
        moves = np.isfinite(spread) & (spread > 0.0)
        return np.divide(1.0, spread, out=np.zeros_like(spread), where=moves) if moves.any() else np.ones_like(spread)

    def exposure(self) -> Exposure | None:
        """Return alpha and beta to the benchmark."""
        lag = self.profile.walk_forward.step
        fitted = line(self.returns, self.result.benchmark[self.counted :], lag)
        if fitted is None:
            return None
        alpha, beta = (fitted.intercept, fitted.intercept_error), (fitted.slope, fitted.slope_error)
        low, high = fitted.interval(*alpha)
        beta_low, beta_high = fitted.interval(*beta)
        return Exposure(
            alpha=alpha[0] * DAYS_PER_YEAR,
            alpha_low=low * DAYS_PER_YEAR,
            alpha_high=high * DAYS_PER_YEAR,
            beta=beta[0],
            beta_low=beta_low,
            beta_high=beta_high,
            days=fitted.days,
            lag=lag,
        )

    # --- lots

    def lots(self) -> Lots:
        """Rank the selection among draws."""
        atoms = sorted({atom for one in self.wanted for atom in one.choice.safe})
        number = {atom: place for place, atom in enumerate(atoms)}
        column = np.array([self.market.column(symbol) for symbol, _ in atoms], dtype=np.int64)

        def numbered(chosen: Sequence[Named]) -> Ints:
            return np.array([number[atom] for atom in chosen], dtype=np.int64)

        told = [
            Lot(one.target.row, one.target.tranche, one.gross, *map(numbered, (one.choice.safe, one.choice.winners)))
            for one in self.wanted
        ]
        parts = self.profile.walk_forward.parts
        drawn = draw_books(self.prices, told, column, self.sign, n_tranches=parts, n_draws=DRAWS, seed=self.seed)
        chose = [one.choice for one in self.wanted if one.gross]
        forced = sum(len(choice.winners) == len(choice.safe) for choice in chose)
        return ranked(drawn, self.counted, len(chose), forced, self.profile.costs.per_side, self.seed)

    # --- capital

    def capacity(self) -> Capacity:
        """Run the book at several capitals."""
        targets = [one.target for one in self.wanted]
        known = depth(self.market, targets[0].row, self.book.columns)
        return capacity(
            lambda capital, impact: self.hold(targets, capital, impact),
            self.returns,
            int(self.book.rows[self.counted]),
            self.market,
            known,
            self.profile.costs.slippage,
        )


def compared(returns: Floats, others: Floats, block: int, seed: int) -> Baseline:
    """Set a book's daily returns against another's, day by day.

    Parameters
    ----------
    returns, others : (n_days,) arrays
        Simple returns of both on the same days.
    block : int
        Mean length of the blocks of days that the bootstrap draws.
    seed : int
        Of its draws.

    Examples
    --------
    >>> better = compared(np.full(30, 0.01), np.full(30, -0.01), block=10, seed=0)
    >>> better.loses, better.clearly, round(better.ahead, 2)
    (False, True, 7.3)
    """
    wealth, other = float(np.prod(1.0 + returns)), float(np.prod(1.0 + others))
    lost = min(returns.min(), others.min()) <= -1.0
    ahead = low = high = None
    if not lost:
        daily = np.log1p(returns) - np.log1p(others)
        ahead = float(daily.mean() * DAYS_PER_YEAR)
        if len(daily) >= MIN_DAYS:
            rows = block_indices(len(daily), SAMPLES, float(block), seed)
            drawn = daily[rows].mean(axis=1) * DAYS_PER_YEAR
            low, high = (float(edge) for edge in np.quantile(drawn, [0.025, 0.975]))
    loses = wealth < other if ahead is None else ahead < 0.0
    return Baseline(
        final_wealth=other,
        sharpe=sharpe(others),
        max_drawdown=max_drawdown(others),
        lost=bool(others.min() <= -1.0),
        ahead=ahead,
        ahead_low=low,
        ahead_high=high,
        loses=loses,
        clearly=low is not None and high is not None and (high < 0.0 if loses else low > 0.0),
    )


def ranked(drawn: Drawn, counted: int, decisions: int, forced: int, per_side: float, seed: int) -> Lots:
    """Rank the selection, which is the first of the books, among the draws.

    Parameters
    ----------
    drawn : Drawn
    counted : int
        Day from which days are counted.
    decisions, forced : int
        Decisions that chose anybody, and those of them that left nothing to choose.
    per_side : float
        What a purchase or a sale would have cost.
    seed : int
        Of the draws.
    """
    scores = [sharpe(series) for series in drawn.returns[:, counted:]]
    own, others = scores[0], np.array([0.0 if score is None else score for score in scores[1:]])
    rank = None if own is None else np.count_nonzero(others < own) + np.count_nonzero(others == own) / 2.0
    cost = drawn.turnover[:, counted:].mean(axis=1) * DAYS_PER_YEAR * per_side
    return Lots(
        draws=len(others),
        seed=seed,
        decisions=decisions,
        without_choice=forced,
        percentile=None if rank is None or 2 * forced > decisions else 100.0 * float(rank) / len(others),
        sharpe=own,
        drawn_low=float(others.min()),
        drawn_median=float(np.median(others)),
        drawn_high=float(others.max()),
        cost=float(cost[0]),
        drawn_cost=float(cost[1:].mean()),
    )


def legs(book: BookResult, counted: int) -> Legs:
    """Split the change of NAV since a day into longs, shorts, cost and carry, each in parts of the NAV before it.

    What a trade gains or loses against its reference until the close belongs to the side that it opens or, where it
    closes one, that it leaves.
    """
    before = np.vstack([np.zeros_like(book.quantities[:1]), book.quantities[:-1]])
    marks = np.vstack([book.marks[:1], book.marks[:-1]])
    kept = before * (book.marks - marks)
    gains = np.stack([np.where(before > 0.0, kept, 0.0), np.where(before < 0.0, kept, 0.0)])
    trades = book.trades
    day, column = trades.row - int(book.rows[0]), np.searchsorted(book.columns, trades.column)
    side = book.quantities[day, column]
    side = np.where(side == 0.0, before[day, column], side)
    made = trades.quantity * (book.marks[day, column] - trades.reference)
    np.add.at(gains, ((side < 0.0).astype(np.int64), day, column), made)
    basis = float(book.previous_nav[counted])
    longs, shorts = gains[:, counted:].sum(axis=(1, 2)) / basis
    cost, carry = float(book.cost[counted:].sum()) / basis, float(book.borrow[counted:].sum()) / basis
    total = (float(book.nav[-1]) - basis) / basis
    return Legs(long=float(longs), short=float(shorts), cost=cost, carry=carry, total=total)
