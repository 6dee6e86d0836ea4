"""What the commands of live data show: ratings from the lake, progress on terminals, never a password."""

import io
import json
import sys
import time

import pytest
from exchange_world import Pair
from live_world import LocalExchange, command, small, sync
from typer.testing import CliRunner

from assay.base.errors import Exit, UsageError
from assay.cli import app, output
from assay.ratings import explain
from assay.sources import open_source

BTC = "BINANCE:BTCUSDT"
NOWHERE = "http://127.0.0.1:9"
SECRET = "swordfish"


def ratings(home, *arguments):
    asked = ["ratings", BTC, "--source", "binance", "--home", str(home), *arguments]
    return CliRunner().invoke(app, asked, env={"ASSAY_BINANCE_URL": NOWHERE, "ASSAY_LIVE__ATTEMPTS": "1"})


def test_ratings_of_a_live_source_are_those_of_the_lake_and_need_no_network(tmp_path):
    empty = ratings(tmp_path)
    assert (empty.exit_code, "assay ingest --source binance" in empty.output) == (Exit.FAILED, True)
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
        asked = len(exchange.log)
        done = ratings(tmp_path, "--json")
        assert len(exchange.log) == asked
    told = json.loads(done.stdout)
    assert (told["symbol"], told["bar_open"]) == (BTC, "2024-01-10T00:00:00Z")
    row = lake.latest().ratings(symbols=[BTC]).row(-1, named=True)
    assert told["ratings"] == {name: row[f"recommend_{name}"] for name in ("all", "ma", "other")}
    bars = lake.latest().bars(symbols=[BTC])
    early = json.loads(ratings(tmp_path, "--as-of", "2023-12-31", "--json").stdout)
    assert early == json.loads(json.dumps(explain(bars, "1d", bars["open_time"][365]).as_dict()))
    assert ratings(tmp_path, "--interval", "1h").exit_code == Exit.USAGE


class Terminal(io.StringIO):
    """A standard error that is a terminal, or not."""

    def __init__(self, is_one):
        super().__init__()
        self.is_one = is_one

    def isatty(self):
        return self.is_one


def show(monkeypatch, *, terminal, as_json):
    shown = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with output.telling(as_json) as tell:
        tell("read", 0, 0)
        for done in range(4):
            tell("fetch", done, 3)
        tell("write", 0, 1200)
        tell("write", 1200, 1200)
    return shown.getvalue()


PLAIN = "foundation: read\nfoundation: fetch, 3\nfoundation: write, 1,200 bars\n"


@pytest.mark.parametrize(("terminal", "as_json"), [(False, False), (False, True), (True, True)])
def test_progress_is_plain_lines_away_from_a_terminal_and_beside_json(monkeypatch, terminal, as_json):
    assert show(monkeypatch, terminal=terminal, as_json=as_json) == PLAIN


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    shown = Terminal(True)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    limit = time.monotonic() + 30
    with output.telling(False) as tell:
        tell("read", 0, 0)
        tell("fetch", 1, 3)
        while "1/3" not in shown.getvalue() and time.monotonic() < limit:
            time.sleep(0.02)
        tell("fetch", 3, 3)
        tell("write", 0, 1200)
    assert "1/3" in shown.getvalue()
    assert "foundation: write, 1,200 bars" in shown.getvalue()
    assert "foundation: fetch, 3" not in shown.getvalue()


@pytest.mark.parametrize(
    "text",
    [f"https://me:{SECRET}@host/bars", f"me:{SECRET}@host", f"parquet:https://me:{SECRET}@host/bars.parquet"],
)
def test_a_source_with_a_password_is_refused_without_it(text, tmp_path):
    done = CliRunner().invoke(app, ["ingest", "--source", text, "--json", "--home", str(tmp_path)])
    assert done.exit_code in (Exit.USAGE, Exit.SOURCE)
    assert "***@host" in done.output
    assert SECRET not in done.output


def test_an_address_with_a_password_is_used_and_never_shown(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.url = exchange.url.replace("http://", f"http://me:{SECRET}@")
        code, told = command(tmp_path, exchange)
        assert (code, SECRET in json.dumps(told)) == (0, False)
        assert exchange.log[0].headers["authorization"].startswith("Basic ")
    code, told = command(tmp_path, exchange, attempts=1)  # nobody listens any more, and ccxt names the address
    assert (code, told["error"]["code"]) == (4, "SOURCE_UNREACHABLE")
    assert "***@127.0.0.1" in told["error"]["what"]
    assert SECRET not in json.dumps(told)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)


def test_settings_that_are_wrong_do_not_show_a_password(monkeypatch):
    monkeypatch.setenv("ASSAY_BINANCE_URL", f"http://me:{SECRET}@mirror.example")
    monkeypatch.setenv("ASSAY_LIVE__ATTEMPTS", f"http://me:{SECRET}@x")
    with pytest.raises(UsageError) as caught:
        open_source("binance")
    assert SECRET not in str(caught.value)
    monkeypatch.delenv("ASSAY_LIVE__ATTEMPTS")
    assert SECRET not in repr(open_source("binance"))


def asked_for(exchange):
    """Names of the pairs whose bars were asked for, from the exchange or its archive."""
    klines = {request.query["symbol"] for request in exchange.requests("/api/v3/klines")}
    files = {request.path.split("/")[5] for request in exchange.requests("/data/spot")}
    return klines | files


@pytest.mark.parametrize("source", ["binance", "archive", "ccxt:binanceus"])
def test_the_pairs_of_the_configured_universe_are_loaded(tmp_path, monkeypatch, source):
    (tmp_path / "assay.toml").write_text('[defaults.universe]\nquotes = ["EUR"]\n')
    monkeypatch.chdir(tmp_path)
    world = small("2023-03-01", ("BTCUSDT", "SOLUSDT"))
    world.add(Pair("SOL", "EUR"), like="SOLUSDT", since="2023-02-01")
    with LocalExchange(world) as exchange:
        for name in ("BINANCE_URL", "BINANCE_ARCHIVE_URL", "BINANCEUS_URL"):
            monkeypatch.setenv(f"ASSAY_{name}", exchange.url)
        done = CliRunner().invoke(app, ["ingest", "--source", source, "--json", "--home", str(tmp_path / "home")])
        assert done.exit_code == 0, done.output
        assert asked_for(exchange) == {"SOLEUR"}
        exchange.forget()
        again = ["ingest", "--source", source, "--json", "--home", str(tmp_path / "home")]
        world.next_day()
        done = CliRunner().invoke(app, [*again, "--set", 'universe.quotes=["USDT"]'])
        assert done.exit_code == 0, done.output
        assert {"BTCUSDT", "SOLUSDT"} <= asked_for(exchange)
