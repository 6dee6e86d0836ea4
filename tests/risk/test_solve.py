from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import random_covariance

from assay.base.errors import SolverError
from assay.risk.solve import Program, Solution, certify, solve, with_clarabel, with_piqp


def simplex(n: int, seed: int, cap: float = 0.4) -> Program:
    """Least variance with caps and one cluster of the first half, whose sum is at most 0.5."""
    return Program(
        quadratic=random_covariance(n, seed),
        linear=np.zeros(n),
        equalities=np.ones((1, n)),
        equal_to=np.ones(1),
        inequalities=(np.arange(n) < n // 2).astype(float)[None, :],
        at_most=np.array([0.5]),
        lower=np.zeros(n),
        upper=np.full(n, cap),
    )


def failing(status: str) -> object:
    def backend(program: Program) -> Solution:
        return replace(with_piqp(program), solver="broken", status=status)

    return backend


def lying(program: Program) -> Solution:
    """Says SOLVED and gives equal weights."""
    honest = with_piqp(program)
    return replace(honest, solver="liar", x=np.full_like(honest.x, 1 / len(honest.x)))


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 20), st.integers(0, 2**32 - 1))
def test_both_solvers_agree(n: int, seed: int) -> None:
    program = simplex(n, seed)
    first, first_report = solve(program, (with_piqp,))
    second, second_report = solve(program, (with_clarabel,))
    np.testing.assert_allclose(first, second, atol=1e-3)  # flat directions: the objective is what is compared
    assert first @ program.quadratic @ first == pytest.approx(second @ program.quadratic @ second, rel=1e-6)
    assert (first_report.name, second_report.name) == ("piqp", "clarabel")
    assert first_report.iterations > 0
    assert second_report.iterations > 0


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1.0, 1e6])
def test_the_scale_of_the_objective_does_not_matter(scale: float) -> None:
    program = simplex(12, 3)
    base, _ = solve(program)
    scaled, report = solve(replace(program, quadratic=program.quadratic * scale))
    np.testing.assert_allclose(scaled, base, atol=1e-8)
    assert report.fallbacks == []


def test_an_interior_optimum_has_a_closed_form() -> None:
    # Without binding bounds the least variance is S^-1 1 / 1'S^-1 1.
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.02], [0.0, 0.02, 0.16]])
    program = replace(
        simplex(3, 0),
        quadratic=covariance,
        inequalities=np.empty((0, 3)),
        at_most=np.empty(0),
        upper=np.full(3, np.inf),
    )
    inverse = np.linalg.solve(covariance, np.ones(3))
    for chain in ((with_piqp,), (with_clarabel,)):
        np.testing.assert_allclose(solve(program, chain)[0], inverse / inverse.sum(), atol=1e-7)


def test_a_failed_solver_is_named_and_the_next_one_answers() -> None:
    program = simplex(8, 1)
    honest, _ = solve(program)
    x, report = solve(program, (failing("MAX_ITERATIONS"), with_clarabel))  # type: ignore[arg-type]  # a solver of the test
    np.testing.assert_allclose(x, honest, atol=1e-5)
    assert report.name == "clarabel"
    assert len(report.fallbacks) == 1
    assert report.fallbacks[0].startswith("broken: MAX_ITERATIONS")


def test_a_status_alone_is_not_believed() -> None:
    program = simplex(8, 1)
    with pytest.raises(SolverError, match="liar: SOLVED, residual"):
        solve(program, (lying,))
    assert solve(program, (lying, with_piqp))[1].name == "piqp"


def test_numbers_that_are_none_are_not_believed() -> None:
    def empty(program: Program) -> Solution:
        honest = with_piqp(program)
        return replace(honest, x=np.full_like(honest.x, np.nan))

    with pytest.raises(SolverError):
        solve(simplex(5, 1), (empty,))


def test_an_exhausted_chain_tells_every_failure() -> None:
    impossible = replace(simplex(4, 1), upper=np.full(4, 0.2))  # 4 x 0.2 < 1
    with pytest.raises(SolverError) as caught:
        solve(impossible)
    assert "piqp: PRIMAL_INFEASIBLE" in str(caught.value)
    assert "clarabel: PRIMAL_INFEASIBLE" in str(caught.value)
    assert caught.value.code == "SOLVER"


class TestCertificate:
    """Every condition of optimality is looked at: each mutant of a right answer is caught."""

    program = simplex(6, 9, cap=0.3).scaled()

    def test_the_right_answer_stands(self) -> None:
        residual, gap = certify(self.program, with_piqp(self.program))
        assert max(residual, gap) < 1e-10

    @pytest.mark.parametrize(
        "mutant",
        [
            lambda a: replace(a, x=a.x * 1.001),
            lambda a: replace(a, x=a.x + np.eye(6)[0] * 1e-3),
            lambda a: replace(a, y=a.y + 1e-3),
            lambda a: replace(a, z=a.z + 1e-3),
            lambda a: replace(a, z_upper=a.z_upper + 1e-3),
            lambda a: replace(a, z_lower=a.z_lower + 1e-3),
            lambda a: replace(a, z_lower=a.z_lower + 1e-3, z_upper=a.z_upper + 1e-3),
            lambda a: replace(a, z_lower=-a.z_upper, z_upper=-a.z_lower),
            lambda a: replace(a, x=a.x[::-1]),
            lambda a: replace(a, x=np.full(6, np.nan)),
        ],
    )
    def test_mutants_fall(self, mutant) -> None:
        residual, gap = certify(self.program, mutant(with_piqp(self.program)))
        assert not (residual <= 1e-8 and gap <= 1e-8)

    def test_the_numbers_are_those_of_the_definition(self) -> None:
        """Two assets of 3 and 1, by hand: over the budget by 2 of 1 + 3, above a limit by 1."""
        program = Program(
            quadratic=np.diag([2.0, 4.0]),
            linear=np.array([-1.0, 0.0]),
            equalities=np.ones((1, 2)),
            equal_to=np.array([2.0]),
            inequalities=np.zeros((0, 2)),
            at_most=np.zeros(0),
            lower=np.zeros(2),
            upper=np.array([2.0, 2.0]),
        )
        none = np.zeros(2)
        answer = Solution("by hand", "", 0, np.array([3.0, 1.0]), np.array([-4.0]), np.zeros(0), none, none)
        residual, gap = certify(program, answer)
        assert gap == 0.0
        # Stationarity is (6 - 1 - 4, 4 - 4): 1 over 1 + 6. The budget is missed by 2: 2 over 1 + 3.
        assert residual == 0.5
