"""Capital preservation: atoms that have lately lost money are not held."""

from __future__ import annotations

from dataclasses import dataclass

from assay.base.constants import Bools, Floats, Ints, Scalar
from assay.market.costs import daily_costs
from assay.risk.solve import ALL_LOSS_MAKERS, LOSS_MAKERS_GUARDED
from assay.runs.documents import Event
from assay.settings.model import Costs


@dataclass(frozen=True)
class LossMakers:
    """Verdict on each atom."""

    net_means: Floats
    """(n_atoms,): mean daily synthetic return of the window, less fees, slippage and borrow per day."""
    loss_makers: Bools
    """(n_atoms,): true where the net mean is not positive."""
    days: int
    """Rows of the window."""

    @property
    def budget(self) -> float:
        """Share of the capital that may be invested: 1 - loss makers / atoms."""
        n_atoms = len(self.loss_makers)
        return (n_atoms - int(self.loss_makers.sum())) / n_atoms

    def events(self) -> tuple[Event, ...]:
        """Name what the guard does, if anything."""
        count, n_atoms = int(self.loss_makers.sum()), len(self.loss_makers)
        values: dict[str, Scalar] = {"loss_makers": count, "atoms": n_atoms, "cash": 1.0 - self.budget}
        if count == n_atoms:
            return (
                Event(
                    code=ALL_LOSS_MAKERS, what="every atom lost money of late; the sleeve is all cash", values=values
                ),
            )
        if count:
            what = "atoms that lost money of late are not held; their share is cash"
            return (Event(code=LOSS_MAKERS_GUARDED, what=what, values=values),)
        return ()


def find_loss_makers(
    streams: Floats, signs: Ints, costs: Costs, *, hold: int, days: int = 60, borrow: Floats | None = None
) -> LossMakers:
    """Find the atoms whose mean synthetic return of the last days, less costs, is not positive.

    Parameters
    ----------
    streams : (n_rows, n_atoms) array
        Complete synthetic returns; the last ``days`` rows are read, or all where there are fewer.
    signs : (n_atoms,) array
        +1 for a long, -1 for a short.
    costs : Costs
        What trading and borrowing cost.
    hold, days : int
        Days between rebalances; rows of the window.
    borrow : (n_atoms,) array, optional
        Rates a year that are known, NaN where none is.

    Examples
    --------
    >>> import numpy as np
    >>> guard = find_loss_makers(np.full((60, 2), [0.001, 0.0002]), np.array([1, 1]), Costs(), hold=10)
    >>> guard.loss_makers.tolist(), guard.budget
    ([False, True], 0.5)
    """
    window = streams[-days:]
    net_means = window.mean(axis=0) - daily_costs(signs, costs, hold, borrow)
    return LossMakers(net_means, ~(net_means > 0.0), len(window))
