"""Whether two worlds are the same, byte by byte: rows of tables, values inside a decision, panels of bars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from assay.backtest.book import REBALANCE
from assay.base.constants import Ints
from assay.base.domain import DAY, UTC
from assay.base.estimator import Estimator
from assay.market.panel import Market

WORDS = 60
"""Characters of a value that a violation shows."""


@dataclass(frozen=True)
class Reach:
    """Which rows are settled by a date."""

    as_of: dt.datetime
    filled: dt.datetime
    """Last instant of a decision that both worlds can fill."""
    at_open: bool
    """The next open is known too, and with it what trades there."""

    def rows(self, name: str, frame: pl.DataFrame, fills: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of one table; ``fills`` says when the true world's decisions are filled."""
        last = (self.as_of - DAY).date()
        if "as_of" in frame.columns:
            rows = frame.filter(pl.col("as_of") <= self.filled)
            return _settled_profits(name, rows, last, fills) if "pnl" in rows.columns else rows
        settled = pl.col("date") <= last
        if self.at_open and name in ("trades", "cancelled"):
            opening = pl.col("date") == self.as_of.date()
            settled |= opening & (pl.col("reason") == REBALANCE) if name == "trades" else opening
        return frame.filter(settled)


def _settled_profits(name: str, rows: pl.DataFrame, last: dt.date, decisions: pl.DataFrame) -> pl.DataFrame:
    """Blank profits of a holding that no decision of its tranche has ended, and rows that exist for them only."""
    own = decisions.sort("as_of")
    own = own.drop_nulls("tranche") if name == "weights" else own.filter("phase").with_columns(tranche=0)
    following = pl.col("fill_date").shift(-1).over("tranche", order_by="as_of")
    ended = own.select("as_of", (following <= last).alias("ended"))
    known = rows.join(ended, on="as_of", how="left", maintain_order="left")
    settled = pl.col("ended").fill_null(value=False)
    blank = pl.when(settled).then("pnl").alias("pnl")
    return known.filter(settled | (pl.col("net_weight") != 0.0)).with_columns(blank).drop("ended")


def difference(mine: pl.DataFrame, theirs: pl.DataFrame, keys: Sequence[str]) -> str | None:
    """Return the first difference of two tables in words, or None where every byte is the same.

    A column without any value has no type to differ in, and may be absent.

    Examples
    --------
    >>> difference(pl.DataFrame({"k": [1, 2], "v": [0.5, 0.25]}), pl.DataFrame({"k": [1, 2], "v": [0.5, 0.3]}), ["k"])
    'row k=2: v: 0.25 -> 0.3'
    """
    if not mine.select(keys).equals(theirs.select(keys)):
        return _other_keys(mine.select(keys).rows(), theirs.select(keys).rows(), keys)
    found: tuple[int, str] | None = None
    for column in dict.fromkeys([*mine.columns, *theirs.columns]):
        apart = _first_apart(_column(mine, column), _column(theirs, column))
        if apart is not None and (found is None or apart < found[0]):
            found = (apart, column)
    if found is None:
        return None
    row, name = found
    values = [_column(table, name)[row] for table in (mine, theirs)]
    return f"row {_named(keys, mine.select(keys).row(row))}: {name}: {values[0]!r} -> {values[1]!r}"


def _other_keys(mine: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]], keys: Sequence[str]) -> str:
    known, others = set(mine), set(theirs)
    gone = next((key for key in mine if key not in others), None)
    if gone is not None:
        return f"row {_named(keys, gone)}: is gone"
    come = next((key for key in theirs if key not in known), None)
    return "rows are in another order, or twice" if come is None else f"row {_named(keys, come)}: was not there"


def _named(keys: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    return frame[name] if name in frame.columns else pl.Series(name, [None] * frame.height)


def _first_apart(mine: pl.Series, theirs: pl.Series) -> int | None:
    """Return the first row in which two columns differ by a bit."""
    if mine.null_count() == len(mine) and theirs.null_count() == len(theirs):
        return None
    if mine.dtype != theirs.dtype:
        return 0
    if mine.dtype.is_float():
        apart = _bits(mine) != _bits(theirs)
        apart |= (mine.is_null() != theirs.is_null()).to_numpy()
    else:
        apart = (~mine.eq_missing(theirs)).to_numpy()
    return int(apart.argmax()) if apart.any() else None


def _bits(column: pl.Series) -> Ints:
    return np.ascontiguousarray(column.fill_null(0.0).to_numpy()).view(np.int64)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Walk through a decision and yield every value in it with its path, as bytes.

    Parameters
    ----------
    value : object
        Data classes, documents, estimators, mappings, sequences, arrays and scalars.
    path : str
        Where it stands.

    Examples
    --------
    >>> list(leaves({"b": [1.0, None], "a": "x"}))
    [('.a', b"'x'"), ('.b[0]', b'1.0'), ('.b[1]', b'None')]
    """
    if isinstance(value, BaseModel):
        yield path, value.model_dump_json().encode()
    elif isinstance(value, np.ndarray):
        yield path, f"{value.dtype.str}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, (Mapping, Estimator)) or is_dataclass(value):
        for name, part in _parts(value):
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from leaves(part, f"{path}[{place}]")
    elif isinstance(value, (set, frozenset)):
        yield path, repr(sorted(value)).encode()
    elif value is None or isinstance(value, (bool, int, float, str, dt.datetime, Enum, np.generic)):
        yield path, repr(value).encode()
    else:
        raise TypeError(f"a decision holds a {type(value).__name__} at {path}, which cannot be compared")


def _parts(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return sorted((str(name), part) for name, part in value.items())
    if isinstance(value, Estimator):  # what it learned stands beside its parameters
        return sorted(vars(value).items())
    assert is_dataclass(value)
    return [(part.name, getattr(value, part.name)) for part in fields(value)]


def shown(mine: bytes | None, theirs: bytes | None) -> str:
    r"""Tell two unequal values of :func:`leaves` in words, from a little before the first byte in which they differ.

    >>> shown(b"0.5", b"0.25"), shown(None, b"\x00\x01")
    ('0.5 -> 0.25', 'absent -> 2 bytes')
    """
    first = next((i for i, pair in enumerate(zip(mine or b"", theirs or b"", strict=False)) if pair[0] != pair[1]), 0)
    begin = max(0, first - WORDS // 2)
    return " -> ".join(_excerpt(value, begin) for value in (mine, theirs))


def _excerpt(value: bytes | None, begin: int) -> str:
    if value is None:
        return "absent"
    text = value.decode(errors="replace")[begin : begin + WORDS]
    return text if text.isprintable() and "\ufffd" not in text else f"{len(value)} bytes"


def panel_difference(mine: Market, theirs: Market, as_of: dt.datetime) -> tuple[int, str | None]:
    """Compare the rows of two panels up to a date, byte by byte; coins may have come or gone after it.

    Returns
    -------
    rows : int
        Days compared.
    fault : str or None
        The first field, coin and day that differ.
    """
    end = int(np.searchsorted(mine.days, np.datetime64(as_of.astimezone(UTC).replace(tzinfo=None), "D")))
    if not np.array_equal(mine.days[:end], theirs.days[:end]):
        return end, "the days differ"
    for name in sorted(set(mine.symbols) ^ set(theirs.symbols)):
        world = mine if name in mine.index else theirs
        if (world.listing[:end, world.index[name]] >= 0).any():
            return end, f"{name} has bars by then in one world only"
    both = [name for name in mine.symbols if name in theirs.index]
    here, there = ([world.index[name] for name in both] for world in (mine, theirs))
    for name in (*mine.fields, "listing"):
        before, after = (world.listing if name == "listing" else world[name] for world in (mine, theirs))
        bits = np.int32 if name == "listing" else np.int64
        left, right = (
            np.ascontiguousarray(before[:end, here]).view(bits),
            np.ascontiguousarray(after[:end, there]).view(bits),
        )
        if not np.array_equal(left, right):
            day, coin = np.argwhere(left != right)[0].tolist()
            values = f"{before[day, here[coin]]} -> {after[day, there[coin]]}"
            return end, f"{name} of {both[coin]} on {mine.days[day]}: {values}"
    return end, None
