"""Clean tables of every layer, small and by hand, for tests to break."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.base.domain import DAY, UTC, Atom
from assay.runs.documents import (
    Contribution,
    Event,
    Flattened,
    FlattenedAsset,
    FlattenedProfile,
    Optimized,
    OptimizedAsset,
    OptimizedProfile,
    SolverRecord,
)
from assay.settings.model import RISK_PROFILES

BTC = "BINANCE:BTCUSDT"
AS_OF = dt.datetime(2024, 1, 22, tzinfo=UTC)
OSCILLATORS = ("rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d")
FEATURES = ("momentum", "efficiency", "adx")


def returns(n_days: int = 300, n_symbols: int = 4, seed: int = 1) -> pl.DataFrame:
    """Return a returns matrix with the benchmark, a few nulls and a jump that is allowed."""
    values = np.random.default_rng(seed).normal(0, 0.03, (n_days, n_symbols))
    values[7, -1] = 1.5
    values[11, 1] = 5.0
    values[:5, 1] = np.nan
    names = [BTC, *(f"BINANCE:A{i:03d}USDT" for i in range(1, n_symbols))]
    first = AS_OF - n_days * DAY
    dates = pl.datetime_range(first, AS_OF - DAY, "1d", time_unit="us", time_zone="UTC", eager=True).alias("date")
    return pl.from_numpy(values, schema=names).fill_nan(None).insert_column(0, dates)


def store(symbols: Sequence[str] = ("BINANCE:AUSDT", BTC, "BINANCE:CUSDT")) -> pl.DataFrame:
    """Return the last rows of a feature store."""
    n = len(symbols)
    averages, others = np.linspace(-1.0, 1.0, n), np.linspace(1.0, -0.6, n)
    columns = {
        "symbol": list(symbols),
        "open_time": pl.Series([AS_OF - DAY] * n, dtype=pl.Datetime("us", "UTC")),
        "recommend_all": (averages + others) / 2,
        "recommend_ma": averages,
        "recommend_other": others,
        **{f"vote_v{i}": pl.Series([i % 3 - 1] * n, dtype=pl.Int8) for i in range(26)},
        **{name: np.linspace(0.0, 100.0, n) for name in OSCILLATORS},
    }
    return pl.DataFrame(columns)


def scores(n: int = 5) -> pl.DataFrame:
    """Return the scores of a few atoms."""
    rng = np.random.default_rng(2)
    raw = {name: rng.normal(size=n) for name in FEATURES}
    probabilities = {f"{name}_prob": np.linspace(0.0, 1.0, n) for name in FEATURES}
    ids = [Atom(f"BINANCE:A{i}USDT", "rating_all", "LONG").id for i in range(n)]
    return pl.DataFrame({"atom_id": ids, "alpha_score": np.linspace(0.1, 0.9, n), **raw, **probabilities})


def atoms(frame: pl.DataFrame, direction: str = "SHORT") -> list[Atom]:
    """Return an atom of each column."""
    return [Atom(name, "rating_all", direction) for name in frame.columns if name != "date"]


def synthetic(frame: pl.DataFrame, winners: Sequence[Atom]) -> pl.DataFrame:
    """Return synthetic returns, written as Polars expressions: r for a long, -min(r, 1) for a short."""
    long = [pl.col(atom.symbol).alias(atom.id) for atom in winners if atom.direction == "LONG"]
    short = [
        (-pl.min_horizontal(pl.col(atom.symbol), pl.when(pl.col(atom.symbol).is_not_null()).then(1.0))).alias(atom.id)
        for atom in winners
        if atom.direction == "SHORT"
    ]
    return frame.select("date", *long, *short)


WINNERS = (
    Atom(BTC, "rating_all", "LONG"),
    Atom(BTC, "rating_ma", "SHORT"),
    Atom("BINANCE:AUSDT", "rating_all", "LONG"),
    Atom("BINANCE:BUSDT", "rating_all", "SHORT"),
    Atom("BINANCE:CUSDT", "rating_ma", "LONG"),
    Atom("BINANCE:DUSDT", "rating_ma", "LONG"),
)
WEIGHTS = (0.25, 0.10, 0.20, 0.25, 0.15, 0.0)
CLUSTERS = (1, 1, 2, 3, 2, 4)
SYMBOLS = (BTC, "BINANCE:AUSDT", "BINANCE:BUSDT", "BINANCE:CUSDT", "BINANCE:DUSDT")


def optimized_profile(weights: Sequence[float] = WEIGHTS, events: Sequence[Event] = ()) -> OptimizedProfile:
    """Return one risk profile on the winners, the rest in cash."""
    assets = [
        OptimizedAsset.model_validate(
            {
                "Symbol": atom.symbol,
                "Atom": atom.id,
                "Logic": atom.logic,
                "Direction": atom.direction,
                "Weight": weight,
                "Net_Weight": atom.sign * weight,
                "Cluster_ID": cluster,
            }
        )
        for atom, weight, cluster in zip(WINNERS, weights, CLUSTERS, strict=True)
    ]
    solver = SolverRecord(
        name="none", status="solved", iterations=1, residual=None, gap=None, fallbacks=[], projection_distance=0.0
    )
    return OptimizedProfile(
        assets=assets,
        clusters={},
        cash=1.0 - sum(weights),
        budget=1.0,
        atom_cap=0.25,
        cluster_cap=0.35,
        solver=solver,
        events=list(events),
    )


def coin(symbol: str, gross: float, net: float, *parts: int, weights: Sequence[float] = WEIGHTS) -> FlattenedAsset:
    """Return a coin with given weights that lists some winners."""
    listed = [
        Contribution.model_validate(
            {
                "Atom": WINNERS[i].id,
                "Logic": WINNERS[i].logic,
                "Direction": WINNERS[i].direction,
                "Weight": weights[i],
            }
        )
        for i in parts
    ]
    return FlattenedAsset(
        Symbol=symbol,
        Weight=gross,
        Net_Weight=net,
        Gross_Weight=gross,
        Direction="LONG" if net > 0 else "SHORT" if net < 0 else "FLAT",
        Cluster_ID=1,
        Market="BINANCE_SPOT",
        Sector="UNCLASSIFIED",
        Atoms=listed,
    )


def flattened_profile() -> FlattenedProfile:
    """Return the same on coins, the sums worked out by hand."""
    coins = [
        coin(BTC, 0.35, 0.15, 0, 1),
        coin("BINANCE:BUSDT", 0.25, -0.25, 3),
        coin("BINANCE:AUSDT", 0.20, 0.20, 2),
        coin("BINANCE:CUSDT", 0.15, 0.15, 4),
        coin("BINANCE:DUSDT", 0.0, 0.0, 5),
    ]
    return FlattenedProfile(assets=coins, cash=0.05, gross=0.95, net=0.25)


def optimized() -> Optimized:
    """Return all five risk profiles, with the guard on and off."""
    books = {name: optimized_profile() for name in RISK_PROFILES}
    return Optimized(as_of="2024-01-22T00:00:00Z", profiles=books, unguarded={k: optimized_profile() for k in books})


def flattened() -> Flattened:
    """Return all five risk profiles on coins."""
    return Flattened(as_of="2024-01-22T00:00:00Z", profiles={name: flattened_profile() for name in RISK_PROFILES})
