"""The machinery of contracts: rules with codes, run by Pandera on eager frames, and one result for the ledger.

A contract says what a table between layers must look like, L0 to L4. A *filter* fault drops the named rows or columns
and the run goes on without them; a *fatal* fault stops it. Checking nothing is fatal. The schemas hold the rules that a
table can answer alone; the checks add those that need its context.

Three traps are kept out on purpose: +inf passes a lower bound, so finiteness is asked for; Pandera skips value checks
on LazyFrames, so they are refused; and uniqueness by hashing is slow, so sorted neighbours are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Action = Literal["passed", "filtered", "failed"]

INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule in one place.

    Attributes
    ----------
    code : str
        Stable name of the rule, ``L0_RANGE``; where a column is missing or of another type, Pandera's reason after the
        layer, ``L1_COLUMN_NOT_IN_DATAFRAME``.
    where : str
        Column, row or risk profile; what a filter fault drops.
    what : str
        In words.
    """

    code: str
    where: str
    what: str


@dataclass(frozen=True)
class ContractResult:
    """Outcome of one check.

    Attributes
    ----------
    layer, schema : str
        ``L0`` to ``L4`` and the schema's name.
    rows, columns : int
        Size of what came in, keys included.
    checked : int
        Values that the rules looked at; 0 only where the action is ``failed``.
    violations : list of Violation
        All of them, filter faults too.
    dropped : list of str
        Columns or rows that were left out.
    action : {"passed", "filtered", "failed"}
        What became of it; ``failed`` must stop the run.
    frame : DataFrame or None
        What goes on to the next layer; None where the action is ``failed``.
    """

    layer: str
    schema: str
    rows: int
    columns: int
    checked: int
    violations: list[Violation]
    dropped: list[str]
    action: Action
    frame: pl.DataFrame | None = field(default=None, repr=False, compare=False)

    def as_event(self) -> dict[str, Any]:
        """Return what the ledger records of a contract, by the names of its parameters."""
        names = ("layer", "schema", "rows", "columns", "checked", "action")
        told = [{"code": one.code, "where": one.where, "what": one.what} for one in self.violations]
        return {
            **{name: getattr(self, name) for name in names},
            "violations": len(told),
            "details": {"violations": told, "dropped": self.dropped},
        }


Rule = Callable[[pl.DataFrame], list[Violation]]
"""Looks at a whole frame and names what is wrong."""


@dataclass(frozen=True)
class Contract:
    """What one table must look like.

    Attributes
    ----------
    layer, name : str
        ``L0`` to ``L4``, and the name of the schema.
    columns : mapping of str to Column
        Columns that must be there, with their types; others may be there too.
    shape : mapping of str to Rule
        Rules by code that must hold before the others can read the frame: types of columns that have no fixed names.
    rules : mapping of str to Rule
        All other rules by code.
    filters : frozenset of str
        Codes of filter faults; every other fault is fatal.
    keep : callable, optional
        Leaves out what filter faults name.
    """

    layer: str
    name: str
    columns: Mapping[str, pa.Column]
    shape: Mapping[str, Rule]
    rules: Mapping[str, Rule]
    filters: frozenset[str] = frozenset()
    keep: Callable[[pl.DataFrame, list[str]], pl.DataFrame] | None = None

    def schema(self) -> pa.DataFrameSchema:
        """Return the whole contract as a Pandera schema."""
        return _schema(self.name, self.columns, {**self.shape, **self.rules}, None)

    def check(self, frame: pl.DataFrame, values: int, more: Mapping[str, Rule] | None = None) -> ContractResult:
        """Check a frame and decide what has to happen.

        Parameters
        ----------
        frame : DataFrame
            What to check.
        values : int
            Values that the rules look at; none is fatal.
        more : mapping of str to Rule, optional
            Rules that need more than the frame.

        Raises
        ------
        TypeError
            If the frame is lazy.
        """
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(f"{self.name} checks eager frames, not {type(frame).__name__}: lazy ones skip value checks")
        violations = self._violations(frame, {**self.rules, **(more or {})})
        fatal = any(violation.code not in self.filters for violation in violations)
        dropped = [] if fatal else list(dict.fromkeys(violation.where for violation in violations))
        rest = self.keep(frame, dropped) if self.keep is not None and dropped else frame
        if not fatal and (not values or (dropped and (rest.height == 0 or rest.width < 2))):
            what = "no row or column is left" if values else "nothing was checked"
            violations, fatal = [*violations, Violation(f"{self.layer}_EMPTY", self.name, what)], True
        action: Action = "failed" if fatal else "filtered" if dropped else "passed"
        return ContractResult(
            layer=self.layer,
            schema=self.name,
            rows=frame.height,
            columns=frame.width,
            checked=values,
            violations=violations,
            dropped=[] if fatal else dropped,
            action=action,
            frame=None if fatal else rest,
        )

    def _violations(self, frame: pl.DataFrame, rules: Mapping[str, Rule]) -> list[Violation]:
        for columns, own in ((self.columns, self.shape), ({}, rules)):
            try:
                # Not lazily: Pandera fails to put failures of different types into its one table of failures.
                _schema(self.name, columns, own, frame).validate(frame)
            except SchemaError as error:
                return self._told(error, own, frame)
        return []

    def _told(self, error: SchemaError, rules: Mapping[str, Rule], frame: pl.DataFrame) -> list[Violation]:
        """Return all that the rules find once one of them failed; else the fault of shape that Pandera met."""
        reason = error.reason_code.name if error.reason_code is not None else "SCHEMA"
        found = [one for rule in rules.values() for one in rule(frame)] if reason == "DATAFRAME_CHECK" else []
        if found:
            return found
        place = error.check if reason == "CHECK_ERROR" else error.schema
        where = str(getattr(place, "name", None) or self.name)
        return [Violation(f"{self.layer}_{reason}", where, str(error).strip().split("\n", 1)[0])]


def _schema(
    name: str, columns: Mapping[str, pa.Column], rules: Mapping[str, Rule], frame: pl.DataFrame | None
) -> pa.DataFrameSchema:
    """Make a Pandera schema.

    Pandera hands every check a lazy copy, and collecting it costs more than most rules do: a schema made for one frame
    lets its rules read that frame instead.
    """
    checks = [pa.Check(_runner(rule, frame), name=code) for code, rule in rules.items()]
    return pa.DataFrameSchema(dict(columns), checks=checks, name=name)


def _runner(rule: Rule, frame: pl.DataFrame | None) -> Callable[[Any], bool]:
    return lambda data: not rule(data.lazyframe.collect() if frame is None else frame)


def neighbours_equal(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Return rows whose key stands more than once, by comparing sorted neighbours."""
    ordered = frame.select(keys).sort(keys)
    same = pl.all_horizontal(pl.col(key) == pl.col(key).shift() for key in keys)
    return ordered.filter(same.fill_null(False))
