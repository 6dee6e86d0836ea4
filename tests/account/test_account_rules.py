"""The rules of an account one by one, in numbers that can be worked out by hand."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from assay.account.bars import CoinDay, DayBars
from assay.account.day import advance
from assay.account.orders import orders_for
from assay.account.state import GENESIS, Happened, TrancheOrder, apply, begin, replay
from assay.base.domain import Instrument
from assay.base.errors import IntegrityError
from assay.settings.model import Costs, Margin
from assay.sources.rules import TradingRules

A, B = "BINANCE:AUSDT", "BINANCE:BUSDT"
D = Decimal
FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
TODAY = dt.date(2024, 3, 1)


def coin(price, **others):
    prices = dict.fromkeys(("open", "high", "low", "mark"), D(price))
    flags = dict.fromkeys(("ended", "overlong", "relisted"), False)
    return CoinDay(**({"has_bar": True, "rate": D(0)} | prices | flags | others))


def day(state, orders=(), costs=FREE, margin=None, after=0, **how):
    coins = {name: value for name, value in how.items() if name in ("a", "b")}
    bars = DayBars(TODAY + dt.timedelta(after), {{"a": A, "b": B}[name]: value for name, value in coins.items()})
    rest = {name: value for name, value in how.items() if name not in coins}
    return advance(state, bars, orders, costs, margin, **rest)


def order(symbol, quantity, tranche=0):
    return TrancheOrder(symbol, tranche, D(quantity), D(100), D(quantity))


def told(entries, kind):
    return [entry.body for entry in entries if entry.kind == kind]


def holding(quantity, price="100", nav="1000", tranches=2):
    """An account that bought (or sold) in its first tranche at a price, and was marked at it."""
    return day(begin(D(nav), tranches), [order(A, quantity)], a=coin(price))[0]


# ---- a day ---------------------------------------------------------------------------------------------------------


def test_a_fill_pays_a_worse_price_and_a_fee_on_it():
    state, entries = day(begin(D(1000), 1), [order(A, 2)], Costs(fee=0.01, slippage=0.1), a=coin(100))
    (fill,) = told(entries, "fill")
    assert (fill["price"], fill["fee"], fill["slippage"], fill["cash"]) == ("110", "2.2", "20", "-222.2")
    assert state.cash == D("777.8")
    sold, entries = day(state, [order(A, -1)], Costs(fee=0.01, slippage=0.1), after=1, a=coin(100))
    (fill,) = told(entries, "fill")
    assert (fill["price"], fill["fee"], fill["slippage"], fill["cash"]) == ("90", "0.9", "10", "89.1")
    assert sold.nav == D("777.8") + D("89.1") + 100


def test_an_order_without_a_bar_or_on_another_listing_is_cancelled_and_told():
    for bar, why in ((coin(100, has_bar=False), "no bar"), (coin(100, relisted=True), "another listing")):
        state, entries = day(begin(D(1000), 1), [order(A, 2)], a=bar)
        (lost,) = told(entries, "cancelled")
        assert (lost["symbol"], lost["tranche"], lost["quantity"]) == (A, 0, "2")
        assert why in lost["why"]
        assert (state.cash, state.held) == (D(1000), {})


def test_borrow_is_a_day_of_the_rate_on_the_close_and_longs_pay_none():
    state, entries = day(holding(-2), a=coin(100, rate=D("0.73")), after=1)
    assert told(entries, "borrow") == [{"day": "2024-03-02", "amount": "0.4", "by": {A: "0.4"}}]
    assert state.nav == D("999.6")
    assert told(day(holding(2), a=coin(100, rate=D("0.73")), after=1)[1], "borrow") == []


def test_a_coin_that_ended_leaves_every_tranche_at_its_last_close_less_the_haircut():
    state = holding(3)
    state = apply(state, Happened("fill", {"symbol": A, "tranche": 1, "quantity": "-1", "cash": "100"}))
    state, entries = day(state, costs=Costs(delisting_haircut=0.1), after=1, a=coin(100, has_bar=False, ended=True))
    (fill,) = told(entries, "fill")
    assert (fill["reason"], fill["cause"], fill["tranche"], fill["quantity"]) == ("delisting", "delisting", None, "-2")
    assert (fill["parts"], fill["price"], fill["fee"]) == ({"0": "-3", "1": "1"}, "90", "0")
    assert (state.held, state.cash) == ({}, D(1000 - 300 + 100 + 180))


def test_a_coin_that_another_listing_follows_leaves_at_the_old_one_s_last_close():
    state, entries = day(
        holding(-2), costs=Costs(delisting_haircut=0.1), after=1, a=coin(7, relisted=True, overlong=True)
    )
    (fill,) = told(entries, "fill")
    assert (fill["price"], fill["cause"], state.nav) == ("110", "hole_too_long", D(980))


def test_a_short_is_liquidated_where_the_margin_is_the_maintenance():
    """Short 10 at 100 with 1,000 of its own: 2,000 / (1.25 x 10) = 160; the fee is 2 % of 1,600."""
    margin = Margin(maintenance=1.25, liquidation_fee=0.02)
    state, entries = day(holding(-10), margin=margin, after=1, a=coin(100, high=D(170)))
    (fill,), (look,) = told(entries, "fill"), told(entries, "look")
    assert (fill["price"], fill["fee"], fill["reason"], fill["cause"]) == ("160", "32", "liquidation", "day")
    assert (state.liquidated, state.nav, look["moment"]) == ("day", D(368), "day")
    assert look["level"] == look["worst_level"]
    later, entries = day(state, [order(A, 1)], margin=margin, after=2, a=coin(100))
    assert told(entries, "cancelled")[0]["why"] == "the account was liquidated"
    assert (later.nav, later.held) == (D(368), {})
    safe, entries = day(holding(-10), margin=margin, after=1, a=coin(100, high=D(160)))
    assert (safe.liquidated, told(entries, "look")[0]["level"]) == (None, "1.25")


def test_without_a_margin_an_account_ends_at_the_close_that_leaves_nothing():
    state, _ = day(holding(-10), margin=Margin(enabled=False), after=1, a=coin(200, high=D(900)))
    assert (state.liquidated, state.nav) == ("close", D(0))
    assert day(holding(-10), after=1, a=coin(199, high=D(900)))[0].liquidated is None


def test_deposits_and_withdrawals_move_nav_and_not_the_wealth():
    state, entries = day(holding(5), after=1, a=coin(120), flows=[D(900)])
    assert (state.nav, state.wealth) == (D(2000), D("1.1"))
    assert told(entries, "mark")[0]["nav"] == "1100"
    state, _ = day(state, after=2, a=coin(160), flows=[D(-200)])
    assert (state.nav, state.wealth) == (D(2000), D("1.21"))


def test_a_flow_that_cannot_be_is_told_and_moves_nothing():
    state, entries = day(holding(-2), after=1, a=coin(100), flows=[D(-1001)])
    assert (told(entries, "flow")[0]["amount"], state.nav) == ("0", D(1000))
    assert "cannot leave" in told(entries, "flow")[0]["refused"]
    # Assets of 1,200 - 980 = 220 are exactly 1.1 times what is owed.
    assert day(holding(-2), margin=Margin(), after=1, a=coin(100), flows=[D(-980)])[0].nav == D(20)
    assert day(holding(-2), margin=Margin(), after=1, a=coin(100), flows=[D(-981)])[0].nav == D(1000)
    over, _ = day(holding(-10), after=1, a=coin(250))
    assert day(over, after=2, a=coin(250), flows=[D(5000)])[0].nav == over.nav


def test_imported_fills_stand_in_place_of_the_paper_ones_and_must_add_up():
    fill = {"symbol": A, "tranche": 1, "quantity": "2", "price": "101", "reference": "100", "fee": "0.5"}
    fill |= {"slippage": "2", "cash": "-202.5", "reason": "rebalance", "cause": "", "trade_id": "7"}
    left = Happened("partial", {"symbol": A, "tranche": 1, "ordered": "3", "filled": "2"})
    state, entries = day(begin(D(1000), 2), [order(A, 3, 1)], a=coin(100), fills=[Happened("fill", fill), left])
    assert (state.held, state.cash) == ({A: (D(0), D(2))}, D("797.5"))
    assert [entry.kind for entry in entries] == ["fill", "partial", "mark"]
    with pytest.raises(IntegrityError, match=r"is not -quantity x price - fee"):
        day(begin(D(1000), 2), a=coin(100), fills=[Happened("fill", fill | {"cash": "-202.4"})])


# ---- orders --------------------------------------------------------------------------------------------------------


def lots(**others):
    rule = {"step_size": D("0.1"), "min_qty": D("0.2"), "tick_size": D("0.01"), "min_notional": D(30)}
    return {A: TradingRules(Instrument.parse(A), "TRADING", True, True, **(rule | others))}


def asked(state, weight, band="0", rules=None, close=100, costs=FREE):
    sheet = orders_for(state, {A: weight} if weight else {}, 0, {A: D(close)}, costs=costs, band=D(band), rules=rules)
    return sheet.rows[0]


def test_a_tranche_is_to_hold_its_share_of_nav():
    assert asked(begin(D(1000), 2), -0.4).quantity == D(-2)
    assert asked(holding(3), 0.4).quantity == D(-1)
    assert asked(holding(3), 0.0).quantity == D(-3)
    assert orders_for(holding(3), {}, 1, {A: D(100)}, costs=FREE).rows == ()


def test_the_band_leaves_small_changes_out_and_never_an_exit():
    """A hundredth of a tranche of 500 is 5, which is 0.05 at 100."""
    held = holding("3")
    small, wide = asked(held, 0.6098, "0.01"), asked(held, 0.6102, "0.01")
    assert (small.quantity, small.lines) == (D(0), {"band": D("0.049")})
    assert (wide.quantity, wide.lines) == (D("0.051"), {})
    assert asked(holding("0.04"), 0.0, "0.01").quantity == D("-0.04")


def test_filters_round_towards_zero_and_say_what_they_took():
    row = asked(begin(D(1000), 2), 0.47, rules=lots())
    assert (row.wanted, row.quantity, row.lines, row.reasons) == (
        D("2.35"),
        D("2.3"),
        {"rounding": D("0.05")},
        ("STEP",),
    )
    row = asked(begin(D(1000), 2), -0.05, rules=lots())
    assert (row.quantity, row.lines, row.reasons) == (D(0), {"least_value": D("-0.25")}, ("MIN_NOTIONAL",))
    row = asked(begin(D(1000), 2), 0.4, rules={A: replace(lots()[A], status="BREAK")})
    assert (row.quantity, row.lines, row.reasons) == (D(0), {"refused": D(2)}, ("NOT_TRADING",))
    assert asked(begin(D(1000), 2), 0.4, rules=lots(max_qty=D(1))).amounts == (D(1), D(1))


def test_the_least_value_holds_at_the_worse_of_close_and_fill():
    """0.3 at 100 is 30; a sale that fills 1 % lower is not."""
    costs = Costs(slippage=0.01)
    assert asked(begin(D(1000), 2), 0.06, rules=lots(), costs=costs).quantity == D("0.3")
    assert asked(begin(D(1000), 2), -0.06, rules=lots(), costs=costs).quantity == D(0)


def test_an_order_that_crosses_zero_is_two_and_each_must_pass():
    row = asked(holding(1), -0.04, rules=lots())
    assert (row.wanted, row.quantity, row.lines, row.amounts) == (D("-1.2"), D(-1), {"least_value": D("-0.2")}, (D(1),))


def test_a_coin_without_a_close_is_not_ordered_and_unknown_filters_are_named():
    sheet = orders_for(begin(D(1000), 2), {A: 0.2, B: 0.2}, 0, {A: D(100)}, costs=FREE, rules={})
    assert [(row.symbol, row.quantity, row.reasons) for row in sheet.rows] == [(A, D(1), ()), (B, D(0), ("no_price",))]
    assert sheet.unknown == (A,)


def test_orders_wait_in_the_state_until_the_next_mark():
    sheet = orders_for(begin(D(1000), 2), {A: 0.2}, 0, {A: D(100)}, costs=FREE)
    state = apply(begin(D(1000), 2), sheet.entry(TODAY))
    assert state.orders == sheet.rows
    assert day(state, state.orders, after=1, a=coin(100))[0].orders == ()


# ---- replay --------------------------------------------------------------------------------------------------------


def test_a_ledger_whose_sums_were_changed_is_refused():
    genesis = Happened(GENESIS, {"nav": "1000", "tranches": 2})
    _, entries = day(begin(D(1000), 2), [order(A, 3)], a=coin(100))
    assert replay([genesis, *entries]).nav == D(1000)
    fill, mark = entries
    for wrong in (
        [genesis, Happened("fill", {**fill.body, "quantity": "3.000000000000000001"}), mark],
        [genesis, Happened("fill", {**fill.body, "cash": "-299"}), mark],
        [genesis, fill, Happened("mark", {**mark.body, "nav": "1000.000000000000000001"})],
        [genesis, fill, Happened("mark", {**mark.body, "marks": {}})],
        [genesis, fill, mark, mark],
        [genesis, genesis],
        [fill],
        [],
    ):
        with pytest.raises(IntegrityError):
            replay(wrong)
