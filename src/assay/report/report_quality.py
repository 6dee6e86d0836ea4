"""Data quality: what was read, what is wrong with it, what is missing and why."""

from __future__ import annotations

from collections import Counter

from assay.report.markdown import ABSENT, Safe, bullets, count, fill, integer, names, section, table
from assay.report.view import RunView
from assay.runs import artifacts as layout
from assay.runs.documents import DataHealth, Drop, Finding

LISTED = 60
QUARANTINE = "QUARANTINE"


def quality(view: RunView) -> Safe:
    """Return size and span of the returns matrix, findings, faulty and missing symbols, drops, invalid records."""
    title = "Data quality"
    if view.health is None:
        return section(title, fill("No audit of the data: {why}.", why=view.absent(layout.HEALTH)), *_invalid(view))
    health = view.health
    return section(
        title,
        bullets(_facts(view, health)),
        *_findings([*health.findings, *(view.enrichment.findings if view.enrichment else [])]),
        *_unhealthy(health),
        *_drops("Missing symbols, candidates without bars or ratings", health.missing, "symbol"),
        *_drops("Dropped columns", health.dropped, "column"),
        *_invalid(view),
    )


def _facts(view: RunView, health: DataHealth) -> list[Safe]:
    statuses = Counter(symbol.status for symbol in health.symbols)
    counted = ", ".join(f"{status} {integer(n)}" for status, n in sorted(statuses.items()))
    return [
        fill(
            "**Returns matrix:** {rows} x {columns}, {first} to {last}; benchmark {benchmark}.",
            rows=count(health.rows, "row"),
            columns=count(health.columns, "column"),
            first=health.first,
            last=health.last,
            benchmark=health.benchmark,
        ),
        fill("**Symbols audited:** {n} ({counted}).", n=integer(len(health.symbols)), counted=counted or ABSENT),
        fill("**Invalid candidate records:** {n}.", n=integer(_invalid_count(view))),
        fill("**Quarantined rows:** {text}.", text=_quarantine(health)),
    ]


def _invalid_count(view: RunView) -> int | None:
    return len(view.raw.invalid_records) if view.raw else None


def _quarantine(health: DataHealth) -> str:
    found = [finding for finding in health.findings if QUARANTINE in finding.code.upper()]
    if not found:
        return "none recorded"
    return "; ".join(f"{integer(finding.count)}, {finding.what}" for finding in found)


def _findings(findings: list[Finding]) -> list[Safe]:
    if not findings:
        return [Safe("Findings: none.")]
    rows = [
        (finding.code, integer(finding.count), finding.what, names(finding.names) or ABSENT) for finding in findings
    ]
    return [Safe("Findings:"), table(["code", ">count", "what", "names"], rows)]


def _unhealthy(health: DataHealth) -> list[Safe]:
    faulty = [symbol for symbol in health.symbols if symbol.status != "OK"]
    rows = [
        [
            found.symbol,
            found.status,
            found.cause,
            integer(found.observations),
            found.first,
            found.last,
            integer(found.missing_days),
        ]
        for found in faulty
    ]
    if not rows:
        return [Safe("Symbols that are not OK: none.")]
    columns = ["symbol", "status", "cause", ">observations", "first", "last", ">missing days"]
    return [Safe("Symbols that are not OK:"), table(columns, rows, LISTED, f"; see {layout.HEALTH}")]


def _drops(title: str, drops: list[Drop], what: str) -> list[Safe]:
    if not drops:
        return [Safe(f"{title}: none.")]
    rows = [(drop.name, drop.reason, drop.detail or ABSENT) for drop in drops]
    return [Safe(f"{title}:"), table([what, "cause", "detail"], rows, LISTED, f"; see {layout.HEALTH}")]


def _invalid(view: RunView) -> list[Safe]:
    if view.raw is None or not view.raw.invalid_records:
        return []
    rows = [(record.symbol, record.scanner, record.reason) for record in view.raw.invalid_records]
    return [
        Safe("Invalid candidate records:"),
        table(["symbol", "scanner", "reason"], rows, LISTED, f"; see {layout.RAW}"),
    ]
