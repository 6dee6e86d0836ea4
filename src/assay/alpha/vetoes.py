"""Reasons for which an atom is not held, whatever its score.

*Safety* vetoes (the atom points the wrong way, cannot be traded, cannot be trusted, or cannot earn its costs) stand
always. *Quality* vetoes (its stream is noise, goes nowhere, or jumps) may be passed by the one recorded relaxation. A
value that is missing passes no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from assay.alpha.features import Features
from assay.base.constants import Bools, Floats
from assay.market.costs import daily_costs
from assay.settings.model import Costs

DIRECTION = "VETO_DIRECTION"
NO_RETURNS = "VETO_NO_RETURNS"
ABSENT = "VETO_ABSENT"
TOXIC = "VETO_TOXIC"
STALE = "VETO_STALE"
COVERAGE = "VETO_COVERAGE"
FRICTION = "VETO_FRICTION"
ENTROPY = "VETO_ENTROPY"
EFFICIENCY = "VETO_EFFICIENCY"
KURTOSIS = "VETO_KURTOSIS"
VOLATILITY = "VETO_VOLATILITY"

SAFETY = (DIRECTION, NO_RETURNS, ABSENT, TOXIC, STALE, COVERAGE, FRICTION)
"""Never passed. Of several vetoes the first of this and then the next list is the reason on record."""

QUALITY = (ENTROPY, EFFICIENCY, KURTOSIS, VOLATILITY)
"""May be passed by relaxation."""

FLAGS = (DIRECTION, ABSENT, TOXIC, STALE)
"""Known to the caller alone: streams do not show them."""


@dataclass(frozen=True, slots=True)
class Veto:
    """One veto over all atoms."""

    code: str
    """Stable name of the reason."""
    hit: Bools
    """(n_atoms,): atoms that it strikes."""
    text: str
    """Words for :meth:`explain`, with ``{value}`` and ``{limit}`` where there are numbers."""
    value: Floats | None = None
    limit: Floats | None = None
    """(n_atoms,): what was measured, and against what."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """Words about single atoms, in place of ``text``."""

    @property
    def safety(self) -> bool:
        """Whether no relaxation may pass it."""
        return self.code in SAFETY

    def explain(self, atom: int) -> str:
        """Return why the atom is struck, with numbers."""
        if atom in self.notes:
            return self.notes[atom]
        if self.value is None or self.limit is None:
            return self.text
        value = self.value[atom]
        shown = "not measurable" if np.isnan(value) else f"{value:.6g}"
        return self.text.format(value=shown, limit=f"{self.limit[atom]:.6g}")


def quality_vetoes(
    measured: Features, *, max_entropy: float, min_efficiency: float, max_kurtosis: float, max_volatility: float
) -> tuple[Veto, ...]:
    """Strike streams that are noise, go nowhere, or jump.

    Parameters
    ----------
    measured : Features
        Raw features of (n_atoms,) atoms.
    max_entropy, max_kurtosis, max_volatility : float
        Values above are struck.
    min_efficiency : float
        Values below are struck.

    Examples
    --------
    >>> from assay.alpha.features import features
    >>> rising = features(np.linspace(0.01, 0.02, 30)[:, None])
    >>> limits = {"max_entropy": 0.999, "min_efficiency": 0.05, "max_kurtosis": 20.0, "max_volatility": 0.01}
    >>> [(veto.code, veto.explain(0)) for veto in quality_vetoes(rising, **limits) if veto.hit[0]]
    [('VETO_VOLATILITY', 'annual volatility 0.0579962 > 0.01')]
    """
    return (
        _above(ENTROPY, "entropy {value} > {limit}", measured.entropy, max_entropy),
        _below(EFFICIENCY, "efficiency {value} < {limit}", measured.efficiency, min_efficiency),
        _above(KURTOSIS, "excess kurtosis {value} > {limit}", measured.kurtosis, max_kurtosis),
        _above(VOLATILITY, "annual volatility {value} > {limit}", measured.volatility, max_volatility),
    )


def _above(code: str, text: str, value: Floats, limit: float) -> Veto:
    return Veto(code, ~(value <= limit), text, value, np.full(len(value), limit))


def _below(code: str, text: str, value: Floats, limit: float) -> Veto:
    return Veto(code, ~(value >= limit), text, value, np.full(len(value), limit))


def friction_veto(
    drift: Floats, signs: npt.ArrayLike, costs: Costs, *, hold: int, borrow: Floats | None = None
) -> Veto:
    """Strike atoms whose expected gain over one holding does not exceed what the holding costs.

    Parameters
    ----------
    drift : (n_atoms,) array
        Mean recent synthetic return per day.
    signs : (n_atoms,) array or int
        +1 for a long, -1 for a short; only shorts pay for borrowing.
    costs : Costs
        Fee and slippage per side (a holding has two), borrow per year.
    hold : int
        Days of one holding.
    borrow : (n_atoms,) array, optional
        Rates a year that are known, NaN where none is.

    Examples
    --------
    >>> veto = friction_veto(np.array([0.0004, 0.0004]), [1, -1], Costs(), hold=10)
    >>> veto.hit.tolist(), veto.explain(1)
    ([False, True], 'expected gain of one holding 0.004 <= its cost 0.00573973')
    """
    gain = hold * drift
    cost = np.broadcast_to(hold * daily_costs(signs, costs, hold, borrow), gain.shape)
    return Veto(FRICTION, ~(gain > cost), "expected gain of one holding {value} <= its cost {limit}", gain, cost)


def coverage_veto(streams: Floats, *, rows: int, share: float) -> Veto:
    """Strike atoms that lack too many of the rows on which covariances are estimated.

    Parameters
    ----------
    streams : (n_days, n_atoms) array
        Synthetic returns; NaN where there is no observation.
    rows : int
        Last rows that count; all where there are fewer.
    share : float
        Share of them that an atom needs.

    Examples
    --------
    >>> veto = coverage_veto(np.array([[np.nan], [0.1], [np.nan], [0.1]]), rows=2, share=0.95)
    >>> veto.explain(0)
    'share of estimation rows 0.5 < 0.95'
    """
    late = streams[-rows:]
    have = np.count_nonzero(~np.isnan(late), axis=0) / max(len(late), 1)
    return _below(COVERAGE, "share of estimation rows {value} < {limit}", have, share)


def flag_veto(code: str, notes: Mapping[int, str], n_atoms: int) -> Veto:
    """Strike the atoms for which the caller knows a reason.

    Parameters
    ----------
    code : str
        One of :data:`FLAGS`.
    notes : mapping of int to str
        Index of the atom to the reason in words.
    n_atoms : int
        Number of atoms.

    Raises
    ------
    ValueError
        If the code is not one of them.
    """
    if code not in FLAGS:
        raise ValueError(f"{code!r} is not one of {', '.join(FLAGS)}")
    hit = np.zeros(n_atoms, dtype=np.bool_)
    hit[list(notes)] = True
    return Veto(code, hit, code, notes=dict(notes))


def struck(vetoes: tuple[Veto, ...], n_atoms: int, *, safety: bool) -> Bools:
    """Return which atoms are struck by any safety veto, or by any quality veto."""
    chosen = [veto.hit for veto in vetoes if veto.safety is safety]
    return np.any(np.stack(chosen), axis=0) if chosen else np.zeros(n_atoms, dtype=np.bool_)
