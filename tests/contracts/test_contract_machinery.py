from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.gates.contract import Contract, Violation, neighbours_equal


def test_a_rule_that_cannot_read_the_frame_never_passes() -> None:
    def broken(frame: pl.DataFrame) -> list[Violation]:
        raise ValueError("cannot read")

    contract = Contract("L0", "S", {}, broken, filters=frozenset({"L0_X"}))
    result = contract.check(pl.DataFrame({"a": [1]}), 1)
    assert result.action == "failed"
    assert [(one.code, one.where) for one in result.violations] == [("L0_CHECK_ERROR", "S")]


@pytest.mark.parametrize("rows", [0, 1, 2, 50])
def test_neighbours_find_what_counting_finds(rows: int) -> None:
    rng = np.random.default_rng(rows)
    frame = pl.DataFrame({"a": rng.integers(0, 5, rows), "b": rng.integers(0, 5, rows)})
    twice = frame.filter(frame.is_duplicated()).unique().sort("a", "b")
    assert neighbours_equal(frame, ["a", "b"]).unique().sort("a", "b").equals(twice)
