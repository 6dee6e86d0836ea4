"""Four real sleeves in one book: what it holds, what it promises, and that it can be made again."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from assay.backtest.trials import read_trials
from assay.base import files
from assay.base.errors import GateError, UsageError
from assay.cli.runs import meta_run
from assay.gates.validation import validate
from assay.pipeline import meta_flow
from assay.pipeline.replay import recorded_artifacts, replay
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.documents import Analysis, Contributors, Flattened, MetaOptimized, Sleeves
from assay.runs.ledger import read_ledger
from assay.runs.registry import entries
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings import load
from assay.settings.model import RISK_PROFILES, MetaProfile

from .conftest import META, SHORTS, SLEEVES, STEPS


def test_it_has_the_guarantees_of_a_sleeve(assembly, portfolio):
    assert verify(portfolio, registry=assembly.home.registry).ok
    assert [run.run_id for run in entries(assembly.home.registry)].count(portfolio.name) == 1
    assert json.loads((portfolio / layout.STATUS).read_text())["state"] == "VALID"
    for step in STEPS:
        for name in step.writes:
            path = portfolio / name
            assert any(path.iterdir()) if name.endswith("/") else path.stat().st_size > 0
    ledger = read_ledger(portfolio / layout.LEDGER)
    ended = [(entry.body["step"], entry.body["name"]) for entry in ledger if entry.kind == "outcome"]
    assert ended == [(step.number, step.name) for step in STEPS]
    layers = [entry.body["layer"] for entry in ledger if entry.kind == "contract"]
    assert layers == ["L0"] * len(RISK_PROFILES) + ["L3"] * len(SLEEVES) + ["L4"]
    assert all(entry.body["checked"] > 0 for entry in ledger if entry.kind in ("contract", "gate"))
    manifest = files.read_json(portfolio / layout.MANIFEST)
    for one in manifest["sleeves"]:
        sealed = verify(assembly.home.runs / one["run_id"], head=one["head"])
        assert sealed.ok
        assert len(one["seal"]) == 64


def test_it_is_not_all_cash_and_no_coin_exceeds_the_limit(portfolio):
    flattened = artifacts.load(Flattened, portfolio / layout.FLATTENED)
    assert set(flattened.profiles) == set(RISK_PROFILES)
    for name, profile in flattened.profiles.items():
        assert profile.gross > 0.2, name
        assert profile.gross + profile.cash == pytest.approx(1.0, abs=1e-9)
        assert all(coin.Gross_Weight <= 0.15 + 1e-9 for coin in profile.assets)
        assert any(coin.Net_Weight > 0 for coin in profile.assets)


def test_sleeves_are_weighed_per_unit_of_gross_and_the_report_says_so(assembly, portfolio):
    run = Run(portfolio)
    for name, told in run[layout.META_OPTIMIZED].profiles.items():
        for one in run.accepted:
            days = run.beside(one.run_id)[layout.WALK_RETURNS].filter(pl.col("risk_profile") == name).sort("date")
            assert told.mean_gross[one.sleeve] == pytest.approx(days["gross"][-60:].mean(), rel=1e-12)
    assert "| mean gross | invested |" in (portfolio / layout.REPORT).read_text()


def test_a_portfolio_whose_sleeves_are_in_cash_is_valid_and_says_so(assembly):
    profile = load(settings=["meta.min_gross=0.999"]).meta(META)
    folder, outcome = assembly.run(assembly.request(profile))
    assert outcome.state == "VALID", outcome.error
    told = Run(folder)[layout.META_OPTIMIZED].profiles
    assert all(book.cash == 1.0 and set(book.in_cash) == set(SLEEVES) for book in told.values())
    assert all(flat.cash == 1.0 and not flat.assets for flat in Run(folder)[layout.FLATTENED].profiles.values())
    assert {"META_SLEEVE_IN_CASH", "META_TOO_FEW_SLEEVES"} <= Run(folder).events


def test_a_portfolio_is_among_what_was_tried(assembly, portfolio):
    found = read_trials(assembly.home.registry, assembly.home.runs)
    (trial,) = [one for one in found.trials if one.run == portfolio.name]
    assert (trial.profile, trial.fault) == (META, None)
    assert trial.settings not in {one.settings for one in found.trials if one is not trial}
    assert any(one.name == f"{portfolio.name} hrp" for one in found.alternatives)


def test_the_single_coin_of_the_short_sleeves_is_cut_with_an_event(assembly, portfolio):
    cut = {
        (entry.body["values"]["risk_profile"], entry.body["values"]["symbol"])
        for entry in read_ledger(portfolio / layout.LEDGER)
        if entry.kind == "event" and entry.body["code"] == "META_CONCENTRATION"
    }
    weights = artifacts.load(MetaOptimized, portfolio / layout.META_OPTIMIZED).profiles
    for name in ("min_variance", "hrp", "equal_weight", "barbell"):
        shorts = [one.Weight for one in weights[name].sleeves if one.Direction == "SHORT"]
        assert sum(shorts) > 0.15
        assert (name, "BINANCE:LINAUSDT") in cut


def test_mass_is_conserved_from_the_sleeves_files_to_the_coins(assembly, portfolio):
    """Recomputed from the sleeves' own documents, coin by coin."""
    weights = artifacts.load(MetaOptimized, portfolio / layout.META_OPTIMIZED).profiles
    books = artifacts.load(Contributors, portfolio / layout.META_CONTRIBUTORS).profiles
    sleeves = {
        sleeve: artifacts.load(Flattened, assembly.home.runs / one.run_id / layout.FLATTENED).profiles
        for sleeve, one in assembly.pins.items()
    }
    for name, given in weights.items():
        gross, net = {}, {}
        for one in given.sleeves:
            for coin in sleeves[one.Sleeve][name].assets:
                gross[coin.Symbol] = gross.get(coin.Symbol, 0.0) + one.Weight * coin.Gross_Weight
                net[coin.Symbol] = net.get(coin.Symbol, 0.0) + one.Weight * coin.Net_Weight
        book = books[name]
        assert book.before_netting == pytest.approx(
            sum(one.Weight * sleeves[one.Sleeve][name].gross for one in given.sleeves), abs=1e-12
        )
        held = {coin.Symbol: coin for coin in book.coins}
        for symbol, size in gross.items():
            if size:
                factor = min(1.0, 0.15 / size)
                assert held[symbol].Gross == pytest.approx(size * factor, abs=1e-12)
                assert held[symbol].Net == pytest.approx(net[symbol] * factor, abs=1e-12)
                assert held[symbol].Netted == pytest.approx(size * factor - abs(net[symbol]) * factor, abs=1e-12)
        assert book.abs_net + book.netted == pytest.approx(book.gross, abs=1e-12)
        assert book.gross + book.cash == pytest.approx(1.0, abs=1e-12)


def test_the_weights_are_the_optimum_within_the_bounds(assembly, portfolio):
    """Minimum variance against SciPy's SLSQP; no weight was moved afterwards."""
    from assay.risk.covariance import estimate_covariance

    given = artifacts.load(MetaOptimized, portfolio / layout.META_OPTIMIZED).profiles["min_variance"]
    frame = pl.read_parquet(portfolio / layout.META_RETURNS).filter(pl.col("risk_profile") == "min_variance")
    gross = [given.mean_gross[sleeve] for sleeve in SLEEVES]
    matrix = estimate_covariance(frame.sort("date").select(SLEEVES).to_numpy()[-60:] / gross).matrix
    best = minimize(
        lambda w: w @ matrix @ w,
        np.full(4, 0.25),
        bounds=[(0.05, 0.5)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    found = {one.Sleeve: one.Weight for one in given.sleeves}
    assert [found[sleeve] for sleeve in SLEEVES] == pytest.approx(best.x.tolist(), abs=1e-5)
    assert given.solver.projection_distance == 0.0
    assert math.fsum(found.values()) == pytest.approx(1.0, abs=1e-9)


def test_the_walk_forward_trades_what_comes_after_the_training_days(portfolio):
    walked = pl.read_parquet(portfolio / layout.WALK_RETURNS)
    for (_,), days in walked.group_by("risk_profile"):
        assert days.height == 133 - 9 - 60  # nine days until a sleeve's last tranche has filled
        assert str(days["date"].min()) == "2023-11-19"
        assert str(days["date"].max()) == "2024-01-21"
        nav = days.sort("date")["nav"].to_numpy()
        assert nav == pytest.approx(np.cumprod(1.0 + days.sort("date")["ret"].to_numpy()), rel=1e-12)
    decisions = pl.read_parquet(portfolio / layout.WALK_DECISIONS)
    assert decisions.filter(pl.col("risk_profile") == "hrp").height == 64  # one a day


def test_shares_of_risk_sum_to_one_and_drawdowns_are_told_with_and_without_shorts(portfolio):
    profiles = artifacts.load(Analysis, portfolio / layout.META_ANALYSIS).profiles
    for name, found in profiles.items():
        assert sum(one.risk_share for one in found.sleeves.values()) == pytest.approx(1.0)
        assert 1.0 <= found.effective_bets <= 4.0, name
        assert len(found.leave_one_out) == 4
        assert set(found.without_shorts.without) == {sleeve for sleeve in SLEEVES if sleeve.endswith("short")}
        assert found.correlation[SLEEVES[0]][SLEEVES[0]] == pytest.approx(1.0)
    report = (portfolio / layout.REPORT).read_text()
    for title in (
        "Allocation by sleeve",
        "Allocation by coin",
        "Netting and concentration",
        "Correlation of sleeves",
        "What each sleeve adds",
        "With and without the short sleeves",
    ):
        assert title in report
    assert "No run was refused." in report


def test_a_replay_is_equal(assembly, portfolio):
    result = replay(assembly.home, portfolio)
    assert result.verdict == "EQUAL", result.artifacts
    assert set(result.artifacts) > set(recorded_artifacts(portfolio)) | {layout.REPORT, layout.TRIALS, layout.LEDGER}
    assert len(result.artifacts) > 10
    assert validate(Run(portfolio)).ok


def test_a_portfolio_of_portfolios_is_flattened_to_the_same_atoms(assembly):
    inner = MetaProfile(name="inner", sleeves=SLEEVES[:2])
    folder, outcome = assembly.run(assembly.request(inner))
    assert outcome.state == "VALID", outcome.error
    outer = MetaProfile(name="outer", sleeves=("inner", SLEEVES[2]), min_days=50, train=50)  # 55 count in the inner one
    request = assembly.request(outer, {"inner": assembly.pin_of(folder, "inner")})
    top, outcome = assembly.run(request)
    assert outcome.state == "VALID", outcome.error
    accepted = artifacts.load(Sleeves, top / layout.META_SLEEVES).accepted
    assert [(one.is_meta, one.direction) for one in accepted] == [(True, "MIXED"), (False, "LONG")]
    below = artifacts.load(Contributors, folder / layout.META_CONTRIBUTORS).profiles
    for name, book in artifacts.load(Contributors, top / layout.META_CONTRIBUTORS).profiles.items():
        nested = [part for part in book.contributors if part.Sleeve == "inner"]
        assert {tuple(part.Path) for part in nested} <= {("inner", SLEEVES[0]), ("inner", SLEEVES[1])}
        share = book.sleeve_weight["inner"]
        assert math.fsum(part.Weight for part in nested) == pytest.approx(share * below[name].gross, abs=1e-12)


def test_a_cycle_is_refused_in_settings_and_in_runs(assembly, tmp_path):
    (tmp_path / "assay.toml").write_text('[meta.a]\nsleeves = ["b"]\n[meta.b]\nsleeves = ["a"]\n')
    with pytest.raises(GateError) as refused:
        meta_flow.check(load(tmp_path), "a")
    assert refused.value.code == "META_CYCLE"
    # A run that was made under the same name as the portfolio which now holds it.
    folder, outcome = assembly.run(assembly.request(MetaProfile(name="snake", sleeves=SLEEVES[:2])))
    assert outcome.state == "VALID", outcome.error
    tail = MetaProfile(name="snake", sleeves=("snake", SLEEVES[2]))
    _, outcome = assembly.run(assembly.request(tail, {"snake": assembly.pin_of(folder, "snake")}))
    assert (outcome.state, outcome.error["code"]) == ("FAILED", "META_CYCLE")


def test_the_command_takes_the_latest_valid_runs_and_names_what_it_passed_over(assembly, capsys, monkeypatch):
    from assay.pipeline.flow import requests
    from assay.pipeline.runner import execute

    for told in SHORTS:
        name, _, value = told.partition("=")
        monkeypatch.setenv(f"ASSAY_SET__{name.replace('.', '__')}", value)
    other = load(settings=["caps.atom=0.3", *SHORTS])
    [request] = requests(assembly.home, other, assembly.foundation, [SLEEVES[0]])
    assert execute(request).state == "VALID"
    assert meta_run(META, run_id="chosen", missing=False, home=assembly.home.path, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "VALID"
    sleeves = artifacts.load(Sleeves, assembly.home.runs / "chosen" / layout.META_SLEEVES)
    assert {one.sleeve: one.run_id for one in sleeves.accepted} == {
        sleeve: one.run_id for sleeve, one in assembly.pins.items()
    }
    assert [(one.run_id, one.code) for one in sleeves.refused] == [(request.run.name, "META_SLEEVE_OTHER_SETTINGS")]
    pinned = [request.run.name]
    assert meta_run(META, pinned, run_id="pinned", missing=False, home=assembly.home.path, as_json=True) == 0
    accepted = artifacts.load(Sleeves, assembly.home.runs / "pinned" / layout.META_SLEEVES).accepted
    assert accepted[0].run_id == request.run.name
    with pytest.raises(UsageError, match="no sleeve of"):
        meta_run(META, ["chosen"], missing=False, home=assembly.home.path, as_json=True)


def test_settings_of_a_portfolio_do_not_touch_its_sleeves():
    catalog = load(settings=["meta.max_coin=0.2", f"meta.{META}.hold=5", "caps.atom=0.3"])
    profile = catalog.meta(META)
    assert (profile.max_coin, profile.hold) == (0.2, 5)
    assert catalog.provenance(META, "meta")["max_coin"] == "--set meta.max_coin=0.2"
    assert catalog.profile(SLEEVES[0]).caps.atom == 0.3
    assert load().profile(SLEEVES[0]).caps.atom == 0.25


@pytest.mark.slow
def test_an_interrupted_portfolio_goes_on_where_it_stopped(assembly, portfolio):
    from dataclasses import replace

    from assay.pipeline.runner import execute

    from .conftest import mutated

    def stop(_context):
        raise KeyboardInterrupt

    request = assembly.request()
    assert execute(request, steps=mutated("weight_flattening", stop)).state == "INTERRUPTED"
    assert execute(replace(request, resume=True), steps=STEPS).state == "VALID"
    assert recorded_artifacts(request.run) == recorded_artifacts(portfolio)


@pytest.mark.slow
@pytest.mark.parametrize("as_of", ["2023-06-30", "2024-06-28"])
def test_from_one_command_on_the_shared_bars(shared, tmp_path, as_of):
    source = f"parquet:{shared / 'spot_daily_to_2024-06.parquet'}"
    words = ["meta", "run", META, "--source", source, "--as-of", as_of, "--home", str(tmp_path), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "assay", *words], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["state"] == "VALID"
    assert all(one["gross"] > 0.2 for one in answer["profiles"].values())
    flattened = artifacts.load(Flattened, tmp_path / "runs" / answer["run_id"] / layout.FLATTENED)
    assert max(coin.Gross_Weight for profile in flattened.profiles.values() for coin in profile.assets) <= 0.15 + 1e-9
