"""Alignment, weights and netting of sleeves, on sleeves whose answers are known."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.base.errors import DataError
from assay.gates.portfolio import bounds, faults, identities
from assay.gates.returns import check_books
from assay.meta.alignment import SleeveRecord, align, alignment
from assay.meta.allocate import decide, document
from assay.meta.analysis import effective_bets, herfindahl, risk_shares
from assay.meta.flatten import SleeveBook, flatten, flattened_profile
from assay.runs.documents import Contributor, MetaProfileWeights, SleeveWeight, SolverRecord
from assay.settings.model import RISK_PROFILES, Costs, MetaProfile

FREE = Costs(fee=0.0, slippage=0.0)
SHARES = st.floats(0.0, 1.0, allow_subnormal=False)


def settings(n, **values):
    return MetaProfile(name="m", sleeves=tuple(f"s{i}" for i in range(n)), **values)


def record(returns, first="2024-01-01"):
    days = np.datetime64(first) + np.arange(len(returns))
    return SleeveRecord(days, np.asarray(returns, dtype=float), np.ones(len(returns)), {}, {})


def world(n, n_days, seed=7):
    rows = np.random.default_rng(seed).normal(0.001, 0.02, (n_days, n))
    return align({f"s{i}": record(rows[:, i]) for i in range(n)}, 20, "hrp")


def normal(_instant):
    return "NORMAL"


def test_alignment_keeps_shared_days_and_names_what_is_lost():
    rows = np.random.default_rng(1).normal(size=100)
    found = align({"a": record(rows), "b": record(rows[:70], first="2024-01-11")}, 60, "hrp")
    assert (str(found.days[0]), len(found.days)) == ("2024-01-11", 70)
    assert found.returns[:, 0].tolist() == rows[10:80].tolist()
    told = alignment("2024-04-10T00:00:00Z", {"hrp": found}, 60, 0.2)
    assert [(event.values["sleeve"], event.values["left_out"]) for event in told.shortfalls] == [("a", 30)]
    with pytest.raises(DataError) as refused:
        align({"a": record(rows), "b": record(rows[:59])}, 60, "hrp")
    assert refused.value.code == "META_TOO_FEW_DAYS"


def test_a_gap_in_the_shared_days_is_no_calendar():
    whole = record(np.ones(100))
    keep = np.arange(100) != 50
    torn = SleeveRecord(whole.days[keep], whole.returns[keep], whole.gross[keep], {}, {})
    with pytest.raises(DataError) as refused:
        align({"a": whole, "b": torn}, 60, "hrp")
    assert refused.value.code == "META_CALENDAR"


@pytest.mark.parametrize("name", RISK_PROFILES)
@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_every_risk_profile_keeps_the_bounds(name, n):
    rows = world(n, 80, seed=n).returns * np.linspace(0.1, 3.0, n)
    made = decide(rows, np.ones_like(rows), [f"s{i}" for i in range(n)], name, settings(n))
    low, high = bounds(n, settings(n))
    assert (low, high) == (0.05, max(0.5, 1.9 / n))
    assert made.weights.min() >= low - 1e-9
    assert made.weights.max() <= high + 1e-9
    assert made.weights.sum() == pytest.approx(1.0, abs=1e-9)
    assert made.allocation.solver.status == "SOLVED"


def test_a_sleeve_in_cash_is_left_out_by_name():
    rows = world(3, 80).returns.copy()
    rows[-60:, 1] = 0.0
    made = decide(rows, np.ones_like(rows), ["a", "b", "c"], "min_variance", settings(3))
    assert made.weights[1] == 0.0
    assert made.weights.sum() == pytest.approx(1.0)
    assert [(event.code, event.values["sleeve"]) for event in made.events] == [("META_SLEEVE_IN_CASH", "b")]
    assert (made.lower, made.upper) == (0.05, 0.95)


def test_a_sleeve_that_was_hardly_invested_is_left_out_and_the_bounds_are_of_those_left():
    rows = world(3, 80).returns
    for mean, out in ((0.19, ["b"]), (0.21, [])):
        gross = np.tile([1.0, mean, 1.0], (80, 1))
        gross[:20] = 1.0  # before the days that are read
        made = decide(rows, gross, ["a", "b", "c"], "hrp", settings(3))
        assert [event.values["sleeve"] for event in made.events if event.code == "META_SLEEVE_IN_CASH"] == out
        assert made.gross == pytest.approx([1.0, mean, 1.0])
        assert made.upper == (0.95 if out else pytest.approx(1.9 / 3))
        assert (made.weights > 0.0).tolist() == [True, not out, True]
    kept = decide(rows, np.tile([1.0, 0.19, 1.0], (80, 1)), ["a", "b", "c"], "hrp", settings(3, min_gross=0.1))
    assert kept.weights[1] > 0.0


@pytest.mark.parametrize("name", ["min_variance", "hrp", "max_sharpe"])
def test_a_sleeve_half_in_cash_is_weighed_as_what_it_holds(name):
    rows = world(3, 80).returns
    idle = np.array([0.25, 1.0, 0.5])
    whole = decide(rows, np.ones_like(rows), "abc", name, settings(3))
    halved = decide(rows * idle, np.tile(idle, (80, 1)), "abc", name, settings(3))
    assert halved.weights == pytest.approx(whole.weights, abs=1e-9)


def test_with_fewer_than_two_sleeves_all_is_cash():
    rows = world(2, 80).returns
    gross = np.tile([1.0, 0.1], (80, 1))
    made = decide(rows, gross, ["a", "b"], "hrp", settings(2))
    assert made.weights.tolist() == [0.0, 0.0]
    assert made.cash == 1.0
    assert [event.code for event in made.events] == ["META_SLEEVE_IN_CASH", "META_TOO_FEW_SLEEVES"]
    told = document(made, ["a", "b"], ["LONG", "SHORT"], "NORMAL")
    assert told.in_cash == ["a", "b"]
    assert faults("hrp", told, settings(2)) == []
    for alone in (
        decide(rows, gross, ["a", "b"], "hrp", settings(2, allow_single=True)),
        decide(rows, gross, ["a", "b"], "hrp", settings(2), single=True),
    ):
        assert alone.weights.tolist() == [1.0, 0.0]
    nobody = decide(np.zeros((80, 2)), np.zeros((80, 2)), ["a", "b"], "hrp", settings(2), single=True)
    assert nobody.cash == 1.0


def books(*columns, n_days=60):
    days = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=i) for i in range(n_days)]
    return pl.DataFrame({"date": days} | {f"b{i}": list(column) for i, column in enumerate(columns)})


def test_returns_of_books_have_a_contract_of_their_own():
    calm = [0.0, 0.01] * 30
    wild, lost = [6.6, *calm[1:]], [-1.2, *calm[1:]]
    assert check_books(books(calm, wild, [0.0] * 60), (), 60).action == "passed"
    assert check_books(books(calm, lost), {"b1"}, 60).action == "passed"

    def codes(*table, ruined=(), floor=60):
        result = check_books(books(*table), ruined, floor)
        assert result.action == "failed"
        return {(one.code, one.where) for one in result.violations}

    assert codes(calm, lost) == {("L0_BOOK_LOST", "b1")}
    assert codes(calm, [None, *calm[1:]]) == {("L0_NOT_FINITE", "b1")}
    assert codes([float("inf"), *calm[1:]]) == {("L0_NOT_FINITE", "b0")}
    assert codes(calm, floor=61) == {("L0_OBSERVATIONS", "b0")}


def test_without_a_positive_mean_the_least_variance_is_held_with_an_event():
    rows = world(3, 80).returns - 0.05
    best, least = (
        decide(rows, np.ones_like(rows), "abc", name, settings(3)) for name in ("max_sharpe", "min_variance")
    )
    assert "NO_POSITIVE_EXPECTED_RETURN" in [event.code for event in best.events]
    assert best.weights == pytest.approx(least.weights, abs=1e-7)


def test_a_scaled_or_moved_weight_is_a_fault():
    solver = SolverRecord(
        name="x", status="SOLVED", iterations=0, residual=0.0, gap=0.0, fallbacks=[], projection_distance=0.0
    )

    def weights(*values):
        given = [SleeveWeight(Sleeve=f"s{i}", Direction="LONG", Weight=value) for i, value in enumerate(values)]
        return MetaProfileWeights(
            sleeves=given, cash=0.0, lower=0.0, upper=1.0, in_cash=[], regime="NORMAL", solver=solver, events=[]
        )

    assert faults("hrp", weights(0.25, 0.25, 0.25, 0.25), settings(4)) == []
    assert [code for code, _ in faults("hrp", weights(0.275, 0.25, 0.25, 0.25), settings(4))] == ["META_WEIGHT_SUM"]
    assert [code for code, _ in faults("hrp", weights(0.55, 0.15, 0.15, 0.15), settings(4))] == ["META_BOUNDS_BREACH"]


# --- flattening -------------------------------------------------------------------------------------------------------


def part(sleeve, coin, weight, direction="LONG", logic="rating_all"):
    symbol = f"BINANCE:{coin}USDT"
    return Contributor(
        Sleeve=sleeve,
        Path=[sleeve],
        Symbol=symbol,
        Atom=f"{symbol}_{logic}_{direction}",
        Logic=logic,
        Direction=direction,
        Weight=weight,
        Held=weight,
    )


def sleeve_weights(**values):
    solver = SolverRecord(
        name="x", status="SOLVED", iterations=0, residual=0.0, gap=0.0, fallbacks=[], projection_distance=0.0
    )
    given = [SleeveWeight(Sleeve=name, Direction="MIXED", Weight=value) for name, value in values.items()]
    return MetaProfileWeights(
        sleeves=given,
        cash=max(0.0, 1.0 - sum(values.values())),
        lower=0.05,
        upper=0.95,
        in_cash=[],
        regime="NORMAL",
        solver=solver,
        events=[],
    )


def test_a_coin_long_in_one_sleeve_and_short_in_another_is_netted_and_shown():
    books = {
        "up": SleeveBook(0.8, 0.2, (part("up", "BTC", 0.5), part("up", "ETH", 0.3))),
        "down": SleeveBook(1.0, 0.0, (part("down", "BTC", 0.2, "SHORT"), part("down", "XRP", 0.8, "SHORT"))),
    }
    book = flatten(sleeve_weights(up=0.5, down=0.5), books, 0.30)
    coins = {coin.Symbol: coin for coin in book.coins}
    bitcoin = coins["BINANCE:BTCUSDT"]
    # 0.25 long and 0.10 short are 0.35 gross, cut to 0.30: everything x 6/7.
    assert (bitcoin.Before, bitcoin.To_Cash) == (pytest.approx(0.35), pytest.approx(0.05))
    assert (bitcoin.Long, bitcoin.Short) == (pytest.approx(0.25 * 6 / 7), pytest.approx(0.10 * 6 / 7))
    assert (bitcoin.Net, bitcoin.Netted) == (pytest.approx(0.15 * 6 / 7), pytest.approx(0.20 * 6 / 7))
    assert (bitcoin.Long_Sleeves, bitcoin.Short_Sleeves) == (["up"], ["down"])
    assert coins["BINANCE:XRPUSDT"].Gross == pytest.approx(0.30)
    assert book.before_netting == pytest.approx(0.5 * 0.8 + 0.5 * 1.0)
    assert book.concentration_cash == pytest.approx(0.05 + 0.10)
    assert book.sleeve_cash == pytest.approx(0.1)
    assert book.cash == pytest.approx(0.25)
    flat = flattened_profile(book)
    assert {coin.Symbol: coin.Direction for coin in flat.assets}["BINANCE:XRPUSDT"] == "SHORT"
    assert [len(coin.Atoms) for coin in flat.assets if coin.Symbol == "BINANCE:BTCUSDT"] == [2]


@given(
    st.lists(st.tuples(SHARES, st.sampled_from("ABC"), st.sampled_from(["LONG", "SHORT"])), max_size=8),
    st.lists(st.tuples(SHARES, st.sampled_from("ABC"), st.sampled_from(["LONG", "SHORT"])), max_size=8),
    st.floats(0.05, 0.95),
    st.floats(0.01, 1.0),
)
def test_mass_is_an_identity(one, other, share, max_coin):
    books = {}
    for name, holdings in (("a", one), ("b", other)):
        total = max(1.0, sum(weight for weight, _, _ in holdings))
        parts = tuple(part(name, coin, weight / total, side) for weight, coin, side in holdings if weight / total > 0)
        gross = sum(found.Weight for found in parts)
        books[name] = SleeveBook(gross, 1.0 - gross, parts)
    book = flatten(sleeve_weights(a=share, b=1.0 - share), books, max_coin)
    for what, left, right in identities(book):
        assert left == pytest.approx(right, abs=1e-12), what
    assert all(coin.Gross <= max_coin + 1e-12 for coin in book.coins)
    assert all(coin.Netted >= -1e-15 for coin in book.coins)


# --- analysis ---------------------------------------------------------------------------------------------------------


def test_bets_and_shares_have_closed_forms():
    assert herfindahl([0.25] * 4) == pytest.approx(0.25)
    assert effective_bets(np.full(3, 1 / 3), np.eye(3)) == pytest.approx(3.0)
    twins = np.ones((2, 2)) + 1e-12 * np.eye(2)
    assert effective_bets(np.array([0.5, 0.5]), twins) == pytest.approx(1.0, abs=1e-6)
    assert risk_shares(np.array([0.5, 0.5]), np.diag([0.09, 0.01])) == pytest.approx([0.9, 0.1])
    assert effective_bets(np.zeros(2), np.eye(2)) is None
