"""Hypothesis draws universes trait by trait, so that a failing one shrinks to what matters."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from assay.selftest.universes import ROWS, SIDES, TRAITS, Universe

KINDS = (*TRAITS, *ROWS, "instruments")


@st.composite
def universes(draw: st.DrawFn, max_coins: int = 12) -> Universe:
    """Small universes of any traits together."""
    settings: dict[str, Any] = {
        "pool": draw(st.sampled_from(["own", "superset"])),
        "guard": {"enabled": draw(st.booleans()), "days": 20},
        "lenient": draw(st.booleans()),
        "free": draw(st.booleans()),
    }
    return Universe(
        seed=draw(st.integers(0, 2**32 - 1)),
        traits=draw(st.frozensets(st.sampled_from(KINDS), max_size=6)),
        coins=draw(st.integers(1, max_coins)),
        days=draw(st.integers(2, 70)),
        profile=draw(st.sampled_from(SIDES)),
        settings=settings,
    )
