"""Whoever has the README only gets from files of their own to a report: its three commands, as they stand there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "foundation"))
from made_files import kline_files

from assay.report.why import why

ROOT = Path(__file__).resolve().parents[2]

COINS = (
    "BTC",
    "ETH",
    "BNB",
    "XRP",
    "SOL",
    "ADA",
    "DOGE",
    "TRX",
    "LINK",
    "DOT",
    "LTC",
    "ATOM",
    "UNI",
    "ETC",
    "XLM",
    "AVAX",
)


def commands() -> list[list[str]]:
    """Return the lines of the block of the README's section."""
    section = (ROOT / "README.md").read_text().split("## On your own data")[1].split("\n## ")[0]
    return [shlex.split(line, comments=True) for line in section.split("```")[1].strip().splitlines()]


def test_three_commands_make_a_report_of_the_archive_s_files(tmp_path):
    install, *typed = commands()
    assert install == ["make", ".venv/ready"]  # this environment is that one
    assert "\n.venv/ready:" in (ROOT / "Makefile").read_text()
    assert len(typed) == 2
    bars = pl.read_parquet(next(resources.files("assay.sources").joinpath("sample").glob("*.parquet")))
    if "quote_volume" not in bars.columns:
        bars = bars.with_columns(quote_volume=pl.col("close") * pl.col("volume"))
    wanted = [f"BINANCE:{coin}USDT" for coin in COINS]
    kline_files(tmp_path / "klines", bars.filter(pl.col("symbol").is_in(wanted)), micro_from=2024)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ASSAY_")}
    for program, *arguments in typed:
        assert program == ".venv/bin/assay"
        done = subprocess.run(
            [sys.executable, "-m", "assay", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if arguments[0] == "new":  # and a coin is left out as the file says
            written = (tmp_path / "assay.toml").read_text()
            (tmp_path / "assay.toml").write_text(written.replace("# without = []", 'without = ["DOGE"]'))
    assert "VALID" in done.stdout
    [report] = (tmp_path / "assay-home" / "runs").glob("mine_*/reports/report.html")
    assert str(report.with_name("audit_report.md").relative_to(tmp_path)) in done.stdout
    assert report.stat().st_size > 50_000
    told = why(report.parents[1], "BINANCE:DOGEUSDT")
    assert told.data.scanned["mine"].said == "universe.without names it: DOGE"
