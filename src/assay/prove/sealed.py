"""A sealed run as a proof reads it: artifacts with the hashes that they were sealed with, and the pinned lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from assay.base.constants import Scalar
from assay.base.domain import Atom
from assay.base.errors import IntegrityError
from assay.lake.snapshot import Snapshot, pinned
from assay.prove.links import Link, Pair
from assay.runs.request import Request
from assay.runs.run import Run
from assay.runs.verify import verify


class Sealed(Run):
    """A run whose ledger, seal, files and registry hold.

    Parameters
    ----------
    home, folder, registry : Path
        Home folder, run directory, and the registry that the run was entered in.

    Raises
    ------
    IntegrityError
        If the seal is broken, or there is none: nothing can be proved from such a run.

    Attributes
    ----------
    head : str
        Hash of the ledger's last line.
    signed_by : str or None
        Fingerprint of the key that the seal names.
    """

    def __init__(self, home: Path, folder: Path, registry: Path) -> None:
        super().__init__(folder, home / "runs")
        self.home, self.registry = home, registry
        verdict = verify(folder, registry=registry)
        if not verdict.ok or verdict.head is None:
            first = verdict.problems[0]
            raise IntegrityError(
                f"nothing can be proved from this run: {first.what}",
                where=f"{folder.name} {first.where}",
                hint=f"see all of it with: assay verify {folder.name}",
                code=first.code,
            )
        self.check_format()
        self.head, self.signed_by = verdict.head, verdict.signed_by

    @property
    def request(self) -> Request:
        """What a sleeve was asked for, from its manifest."""
        return self.of_sleeve

    @cached_property
    def snapshot(self) -> Snapshot:
        """The lake as it was pinned."""
        return pinned(self.request)

    def table_name(self, name: str) -> str:
        """Name a table of the lake with its version."""
        return f"{self.request.lake}/{name} version {self.request.tables[name]}"

    def link(
        self,
        name: str,
        what: str,
        artifact: str,
        pairs: Sequence[Pair],
        atom: Atom | None = None,
        notes: Mapping[str, Scalar] | None = None,
    ) -> Link:
        """Return a link about an artifact, with the hash that the artifact was sealed with."""
        sha256 = self.ledger[-1].body["files"][artifact]["sha256"]
        return Link(name, what, artifact, sha256, tuple(pairs), atom.id if atom else "", notes or {})
