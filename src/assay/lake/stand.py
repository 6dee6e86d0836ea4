"""A lake in memory: the code that reads tables from disk reads them from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.base.domain import DAY
from assay.lake.snapshot import Snapshot
from assay.market.schema import ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Stand(Snapshot):
    """A snapshot that reads tables from memory by the code that reads them from the lake.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        In the lake's order; what is not here, the lake does not have.
    """

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, tables: Mapping[str, pl.DataFrame]) -> Stand:
        """Return other tables in the place of a lake's."""
        last: Any = tables["bars"]["open_time"].max()
        record = snapshot.record.model_copy(update={"last_close": last + DAY})
        return cls(snapshot.folder, record, snapshot.place, tables)

    def _rows(
        self, name: str, wanted: Sequence[pl.Expr], columns: Sequence[str] | None, *, ordered: bool = True
    ) -> pl.DataFrame | None:
        frame = self.tables.get(name)
        if frame is None:
            return None
        rows = frame.filter(*wanted) if wanted else frame
        rows = rows.sort(ORDER[name]) if ordered else rows
        return rows.select(columns) if columns else rows
