"""Scans as data: recorded with the lake, read back for runs, sieved as our own ratings are."""

import datetime as dt
import shutil
from dataclasses import replace

import pytest
import screener_api
from exchange_server import Server
from live_lakes import few_coins
from screener_rows import book, pair

from assay.base.domain import UTC
from assay.base.errors import SourceError, UsageError
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.runs.documents import InvalidRecord
from assay.screening import reconcile as reconciling
from assay.screening.provider import Scanning
from assay.screening.recorded_scans import (
    ScanBatch,
    ScanResponse,
    from_frame,
    implausible,
    question,
    recorded,
    screen,
    to_frame,
)
from assay.settings import load

CLOSE = dt.datetime(2024, 1, 22, tzinfo=UTC)
"""Last close of the embedded sample."""
AFTER = CLOSE + dt.timedelta(minutes=5)
LONG = "binance_spot_rating_all_long"


def round_of(rows, scanned_at=AFTER, names=(LONG,), as_of=CLOSE):
    declared = load().scanners()
    answers = [ScanResponse(n, question(declared[n]), "{}", "00", len(rows), tuple(book(*rows).items())) for n in names]
    return ScanBatch(as_of, scanned_at, tuple(answers))


def screened(*rows, **changes):
    scanner = load().scanners()[LONG].model_copy(update=changes)
    found = round_of(rows)
    return screen(found.answers[0], found, scanner)


def names(result):
    return [candidate.symbol.removeprefix("BINANCE:") for candidate in result.candidates]


# --- the filtered ----------------------------------------------------------------------------------------------------


def test_order_is_rating_then_value_then_symbol():
    rows = [
        pair("AAA", rating=0.2),
        pair("DDD", rating=0.6, volume=2e5),
        pair("CCC", rating=0.6),
        pair("BBB", rating=0.6),
    ]
    result = screened(*rows)
    assert names(result) == ["BBBUSDT", "CCCUSDT", "DDDUSDT", "AAAUSDT"]
    assert [candidate.rank for candidate in result.candidates] == [1, 2, 3, 4]
    assert names(screened(*rows, limit=2)) == ["BBBUSDT", "CCCUSDT"]


def test_floors_exclusions_and_quotes_are_counted():
    rows = [
        pair("AAA"),
        pair("POOR", volume=1e4),
        pair("FLAT", **{"high[1]|1D": 10.0, "low[1]|1D": 10.0}),
        pair("USDC"),
        pair("BTCUP"),
        pair("JUP"),
        pair("AAA", "USDC", volume=2e6),
        pair("BBB", "USDC"),
    ]
    result = screened(*rows)
    assert names(result) == ["AAAUSDT", "BBBUSDC", "JUPUSDT"]
    dropped = {reason: n for reason, n in result.count.dropped.items() if n}
    assert dropped == {"value_traded": 1, "volatility": 1, "stablecoin": 1, "leveraged": 1, "merged_quote": 1}
    assert result.count.universe == len(rows)
    assert [(record.symbol, record.into) for record in result.merged] == [("BINANCE:AAAUSDC", "BINANCE:AAAUSDT")]


def test_records_that_do_not_answer_are_named():
    rows = [
        pair("AAA"),
        pair("BBB", exchange="KRAKEN"),
        pair("CCC", rating=-0.2),
        pair("DDD", rating=1.5, ma=0.2),
        pair("E E"),
        pair("FFF", type="swap"),
        pair("GGG", name="OTHER") | {"exchange": "BINANCE"},
        pair("HHH", **{"close[1]|1D": None}),
        pair("III", "EUR"),
    ]
    result = screened(*rows)
    assert names(result) == ["AAAUSDT"]
    assert {record.symbol: record.reason for record in result.invalid} == {
        "BINANCE:CCCUSDT": "Recommend.All[1]|1D = -0.2 does not meet the query",
        "BINANCE:DDDUSDT": "Recommend.All[1]|1D = 1.5 is outside [-1, 1]",
        "BINANCE:E EUSDT": "the symbol has white space",
        "BINANCE:FFFUSDT": "type is 'swap', not 'spot'",
        "BINANCE:HHHUSDT": "not a usable number: close = nan, value_traded = nan",
        "BINANCE:IIIEUR": "quoted in 'EUR', which was not asked for",
        "BINANCE:OTHER": "cannot split 'BINANCE:OTHER' into base and quote",
        "KRAKEN:BBBUSDT": "of KRAKEN, asked for was BINANCE",
    }
    assert result.count.universe == result.count.kept + sum(result.count.dropped.values())
    assert result.count.dropped["invalid"] == len(result.invalid) == 8
    assert isinstance(result.invalid[0], InvalidRecord)


def test_candidates_keep_closed_values_under_our_names_and_every_column_under_the_screeners():
    row = pair("AAA", rating=0.4, close=10.0, volume=1e6)
    [candidate] = screened(row).candidates
    ours = {name: candidate.fields[name] for name in ("close", "value_traded", "recommend_all", "volatility_d")}
    assert ours == {
        "close": 10.0,
        "value_traded": 1e7,
        "recommend_all": 0.4,
        "volatility_d": pytest.approx(100 * 5 / 97),
    }
    told = {f"{name}|1D" if name in ("open", "high", "low", "close", "volume") else name: row[name] for name in row}
    assert {name: candidate.fields[name] for name in told} == told
    assert (candidate.fields["Recommend.All[1]|1D"], candidate.fields["close|1D"]) == (0.4, 10.1)


# --- the table ----------------------------------------------------------------------------------------------------


def test_a_round_survives_the_table_with_every_field_request_and_hash():
    found = round_of([pair("AAA"), pair("日本")], names=(LONG, "binance_spot_rating_ma_long"))
    again = from_frame(to_frame(found).sample(fraction=1.0, shuffle=True, seed=1))
    assert again == found


def test_an_empty_scan_is_recorded_too():
    assert from_frame(to_frame(round_of([]))) == round_of([])


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A home whose lake holds six coins of the embedded sample."""
    folder = tmp_path_factory.mktemp("filled")
    source = few_coins(folder / "bars.parquet")
    ingest(Lake(folder / "home", source))
    return folder / "home", source


@pytest.fixture
def scanning(filled, tmp_path):
    """That lake in a home of its own, at the moment after its last close."""
    home, source = filled
    shutil.copytree(home / "lake", tmp_path / "lake")
    lake = Lake(tmp_path, source)

    def make(*settings, now=AFTER):
        catalog = load(settings=["scan.provider=tradingview", *settings])
        return Scanning(lake, catalog.scanners(), catalog.scan(), clock=lambda: now)

    return make


@pytest.fixture
def server():
    with Server() as made:
        made.screen = book(pair("BTC", rating=0.3, close=41580.33, volume=3e4), pair("ETH", rating=-0.4, volume=2e6))
        screener_api.register(made)
        yield made


def test_the_live_instant_is_asked_once_and_recorded(scanning, server):
    made = scanning(f"scan.screener.address={server.url}", "scan.screener.per_second=100")
    before = made.lake.latest()
    snapshot, answerer = made.answerer(before, CLOSE)
    assert (answerer.provider, answerer.asked, answerer.fallback) == ("tradingview", "tradingview", None)
    assert snapshot.head == before.head + 1
    assert len(server.log) == 4
    rows = snapshot.candidates()
    assert rows.filter(rows["rank"] == 0).height == 4
    assert set(rows["provider"]) == {"tradingview"}
    again, _ = made.answerer(snapshot, CLOSE)
    assert again.head == snapshot.head
    assert len(server.log) == 4


def test_a_recorded_scan_answers_without_a_network(scanning):
    offline = scanning("scan.screener.address=http://127.0.0.1:9", now=AFTER + dt.timedelta(days=900))
    offline.record(round_of([pair("BTC")], names=sorted(load().scanners())))
    snapshot, answerer = offline.answerer(offline.lake.latest(), CLOSE)
    found = answerer.scan(snapshot.market(CLOSE, 500), LONG, load().scanners()[LONG])
    assert names(found) == ["BTCUSDT"]


def test_the_last_of_several_rounds_counts_and_another_question_is_no_answer(scanning):
    made = scanning()
    everyone = sorted(load().scanners())
    made.record(round_of([pair("ETH")], names=everyone))
    made.record(round_of([pair("BTC")], scanned_at=AFTER + dt.timedelta(minutes=1), names=everyone))
    found = recorded(made.lake.latest(), CLOSE, load().scanners())
    assert found is not None
    assert found.scanned_at == AFTER + dt.timedelta(minutes=1)
    narrower = load(settings=['universe.quotes=["USDT"]']).scanners()
    assert recorded(made.lake.latest(), CLOSE, narrower) is None
    # Floors and limits are ours to apply: they may change without a new scan.
    assert recorded(made.lake.latest(), CLOSE, load(settings=[f"scanners.{LONG}.limit=7"]).scanners()) is not None


def test_a_past_instant_that_was_not_recorded_is_refused(scanning):
    made = scanning(now=AFTER + dt.timedelta(days=3))
    with pytest.raises(UsageError, match="2024-01-22") as caught:
        made.answerer(made.lake.latest(), CLOSE)
    assert caught.value.code == "SCAN_NOT_RECORDED"
    assert "scan.provider=ratings" in caught.value.hint


def test_without_leave_to_fall_back_an_unreachable_screener_ends_the_scan(scanning):
    made = scanning(
        "scan.screener.address=http://127.0.0.1:9", "scan.screener.attempts=1", "scan.screener.per_second=100"
    )
    with pytest.raises(SourceError) as caught:
        made.answerer(made.lake.latest(), CLOSE)
    assert caught.value.code == "SCREENER_UNREACHABLE"


def test_with_leave_our_ratings_answer_and_say_so(scanning):
    made = scanning(
        "scan.screener.address=http://127.0.0.1:9",
        "scan.screener.attempts=1",
        "scan.screener.per_second=100",
        "scan.fallback=true",
    )
    before = made.lake.latest()
    snapshot, answerer = made.answerer(before, CLOSE)
    assert snapshot.head == before.head
    assert (answerer.provider, answerer.asked) == ("ratings", "tradingview")
    assert "SCREENER_UNREACHABLE" in answerer.fallback


def test_a_pair_that_our_bars_know_to_be_too_young_is_dropped_and_an_unknown_one_stays(scanning):
    snapshot = scanning().lake.latest()
    found = round_of([pair("BTC"), pair("NEWCOIN")])
    scanner = load().scanners()[LONG]
    market = snapshot.market(CLOSE, 500)
    older = scanner.model_copy(update={"universe": scanner.universe.model_copy(update={"min_bars": 400})})
    assert names(screen(found.answers[0], found, older, market)) == ["NEWCOINUSDT"]
    assert names(screen(found.answers[0], found, scanner, market)) == ["BTCUSDT", "NEWCOINUSDT"]


# --- answers that cannot be true -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """The lake of all coins of the embedded sample."""
    lake = Lake(tmp_path_factory.mktemp("forty"), "sample")
    ingest(lake)
    return lake


def true_answers(snapshot, day=0, scanned_at=AFTER):
    """What a screener answers that has the lake's own bars and ratings, or those of some days before."""
    closed_at = CLOSE - dt.timedelta(days=day)
    since = closed_at - dt.timedelta(days=1)
    rows = []
    for bar in snapshot.bars(since, closed_at).join(snapshot.ratings(since, closed_at), on="symbol").to_dicts():
        base = bar["symbol"].removeprefix("BINANCE:").removesuffix("USDT")
        rows.append(
            pair(base, rating=bar["recommend_all"], ma=bar["recommend_ma"], close=bar["close"], volume=bar["volume"])
        )
    answers = []
    for name, scanner in sorted(load().scanners().items()):
        column = "Recommend.MA[1]|1D" if scanner.logic == "rating_ma" else "Recommend.All[1]|1D"
        sign = 1 if scanner.direction == "LONG" else -1
        found = tuple(book(*(row for row in rows if sign * (row[column] or 0.0) > 0)).items())
        answers.append(ScanResponse(name, question(scanner), "{}", "00", len(found), found))
    return ScanBatch(CLOSE, scanned_at, tuple(answers))


def with_rows(found, change):
    """The batch with other records in each answer."""
    told = [(answer, tuple(change(answer))) for answer in found.answers]
    return replace(found, answers=tuple(replace(answer, rows=rows, total=len(rows)) for answer, rows in told))


def one_value(answer):
    return [(symbol, answer.rows[0][1] | {"name": fields["name"]}) for symbol, fields in answer.rows]


WRONG = {
    "nobody": (lambda found: with_rows(found, lambda _: ()), "none of the"),
    "one scanner is empty": (
        lambda found: with_rows(found, lambda answer: () if answer.scanner == LONG else answer.rows),
        f"pairs that {LONG} finds here are missing",
    ),
    "a third of each": (lambda found: with_rows(found, lambda answer: answer.rows[::3]), "are missing"),
    "all rows the same": (lambda found: with_rows(found, one_value), "one and the same bar"),
    "another exchange": (
        lambda found: with_rows(found, lambda a: [(s.replace("BINANCE", "KRAKEN"), f) for s, f in a.rows]),
        "none of the",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_the_lake_contradicts_is_none(forty, case):
    sound = true_answers(forty.latest())
    wrong, why = WRONG[case]
    market = forty.latest().market(CLOSE, 1)
    assert implausible(sound, market) is None
    assert why in implausible(wrong(sound), market)


@pytest.mark.parametrize("days", [1, 2, 30])
def test_an_answer_of_another_days_bars_is_none(forty, days):
    fault = implausible(true_answers(forty.latest(), days), forty.latest().market(CLOSE, 1))
    assert "other bars than the lake's" in fault or "are missing" in fault


def test_an_answer_with_the_right_pairs_and_another_days_prices_is_none(forty):
    market = forty.latest().market(CLOSE, 1)
    stale = with_rows(
        true_answers(forty.latest()),
        lambda answer: [(s, f | {"close[1]|1D": f["close[1]|1D"] * 1.01}) for s, f in answer.rows],
    )
    assert "other bars than the lake's" in implausible(stale, market)


def test_differences_at_the_edge_are_no_fault(forty):
    """A fifth of the pairs missing, and one close of another value, are for the reconciliation to tell."""
    found = with_rows(true_answers(forty.latest()), lambda answer: answer.rows[: -len(answer.rows) // 5])
    answer, *others = found.answers
    (symbol, fields), *rest = answer.rows
    found = replace(found, answers=(replace(answer, rows=((symbol, fields | {"close[1]|1D": 1.0}), *rest)), *others))
    assert implausible(found, forty.latest().market(CLOSE, 1)) is None


def test_a_scan_of_a_close_that_the_lake_does_not_have_is_judged_by_an_earlier_one_alone(forty):
    sound = true_answers(forty.latest())
    few = with_rows(sound, lambda answer: answer.rows[:2])
    assert implausible(few, None) is None
    assert "an earlier scan of this close has are missing" in implausible(few, None, sound)
    assert implausible(sound, None, few) is None


def test_the_good_scan_of_a_close_stays_in_force(scanning):
    made = scanning(now=AFTER + dt.timedelta(days=900))
    everyone = sorted(load().scanners())
    good = round_of([pair("BTC"), pair("ETH")], names=everyone)
    made.record(good)
    made.record(round_of([], scanned_at=AFTER + dt.timedelta(minutes=1), names=everyone))
    assert recorded(made.lake.latest(), CLOSE, load().scanners()).scanned_at == good.scanned_at
    with pytest.raises(SourceError) as caught:
        made.check(made.lake.latest(), CLOSE)
    assert caught.value.code == "SCREENER_IMPLAUSIBLE"
    _, answerer = made.answerer(made.lake.latest(), CLOSE)
    assert answerer.provider == "tradingview"


def test_where_only_a_refused_scan_is_recorded_nobody_is_asked_again_but_the_fallback(scanning):
    made = scanning()
    made.record(round_of([], names=sorted(load().scanners())))
    with pytest.raises(SourceError, match="cannot be true") as caught:
        made.answerer(made.lake.latest(), CLOSE)
    assert caught.value.code == "SCREENER_IMPLAUSIBLE"
    _, answerer = scanning("scan.fallback=true").answerer(made.lake.latest(), CLOSE)
    assert (answerer.provider, answerer.asked) == ("ratings", "tradingview")
    assert "SCREENER_IMPLAUSIBLE" in answerer.fallback


# --- reconciliation -----------------------------------------------------------------------------------------------


def test_reconciliation_names_both_values_and_counts_agreement(scanning):
    snapshot = scanning().lake.latest()
    bars = snapshot.bars(CLOSE - dt.timedelta(days=1), CLOSE, ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"])
    rated = snapshot.ratings(CLOSE - dt.timedelta(days=1), CLOSE, ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"])
    rows = []
    for bar, rating in zip(bars.to_dicts(), rated.to_dicts(), strict=True):
        base = bar["symbol"].removeprefix("BINANCE:").removesuffix("USDT")
        row = pair(base, rating=0.1, close=bar["close"], volume=bar["volume"])
        row |= {"Recommend.All[1]|1D": rating["recommend_all"], "Recommend.MA[1]|1D": rating["recommend_ma"]}
        row |= {"Recommend.Other[1]|1D": rating["recommend_other"]}
        ours = ("ichimoku", "vwma_20", "hull_ma_9", "stoch_rsi", "williams_r", "bull_bear", "ultimate")
        theirs = ("Ichimoku", "VWMA", "HullMA9", "Stoch.RSI", "WR", "BBPower", "UO")
        row |= {f"Rec.{t}[1]|1D": rating[f"vote_{o}"] for o, t in zip(ours, theirs, strict=True)}
        rows.append(row)
    same = reconciling.reconcile(round_of(rows), snapshot)
    assert (same.compared, same.equal, same.differences, same.alone) == (24, 24, (), ())

    btc, eth = rows
    btc["close[1]|1D"] *= 1.001
    eth["Recommend.MA[1]|1D"] += 0.01
    eth["Rec.UO[1]|1D"] = 1 if rated["vote_ultimate"][1] != 1 else -1
    apart = reconciling.reconcile(round_of([btc, eth, pair("NEWCOIN")]), snapshot)
    assert [(d.symbol, d.what) for d in apart.differences] == [
        ("BINANCE:BTCUSDT", "close"),
        ("BINANCE:BTCUSDT", "value_traded"),
        ("BINANCE:ETHUSDT", "recommend_ma"),
        ("BINANCE:ETHUSDT", "vote_ultimate"),
    ]
    assert apart.differences[0].ours == bars["close"][0]
    assert apart.differences[0].screener == pytest.approx(bars["close"][0] * 1.001)
    table = {entry.what: (entry.compared, entry.equal) for entry in apart.agreement}
    assert table["close"] == table["recommend_ma"] == table["vote_ultimate"] == (2, 1)
    assert table["recommend_all"] == (2, 2)
    assert apart.alone == ("BINANCE:NEWCOINUSDT",)
    assert apart.finding().code == "SCREENER_DIFFERS"
    assert f"ours {bars['close'][0]:.10g}" in apart.finding().names[0]


def test_differences_within_the_tolerance_of_recordings_are_none():
    entry, apart = reconciling._compare("recommend_all", [("A", 0.5, 0.50009), ("B", 0.5, 0.5002)])
    assert (entry.compared, entry.equal, [d.symbol for d in apart]) == (2, 1, ["B"])
