"""What decisions of a market have in common is worked out once, and none of them may tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.backtest.decision import Decision, decide
from assay.backtest.walk_forward import close_of
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.health import health_flags
from assay.market.panel import Market
from assay.settings import load
from assay.sources import open_source

CATALOG = load()
PROFILES = [CATALOG.profile(name) for name in CATALOG.flow("binance-spot-ratings")]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Market:
    source = open_source("sample")
    lake = Lake(tmp_path_factory.mktemp("lake"), source)
    snapshot = lake.pin(ingest(lake, source, None).head)
    return snapshot.market(snapshot.last_close(), 400)


def alone(market: Market) -> Market:
    """The same days in arrays of their own, so that nothing of any other day is within reach."""
    return replace(
        market,
        days=market.days.copy(),
        fields={name: values.copy() for name, values in market.fields.items()},
        listing=market.listing.copy(),
    )


def content(decision: Decision) -> list[object]:
    told: list[object] = [decision.net, decision.unguarded, decision.summary, decision.loss_makers, decision.dropped]
    told += [decision.discovery]
    if decision.selection is not None:
        told += [decision.selection.fates, decision.selection.winners_document(), decision.selection.audit()]
        told += [(name, values.tobytes()) for name, values in decision.selection.inference.items()]
    for allocations in (decision.guarded_on_atoms, decision.unguarded_on_atoms):
        told += [(n, a.weights.tobytes(), a.solver, a.events) for n, a in (allocations or {}).items()]
    return told


def spoilt(market: Market, seed: int) -> Market:
    """Holes of coins and of the whole market, jumps, impossible prices, frozen closes and refused rows."""
    rng = np.random.default_rng(seed)
    fields, listing = {name: values.copy() for name, values in market.fields.items()}, market.listing.copy()
    refused = []
    for column in rng.choice(len(market.symbols), 60, replace=False).tolist():
        row = int(rng.integers(250, len(market.days)))
        kind = int(rng.integers(5))
        if kind == 0:
            fields["close"][row, column] *= 9.0
            fields["high"][row, column] *= 9.0
        elif kind == 1:
            fields["low"][row, column] = fields["high"][row, column] * 2.0
        elif kind == 2:
            fields["close"][row - 6 : row, column] = fields["close"][row - 6, column]
        else:
            gone = slice(row, row + int(rng.integers(1, 12)))
            listing[gone, column] = -1
            for values in fields.values():
                values[gone, column] = np.nan
            if kind == 4:
                refused.append((market.symbols[column], market.days[row].astype("datetime64[us]").item()))
    if seed % 2:
        listing[330:332] = -1
        for values in fields.values():
            values[330:332] = np.nan
    schema = {"symbol": pl.String, "open_time": pl.Datetime("us"), "reason": pl.String}
    rows = [(symbol, at, "INCONSISTENT_OHLC" if seed % 3 else "DUPLICATE") for symbol, at in refused]
    quarantine = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("open_time").dt.replace_time_zone("UTC")
    )
    return replace(market, fields=fields, listing=listing, quarantine=quarantine if refused else None)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_decision_alone_is_the_decision_within_a_walk(sample, profile):
    for row in (260, 300, 301, 371, len(sample.days) - 2):
        within = sample.until(close_of(sample.days[row]), profile.sight_days)
        shared = decide(within, profile, CATALOG.scanners())
        assert shared.selection is not None
        assert content(shared) == content(decide(alone(within), profile, CATALOG.scanners()))


def test_a_decision_without_unguarded_weights_is_the_same_but_for_them(sample):
    profile = PROFILES[0]
    known = sample.until(close_of(sample.days[300]), profile.sight_days)
    whole = decide(known, profile, CATALOG.scanners())
    less = decide(known, profile, CATALOG.scanners(), unguarded=False)
    assert whole.unguarded
    assert less.unguarded == {}
    assert content(replace(whole, unguarded_on_atoms=None)) == content(less)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_health_of_a_window_does_not_depend_on_what_it_was_cut_from(sample, seed):
    market = spoilt(sample, seed)
    for row in (255, 331, 340, len(market.days) - 1):
        window = market.until(close_of(market.days[row]), 200)
        cut, own = health_flags(window, window.rejections()), health_flags(alone(window), window.rejections())
        for name in ("last", "overdue", "lacking", "jumps", "broken", "flat"):
            np.testing.assert_array_equal(getattr(cut, name), getattr(own, name), err_msg=name)
        np.testing.assert_array_equal(window.returns(), alone(window).returns())


def test_days_that_were_replaced_are_worked_out_anew(sample):
    window = sample.until(close_of(sample.days[300]))
    assert window.returns()[1:].any()
    other = replace(window, fields={**window.fields, "close": np.ones_like(window["close"])})
    assert np.nansum(np.abs(other.returns())) == 0.0
