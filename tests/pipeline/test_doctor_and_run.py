"""The doctor is never HEALTHY over what a run then trips on, and names the same cause."""

import datetime as dt
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.base.domain import EARLIEST
from assay.cli import app
from assay.lake import delta
from assay.lake.lake import Lake, TableChange
from assay.lake.storage import HEADS
from assay.market.schema import INSTRUMENTS
from assay.runs.run import STAND_ASIDE, Run
from assay.sources.files import SAMPLE

from .conftest import LONG

BENCHMARK = "BINANCE:BTCUSDT"
COINS = 24


def sample():
    """Bars of the benchmark and of the coins that trade most in the sample, by the columns of a file."""
    bars = pl.read_parquet(SAMPLE)
    whole = (
        bars.group_by("symbol")
        .agg((pl.col("close") * pl.col("volume")).sum().alias("value"), pl.len())
        .filter(pl.col("len") == 386)
    )
    names = whole.sort("value", descending=True)["symbol"].head(COINS).to_list()
    return bars.filter(pl.col("symbol").is_in([BENCHMARK, *names]))


ASIDE = frozenset({"no coin has rules", "every coin but the benchmark is stale"})
"""After which nobody can be wanted: a run stands aside, and the doctor says that every run would."""


class Place:
    """A home, the file that it is filled from, and a folder in which commands are typed."""

    def __init__(self, folder):
        self.folder = folder
        self.home, self.file = folder / "home", folder / "bars.parquet"

    @property
    def source(self):
        return f"parquet:{self.file}"

    @property
    def lake(self):
        return Lake(self.home, self.source)

    def assay(self, *arguments):
        done = CliRunner().invoke(app, [*arguments, "--home", str(self.home), "--json"])
        return done.exit_code, json.loads(done.stdout)

    def doctor(self):
        code, told = self.assay("doctor")
        return code, told["verdict"], {one["code"] for one in told["findings"] if one["severity"] != "NOTE"}

    def run(self):
        """Return the exit code, and why the run ended or, where it went on, stood aside."""
        code, told = self.assay("run", LONG, "--source", self.source)
        error = told["error"] if "error" in told else told["runs"][0]["error"]
        if error is not None:
            return code, error["code"]
        events = [entry.body for entry in Run(self.home / "runs" / told["runs"][0]["run_id"]).current]
        return code, next((one["values"]["reason"] for one in events if one.get("code") == STAND_ASIDE), None)

    def parquet(self, table):
        return Path(delta.content(self.lake.storage.table(table), self.lake.latest().versions[table]).files[0])

    def superset(self):
        [path] = self.lake.folder.glob("superset/*/portfolio_candidates.json")
        return path


@pytest.fixture(scope="module")
def bars():
    return sample()


@pytest.fixture(scope="module")
def sound(tmp_path_factory, bars):
    """A home of which a run is made, and which the doctor calls healthy before and after."""
    place = Place(tmp_path_factory.mktemp("sound"))
    bars.write_parquet(place.file)
    assert place.assay("ingest", "--source", place.source)[0] == 0
    assert place.doctor() == (0, "HEALTHY", set())
    assert place.run() == (0, None)
    assert place.doctor() == (0, "HEALTHY", set())
    return place


@pytest.fixture
def place(sound, monkeypatch):
    """That home, to be damaged, and made whole again."""
    kept = sound.folder.with_name("kept")
    shutil.copytree(sound.folder, kept)
    monkeypatch.chdir(sound.folder)
    yield sound
    shutil.rmtree(sound.folder)
    kept.rename(sound.folder)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip(path):
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 64):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def edit_superset(place):
    told = json.loads(place.superset().read_text())
    told["candidates"] = told["candidates"][1:]
    place.superset().write_text(json.dumps(told))


def no_coin_has_rules(place):
    """An instruments table that has the benchmark alone: every other coin is ABSENT."""
    row = {"symbol": BENCHMARK, "base": "BTC", "quote": "USDT", "status": "TRADING", "valid_from": EARLIEST}
    rows = pl.DataFrame([row], schema_overrides=INSTRUMENTS)
    missing = [pl.lit(None).cast(kind).alias(name) for name, kind in INSTRUMENTS.items() if name not in rows.columns]
    place.lake.commit([TableChange("instruments", rows.with_columns(missing), replace=True)])


def stand_in(path):
    """Put a file where a folder should be."""
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("")


LAKES = {
    "a file of bars is missing": (lambda p: p.parquet("bars").unlink(), "TABLE_DAMAGED"),
    "a file of ratings is missing": (lambda p: p.parquet("ratings").unlink(), "TABLE_DAMAGED"),
    "a file of bars is cut": (lambda p: cut(p.parquet("bars"), 0.5), "TABLE_DAMAGED"),
    "a file of ratings is empty": (lambda p: cut(p.parquet("ratings"), 0.0), "TABLE_DAMAGED"),
    "bytes of bars are others": (lambda p: flip(p.parquet("bars")), "LAKE_CHANGED"),
    "bytes of ratings are others": (lambda p: flip(p.parquet("ratings")), "LAKE_CHANGED"),
    "the log of a table is gone": (lambda p: shutil.rmtree(p.lake.folder / "bars" / "_delta_log"), "TABLE_BEHIND"),
    "the last head is garbage": (lambda p: (p.lake.folder / HEADS).write_bytes(b"garbage\n"), "INTEGRITY"),
    "the head is of a newer format": (lambda p: (p.lake.folder / HEADS).write_bytes(b'{"format":99}\n'), None),
    "a candidate is missing in the superset": (edit_superset, "SUPERSET_DIFFERS"),
    "the superset is garbage": (lambda p: p.superset().write_bytes(b"{"), None),
    "no coin has rules": (no_coin_has_rules, None),
    "runs is no folder": (lambda p: stand_in(p.home / "runs"), None),
    "the file is gone": (lambda p: p.file.unlink(), None),
    "the file is cut": (lambda p: cut(p.file, 0.5), None),
    "the file has other columns": (lambda p: pl.read_parquet(p.file).rename({"low": "x"}).write_parquet(p.file), None),
    "the file holds nothing": (lambda p: pl.read_parquet(p.file).head(0).write_parquet(p.file), None),
    "settings are no TOML": (lambda p: (p.folder / "assay.toml").write_text("caps = ["), None),
    "a setting is unknown": (lambda p: (p.folder / "assay.toml").write_text("[defaults]\ncap.atom = 1\n"), None),
    "a scanner is unknown": (
        lambda p: (p.folder / "assay.toml").write_text(f'[profiles.{LONG}]\nscanners = ["nobody"]\n'), None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAKES)
def test_a_damaged_home_is_named_before_a_run_trips_on_it(place, name):
    damage, alias = LAKES[name]
    damage(place)
    code, verdict, found = place.doctor()
    ended, cause = place.run()
    assert cause is not None, "this damage neither ends nor empties a run: it tries nothing"
    assert (ended == 0) == (name in ASIDE)
    assert (code != 0, verdict != "HEALTHY") == (True, True)
    assert (alias or cause) in found, (cause, found)


def last(bars, days=1):
    newest = bars["timestamp"].max()
    return pl.col("timestamp") > newest - dt.timedelta(days=days)


ODD = {
    "the benchmark is missing": lambda b: b.filter(pl.col("symbol") != BENCHMARK),
    "the benchmark ends early": lambda b: b.filter(~((pl.col("symbol") == BENCHMARK) & last(b, 5))),
    "the benchmark's last row is refused": lambda b: b.with_columns(
        low=pl.when((pl.col("symbol") == BENCHMARK) & last(b)).then(-1.0).otherwise("low")
    ),
    "every coin but the benchmark is stale": lambda b: b.filter(~((pl.col("symbol") != BENCHMARK) & last(b))),
    "there are too few days": lambda b: b.filter(last(b, 100)),
    "there are too few days for a walk-forward": lambda b: b.filter(last(b, 253)),
    "nothing is traded": lambda b: b.with_columns(volume=pl.lit(0.0)),
    "the symbols name no exchange": lambda b: b.with_columns(pl.col("symbol").str.strip_prefix("BINANCE:")),
    "the symbols are of another exchange": lambda b: b.with_columns(pl.col("symbol").str.replace("BINANCE", "OKX")),
    "one row is a year ahead": lambda b: pl.concat(
        [b, b.filter(last(b)).head(1).with_columns(pl.col("timestamp") + dt.timedelta(days=366))]
    ),
    "the market's last days are missing": lambda b: b.filter(
        ~last(b, 12) | last(b, 1) | (pl.col("symbol") == "BINANCE:NOBODYUSDT")
    ),
    "bars are of four hours": lambda b: pl.concat(
        [b.with_columns(pl.col("timestamp") + dt.timedelta(hours=4 * i)) for i in range(6)]
    ),
}
HARMLESS = frozenset({"the symbols name no exchange", "one row is a year ahead"})
"""What ingestion makes good, so that a run goes through."""


@pytest.mark.parametrize("name", ODD)
def test_bars_that_cannot_be_run_on_are_named_before_a_run_trips_on_them(tmp_path, monkeypatch, bars, name):
    place = Place(tmp_path)
    monkeypatch.chdir(tmp_path)
    ODD[name](bars).write_parquet(place.file)
    refused, told = place.assay("ingest", "--source", place.source)
    code, verdict, found = place.doctor()
    ended, cause = place.run()
    assert (ended == 0) == (name in HARMLESS | ASIDE)
    if cause is not None:
        assert (code != 0, verdict != "HEALTHY") == (True, True), cause
        # What ingestion refuses leaves no lake that could be looked at, and says itself what is wrong.
        assert cause in found or (refused and cause == told["error"]["code"]), (cause, found)
    else:
        assert name in HARMLESS, "this neither ends nor empties a run: it tries nothing"
