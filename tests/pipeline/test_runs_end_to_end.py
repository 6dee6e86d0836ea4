"""The main job on real bars: artifacts, determinism, the decision, failures."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from assay.backtest import decision
from assay.base import files
from assay.base.errors import Exit, StepTimeout, UsageError
from assay.pipeline.context import load_market
from assay.pipeline.replay import recorded_artifacts, replay
from assay.pipeline.runner import execute, time_limit
from assay.pipeline.tables import STEPS, step
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.documents import DataHealth, Flattened, Optimized, RawCandidates, RiskAnalysis, SelectionAudit, Winners
from assay.runs.home import Status
from assay.runs.ledger import check_chain, read_ledger
from assay.runs.verify import verify

from .conftest import AS_OF, LONG, SHORT, mutated


def test_every_step_leaves_what_it_promises(finished):
    for folder in finished.values():
        for row in STEPS:
            for name in row.writes:
                path = folder / name
                assert any(path.iterdir()) if name.endswith("/") else path.stat().st_size > 0
        assert verify(folder).ok
        steps = [entry.body["step"] for entry in read_ledger(folder / layout.LEDGER) if entry.kind == "outcome"]
        assert steps == list(range(1, 16))
        assert check_chain(folder / layout.LEDGER) > 30


def test_contracts_l0_to_l4_and_all_gates_are_in_the_ledger(finished):
    entries = read_ledger(finished[SHORT] / layout.LEDGER)
    contracts = [entry.body for entry in entries if entry.kind == "contract"]
    assert [body["layer"] for body in contracts] == ["L0", "L1", "L2", "L3", "L4"]
    assert all(body["checked"] > 0 and body["action"] == "passed" for body in contracts)
    gates = [entry.body for entry in entries if entry.kind == "gate"]
    assert {body["gate"] for body in gates} == {
        "foundation",
        "sign_test_pre_opt",
        "sign_test_post_opt",
        "causality",
        "capital_preservation",
        "ruin",
        "atomic_validation",
    }
    assert all(body["ok"] and body["checked"] > 0 for body in gates)


def test_the_short_sleeve_holds_shorts_and_the_long_one_longs(finished):
    for profile, sign in ((LONG, 1), (SHORT, -1)):
        flattened = artifacts.load(Flattened, finished[profile] / layout.FLATTENED)
        for name, portfolio in flattened.profiles.items():
            held = [asset.Net_Weight for asset in portfolio.assets if asset.Weight > 0]
            assert len(held) >= 3, name
            assert all(weight * sign > 0 for weight in held)
            assert sum(abs(weight) for weight in held) + portfolio.cash == pytest.approx(1.0, abs=1e-9)


def test_realized_beta_has_the_sign_of_the_sleeve(finished):
    for profile, sign in ((LONG, 1), (SHORT, -1)):
        returns = pl.read_parquet(finished[profile] / layout.WALK_RETURNS)
        manifest = files.read_json(finished[profile] / layout.MANIFEST)
        bars = pl.read_parquet(
            "src/assay/sources/sample/binance_spot_daily_2023.parquet"
            if os.path.exists("src/assay/sources/sample/binance_spot_daily_2023.parquet")
            else pytest.skip("run from the checkout")
        ).filter(pl.col("symbol") == manifest["profile"]["benchmark"])
        bars = bars.sort("timestamp").with_columns(
            bitcoin=pl.col("close").pct_change(), date=pl.col("timestamp").dt.date()
        )
        for (name,), days in returns.group_by("risk_profile"):
            assert days["gross"].mean() > 0.3
            joined = days.join(bars, on="date")
            assert joined.height == days.height == 40
            covariance = np.cov(joined["ret"], joined["bitcoin"])
            assert sign * covariance[0, 1] / covariance[1, 1] > 0, (profile, name)


def test_the_steps_are_nothing_but_the_decision(sandbox, finished):
    """What the live run wrote step by step is what the walk-forward's function decides at the same instant."""
    for profile, folder in finished.items():
        request = sandbox.request(profile)
        days = decision.history_days(request.profile, request.as_of)
        market = load_market(request.lake_folder, request.head, request.as_of, days)
        decided = decision.decide(market, request.profile, request.scanners)
        flattened = artifacts.load(Flattened, folder / layout.FLATTENED)
        for name, portfolio in flattened.profiles.items():
            live = {asset.Symbol: asset.Net_Weight for asset in portfolio.assets if asset.Weight > 0}
            assert live == decided.net[name]
        winners = artifacts.load(Winners, folder / layout.WINNERS).winners
        assert [winner.atom_id for winner in winners] == [atom.id for atom in decided.selection.winner_atoms]
        assert decided.choice.winners == tuple((winner.symbol, winner.logic) for winner in winners)
        raw = artifacts.load(RawCandidates, folder / layout.RAW)
        assert set(decided.choice.candidates) == {candidate.symbol for candidate in raw.candidates}


def test_artifacts_hold_no_name_clock_or_path(finished):
    folder = finished[SHORT]
    for name in recorded_artifacts(folder):
        if name.endswith(".json"):
            text = (folder / name).read_text()
            assert folder.name not in text
            assert str(folder.parent) not in text


def test_a_replay_is_equal(sandbox, finished):
    before = sorted((path, path.stat().st_mtime_ns) for path in finished[LONG].rglob("*"))
    result = replay(sandbox.home, finished[LONG])
    assert result.verdict == "EQUAL"
    everything = {path.relative_to(finished[LONG]).as_posix() for path in finished[LONG].rglob("*") if path.is_file()}
    assert set(result.artifacts) == everything - {"run_status.json"}
    assert sorted((path, path.stat().st_mtime_ns) for path in finished[LONG].rglob("*")) == before


def test_a_changed_setting_replays_as_different(sandbox, finished, tmp_path):
    import shutil

    folder = tmp_path / finished[LONG].name
    shutil.copytree(finished[LONG], folder)
    manifest = files.read_json(folder / layout.MANIFEST)
    manifest["profile"]["caps"]["atom"] = 0.11
    files.write_json(folder / layout.MANIFEST, manifest)
    assert replay(sandbox.home, folder).verdict == "DIFFERENT"


def test_a_resumed_run_ends_like_an_undisturbed_one(sandbox, finished):
    def fail(_context):
        raise KeyboardInterrupt

    request = sandbox.request(SHORT)
    first = execute(request, steps=mutated("strategy_synthesis", fail))
    assert (first.state, first.exit_code) == ("INTERRUPTED", Exit.INTERRUPTED)
    assert Status.read(request.run).state == "INTERRUPTED"
    again = execute(replace(request, resume=True))
    assert again.state == "VALID"
    assert recorded_artifacts(request.run) == recorded_artifacts(finished[SHORT])
    entries = read_ledger(request.run / layout.LEDGER)
    intents = [entry.body["step"] for entry in entries if entry.kind == "intent"]
    assert intents == [1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert verify(request.run).ok


def test_a_step_whose_input_changed_is_done_again(sandbox, finished):
    def fail(_context):
        raise KeyboardInterrupt

    request = sandbox.request(SHORT)
    execute(request, steps=mutated("weight_flattening", fail))
    winners = request.run / layout.WINNERS
    files.write(winners, winners.read_bytes().replace(b'"rank": 1,', b'"rank": 1, '))
    assert execute(replace(request, resume=True)).state == "VALID"
    assert recorded_artifacts(request.run) == recorded_artifacts(finished[SHORT])


def test_a_run_that_died_between_seal_and_registry_is_entered_on_resume(sandbox):
    from assay.runs import registry

    request = sandbox.request(LONG)
    assert execute(request).state == "VALID"
    path = sandbox.home.registry
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    Status.begin(request.run.name, LONG, dt.datetime.now(dt.UTC)).write(request.run)
    assert not verify(request.run, registry=path).ok
    again = execute(replace(request, resume=True))
    assert (again.state, again.exit_code) == ("VALID", Exit.OK)
    assert verify(request.run, registry=path).ok
    assert registry.entries(path)[-1].run_id == request.run.name
    assert Status.read(request.run).state == "VALID"


def test_a_run_is_resumed_from_a_step_by_number_or_name(sandbox, finished):
    def fail(_context):
        raise KeyboardInterrupt

    request = sandbox.request(SHORT)
    execute(request, steps=mutated("optimization", fail))
    assert step(6) is step("6") is step("strategy_synthesis")
    again = execute(replace(request, resume=True), redo_from=step("strategy_synthesis").number)
    assert again.state == "VALID"
    assert recorded_artifacts(request.run) == recorded_artifacts(finished[SHORT])
    entries = read_ledger(request.run / layout.LEDGER)
    intents = [entry.body["step"] for entry in entries if entry.kind == "intent"]
    assert intents == [*range(1, 10), *range(6, 16)]
    with pytest.raises(UsageError, match="no step 'nowhere'"):
        step("nowhere")


class Slow:
    def __del__(self):
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_that_rings_in_a_finalizer_holds_all_the_same():
    with pytest.raises(StepTimeout), time_limit(0.01, "a step"):
        Slow()


# A limit of a millisecond may ring inside a callback of the garbage collector, which hypothesis installs.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_step_that_takes_too_long_is_stopped_and_named(sandbox):
    folder, outcome = sandbox.run(SHORT, ("limits.step=0.001",))
    assert outcome.error["code"] == "STEP_TIMEOUT"
    assert Status.read(folder).state == "FAILED"
    assert check_chain(folder / layout.LEDGER) >= 3


def test_an_internal_fault_leaves_ledger_status_and_log(sandbox):
    def fail(_context):
        raise ZeroDivisionError("a fault of ours")

    folder, outcome = sandbox.run(SHORT, steps=mutated("risk_analysis", fail))
    assert (outcome.exit_code, outcome.error["code"]) == (Exit.INTERNAL, "INTERNAL")
    assert "ZeroDivisionError: a fault of ours" in (folder / "logs" / "error.txt").read_text()
    last = read_ledger(folder / layout.LEDGER)[-1]
    assert (last.kind, last.body["state"], last.body["name"]) == ("outcome", "failed", "risk_analysis")
    assert Status.read(folder).stage == "Step 8: Risk Analysis"


def test_nobody_found_ends_with_a_reason_unless_the_profile_stands_aside(sandbox):
    nobody = ("scanners.binance_spot_rating_all_short.min_value_traded=1e18",)
    from assay.pipeline.flow import lay_foundation, requests
    from assay.settings import load

    found = lay_foundation(sandbox.home, load(settings=nobody), "sample", AS_OF)
    assert found.path != sandbox.foundation.path
    [request] = requests(sandbox.home, load(settings=nobody), found, [SHORT])
    outcome = execute(request)
    assert (outcome.exit_code, outcome.error["code"]) == (Exit.FAILED, "NO_UNIVERSE")
    costly = ("costs.fee=0.9",)  # every candidate is vetoed for its friction, today and before
    [request] = requests(sandbox.home, load(settings=(*costly, "stand_aside=false")), sandbox.foundation, [SHORT])
    outcome = execute(request)
    assert (outcome.exit_code, outcome.error["code"]) == (Exit.FAILED, "NO_WINNERS")
    [request] = requests(sandbox.home, load(settings=costly), sandbox.foundation, [SHORT])
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error
    flattened = artifacts.load(Flattened, request.run / layout.FLATTENED)
    assert {profile.cash for profile in flattened.profiles.values()} == {1.0}
    assert verify(request.run).ok


def test_a_polluted_pool_is_turned_and_guarded(sandbox):
    folder, outcome = sandbox.run(SHORT, ("pool=superset",))
    assert outcome.state == "VALID", outcome.error
    raw = artifacts.load(RawCandidates, folder / layout.RAW)
    assert {candidate.direction for candidate in raw.candidates} == {"SHORT"}
    inverted = [candidate for candidate in raw.candidates if candidate.inverted]
    assert inverted
    assert {candidate.scan_direction for candidate in inverted} == {"LONG"}
    risk = artifacts.load(RiskAnalysis, folder / layout.RISK)
    optimized = artifacts.load(Optimized, folder / layout.OPTIMIZED)
    for name, portfolio in optimized.profiles.items():
        held = {asset.Atom for asset in portfolio.assets if asset.Weight > 0}
        assert held.isdisjoint(risk.loss_makers)
        assert sum(a.Weight for a in portfolio.assets) <= sum(a.Weight for a in optimized.unguarded[name].assets) + 1e-9


def test_the_multi_logic_example_expands_and_counts(sandbox):
    folder, outcome = sandbox.run("binance_spot_rating_multi_long")
    assert outcome.state == "VALID", outcome.error
    audit = artifacts.load(SelectionAudit, folder / layout.SELECTION)
    [normalization] = [stage for stage in audit.stages if stage.stage == "normalization"]
    assert normalization.expanded == normalization.expanded_by["rating_other"] > 0
    for stage in audit.stages:
        assert stage.n_out == stage.n_in + stage.expanded - stage.dropped
    winners = artifacts.load(Winners, folder / layout.WINNERS).winners
    assert {winner.logic for winner in winners} == {"rating_ma", "rating_other"}


def test_alpha_differs_between_profiles_and_shorts_are_ranked_as_shorts(sandbox, finished):
    short = artifacts.load(SelectionAudit, finished[SHORT] / layout.SELECTION)
    folder, _ = sandbox.run("binance_spot_rating_ma_short")
    other = artifacts.load(SelectionAudit, folder / layout.SELECTION)
    alpha = [{fate.symbol: fate.alpha_score for fate in audit.fates if fate.alpha_score} for audit in (short, other)]
    both = alpha[0].keys() & alpha[1].keys()
    assert len(both) > 10
    assert all(alpha[0][symbol] != alpha[1][symbol] for symbol in both)
    # Momentum of a short's stream is that of a falling coin: its winners fell.
    matrix = pl.read_parquet(finished[SHORT] / layout.RETURNS)
    winners = artifacts.load(Winners, finished[SHORT] / layout.WINNERS).winners
    assert np.mean([matrix[winner.symbol].tail(120).mean() for winner in winners]) < 0


def test_health_names_every_symbol_and_the_unknown_facts(finished):
    health = artifacts.load(DataHealth, finished[LONG] / layout.HEALTH)
    raw = artifacts.load(RawCandidates, finished[LONG] / layout.RAW)
    assert {entry.symbol for entry in health.symbols} == {c.symbol for c in raw.candidates} | {health.benchmark}
    assert "INSTRUMENTS_UNKNOWN" in {finding.code for finding in health.findings}


def test_a_run_killed_at_a_random_moment_resumes_to_the_same(sandbox, finished):
    request = sandbox.request(SHORT, run_id="killed")
    command = [
        sys.executable,
        "-m",
        "assay",
        "run",
        SHORT,
        "--as-of",
        AS_OF,
        "--home",
        str(sandbox.home.path),
        "--run-id",
        "victim",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "Step 9" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    victim = sandbox.home.runs / "victim"
    assert Status.read(victim).seen().state == "DEAD"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "assay",
            "run",
            SHORT,
            "--home",
            str(sandbox.home.path),
            "--run-id",
            "victim",
            "--resume",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["state"] == "VALID"
    assert recorded_artifacts(victim) == recorded_artifacts(finished[SHORT])
    assert request.run.is_dir()
