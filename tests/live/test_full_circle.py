"""The whole way over real sockets: scan, bars, audits, ratings, runs; then again without a network."""

import json
import os
import subprocess
import sys

import pytest
from local_exchange import LocalExchange
from today import world_of_today

PROFILE = "binance_spot_rating_all_long"
COINS = 40


@pytest.fixture(scope="module")
def exchange():
    with LocalExchange(world_of_today(COINS)) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("circle")


def assay(home, *arguments, url, code=0):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    environment |= {
        "ASSAY_BINANCE_URL": url,
        "ASSAY_LIVE__ATTEMPTS": "2",
        "ASSAY_LIVE__BACKOFF": "0.01",
        "ASSAY_SET__scan__screener__address": url,
        "ASSAY_SET__scan__screener__attempts": "2",
        "ASSAY_SET__scan__screener__backoff": "0.01",
        "ASSAY_SET__scan__screener__per_second": "100",
        "ASSAY_HOME": str(home),
    }
    done = subprocess.run(
        [sys.executable, "-m", "assay", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_scan_bars_run_and_again_without_a_network(exchange, home):
    told = json.loads(assay(home, "ingest", "--source", "binance", "--scan", "--json", url=exchange.url).stdout)
    assert told["symbols"] >= COINS - 5
    assert told["superset"]["invalid_records"] == []
    assert sum(told["scan"].values()) > 0
    compared = told["reconciliation"]
    assert compared["without_bar"] == []
    assert sum(entry["compared"] for entry in compared["agreement"]) > 50
    # The screener's ratings come from rules that share nothing with the package's.
    assert compared["differences"] == []

    scan = json.loads(
        assay(
            home, "scan", "--source", "binance", "--set", "scan.provider=tradingview", "--json", url=exchange.url
        ).stdout
    )
    assert (scan["provider"], scan["asked"], scan["fallback"]) == ("tradingview", "tradingview", None)
    assert scan["missing"] == []

    ratings = json.loads(assay(home, "scan", "--source", "binance", "--json", url=exchange.url).stdout)
    assert ratings["provider"] == "ratings"

    def atoms(superset):
        return [(c["symbol"], c["logic"], c["direction"]) for c in superset["candidates"]]

    assert atoms(scan) == atoms(ratings)

    command = ("run", PROFILE, "--source", "binance", "--set", "scan.provider=tradingview", "--json")
    first = json.loads(assay(home, *command, url=exchange.url).stdout)
    assert first["runs"][0]["verdict"] == "VALID"
    exchange.forget()
    again = json.loads(assay(home, *command, url="http://127.0.0.1:9").stdout)
    assert again["runs"][0]["verdict"] == "VALID"
    assert exchange.log == []
