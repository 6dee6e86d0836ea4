"""Answers of an exchange or its archive as one table, judged like any file of bars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from assay.base.errors import SourceError
from assay.market.bars import Checked, check
from assay.market.schema import BARS, QUARANTINE
from assay.sources.exchange import Row

_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume")


def frame(answers: dict[str, list[Row]]) -> pl.DataFrame:
    """Return answers as one table with the columns of a file of bars, in the order in which they came."""
    names = [symbol for symbol, rows in answers.items() for _ in rows]
    columns: Sequence[Sequence[Any]] = list(zip(*(row for rows in answers.values() for row in rows), strict=True)) or [
        ()
    ] * len(_COLUMNS)
    data = {"symbol": pl.Series("symbol", names, dtype=pl.String)}
    for name, values in zip(_COLUMNS, columns, strict=True):
        data[name] = _typed(name, values)
    return pl.DataFrame(data)


def _typed(name: str, values: Sequence[Any]) -> pl.Series:
    if name == "timestamp":
        return pl.Series(name, values, dtype=pl.Int64)
    if values and isinstance(values[0], str):
        try:
            return pl.Series(name, values, dtype=pl.String).cast(pl.Float64)
        except pl.exceptions.InvalidOperationError as error:
            raise SourceError(
                f"a {name} is no number: {str(error).splitlines()[0][:200]}",
                where="klines",
                hint="nothing was stored; try again later",
                code="SOURCE_SCHEMA",
            ) from error
    return pl.Series(name, values, dtype=pl.Float64)


def judge(fresh: pl.DataFrame, where: str, kind: str, now: dt.datetime, held: Collection[str] = ()) -> Checked:
    """Judge fetched rows, of a lake that holds these symbols; no row at all is no fault here."""
    if fresh.is_empty():
        bars = pl.DataFrame(schema={name: dtype for name, dtype in BARS.items() if name != "listing"})
        return Checked(bars, pl.DataFrame(schema=QUARANTINE), "1d", ())
    return check(fresh, where=where, source=kind, now=now, interval="1d", held=held)
