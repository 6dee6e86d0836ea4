"""L3: the stream that an atom is, seen as something one is long of.

Everything after this file, features, covariances and optimizers alike, sees longs only; the sign comes back when
weights are flattened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assay.base.constants import Days, Floats

if TYPE_CHECKING:
    import polars as pl

    from assay.base.domain import Atom


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


def synthetic_frame(days: Days, atoms: Sequence[Atom], returns_values: Floats, columns: Sequence[int]) -> pl.DataFrame:
    """Return the synthetic streams of atoms as a wide table.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
        Open days of the rows.
    atoms : sequence of Atom
        Winners, one column each, in this order.
    returns_values : (n_days, n_symbols) array
        The returns matrix.
    columns : sequence of int
        Column of each atom's symbol in the returns matrix.

    Returns
    -------
    DataFrame
        ``date`` (microseconds, UTC, as in the returns matrix) and one Float64 column per atom, named by its id; null
        where there is no observation.

    Raises
    ------
    ValueError
        If there is not exactly one column for each atom, or an atom comes twice.

    Examples
    --------
    >>> from assay.base.domain import Atom
    >>> days = np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]")
    >>> atoms = [Atom("X:AUSDT", "rating_all", "SHORT")]
    >>> frame = synthetic_frame(days, atoms, np.array([[9.0, 0.5], [9.0, np.nan]]), [1])
    >>> frame["date"].dtype, frame["X:AUSDT_rating_all_SHORT"].to_list()
    (Datetime(time_unit='us', time_zone='UTC'), [-0.5, None])
    """
    import polars as pl

    if len(columns) != len(atoms):
        raise ValueError(f"{len(atoms)} atoms need {len(atoms)} columns, not {len(columns)}")
    if len({atom.id for atom in atoms}) != len(atoms):
        raise ValueError("an atom comes twice")
    streams = synthetic(returns_values[:, np.asarray(columns, dtype=np.intp)], [atom.sign for atom in atoms])
    series = [pl.Series("date", np.asarray(days).astype("datetime64[us]")).dt.replace_time_zone("UTC")]
    series += [pl.Series(atom.id, streams[:, i], nan_to_null=True) for i, atom in enumerate(atoms)]
    return pl.DataFrame(series)
