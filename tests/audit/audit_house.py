"""A small home folder with runs, built by hand from documents, for the tests of the audit room.

Numbers are chosen, not computed by the code under test: four atoms on three coins, one of them a loss maker, in three
clusters. Everything that steps 1 to 15 record is written through the real ledger, seal and registry.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.gates.sign_test import run_sign_test
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs import registry
from assay.runs.documents import Document
from assay.runs.ledger import Ledger
from assay.runs.registry import Registration
from assay.runs.run import Run
from assay.runs.seal import seal
from assay.settings.model import RISK_PROFILES, Caps, Profile, WalkForward

UTC = dt.UTC
AS_OF = "2024-04-01T00:00:00Z"
N_DAYS = 300
LAST_DAY = dt.date(2024, 3, 31)
COINS = ("BINANCE:AAAUSDT", "BINANCE:BBBUSDT", "BINANCE:CCCUSDT", "BINANCE:DDDUSDT")
BENCHMARK = "BINANCE:BTCUSDT"
PICKS = ((0, "rating_all"), (1, "rating_all"), (2, "rating_all"), (2, "rating_ma"))
CLUSTER_OF = (1, 2, 3, 3)
LOSER = 1
GUARDED = {
    "min_variance": (0.375, 0.0, 0.25, 0.125),
    "hrp": (0.25, 0.0, 0.25, 0.25),
    "max_sharpe": (0.3, 0.0, 0.375, 0.075),
    "equal_weight": (0.25, 0.0, 0.25, 0.25),
    "barbell": (0.35, 0.0, 0.2, 0.2),
}
UNGUARDED = {name: (w[0], 0.25, w[2], w[3]) for name, w in GUARDED.items()}
SOUND = {"ruined": False, "cause": "none", "date": None, "lowest_nav": 1.0, "lowest_level": 9.0, "worst_level": 9.0}
EMPTY = {"assets": [], "cash": 1.0, "gross": 0.0, "net": 0.0, "nav": 1.0, "liquidated": False}
"""The book of an account in cash, on nobody's day."""
CAPS = Caps(atom=0.375, atom_short=0.375, cluster=0.5, cluster_short=0.5)
WALKED = [
    "returns.parquet",
    "unguarded_returns.parquet",
    "weights.parquet",
    "unguarded_weights.parquet",
    "phase_returns.parquet",
    "phase_weights.parquet",
    "holdings.json",
    "decisions.parquet",
    "trades.parquet",
    "cancelled.parquet",
    "yardsticks.parquet",
    "statistics.json",
    "survivorship.json",
    "by_year.json",
    "by_regime.json",
    "worth.json",
]
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preflight", (layout.MANIFEST,)),
    ("discovery", (layout.RAW,)),
    ("data_prep", (layout.RETURNS, layout.HEALTH)),
    ("natural_selection", (layout.FEATURES, layout.WINNERS, layout.SELECTION)),
    ("enrichment", (layout.ENRICHED,)),
    ("strategy_synthesis", (layout.SYNTHETIC,)),
    ("sign_test_pre_opt", (layout.SIGN_PRE,)),
    ("risk_analysis", (layout.CLUSTERS, layout.RISK)),
    ("optimization", (layout.OPTIMIZED,)),
    ("weight_flattening", (layout.FLATTENED,)),
    ("sign_test_post_opt", (layout.SIGN_POST,)),
    ("walk_forward", tuple(sorted(f"data/walk_forward/{name}" for name in WALKED))),
    ("capital_preservation", (layout.PRESERVATION,)),
    ("atomic_validation", (layout.VALIDATION + "verdict.json",)),
    ("reporting", (layout.REPORT, layout.INDEX)),
)
CONTRACTS = {3: ("L0 Foundation",), 4: ("L1 Ingestion", "L2 Inference"), 6: ("L3 Synthesis",), 10: ("L4 Allocation",)}
GATES = {3: "foundation", 7: "sign_test_pre_opt", 11: "sign_test_post_opt", 12: "causality"}

Draft = dict[str, Any]
"""Relative path to a plain JSON value or a frame."""


class Clock:
    """One second for each look."""

    def __init__(self) -> None:
        self.now = dt.datetime(2024, 4, 1, 6, tzinfo=UTC)

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(seconds=1)
        return self.now


def atom_ids(direction: str) -> list[str]:
    return [f"{COINS[coin]}_{logic}_{direction}" for coin, logic in PICKS]


def physical(seed: int) -> pl.DataFrame:
    """Returns of four coins and the benchmark, with gaps and a day on which a coin more than doubled."""
    values = np.random.default_rng(seed).normal(0.001, 0.03, (N_DAYS, len(COINS) + 1))
    values[17, 0], values[40, 2], values[41, 2], values[50, 1] = 1.3, 1.0, 0.0, -0.6
    columns = {name: values[:, i] for i, name in enumerate((*COINS, BENCHMARK))}
    table = pl.DataFrame({"date": midnights(N_DAYS), **columns})
    return table.with_columns(pl.when(pl.arange(N_DAYS) < 20).then(None).otherwise(pl.col(COINS[1])).alias(COINS[1]))


def midnights(count: int) -> pl.Series:
    first = dt.datetime.combine(LAST_DAY, dt.time(), UTC) - dt.timedelta(days=count - 1)
    return pl.Series("date", [first + dt.timedelta(days=i) for i in range(count)], dtype=pl.Datetime("us", "UTC"))


def streams(table: pl.DataFrame, direction: str) -> pl.DataFrame:
    """Synthetic returns as DESIGN words them, in Polars rather than NumPy."""
    columns = []
    for (coin, _), name in zip(PICKS, atom_ids(direction), strict=True):
        r = pl.col(COINS[coin])
        short = -pl.when(r > 1.0).then(pl.lit(1.0)).otherwise(r)
        columns.append((r if direction == "LONG" else short).alias(name))
    return table.select(pl.col("date").dt.date(), *columns)


def profile(direction: str, **changes: Any) -> dict[str, Any]:
    name = f"p_{direction.lower()}"
    scanner = f"s_{direction.lower()}"
    logics, walk = ("rating_all", "rating_ma"), WalkForward(step=11, tranches=1)
    made = Profile(name=name, direction=direction, logics=logics, scanners=(scanner,), caps=CAPS, walk_forward=walk)
    return {**made.model_dump(mode="json"), **changes}


def draft(direction: str = "SHORT", seed: int = 1) -> Draft:
    """Return everything that steps 1 to 13 and 15 write, but the sign tests."""
    table = physical(seed)
    names = atom_ids(direction)
    losers = {names[LOSER]: -0.001}
    candidates = [
        {
            "symbol": COINS[coin],
            "logic": logic,
            "direction": direction,
            "scan_direction": direction,
            "scanners": [f"s_{direction.lower()}"],
            "rank": rank,
            "fields": {"recommend_all": 0.5},
        }
        for rank, (coin, logic) in enumerate(
            [(0, "rating_all"), (1, "rating_all"), (2, "rating_all"), (3, "rating_all")], 1
        )
    ]
    return {
        layout.MANIFEST: {
            "run_id": None,
            "profile": profile(direction),
            "scanners": {f"s_{direction.lower()}": {"logic": "rating_all", "direction": direction}},
            "provenance": {},
            "source": "sample",
            "lake": {"folder": "lake/sample-0", "head": 3, "tables": {"bars": 3, "ratings": 2}},
            "superset": {"path": "lake/sample-0/superset/s.json", "sha256": files.sha256(b"superset\n")},
            "as_of": AS_OF,
            "trials": {"n": 0},
            "environment": {"python": "3.11"},
        },
        layout.RAW: {
            "as_of": AS_OF,
            "pool": "own",
            "superset_sha256": files.sha256(b"superset\n"),
            "candidates": candidates,
            "scanners": [],
            "merged_quotes": [],
            "invalid_records": [],
        },
        layout.RETURNS: table,
        layout.HEALTH: {
            "as_of": AS_OF,
            "rows": N_DAYS,
            "columns": 5,
            "first": "2023-06-06",
            "last": "2024-03-31",
            "benchmark": BENCHMARK,
            "symbols": [],
            "dropped": [],
            "missing": [],
            "findings": [],
        },
        layout.FEATURES: pl.DataFrame({"symbol": list(COINS), "open_time": [midnights(1)[0]] * len(COINS)}),
        layout.WINNERS: {"as_of": AS_OF, "winners": [winner(direction, i) for i in range(5)]},
        layout.SELECTION: selection(direction),
        layout.ENRICHED: {
            "as_of": AS_OF,
            "winners": [enriched(direction, i) for i in range(4)],
            "dropped": [{"name": f"{COINS[3]}_rating_all_{direction}", "reason": "ABSENT_FACTS", "detail": ""}],
            "findings": [],
        },
        layout.SYNTHETIC: streams(table, direction),
        layout.CLUSTERS: {"threshold": 0.45, "clusters": {"1": names[:1], "2": names[1:2], "3": names[2:]}},
        layout.RISK: {
            "regime": "NORMAL",
            "regime_inputs": {},
            "rows_used": 252,
            "rows_left_out": 0,
            "condition_number": 10.0,
            "shrinkage": 0.1,
            "extra_shrinkage": 0.0,
            "atom_cap": 0.375,
            "cluster_cap": 0.5,
            "loss_makers": losers,
            "budget": 0.75,
            "events": [],
        },
        layout.OPTIMIZED: {
            "as_of": AS_OF,
            "profiles": {name: optimized(direction, GUARDED[name], 0.75) for name in RISK_PROFILES},
            "unguarded": {name: optimized(direction, UNGUARDED[name], 1.0) for name in RISK_PROFILES},
        },
        layout.FLATTENED: {
            "as_of": AS_OF,
            "profiles": {name: flattened(direction, GUARDED[name]) for name in RISK_PROFILES},
        },
        **walk_forward(direction),
        layout.PRESERVATION: {
            "guard_enabled": True,
            "guard_days": 60,
            "rebalances": 2,
            "rebalances_in_cash": 0,
            "mean_loss_makers": 1.0,
            "no_loss_maker_held": True,
            "standing": {},
            "profiles": {},
            "ruin": {name: dict(SOUND) for name in RISK_PROFILES},
        },
        layout.REPORT: "# Audit report\n",
        layout.INDEX: "# Index\n",
    }


def winner(direction: str, i: int) -> dict[str, Any]:
    coin, logic = (*PICKS, (3, "rating_all"))[i]
    return {
        "atom_id": f"{COINS[coin]}_{logic}_{direction}",
        "symbol": COINS[coin],
        "logic": logic,
        "direction": direction,
        "scan_direction": direction,
        "inverted": False,
        "alpha_score": 0.5 - i / 10,
        "rank": i + 1,
        "cluster_id": (*CLUSTER_OF, 2)[i],
        "admitted": "merit",
        "ratings": {},
        "features": {},
        "probabilities": {},
    }


def enriched(direction: str, i: int) -> dict[str, Any]:
    return {
        "atom_id": atom_ids(direction)[i],
        "symbol": COINS[PICKS[i][0]],
        "facts": "UNKNOWN",
        "filters": {},
        "margin_allowed": None,
        "median_value_traded": 1e7,
        "liquidity": 1.0,
        "beta": 1.0,
        "correlation": 0.5,
    }


def selection(direction: str) -> dict[str, Any]:
    """Ten pairs scanned, four found; the third coin expanded to a second logic; all five atoms win."""

    def stage(name: str, n_in: int, expanded: dict[str, int], dropped: dict[str, int]) -> dict[str, Any]:
        plus, minus = sum(expanded.values()), sum(dropped.values())
        return {
            "stage": name,
            "n_in": n_in,
            "expanded": plus,
            "dropped": minus,
            "n_out": n_in + plus - minus,
            "expanded_by": expanded,
            "dropped_by": dropped,
        }

    fates = [
        {"symbol": w["symbol"], "logic": w["logic"], "direction": direction, "stage": "selection", "reason": "winner"}
        for w in (winner(direction, i) for i in range(5))
    ]
    fates.append({**fates[0], "logic": "rating_ma", "reason": "VETO_ENTROPY"})
    return {
        "as_of": AS_OF,
        "stages": [
            stage("discovery", 10, {}, {"rating": 5, "value_traded": 1}),
            stage("normalization", 4, {"rating_ma": 2}, {}),
            stage("deduplication", 6, {}, {}),
            stage("selection", 6, {}, {"VETO_ENTROPY": 1}),
        ],
        "fates": [{**fate, "detail": ""} for fate in fates],
        "n_winners": 5,
        "wanted": 15,
        "relaxed": 0,
        "relaxed_share": 0.0,
        "n_clusters": 3,
    }


def optimized(direction: str, weights: tuple[float, ...], budget: float) -> dict[str, Any]:
    sign = 1 if direction == "LONG" else -1
    assets = [
        {
            "Symbol": COINS[coin],
            "Atom": name,
            "Logic": logic,
            "Direction": direction,
            "Weight": weight,
            "Net_Weight": weight * sign,
            "Cluster_ID": cluster,
        }
        for (coin, logic), name, weight, cluster in zip(PICKS, atom_ids(direction), weights, CLUSTER_OF, strict=True)
    ]
    return {
        "assets": assets,
        "clusters": {"1": weights[0], "2": weights[1], "3": weights[2] + weights[3]},
        "cash": 1.0 - sum(weights),
        "budget": budget,
        "atom_cap": 0.375,
        "cluster_cap": 0.5,
        "solver": {
            "name": "PIQP",
            "status": "SOLVED",
            "iterations": 9,
            "residual": 1e-10,
            "gap": 1e-10,
            "fallbacks": [],
            "projection_distance": 0.0,
        },
        "events": [],
    }


def flattened(direction: str, weights: tuple[float, ...]) -> dict[str, Any]:
    sign = 1 if direction == "LONG" else -1
    assets = []
    for coin, symbol in enumerate(COINS[:3]):
        parts = [
            {"Atom": name, "Logic": logic, "Direction": direction, "Weight": weight}
            for (at, logic), name, weight in zip(PICKS, atom_ids(direction), weights, strict=True)
            if at == coin
        ]
        gross = sum(part["Weight"] for part in parts)
        assets.append(
            {
                "Symbol": symbol,
                "Weight": gross,
                "Net_Weight": sign * gross,
                "Gross_Weight": gross,
                "Direction": direction if gross else "FLAT",
                "Cluster_ID": (1, 2, 3)[coin],
                "Market": "BINANCE_SPOT",
                "Sector": "UNCLASSIFIED",
                "Atoms": parts,
            }
        )
    gross = sum(asset["Gross_Weight"] for asset in assets)
    return {"assets": assets, "cash": 1.0 - gross, "gross": gross, "net": sign * gross}


def walk_forward(direction: str) -> Draft:
    days = midnights(30).dt.date().to_list()
    decided = [dt.datetime.combine(days[0], dt.time(), UTC), dt.datetime.combine(days[10], dt.time(), UTC)]
    at = pl.Series(decided, dtype=pl.Datetime("us", "UTC"))
    plain = {"ret": [0.01] * 30, "nav": [1.0] * 30, "level": [9.0] * 30, "worst_level": [9.0] * 30}
    earned = pl.concat(pl.DataFrame({"date": days, "risk_profile": [name] * 30, **plain}) for name in RISK_PROFILES)
    held = pl.DataFrame({"as_of": at, "risk_profile": ["hrp"] * 2, "symbol": [COINS[0]] * 2, "net_weight": [0.5, 0.5]})
    return {
        layout.WALK_RETURNS: earned,
        layout.WALK_UNGUARDED: earned,
        layout.WALK_WEIGHTS: held,
        layout.WALK_UNGUARDED_WEIGHTS: held,
        layout.WALK_CANCELLED: pl.DataFrame(schema={"date": pl.Date, "risk_profile": pl.String, "symbol": pl.String}),
        layout.WALK_YARDSTICKS: pl.DataFrame({"date": days, "benchmark": [0.01] * 30}),
        **{f"data/walk_forward/{name}": {} for name in WALKED if name.endswith(".json")},
        layout.WORTH: worth(days),
        layout.WALK_PHASE: earned,
        layout.WALK_PHASE_WEIGHTS: held,
        layout.HOLDINGS: {"as_of": AS_OF, "tranches": 1, "due": None, "profiles": dict.fromkeys(RISK_PROFILES, EMPTY)},
        layout.WALK_DECISIONS: pl.DataFrame(
            {"as_of": at, "fill_date": [days[0], days[10]], "held": [1, 1], "tranche": [0, 0]}
        ),
        layout.WALK_TRADES: pl.DataFrame(
            {
                "date": [days[0]],
                "risk_profile": ["hrp"],
                "symbol": [COINS[0]],
                "reason": ["rebalance"],
                "quantity": [0.0],
            }
        ),
    }


def worth(days: list[dt.date]) -> dict[str, Any]:
    """Of a book that held nothing."""
    legs = dict.fromkeys(("long", "short", "cost", "carry", "total"), 0.0)
    told = {"risk_profile": "hrp", "first": str(days[0]), "last": str(days[-1]), "days": len(days), "mean_gross": 0.0}
    empty = {"sharpe": None, "baselines": {}, "exposure": None, "lots": None, "capacity": None, "legs": legs}
    return told | empty | {"final_wealth": 1.0}


def make_home(path: Path) -> Path:
    lake = path / "lake" / "sample-0"
    lake.mkdir(parents=True)
    (lake / "superset").mkdir()
    (lake / "superset" / "s.json").write_bytes(b"superset\n")
    heads = [{"head": n, "tables": {"bars": n, "ratings": n - 1}} for n in (1, 2, 3)]
    (lake / "heads.jsonl").write_text("".join(json.dumps(head) + "\n" for head in heads))
    (path / "runs").mkdir()
    return path


def save(path: Path, value: Any) -> str:
    if isinstance(value, pl.DataFrame):
        return files.write_table(path, value)
    if isinstance(value, str):
        return files.write(path, value.encode())
    if isinstance(value, Document):
        return artifacts.save(value, path)
    return files.write_json(path, value)


def publish(
    home: Path,
    run_id: str,
    content: Draft,
    *,
    through: int = 15,
    events: tuple[str, ...] = (),
    clock: Clock | None = None,
    stand_aside: bool = False,
    on_step: Callable[[Ledger, int], None] | None = None,
) -> Path:
    """Write a run step by step through the real ledger; seal and register it after step 15."""
    run = home / "runs" / run_id
    content = copy.deepcopy(content)
    content[layout.MANIFEST]["run_id"] = content[layout.MANIFEST]["run_id"] or run_id
    name = content[layout.MANIFEST]["profile"]["name"]
    book = home / "runs" / "registry.jsonl"
    genesis = {"run_id": run_id, "profile": name, "registry": registry.head(book)}
    with Ledger.create(run / layout.LEDGER, genesis, clock=clock or Clock()) as ledger:
        for number, (step, writes) in enumerate(STEPS[:through], start=1):
            _perform(run, ledger, number, step, writes, content, stand_aside, on_step)
            if number == 9:
                for code in events:
                    ledger.event(number, code, "told")
        if through == 15:
            performance = {"hrp": 1.25, "max_sharpe": None}
            registry.append(book, seal(run, ledger, manifest=_key(content), verdict="VALID", performance=performance))
    files.write_json(run / layout.STATUS, {"state": "VALID"})
    return run


def _key(content: Draft) -> str:
    return files.content_hash_json(content[layout.MANIFEST]["profile"])


def _perform(
    run: Path,
    ledger: Ledger,
    number: int,
    step: str,
    writes: tuple[str, ...],
    content: Draft,
    stand_aside: bool,
    on_step: Callable[[Ledger, int], None] | None,
) -> None:
    inputs = {layout.MANIFEST: files.sha256_file(run / layout.MANIFEST)} if number > 1 else {}
    ledger.intent(number, step, inputs)
    for layer in CONTRACTS.get(number, ()):
        ledger.contract(number, layer, f"{layer[3:]}Schema", 300, 5, 1500, 0, "passed")
    if number in GATES:
        ledger.gate(number, GATES[number], True, 100, [])
    if step == "capital_preservation":
        ledger.gate(number, "ruin", True, 150, [])
    if on_step is not None:
        on_step(ledger, number)
    if number in (7, 11) and writes[0] not in content:
        direction = content[layout.MANIFEST]["profile"]["direction"]
        content[writes[0]] = run_sign_test(Run(run), "pre_opt" if number == 7 else "post_opt", direction, stand_aside)
    content.setdefault(layout.VALIDATION + "verdict.json", {"ok": True})
    outputs = {}
    for path in writes:
        if path in content:
            digest = save(run / path, content[path])
            outputs[path] = {"sha256": digest, "content": digest}
    ledger.outcome(number, step, "ok", inputs, outputs)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def registrations(home: Path) -> Iterator[Registration]:
    yield from registry.entries(home / "runs" / "registry.jsonl")
