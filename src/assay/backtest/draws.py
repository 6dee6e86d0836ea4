"""Drawing lots: what equal weights of as many other candidates would have earned, without costs.

A hundred books are held at once, as arrays of draws x coins. They live by the rules of :mod:`assay.backtest.book` with
all costs at zero and no margin, by tranches, and are equal to it.

A draw is a renaming of atoms that lasts: where the selection holds an atom, the draw holds another in its place, drawn
without replacement, for as long as the selection keeps the one and the other stays a candidate. So a draw changes its
holdings as often as the selection changes its own, and is spread over as many coins by its tranches; if it were drawn
anew each day, ten tranches of other coins each would make it the market, and any selection that keeps its coins would
rank at one of the ends, without skill.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assay.backtest.book import Prices, read_bars
from assay.base.constants import Floats, Ints
from assay.market.holes import LONGEST_HOLE


@dataclass(frozen=True)
class Lot:
    """One decision of which lots are drawn; atoms are numbered over all decisions."""

    row: int
    """Row of the bar that was decided on."""
    tranche: int
    gross: float
    """Share of the account that was decided, >= 0."""
    safe: Ints
    """Atoms that could be drawn, each once."""
    winners: Ints
    """Atoms that were chosen; every one is safe."""


@dataclass(frozen=True)
class Drawn:
    """What became of the selection and of its draws; row 0 is the selection itself."""

    nav: Floats
    """(1 + n_draws, n_days): from the day of the first fill, 1 before it."""
    traded: Floats
    """(1 + n_draws, n_days): value traded at the open."""

    @property
    def returns(self) -> Floats:
        """Simple returns, (1 + n_draws, n_days); 0 once nothing is left."""
        return self._per_nav(np.diff(self.nav, axis=1, prepend=1.0))

    @property
    def turnover(self) -> Floats:
        """Value traded over the NAV at the close before, (1 + n_draws, n_days)."""
        return self._per_nav(self.traded)

    def _per_nav(self, amount: Floats) -> Floats:
        before = np.column_stack([np.ones(len(self.nav)), self.nav[:, :-1]])
        result = np.zeros_like(amount)
        np.divide(amount, before, out=result, where=amount != 0.0)
        return result


class Renaming:
    """Other atoms in the place of those that a selection chose, for many draws.

    Parameters
    ----------
    n_atoms, n_draws : int
        Atoms over all decisions, and how many renamings are kept.
    seed : int
        Of NumPy's PCG64.

    Examples
    --------
    >>> names = Renaming(n_atoms=3, n_draws=2, seed=0)
    >>> first = names.of(np.array([0]), safe=np.array([0, 1]))
    >>> bool((first == names.of(np.array([0]), safe=np.array([0, 1]))).all()), int(first.max()) < 2
    (True, True)
    """

    def __init__(self, n_atoms: int, n_draws: int, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._image = self._random.permuted(np.tile(np.arange(n_atoms), (n_draws, 1)), axis=1)
        self._origin = np.argsort(self._image, axis=1)

    def of(self, chosen: Ints, safe: Ints) -> Ints:
        """Return who stands for each chosen atom, (n_draws, n_chosen), all different and all safe."""
        image, origin = self._image, self._origin
        allowed = np.zeros(image.shape[1], dtype=np.bool_)
        allowed[safe] = True
        draw, place = np.nonzero(~allowed[image[:, chosen]])
        if draw.size:
            # Whose name left the candidates changes names with the next in a random order of those that stand for none.
            order = self._random.random((len(image), len(safe)))
            taken = np.zeros(image.shape, dtype=np.bool_)
            np.put_along_axis(taken, image[:, chosen], np.True_, axis=1)
            order[taken[:, safe]] = 2.0
            free = safe[np.argsort(order, axis=1)]
            lacking = np.bincount(draw, minlength=len(image))
            nth = np.arange(draw.size) - np.repeat(np.cumsum(lacking) - lacking, lacking)
            new, one = free[draw, nth], chosen[place]
            old, other = image[draw, one], origin[draw, new]
            image[draw, one], image[draw, other] = new, old
            origin[draw, new], origin[draw, old] = one, other
        drawn: Ints = image[:, chosen]
        return drawn


def draw_books(
    prices: Prices, lots: Sequence[Lot], column: Ints, sign: int, *, n_tranches: int, n_draws: int, seed: int
) -> Drawn:
    """Hold equal weights of the winners, and of as many atoms drawn in their place.

    Parameters
    ----------
    prices : Prices
    lots : sequence of Lot
        In order of their rows, each with a bar after it.
    column : (n_atoms,) int array
        Column of each atom's coin in the prices.
    sign : int
        +1 for longs, -1 for shorts.
    n_tranches, n_draws, seed : int
    """
    held, place = np.unique(column, return_inverse=True)
    return hold_many(prices, held, _targets(lots, place, len(held), sign, n_draws, seed), n_tranches)


Many = tuple[int, int, Floats]
"""Row, tranche and weights, (n_books, n_held), of one decision."""


def _targets(lots: Sequence[Lot], place: Ints, n_held: int, sign: int, n_draws: int, seed: int) -> Iterator[Many]:
    renaming = Renaming(len(place), n_draws, seed)
    for lot in lots:
        weights = np.zeros((1 + n_draws, n_held))
        if lot.winners.size:
            drawn = place[np.vstack([lot.winners, renaming.of(lot.winners, lot.safe)])]
            each, books = sign * lot.gross / lot.winners.size, np.arange(len(drawn))
            for one in drawn.T:  # two atoms may be of one coin
                weights[books, one] += each
        yield lot.row, lot.tranche, weights


def hold_many(prices: Prices, columns: Ints, targets: Iterator[Many], n_tranches: int) -> Drawn:
    """Hold many books at once, without costs or margin, from the first fill to the last bar.

    Parameters
    ----------
    prices : Prices
    columns : (n_held,) int array
        Columns that any book may hold.
    targets : iterator of tuple
        Row of the decision, its tranche, and (n_books, n_held) net weights; rows increase, with a bar after each.
    n_tranches : int
    """
    due = next(targets)
    begin = max(0, due[0] - LONGEST_HOLE)
    bars = read_bars(prices.part(begin, columns))
    first, n_days, n_books = due[0] + 1 - begin, len(bars.mark), len(due[2])
    held = np.zeros((n_tranches, n_books, len(columns)))
    net = np.zeros((n_books, len(columns)))
    cash, nav = np.ones(n_books), np.ones(n_books)
    told, traded = np.empty((2, n_days - first, n_books))
    traded[:] = 0.0
    gone, waiting = np.zeros(n_books, dtype=np.bool_), True

    def leave(which: Ints, price: Floats) -> None:
        cash[:] += net[:, which] @ price[which]
        held[:, :, which], net[:, which] = 0.0, 0.0

    for day in range(first, n_days):
        if bars.relisted[day].any():
            leave(np.flatnonzero(bars.relisted[day]), bars.mark[day - 1])
        while waiting and due[0] + 1 - begin == day:
            decided, tranche = bars.mark[due[0] - begin], due[1]
            fills = np.flatnonzero(bars.has_bar[day] & ~bars.relisted[day] & (decided > 0.0))
            share = np.where(gone, 0.0, nav / n_tranches)[:, None]
            order = due[2][:, fills] * share / decided[fills] - held[tranche][:, fills]
            held[tranche][:, fills] += order
            net[:, fills] += order
            cash -= order @ bars.open[day, fills]
            traded[day - first] += np.abs(order) @ bars.open[day, fills]
            following = next(targets, None)
            due, waiting = (due, False) if following is None else (following, True)
        if bars.ended[day].any():
            leave(np.flatnonzero(bars.ended[day]), bars.mark[day])
        nav = cash + net @ bars.mark[day]
        lost = ~gone & (nav <= 0.0)
        if lost.any():  # closed at this close, for good
            gone |= lost
            cash[lost], held[:, lost], net[lost] = nav[lost], 0.0, 0.0
        told[day - first] = nav
    return Drawn(told.T, traded.T)
