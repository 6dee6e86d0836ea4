"""Amounts of an account: decimal numbers of one finest unit, so that sums hold to the last digit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from assay.orders.records import plain

UNIT: Final = Decimal("1E-18")
"""The finest amount of money or of a coin: no exchange writes more than eighteen decimals."""
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Wide enough for the product of two amounts as large as any account has."""
ZERO: Final = Decimal(0)


def exact(amount: Decimal) -> Decimal:
    """Return an amount in whole units; sums and differences of such amounts are exact.

    >>> exact(Decimal(1) / 3) * 3
    Decimal('0.999999999999999999')
    """
    return amount.quantize(UNIT, context=EXACT)


def product(left: Decimal, right: Decimal) -> Decimal:
    """Return a product in whole units, rounded once.

    >>> product(Decimal("1234567890.123456789"), Decimal("0.000000000000000001"))
    Decimal('1.234567890E-9')
    """
    return exact(EXACT.multiply(left, right))


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return a sum without rounding; Python's own context of 28 digits would round a large one.

    >>> total([Decimal("1e14"), Decimal("1e-18"), Decimal("-1e14")])
    Decimal('1E-18')
    """
    found = ZERO
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def text(amount: Decimal) -> str:
    """Return an amount as a ledger writes it: all its digits, no exponent, one form for each amount.

    >>> text(Decimal("1E-18")), text(Decimal("-100.0")), text(Decimal("-0"))
    ('0.000000000000000001', '-100', '0')
    """
    return plain(EXACT.plus(exact(amount)))
