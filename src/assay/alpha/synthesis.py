"""L3: the stream that an atom is, seen as something one is long of.

Everything after this file, features, covariances and optimizers alike, sees longs only; the sign comes back when
weights are flattened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.constants import Floats
from assay.base.domain import Atom
from assay.market.returns import ReturnsMatrix


def synthetic(returns: Floats, signs: npt.ArrayLike) -> Floats:
    """Turn physical returns into the atoms' synthetic returns.

    A long earns ``r``. A short earns ``-min(r, 1)``: one bar loses at most all that was staked, since a book would have
    been closed by then.

    Parameters
    ----------
    returns : (n_days, n_atoms) array
        Simple returns of each atom's symbol per day; NaN where there is no observation.
    signs : (n_atoms,) array
        +1 for a long, -1 for a short.

    Returns
    -------
    (n_days, n_atoms) array
        A new array; NaN stays NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit or a sign is neither +1 nor -1.

    Examples
    --------
    >>> synthetic(np.array([[0.1, 0.1], [-0.2, 1.5], [np.nan, np.nan]]), [1, -1])
    array([[ 0.1, -0.1],
           [-0.2, -1. ],
           [ nan,  nan]])
    """
    values = np.asarray(returns, dtype=np.float64)
    sides = np.asarray(signs)
    if values.ndim != 2 or sides.shape != values.shape[1:]:
        raise ValueError(f"returns {values.shape} and signs {sides.shape} do not fit")
    if not np.isin(sides, (1, -1)).all():
        raise ValueError("a sign is +1 or -1")
    return np.where(sides > 0, values, -np.minimum(values, 1.0))


def synthetic_frame(returns: ReturnsMatrix, atoms: Sequence[Atom]) -> pl.DataFrame:
    """Return the synthetic streams of atoms as a wide table.

    Parameters
    ----------
    returns : ReturnsMatrix
        Physical returns of the atoms' symbols.
    atoms : sequence of Atom
        Winners, one column each, in this order.

    Returns
    -------
    DataFrame
        ``date`` (microseconds, UTC, as in the returns matrix) and one Float64 column per atom, named by its id; null
        where there is no observation.

    Raises
    ------
    ValueError
        If an atom comes twice, or its symbol has no column.

    Examples
    --------
    >>> days = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]")
    >>> returns = ReturnsMatrix(days, ("X:AUSDT",), np.array([[0.5], [np.nan]]), "X:AUSDT", [])
    >>> frame = synthetic_frame(returns, [Atom("X:AUSDT", "rating_all", "SHORT")])
    >>> frame["date"].dtype, frame["X:AUSDT_rating_all_SHORT"].to_list()
    (Datetime(time_unit='us', time_zone='UTC'), [-0.5, None])
    """
    names = tuple(atom.id for atom in atoms)
    if len(set(names)) != len(names):
        raise ValueError("an atom comes twice")
    columns = np.array([returns.symbols.index(atom.symbol) for atom in atoms], dtype=np.intp)
    streams = synthetic(returns.values[:, columns], [atom.sign for atom in atoms])
    return replace(returns, symbols=names, values=streams).to_frame()
