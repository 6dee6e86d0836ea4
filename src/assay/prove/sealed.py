"""A sealed run as a proof reads it: artifacts with the hashes that they were sealed with, and the pinned lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from assay.base.errors import IntegrityError
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.ledger import read_ledger
from assay.runs.request import Request
from assay.runs.verify import verify

if TYPE_CHECKING:
    import polars as pl

    from assay.lake.snapshot import Snapshot

D = TypeVar("D", bound=artifacts.Document)


@dataclass(frozen=True)
class Sealed:
    """A run whose ledger, seal, files and registry hold.

    Attributes
    ----------
    home, run : Path
        Home folder, and the run directory.
    head : str
        Hash of the ledger's last line.
    signed_by : str or None
        Fingerprint of the key that the seal names.
    hashes : mapping of str to str
        Relative path to SHA-256, as sealed.
    """

    home: Path
    run: Path
    head: str
    signed_by: str | None
    hashes: Mapping[str, str]

    @classmethod
    def open(cls, home: Path, run: Path, registry: Path) -> Sealed:
        """Verify a run first.

        Raises
        ------
        IntegrityError
            If the seal is broken, or there is none: nothing can be proved from such a run.
        """
        verdict = verify(run, registry=registry)
        if not verdict.ok or verdict.head is None:
            first = verdict.problems[0]
            raise IntegrityError(
                f"nothing can be proved from this run: {first.what}",
                where=f"{run.name} {first.where}",
                hint=f"see all of it with: assay verify {run.name}",
                code=first.code,
            )
        files = read_ledger(run / layout.LEDGER)[-1].body["files"]
        return cls(home, run, verdict.head, verdict.signed_by, {name: one["sha256"] for name, one in files.items()})

    @cached_property
    def request(self) -> Request:
        """What the run was asked for, from its manifest."""
        return Request.of(self.home, self.run)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The lake as it was pinned."""
        from assay.lake.snapshot import pin

        snapshot = pin(self.request.lake_folder, self.request.head)
        if snapshot.versions != dict(self.request.tables):
            raise IntegrityError(
                f"head {self.request.head} names other table versions than the manifest",
                where=self.request.lake,
                hint="restore the lake's folder from a copy",
            )
        return snapshot

    def document(self, kind: type[D], name: str) -> D:
        """Read a document of the run."""
        return artifacts.load(kind, self.run / name)

    def table(self, name: str) -> pl.DataFrame:
        """Read a table of the run."""
        import polars as pl

        return pl.read_parquet(self.run / name)

    def table_name(self, name: str) -> str:
        """Name a table of the lake with its version."""
        return f"{self.request.lake}/{name} version {self.request.tables[name]}"
