"""The machinery of contracts: rules with codes, run by Pandera on eager frames, and one result for the ledger.

A contract says what a table between layers must look like, L0 to L4. A *filter* fault drops the named rows or columns
and the run goes on without them; a *fatal* fault stops it. Checking nothing is fatal. The schemas hold the rules that a
table can answer alone; the checks add those that need its context.

Three traps are kept out on purpose: +inf passes a lower bound, so finiteness is asked for; Pandera skips value checks
on LazyFrames, so they are refused; and uniqueness by hashing is slow, so sorted neighbours are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError

from assay.gates.rules import Violation

Action = Literal["passed", "filtered", "failed"]

INSTANT = pl.Datetime("us", "UTC")


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
        return {
            **{name: getattr(self, name) for name in names},
            "violations": len(self.violations),
            "details": {"violations": [asdict(one) for one in self.violations], "dropped": self.dropped},
        }


Rules = Callable[[pl.DataFrame], Iterable[Violation]]
"""Look at a whole frame and name what is wrong."""


@dataclass(frozen=True)
class Contract:
    """What one table must look like.

    Attributes
    ----------
    layer, name : str
        ``L0`` to ``L4``, and the name of the schema.
    columns : mapping of str to Column
        Columns that must be there, with their types; others may be there too.
    rules : Rules
        What a table can answer alone.
    shape : Rules
        What must hold before the others can read the frame: types of columns that have no fixed names.
    filters : frozenset of str
        Codes of filter faults; every other fault is fatal.
    keep : callable, optional
        Leaves out what filter faults name.
    """

    layer: str
    name: str
    columns: Mapping[str, pa.Column]
    rules: Rules
    shape: Rules = lambda _frame: ()
    filters: frozenset[str] = frozenset()
    keep: Callable[[pl.DataFrame, list[str]], pl.DataFrame] | None = None

    def schema(self) -> pa.DataFrameSchema:
        """Return the whole contract as a Pandera schema; its error tells the code of the first fault."""

        def holds(data: Any) -> bool:
            frame = data.lazyframe.collect()
            for found in (*self.shape(frame), *self.rules(frame)):
                raise ValueError(f"{found.code} {found.where}: {found.what}")
            return True

        return pa.DataFrameSchema(dict(self.columns), checks=pa.Check(holds, name=self.layer), name=self.name)

    def check(self, frame: pl.DataFrame, values: int, rules: Rules | None = None) -> ContractResult:
        """Check a frame and decide what has to happen.

        Parameters
        ----------
        frame : DataFrame
            What to check.
        values : int
            Values that the rules look at; none is fatal.
        rules : Rules, optional
            The contract's own and those that need more than the frame; its own by default.

        Raises
        ------
        TypeError
            If the frame is lazy.
        """
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(f"{self.name} checks eager frames, not {type(frame).__name__}: lazy ones skip value checks")
        violations = self._failures(frame, self.columns, self.shape)
        violations = violations or self._failures(frame, {}, rules or self.rules)
        fatal = any(violation.code not in self.filters for violation in violations)
        dropped = [] if fatal else list(dict.fromkeys(violation.where for violation in violations))
        rest = self.keep(frame, dropped) if self.keep is not None and dropped else frame
        if not fatal and (not values or (dropped and (rest.height == 0 or rest.width < 2))):
            what = "no row or column is left" if values else "nothing was checked"
            violations, fatal = [*violations, Violation(f"{self.layer}_EMPTY", self.name, what)], True
        return ContractResult(
            layer=self.layer,
            schema=self.name,
            rows=frame.height,
            columns=frame.width,
            checked=values,
            violations=violations,
            dropped=[] if fatal else dropped,
            action="failed" if fatal else "filtered" if dropped else "passed",
            frame=None if fatal else rest,
        )

    def _failures(self, frame: pl.DataFrame, columns: Mapping[str, pa.Column], rules: Rules) -> list[Violation]:
        """Return all that rules find in a frame whose columns are right; else the first fault of them.

        Pandera hands every check a lazy copy, and collecting it costs more than most rules do: they read the frame. A
        rule that raises is a fault like any other.
        """
        found: list[Violation] = []

        def none_found(_data: Any) -> bool:
            found.extend(rules(frame))
            return not found

        try:
            check = pa.Check(none_found, name=self.layer)
            pa.DataFrameSchema(dict(columns), checks=check, name=self.name).validate(frame)
        except SchemaError as error:
            reason = error.reason_code.name if error.reason_code is not None else "SCHEMA"
            where = str(getattr(error.schema, "name", None) or self.name)
            told = Violation(f"{self.layer}_{reason}", where, str(error).strip().split("\n", 1)[0])
            return found if reason == "DATAFRAME_CHECK" else [told]
        return []


def neighbours_equal(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Return rows whose key stands more than once, by comparing sorted neighbours."""
    ordered = frame.select(keys).sort(keys)
    same = pl.all_horizontal(pl.col(key) == pl.col(key).shift() for key in keys)
    return ordered.filter(same.fill_null(False))
