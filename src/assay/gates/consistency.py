"""Atomic validation of counts and dates: returns, calendar, funnel."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from assay.base.domain import DAY, parse_as_of
from assay.runs import artifacts as layout
from assay.runs.documents import RawCandidates, SelectionAudit, Winners
from assay.runs.run import DOCUMENTS, WALK_TABLES, Days, Evidence, Tally, days

STAGES = ("discovery", "normalization", "deduplication", "selection")


def check_returns_parse(evidence: Evidence, tally: Tally) -> None:
    """Check that both matrices are panels of returns."""
    for name in (layout.RETURNS, layout.SYNTHETIC):
        evidence.panel(name)
        tally.expect(True, name)


def check_returns_hold(evidence: Evidence, tally: Tally) -> None:
    """Check that both matrices hold observations."""
    for name in (layout.RETURNS, layout.SYNTHETIC):
        panel = evidence.panel(name)
        tally.checked += int(np.isfinite(panel.values).sum())
        tally.expect(not panel.empty or (evidence.stands_aside and not evidence.atoms), f"{name} is empty")


def check_calendar(evidence: Evidence, tally: Tally) -> None:
    """Check that every document has the run's date, and that no table knows more than was known."""
    as_of = evidence.manifest.as_of
    instant = parse_as_of(as_of)
    for name, kind in DOCUMENTS.items():
        if "as_of" in kind.model_fields:
            told = evidence.document(kind, name).model_dump(include={"as_of"})["as_of"]
            tally.expect(told == as_of, f"{name} is as of {told}, the run as of {as_of}")
    last = np.datetime64((instant - DAY).replace(tzinfo=None), "D")
    returns, synthetic = evidence.panel(layout.RETURNS).days, evidence.panel(layout.SYNTHETIC).days
    tally.expect(np.array_equal(returns, synthetic), "the synthetic returns have other days than the returns matrix")
    _daily(layout.RETURNS, returns, last, tally)
    _daily(layout.SYNTHETIC, synthetic, last, tally)
    walk = evidence.table(layout.WALK_RETURNS)
    keyed = {"risk_profile", "date"} <= set(walk.columns)
    tally.expect(keyed, f"{layout.WALK_RETURNS} has no risk_profile or date")
    for (name,), rows in walk.group_by("risk_profile", maintain_order=True) if keyed else ():
        _daily(f"{layout.WALK_RETURNS} {name}", days(rows["date"], layout.WALK_RETURNS), last, tally)
    for name in WALK_TABLES:
        for column in evidence.table(name).iter_columns():
            what = f"{name}: {column.name} is not in UTC, or later than the run knows"
            if column.dtype == pl.Date:
                tally.checked += len(column)
                tally.expect(not (column.drop_nulls() > last.item()).any(), what)
            elif isinstance(column.dtype, pl.Datetime):
                tally.checked += len(column)
                tally.expect(column.dtype.time_zone == "UTC" and not (column.drop_nulls() > instant).any(), what)


def _daily(name: str, found: Days, last: np.datetime64, tally: Tally) -> None:
    tally.checked += len(found)
    tally.expect(bool((np.diff(found) == np.timedelta64(1, "D")).all()), f"{name} is not one row for each day")
    tally.expect(bool((found <= last).all()), f"{name} has a day after {last}, the last one that the run knows")


def check_funnel(evidence: Evidence, tally: Tally) -> None:
    """Check that nobody got lost between the scan and the winners."""
    audit = evidence.document(SelectionAudit, layout.SELECTION)
    n_candidates = len(evidence.document(RawCandidates, layout.RAW).candidates)
    winners = evidence.document(Winners, layout.WINNERS).winners
    _check_stages(audit, n_candidates, len(winners), tally)
    later = audit.stages[1:]
    everyone = n_candidates + sum(stage.expanded for stage in later)
    tally.expect(len(audit.fates) == everyone, f"{everyone} candidates have {len(audit.fates)} fates")
    lost = Counter((fate.stage, fate.reason) for fate in audit.fates if fate.reason != "winner")
    told = Counter({(stage.stage, reason): n for stage in later for reason, n in stage.dropped_by.items() if n})
    tally.expect(lost == told, "the fates' reasons are not those of the stages")
    taken = Counter((fate.symbol, fate.logic, fate.direction) for fate in audit.fates if fate.reason == "winner")
    same = taken == Counter((winner.symbol, winner.logic, winner.direction) for winner in winners)
    tally.expect(same, "the fates' winners are not the winners")


def _check_stages(audit: SelectionAudit, n_candidates: int, n_winners: int, tally: Tally) -> None:
    names = tuple(stage.stage for stage in audit.stages)
    tally.expect(names == STAGES, f"the stages are {', '.join(names)}")
    for stage in audit.stages:
        balanced = stage.n_out == stage.n_in + stage.expanded - stage.dropped >= 0
        tally.expect(balanced, f"{stage.stage}: {stage.n_in} + {stage.expanded} - {stage.dropped} is not {stage.n_out}")
        explained = (sum(stage.expanded_by.values()), sum(stage.dropped_by.values()))
        tally.expect(explained == (stage.expanded, stage.dropped), f"{stage.stage}: its reasons do not add up")
    for before, after in zip(audit.stages, audit.stages[1:], strict=False):
        what = f"{before.n_out} leave {before.stage}, {after.n_in} enter {after.stage}"
        tally.expect(before.n_out == after.n_in, what)
    ends = [stage.n_out for stage in audit.stages]
    tally.expect(ends[:1] == [n_candidates], f"discovery ends with {ends[:1]}, there are {n_candidates} candidates")
    tally.expect(ends[-1:] == [n_winners] == [audit.n_winners], f"the funnel ends with {ends[-1:]}, not {n_winners}")
