"""What changed between two runs, and which input caused it.

The oracle of the attribution are runs: what replacing one group of inputs does is what a run with just this group
changed did, read from its files and subtracted here.
"""

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit
from assay.cli import app
from assay.cli.output import near
from assay.report.compare import turnover
from assay.sources import open_source

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
EARLY, LATE = "2023-10-20", "2023-10-30"
RISK_PROFILES = ("min_variance", "hrp", "max_sharpe", "equal_weight", "barbell")
QUICK = ("--set", "walk_forward.days=30")
CHANGED = ("--set", "selection.top_n=1", "--set", "limits.step=119")


def assay(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(home, name, *arguments, profile=LONG, code=Exit.OK):
    done = assay("run", profile, "--home", home, "--run-id", name, *QUICK, *arguments)
    assert done.exit_code == code, done.output
    return home / "runs" / name


def compared(home, a, b):
    done = assay("compare", a, b, "--home", home, "--json")
    assert done.exit_code == Exit.OK, done.output
    return json.loads(done.stdout)


def books(folder):
    flattened = json.loads((folder / "data/portfolio_flattened.json").read_text())
    return {
        name: {asset["Symbol"]: asset["Net_Weight"] for asset in profile["assets"]}
        for name, profile in flattened["profiles"].items()
    }


def moved(one, other):
    """Turnover between the recorded books of two runs, by risk profile."""
    a, b = books(one), books(other)
    return {
        name: sum(abs(b[name].get(coin, 0.0) - a[name].get(coin, 0.0)) for coin in {*a[name], *b[name]}) / 2
        for name in RISK_PROFILES
    }


def winners(folder):
    return {
        winner["atom_id"] for winner in json.loads((folder / "data/portfolio_candidates.json").read_text())["winners"]
    }


def found(folder):
    raw = json.loads((folder / "data/portfolio_candidates_raw.json").read_text())
    return {(c["symbol"], c["logic"], c["direction"]) for c in raw["candidates"]}


def the_effect(effects, *replaced):
    [effect] = [effect for effect in effects if effect["replaced"] == list(replaced)]
    return effect


def assert_is(effect, first, second, last):
    """An effect is what the run ``second``, which differs from ``first`` in these inputs only, did."""
    assert effect["impossible"] is None
    assert effect["turnover"] == pytest.approx(moved(first, second), abs=1e-9)
    assert effect["remaining"] == pytest.approx(moved(second, last), abs=1e-9)
    assert (effect["winners_gained"], effect["winners_lost"]) == (
        len(winners(second) - winners(first)),
        len(winners(first) - winners(second)),
    )
    assert (effect["candidates_gained"], effect["candidates_lost"]) == (
        len(found(second) - found(first)),
        len(found(first) - found(second)),
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Runs of the sample that differ in settings, in date, and in both."""
    folder = tmp_path_factory.mktemp("compare") / "home"
    run(folder, "first", "--as-of", EARLY)
    run(folder, "settings", "--as-of", EARLY, *CHANGED)
    run(folder, "date", "--as-of", LATE)
    run(folder, "both", "--as-of", LATE, *CHANGED)
    run(folder, "nobody", "--as-of", EARLY, "--set", f"scanners.{LONG}.min_value_traded=1e18", code=Exit.FAILED)
    return folder


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """A lake with two heads: in the second, ten days came, and the closes of one day were revised."""
    folder = tmp_path_factory.mktemp("grown")
    bars = (
        open_source("sample")
        .read()
        .bars.select(pl.col("open_time").alias("timestamp"), "symbol", "open", "high", "low", "close", "volume")
    )

    def until(day):
        return bars.filter(pl.col("timestamp") <= dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC))

    source = folder / "bars.parquet"
    until(EARLY).write_parquet(source)
    home = folder / "home"
    run(home, "old", "--source", f"parquet:{source}")
    revised = (pl.col("timestamp").dt.date() == dt.date(2023, 10, 19)) & pl.col("symbol").str.contains("USDT")
    lower = pl.when(revised).then(pl.min_horizontal("open", "close")).otherwise("close").alias("close")
    until(LATE).with_columns(lower).write_parquet(source)
    run(home, "new", "--source", f"parquet:{source}")
    run(home, "data", "--source", f"parquet:{source}", "--as-of", EARLY)
    return home


# --- which input ------------------------------------------------------------------------------------------------------


def test_settings_and_date_are_told_apart(home):
    told = compared(home, "first", "both")["attribution"]
    runs = {name: home / "runs" / name for name in ("first", "settings", "date", "both")}
    assert told["impossible"] is None
    assert told["differ"] == ["settings", "date"]
    assert [effect["replaced"] for effect in told["effects"]] == [["settings"], ["date"], ["settings", "date"]]
    assert_is(the_effect(told["effects"], "settings"), runs["first"], runs["settings"], runs["both"])
    assert_is(the_effect(told["effects"], "date"), runs["first"], runs["date"], runs["both"])
    assert_is(the_effect(told["effects"], "settings", "date"), runs["first"], runs["both"], runs["both"])
    assert max(the_effect(told["effects"], "settings")["turnover"].values()) > 0.05
    assert told["reproduced"] == {"a": 0.0, "b": 0.0}
    assert "data: the same" in told["verdict"]


def test_single_settings_are_told_apart(home):
    told = compared(home, "first", "settings")["attribution"]
    assert told["differ"] == ["settings"]
    idle, busy = told["settings"]
    assert (idle["replaced"], busy["replaced"]) == (["profile.limits.step"], ["profile.selection.top_n"])
    assert set(idle["turnover"].values()) == {0.0}
    assert_is(busy, home / "runs/first", home / "runs/settings", home / "runs/settings")
    assert "settings without any effect on this decision: profile.limits.step" in told["verdict"]
    assert next(line for line in told["verdict"] if line.startswith("settings: ")).endswith("whole change of the books")


def test_data_and_date_are_told_apart(grown):
    told = compared(grown, "old", "new")
    runs = {name: grown / "runs" / name for name in ("old", "data", "new")}
    inputs = {change["name"]: (change["a"], change["b"]) for change in told["inputs"]}
    assert inputs["lake.head"] == (1, 2)
    assert inputs["lake.tables.bars"][0] < inputs["lake.tables.bars"][1]
    attribution = told["attribution"]
    assert attribution["differ"] == ["data", "date"]
    assert max(moved(runs["old"], runs["data"]).values()) > 0.0
    assert_is(the_effect(attribution["effects"], "data"), runs["old"], runs["data"], runs["new"])
    assert_is(the_effect(attribution["effects"], "data", "date"), runs["old"], runs["new"], runs["new"])
    # The old data end before the new date: nobody could have decided so.
    assert "end at 2023-10-21" in the_effect(attribution["effects"], "date")["impossible"]


def test_two_profiles_are_one_change_of_settings(home):
    other = run(home, "short", "--as-of", EARLY, profile=SHORT)
    told = compared(home, "first", "short")
    assert told["attribution"]["differ"] == ["settings"]
    assert_is(the_effect(told["attribution"]["effects"], "settings"), home / "runs/first", other, other)
    [together] = told["attribution"]["settings"]
    assert {"profile.name", "profile.direction", "profile.scanners"} <= set(together["replaced"])
    assert together["turnover"] == the_effect(told["attribution"]["effects"], "settings")["turnover"]
    assert told["candidates"]["both"] == told["winners"]["both"] == []


@pytest.mark.slow
def test_a_scanner_that_only_one_run_knows(home, tmp_path, monkeypatch):
    scanner = '[scanners.mine]\nlogic = "rating_all"\ndirection = "LONG"\nlimit = 30\n'
    profile = '[profiles.mine]\ndirection = "LONG"\nlogics = ["rating_all"]\nscanners = ["mine"]\n'
    (tmp_path / "assay.toml").write_text(scanner + profile)
    monkeypatch.chdir(tmp_path)
    mine = run(home, "mine", "--as-of", EARLY, profile="mine")
    for names in (("first", "mine"), ("mine", "first")):
        told = compared(home, *names)["attribution"]
        first, second = (home / "runs" / name for name in names)
        assert "scanners.mine" in told["settings"][0]["replaced"]
        assert_is(told["effects"][-1], first, second, second)
    assert len(found(mine)) == 30


def test_different_lakes_cannot_be_attributed(home, grown):
    shutil.copytree(grown / "runs/old", home / "runs/elsewhere")
    told = compared(home, "first", "elsewhere")
    attribution = told["attribution"]
    assert "different lakes" in attribution["impossible"]
    assert attribution["effects"] == attribution["settings"] == []
    assert "cannot be attributed" in attribution["verdict"][0]
    assert {change["name"] for change in told["inputs"]} >= {"source", "lake.folder"}
    assert told["books"].keys() == set(RISK_PROFILES)


def test_a_lake_that_is_gone_or_another_is_said(home, tmp_path):
    for name in ("first", "date"):
        shutil.copytree(home / "runs" / name, tmp_path / "runs" / name)
    told = compared(tmp_path, "first", "date")["attribution"]
    assert "the lake is not there" in told["impossible"]
    manifest = tmp_path / "runs/first/config/resolved_manifest.json"
    content = json.loads(manifest.read_text())
    content["lake"]["tables"]["bars"] = 7
    manifest.write_text(json.dumps(content))
    shutil.copytree(home / "lake", tmp_path / "lake")
    told = compared(tmp_path, "first", "date")["attribution"]
    assert "other table versions" in told["impossible"]


def test_books_that_are_not_decided_again_point_to_versions(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    path = tmp_path / "home/runs/first/data/portfolio_flattened.json"
    content = json.loads(path.read_text())
    content["profiles"]["hrp"]["assets"][0]["Net_Weight"] += 0.01
    path.write_text(json.dumps(content))
    told = compared(tmp_path / "home", "first", "settings")["attribution"]
    assert told["reproduced"] == {"a": pytest.approx(0.01, abs=1e-12), "b": 0.0}
    assert "such as a version of this program" in told["verdict"][0]


# --- what changed -----------------------------------------------------------------------------------------------------


def test_settings_and_inputs_by_dotted_name(home):
    told = compared(home, "first", "both")
    settings = {change["name"]: (change["a"], change["b"]) for change in told["settings"]}
    assert settings == {"limits.step": (120.0, 119.0), "selection.top_n": (15, 1)}
    inputs = {change["name"]: (change["a"], change["b"]) for change in told["inputs"]}
    assert inputs["as_of"] == ("2023-10-21T00:00:00Z", "2023-10-31T00:00:00Z")
    assert inputs.keys() == {"as_of", "superset.path", "superset.sha256", "trials.n"}


def test_candidates_and_winners_with_their_fate_in_the_other_run(home):
    told = compared(home, "first", "both")
    first, both = home / "runs/first", home / "runs/both"
    for part, names in (("winners", winners), ("candidates", found)):
        a, b = names(first), names(both)
        counts = [len(told[part][side]) for side in ("both", "only_a", "only_b")]
        assert counts == [len(a & b), len(a - b), len(b - a)]
    audit = json.loads((both / "data/selection_audit.json").read_text())
    reasons = {f"{f['symbol']}_{f['logic']}_{f['direction']}": f["reason"] for f in audit["fates"]}
    lost = {member["name"]: member["elsewhere"] for member in told["winners"]["only_a"]}
    assert lost.keys() == winners(first) - winners(both)
    for name, elsewhere in lost.items():
        assert elsewhere.split(":")[0] == reasons.get(name, "was not a candidate")


def test_weights_turnover_and_cash(home):
    told = compared(home, "first", "both")["books"]
    a, b = books(home / "runs/first"), books(home / "runs/both")
    assert list(told) == list(RISK_PROFILES)
    assert {name: book["turnover"] for name, book in told.items()} == pytest.approx(
        moved(home / "runs/first", home / "runs/both")
    )
    for name, book in told.items():
        for row in book["holdings"]:
            expected = a[name].get(row["coin"], 0.0), b[name].get(row["coin"], 0.0)
            assert (row["a"], row["b"]) == expected
            assert row["difference"] == pytest.approx(expected[1] - expected[0], abs=1e-15)
        sizes = [abs(row["difference"]) for row in book["holdings"]]
        assert sizes == sorted(sizes, reverse=True)


def test_performance_side_by_side_and_on_shared_days(home):
    told = compared(home, "first", "date")["performance"]
    tables, statistics = [], []
    for name in ("first", "date"):
        folder = home / "runs" / name / "data/walk_forward"
        tables.append(pl.read_parquet(folder / "returns.parquet").filter(pl.col("counted")))
        statistics.append(json.loads((folder / "statistics.json").read_text())["as_run"])
    for name in RISK_PROFILES:
        one, other = (dict(t.filter(pl.col("risk_profile") == name).select("date", "ret").iter_rows()) for t in tables)
        days = sorted(one.keys() & other.keys())
        assert told[name]["shared_days"] == len(days) == 20
        a, b = np.array([one[day] for day in days]), np.array([other[day] for day in days])
        assert told[name]["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1])
        sharpe = told[name]["shared"]["sharpe"]
        assert sharpe["a"] == pytest.approx(a.mean() / a.std(ddof=1) * np.sqrt(365))
        assert sharpe["b"] == pytest.approx(b.mean() / b.std(ddof=1) * np.sqrt(365))
        assert told[name]["shared"]["final_wealth"]["a"] == pytest.approx(np.prod(1 + a))
        for metric in ("cagr", "sharpe", "max_drawdown", "turnover"):
            figure = told[name]["metrics"][metric]
            assert (figure["a"], figure["b"]) == tuple(s[name][metric] for s in statistics)
            assert figure["difference"] == pytest.approx(figure["b"] - figure["a"])


def test_checks_and_events(home):
    told = compared(home, "first", "date")
    assert {change["name"].split()[0] for change in told["checks"]} <= {"contract", "gate"}
    events = {change["name"]: (change["a"], change["b"]) for change in told["events"]}
    checks = set()
    for side, name in enumerate(("first", "date")):
        lines = [json.loads(line) for line in (home / "runs" / name / "audit.jsonl").read_text().splitlines()]
        codes = [line["body"]["code"] for line in lines if line["kind"] in ("event", "fallback")]
        for code, counts in events.items():
            assert (counts[side] or 0) == codes.count(code)
        checks |= {
            line["body"].get("layer") or line["body"]["gate"] for line in lines if line["kind"] in ("contract", "gate")
        }
    assert told["checks_alike"] + len(told["checks"]) == len(checks) >= 10


def test_a_failed_run_is_compared_as_far_as_it_came(home):
    told = compared(home, "first", "nobody")
    assert told["winners"] is None
    assert told["books"] == told["performance"] == {}
    assert told["candidates"]["only_b"] == []
    assert any("NO_UNIVERSE" in note for note in told["notes"])
    # Decided again, it is what it was: nobody, and all cash.
    effect = the_effect(told["attribution"]["effects"], "settings")
    assert effect["winners_lost"] == len(winners(home / "runs/first"))
    gross = {name: sum(map(abs, book.values())) / 2 for name, book in books(home / "runs/first").items()}
    assert effect["turnover"] == pytest.approx(gross)


def test_a_run_has_not_changed_from_its_repetition(home):
    run(home, "again", "--as-of", EARLY)
    told = compared(home, "first", "again")
    assert [change["name"] for change in told["inputs"]] in ([], ["trials.n"])
    assert told["settings"] == told["checks"] == told["events"] == told["notes"] == []
    assert told["winners"]["only_a"] == told["winners"]["only_b"] == []
    assert {book["turnover"] for book in told["books"].values()} == {0.0}
    assert [part["correlation"] for part in told["performance"].values()] == pytest.approx([1.0] * 5)
    assert told["attribution"]["verdict"] == ["settings, data and date are the same: there is nothing to attribute"]


# --- how it is told ---------------------------------------------------------------------------------------------------


def test_runs_stay_as_they_are_and_the_report_lies_beside_them(home):
    def state():
        return sorted((path, path.stat().st_mtime_ns) for path in (home / "runs").rglob("*"))

    before = state()
    done = assay("compare", "first", "both", "--home", home)
    assert done.exit_code == Exit.OK
    assert state() == before
    report = home / "reports/compare_first_both.md"
    text = report.read_text()
    assert near(report) in done.stdout
    for heading in ("What caused it", "Settings", "Winners", "Weights of hrp", "Walk-forward of barbell", "Events"):
        assert f"## {heading}\n" in text
        assert heading.upper() in done.stdout
    assert "| selection.top_n |" in text
    row = next(line for line in done.stdout.splitlines() if line.startswith("selection.top_n"))
    assert row.split() == ["selection.top_n", "15", "1"]


def test_tables_are_aligned(home):
    lines = assay("compare", "first", "both", "--home", home).stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("coin "))
    table = lines[start : lines.index("", start)]
    assert len(table) > 5
    ends = {len(line) for line in table}
    assert len(ends) == 1


def test_bad_names(home):
    assert assay("compare", "first", "first", "--home", home).exit_code == Exit.USAGE
    assert assay("compare", "first", "absent", "--home", home).exit_code == Exit.USAGE


def test_turnover_by_hand():
    assert turnover({}, {}) == 0.0
    assert turnover({"X": 0.6, "Y": 0.4}, {"X": 0.6, "Y": 0.4}) == 0.0
    assert turnover({"X": 1.0}, {"Y": 1.0}) == 1.0
    assert turnover({"X": 0.5}, {"X": -0.5}) == 0.5
    assert turnover({"X": 0.25}, {}) == 0.125


def test_paths_name_runs_too(home):
    done = assay("compare", home / "runs/first", Path(home / "runs/settings"), "--home", home, "--json")
    assert done.exit_code == Exit.OK
    assert json.loads(done.stdout)["b"] == "settings"
