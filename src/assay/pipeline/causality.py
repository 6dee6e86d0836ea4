"""Try a finished run's walk-forward on other futures, in every table of its lake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from assay.backtest.causality import Probe, Probes, Rehearsal, World, choose_dates
from assay.backtest.decision import decider, history_days
from assay.backtest.equality import difference, panel_difference
from assay.backtest.perturbations import KINDS, Kind, perturb
from assay.backtest.walk_forward import walk_forward
from assay.base import files
from assay.base.domain import DAY, format_instant
from assay.base.errors import UsageError
from assay.lake.snapshot import InMemorySnapshot, Snapshot, pinned
from assay.market.panel import RATING_FIELDS, Market
from assay.pipeline.flow import workforce
from assay.ratings import rate
from assay.runs import artifacts as layout
from assay.runs.request import Request
from assay.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from assay.runs.home import Home
    from assay.settings.model import Execution

RATED = ("symbol", "open_time", *RATING_FIELDS)


def read_tables(snapshot: Snapshot) -> dict[str, pl.DataFrame]:
    """Read every table of a lake; of ratings the columns that decisions read, and no table that the lake lacks.

    The quarantine of a lake without rejected rows is empty, as a reader sees it.
    """
    found = {
        "bars": snapshot.bars(),
        "ratings": snapshot.ratings(columns=RATED, judged=True),
        "quarantine": snapshot.quarantine(),
        "instruments": snapshot.instruments(),
        "borrow": snapshot.borrow(),
        "candidates": snapshot.candidates(),
    }
    return {name: frame for name, frame in found.items() if frame is not None}


class PerturbedLake:
    """Other worlds of one lake.

    Parameters
    ----------
    snapshot : Snapshot
        The lake.
    market : Market
        What the run read of it.
    tables : mapping of str to DataFrame
        All of it.
    seed : int
        Of the noise.
    """

    def __init__(self, snapshot: Snapshot, market: Market, tables: Mapping[str, pl.DataFrame], seed: int) -> None:
        self.snapshot, self.market, self.tables, self.seed = snapshot, market, tables, seed
        self._rated = _rated(tables["bars"], snapshot.edition)

    def world(self, as_of: dt.datetime, kind: Kind) -> World:
        """Perturb every table after a date, read the panel from them, and compare what lies before.

        The ratings are compared twice: as the panel has them, and made again from the other bars.
        """
        rng = np.random.default_rng([self.seed, as_of.toordinal(), KINDS.index(kind)])
        other = perturb(self.tables, as_of, kind, rng)
        first = self.market.days[0].astype("datetime64[D]").item()
        stand = InMemorySnapshot.of(self.snapshot, other.tables)
        until = min(self.market.as_of, stand.last_close())
        days = (until.date() - first).days
        market = stand.market(until, days)
        rows, fault = panel_difference(self.market, market, min(as_of, self.market.as_of))
        faults = [] if fault is None else [f"panel: {fault}"]
        compared = {"panel": rows}
        if kind != "open":  # which differs from noise in one column of one day
            known = pl.col("open_time") + DAY <= as_of
            again = _rated(other.tables["bars"], self.snapshot.edition)
            before, after = self._rated.filter(known), again.filter(known)
            fault = difference(before, after, ("symbol", "open_time"))
            faults += [] if fault is None else [f"ratings: {fault}"]
            compared["ratings"] = before.height
        return World(market, other.changed, other.coins, compared, faults)


def _rated(bars: pl.DataFrame, edition: str) -> pl.DataFrame:
    return rate(bars, "1d", edition).select(RATED)


def stage_run(home: Home, folder: Path, seed: int) -> tuple[PerturbedLake, Rehearsal, Request]:
    """Decide a run's walk-forward again from its pinned lake, ready to be tried on other futures.

    Raises
    ------
    UsageError
        If the run has no walk-forward.
    """
    if not (folder / layout.WALK_DECISIONS).is_file():
        raise UsageError("the run has no walk-forward", where=folder.name, hint="resume it, or name a finished run")
    Run(folder).check_format()
    request = Request.of(home.path, folder)
    snapshot = pinned(request)
    market = snapshot.market(request.as_of, history_days(request.profile, request.as_of))

    decided = decider(market, request.profile, request.scanners)
    result = walk_forward(market, request.profile, decided)
    rehearsal = Rehearsal(result, request.profile, decided)
    return PerturbedLake(snapshot, market, read_tables(snapshot), seed), rehearsal, request


def trials(
    lake: PerturbedLake, rehearsal: Rehearsal, dates: Sequence[dt.datetime], since: dt.datetime | None = None
) -> Iterator[Probe]:
    """Try every date in every way, from the first to the last; see :mod:`assay.backtest.causality`.

    Decisions up to ``since`` are not taken again: another trial did.
    """
    for as_of in dates:
        for kind in KINDS:
            # With the next open kept, the future differs from noise by that price alone: the last decision will do.
            begin = as_of - DAY if kind == "open" else since
            yield rehearsal.trial(as_of, kind, lake.world(as_of, kind), begin)
        since = as_of


@dataclass(frozen=True)
class Search:
    """One date of a test, as it is passed to a worker."""

    home: Home
    run: str
    seed: int
    as_of: dt.datetime
    since: dt.datetime | None


def try_date(search: Search) -> list[Probe]:
    """Try a date in every way, in a worker."""
    lake, rehearsal = _staged(search.home, search.run, search.seed)
    return list(trials(lake, rehearsal, [search.as_of], search.since))


@lru_cache(maxsize=1)
def _staged(home: Home, run: str, seed: int) -> tuple[PerturbedLake, Rehearsal]:
    lake, rehearsal, _ = stage_run(home, home.run(run), seed)
    return lake, rehearsal


def causality(home: Home, run: str, dates: int, seed: int, execution: Execution) -> tuple[dict[str, Any], Path]:
    """Test a run and keep the report; return it as JSON values, and where it lies.

    A portfolio reads no table of the lake itself: each of its sleeves is tested, and all must pass.
    """
    if dates < 1:
        raise UsageError("no date, no test", where="--dates", hint="at least 1")
    folder = home.run(run)
    path = home.reports / "causality" / f"{folder.name}.json"
    found = Run(folder)
    if found.kind == "meta":
        sleeves = {one.run_id: causality(home, one.run_id, dates, seed, execution)[0] for one in found.accepted}
        ok = bool(sleeves) and all(body["ok"] for body in sleeves.values())
        body = {"run_id": folder.name, "seed": seed, "ok": ok, "sleeves": sleeves}
    else:
        body = _of_sleeve(home, run, dates, seed, execution)
    files.write_json(path, body)
    return body, path


def _of_sleeve(home: Home, run: str, dates: int, seed: int, execution: Execution) -> dict[str, Any]:
    folder = home.run(run)
    lake, rehearsal, request = stage_run(home, folder, seed)
    chosen = choose_dates(rehearsal.result, dates, seed)
    if not chosen:
        raise UsageError("the walk-forward holds a single day", where=run, hint="choose a run with a longer one")
    with workforce(execution.use or "serial", execution.workers, home) as executor:
        if executor.workers < 2:
            found = list(trials(lake, rehearsal, chosen))
        else:
            before = [None, *chosen]
            searches = [Search(home, run, seed, at, since) for since, at in zip(before, chosen, strict=False)]
            found = [trial for tried in executor.map(try_date, searches) for trial in tried]
    verdict = Probes(tuple(found))
    body = {"run_id": folder.name, "seed": seed, "recorded": recorded(folder, rehearsal)} | verdict.as_dict()
    body["ok"] = verdict.ok and body["recorded"] != "DIFFERENT"
    body["as_of"] = format_instant(request.as_of)
    return body


def recorded(folder: Path, rehearsal: Rehearsal) -> str:
    """Compare the tables that the run wrote with those that were tried: EQUAL, WITHIN 1e-9 or DIFFERENT.

    Another processor family may round otherwise, so that rows of the run are near, not equal.
    """
    verdict = "EQUAL"
    for name, frame in rehearsal.result.frames().items():
        path = folder / f"{layout.WALK}{name}.parquet"
        written = pl.read_parquet(path) if path.is_file() else frame.clear()
        keys = layout.TABLE_KEYS[f"{layout.WALK}{name}.parquet"]
        if difference(written.sort(keys), frame.sort(keys), keys) is None:
            continue
        if not _near(written.sort(keys), frame.sort(keys)):
            return "DIFFERENT"
        verdict = "WITHIN 1e-9"
    return verdict


def _near(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    try:
        assert_frame_equal(left, right, rel_tol=1e-9, abs_tol=1e-9)
    except AssertionError:
        return False
    return True
