"""Every section of a complete run's report carries the artifacts' numbers, read back by an independent parser."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

import polars as pl
import pytest
from markdown_reader import by_title, sections
from report_run import (
    AS_OF,
    COINS,
    PROFILE,
    RISK_PROFILES,
    RUN_ID,
    LedgerWriter,
    atom,
    complete_ledger,
    decided_weights,
    documents,
    put,
    walk_tables,
    write_run,
)

from assay.base.files import read_json
from assay.report.audit_report import render
from assay.report.findings import findings
from assay.report.markdown import sparkline
from assay.report.view import open_run
from assay.runs import artifacts as layout

ORDER = [
    f"Audit report: {PROFILE}",
    "At a glance",
    "Executive summary and status",
    "Contracts L0 to L4",
    "Gates",
    "Funnel",
    "Winners",
    "Optimization and flattening",
    "Performance",
    "What the decision was worth",
    "Capital preservation",
    "Data quality",
    "Recommendations",
    "Steps",
    "Ledger",
]


def keyed(rows: list[dict[str, str]], column: str) -> dict[str, dict[str, str]]:
    return {row[column]: row for row in rows}


def test_the_order_is_an_auditors(report):
    assert [section.title for section in sections(report) if section.level < 3] == ORDER


def test_the_verdict_is_in_the_first_line_of_the_summary(parts):
    first = parts["Executive summary and status"].paragraphs[0]
    assert first == "Verdict: VALID. No fatal fault in 5 contract checks, 6 gates and 3 atomic checks."


def test_the_summary_says_what_is_held_in_sentences(parts):
    lines = parts["Executive summary and status"].paragraphs
    hrp = "Holdings, hrp: short 6 coins, gross 85.7 %, net -85.7 %, cash 14.3 %; the largest is BINANCE:AAAUSDT with "
    assert hrp + "-20.0 %." in lines
    assert "Holdings, max_sharpe: no coin; cash is 100.0 %." in lines
    assert (
        "Funnel. 10 candidates gave 7 winners from 3 clusters; 15 were wanted, 2 came by relaxation (28.6 %)." in lines
    )


def test_the_summary_says_how_the_evidence_looks_and_the_strongest_warning(parts):
    text = parts["Executive summary and status"].text
    assert "Sharpe 0.25 (barbell) to 1.25 (min_variance), deflated Sharpe 0.42, maximum drawdown -23.4 %" in text
    assert "Strongest warning: SHORT_EVIDENCE. 133 days of walk-forward are not evidence: fewer than 252." in text


def test_the_summary_names_run_source_and_changed_settings(parts):
    facts = {row["what"]: row["value"] for row in parts["Executive summary and status"].rows("what")}
    assert facts["run"] == RUN_ID
    assert facts["as of"] == AS_OF
    assert facts["lake head"] == "3"
    assert facts["rating rules"] == "edition 2021"
    assert facts["source"] == "sample"
    assert facts["superset"] == "5" * 64
    assert facts["settings changed"] == "caps.atom = 0.25 (--set caps.atom=0.25)"


def test_contracts_with_their_evidence(parts):
    rows = parts["Contracts L0 to L4"].rows("contract")
    assert [row["contract"][:2] for row in rows] == ["L0", "L1", "L2", "L3", "L4"]
    assert rows[0] == {
        "contract": "L0 Foundation",
        "schema": "ReturnsMatrixSchema",
        "status": "PASS",
        "step": "3",
        "rows": "385",
        "columns": "9",
        "checked": "3,465",
        "violations": "0",
        "action": "passed",
    }


def test_gates_sign_tests_and_atomic_checks(parts):
    assert [row["gate"] for row in parts["Gates"].rows("gate")] == [
        "foundation",
        "sign_test_pre_opt",
        "sign_test_post_opt",
        "causality",
        "capital_preservation",
        "atomic_validation",
    ]
    assert {(row["ok"], row["checked"], row["violations"]) for row in parts["Gates"].rows("gate")} == {
        ("ok", "2,695", "0")
    }
    tests = keyed(parts["Sign tests"].rows("test"), "test")
    assert tests["post_opt"]["shorts"] == "7"
    assert tests["post_opt"]["weights compared"] == "30"
    checks = parts["Atomic validation"].rows("check")
    assert [row["check"] for row in checks] == ["ATOMIC_SIGN_TEST_PRE_PASS", "ATOMIC_WEIGHT_SUM", "ATOMIC_FUNNEL"]
    assert {row["checked"] for row in checks} == {"35"}


def test_the_funnel_with_reasons(parts):
    stages = keyed(parts["Funnel"].rows("scanner"), "scanner")
    assert stages[PROFILE]["universe"] == "1,229"
    assert stages[PROFILE]["- rating"] == "1,000"
    assert (stages[PROFILE]["matched"], stages[PROFILE]["kept"]) == ("12", "10")
    tables = parts["Funnel"].tables
    assert tables[1][1:] == [
        ["discovery", "10", "0", "0", "10", "holds"],
        ["normalization", "10", "0", "1", "9", "holds"],
        ["deduplication", "9", "0", "0", "9", "holds"],
        ["selection", "9", "0", "2", "7", "holds"],
    ]
    assert tables[2][1:] == [
        ["normalization", "dropped", "INVALID_SYMBOL", "1", "BINANCE:J-JUSDT"],
        ["selection", "dropped", "VETO_ENTROPY", "1", "BINANCE:HHHUSDT"],
        ["selection", "dropped", "VETO_FRICTION", "1", "BINANCE:IIIUSDT"],
    ]
    assert tables[3][1:] == [["BINANCE:AAAUSDC", "BINANCE:AAAUSDT", PROFILE, "its quote ranks lower"]]


def test_a_funnel_that_does_not_add_up_is_called_broken(run):
    content = documents()["data/selection_audit.json"]
    content["stages"][3]["n_out"] = 8
    put(run, "data/selection_audit.json", content)
    assert by_title(render(run))["Funnel"].tables[1][4][-1] == "BROKEN"


def test_the_share_of_relaxed_winners_now_and_in_the_walk_forward(parts):
    text = parts["Funnel"].text
    assert "Relaxation, this run: 2 of 7 winners came by relaxation (28.6 %); 15 were wanted." in text
    assert "Relaxation, walk-forward: 5 of 25 winners (20.0 %) in 3 decisions, 2 of which relaxed at all." in text


def test_winners(parts):
    row = parts["Winners"].rows("atom")[5]
    assert row == {
        "atom": atom(COINS[5]),
        "alpha": "0.5000",
        "rank": "6",
        "cluster": "3",
        "recommend_all": "-0.625",
        "recommend_ma": "-0.750",
        "recommend_other": "—",
        "admitted": "relaxation",
        "beta": "1.30",
        "correlation": "0.75",
        "liquidity": "0.12",
        "median value traded": "1,234,572",
        "facts": "UNKNOWN",
        "margin": "—",
    }


def test_regime_caps_guard_and_loss_makers(parts):
    section = parts["Optimization and flattening"]
    regime = "Regime TURBULENT: volatility of 20 days 62.5 %, its percentile 0.88, fall from the high of 60 days "
    assert f"{regime}-12.5 %, volatilities ranked 252, other —." in section.text
    assert "Caps: 25.0 % an atom, 50.0 % a cluster, for 7 atoms in 3 clusters." in section.text
    assert (
        "Guard on: 1 loss maker of 7 atoms (mean daily net return of the last 60 days not positive); budget 85.7 %."
        in section.text
    )
    assert section.rows("loss maker") == [{"loss maker": atom(COINS[6]), "mean daily net return": "-0.123 %"}]
    assert section.rows("event") == [
        {"event": "CAP_RELAXED", "what": "cluster cap raised", "values": "from 0.2, to 0.5"}
    ]


def test_solvers_and_books(parts):
    tables = parts["Risk profiles"].tables
    assert tables[0][1] == ["min_variance", "piqp", "SOLVED", "12", "2.5e-10", "—", "none", "0.03125"]
    books = [row for row in tables[1][1:] if row[0] in {"min_variance", "max_sharpe"}]
    assert books == [
        ["min_variance", "on", "3", "75.0 %", "-75.0 %", "25.0 %", "BINANCE:AAAUSDT", "-25.00 %"],
        ["min_variance", "off", "4", "100.0 %", "-100.0 %", "0.0 %", "BINANCE:AAAUSDT", "-25.00 %"],
        ["max_sharpe", "on", "0", "0.0 %", "0.0 %", "100.0 %", "—", "—"],
        ["max_sharpe", "off", "4", "100.0 %", "-100.0 %", "0.0 %", "BINANCE:AAAUSDT", "-25.00 %"],
    ]


def test_weights_of_coins_by_risk_profile(parts):
    rows = keyed(parts["Weights on coins"].rows("coin"), "coin")
    assert list(rows)[:3] == [COINS[0], COINS[1], COINS[3]]
    assert rows[COINS[4]] == {
        "coin": COINS[4],
        "min_variance": "—",
        "hrp": "-10.71 %",
        "max_sharpe": "—",
        "equal_weight": "-14.29 %",
        "barbell": "-10.00 %",
    }
    assert rows["gross"]["hrp"] == "85.71 %"
    assert rows["net"]["hrp"] == "-85.71 %"
    assert rows["cash"]["max_sharpe"] == "100.00 %"
    assert COINS[6] not in rows


def test_a_coin_of_two_atoms_is_listed_with_both(run):
    content = documents()["data/portfolio_flattened.json"]
    asset = content["profiles"]["hrp"]["assets"][0]
    asset["Atoms"].append({"Atom": "other", "Logic": "rating_ma", "Direction": "LONG", "Weight": 0.05})
    asset |= {"Gross_Weight": 0.25, "Weight": 0.25, "Net_Weight": -0.15}
    put(run, "data/portfolio_flattened.json", content)
    netted = by_title(render(run))["Weights on coins"].tables[1]
    assert netted[1:] == [["hrp", COINS[0], "25.00 %", "-15.00 %", f"{atom(COINS[0])} 20.00 %, other 5.00 %"]]


def test_small_books_name_their_causes_and_stand_beside_the_unguarded_ones(parts):
    share = "1 of 7 atoms (14.3 %) are loss makers"
    assert parts["Small books"].paragraphs == [
        "2 of 5 risk profiles: fewer than 5 coins, or less than 50 % of the account. What kept each of them from more:",
        "FEW_CANDIDATES: the scan gave 10 candidates, 15 winners are wanted.",
        "DROPPED_EARLY: normalization dropped 1 of 10: INVALID_SYMBOL 1.",
        "VETOES: selection dropped 2 of 9: VETO_ENTROPY 1, VETO_FRICTION 1.",
        "FEW_WINNERS: 7 winners of 15 wanted.",
        f"GUARD: {share}; their share of the budget is cash, which leaves a budget of 85.7 %.",
    ]
    section = parts["Small book: min_variance"]
    assert section.paragraphs == [
        "Held: 3 coins, gross 75.0 %.",
        "OPTIMIZER_CHOICE: piqp (SOLVED) gave weight to 3 of 6 atoms that it might hold, at most 25.0 % each.",
    ]
    rows = keyed(section.rows("coin"), "coin")
    assert rows[COINS[6]] == {"coin": COINS[6], "guard on": "—", "guard off": "-25.00 %"}
    assert rows["coins held"] == {"coin": "coins held", "guard on": "3", "guard off": "4"}
    assert parts["Small book: max_sharpe"].paragraphs[1] == (
        "NO_POSITIVE_EXPECTED_RETURN: no capped portfolio has a positive mean."
    )


def test_only_small_books_are_explained(parts):
    assert [title for title in parts if title.startswith("Small book:")] == [
        "Small book: min_variance",
        "Small book: max_sharpe",
    ]


def test_a_small_book_without_any_cause_is_called_unexplained(tmp_path):
    run = clean(tmp_path / "clean")
    content = read_json(run / "data/selection_audit.json") | {"n_winners": 15}
    put(run, "data/selection_audit.json", content)
    weights = documents()["data/portfolio_optimized_v2.json"]
    for asset in weights["profiles"]["hrp"]["assets"]:
        asset["Weight"] = 0.1
    put(run, "data/portfolio_optimized_v2.json", weights)
    flattened = read_json(run / "data/portfolio_flattened.json")
    flattened["profiles"]["hrp"]["gross"] = 0.25
    put(run, "data/portfolio_flattened.json", flattened)
    found = by_title(render(run))
    assert found["Small books"].paragraphs[0].endswith("Each has causes of its own.")
    assert found["Small book: hrp"].paragraphs[1] == "UNEXPLAINED: no artifact names a cause."


def test_findings_and_explanation_say_alike_when_a_book_is_small(parts):
    rule = "fewer than 5 coins, or less than 50 % of the account"
    assert f"2 of 5 risk profiles: {rule}." in parts["Small books"].paragraphs[0]
    assert f"2 of 5 risk profiles hold {rule} (" in parts["Recommendations"].text


def test_four_coins_are_a_small_book_and_five_are_not(run):
    content = documents()["data/portfolio_flattened.json"]
    for name, coins in (("hrp", 4), ("barbell", 5)):
        for asset in content["profiles"][name]["assets"][coins:]:
            asset |= {"Weight": 0.0, "Gross_Weight": 0.0, "Net_Weight": 0.0, "Direction": "FLAT"}
    put(run, "data/portfolio_flattened.json", content)
    found = by_title(render(run))
    assert found["Small book: hrp"].paragraphs[0].startswith("Held: 4 coins")
    assert "Small book: barbell" not in found


def test_a_coin_beyond_the_profiles_cap_is_a_warning(run):
    content = documents()["data/portfolio_flattened.json"]
    content["profiles"]["hrp"]["assets"][0] |= {"Net_Weight": -0.375}
    put(run, "data/portfolio_flattened.json", content)
    text = by_title(render(run))["Executive summary and status"].text
    assert (
        "Strongest warning: CONCENTRATION. A coin holds more than the 25.0 % that the profile allows an atom: "
        f"hrp -37.5 % in {COINS[0]}." in text
    )


def test_five_coins_below_half_of_the_account_are_a_small_book(run):
    content = documents()["data/portfolio_flattened.json"]
    content["profiles"]["hrp"] |= {"gross": 0.4999}
    content["profiles"]["barbell"] |= {"gross": 0.5}
    put(run, "data/portfolio_flattened.json", content)
    found = by_title(render(run))
    assert "Small book: hrp" in found
    assert "Small book: barbell" not in found


def test_caps_are_a_cause_when_they_leave_too_little_room(run):
    """What the optimizer says that caps left of the budget."""
    content = documents()["data/portfolio_optimized_v2.json"]
    values = {"budget": 0.857, "held": 0.4}
    content["profiles"]["min_variance"]["events"] = [{"code": "CAPS_BIND", "what": "", "values": values}]
    content["profiles"]["min_variance"]["cluster_cap"] = 0.2
    put(run, "data/portfolio_optimized_v2.json", content)
    text = by_title(render(run))["Small book: min_variance"].text
    assert "CAPS: caps of 25.0 % an atom and 20.0 % a cluster leave 40.0 % of a budget of 85.7 %." in text
    what = "caps take more than half of the budget; they leave min_variance 40.0 % of 85.7 %"
    assert (52, "CAPS_BIND", what) in [tuple(found[:3]) for found in findings(open_run(run))]


def test_an_all_cash_sleeve_says_so(run):
    content = documents()["data/portfolio_flattened.json"]
    for name in RISK_PROFILES:
        content["profiles"][name] = {"assets": [], "cash": 1.0, "gross": 0.0, "net": 0.0}
    put(run, "data/portfolio_flattened.json", content)
    found = by_title(render(run))
    summary = found["Executive summary and status"].text
    assert "Strongest warning: ALL_CASH. Every risk profile is all cash: FEW_CANDIDATES, " in summary
    assert found["Weights on coins"].paragraphs[0] == "Every risk profile is all cash."


def test_performance_guard_on_beside_guard_off(parts):
    tables = parts["Performance"].tables
    states = ("on", "off, one phase")
    held_against = [["benchmark", "—"], ["all coins, equal", "—"]]
    assert [row[:2] for row in tables[0][1:]] == [
        *([name, state] for name in RISK_PROFILES for state in states),
        *held_against,
    ]
    hrp = dict(zip(tables[0][0], tables[0][3], strict=True))
    assert hrp == {
        "risk profile": "hrp",
        "guard": "on",
        "days": "133",
        "CAGR": "12.3 %",
        "volatility": "45.6 %",
        "Sharpe": "1.00",
        "95 % from": "-1.50",
        "to": "3.25",
        "PSR": "0.71",
        "DSR": "0.42",
        "Sortino": "1.50",
        "Calmar": "—",
        "max drawdown": "-23.4 %",
        "CVaR 95": "-3.2 %",
    }
    trading = dict(zip(tables[1][0], tables[1][3], strict=True))
    assert trading == {
        "risk profile": "hrp",
        "guard": "on",
        "beta": "-0.45",
        "correlation": "-0.61",
        "average gross": "64.0 %",
        "turnover a year": "21.50",
        "cost a year": "3.2 %",
        "hit rate": "52.0 %",
    }


def test_few_days_are_not_evidence_and_many_are_not_called_so(run, parts):
    assert parts["Performance"].paragraphs[0].startswith("133 days are not evidence, 2023-12-01 to 2023-12-30")
    content = documents()["data/walk_forward/statistics.json"]
    for name in RISK_PROFILES:
        content["as_run"][name]["days"] = 252.0
    put(run, "data/walk_forward/statistics.json", content)
    text = render(run)
    assert "not evidence" not in text
    assert by_title(text)["Performance"].paragraphs[0].startswith("252 days of walk-forward")


def test_what_the_decision_was_worth_is_said_in_sentences(parts):
    said = parts["What the decision was worth"].text
    assert "It ends above the benchmark on the sleeve's side at the same gross: 1.25 against 1.12" in said
    assert "The selection is at percentile 12.5 of 100 draws" in said
    assert "UNTRADABLE with 100,000: 7 of 400 orders" in said


def test_a_book_that_loses_to_a_plain_one_is_a_finding(tmp_path):
    run = clean(tmp_path / "clean")
    content = read_json(run / "data/walk_forward/worth.json")
    content["baselines"]["benchmark"] |= {"final_wealth": 1.5, "ahead": -0.25, "loses": True, "clearly": True}
    put(run, "data/walk_forward/worth.json", content)
    [found] = findings(open_run(run))
    assert found.code == "LOSES_TO_BASELINE"
    told = "the benchmark on the sleeve's side (1.50, clearly)"
    assert found.what == f"hrp ends at 1.25 and loses, at the same gross, to {told}"


def test_performance_by_year_and_by_regime(parts):
    by_year, by_regime = parts["Performance"].tables[4:6]
    assert [row[:2] for row in by_year[1:]] == [[name, year] for name in RISK_PROFILES for year in ("2023", "2024")]
    hrp = dict(zip(by_year[0], by_year[3], strict=True))
    assert hrp == {
        "risk profile": "hrp",
        "year": "2023",
        "days": "112",
        "final wealth": "—",
        "volatility": "45.6 %",
        "Sharpe": "1.00",
        "max drawdown": "-23.4 %",
        "beta": "-0.45",
    }
    assert by_regime[0][1] == "regime"
    assert [row[1:3] for row in by_regime[1:3]] == [["NORMAL", "93"], ["TURBULENT", "40"]]


def test_the_survivorship_error_stands_beside_the_honest_result(parts):
    shown = parts["Performance"].tables[3]
    assert [row[:2] for row in shown[1:4]] == [
        ["min_variance", label] for label in ("all, as run", "survivors alone", "difference")
    ]
    assert shown[1][2:] == ["25.0 %", "1.00", "-50.0 %"]
    assert shown[3][2:] == ["12.5 %", "0.06", "12.5 %"]


def test_without_years_and_regimes_there_are_no_such_tables(run):
    for name in ("by_year", "by_regime", "survivorship"):
        (run / f"data/walk_forward/{name}.json").unlink()
    assert len(by_title(render(run))["Performance"].tables) == 4


def test_nav_as_a_line_of_text(parts):
    row = parts["Performance"].tables[2][1]
    nav = 0.99**15
    assert row == ["min_variance", "on", row[2], "1.0000", f"{nav:.4f}", "1.0000", f"{nav:.4f}"]
    assert len(row[2]) == 30
    assert (row[2][0], row[2][-1]) == ("█", "▁")


def test_a_long_nav_line_keeps_its_ends():
    line = sparkline([float(value) for value in range(1000)], width=60)
    assert len(line) == 60
    assert (line[0], line[-1]) == ("▁", "█")
    assert sparkline([math.nan, math.inf]) == "—"


def test_nav_that_is_no_number_is_left_out(run):
    table = walk_tables()["data/walk_forward/returns.parquet"]
    broken = table.with_columns(
        pl.when(pl.col("date") == dt.date(2023, 12, 5)).then(math.nan).otherwise("nav").alias("nav")
    )
    put(run, "data/walk_forward/returns.parquet", broken)
    row = by_title(render(run))["Performance"].tables[2][1]
    assert len(row[2]) == 29


def test_overfitting_and_decisions_of_the_walk_forward(parts):
    text = parts["Performance"].text
    assert "Probability that choosing the best risk profile is overfitting: 37.5 %." in text
    assert "Decisions: 3; coins held 0 to 9, mean 5.0; loss makers mean 1.0; " in text
    assert "in cash for a reason: NO_CANDIDATES 1." in text


def test_what_was_tried_and_since_when(run):
    assert "Trials, counted from the registry of this home: unknown." in by_title(render(run))["Performance"].text
    told = {
        "trials": 4,
        "headline": "hrp",
        "spread": 0.25,
        "first": "f" * 64,
        "first_time": "2024-01-01T00:00:00.000000Z",
    }
    put(run, "reports/trials.json", told | {"as_run": {}})
    text = by_title(render(run))["Performance"].text
    assert "home: 4 sets of settings when this run began to look, its own among them; hrp is deflated by 4, the" in text
    assert "annual Sharpe ratios on shared days 0.25; the registry began at 2024-01-01T00:00:00.000000Z with ff" in text


def test_capital_preservation_keeps_every_number(parts):
    section = parts["Capital preservation"]
    assert section.paragraphs[:4] == [
        "Guard on: loss makers of the last 60 days, 1.25 a decision.",
        "Rebalances: 3, of which 1 in cash.",
        "No loss maker held, at any rebalance: yes.",
        "Gross never above the unguarded gross: yes.",
    ]
    assert section.tables[0][2] == ["hrp", "50.0 %", "100.0 %", "0.0 %", "18.8 %"]
    wealth = ["62.5 %", "87.5 %", "61.3 %"]
    rest = ["1.0625", "no", "2023-12-11T00:00:00Z", "-6.2 %"]
    assert section.tables[1][3:5] == [
        ["hrp", "on", "0.0 %", "0.0 %", "0", *wealth, "-12.5 %", *rest],
        ["hrp", "off", "15.6 %", "31.2 %", "2", *wealth, "-37.5 %", *rest],
    ]
    assert section.tables[2][3] == ["hrp", "on", "-0.0312", "0.0125", "-0.0875", "0.2500", "11", "1,234"]


def test_forced_exits_stand_in_the_report_with_their_causes(run):
    trades = pl.DataFrame(
        {
            "date": [dt.date(2023, 12, day) for day in (1, 4, 5, 6)],
            "risk_profile": ["hrp", "hrp", "barbell", "hrp"],
            "symbol": [COINS[0], COINS[1], COINS[2], COINS[0]],
            "reason": ["rebalance", "delisting", "hole_too_long", "rebalance"],
            "quantity": [1.0, -2.0, 4.0, -1.0],
            "price": [1.0, 0.5, 2.5, 1.0],
        }
    )
    trades.write_parquet(run / "data/walk_forward/trades.parquet")
    rows = by_title(render(run))["Performance"].rows("date")
    assert [(row["date"], row["risk profile"], row["symbol"]) for row in rows] == [
        ("2023-12-04", "hrp", COINS[1]),
        ("2023-12-05", "barbell", COINS[2]),
    ]
    assert "three days of its own were missing" in rows[0]["cause"]
    assert "more than ten days were missing" in rows[1]["cause"]
    trades.filter(pl.col("reason") == "rebalance").write_parquet(run / "data/walk_forward/trades.parquet")
    assert "Forced exits: none." in by_title(render(run))["Performance"].text


def test_data_quality(parts):
    section = parts["Data quality"]
    assert section.paragraphs[:4] == [
        "Returns matrix: 385 rows x 9 columns, 2023-01-02 to 2024-01-21; benchmark BINANCE:BTCUSDT.",
        "Symbols audited: 8 (GAPS 1, OK 7).",
        "Invalid candidate records: 1.",
        "Quarantined rows: 1,234, rows of the source were rejected.",
    ]
    assert [row["code"] for row in section.rows("code")] == ["QUARANTINED", "INSTRUMENTS_UNKNOWN"]
    tables = section.tables
    assert tables[1][1:] == [
        ["BINANCE:HHHUSDT", "GAPS", "2 days without a bar", "383", "2023-01-02", "2024-01-21", "2"]
    ]
    assert tables[2][1:] == [["BINANCE:ETHUSD", "no such pair", "merged into BINANCE:ETHUSDT"]]
    assert tables[3][1:] == [["BINANCE:IIIUSDT", "FLOOR", "120 of 252 observations"]]
    assert tables[4][1:] == [["BINANCE:B AD", PROFILE, "white space"]]


def test_recommendations_are_tied_to_findings_that_the_report_names(parts):
    summary = parts["Executive summary and status"].text
    lines = parts["Recommendations"].paragraphs
    codes = [line.partition(":")[0] for line in lines]
    assert codes[0] == "SHORT_EVIDENCE"
    assert len(codes) == len(set(codes)) == 11
    assert all(code in summary for code in codes)
    assert all(" Finding: " in line for line in lines)


def clean(folder: Path) -> Path:
    """Write a run in which no rule can find anything: long evidence, full book, healthy data."""
    content = documents()
    content["data/portfolio_candidates_raw.json"]["invalid_records"] = []
    content["data/data_health.json"] |= {"findings": [], "missing": [], "symbols": []}
    content["data/portfolio_enriched.json"]["findings"] = []
    content["data/selection_audit.json"] |= {"relaxed": 0, "relaxed_share": 0.0}
    content["data/risk_analysis.json"] |= {"loss_makers": {}, "budget": 1.0}
    flattened = content["data/portfolio_flattened.json"]["profiles"]
    for name in RISK_PROFILES:
        content["data/walk_forward/statistics.json"]["as_run"][name] |= {"days": 400.0, "dsr": 0.97, "sharpe_low": 0.5}
        flattened[name] = flattened["equal_weight"]
    write_run(folder, content)
    put(folder, "audit.jsonl", complete_ledger(cap_relaxed=False).data())
    put(folder, layout.WALK_WEIGHTS, decided_weights(0.0).with_columns(pl.col("net_weight") / 4))
    return folder


def test_no_recommendation_is_invented(tmp_path):
    found = by_title(render(clean(tmp_path / "clean")))
    assert found["Recommendations"].paragraphs == ["None: no finding of this run calls for one."]
    assert "Strongest warning. None: no rule found anything." in found["Executive summary and status"].text


@pytest.mark.parametrize(
    ("path", "change", "code"),
    [
        ("statistics", {"days": 251.0}, "SHORT_EVIDENCE"),
        ("statistics", {"dsr": 0.94}, "UNPROVEN_SHARPE"),
        ("statistics", {"final_wealth": 0.99}, "WALK_FORWARD_LOSS"),
        ("statistics", {"final_wealth": -0.2, "cagr": None}, "WALK_FORWARD_LOSS"),
        ("statistics", {"max_drawdown": -0.51}, "DRAWDOWN"),
        ("statistics", {"sharpe_low": -0.1}, "SHARPE_INTERVAL"),
        ("statistics", {"pbo": 0.51}, "OVERFITTING"),
        ("statistics", {"beta": 0.01}, "BETA_SIGN"),
        ("selection", {"relaxed": 2, "relaxed_share": 2 / 7}, "RELAXATION"),
        ("risk", {"loss_makers": {atom(COINS[6]): -0.1}}, "LOSS_MAKERS"),
        ("preservation", {"no_loss_maker_held": False}, "LOSS_MAKER_HELD"),
        ("health", {"missing": [{"name": "BINANCE:X", "reason": "gone", "detail": ""}]}, "MISSING_SYMBOLS"),
    ],
)
def test_each_rule_fires_on_its_own_fault_only(tmp_path, path, change, code):
    run = clean(tmp_path / "clean")
    files = {
        "statistics": "data/walk_forward/statistics.json",
        "selection": "data/selection_audit.json",
        "risk": "data/risk_analysis.json",
        "preservation": "data/capital_preservation.json",
        "health": "data/data_health.json",
    }
    content = read_json(run / files[path])
    for target in content["as_run"].values() if path == "statistics" else [content]:
        target |= change
    put(run, files[path], content)
    assert [found.code for found in findings(open_run(run))] == [code]


def found_in(run):
    return {found.code: found.what for found in findings(open_run(run))}


def test_a_walk_forward_that_held_much_of_one_coin_is_told_whatever_is_held_today(tmp_path):
    run = clean(tmp_path / "clean")
    put(run, layout.WALK_WEIGHTS, decided_weights(0.0).with_columns(pl.col("net_weight") / 2))
    assert found_in(run) == {}  # a quarter of the account, and no more
    put(run, layout.WALK_WEIGHTS, decided_weights(0.0))
    [(code, what)] = found_in(run).items()
    assert code == "WALK_CONCENTRATION"
    assert f"hrp in 2 decisions, up to -50.0 % in {COINS[0]}" in what


@pytest.mark.parametrize(("kept", "told"), [(2, False), (1, True), (0, True)])
def test_a_profile_in_cash_in_more_than_half_of_its_decisions_is_told(tmp_path, kept, told):
    run = clean(tmp_path / "clean")
    moments = decided_weights(0.0)["as_of"].unique().sort()[:kept]
    small = decided_weights(0.0).with_columns(pl.col("net_weight") / 4)
    idle = (pl.col("risk_profile") == "barbell") & ~pl.col("as_of").is_in(moments.implode())
    put(run, layout.WALK_WEIGHTS, small.filter(~idle))
    expected = {"MOSTLY_CASH": f"more than half of 3 decisions hold nothing: barbell in {3 - kept}"} if told else {}
    assert found_in(run) == expected


def test_exits_that_nobody_decided_are_counted_by_cause(tmp_path):
    run = clean(tmp_path / "clean")
    rows = [("2023-12-05", "hrp", COINS[0], "delisting"), ("2023-12-06", "hrp", COINS[1], "hole_too_long")]
    rows += [("2023-12-07", "hrp", COINS[2], "rebalance")]
    put(run, layout.WALK_TRADES, pl.DataFrame(rows, schema=["date", "risk_profile", "symbol", "reason"], orient="row"))
    what = found_in(run)["FORCED_EXITS"]
    assert what.startswith("2 holdings ended without a decision; ")
    assert COINS[0] in what
    assert COINS[2] not in what


@pytest.mark.parametrize(("ruined", "said"), [(0, None), (3, "hrp 3 of 10")])
def test_ruin_on_another_start_is_told(tmp_path, ruined, said):
    run = clean(tmp_path / "clean")
    statistics = read_json(run / layout.WALK_STATISTICS)
    put(run, layout.WALK_STATISTICS, statistics | {"phases": {"hrp": {"count": 10, "ruined": ruined}}})
    told = found_in(run)
    assert ("RUIN_IN_PHASES" in told) == (said is not None)
    assert said is None or said in told["RUIN_IN_PHASES"]


def test_a_deep_fall_stands_beside_the_benchmarks_and_the_profiles_own_limit(tmp_path):
    run = clean(tmp_path / "clean")
    statistics = read_json(run / layout.WALK_STATISTICS)
    for metrics in statistics["as_run"].values():
        metrics["max_drawdown"] = -0.6
    put(run, layout.WALK_STATISTICS, statistics)
    days = [dt.date(2023, 12, 1) + dt.timedelta(days=i) for i in range(3)]
    put(run, layout.WALK_YARDSTICKS, pl.DataFrame({"date": days, "benchmark": [0.1, -0.5, 0.2]}))
    assert "limit of -50.0 % in 5 of 5 risk profiles" in found_in(run)["DRAWDOWN"]
    assert found_in(run)["DRAWDOWN"].endswith("the benchmark's on the same days was -50.0 %")
    manifest = read_json(run / layout.MANIFEST)
    put(run, layout.MANIFEST, manifest | {"profile": manifest["profile"] | {"drawdown_limit": -0.7}})
    assert found_in(run) == {}


def test_a_beta_at_little_gross_is_no_sign_of_anything(tmp_path):
    run = clean(tmp_path / "clean")
    content = documents()["data/walk_forward/statistics.json"]
    for name in RISK_PROFILES:
        content["as_run"][name] |= {"days": 400.0, "dsr": 0.97, "beta": 0.5, "average_gross": 0.299}
    put(run, "data/walk_forward/statistics.json", content)
    assert "BETA_SIGN" not in render(run)


def test_steps_come_from_the_ledger(parts):
    rows = keyed(parts["Steps"].rows("step"), "name")
    assert rows["walk_forward"] == {"step": "12", "name": "walk_forward", "state": "ok"}
    assert rows["reporting"]["state"] == "in progress"


def test_the_report_says_nothing_that_cannot_be_made_again(run, report):
    lines = (run / "audit.jsonl").read_bytes().splitlines()
    again = LedgerWriter()
    again.now += dt.timedelta(days=1)
    for line in map(json.loads, lines):
        again.add(line["kind"], line["body"], 0.5)
    assert again.lines[-1] != lines[-1]
    put(run, "audit.jsonl", again.data())
    assert render(run) == report


def test_the_ledger_section_tells_seal_and_events(run):
    section = by_title(render(run))["Ledger"]
    assert "Seal: none yet." in section.text
    assert section.rows("step") == [
        {"step": "8", "event": "CAP_RELAXED", "what": "cluster cap raised", "values": "from 0.2, to 0.5"}
    ]


def test_the_same_run_gives_the_same_text_whatever_its_status_says(run, report):
    put(run, "run_status.json", {"state": "VALID", "elapsed": 99.0})
    assert render(run) == render(run)
    assert render(run) == report


def test_no_value_is_written_as_nan_or_none(report):
    words = set(report.replace("|", " ").split())
    assert not words & {"nan", "NaN", "None", "inf", "null"}
