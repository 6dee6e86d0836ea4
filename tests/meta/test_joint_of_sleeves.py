"""The joint report of four real sleeves: what it concludes is what a portfolio of them does."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from markdown_reader import by_title
from scipy.stats import chi2, kurtosis, norm, skew

from assay.report.audit_report import render_joint
from assay.runs import artifacts as layout

from .conftest import SLEEVES


@pytest.fixture(scope="module")
def runs(assembly):
    return {sleeve: assembly.home.runs / assembly.pins[sleeve].run_id for sleeve in SLEEVES}


@pytest.fixture(scope="module")
def report(runs):
    return by_title(render_joint(list(runs.values())))


def test_who_is_ready_is_who_a_portfolio_holds(report, portfolio):
    told = {row["sleeve"]: row["ready"] for row in report["Conclusion"].rows("sleeve")}
    left_out = json.loads((portfolio / layout.META_OPTIMIZED).read_text())["profiles"]["hrp"]["in_cash"]
    assert told == {sleeve: "no" if sleeve in left_out else "yes" for sleeve in SLEEVES}
    able = [sleeve for sleeve in SLEEVES if sleeve not in left_out]
    said = f": {', '.join(able)}" if able else ""
    assert report["Conclusion"].paragraphs[0] == f"4 of 4 runs VALID. Ready for a portfolio: {len(able)} of 4{said}."


def test_the_funnel_stands_side_by_side_with_retention(report, runs):
    rows = {row["stage"]: row for row in report["Funnel"].rows("stage")}
    for sleeve, run in runs.items():
        stages = json.loads((run / layout.SELECTION).read_text())["stages"]
        first, last = stages[0], stages[-1]
        assert rows["listed on the day"][sleeve] == str(first["n_in"])
        assert (
            rows["found by its scanners"][sleeve] == f"{first['n_out']} ({100 * first['n_out'] / first['n_in']:.1f} %)"
        )
        assert rows["selected"][sleeve] == f"{last['n_out']} ({100 * last['n_out'] / last['n_in']:.1f} %)"
        assert rows["retained of all listed"][sleeve] == f"{100 * last['n_out'] / first['n_in']:.1f} %"


def test_artifacts_are_complete_and_a_lost_one_is_named(report, runs):
    for row in report["Artifacts and sign tests"].rows("sleeve"):
        there, wanted = row["artifacts"].split(" of ")
        assert there == wanted
        assert row["missing"] == "none"
        assert row["after flattening"].startswith("PASS: ")
    path = runs[SLEEVES[0]] / layout.CLUSTERS
    kept = path.read_bytes()
    path.unlink()
    try:
        again = by_title(render_joint(list(runs.values())))
    finally:
        path.write_bytes(kept)
    row = again["Artifacts and sign tests"].rows("sleeve")[0]
    assert row["missing"] == layout.CLUSTERS


def test_the_superset_is_the_one_that_all_pinned(report, assembly, runs):
    manifest = json.loads((runs[SLEEVES[0]] / layout.MANIFEST).read_text())
    path = assembly.home.path / manifest["superset"]["path"]
    told = json.loads(path.read_text())
    assert f"{told['unique_atoms']} unique atoms from {len(told['scanners'])} scanners" in report["Superset"].text
    kept = path.read_bytes()
    path.write_bytes(kept + b" ")
    try:
        changed = by_title(render_joint(list(runs.values())))["Superset"].text
    finally:
        path.write_bytes(kept)
    assert "cannot be shown: it is not what the runs pinned" in changed


def test_what_is_shown_together_is_deflated_by_all_that_is_shown(report, runs):
    """Bailey and Lopez de Prado (2014), written down once more."""
    rows = report["Shown together"].rows("sleeve")
    assert len(rows) == 20
    assert report["Shown together"].paragraphs[0].startswith("N = 20: ")
    series = {}
    for sleeve, run in runs.items():
        days = json.loads((run / layout.WALK_STATISTICS).read_text())["as_run"]
        frame = pl.read_parquet(run / layout.WALK_RETURNS).sort("date")
        for name in days:
            own = frame.filter(pl.col("risk_profile") == name)["ret"].to_numpy()
            series[sleeve, name] = own[-int(days[name]["days"]) :]
    annual = {key: own.mean() / own.std(ddof=1) * math.sqrt(365) for key, own in series.items()}
    for row in rows:
        key = row["sleeve"], row["risk profile"]
        own, others = series[key], [value for other, value in annual.items() if other != key]
        spread = np.var(others, ddof=1) * 18 / chi2.ppf(0.05, 18)
        variance = min(365 / (len(own) - 1), spread) / 365
        best = math.sqrt(variance) * (
            (1 - np.euler_gamma) * norm.ppf(1 - 1 / 20) + np.euler_gamma * norm.ppf(1 - 1 / (20 * math.e))
        )
        daily = annual[key] / math.sqrt(365)
        width = math.sqrt(1 - skew(own) * daily + (kurtosis(own, fisher=False) - 1) / 4 * daily**2)
        expected = norm.cdf((daily - best) * math.sqrt(len(own) - 1) / width)
        assert float(row["together"]) == pytest.approx(expected, abs=0.006)
