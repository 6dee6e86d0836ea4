"""The number of workers changes nothing: not of the runs that they make, and not of the runs that they replay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from signed_runs import LONG, META, SHORT, Signed
from typer.testing import CliRunner

from assay.cli import app
from assay.pipeline.flow import lay_foundation, requests, run_all, workforce
from assay.pipeline.replay import recorded_artifacts
from assay.runs.home import Home
from assay.settings import load

SLEEVES = tuple(f"binance_spot_rating_{logic}_{side}" for logic in ("all", "ma") for side in ("long", "short"))


@pytest.mark.slow
def test_four_sleeves_by_one_two_and_four_workers_are_equal(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    foundation = lay_foundation(home, load(), "sample")
    made: dict[int, list[dict[str, str]]] = {}
    for workers in (1, 2, 4):
        wanted = requests(home, load(), foundation, SLEEVES)
        with workforce("pool", workers, home) as executor:
            outcomes = run_all(executor, wanted)
        assert [one.state for one in outcomes] == ["VALID"] * 4, outcomes
        made[workers] = [recorded_artifacts(one.run) for one in wanted]
    assert sum(map(len, made[1])) >= 4 * 20
    assert made[1] == made[2] == made[4]


def replayed(home: Path, run: Path, workers: int) -> dict[str, object]:
    done = CliRunner().invoke(app, ["replay", run.name, "--home", str(home), "--workers", str(workers), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "workers", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_a_run_is_equal_in_each_of_several_processes(signed: Signed, workers: int) -> None:
    told = replayed(signed.home, signed.runs[LONG], workers)
    assert told["verdict"] == "EQUAL"
    assert told["workers"] == workers
    assert told["differences"] == {}
    assert len(told["artifacts"]) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("run", [SHORT, META])
def test_short_sleeves_and_portfolios_are_equal_too(signed: Signed, run: str, workers: int) -> None:
    assert replayed(signed.home, signed.runs[run], workers)["verdict"] == "EQUAL"


def test_the_greatest_difference_is_told(signed: Signed, tmp_path: Path) -> None:
    """A weight that was changed by a quarter, and one by 1e-12, in runs that were sealed so."""
    from signed_runs import change_json, reseal

    from assay.base import files
    from assay.pipeline.replay import replay
    from assay.report.index import render_index
    from assay.runs import artifacts as layout
    from assay.runs.run import Run

    twin = signed.copy(tmp_path / "home")
    run = twin.runs[META]

    def scaled(factor: float) -> None:
        change_json(
            run / layout.META_ANALYSIS, lambda v: v["profiles"]["hrp"].update(hhi=v["profiles"]["hrp"]["hhi"] * factor)
        )
        files.write(run / layout.INDEX, render_index(Run(run, run.parent)).encode())
        reseal(twin.home, run)

    assert render_index(Run(run, run.parent)) == (run / layout.INDEX).read_text()
    scaled(1.0 + 1e-12)  # the index lists bytes of files, and a number may get another digit
    near = replay(Home(twin.home), run)
    assert near.verdict == "WITHIN 1e-9"
    assert set(near.differences) == {layout.META_ANALYSIS}
    assert 0.0 < near.differences[layout.META_ANALYSIS] < 1.1e-12
    scaled(1.0 + 1e-7)
    assert replay(Home(twin.home), run).verdict == "DIFFERENT"
    scaled(1.25 / (1.0 + 1e-7))
    far = replay(Home(twin.home), run)
    assert far.verdict == "DIFFERENT"
    assert 0.0 < far.differences[layout.META_ANALYSIS] <= 0.2 + 1e-9
