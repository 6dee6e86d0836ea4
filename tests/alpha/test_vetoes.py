from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from alpha_worlds import random_returns

from assay.alpha import vetoes
from assay.alpha.features import Features, features
from assay.settings.model import Costs

LIMITS = {"max_entropy": 0.999, "min_efficiency": 0.05, "max_kurtosis": 20.0, "max_volatility": 2.5}


def measured(**values: list[float]) -> Features:
    (n,) = {len(value) for value in values.values()}
    return replace(features(np.zeros((200, n))), **{name: np.array(value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("feature", "code", "passing", "struck"),
    [
        ("entropy", vetoes.ENTROPY, 0.999, 0.9990001),
        ("efficiency", vetoes.EFFICIENCY, 0.05, 0.0499999),
        ("kurtosis", vetoes.KURTOSIS, 20.0, 20.00001),
        ("volatility", vetoes.VOLATILITY, 2.5, 2.500001),
    ],
)
def test_quality_limits(feature: str, code: str, passing: float, struck: float) -> None:
    found = vetoes.quality_vetoes(measured(**{feature: [passing, struck, np.nan]}), **LIMITS)
    (veto,) = [veto for veto in found if veto.code == code]
    assert veto.hit.tolist() == [False, True, True]
    assert not veto.safety
    assert f"{struck:.6g}" in veto.explain(1)
    assert "not measurable" in veto.explain(2)


def test_friction_by_hand() -> None:
    # Ten days at 4 bp earn 40 bp; two sides of 15 bp cost 30 bp, ten days of 10 % a year another 27.4 bp.
    costs = Costs(fee=0.001, slippage=0.0005, borrow=0.10)
    drift = np.array([4e-4, 4e-4, 3e-4, 2.9e-4, 5.8e-4, 5.7e-4, np.nan])
    veto = vetoes.friction_veto(drift, [1, -1, 1, 1, -1, -1, 1], costs, hold=10)
    assert veto.hit.tolist() == [False, True, True, True, False, True, True]
    assert veto.limit is not None
    np.testing.assert_allclose(veto.limit[:2], [0.003, 0.003 + 0.1 * 10 / 365])
    assert veto.safety


def test_friction_strikes_the_exact_tie() -> None:
    veto = vetoes.friction_veto(np.array([0.25, 0.2501]), 1, Costs(fee=0.5, slippage=0.0, borrow=9.0), hold=4)
    assert veto.hit.tolist() == [True, False]


def test_coverage() -> None:
    streams = random_returns(500, 4)
    streams[:248, 0] = np.nan  # before the estimation rows
    streams[-252:-240, 1] = np.nan  # 240 of 252 = 95.2 %
    streams[-13:, 2] = np.nan  # 239 of 252 = 94.8 %
    veto = vetoes.coverage_veto(streams, rows=252, share=0.95)
    assert veto.hit.tolist() == [False, False, True, False]
    assert veto.explain(2) == "share of estimation rows 0.948413 < 0.95"
    assert vetoes.coverage_veto(streams[-100:], rows=252, share=0.88).hit.tolist() == [False, False, True, False]


def test_flags() -> None:
    veto = vetoes.flag_veto(vetoes.STALE, {2: "STALE: no bar"}, 3)
    assert veto.hit.tolist() == [False, False, True]
    assert veto.explain(2) == "STALE: no bar"
    assert veto.safety
    with pytest.raises(ValueError):
        vetoes.flag_veto(vetoes.ENTROPY, {}, 3)


def test_codes_are_stable() -> None:
    assert vetoes.SAFETY == (
        "VETO_DIRECTION",
        "VETO_NO_RETURNS",
        "VETO_ABSENT",
        "VETO_TOXIC",
        "VETO_STALE",
        "VETO_COVERAGE",
        "VETO_FRICTION",
    )
    assert vetoes.QUALITY == ("VETO_ENTROPY", "VETO_EFFICIENCY", "VETO_KURTOSIS", "VETO_VOLATILITY")
