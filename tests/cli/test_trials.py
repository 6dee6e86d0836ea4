"""What was tried in a home: counted from the registry, compared from the run directories."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from assay.backtest.overfitting import overfitting
from assay.base.errors import Exit
from assay.cli import app
from assay.runs.ledger import chain_line
from assay.runs.verify import REGISTRY_KINDS, parse_line

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
RISK_PROFILES = ["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]


def assay(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(home, name, *arguments, profile=LONG, code=Exit.OK):
    quick = ("--set", "walk_forward.days=60")
    done = assay("run", profile, "--home", home, "--run-id", name, *quick, *arguments)
    assert done.exit_code == code, done.output


def told(home):
    done = assay("trials", "--home", home, "--json")
    assert done.exit_code == Exit.OK, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Five runs, four manifests, three kinds of settings."""
    folder = tmp_path_factory.mktemp("trials") / "home"
    run(folder, "long")
    run(folder, "again")
    run(folder, "earlier", "--as-of", "2024-01-10")
    run(folder, "changed", "--set", "selection.top_n=1")
    run(folder, "short", profile=SHORT)
    run(folder, "nobody", "--set", f"scanners.{LONG}.min_value_traded=1e18", code=Exit.FAILED)  # it looked at nothing
    return folder


@pytest.fixture
def copy(home, tmp_path):
    return shutil.copytree(home, tmp_path / "home")


def manifest_of(home, name):
    return json.loads((home / "runs" / name / "config/resolved_manifest.json").read_text())


def _counted(home, name):
    """Return the days on which every tranche is filled, which are those that figures are of."""
    return pl.read_parquet(home / "runs" / name / "data/walk_forward/returns.parquet").filter("counted")


def returns(home, *runs):
    """Daily returns of every risk profile of some runs, side by side on the days that all have."""
    wide = None
    for name in runs:
        frame = _counted(home, name)
        frame = frame.pivot(on="risk_profile", index="date", values="ret")
        frame = frame.rename({column: f"{name} {column}" for column in frame.columns if column != "date"})
        wide = frame if wide is None else wide.join(frame, on="date")
    return wide.sort("date").drop("date")


def test_equal_manifests_count_once_and_a_failed_run_does_not(home):
    body = told(home)
    assert [trial["runs"] for trial in body["trials"]] == [["long", "again"], ["earlier"], ["changed"], ["short"]]
    assert body["registry"]["n"] == 3  # an earlier date is no trial of its own
    assert [trial["changed"] for trial in body["trials"]][2] == {"selection.top_n": 1, "walk_forward.days": 60}
    for trial in body["trials"]:
        statistics = json.loads((home / "runs" / trial["run"] / "data/walk_forward/statistics.json").read_text())
        assert trial["sharpe"] == {name: statistics["as_run"][name]["sharpe"] for name in RISK_PROFILES}


def test_overfitting_over_risk_profiles_profiles_and_settings(home):
    body = told(home)
    wide = returns(home, "long", "changed", "short")
    # Books that are the same to the byte are one alternative: a sleeve of two coins has the same two in two of them.
    first = {}
    twins = {
        name: one for name in wide.columns if (one := first.setdefault(wide[name].to_numpy().tobytes(), name)) != name
    }
    reasons = {one["name"]: one["reason"] for one in body["excluded"]}
    assert reasons.pop("earlier") == "has the settings of long, which is of a later date or of other data"
    assert reasons == {name: f"has the same returns as {one}" for name, one in twins.items()}
    wide = wide.drop(list(twins))
    found = body["overfitting"]
    assert sorted(found["sharpes"]) == sorted(wide.columns)
    assert (found["alternatives"], found["days"]) == (15 - len(twins), wide.height)
    assert wide.height == 60
    columns = wide.select(list(found["sharpes"])).to_numpy()
    assert found["probability"] == overfitting(columns, 16).probability
    sharpes = columns.mean(axis=0) / columns.std(axis=0, ddof=1) * np.sqrt(365)
    assert list(found["sharpes"].values()) == pytest.approx(sharpes.tolist())
    assert found["best"] == list(found["sharpes"])[int(sharpes.argmax())]


def test_what_is_gone_or_changed_is_left_out_by_name(copy):
    shutil.rmtree(copy / "runs/changed")
    path = copy / "runs/short/data/walk_forward/returns.parquet"
    pl.read_parquet(path).with_columns(pl.col("ret").abs()).write_parquet(path)
    body = told(copy)
    reasons = {one["name"]: one["reason"] for one in body["excluded"]}
    assert reasons["changed"] == "its run directory is gone"
    assert reasons["short"] == "data/walk_forward/returns.parquet is not what its ledger records"
    assert sorted(body["overfitting"]["sharpes"]) == sorted(f"long {name}" for name in RISK_PROFILES)
    assert body["registry"]["n"] == 3  # what was tried stays tried


def test_another_run_of_the_manifest_stands_in(copy):
    shutil.rmtree(copy / "runs/long")
    body = told(copy)
    assert body["trials"][0]["run"] == "again"
    assert sum(name.startswith("again ") for name in body["overfitting"]["sharpes"]) == 5


def test_a_ledger_that_the_registry_does_not_know(copy):
    shutil.rmtree(copy / "runs/short")
    shutil.copytree(copy / "runs/changed", copy / "runs/short")
    reasons = {one["name"]: one["reason"] for one in told(copy)["excluded"]}
    assert reasons["short"] == "its ledger is not the one that the registry names"


def test_a_month_of_daily_runs_is_one_trial_and_settings_are_others(home):
    names = ("long", "again", "earlier", "changed", "short")
    files = {name: json.loads((home / "runs" / name / "reports/trials.json").read_text()) for name in names}
    assert {name: one["trials"] for name, one in files.items()} == {
        "long": 1, "again": 1, "earlier": 1, "changed": 2, "short": 3,
    }  # fmt: skip
    assert [files[name]["records"] for name in names] == [[], [], [], ["earlier"], ["changed", "earlier"]]
    first = json.loads((home / "runs/registry.jsonl").read_text().splitlines()[0])
    assert {one["first_time"] for one in files.values()} == {first["time"]}


def test_the_spread_is_of_the_days_that_a_record_shares_with_the_run(home):
    told = json.loads((home / "runs/changed/reports/trials.json").read_text())
    own = _counted(home, "changed").select("date", "risk_profile")
    theirs = _counted(home, "earlier").join(own, on=["date", "risk_profile"])
    assert theirs["date"].n_unique() < own["date"].n_unique()
    ratios = [
        part["ret"].mean() / part["ret"].std() * np.sqrt(365)
        for _, part in theirs.group_by("risk_profile", maintain_order=True)
    ]
    assert told["sharpes"] == 5
    assert told["spread"] == pytest.approx(np.var(ratios, ddof=1))


def test_an_interrupted_look_counts(copy):
    before = told(copy)["registry"]["n"]
    quick = ("--set", "walk_forward.days=60", "--set", "selection.top_n=2")
    assert assay("run", LONG, "--home", copy, "--run-id", "look", *quick).exit_code == Exit.OK
    assert told(copy)["registry"]["n"] == before + 1
    registry, ledger = copy / "runs/registry.jsonl", copy / "runs/look/audit.jsonl"
    for path in (registry, ledger):  # as if it had been cut off before its seal
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert told(copy)["registry"]["n"] == before + 1
    shutil.rmtree(copy / "runs/look")
    assert told(copy)["registry"]["n"] == before + 1
    run(copy, "next", "--set", "selection.top_n=3")
    assert json.loads((copy / "runs/next/reports/trials.json").read_text())["trials"] == before + 2


def test_runs_of_before_are_keyed_by_their_manifests_and_those_without_count_each(copy):
    """As if all were of a version that wrote no line when a run began."""
    path, lines = copy / "runs/registry.jsonl", []
    for line in map(json.loads, path.read_text().splitlines()):
        if line["kind"] == "run":
            lines.append(chain_line(lines_of(lines), line["time"], "run", line["body"]))
    path.write_bytes(b"".join(lines))
    assert told(copy)["registry"]["n"] == 3
    manifest = copy / "runs/earlier/config/resolved_manifest.json"
    manifest.write_text(json.dumps(manifest_of(copy, "earlier") | {"as_of": "2024-01-09T00:00:00Z"}))
    assert told(copy)["registry"]["n"] == 4
    shutil.rmtree(copy / "runs/again")
    assert told(copy)["registry"]["n"] == 5


def lines_of(written):
    return [parse_line(line[:-1], REGISTRY_KINDS) for line in written]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{}", '{"profile": [], "lake": 1, "as_of": 2, "kind": "meta", "sleeves": {}}']
)
def test_no_content_of_an_unsealed_run_stops_the_count(copy, text):
    for name in ("config/resolved_manifest.json", "data/walk_forward/statistics.json"):
        path = copy / "runs/odd" / name
        path.parent.mkdir(parents=True)
        path.write_text(text if "config" in name else '{"as_run": {"hrp": {"sharpe": 1e999}, "x": 5}}')
    assert told(copy)["registry"]["n"] == 3


def test_a_broken_registry_is_no_evidence(copy):
    path = copy / "runs/registry.jsonl"
    path.write_text(path.read_text().replace('"profile":"binance', '"profile":"other', 1))
    assert assay("trials", "--home", copy).exit_code == Exit.INTEGRITY


def test_text_for_people(home):
    done = assay("trials", "--home", home)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "profile", "as"]
    assert "selection.top_n=1" in next(line for line in lines if line.startswith("changed "))
    assert any(line.startswith("3 trials: ") for line in lines)
    assert any(line.startswith("probability of backtest overfitting: ") for line in lines)
    assert any(line.startswith("not among them: earlier: ") for line in lines)
    assert json.loads((home / "reports/trials.json").read_text()) == told(home)


def test_an_empty_home(tmp_path):
    body = told(tmp_path)
    assert body["trials"] == []
    assert body["overfitting"]["probability"] is None
    assert "no probability" in assay("trials", "--home", tmp_path).stdout
