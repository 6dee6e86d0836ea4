from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
from alpha_worlds import BENCHMARK, candidate, candidates, market_of, matrix, names, profile, random_returns
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.alpha import scoring, vetoes
from assay.alpha.features import FEATURES
from assay.alpha.selection import NaturalSelection, Selection, best_of_clusters, restore, select
from assay.alpha.synthesis import synthetic
from assay.base.errors import DataError
from assay.market.panel import Market
from assay.settings.model import Profile

EASY = {"costs": {"fee": 0.0, "slippage": 0.0, "borrow": 0.0}}


def chosen(market: Market, wanted: Profile, **changes: Any) -> Selection:
    found = changes.pop("found", candidates(market.symbols, wanted.direction))
    health = changes.pop("health", {})
    return select(found, market, matrix(market, wanted, [c.symbol for c in found]), wanted, health, **changes)


def outcome(selection: Selection) -> tuple[Any, ...]:
    """Everything that a selection says, to the last bit."""
    return (
        selection.atoms,
        selection.winner_atoms,
        selection.audit().model_dump(),
        selection.winners_document().model_dump(),
        {name: values.tobytes() for name, values in selection.inference.items()},
        selection.streams.tobytes(),
    )


class TestChoice:
    """The rules of who is taken, on hand-made scores."""

    def test_best_of_each_cluster_ties_by_order(self) -> None:
        alpha = np.array([0.5, 0.9, 0.9, 0.1, 0.7, 0.9])
        clusters = np.array([1, 1, 1, 2, 0, 2])
        assert best_of_clusters(alpha, clusters, 2).tolist() == [1, 2, 5, 3]
        assert best_of_clusters(alpha, clusters, 1).tolist() == [1, 5]
        assert best_of_clusters(alpha, clusters, 9).tolist() == [1, 2, 5, 0, 3]

    def test_relaxation_fills_empty_clusters_in_order_of_alpha_until_enough(self) -> None:
        alpha = np.array([0.5, 0.9, 0.8, 0.7, 0.6, 0.95])
        clusters = np.array([1, 2, 2, 3, 4, 0])
        allowed = np.array([True, False, True, True, True, True])
        merit = np.array([0])
        assert restore(alpha, clusters, allowed, merit, 9).tolist() == [2, 3, 4]
        assert restore(alpha, clusters, allowed, merit, 2).tolist() == [2, 3]
        assert restore(alpha, clusters, allowed, merit, 0).tolist() == []
        assert restore(alpha, clusters, allowed, merit, -3).tolist() == []

    def test_no_atoms(self) -> None:
        nothing = np.array([], dtype=np.int64)
        assert best_of_clusters(np.array([]), nothing, 3).tolist() == []
        assert restore(np.array([]), nothing, np.array([], dtype=bool), nothing, 3).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 25), st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_what_every_selection_obeys(seed: int, n: int, wanted: int, most: int, top_n: int) -> None:
    rng = np.random.default_rng(seed)
    streams = random_returns(300, n, seed, drift=0.001)
    streams[rng.random(streams.shape) < 0.01] = np.nan
    flags = {code: {int(i): code for i in np.flatnonzero(rng.random(n) < 0.1)} for code in vetoes.FLAGS}
    model = NaturalSelection(wanted=wanted, max_winners=most, top_n=top_n, max_entropy=0.995, min_efficiency=0.1)
    model.fit(streams, flags=flags, signs=rng.choice([-1, 1], n))
    safe = ~vetoes.struck(model.vetoes_, n, safety=True)
    good = ~vetoes.struck(model.vetoes_, n, safety=False)
    winners = model.winners_
    assert len(set(winners.tolist())) == len(winners) <= most
    assert safe[winners].all()
    np.testing.assert_array_equal(model.clusters_ > 0, safe)
    merit = winners[[a == "merit" for a in model.admitted_]]
    relaxed = winners[[a == "relaxation" for a in model.admitted_]]
    assert good[merit].all()
    assert max(Counter(model.clusters_[merit].tolist()).values(), default=0) <= top_n
    assert not good[relaxed].any()
    assert (model.features_.efficiency[relaxed] > 0).all()
    labels = model.clusters_[relaxed].tolist()
    assert len(set(labels)) == len(labels)
    assert set(labels).isdisjoint(model.clusters_[merit].tolist())
    assert not len(relaxed) or len(winners) <= min(wanted, most)
    keys = [(-model.alpha_[i], i) for i in winners]
    assert keys == sorted(keys)
    assert ((model.alpha_ > 0) & (model.alpha_ <= 1)).all()


def test_scores_against_pandas_and_scipy_throughout() -> None:
    """The whole score of a short sleeve, recomputed without any line of the code under test."""
    market = market_of(random_returns(420, 20, 8, drift=-0.002), seed=8)
    wanted = profile("SHORT")
    selection = chosen(market, wanted)
    returns = pd.DataFrame(market["close"], columns=market.symbols).pct_change().iloc[1:]
    streams = -returns.clip(upper=1.0)
    recent = streams.iloc[-120:]
    raw = pd.DataFrame(
        {
            "momentum": 365 * streams.mean(),
            "efficiency": (recent.sum() / recent.abs().sum()).clip(lower=0),
            "survival": 1.0,
            "recommend_all": -market["recommend_all"][-1],
            "recommend_ma": -market["recommend_ma"][-1],
            "adx": market["adx"][-1] / 100,
            "cvar": recent.apply(lambda x: x.nsmallest(6).mean()),
            "antifragility": streams.apply(
                lambda x: (x[x >= x.quantile(0.95)].mean() + x[x <= x.quantile(0.05)].mean()) / x.std()
            ),
            "skew": -pd.Series(scipy.stats.skew(recent), returns.columns).abs(),
            "kurtosis": -pd.Series(scipy.stats.kurtosis(recent), returns.columns),
            "liquidity": (pd.DataFrame(market["value_traded"][-120:]).median() / 1e7).clip(upper=1).to_numpy(),
            "stability": 1 / recent.std(),
        }
    )
    frame = pd.DataFrame(selection.inference_frame().to_dict(as_series=False)).set_index("atom_id")
    frame.index = [name.removesuffix("_rating_all_SHORT") for name in frame.index]
    for name in ("momentum", "recommend_all", "recommend_ma", "antifragility", "skew", "kurtosis", "stability"):
        expected = 0.01 + 0.99 * (raw[name].rank() - 0.5) / 20
        pd.testing.assert_series_equal(frame[f"{name}_prob"], expected, check_names=False)
    for name in ("efficiency", "survival", "adx", "liquidity"):
        pd.testing.assert_series_equal(frame[f"{name}_prob"], raw[name].clip(lower=0.001), check_names=False)
    expected = pd.Series(scipy.stats.norm.cdf(scipy.stats.zscore(raw["cvar"])), raw.index)
    pd.testing.assert_series_equal(frame["cvar_prob"], expected, check_names=False)
    mean = scipy.stats.gmean(
        frame[[f"{name}_prob" for name in FEATURES]], weights=list(scoring.WEIGHTS.values()), axis=1
    )
    np.testing.assert_allclose(frame["alpha_score"], mean, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_short_is_scored_as_the_long_of_the_inverted_data(seed: int) -> None:
    physical = random_returns(400, 25, seed, drift=-0.002)
    physical[77, 3] = 1.7  # a short loses all of it, not more
    falling = market_of(physical, seed=seed)
    mirrored = synthetic(physical, [-1] * 25)
    mirrored[77, 3] = -1.0 + 1e-12  # a price cannot be 0
    rising = market_of(mirrored, seed=seed)
    rising = replace(rising, fields=dict(rising.fields) | {n: -falling[n] for n in falling.fields if "recommend" in n})
    short = chosen(falling, profile("SHORT", **EASY))
    long = chosen(rising, profile("LONG", **EASY))
    assert [a.symbol for a in short.winner_atoms] == [a.symbol for a in long.winner_atoms]
    assert len(short.winner_atoms) > 0
    np.testing.assert_array_equal(short.model.clusters_, long.model.clusters_)
    for name, values in short.inference.items():
        np.testing.assert_allclose(values, long.inference[name], rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(short.streams, long.streams, atol=1e-9)


def test_borrowing_weighs_on_shorts_only() -> None:
    flat = np.full(30, 0.0004) + 0.001 * np.array([1, -1] * 15)
    streams = np.tile(flat, 10)[:, None]
    for sign, struck in ((1, False), (-1, True)):
        model = NaturalSelection().fit(streams, signs=[sign])
        (friction,) = [veto for veto in model.vetoes_ if veto.code == vetoes.FRICTION]
        assert friction.hit[0] == struck


def test_order_of_candidates_does_not_matter() -> None:
    market = market_of(random_returns(400, 40, 5), seed=5)
    found = candidates(market.symbols)
    first = outcome(chosen(market, profile(), found=found))
    for seed in range(3):
        assert outcome(chosen(market, profile(), found=random.Random(seed).sample(found, len(found)))) == first


def test_what_comes_later_does_not_matter() -> None:
    """Append later days, cut back: every byte of the selection is the same."""
    early = random_returns(420, 30, 6)
    before = market_of(early, seed=6)
    later = market_of(np.vstack([early, random_returns(60, 30, 99, drift=-0.05)]), seed=6)
    grown = replace(
        later, fields={name: np.vstack([before[name], values[421:] * 3]) for name, values in later.fields.items()}
    )
    cut = grown.until(before.as_of)
    assert len(cut.days) == len(before.days) < len(grown.days)
    assert outcome(chosen(cut, profile())) == outcome(chosen(before, profile()))


def test_a_longer_history_than_the_lookback_does_not_matter() -> None:
    market = market_of(random_returns(560, 12, 7), seed=7)
    wanted = profile(data={"lookback": 400})
    assert outcome(chosen(market, wanted)) == outcome(chosen(market.until(market.as_of, 400), wanted))


class TestFates:
    def test_every_atom_has_one_fate_and_the_stages_add_up(self) -> None:
        returns = random_returns(400, 30, 11)
        missing = np.zeros(returns.shape, dtype=np.bool_)
        missing[-30:-15, 4] = True  # coverage of the estimation rows
        missing[:300, 5] = True  # too few observations
        market = market_of(returns, missing=missing, seed=11)
        found = candidates(market.symbols)
        found += [candidate("BINANCE:NOWHEREUSDT"), candidate("BINANCE:A/BUSDT"), candidate(BENCHMARK, rank=50)]
        health = {names(30)[6]: "STALE: no bar for 30 h", names(30)[7]: "TOXIC: jump", names(30)[8]: "DELISTED"}
        selection = chosen(market, profile(), found=found, health=health)
        audit = selection.audit()
        assert len(audit.fates) == len(found)
        keys = Counter((f.symbol, f.logic, f.direction) for f in audit.fates)
        assert {key for key, count in keys.items() if count > 1} == {(BENCHMARK, "rating_all", "LONG")}
        reasons = {f.symbol: f.reason for f in audit.fates if f.reason != "DUPLICATE"}
        ordered = names(30)
        assert reasons[ordered[4]] == "VETO_COVERAGE"
        assert reasons[ordered[5]] == "TOO_FEW_OBSERVATIONS"
        assert reasons[ordered[6]] == "VETO_STALE"
        assert reasons[ordered[7]] == "VETO_TOXIC"
        assert reasons[ordered[8]] == "VETO_STALE"
        assert reasons["BINANCE:NOWHEREUSDT"] == "MISSING"
        assert reasons["BINANCE:A/BUSDT"] == "INVALID_SYMBOL"
        inflow = len(found)
        for stage in audit.stages:
            assert stage.n_in == inflow
            assert stage.n_out == stage.n_in + stage.expanded - stage.dropped
            inflow = stage.n_out
        assert inflow == audit.n_winners == len(selection.winners) == list(reasons.values()).count("winner")
        assert [s.stage for s in audit.stages] == ["discovery", "normalization", "deduplication", "selection"]

    def test_a_symbol_that_nobody_asked_for_is_named_too(self) -> None:
        market = market_of(random_returns(300, 4), seed=1)
        wanted = profile()
        selection = select(candidates(market.symbols), market, matrix(market, wanted, market.symbols[:3]), wanted, {})
        (fate,) = [f for f in selection.fates if f.symbol == market.symbols[3]]
        assert (fate.reason, fate.alpha_score, fate.cluster_id, fate.features) == (vetoes.NO_RETURNS, None, None, {})

    def test_the_wrong_direction_is_never_held(self) -> None:
        market = market_of(random_returns(400, 10, 3), seed=3)
        found = candidates(market.symbols[:5]) + candidates(market.symbols[5:], "SHORT")
        selection = chosen(market, profile("LONG"), found=found)
        assert {atom.direction for atom in selection.winner_atoms} == {"LONG"}
        assert {f.reason for f in selection.fates if f.direction == "SHORT"} == {"VETO_DIRECTION"}

    def test_losers_of_rank_and_of_number(self) -> None:
        market = market_of(random_returns(400, 40, 21, drift=0.004), seed=21)
        wanted = profile(selection={"top_n": 2, "max_winners": 5, "wanted": 3, "cluster_threshold": 0.6})
        selection = chosen(market, wanted)
        reasons = Counter(f.reason for f in selection.fates)
        assert reasons["winner"] == 5
        assert reasons["CLUSTER_RANK"] > 0
        assert reasons["MAX_WINNERS"] > 0
        alpha = {f.symbol: f.alpha_score for f in selection.fates}
        worst = min(alpha[atom.symbol] for atom in selection.winner_atoms)
        free = [f for f in selection.fates if not f.reason.startswith("VETO")]
        for fate in free:
            same = [f for f in free if f.cluster_id == fate.cluster_id]
            better = sum(f.alpha_score > fate.alpha_score for f in same)
            assert (fate.reason == "CLUSTER_RANK") == (better >= 2)
            assert (fate.reason == "MAX_WINNERS") == (better < 2 and fate.alpha_score < worst)

    def test_relaxation_is_recorded(self) -> None:
        market = market_of(random_returns(400, 30, 12), seed=12)
        wanted = profile(selection={"vetoes": {"entropy": 0.9}})
        selection = chosen(market, wanted)
        audit = selection.audit()
        assert audit.relaxed == len(selection.winners) > 0
        assert audit.relaxed_share == 1.0
        assert {winner.admitted for winner in selection.winners} == {"relaxation"}
        told = [f.detail for f in audit.fates if f.reason == "winner"]
        assert all("entropy" in detail for detail in told)

    def test_every_veto_of_a_fate_is_told_with_numbers(self) -> None:
        market = market_of(random_returns(400, 6, 13, drift=-0.01), seed=13)
        (fate, *_) = chosen(market, profile(), health={names(6)[0]: "TOXIC: 900 %"}).fates
        assert fate.reason == "VETO_TOXIC"
        assert "TOXIC: 900 %; expected gain of one holding -" in fate.detail


class TestDocuments:
    def test_winners_are_what_the_arrays_say(self) -> None:
        market = market_of(random_returns(400, 20, 14), seed=14)
        selection = chosen(market, profile())
        frame = selection.inference_frame()
        assert frame.height == len(selection.atoms) == 20
        assert frame.columns == ["atom_id", "alpha_score", *FEATURES, *(f"{name}_prob" for name in FEATURES)]
        rows = {row["atom_id"]: row for row in frame.iter_rows(named=True)}
        assert [w.rank for w in selection.winners] == list(range(1, len(selection.winners) + 1))
        for column, winner in enumerate(selection.winners):
            row = rows[winner.atom_id]
            assert winner.alpha_score == row["alpha_score"]
            assert winner.features == {name: row[name] for name in FEATURES}
            assert winner.probabilities == {name: row[f"{name}_prob"] for name in FEATURES}
            place = market.column(winner.symbol)
            assert winner.ratings["recommend_other"] == market["recommend_other"][-1, place]
            np.testing.assert_array_equal(selection.streams[:, column], market.returns()[1:, place])
            assert winner.cluster_id == selection.model.clusters_[selection.model.winners_[column]]
        np.testing.assert_array_equal(selection.days, market.days[1:])

    def test_scores_and_probabilities_are_never_null(self) -> None:
        returns = random_returns(300, 8, 15)
        missing = np.zeros(returns.shape, dtype=np.bool_)
        missing[:, 3] = True
        missing[-1, 4] = True
        selection = chosen(market_of(returns, missing=missing, seed=15), profile())
        frame = selection.inference_frame()
        scores = frame.select("alpha_score", pl.col("^.*_prob$"))
        assert scores.null_count().sum_horizontal().item() == 0
        assert ((scores.to_numpy() >= 0) & (scores.to_numpy() <= 1)).all()
        assert frame.filter(pl.col("momentum").is_null())["alpha_score"].to_list() == [0.0]
        assert frame["recommend_all"].null_count() == 2

    def test_the_table_keeps_its_contract(self) -> None:
        from assay.gates.scores import check_l2

        returns = random_returns(300, 12, 18)
        missing = np.zeros(returns.shape, dtype=np.bool_)
        missing[:, 3] = True
        selection = chosen(market_of(returns, missing=missing, seed=18), profile("SHORT"))
        result = check_l2(selection.inference_frame(), [atom.id for atom in selection.atoms])
        assert result.violations == []
        assert result.rows == 12

    def test_inverted_winners_keep_where_they_come_from(self) -> None:
        market = market_of(random_returns(400, 10, 16, drift=-0.004), seed=16)
        wanted = profile("SHORT", pool="superset")
        selection = chosen(market, wanted, found=candidates(market.symbols, "LONG"))
        assert len(selection.winners) > 0
        for winner in selection.winners:
            assert (winner.direction, winner.scan_direction, winner.inverted) == ("SHORT", "LONG", True)
            ratings = winner.ratings
            assert winner.features["recommend_all"] == -ratings["recommend_all"]

    def test_dominant_signal_of_the_profile(self) -> None:
        market = market_of(random_returns(400, 20, 17), seed=17)
        plain = chosen(market, profile())
        dominated = chosen(market, profile(selection={"dominant_signal": "recommend_ma"}))
        weights = dict(scoring.WEIGHTS) | {"recommend_ma": 3.0, "momentum": 0.5}
        table = np.stack([plain.inference[f"{name}_prob"] for name in FEATURES])
        expected = scipy.stats.gmean(table, weights=np.tile([[w] for w in weights.values()], 20))
        np.testing.assert_allclose(dominated.inference["alpha_score"], expected, rtol=1e-12)


class TestEdges:
    def test_no_candidates(self) -> None:
        market = market_of(random_returns(300, 3), seed=0)
        selection = chosen(market, profile(), found=[])
        assert selection.winner_atoms == ()
        assert selection.streams.shape == (300, 0)
        assert selection.audit().n_winners == 0
        assert selection.inference_frame().height == 0

    def test_nobody_measured(self) -> None:
        market = market_of(random_returns(300, 3), seed=0)
        selection = chosen(market, profile(), found=[candidate("BINANCE:XUSDT")])
        assert [f.reason for f in selection.fates] == ["MISSING"]
        assert selection.inference_frame()["alpha_score"].to_list() == [0.0]

    def test_one_candidate(self) -> None:
        market = market_of(random_returns(300, 1, drift=0.02), seed=0)
        (winner,) = chosen(market, profile(**EASY)).winners
        assert winner.cluster_id == 1

    def test_all_losers_is_a_valid_empty_result(self) -> None:
        market = market_of(random_returns(400, 10) - 0.01, seed=0)
        selection = chosen(market, profile())
        assert selection.winners == []
        assert selection.relaxed_share == 0.0

    def test_returns_of_another_day_are_refused(self) -> None:
        market = market_of(random_returns(300, 3), seed=0)
        earlier = market.until(market.as_of - dt.timedelta(days=1))
        with pytest.raises(DataError):
            select([], market, matrix(earlier, profile()), profile(), {})

    def test_health_without_a_status_is_refused(self) -> None:
        market = market_of(random_returns(300, 3), seed=0)
        with pytest.raises(ValueError):
            chosen(market, profile(), health={BENCHMARK: "no bar for 30 h"})

    @pytest.mark.parametrize("table", [np.zeros(3), np.array([[np.inf]]), np.zeros((2, 2, 2))])
    def test_tables_that_are_none(self, table: Any) -> None:
        with pytest.raises(ValueError):
            NaturalSelection().fit(table)


class TestGrammar:
    """scikit-learn and skfolio as users would call them."""

    STREAMS = random_returns(400, 30, 30)

    def test_clone_and_parameters(self) -> None:
        from sklearn.base import clone

        model = NaturalSelection.from_profile(
            profile(
                selection={"top_n": 3, "dominant_signal": "recommend_ma", "vetoes": {"kurtosis": 7.0}},
                costs={"fee": 0.01},
            )
        )
        copy = clone(model)
        assert copy is not model
        assert copy.get_params() == model.get_params()
        assert (copy.top_n, copy.dominant_signal, copy.max_kurtosis, copy.fee) == (3, "recommend_ma", 7.0, 0.01)
        assert not hasattr(clone(model.fit(self.STREAMS)), "winners_")
        assert NaturalSelection.from_profile(profile()).get_params() == NaturalSelection().get_params()

    def test_a_profile_reaches_every_parameter(self) -> None:
        changed = profile(
            selection={
                "feature_bars": 60, "top_n": 2, "wanted": 4, "max_winners": 5, "cluster_threshold": 0.3,
                "max_clusters": 9, "cluster_windows": (30, 40), "dominant_signal": "momentum", "dominant_weight": 2.0,
                "dominated_momentum": 0.1,
                "vetoes": {"entropy": 0.98, "efficiency": 0.01, "kurtosis": 9.0, "volatility": 2.0},
            },
            costs={"fee": 0.01, "slippage": 0.02, "borrow": 0.3},
            walk_forward={"hold": 7},
            data={"estimation_rows": 100, "winner_coverage": 0.8},
        )  # fmt: skip
        default = NaturalSelection().get_params()
        found = NaturalSelection.from_profile(changed).get_params()
        assert {name for name in found if found[name] == default[name]} == set()

    def test_transform_keeps_columns_in_order(self) -> None:
        model = NaturalSelection().fit(self.STREAMS)
        support = model.get_support()
        assert support.sum() == len(model.winners_) > 1
        assert sorted(model.winners_.tolist()) == model.get_support(indices=True).tolist()
        np.testing.assert_array_equal(model.transform(self.STREAMS), self.STREAMS[:, support])
        labels = [f"c{i}" for i in range(30)]
        kept = [label for label, keep in zip(labels, support, strict=True) if keep]
        assert list(model.transform(pd.DataFrame(self.STREAMS, columns=labels)).columns) == kept
        assert model.transform(pl.DataFrame(self.STREAMS, schema=labels)).columns == kept
        assert model.get_feature_names_out(labels).tolist() == kept
        with pytest.raises(ValueError):
            model.transform(self.STREAMS[:, 1:])

    def test_without_metadata_ratings_are_neutral(self) -> None:
        model = NaturalSelection().fit(self.STREAMS)
        for name in ("recommend_all", "recommend_ma", "adx", "liquidity"):
            np.testing.assert_array_equal(model.probabilities_[name], 0.5)

    def test_pipeline(self) -> None:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pipeline = make_pipeline(NaturalSelection(top_n=1), StandardScaler())
        found = pipeline.fit_transform(self.STREAMS)
        assert found.shape == (400, pipeline[0].winners_.size)

    def test_skfolio_walk_forward(self) -> None:
        from skfolio import Population
        from skfolio.model_selection import WalkForward, cross_val_predict
        from skfolio.optimization import InverseVolatility
        from sklearn.pipeline import Pipeline

        frame = pd.DataFrame(
            self.STREAMS, columns=names(30), index=pd.date_range("2022-01-01", periods=400, name="date")
        )
        pipeline = Pipeline([("selection", NaturalSelection()), ("weights", InverseVolatility())])
        found = cross_val_predict(pipeline, frame, cv=WalkForward(test_size=10, train_size=252))
        assert not isinstance(found, Population)
        assert len(found.portfolios) == (400 - 252) // 10
        first = NaturalSelection().fit(self.STREAMS[:252]).get_support(indices=True)
        assert list(found.portfolios[0].assets) == [names(30)[i] for i in first]


def test_on_recorded_bars(shared: Path) -> None:
    """A real universe: nobody lost, nobody unsafe, the same twice."""
    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").with_columns(
        pl.col("timestamp").cast(pl.Date).alias("day"),
        pl.coalesce("quote_volume", pl.col("close") * pl.col("volume")).alias("value_traded"),
    )
    bars = bars.filter(pl.col("day").is_between(dt.date(2022, 10, 1), dt.date(2024, 1, 21)))
    days = np.arange(np.datetime64("2022-10-01"), np.datetime64("2024-01-22"))
    symbols = sorted(bars["symbol"].unique())
    wide = {}
    for field in ("open", "high", "low", "close", "volume", "value_traded"):
        table = bars.pivot(on="symbol", index="day", values=field).sort("day").select(symbols)
        wide[field] = table.to_numpy().astype(np.float64)
    rng = np.random.default_rng(0)
    shape = wide["close"].shape
    exists = ~np.isnan(wide["close"])
    for name in ("recommend_all", "recommend_ma", "recommend_other"):
        wide[name] = np.where(exists, rng.uniform(-1, 1, shape), np.nan)
    wide["adx"] = np.where(exists, rng.uniform(5, 60, shape), np.nan)
    assert shape[0] == days.size
    listing = np.where(exists, 0, -1).astype(np.int32)
    market = Market(days, tuple(symbols), wide, listing, dt.datetime(2024, 1, 22, tzinfo=dt.UTC))
    for direction in ("LONG", "SHORT"):
        wanted = profile(direction)
        selection = chosen(market, wanted, found=candidates(symbols, direction))
        audit = selection.audit()
        assert 0 < audit.n_winners <= 25
        assert len(audit.fates) == len(symbols)
        assert outcome(chosen(market, wanted, found=candidates(symbols, direction))) == outcome(selection)
        late = selection.streams[-252:]
        assert (np.isfinite(late).mean(axis=0) >= 0.95).all()
        gain = 10 * np.nanmean(selection.streams[-120:], axis=0)
        assert (gain > 0.003 + (0.1 * 10 / 365 if direction == "SHORT" else 0)).all()


def test_safe_atoms_are_those_that_only_their_returns_speak_against() -> None:
    """Falling coins fail friction and quality and could be drawn; a sick one and one turned around could not."""
    market = market_of(random_returns(420, 20, 3, drift=0.0), seed=3)
    sick, turned = market.symbols[4], market.symbols[7]
    found = [candidate(symbol, "SHORT" if symbol == turned else "LONG") for symbol in market.symbols]
    selection = chosen(market, profile(), found=found, health={sick: "TOXIC: made so"})
    reasons = {fate.symbol: fate.reason for fate in selection.audit().fates}
    assert reasons[sick] == vetoes.TOXIC
    assert {vetoes.FRICTION, vetoes.EFFICIENCY} & set(reasons.values())
    safe = {atom.symbol for atom in selection.safe_atoms}
    assert safe == set(market.symbols) - {sick, turned}
    assert {atom.symbol for atom in selection.winner_atoms} < safe
