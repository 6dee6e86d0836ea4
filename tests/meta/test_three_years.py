"""The canonical four and their portfolio over three years of recorded bars; a rule of returns refused its book once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.runs import artifacts as layout
from assay.runs.home import Status
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES

from .conftest import META


def asked(home: Path, *arguments: str) -> dict:
    command = [sys.executable, "-m", "assay", *arguments, "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home.parent, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_portfolio_of_the_four_over_three_years_is_valid(shared: Path, tmp_path: Path) -> None:
    """Two and a half minutes of one core."""
    home = tmp_path / "home"
    sets = ("walk_forward.start=2021-07-01", "limits.walk_forward=20000", "limits.step=2000")
    source = f"parquet:{shared / 'spot_daily_to_2024-06.parquet'}"
    words = [word for text in sets for word in ("--set", text)]
    flow = asked(home, "flow", "binance-spot-ratings", "--source", source, "--as-of", "2024-06-28", *words)
    assert [run["state"] for run in flow["runs"]] == ["VALID"] * 4
    sleeves = [run["run_id"] for run in flow["runs"]]
    asked(home, "meta", "run", META, *sleeves, "--run-id", "portfolio")
    folder = home / "runs" / "portfolio"
    assert Status.shown(folder).verdict == "VALID"
    run = Run(folder)
    returns = run[layout.WALK_RETURNS]
    assert set(returns["risk_profile"]) == set(RISK_PROFILES)
    for _, days in returns.group_by("risk_profile"):
        days = days.sort("date")
        assert days.height > 1_000
        np.testing.assert_allclose(days["nav"], np.cumprod(1.0 + days["ret"]), rtol=1e-9)
    sides = run[layout.WALK_WEIGHTS].group_by((pl.col("net_weight") > 0).alias("long")).len()
    assert set(sides["long"]) == {True, False}
