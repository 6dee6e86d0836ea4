"""What is measured, by name: each prepares without being timed and yields jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling import worlds
from benchmarks.scaling.flows import executed, registry, sleeve
from benchmarks.scaling.measure import Job, MeasureError, apart


def demand(kept: bool, what: str) -> None:
    """Raise where an answer is wrong."""
    if not kept:
        raise MeasureError(what)


def ratings(folder: Path, symbols: int, days: int) -> Iterator[Job]:
    """26 votes and three ratings of every bar, as a table."""
    import polars as pl

    from assay.ratings import rate

    apart(worlds.write_lake_bars, folder / "bars.parquet", symbols, days)
    bars = pl.read_parquet(folder / "bars.parquet")
    rate(bars.head(days))

    def check(rated: Any) -> None:
        demand(rated.height == symbols * days, "a bar has no row")
        found = rated["recommend_all"].drop_nulls()
        demand(bool(found.is_between(-1, 1).all()) and len(found) > 0, "ratings lie outside -1 to 1")
        # What stands beside a symbol changes nothing in its rows.
        last = worlds.names(symbols)[-1]
        alone = rate(bars.filter(symbol=last))
        demand(alone.equals(rated.filter(symbol=last).select(alone.columns)), f"{last} is rated otherwise alone")

    yield Job("ratings", lambda: rate(bars), check)


def ingest(folder: Path, symbols: int, days: int) -> Iterator[Job]:
    """From a Parquet file to a lake with bars and ratings."""
    from assay.lake.ingest import ingest as bring
    from assay.lake.lake import Lake
    from assay.ratings import rate

    source = folder / "bars.parquet"
    apart(worlds.write, source, symbols, days)
    _warm(folder)
    homes = (folder / f"home-{number}" for number in itertools.count())
    lakes: list[Lake] = []

    def first() -> Any:
        lakes.append(Lake(next(homes), f"parquet:{source}"))
        return bring(lakes[-1])

    def check(report: Any) -> None:
        demand((report.rows, report.symbols) == (symbols * days, symbols), "bars are missing in the lake")
        demand(report.quarantined == 0, "bars were refused")
        last = worlds.names(symbols)[-1]
        held = lakes[-1].latest()
        alone = rate(held.bars(symbols=[last]))
        table = held.table("ratings")
        assert table is not None
        rated = table.filter(symbol=last).sort("open_time").select(alone.columns)
        demand(alone.equals(rated), f"{last} is rated otherwise alone")

    yield Job("ingest", first, check, once=symbols * days > ONCE)


def update(folder: Path, symbols: int, days: int) -> Iterator[Job]:
    """The file of a lake with one more day."""
    from assay.lake.ingest import ingest as bring
    from assay.lake.lake import Lake

    source = folder / "bars.parquet"
    apart(_loaded, folder, source, symbols, days)
    _warm(folder)

    def grown(report: Any) -> None:
        demand((report.added, report.repaired, report.removed) == (symbols, 0, 0), "not one new bar for each symbol")

    yield Job("one more day", lambda: bring(Lake(folder / "home", f"parquet:{source}")), grown, once=True)


ONCE = 200_000
"""Rows from which an ingest is long enough to be timed once."""


def _warm(folder: Path) -> None:
    """Ingest something small, so that imports are no part of what is measured."""
    from assay.lake.ingest import ingest as bring
    from assay.lake.lake import Lake

    bring(Lake(folder / "warm", f"parquet:{worlds.write(folder / 'warm.parquet', 2, 300)}"))


def _loaded(folder: Path, source: Path, symbols: int, days: int) -> None:
    """Fill a lake from a file, then let the file grow."""
    from assay.lake.ingest import ingest as bring
    from assay.lake.lake import Lake

    bring(Lake(folder / "home", f"parquet:{worlds.write(source, symbols, days)}"))
    worlds.write(source, symbols, days, later=1)


def selection(folder: Path, candidates: int, days: int) -> Iterator[Job]:  # noqa: ARG001 - works are called alike
    """Features, vetoes, clusters, winners."""
    from assay.alpha.selection import NaturalSelection
    from assay.settings.model import Profile
    from benchmarks.selection import streams

    profile = Profile(name="bench", direction="LONG", logics=("rating_all",), scanners=("s",))
    returns = streams(days, candidates)
    NaturalSelection.from_profile(profile).fit(returns[:, :5])

    def check(model: Any) -> None:
        demand(1 <= len(model.winners_) <= profile.selection.max_winners, "winners are too few or too many")
        demand(bool(((model.alpha_ >= 0) & (model.alpha_ <= 1)).all()), "a score lies outside 0 to 1")
        few = NaturalSelection.from_profile(profile).fit(returns[:, :3])
        demand(np.array_equal(few.features_.momentum, model.features_.momentum[:3]), "a column depends on others")

    yield Job("selection", lambda: NaturalSelection.from_profile(profile).fit(returns), check)


def allocation(folder: Path, atoms: int) -> Iterator[Job]:  # noqa: ARG001 - works are called alike
    """Estimates, clusters, caps; then each risk profile."""
    from assay.base.domain import Atom
    from assay.risk.allocate import analyse, optimize
    from assay.settings.model import RISK_PROFILES, Profile
    from benchmarks.candidates import check as check_weights
    from benchmarks.selection import streams

    profile = Profile(name="bench", direction="LONG", logics=("rating_all",), scanners=("s",))
    returns = streams(500, atoms)
    named = [Atom(f"BINANCE:C{number}USDT", "rating_all", "LONG") for number in range(atoms)]
    closes = np.asarray(100 * np.cumprod(1 + np.random.default_rng(0).standard_normal(500) * 0.02), dtype=np.float64)
    antifragility = np.random.default_rng(1).standard_normal(atoms)
    optimize(analyse(returns[:, :30], named[:30], closes, profile, antifragility[:30]), profile)

    def analysed() -> Any:
        return analyse(returns, named, closes, profile, antifragility)

    def covers(state: Any) -> None:
        demand(len(state.labels) == atoms and state.labels.min() >= 1, "an atom is in no cluster")

    yield Job("analysis", analysed, covers)
    state = analysed()
    for name in RISK_PROFILES:
        alone = profile.model_copy(update={"risk": profile.risk.model_copy(update={"risk_profiles": (name,)})})

        def weigh(alone: Profile = alone) -> Any:
            return optimize(state, alone)

        yield Job(name, weigh, lambda found: check_weights(state, found))


WORKS: dict[str, Callable[..., Iterator[Job]]] = {
    "ratings": ratings,
    "ingest": ingest,
    "update": update,
    "selection": selection,
    "allocation": allocation,
    "sleeve": sleeve,
    "executed": executed,
    "registry": registry,
}
