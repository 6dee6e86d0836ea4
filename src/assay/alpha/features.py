"""L2: fourteen features of atoms, measured on their own synthetic streams.

*Window* means all rows given. *Recent* means its last ``feature_bars`` calendar rows, not the last so many
observations: all atoms are then compared over the same days, and an atom with holes does not reach back to older
weather. Rows without an observation count in neither sums nor denominators. A feature that its formula does not
define for the observations at hand (too few, no spread) is NaN, never a made-up number; scoring and vetoes say what a
missing value means.

A feature of one atom depends on that atom's rows alone, to the last bit: rows are laid out contiguously per atom, and
every sum runs along them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from assay.base.constants import DAYS_PER_YEAR, Bools, Floats, Ints

TAIL = 5
"""Percent of observations that are a tail, for cvar and antifragility."""

LIQUID_VALUE = 1e7
"""Median value traded per day, in quote currency, at which an atom counts as fully liquid."""

_CHUNKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
"""Numbers of chunks for the rescaled range: with 120 observations, lengths from 8 to 120."""

_SHORTEST_CHUNK = 8
"""Shorter chunks say little more than the noise of their range."""

_BLOCK = 128
"""Numbers that NumPy adds up in eight lanes; more are halved first."""


@dataclass(frozen=True, slots=True)
class Features:
    """Raw features; every field is an (n_atoms,) float64 array, NaN where the feature is not defined.

    The first fourteen are scored, ``volatility`` and ``drift`` serve the vetoes. A mean return is per day, a
    volatility per year of 365 days.
    """

    momentum: Floats
    """365 x mean return of the window."""
    efficiency: Floats
    """Sum of recent returns over the sum of their absolute values, floored at 0."""
    survival: Floats
    """Share of the window's rows that exist since the first one that does."""
    recommend_all: Floats
    """Rating as of the decision x sign of the atom."""
    recommend_ma: Floats
    """Rating as of the decision x sign of the atom."""
    adx: Floats
    """ADX 14 / 100 as of the decision."""
    cvar: Floats
    """Mean of the worst 5 % of recent returns; a loss is negative."""
    antifragility: Floats
    """(mean above the 95 % quantile + mean below the 5 % quantile) / standard deviation, of the window."""
    skew: Floats
    """Absolute skewness of recent returns."""
    kurtosis: Floats
    """Excess kurtosis of recent returns."""
    hurst: Floats
    """Rescaled-range exponent of recent returns less 0.5: positive when trending."""
    liquidity: Floats
    """min(1, median value traded of recent rows / 1e7)."""
    stability: Floats
    """1 / volatility."""
    entropy: Floats
    """Permutation entropy of order 3 of the window, over its greatest possible value."""
    volatility: Floats
    """Annual standard deviation of recent returns."""
    drift: Floats
    """Mean recent return per day."""

    def table(self) -> dict[str, Floats]:
        """Return the fourteen scored features by name, in the order of :data:`FEATURES`."""
        return {name: getattr(self, name) for name in FEATURES}


FEATURES: tuple[str, ...] = tuple(field.name for field in fields(Features))[:14]
"""Names of the scored features."""


def features(
    streams: Floats,
    *,
    feature_bars: int = 120,
    value_traded: Floats | None = None,
    recommend_all: Floats | None = None,
    recommend_ma: Floats | None = None,
    adx: Floats | None = None,
    signs: npt.ArrayLike = 1,
) -> Features:
    """Measure every atom.

    Parameters
    ----------
    streams : (n_days, n_atoms) array
        Synthetic returns per day; NaN where there is no observation.
    feature_bars : int
        Rows that count as recent.
    value_traded : (n_days, n_atoms) array, optional
        Value traded per day in quote currency; its last ``feature_bars`` rows are used.
    recommend_all, recommend_ma : (n_atoms,) array, optional
        Ratings of the atoms' symbols as of the decision, in [-1, 1], before they are multiplied by the atoms' signs.
    adx : (n_atoms,) array, optional
        ADX 14 as of the decision, in [0, 100].
    signs : (n_atoms,) array or int
        +1 for a long, -1 for a short; turns ratings, never streams, which are turned already.

    Returns
    -------
    Features
        What was not given is NaN throughout.

    Examples
    --------
    >>> measured = features(np.array([[0.01], [0.03], [-0.02], [0.04]]), recommend_all=np.array([-0.4]), signs=-1)
    >>> [float(value[0].round(3)) for value in (measured.momentum, measured.efficiency, measured.recommend_all)]
    [5.475, 0.6, 0.4]
    """
    window = np.ascontiguousarray(np.asarray(streams, dtype=np.float64).T)
    recent = np.ascontiguousarray(window[:, -feature_bars:])
    side = np.asarray(signs, dtype=np.float64)
    whole, late = _Sample.of(window), _Sample.of(recent)
    volatility = np.sqrt(late.variance() * DAYS_PER_YEAR)
    return Features(
        momentum=DAYS_PER_YEAR * whole.mean,
        efficiency=efficiency(late),
        survival=survival(window),
        recommend_all=_given(recommend_all, len(window)) * side,
        recommend_ma=_given(recommend_ma, len(window)) * side,
        adx=_given(adx, len(window)) / 100.0,
        cvar=cvar(late),
        antifragility=antifragility(whole),
        skew=np.abs(late.standard_moment(3)),
        kurtosis=late.standard_moment(4) - 3.0,
        hurst=hurst(recent),
        liquidity=np.minimum(1.0, median_value_traded(value_traded, feature_bars, len(window)) / LIQUID_VALUE),
        stability=_ratio(np.ones(len(window)), volatility),
        entropy=permutation_entropy(window),
        volatility=volatility,
        drift=late.mean,
    )


def _given(values: Floats | None, n_atoms: int) -> Floats:
    return np.full(n_atoms, np.nan) if values is None else np.asarray(values, dtype=np.float64)


def _ratio(over: Floats, under: Floats) -> Floats:
    """Divide where the divisor is positive, NaN elsewhere."""
    result = np.full(len(over), np.nan)
    np.divide(over, under, out=result, where=under > 0)
    return result


@dataclass(frozen=True, slots=True)
class _Sample:
    """Observations of each atom, (n_atoms, n_rows), with what several features share."""

    ordered: Floats
    """Ascending along rows, NaN last."""
    count: Ints
    mean: Floats
    centred: Floats
    """Distance from the mean, 0 where there is no observation."""
    magnitude: Floats
    """Sum of absolute values."""

    @classmethod
    def of(cls, rows: Floats) -> _Sample:
        missing = np.isnan(rows)
        count = rows.shape[1] - np.count_nonzero(missing, axis=1)
        filled = np.where(missing, 0.0, rows)
        mean = _ratio(filled.sum(axis=1), count.astype(np.float64))
        centred = np.where(missing, 0.0, rows - mean[:, None])
        return cls(np.sort(rows, axis=1), count, mean, centred, np.abs(filled).sum(axis=1))

    def spread(self) -> Bools:
        """Whether any two observations differ; rounding in the mean would hide that from the variance."""
        if self.ordered.shape[1] == 0:
            return np.zeros(len(self.count), dtype=np.bool_)
        last = np.maximum(self.count - 1, 0)
        highest = np.take_along_axis(self.ordered, last[:, None], axis=1)[:, 0]
        spread: Bools = (self.count > 1) & (highest > self.ordered[:, 0])
        return spread

    def variance(self) -> Floats:
        """Sample variance (n - 1); NaN without spread."""
        squares = np.where(self.spread(), (self.centred * self.centred).sum(axis=1), np.nan)
        return _ratio(squares, self.count - np.float64(1.0))

    def standard_moment(self, order: int) -> Floats:
        """Fisher's moment coefficient, not corrected for bias: m_k / m_2^(k/2)."""
        squares = self.centred * self.centred
        second: Floats = np.where(self.spread(), squares.sum(axis=1), np.nan)
        power = squares * (self.centred if order == 3 else squares)
        observations = self.count.astype(np.float64)
        scale: Floats = second ** (order / 2) / observations ** (order / 2 - 1)
        return _ratio(power.sum(axis=1), scale)

    def at(self, rank: Ints) -> Floats:
        """Return the value of a rank from 0, clipped to what exists; NaN without observations."""
        place = np.clip(rank, 0, max(self.ordered.shape[1] - 1, 0))
        return np.take_along_axis(self.ordered, place[:, None], axis=1)[:, 0]


def efficiency(sample: _Sample) -> Floats:
    """Net way over the whole way (Kaufman's ratio on returns), floored at 0; NaN when nothing moved."""
    return np.maximum(_ratio(sample.mean * sample.count, sample.magnitude), 0.0)


def survival(window: Floats) -> Floats:
    """Share of rows that exist since the first one that does, (n_atoms, n_days) -> (n_atoms,)."""
    if window.shape[1] == 0:
        return np.full(len(window), np.nan)
    exists = ~np.isnan(window)
    since_first = np.where(exists.any(axis=1), window.shape[1] - exists.argmax(axis=1), 0)
    return _ratio(exists.sum(axis=1).astype(np.float64), since_first.astype(np.float64))


def cvar(sample: _Sample) -> Floats:
    """Mean of the worst 5 % of the observations.

    Where 5 % is not a whole number of observations, the last one counts by its fraction (Rockafellar and Uryasev,
    2000).
    """
    if sample.ordered.shape[1] == 0:
        return np.full(len(sample.count), np.nan)
    share = TAIL * sample.count / 100.0
    whole = TAIL * sample.count // 100
    sums = np.cumsum(sample.ordered, axis=1)
    before = np.take_along_axis(sums, np.maximum(whole - 1, 0)[:, None], axis=1)[:, 0]
    return _ratio(np.where(whole > 0, before, 0.0) + (share - whole) * sample.at(whole), share)


def antifragility(sample: _Sample) -> Floats:
    """Sum of the means of both tails over the standard deviation: positive when surprises are good ones.

    Quantiles are interpolated linearly; the tails include them.
    """
    if sample.ordered.shape[1] == 0:
        return np.full(len(sample.count), np.nan)
    # Whole numbers, since 0.05 x (n - 1) in floating point may fall on the wrong side of an observation.
    low, part = np.divmod(TAIL * np.maximum(sample.count - 1, 0), 100)
    weight = part / 100.0
    top = sample.count - 1
    bottom_quantile = sample.at(low) + weight * (sample.at(low + 1) - sample.at(low))
    top_quantile = sample.at(top - low) - weight * (sample.at(top - low) - sample.at(top - low - 1))
    below = sample.ordered <= bottom_quantile[:, None]
    above = sample.ordered >= top_quantile[:, None]
    tails = _mean_where(sample.ordered, above) + _mean_where(sample.ordered, below)
    return _ratio(tails, np.sqrt(sample.variance()))


def _mean_where(values: Floats, chosen: Bools) -> Floats:
    return _ratio(np.where(chosen, values, 0.0).sum(axis=1), chosen.sum(axis=1).astype(np.float64))


def median_value_traded(value_traded: Floats | None, bars: int, n_atoms: int) -> Floats:
    """Median of the last ``bars`` rows of a (n_days, n_atoms) array, NaN where no row has a value.

    Examples
    --------
    >>> median_value_traded(np.array([[9e9], [1.0], [np.nan], [2.0], [6.0], [3.0]]), 5, 1)
    array([2.5])
    """
    if value_traded is None or len(value_traded) == 0:
        return np.full(n_atoms, np.nan)
    sample = np.ascontiguousarray(np.asarray(value_traded, dtype=np.float64)[-bars:].T)
    sample.sort(axis=1)
    count = sample.shape[1] - np.count_nonzero(np.isnan(sample), axis=1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, sample.shape[1] - 1)], axis=1)
    median: Floats = np.take_along_axis(sample, middle, axis=1).mean(axis=1)
    return median


def permutation_entropy(window: Floats, order: int = 3) -> Floats:
    """Permutation entropy of each row of an (n_atoms, n_days) array, over log(order!).

    Bandt and Pompe, *Permutation entropy: a natural complexity measure for time series*, Physical Review Letters 88
    (2002). A pattern needs ``order`` consecutive rows that all exist. Of equal values the earlier counts as smaller.

    Returns
    -------
    (n_atoms,) array
        0 for a monotone stream, 1 when all patterns are equally frequent; NaN without a single pattern.

    Examples
    --------
    The authors' own: order 2 of this series has 0.918 bits out of 1.

    >>> permutation_entropy(np.array([[4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0]]), order=2).round(3)
    array([0.918])
    """
    n_atoms, length = len(window), window.shape[1] - order + 1
    if length < 1:
        return np.full(n_atoms, np.nan)
    parts = [window[:, i : i + length] for i in range(order)]
    pattern = np.zeros((n_atoms, length), dtype=np.int64)
    for i in range(order):
        for j in range(i + 1, order):
            pattern = 2 * pattern + (parts[i] <= parts[j])
    # All pairwise comparisons identify the permutation; codes that no permutation has stay empty.
    codes = 2 ** (order * (order - 1) // 2)
    exists = ~np.isnan(parts[0])
    for part in parts[1:]:
        exists &= ~np.isnan(part)
    slots = np.where(exists, pattern, codes) + (codes + 1) * np.arange(n_atoms)[:, None]
    counts = np.bincount(slots.ravel(), minlength=n_atoms * (codes + 1)).reshape(n_atoms, codes + 1)[:, :codes]
    total = counts.sum(axis=1).astype(np.float64)
    logs = np.where(counts > 0, np.log(np.maximum(counts, 1)), 0.0)
    entropy: Floats = np.log(np.maximum(total, 1.0)) - _ratio((counts * logs).sum(axis=1), total)
    return np.maximum(entropy, 0.0) / math.log(math.factorial(order))


def hurst(recent: Floats) -> Floats:
    """Rescaled-range exponent less 0.5 of each row of an (n_atoms, n_rows) array.

    The observations are cut into 1, 2, 3, 4, 5, 6, 8, 10, 12 and 15 chunks of equal length (at least 8; what is left
    over is the oldest). For each length, R/S is averaged over the chunks and set against its exact expectation for
    independent normal values (Anis and Lloyd, Biometrika 63, 1976): the least-squares slope of log(R/S / E[R/S]) on
    log(length) is the exponent's distance from 0.5 (Weron, Physica A 312, 2002, without Peters' factor, since Anis
    and Lloyd's expectation is exact for the population standard deviation used here). The plain slope would call
    noise of 120 bars trending.

    Returns
    -------
    (n_atoms,) array
        Positive when trending. NaN below 16 observations, where there is but one length, or when a chunk length has no
        chunk that moves.
    """
    missing = np.isnan(recent)
    counts = recent.shape[1] - np.count_nonzero(missing, axis=1)
    result = np.full(len(recent), np.nan)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        chosen = recent[rows]
        result[rows] = _hurst(chosen[~missing[rows]].reshape(len(rows), count))
    return result


def _hurst(rows: Floats) -> Floats:
    """Do the work of :func:`hurst` for rows without holes."""
    observations = rows.shape[1]
    lengths = sorted({observations // chunks for chunks in _CHUNKS if observations // chunks >= _SHORTEST_CHUNK})
    if len(lengths) < 2:
        return np.full(len(rows), np.nan)
    x = np.log(lengths)
    x -= x.mean()
    still = bool((rows[:, 1:] == rows[:, :-1]).any())
    slope = np.zeros(len(rows))
    # Term by term: a sum over a short axis takes another order of addition when there is but one atom.
    for weight, length in zip((x / float((x * x).sum())).tolist(), lengths, strict=True):
        slope += weight * np.log(_rescaled_range(rows, length, still) / _expected_rescaled_range(length))
    return slope


def _rescaled_range(rows: Floats, length: int, still: bool = True) -> Floats:
    """Mean R/S of the newest whole chunks; those that do not move are left out, if any value is ``still`` the last."""
    n_atoms, observations = rows.shape
    # A chunk is a column, since short rows are slow to reduce.
    chunks = np.ascontiguousarray(rows[:, observations % length :].reshape(-1, length).T)
    centred = chunks - _pairwise_sum(chunks) / length
    deviation = np.sqrt(_pairwise_sum(centred * centred) / length)
    path = centred
    for row in range(1, length):  # a cumulative sum down the columns, which NumPy takes column by column
        path[row] += path[row - 1]
    reach = np.maximum(path.max(axis=0), 0.0) - np.minimum(path.min(axis=0), 0.0)  # the path begins at 0
    moves = deviation > 0
    if still:
        moves &= chunks.max(axis=0) > chunks.min(axis=0)
    scaled = np.divide(reach, deviation, out=np.zeros_like(reach), where=moves).reshape(n_atoms, -1)
    return _ratio(scaled.sum(axis=1), moves.reshape(n_atoms, -1).sum(axis=1).astype(np.float64))


def _pairwise_sum(columns: Floats) -> Floats:
    """Sum (n_rows, n_columns) along rows in the order in which NumPy adds up one contiguous row, to the last bit."""
    n_rows = len(columns)
    if n_rows > _BLOCK:
        half = n_rows // 2 - n_rows // 2 % 8
        return _pairwise_sum(columns[:half]) + _pairwise_sum(columns[half:])
    whole = n_rows - n_rows % 8
    lanes = columns[:8].copy()
    for row in range(8, whole, 8):
        lanes += columns[row : row + 8]
    total: Floats = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    for row in range(whole, n_rows):
        total += columns[row]
    return total


@lru_cache(maxsize=1024)
def _expected_rescaled_range(length: int) -> float:
    """E[R/S] of ``length`` independent normal values (Anis and Lloyd, 1976)."""
    i = np.arange(1, length)
    scale = math.exp(math.lgamma((length - 1) / 2) - math.lgamma(length / 2)) / math.sqrt(math.pi)
    return scale * float(np.sqrt((length - i) / i).sum())
