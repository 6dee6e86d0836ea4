"""Recommendations, run times and the ledger."""

from __future__ import annotations

from assay.report.findings import AuditFinding, notices
from assay.report.markdown import ABSENT, Safe, bullets, count, fill, integer, plain, seconds, section, table
from assay.report.view import RunView, parse_time, step_of
from assay.runs.artifacts import STEP_NAMES

LISTED = 60


def recommendations(view: RunView) -> Safe:
    """Return a recommendation for every finding that has one, each with its code."""
    return section("Recommendations", advice(notices(view)))


def advice(found: list[AuditFinding]) -> Safe:
    """Return recommendations, the gravest first, equal ones once."""
    merged: dict[tuple[str, str], list[str]] = {}
    for notice in found:
        if notice.advice:
            merged.setdefault((notice.code, notice.advice), []).append(notice.what.rstrip("."))
    if not merged:
        return Safe("None: no finding of this run calls for one.")
    return bullets(
        fill("**{code}:** {advice}. Finding: {what}.", code=code, advice=text.rstrip("."), what=_first(whats))
        for (code, text), whats in merged.items()
    )


def _first(whats: list[str]) -> str:
    rest = f" (and {count(len(whats) - 1, 'more finding')} of this code)" if len(whats) > 1 else ""
    return whats[0] + rest


def run_times(view: RunView) -> Safe:
    """Return the time of each step, from the ledger's own times."""
    outcomes = view.ledger.outcomes
    if not outcomes:
        return section("Run times", Safe("The ledger holds no step."))
    rows: list[list[object]] = []
    for step in sorted({*range(1, len(STEP_NAMES["run"]) + 1), *outcomes}):
        outcome = outcomes.get(step)
        if outcome is None:
            rows.append([step, STEP_NAMES["run"][step - 1], "not reached", ABSENT, ABSENT])
            continue
        state = outcome.state if outcome.ended else "in progress"
        rows.append([step, outcome.name, state, integer(outcome.attempts), seconds(outcome.seconds)])
    total = sum(outcome.seconds or 0.0 for outcome in outcomes.values())
    rows.append([Safe("**all**"), ABSENT, ABSENT, ABSENT, seconds(total)])
    return section("Run times", table([">step", "name", "state", ">attempts", ">time"], rows))


def ledger(view: RunView) -> Safe:
    """Return size and head of the ledger, whether it is sealed, and its events."""
    found = view.ledger
    seal = found.last("seal")
    first = parse_time(found.entries[0].time) if found.entries else None
    lines = [
        fill("**Entries:** {n}.", n=integer(len(found.entries))),
        fill("**Begun:** {time}.", time=first.strftime("%Y-%m-%dT%H:%M:%SZ") if first else None),
        fill("**Head:** {head}.", head=found.head),
    ]
    if found.fault is not None:
        lines.append(fill("**Fault:** {fault}.", fault=found.fault))
    resumes = sum(entry.kind == "resume" for entry in found.entries)
    if resumes:
        lines.append(fill("**Resumed:** {times}.", times=count(resumes, "time")))
    note = (
        fill("**Seal:** the run is sealed by entry {seq}, the last one.", seq=seal.seq)
        if seal
        else Safe(
            "**Seal:** none yet. This report is written before the seal, which covers the report too; the head above "
            "is that of this moment. `assay verify RUN` checks chain, seal and registry."
        )
    )
    return section("Ledger", bullets([*lines, note]), *_events(view))


def _events(view: RunView) -> list[Safe]:
    rows = [
        (
            plain(step_of(entry)),
            plain(entry.body.get("code")),
            plain(entry.body.get("what")),
            plain(entry.body.get("values")),
        )
        for entry in view.ledger.current("event", "fallback")
    ]
    if not rows:
        return [Safe("Events: none.")]
    return [Safe("Events:"), table([">step", "event", "what", "values"], rows, LISTED, "; see audit.jsonl")]
