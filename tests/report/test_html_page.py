"""``report.html``: what it holds, what it must not, and that it says what the artifacts say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from markdown_reader import sections
from page_reader import Element, read, section, table
from report_run import COINS, HRP, RISK_PROFILES, RUN_ID, WEIGHTS, complete_ledger, documents, put, write_run

from assay.report import templating
from assay.report.audit_report import render, render_joint
from assay.report.html import render_joint_page, render_page

FIGURES = {
    "Funnel": ["funnel"],
    "Winners": ["votes", "correlation"],
    "Optimization and flattening": ["weights-coins", "weights-atoms"],
    "Performance": ["equity", "drawdown", "monthly", "months", "histogram", "contributions", "turnover"],
    "Capital preservation": ["loss-makers"],
}
HOSTILE = [
    "BINANCE:<script>alert(1)</script>USDT".replace("/", "\u2044"),
    "BINANCE:\"'><img\u00a0src=x>USDT".replace("\u00a0", ""),
    "BINANCE:\u05d0\u05d1\u05d2\u202eUSDT",
    "BINANCE:A\u200bB\u2060CUSDT",
    "BINANCE:" + "X" * 400 + "USDT",
    "BINANCE:$x^2$&amp;USDT",
    "BINANCE:]]>--><style>USDT",
]


@pytest.fixture(scope="module")
def text(template: Path) -> str:
    return render_page(template)


@pytest.fixture(scope="module")
def page(text: str) -> Element:
    return read(text)


def test_sections_are_those_of_the_audit_report_in_its_order(page, report):
    expected = [found.title for found in sections(report) if found.level == 2]
    assert [one.all("h2")[0].text for one in page.all("section")] == expected
    assert page.one("h1").text == sections(report)[0].title


def test_tables_hold_the_cells_of_the_audit_report(page, report):
    """The independent reader of Markdown and the independent reader of HTML agree on every cell of the report."""
    for number, found in enumerate(one for one in sections(report) if one.level == 2):
        own = page.all("section")[number]
        inside = {id(t) for figure in own.all("figure") for t in figure.all("table")}
        shown = [t.rows() for t in own.all("table") if id(t) not in inside]
        assert shown == _tables_below(report, found.title)


def _tables_below(report: str, title: str) -> list[list[list[str]]]:
    found, below = [], False
    for one in sections(report):
        if one.level == 2:
            below = one.title == title
        if below:
            found += one.tables
    return found


def test_verdict_comes_first(page):
    verdict = page.one("p", **{"class": "verdict good"})
    assert verdict.text.split()[0] == "VALID"
    assert "5 contract checks" in verdict.text


def test_figures_stand_in_their_sections(page):
    for title, names in FIGURES.items():
        found = [figure.attributes["id"] for figure in section(page, title).all("figure")]
        assert found == [f"figure-{name}" for name in names]
    assert "No figure: the walk-forward has 30 days, fewer than the 60" in section(page, "Performance").text


def test_weights_are_those_of_the_artifact(page, template):
    body = json.loads((template / "data/portfolio_flattened.json").read_text())["profiles"]
    figure = page.one("figure", id="figure-weights-coins")
    shown = {row[0]: row[1:] for row in figure.one("table").rows()[1:]}
    for at, name in enumerate(RISK_PROFILES):
        for asset in body[name]["assets"]:
            if asset["Symbol"] in shown:
                assert shown[asset["Symbol"]][at] == f"{100 * asset['Net_Weight']:.2f} %".replace("-0.00", "0.00")
    assert {symbol for symbol, weight in zip(COINS, HRP, strict=True) if weight} <= set(shown)
    atoms = page.one("figure", id="figure-weights-atoms").one("table").rows()[1:]
    assert sum(float(row[2].split()[0]) for row in atoms) == pytest.approx(100 * sum(WEIGHTS["hrp"]), abs=0.05)


def test_equity_ends_where_the_table_of_days_does(page, template):
    frame = pl.read_parquet(template / "data/walk_forward/returns.parquet")
    rows = page.one("figure", id="figure-equity").one("table").rows()
    last = dict(zip(rows[0], rows[-1], strict=True))
    for name in RISK_PROFILES:
        nav = frame.filter(pl.col("risk_profile") == name).sort("date")["nav"][-1]
        assert last[name] == f"{nav:.2f}"
    assert last["date"] == str(frame["date"].max())
    assert last["Bitcoin"] == f"{1.01**15:.2f}"
    assert last["all coins, equal"] == f"{0.995**15:.2f}"


def test_drawdown_of_a_book_that_only_falls(page):
    rows = page.one("figure", id="figure-drawdown").one("table").rows()
    last = dict(zip(rows[0], rows[-1], strict=True))
    assert last["hrp"] == f"{100 * (0.98**15 - 1):.1f} %"
    assert last["Bitcoin"] == "0.0 %"


def test_monthly_return_is_the_month_compounded(page):
    rows = page.one("figure", id="figure-monthly").one("table").rows()
    assert [row[0] for row in rows[1:]] == ["2023-12"]
    assert dict(zip(rows[0], rows[1], strict=True))["max_sharpe"] == f"{100 * (0.97**15 - 1):.1f} %"


def test_turnover_and_cost_are_summed(page):
    rows = page.one("figure", id="figure-turnover").one("table").rows()
    last = dict(zip(rows[0], rows[-1], strict=True))
    assert last["hrp, value traded, x account"] == "1.50"
    assert last["hrp, costs and borrow"] == f"{100 * (3 * 0.0005 + 30 * 0.00025):.1f} %"


def test_loss_makers_are_held_only_without_the_guard(page):
    rows = page.one("figure", id="figure-loss-makers").one("table").rows()
    assert [row[0] for row in rows[1:]] == ["2023-12-01", "2023-12-11"]
    second = dict(zip(rows[0], rows[2], strict=True))
    assert (second["hrp, as run"], second["hrp, guard off"]) == ("0.0 %", "12.5 %")


def test_correlation_is_that_of_the_streams(page):
    rows = page.one("figure", id="figure-correlation").one("table").rows()
    by_name = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    names = list(by_name)
    assert [by_name[name]["cluster"] for name in names] == ["1", "1", "1", "2", "2", "3", "3"]
    assert rows[0][2:] == [str(i) for i in range(1, len(names) + 1)]
    assert by_name[names[0]]["2"] == "1.00"
    assert by_name[names[0]]["4"] == "-1.00"


def test_votes_are_those_of_the_feature_store(page, template):
    frame = pl.read_parquet(template / "data/feature_store.parquet")
    rows = page.one("figure", id="figure-votes").one("table").rows()
    shown = {row[0]: row for row in rows[1:]}
    assert list(shown) == COINS
    words = {1: "buy", 0: "neutral", -1: "sell", None: "—"}
    names = [column for column in frame.columns if column.startswith("vote_")]
    for row in frame.filter(pl.col("symbol").is_in(COINS)).to_dicts():
        assert shown[row["symbol"]][4:] == [words[row[name]] for name in names]
        assert shown[row["symbol"]][1] == f"{row['recommend_all']:.2f}"


def test_funnel_names_every_loss(page):
    rows = table(page.one("figure", id="figure-funnel"), "stage")
    lost = {(row["stage"], row["reason"]): row["count"] for row in rows if row["what"] == "lost"}
    assert lost == {
        ("normalization", "INVALID_SYMBOL"): "1",
        ("selection", "VETO_ENTROPY"): "1",
        ("selection", "VETO_FRICTION"): "1",
    }


def test_nothing_is_loaded_from_anywhere(text, page):
    own = (
        text.replace(templating.vendored("uPlot.iife.min.js"), "")
        .replace(templating.asset("charts.js"), "")
        .replace("'none'", "")
    )
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", own)
    scripts = templating.vendored("uPlot.iife.min.js") + templating.asset("charts.js")
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|eval|Function)\b *\(", scripts)
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        digest = base64.b64encode(hashlib.sha256(page.one(tag).text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    for element in page.walk():
        assert not any(name == "style" or name.startswith("on") for name in element.attributes), element
        assert element.tag not in {"img", "iframe", "object", "embed", "form"}
        assert "src" not in element.attributes
        if "href" in element.attributes:
            assert element.attributes["href"].startswith(("#", "data:,"))


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.walk():
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((element.attributes.get(name) or "").split()) <= set(ids)
        if (element.attributes.get("href") or "").startswith("#"):
            assert element.attributes["href"][1:] in ids


def test_structure_is_told_to_those_who_cannot_see_it(page):
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("a", **{"class": "skip"}).attributes["href"] == "#" + page.one("main").attributes["id"]
    assert page.one("nav").attributes["aria-label"]
    levels = [int(e.tag[1]) for e in page.walk() if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for found in page.all("table"):
        assert found.one("caption").text.strip()
        assert all(head.attributes.get("scope") in {"col", "row"} for head in found.all("th"))
    assert all(picture.attributes["aria-hidden"] == "true" for picture in page.all("svg"))  # its number is beside it
    for chart in page.all("div", **{"class": "chart"}):
        assert chart.attributes["data-title"]


def test_size_and_determinism(text, template):
    assert len(text.encode()) < 600_000
    assert render_page(template) == text


def test_hostile_names_stay_text(tmp_path):
    content = json.loads(json.dumps(documents()))
    raw = json.dumps(content)
    for coin, name in zip(COINS, HOSTILE, strict=True):
        raw = raw.replace(coin, json.dumps(name)[1:-1])
    folder = write_run(tmp_path / RUN_ID, json.loads(raw))
    named = dict(zip(COINS, HOSTILE, strict=True))
    votes = pl.read_parquet(folder / "data/feature_store.parquet")
    votes.with_columns(pl.col("symbol").replace(named)).write_parquet(folder / "data/feature_store.parquet")
    streams = pl.read_parquet(folder / "data/synthetic_returns.parquet")
    streams.columns = [next((c.replace(k, v) for k, v in named.items() if k in c), c) for c in streams.columns]
    streams.write_parquet(folder / "data/synthetic_returns.parquet")
    text = render_page(folder)
    page = read(text)
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("img")
    figure = page.one("figure", id="figure-weights-coins")
    assert HOSTILE[0] in figure.one("table").text
    [long] = [head for head in figure.all("th", **{"class": "long"}) if "X" * 400 in head.text]
    assert long.attributes["scope"] == "row"
    assert not set("\u200b\u2060\u202e") & set(figure.text)
    assert not set("\u200b\u2060\u202e") & set(section(page, "Winners").text)
    assert len(page.one("figure", id="figure-correlation").one("table").rows()) == 8


def test_a_failed_run_shows_what_is_there(tmp_path):
    content = {k: v for k, v in documents().items() if k.split("/")[-1] in {"resolved_manifest.json"} or "_raw" in k}
    folder = write_run(tmp_path / RUN_ID, content, {"data/none.parquet": pl.DataFrame({"a": [1]})})
    ledger = complete_ledger(2)
    ledger.step(3, {"code": "GATE_FAILED", "what": "the returns end on another day", "where": "x", "hint": "look"})
    put(folder, "audit.jsonl", ledger.data())
    page = read(render_page(folder))
    assert page.one("p", **{"class": "verdict bad"}).text.startswith("FAILED")
    assert page.all("figure") == []
    for title in FIGURES:
        assert "No figure: not reached" in section(page, title).text


def test_a_sleeve_in_cash_has_a_page(tmp_path):
    content = documents()
    content["data/portfolio_candidates.json"]["winners"] = []
    content["data/portfolio_clusters.json"]["clusters"] = {}
    for part in ("profiles", "unguarded"):
        for profile in content["data/portfolio_optimized_v2.json"][part].values():
            profile |= {"assets": [], "cash": 1.0}
    for profile in content["data/portfolio_flattened.json"]["profiles"].values():
        profile |= {"assets": [], "cash": 1.0, "gross": 0.0, "net": 0.0}
    page = read(render_page(write_run(tmp_path / RUN_ID, content)))
    assert "No figure: every risk profile is all cash" in section(page, "Optimization and flattening").text
    assert "No figure: the run has no winner" in section(page, "Winners").text
    assert page.one("figure", id="figure-equity")


@pytest.mark.parametrize(
    "path",
    ["data/feature_store.parquet", "data/synthetic_returns.parquet", "data/walk_forward/weights.parquet"],
)
def test_a_broken_table_costs_its_figure_only(run, path):
    (run / path).write_bytes(b"no table")
    page = read(render_page(run))
    assert "table cannot be read" in page.one("main").text
    assert page.one("figure", id="figure-equity")


def test_joint_page_says_what_the_joint_report_says(template, run):
    report, page = render_joint([template, run]), read(render_joint_page([template, run]))
    assert [one.all("h2")[0].text for one in page.all("section")] == [
        found.title for found in sections(report) if found.level == 2
    ]
    found = [figure.attributes["id"] for figure in page.all("figure")]
    assert found == ["figure-equity", "figure-weights-coins", "figure-correlation"]
    rows = page.one("figure", id="figure-correlation").one("table").rows()
    assert rows[1][2:] == ["1.00", "1.00"]


def test_gate_of_the_walk_forward_is_missed(run):
    """Validation asks for a gate at step 12: so does the report."""
    ledger = (run / "audit.jsonl").read_bytes().splitlines()
    rest = [line for line in ledger if b'"causality"' not in line]
    assert len(rest) == len(ledger) - 1
    text = render(run)
    assert any(row["gate"] == "causality" for row in _rows(text))


def _rows(report: str) -> list[dict[str, str]]:
    return next(found for found in sections(report) if found.title == "Gates").rows("gate")
