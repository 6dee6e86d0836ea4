"""One run as plain values: for its page and for its JSON answer."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assay.base.domain import UTC
from assay.base.errors import AssayError
from assay.page.lookup import files_below, not_found, run_folder
from assay.page.run_list import Row
from assay.report.figures.figure import Figure
from assay.report.findings import contract_status, verdict
from assay.report.glance import changed, glance, run_before
from assay.report.html import first_figure, joint_blocks
from assay.report.templating import Block
from assay.report.view import LedgerView, RunView, in_order, open_run
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.artifacts import STEP_NAMES, describe
from assay.runs.documents import Flattened
from assay.runs.home import Home, told, weakened_by
from assay.runs.run import Run
from assay.runs.verify import Entry

METRICS = ("cagr", "volatility", "sharpe", "psr", "dsr", "sortino", "calmar", "max_drawdown", "cvar_95", "turnover",
           "hit_rate", "beta")  # fmt: skip
LEDGER_PAGE = 200
"""Entries of a ledger on one page."""


def run_facts(folder: Path, row: Row) -> dict[str, Any]:
    """Return what is known of a run, whether it is going, finished or broken.

    Parameters
    ----------
    folder : Path
        Its directory.
    row : Row
        Its status.
    """
    ledger = LedgerView(folder / layout.LEDGER)
    faults: list[str] = [ledger.fault] if ledger.fault else []
    facts: dict[str, Any] = {
        "run": asdict(row) | {"seconds": row.seconds(dt.datetime.now(UTC))},
        "steps": steps(ledger, row),
        "checks": checks(ledger),
        "files": files(folder),
        "ledger": {"entries": len(ledger.entries), "head": ledger.head, "sealed": ledger.last("seal") is not None},
        "faults": faults,
    }
    return facts | _contents(folder, faults)


def _contents(folder: Path, faults: list[str]) -> dict[str, Any]:
    """Return what the artifacts of a sleeve or of a portfolio say; what cannot be read joins the faults."""
    run, view = Run(folder), open_run(folder)
    said = verdict(view)
    manifest, selection, winners = run.get(layout.MANIFEST) or {}, run.get(layout.SELECTION), run.get(layout.WINNERS)
    risk, flattened = run.get(layout.RISK), run.get(layout.FLATTENED)
    sleeves, contributors = run.get(layout.META_SLEEVES), run.get(layout.META_CONTRIBUTORS)
    shares = {name: book.sleeve_weight for name, book in contributors.profiles.items()} if contributors else {}
    faults += [f"{name}: {reason}" for name, reason in {**run.faults, **view.faults}.items()]
    return {
        "verdict": {"word": said.word, "said": said.said, "why": said.why},
        "weakened": told(weakened_by(manifest), most=None),
        "source": manifest.get("source"),
        "lake": _lake(manifest),
        "funnel": [artifacts.as_plain(stage) for stage in selection.stages] if selection else [],
        "winners": [artifacts.as_plain(winner) for winner in winners.winners] if winners else [],
        "candidates": sorted({fate.symbol for fate in selection.fates}) if selection else [],
        "weights": _weights(flattened),
        "statistics": _statistics(view.statistics),
        "glance": _glance(view) if view.statistics else None,
        "regime": risk.regime if risk else None,
        "sleeves": [
            {
                "sleeve": sleeve.sleeve,
                "run_id": sleeve.run_id,
                "direction": sleeve.direction,
                "weights": {name: shares[name].get(sleeve.sleeve) for name in in_order(shares)},
            }
            for sleeve in (sleeves.accepted if sleeves else [])
        ],
        "refused": [artifacts.as_plain(refusal) for refusal in sleeves.refused] if sleeves else [],
    }


def _glance(view: RunView) -> dict[str, Any]:
    """Return the first screen."""
    seen = glance(view)
    return {
        "headline": seen.headline,
        "lights": [light._asdict() for light in seen.lights],
        "figures": [row._asdict() for row in seen.figures],
        "held": [{"symbol": coin, "weight": weight} for coin, weight in seen.held],
        "changed": changed(view, run_before(view)),
    }


def first_figures(folder: Path) -> list[Figure]:
    """Return the figure of a run's first screen, where the run came so far."""
    view = open_run(folder)
    drawn = first_figure(view) if view.statistics else ""
    return [] if isinstance(drawn, str) else [drawn]


def joint_report(home: Home, names: Sequence[str]) -> list[Block]:
    """Return the sections of the joint report over a flow's runs; nothing where one of them is gone or broken."""
    try:
        return joint_blocks([run_folder(home, name) for name in names]) if names else []
    except AssayError:
        return []


def _lake(manifest: Mapping[str, Any]) -> str:
    lake = manifest.get("lake")
    return str(lake.get("folder") or "").rpartition("/")[2] if isinstance(lake, Mapping) else ""


def _statistics(found: Any) -> dict[str, dict[str, float | None]]:
    tables = {name: table for name, table in dict(found or {}).items() if isinstance(table, Mapping)}
    return {name: {metric: table[metric] for metric in METRICS if metric in table} for name, table in tables.items()}


def _weights(flattened: Flattened | None) -> dict[str, Any]:
    """Return net weights, coins x risk profiles, the heaviest coin first, and the cash beside them."""
    if flattened is None:
        return {"risk_profiles": [], "coins": [], "cash": {}}
    names = in_order(flattened.profiles)
    coins: dict[str, dict[str, float]] = {}
    for name in names:
        for asset in flattened.profiles[name].assets:
            coins.setdefault(asset.Symbol, {})[name] = asset.Net_Weight
    ordered = sorted(coins, key=lambda coin: (-sum(map(abs, coins[coin].values())), coin))
    return {
        "risk_profiles": names,
        "coins": [{"symbol": coin, "net": coins[coin]} for coin in ordered],
        "cash": {name: flattened.profiles[name].cash for name in names},
    }


def steps(ledger: LedgerView, row: Row) -> list[dict[str, Any]]:
    """Return every step with its state and seconds; those to come are ``waiting``."""
    names = dict(enumerate(STEP_NAMES["meta" if row.kind == "meta" else "run"], start=1))
    names |= {number: outcome.name for number, outcome in ledger.outcomes.items()}
    return [_step(number, names[number], ledger, row) for number in sorted(names)]


def _step(number: int, name: str, ledger: LedgerView, row: Row) -> dict[str, Any]:
    outcome = ledger.outcomes.get(number)
    if outcome is None:
        state = "waiting" if row.state == "RUNNING" else "not reached"
    elif outcome.ended is None:
        state = {"RUNNING": "running", "DEAD": "dead"}.get(row.state, "unfinished")
    else:
        state = outcome.state
    seconds = outcome.seconds if outcome else None
    return {"step": number, "name": name, "state": state, "seconds": seconds}


def checks(ledger: LedgerView) -> list[dict[str, Any]]:
    """Return contracts and gates in the order in which they were made."""
    found = []
    for entry in ledger.current("contract", "gate"):
        if entry.kind == "gate":
            name, refused = entry.body.get("gate"), "RUIN" if entry.body.get("gate") == layout.RUIN else "FAIL"
            said = "PASS" if entry.body.get("ok") is True else refused
        else:
            name, said = entry.body.get("layer") or entry.body.get("schema"), contract_status(entry)
        found.append({"kind": entry.kind, "name": str(name), "said": said, "checked": entry.body.get("checked")})
    return found


def files(folder: Path) -> list[dict[str, Any]]:
    """Return every file of a run with its size and what it is."""
    listed = []
    for path, size in files_below(folder):
        artifact = describe(path)
        listed.append({"path": path, "bytes": size, "what": artifact.what if artifact else ""})
    return listed


def ledger_facts(folder: Path, row: Row, start: int) -> dict[str, Any]:
    """Return a page of a run's ledger from an entry's number on."""
    ledger = LedgerView(folder / layout.LEDGER)
    chosen = ledger.entries[start : start + LEDGER_PAGE]
    following = start + LEDGER_PAGE
    return {
        "run": asdict(row),
        "head": ledger.head,
        "entries": len(ledger.entries),
        "fault": ledger.fault,
        "from": start,
        "next": following if following < len(ledger.entries) else None,
        "lines": [_line(entry) for entry in chosen],
    }


def _line(entry: Entry) -> dict[str, Any]:
    about = next((str(entry.body[key]) for key in ("name", "gate", "schema", "code") if entry.body.get(key)), "")
    told = {"seq": entry.seq, "time": entry.time, "kind": entry.kind, "about": about}
    return told | {"hash": entry.hash, "body": entry.body}


STATES = ("RUNNING", "VALID", "FAILED", "INTERRUPTED", "DEAD")
RESULTS = ("cagr", "sharpe", "max_drawdown")
SORTS = ("run_id", "profile", "state", *RESULTS, "evidence", "book", "step", "elapsed", "as_of", "started")


def chosen(rows: Sequence[Row], query: Mapping[str, str]) -> list[Row]:
    """Filter and sort rows as a query says: ``q``, ``state``, ``kind``, ``sort``, ``order``.

    Raises
    ------
    UsageError
        If ``sort`` names no column.
    """
    words, state, kind = query.get("q", "").casefold().split(), query.get("state", ""), query.get("kind", "")
    sort = query.get("sort") or "started"
    if sort not in SORTS:
        raise not_found(f"there is no column {sort[:40]!r}", f"sort by one of {', '.join(SORTS)}")
    now = dt.datetime.now(UTC)
    kept = [row for row in rows if _fits(row, words) and state in ("", row.state) and kind in ("", row.kind)]

    def key(row: Row) -> tuple[Any, str]:
        value = row.seconds(now) if sort == "elapsed" else getattr(row, sort)
        return (-math.inf if value is None else value), row.run_id  # what is not known is less than anything

    return sorted(kept, key=key, reverse=query.get("order", "desc" if sort == "started" else "asc") == "desc")


def _fits(row: Row, words: Iterable[str]) -> bool:
    text = f"{row.run_id} {row.profile} {row.verdict} {row.stage}".casefold()
    return all(word in text for word in words)
