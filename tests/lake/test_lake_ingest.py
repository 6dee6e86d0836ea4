"""Whatever way a lake came to its bars, it is the lake that one ingestion of them from nothing makes."""

import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from assay.base.domain import UTC
from assay.base.errors import SourceError, UsageError
from assay.base.files import content_hash_table
from assay.lake import ingest as ingest_module
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.schema import BARS, INSTRUMENTS, KEYS, QUARANTINE
from assay.ratings import RATING_SCHEMA
from assay.sources import open_source
from assay.sources.base import SourceRead

START = dt.datetime(2021, 1, 1, tzinfo=UTC)
DAY = dt.timedelta(days=1)
BTC, ETH = "BINANCE:BTCUSDT", "BINANCE:ETHUSDT"


def content(lake):
    """Content hashes of what a lake's last state holds of market data."""
    snapshot = lake.latest()
    return tuple(
        content_hash_table(table, KEYS[name])
        for name, table in (("bars", snapshot.bars()), ("ratings", snapshot.ratings()))
    )


@dataclass
class Case:
    """A file, its lake, and a lake made anew from the same file."""

    folder: Path
    n: int = 0

    @property
    def path(self):
        return self.folder / "bars.parquet"

    @property
    def lake(self):
        return Lake(self.folder / "home", f"parquet:{self.path}")

    def load(self, table):
        table.write_parquet(self.path)
        return ingest(self.lake)

    def check(self):
        self.n += 1
        anew = Lake(self.folder / f"anew{self.n}", f"parquet:{self.path}")
        ingest(anew)
        assert content(self.lake) == content(anew)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def on(symbol, day):
    return (pl.col("symbol") == symbol) & (pl.col("timestamp") == START + day * DAY)


def edited(table, where, **values):
    return table.with_columns(
        pl.when(where).then(pl.lit(value, dtype=pl.Float64)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def test_a_second_ingestion_writes_nothing(case, market_bars):
    first = case.load(market_bars)
    before = {path: path.stat().st_mtime_ns for path in case.lake.folder.rglob("*") if path.name != ".lock"}
    again = ingest(case.lake)
    assert (first.changed, again.changed, again.head) == (True, False, 1)
    assert before == {path: path.stat().st_mtime_ns for path in case.lake.folder.rglob("*") if path.name != ".lock"}
    wanted = replace(first, changed=False, added=0)
    assert again == wanted
    assert again.as_dict()["rows"] == 960


def test_the_report_counts_what_was_done(case, market_bars):
    first = case.load(market_bars.filter(pl.col("timestamp") < START + 300 * DAY))
    assert (first.added, first.repaired, first.removed, first.rows, first.symbols) == (900, 0, 0, 900, 3)
    table = market_bars.filter(~on(ETH, 10))
    table = edited(table, on(BTC, 20), volume=1.0)
    table = edited(table, on(BTC, 30), close=-1.0)
    second = case.load(table)
    assert (second.added, second.repaired, second.removed, second.rows) == (60, 1, 2, 958)
    assert second.quarantined == 1
    assert [finding.code for finding in second.findings] == ["QUARANTINE_NON_POSITIVE", "VANISHED"]
    assert set(second.seconds) == {"read", "compare", "ratings", "write"}
    assert "seconds" not in second.as_dict()


@pytest.mark.parametrize("cut", [1, 199, 200, 231, 232, 233, 260, 261, 319])
def test_new_days_give_what_a_full_load_gives(case, market_bars, cut):
    until = START + cut * DAY
    if cut == 1:
        until += DAY  # an interval needs two bars
    case.load(market_bars.filter(pl.col("timestamp") < until))
    report = case.load(market_bars)
    assert (report.repaired, report.removed) == (0, 0)
    case.check()


def test_day_after_day_gives_what_a_full_load_gives(case, market_bars):
    for last in range(292, 298):
        report = case.load(market_bars.filter(pl.col("timestamp") < START + last * DAY))
    assert report.added == 3
    assert report.head == 6
    case.check()


def test_an_append_writes_only_the_new_rows(case, market_bars):
    case.load(market_bars.filter(pl.col("timestamp") < START + 319 * DAY))
    before = set(case.lake.folder.rglob("*.parquet"))
    case.load(market_bars)
    new = set(case.lake.folder.rglob("*.parquet")) - before
    assert sorted(pl.read_parquet(path, hive_partitioning=False).height for path in new) == [3, 3]


CHANGES = {
    "repair": lambda table: edited(table, on(BTC, 250), close=90.0, high=1e3, low=1.0),
    "repair of volume": lambda table: edited(table, on(BTC, 5), volume=0.0),
    "removal inside": lambda table: table.filter(~on(BTC, 100)),
    "removal at the end": lambda table: table.filter(~on(BTC, 319)),
    "removal of a symbol": lambda table: table.filter(pl.col("symbol") != ETH),
    "new listing by a gap": lambda table: table.filter(
        (pl.col("symbol") != BTC) | ~pl.col("timestamp").is_between(START + 100 * DAY, START + 102 * DAY)
    ),
    "new symbol": lambda table: pl.concat(
        [table, table.filter(pl.col("symbol") == BTC).with_columns(symbol=pl.lit("BINANCE:XUSDT"))]
    ),
    "new symbol with a short past": lambda table: pl.concat(
        [table, table.filter(pl.col("symbol") == BTC).tail(5).with_columns(symbol=pl.lit("BINANCE:XUSDT"))]
    ),
    "quote volume gone": lambda table: table.drop("quote_volume"),
    "a row in quarantine": lambda table: edited(table, on(ETH, 318), low=0.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_give_what_a_full_load_gives_and_back_again(case, market_bars, name):
    case.load(market_bars)
    original = content(case.lake)
    case.load(CHANGES[name](market_bars))
    assert content(case.lake) != original
    case.check()
    back = case.load(market_bars)
    assert back.head == 3
    assert content(case.lake) == original


def test_bars_filled_into_a_gap_move_the_listings_after_it(case, market_bars):
    gap = CHANGES["new listing by a gap"]
    case.load(gap(market_bars))
    bars = case.lake.latest().bars(symbols=[BTC])
    assert bars["listing"].to_list() == [0] * 100 + [1] * 217
    report = case.load(market_bars)
    assert (report.added, report.repaired) == (3, 0)
    assert case.lake.latest().bars()["listing"].unique().to_list() == [0]
    case.check()


def test_long_quiet_tails_and_two_listings_extend_right(case, market_bars):
    """Many bars without volume just before the new day, and a listing that began inside the tail."""
    quiet = (pl.col("symbol") == BTC) & pl.col("timestamp").is_between(START + 150 * DAY, START + 310 * DAY)
    table = edited(market_bars, quiet, volume=0.0, quote_volume=0.0)
    gap = (pl.col("symbol") == ETH) & pl.col("timestamp").is_between(START + 280 * DAY, START + 290 * DAY)
    table = table.filter(~gap)
    for last in (312, 315, 320):
        case.load(table.filter(pl.col("timestamp") < START + last * DAY))
        case.check()


edits = st.lists(
    st.tuples(
        st.sampled_from(["repair", "remove", "quiet", "break", "cut"]),
        st.sampled_from(["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]),
        st.integers(0, 319),
    ),
    max_size=4,
)


def apply(table, kind, symbol, day):
    match kind:
        case "repair":
            return edited(table, on(symbol, day), high=1e4)
        case "remove":
            return table.filter(~on(symbol, day))
        case "quiet":
            return edited(table, on(symbol, day), volume=0.0, quote_volume=0.0)
        case "break":
            return edited(table, on(symbol, day), open=float("nan"))
    return table.filter((pl.col("symbol") != symbol) | (pl.col("timestamp") <= START + (day + 2) * DAY))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=edits, second=edits, days=st.integers(255, 320))
def test_any_history_of_edits_gives_what_a_full_load_gives(tmp_path_factory, market_bars, first, second, days):
    case = Case(tmp_path_factory.mktemp("edits"))
    table = market_bars.filter(pl.col("timestamp") < START + days * DAY)
    for edit in first:
        table = apply(table, *edit)
    case.load(table)
    table = market_bars
    for edit in [*first, *second]:
        table = apply(table, *edit)
    case.load(table)
    case.check()


def test_ratings_cover_exactly_the_bars_with_volume(case, market_bars):
    table = edited(market_bars, on(BTC, 5), volume=0.0, quote_volume=0.0)
    case.load(table)
    snapshot = case.lake.latest()
    assert snapshot.bars().height == 960
    ratings = snapshot.ratings(columns=["symbol", "open_time", "listing"])
    wanted = snapshot.bars().filter(pl.col("volume") > 0).select("symbol", "open_time", "listing")
    assert ratings.sort("open_time", "symbol").equals(wanted)


def test_ratings_of_other_columns_are_made_anew(case, market_bars):
    case.load(market_bars)
    snapshot = case.lake.latest()
    older = snapshot.ratings().drop("bar")
    case.lake.commit([ingest_module.TableChange("ratings", older, replace=True)])
    report = ingest(case.lake)
    assert report.changed
    assert case.lake.latest().ratings().columns == list(RATING_SCHEMA)
    case.check()


def test_a_source_that_turns_to_another_interval_starts_anew(case, market_bars):
    case.load(market_bars)
    hours = market_bars.with_columns(pl.lit(START).cast(pl.Datetime("ms", "UTC")) + (pl.col("timestamp") - START) / 24)
    report = case.load(hours.with_columns(timestamp=pl.col("literal")).drop("literal"))
    assert (report.interval, report.rows, report.head) == ("1h", 960, 2)
    assert case.lake.pin(1).bars().height == 960
    assert case.lake.pin(1).interval == "1d"
    case.check()


def test_a_failed_reading_leaves_the_lake_as_it_was(case, market_bars):
    case.load(market_bars)
    before = content(case.lake)
    case.path.write_bytes(b"nonsense")
    with pytest.raises(SourceError):
        ingest(case.lake)
    case.path.unlink()
    with pytest.raises(SourceError):
        ingest(case.lake)
    assert content(case.lake) == before
    assert len(case.lake.heads()) == 1


def test_quarantine_is_of_the_state_and_keeps_the_raw_rows(case, market_bars):
    case.load(edited(market_bars, on(ETH, 7), low=-3.0))
    case.load(market_bars)
    (found,) = case.lake.pin(1).quarantine().iter_rows(named=True)
    assert (found["symbol"], found["open_time"], found["reason"]) == (ETH, START + 7 * DAY, "NON_POSITIVE")
    assert '"low": -3.0' in found["raw"]
    assert case.lake.latest().quarantine().is_empty()
    assert dict(case.lake.latest().quarantine().schema) == QUARANTINE


def test_progress_tells_every_stage(case, market_bars):
    market_bars.write_parquet(case.path)
    told = []
    ingest(case.lake, progress=lambda *step: told.append(step))
    assert told == [("read", 0, 0), ("read", 0, 0)] + [
        (stage, done, 960) for stage in ("compare", "ratings", "write") for done in (0, 960)
    ]


def test_another_lakes_source_is_refused(case, market_bars):
    with pytest.raises(UsageError, match="a lake of its own"):
        ingest(case.lake, open_source("sample"))


@dataclass
class Feed:
    """A source that gives only what is new, as an exchange does."""

    bars: pl.DataFrame
    rejected: pl.DataFrame
    instruments: pl.DataFrame | None = None
    name: str = "feed"
    kind: str = "feed"
    identity: str = "0123456789abcdef"

    def fingerprint(self):
        return hashlib.sha256(content_hash_table(self.bars, ["symbol", "open_time"]).encode()).hexdigest()

    def read(self, held=None):
        return SourceRead(
            self.bars, self.rejected, "1d", self.fingerprint(), complete=False, instruments=self.instruments
        )


@pytest.fixture
def whole(parquet, market_bars):
    return open_source(parquet(market_bars)).read()


def rejected(row):
    rows = {"source": "feed", "row": [row], "symbol": None, "open_time": None, "reason": "NULL", "raw": "{}"}
    return pl.DataFrame(rows, schema=QUARANTINE)


def test_a_source_that_gives_only_news_keeps_what_it_does_not_mention(tmp_path, whole):
    bars = whole.bars
    early, late = (
        bars.filter(pl.col("open_time") < START + 300 * DAY),
        bars.filter(pl.col("open_time") >= START + 299 * DAY),
    )
    lake = Lake(tmp_path / "home", Feed(early, rejected(1)))
    ingest(lake)
    report = ingest(lake, Feed(late, rejected(2)))
    assert (report.added, report.repaired, report.removed, report.rows) == (60, 0, 0, 960)
    fixed = bars.filter((pl.col("symbol") == BTC) & (pl.col("open_time") == START + 50 * DAY)).with_columns(
        high=pl.lit(1e4)
    )
    report = ingest(lake, Feed(fixed, rejected(3).clear()))
    assert (report.added, report.repaired, report.removed, report.rows) == (0, 1, 0, 960)
    assert lake.latest().quarantine()["row"].to_list() == [1, 2]
    at_once = Lake(
        tmp_path / "anew",
        Feed(pl.concat([bars.join(fixed, on=["symbol", "open_time"], how="anti"), fixed]), rejected(1)),
    )
    ingest(at_once)
    assert content(lake) == content(at_once)


def test_instruments_are_stored_where_the_source_has_them(tmp_path, whole):
    row = {"symbol": BTC, "base": "BTC", "quote": "USDT", "status": "TRADING", "tick_size": 0.01, "valid_from": START}
    table = pl.DataFrame([row], schema=INSTRUMENTS)
    lake = Lake(tmp_path / "home", Feed(whole.bars, whole.rejected, table))
    ingest(lake)
    assert lake.latest().instruments().equals(table)
    assert lake.latest().market().instruments.height == 1


def test_bars_have_the_columns_that_are_told(case, market_bars):
    case.load(market_bars)
    bars = case.lake.latest().bars()
    assert dict(bars.schema) == BARS
    assert bars.select("open_time", "symbol").rows() == sorted(bars.select("open_time", "symbol").rows())
    assert bars["source"].unique().to_list() == ["parquet"]


def test_the_shared_bars_load_whole(shared_lake):
    lake, report = shared_lake
    assert (report.rows, report.symbols, report.quarantined, report.findings) == (436_404, 442, 0, ())
    assert report.last_close == dt.datetime(2024, 7, 1, tzinfo=UTC)
    assert ingest(lake).changed is False
