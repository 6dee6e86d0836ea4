"""One rating, taken apart."""

from __future__ import annotations

import datetime as dt
import json

import naive_ratings
import polars as pl
import pytest

from assay.base.domain import INTERVALS, UTC
from assay.base.errors import DataError, UsageError
from assay.ratings import VOTES, explain, rate

AS_OF = dt.datetime(2020, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize("edition", ["2026", "2021"])
def test_equals_the_table(walks, edition):
    bars = walks(8, 300)
    found = explain(bars, "1d", AS_OF, edition)
    row = rate(bars, "1d", edition).filter(pl.col("open_time") == found.bar_open).row(0, named=True)
    assert found.bar_open == dt.datetime(2020, 9, 30, tzinfo=UTC)
    assert found.ratings == {name: row[f"recommend_{name}"] for name in ("all", "ma", "other")}
    assert {name: evidence.vote for name, evidence in found.votes.items()} == {n: row[f"vote_{n}"] for n in VOTES}
    assert found.edition == row["edition"] == edition
    assert found.votes["rsi"].inputs["rsi"] == row["rsi"]
    assert found.votes["macd"].inputs["macd_signal"] == row["macd_signal"]


def test_an_edition_rates_by_its_own_rules(walks):
    """By the plain rules; the second is a seed on which the two editions differ on that day."""
    bars = walks(1, 300)
    plain = [bars.head(274)[name].to_list() for name in ("high", "low", "close", "volume")]
    told = {}
    for edition in ("2026", "2021"):
        _, cast, both, _, other = naive_ratings.ratings(*plain, edition)
        found = explain(bars, "1d", AS_OF, edition)
        assert {name: evidence.vote for name, evidence in found.votes.items()} == {n: cast[n][-1] for n in VOTES}
        assert found.ratings["all"] == pytest.approx(both[-1], abs=1e-14)
        assert found.ratings["other"] == pytest.approx(other[-1], abs=1e-14)
        told[edition] = found.ratings
    assert told["2026"] != told["2021"]


@pytest.mark.parametrize("edition", ["2026", "2021"])
def test_inputs_are_the_indicator_values(walks, edition):
    bars = walks(3, 300)
    plain, *_ = naive_ratings.ratings(*[bars.head(274)[name].to_list() for name in ("high", "low", "close", "volume")])
    for evidence in explain(bars, "1d", AS_OF, edition).votes.values():
        for name, value in evidence.inputs.items():
            assert value == pytest.approx(plain[name][-1], rel=1e-9, abs=1e-9), name


def test_json_has_the_documented_shape(walks):
    answer = json.loads(json.dumps(explain(walks(8, 30), "1d", AS_OF).as_dict(), allow_nan=False))
    assert list(answer) == ["symbol", "interval", "as_of", "bar_open", "ratings", "votes"]
    assert answer["symbol"] == "BINANCE:C000USDT"
    assert (answer["as_of"], answer["bar_open"]) == ("2020-10-01T00:00:00Z", "2020-01-30T00:00:00Z")
    assert list(answer["ratings"]) == ["all", "ma", "other"]
    assert list(answer["votes"]) == list(VOTES)
    assert all(set(vote) == {"vote", "inputs"} for vote in answer["votes"].values())
    assert answer["votes"]["sma_200"] == {
        "vote": None,
        "inputs": {"sma_200": None, "close": answer["votes"]["sma_10"]["inputs"]["close"]},
    }


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_uses_closed_bars_only(walks, interval):
    length = INTERVALS[interval]
    start = dt.datetime(2024, 1, 1, tzinfo=UTC)
    bars = walks(6, 80).with_columns(
        pl.Series("open_time", [start + i * length for i in range(80)]), pl.lit(interval).alias("interval")
    )
    closes = start + 60 * length
    assert explain(bars, interval, closes).bar_open == closes - length
    assert explain(bars, interval, closes - dt.timedelta(seconds=1)).bar_open == closes - 2 * length
    assert explain(bars, interval, closes).votes == explain(bars.head(60), interval, closes).votes


def test_last_bar_with_volume_is_rated(walks):
    bars = walks(6, 80)
    quiet = bars.with_columns(pl.when(pl.int_range(80) == 79).then(0.0).otherwise(pl.col("volume")).alias("volume"))
    assert explain(quiet, "1d", AS_OF).bar_open == bars["open_time"][78]


def test_only_the_last_listing_counts(walks):
    bars = walks(6, 200)
    second = bars.slice(120)
    gone = pl.concat([bars.head(100), second])
    assert explain(gone, "1d", AS_OF).votes == explain(second, "1d", AS_OF).votes


def test_as_of_may_be_in_another_zone(walks):
    bars = walks(6, 80)
    instant = dt.datetime(2020, 3, 1, tzinfo=UTC)
    there = instant.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert explain(bars, "1d", there).as_dict() == explain(bars, "1d", instant).as_dict()


def test_what_cannot_be_explained_is_said(walks):
    bars = walks(6, 80, 2)
    one = bars.head(80)
    with pytest.raises(DataError, match="no 1d bar with volume had closed by 2020-01-01"):
        explain(one, "1d", dt.datetime(2020, 1, 1, 23, 59, tzinfo=UTC))
    with pytest.raises(DataError, match="no 1h bar"):
        explain(one, "1h", AS_OF)
    with pytest.raises(UsageError, match="unknown interval"):
        explain(one, "9d", AS_OF)
    with pytest.raises(UsageError, match="bars of 2 symbols") as caught:
        explain(bars, "1d", AS_OF)
    assert (caught.value.where, caught.value.hint) == ("BINANCE:C000USDT, BINANCE:C001USDT", "pass one symbol's bars")
    with pytest.raises(UsageError, match="unknown edition"):
        explain(one, "1d", AS_OF, "mixed")
    with pytest.raises(UsageError, match="no time zone"):
        explain(one, "1d", dt.datetime(2020, 2, 1))  # noqa: DTZ001 - the fault under test
