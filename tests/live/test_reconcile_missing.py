"""Every candidate without bars or ratings is named with its cause, in the exchange's words where it has any."""

import datetime as dt

import polars as pl
from foundation_markets import NAN, market

from assay.base.domain import UTC
from assay.market.health import missing_audit
from assay.market.schema import INSTRUMENTS
from assay.runs.documents import Candidate, MergedQuote

BTC = "BINANCE:BTCUSDT"
EARLY = dt.datetime(2009, 1, 1, tzinfo=UTC)


def candidate(symbol):
    return Candidate(
        symbol=symbol,
        logic="rating_all",
        direction="LONG",
        scan_direction="LONG",
        scanners=["s"],
        rank=1,
        fields={},
    )


def with_instruments(made, **statuses):
    rows = [
        {"symbol": f"BINANCE:{name}", "base": name[:-4], "quote": "USDT", "status": status, "valid_from": EARLY}
        for name, status in statuses.items()
    ]
    object.__setattr__(made, "instruments", pl.DataFrame(rows, schema=INSTRUMENTS))
    return made


def test_causes():
    days = 30
    closes = {
        BTC: [1.0 + i for i in range(days)],
        "BINANCE:ETHUSDT": [2.0 + i for i in range(days)],
        "BINANCE:GONEUSDT": [*(3.0 + i for i in range(20)), *[NAN] * 10],
        "BINANCE:HALTUSDT": [*(3.0 + i for i in range(29)), NAN],
        "BINANCE:NEWUSDT": [*[NAN] * 25, *(4.0 + i for i in range(5))],
    }
    unrated = {name: [NAN] * days for name in ("BINANCE:GONEUSDT", "BINANCE:HALTUSDT", "BINANCE:NEWUSDT")}
    made = with_instruments(
        market(closes, recommend_all=unrated), BTCUSDT="TRADING", GONEUSDT="BREAK", HALTUSDT="TRADING", LOSTUSDT="BREAK"
    )
    merged = [MergedQuote(symbol="BINANCE:ETHUSD", into="BINANCE:ETHUSDT", scanner="s", reason="r")]
    asked = ["BTCUSDT", "BTCUSD", "EURUSDT", "GONEUSDT", "HALTUSDT", "LOSTUSDT", "NEWUSDT", "GHOSTUSDT"]
    found = missing_audit(made, [candidate(f"BINANCE:{name}") for name in asked], merged)
    assert {drop.name.removeprefix("BINANCE:"): drop.reason for drop in found} == {
        "BTCUSD": "NO_SUCH_PAIR",
        "ETHUSD": "MERGED",
        "EURUSDT": "EXCLUDED",
        "GHOSTUSDT": "NO_SUCH_PAIR",
        "GONEUSDT": "DELISTED",
        "HALTUSDT": "NO_BAR_AT_DECISION",
        "LOSTUSDT": "DELISTED",
        "NEWUSDT": "TOO_YOUNG",
    }
    told = {drop.name.removeprefix("BINANCE:"): drop.detail for drop in found}
    assert told["GONEUSDT"] == "the last bar is of 2023-01-20, not of 2023-01-30; the exchange says BREAK"
    assert told["BTCUSD"].endswith("it has BINANCE:BTCUSDT")
    assert "state money" in told["EURUSDT"]
    assert told["NEWUSDT"].startswith("5 traded bars of its listing")
