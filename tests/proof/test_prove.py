"""The chain behind one weight: it holds for real runs, and the first link of a forged one is named."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from signed_runs import AS_OF, LONG, META, SHORT, Signed, change_json, reseal
from typer.testing import CliRunner

from assay.base import files
from assay.base.errors import IntegrityError, UsageError
from assay.cli import app
from assay.lake.head import Head
from assay.lake.roots import Roots
from assay.prove import Link, Pair, Proof, prove
from assay.prove.market import rank
from assay.prove.optimality import measure
from assay.risk.caps import Polytope
from assay.risk.covariance import Covariance
from assay.risk.optimizers import Barbell, EqualWeight, Estimates, HierarchicalRiskParity, MaxSharpe, MinVariance
from assay.runs import artifacts as layout
from assay.runs.documents import Candidate
from assay.settings.model import RISK_PROFILES

CLOSE = dt.datetime.fromisoformat(AS_OF).replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
SLEEVE_LINKS = [
    *["bars", "votes", "scan", "candidate", "returns", "features", "score", "vetoes", "selection", "synthetic", "risk"],
    *["cluster", "solver", "netting"],
]


def book(run: Path) -> dict[str, Any]:
    return json.loads((run / layout.FLATTENED).read_bytes())["profiles"]


def coins(run: Path, name: str = "hrp") -> dict[str, float]:
    return {one["Symbol"]: one["Net_Weight"] for one in book(run)[name]["assets"] if one["Gross_Weight"] > 0}


def proved(home: Signed, run: str, name: str, symbol: str) -> Proof:
    return prove(home.home, home.runs[run], home.registry, name, symbol)


def wrong(proof: Proof) -> list[str]:
    return [f"{link.name}: {one}" for link in proof.links for one in link.pairs if not one.ok]


# --- real runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RISK_PROFILES)
@pytest.mark.parametrize("run", [LONG, SHORT])
def test_every_link_of_a_sleeves_weight_holds(signed: Signed, run: str, name: str) -> None:
    held = coins(signed.runs[run], name)
    symbol = sorted(held)[len(held) // 2]
    proof = proved(signed, run, name, symbol)
    assert proof.ok, wrong(proof)
    assert list(dict.fromkeys(link.name for link in proof.links)) == SLEEVE_LINKS
    assert proof.net_weight == held[symbol]
    assert (proof.net_weight > 0) == (run == LONG)
    assert proof.compared() > 100


@pytest.mark.slow
@pytest.mark.parametrize("run", [LONG, SHORT, META])
def test_every_weight_is_proved(signed: Signed, run: str) -> None:
    done = 0
    for name, profile in book(signed.runs[run]).items():
        for coin in profile["assets"]:
            if coin["Gross_Weight"] > 0:
                proof = proved(signed, run, name, coin["Symbol"])
                assert proof.ok, (name, coin["Symbol"], proof.broken, wrong(proof))
                done += 1
    assert done > 20


def test_artifacts_stand_with_the_hashes_that_they_were_sealed_with(signed: Signed) -> None:
    run = signed.runs[LONG]
    proof = proved(signed, LONG, "min_variance", next(iter(coins(run, "min_variance"))))
    of_the_run = [link for link in proof.links if not link.artifact.startswith("lake/")]
    assert len(of_the_run) == len(SLEEVE_LINKS) - 2
    for link in of_the_run:
        assert link.sha256 == files.sha256_file(run / link.artifact)
    assert proof.head == files.sha256((run / layout.LEDGER).read_bytes().splitlines()[-1])


def test_cash_and_weights_are_the_whole(signed: Signed) -> None:
    run = signed.runs[SHORT]
    symbol = next(iter(coins(run)))
    sums = {one.name: one.recorded for one in proved(signed, SHORT, "hrp", symbol).links[-1].pairs}
    assert sums["cash"] + sums["gross"] == pytest.approx(1.0, abs=1e-9)
    assert sums["net"] == pytest.approx(-sums["gross"])


def hedged(home: Signed) -> str:
    """A coin that is long in one sleeve and short in the other."""
    both = sorted(set(coins(home.runs[LONG])) & set(coins(home.runs[SHORT])) & set(coins(home.runs[META])))
    assert both, "the fixture should hold a contested coin"
    return both[0]


def test_a_hedged_coin_is_followed_into_both_sleeves(signed: Signed) -> None:
    symbol = hedged(signed)
    proof = proved(signed, META, "hrp", symbol)
    assert proof.ok, (proof.broken, wrong(proof))
    assert [link.name for link in proof.links] == [
        *["sleeves", "sleeve returns", "sleeve weights", "contributors", "netting"]
    ]
    signs = {below.run_id: np.sign(below.net_weight) for below in proof.sleeves}
    assert signs == {signed.runs[LONG].name: 1.0, signed.runs[SHORT].name: -1.0}
    shares = {one.name: one.recorded for one in proof.links[-1].pairs if one.name.startswith("share")}
    assert {name.rpartition("_")[2] for name in shares} == {"LONG", "SHORT"}
    assert len(shares) > 2  # two logics on the short side
    signed_shares = [value if name.endswith("LONG") else -value for name, value in shares.items()]
    assert proof.net_weight == pytest.approx(sum(signed_shares))


def unheld(run: Path) -> dict[str, str]:
    """One coin for each way of not being held, by the run's own papers."""
    fates = json.loads((run / layout.SELECTION).read_bytes())["fates"]
    found = {one["reason"]: one["symbol"] for one in fates if one["reason"] != "winner"}
    scanned = json.loads((run / layout.RAW).read_bytes())["scanners"]
    found |= {reason: names[0] for one in scanned for reason, names in one["names"].items()}
    weights = {one["Symbol"]: one["Weight"] for one in weighed(run)["min_variance"]["assets"]}
    return found | {"no weight": next(symbol for symbol, weight in weights.items() if not weight)}


def weighed(run: Path) -> dict[str, Any]:
    return json.loads((run / layout.OPTIMIZED).read_bytes())["profiles"]


def test_a_coin_that_is_not_held_is_proved_not_to_be(signed: Signed) -> None:
    for reason, symbol in unheld(signed.runs[LONG]).items():
        proof = proved(signed, LONG, "min_variance", symbol)
        assert proof.ok, (reason, symbol, proof.broken, wrong(proof))
        assert proof.net_weight == 0.0
        assert proof.absent
        last = {"no weight": "netting", "rating": "candidate"}.get(reason)
        assert [link.name for link in proof.links][-1] == "no weight"
        assert last is None or [link.name for link in proof.links][-2] == last


def test_a_veto_and_a_condition_are_proved_with_their_numbers(signed: Signed) -> None:
    found = unheld(signed.runs[LONG])
    veto = next(reason for reason in found if reason.startswith("VETO_"))
    proof = proved(signed, LONG, "hrp", found[veto])
    [loss] = [link for link in proof.links if link.name == "loss"]
    assert [(one.name, one.recomputed) for one in loss.pairs][-1] == ("reason", veto)
    assert loss.notes[f"{veto} value"] != loss.notes[f"{veto} limit"]
    assert veto in proof.absent
    proof = proved(signed, LONG, "hrp", found["rating"])
    scan = {one.name: one.recomputed for one in proof.links[1].pairs}
    assert [link.name for link in proof.links] == ["rating", "scan", "candidate", "no weight"]
    assert {value for name, value in scan.items() if name.startswith("left out by")} == {"rating"}
    rating = next(one.recomputed for one in proof.links[0].pairs if one.name.startswith("recommend"))
    assert "wanted is > 0" in proof.absent
    assert rating is not None


def test_what_no_lake_has_is_not_proved_but_refused(signed: Signed) -> None:
    for run in (LONG, META):
        with pytest.raises(UsageError, match="is not in the lake that the run read") as caught:
            proved(signed, run, "hrp", "BINANCE:NOSUCHUSDT")
        assert caught.value.code == "NOT_IN_LAKE"


def test_a_portfolio_without_a_coin_is_proved_down_to_its_sleeves(signed: Signed) -> None:
    runs = signed.runs[LONG], signed.runs[SHORT]
    held = {symbol for run in runs for name in RISK_PROFILES for symbol in coins(run, name)}
    symbol = next(one for one in unheld(signed.runs[LONG]).values() if one not in held)
    proof = proved(signed, META, "hrp", symbol)
    assert proof.ok, (proof.broken, wrong(proof))
    assert {below.run_id for below in proof.sleeves} == {signed.runs[LONG].name, signed.runs[SHORT].name}
    assert all(below.absent for below in proof.sleeves)


# --- forged runs: sealed anew, so that only the numbers can tell ------------------------------------------------------


Forgery = Callable[[Signed, Path, str], None]


def in_json(path: str, change: Callable[[Any, str], None]) -> Forgery:
    return lambda home, run, symbol: change_json(run / path, lambda value: change(value, symbol))


def asset(value: Any, symbol: str) -> dict[str, Any]:
    return next(one for one in value["profiles"]["min_variance"]["assets"] if one["Symbol"] == symbol)


def winner(value: Any, symbol: str) -> dict[str, Any]:
    return next(one for one in value["winners"] if one["symbol"] == symbol)


def fate(value: Any, symbol: str) -> dict[str, Any]:
    return next(one for one in value["fates"] if one["symbol"] == symbol and one["stage"] == "selection")


def scale(where: Callable[[Any, str], dict[str, Any]], key: str, factor: float = 1.1) -> Callable[[Any, str], None]:
    def change(value: Any, symbol: str) -> None:
        entry = where(value, symbol)
        entry[key] *= factor

    return change


def put(where: Callable[[Any, str], dict[str, Any]], key: str, new: Any) -> Callable[[Any, str], None]:
    def change(value: Any, symbol: str) -> None:
        entry = where(value, symbol)
        assert entry[key] != new
        entry[key] = new

    return change


def move_weight(value: Any, symbol: str) -> None:
    """From one atom to another: the sum stays."""
    one = asset(value, symbol)
    other = next(two for two in value["profiles"]["min_variance"]["assets"] if two["Symbol"] != symbol)
    step = 0.02 * min(one["Weight"], other["Weight"] or one["Weight"])
    one["Weight"] -= step
    one["Net_Weight"] = one["Weight"]
    other["Weight"] += step
    other["Net_Weight"] = other["Weight"]


def another_candidates_feature(value: Any, symbol: str) -> None:
    other = next(one for one in value["fates"] if one["symbol"] != symbol and one["features"].get("cvar") is not None)
    other["features"]["cvar"] *= 3.0


def in_table(path: str, column: Callable[[str], str]) -> Forgery:
    def change(home: Signed, run: Path, symbol: str) -> None:
        frame = pl.read_parquet(run / path)
        name = column(symbol)
        values = frame[name].to_list()
        values[-5 if "symbol" not in frame.columns else frame["symbol"].to_list().index(symbol)] = 0.0123
        files.write_table(run / path, frame.with_columns(pl.Series(name, values)))

    return change


def in_lake(table: str, column: str, change: Callable[[Any], Any], back: int = 1) -> Forgery:
    def forge(home: Signed, run: Path, symbol: str) -> None:
        paths = sorted(home.home.glob(f"lake/*/{table}/**/*.parquet"))
        own = pl.concat(pl.read_parquet(path, columns=["symbol", "open_time"]) for path in paths)
        days = own.filter(pl.col("symbol") == symbol, pl.col("open_time") < CLOSE)["open_time"].sort()
        here = (pl.col("symbol") == symbol) & (pl.col("open_time") == days[-back])
        for path in paths:
            frame = pl.read_parquet(path)
            hits = frame.select(here.alias("hit"))["hit"]
            if hits.any():
                values = [change(value) if hit else value for value, hit in zip(frame[column], hits, strict=True)]
                frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype)).write_parquet(path)

    return forge


def superset(home: Signed, run: Path, symbol: str) -> None:
    """A better rank in the superset, which is pinned anew."""
    manifest = json.loads((run / layout.MANIFEST).read_bytes())
    path = home.home / manifest["superset"]["path"]

    def better(value: Any) -> None:
        found = next(one for one in value["candidates"] if one["symbol"] == symbol and one["logic"] == "rating_all")
        found["rank"] += 1

    change_json(path, better)
    manifest["superset"]["sha256"] = files.sha256_file(path)
    files.write_json(run / layout.MANIFEST, manifest)


def superset_unpinned(home: Signed, run: Path, symbol: str) -> None:
    """The superset is written anew with other spaces: equal content, other bytes."""
    path = home.home / json.loads((run / layout.MANIFEST).read_bytes())["superset"]["path"]
    path.write_text(json.dumps(json.loads(path.read_bytes())))


def whole(value: Any, symbol: str) -> Any:
    return value


def cluster_of(value: Any, symbol: str) -> None:
    clusters = value["clusters"]
    home = next(key for key, names in clusters.items() if any(symbol in name for name in names))
    other = next(key for key in clusters if key != home)
    clusters[other].append(next(name for name in clusters[home] if symbol in name))
    clusters[home] = [name for name in clusters[home] if symbol not in name]


def losing(value: Any, symbol: str) -> None:
    value["loss_makers"][f"{symbol}_rating_all_LONG"] = -0.001


def raw_rank(value: Any, symbol: str) -> None:
    next(one for one in value["candidates"] if one["symbol"] == symbol)["rank"] += 1


def status(value: Any, symbol: str) -> None:
    value["profiles"]["min_variance"]["solver"]["status"] = "MAX_ITERATIONS"


FORGERIES: dict[str, tuple[str, Forgery]] = {
    "a bar's close": ("bars", in_lake("bars", "close", lambda close: close * 1.01)),
    "a bar's volume": ("bars", in_lake("bars", "volume", lambda volume: volume * 2.0)),
    "an old close": ("votes|returns", in_lake("bars", "close", lambda close: close * 1.7, back=40)),
    "a vote": ("votes", in_lake("ratings", "vote_ema_10", lambda vote: 1 - vote)),
    "a sealed vote": ("votes", in_table(layout.FEATURES, lambda symbol: "recommend_ma")),
    "a stored rating": ("votes", in_lake("ratings", "recommend_other", lambda rating: rating + 0.1)),
    "the superset's rank": ("scan", superset),
    "the superset's bytes": ("scan", superset_unpinned),
    "the candidate's rank": ("candidate", in_json(layout.RAW, raw_rank)),
    "a return": ("returns", in_table(layout.RETURNS, lambda symbol: symbol)),
    "a feature": ("features", in_json(layout.WINNERS, scale(lambda v, s: winner(v, s)["features"], "momentum"))),
    "a feature in the audit": (
        "features",
        in_json(layout.SELECTION, scale(lambda v, s: fate(v, s)["features"], "hurst")),
    ),
    "another candidate's feature": ("score", in_json(layout.SELECTION, another_candidates_feature)),
    "a probability": ("score", in_json(layout.WINNERS, scale(lambda v, s: winner(v, s)["probabilities"], "cvar", 0.9))),
    "the score": ("score", in_json(layout.WINNERS, scale(winner, "alpha_score", 1.0001))),
    "the score in the audit": ("score", in_json(layout.SELECTION, scale(fate, "alpha_score"))),
    "the reason": ("vetoes", in_json(layout.SELECTION, put(fate, "reason", "CLUSTER_RANK"))),
    "the rank": ("selection", in_json(layout.WINNERS, put(winner, "rank", 99))),
    "the cluster": ("selection", in_json(layout.WINNERS, put(winner, "cluster_id", 99))),
    "how it was admitted": ("selection", in_json(layout.WINNERS, put(winner, "admitted", "relaxation"))),
    "a synthetic return": ("synthetic", in_table(layout.SYNTHETIC, lambda symbol: f"{symbol}_rating_all_LONG")),
    "the shrinkage": ("risk", in_json(layout.RISK, scale(whole, "shrinkage", 1.01))),
    "the cluster's cap": ("risk", in_json(layout.RISK, scale(whole, "cluster_cap"))),
    "the regime": ("risk", in_json(layout.RISK, put(whole, "regime", "CRISIS"))),
    "a loss maker": ("risk", in_json(layout.RISK, losing)),
    "the cluster of winners": ("cluster", in_json(layout.CLUSTERS, cluster_of)),
    "a weight": ("solver", in_json(layout.OPTIMIZED, scale(asset, "Weight"))),
    "two weights": ("solver", in_json(layout.OPTIMIZED, move_weight)),
    "the solver's status": ("solver", in_json(layout.OPTIMIZED, status)),
    "the net weight": ("netting", in_json(layout.FLATTENED, scale(asset, "Net_Weight", 1.0001))),
    "the direction": ("netting", in_json(layout.FLATTENED, put(asset, "Direction", "SHORT"))),
}


QUICK = (
    "an old close",
    "a vote",
    "a return",
    "a feature",
    "the score",
    "a synthetic return",
    "two weights",
    "the net weight",
)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORGERIES]
)
def test_the_first_link_that_was_changed_is_named(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Roots, "changed", lambda *_: [])  # as if nobody had hashed the lake
    expected, forge = FORGERIES[name]
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[LONG]
    held = sorted(coins(run, "min_variance").items(), key=lambda one: -one[1])
    symbol = held[1][0]
    forge(twin, run, symbol)
    reseal(twin.home, run)
    proof = proved(twin, LONG, "min_variance", symbol)
    assert not proof.ok
    first = next(link.name for link in proof.links if not link.ok)
    assert first in expected.split("|"), (first, wrong(proof))
    assert str(proof.broken).startswith(f"{run.name}: {first}")
    shutil.rmtree(twin.home)


def condition(home: Signed, run: Path, symbol: str) -> None:
    """Another condition than the one that left a coin out, in the superset, which is pinned anew."""
    manifest = json.loads((run / layout.MANIFEST).read_bytes())
    path = home.home / manifest["superset"]["path"]

    def other(value: Any) -> None:
        [names] = [one["names"] for one in value["scanners"] if one["scanner"] == LONG]
        names["volatility"] = [names["rating"].pop(names["rating"].index(symbol))]

    change_json(path, other)
    manifest["superset"]["sha256"] = files.sha256_file(path)
    files.write_json(run / layout.MANIFEST, manifest)


LOSERS: dict[str, tuple[str, str, Forgery]] = {
    "a candidate's reason": ("VETO", "loss", in_json(layout.SELECTION, put(fate, "reason", "MAX_WINNERS"))),
    "a candidate's score": ("VETO", "score", in_json(layout.SELECTION, scale(fate, "alpha_score"))),
    "a candidate's feature": (
        "VETO",
        "features",
        in_json(layout.SELECTION, scale(lambda v, s: fate(v, s)["features"], "hurst")),
    ),
    "the condition of a coin that was not found": ("rating", "scan", condition),
}


@pytest.mark.parametrize("name", LOSERS)
def test_a_forged_loss_is_named(signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(Roots, "changed", lambda *_: [])
    reason, expected, forge = LOSERS[name]
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[LONG]
    symbol = next(symbol for why, symbol in unheld(run).items() if why.startswith(reason))
    forge(twin, run, symbol)
    reseal(twin.home, run)
    proof = proved(twin, LONG, "min_variance", symbol)
    assert [link.name for link in proof.links if not link.ok] == [expected], wrong(proof)
    shutil.rmtree(twin.home)


def sleeve_weight(value: Any, symbol: str) -> None:
    sleeves = value["profiles"]["min_variance"]["sleeves"]
    sleeves[0]["Weight"] += 0.01
    sleeves[1]["Weight"] -= 0.01


def contributor(value: Any, symbol: str) -> None:
    part = next(one for one in value["profiles"]["min_variance"]["contributors"] if one["Symbol"] == symbol)
    part["Held"] *= 0.99


def meta_return(home: Signed, run: Path, symbol: str) -> None:
    frame = pl.read_parquet(run / layout.META_RETURNS)
    files.write_table(run / layout.META_RETURNS, frame.with_columns((pl.col(LONG) * 1.000001).alias(LONG)))


def pinned_head(home: Signed, run: Path, symbol: str) -> None:
    change_json(run / layout.MANIFEST, lambda value: value["sleeves"][0].update(head="f" * 64))


@pytest.mark.parametrize(
    ("expected", "forge"),
    [
        ("sleeves", pinned_head),
        ("sleeve returns", meta_return),
        ("sleeve weights", in_json(layout.META_OPTIMIZED, sleeve_weight)),
        ("contributors", in_json(layout.META_CONTRIBUTORS, contributor)),
        ("netting", in_json(layout.FLATTENED, scale(asset, "Net_Weight"))),
    ],
)
def test_the_first_changed_link_of_a_portfolio_is_named(
    signed: Signed, tmp_path: Path, expected: str, forge: Forgery
) -> None:
    twin = signed.copy(tmp_path / "home")
    run = twin.runs[META]
    symbol = next(iter(coins(run, "min_variance")))
    forge(twin, run, symbol)
    reseal(twin.home, run)
    assert proved(twin, META, "min_variance", symbol).broken == f"{run.name}: {expected}"


def test_a_broken_seal_proves_nothing(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    symbol = next(iter(coins(twin.runs[LONG])))
    (twin.runs[LONG] / layout.OPTIMIZED).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="nothing can be proved") as caught:
        proved(twin, LONG, "hrp", symbol)
    assert caught.value.code == "FILE_CHANGED"
    held = next(iter(coins(twin.runs[META])))
    with pytest.raises(IntegrityError, match="nothing can be proved"):
        proved(twin, META, "hrp", held)


def test_a_lake_with_other_bytes_proves_nothing(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    symbol = next(iter(coins(twin.runs[LONG])))
    FORGERIES["an old close"][1](twin, twin.runs[LONG], symbol)
    with pytest.raises(IntegrityError, match=f"table bars: .*{symbol}") as caught:
        proved(twin, LONG, "hrp", symbol)
    assert caught.value.code == "LAKE_CHANGED"


def test_a_lake_whose_head_names_other_versions_proves_nothing(signed: Signed, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    [heads] = twin.home.glob("lake/*/heads.jsonl")
    lines = [json.loads(line) for line in heads.read_text().splitlines()]
    for line in lines:
        line["tables"]["ratings"] = 0
    heads.write_bytes(b"".join(Head.model_validate(line).line() + b"\n" for line in lines))
    with pytest.raises(IntegrityError, match="other table versions"):
        proved(twin, LONG, "hrp", next(iter(coins(twin.runs[LONG]))))


# --- the parts --------------------------------------------------------------------------------------------------------


def estimates(matrix: list[list[float]], means: list[float]) -> Estimates:
    risk = np.array(matrix)
    correlation = risk / np.sqrt(np.outer(np.diag(risk), np.diag(risk)))
    return Estimates(Covariance(risk, 0.0, 0.0, 1.0), correlation, np.array(means), 0.0, None)


def test_gaps_by_hand() -> None:
    """Two atoms, all of the budget in any of them: the corners of the polytope are (1, 0) and (0, 1)."""
    free = Polytope.build(2)
    # S = diag(1, 4), w = (1/2, 1/2): w'Sw = 5/4, Sw = (1/2, 2), so moving to (1, 0) promises 5/4 - 1/2 of 5/4.
    told = measure(MinVariance(), estimates([[1, 0], [0, 4]], [0, 0]), free, np.array([0.5, 0.5]))
    assert (told.objective, told.value, told.gap) == ("variance", 1.25, pytest.approx(0.6))
    # m = (1, 1), S = I, w = (1, 0): the ratio is 1 and its slope (0, 1).
    told = measure(MaxSharpe(), estimates([[1, 0], [0, 1]], [1, 1]), free, np.array([1.0, 0.0]))
    assert (told.objective, told.value, told.gap) == ("Sharpe ratio", 1.0, pytest.approx(1.0))
    # Equal weights are (1/2, 1/2): from (1, 0) they are sqrt(1/2) away, and the slope is (-1/2, 1/2).
    told = measure(EqualWeight(), estimates([[1, 0], [0, 1]], [1, 1]), free, np.array([1.0, 0.0]))
    assert (told.objective, told.value, told.gap) == ("distance", pytest.approx(0.5**0.5), pytest.approx(1.0))
    # Risk parity of S = diag(1, 4) is (4/5, 1/5): nothing is left to gain there.
    told = measure(HierarchicalRiskParity(), estimates([[1, 0], [0, 4]], [0, 0]), free, np.array([0.8, 0.2]))
    assert told.value == pytest.approx(0.0, abs=1e-12)
    assert told.gap == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("kind", [MinVariance, MaxSharpe, HierarchicalRiskParity, EqualWeight, Barbell])
def test_no_move_helps_an_optimum_and_some_move_helps_all_else(kind: type) -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(0.001, 0.02, (252, 8)) * np.linspace(0.5, 2.0, 8)
    polytope = Polytope.build(8, atom_cap=0.2, cluster_cap=0.35, labels=[1, 1, 1, 2, 2, 3, 3, 4])
    seen = Estimates.of(rows, np.linspace(0.0, 1.0, 8))
    best = kind().allocate(seen, polytope).weights
    assert measure(kind(), seen, polytope, best).gap <= 1e-8
    moved = 0.95 * best + 0.05 * polytope.best(np.arange(8.0))
    assert measure(kind(), seen, polytope, moved).gap > 1e-6


def test_ranks_by_hand() -> None:
    def candidate(symbol: str, rating: float, traded: float, scanners: list[str]) -> Candidate:
        seen = {"recommend_all": rating, "value_traded": traded}
        return Candidate(
            symbol=symbol,
            logic="rating_all",
            direction="SHORT",
            scan_direction="SHORT",
            scanners=scanners,
            rank=0,
            fields=seen,
        )

    found = [
        candidate("X:A", -0.2, 5.0, ["s"]),
        candidate("X:B", -0.5, 1.0, ["s", "t"]),
        candidate("X:C", -0.5, 9.0, ["s"]),
        candidate("X:D", -0.5, 9.0, ["s"]),
    ]
    assert [rank(found, one) for one in found] == [4, 1, 1, 2]


def test_pairs_and_links() -> None:
    assert not Pair("a", True, 1).ok
    assert not Pair("a", 1.0, None).ok
    assert not Pair("a", float("nan"), float("nan")).ok
    assert Pair("a", None, None).ok
    assert Pair("a", 1.0, 1).ok
    assert not Link("a", "", "", "", ()).ok  # a link that compares nothing is none


# --- the command ------------------------------------------------------------------------------------------------------


def call(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_exit_codes(signed: Signed, tmp_path: Path) -> None:
    run = signed.runs[LONG]
    symbol = next(iter(coins(run)))
    where = ("--home", signed.home)
    good = call("prove", run.name, "hrp", symbol, *where)
    assert good.exit_code == 0, good.output
    assert "figures compared: ok" in good.stdout
    told = json.loads(call("prove", run.name, "hrp", symbol, *where, "--json").stdout)
    assert told["ok"] is True
    assert [link["name"] for link in told["links"]] == SLEEVE_LINKS
    assert told["links"][1]["figures"][0]["inputs"]
    assert call("prove", run.name, "hrp", "BINANCE:NOSUCHUSDT", *where).exit_code == 2
    assert call("prove", run.name, "best", symbol, *where).exit_code == 2
    assert call("prove", "nowhere", "hrp", symbol, *where).exit_code == 2
    twin = signed.copy(tmp_path / "home")
    change_json(
        twin.runs[LONG] / layout.FLATTENED, lambda value: value["profiles"]["hrp"]["assets"][0].update(Weight=0.9)
    )
    first = book(twin.runs[LONG])["hrp"]["assets"][0]["Symbol"]
    assert call("prove", run.name, "hrp", first, "--home", twin.home).exit_code == 3
    reseal(twin.home, twin.runs[LONG])
    forged = call("prove", run.name, "hrp", first, "--home", twin.home)
    assert forged.exit_code == 1
    assert f"MISMATCH, first in {run.name}: netting" in forged.stdout


def test_a_proof_imports_little(signed: Signed) -> None:
    """A cold process should answer within a second: what it does not need must not be imported."""
    symbol = next(iter(coins(signed.runs[LONG])))
    command = [sys.executable, "-X", "importtime", "-m", "assay", "prove", signed.runs[LONG].name, "hrp", symbol]
    done = subprocess.run([*map(str, command), "--home", str(signed.home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "scipy.cluster.hierarchy" in found
    heavy = {"pandas", "pandera", "scipy.stats", "scipy.optimize", "matplotlib", "jinja2", "cryptography", "clarabel"}
    assert found.isdisjoint(heavy)
