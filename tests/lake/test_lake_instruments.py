"""What is known of a symbol at an instant, and when."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.base.domain import UTC
from assay.market.instruments import InstrumentFact, facts
from assay.market.panel import Market
from assay.market.schema import INSTRUMENTS


def at(day):
    return dt.datetime(2023, 1, day, tzinfo=UTC)


def row(symbol, since, until=None, status="TRADING", tick=0.01):
    return {
        "symbol": symbol,
        "base": "X",
        "quote": "USDT",
        "status": status,
        "tick_size": tick,
        "step_size": 0.001,
        "min_qty": 0.002,
        "min_notional": 10.0,
        "margin_allowed": True,
        "valid_from": since,
        "valid_to": until,
    }


TABLE = pl.DataFrame(
    [
        row("BINANCE:A", at(1), at(10)),
        row("BINANCE:A", at(10), tick=0.1, status="BREAK"),
        row("BINANCE:B", at(1), at(5)),
        row("BINANCE:C", at(20)),
    ],
    schema=INSTRUMENTS,
)


def market(as_of, table=TABLE):
    return Market(np.array([], dtype="datetime64[D]"), (), {}, np.zeros((0, 0), np.int32), as_of, table)


def test_without_a_table_everything_is_unknown():
    found = facts(market(at(3), None), ["BINANCE:A", "BINANCE:NONE"])
    assert found == {"BINANCE:A": InstrumentFact("UNKNOWN"), "BINANCE:NONE": InstrumentFact("UNKNOWN")}


def test_known_facts_are_those_of_the_instant():
    early, late = (facts(market(at(day)), ["BINANCE:A"])["BINANCE:A"] for day in (3, 10))
    assert early == InstrumentFact("KNOWN", 0.01, 0.001, 0.002, 10.0, True, "TRADING")
    assert late == InstrumentFact("KNOWN", 0.1, 0.001, 0.002, 10.0, True, "BREAK")


@pytest.mark.parametrize(
    ("symbol", "day", "state"),
    [
        ("BINANCE:B", 4, "KNOWN"),
        ("BINANCE:B", 5, "ABSENT"),  # the end is exclusive
        ("BINANCE:C", 19, "ABSENT"),
        ("BINANCE:C", 20, "KNOWN"),
        ("BINANCE:NONE", 20, "ABSENT"),
    ],
)
def test_a_table_without_the_symbol_at_that_instant_says_absent(symbol, day, state):
    assert facts(market(at(day)), [symbol])[symbol].state == state


def test_what_the_exchange_does_not_say_is_none():
    table = TABLE.with_columns(pl.lit(None, dtype=pl.Boolean).alias("margin_allowed"))
    assert facts(market(at(3), table), ["BINANCE:A"])["BINANCE:A"].margin_allowed is None


def test_many_symbols_are_answered_in_order():
    assert list(facts(market(at(3)), ["BINANCE:C", "BINANCE:A", "BINANCE:C"])) == ["BINANCE:C", "BINANCE:A"]


def test_an_empty_table_says_absent():
    assert facts(market(at(3), TABLE.clear()), ["BINANCE:A"])["BINANCE:A"].state == "ABSENT"
