"""Several runs side by side; a long and a short sleeve of the same day, whose returns are mirror images."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from markdown_reader import by_title, sections
from report_run import COINS, RUN_ID, documents, long_twin, put, walk_tables, write_failed_run, write_run

from assay.report.audit_report import render_joint

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "long_run", long_twin(), walk_tables(sign=1.0)),
        write_run(tmp_path / RUN_ID),
    ]


def test_the_answer_comes_first_then_what_an_auditor_asks_then_each_run(pair):
    found = [section.title for section in sections(render_joint(pair)) if section.level < 3]
    assert found == [
        f"Joint audit report: {LONG}, {SHORT}",
        "Conclusion",
        "Verdicts",
        "Superset",
        "Funnel",
        "Artifacts and sign tests",
        "Data quality",
        "Inverted candidates",
        "Drawdown",
        "Shown together",
        "Contracts L0 to L4",
        "Gates",
        "Holdings side by side",
        "Netted exposure",
        "Correlation of the sleeves",
        f"Sleeve {LONG}",
        f"Sleeve {SHORT}",
    ]


def test_verdicts(pair):
    found = by_title(render_joint(pair))
    section = found["Verdicts"]
    assert (
        found["Conclusion"].paragraphs[0] == "2 of 2 runs VALID. Ready for a portfolio: 0 of 2."
    )  # nobody sealed them
    assert {row["why not"].partition(";")[0] for row in found["Conclusion"].rows("sleeve")} == {"it is not sealed"}
    assert [(row["sleeve"], row["verdict"], row["direction"], row["run"]) for row in section.rows("sleeve")] == [
        (LONG, "VALID", "LONG", "long_run"),
        (SHORT, "VALID", "SHORT", RUN_ID),
    ]


def test_contracts_of_both_layer_by_layer(pair):
    rows = by_title(render_joint(pair))["Contracts L0 to L4"].rows("sleeve")
    assert [(row["contract"][:2], row["sleeve"]) for row in rows] == [
        (layer, sleeve) for layer in ("L0", "L1", "L2", "L3", "L4") for sleeve in (LONG, SHORT)
    ]
    assert {row["status"] for row in rows} == {"PASS"}


def test_holdings_side_by_side(pair):
    rows = {row["coin"]: row for row in by_title(render_joint(pair))["hrp"].rows("coin")}
    assert rows[COINS[0]] == {"coin": COINS[0], LONG: "20.00 %", SHORT: "-20.00 %", "together": "0.00 %"}
    assert rows[COINS[5]] == {"coin": COINS[5], LONG: "—", SHORT: "-10.00 %", "together": "-5.00 %"}
    # (0.35 + 6/7) / 2 and (0.35 - 6/7) / 2
    assert rows["gross"]["together"] == "60.36 %"
    assert rows["net"]["together"] == "-25.36 %"


def test_netted_exposure(pair):
    rows = {row["risk profile"]: row for row in by_title(render_joint(pair))["Netted exposure"].rows("risk profile")}
    # min_variance: long 25 + 25, short 25 + 25 + 25, each sleeve with half of the capital.
    assert rows["min_variance"] == {
        "risk profile": "min_variance",
        "gross": "62.50 %",
        "netted away": "50.00 %",
        "gross after netting": "12.50 %",
        "net": "-12.50 %",
        "coins": "3",
        "coins on both sides": "2",
    }
    assert rows["max_sharpe"]["coins"] == "0"


def test_correlation_of_mirror_images(pair):
    rows = by_title(render_joint(pair))["Correlation of the sleeves"].rows("risk profile")
    assert [row["risk profile"] for row in rows] == ["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]
    assert {(row["shared days"], row["correlation"]) for row in rows} == {("30", "-1.00")}


def test_correlation_is_over_shared_days_only(pair):
    rng = np.random.default_rng(7)
    dates = [dt.date(2023, 12, 1) + dt.timedelta(days=i) for i in range(60)]
    one, other = rng.normal(size=(2, 60))
    for folder, days, values in ((pair[0], dates[:45], one[:45]), (pair[1], dates[10:], other[10:])):
        table = pl.DataFrame({"date": days, "risk_profile": "hrp", "nav": 1.0, "ret": values})
        put(folder, "data/walk_forward/returns.parquet", table)
    rows = {
        row["risk profile"]: row
        for row in by_title(render_joint(pair))["Correlation of the sleeves"].rows("risk profile")
    }
    assert rows["hrp"]["shared days"] == "35"
    assert rows["hrp"]["correlation"] == f"{np.corrcoef(one[10:45], other[10:45])[0, 1]:.2f}"
    assert (rows["barbell"]["shared days"], rows["barbell"]["correlation"]) == ("0", "—")


def test_a_sleeve_that_never_moves_has_no_correlation(pair):
    table = walk_tables()["data/walk_forward/returns.parquet"].with_columns(ret=pl.lit(0.0))
    put(pair[0], "data/walk_forward/returns.parquet", table)
    rows = by_title(render_joint(pair))["Correlation of the sleeves"].rows("risk profile")
    assert {(row["shared days"], row["correlation"]) for row in rows} == {("30", "—")}


def test_a_failed_sleeve_stands_beside_a_valid_one(tmp_path, pair):
    error = {"code": "DATA", "what": "only 12 rows", "where": "", "hint": "", "exit_code": 1}
    failed = write_failed_run(tmp_path / "failed", 5, error)
    found = by_title(render_joint([pair[0], failed]))
    rows = found["Verdicts"].rows("sleeve")
    assert found["Conclusion"].paragraphs[0] == "1 of 2 runs VALID. Ready for a portfolio: 0 of 2."
    told = found["Conclusion"].rows("sleeve")[1]
    assert (rows[1]["verdict"], told["ready"], told["strongest warning"]) == ("FAILED", "no", "DATA")
    assert told["why not"].startswith("FAILED: the run ended at step 5 (enrichment) with DATA")
    assert found["Artifacts and sign tests"].rows("sleeve")[1]["after flattening"] == "not reached"
    assert rows[1]["stage"] == "the run ended at step 5 (enrichment) with DATA"
    assert found["hrp"].rows("coin")[0][SHORT] == "—"
    assert "Verdict: FAILED." in found[f"Sleeve {SHORT}"].text


def test_runs_of_other_dates_are_called_so(pair):
    content = documents()["config/resolved_manifest.json"]
    put(pair[1], "config/resolved_manifest.json", content | {"as_of": "2023-06-30T00:00:00Z"})
    text = by_title(render_joint(pair))["Conclusion"].text
    assert "The runs differ in as-of date: what stands side by side is not of one moment." in text
    put(pair[1], "config/resolved_manifest.json", content | {"source": "parquet:other"})
    assert "The runs differ in source and lake head" in by_title(render_joint(pair))["Conclusion"].text


def test_names_stay_apart(tmp_path, pair):
    """Two runs of one profile are told apart by run id, two copies of one run by a number."""
    content = documents()
    content["config/resolved_manifest.json"]["run_id"] = "other"
    other = write_run(tmp_path / "other", content)
    assert by_title(render_joint([pair[1], other]))["hrp"].tables[0][0] == ["coin", RUN_ID, "other", "together"]
    columns = by_title(render_joint([pair[1], pair[1]]))["hrp"].tables[0][0]
    assert columns == ["coin", f"{RUN_ID} (1)", f"{RUN_ID} (2)", "together"]


def test_one_run_and_four(pair):
    assert "One sleeve has no correlation." in render_joint(pair[:1])
    rows = by_title(render_joint(pair + pair))["Correlation of the sleeves"].rows("risk profile")
    assert len(rows) == 6 * 5


def test_missing_symbols_by_name_and_cause_with_who_says_so(pair):
    for run in pair:
        put(run, "data/data_health.json", documents()["data/data_health.json"] | {"missing": [], "dropped": []})
    assert "Missing symbols: none." in by_title(render_joint(pair))["Data quality"].text
    gone = {"name": "BINANCE:ETHUSD", "reason": "NO_PAIR", "detail": "no such pair at the exchange"}
    other = {"name": "BINANCE:OLDUSDT", "reason": "FLOOR", "detail": "12 observations"}
    health = documents()["data/data_health.json"] | {"missing": [gone], "dropped": []}
    put(pair[0], "data/data_health.json", health)
    put(pair[1], "data/data_health.json", health | {"dropped": [other]})
    rows = by_title(render_joint(pair))["Data quality"].rows("symbol")
    assert [(row["symbol"], row["cause"], row["sleeves"]) for row in rows] == [
        ("BINANCE:ETHUSD", "NO_PAIR", f"{LONG}, {SHORT}"),
        ("BINANCE:OLDUSDT", "FLOOR", SHORT),
    ]


def test_what_became_of_inverted_candidates(pair):
    assert "None: each sleeve reads" in by_title(render_joint(pair))["Inverted candidates"].text
    content = documents()
    raw, audit = content["data/portfolio_candidates_raw.json"], content["data/selection_audit.json"]
    losers = content["data/risk_analysis.json"]["loss_makers"]
    logic = {fate["symbol"]: fate["logic"] for fate in audit["fates"]}
    for candidate in raw["candidates"]:
        candidate["inverted"] = True
    put(pair[1], "data/portfolio_candidates_raw.json", raw)
    (row,) = [
        one for one in by_title(render_joint(pair))["Inverted candidates"].rows("sleeve") if one["sleeve"] == SHORT
    ]
    turned = {(one["symbol"], one["logic"]) for one in raw["candidates"]}
    fates = [fate for fate in audit["fates"] if (fate["symbol"], fate["logic"]) in turned]
    assert int(row["inverted"]) == len(turned)
    assert int(row["vetoed"]) == sum(fate["reason"].startswith("VETO_") for fate in fates)
    assert sum(int(row[word]) for word in ("loss makers at zero", "without weight", "held")) == sum(
        fate["reason"] == "winner" for fate in fates
    )
    assert int(row["loss makers at zero"]) == sum(
        f"{fate['symbol']}_{logic[fate['symbol']]}_{fate['direction']}" in losers
        for fate in fates
        if fate["reason"] == "winner"
    )


def test_a_fall_beyond_the_limit_is_called_so(pair):
    content = documents()
    statistics = content["data/walk_forward/statistics.json"]
    statistics["as_run"]["hrp"]["max_drawdown"] = -0.51
    put(pair[1], "data/walk_forward/statistics.json", statistics)
    section = by_title(render_joint(pair))["Drawdown"]
    beyond = [(row["sleeve"], row["risk profile"]) for row in section.rows("sleeve") if row["verdict"] == "BEYOND"]
    assert (SHORT, "hrp") in beyond
    assert section.paragraphs[0] == f"{len(beyond)} of 10 books fell deeper than the limit."
