"""The screener's values beside our own for the same closed bar: differences by name, and a table of agreement.

Nothing here is stored: both sides are in the lake, so that the table can be made of any state of it at any time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from assay.base.constants import Scalar
from assay.base.domain import DAY, RATINGS, format_instant
from assay.lake.snapshot import Snapshot
from assay.ratings.drift import Drift, VoteGroup, drift, measured
from assay.runs.documents import Finding
from assay.screening.recorded_scans import RATED, VOTES, ScanBatch, closed, judged

RATING_TOLERANCE = 1e-4
"""Recorded scans of closed bars reproduce to this much."""
PRICE_TOLERANCE = 1e-9
"""Relative: both sides copy the exchange's decimal."""
VALUE_TOLERANCE = 1e-6
"""Relative, of close x volume on both sides: the screener has no quote volume of a closed bar."""

_COLUMN: Mapping[VoteGroup, str] = {"ma": "Recommend.MA", "other": "Recommend.Other"}
COMPARED = ("close", "value_traded", *RATINGS, *VOTES)
"""What is compared, in order."""


@dataclass(frozen=True)
class Mismatch:
    """One value on which the screener and the lake differ."""

    symbol: str
    what: str
    screener: float
    ours: float


@dataclass(frozen=True)
class Agreement:
    """How well one value agreed over a scan's symbols; ``largest`` is relative for prices and values traded."""

    what: str
    compared: int
    equal: int
    largest: float


@dataclass(frozen=True)
class Reconciliation:
    """One batch of scans beside the lake."""

    as_of: dt.datetime
    scanned_at: dt.datetime
    agreement: tuple[Agreement, ...]
    """One for each of :data:`COMPARED`."""
    differences: tuple[Mismatch, ...] = ()
    """Beyond the tolerances, by symbol."""
    alone: tuple[str, ...] = ()
    """Symbols of the scan whose closed bar the lake does not have."""
    drifts: tuple[Drift, ...] = ()
    """Groups of votes that the screener casts by other rules than ours."""

    @property
    def compared(self) -> int:
        """Values that stood beside each other."""
        return sum(entry.compared for entry in self.agreement)

    @property
    def equal(self) -> int:
        """Values that agreed."""
        return sum(entry.equal for entry in self.agreement)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "as_of": format_instant(self.as_of),
            "scanned_at": format_instant(self.scanned_at),
            "agreement": [asdict(entry) for entry in self.agreement],
            "differences": [asdict(entry) for entry in self.differences],
            "without_bar": list(self.alone),
            "rating_rules": [asdict(entry) for entry in self.drifts],
        }

    def rules(self) -> list[Finding]:
        """Return a finding for each group that the screener rates by other rules, with the votes that explain it."""
        return [
            Finding(
                code="RATING_RULES_DIFFER",
                what=f"of {found.compared} coins have another {_COLUMN[found.group]} at the screener on the same bar: "
                f"its rules are not those of edition {found.edition}",
                count=found.differing,
                names=[str(cause) for cause in found.causes] or ["no single vote explains it"],
            )
            for found in self.drifts
        ]

    def finding(self) -> Finding | None:
        """Return the differences as one finding with both values of each, or None where there are none."""
        if not self.differences:
            return None
        told = [f"{d.symbol} {d.what}: screener {d.screener:.10g}, ours {d.ours:.10g}" for d in self.differences]
        what = "values of the closed bar on which the screener and the lake differ"
        return Finding(code="SCREENER_DIFFERS", what=what, count=len(told), names=told)


def reconcile(found: ScanBatch, snapshot: Snapshot, *, explained: bool = True) -> Reconciliation:
    """Put a batch's closed bars beside the lake's.

    Parameters
    ----------
    found : ScanBatch
        What the screener said, all scanners together; each symbol counts once.
    snapshot : Snapshot
        Our bars and ratings.
    explained : bool
        Look for the votes in which the rules differ, where ratings do.
    """
    said = _said(found)
    ours = _ours(snapshot, found.as_of, sorted(said))
    shared = sorted(said.keys() & ours.keys())
    agreement: list[Agreement] = []
    differences: list[Mismatch] = []
    for what in COMPARED:
        pairs = [(symbol, said[symbol].get(what), ours[symbol].get(what)) for symbol in shared]
        both = [(symbol, float(a), float(b)) for symbol, a, b in pairs if a is not None and b is not None]
        entry, apart = _compare(what, both)
        agreement.append(entry)
        differences += apart
    return Reconciliation(
        as_of=found.as_of,
        scanned_at=found.scanned_at,
        agreement=tuple(agreement),
        differences=tuple(sorted(differences, key=lambda one: (one.symbol, COMPARED.index(one.what)))),
        alone=tuple(sorted(said.keys() - ours.keys())),
        drifts=tuple(_drifts(snapshot, found.as_of, said, differences)) if explained else (),
    )


def _drifts(
    snapshot: Snapshot, as_of: dt.datetime, said: Mapping[str, Mapping[str, Scalar]], differences: Sequence[Mismatch]
) -> Iterator[Drift]:
    """Look which votes explain that ratings differ, of coins whose bars are the same on both sides."""
    if not any(one.what in RATINGS for one in differences):
        return
    others = {one.symbol for one in differences if one.what in ("close", "value_traded")}
    bars = snapshot.bars(until=as_of, symbols=said.keys() - others)
    symbols, values = measured(bars, snapshot.interval, as_of - DAY)
    for group in _COLUMN if symbols else ():
        recommended = np.array([_number(said[symbol].get(f"recommend_{group}")) for symbol in symbols])
        found = drift(recommended, values, group, snapshot.edition)
        if found.beyond:
            yield found


def _number(value: Scalar) -> float:
    return float("nan") if value is None else float(value)


def agreements(snapshot: Snapshot) -> list[Reconciliation]:
    """Reconcile the batch that counts of every instant that was scanned, oldest first; the last, where none can be.

    The newest one is explained.
    """
    rows = snapshot.candidates()
    instants = [] if rows is None else rows["as_of"].unique().sort().to_list()
    scans = [judged(snapshot, instant) for instant in instants]
    counting = [
        ([found for found, fault in those if fault is None] or [found for found, _ in those])[-1] for those in scans
    ]
    return [reconcile(found, snapshot, explained=found is counting[-1]) for found in counting]


def _compare(what: str, both: Sequence[tuple[str, float, float]]) -> tuple[Agreement, list[Mismatch]]:
    theirs, ours = np.array([a for _, a, _ in both]), np.array([b for _, _, b in both])
    gap = np.abs(theirs - ours)
    if what in ("close", "value_traded"):
        scale = np.maximum(np.abs(theirs), np.abs(ours))
        gap = np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0)
    wrong = gap > _tolerance(what)
    apart = [Mismatch(symbol, what, a, b) for (symbol, a, b), bad in zip(both, wrong, strict=True) if bad]
    largest = float(gap.max()) if gap.size else 0.0
    return Agreement(what, len(both), len(both) - len(apart), largest), apart


def _tolerance(what: str) -> float:
    if what == "close":
        return PRICE_TOLERANCE
    if what == "value_traded":
        return VALUE_TOLERANCE
    return RATING_TOLERANCE if what in RATINGS else 0.0


def _said(found: ScanBatch) -> dict[str, Mapping[str, Scalar]]:
    """Return the screener's closed bar of each symbol under our names."""
    said: dict[str, Mapping[str, Scalar]] = {}
    for answer in found.answers:
        for symbol, fields in answer.rows:
            values = {name: fields.get(closed(name)) for name in ("close", *RATED, *VOTES)}
            said[symbol] = values | {
                "value_traded": _product(fields.get(closed("close")), fields.get(closed("volume")))
            }
    return said


def _ours(snapshot: Snapshot, as_of: dt.datetime, symbols: list[str]) -> dict[str, Mapping[str, Scalar]]:
    """Return the lake's values of the same bar under the same names."""
    since = as_of - DAY
    bars = snapshot.bars(since, as_of, symbols, columns=("symbol", "close", "volume"))
    rated = snapshot.ratings(since, as_of, symbols, columns=("symbol", *RATINGS, *VOTES))
    values = bars.with_columns((pl.col("close") * pl.col("volume")).alias("value_traded"))
    return {row.pop("symbol"): row for row in values.join(rated, on="symbol", how="left").iter_rows(named=True)}


def _product(close: Scalar, volume: Scalar) -> float | None:
    return None if close is None or volume is None else float(close) * float(volume)
