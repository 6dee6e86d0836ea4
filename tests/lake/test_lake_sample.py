"""The embedded sample is what its NOTICE says, and what the exchange's own bars say."""

import datetime as dt
import hashlib
import importlib.util
import os
from pathlib import Path

import polars as pl
import pytest

import assay.sources.files as sources
from assay.base.domain import UTC
from assay.sources import open_source

NOTICE = sources.SAMPLE.with_name("NOTICE").read_text()
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "derive_sample.py"


@pytest.fixture(scope="module")
def read():
    return open_source("sample").read()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("derive_sample", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_the_one_that_the_notice_describes():
    data = sources.SAMPLE.read_bytes()
    assert hashlib.sha256(data).hexdigest() in NOTICE
    assert len(data) < 1_400_000


def test_the_notice_names_source_licence_changes_and_script():
    for words in ("factorlab", "0.1.41", "Apache License, Version 2.0", "What was changed", "scripts/derive_sample.py"):
        assert words in NOTICE
    assert "43b3a0b894c62014a8810cdeb575bee16f99efca3fcf0c49292cc5294ff2c7bf" in NOTICE


def test_it_holds_229_symbols_of_which_189_are_complete(read):
    counts = read.bars.group_by("symbol").len()
    assert read.bars.height == 81_399
    assert counts.height == 229
    assert counts.filter(pl.col("len") == 386).height == 189
    assert read.bars["open_time"].min() == dt.datetime(2023, 1, 1, tzinfo=UTC)
    assert read.bars["open_time"].max() == dt.datetime(2024, 1, 21, tzinfo=UTC)


def test_every_row_of_it_is_good(read):
    assert read.rejected.is_empty()
    assert read.interval == "1d"
    assert [finding.code for finding in read.findings] == ["NO_QUOTE_VOLUME"]


def test_its_gaps_and_ends_are_the_known_ones(read):
    by_symbol = read.bars.group_by("symbol").agg(pl.col("open_time").max().alias("last"), pl.len())
    ended = by_symbol.filter(pl.col("last") < dt.datetime(2024, 1, 21, tzinfo=UTC)).sort("symbol")
    assert dict(ended.select("symbol", "last").iter_rows()) == {
        "BINANCE:BTSUSDT": dt.datetime(2023, 12, 7, tzinfo=UTC),
        "BINANCE:TOMOUSDT": dt.datetime(2023, 11, 20, tzinfo=UTC),
    }
    steps = read.bars.sort("symbol", "open_time").with_columns(pl.col("open_time").diff().over("symbol").alias("step"))
    gaps = steps.filter(pl.col("step") > dt.timedelta(days=1))
    gaps = gaps.select("symbol", "open_time", pl.col("step").dt.total_days())
    assert gaps.sort("symbol").rows() == [
        ("BINANCE:BNXUSDT", dt.datetime(2023, 2, 22, tzinfo=UTC), 6),
        ("BINANCE:KEYUSDT", dt.datetime(2023, 3, 10, tzinfo=UTC), 28),
    ]


def test_it_agrees_with_the_bars_recorded_elsewhere(read, shared):
    recorded = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").rename({"timestamp": "open_time"})
    recorded = recorded.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC")))
    both = read.bars.join(recorded, on=["symbol", "open_time"], how="inner", suffix="_recorded")
    assert both.height == 81_399
    for name in ("open", "high", "low", "close"):
        assert (both[name] == both[f"{name}_recorded"]).all()
    assert ((both["volume"] / both["volume_recorded"] - 1).abs() < 5e-6).all()


def test_the_script_drops_the_bar_in_progress_and_changes_no_number(script):
    text = b"""date,ticker,open,high,low,close,volume
1/21/24,T,1,2.5,0.1,2,3e3
1/22/24,T,1,2,1,2,3
12/1/23,1INCH,4,4,4,4,0
"""
    assert script.derive(text).rows() == [
        ("BINANCE:1INCHUSDT", dt.datetime(2023, 12, 1, tzinfo=UTC), 4.0, 4.0, 4.0, 4.0, 0.0),
        ("BINANCE:TUSDT", dt.datetime(2024, 1, 21, tzinfo=UTC), 1.0, 2.5, 0.1, 2.0, 3000.0),
    ]


def test_the_script_refuses_another_wheel(script, tmp_path):
    other = tmp_path / "factorlab-0.1.41-py3-none-any.whl"
    other.write_bytes(b"not it")
    with pytest.raises(SystemExit, match="SHA-256"):
        script.read_wheel(other)


def test_the_script_writes_the_same_bytes_again(script):
    wheel = os.environ.get("ASSAY_FACTORLAB_WHEEL")
    if wheel is None:
        pytest.skip("ASSAY_FACTORLAB_WHEEL does not name the wheel factorlab-0.1.41-py3-none-any.whl")
    assert script.encode(script.derive(script.read_wheel(Path(wheel)))) == sources.SAMPLE.read_bytes()
