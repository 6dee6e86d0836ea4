import datetime as dt
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.base.domain import QUOTES, UTC, Atom, Instrument, format_instant, parse_as_of, symbol_fault
from assay.base.errors import UsageError


def test_every_recorded_pair_that_ends_in_a_known_quote_splits_as_the_exchange_says(shared):
    with gzip.open(shared / "binance_api" / "exchangeInfo_full.json.gz") as stream:
        info = json.load(stream)
    known = [entry for entry in info["symbols"] if entry["quoteAsset"] in QUOTES]
    assert len(known) > 2000
    wrong = []
    for entry in known:
        pair = Instrument.parse(f"BINANCE:{entry['symbol']}")
        if (pair.base, pair.quote) != (entry["baseAsset"], entry["quoteAsset"]):
            wrong.append(entry["symbol"])
    assert wrong == []


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("BINANCE:TUSDT", "T", "USDT"), ("BINANCE:TUSDUSDT", "TUSD", "USDT"), ("BINANCE:BTCFDUSD", "BTC", "FDUSD")],
)
def test_names_that_look_like_quotes_stay_whole(symbol, base, quote):
    pair = Instrument.parse(symbol)
    assert (pair.base, pair.quote, pair.symbol, pair.ccxt) == (base, quote, symbol, f"{base}/{quote}")


@pytest.mark.parametrize(
    "symbol", ["", "BTCUSDT", "BINANCE:", "BINANCE:USDT", "BINANCE:BTC/USDT", "BINANCE:B TC", "A:\x00BTCUSDT"]
)
def test_what_is_no_symbol_is_refused(symbol):
    with pytest.raises(UsageError):
        Instrument.parse(symbol)


@given(st.text())
def test_a_symbol_without_fault_can_never_leave_its_folder(text):
    if symbol_fault(text) is None:
        assert "/" not in text
        assert "\\" not in text
        assert text.strip() == text
        assert "\n" not in text


@given(st.dates(dt.date(1970, 1, 1), dt.date(2200, 1, 1)))
def test_a_bare_date_means_its_end(day):
    assert parse_as_of(day.isoformat()) == dt.datetime(day.year, day.month, day.day, tzinfo=UTC) + dt.timedelta(days=1)
    assert parse_as_of(format_instant(parse_as_of(day.isoformat()))) == parse_as_of(day.isoformat())


def test_an_offset_is_turned_to_utc():
    assert format_instant(parse_as_of("2024-03-31T02:00:00+02:00")) == "2024-03-31T00:00:00Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2024-02-30", "2024-13-01", "9999-12-31"])
def test_dates_that_are_none_are_refused(text):
    with pytest.raises(UsageError):
        parse_as_of(text)


def test_atoms_are_keyed_by_their_fields_not_by_their_text():
    assert len({Atom("BINANCE:AUSDT", "rating_all", "LONG"), Atom("BINANCE:AUSDT", "rating_all", "SHORT")}) == 2
    with pytest.raises(UsageError):
        Atom("BINANCE:AUSDT", "rating_every", "LONG")
    with pytest.raises(UsageError):
        Atom("BINANCE:AUSDT", "rating_all", "UP")
