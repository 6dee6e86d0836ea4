"""Every command that takes a run takes a portfolio, and answers for it from its sleeves where only they know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_client import Client
from typer.testing import CliRunner

from assay import Run
from assay.base.errors import Exit, UsageError
from assay.cli import app
from assay.page.app import create_app
from assay.runs import artifacts as layout
from assay.settings import load

from .conftest import META, SLEEVES


@pytest.fixture(scope="module")
def other(assembly) -> Path:
    """A second portfolio of the same sleeves, with a lower limit per coin."""
    profile = load(settings=["meta.max_coin=0.1"]).meta(META)
    folder, outcome = assembly.run(assembly.request(profile))
    assert outcome.state == "VALID", outcome.error
    return folder


@pytest.fixture
def assay(assembly):
    def told(*arguments, code=Exit.OK):
        home = ("--home", str(assembly.home.path))
        done = CliRunner().invoke(app, [*map(str, arguments), *home])
        assert done.exit_code == code, done.output
        return done.output

    return told


def contributors(portfolio, name="hrp"):
    return json.loads((portfolio / layout.META_CONTRIBUTORS).read_text())["profiles"][name]["contributors"]


def test_why_tells_the_sleeves_behind_a_coin(portfolio, assay):
    parts = contributors(portfolio)
    coin = parts[0]["Symbol"]
    told = json.loads(assay("why", portfolio.name, coin, "--json"))
    assert told["contributors"]["hrp"] == [part for part in parts if part["Symbol"] == coin]
    flattened = json.loads((portfolio / layout.FLATTENED).read_text())["profiles"]
    for name, weight in told["weights"].items():
        assert [weight] == [a["Net_Weight"] for a in flattened[name]["assets"] if a["Symbol"] == coin]
    runs = {one["run_id"] for one in json.loads((portfolio / layout.META_SLEEVES).read_text())["accepted"]}
    assert set(told["sleeves"]) <= runs
    for run_id, own in told["sleeves"].items():
        audit = json.loads((portfolio.parent / run_id / layout.SELECTION).read_text())
        assert own["fates"] == [fate for fate in audit["fates"] if fate["symbol"] == coin]
    text = assay("why", portfolio.name, coin)
    assert all(f"--- {run_id}" in text for run_id in told["sleeves"])
    assert f"= {parts[0]['Sleeve']} {parts[0]['Direction']} {parts[0]['Weight']:.4f}" in text


def test_worth_tells_that_of_each_sleeve(portfolio, assay):
    runs = [one["run_id"] for one in json.loads((portfolio / layout.META_SLEEVES).read_text())["accepted"]]
    told = json.loads(assay("worth", portfolio.name, "--json"))["sleeves"]
    assert told == {run: json.loads((portfolio.parent / run / layout.WORTH).read_text()) for run in runs}
    assert all(f"{run}:" in assay("worth", portfolio.name) for run in runs)


def test_why_tells_what_the_limit_per_coin_cut(portfolio, assay):
    cut = [part for part in contributors(portfolio) if part["Held"] < part["Weight"]]
    coin = cut[0]["Symbol"]
    whole = sum(part["Weight"] - part["Held"] for part in cut if part["Symbol"] == coin)
    lines = [line for line in assay("why", portfolio.name, coin).splitlines() if line.startswith("weight in hrp: ")]
    assert lines[0].endswith(f"{whole:.4f} to cash by the limit per coin")


def test_why_answers_for_a_coin_that_no_sleeve_holds_and_refuses_one_that_no_lake_has(portfolio, assay):
    told = json.loads(assay("why", portfolio.name, "BINANCE:SOLUSDT", "--json"))
    assert told["weights"] == told["contributors"] == {}
    assert len(told["sleeves"]) == len(SLEEVES)
    refused = assay("why", portfolio.name, "BINANCE:NOSUCHUSDT", code=Exit.USAGE)
    assert "INTEGRITY" not in refused
    assert "NOT_IN_LAKE" in refused


def test_two_portfolios_are_compared(portfolio, other, assay):
    told = json.loads(assay("compare", portfolio.name, other.name, "--json"))
    assert {one["name"]: (one["a"], one["b"]) for one in told["settings"]} == {"max_coin": (0.15, 0.1)}
    assert [change["coin"] for change in told["sleeves"]["hrp"]] == list(SLEEVES)
    assert all(change["difference"] == 0.0 for change in told["sleeves"]["hrp"])
    assert told["candidates"] is told["winners"] is None
    assert told["notes"] == []
    assert "same runs of the sleeves" in told["attribution"]["impossible"]
    text = assay("compare", portfolio.name, other.name)
    assert "validation error" not in text
    assert "\nSLEEVES\n" in text
    assert "\nCANDIDATES\n" not in text


def test_a_portfolio_is_compared_with_one_of_its_sleeves(portfolio, assembly, assay):
    sleeve = assembly.pins[SLEEVES[0]].run_id
    told = json.loads(assay("compare", sleeve, portfolio.name, "--json"))
    assert told["attribution"]["impossible"] == "a portfolio decides from its sleeves, and one run is none"
    assert told["performance"]["hrp"]["shared_days"] > 0


def test_the_joint_report_of_portfolios_says_that_they_are_valid(portfolio, other, assembly, assay):
    sleeve = assembly.pins[SLEEVES[0]].run_id
    told = json.loads(assay("audit-report", portfolio.name, other.name, sleeve, "--json"))
    text = Path(told["report"]).read_text()
    assert "3 of 3 runs VALID" in text
    for wrong in ("INCOMPLETE", "INTEGRITY", "NOT REACHED", "NOT RECORDED", "did not reach", "differ in source"):
        assert wrong not in text
    assert "L0 Foundation, hrp" in text


def test_the_causality_of_a_portfolio_is_that_of_its_sleeves(portfolio, assembly, assay, monkeypatch):
    """Truly of one of the four, whose answer stands for the others': each takes as long as a sleeve's own does."""
    from assay.pipeline import causality

    honest, answers = causality._of_sleeve, []

    def tried(home, run, *more):
        answers.append(honest(home, run, *more) if not answers else answers[0] | {"run_id": run})
        return answers[-1]

    monkeypatch.setattr(causality, "_of_sleeve", tried)
    told = json.loads(assay("causality", portfolio.name, "--dates", 1, "--json"))
    assert told["ok"]
    assert set(told["sleeves"]) == {pin.run_id for pin in assembly.pins.values()}
    assert all(sleeve["ok"] and sleeve["detail"] for sleeve in told["sleeves"].values())


@pytest.mark.slow
def test_the_causality_of_each_sleeve_of_a_portfolio(portfolio, assembly, assay):
    told = json.loads(assay("causality", portfolio.name, "--dates", 1, "--json"))
    assert told["ok"]
    assert set(told["sleeves"]) == {pin.run_id for pin in assembly.pins.values()}
    assert all(sleeve["ok"] and sleeve["detail"] for sleeve in told["sleeves"].values())


def test_a_leak_in_one_sleeve_is_a_leak_of_the_portfolio(portfolio, monkeypatch):
    from assay.pipeline import causality
    from assay.runs.home import Home

    def tried(home, run, *_):
        return {"run_id": run, "ok": "ma_short" not in run}

    monkeypatch.setattr(causality, "_of_sleeve", tried)
    body, _ = causality.causality(Home(portfolio.parents[1]), portfolio.name, 1, 0, load().execution)
    assert not body["ok"]
    assert sorted(sleeve["ok"] for sleeve in body["sleeves"].values()) == [False, True, True, True]


def test_trials_and_status_tell_of_a_portfolio(portfolio, assay):
    assert portfolio.name in assay("trials")
    told = {run["run_id"]: run for run in json.loads(assay("status", "--json"))}
    assert told[portfolio.name]["state"] == "VALID"


@pytest.mark.parametrize("path", ["/runs/{run}", "/runs/{run}/ledger", "/runs/{run}/why", "/compare"])
def test_the_page_answers_for_a_portfolio(portfolio, other, assembly, path):
    address = path.format(run=portfolio.name)
    coin = contributors(portfolio)[0]["Symbol"]
    query = {"/runs/{run}/why": {"symbol": coin}, "/compare": {"a": portfolio.name, "b": other.name}}.get(path, {})
    with Client(create_app(assembly.home), base_url="http://localhost") as client:
        shown, told = (client.get(f"{before}{address}", params=query) for before in ("", "/api"))
    assert (shown.status_code, told.status_code) == (200, 200)
    assert not told.json().get("faults")
    assert "INTEGRITY" not in told.text + shown.text
    if path == "/runs/{run}":
        assert told.json()["verdict"]["word"] == "VALID"
        assert "meta checks" in shown.text
    if path == "/runs/{run}/why":
        assert all(sleeve in shown.text for sleeve in told.json()["sleeves"])


def test_a_portfolio_from_python(portfolio):
    run = Run(portfolio)
    assert list(run.sleeves) == list(SLEEVES)
    assert all(sleeve.winners for sleeve in run.sleeves.values())
    assert run.returns_wide().columns[1:] == ["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]
    assert run.sleeve("hrp").weights
    assert "VALID" in run._repr_html_()
    for ask in (lambda: run.winners, lambda: run.funnel, lambda: run.returns_wide(guarded=False)):
        with pytest.raises(UsageError, match="a portfolio has no"):
            ask()
