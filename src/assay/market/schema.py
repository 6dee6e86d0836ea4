"""Columns, keys and order of the lake's tables; ``ratings`` has its own in :mod:`assay.ratings`."""

from __future__ import annotations

import polars as pl

from assay.base.domain import DEFAULT_EDITION, MIXED_EDITION

INSTANT = pl.Datetime("us", "UTC")

BARS: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "open_time": INSTANT,
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
    "quote_volume": pl.Float64(),
    "listing": pl.Int32(),
    "source": pl.String(),
}
"""``listing`` numbers a symbol's listings, counted over all its bars, so that any window of rows is right."""

BAR_VALUES = ("open", "high", "low", "close", "volume", "quote_volume")

INSTRUMENTS: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "base": pl.String(),
    "quote": pl.String(),
    "status": pl.String(),
    "tick_size": pl.Float64(),
    "step_size": pl.Float64(),
    "min_qty": pl.Float64(),
    "min_notional": pl.Float64(),
    "margin_allowed": pl.Boolean(),
    "spot_allowed": pl.Boolean(),
    "permissions": pl.String(),
    "valid_from": INSTANT,
    "valid_to": INSTANT,
}
"""``valid_to`` is exclusive, null while the facts hold. ``permissions`` are the exchange's permission sets: names in
order with blanks between them, and `` & `` between sets of which an account needs one each; null where none is told."""

BORROW: dict[str, pl.DataType] = {
    "base": pl.String(),
    "from": INSTANT,
    "rate": pl.Float64(),
    "source": pl.String(),
    "known_at": INSTANT,
}
"""``rate`` is a year's, as a share of the value borrowed; it holds from ``from`` on, and nobody knew before
``known_at``."""

QUARANTINE: dict[str, pl.DataType] = {
    "source": pl.String(),
    "row": pl.Int64(),
    "symbol": pl.String(),
    "open_time": INSTANT,
    "reason": pl.String(),
    "raw": pl.String(),
}
"""``row`` counts from 0 in the source; ``symbol`` and ``open_time`` are null where none can be read; ``raw`` is the row
as JSON."""

CANDIDATES: dict[str, pl.DataType] = {
    "scanner": pl.String(),
    "as_of": INSTANT,
    "scanned_at": INSTANT,
    "provider": pl.String(),
    "rank": pl.Int32(),
    "symbol": pl.String(),
    "fields": pl.String(),
    "request": pl.String(),
    "response_sha256": pl.String(),
}
"""``fields`` is what the provider said of the symbol, as JSON. The row of rank 0 is of the scan itself: no symbol, and
the request and the hash of the answer, which are null elsewhere."""


def ratings_table(edition: str) -> str:
    """Return the name of the table that holds the ratings of an edition: the plain one is the default's.

    >>> ratings_table("2026"), ratings_table("2021")
    ('ratings', 'ratings_2021')
    """
    return "ratings" if edition in (DEFAULT_EDITION, MIXED_EDITION) else f"ratings_{edition}"


KEYS: dict[str, tuple[str, ...]] = {
    "bars": ("symbol", "interval", "open_time"),
    "ratings": ("symbol", "interval", "open_time"),
    "instruments": ("symbol", "valid_from"),
    "borrow": ("base", "from", "known_at"),
    "candidates": ("scanner", "as_of", "scanned_at", "rank"),
    "quarantine": ("source", "row"),
}

ORDER: dict[str, tuple[str, ...]] = {
    "bars": ("open_time", "symbol"),
    "ratings": ("open_time", "symbol"),
    "instruments": ("symbol", "valid_from"),
    "borrow": ("base", "from", "known_at"),
    "candidates": ("as_of", "scanned_at", "scanner", "rank"),
    "quarantine": ("source", "row"),
}
"""Order of rows in the files and of what a snapshot returns; time first, so that row groups prune by time."""
