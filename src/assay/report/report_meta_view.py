"""The directory of a meta-portfolio, read once for every section of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from assay.base.files import read_json
from assay.runs import artifacts as layout
from assay.runs.documents import Alignment, Analysis, Contributors, Document, MetaOptimized, Sleeves, load
from assay.runs.ledger import read_ledger
from assay.runs.verify import Entry

D = TypeVar("D", bound=Document)

TITLES = {
    "min_variance": "minimum variance",
    "hrp": "hierarchical risk parity",
    "max_sharpe": "maximum Sharpe ratio",
    "equal_weight": "equal weight",
    "barbell": "barbell",
}


@dataclass(frozen=True)
class MetaView:
    """The directory of a meta-portfolio, each artifact read once."""

    folder: Path

    def read(self, kind: type[D], name: str) -> D:
        """Read a document; IntegrityError if it is missing or breaks its schema."""
        return load(kind, self.folder / name)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Every value that the run used."""
        found: Mapping[str, Any] = read_json(self.folder / layout.MANIFEST)
        return found

    @cached_property
    def sleeves(self) -> Sleeves:
        """Sleeves that were accepted, and runs that were refused."""
        return self.read(Sleeves, layout.META_SLEEVES)

    @cached_property
    def alignment(self) -> Alignment:
        """Shared days."""
        return self.read(Alignment, layout.META_ALIGNMENT)

    @cached_property
    def optimized(self) -> MetaOptimized:
        """Weights of sleeves."""
        return self.read(MetaOptimized, layout.META_OPTIMIZED)

    @cached_property
    def contributors(self) -> Contributors:
        """Contributors and netting."""
        return self.read(Contributors, layout.META_CONTRIBUTORS)

    @cached_property
    def analysis(self) -> Analysis:
        """Concentration, correlation, leave one out."""
        return self.read(Analysis, layout.META_ANALYSIS)

    @cached_property
    def statistics(self) -> Mapping[str, Mapping[str, float | None]]:
        """Walk-forward metrics by risk profile."""
        found: Mapping[str, Mapping[str, float | None]] = read_json(self.folder / layout.WALK_STATISTICS)["as_run"]
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """What the ledger holds of the steps before this report."""
        return read_ledger(self.folder / layout.LEDGER)

    @cached_property
    def names(self) -> list[str]:
        """Risk profiles in the order of the settings."""
        return list(self.manifest["profile"]["risk_profiles"])
