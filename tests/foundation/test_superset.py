from __future__ import annotations

import datetime as dt
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from foundation_markets import market
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base.domain import DAY, UTC
from assay.base.errors import DataError, IntegrityError
from assay.market.panel import Market
from assay.runs.documents import Candidate, InvalidRecord, MergedQuote, ScannerCount, Superset
from assay.screening.scanner import ScanResult
from assay.screening.superset import consolidate, ensure_superset, profile_pool, superset_key
from assay.settings.model import Profile, Scanner, Universe

AS_OF = dt.datetime(2024, 1, 22, tzinfo=UTC)
SCANNERS = {
    "all_long": Scanner(logic="rating_all", direction="LONG"),
    "all_short": Scanner(logic="rating_all", direction="SHORT"),
    "ma_long": Scanner(logic="rating_ma", direction="LONG"),
}


def candidate(
    symbol: str, scanner: str, direction: str = "LONG", logic: str = "rating_all", **more: object
) -> Candidate:
    values = {"rank": 1, "fields": {"close": 1.0}, "scan_direction": direction, **more}
    return Candidate.model_validate(
        {"symbol": symbol, "logic": logic, "direction": direction, "scanners": [scanner], **values}
    )


def result(name: str, *candidates: Candidate, merged: object = (), invalid: object = ()) -> ScanResult:
    count = ScannerCount(scanner=name, universe=9, matched=len(candidates), kept=len(candidates), dropped={})
    return ScanResult(name, list(candidates), count, list(merged), list(invalid))


def superset(*results: ScanResult) -> Superset:
    return consolidate(AS_OF, 3, "ratings", results, "0" * 64)


def profile(**settings: object) -> Profile:
    values = {"name": "p", "direction": "LONG", "logics": ["rating_all"], "scanners": ["one"], **settings}
    return Profile.model_validate(values)


def ids(candidates: list[Candidate]) -> list[tuple[str, str, str]]:
    return [(one.symbol, one.logic, one.direction) for one in candidates]


def test_the_same_atom_of_two_scanners_is_one_candidate_with_both_names_and_the_better_rank() -> None:
    whole = superset(
        result("two", candidate("X:AUSDT", "two", rank=4, fields={"close": 1.0, "extra": 7})),
        result("one", candidate("X:AUSDT", "one", rank=2, fields={"close": 1.0, "adx": None})),
    )
    (only,) = whole.candidates
    assert (only.scanners, only.rank) == (["one", "two"], 2)
    assert only.fields == {"close": 1.0, "adx": None, "extra": 7}
    assert (whole.unique_atoms, whole.duplicates_merged) == (1, 1)


def test_a_field_on_which_two_scanners_differ_keeps_both_values() -> None:
    whole = superset(
        result("one", candidate("X:AUSDT", "one", rank=2, fields={"close": 1.0})),
        result("two", candidate("X:AUSDT", "two", rank=1, fields={"close": 1.5})),
    )
    assert whole.candidates[0].fields == {"close": 1.5, "close@one": 1.0}


def test_long_and_short_of_one_symbol_are_two_candidates() -> None:
    whole = superset(
        result("one", candidate("X:AUSDT", "one")),
        result("two", candidate("X:AUSDT", "two", "SHORT"), candidate("X:AUSDT", "two", logic="rating_ma")),
    )
    assert ids(whole.candidates) == [
        ("X:AUSDT", "rating_all", "LONG"),
        ("X:AUSDT", "rating_all", "SHORT"),
        ("X:AUSDT", "rating_ma", "LONG"),
    ]
    assert whole.duplicates_merged == 0


def test_counts_merged_quotes_and_invalid_records_of_every_scanner_are_kept() -> None:
    merged = MergedQuote(symbol="X:AUSDC", into="X:AUSDT", scanner="one", reason="r")
    invalid = InvalidRecord(symbol="X:/", scanner="two", reason="a slash")
    whole = superset(result("two", invalid=[invalid]), result("one", candidate("X:AUSDT", "one"), merged=[merged]))
    assert [count.scanner for count in whole.scanners] == ["one", "two"]
    assert whole.merged_quotes == [merged]
    assert whole.invalid_records == [invalid]
    assert whole.as_of == "2024-01-22T00:00:00Z"


results = st.lists(
    st.builds(
        candidate,
        symbol=st.sampled_from(["X:AUSDT", "X:BUSDT", "X:CUSDT"]),
        scanner=st.just("s"),
        direction=st.sampled_from(["LONG", "SHORT"]),
        logic=st.sampled_from(["rating_all", "rating_ma"]),
        rank=st.integers(1, 5),
        fields=st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3),
    ),
    max_size=8,
    unique_by=lambda one: (one.symbol, one.logic, one.direction),
)


@settings(deadline=None)
@given(st.lists(results, min_size=1, max_size=3))
def test_consolidation_loses_nothing_and_does_not_depend_on_the_order_of_scanners(found: list[list[Candidate]]) -> None:
    scans = [
        result(f"s{i}", *(one.model_copy(update={"scanners": [f"s{i}"]}) for one in own)) for i, own in enumerate(found)
    ]
    whole = superset(*scans)
    for order in itertools.permutations(scans):
        assert superset(*order) == whole
    assert len(set(ids(whole.candidates))) == len(whole.candidates) == whole.unique_atoms
    assert whole.unique_atoms + whole.duplicates_merged == sum(map(len, found))
    merged = dict(zip(ids(whole.candidates), whole.candidates, strict=True))
    for scan in scans:
        for one in scan.candidates:
            kept = merged[one.symbol, one.logic, one.direction]
            assert scan.name in kept.scanners
            assert kept.rank <= one.rank
            assert one.fields.keys() <= kept.fields.keys()
            assert all(value in kept.fields.values() for value in one.fields.values())


def test_the_key_tells_scanners_universes_heads_and_providers_apart() -> None:
    stricter = SCANNERS | {"all_long": SCANNERS["all_long"].model_copy(update={"limit": 5})}
    narrower = SCANNERS | {"all_long": SCANNERS["all_long"].model_copy(update={"universe": Universe(quotes=("USDT",))})}
    renamed = {f"x{name}": scanner for name, scanner in SCANNERS.items()}
    keys = [superset_key(scanners, 1) for scanners in (SCANNERS, stricter, narrower, renamed)]
    keys += [superset_key(SCANNERS, 2), superset_key(SCANNERS, 1, "tradingview")]
    keys += [superset_key(SCANNERS, 1, edition="2021")]
    assert len(set(keys)) == 7
    assert superset_key(dict(reversed(SCANNERS.items())), 1) == keys[0]


@pytest.fixture
def loader() -> Callable[[], Market]:
    closes = {f"BINANCE:{base}USDT": [100.0] * 3 for base in "ABCDE"}
    ratings = {f"BINANCE:{base}USDT": [0.1 * i - 0.2] * 3 for i, base in enumerate("ABCDE")}
    panel = market(closes, (AS_OF - 3 * DAY).date(), recommend_all=ratings, recommend_ma=ratings)
    assert panel.as_of == AS_OF
    return lambda: panel


def forbidden() -> Market:
    raise AssertionError("the market was loaded again")


def test_a_superset_is_scanned_once_and_read_by_all_others(tmp_path: Path, loader: Callable[[], Market]) -> None:
    path, whole = ensure_superset(tmp_path, loader, AS_OF, 1, SCANNERS)
    key8 = superset_key(SCANNERS, 1)[:8]
    assert path == tmp_path / f"superset/2024-01-22T000000Z-{key8}/portfolio_candidates.json"
    assert ids(whole.candidates) == [
        ("BINANCE:AUSDT", "rating_all", "SHORT"),
        ("BINANCE:BUSDT", "rating_all", "SHORT"),
        ("BINANCE:DUSDT", "rating_all", "LONG"),
        ("BINANCE:DUSDT", "rating_ma", "LONG"),
        ("BINANCE:EUSDT", "rating_all", "LONG"),
        ("BINANCE:EUSDT", "rating_ma", "LONG"),
    ]
    assert ensure_superset(tmp_path, forbidden, AS_OF, 1, SCANNERS) == (path, whole)
    assert json.loads(path.read_bytes())["key"] == superset_key(SCANNERS, 1)


def test_another_definition_stands_beside_and_never_overwrites(tmp_path: Path, loader: Callable[[], Market]) -> None:
    path, _ = ensure_superset(tmp_path, loader, AS_OF, 1, SCANNERS)
    pinned = path.read_bytes()
    later, second = ensure_superset(tmp_path, loader, AS_OF, 2, SCANNERS)
    assert later.parent.name == f"2024-01-22T000000Z-{superset_key(SCANNERS, 2)[:8]}"
    assert later != path
    assert second.head == 2
    assert path.read_bytes() == pinned
    assert ensure_superset(tmp_path, forbidden, AS_OF, 2, SCANNERS) == (later, second)
    assert ensure_superset(tmp_path, forbidden, AS_OF, 1, SCANNERS)[0] == path


def test_many_at_once_scan_once(tmp_path: Path, loader: Callable[[], Market]) -> None:
    loads, ready = [], threading.Barrier(6)

    def load() -> Market:
        loads.append(1)
        return loader()

    def ensure(head: int) -> tuple[Path, Superset]:
        ready.wait()
        return ensure_superset(tmp_path, load, AS_OF, head, SCANNERS)

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(ensure, [1, 1, 1, 2, 2, 2]))
    assert len(loads) == 2
    assert len({path for path, _ in done}) == 2
    assert all(whole.head == head for (_, whole), head in zip(done, [1, 1, 1, 2, 2, 2], strict=True))
    assert len(list((tmp_path / "superset").rglob("*.json"))) == 2


def test_a_damaged_superset_is_an_integrity_error(tmp_path: Path, loader: Callable[[], Market]) -> None:
    path, _ = ensure_superset(tmp_path, loader, AS_OF, 1, SCANNERS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError):
        ensure_superset(tmp_path, loader, AS_OF, 1, SCANNERS)


def test_a_superset_under_anothers_name_is_an_integrity_error(tmp_path: Path, loader: Callable[[], Market]) -> None:
    path, _ = ensure_superset(tmp_path, loader, AS_OF, 1, SCANNERS)
    later, _ = ensure_superset(tmp_path, loader, AS_OF, 2, SCANNERS)
    later.write_bytes(path.read_bytes())
    with pytest.raises(IntegrityError):
        ensure_superset(tmp_path, loader, AS_OF, 2, SCANNERS)


def test_a_market_of_another_instant_is_refused(tmp_path: Path, loader: Callable[[], Market]) -> None:
    with pytest.raises(DataError, match="2024-01-22T00:00:00Z"):
        ensure_superset(tmp_path, loader, AS_OF + DAY, 1, SCANNERS)
    assert not list(tmp_path.rglob("*.json"))


def test_equal_inputs_give_equal_bytes(tmp_path: Path, loader: Callable[[], Market]) -> None:
    first, _ = ensure_superset(tmp_path / "a", loader, AS_OF, 1, SCANNERS)
    second, _ = ensure_superset(tmp_path / "b", loader, AS_OF, 1, dict(reversed(SCANNERS.items())))
    assert first.read_bytes() == second.read_bytes()


POLLUTED = superset(
    result("one", candidate("X:AUSDT", "one"), candidate("X:BUSDT", "one", rank=2)),
    result("two", candidate("X:AUSDT", "two", "SHORT", rank=3), candidate("X:CUSDT", "two", "SHORT")),
    result("ma", candidate("X:AUSDT", "ma", logic="rating_ma")),
)


def test_own_pool_takes_all_that_the_profiles_scanners_found() -> None:
    """One of another logic or side leaves later, with a reason: here it would be lost without a word."""
    assert ids(profile_pool(POLLUTED, profile()).candidates) == [
        ("X:AUSDT", "rating_all", "LONG"),
        ("X:BUSDT", "rating_all", "LONG"),
    ]
    assert ids(profile_pool(POLLUTED, profile(scanners=["ma"])).candidates) == [("X:AUSDT", "rating_ma", "LONG")]
    assert len(profile_pool(POLLUTED, profile(direction="SHORT")).candidates) == 2
    wide = profile(scanners=["one", "ma"], logics=["rating_all", "rating_ma"])
    assert ids(profile_pool(POLLUTED, wide).candidates)[1] == ("X:AUSDT", "rating_ma", "LONG")


def test_the_superset_pool_turns_every_candidate_and_joins_what_becomes_one() -> None:
    pool = profile_pool(POLLUTED, profile(direction="SHORT", scanners=["two"], pool="superset"))
    assert (pool.taken, pool.merged, len(pool.candidates)) == (5, 1, 4)
    assert ids(pool.candidates) == [
        ("X:AUSDT", "rating_all", "SHORT"),
        ("X:AUSDT", "rating_ma", "SHORT"),
        ("X:BUSDT", "rating_all", "SHORT"),
        ("X:CUSDT", "rating_all", "SHORT"),
    ]
    joined, turned, _, own = pool.candidates
    assert (joined.inverted, joined.scan_direction, joined.rank) == (False, "SHORT", 3)
    assert joined.scanners == ["one", "two"]
    assert (turned.inverted, turned.scan_direction) == (True, "LONG")
    assert (own.inverted, own.scan_direction) == (False, "SHORT")


def test_turning_changes_nothing_in_the_superset() -> None:
    before = POLLUTED.model_dump()
    profile_pool(POLLUTED, profile(direction="SHORT", pool="superset"))
    assert POLLUTED.model_dump() == before
