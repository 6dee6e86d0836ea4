"""Every missing day has one owner, and only days that a coin alone lacks end its listing."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.base.domain import UTC
from assay.market.holes import BAR, COIN, MARKET, REFUSED, cut_listings, ends, owners
from assay.market.panel import Market

START = dt.datetime(2023, 1, 1, tzinfo=UTC)
COINS = ("BINANCE:BTCUSDT", *(f"BINANCE:{name}USDT" for name in ("ADA", "BNB", "ETH", "SOL", "XRP", "ZEC")))


def there(lacking, days=40, coins=7):
    """Bars of every coin on every day, but for the days (begin, end) that columns lack; the benchmark is column 0."""
    present = np.ones((days, coins), dtype=np.bool_)
    for columns, begin, end in lacking:
        present[begin:end, columns] = False
    return present


def owned(lacking, refused=(), **size):
    present = there(lacking, **size)
    return owners(present, ~there(refused, **size), 0)


ALL = slice(None)


@pytest.mark.parametrize("days", [1, 3, 7, 10])
def test_days_that_everybody_lacks_are_the_markets(days):
    owner = owned([(ALL, 20, 20 + days)])
    assert (owner[20 : 20 + days] == MARKET).all()
    assert not ends(owner).any()


@pytest.mark.parametrize(
    ("lacking", "size"),
    [
        ([(slice(1, None), 20, 23)], {}),  # the benchmark has its bars
        ([(slice(0, 6), 20, 23)], {}),  # one of seven goes on: fewer than 90 % lack the days
        ([(ALL, 20, 23)], {"coins": 4}),  # too few to tell
        ([(ALL, 37, 40)], {}),  # nobody came back yet
        ([(ALL, 0, 3)], {}),  # nobody was there before
    ],
)
def test_other_days_are_the_coins_own(lacking, size):
    assert set(np.unique(owned(lacking, **size))) == {BAR, COIN}


def test_one_of_eleven_may_go_on_and_one_that_was_gone_before_does_not_count():
    assert (owned([(slice(0, 10), 20, 23)], coins=11)[20:23, :10] == MARKET).all()
    gone = owned([(ALL, 20, 23), (6, 5, 40), (5, 22, 40)])
    assert (gone[20:23] == MARKET).all()
    assert np.flatnonzero(ends(gone)[:, 6]).tolist() == [7]
    assert np.flatnonzero(ends(gone)[:, 5]).tolist() == [25]  # the market's day 22 does not count, 23 to 25 do


def test_coins_may_come_back_on_several_days():
    owner = owned([(ALL, 20, 23), (3, 23, 25), (4, 23, 26)])
    assert (owner[20:23] == MARKET).all()
    assert ends(owner).sum(axis=0).tolist() == [0, 0, 0, 0, 1, 0, 0]  # two days of its own are few, three are not


def test_refused_days_neither_count_nor_interrupt():
    owner = owned([(2, 10, 15), (3, 10, 15)], refused=[(2, 12, 13), (3, 11, 14)])
    assert owner[10:15, 2].tolist() == [COIN, COIN, REFUSED, COIN, COIN]
    assert owner[10:15, 3].tolist() == [COIN, REFUSED, REFUSED, REFUSED, COIN]
    assert np.flatnonzero(ends(owner)[:, 2]).tolist() == [13]
    assert not ends(owner)[:, 3].any()


def test_a_bar_beside_a_refused_row_is_a_bar():
    assert (owned([], refused=[(2, 10, 13)]) == BAR).all()


def test_more_than_ten_days_end_a_listing_whoever_owns_them():
    for hole in (10, 11):
        assert ends(owned([(2, 10, 10 + hole)], refused=[(2, 10, 10 + hole)])).any() == (hole == 11)
        assert ends(owned([(ALL, 10, 10 + hole)])).any() == (hole == 11)


def table(present):
    rows = [(COINS[column], START + dt.timedelta(days=int(day))) for day, column in np.argwhere(present)]
    keys = pl.DataFrame(rows, schema={"symbol": pl.String, "open_time": pl.Datetime("us", "UTC")}, orient="row")
    return keys.with_columns(interval=pl.lit("1d"))


def test_listings_are_cut_where_they_end_and_a_hole_too_long_is_told():
    bars = table(there([(ALL, 10, 13), (2, 20, 23), (3, 20, 23), (4, 25, 36)]))
    days = [START + dt.timedelta(days=day) for day in (*range(20, 23), *range(25, 36))]
    rejected = pl.DataFrame({"symbol": [COINS[3]] * 3 + [COINS[4]] * 11, "open_time": days})
    unread = pl.DataFrame({"symbol": [None], "open_time": [None]}, schema=rejected.schema)
    numbers, findings = cut_listings(bars.sample(fraction=1.0, shuffle=True, seed=1), pl.concat([rejected, unread]))
    assert numbers.max() == 1
    numbers, findings = cut_listings(bars, rejected)
    last = bars.with_columns(numbers).group_by("symbol").agg(pl.col("listing").max()).sort("symbol")
    ended = last.filter(pl.col("listing") == 1)["symbol"].to_list()
    assert ended == sorted([COINS[2], COINS[4]])
    assert [(finding.code, finding.names) for finding in findings] == [("HOLE_TOO_LONG", [COINS[4]])]


def test_a_market_knows_of_a_hole_what_its_own_days_show():
    present = there([(ALL, 20, 23)])
    days = np.arange(np.datetime64("2023-01-01"), np.datetime64("2023-01-01") + 40)
    listing = np.where(present, 0, -1).astype(np.int32)
    market = Market(days, COINS, {}, listing, START + dt.timedelta(days=40))
    assert (market.holes[20:23] == MARKET).all()
    assert (market.until(START + dt.timedelta(days=22)).holes[20:] == COIN).all()
