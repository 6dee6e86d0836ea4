"""The exponent of growth: a straight line through logarithms, by least squares, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Growth:
    """``value = factor * size ** exponent``.

    Attributes
    ----------
    factor, exponent : float
        Least squares of the logarithms.
    low, high : float
        95 % confidence interval of the exponent, from Student's t with two degrees fewer than points.
    last : float
        Exponent between the last two sizes: where fixed costs weigh least.
    points, center, spread, noise : int, float, float, float
        Number of points, mean and sum of squares of the sizes' logarithms, standard error of the values' logarithms.
    """

    factor: float
    exponent: float
    low: float
    high: float
    last: float
    points: int
    center: float
    spread: float
    noise: float

    def at(self, size: float) -> tuple[float, float, float]:
        """Return the value expected at a size, and its 95 % prediction interval."""
        log = math.log(self.factor) + self.exponent * math.log(size)
        away = math.log(size) - self.center
        error = self.noise * math.sqrt(1 + 1 / self.points + away * away / self.spread)
        reach = _quantile(self.points) * error
        return math.exp(log), math.exp(log - reach), math.exp(log + reach)

    def size_at(self, value: float) -> float:
        """Return the size at which a value is reached."""
        return float((value / self.factor) ** (1 / self.exponent))

    def summed(self, count: float) -> tuple[float, float, float]:
        """Return the sum over sizes from 0 to ``count``, with its interval."""
        share = count / (self.exponent + 1)
        value, low, high = self.at(count)
        return value * share, low * share, high * share

    @property
    def law(self) -> str:
        """Name the law in a word or two."""
        return f"exponent {self.exponent:.2f}"


@dataclass(frozen=True)
class Line:
    """``value = fixed + slope * size``: what goes on where fixed costs hide that growth is linear.

    Attributes
    ----------
    fixed, slope : float
        Least squares of the relative errors.
    noise : float
        Standard error of the relative errors.
    precision : (2, 2) tuple
        Inverse of the weighted normal matrix.
    points : int
    """

    fixed: float
    slope: float
    noise: float
    precision: tuple[tuple[float, float], tuple[float, float]]
    points: int

    def at(self, size: float) -> tuple[float, float, float]:
        """Return the value expected at a size, and its 95 % prediction interval."""
        return self._of(1.0, size)

    def _of(self, ones: float, size: float) -> tuple[float, float, float]:
        (a, b), (_, d) = self.precision
        value = ones * self.fixed + size * self.slope
        error = self.noise * math.sqrt(ones * ones * a + 2 * ones * size * b + size * size * d + value * value)
        reach = _quantile(self.points) * error
        return value, max(0.0, value - reach), value + reach

    def size_at(self, value: float) -> float:
        """Return the size at which a value is reached."""
        return (value - self.fixed) / self.slope if self.slope > 0 else math.inf

    def summed(self, count: float) -> tuple[float, float, float]:
        """Return the sum over sizes from 0 to ``count``, with its interval."""
        return self._of(count, count * count / 2)

    @property
    def law(self) -> str:
        """Name the law in a word or two."""
        return "straight line"


Law = Growth | Line


def straight(sizes: Sequence[float], values: Sequence[float]) -> Line:
    """Fit a line to positive values, each of the same relative weight.

    Raises
    ------
    ValueError
        With fewer than three different sizes, or a value that is not positive.

    Examples
    --------
    >>> found = straight([1, 2, 4, 8], [12, 14, 18, 26])
    >>> round(found.fixed, 6), round(found.slope, 6)
    (10.0, 2.0)
    """
    _check(sizes, values)
    y = np.asarray(values, dtype=np.float64)
    design = np.column_stack([np.ones(len(y)), np.asarray(sizes, dtype=np.float64)]) / y[:, None]
    found, *_ = np.linalg.lstsq(design, np.ones(len(y)), rcond=None)
    noise = math.sqrt(float(((design @ found - 1.0) ** 2).sum()) / (len(y) - 2))
    inverse = np.linalg.inv(design.T @ design)
    precision = ((float(inverse[0, 0]), float(inverse[0, 1])), (float(inverse[1, 0]), float(inverse[1, 1])))
    return Line(float(found[0]), float(found[1]), noise, precision, len(y))


def grow(sizes: Sequence[float], values: Sequence[float]) -> Growth:
    """Fit the growth of positive values.

    Raises
    ------
    ValueError
        With fewer than three different sizes, or a value that is not positive.

    Examples
    --------
    >>> found = grow([1, 2, 4, 8], [3, 12, 48, 192])
    >>> round(found.exponent, 6), round(found.factor, 6)
    (2.0, 3.0)
    """
    _check(sizes, values)
    x, y = np.log(np.asarray(sizes, dtype=np.float64)), np.log(np.asarray(values, dtype=np.float64))
    center, spread = float(x.mean()), float(((x - x.mean()) ** 2).sum())
    exponent = float(((x - center) * (y - y.mean())).sum() / spread)
    level = float(y.mean()) - exponent * center
    noise = math.sqrt(float(((y - level - exponent * x) ** 2).sum()) / (len(x) - 2))
    reach = _quantile(len(x)) * noise / math.sqrt(spread)
    order = np.argsort(x)
    before, after = order[-2], order[-1]
    last = float((y[after] - y[before]) / (x[after] - x[before]))
    return Growth(math.exp(level), exponent, exponent - reach, exponent + reach, last, len(x), center, spread, noise)


def _check(sizes: Sequence[float], values: Sequence[float]) -> None:
    if len(set(sizes)) < 3 or len(sizes) != len(values):
        raise ValueError("a growth with an interval needs three sizes or more, and a value for each")
    if min(values) <= 0 or min(sizes) <= 0:
        raise ValueError("sizes and values must be positive")


def _quantile(points: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(points - 2, 0.5 + CONFIDENCE / 2))
