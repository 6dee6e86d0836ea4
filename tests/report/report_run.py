"""A small complete run directory whose every value was chosen by hand; nothing in it comes from the code under test.

Ten candidates, nine of them usable, seven winners in three clusters, one of them a loss maker: the guard leaves six
sevenths of the account.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

RUN_ID = "binance_spot_rating_all_short_20240122-101500"
PROFILE = "binance_spot_rating_all_short"
AS_OF = "2024-01-22T00:00:00Z"
COINS = [f"BINANCE:{name * 3}USDT" for name in "ABCDEFG"]
RISK_PROFILES = ("min_variance", "hrp", "max_sharpe", "equal_weight", "barbell")
CLUSTER_OF = [1, 1, 1, 2, 2, 3, 3]
SEVENTH = 0.142857142857143
HRP = [0.2, 0.15, 0.15, 0.15, 0.107142857142857, 0.1, 0.0]
WEIGHTS = {
    "min_variance": [0.25, 0.25, 0.0, 0.25, 0.0, 0.0, 0.0],
    "hrp": HRP,
    "max_sharpe": [0.0] * 7,
    "equal_weight": [SEVENTH] * 6 + [0.0],
    "barbell": [0.25, 0.25, 0.1, 0.1, 0.1, 0.057142857142857, 0.0],
}
UNGUARDED = {
    "min_variance": [0.25, 0.25, 0.0, 0.25, 0.0, 0.0, 0.25],
    "hrp": [SEVENTH] * 7,
    "max_sharpe": [0.25, 0.25, 0.0, 0.25, 0.0, 0.0, 0.25],
    "equal_weight": [SEVENTH] * 7,
    "barbell": [0.25, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1],
}
STEPS = (
    "preflight",
    "discovery",
    "data_prep",
    "natural_selection",
    "enrichment",
    "strategy_synthesis",
    "sign_test_pre_opt",
    "risk_analysis",
    "optimization",
    "weight_flattening",
    "sign_test_post_opt",
    "walk_forward",
    "capital_preservation",
    "atomic_validation",
    "reporting",
)
FILES = {
    1: ["config/resolved_manifest.json"],
    2: ["data/portfolio_candidates_raw.json"],
    3: ["data/returns_matrix.parquet", "data/data_health.json"],
    4: ["data/feature_store.parquet", "data/portfolio_candidates.json", "data/selection_audit.json"],
    5: ["data/portfolio_enriched.json"],
    6: ["data/synthetic_returns.parquet"],
    7: ["data/directional_sign_test_pre_opt.json"],
    8: ["data/portfolio_clusters.json", "data/risk_analysis.json"],
    9: ["data/portfolio_optimized_v2.json"],
    10: ["data/portfolio_flattened.json"],
    11: ["data/directional_sign_test.json"],
    12: [
        f"data/walk_forward/{name}"
        for name in (
            "returns.parquet",
            "unguarded_returns.parquet",
            "phase_returns.parquet",
            "decisions.parquet",
            "weights.parquet",
            "unguarded_weights.parquet",
            "phase_weights.parquet",
            "trades.parquet",
            "cancelled.parquet",
            "yardsticks.parquet",
            "holdings.json",
            "statistics.json",
            "survivorship.json",
            "by_year.json",
            "by_regime.json",
            "worth.json",
        )
    ],
    13: ["data/capital_preservation.json"],
    14: [f"reports/validation/atomic_validation_{PROFILE}_{RUN_ID}.json"],
}
STEP_SECONDS = 0.25
DAY_ONE = dt.date(2023, 12, 1)
VOTES = (
    *(f"{kind}_{length}" for kind in ("sma", "ema") for length in (10, 20, 30, 50, 100, 200)),
    *("ichimoku", "vwma_20", "hull_ma_9", "rsi", "stochastic", "cci", "adx", "awesome", "momentum", "macd"),
    *("stoch_rsi", "williams_r", "bull_bear", "ultimate"),
)
BEGIN = dt.datetime(2024, 1, 22, 10, 15, tzinfo=dt.UTC)


def atom(symbol: str) -> str:
    return f"{symbol}_rating_all_SHORT"


def candidate(symbol: str, rank: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "logic": "rating_all",
        "direction": "SHORT",
        "scan_direction": "SHORT",
        "inverted": False,
        "scanners": [PROFILE],
        "rank": rank,
        "fields": {"recommend_all": -0.5, "close": 1.5},
    }


def fate(symbol: str, reason: str, stage: str = "selection") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "logic": "rating_all",
        "direction": "SHORT",
        "stage": stage,
        "reason": reason,
        "detail": "",
        "alpha_score": None,
        "cluster_id": None,
        "features": {},
    }


def winner(i: int) -> dict[str, Any]:
    return {
        "atom_id": atom(COINS[i]),
        "symbol": COINS[i],
        "logic": "rating_all",
        "direction": "SHORT",
        "scan_direction": "SHORT",
        "inverted": False,
        "alpha_score": 0.8125 - i / 16,
        "rank": i + 1,
        "cluster_id": CLUSTER_OF[i],
        "admitted": "relaxation" if i in (5, 6) else "merit",
        "ratings": {"recommend_all": -0.625, "recommend_ma": -0.75, "recommend_other": None},
        "features": {"momentum": 0.5},
        "probabilities": {"momentum_prob": 0.5},
    }


def enriched(i: int) -> dict[str, Any]:
    return {
        "atom_id": atom(COINS[i]),
        "symbol": COINS[i],
        "facts": "UNKNOWN",
        "filters": {},
        "margin_allowed": None,
        "median_value_traded": 1234567.0 + i,
        "liquidity": 0.125,
        "beta": 1.25 + i / 100,
        "correlation": 0.75,
    }


def optimized_profile(name: str, weights: list[float], budget: float) -> dict[str, Any]:
    assets = [
        {
            "Symbol": COINS[i],
            "Atom": atom(COINS[i]),
            "Logic": "rating_all",
            "Direction": "SHORT",
            "Weight": weight,
            "Net_Weight": -weight,
            "Cluster_ID": CLUSTER_OF[i],
        }
        for i, weight in enumerate(weights)
    ]
    empty = not any(weights)
    event = {"code": "NO_POSITIVE_EXPECTED_RETURN", "what": "no capped portfolio has a positive mean", "values": {}}
    return {
        "assets": assets,
        "clusters": {"1": 0.5},
        "cash": 1.0 - sum(weights),
        "budget": budget,
        "atom_cap": 0.25,
        "cluster_cap": 0.5,
        "solver": {
            "name": "piqp" if name == "min_variance" else "closed form",
            "status": "CASH" if empty else "SOLVED",
            "iterations": 12,
            "residual": 2.5e-10,
            "gap": None,
            "fallbacks": [],
            "projection_distance": 0.03125,
        },
        "events": [event] if empty else [],
    }


def flattened_profile(weights: list[float]) -> dict[str, Any]:
    assets = [
        {
            "Symbol": COINS[i],
            "Weight": weight,
            "Net_Weight": -weight,
            "Gross_Weight": weight,
            "Direction": "SHORT",
            "Cluster_ID": CLUSTER_OF[i],
            "Market": "BINANCE",
            "Sector": "UNCLASSIFIED",
            "Atoms": [{"Atom": atom(COINS[i]), "Logic": "rating_all", "Direction": "SHORT", "Weight": weight}],
        }
        for i, weight in enumerate(weights)
    ]
    gross = sum(weights)
    return {"assets": assets, "cash": 1.0 - gross, "gross": gross, "net": -gross}


def statistics(days: float, sharpe: float) -> dict[str, float | None]:
    return {
        "days": days,
        "cagr": 0.1234,
        "volatility": 0.456,
        "sharpe": sharpe,
        "psr": 0.71,
        "dsr": 0.42,
        "sortino": 1.5,
        "calmar": None,
        "max_drawdown": -0.2345,
        "cvar_95": -0.0321,
        "turnover": 21.5,
        "cost": 0.0325,
        "hit_rate": 0.52,
        "sharpe_low": -1.5,
        "sharpe_high": 3.25,
        "pbo": 0.375,
        "beta": -0.45,
        "correlation": -0.61,
        "average_gross": 0.64,
    }


def book(loss_maker_weight: float, max_drawdown: float) -> dict[str, Any]:
    return {
        "loss_maker_weight_mean": loss_maker_weight,
        "loss_maker_weight_max": loss_maker_weight * 2,
        "loss_maker_rebalances": 2 if loss_maker_weight else 0,
        "decided_gross_mean": 0.625,
        "decided_gross_max": 0.875,
        "average_gross": 0.6125,
        "max_drawdown": max_drawdown,
        "final_wealth": 1.0625,
        "liquidated": False,
        "worst_period": {"as_of": "2023-12-11T00:00:00Z", "ret": -0.0625},
        "losses": {
            "from_loss_makers": -0.03125,
            "pnl_loss_makers": 0.0125,
            "from_later_losers": -0.0875,
            "pnl_others": 0.25,
            "later_losers": 11,
            "holdings": 1234,
        },
    }


def preserved() -> dict[str, Any]:
    return {
        "guard_enabled": True,
        "guard_days": 60,
        "rebalances": 3,
        "rebalances_in_cash": 1,
        "mean_loss_makers": 1.25,
        "no_loss_maker_held": True,
        "standing": {
            name: {
                "gross": 0.5,
                "gross_guard_off": 1.0,
                "loss_maker_weight": 0.0,
                "loss_maker_weight_guard_off": 0.1875,
            }
            for name in RISK_PROFILES
        },
        "profiles": {
            name: {
                "as_run": book(0.0, -0.125),
                "guard_off": book(0.15625, -0.375),
                "gross_never_above_guard_off": True,
            }
            for name in RISK_PROFILES
        },
    }


def sign_test(stage: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "ok": True,
        "atoms": 7,
        "longs": 0,
        "shorts": 7,
        "values_compared": 2695,
        "weights_compared": 0 if stage == "pre_opt" else 30,
        "violations": [],
    }


def health() -> dict[str, Any]:
    def symbol(name: str, status: str = "OK", cause: str = "", missing: int = 0) -> dict[str, Any]:
        return {
            "symbol": name,
            "status": status,
            "cause": cause,
            "observations": 385 - missing,
            "first": "2023-01-02",
            "last": "2024-01-21",
            "missing_days": missing,
        }

    return {
        "as_of": AS_OF,
        "rows": 385,
        "columns": 9,
        "first": "2023-01-02",
        "last": "2024-01-21",
        "benchmark": "BINANCE:BTCUSDT",
        "symbols": [*map(symbol, COINS), symbol("BINANCE:HHHUSDT", "GAPS", "2 days without a bar", 2)],
        "dropped": [{"name": "BINANCE:IIIUSDT", "reason": "FLOOR", "detail": "120 of 252 observations"}],
        "missing": [{"name": "BINANCE:ETHUSD", "reason": "no such pair", "detail": "merged into BINANCE:ETHUSDT"}],
        "findings": [{"code": "QUARANTINED", "what": "rows of the source were rejected", "count": 1234, "names": []}],
    }


def documents() -> dict[str, Any]:
    """Return every JSON artifact by its path."""
    names = [*COINS, "BINANCE:HHHUSDT", "BINANCE:IIIUSDT", "BINANCE:J-JUSDT"]
    raw = {
        "as_of": AS_OF,
        "pool": "own",
        "superset_sha256": "5" * 64,
        "candidates": [candidate(name, i + 1) for i, name in enumerate(names)],
        "scanners": [
            {
                "scanner": PROFILE,
                "universe": 1229,
                "matched": 12,
                "kept": 10,
                "dropped": {"quote": 200, "stablecoin": 17, "rating": 1000, "limit": 2},
            }
        ],
        "merged_quotes": [
            {"symbol": "BINANCE:AAAUSDC", "into": COINS[0], "scanner": PROFILE, "reason": "its quote ranks lower"}
        ],
        "invalid_records": [{"symbol": "BINANCE:B AD", "scanner": PROFILE, "reason": "white space"}],
    }
    audit = {
        "as_of": AS_OF,
        "stages": [
            stage("discovery", 10, {}),
            stage("normalization", 10, {"INVALID_SYMBOL": 1}),
            stage("deduplication", 9, {}),
            stage("selection", 9, {"VETO_ENTROPY": 1, "VETO_FRICTION": 1}),
        ],
        "fates": [
            *(fate(name, "winner") for name in COINS),
            fate("BINANCE:HHHUSDT", "VETO_ENTROPY"),
            fate("BINANCE:IIIUSDT", "VETO_FRICTION"),
            fate("BINANCE:J-JUSDT", "INVALID_SYMBOL", "normalization"),
        ],
        "n_winners": 7,
        "wanted": 15,
        "relaxed": 2,
        "relaxed_share": 2 / 7,
        "n_clusters": 3,
    }
    risk = {
        "regime": "TURBULENT",
        "regime_inputs": {"v": 0.625, "p": 0.875, "d": -0.125, "n": 252.0, "other": None},
        "rows_used": 250,
        "rows_left_out": 2,
        "condition_number": 321.5,
        "shrinkage": 0.04,
        "extra_shrinkage": 0.0,
        "atom_cap": 0.25,
        "cluster_cap": 0.5,
        "loss_makers": {atom(COINS[6]): -0.00123},
        "budget": 6 / 7,
        "events": [{"code": "CAP_RELAXED", "what": "cluster cap raised", "values": {"from": 0.2, "to": 0.5}}],
    }
    codes = ("ATOMIC_SIGN_TEST_PRE_PASS", "ATOMIC_WEIGHT_SUM", "ATOMIC_FUNNEL")
    return {
        "config/resolved_manifest.json": manifest(),
        "data/portfolio_candidates_raw.json": raw,
        "data/data_health.json": health(),
        "data/portfolio_candidates.json": {"as_of": AS_OF, "winners": [winner(i) for i in range(7)]},
        "data/selection_audit.json": audit,
        "data/portfolio_enriched.json": {
            "as_of": AS_OF,
            "winners": [enriched(i) for i in range(7)],
            "dropped": [],
            "findings": [
                {"code": "INSTRUMENTS_UNKNOWN", "what": "no table of instruments", "count": 7, "names": COINS}
            ],
        },
        "data/directional_sign_test_pre_opt.json": sign_test("pre_opt"),
        "data/portfolio_clusters.json": {
            "threshold": 0.45,
            "clusters": {str(k): [atom(COINS[i]) for i in range(7) if CLUSTER_OF[i] == k] for k in (1, 2, 3)},
        },
        "data/risk_analysis.json": risk,
        "data/portfolio_optimized_v2.json": {
            "as_of": AS_OF,
            "profiles": {name: optimized_profile(name, WEIGHTS[name], 6 / 7) for name in RISK_PROFILES},
            "unguarded": {name: optimized_profile(name, UNGUARDED[name], 1.0) for name in RISK_PROFILES},
        },
        "data/portfolio_flattened.json": {
            "as_of": AS_OF,
            "profiles": {name: flattened_profile(WEIGHTS[name]) for name in RISK_PROFILES},
        },
        "data/directional_sign_test.json": sign_test("post_opt"),
        "data/walk_forward/statistics.json": {
            "as_run": {name: statistics(133.0, 1.25 - i / 4) for i, name in enumerate(RISK_PROFILES)},
            "unguarded": {name: statistics(133.0, -0.5) for name in RISK_PROFILES},
        },
        "data/walk_forward/survivorship.json": {
            "last_day": "2024-01-21",
            "symbols": 7,
            "dead": ["BINANCE:TOMOUSDT"],
            "held_dead": [],
            "profiles": {name: survivorship(0.25, 1.0 + i / 8) for i, name in enumerate(RISK_PROFILES)},
            "unguarded": {name: survivorship(0.0, 1.0) for name in RISK_PROFILES},
        },
        "data/walk_forward/by_year.json": {
            name: {"2023": statistics(112.0, 0.75 + i / 4), "2024": statistics(21.0, -2.0)}
            for i, name in enumerate(RISK_PROFILES)
        },
        "data/walk_forward/by_regime.json": {
            name: {"NORMAL": statistics(93.0, 0.5), "TURBULENT": statistics(40.0, -1.5 - i)}
            for i, name in enumerate(RISK_PROFILES)
        },
        "data/walk_forward/holdings.json": {"as_of": AS_OF, "tranches": 10, "due": None, "profiles": {}},
        "data/walk_forward/worth.json": worth(),
        "data/capital_preservation.json": preserved(),
        f"reports/validation/atomic_validation_{PROFILE}_{RUN_ID}.json": {
            "run_id": RUN_ID,
            "profile": PROFILE,
            "ok": True,
            "checks": [{"code": code, "ok": True, "checked": 35, "what": "as it should be"} for code in codes],
        },
    }


def worth() -> dict[str, Any]:
    book = {"sharpe": 0.5, "max_drawdown": -0.5, "lost": False, "ahead_low": -0.5, "ahead_high": 0.75, "clearly": False}
    lots = {"draws": 100, "seed": 0, "decisions": 133, "without_choice": 0, "percentile": 12.5, "sharpe": 0.25}
    lots |= {"drawn_low": -1.0, "drawn_median": 0.5, "drawn_high": 2.0, "cost": 0.0625, "drawn_cost": 0.125}
    capital = {"capital": 1e5, "final_wealth": 1.125, "growth": 0.25, "orders": 400}
    return {
        "risk_profile": "hrp",
        "first": "2023-12-01",
        "last": "2023-12-30",
        "days": 30,
        "final_wealth": 1.25,
        "sharpe": 0.75,
        "mean_gross": 0.5,
        "baselines": {
            "benchmark": book | {"final_wealth": 1.125, "ahead": 0.125, "loses": False},
            "candidates": book | {"final_wealth": 1.0, "ahead": 0.25, "loses": False},
        },
        "exposure": {
            "alpha": 0.125,
            "alpha_low": -0.5,
            "alpha_high": 0.75,
            "beta": -0.5,
            "beta_low": -0.75,
            "beta_high": -0.25,
            "days": 30,
            "lag": 10,
        },
        "lots": lots,
        "capacity": {
            "half_spread": 0.0005,
            "factor": 1.0,
            "flat_growth": 0.5,
            "capacity": 2e6,
            "at": [capital | {"untradable": {"BINANCE:TOMOUSDT": 7}}],
        },
        "legs": {"long": 0.0, "short": 0.375, "cost": 0.0625, "carry": 0.0625, "total": 0.25},
    }


def survivorship(cagr: float, wealth: float) -> dict[str, dict[str, float]]:
    honest = {"cagr": cagr, "final_wealth": wealth, "max_drawdown": -0.5}
    survivors = {"cagr": cagr + 0.125, "final_wealth": wealth + 0.0625, "max_drawdown": -0.375}
    error = {name: survivors[name] - honest[name] for name in honest}
    return {"honest": honest, "survivors": survivors, "error": error}


def stage(name: str, n_in: int, dropped_by: dict[str, int]) -> dict[str, Any]:
    dropped = sum(dropped_by.values())
    return {
        "stage": name,
        "n_in": n_in,
        "expanded": 0,
        "dropped": dropped,
        "n_out": n_in - dropped,
        "expanded_by": {},
        "dropped_by": dropped_by,
    }


def manifest() -> dict[str, Any]:
    return {
        "format": 2,
        "run_id": RUN_ID,
        "profile": {
            "name": PROFILE,
            "description": "Coins that the combined rating calls down, held short",
            "direction": "SHORT",
            "pool": "own",
            "caps": {"atom": 0.25, "atom_short": 0.25},
            "guard": {"enabled": True, "days": 60},
            "selection": {"wanted": 15},
        },
        "scanners": {},
        "provenance": {"caps.atom": "--set caps.atom=0.25", "guard.days": "default", "pool": "canon.toml"},
        "source": "sample",
        "as_of": AS_OF,
        "lake": {"folder": "lake/sample-01234567", "head": 3, "tables": {"bars": 1}},
        "edition": "2021",
        "superset": {"path": "superset/2024-01-22/portfolio_candidates.json", "sha256": "5" * 64},
        "environment": {"python": "3.11.7", "platform": "Linux", "packages": {}},
        "flow": ["r"],
    }


def walk_tables(days: int = 30, sign: float = -1.0) -> dict[str, pl.DataFrame]:
    """Return the walk-forward's tables; NAV of a risk profile falls or rises by its own step every other day."""
    rows = []
    for step, name in enumerate(RISK_PROFILES, start=1):
        nav = 1.0
        for day in range(days):
            ret = 0.0 if day == 0 else (0.01 * step if day % 2 else 0.0) * sign
            nav *= 1.0 + ret
            turnover = 0.5 if day % 10 == 0 else 0.0
            rows.append((DAY_ONE + dt.timedelta(days=day), name, nav, ret, turnover, turnover / 1000, 0.00025))
    columns = ["date", "risk_profile", "nav", "ret", "turnover", "cost", "borrow"]
    returns = pl.DataFrame(rows, schema=columns, orient="row")
    decisions = pl.DataFrame(
        {
            "as_of": ["2023-12-01", "2023-12-11", "2023-12-21"],
            "held": [6, 0, 9],
            "loss_makers": [2, 0, 1],
            "winners": [10, None, 15],
            "relaxed": [4, None, 1],
            "reason": [None, "NO_CANDIDATES", None],
        }
    )
    other = pl.DataFrame({"as_of": ["2023-12-01"], "risk_profile": ["hrp"], "symbol": [COINS[0]]})
    return {
        "data/walk_forward/returns.parquet": returns,
        "data/walk_forward/unguarded_returns.parquet": returns,
        "data/walk_forward/phase_returns.parquet": returns,
        "data/walk_forward/decisions.parquet": decisions,
        "data/walk_forward/weights.parquet": decided_weights(0.0),
        "data/walk_forward/unguarded_weights.parquet": decided_weights(0.125),
        "data/walk_forward/phase_weights.parquet": decided_weights(0.0),
        "data/walk_forward/trades.parquet": other,
        "data/walk_forward/cancelled.parquet": other,
        "data/returns_matrix.parquet": pl.DataFrame({"date": ["2023-01-02"], COINS[0]: [0.5]}),
        "data/synthetic_returns.parquet": streams(),
        "data/feature_store.parquet": features(),
        "data/walk_forward/yardsticks.parquet": yardsticks(days),
    }


def decided_weights(on_loss_makers: float) -> pl.DataFrame:
    """Two decisions; the second holds loss makers where it may."""
    rows = [
        (dt.datetime(2023, 12, day, tzinfo=dt.UTC), name, symbol, -weight, loser, 0.02 - weight / 10)
        for day in (1, 11)
        for name in RISK_PROFILES
        for symbol, weight, loser in ((COINS[0], 0.5, False), (COINS[6], on_loss_makers * (day > 1), True))
    ]
    names = ["as_of", "risk_profile", "symbol", "net_weight", "loss_maker", "pnl"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("as_of").cast(pl.Datetime("us", "UTC")))


def streams() -> pl.DataFrame:
    """Streams of the winners: the first three move together, the next two against them, the last two alone."""
    steps = [0.01, -0.02, 0.03, -0.01, 0.0, 0.02, -0.03, 0.01]
    other = [0.02, 0.02, -0.01, -0.01, 0.03, 0.01, -0.02, -0.02]
    shapes = [steps, steps, steps, [-s for s in steps], [-s for s in steps], other, other[::-1]]
    dates = [dt.date(2024, 1, 14) + dt.timedelta(days=i) for i in range(len(steps))]
    return pl.DataFrame({"date": dates} | {atom(coin): shape for coin, shape in zip(COINS, shapes, strict=True)})


def features() -> pl.DataFrame:
    """Rows of the feature store: votes of every kind, one that could not be cast."""
    names = [*COINS, "BINANCE:HHHUSDT"]
    ratings = {
        "recommend_all": [-0.5 + i / 16 for i in range(8)],
        "recommend_ma": [-0.75 + i / 16 for i in range(8)],
        "recommend_other": [None] * 7 + [0.25],
    }
    votes = {f"vote_{name}": [(i + j) % 3 - 1 for i in range(8)] for j, name in enumerate(VOTES)}
    votes[f"vote_{VOTES[0]}"][0] = None
    kinds = {name: pl.Float64() for name in ratings} | {name: pl.Int8() for name in votes}
    return pl.DataFrame({"symbol": names, **ratings, **votes}, schema_overrides=kinds)


def yardsticks(days: int) -> pl.DataFrame:
    """Bitcoin gains 1 % every other day, all coins lose half of that."""
    moves = [0.01 if day % 2 else 0.0 for day in range(days)]
    dates = [DAY_ONE + dt.timedelta(days=day) for day in range(days)]
    return pl.DataFrame(
        {"date": dates, "benchmark": moves, "universe": [-move / 2 for move in moves], "coins": [100] * days}
    )


CONTRACTS = {
    3: [("L0", "ReturnsMatrixSchema", 385, 9, 3465, 0, "passed")],
    4: [("L1", "FeatureStoreSchema", 9, 40, 360, 0, "passed"), ("L2", "InferenceSchema", 9, 15, 135, 0, "passed")],
    6: [("L3", "SyntheticReturnsSchema", 385, 7, 2695, 0, "passed")],
    10: [("L4", "WeightsSchema", 21, 9, 189, 0, "passed")],
}
GATES = {
    3: "foundation",
    7: "sign_test_pre_opt",
    11: "sign_test_post_opt",
    12: "causality",
    13: "capital_preservation",
    14: "atomic_validation",
}


class LedgerWriter:
    """Writes lines of a ledger as DESIGN 10 describes them; the clock is made of quarter seconds."""

    def __init__(self, cap_relaxed: bool = True) -> None:
        self.lines: list[bytes] = []
        self.now = BEGIN
        self.cap_relaxed = cap_relaxed

    @classmethod
    def of(cls, run: Path) -> LedgerWriter:
        """Go on with a run's ledger an hour after its first line."""
        writer = cls()
        writer.lines = (run / "audit.jsonl").read_bytes().splitlines()
        writer.now += dt.timedelta(hours=1)
        return writer

    def add(self, kind: str, body: dict[str, Any], seconds: float = 0.0) -> None:
        self.now += dt.timedelta(seconds=seconds)
        previous = hashlib.sha256(self.lines[-1]).hexdigest() if self.lines else "0" * 64
        line = {
            "seq": len(self.lines),
            "time": self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "prev": previous,
            "kind": kind,
            "body": body,
        }
        self.lines.append(json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

    def step(self, number: int, error: dict[str, Any] | None = None) -> None:
        name = STEPS[number - 1]
        self.add("intent", {"step": number, "name": name, "inputs": {}})
        if error is None:
            self._checks(number)
        state = "failed" if error else "ok"
        body = {"step": number, "name": name, "state": state, "inputs": {}, "outputs": {}, "error": error}
        self.add("outcome", body, STEP_SECONDS)

    def _checks(self, number: int) -> None:
        for layer, schema, rows, columns, checked, violations, action in CONTRACTS.get(number, []):
            fields = {"layer": layer, "schema": schema, "rows": rows, "columns": columns, "checked": checked}
            self.add("contract", {"step": number, **fields, "violations": violations, "action": action})
        if number in GATES:
            body = {"step": number, "gate": GATES[number], "ok": True, "checked": 2695, "violations": []}
            self.add("gate", body)
        if number == 8 and self.cap_relaxed:
            values = {"from": 0.2, "to": 0.5}
            self.add("event", {"step": 8, "code": "CAP_RELAXED", "what": "cluster cap raised", "values": values})

    @property
    def head(self) -> str:
        return hashlib.sha256(self.lines[-1]).hexdigest()

    def data(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


def complete_ledger(last: int = 14, cap_relaxed: bool = True) -> LedgerWriter:
    """Return a ledger up to a step."""
    ledger = LedgerWriter(cap_relaxed)
    ledger.add("genesis", {"run_id": RUN_ID, "profile": PROFILE})
    for number in range(1, last + 1):
        ledger.step(number)
    return ledger


def put(folder: Path, path: str, value: Any) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, pl.DataFrame):
        value.write_parquet(target)
    elif isinstance(value, bytes):
        target.write_bytes(value)
    else:
        target.write_text(json.dumps(value))


def write_run(
    folder: Path, content: dict[str, Any] | None = None, tables: dict[str, pl.DataFrame] | None = None
) -> Path:
    """Write a complete run, as it lies there when step 15 begins."""
    folder.mkdir(parents=True)
    for path, value in ((content or documents()) | (tables or walk_tables())).items():
        put(folder, path, value)
    ledger = complete_ledger()
    ledger.add("intent", {"step": 15, "name": "reporting", "inputs": {}})
    put(folder, "audit.jsonl", ledger.data())
    put(folder, "run_status.json", {"state": "RUNNING", "elapsed": 1.0})
    return folder


def write_failed_run(folder: Path, step: int, error: dict[str, Any]) -> Path:
    """Write a run that ended at a step: artifacts of the steps before it only."""
    folder.mkdir(parents=True)
    everything = documents() | walk_tables()
    for number in range(1, step):
        for path in FILES[number]:
            put(folder, path, everything[path])
    ledger = complete_ledger(step - 1)
    ledger.step(step, error)
    put(folder, "audit.jsonl", ledger.data())
    return folder


def long_twin() -> dict[str, Any]:
    """Return the documents of a long sleeve of the same day, which holds AAA and BBB long."""
    content = copy.deepcopy(documents())
    own = content["config/resolved_manifest.json"]
    own["run_id"] = "long_run"
    own["profile"] |= {"name": "binance_spot_rating_all_long", "direction": "LONG"}
    for name, profile in content["data/portfolio_flattened.json"]["profiles"].items():
        keep = [asset for asset in profile["assets"] if asset["Symbol"] in COINS[:2]]
        for asset in keep:
            asset |= {"Net_Weight": asset["Gross_Weight"], "Direction": "LONG"}
        gross = sum(asset["Gross_Weight"] for asset in keep)
        content["data/portfolio_flattened.json"]["profiles"][name] = {
            "assets": keep,
            "cash": 1.0 - gross,
            "gross": gross,
            "net": gross,
        }
    return content
