"""``assay audit``: one verdict over everything, of which no forger who has the whole home gets the word SOUND."""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from forgeries import FORGERIES, Forger, document, ledger, random_change, replays_kept
from loops import often
from signed_runs import LONG, META, SHORT, Signed, change_json
from typer.testing import CliRunner

from assay.backtest.trials import tally
from assay.cli import app
from assay.prove import audit as audits
from assay.prove.audit import SOUND, Auditor
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run

FORMER = Path(__file__).resolve().parents[1] / "audit" / "runs_of_format_1.zip"


JUDGED = ("the report's words", "the page's words", "the index", "one trial, certain")
"""Forgeries of what the last two steps write: doing these again would undo them."""


def assay(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_portfolio_and_its_sleeves_are_sound(signed: Signed) -> None:
    done = assay("audit", f"latest:{META}", "--home", signed.home)
    assert done.exit_code == 0, done.output
    for run in signed.runs.values():
        assert f"{run.name}: SOUND" in done.stdout
    [told] = json.loads(assay("audit", signed.runs[META].name, "--home", signed.home, "--json").stdout)
    assert (told["verdict"], told["sound"], told["error"]) == (SOUND, True, None)
    for one in (told, *told["sleeves"]):
        assert all(check["state"] == "ok" and check["checked"] > 0 for check in one["checks"])
    assert json.loads((signed.home / "reports/audit" / f"{signed.runs[META].name}.json").read_text())["sound"]


def test_a_run_that_denies_its_flow_has_fewer_trials_and_is_not_sound(tmp_path: Path) -> None:
    quick = ("--set", "walk_forward.days=60")
    assert assay("flow", "binance-spot-rating-all-ls", "--home", tmp_path, *quick).exit_code == 0
    home = Home(tmp_path)
    first = min(home.run_ids())
    run = home.run(first)
    assert Auditor(home).audit(run).verdict == SOUND

    def alone(line: dict[str, Any]) -> None:
        if line["kind"] == "event" and line["body"]["code"] == layout.TRIED:
            line["body"]["values"] = tally(home.registry, Run(run))

    def change(folder: Path) -> None:
        document(layout.MANIFEST, lambda value: value.update(flow=[first]))(folder)
        ledger(alone)(folder)

    before = json.loads((run / layout.TRIALS).read_text())["trials"]
    with replays_kept():
        forged = Forger(tmp_path, run).forge("alone", change, redo=True)
        stranger = Forger(tmp_path, run).forge(
            "a stranger", document(layout.MANIFEST, lambda value: value["flow"].append("nobody")), redo=True
        )
    assert before == 2
    assert forged.audit.verdict == stranger.audit.verdict == "AUDIT_TRIALS", forged.audit


def test_a_run_in_cash_has_no_weight_to_prove(tmp_path: Path) -> None:
    quick = ("walk_forward.days=60", "costs.fee=0.9")  # every candidate is vetoed for its friction
    settings = [part for one in quick for part in ("--set", one)]
    assert assay("run", SHORT, "--home", tmp_path, "--run-id", "aside", *settings).exit_code == 0
    done = assay("audit", "aside", "--home", tmp_path)
    assert "aside: SOUND" in done.stdout, done.output


@pytest.fixture(scope="module")
def forger(signed: Signed, tmp_path_factory: pytest.TempPathFactory) -> Forger:
    twin = signed.copy(tmp_path_factory.mktemp("forged") / "home")
    with replays_kept():
        yield Forger(twin.home, twin.runs[LONG])


def test_what_the_forger_left_alone_is_sound(forger: Forger) -> None:
    audit = forger.forge("nothing", lambda _: None, redo=True).audit
    assert audit.verdict == SOUND, audit


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_that_was_sealed_anew_is_not_sound(forger: Forger, name: str) -> None:
    forged = forger.forge(name, FORGERIES[name], redo=name not in JUDGED)
    assert forged.audit.verdict != SOUND
    assert forged.audit.error["hint"]
    assert forged.audit.error["where"]
    assert forged.audit.exit_code in (1, 3)


@pytest.mark.parametrize("check", ["walk_forward", "weights", "steps"])
def test_the_dear_checks_find_by_themselves(forger: Forger, monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    """Whatever comes before them, each finds what it is there for."""
    monkeypatch.setattr(audits, "CHECKS", {check: audits.CHECKS[check]})
    wanted = {
        "walk_forward": ("NAV x 3", "0.4 % a day", "Sharpe 9.9", "a trade less", "cheaper trades"),
        "weights": ("weights of atoms and coins moved", "a lower alpha", "another regime"),
        "steps": ("a gate that checked more", "the report's words", "one trial, certain", "a better year"),
    }
    for name in wanted[check]:
        # Where the report was made anew of the forged ledger, only the ledger itself tells.
        forged = forger.forge(name, FORGERIES[name], redo=name == "a gate that checked more")
        assert forged.audit.verdict == {"walk_forward": "AUDIT_FIGURES", "weights": "AUDIT_PROOF"}.get(
            check, "AUDIT_REPLAY"
        ), (name, forged.audit)


def _places(value: Any, depth: int = 2) -> list[tuple[str, ...]]:
    """Keys of a document and of what is in it, so deep."""
    if depth == 0 or not isinstance(value, dict):
        return []
    return [(key, *rest) for key, below in value.items() for rest in [(), *_places(below, depth - 1)]]


def _put_null(value: Any, place: tuple[str, ...]) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = None


@pytest.mark.parametrize(
    ("check", "files"),
    [
        ("settings", (layout.MANIFEST, layout.WALK_STATISTICS)),
        ("walk_forward", (layout.WALK_STATISTICS, layout.WALK_SURVIVORSHIP)),
    ],
)
def test_a_null_where_figures_were_is_answered_with_a_verdict(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, files: tuple[str, ...]
) -> None:
    """A check by itself, whatever those before it would have said: never a fault of the program."""
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[LONG]
    monkeypatch.setattr(audits, "CHECKS", {check: audits.CHECKS[check]})
    verdicts: Counter[str] = Counter()
    for path in (run / name for name in files):
        honest = path.read_bytes()
        for place in _places(json.loads(honest)):
            change_json(path, lambda value, place=place: _put_null(value, place))
            verdicts[Auditor(Home(twin.home)).audit(run).verdict] += 1
            path.write_bytes(honest)
    assert Auditor(Home(twin.home)).audit(run).verdict == SOUND
    assert verdicts.total() > 10 > verdicts[SOUND] == 0


@pytest.mark.slow
def test_a_thousand_random_forgeries(forger: Forger) -> None:
    """Every tenth by chance alone; ``ASSAY_SEED`` says which."""
    rng = random.Random(int(os.environ.get("ASSAY_SEED", "1")))
    found: Counter[str] = Counter()
    for _ in range(often("FORGERIES")):
        what, change = random_change(rng, forger.run)
        forged = forger.forge(what, change, redo=rng.random() < 0.5)
        assert forged.good, (what, forged.audit)
        found[forged.audit.verdict] += 1
    print(found.most_common())  # noqa: T201 - a figure of the docs


def test_random_forgeries(forger: Forger) -> None:
    rng = random.Random(2)
    for _ in range(10):
        what, change = random_change(rng, forger.run)
        forged = forger.forge(what, change, redo=True)
        assert forged.good, (what, forged.audit)


def test_a_portfolio_of_a_forged_sleeve_is_not_sound(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    (twin.runs[SHORT] / layout.REPORT).write_text("sound")
    audit = Auditor(Home(twin.home)).audit(twin.runs[META])
    assert (audit.verdict, audit.exit_code) == ("FILE_CHANGED", 3)
    assert audit.error["where"].startswith(twin.runs[SHORT].name)
    assert audit.checks[-1].state == "not reached"


def test_a_portfolio_says_of_its_sleeves_rules_what_they_say(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    change = document(layout.MANIFEST, lambda v: v.update(weakened=["x: y"], weakened_sleeves=["x: y"]))
    forged = Forger(twin.home, twin.runs[META]).forge("weakened sleeves", change, redo=False)
    assert forged.audit.verdict == "AUDIT_ORIGIN", forged.audit
    assert "weakened" in forged.audit.error["what"]


def test_a_run_of_the_first_version_is_of_an_older_format(tmp_path: Path) -> None:
    with zipfile.ZipFile(FORMER) as archive:
        archive.extractall(tmp_path / "runs")
    done = assay("audit", "former", "--home", tmp_path)
    assert done.exit_code == 1
    assert "former: OLDER_FORMAT" in done.stdout
    assert "assay-portfolio 0.1.0 of commit 883582d can judge it" in done.stdout


def test_a_lake_whose_bytes_are_others_is_named_before_anything_is_done_again(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    path = next(iter(sorted(twin.home.glob("lake/*/bars/**/*.parquet"))))
    bars = pl.read_parquet(path, hive_partitioning=False)
    bars.with_columns(pl.col("volume") * 2.0).write_parquet(path)
    audit = Auditor(Home(twin.home)).audit(twin.runs[LONG])
    assert (audit.verdict, audit.exit_code) == ("LAKE_CHANGED", 3)
    assert [check.name for check in audit.checks if check.state == "FAIL"] == ["lake"]


def test_an_unsealed_run_is_not_sound(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    ledger = twin.runs[LONG] / layout.LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    done = assay("audit", twin.runs[LONG].name, "--home", twin.home)
    assert done.exit_code == 3
    assert "SOUND" not in done.stdout


def test_runs_are_named_by_beginnings_and_latest(tmp_path: Path, signed: Signed) -> None:
    home = Home(signed.home)
    assert home.run("latest") == signed.runs[META]
    assert home.run(f"latest:{SHORT}") == signed.runs[SHORT]
    assert home.run(signed.runs[SHORT].name[:-3]) == signed.runs[SHORT]
    assert sorted(home.sealed()) == sorted(run.name for run in signed.runs.values())
    for name, says in (("binance_spot", "2 runs begin with"), ("latest:nobody", "no run"), ("", "no run")):
        done = assay("audit", name, "--home", signed.home)
        assert done.exit_code == 2
        assert says in done.stderr
    assert assay("audit", "--all", "--home", tmp_path).exit_code == 2
    assert assay("audit", "x", "--all", "--home", tmp_path).exit_code == 2
    shutil.rmtree(tmp_path, ignore_errors=True)
