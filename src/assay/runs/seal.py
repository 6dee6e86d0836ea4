"""The seal: the last line of a ledger, holding the hash of every file of the run.

Signing is a seam: a *signer* takes the bytes of :func:`assay.runs.verify.seal_message` and returns
``{"algorithm": "ed25519", "key": "<fingerprint>", "value": "<hex>"}``, which is kept in the seal; whoever verifies
gives :func:`assay.runs.verify.verify` a function that checks it. :mod:`assay.runs.signing` makes both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from assay.base import files
from assay.base.errors import IntegrityError
from assay.runs.ledger import Ledger
from assay.runs.registry import Registration
from assay.runs.signing import Signer
from assay.runs.verify import (
    LEDGER,
    SEAL_FIELDS,
    STATUS,
    Body,
    Problem,
    Story,
    file_problems,
    inventory,
    seal_message,
    walk,
)

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


def seal(
    run_dir: Path,
    ledger: Ledger,
    *,
    manifest: str,
    verdict: str,
    performance: Mapping[str, float | None],
    signer: Signer | None = None,
) -> Registration:
    """Seal a run whose steps have all ended well; nothing can be appended to its ledger afterwards.

    What killed writers left behind (the atomic writer's temporary files) is removed first, by name and with an event.

    Parameters
    ----------
    run_dir : Path
        The run; every file in it but the ledger and ``run_status.json`` is hashed.
    ledger : Ledger
        Its open ledger.
    manifest : str
        Hash of what was asked for; see :class:`~assay.runs.registry.Registration`.
    verdict : str
        How the run ended.
    performance : mapping
        Risk profile to annual Sharpe ratio, for counting trials.
    signer : callable, optional
        Signs the seal.

    Returns
    -------
    Registration
        What :func:`assay.runs.registry.append` enters.

    Raises
    ------
    IntegrityError
        If a step has not ended well, or a file is strange, missing, of no step, or other than its step recorded.
    """
    _sweep(run_dir, ledger)
    sealed = _inventory(run_dir)
    story = Story(ledger.entries)
    _refuse(run_dir, [*story.problems, *_unfinished(story), *file_problems(run_dir, sealed, story.outputs)])
    body: Body = {
        "files": sealed,
        "profile": ledger.genesis.body["profile"],
        "manifest": manifest,
        "verdict": verdict,
        "performance": dict(performance),
        "signature": None,
    }
    assert set(body) == SEAL_FIELDS
    if signer is not None:
        body["signature"] = dict(signer(seal_message(ledger.head, body)))
    ledger.append("seal", body)
    return Registration.sealed(ledger.entries)


def _inventory(run_dir: Path) -> dict[str, Body]:
    with files.disk_errors(run_dir):
        plain, _ = walk(run_dir)  # what is strange is refused when the files are compared
        return inventory(run_dir, plain)


def _unfinished(story: Story) -> list[Problem]:
    if story.open is None and not story.failed and story.pairs:
        return []
    return [Problem("UNPAIRED", LEDGER, "a step has not ended well, or there was none")]


def _refuse(run_dir: Path, problems: list[Problem]) -> None:
    if problems:
        first = problems[0]
        raise IntegrityError(
            f"run cannot be sealed: {first.where}: {first.what}",
            where=str(run_dir),
            hint="resume the run; remove what is not its own",
            code=first.code,
        )


def _sweep(run_dir: Path, ledger: Ledger) -> None:
    found = sorted(
        path
        for path in run_dir.rglob(".*.tmp")
        # The status writer of this very process may be between its temporary file and its rename.
        if (match := _TEMPORARY.fullmatch(path.name)) and match[1] != STATUS and not path.is_symlink()
    )
    for path in found:
        files.remove(path)
    if found:
        names = [path.relative_to(run_dir).as_posix() for path in found]
        step = max((entry.body["step"] for entry in ledger.entries if entry.kind == "outcome"), default=0)
        ledger.event(step, "TEMPORARY_REMOVED", "an earlier process was killed while it wrote", {"names": names})
