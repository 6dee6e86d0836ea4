"""``assay doctor``: what is wrong in a home folder, and what to run; nothing is changed."""

from __future__ import annotations

import datetime as dt
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.base.domain import UTC
from assay.base.errors import Exit, IntegrityError, LedgerError
from assay.cli import do_output as output
from assay.report.doctor import Ailment, Checkup, examine, leftovers
from assay.runs.artifacts import LEDGER, MANIFEST, STATUS
from assay.runs.home import Home, Status

if TYPE_CHECKING:
    from assay.screening.reconcile import Reconciliation

ROOM = 1 << 30
"""Bytes that should be free: a re-rating writes the ratings of every symbol anew."""
FRESH = 60.0
"""Seconds within which a directory may be without a status."""
SHOWN = 6
"""Names that a line of text shows; ``--json`` has all."""


def doctor(home: Home, source: str | None, as_json: bool) -> int:
    """Examine lakes, runs, registry and disk; return 0 where healthy, 1 where something is to be done, 3 for damage."""
    now = dt.datetime.now(UTC)
    lakes = [examine(folder, now) for folder in _lakes(home, source)]
    found = [ailment for lake in lakes for ailment in lake.ailments]
    for check in (
        _no_lake(lakes, source),
        _runs(home),
        _registry(home),
        leftovers(home.runs, home.flows, home.reports),
        _disk(home, lakes),
    ):
        found += check
    code = _exit_code(found)
    if as_json:
        output.as_json(_plain(lakes, found, code))
    else:
        _print(lakes, found, code)
    return code


def _lakes(home: Home, source: str | None) -> list[Path]:
    if source is not None:
        from assay.lake.lake import Lake

        folder = Lake(home.path, source).folder
        return [folder] if folder.is_dir() else []
    return sorted(path for path in home.lake.iterdir() if path.is_dir()) if home.lake.is_dir() else []


def _no_lake(lakes: list[Checkup], source: str | None) -> Iterator[Ailment]:
    if not lakes:
        command = f"assay ingest --source {source or 'binance --scan'}"
        yield Ailment("ACTION", "NO_LAKE", "lake/", "nothing was ingested into this home folder", command)


def _runs(home: Home) -> Iterator[Ailment]:
    """Look for runs that died, and for directories that no run has come to."""
    entered = _registered(home)
    for name in home.run_ids():
        folder = home.runs / name
        if not (folder / STATUS).is_file():
            yield from _orphan(folder)
            continue
        try:
            status = Status.read(folder).seen()
        except (IntegrityError, TypeError) as error:
            yield Ailment("INTEGRITY", "RUN_UNREADABLE", name, f"its status cannot be read: {error}", _verify(name))
            continue
        if status.state == "DEAD":
            what = f"its process is gone; it had come to {status.stage}"
            resume = f"assay run {status.profile} --resume --run-id {name}"
            yield Ailment("ACTION", "RUN_DEAD", name, what, resume if (folder / MANIFEST).is_file() else "")
        elif status.state == "VALID" and name not in entered:
            if (folder / LEDGER).is_file():
                resume = f"assay run {status.profile} --resume --run-id {name}"
                yield Ailment("ACTION", "RUN_NOT_ENTERED", name, "it is sealed and not in the registry", resume)
            else:
                yield Ailment("INTEGRITY", "RUN_WITHOUT_LEDGER", name, "it says VALID and has no ledger", _verify(name))


def _orphan(folder: Path) -> Iterator[Ailment]:
    """Look at a directory without a status; a run writes it within a moment."""
    if time.time() - folder.stat().st_mtime > FRESH:
        what = "the directory was claimed, and no run began in it"
        yield Ailment("ACTION", "RUN_ORPHANED", folder.name, what, f"rm -r {shlex.quote(str(folder))}")


def _verify(name: str) -> str:
    return f"assay verify {name}"


def _registered(home: Home) -> frozenset[str]:
    from assay.runs.registry import entries

    try:
        return frozenset(entry.run_id for entry in entries(home.registry))
    except LedgerError:
        return frozenset(home.run_ids())  # what is wrong with the registry is told by its own check


def _registry(home: Home) -> Iterator[Ailment]:
    from assay.runs.registry import check

    if not home.registry.is_file():
        return
    try:
        check(home.registry)
    except LedgerError as error:
        command = "restore runs/registry.jsonl from a copy; assay verify RUN tells which runs it touches"
        yield Ailment("INTEGRITY", "REGISTRY", "runs/registry.jsonl", str(error), command)


def _disk(home: Home, lakes: list[Checkup]) -> Iterator[Ailment]:
    place = next((path for path in (home.path, *home.path.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    size = max((_size(lake.folder) for lake in lakes), default=0)
    wanted = max(ROOM, 2 * size)
    if free < wanted:
        what = f"{free / 1e9:.1f} GB are free, the largest lake has {size / 1e9:.1f} GB"
        yield Ailment("ACTION", "DISK_SPACE", str(home.path), what, f"df -h {home.path}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _exit_code(found: list[Ailment]) -> int:
    severities = {ailment.severity for ailment in found}
    if "INTEGRITY" in severities:
        return int(Exit.INTEGRITY)
    return int(Exit.FAILED) if "ACTION" in severities else int(Exit.OK)


VERDICTS = {int(Exit.OK): "HEALTHY", int(Exit.FAILED): "TO DO", int(Exit.INTEGRITY): "DAMAGED"}


def _plain(lakes: list[Checkup], found: list[Ailment], code: int) -> dict[str, Any]:
    return {
        "verdict": VERDICTS[code],
        "exit_code": code,
        "lakes": [
            {
                "folder": str(lake.folder),
                "source": lake.source,
                "facts": lake.facts,
                "agreement": [entry.as_dict() for entry in lake.agreements],
            }
            for lake in lakes
        ],
        "findings": [ailment.as_dict() for ailment in found],
    }


def _print(lakes: list[Checkup], found: list[Ailment], code: int) -> None:
    for lake in lakes:
        output.line(f"lake {lake.folder.name} of {lake.source}")
        for name, value in lake.facts.items():
            told = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
            output.line(f"  {name}: {told or 'none'}")
        if lake.agreements:
            output.line(agreement_table(lake.agreements))
    for ailment in found:
        names = output.names(ailment.names, SHOWN)
        command = f"; run: {ailment.command}" if ailment.command else ""
        output.line(f"{ailment.severity} {ailment.code} [{ailment.where}] {ailment.what}{names}{command}")
    output.line(f"{VERDICTS[code]}: {sum(a.severity != 'NOTE' for a in found)} to do, {len(found)} findings")


def agreement_table(entries: list[Reconciliation]) -> str:
    """Return the running table: a row for each scan and value, what was compared, what agreed, the largest gap."""
    rows = [
        [f"{entry.as_of:%Y-%m-%d}", one.what, one.compared, one.equal, f"{one.largest:.3g}"]
        for entry in entries[-1:]
        for one in entry.agreement
        if one.compared
    ]
    totals = [
        [f"{entry.as_of:%Y-%m-%d}", "all", entry.compared, entry.equal, _largest(entry)] for entry in entries[-31:-1]
    ]
    return output.table(["scan", "screener against lake", "compared", "equal", "largest gap"], [*totals, *rows])


def _largest(entry: Reconciliation) -> str:
    return f"{max((one.largest for one in entry.agreement), default=0.0):.3g}"
