import json
import math
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from assay.base import files
from assay.base.errors import DiskError, IntegrityError


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_append_refuses_what_is_not_one_line(tmp_path):
    for line in (b"", b"a", b"a\nb\n"):
        with pytest.raises(ValueError, match="one line"):
            files.append(tmp_path / "x", line)


def test_missing_and_broken_json_are_named(tmp_path):
    with pytest.raises(IntegrityError, match="missing"):
        files.read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(IntegrityError, match="not JSON"):
        files.read_json(tmp_path / "bad.json")


def test_canonical_json_is_the_example_of_rfc_8785():
    # RFC 8785, section 3.2.2 and 3.2.3: the input of the sample and its canonical form.
    value = json.loads(
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    )
    assert files.canonical_json(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(width=64)), unique_by=lambda row: row[0], max_size=20),
    st.randoms(),
)
def test_content_hash_ignores_row_order_and_sees_every_value(rows, random):
    table = pl.DataFrame(rows, schema={"k": pl.Int64, "v": pl.Float64}, orient="row")
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = pl.DataFrame(shuffled, schema={"k": pl.Int64, "v": pl.Float64}, orient="row")
    digest = files.content_hash_table(table, ["k"])
    assert files.content_hash_table(again, ["k"]) == digest
    for i, (_, value) in enumerate(rows):
        changed = value / 2 if np.isfinite(value) and value else 1.0
        edited = table.with_columns(
            pl.when(pl.int_range(pl.len()) == i).then(pl.lit(changed)).otherwise("v").alias("v")
        )
        assert files.content_hash_table(edited, ["k"]) != digest


def test_content_hash_tells_null_from_zero_and_types_and_names_apart():
    tables = [
        pl.DataFrame({"a": [0.0]}),
        pl.DataFrame({"a": [None]}, schema={"a": pl.Float64}),
        pl.DataFrame({"b": [0.0]}),
        pl.DataFrame({"a": [0]}),
        pl.DataFrame({"a": [False]}),
        pl.DataFrame({"a": [""]}),
        pl.DataFrame({"a": [float("nan")]}),
    ]
    assert len({files.content_hash_table(table, []) for table in tables}) == len(tables)


def _hold(path, queue):
    with files.locked(path):
        queue.put("in")
        queue.put("out")


def test_a_lock_excludes_another_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with files.locked(tmp_path / "lock"):
        process = context.Process(target=_hold, args=(tmp_path / "lock", queue))
        process.start()
        process.join(1.0)
        assert queue.empty()
        assert process.is_alive()
    process.join(20)
    assert [queue.get(timeout=5), queue.get(timeout=5)] == ["in", "out"]


def test_non_finite_numbers_become_null():
    assert files.as_json({"a": float("nan"), "b": [np.float64("inf"), 1], "c": {"d": np.int64(3)}}) == {
        "a": None,
        "b": [None, 1],
        "c": {"d": 3},
    }


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=30,
)


@given(trees)
def test_a_document_is_written_as_the_standard_library_writes_it(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        files.write_json(path, value)
        assert path.read_bytes().decode() == json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("value", [[math.nan], {"a": math.inf}, {1: 2}])
def test_what_is_no_json_is_not_written(tmp_path, value):
    with pytest.raises((ValueError, TypeError)):
        files.write_json(tmp_path / "a.json", value)


@given(trees)
def test_canonical_json_is_the_librarys(value):
    try:
        wanted = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        with pytest.raises(type(error)):
            files.canonical_json(value)
    else:
        assert files.canonical_json(value) == wanted


@pytest.mark.parametrize(
    "value",
    [0, -0.0, 1e16, 1e-4, 9.999999999999999e-5, 123456789012345680.0, 2**53, 1e21, 5e-324, -1.5, True, None, [], {}],
)
def test_canonical_numbers_are_the_librarys(value):
    try:
        wanted = rfc8785.dumps({"a": [value]})
    except rfc8785.CanonicalizationError as error:
        with pytest.raises(type(error)):
            files.canonical_json({"a": [value]})
    else:
        assert files.canonical_json({"a": [value]}) == wanted
