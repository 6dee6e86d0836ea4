"""A book that was ruined: a verdict of its own on a run that is whole, said wherever a status stands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from assay.backtest import preservation
from assay.base.domain import DAY
from assay.gates.validation import validate
from assay.page.run_list import RunList
from assay.page.runs import run_facts
from assay.report.html import render_joint_page, render_page
from assay.runs import artifacts as layout
from assay.runs import registry
from assay.runs.home import Home, Status
from assay.runs.ledger import Ledger
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings.model import RISK_PROFILES

from .conftest import SHORT, mutated

sys.path.insert(0, str(Path(__file__).parents[1] / "foundation"))
from made_files import made

SHORT_CAPS = ("atom_short", "cluster_short", "cluster_short_turbulent", "cluster_short_crisis")
OPEN_CAPS = ("guard.enabled=false", "walk_forward.tranches=1", *(f"caps.{name}=1" for name in SHORT_CAPS))


def assay(*arguments, home, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "assay", *arguments, "--home", str(home)],
        capture_output=True, text=True, cwd=cwd, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def short(run_id, home, cwd):
    sets = [word for text in OPEN_CAPS for word in ("--set", text)]
    return assay("run", SHORT, "--source", "parquet:bars.parquet", "--run-id", run_id, *sets, home=home, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Shorts of coins that on one day are worth four times as much, and fall back the day after."""
    cwd = tmp_path_factory.mktemp("ruin")
    table = made(560)
    table.write_parquet(cwd / "bars.parquet")
    short("calm", cwd / "calm", cwd)
    days = pl.read_parquet(cwd / "calm" / "runs" / "calm" / layout.WALK_RETURNS)
    held = days.group_by("date").agg((pl.col("gross") > 0.5).all()).filter("gross")["date"].sort()
    day = held[len(held) // 2]
    up = (pl.col("symbol") != "BINANCE:BTCUSDT") & (pl.col("timestamp").dt.date() == day)
    risen = [pl.when(up).then(4.0 * pl.col(name)).otherwise(name).alias(name) for name in ("high", "close")]
    table.with_columns(risen).write_parquet(cwd / "bars.parquet")
    return cwd / "home", cwd, day, short("lost", cwd / "home", cwd)


def test_a_short_that_multiplies_ends_in_a_verdict_and_not_in_a_failure(place):
    home, _, day, said = place
    assert "VALID, RUIN, weakened: " in said  # and the exit code was 0
    run = Run(home / "runs" / "lost")
    told = run[layout.PRESERVATION].ruin
    assert told.keys() == set(RISK_PROFILES)
    for name, one in told.items():
        navs = run[layout.WALK_RETURNS].filter(risk_profile=name).sort("date")["nav"].to_list()
        closed = run[layout.WALK_TRADES].filter(risk_profile=name, reason="liquidation")["date"].to_list()
        assert (one.ruined, one.cause, one.date) == (True, "liquidated", str(day)), name
        assert set(closed) == {day}
        assert one.lowest_nav == min(navs)
        assert one.worst_level <= one.lowest_level < 1.1
        assert navs[-1] == pytest.approx(min(navs))  # final: the coins fell back, it did not rise
    assert verify(run.folder, registry=Home(home).registry).ok
    assert validate(run).ok


def test_it_reads_so_wherever_a_status_stands(place):
    home, cwd, day, _ = place
    folder = home / "runs" / "lost"
    assert "VALID, RUIN, weakened: " in assay("status", home=home, cwd=cwd)
    [told] = json.loads(assay("status", "--json", home=home, cwd=cwd))
    assert (told["state"], told["ruin"]) == ("VALID", "RUIN")
    text = (folder / layout.REPORT).read_text()
    assert "**Verdict: VALID, RUIN, weakened: " in text
    assert "**Strongest warning: RUIN.** 5 of 5 books ruined: " in text
    assert f"liquidated on {day}" in text
    assert "WALK_FORWARD_LOSS" in text
    assert "became: " in text
    assert "VALID, RUIN, weakened: " in render_page(folder)
    assert "RUIN" in render_joint_page([folder])
    rows = RunList(Home(home))
    rows.refresh()
    row = rows.row("lost")
    assert row is not None
    assert row.verdict.startswith("VALID, RUIN, weakened: ")
    assert run_facts(folder, row)["verdict"]["said"].startswith("VALID, RUIN, weakened: ")
    assert {"kind": "gate", "name": "ruin", "said": "RUIN"}.items() <= next(
        check for check in run_facts(folder, row)["checks"] if check["name"] == "ruin"
    ).items()
    [entered] = registry.entries(Home(home).registry)
    assert entered.verdict == "VALID, RUIN"
    shutil.copytree(folder, home / "runs" / "again", dirs_exist_ok=True)
    again = assay("compare", "lost", str(home / "runs" / "again"), home=home, cwd=cwd)
    shutil.rmtree(home / "runs" / "again")
    assert "lost: VALID, RUIN" in again
    assert "SOUND" in assay("audit", "lost", home=home, cwd=cwd)
    assert "EQUAL" in assay("replay", "lost", home=home, cwd=cwd)


def test_what_nothing_protects_cannot_hide_it(place, tmp_path):
    home, _, _, _ = place
    copy = shutil.copytree(home / "runs" / "lost", tmp_path / "lost")
    body = json.loads((copy / layout.STATUS).read_text())
    assert "ruin" not in body
    for lie in ({"ruin": ""}, {"ruin": ["no"]}, {"state": "RUNNING"}):
        (copy / layout.STATUS).write_text(json.dumps(body | lie))
        assert Status.shown(copy).verdict.startswith("VALID, RUIN, weakened: ")


# --- every clause, by the tables of the walk-forward ------------------------------------------------------------------


def fallen(name, nav):
    """Let one book be worth so much at one close, as if it had come back by the last one."""

    def mutate(run):
        one = (pl.col("risk_profile") == name) & (pl.col("date") == pl.col("date").max() - DAY)
        return {layout.WALK_RETURNS: run[layout.WALK_RETURNS].with_columns(nav=pl.when(one).then(nav).otherwise("nav"))}

    return mutate


def sold(name):
    """Let the last trade of one book be that of an account which its margin closed, whatever is left of it."""

    def mutate(run):
        trades = run[layout.WALK_TRADES].sort("risk_profile", "date")
        last = pl.int_range(pl.len()) == trades["risk_profile"].to_list().index(name)
        reason = pl.when(last).then(pl.lit("liquidation")).otherwise("reason")
        books = run[layout.HOLDINGS]
        empty = {"assets": [], "gross": 0.0, "net": 0.0, "cash": 1.0, "liquidated": True}
        book = books.profiles[name].model_copy(update=empty)
        return {
            layout.WALK_TRADES: trades.with_columns(reason=reason),
            layout.HOLDINGS: books.model_copy(update={"profiles": books.profiles | {name: book}}),
        }

    return mutate


CLAUSES = {
    "below a quarter at one close": (fallen("hrp", 0.24999), "VALID, RUIN", "hrp", "below_quarter"),
    "worth nothing": (fallen("hrp", 0.0), "VALID, RUIN", "hrp", "below_quarter"),
    "in debt": (fallen("hrp", -0.5), "VALID, RUIN", "hrp", "below_quarter"),
    "a quarter is none": (fallen("hrp", 0.25), "VALID", "hrp", "none"),
    "liquidated with something left": (sold("hrp"), "VALID, RUIN", "hrp", "liquidated"),
    "another risk profile": (fallen("max_sharpe", 0.1), "VALID, RUIN of max_sharpe", "max_sharpe", "below_quarter"),
    "another, liquidated": (sold("barbell"), "VALID, RUIN of barbell", "barbell", "liquidated"),
}


@pytest.mark.parametrize("case", CLAUSES)
def test_every_clause_is_judged_by_days_and_trades(sandbox, case):
    mutation, verdict, name, cause = CLAUSES[case]
    folder, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", mutation))
    assert (outcome.state, outcome.exit_code, outcome.verdict) == ("VALID", 0, verdict)
    assert Status.shown(folder).verdict == verdict
    assert Run(folder)[layout.PRESERVATION].ruin[name].cause == cause
    assert f"**Verdict: {verdict}.**" in (folder / layout.REPORT).read_text()


def test_the_headline_of_the_profile_is_the_one_that_counts(sandbox):
    steps = mutated("walk_forward", fallen("max_sharpe", 0.1))
    _, outcome = sandbox.run(SHORT, settings=("headline=max_sharpe",), steps=steps)
    assert outcome.verdict == "VALID, RUIN"


# --- what is said of ruin is judged again -----------------------------------------------------------------------------


def said_otherwise(**values):
    def mutate(run):
        document = run[layout.PRESERVATION]
        one = document.ruin["hrp"].model_copy(update=values)
        return {layout.PRESERVATION: document.model_copy(update={"ruin": document.ruin | {"hrp": one}})}

    return mutate


def said_of_nobody(run):
    return {layout.PRESERVATION: run[layout.PRESERVATION].model_copy(update={"ruin": {}})}


LIES = {
    "not ruined": said_otherwise(ruined=False, cause="none", date=None),
    "another cause": said_otherwise(cause="liquidated"),
    "another day": said_otherwise(date="2023-09-12"),
    "a kinder low": said_otherwise(lowest_nav=0.9),
    "a kinder level": said_otherwise(lowest_level=99.0),
    "a kinder worst": said_otherwise(worst_level=99.0),
    "nothing": said_of_nobody,
}


def poor(run):
    """Let every book be worth little until the last day, whose NAV the book of today repeats."""
    last = pl.col("date") == pl.col("date").max()
    nav = pl.when(last).then("nav").otherwise(pl.col("nav") * 0.2)
    return {layout.WALK_RETURNS: run[layout.WALK_RETURNS].with_columns(nav=nav)}


@pytest.mark.parametrize("lie", LIES)
def test_a_document_that_is_not_what_the_tables_say_is_refused(sandbox, lie):
    both = zip(mutated("walk_forward", poor), mutated("capital_preservation", LIES[lie]), strict=True)
    steps = tuple(one if one.name == "walk_forward" else other for one, other in both)
    folder, outcome = sandbox.run(SHORT, steps=steps)
    assert outcome.error["code"] == "ATOMIC_RUIN"
    assert not (folder / layout.REPORT).exists()


@pytest.mark.parametrize(
    ("clause", "wrong", "mutation"),
    [("QUARTER", 0.1, poor), ("LIQUIDATION", "rebalance", poor), ("LIQUIDATION", "nothing", sold("hrp"))],
)
def test_a_step_that_judges_by_another_clause_is_refused(sandbox, monkeypatch, clause, wrong, mutation):
    monkeypatch.setattr(preservation, clause, wrong)
    _, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", mutation))
    assert outcome.error["code"] == "ATOMIC_RUIN"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"ok": True}, "ATOMIC_RUIN"),
        ({"violations": ["hrp"]}, "ATOMIC_RUIN"),
        ({"checked": 0}, "ATOMIC_LEDGER_BROKEN"),
        (None, "ATOMIC_LEDGER_BROKEN"),
    ],
)
def test_a_gate_that_does_not_say_it_is_refused(sandbox, monkeypatch, told, code):
    honest = Ledger.gate

    def gate(self, step, name, **said):
        if name != "ruin":
            return honest(self, step, name, **said)
        return self.head if told is None else honest(self, step, name, **(said | told))

    monkeypatch.setattr(Ledger, "gate", gate)
    _, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", poor))
    assert outcome.error["code"] == code


@pytest.mark.parametrize("name", ["causality", "capital_preservation"])
def test_no_other_gate_may_refuse_and_go_on(sandbox, monkeypatch, name):
    honest = Ledger.gate

    def gate(self, step, gate, **said):
        return honest(self, step, gate, **(said | {"ok": said["ok"] and gate != name}))

    monkeypatch.setattr(Ledger, "gate", gate)
    _, outcome = sandbox.run(SHORT)
    assert outcome.error["code"] == "ATOMIC_LEDGER_BROKEN"
