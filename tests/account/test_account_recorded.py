"""A year of recorded bars, lived day by day: the tranche book to the last unit, and what filters make of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from account_life import Life, adds_up, agree, live

from assay.account.difference import difference
from assay.account.orders import BAND
from assay.account.state import replay
from assay.backtest.book import BookResult, Prices, Target
from assay.backtest.decision import decider
from assay.backtest.walk_forward import HeldWalk, prices_of, walk_forward
from assay.base.domain import UTC
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.holes import MARKET
from assay.market.panel import Market
from assay.meta.alignment import SleeveRecord, align
from assay.meta.walk import Footing, account_of, walk
from assay.settings import load
from assay.settings.model import MetaProfile, Profile
from assay.sources import open_source
from assay.sources.rules import read_exchange_info

pytestmark = pytest.mark.slow
CATALOG = load()
SLEEVES = CATALOG.flow("binance-spot-ratings")
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
NAV = "100000"
NAME = "hrp"


@dataclass(frozen=True)
class Held:
    """A book and what it is made of."""

    prices: Prices
    targets: Sequence[Target]
    book: BookResult
    account: Profile
    market: Market

    def lived(self, **how) -> Life:
        return live(
            self.prices,
            self.targets,
            self.account.costs,
            n_tranches=self.account.walk_forward.parts,
            margin=self.account.margin,
            nav=NAV,
            symbols=self.market.symbols,
            days=self.market.days,
            **how,
        )


@pytest.fixture(scope="module")
def market(shared: Path, tmp_path_factory) -> Market:
    source = open_source(f"parquet:{shared / 'spot_daily_to_2024-06.parquet'}")
    lake = Lake(tmp_path_factory.mktemp("lake"), source)
    return lake.pin(ingest(lake, source, None).head).market(dt.datetime(2024, 6, 29, tzinfo=UTC), 800)


def profile_of(name: str, start: dt.date = dt.date(2023, 7, 1), **grid) -> Profile:
    profile = CATALOG.profile(name)
    return profile.model_copy(update={"walk_forward": profile.walk_forward.model_copy(update={"start": start, **grid})})


def decided(market: Market, profile: Profile) -> HeldWalk:
    return walk_forward(market, profile, decider(market, profile, CATALOG.scanners()))


def held(market: Market, profile: Profile, result: HeldWalk) -> Held:
    prices = prices_of(market, profile.costs)
    return Held(prices, result.held.targets[NAME], result.books[NAME], profile, market)


@pytest.fixture(scope="module")
def walks(market: Market) -> Mapping[str, HeldWalk]:
    return {name: decided(market, profile_of(name)) for name in SLEEVES}


@pytest.fixture(scope="module")
def books(market: Market, walks: Mapping[str, HeldWalk]) -> Mapping[str, Held]:
    """The long and the short sleeve, and the portfolio of four."""
    found = {kind: held(market, profile_of(name), walks[name]) for kind, name in (("long", LONG), ("short", SHORT))}
    profile = MetaProfile(name="four", sleeves=SLEEVES)
    footing = Footing(market, account_of({name: profile_of(name) for name in SLEEVES}, profile))
    records = {name: record(result) for name, result in walks.items()}
    walked = walk({NAME: align(records, 60, NAME)}, profile, footing, lambda _: "NORMAL")
    return found | {"four": held(market, walked.account, walked.held)}


def record(result: HeldWalk) -> SleeveRecord:
    instants = [np.datetime64(one.as_of.replace(tzinfo=None), "us") for one in result.rebalances]
    nets = [one.targets.net.get(NAME, {}) for one in result.rebalances]
    book, since = result.books[NAME], slice(result.counted, None)
    return SleeveRecord(
        result.days[since],
        book.returns[since],
        book.gross[since],
        dict(zip(instants, nets, strict=True)),
        dict(zip(instants, result.grid.tranches, strict=True)),
    )


@pytest.mark.parametrize(("kind", "days"), [("long", 363), ("short", 363), ("four", 250)])
def test_a_year_of_days_is_the_tranche_book_s(books, kind, days):
    one = books[kind]
    life = one.lived()
    assert len(life.states) >= days
    assert (one.book.gross_value > 0.0).mean() > 0.5
    agree(life, one.book, one.market.symbols, float(NAV))
    adds_up(life)
    assert replay(life.entries).document() == life.states[-1].document()
    told = difference(life.entries, one.book, one.targets, one.market.symbols, one.market.days)
    assert max(abs(day.total) for day in told) <= 1e-9
    assert max(abs(day.rest) for day in told) <= 1e-9


@pytest.mark.parametrize("kind", ["long", "short", "four"])
def test_filters_and_band_are_explained_and_trade_no_more(books, shared, kind):
    one = books[kind]
    rules = read_exchange_info(shared / "binance_api" / "exchangeInfo_full.json.gz").rules
    life = one.lived(band=str(BAND), rules=rules)
    adds_up(life)
    told = difference(life.entries, one.book, one.targets, one.market.symbols, one.market.days)
    assert len(told) == len(one.book.nav)
    assert abs(told[-1].total) > 1e-6
    assert {"band", "rounding"} <= told[-1].lines.keys()
    assert max(abs(day.rest) for day in told) <= 1e-9
    navs = dict(
        zip([state.day for state in life.states], [float(NAV), *(float(s.nav) for s in life.states)], strict=False)
    )
    turnover = sum(
        abs(float(entry.body["quantity"]))
        * float(entry.body["reference"])
        / navs[dt.date.fromisoformat(entry.body["day"])]
        for entry in life.entries
        if entry.kind == "fill"
    )
    assert turnover <= one.book.turnover.sum()


def test_a_stretch_with_a_liquidation_a_delisting_and_a_hole_of_the_market(market):
    """Shorts without caps, one tranche, decided on 2024-03-28 as the run that was ruined; nobody traded on two days."""
    gap = np.searchsorted(market.days, np.array(["2023-11-18", "2023-11-19"], dtype="datetime64[D]"))
    fields, listing = {name: values.copy() for name, values in market.fields.items()}, market.listing.copy()
    listing[gap] = -1
    for values in fields.values():
        values[gap] = np.nan
    holed = replace(market, fields=fields, listing=listing)
    assert (holed.holes[gap, holed.column("BINANCE:BTCUSDT")] == MARKET).all()
    profile = profile_of(SHORT, dt.date(2023, 7, 2), tranches=1)
    caps = {name: 1.0 for name in type(profile.caps).model_fields if "short" in name}
    profile = profile.model_copy(update={"caps": profile.caps.model_copy(update=caps)})
    result = decided(holed, profile)
    endings = set()
    for name in profile.risk.risk_profiles:
        one = replace(held(holed, profile, result), targets=result.held.targets[name], book=result.books[name])
        life = one.lived()
        agree(life, one.book, holed.symbols, float(NAV))
        adds_up(life)
        assert life.states[-1].liquidated == one.book.liquidation_moment
        endings |= {"liquidation"} if one.book.liquidated is not None else set()
        endings |= set(one.book.trades.reason.tolist())
    assert endings == {"rebalance", "delisting", "liquidation"}
