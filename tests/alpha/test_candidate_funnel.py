from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from alpha_worlds import candidate, candidates, profile
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.alpha.funnel import Contenders, run_funnel, selection_stage
from assay.base.domain import LOGICS, Atom
from assay.base.errors import ContractError
from assay.runs.documents import Candidate, ScannerCount

A, B, C = "BINANCE:AUSDT", "BINANCE:BUSDT", "BINANCE:CUSDT"
MULTI = {"logics": ("rating_ma", "rating_other")}


def ids(funnel: Contenders) -> list[str]:
    return [atom.id for atom in funnel.atoms]


def stages(funnel: Contenders) -> dict[str, tuple[int, dict[str, int], dict[str, int], int]]:
    return {c.stage: (c.n_in, c.expanded_by, c.dropped_by, c.n_out) for c in funnel.stages}


def test_one_logic_keeps_candidates_as_they_are() -> None:
    funnel = run_funnel(candidates([B, A]), profile())
    assert ids(funnel) == [f"{A}_rating_all_LONG", f"{B}_rating_all_LONG"]
    assert stages(funnel) == {
        "discovery": (2, {}, {}, 2),
        "normalization": (2, {}, {}, 2),
        "deduplication": (2, {}, {}, 2),
    }


def test_several_logics_expand_to_ratings_of_the_right_sign() -> None:
    found = [
        candidate(A, logic="rating_ma", fields={"recommend_ma": 0.4, "recommend_other": 0.2}),
        candidate(B, logic="rating_ma", fields={"recommend_ma": 0.4, "recommend_other": -0.2}),
        candidate(C, logic="rating_ma", fields={"recommend_ma": 0.4, "recommend_other": 0.0}),
    ]
    funnel = run_funnel(found, profile(**MULTI))
    assert ids(funnel) == [
        f"{A}_rating_ma_LONG",
        f"{A}_rating_other_LONG",
        f"{B}_rating_ma_LONG",
        f"{C}_rating_ma_LONG",
    ]
    assert stages(funnel)["normalization"] == (3, {"rating_other": 1}, {}, 4)
    assert [entry.expanded for entry in funnel.entries] == [False, True, False, False]


def test_a_short_profile_expands_to_negative_ratings() -> None:
    seen = {"recommend_ma": -0.4, "recommend_other": -0.2}
    funnel = run_funnel([candidate(A, "SHORT", "rating_ma", fields=seen)], profile("SHORT", **MULTI))
    assert ids(funnel) == [f"{A}_rating_ma_SHORT", f"{A}_rating_other_SHORT"]


@pytest.mark.parametrize("value", [None, "0.4", "nan", True])
def test_a_rating_that_the_scanner_did_not_see_is_not_expanded(value: Any) -> None:
    seen = {"recommend_other": float("nan") if value == "nan" else value}
    record = candidate(A, logic="rating_ma").model_copy(update={"fields": seen})
    assert ids(run_funnel([record], profile(**MULTI))) == [f"{A}_rating_ma_LONG"]


def test_a_record_of_a_foreign_logic_gives_way_to_its_expansions() -> None:
    seen = {"recommend_ma": 0.4, "recommend_other": 0.2}
    funnel = run_funnel([candidate(A, fields=seen), candidate(B)], profile(**MULTI))
    assert ids(funnel) == [f"{A}_rating_ma_LONG", f"{A}_rating_other_LONG"]
    assert stages(funnel)["normalization"] == (
        2,
        {"rating_ma": 1, "rating_other": 1},
        {"LOGIC_NOT_IN_PROFILE": 2},
        2,
    )


def test_duplicates_of_expansion_leave_the_scanned_record() -> None:
    seen = {"recommend_ma": 0.4, "recommend_other": 0.2}
    found = [candidate(A, logic=logic, fields=seen, rank=7) for logic in MULTI["logics"]]
    funnel = run_funnel(found, profile(**MULTI))
    assert [(e.atom.logic, e.expanded) for e in funnel.entries] == [("rating_ma", False), ("rating_other", False)]
    assert stages(funnel)["deduplication"] == (4, {}, {"DUPLICATE": 2}, 2)
    assert {loss.reason for loss in funnel.losses} == {"DUPLICATE"}


def test_the_superset_is_turned_to_the_profiles_side() -> None:
    found = [candidate(A, "LONG"), candidate(B, "SHORT"), candidate(C, "SHORT", "rating_ma")]
    funnel = run_funnel(found, profile("SHORT", pool="superset"))
    assert [(e.atom.id, e.inverted, e.candidate.scan_direction) for e in funnel.entries] == [
        (f"{A}_rating_all_SHORT", True, "LONG"),
        (f"{B}_rating_all_SHORT", False, "SHORT"),
        (f"{C}_rating_ma_SHORT", False, "SHORT"),
    ]


def test_turning_twice_is_turning_once() -> None:
    turned = candidate(A, "LONG").model_copy(update={"direction": "SHORT", "inverted": True})
    wanted = profile("SHORT", pool="superset")
    assert run_funnel([turned], wanted).atoms == run_funnel([candidate(A, "LONG")], wanted).atoms
    assert run_funnel([turned], wanted).entries[0].inverted


def test_the_record_that_was_not_turned_is_kept() -> None:
    found = [candidate(A, "LONG", rank=1), candidate(A, "SHORT", rank=9)]
    (entry,) = run_funnel(found, profile("SHORT", pool="superset")).entries
    assert not entry.inverted
    assert entry.candidate.rank == 9


def test_inverted_candidates_expand_by_the_side_on_which_they_were_scanned() -> None:
    seen = {"recommend_ma": 0.4, "recommend_other": 0.2}
    funnel = run_funnel([candidate(A, "LONG", "rating_ma", fields=seen)], profile("SHORT", pool="superset", **MULTI))
    assert [(e.atom.id, e.inverted) for e in funnel.entries] == [
        (f"{A}_rating_ma_SHORT", True),
        (f"{A}_rating_other_SHORT", True),
    ]


def test_own_pool_does_not_turn_anything() -> None:
    (entry,) = run_funnel([candidate(A, "LONG")], profile("SHORT")).entries
    assert entry.atom == Atom(A, "rating_all", "LONG")


@pytest.mark.parametrize("symbol", ["", "BINANCE:A/USDT", "BINANCE:A USDT", "BINANCE:A\x07USDT"])
def test_invalid_symbols_are_dropped_by_name(symbol: str) -> None:
    funnel = run_funnel([candidate(symbol), candidate(A)], profile())
    assert ids(funnel) == [f"{A}_rating_all_LONG"]
    (loss,) = funnel.losses
    assert (loss.symbol, loss.stage, loss.reason) == (symbol, "normalization", "INVALID_SYMBOL")


def test_a_record_that_contradicts_itself_is_dropped() -> None:
    record = candidate(A, "LONG", inverted=True)
    (loss,) = run_funnel([record], profile()).losses
    assert loss.reason == "INVALID_DIRECTION"


def scan_count(name: str, universe: int, kept: int, **dropped: int) -> ScannerCount:
    assert universe == kept + sum(dropped.values())
    return ScannerCount(scanner=name, universe=universe, matched=kept, kept=kept, dropped=dropped)


def test_discovery_counts_what_the_profiles_scanners_looked_at() -> None:
    counts = [
        scan_count("scan", 400, 3, quote=300, rating=97),
        scan_count("other", 400, 50, quote=350),
        scan_count("scan2", 400, 2, quote=300, limit=98),
    ]
    found = [one.model_copy(update={"scanners": ["scan", "scan2"]}) for one in candidates([A, B])] + candidates([C])
    funnel = run_funnel(found, profile(scanners=("scan", "scan2")), counts)
    assert stages(funnel)["discovery"] == (800, {}, {"quote": 600, "rating": 97, "limit": 98, "CONSOLIDATED": 2}, 3)
    assert [(loss.symbol, loss.stage, loss.reason) for loss in funnel.losses] == [
        (A, "discovery", "CONSOLIDATED"),
        (B, "discovery", "CONSOLIDATED"),
    ]
    assert "scan2 found it too" in funnel.losses[0].detail


@pytest.mark.parametrize("kept", [2, 4, 100])
def test_a_record_that_got_lost_or_came_from_nowhere_is_refused(kept: int) -> None:
    with pytest.raises(ContractError, match=f"scan kept {kept} candidates, and 3 came"):
        run_funnel(candidates([A, B, C]), profile(), [scan_count("scan", kept + 8, kept, quote=8)])


def test_a_candidate_of_another_logic_leaves_with_its_name() -> None:
    funnel = run_funnel([candidate(A, logic="rating_ma"), candidate(B)], profile())
    assert ids(funnel) == [f"{B}_rating_all_LONG"]
    assert [(loss.symbol, loss.reason) for loss in funnel.losses] == [(A, "LOGIC_NOT_IN_PROFILE")]


RATINGS = st.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.5, None])


@st.composite
def records(draw: st.DrawFn) -> Candidate:
    scanned = draw(st.sampled_from(["LONG", "SHORT"]))
    direction = draw(st.sampled_from(["LONG", "SHORT"]))
    return candidate(
        draw(st.sampled_from([A, B, C, "BINANCE:BAD/USDT"])),
        scanned,
        draw(st.sampled_from(LOGICS)),
        rank=draw(st.integers(1, 3)),
        fields={name: draw(RATINGS) for name in ("recommend_all", "recommend_ma", "recommend_other")},
    ).model_copy(update={"direction": direction, "inverted": draw(st.booleans())})


PROFILES = st.builds(
    profile,
    st.sampled_from(["LONG", "SHORT"]),
    pool=st.sampled_from(["own", "superset"]),
    logics=st.sampled_from([("rating_all",), ("rating_ma", "rating_other"), LOGICS]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(records(), max_size=12), PROFILES, st.integers(0, 9))
def test_nobody_is_lost_and_order_does_not_matter(found: list[Candidate], wanted: Any, seed: int) -> None:
    funnel = run_funnel(found, wanted)
    inflow = len(found)
    for count in funnel.stages:
        assert count.n_in == inflow
        assert count.n_out == count.n_in + count.expanded - count.dropped
        assert count.expanded == sum(count.expanded_by.values())
        assert count.dropped == sum(count.dropped_by.values())
        assert min([0, *count.expanded_by.values(), *count.dropped_by.values()]) >= 0
        losses = [loss for loss in funnel.losses if loss.stage == count.stage]
        assert Counter(loss.reason for loss in losses) == count.dropped_by
        inflow = count.n_out
    assert len(set(funnel.atoms)) == len(funnel.atoms) == inflow
    expanded = sum(sum(count.expanded_by.values()) for count in funnel.stages)
    assert len(funnel.losses) + len(funnel.atoms) == len(found) + expanded
    assert list(funnel.atoms) == sorted(funnel.atoms)
    if wanted.pool == "superset":
        assert {atom.direction for atom in funnel.atoms} <= {wanted.direction}
    shuffled = random.Random(seed).sample(found, len(found))
    again = run_funnel(shuffled, wanted)
    assert again.atoms == funnel.atoms
    assert [e.preference for e in again.entries] == [e.preference for e in funnel.entries]
    assert (again.losses, again.stages) == (funnel.losses, funnel.stages)


def test_the_last_stage_counts_reasons() -> None:
    count = selection_stage(4, ["winner", "VETO_STALE", "winner", "VETO_STALE"])
    assert (count.stage, count.n_in, count.expanded_by, count.dropped_by) == ("selection", 4, {}, {"VETO_STALE": 2})
    assert count.n_out == 2
