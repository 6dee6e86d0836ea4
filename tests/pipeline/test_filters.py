"""What a contract's filter names is gone from everything that follows, through the real steps."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.alpha import selection as natural
from assay.backtest import decision
from assay.backtest.decision import Deciding, decide
from assay.base.errors import ContractError
from assay.gates.rules import weight_faults
from assay.lake.lake import TableChange
from assay.pipeline import context
from assay.pipeline import sleeve_steps as steps
from assay.pipeline.context import ContractCheck, market_of
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.risk.caps import Polytope
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run
from assay.settings import load

from .conftest import AS_OF, LONG

UNTIL_WEIGHTS = STEPS[:10]


@pytest.fixture
def victim(finished):
    """The winner with the best score of the honest run."""
    return Run(finished[LONG])[layout.WINNERS].winners[0]


def contract(folder, layer):
    [found] = [e.body for e in Run(folder).ledger if e.kind == "contract" and e.body["layer"] == layer]
    return found


def too_high(monkeypatch, value=1.5):
    """Let the best score of each decision be one that L2 drops."""
    honest = natural.scoring.alpha

    def alpha(*given):
        scores = honest(*given)
        scores[np.argmax(scores)] = value
        return scores

    monkeypatch.setattr(natural.scoring, "alpha", alpha)


@pytest.mark.parametrize(("value", "code"), [(1.5, "L2_RANGE"), (-0.2, "L2_RANGE"), (np.nan, "L2_NULL")])
def test_an_atom_that_l2_drops_is_vetoed_and_the_run_goes_on(sandbox, monkeypatch, value, code):
    too_high(monkeypatch, value)
    folder, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error is None
    told, run = contract(folder, "L2"), Run(folder)
    assert told["action"] == "filtered"
    [dropped] = told["details"]["dropped"]
    assert told["details"]["violations"][0]["code"] == code
    [fate] = [one for one in run[layout.SELECTION].fates if f"{one.symbol}_{one.logic}_{one.direction}" == dropped]
    assert fate.reason == "VETO_TOXIC"
    assert code in fate.detail
    assert dropped not in {winner.atom_id for winner in run[layout.WINNERS].winners}


def test_a_whole_run_with_dropped_atoms_is_valid_and_holds_none_of_them(sandbox, monkeypatch):
    too_high(monkeypatch)
    folder, outcome = sandbox.run(LONG)
    assert outcome.state == "VALID", outcome.error
    [dropped] = contract(folder, "L2")["details"]["dropped"]
    held = pl.read_parquet(folder / layout.SYNTHETIC).columns
    assert dropped not in held


def test_a_filter_that_the_decision_did_not_apply_ends_the_run(sandbox, monkeypatch):
    too_high(monkeypatch)
    monkeypatch.setattr(Deciding, "unsound", {})
    folder, outcome = sandbox.run(LONG)
    assert outcome.error["code"] == "L2_RANGE"
    assert not (folder / layout.WINNERS).exists()


def test_a_contract_that_is_only_written_down_refuses_the_run_at_step_14(sandbox, monkeypatch):
    too_high(monkeypatch)
    monkeypatch.setattr(Deciding, "unsound", {})
    monkeypatch.setattr(ContractCheck, "refusal", None)
    folder, outcome = sandbox.run(LONG)
    assert outcome.error["code"] == "ATOMIC_CONTRACT_FAILED"
    assert not (folder / layout.REPORT).exists()


def test_a_fatal_fault_of_the_scores_ends_the_decision(sandbox, monkeypatch):
    honest = natural.scoring.probabilities
    monkeypatch.setattr(
        natural.scoring, "probabilities", lambda raw: honest(raw) | {"momentum": np.full(len(raw["momentum"]), 0.5)}
    )
    _, outcome = sandbox.run(LONG)
    assert outcome.error["code"] == "L2_CONSTANT_SCORE"


def broken_row(monkeypatch, symbol, market_too, **values):
    """Let the lake say of one coin what cannot be, on the last day; of a vote where no values are given."""
    rows, load = steps._features, context.load_market

    def features(*given):
        at = pl.col("symbol") == symbol
        news = [pl.when(at).then(value).otherwise(name).cast(pl.Float64).alias(name) for name, value in values.items()]
        votes = [pl.when(at).then(2).otherwise(name).cast(pl.Int8).alias(name) for name in ("vote_rsi",)]
        return rows(*given).with_columns(*(news or votes))

    def market(*given):
        honest = load(*given)
        fields = {name: column.copy() for name, column in honest.fields.items()}
        for name, value in values.items():
            fields[name][-1, honest.column(symbol)] = value
        flags = honest.unsound.copy()
        flags[-1, honest.column(symbol)] = not values
        kept = {name: getattr(honest, name) for name, told in honest.__dataclass_fields__.items() if told.init}
        return type(honest)(**kept | {"fields": fields, "unsound": flags})

    monkeypatch.setattr(steps, "_features", features)
    monkeypatch.setattr(steps, "check_superset", lambda *given: None)  # the fault comes after the scan
    if market_too:
        monkeypatch.setattr(context, "load_market", market)


WRONG = {"recommend_all": 1.5, "recommend_ma": 1.5, "recommend_other": 1.5}


def test_a_coin_whose_row_l1_drops_is_vetoed_and_the_run_goes_on(sandbox, monkeypatch, victim):
    broken_row(monkeypatch, victim.symbol, True, **WRONG)
    folder, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error is None
    assert contract(folder, "L1")["action"] == "filtered"
    assert victim.symbol not in {winner.symbol for winner in Run(folder)[layout.WINNERS].winners}


def test_a_dropped_row_that_the_decision_would_not_veto_ends_the_run(sandbox, monkeypatch, victim):
    broken_row(monkeypatch, victim.symbol, True, **WRONG)
    monkeypatch.setattr(decision, "broken_ratings", lambda market: np.zeros(len(market.symbols), dtype=bool))
    _, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error["code"] == "L1_RATING_RANGE"


def test_a_vote_that_no_decision_reads_is_a_filter_as_well(sandbox, monkeypatch, victim):
    broken_row(monkeypatch, victim.symbol, True)
    folder, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error is None
    told, run = contract(folder, "L1"), Run(folder)
    assert (told["action"], told["details"]["violations"][0]["code"]) == ("filtered", "L1_VOTE")
    [fate] = [one for one in run[layout.SELECTION].fates if one.symbol == victim.symbol]
    assert (fate.reason, "break L1" in fate.detail) == ("VETO_TOXIC", True)
    assert victim.symbol not in pl.read_parquet(folder / layout.SYNTHETIC).columns


def test_a_dropped_vote_that_the_decision_does_not_know_of_ends_the_run(sandbox, monkeypatch, victim):
    broken_row(monkeypatch, victim.symbol, False)
    _, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error["code"] == "L1_VOTE"


@pytest.mark.parametrize(
    ("column", "value"),
    [("vote_rsi", 2), ("vote_sma_200", -2), ("stoch_d", 101.0), ("plus_di", -1.0), ("adx", 200.0)],
)
def test_a_lake_with_a_row_that_is_no_rating_gives_decisions_without_that_coin(tmp_path, finished, column, value):
    """In a lake of its own, on the last day and on one that the walk-forward decides on."""
    home = Home(tmp_path)
    foundation = lay_foundation(home, load(), "sample", AS_OF)
    lake, rows = foundation.lake, foundation.snapshot.ratings()
    honest = pl.read_parquet(finished[LONG] / layout.WALK_DECISIONS)
    winners = [winner.symbol for winner in Run(finished[LONG])[layout.WINNERS].winners]
    held = pl.read_parquet(finished[LONG] / layout.WALK_WEIGHTS).filter(pl.col("symbol").is_in(winners)).sort("as_of")
    decided, coin, one_day = held["as_of"][-1], held["symbol"][-1], dt.timedelta(days=1)  # held then, and wanted now
    days = [dt.datetime.fromisoformat(AS_OF).replace(tzinfo=dt.UTC), decided - one_day]
    spoilt = (pl.col("symbol") == coin) & pl.col("open_time").is_in(days)
    other = pl.when(spoilt).then(value).otherwise(column).cast(rows.schema[column]).alias(column)
    lake.commit([TableChange("ratings", rows.with_columns(other), replace=True)])
    [request] = requests(home, load(), lay_foundation(home, load(), "sample", AS_OF), [LONG])
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error
    run = Run(request.run)
    assert contract(request.run, "L1")["details"]["dropped"] == [f"{coin} {days[0]:%Y-%m-%dT%H:%M:%SZ}"]
    assert coin not in {winner.symbol for winner in run[layout.WINNERS].winners}
    table = pl.read_parquet(request.run / layout.WALK_DECISIONS)
    told = dict(table.select("as_of", "dropped").iter_rows())
    assert told[decided] == f"L1 {coin}"
    assert set(told) == set(honest["as_of"].to_list())
    assert honest["contract_drops"].to_list() == [0] * honest.height
    assert sum(value is not None for value in told.values()) == 1
    assert table["contract_drops"].to_list() == [int(value is not None) for value in told.values()]
    assert f"contracts dropped from 1 decision: L1 {coin} (1)" in (request.run / layout.REPORT).read_text()


def wild(monkeypatch, symbol, value):
    """Let one coin's returns hold what L0 drops."""
    honest = decision.prepare

    def prepare(*given):
        matrix = honest(*given)
        if symbol in matrix.symbols:
            matrix.values[-1, matrix.symbols.index(symbol)] = value
        return matrix

    monkeypatch.setattr(decision, "prepare", prepare)


@pytest.mark.parametrize("value", [7.0, -1.0, np.inf])
def test_a_column_that_l0_drops_is_gone_and_the_run_goes_on(sandbox, monkeypatch, victim, value):
    wild(monkeypatch, victim.symbol, value)
    folder, outcome = sandbox.run(LONG, steps=UNTIL_WEIGHTS)
    assert outcome.error is None
    run = Run(folder)
    assert contract(folder, "L0")["details"]["dropped"] == [victim.symbol]
    assert victim.symbol not in run[layout.RETURNS].columns
    [fate] = [one for one in run[layout.SELECTION].fates if one.symbol == victim.symbol]
    assert fate.reason == "L0_RANGE"


def test_a_walk_forward_passes_the_same_contracts(sandbox, monkeypatch):
    request = sandbox.request(LONG)
    known = market_of(request)

    def decided():
        return decide(known, request.profile, request.scanners)

    best = decided().selection.winner_atoms[0]
    with monkeypatch.context() as patch:
        too_high(patch)
        assert best not in decided().selection.winner_atoms
    with monkeypatch.context() as patch:
        wild(patch, best.symbol, 7.0)
        assert best not in decided().selection.winner_atoms
    with monkeypatch.context() as patch:
        wild(patch, request.profile.benchmark, 7.0)
        with pytest.raises(ContractError, match="benchmark is at fault"):
            decided()
    with monkeypatch.context() as patch:
        honest = natural.synthetic
        patch.setattr(natural, "synthetic", lambda *given: -honest(*given))
        with pytest.raises(ContractError) as told:
            decided()
        assert told.value.code == "L3_LONG_MISMATCH"
    with monkeypatch.context() as patch:
        real = decision.optimize

        def twice(*given, **how):
            found = real(*given, **how)
            for made in found.values():
                made.weights[:] *= 2.0
            return found

        patch.setattr(decision, "optimize", twice)
        with pytest.raises(ContractError, match="L4 broken by the decision"):
            decided()


@pytest.mark.parametrize(
    ("weights", "cash", "code"),
    [
        ([0.3, 0.2], 0.5, None),
        ([0.3, 0.2], 0.6, "L4_SUM"),
        ([0.3, -0.1], 0.8, "L4_NEGATIVE"),
        ([np.nan, 0.1], 0.9, "L4_NOT_FINITE"),
        ([0.5, 0.0], 0.5, "L4_ATOM_CAP"),
        ([0.38, 0.27], 0.35, "L4_CLUSTER_CAP"),
        ([0.39, 0.2, 0.39], 0.02, "L4_BUDGET"),
    ],
)
def test_the_rules_of_weights_on_arrays(weights, cash, code):
    labels = [1, 1, 2][: len(weights)]
    allowed = Polytope.build(len(weights), atom_cap=0.4, cluster_cap=0.6, labels=labels, budget=0.9)
    found = [fault.code for fault in weight_faults("hrp", np.array(weights), cash, allowed)]
    assert code in found if code else not found
