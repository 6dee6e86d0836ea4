"""Wide tables of returns as arrays: what sign tests and validation compare value by value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.base.constants import Days, Floats
from assay.base.errors import IntegrityError
from assay.runs.artifacts import Artifact
from assay.runs.run import Run


@dataclass(frozen=True)
class Streams:
    """A wide table of returns: (n_days,) days, column names, (n_days, n_columns) float64 values, NaN for none."""

    days: Days
    columns: tuple[str, ...]
    values: Floats

    def __getitem__(self, column: str) -> Floats:
        """Return one column, (n_days,)."""
        return self.values[:, self.columns.index(column)]

    @property
    def empty(self) -> bool:
        """Whether there is no observation at all."""
        return not np.isfinite(self.values).any()

    @classmethod
    def of(cls, table: pl.DataFrame, name: str) -> Streams:
        """Split a wide table into days and float64 columns.

        Raises
        ------
        IntegrityError
            If there is not one column of days and only float64 ones beside it; it names the table.
        """
        index = [column for column, kind in table.schema.items() if kind.is_temporal()]
        others = [column for column in table.columns if column not in index]
        wrong = [column for column in others if table.schema[column] != pl.Float64]
        if len(index) != 1 or wrong:
            what = f"{len(index)} columns of dates, and {len(wrong)} that are not float64"
            raise IntegrityError(f"table is no panel of returns: {what}", where=name, hint="run: assay verify")
        values = table.select(others).fill_null(float("nan")).to_numpy() if others else np.empty((table.height, 0))
        return cls(days(table[index[0]], name), tuple(others), np.asarray(values, dtype=np.float64))


def streams(run: Run, name: Artifact[pl.DataFrame]) -> Streams:
    """Return a wide table of a run; IntegrityError if it is missing or is none."""
    return Streams.of(run[name], name)


def days(column: pl.Series, name: str) -> Days:
    """Return a column of days, (n,) datetime64[D].

    Raises
    ------
    IntegrityError
        If a value is missing, is not in UTC, or is not midnight.
    """
    if column.null_count():
        raise IntegrityError("a date is missing", where=name, hint="run: assay verify")
    if column.dtype == pl.Date:
        return column.to_numpy().astype("datetime64[D]")
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone != "UTC":
        raise IntegrityError(f"dates are {column.dtype}, not UTC days", where=name, hint="run: assay verify")
    instants = column.dt.replace_time_zone(None).to_numpy()
    whole = instants.astype("datetime64[D]")
    if (whole != instants).any():
        raise IntegrityError("a date is not midnight UTC", where=name, hint="run: assay verify")
    return whole
