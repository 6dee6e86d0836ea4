"""Read a file's time stamps, whatever their type, and tell the unit of epoch numbers."""

from __future__ import annotations

import datetime as dt

import polars as pl

from assay.base.domain import UTC
from assay.base.errors import SourceError
from assay.runs.documents import Finding

_EARLIEST = dt.datetime(2009, 1, 1, tzinfo=UTC)  # no coin was traded before
_LATEST = dt.datetime(2100, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def open_times(stamps: pl.Series, where: str, findings: list[Finding]) -> pl.Series:
    """Read time stamps of any accepted type.

    Parameters
    ----------
    stamps : Series
        Datetimes of any unit (without a zone: UTC, with a finding), dates, or whole epoch numbers of one unit.
    where : str
        Name of the file, for messages.
    findings : list of Finding
        Grows by what a reader must know.

    Returns
    -------
    Series of Datetime("us", "UTC")
        ``open_time``; null where a stamp is null, lies outside 2009 to 2100, or between two microseconds.

    Raises
    ------
    SourceError
        If the type is another one, the units are several, or no stamp is sane: ``TIMESTAMP_TYPE``,
        ``TIMESTAMP_UNITS_MIXED``, ``TIMESTAMP_UNIT``.

    Examples
    --------
    >>> open_times(pl.Series([1_704_067_200_000]), "x", [])[0].isoformat()
    '2024-01-01T00:00:00+00:00'
    """
    if isinstance(stamps.dtype, pl.Datetime):
        if stamps.dtype.time_zone is None:
            what = "time stamps carry no time zone and were read as UTC"
            findings.append(Finding(code="TIMESTAMP_NAIVE", what=what))
        return _in_range(stamps.to_physical(), stamps.dtype.time_unit, where)
    if stamps.dtype == pl.Date:
        return _in_range(stamps.to_physical().cast(pl.Int64) * 86_400, "s", where)
    if stamps.dtype.is_integer():
        whole = stamps.cast(pl.Int64, strict=False)
        return _in_range(whole, _unit(whole, where), where)
    raise SourceError(
        f"column timestamp is {stamps.dtype}",
        where=where,
        hint="write datetimes in UTC, or whole epoch milliseconds",
        code="TIMESTAMP_TYPE",
    )


def _limits(unit: str) -> tuple[int, int]:
    return int(_EARLIEST.timestamp()) * _PER_SECOND[unit], int(_LATEST.timestamp()) * _PER_SECOND[unit]


def _unit(stamps: pl.Series, where: str) -> str:
    """Tell the unit of epoch numbers by their size; the sane ranges of two units never meet."""
    counts = {unit: int(stamps.is_between(*_limits(unit), closed="left").sum()) for unit in _PER_SECOND}
    fitting = {unit: count for unit, count in counts.items() if count}
    if len(fitting) > 1:
        seen = ", ".join(f"{count} in {unit}" for unit, count in fitting.items())
        raise SourceError(
            f"time stamps have several units: {seen}",
            where=where,
            hint="write all in milliseconds (Binance's archive files turned to microseconds on 2025-01-01)",
            code="TIMESTAMP_UNITS_MIXED",
        )
    return next(iter(fitting), "ms")


def _in_range(stamps: pl.Series, unit: str, where: str) -> pl.Series:
    low, high = _limits(unit)
    per_second = _PER_SECOND[unit]
    sane = stamps.is_between(low, high - 1)
    if per_second > 10**6:
        sane &= stamps % (per_second // 10**6) == 0
    if stamps.len() > stamps.null_count() and not sane.any():
        raise SourceError(
            "no time stamp lies between 2009 and 2100",
            where=where,
            hint="write datetimes in UTC, or epoch seconds, milliseconds or microseconds",
            code="TIMESTAMP_UNIT",
        )
    kept = stamps.set(~sane.fill_null(False), None)  # before the change of unit, which could overflow
    micros = kept * (10**6 // per_second) if per_second <= 10**6 else kept // (per_second // 10**6)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("open_time")
