"""Pools that have no ordinary answer have a defined one, for each risk profile."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from risk_worlds import factor_returns

from assay.base.errors import DataError
from assay.risk.optimizers import (
    Barbell,
    EqualWeight,
    Estimates,
    HierarchicalRiskParity,
    MaxSharpe,
    MinVariance,
    Optimizer,
)

Floats = npt.NDArray[np.float64]

CAUTIOUS = (MinVariance, HierarchicalRiskParity, EqualWeight, Barbell)
ALL = (*CAUTIOUS, MaxSharpe)


def fit(kind: type[Optimizer], returns: Floats, **parameters: object) -> Optimizer:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = kind(**parameters).fit(returns)  # type: ignore[arg-type]  # values come from parameters
    assert math.fsum(optimizer.weights_) + optimizer.cash_ == pytest.approx(1.0, abs=1e-12)
    assert (optimizer.weights_ >= 0).all()
    assert optimizer.solver_.status in {"SOLVED", "ALL_CASH"}
    return optimizer


@pytest.mark.parametrize("kind", ALL)
class TestOneAtom:
    def test_it_gets_everything(self, kind: type[Optimizer]) -> None:
        assert fit(kind, factor_returns(252, 1, seed=1, drift=0.01)).weights_.tolist() == [1.0]

    def test_within_its_cap(self, kind: type[Optimizer]) -> None:
        found = fit(kind, factor_returns(252, 1, seed=1, drift=0.01), atom_cap=0.6)
        assert found.weights_.tolist() == [0.6]
        assert found.cash_ == pytest.approx(0.4)
        assert found.events_[-1].code == "CAPS_BIND"
        assert found.events_[-1].values == pytest.approx({"budget": 1.0, "held": 0.6})


@pytest.mark.parametrize("kind", CAUTIOUS)
def test_one_atom_that_falls(kind: type[Optimizer]) -> None:
    assert fit(kind, factor_returns(252, 1, seed=1, drift=-0.05)).weights_.tolist() == [1.0]


def test_one_atom_that_falls_has_no_greatest_ratio() -> None:
    found = fit(MaxSharpe, factor_returns(252, 1, seed=1, drift=-0.05))
    assert found.cash_ == 1.0
    assert [event.code for event in found.events_] == ["NO_POSITIVE_EXPECTED_RETURN"]


@pytest.mark.parametrize("kind", ALL)
def test_fewer_days_than_atoms(kind: type[Optimizer]) -> None:
    found = fit(kind, factor_returns(20, 60, seed=2, drift=0.02), atom_cap=0.25)
    assert found.cash_ < 1e-4
    assert found.weights_.max() <= 0.25


@pytest.mark.parametrize("kind", ALL)
def test_two_days(kind: type[Optimizer]) -> None:
    found = fit(kind, np.array([[0.01, 0.02, 0.03], [0.02, 0.01, 0.03]]))
    assert found.cash_ < 1e-5


@pytest.mark.parametrize("kind", ALL)
def test_copies_share_alike(kind: type[Optimizer]) -> None:
    returns = np.repeat(factor_returns(252, 1, seed=3, drift=0.01), 4, axis=1)
    np.testing.assert_allclose(fit(kind, returns, clusters=np.ones(4, dtype=int)).weights_, np.full(4, 0.25), atol=1e-7)


@pytest.mark.parametrize("kind", ALL)
def test_two_mirrored_atoms_share_alike(kind: type[Optimizer]) -> None:
    # Correlation -1 and equal means of zero drift for the mirror around 1 %: r and 0.02 - r.
    wave = factor_returns(252, 1, seed=4)
    found = fit(kind, np.hstack([wave, 0.02 - wave + 2 * (wave.mean() - 0.01)]), clusters=np.ones(2, dtype=int))
    np.testing.assert_allclose(found.weights_, [0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("kind", CAUTIOUS)
def test_nothing_varies(kind: type[Optimizer]) -> None:
    found = fit(kind, np.full((252, 4), [0.1, 0.2, -0.1, 0.0]), clusters=np.ones(4, dtype=int))
    np.testing.assert_allclose(found.weights_, np.full(4, 0.25), atol=1e-9)
    assert "ZERO_VARIANCE" in [event.code for event in found.events_]


def test_nothing_varies_and_the_ratio_has_the_identity_for_risk() -> None:
    # The greatest m'w / |w| with w >= 0 is in the direction of the positive means: 1 : 2.
    found = fit(MaxSharpe, np.full((252, 3), [0.1, 0.2, -0.1]))
    np.testing.assert_allclose(found.weights_, [1 / 3, 2 / 3, 0.0], atol=1e-7)


@pytest.mark.parametrize("kind", ALL)
def test_one_of_many_does_not_vary(kind: type[Optimizer]) -> None:
    returns = factor_returns(252, 6, seed=5, drift=0.01)
    returns[:, 2] = 0.001
    found = fit(kind, returns, atom_cap=0.3)
    if kind in (HierarchicalRiskParity, Barbell):  # nearly all of it would be the flat atom's, and is cut
        assert found.cash_ > 0.5
    else:
        assert found.cash_ < 1e-5
    if kind in (MinVariance, HierarchicalRiskParity):
        assert found.weights_[2] == pytest.approx(max(found.weights_), abs=1e-7)


@pytest.mark.parametrize("kind", CAUTIOUS)
def test_all_means_negative_changes_nothing_for_those_who_do_not_look_at_means(kind: type[Optimizer]) -> None:
    returns = factor_returns(252, 8, seed=6)
    labels = np.arange(8) // 2
    given = {"antifragility": np.arange(8.0)} if kind is Barbell else {}
    rising = fit(kind, returns, clusters=labels, **given)
    falling = fit(kind, returns - 0.05, clusters=labels, **given)
    np.testing.assert_allclose(falling.weights_, rising.weights_, atol=1e-8)


@pytest.mark.parametrize("kind", ALL)
def test_no_budget_is_all_cash(kind: type[Optimizer]) -> None:
    found = fit(kind, factor_returns(252, 3, seed=7), budget=0.0)
    assert (found.cash_, found.solver_.name, found.solver_.status) == (1.0, "none", "ALL_CASH")


@pytest.mark.parametrize("kind", ALL)
def test_caps_that_are_just_enough(kind: type[Optimizer]) -> None:
    # Who is projected was nowhere above its cap but where it is cut, and what is cut goes to nobody.
    returns = factor_returns(252, 4, seed=8, drift=0.01)
    wanted = np.full(4, 0.25)
    if kind in (HierarchicalRiskParity, Barbell):
        wanted = np.minimum(fit(kind, returns).weights_, 0.25)
        assert wanted.sum() < 0.9
    np.testing.assert_allclose(fit(kind, returns, atom_cap=0.25).weights_, wanted, atol=1e-9)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("table", [np.full((5, 2), np.nan), np.full((5, 2), np.inf), np.zeros(5), np.zeros((1, 2))])
def test_tables_without_an_answer_are_refused(kind: type[Optimizer], table: Floats) -> None:
    with pytest.raises(DataError):
        kind().fit(table)


def test_ill_conditioned_pools_are_named() -> None:
    rng = np.random.default_rng(9)
    common = rng.standard_normal((100_000, 1)) * 0.02
    twins = np.hstack([common, common + 1e-9 * rng.standard_normal((100_000, 1))])
    found = fit(MinVariance, twins)
    assert [event.code for event in found.events_] == ["SHRINKAGE_RAISED"]
    np.testing.assert_allclose(found.weights_, [0.5, 0.5], atol=1e-4)
    assert Estimates.of(twins).covariance.condition_number < 15000
