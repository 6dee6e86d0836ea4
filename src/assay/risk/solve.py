"""What changed a number on the way, as a light value: the hot path builds no documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import piqp

from assay.base.constants import Floats
from assay.base.errors import SolverError
from assay.runs.documents import SolverRecord

CAP_RELAXED = "CAP_RELAXED"
CAPS_BIND = "CAPS_BIND"
LOSS_MAKERS_GUARDED = "LOSS_MAKERS_GUARDED"
ALL_LOSS_MAKERS = "ALL_LOSS_MAKERS"
NO_POSITIVE_EXPECTED_RETURN = "NO_POSITIVE_EXPECTED_RETURN"
NO_AGGRESSORS = "NO_AGGRESSORS"
SOLVER_FALLBACK = "SOLVER_FALLBACK"
SHRINKAGE_RAISED = "SHRINKAGE_RAISED"
CONDITION_NUMBER_HIGH = "CONDITION_NUMBER_HIGH"
ZERO_VARIANCE = "ZERO_VARIANCE"
REGIME_UNKNOWN = "REGIME_UNKNOWN"


SOLVED = "SOLVED"
TOLERANCE = 1e-8
"""Greatest residual and gap, relative to the program's own numbers, with which an answer is believed."""

PIQP_EPSILON = 1e-12
# Two more iterations than at 1e-8, and weights agree between processor families to 1e-9 instead of 1e-5.
RELAXED_EPSILON = 1e-9
# Where multipliers are large, rounding alone leaves more than 1e-12, and PIQP goes on until it runs out of iterations.
CLARABEL_EPSILON = 1e-10
MAX_ITERATIONS = 100
# Programs of this room take 5 to 20.


@dataclass(frozen=True)
class Program:
    """Minimise x'Px / 2 + c'x subject to Ax = b, Gx <= h, lower <= x <= upper; x is (n,)."""

    quadratic: Floats
    """P, symmetric and positive semidefinite."""
    linear: Floats
    equalities: Floats
    """A, (m, n), at least one row."""
    equal_to: Floats
    inequalities: Floats
    """G, (p, n), possibly without rows."""
    at_most: Floats
    lower: Floats
    """Infinite where there is no bound, as in ``upper``."""
    upper: Floats

    def scaled(self) -> Program:
        """Scale the objective by n / trace(P): annual variances are far from what solvers' tolerances assume."""
        trace = float(np.trace(self.quadratic))
        if trace <= 0.0:
            return self
        factor = len(self.linear) / trace
        return replace(self, quadratic=self.quadratic * factor, linear=self.linear * factor)


@dataclass(frozen=True)
class Solution:
    """What one solver said: a point and its multipliers (``y`` free, the others non-negative)."""

    solver: str
    status: str
    iterations: int
    x: Floats
    y: Floats
    z: Floats
    z_lower: Floats
    z_upper: Floats


def _record(
    name: str,
    status: str,
    iterations: int = 0,
    residual: float | None = None,
    gap: float | None = None,
    fallbacks: Sequence[str] = (),
) -> SolverRecord:
    return SolverRecord(
        name=name,
        status=status,
        iterations=iterations,
        residual=residual,
        gap=gap,
        fallbacks=list(fallbacks),
        projection_distance=0.0,
    )


CLOSED_FORM = _record("closed_form", SOLVED)
"""No solver was needed."""
ALL_CASH = _record("none", "ALL_CASH")
"""Nothing is invested."""
NO_ATOMS = _record("none", "NO_ATOMS")
"""There is nothing to invest in."""

Backend = Callable[[Program], Solution]


def with_piqp(program: Program, epsilon: float = PIQP_EPSILON) -> Solution:
    """Ask PIQP's dense solver for an answer within ``epsilon``."""
    solver = piqp.DenseSolver()
    settings = solver.settings
    settings.verbose = False
    settings.max_iter = MAX_ITERATIONS
    settings.eps_abs = settings.eps_rel = epsilon
    settings.check_duality_gap = True
    settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = epsilon
    rows = len(program.at_most)
    solver.setup(
        np.asfortranarray(program.quadratic),
        program.linear,
        np.asfortranarray(program.equalities),
        program.equal_to,
        np.asfortranarray(program.inequalities) if rows else None,
        None,
        program.at_most if rows else None,
        program.lower,
        program.upper,
    )
    status = solver.solve().name.removeprefix("PIQP_")
    result = solver.result
    return Solution(
        "piqp" if epsilon == PIQP_EPSILON else "piqp_relaxed",
        status,
        int(result.info.iter),
        np.array(result.x),
        np.array(result.y),
        np.array(result.z_u) if rows else np.empty(0),
        np.array(result.z_bl),
        np.array(result.z_bu),
    )


def with_clarabel(program: Program) -> Solution:
    """Ask Clarabel: bounds become rows, equalities the zero cone, inequalities the non-negative one."""
    import clarabel  # the second opinion is rarely asked for
    from scipy import sparse

    n, m, p = len(program.linear), len(program.equal_to), len(program.at_most)
    low, high = np.isfinite(program.lower), np.isfinite(program.upper)
    identity = sparse.identity(n, format="csr")
    rows = sparse.vstack(
        [
            sparse.csr_matrix(program.equalities),
            sparse.csr_matrix(program.inequalities.reshape(p, n)),
            -identity[low],
            identity[high],
        ],
        format="csc",
    )
    right = np.concatenate([program.equal_to, program.at_most, -program.lower[low], program.upper[high]])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = MAX_ITERATIONS
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = CLARABEL_EPSILON
    settings.max_threads = 1
    cones = [clarabel.ZeroConeT(m), clarabel.NonnegativeConeT(len(right) - m)]
    quadratic = sparse.csc_matrix(np.triu(program.quadratic))
    found = clarabel.DefaultSolver(quadratic, program.linear, rows, right, cones, settings).solve()
    z = np.array(found.z)
    z_lower, z_upper = np.zeros(n), np.zeros(n)
    z_lower[low] = z[m + p : m + p + int(low.sum())]
    z_upper[high] = z[m + p + int(low.sum()) :]
    status = re.sub(r"(?<!^)(?=[A-Z])", "_", str(found.status)).upper()
    return Solution("clarabel", status, int(found.iterations), np.array(found.x), z[:m], z[m : m + p], z_lower, z_upper)


CHAIN: tuple[Backend, ...] = (with_piqp, partial(with_piqp, epsilon=RELAXED_EPSILON), with_clarabel)


def certify(program: Program, answer: Solution) -> tuple[float, float]:
    """Measure how far an answer is from satisfying the Karush-Kuhn-Tucker conditions.

    Parameters
    ----------
    program : Program
        As the solver saw it.
    answer : Solution
        Point and multipliers.

    Returns
    -------
    residual : float
        The greatest of: violation of a constraint over 1 + max |x|; stationarity over 1 + the greatest of its terms; a
        multiplier's negative part over 1 + the greatest multiplier. NaN if the answer holds one.
    gap : float
        Sum of multiplier x slack, over 1 + |objective|: what the objective could still fall by.
    """
    x = answer.x
    slack = program.at_most - program.inequalities @ x
    below, above = x - program.lower, program.upper - x
    curvature = program.quadratic @ x
    prices = program.equalities.T @ answer.y
    pushes = program.inequalities.T @ answer.z + answer.z_upper - answer.z_lower
    violation = _greatest(program.equalities @ x - program.equal_to, np.minimum(slack, 0), np.minimum(below, 0))
    violation = max(violation, _greatest(np.minimum(above, 0))) / (1.0 + _greatest(x))
    stationarity = _greatest(curvature + program.linear + prices + pushes)
    stationarity /= 1.0 + _greatest(curvature, program.linear, prices, pushes)
    multipliers = np.concatenate([answer.z, answer.z_lower, answer.z_upper])
    negative = _greatest(np.minimum(multipliers, 0)) / (1.0 + _greatest(multipliers))
    objective = 0.5 * float(x @ curvature) + float(program.linear @ x)
    gap = sum(_pair(z, s) for z, s in ((answer.z, slack), (answer.z_lower, below), (answer.z_upper, above)))
    residual = float(np.max([violation, stationarity, negative]))  # np.max keeps a NaN, max() may lose it
    return residual, gap / (1.0 + abs(objective))


def _greatest(*vectors: Floats) -> float:
    return float(np.max([np.max(np.abs(vector), initial=0.0) for vector in vectors]))


def _pair(multipliers: Floats, slacks: Floats) -> float:
    bounded = np.isfinite(slacks)  # an absent bound has no price
    return float(np.abs(multipliers[bounded]) @ np.abs(slacks[bounded]))


def solve(program: Program, chain: Sequence[Backend] | None = None) -> tuple[Floats, SolverRecord]:
    """Solve a quadratic program with the first solver whose answer stands the check.

    Parameters
    ----------
    program : Program
        Finite but for its bounds.
    chain : sequence of Backend, optional
        Solvers in order of preference; :data:`CHAIN` by default.

    Returns
    -------
    x : (n,) array
    report : SolverRecord
        Residual and gap are those of the program scaled by n / trace(P).

    Raises
    ------
    SolverError
        When no solver's answer stands; the error tells each one's status and residuals.

    Examples
    --------
    The least sum of squares with x + y = 1 and x <= 0.2:

    >>> program = Program(
    ...     quadratic=np.eye(2), linear=np.zeros(2), equalities=np.ones((1, 2)), equal_to=np.ones(1),
    ...     inequalities=np.empty((0, 2)), at_most=np.empty(0), lower=np.zeros(2), upper=np.array([0.2, 1.0]))
    >>> x, report = solve(program)
    >>> x.round(9).tolist(), report.name, report.status
    ([0.2, 0.8], 'piqp', 'SOLVED')
    """
    scaled = program.scaled()
    failures: list[str] = []
    for backend in CHAIN if chain is None else chain:
        answer = backend(scaled)
        residual, gap = certify(scaled, answer)
        if answer.status == SOLVED and residual <= TOLERANCE and gap <= TOLERANCE:
            return answer.x, _record(answer.solver, SOLVED, answer.iterations, residual, gap, failures)
        failures.append(f"{answer.solver}: {answer.status}, residual {residual:.0e}, gap {gap:.0e}")
    raise SolverError(
        f"no solver found the optimum ({'; '.join(failures) or 'none was asked'})",
        where=f"quadratic program of {len(program.linear)} variables",
        hint="the constraints may contradict each other: look at caps and budget in risk_analysis.json",
    )
