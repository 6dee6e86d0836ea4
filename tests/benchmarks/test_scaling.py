"""The fit of growth, the model and the page; each work at a tiny size, with its own check of the answer."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from benchmarks.scaling import __main__ as program
from benchmarks.scaling import page, plots, tables
from benchmarks.scaling.child import measured as measure
from benchmarks.scaling.fit import grow, straight
from benchmarks.scaling.flows import variants
from benchmarks.scaling.measure import Job, MeasureError, Point, descendants
from benchmarks.scaling.peers import WARM, gaps
from benchmarks.scaling.series import SERIES
from benchmarks.scaling.works import WORKS
from benchmarks.scaling.worlds import source_bars
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

SIZES = (50, 100, 200, 500, 1_000, 2_000)


@given(exponent=st.floats(-1, 4), factor=st.floats(1e-6, 1e6))
def test_the_exponent_of_a_power_is_recovered(exponent, factor):
    found = grow(SIZES, [factor * size**exponent for size in SIZES])
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.last == pytest.approx(exponent, abs=1e-9)
    assert found.factor == pytest.approx(factor, rel=1e-6)
    assert found.low - 1e-9 <= exponent <= found.high + 1e-9


def test_the_interval_is_that_of_linear_regression():
    values = [1.0, 2.3, 3.6, 11.0, 19.0, 44.0]
    theirs = stats.linregress(np.log(SIZES), np.log(values))
    reach = stats.t.ppf(0.975, len(SIZES) - 2) * theirs.stderr
    found = grow(SIZES, values)
    assert found.exponent == pytest.approx(theirs.slope, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((theirs.slope - reach, theirs.slope + reach), rel=1e-9)
    assert math.log(found.factor) == pytest.approx(theirs.intercept, rel=1e-12)


def test_the_prediction_interval_holds_what_comes_in_19_of_20_cases():
    random = np.random.default_rng(5)
    inside = 0
    for _ in range(2_000):
        noise = np.exp(0.1 * random.standard_normal(len(SIZES) + 1))
        found = grow(SIZES, [0.3 * size**1.5 * each for size, each in zip(SIZES, noise[1:], strict=True)])
        _, low, high = found.at(100_000)
        inside += low <= 0.3 * 100_000**1.5 * noise[0] <= high
    # A binomial count of 2,000 at 95 % lies within 1.5 points of it in 99.8 % of cases.
    assert inside / 2_000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("sizes", "values"), [((1, 2), (1, 2)), ((1, 1, 1), (1, 2, 3)), ((1, 2, 3), (1, 0, 2))])
def test_what_has_no_exponent_is_refused(sizes, values):
    with pytest.raises(ValueError, match=r"three sizes|positive"):
        grow(sizes, values)


def test_runs_that_pay_for_those_before_them_pay_the_square():
    for law in (grow([10, 20, 40], [10, 20, 40]), straight([10, 20, 40], [10, 20, 40])):
        assert law.summed(1_000)[0] == pytest.approx(1_000 * 1_000 / 2)
        assert law.size_at(500) == pytest.approx(500)
    assert grow([1, 2, 4], [5, 20, 80]).size_at(500) == pytest.approx(10)


@given(fixed=st.floats(0, 1e3), slope=st.floats(1e-3, 1e3))
def test_fixed_costs_are_told_from_a_slope(fixed, slope):
    found = straight(SIZES, [fixed + slope * size for size in SIZES])
    assert found.at(100_000)[0] == pytest.approx(fixed + slope * 100_000, rel=1e-6)


def test_the_interval_of_a_line_holds_what_comes_in_19_of_20_cases():
    random = np.random.default_rng(6)
    inside = 0
    for _ in range(2_000):
        noise = 1 + 0.05 * random.standard_normal(len(SIZES) + 1)
        found = straight(SIZES, [(1 + 0.002 * size) * each for size, each in zip(SIZES, noise[1:], strict=True)])
        _, low, high = found.at(100_000)
        inside += low <= (1 + 0.002 * 100_000) * noise[0] <= high
    assert inside / 2_000 == pytest.approx(0.95, abs=0.02)


def test_what_looks_less_than_linear_goes_on_as_a_line():
    found = invented()
    found.curves["sleeve_symbols"] = {"sleeve": [Point(s, 1, 1.0 + 1e-3 * s, 1, 1) for s in SIZES]}
    law = found.law("sleeve_symbols", "sleeve", "processor")
    assert law.law == "straight line"
    assert law.at(100_000)[0] == pytest.approx(101.0)
    found.curves["sleeve_symbols"] = {"sleeve": [Point(s, 1, 1e-6 * s**2, 1, 1) for s in SIZES]}
    assert found.law("sleeve_symbols", "sleeve", "processor").at(100_000)[0] == pytest.approx(10_000.0)


TINY = {
    "ratings": {"symbols": 3, "days": 260},
    "ingest": {"symbols": 3, "days": 260},
    "update": {"symbols": 3, "days": 260},
    "selection": {"candidates": 10, "days": 260},
    "allocation": {"atoms": 8},
    "registry": {"runs": 4},
    "sleeve": {"symbols": 25, "days": 420, "walk": 10},
}


@pytest.mark.parametrize("work", [*TINY, pytest.param("executed", marks=pytest.mark.slow)])
def test_every_work_runs_and_its_answer_is_right(work, tmp_path):
    settings = TINY.get(work) or {"sleeves": 2, "setting": "serial", "workers": 1, "fast": True}
    jobs = []
    for job in WORKS[work](tmp_path, **settings):
        answer = job.work()
        job.check(answer)
        job.facts(answer)
        jobs.append(job.name)
    assert jobs


def test_every_series_names_a_work_and_sizes_of_each_scale():
    for series in SERIES:
        assert series.work in WORKS
        for sizes in series.sizes.values():
            assert list(sizes) == sorted(set(sizes))
        assert len(series.sizes["full"]) >= 4
        assert set(series.why) <= {
            "selection",
            "registry",
            "analysis",
            "one more day",
            "min_variance",
            "max_sharpe",
            "hrp",
            "barbell",
        }


def test_a_wrong_answer_is_refused(tmp_path):
    [job] = WORKS["ratings"](tmp_path, symbols=2, days=260)
    rated = job.work()
    with pytest.raises(MeasureError, match="no row"):
        job.check(rated.head(-1))
    with pytest.raises(MeasureError, match="otherwise alone"):
        job.check(rated.with_columns(recommend_all=-rated["recommend_all"]))


def test_more_days_change_nothing_before_them():
    few, many = source_bars(2, 30), source_bars(2, 30, later=1)
    assert many.height == few.height + 2
    assert many.join(few, on=["symbol", "timestamp"], how="semi").equals(few)


def test_sleeves_are_all_different(tmp_path):
    from assay.settings import load

    names = variants(tmp_path, 9)
    catalog = load(tmp_path)
    resolved = [catalog.profile(name).model_copy(update={"name": ""}) for name in names]
    assert len({profile.model_dump_json() for profile in resolved}) == 9
    canon = load().profile("binance_spot_rating_ma_short")
    same = ("direction", "logics", "scanners", "caps", "selection", "walk_forward", "data", "risk")
    assert all(getattr(resolved[3], name) == getattr(canon, name) for name in same)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is read from /proc")
def test_memory_of_a_work_is_what_it_adds():
    point = measure(Job("allocate", lambda: float(np.ones(8_000_000).sum()), lambda total: None, once=True), 1)
    assert 60 <= point.added <= 70  # 8 M values of 8 bytes are 61 MB
    assert point.peak > point.added


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="processes are read from /proc")
def test_descendants_are_found():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for _ in range(200):
            if len(descendants(process.pid)) == 2:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        found = descendants(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert len(found) == 2
    assert found[0] == process.pid


def test_a_series_that_differs_or_is_missing_is_seen():
    ours = {"rsi": np.linspace(0, 100, WARM + 5), "sma_10": np.full(WARM + 5, 200.0)}
    close = np.full(WARM + 5, 200.0)
    shifted = {"rsi": ours["rsi"] + 1.0, "sma_10": ours["sma_10"] + 1.0}
    assert gaps(ours, shifted, close) == pytest.approx({"rsi": 0.01, "sma_10": 0.005})
    assert gaps(ours, {"rsi": np.full(WARM + 5, np.nan)}, close) == {"rsi": math.inf}


def invented():
    """Linear times and memory for every series, and the rows of the other tables."""
    found = page.Measured()
    for series in SERIES:
        facts = {"tree_mb": 50.0, "run_mb": 1.0, "run_files": 30.0} if series.work == "executed" else {}
        job = {"update": "one more day", "allocation": "analysis"}.get(series.work, series.work)
        found.curves[series.name] = {
            job: [Point(s, 2e-3 * s, 1e-3 * s, 50 + 0.1 * s, 0.1 * s, facts) for s in series.sizes["full"]]
        }
        found.headers[series.name] = "2 cores"
    point = Point(2, 3.0, 4.0, 100, 50, {"tree_mb": 200.0, "start_s": 0.5})
    found.workers = [{"setting": "serial", "workers": 1, "sleeves": 8, **point.as_dict()}]
    found.ratings_peers = [
        {"who": "assay: all", "symbols": 4, "bars": 4_000, "seconds": 0.1},
        {"who": "TA-Lib", "symbols": 4, "bars": 4_000, "seconds": 0.2, "series": 2, "same": 1, "worst": 1e-12,
         "different": {"adx": 0.5}},
    ]  # fmt: skip
    told = {"A": {"apart": 1e-6, "seconds": 0.5}, "B": {"apart": 0.1, "seconds": None}}
    found.portfolio_peers = [{"portfolio": "hrp", "atoms": 25, "seconds": 0.1, "peers": told}]
    found.headers |= {"workers": "2 cores", "peers": "2 cores"}
    return found


def test_the_page_has_a_place_for_every_part_and_no_other():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.fill(page.fill(text, program.parts(invented())), program.parts(invented())).count("<!-- end -->") > 10
    with pytest.raises(ValueError, match="differ"):
        page.fill(text, {"another": ""})


def test_the_model_goes_on_as_measured():
    made = program.parts(invented())
    # 1 ms and 0.1 MB a symbol: 100 s and 10 GB for 100,000, and 16 GB are full at 160,000.
    [line] = [line for line in made["model"].splitlines() if "one sleeve" in line]
    assert "| 100 s (100 s to 100 s) |" in line
    assert "| 10 GB (10 GB to 10 GB) |" in line
    assert "160,000" in made["limits"]
    assert "near linear" in made["summary"]
    assert "worse than linear" not in made["summary"]
    assert "differ: adx by 5e-01" in made["ratings_peers"]
    assert "weights differ by 1e-01: not timed" in made["portfolio_peers"]


def test_growth_that_is_worse_than_linear_has_a_reason():
    found = invented()
    for name in ("selection_candidates", "registry_runs", "ratings_days"):
        [(job, points)] = found.curves[name].items()
        found.curves[name] = {job: [Point(p.size, 1.0, p.size**2, 1, 1) for p in points]}
    lines = tables.summary(found).splitlines()
    worse = [line for line in lines if "worse than linear" in line]
    assert len(worse) == 3
    assert sum("no reason is known" in line for line in worse) == 1  # ratings by days: there must be none


def test_what_is_kept_is_read_again_and_drawn_the_same(tmp_path):
    found = invented()
    found.write(tmp_path / "kept.json")
    again = page.Measured.read(tmp_path / "kept.json")
    assert program.parts(again) == program.parts(found)
    first = [path.read_bytes() for path in plots.draw(found, tmp_path / "one")]
    second = [path.read_bytes() for path in plots.draw(again, tmp_path / "two")]
    assert first == second
    assert len(first) == len(plots.FIGURES) + 1
