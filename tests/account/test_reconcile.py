"""Intended, filled and held of four coins, by hand."""

from __future__ import annotations

from decimal import Decimal

from assay.account.reconcile import WHAT, HoldingsCheck, reconcile
from assay.orders.records import Holding

A, B, C, D = (f"BINANCE:{name}USDT" for name in "ABCD")


def units(**told: str) -> dict[str, Decimal]:
    return {f"BINANCE:{name}USDT": Decimal(amount) for name, amount in told.items()}


def case(there: dict[str, str] | None = None, held: dict[str, Decimal] | None = None) -> HoldingsCheck:
    """Had 1 A and 5 B; ordered 2 A, sold 5 B, bought 4 C; 1.5 A and all of B came, nothing of C."""
    return reconcile(
        before=units(A="1", B="5"),
        ordered=[(A, Decimal(2)), (B, Decimal(-5)), (C, Decimal(4))],
        filled=[(A, Decimal(1)), (A, Decimal("0.5")), (B, Decimal(-5))],
        held=held or units(A="2.5"),
        cash=Decimal("100.10"),
        there=None if there is None else {name: Holding(Decimal(amount)) for name, amount in there.items()},
        prices=units(A="10", C="7", D="3"),
    )


def test_what_was_intended_is_beside_what_is_held() -> None:
    found = case()
    told = {line.symbol: (line.before, line.intended, line.filled, line.held, line.missed) for line in found.lines}
    assert told == {
        A: (Decimal(1), Decimal(3), Decimal("1.5"), Decimal("2.5"), Decimal("-0.5")),
        B: (Decimal(5), Decimal(0), Decimal(-5), Decimal(0), Decimal(0)),
        C: (Decimal(0), Decimal(4), Decimal(0), Decimal(0), Decimal(-4)),
    }
    assert [(one.code, one.names) for one in found.findings] == [("NOT_AS_INTENDED", [A, C])]
    assert found.agrees, "an account can agree with its exchange and not hold what it wanted"


def test_what_is_there_is_compared_to_the_last_digit() -> None:
    same = case({A: "2.5", "BINANCE:USDT": "100.1"})
    assert same.agrees
    other = case({A: "2.499999999999999999", D: "4", "BINANCE:USDT": "60", "BINANCE:USDC": "40"})
    assert not other.agrees
    lines = {line.symbol: line for line in other.lines}
    assert (lines[A].standing, lines[A].drift, lines[A].value) == ("DIFFERS", Decimal("-1E-18"), Decimal("-1E-17"))
    assert (lines[D].standing, lines[D].value) == ("NOT_OURS", Decimal(12))
    assert {one.code: one.names for one in other.findings} == {
        "NOT_AS_INTENDED": [A, C],
        "HELD_DIFFERS": [A],
        "HELD_NOT_OURS": [D],
        "CASH_DIFFERS": ["-0.1"],
    }


def test_a_coin_that_is_not_there_and_one_that_is_nobodys() -> None:
    none = case({"BINANCE:USDT": "100.1"})
    assert [line.standing for line in none.lines] == ["NOT_THERE", "SAME", "SAME"]
    assert not none.agrees
    foreign = case({A: "2.5", D: "4"})
    assert foreign.agrees, "what the account never bought is named and left alone"
    assert foreign.cash_there is None


def test_its_document_is_decimal_text() -> None:
    document = case({A: "2.5"}).document()
    assert document["agrees"] is True
    assert document["lines"][0] == {
        "symbol": A, "before": "1", "intended": "3", "filled": "1.5", "held": "2.5", "there": "2.5", "missed": "-0.5",
        "drift": "0", "price": "10", "value": "0", "standing": "SAME",
    }  # fmt: skip
    assert {one["code"] for one in document["findings"]} <= set(WHAT)
