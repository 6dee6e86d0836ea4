"""Rates of borrowing: from a file into the lake, from there to who decides and who is charged."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from assay.backtest.decision import decide
from assay.backtest.perturbations import KINDS, perturb
from assay.backtest.walk_forward import hold, prices_of, walk_forward
from assay.base.domain import UTC
from assay.base.errors import DataError, UsageError
from assay.cli import app
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.loader import keep_rates
from assay.lake.snapshot import InMemorySnapshot
from assay.market.borrow import AGE, HOLDS, RATE, last_rates, panels, rate_gaps, rates_at, rates_in_force
from assay.market.costs import daily_costs
from assay.market.schema import BORROW
from assay.pipeline.causality import read_tables
from assay.settings import load
from assay.settings.model import Costs
from assay.sources import open_source
from assay.sources.borrow import read_rates

SHORT = "binance_spot_rating_all_short"


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def table(rows: list[tuple]) -> pl.DataFrame:
    """Rows (base, from, rate, known_at)."""
    told = [(base, at(begin), rate, "made", at(known)) for base, begin, rate, known in rows]
    return pl.DataFrame(told, schema=BORROW, orient="row")


DAYS = np.arange(np.datetime64("2023-01-01"), np.datetime64("2023-03-15"))


def known(rows: list[tuple], day: str, base: str = "BTC") -> tuple[float, float]:
    found = panels(table(rows), [f"BINANCE:{base}USDT"], DAYS)
    where = int((np.datetime64(day) - DAYS[0]).astype(int))
    return float(found[RATE][where, 0]), float(found[AGE][where, 0])


def test_a_rate_holds_from_its_day_until_the_next():
    rows = [("BTC", "2023-01-05", 0.05, "2023-01-05"), ("BTC", "2023-01-10", 0.07, "2023-01-10")]
    assert np.isnan(known(rows, "2023-01-04")[0])
    assert known(rows, "2023-01-05") == (0.05, 0.0)
    assert known(rows, "2023-01-09") == (0.05, 4.0)
    assert known(rows, "2023-01-10") == (0.07, 0.0)
    assert np.isnan(known(rows, "2023-01-10", "ETH")[0])


def test_the_last_known_stands_in_for_thirty_days():
    rows = [("BTC", "2023-01-05", 0.05, "2023-01-05")]
    assert HOLDS == 30
    assert known(rows, "2023-02-04") == (0.05, 30.0)
    assert np.isnan(known(rows, "2023-02-05")[0])


def test_a_rate_counts_from_when_it_was_known():
    """Known at 09:00 of the 8th: at the close of the 8th it is, of the 7th not; at midnight it is a day earlier."""
    rows = [("BTC", "2023-01-01", 0.02, "2023-01-01"), ("BTC", "2023-01-05", 0.05, "2023-01-08T09:00")]
    assert known(rows, "2023-01-07") == (0.02, 6.0)
    assert known(rows, "2023-01-08") == (0.05, 3.0)
    at_midnight = [rows[0], ("BTC", "2023-01-05", 0.05, "2023-01-08")]
    assert known(at_midnight, "2023-01-07") == (0.05, 2.0)


def test_what_is_known_late_does_not_undo_what_began_later():
    rows = [("BTC", "2023-01-05", 0.05, "2023-01-20"), ("BTC", "2023-01-10", 0.07, "2023-01-10")]
    assert known(rows, "2023-01-25") == (0.07, 15.0)


def test_a_correction_counts_from_when_it_was_known():
    rows = [("BTC", "2023-01-05", 0.05, "2023-01-05"), ("BTC", "2023-01-05", 0.06, "2023-01-09T12:00")]
    assert known(rows, "2023-01-08")[0] == 0.05
    assert known(rows, "2023-01-09")[0] == 0.06


def test_panels_are_what_a_loop_over_rows_says():
    rng = np.random.default_rng(3)
    rows = []
    for base in ("AAA", "BBB", "CCC"):
        for begin in rng.choice(len(DAYS), 12, replace=False).tolist():
            late = int(rng.integers(0, 15 * 24))
            begins = DAYS[begin].astype("datetime64[s]").item()
            rows.append(
                (base, begins.isoformat(), float(rng.random()), (begins + dt.timedelta(hours=late)).isoformat())
            )
    found = panels(table(rows), ["BINANCE:BBBUSDT", "BINANCE:AAAUSDC", "nonsense", "BINANCE:DDDUSDT"], DAYS)
    for column, base in enumerate(("BBB", "AAA", None, "DDD")):
        for row, day in enumerate(DAYS):
            close = (day + 1).astype("datetime64[s]").item().replace(tzinfo=UTC)
            told = [r for r in rows if r[0] == base and at(r[3]) <= close and at(r[1]) < close]
            last = max(told, key=lambda r: (r[1], r[3]), default=None)
            age = None if last is None else (close - at(last[1])).days - 1
            wanted = np.nan if last is None or age > HOLDS else last[2]
            np.testing.assert_equal(found[RATE][row, column], wanted)


def test_an_empty_table_knows_nothing():
    assert np.isnan(panels(table([]), ["BINANCE:BTCUSDT"], DAYS)[RATE]).all()


# ---- a file ---------------------------------------------------------------------------------------------------------


def test_a_csv_needs_base_from_and_rate(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("base,from,rate\nBTC,2023-01-05,0.05\nETH,2023-01-06,0.07\n")
    found = read_rates(path)
    assert found.schema == pl.Schema(BORROW)
    assert found["from"].to_list() == found["known_at"].to_list() == [at("2023-01-05"), at("2023-01-06")]
    assert found["source"].to_list() == ["rates.csv"] * 2
    found.write_parquet(tmp_path / "rates.parquet")
    assert read_rates(tmp_path / "rates.parquet").equals(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base,rate\nBTC,0.05\n", "no column from"),
        ("base,from,rate\nBTC,2023-01-05,-0.05\n", "below 0"),
        ("base,from,rate\nBTC,2023-01-05,\n", "lack a value"),
        ("base,from,rate\nBTC,2023-01-05,much\n", "another kind"),
        ("base,from,rate\nBTC,soon,0.05\n", "another kind"),
        ("base,from,rate\nBTC,2023-01-05,0.05\nBTC,2023-01-05,0.06\n", "different rates of BTC from 2023-01-05"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(tmp_path, text, words):
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_rates(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError):
        read_rates(tmp_path / "rates.csv")


# ---- the lake and its readers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    source = open_source("sample")
    made = Lake(tmp_path_factory.mktemp("rates"), source)
    ingest(made, source, None)
    return made


@pytest.fixture(scope="module")
def rates(lake: Lake) -> pl.DataFrame:
    """Dear rates of every second base, of every fortieth day, known in the evening."""
    symbols = lake.latest().bars(columns=("symbol",))["symbol"].unique().sort().to_list()
    bases = [symbol.removeprefix("BINANCE:").removesuffix("USDT") for symbol in symbols][::2]
    days = [f"2023-{month:02d}-{day:02d}" for month in range(1, 13) for day in (1, 20)]
    return table([(base, day, 3.0, f"{day}T18:00") for base in bases for day in days])


@pytest.fixture(scope="module")
def heads(lake: Lake, rates: pl.DataFrame) -> tuple[int, int]:
    """The lake before and after it has rates."""
    before = lake.latest().head
    after, changed = keep_rates(lake, rates)
    assert changed
    assert keep_rates(lake, rates) == (after, False)
    return before, after


def test_a_lake_without_rates_is_as_it_was(lake, heads):
    before = lake.pin(heads[0])
    assert before.borrow() is None
    market = before.market()
    assert RATE not in market.fields
    assert last_rates(market, [0]) is None
    assert rate_gaps(market, {}) is None
    assert (prices_of(market, Costs(borrow=0.2)).borrow == 0.2).all()


def test_rates_reach_who_decides_and_who_is_charged(lake, heads):
    snapshot = lake.pin(heads[1])
    market = snapshot.market()
    column = market.column("BINANCE:BTCUSDT")
    assert snapshot.changes() == []
    table_of = snapshot.borrow()
    assert table_of is not None
    some = [
        symbol
        for symbol in market.symbols
        if symbol.removesuffix("USDT").removeprefix("BINANCE:") in set(table_of["base"])
    ]
    day = int((np.datetime64("2023-12-20") - market.days[0]).astype(int))
    paid = prices_of(market, Costs()).borrow
    assert (paid[day, [market.column(symbol) for symbol in some]] == 3.0).all()
    assert set(np.unique(paid)) == {0.1, 3.0}
    assert np.array_equal(rates_in_force(market, 0.1), paid)
    known_then = market.until(at("2023-12-21"), 400)
    told = last_rates(known_then, [market.column(some[0]), column])
    np.testing.assert_equal(told, rates_at(table_of, [some[0], "BINANCE:BTCUSDT"], known_then.as_of))
    earlier = rates_at(table_of.filter(pl.col("known_at") <= at("2023-12-20")), some[:1], at("2023-12-20"))
    np.testing.assert_equal(last_rates(market.until(at("2023-12-20")), [market.column(some[0])]), earlier)


def test_dear_rates_veto_shorts_and_cost_the_book(lake, heads):
    """300 % a year on half of the coins: fewer of them are held, and those that are pay for it."""
    catalog = load(settings=["walk_forward.start=2023-11-01"])
    profile, scanners = catalog.profile(SHORT), catalog.scanners()
    cheap, dear = (lake.pin(head).market() for head in heads)
    held = dict.fromkeys(("cheap", "dear"), 0)
    for when in ("2023-10-22", "2023-11-02", "2023-11-21", "2023-12-02", "2023-12-22"):
        for name, market in (("cheap", cheap), ("dear", dear)):
            decision = decide(market.until(at(when), profile.sight_days), profile, scanners)
            row = int((np.datetime64(when) - dear.days[0]).astype(int)) - 1
            held[name] += sum(not np.isnan(dear[RATE][row, dear.column(coin)]) for coin in decision.net.get("hrp", {}))
    assert held["dear"] < held["cheap"]
    # The same decisions, charged by what is known: more borrow on every day with a short of a dear coin.
    result = walk_forward(cheap, profile, lambda known: decide(known, profile, scanners))
    again = replace(dear, as_of=cheap.as_of)
    paid = {}
    for market in (cheap, again):
        paid[RATE in market.fields] = hold(market, profile, result.rebalances).books["hrp"].borrow.sum()
    assert paid[True] > paid[False] > 0.0
    book = result.books["hrp"]
    gaps = rate_gaps(again, {"hrp": (book.rows, book.columns, book.quantities)})
    assert gaps is not None
    assert gaps["short_days"] == int((book.quantities < 0).sum())
    assert 0 < gaps["default"] < gaps["short_days"]
    assert 0 < gaps["last_known"] < gaps["short_days"]


def at_rates(lake, head: int, *more: float):
    """Decisions of one instant where every coin costs so much more a year than the profile says."""
    catalog = load()
    profile, scanners = catalog.profile(SHORT), catalog.scanners()
    market = lake.pin(head).market().until(at("2023-11-02"), profile.sight_days)
    blank = np.zeros(market.listing.shape)
    for dearer in more:
        rates = {RATE: blank + profile.costs.borrow + dearer, AGE: blank}
        yield decide(replace(market, fields={**market.fields, **rates}), profile, scanners)


def test_the_friction_veto_counts_the_rate_that_is_known(lake, heads):
    """At 2,000 % a year no short is worth holding."""
    one, other = at_rates(lake, heads[0], 0.0, 20.0)
    assert one.selection.winner_atoms
    assert not other.selection.winner_atoms


def test_the_guard_counts_the_rate_that_is_known(lake, heads):
    """Two points a year more than the profile's own: what its shorts earn a day is 0.02 / 365 less."""
    one, other = (decision.state for decision in at_rates(lake, heads[0], 0.0, 0.02))
    assert one is not None
    assert other is not None
    assert [atom.id for atom in one.atoms] == [atom.id for atom in other.atoms]
    np.testing.assert_allclose(one.guard.net_means - other.guard.net_means, 0.02 / 365, rtol=1e-9)


def test_costs_of_a_known_rate_and_of_none():
    costs = daily_costs(np.array([-1, -1, 1]), Costs(), 10, np.array([0.73, np.nan, 5.0]))
    assert costs.tolist() == pytest.approx([0.0003 + 0.002, 0.0003 + 0.1 / 365, 0.0003])


@pytest.mark.parametrize("kind", KINDS)
def test_another_future_of_rates_leaves_what_was_known(lake, heads, kind):
    snapshot = lake.pin(heads[1])
    tables = read_tables(snapshot)
    as_of = at("2023-12-01")
    other = perturb(tables, as_of, kind, np.random.default_rng(1))
    assert other.changed["borrow"] > 0
    market, stand = snapshot.market(), InMemorySnapshot.of(snapshot, other.tables)
    there = stand.market(min(market.as_of, stand.last_close()))
    rows = int((np.datetime64("2023-12-01") - market.days[0]).astype(int))
    both = [symbol for symbol in market.symbols if symbol in there.index]
    for name in (RATE, AGE):
        one, two = (m[name][:rows, [m.column(symbol) for symbol in both]] for m in (market, there))
        np.testing.assert_array_equal(one, two)


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_the_command_keeps_rates_of_a_file(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("base,from,rate\nBTC,2023-01-05,0.05\nETH,2023-01-06,0.07\n")
    home = str(tmp_path / "home")
    assert invoke("ingest", "--borrow", str(path), "--home", home).exit_code != 0  # no bars yet
    assert invoke("ingest", "--home", home).exit_code == 0
    told = json.loads(invoke("ingest", "--borrow", str(path), "--home", home, "--json").stdout)
    assert (told["rates"], told["bases"], told["changed"]) == (2, 2, True)
    again = invoke("ingest", "--borrow", str(path), "--home", home)
    assert "borrow: 2 rates of 2 bases, as before" in again.stdout
    assert invoke("ingest", "--borrow", str(path), "--facts", "--home", home).exit_code == 2
