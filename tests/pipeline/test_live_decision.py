"""The live decision is the walk-forward's: same function, same cut of the market, whatever the settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from assay.backtest import decision
from assay.backtest.decision import decide, history_days
from assay.backtest.walk_forward import decide_row, rebalance_rows
from assay.base.errors import DataError
from assay.pipeline.context import load_market
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs import artifacts as layout
from assay.runs.documents import Flattened, RawCandidates, SelectionAudit, load
from assay.runs.home import Home
from assay.settings import load as settings_of

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
SETTINGS = {
    "the canon": (LONG, ()),
    "a short": (SHORT, ()),
    "scanners that look further back than the decision": (LONG, ("data.lookback=300", "universe.min_bars=320")),
    "a short lookback": (SHORT, ("data.lookback=260", "universe.min_bars=300")),
    "the pool of all scanners": (SHORT, ("pool=superset", "data.lookback=300", "universe.min_bars=310")),
    "a first decision that needs more than the lookback": (LONG, ("data.lookback=300", "walk_forward.train=330")),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("live"))


def request_of(home, profile, settings):
    catalog = settings_of(settings=settings)
    [request] = requests(home, catalog, lay_foundation(home, catalog, "sample"), [profile])
    return request


@pytest.mark.parametrize("case", SETTINGS)
def test_what_the_steps_write_is_what_the_walk_forward_decides_on_that_day(home, case):
    request = request_of(home, *SETTINGS[case])
    assert execute(request, steps=STEPS[:10]).error is None
    market = load_market(request.lake_folder, request.head, request.as_of, history_days(request.profile, request.as_of))

    def walking(known):
        return decide(known, request.profile, request.scanners)

    decided = decide_row(market, request.profile, walking, len(market.days) - 1)
    raw = load(RawCandidates, request.run / layout.RAW)
    assert decided.discovery.candidates == raw.candidates
    assert raw.candidates
    assert decided.selection.audit() == load(SelectionAudit, request.run / layout.SELECTION)
    streams = pl.read_parquet(request.run / layout.SYNTHETIC)
    assert streams.columns[1:] == [atom.id for atom in decided.selection.winner_atoms]
    assert np.array_equal(streams.drop("date").fill_null(np.nan).to_numpy(), decided.selection.streams, equal_nan=True)
    for name, book in load(Flattened, request.run / layout.FLATTENED).profiles.items():
        assert {coin.Symbol: coin.Net_Weight for coin in book.assets if coin.Weight > 0} == decided.net[name]


def test_no_period_of_the_walk_forward_is_in_cash_for_want_of_days(home):
    """The sample's last decisions find coins live; so must those some days earlier, from as many days before them."""
    request = request_of(home, LONG, ("data.lookback=300", "universe.min_bars=320"))
    market = load_market(request.lake_folder, request.head, request.as_of, history_days(request.profile, request.as_of))
    last = rebalance_rows(market.days, request.profile.walk_forward)[-1]
    found = decide_row(market, request.profile, lambda known: decide(known, request.profile, request.scanners), last)
    assert found.reason is None
    assert found.summary["candidates"] > 20


def test_a_walk_forward_starts_where_its_bars_allow(home):
    settings = ("data.lookback=300", "walk_forward.train=320", "walk_forward.start=2023-12-01")
    request = request_of(home, LONG, settings)
    market = load_market(request.lake_folder, request.head, request.as_of, history_days(request.profile, request.as_of))
    rows = rebalance_rows(market.days, request.profile.walk_forward)
    assert str(market.days[rows[0]]) == "2023-12-01"  # the sample begins on 2023-01-01: 334 bars before
    early = request_of(home, LONG, (*settings[:2], "walk_forward.start=2023-11-01"))
    market = load_market(early.lake_folder, early.head, early.as_of, history_days(early.profile, early.as_of))
    with pytest.raises(DataError, match="cannot start on 2023-11-01"):
        rebalance_rows(market.days, early.profile.walk_forward)


FAULTS = {
    "out of range": {"recommend_all": 1.5, "recommend_ma": 1.5, "recommend_other": 1.5},
    "not the mean of its parts": {"recommend_all": 0.75, "recommend_ma": 0.5, "recommend_other": 0.5},
    "a part is not known": {"recommend_ma": np.nan},
    "an oscillator out of range": {"adx": 101.0},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rating_that_cannot_be_is_vetoed_wherever_it_is_decided(home, fault):
    """L1 drops such a row live; the decision leaves the coin out by itself, and so in every walk-forward too."""
    request = request_of(home, LONG, ())
    market = load_market(request.lake_folder, request.head, request.as_of, 500)
    honest = decide(market, request.profile, request.scanners)
    atom = honest.selection.winner_atoms[0]
    fields = dict(market.fields)
    for name, value in FAULTS[fault].items():
        fields[name] = fields[name].copy()
        fields[name][-1, market.column(atom.symbol)] = value
    assert atom.symbol not in decision.ill_health(market, {atom.symbol})
    broken = replace(market, fields=fields)
    assert decision.ill_health(broken, {atom.symbol})[atom.symbol].startswith("TOXIC")
    assert atom not in decide(broken, request.profile, request.scanners).selection.winner_atoms
