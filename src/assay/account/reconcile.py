"""Intended, filled, held, coin by coin, beside what the exchange says is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from assay.account.money import EXACT, ZERO, product, text, total
from assay.orders.records import Holding
from assay.runs.documents import Finding
from assay.settings.model import Universe

Standing = Literal["SAME", "DIFFERS", "NOT_THERE", "NOT_OURS"]

WHAT: Mapping[str, str] = {
    "HELD_DIFFERS": "the exchange holds another quantity than the account",
    "HELD_NOT_THERE": "the account holds coins of which the exchange holds none",
    "HELD_NOT_OURS": "the exchange holds coins that the account never bought; they are left alone",
    "CASH_DIFFERS": "the exchange's cash is not the account's",
    "NOT_AS_INTENDED": "the account holds another quantity than its orders were to make it hold",
}
"""What each finding says."""


class Triple(NamedTuple):
    """One coin: what its orders were to make of it, what was traded, what there is; units."""

    symbol: str
    before: Decimal
    intended: Decimal
    """Held before and all that was ordered."""
    filled: Decimal
    held: Decimal
    """Of the account's ledger."""
    there: Decimal | None
    """Of the exchange; None where no holdings were given."""
    price: Decimal | None

    @property
    def missed(self) -> Decimal:
        """What is held beyond what was intended: fees in the coin, partial and missing fills, forced exits."""
        return EXACT.subtract(self.held, self.intended)

    @property
    def drift(self) -> Decimal:
        """What is there beyond what the ledger says; 0 where nobody says what is there."""
        return ZERO if self.there is None else EXACT.subtract(self.there, self.held)

    @property
    def value(self) -> Decimal | None:
        """The drift in dollars."""
        return None if self.price is None else product(self.drift, self.price)

    @property
    def standing(self) -> Standing:
        """One word for the drift."""
        if not self.drift:
            return "SAME"
        if not self.held:
            return "NOT_OURS"
        return "DIFFERS" if self.there else "NOT_THERE"

    def document(self) -> dict[str, Any]:
        """Return it with decimal strings."""
        numbers = {
            name: None if (value := getattr(self, name)) is None else text(value)
            for name in ("before", "intended", "filled", "held", "there", "missed", "drift", "price", "value")
        }
        return {"symbol": self.symbol, **numbers, "standing": self.standing}


@dataclass(frozen=True)
class HoldingsCheck:
    """All coins, and cash."""

    lines: tuple[Triple, ...]
    cash: Decimal
    cash_there: Decimal | None
    """None where the holdings name no cash."""
    findings: tuple[Finding, ...]

    @property
    def agrees(self) -> bool:
        """Whether the exchange has what the ledger says, to the last digit; what is not the account's counts not."""
        lines = all(line.standing in ("SAME", "NOT_OURS") for line in self.lines)
        return lines and self.cash_there in (None, self.cash)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "agrees": self.agrees,
            "cash": text(self.cash),
            "cash_there": None if self.cash_there is None else text(self.cash_there),
            "lines": [line.document() for line in self.lines],
            "findings": [finding.model_dump() for finding in self.findings],
        }


def reconcile(
    before: Mapping[str, Decimal],
    ordered: Iterable[tuple[str, Decimal]],
    filled: Iterable[tuple[str, Decimal]],
    held: Mapping[str, Decimal],
    cash: Decimal,
    *,
    there: Mapping[str, Holding] | None = None,
    prices: Mapping[str, Decimal] | None = None,
    quotes: tuple[str, ...] = Universe().quotes,
) -> HoldingsCheck:
    """Compare what was intended, what was traded and what there is.

    Parameters
    ----------
    before, held : mapping of str to Decimal
        Units of the ledger before the day's fills, and now.
    ordered, filled : iterable of (symbol, units)
        Of the day, signed; a coin may come several times.
    cash : Decimal
        Of the ledger, now.
    there : mapping of str to Holding, optional
        What the exchange says; rows named like one of the quotes, such as ``USDT``, are cash.
    prices : mapping of str to Decimal, optional
        Of the last close, for the value of differences.
    quotes : tuple of str
        What is money.

    Returns
    -------
    HoldingsCheck
        Coins in the order of their names, but for those of which all is zero.
    """
    wanted, traded, own = dict(before), _sums(filled), dict(held)
    for symbol, units in _sums(ordered).items():
        wanted[symbol] = total((wanted.get(symbol, ZERO), units))
    said = {} if there is None else {symbol: holding.quantity for symbol, holding in there.items()}
    money = [said.pop(symbol) for symbol in sorted(said) if symbol.rpartition(":")[2] in quotes]
    lines = [
        Triple(
            symbol,
            before.get(symbol, ZERO),
            wanted.get(symbol, ZERO),
            traded.get(symbol, ZERO),
            own.get(symbol, ZERO),
            None if there is None else said.get(symbol, ZERO),
            (prices or {}).get(symbol),
        )
        for symbol in sorted({*wanted, *traded, *own, *said})
    ]
    lines = [line for line in lines if any((line.before, line.intended, line.filled, line.held, line.there))]
    cash_there = total(money) if money else None
    return HoldingsCheck(tuple(lines), cash, cash_there, tuple(_findings(lines, cash, cash_there)))


def _sums(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for symbol, units in pairs:
        found[symbol] = total((found.get(symbol, ZERO), units))
    return found


def _findings(lines: Iterable[Triple], cash: Decimal, cash_there: Decimal | None) -> Iterable[Finding]:
    named: dict[str, list[str]] = {}
    for line in lines:
        if line.standing != "SAME":
            named.setdefault(f"HELD_{line.standing}", []).append(line.symbol)
        if line.missed:
            named.setdefault("NOT_AS_INTENDED", []).append(line.symbol)
    if cash_there is not None and cash_there != cash:
        named["CASH_DIFFERS"] = [text(EXACT.subtract(cash_there, cash))]
    for code, names in sorted(named.items()):
        yield Finding(code=code, what=WHAT[code], count=len(names), names=names)
