"""Judge the rows of a source: each is a bar of the lake, or goes to quarantine with one named reason.

No row is lost and none is mended. A reason is the first that applies, in the order of :data:`REASONS`; duplicates are
looked for among what is left, so that a broken row never takes a good one with it.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from assay.base.domain import EARLIEST, INTERVALS, LATEST, UTC, symbol_fault
from assay.base.errors import SourceError
from assay.market.schema import BAR_VALUES, BARS, INSTANT, QUARANTINE
from assay.market.whole import EXCHANGE, STRAY, check_end, check_names, check_volumes, strays
from assay.runs.documents import Finding

PRICES = ("open", "high", "low", "close")
REQUIRED = ("symbol", "timestamp", *PRICES, "volume")
OPTIONAL = ("quote_volume",)

REASONS = {
    "NULL": "a required value is missing",
    "SYMBOL": "the symbol holds a slash, two colons, a control character or white space, or nothing",
    "LOOK_ALIKE": "another symbol is the same name in Unicode's normal form, and came first",
    "BAD_TIMESTAMP": "the time stamp lies outside 2009 to 2100, or between two microseconds",
    "NAN": "a value is not a number",
    "INFINITE": "a value is infinite",
    "NON_POSITIVE": "a price is zero or negative",
    "NEGATIVE_VOLUME": "a volume is negative",
    "INCONSISTENT_OHLC": "open, close or low lies above high, or open, close or high below low",
    "OFF_GRID": "the bar does not open on the grid of the interval",
    "FUTURE": "the bar opens in the future",
    "FORMING": "the bar had not closed when it was read",
    STRAY: "the day lies more than ten days from all days on which more than a few coins have a bar",
    "DUPLICATE_UNFINISHED": "another row of this symbol and time has the same open, no less range, and no less volume",
    "DUPLICATE_CONFLICT": "several rows of one symbol and time differ",
}
"""Why a row is in quarantine, in order of precedence."""

# How much it takes to say that a symbol's bars are of another interval than the file's, and not only odd rows or gaps.
_FINER_STEPS = 3
_COARSER_STEPS = 20
_COARSER_SHARE = 0.9


@dataclass(frozen=True)
class CheckedBars:
    """Outcome of :func:`check`."""

    bars: pl.DataFrame
    """Good bars with the lake's columns but ``listing``, sorted by (open_time, symbol)."""
    rejected: pl.DataFrame
    """The lake's ``quarantine`` columns, sorted by row."""
    interval: str
    """One of :data:`assay.base.domain.INTERVALS`."""
    findings: tuple[Finding, ...]
    """What a reader must know; ``QUARANTINE_<reason>`` for every reason that occurred."""


def check(
    raw: pl.DataFrame,
    *,
    where: str,
    source: str,
    now: dt.datetime,
    interval: str | None = None,
    held: Collection[str] = (),
    exchange: str = EXCHANGE,
) -> CheckedBars:
    """Judge every row of a table of bars.

    Parameters
    ----------
    raw : DataFrame
        Columns :data:`REQUIRED` and perhaps :data:`OPTIONAL`; others are ignored, with a finding.
    where : str
        Name of the file, for messages.
    source : str
        What goes into the column ``source``.
    now : datetime
        Instant of reading: a bar that closes later is not known yet.
    interval : str, optional
        Interval of the bars, a day at most, where it is known; inferred where None. Known, as of an exchange, a table
        without any usable row is no error: every row is refused by name.
    held : collection of str
        Symbols that the lake has and the table need not have; see :func:`look_alikes`.
    exchange : str
        Whose pairs symbols are that name no exchange.

    Raises
    ------
    SourceError
        If columns or types are wrong, time stamps have no unit or several, the interval cannot be told or is not the
        same throughout, or no row is usable.

    Examples
    --------
    >>> days = [dt.datetime(2024, 1, d, tzinfo=UTC) for d in (1, 2, 3)]
    >>> raw = pl.DataFrame({"symbol": "BINANCE:BTCUSDT", "timestamp": days, "open": [1.0, 2, 3], "high": [2.0, 3, 1],
    ...                     "low": 1.0, "close": [1.0, 2, 3], "volume": 1.0})
    >>> checked = check(raw, where="x", source="parquet", now=dt.datetime(2024, 2, 1, tzinfo=UTC))
    >>> checked.interval, checked.bars.height, checked.rejected["reason"].to_list()
    ('1d', 2, ['INCONSISTENT_OHLC'])
    """
    findings: list[Finding] = []
    _check_columns(raw, where, findings)
    read = {} if interval else _read_names(raw, where, findings, exchange)
    table = _typed(raw, where, findings, held, read).with_columns(_value_reason().alias("reason"))
    good = table.filter(pl.col("reason").is_null())
    if good.is_empty() and interval is None:
        raise _nothing_left(table, where)
    ordered = _ordered(good)
    findings += _disorder(ordered)
    inferred, (interval, phase) = interval is None, (interval, 0) if interval else _interval(ordered, where)
    ordered = ordered.with_columns(_time_reason(interval, phase, now).alias("reason"))
    if inferred and interval == "1d":
        ordered = _mark_strays(ordered)
    ordered, same = _duplicates(ordered)
    bars = ordered.filter(pl.col("reason").is_null())
    if bars.is_empty() and inferred:
        raise _nothing_left(ordered, where)
    if same:
        findings.append(Finding(code="DUPLICATE_SAME", what="identical rows were stored once", count=same))
    judged = (table.filter(pl.col("reason").is_not_null()), ordered.filter(pl.col("reason").is_not_null()))
    rejected = _quarantine(raw, judged, source)
    if inferred:
        findings += [*check_volumes(bars, where), *check_end(bars, rejected)]
    findings += _rejections(rejected)
    return CheckedBars(_as_bars(bars, interval, source), rejected, interval, tuple(findings))


def _as_bars(bars: pl.DataFrame, interval: str, source: str) -> pl.DataFrame:
    constant = {"interval": pl.lit(interval), "source": pl.lit(source)}
    columns = [constant.get(name, pl.col(name)).alias(name) for name in BARS if name != "listing"]
    return bars.sort("open_time", "code").select(columns)


def _column_faults(raw: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with columns and types, and what to do."""
    missing = [name for name in REQUIRED if name not in raw.columns]
    if missing:
        hint = f"needed are {', '.join(REQUIRED)}; {', '.join(OPTIONAL)} is optional"
        yield f"columns are missing: {', '.join(missing)}", hint
    for name in (*PRICES, "volume", *OPTIONAL):
        dtype = raw.schema.get(name, pl.Null())
        if not (dtype.is_numeric() or dtype == pl.Null()):
            yield f"column {name} is {dtype}, not a number", "write prices and volumes as numbers"
    if raw.schema["symbol"] not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        yield f"column symbol is {raw.schema['symbol']}, not text", "write symbols as BINANCE:BTCUSDT"


def _check_columns(raw: pl.DataFrame, where: str, findings: list[Finding]) -> None:
    fault = next(_column_faults(raw), None)
    if fault is not None:
        raise SourceError(fault[0], where=where, hint=fault[1], code="SOURCE_COLUMNS")
    extra = sorted(set(raw.columns) - {*REQUIRED, *OPTIONAL})
    if extra:
        findings.append(
            Finding(code="EXTRA_COLUMNS", what="columns that no bar has were ignored", count=len(extra), names=extra)
        )


def look_alikes(names: Collection[str], held: Collection[str] = ()) -> set[str]:
    r"""Return the names that are another one's in Unicode's normal form (NFC), all but the first of each form.

    The first is the one that the lake has, else the least by code points. Nobody could tell the two apart in a report,
    and the contract of returns refuses a table that has both.

    >>> two = ["X:CAF\u00c9USDT", "X:CAFE\u0301USDT"]
    >>> look_alikes(two) == {two[0]}, look_alikes(two, held=[two[0]]) == {two[1]}
    (True, True)
    """
    if all(map(str.isascii, names)) and all(map(str.isascii, held)):
        return set()
    first: dict[str, str] = {}
    for name in (*sorted(held), *sorted(names)):
        first.setdefault(unicodedata.normalize("NFC", name), name)
    return {name for name in names if first[unicodedata.normalize("NFC", name)] != name}


def _read_names(raw: pl.DataFrame, where: str, findings: list[Finding], exchange: str) -> dict[str, str]:
    """Read the names of a file's coins, in whichever notation they are."""
    names = raw["symbol"].cast(pl.String).unique().drop_nulls().to_list()
    read, found = check_names([name for name in names if name.strip()], where, exchange) if names else ({}, [])
    findings += found
    return read


def _mark_strays(ordered: pl.DataFrame) -> pl.DataFrame:
    odd = strays(ordered.filter(pl.col("reason").is_null()).select("code", "open_time", "row"))
    if odd.is_empty():
        return ordered
    stray = pl.col("row").is_in(odd["row"].to_list())
    return ordered.with_columns(pl.when(stray).then(pl.lit(STRAY)).otherwise("reason").alias("reason"))


def _typed(
    raw: pl.DataFrame, where: str, findings: list[Finding], held: Collection[str], read: dict[str, str]
) -> pl.DataFrame:
    """Give every column the lake's type, with the row's number, the symbol's rank, and what the reasons look at."""
    if "quote_volume" not in raw.columns:
        findings.append(
            Finding(code="NO_QUOTE_VOLUME", what="there is no quote volume; value traded is close x volume instead")
        )
    values = [
        (pl.col(name) if name in raw.columns else pl.lit(None)).cast(pl.Float64).alias(name) for name in BAR_VALUES
    ]
    table = raw.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.col("symbol").cast(pl.String).replace(read),
        pl.col("timestamp").is_not_null().alias("stamped"),
        open_times(raw["timestamp"], where, findings),
        *values,
    )
    names = table["symbol"].unique().drop_nulls().sort()
    bad = [name for name in names.to_list() if symbol_fault(name) is not None]
    # Codes in the order of the names: comparing and sorting integers is several times faster than text.
    return table.with_columns(
        pl.col("symbol").cast(pl.Enum(names)).to_physical().cast(pl.Int64).alias("code"),
        pl.col("symbol").is_in(bad).alias("bad_symbol"),
        pl.col("symbol").is_in(look_alikes(names.to_list(), held)).alias("look_alike"),
    )


def _value_reason() -> pl.Expr:
    needed = (*PRICES, "volume")
    top, bottom = pl.max_horizontal("open", "close", "low"), pl.min_horizontal("open", "close", "high")
    faults = {
        "NULL": pl.any_horizontal(pl.col("symbol", *needed).is_null(), ~pl.col("stamped")),
        "SYMBOL": pl.col("bad_symbol"),
        "LOOK_ALIKE": pl.col("look_alike"),
        "BAD_TIMESTAMP": pl.col("open_time").is_null(),
        "NAN": pl.any_horizontal(pl.col(BAR_VALUES).is_nan()),
        "INFINITE": pl.any_horizontal(pl.col(BAR_VALUES).is_infinite()),
        "NON_POSITIVE": pl.min_horizontal(PRICES) <= 0,
        "NEGATIVE_VOLUME": pl.min_horizontal("volume", "quote_volume") < 0,
        "INCONSISTENT_OHLC": (pl.col("high") < top) | (pl.col("low") > bottom),
    }
    return _first(faults)


def _first(faults: dict[str, pl.Expr]) -> pl.Expr:
    """Return the name of the first fault that holds, else null."""
    names = [pl.when(fault).then(pl.lit(name)) for name, fault in faults.items()]
    return pl.coalesce(names)


def _ordered(good: pl.DataFrame) -> pl.DataFrame:
    """Sort by symbol, time and row, with the distance to the bar before (null at a symbol's first)."""
    ordered = good.sort("code", "open_time", "row")
    same = pl.col("code") == pl.col("code").shift()
    return ordered.with_columns(
        pl.when(same).then(pl.col("open_time").diff().dt.total_microseconds()).alias("step"),
        pl.when(same).then(pl.col("row").diff()).alias("row_step"),
    )


def _disorder(ordered: pl.DataFrame) -> list[Finding]:
    backwards = ordered.filter(pl.col("row_step") < 0)
    if backwards.is_empty():
        return []
    names = backwards["symbol"].unique().sort().to_list()
    what = "rows of a symbol were not in order of time; they were sorted"
    return [Finding(code="UNORDERED", what=what, count=backwards.height, names=names)]


def _interval(ordered: pl.DataFrame, where: str) -> tuple[str, int]:
    """Infer the interval: the most frequent distance between neighbours; return it and the phase of its grid (us)."""
    steps = ordered.filter(pl.col("step") > 0).group_by("symbol", "step").len()
    if steps.is_empty():
        raise SourceError(
            "the interval cannot be told: no symbol has two bars",
            where=where,
            hint="give at least two neighbouring bars of one symbol",
            code="INTERVAL_UNKNOWN",
        )
    total = steps.group_by("step").agg(pl.col("len").sum()).sort(["len", "step"], descending=[True, False])
    step = int(total["step"][0])
    names = {length // dt.timedelta(microseconds=1): name for name, length in INTERVALS.items()}
    if step not in names:
        raise SourceError(
            f"most bars are {step / 1e6:g} s apart, which is no interval",
            where=where,
            hint=f"known are {', '.join(INTERVALS)}",
            code="INTERVAL_UNKNOWN",
        )
    _check_one_interval(steps, step, names, where)
    return names[step], _phase(ordered, step, names[step], where)


def _check_one_interval(steps: pl.DataFrame, step: int, names: dict[int, str], where: str) -> None:
    """Refuse a file in which some symbols' bars are of another interval: they would pass for bars that they are not."""
    modal = (
        steps.with_columns(pl.col("len").sum().over("symbol").alias("all"))
        .sort(["len", "step"], descending=[True, False])
        .group_by("symbol", maintain_order=True)
        .first()
    )
    finer = (pl.col("step") < step) & (pl.col("len") >= _FINER_STEPS)
    # A symbol of many gaps is not one of longer bars: those keep nearly always the same distance.
    share = pl.col("len") / pl.col("all")
    coarser = (pl.col("step") > step) & (pl.col("len") >= _COARSER_STEPS) & (share >= _COARSER_SHARE)
    other = modal.filter((finer | coarser) & pl.col("step").is_in(list(names))).sort("symbol")
    if not other.is_empty():
        shown = ", ".join(f"{s} {names[n]}" for s, n in other.select("symbol", "step").head(5).iter_rows())
        raise SourceError(
            f"bars of several intervals: most are {names[step]}, but {shown}" + (" ..." if other.height > 5 else ""),
            where=where,
            hint="write one file for each interval",
            code="INTERVAL_MIXED",
        )


def _phase(ordered: pl.DataFrame, step: int, interval: str, where: str) -> int:
    """Return where in an interval its bars open: at 0 for a day and less, at most bars' place for longer ones."""
    places = (ordered["open_time"].dt.epoch("us") % step).value_counts()
    usual = int(places.sort(["count", "open_time"], descending=[True, False])["open_time"][0])
    if step <= INTERVALS["1d"] // dt.timedelta(microseconds=1):
        if usual:
            raise SourceError(
                f"most {interval} bars open {dt.timedelta(microseconds=usual)} after the interval's start in UTC",
                where=where,
                hint="convert the time stamps to UTC; they are the opening times of bars",
                code="OFF_GRID",
            )
        return 0
    return usual


def _time_reason(interval: str, phase: int, now: dt.datetime) -> pl.Expr:
    length = INTERVALS[interval]
    step = length // dt.timedelta(microseconds=1)
    at = pl.lit(now.astimezone(UTC)).cast(INSTANT)
    return _first(
        {
            "OFF_GRID": (pl.col("open_time").dt.epoch("us") - phase) % step != 0,
            "FUTURE": pl.col("open_time") > at,
            "FORMING": pl.col("open_time") + length > at,
        }
    )


def _duplicates(ordered: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Keep one whole row of each key, drop and count its equals, and mark the others; mark all where none is whole.

    A row is whole where every other could be it before the bar had closed: one open, no wider range, no more volume.
    Where two different rows are whole, either could be the unfinished one.
    """
    usable = ordered.filter(pl.col("reason").is_null())
    key = ["code", "open_time"]
    twice = usable.filter(pl.struct(key).is_duplicated()) if (ordered["step"] == 0).any() else usable.clear()
    if twice.is_empty():
        return ordered, 0
    whole = (pl.col("open").n_unique() == 1) & pl.all_horizontal(
        pl.col("high") == pl.col("high").max(),
        pl.col("low") == pl.col("low").min(),
        pl.col("volume") == pl.col("volume").max(),
    )
    judged = twice.with_columns(whole.over(key).alias("whole"))
    kinds = judged.group_by(key).agg(
        (pl.struct(BAR_VALUES).filter("whole").n_unique() == 1).alias("settled"),
        pl.col("row").filter("whole").min().alias("kept"),
    )
    marked = (
        ordered.join(judged.select("row", "whole"), on="row", how="left", maintain_order="left")
        .join(kinds, on=key, how="left", maintain_order="left")
        .with_columns((pl.col("whole") & pl.col("settled") & (pl.col("row") != pl.col("kept"))).alias("surplus"))
    )
    unfinished = pl.col("settled") & ~pl.col("whole")
    reason = (
        pl.when(unfinished)
        .then(pl.lit("DUPLICATE_UNFINISHED"))
        .when(~pl.col("settled") & pl.col("whole").is_not_null())
        .then(pl.lit("DUPLICATE_CONFLICT"))
        .otherwise("reason")
    )
    left = marked.filter(~pl.col("surplus").fill_null(False)).with_columns(reason.alias("reason"))
    return left.select(ordered.columns), int(marked["surplus"].sum())


def _quarantine(raw: pl.DataFrame, judged: Sequence[pl.DataFrame], source: str) -> pl.DataFrame:
    rows = pl.concat([part.select("row", "symbol", "open_time", "reason") for part in judged]).sort("row")
    texts = [json.dumps(row, ensure_ascii=False, default=str) for row in raw[rows["row"]].iter_rows(named=True)]
    raw_rows = pl.Series("raw", [_standard(text) for text in texts], dtype=pl.String)
    return rows.with_columns(raw_rows, pl.lit(source).alias("source")).select(list(QUARANTINE))


def _standard(text: str) -> str:
    """Put what JSON has no number for between quotes; such rows are rare, so that parsing them again costs nothing."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False)


def _rejections(rejected: pl.DataFrame) -> list[Finding]:
    found = {
        str(reason): (rows.height, rows["symbol"].drop_nulls().unique().sort().to_list())
        for (reason,), rows in rejected.group_by("reason")
    }
    return [
        Finding(
            code=f"QUARANTINE_{reason}",
            what=f"rows were put aside: {text}",
            count=found[reason][0],
            names=found[reason][1],
        )
        for reason, text in REASONS.items()
        if reason in found
    ]


def _nothing_left(judged: pl.DataFrame, where: str) -> SourceError:
    counts = judged["reason"].drop_nulls().value_counts(sort=True)
    told = ", ".join(f"{count} {reason} ({REASONS[reason]})" for reason, count in counts.iter_rows())
    return SourceError(
        f"no usable bar: {told or 'the table has no rows'}", where=where, hint="mend the file", code="SOURCE_EMPTY"
    )


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
    return int(EARLIEST.timestamp()) * _PER_SECOND[unit], int(LATEST.timestamp()) * _PER_SECOND[unit]


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
