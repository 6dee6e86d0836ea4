"""Rates of borrowing in a file, CSV or Parquet: ``base``, ``from``, ``rate``, and if told ``source``, ``known_at``."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from assay.base.errors import DataError, UsageError
from assay.market.schema import BORROW, INSTANT, KEYS

_HINT = "columns: base (BTC), from (2023-01-31), rate (0.08 is 8 % a year), and if known source, known_at"


def read_rates(path: Path) -> pl.DataFrame:
    """Read and judge rates.

    Parameters
    ----------
    path : Path
        A file whose name ends with ``.csv`` or ``.parquet``. ``from`` and ``known_at`` are dates or instants (UTC where
        no zone is told); a rate without ``known_at`` was known when it began.

    Returns
    -------
    DataFrame
        Rows of the lake's ``borrow``.

    Raises
    ------
    UsageError
        If the file is not there, or of another kind.
    DataError
        If a column is missing, a value is empty, no number, or negative, or two rows contradict each other.
    """
    where = str(path)
    if not path.is_file() or path.suffix not in (".csv", ".parquet"):
        raise UsageError("there is no CSV or Parquet file", where=where, hint=_HINT)
    try:
        found = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the file cannot be read: {error}", where=where, hint=_HINT) from error
    missing = [name for name in ("base", "from", "rate") if name not in found.columns]
    if missing:
        raise DataError(f"the file has no column {', '.join(missing)}", where=where, hint=_HINT)
    if "known_at" not in found.columns:
        found = found.with_columns(known_at=pl.col("from"))
    if "source" not in found.columns:
        found = found.with_columns(source=pl.lit(path.name))
    try:
        rows = found.select(
            pl.col("base").cast(pl.String),
            _instant(found, "from"),
            pl.col("rate").cast(pl.Float64),
            pl.col("source").cast(pl.String),
            _instant(found, "known_at"),
        ).cast(pl.Schema(BORROW))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a value is of another kind: {error}", where=where, hint=_HINT) from error
    bad = rows.filter(pl.any_horizontal(pl.all().is_null()) | ~pl.col("rate").is_finite() | (pl.col("rate") < 0.0))
    if bad.height:
        raise DataError(f"{bad.height} rows lack a value or have a rate below 0", where=where, hint=_HINT)
    rows = rows.unique(maintain_order=True)
    twice = rows.filter(pl.struct(KEYS["borrow"]).is_duplicated())
    if twice.height:
        base, day = twice.select("base", "from").row(0)
        raise DataError(f"two rows say different rates of {base} from {day:%Y-%m-%d}", where=where, hint=_HINT)
    return rows


def _instant(found: pl.DataFrame, name: str) -> pl.Expr:
    kind = found.schema[name]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return pl.col(name).dt.convert_time_zone("UTC").cast(INSTANT)
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
