"""What would end or empty a run on a lake as it lies there: its own steps, up to the weights, in a scratch folder.

So the doctor cannot call a lake healthy that a run then trips on, and names the cause by the run's own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from assay.backtest.walk_forward import rebalance_rows
from assay.base.errors import AssayError, Exit
from assay.lake.lake import Lake
from assay.pipeline.context import market_of
from assay.pipeline.flow import Foundation, asked
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.report.account_health import Issue, Severity
from assay.report.doctor import LakeCheckup
from assay.runs.artifacts import FLATTENED
from assay.runs.home import Home
from assay.runs.run import STAND_ASIDE, Run
from assay.screening.recorded_scans import PROVIDER, recorded, scan_recorded
from assay.screening.superset import ScanProvider, ensure_superset, superset_key, superset_path
from assay.settings import Catalog
from assay.settings.model import SCAN_DAYS, Profile
from assay.sources import is_live, open_source, opened
from assay.sources.base import Source

OF_THE_MARKET = frozenset({"NO_CANDIDATES", "NO_WINNERS"})
"""Why a run ends or stands aside on a day on which nobody is wanted: a fault only where it is so for every profile."""
LAST = FLATTENED.step("run")


def rehearse(catalog: Catalog, lake: LakeCheckup) -> list[Issue]:
    """Try the profiles of all flows on a lake's last close; nothing is asked of a network, and no lake is written to.

    A lake of which the check-up found that its bytes are damaged is not tried.
    """
    if "head" not in lake.facts or any(issue.severity == "INTEGRITY" for issue in lake.issues):
        return []
    try:
        open_source(lake.source)
    except AssayError:
        return []  # nobody can say any more where it came from, nor ask for a run of it
    try:
        profiles, source = _profiles(catalog), opened(lake.source, catalog, for_runs=True)
        if not is_live(source) and source.fingerprint() != lake.snapshot.record.fingerprint:
            source.read()  # as the next run does
        with tempfile.TemporaryDirectory(prefix="assay-doctor-") as scratch:
            foundation = _foundation(catalog, lake, source, Path(scratch))
            ends = [] if foundation is None else list(_ends(catalog, foundation, profiles, Path(scratch)))
    except AssayError as error:
        return [_issue(lake, error.as_dict(), int(error.exit_code), ())]
    return list(_told(lake, ends, len(profiles)))


def _profiles(catalog: Catalog) -> list[Profile]:
    names = sorted({name for flow in catalog.names("flows") for name in catalog.flow(flow)})
    return [catalog.profile(name) for name in names]


def _foundation(catalog: Catalog, lake: LakeCheckup, source: Source, scratch: Path) -> Foundation | None:
    """Return what a run would stand on; None where only the screener could tell."""
    snapshot, scanners, who = lake.snapshot, catalog.scanners(), ScanProvider()
    instant = snapshot.last_close()
    if catalog.scan().provider == PROVIDER:
        found = recorded(snapshot, instant, scanners)
        if found is None:
            return None
        who = ScanProvider(PROVIDER, partial(scan_recorded, found), asked=PROVIDER)
    key = superset_key(scanners, snapshot.head, who.name, snapshot.edition)
    place = lake.folder if superset_path(lake.folder, instant, key).exists() else scratch
    market = partial(snapshot.market, instant, SCAN_DAYS)
    path, superset = ensure_superset(place, market, instant, snapshot.head, scanners, who, snapshot.edition)
    known = Lake(lake.folder.parent.parent, source)
    return Foundation(lake.source, known, snapshot, instant, superset, path)


def _ends(
    catalog: Catalog, foundation: Foundation, profiles: Sequence[Profile], scratch: Path
) -> Iterator[tuple[str, dict[str, object], int]]:
    """Yield each profile whose run would end or hold nothing, with the error and the exit code."""
    steps = [step for step in STEPS if LAST is not None and step.number <= LAST]
    for profile in profiles:
        folder = scratch / "runs" / profile.name
        folder.mkdir(parents=True)
        request = asked(Home(scratch), catalog, foundation, profile, folder, (profile.name,))
        outcome = execute(request, steps=steps)
        if outcome.error is not None:
            yield profile.name, outcome.error, outcome.exit_code
            continue
        try:
            rebalance_rows(market_of(request).days, profile.walk_forward)
        except AssayError as error:
            yield profile.name, error.as_dict(), int(error.exit_code)
            continue
        for entry in Run(folder).current:
            if entry.kind == "event" and entry.body["code"] == STAND_ASIDE:
                told = {
                    "code": entry.body["values"]["reason"],
                    "what": entry.body["what"],
                    "hint": "choose another date",
                }
                yield profile.name, told, int(Exit.OK)


def _told(lake: LakeCheckup, ends: Sequence[tuple[str, dict[str, object], int]], tried: int) -> Iterator[Issue]:
    """Yield an issue for each cause, with the profiles that it ends."""
    causes: dict[tuple[object, object], list[tuple[str, dict[str, object], int]]] = {}
    for end in ends:
        causes.setdefault((end[1]["code"], end[1]["what"]), []).append(end)
    for found in causes.values():
        _, error, code = found[0]
        issue = _issue(lake, error, code, [name for name, _, _ in found])
        quiet = error["code"] in OF_THE_MARKET and len(ends) < tried
        if not quiet:
            yield issue
        elif code != Exit.OK:  # to stand aside where others do not is an answer, and no finding
            yield replace(issue, severity="NOTE", command="")


def _issue(lake: LakeCheckup, error: dict[str, object], code: int, names: Sequence[str]) -> Issue:
    severity: Severity = "INTEGRITY" if code == Exit.INTEGRITY else "ACTION"
    where = f" [{error['where']}]" if error.get("where") else ""
    what = f"a run would {'hold nothing' if code == Exit.OK else 'end'}: {error['what']}{where}"
    return lake.issue(severity, str(error["code"]), what, str(error.get("hint") or ""), names)
