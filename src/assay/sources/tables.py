"""What stands in a file of bars, whoever wrote it: Parquet, CSV, or the klines that exchanges publish.

A table becomes one of the columns that :mod:`assay.market.bars` judges. Columns have the names that
``[source.columns]`` maps, else Assay's own, else one of the usual other names. A coin that no column names is told by
the file's name.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from assay.base.domain import INTERVALS, Instrument
from assay.base.errors import SourceError, UsageError
from assay.market.bars import OPTIONAL, PRICES, REQUIRED, open_times
from assay.market.schema import INSTANT
from assay.market.whole import read_symbols
from assay.runs.documents import Finding

KLINE = ("timestamp", *PRICES, "volume", "close_time", "quote_volume", "count", "taker_base", "taker_quote", "ignore")
"""Columns of Binance's kline files, which have no line of names."""
USUAL = {
    "symbol": ("pair", "ticker"),
    "timestamp": ("opentime", "time", "date", "datetime"),
    "volume": ("volumebase", "basevolume", "basevol"),
    "quote_volume": ("quotevolume", "quoteassetvolume", "volumequote", "quotevol", "turnover"),
}
"""Other names of columns, in small letters without spaces and underscores."""
ENDINGS = (".csv", ".zip")
_MOST = 1 << 31
_MICROSECONDS = 10**15
"""Epoch numbers from here on count microseconds: as milliseconds they would lie beyond the year 33,000."""
_INTERVAL = "|".join(sorted(INTERVALS, key=len, reverse=True))
_NAME = re.compile(rf"(?P<name>.+?)(?:[-_, ]+(?P<interval>{_INTERVAL}|1D))?(?:[-_]\d{{4}}(?:-\d{{2}}){{0,2}})?")
_HINT = 'say which column is which in assay.toml: [source.columns], timestamp = "date"'


def parquet_table(data: bytes, name: str, where: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return the table of a Parquet file with the columns of bars.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        Its name, by which a coin is told where no column does.
    where : str
        What messages call it.
    columns : mapping of str to str
        Assay's name of a column to the file's.
    """
    try:
        raw = pl.read_parquet(io.BytesIO(data), hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # one damaged file in a thousand panics
        what = f"the file is not Parquet, or is damaged: {str(error).splitlines()[0]}"
        hint = "write it again, as Parquet with the columns of bars; or give csv:PATH"
        raise SourceError(what, where=where, hint=hint, code="SOURCE_MALFORMED") from error
    return with_symbol(renamed(raw, where, columns), name, where)


def csv_table(path: Path, where: str, columns: Mapping[str, str]) -> tuple[pl.DataFrame, list[Finding]]:
    """Return the bars of a CSV, of a zip that holds one, or of a folder of either, and what a reader must know.

    Raises
    ------
    SourceError
        If a file is no table, a value no number, a time no time, or nothing tells the coin.
    OSError
        If a file cannot be read.
    """
    if not path.is_dir():
        return _csv_file(path.read_bytes(), path.name, where, columns)
    found = csv_files(path)
    if not found:
        hint = "give a folder of files such as BTCUSDT-1d-2024-01.csv, or their zips"
        raise SourceError("the folder has no CSV and no zip", where=where, hint=hint, code="SOURCE_EMPTY")
    _check_intervals(found, where)
    parts = [_csv_file(one.read_bytes(), one.name, f"{where}/{one.relative_to(path)}", columns) for one in found]
    findings = {finding.code: finding for _, own in parts for finding in own}
    shared = [*REQUIRED, *(name for name in OPTIONAL if all(name in part.columns for part, _ in parts))]
    return pl.concat([part.select(shared) for part, _ in parts]), list(findings.values())


def csv_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold bars, in the order of their names."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    return sorted(path for path in paths if path.is_file())


def renamed(raw: pl.DataFrame, where: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """Give the columns of a table Assay's names.

    Examples
    --------
    >>> renamed(pl.DataFrame({"Open Time": [1], "Close": [2.0]}), "x", {}).columns
    ['timestamp', 'close']
    """
    given = dict(columns)
    lacking = sorted(name for name in given.values() if name not in raw.columns)
    if lacking:
        what = f"source.columns names {lacking[0]!r}, and the columns are {', '.join(raw.columns)}"
        raise SourceError(what, where=where, hint="mend source.columns in assay.toml", code="SOURCE_COLUMNS")
    taken = {theirs: ours for ours, theirs in given.items()}
    simple: dict[str, list[str]] = {}
    for name in raw.columns:
        simple.setdefault(re.sub(r"[\s_]", "", name.lower()), []).append(name)
    for ours in (*REQUIRED, *OPTIONAL):
        if ours in given or ours in raw.columns:
            continue
        known = (ours.replace("_", ""), *USUAL.get(ours, ()))
        found = [name for one in known for name in simple.get(one, ()) if name not in taken]
        if len(found) > 1:
            what = f"{' and '.join(found)} could both be {ours}"
            raise SourceError(what, where=where, hint=_HINT, code="SOURCE_COLUMNS")
        taken |= dict.fromkeys(found, ours)
    hidden = [ours for theirs, ours in taken.items() if ours in raw.columns and theirs != ours and ours not in taken]
    return raw.drop(hidden).rename({theirs: ours for theirs, ours in taken.items() if theirs != ours})


def with_symbol(table: pl.DataFrame, name: str, where: str) -> pl.DataFrame:
    """Add the coin that a file's name tells where no column does.

    Examples
    --------
    >>> one = pl.DataFrame({"close": [1.0]})
    >>> [with_symbol(one, name, "x")["symbol"][0] for name in ("BTCUSDT-1d-2024-01.csv", "ETH_USDC.csv")]
    ['BTCUSDT', 'ETH/USDC']
    """
    if "symbol" in table.columns:
        return table
    symbol = _coin(name)
    if symbol is None:
        what = (
            f"no column tells the coin (the columns are {', '.join(table.columns)}), nor does the file's name, {name}"
        )
        hint = f"call the file BTCUSDT-1d.csv, or {_HINT.replace('timestamp', 'symbol').replace('date', 'coin')}"
        raise SourceError(what, where=where, hint=hint, code="SOURCE_COLUMNS")
    return table.with_columns(symbol=pl.lit(symbol))


def _coin(name: str) -> str | None:
    """Return the pair that a file's name begins with, ``BTCUSDT`` of ``BTCUSDT-1d-2024-01.zip``."""
    found = _NAME.fullmatch(re.sub(r"(\.(csv|zip|gz|parquet))+$", "", name, flags=re.IGNORECASE))
    stem = found["name"] if found is not None else name
    for told in (stem.replace("_", "/", 1), stem.replace("_", ":", 1), stem.replace("-", "/", 1)):
        try:
            Instrument.parse(read_symbols([told]).get(told, told))
        except UsageError:
            continue
        return told
    return None


def _check_intervals(paths: list[Path], where: str) -> None:
    """Refuse a folder whose file names tell several intervals: their bars would be taken for one another's."""
    told = {found["interval"]: path for path in paths if (found := _NAME.fullmatch(path.stem)) and found["interval"]}
    if len(told) > 1:
        seen = ", ".join(f"{interval} ({path.name})" for interval, path in sorted(told.items()))
        raise SourceError(
            f"files of several intervals: {seen}",
            where=where,
            hint="give the folder of one interval",
            code="INTERVAL_MIXED",
        )


def _csv_file(data: bytes, name: str, where: str, columns: Mapping[str, str]) -> tuple[pl.DataFrame, list[Finding]]:
    data = _unzipped(data, where) if data[:2] == b"PK" else data
    raw = _cells(data.removeprefix(b"\xef\xbb\xbf"), where)
    table = with_symbol(renamed(raw, where, columns), name, where)
    missing = [one for one in REQUIRED if one not in table.columns]
    if missing:
        what = f"columns are missing: {', '.join(missing)}; the columns are {', '.join(raw.columns)}"
        raise SourceError(what, where=where, hint=_HINT, code="SOURCE_COLUMNS")
    findings: list[Finding] = []
    first_line = 1 if tuple(raw.columns) == KLINE else 2
    numbers = [_number(table[one], first_line, where) for one in (*PRICES, "volume", *OPTIONAL) if one in table.columns]
    stamps = open_times(_stamps(table["timestamp"], first_line, where), where, findings)
    return table.select("symbol", stamps.alias("timestamp"), *numbers), findings


def _unzipped(data: bytes, where: str) -> bytes:
    """Return the one table of a zip, as Binance's archive publishes them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) != 1 or members[0].file_size > _MOST:
                what = f"the zip holds {len(members)} files and not one table: {[one.filename for one in members][:3]}"
                hint = "unpack it, and give the folder"
                raise SourceError(what, where=where, hint=hint, code="SOURCE_MALFORMED")
            with archive.open(members[0]) as stream:
                return stream.read(_MOST)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        what = f"the zip is damaged: {error}"
        raise SourceError(what, where=where, hint="fetch it again", code="SOURCE_MALFORMED") from error


def _cells(data: bytes, where: str) -> pl.DataFrame:
    """Return a CSV's cells as text, under the names of its first line or those of klines."""
    line = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    separator = max(",;\t", key=line.count)
    first = next(csv.reader([line], delimiter=separator), [])
    bare = bool(first) and re.fullmatch(r"\d+(\.0*)?", first[0].strip()) is not None
    if not line:
        raise SourceError("the file is empty", where=where, hint="give a CSV of bars", code="SOURCE_EMPTY")
    if bare and len(first) != len(KLINE):
        what = f"the file has no line of names, and {len(first)} columns where Binance's klines have {len(KLINE)}"
        raise SourceError(what, where=where, hint="begin it with a line of names", code="SOURCE_COLUMNS")
    if len(set(first)) < len(first) and not bare:
        what = f"two columns have one name: {line[:100]}"
        raise SourceError(what, where=where, hint="give each column its own", code="SOURCE_COLUMNS")
    try:
        return pl.read_csv(
            data,
            has_header=not bare,
            new_columns=KLINE if bare else [name.strip() for name in first],
            separator=separator,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        what = f"the file is no CSV: {str(error).splitlines()[0]}"
        raise SourceError(what, where=where, hint="write it again", code="SOURCE_MALFORMED") from error


def _number(cells: pl.Series, first_line: int, where: str) -> pl.Series:
    """Read cells as numbers; an empty one is a missing value."""
    plain = cells.str.strip_chars()
    plain = plain.set(plain == "", None)
    numbers = plain.cast(pl.Float64, strict=False)
    _refuse(plain, numbers, first_line, where, "a number", "write numbers as 1234.5")
    return numbers


def _stamps(cells: pl.Series, first_line: int, where: str) -> pl.Series:
    """Read cells as epoch numbers or as dates and times, in UTC where they tell no zone."""
    plain = cells.str.strip_chars()
    plain = plain.set(plain == "", None)
    whole = plain.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    if whole.null_count() == plain.null_count():
        micro = (whole >= _MICROSECONDS) & (whole % 1000 == 0)
        both = micro.any() and (whole < _MICROSECONDS).any()  # Binance's klines turned to microseconds in 2025
        return whole.zip_with(~micro.fill_null(value=False), whole // 1000) if both else whole
    text = plain.str.replace(r"( ?UTC|Z)$", "+00:00").str.replace("T", " ")
    text = text.str.replace(r"(:\d.*[+-]\d\d)$", "${1}:00")
    zoned = text.str.contains(r"\d:\d.*[+-]\d\d:?\d\d$")
    timed = text.str.contains(":")
    read = pl.select(
        pl.when(zoned)
        .then(text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", time_unit="us", strict=False, exact=True))
        .when(timed)
        .then(text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC"))
        .otherwise(text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        .cast(INSTANT)
        .alias("timestamp")
    )["timestamp"]
    hint = "write 2024-01-31, 2024-01-31 00:00:00 in UTC, or whole epoch milliseconds"
    _refuse(plain, read, first_line, where, "a time", hint)
    return read


def _refuse(cells: pl.Series, read: pl.Series, first_line: int, where: str, kind: str, hint: str) -> None:
    """Refuse a table with a cell that cannot be read, by its line."""
    bad = (read.is_null() & cells.is_not_null()).arg_true()
    if len(bad):
        line, value = int(bad[0]) + first_line, cells[int(bad[0])]
        what = f"line {line}: {cells.name} is {value!r}, not {kind}" + (f" ({len(bad)} such)" if len(bad) > 1 else "")
        raise SourceError(what, where=where, hint=hint, code="SOURCE_MALFORMED")


def names_of(table: pl.DataFrame) -> Iterator[str]:
    """Yield the names of a table's coins, as they are written."""
    if "symbol" in table.columns and table.schema["symbol"] in (pl.String, pl.Categorical, pl.Enum):
        yield from table["symbol"].cast(pl.String).unique().drop_nulls()
