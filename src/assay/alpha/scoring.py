"""L2: from raw features to probabilities, and from those to one alpha score per atom.

A missing value gets the floor of its map, so that what is not known never helps; it is left out of the others' ranks
and spreads, so that it never harms them either. A feature that no atom has says nothing: 0.5 for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.special import ndtr

from assay.base.constants import Floats

RANK_FLOOR = 0.01
AS_IS_FLOOR = 0.001


def rank(raw: Floats) -> Floats:
    """Map by rank: 0.01 + 0.99 (average rank - 0.5) / n over the n values that exist; missing ones get 0.01.

    Parameters
    ----------
    raw : (n_atoms,) array
        Greater is better; NaN is missing.

    Returns
    -------
    (n_atoms,) array
        In [0.01, 1).

    Examples
    --------
    >>> rank(np.array([3.0, 1.0, 3.0, np.nan]))
    array([0.67 , 0.175, 0.67 , 0.01 ])
    """
    ordered = np.sort(raw)
    n = len(raw) - int(np.count_nonzero(np.isnan(raw)))
    if n == 0:
        return np.full(len(raw), 0.5)
    ordered = ordered[:n]
    # Ties share the mean of the ranks that they occupy.
    average = (np.searchsorted(ordered, raw, "left") + np.searchsorted(ordered, raw, "right") + 1) / 2
    return np.where(np.isnan(raw), RANK_FLOOR, RANK_FLOOR + (1.0 - RANK_FLOOR) * (average - 0.5) / n)


def descending(raw: Floats) -> Floats:
    """Map by rank where smaller is better.

    >>> descending(np.array([3.0, 1.0]))
    array([0.2575, 0.7525])
    """
    return rank(-raw)


def as_is(raw: Floats) -> Floats:
    """Take a value in [0, 1] as the probability, with a floor of 0.001 for small and for missing values.

    >>> as_is(np.array([0.7, 0.0, np.nan]))
    array([0.7  , 0.001, 0.001])
    """
    if np.isnan(raw).all():
        return np.full(len(raw), 0.5)
    return np.where(np.isnan(raw), AS_IS_FLOOR, np.clip(raw, AS_IS_FLOOR, 1.0))


def z(raw: Floats) -> Floats:
    """Map by the normal cdf of the z-score; 0.5 where there is no spread, 0.001 where the value is missing.

    The standard deviation is the population's: the atoms at hand are all that are compared.

    >>> z(np.array([1.0, 3.0])).round(4)
    array([0.1587, 0.8413])
    """
    exists = ~np.isnan(raw)
    if not exists.any():
        return np.full(len(raw), 0.5)
    values = raw[exists]
    # Rounding of the mean gives equal values a deviation; squares of the smallest numbers give different ones none.
    deviation = values.std() if values.max() > values.min() else 0.0
    result = np.full(len(raw), AS_IS_FLOOR)
    result[exists] = ndtr((values - values.mean()) / deviation) if deviation > 0 else 0.5
    return result


# The canon's table (design, natural selection). Its odd decimals are a tuned set that users of this kind of rating
# selection already run; they are kept to the digit so that scores compare.
_TABLE: dict[str, tuple[float, Callable[[Floats], Floats]]] = {
    "momentum": (1.7469, rank),
    "efficiency": (1.5348, as_is),
    "survival": (1.4, as_is),
    "recommend_all": (1.0, rank),
    "recommend_ma": (1.0, rank),
    "adx": (1.0, as_is),
    "cvar": (1.0, z),
    "antifragility": (0.6263, rank),
    "skew": (0.5, descending),
    "kurtosis": (0.5, descending),
    "hurst": (0.3485, rank),
    "liquidity": (0.2946, as_is),
    "stability": (0.0458, rank),
    "entropy": (0.0322, descending),
}
WEIGHTS: Mapping[str, float] = MappingProxyType({name: weight for name, (weight, _) in _TABLE.items()})
"""Weight of each feature in the alpha score."""
MAPS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType({name: apply for name, (_, apply) in _TABLE.items()})
"""Map of each feature."""


def weights(
    dominant_signal: str | None = None, dominant_weight: float = 3.0, dominated_momentum: float = 0.5
) -> dict[str, float]:
    """Return the weights of a profile.

    Parameters
    ----------
    dominant_signal : str, optional
        Feature that gets ``dominant_weight``; momentum then drops to ``dominated_momentum``, unless it is the signal.
    dominant_weight, dominated_momentum : float
        See there.

    Raises
    ------
    ValueError
        If no feature has that name.

    Examples
    --------
    >>> changed = weights("recommend_ma")
    >>> changed["recommend_ma"], changed["momentum"], changed["recommend_all"]
    (3.0, 0.5, 1.0)
    """
    table = dict(WEIGHTS)
    if dominant_signal is not None:
        if dominant_signal not in table:
            raise ValueError(f"no feature is called {dominant_signal!r}")
        table["momentum"] = dominated_momentum
        table[dominant_signal] = dominant_weight
    return table


def probabilities(raw: Mapping[str, Floats]) -> dict[str, Floats]:
    """Map every feature to a probability in [0, 1] over the atoms given, never NaN.

    Parameters
    ----------
    raw : mapping of str to (n_atoms,) array
        All features of :data:`MAPS`.
    """
    return {name: apply(raw[name]) for name, apply in MAPS.items()}


def alpha(probability: Mapping[str, Floats], weight: Mapping[str, float] = WEIGHTS) -> Floats:
    """Weighted geometric mean of probabilities, exp(sum w ln p / sum w): one bad feature cannot be bought off cheaply.

    Parameters
    ----------
    probability : mapping of str to (n_atoms,) array
        In [0, 1].
    weight : mapping of str to float
        At least 0, not all 0.

    Returns
    -------
    (n_atoms,) array
        In [0, 1]; 0 where a probability of positive weight is 0.

    Examples
    --------
    >>> alpha({"a": np.array([0.5, 0.0]), "b": np.array([0.02, 1.0])}, {"a": 1.0, "b": 1.0}).round(4)
    array([0.1, 0. ])
    """
    total = 0.0
    logs = np.zeros_like(next(iter(probability.values())))
    with np.errstate(divide="ignore"):  # ln 0 = -inf is what makes the score 0
        # Term by term: the score of an atom depends, to the last bit, on nothing but its probabilities.
        for name, value in weight.items():
            if value > 0:
                logs += value * np.log(probability[name])
                total += value
    return np.minimum(np.exp(logs / total), 1.0)
