"""Real runs on the embedded sample, made once for all tests of a worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.cli import app
from assay.selftest.sandbox import AS_OF, LONG, SHORT, Sandbox, mutated

MA_LONG = "binance_spot_rating_ma_long"

__all__ = ["AS_OF", "LONG", "SHORT", "Sandbox", "mutated"]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory) -> Sandbox:
    return Sandbox.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def finished(sandbox) -> dict[str, Path]:
    """One sealed run of each side."""
    return dict(sandbox.profiles)


@pytest.fixture
def call(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sleeves = {"trio": [LONG, MA_LONG, SHORT], "pair": [LONG, SHORT]}
    (tmp_path / "assay.toml").write_text(
        "".join(
            f"[meta.{name}]\nsleeves = {json.dumps(of)}\nmin_days = 20\ntrain = 20\n" for name, of in sleeves.items()
        )
    )

    def run(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments), "--home", str(sandbox.home.path), "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


@pytest.fixture
def order(call, sandbox, tmp_path):
    """Ask for orders of a run, by rules that any pair of it has."""
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.00000001", "maxPrice": "1000000", "tickSize": "0.00000001"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "900000000", "stepSize": "0.001"},
    ]
    market = sandbox.foundation.snapshot.market(sandbox.foundation.as_of, 30)
    pairs = [symbol.removeprefix("BINANCE:") for symbol in market.symbols]
    entries = [
        {
            "symbol": pair, "baseAsset": pair.removesuffix("USDT"), "quoteAsset": "USDT", "status": "TRADING",
            "isSpotTradingAllowed": True, "isMarginTradingAllowed": True, "filters": filters,
        }
        for pair in pairs if pair.endswith("USDT")
    ]  # fmt: skip
    (tmp_path / "info.json").write_text(json.dumps({"serverTime": 1697846400000, "symbols": entries}))
    (tmp_path / "cash.csv").write_text("symbol,quantity\n")

    def ask(folder, *more):
        given = ("--nav", "10000", "--holdings", "cash.csv", "--instruments", "info.json")
        return call("orders", folder.name, *given, *more)

    return ask
