"""Atomic validation and the mutants that each of its checks must kill."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_house
import polars as pl
import pytest
from audit_house import COINS, PICKS, Draft, atom_ids, draft, make_home, profile, publish, save

from assay.base import files
from assay.gates import validation as atomic
from assay.gates.validation import to_markdown, validate
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.ledger import Ledger
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings.model import RISK_PROFILES

Mutant = Callable[[Draft], None]
CLEAN = {
    "MISSING_ARTIFACTS",
    "LEDGER_BROKEN",
    "CONTRACT_FAILED",
    "HASH_MISMATCH",
    "NOT_REPLAYABLE",
    "RETURNS_PARSE",
    "EMPTY_RETURNS",
    "CALENDAR",
    "BOOK",
    "RUIN",
    "FUNNEL",
    "SIGN_TEST_PRE_PASS",
    "SIGN_TEST_POST_PASS",
    "OPT_PARSE",
    "PROFILE_MISSING",
    "HRP_PRESENT",
    "FLATTEN_PARSE",
    "FLATTENED_PRESENT",
    "WEIGHT_SUM",
    "CAP_BREACH",
    "DIRECTION_MISMATCH",
    "CROSS_ARTIFACT",
}


def failed(run: Path) -> set[str]:
    result = validate(Run(run))
    assert len(result.checks) == len(CLEAN)
    assert result.ok == all(check.ok for check in result.checks)
    return {check.code.removeprefix("ATOMIC_") for check in result.checks if not check.ok}


@pytest.mark.parametrize("direction", ["LONG", "SHORT"])
@pytest.mark.parametrize("through", [13, 15])
def test_a_right_run_is_valid_before_and_after_its_seal(home: Path, direction: str, through: int) -> None:
    run = publish(home, "r", draft(direction), through=through)
    before = files.sha256_file(run / layout.LEDGER)
    result = validate(Run(run))
    assert result.ok
    assert result.run_id == "r"
    assert result.profile == f"p_{direction.lower()}"
    assert {check.code.removeprefix("ATOMIC_") for check in result.checks} == CLEAN
    assert all(check.checked > 0 for check in result.checks)
    assert files.sha256_file(run / layout.LEDGER) == before  # read-only


def test_it_runs_while_the_ledger_is_held(home: Path) -> None:
    run = publish(home, "r", draft(), through=13)
    with Ledger.open(run / layout.LEDGER) as ledger:
        ledger.intent(14, "atomic_validation", {})
        assert validate(Run(run)).ok


# What was decided wrongly, and recorded faithfully


def guarded(content: Draft, name: str = "hrp") -> dict[str, Any]:
    found: dict[str, Any] = content[layout.OPTIMIZED]["profiles"][name]
    return found


def flat(content: Draft, name: str = "hrp") -> dict[str, Any]:
    found: dict[str, Any] = content[layout.FLATTENED]["profiles"][name]
    return found


def flip_one_short(content: Draft) -> None:
    name = atom_ids("SHORT")[0]
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].with_columns(-pl.col(name))


def swap_two_columns(content: Draft) -> None:
    one, two = atom_ids("SHORT")[:2]
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].with_columns(pl.col(one).alias(two), pl.col(two).alias(one))


def scale_an_optimized_weight(content: Draft) -> None:
    asset = guarded(content)["assets"][2]
    asset["Weight"] *= 1.1
    asset["Net_Weight"] *= 1.1


def scale_a_flattened_weight(content: Draft) -> None:
    coin = flat(content)["assets"][0]
    for key in ("Weight", "Net_Weight", "Gross_Weight"):
        coin[key] *= 1.1


def scale_a_weight_everywhere(content: Draft) -> None:
    scale_a_flattened_weight(content)
    flat(content)["assets"][0]["Atoms"][0]["Weight"] *= 1.1
    asset = guarded(content)["assets"][0]
    asset["Weight"] *= 1.1
    asset["Net_Weight"] *= 1.1


def forget_cash(content: Draft) -> None:
    guarded(content)["cash"] = flat(content)["cash"] = 0.0


def wrong_totals(content: Draft) -> None:
    flat(content)["gross"] = 0.9


def wrong_net(content: Draft) -> None:
    flat(content)["net"] *= -1.0


def drop_a_risk_profile(content: Draft) -> None:
    del content[layout.OPTIMIZED]["profiles"]["barbell"]
    del content[layout.FLATTENED]["profiles"]["barbell"]


def drop_an_unguarded_profile(content: Draft) -> None:
    del content[layout.OPTIMIZED]["unguarded"]["barbell"]


def move_weight_beyond_the_atom_cap(content: Draft) -> None:
    _weigh(content, (0.4, 0.0, 0.25, 0.1))


def move_weight_beyond_the_cluster_cap(content: Draft) -> None:
    _weigh(content, (0.2, 0.0, 0.3, 0.25))


def hold_a_loss_maker(content: Draft) -> None:
    _weigh(content, (0.25, 0.1, 0.2, 0.2))


def spend_more_than_the_budget(content: Draft) -> None:
    _weigh(content, (0.3, 0.0, 0.25, 0.25))


def _weigh(content: Draft, weights: tuple[float, ...]) -> None:
    """Give hrp other weights, in every place that holds them."""
    guarded(content).update(audit_house.optimized("SHORT", weights, 0.75))
    flat(content).update(audit_house.flattened("SHORT", weights))


def raise_the_cap(content: Draft) -> None:
    content[layout.RISK]["atom_cap"] = 0.9
    for kind in ("profiles", "unguarded"):
        for weights in content[layout.OPTIMIZED][kind].values():
            weights["atom_cap"] = 0.9


def raise_one_profiles_cap(content: Draft) -> None:
    guarded(content)["cluster_cap"] = 0.9


def misreport_a_cluster(content: Draft) -> None:
    guarded(content)["clusters"]["3"] = 0.1


def turn_a_winner(content: Draft) -> None:
    content[layout.WINNERS]["winners"][0]["direction"] = "LONG"


def hide_an_inversion(content: Draft) -> None:
    content[layout.WINNERS]["winners"][0]["scan_direction"] = "LONG"


def turn_a_holding(content: Draft) -> None:
    coin = flat(content)["assets"][0]
    coin["Net_Weight"] *= -1
    coin["Direction"] = "LONG"


def turn_an_optimized_net(content: Draft) -> None:
    guarded(content)["assets"][0]["Net_Weight"] *= -1


def lose_an_enriched_winner(content: Draft) -> None:
    content[layout.ENRICHED]["winners"].pop()


def enrich_without_reason(content: Draft) -> None:
    content[layout.ENRICHED]["dropped"] = []


def lose_a_cluster_member(content: Draft) -> None:
    content[layout.CLUSTERS]["clusters"]["3"].pop()


def cluster_a_member_twice(content: Draft) -> None:
    content[layout.CLUSTERS]["clusters"]["1"].append(atom_ids("SHORT")[1])


def optimize_another_cluster(content: Draft) -> None:
    assets = guarded(content)["assets"]
    assets[0]["Cluster_ID"], assets[1]["Cluster_ID"] = 2, 1
    guarded(content)["clusters"].update({"1": 0.0, "2": 0.25})


def lose_provenance(content: Draft) -> None:
    flat(content)["assets"][1]["Atoms"] = []


def name_a_coin_twice(content: Draft) -> None:
    coins = flat(content)["assets"]
    parts = coins[2]["Atoms"]
    for coin, part in ((coins[2], parts[0]), (copy.deepcopy(coins[2]), parts[1])):
        weight = part["Weight"]
        coin |= {"Weight": weight, "Gross_Weight": weight, "Net_Weight": -weight, "Atoms": [part]}
        coins.append(coin)
    del coins[2]


def hold_a_coin_without_returns(content: Draft) -> None:
    flat(content)["assets"][1]["Symbol"] = "BINANCE:XXXUSDT"


def move_a_date(content: Draft) -> None:
    for name in (layout.RETURNS, layout.SYNTHETIC):
        moved = pl.when(pl.arange(300) == 299).then(pl.col("date") + pl.duration(days=1)).otherwise("date")
        content[name] = content[name].with_columns(date=moved)


def skip_a_day(content: Draft) -> None:
    for name in (layout.RETURNS, layout.SYNTHETIC):
        content[name] = content[name].with_row_index().filter(pl.col("index") != 100).drop("index")


def look_a_day_ahead(content: Draft) -> None:
    for name in (layout.RETURNS, layout.SYNTHETIC):
        content[name] = content[name].with_columns(pl.col("date") + pl.duration(days=1))


def walk_a_day_ahead(content: Draft) -> None:
    content[layout.WALK_RETURNS] = content[layout.WALK_RETURNS].with_columns(pl.col("date") + pl.duration(days=1))


def walk_with_a_gap(content: Draft) -> None:
    table = content[layout.WALK_RETURNS]
    content[layout.WALK_RETURNS] = table.filter(pl.col("date") != table["date"][7])


def trade_tomorrow(content: Draft) -> None:
    content[layout.WALK_TRADES] = content[layout.WALK_TRADES].with_columns(pl.col("date") + pl.duration(days=60))


def decide_tomorrow(content: Draft) -> None:
    content[layout.WALK_DECISIONS] = content[layout.WALK_DECISIONS].with_columns(pl.col("as_of") + pl.duration(days=60))


def decide_in_local_time(content: Draft) -> None:
    content[layout.WALK_WEIGHTS] = content[layout.WALK_WEIGHTS].with_columns(
        pl.col("as_of").dt.replace_time_zone("Asia/Tokyo")
    )


def walk_without_keys(content: Draft) -> None:
    content[layout.WALK_RETURNS] = content[layout.WALK_RETURNS].drop("risk_profile")


def redate_a_document(content: Draft) -> None:
    content[layout.HEALTH]["as_of"] = "2024-03-31T00:00:00Z"


def unbalance_a_stage(content: Draft) -> None:
    content[layout.SELECTION]["stages"][1]["n_out"] = 5


def unbalance_all_stages(content: Draft) -> None:
    content[layout.SELECTION]["stages"][2]["n_in"] = 5
    content[layout.SELECTION]["stages"][2]["n_out"] = 5


def lose_a_candidate(content: Draft) -> None:
    content[layout.SELECTION]["fates"].pop()


def give_a_candidate_two_fates(content: Draft) -> None:
    fates = content[layout.SELECTION]["fates"]
    fates.append(fates[-1])


def change_a_reason(content: Draft) -> None:
    content[layout.SELECTION]["fates"][-1]["reason"] = "VETO_FRICTION"


def crown_another(content: Draft) -> None:
    content[layout.SELECTION]["fates"][0]["logic"] = "rating_other"


def hide_a_drop(content: Draft) -> None:
    content[layout.SELECTION]["stages"][0]["dropped_by"]["rating"] = 4


def skip_a_stage(content: Draft) -> None:
    del content[layout.SELECTION]["stages"][2]


def lose_a_raw_candidate(content: Draft) -> None:
    content[layout.RAW]["candidates"].pop()


def miscount_winners(content: Draft) -> None:
    content[layout.SELECTION]["n_winners"] = 15


def manifest_without(*keys: str) -> Mutant:
    def mutate(content: Draft) -> None:
        place = content[layout.MANIFEST]
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    mutate.__name__ = f"manifest_without_{'_'.join(keys)}"
    return mutate


def manifest_with(value: Any, *keys: str) -> Mutant:
    def mutate(content: Draft) -> None:
        place = content[layout.MANIFEST]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    mutate.__name__ = f"manifest_with_other_{'_'.join(keys)}"
    return mutate


def another_superset(content: Draft) -> None:
    content[layout.RAW]["superset_sha256"] = "0" * 64


def another_pool(content: Draft) -> None:
    content[layout.RAW]["pool"] = "superset"


SIGNS = {"SIGN_TEST_PRE_FAIL", "SIGN_TEST_POST_FAIL"}
POST = {"SIGN_TEST_POST_FAIL"}
MUTANTS: list[tuple[Mutant, set[str]]] = [
    (flip_one_short, SIGNS),
    (swap_two_columns, SIGNS),
    (scale_an_optimized_weight, {"WEIGHT_SUM", "CAP_BREACH", "CROSS_ARTIFACT"} | POST),
    (scale_a_flattened_weight, {"WEIGHT_SUM", "CROSS_ARTIFACT"} | POST),
    (scale_a_weight_everywhere, {"WEIGHT_SUM", "CAP_BREACH"}),
    (forget_cash, {"WEIGHT_SUM"}),
    (wrong_totals, {"WEIGHT_SUM"}),
    (wrong_net, {"WEIGHT_SUM"}),
    (drop_a_risk_profile, {"PROFILE_MISSING", "BOOK"} | POST),
    (drop_an_unguarded_profile, {"PROFILE_MISSING"}),
    (move_weight_beyond_the_atom_cap, {"CAP_BREACH"}),
    (move_weight_beyond_the_cluster_cap, {"CAP_BREACH"}),
    (hold_a_loss_maker, {"CAP_BREACH"}),
    (spend_more_than_the_budget, {"CAP_BREACH"}),
    (raise_the_cap, {"CAP_BREACH"}),
    (raise_one_profiles_cap, {"CAP_BREACH"}),
    (misreport_a_cluster, {"CAP_BREACH"}),
    (turn_a_winner, {"DIRECTION_MISMATCH", "CROSS_ARTIFACT", "FUNNEL"} | SIGNS),
    (hide_an_inversion, {"DIRECTION_MISMATCH"}),
    (turn_a_holding, {"DIRECTION_MISMATCH", "WEIGHT_SUM"} | POST),
    (turn_an_optimized_net, {"DIRECTION_MISMATCH"} | POST),
    (lose_an_enriched_winner, {"CROSS_ARTIFACT"} | SIGNS),
    (enrich_without_reason, {"CROSS_ARTIFACT"}),
    (lose_a_cluster_member, {"CROSS_ARTIFACT"}),
    (cluster_a_member_twice, {"CROSS_ARTIFACT"}),
    (optimize_another_cluster, {"CROSS_ARTIFACT"}),
    (lose_provenance, {"CROSS_ARTIFACT"} | POST),
    (name_a_coin_twice, {"CROSS_ARTIFACT"}),
    (hold_a_coin_without_returns, {"CROSS_ARTIFACT"} | POST),
    (move_a_date, {"CALENDAR"}),
    (skip_a_day, {"CALENDAR"}),
    (look_a_day_ahead, {"CALENDAR"}),
    (walk_a_day_ahead, {"CALENDAR"}),
    (walk_with_a_gap, {"CALENDAR"}),
    (trade_tomorrow, {"CALENDAR"}),
    (decide_tomorrow, {"CALENDAR"}),
    (decide_in_local_time, {"CALENDAR"}),
    (walk_without_keys, {"CALENDAR", "RUIN", "BOOK"}),
    (redate_a_document, {"CALENDAR"}),
    (unbalance_a_stage, {"FUNNEL"}),
    (unbalance_all_stages, {"FUNNEL"}),
    (lose_a_candidate, {"FUNNEL"}),
    (give_a_candidate_two_fates, {"FUNNEL"}),
    (change_a_reason, {"FUNNEL"}),
    (crown_another, {"FUNNEL"}),
    (hide_a_drop, {"FUNNEL"}),
    (skip_a_stage, {"FUNNEL"}),
    (lose_a_raw_candidate, {"FUNNEL"}),
    (miscount_winners, {"FUNNEL"}),
    (another_superset, {"NOT_REPLAYABLE"}),
    (another_pool, {"NOT_REPLAYABLE"}),
    (manifest_with("another_run", "run_id"), {"NOT_REPLAYABLE"}),
    (manifest_with({}, "scanners"), {"NOT_REPLAYABLE"}),
    (manifest_with(4, "lake", "head"), {"NOT_REPLAYABLE"}),
    (manifest_with({"bars": 9, "ratings": 2}, "lake", "tables"), {"NOT_REPLAYABLE"}),
    (manifest_with("lake/other", "lake", "folder"), {"NOT_REPLAYABLE"}),
    (manifest_with("../elsewhere", "lake", "folder"), {"NOT_REPLAYABLE"}),
    (manifest_with("/etc", "lake", "folder"), {"NOT_REPLAYABLE"}),
    (manifest_with("0" * 64, "superset", "sha256"), {"NOT_REPLAYABLE"}),
    (manifest_with("lake/none.json", "superset", "path"), {"NOT_REPLAYABLE"}),
]


@pytest.mark.parametrize(("mutate", "expected"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_was_decided_wrongly_is_found(home: Path, mutate: Mutant, expected: set[str]) -> None:
    """The mutant is recorded faithfully, by hash and all; just the checks that are about it fail."""
    content = draft("SHORT")
    mutate(content)
    assert failed(publish(home, "r", content, through=13)) == expected


def change(path: str, *keys: Any, to: Any) -> Mutant:
    """Return a mutant that changes one value of one document."""

    def mutate(content: Draft) -> None:
        place = content[path]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to(place[keys[-1]]) if callable(to) else to

    return mutate


def both(*mutants: Mutant) -> Mutant:
    def mutate(content: Draft) -> None:
        for mutant in mutants:
            mutant(content)

    return mutate


def lose_a_stream(content: Draft) -> None:
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].drop(atom_ids("SHORT")[0])


def add_a_stream(content: Draft) -> None:
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].with_columns(other=0.5)


def push(content: Draft) -> None:
    """Give what a cap took from one atom to another: the projection that shorts once had."""
    content[layout.OPTIMIZED]["profiles"]["equal_weight"].update(
        audit_house.optimized("SHORT", (0.375, 0.0, 0.25, 0.125), 0.75)
    )


def raise_every_cluster_cap(content: Draft) -> None:
    content[layout.RISK]["cluster_cap"] = 0.9
    for kind in ("profiles", "unguarded"):
        for weights in content[layout.OPTIMIZED][kind].values():
            weights["cluster_cap"] = 0.9


HRP = (layout.OPTIMIZED, "profiles", "hrp")
FLAT = (layout.FLATTENED, "profiles", "hrp")
COIN = (*FLAT, "assets", 0)
LOSING = (*HRP, "assets", 1)


def move_the_last_day(path: str) -> Mutant:
    def mutate(content: Draft) -> None:
        later = pl.col("date") + pl.duration(days=1)
        moved = pl.when(pl.arange(300) == 299).then(later).otherwise("date")
        content[path] = content[path].with_columns(date=moved)

    return mutate


def forget_the_last_day(content: Draft) -> None:
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].head(299)


LONG_COIN = change(*COIN, "Direction", to="LONG")
NAMED: list[tuple[str, str, Mutant]] = [
    ("CROSS_ARTIFACT", f"{layout.SYNTHETIC}: atoms missing ['BINANCE:AAA", lose_a_stream),
    ("CROSS_ARTIFACT", "unknown ['other']", add_a_stream),
    ("CROSS_ARTIFACT", "a winner stands twice", change(layout.WINNERS, "winners", to=lambda found: [*found, found[0]])),
    ("CROSS_ARTIFACT", "weight 0.2, gross 0.25", change(*COIN, "Weight", to=0.2)),
    ("CROSS_ARTIFACT", "net -0.3 is beyond gross 0.25", change(*COIN, "Net_Weight", to=-0.3)),
    (
        "CROSS_ARTIFACT",
        "hrp: atoms missing ['BINANCE:BBB",
        change(*HRP, "assets", to=lambda found: [found[0], *found[2:]]),
    ),
    ("CROSS_ARTIFACT", "is not the winner of that id", change(*LOSING, "Logic", to="rating_ma")),
    ("CROSS_ARTIFACT", "is in another cluster", change(*LOSING, "Cluster_ID", to=1)),
    ("CROSS_ARTIFACT", "holds another coin's atom", change(*FLAT, "assets", 1, "Symbol", to=COINS[3])),
    ("CROSS_ARTIFACT", "not built from its fields", change(layout.WINNERS, "winners", 4, "logic", to="rating_ma")),
    ("CROSS_ARTIFACT", "XXXUSDT is not in the returns matrix", change(*COIN, "Symbol", to="BINANCE:XXXUSDT")),
    ("CAP_BREACH", "cluster 3 weighs 0.5, not None", change(*HRP, "clusters", to={"1": 0.25, "2": 0.0})),
    ("PROFILE_MISSING", f"hrp is not in {layout.OPTIMIZED}", change(*HRP[:2], to=lambda found: without(found, "hrp"))),
    ("PROFILE_MISSING", f"hrp is not in {layout.FLATTENED}", change(*FLAT[:2], to=lambda found: without(found, "hrp"))),
    ("WEIGHT_SUM", "hrp: cash is -0.25", change(*HRP, "cash", to=-0.25)),
    ("WEIGHT_SUM", "flattened hrp: weights and cash sum to 1.25", change(*FLAT, "cash", to=0.5)),
    ("WEIGHT_SUM", "flattened hrp: cash was 0.25, is 0.5", change(*FLAT, "cash", to=0.5)),
    ("CAP_BREACH", "the cluster cap is 0.9, the settings give 0.5", raise_every_cluster_cap),
    (
        "CAP_BREACH",
        "hrp: 0.7 is invested of 0.75, and no CAPS_BIND says why",
        lambda c: _weigh(c, (0.2, 0.0, 0.25, 0.25)),
    ),
    (
        "CAP_BREACH",
        "hrp: caps leave 0.75 of 0.75, CAPS_BIND says",
        change(*HRP, "events", to=[{"code": "CAPS_BIND", "what": "", "values": {"budget": 0.75, "held": 0.5}}]),
    ),
    ("CAP_BREACH", "equal_weight: BINANCE:AAAUSDT_rating_all_SHORT weighs 0.375, more than its equal share", push),
    ("CAP_BREACH", "budget 0.8, decided 0.75", change(*HRP, "budget", to=0.8)),
    ("CAP_BREACH", "cluster 9 weighs 0.0, not 0.5", change(*HRP, "clusters", "9", to=0.5)),
    ("CAP_BREACH", "weighs -0.1", change(*LOSING, "Weight", to=-0.1)),
    ("CALENDAR", "have other days than the returns matrix", forget_the_last_day),
    ("CALENDAR", f"{layout.RETURNS} is not one row for each day", move_the_last_day(layout.RETURNS)),
    ("CALENDAR", f"{layout.RETURNS} has a day after 2024-03-31", move_the_last_day(layout.RETURNS)),
    ("CALENDAR", f"{layout.SYNTHETIC} is not one row for each day", move_the_last_day(layout.SYNTHETIC)),
    ("FUNNEL", "6 candidates have 7 fates", give_a_candidate_two_fates),
    ("FUNNEL", "discovery ends with [4], there are 3 candidates", lose_a_raw_candidate),
    ("FUNNEL", "normalization: 4 + 2 - 0 is not 5", unbalance_a_stage),
    ("FUNNEL", "6 leave normalization, 5 enter deduplication", unbalance_all_stages),
    ("FUNNEL", "the funnel ends with [5], not 5", miscount_winners),
    ("DIRECTION_MISMATCH", "is not SHORT", change(layout.WINNERS, "winners", 4, "direction", to="LONG")),
    ("DIRECTION_MISMATCH", "is FLAT with net weight -0.25", change(*COIN, "Direction", to="FLAT")),
    ("DIRECTION_MISMATCH", "is SHORT with net weight -0.25", change(*COIN, "Atoms", 0, "Direction", to="LONG")),
    ("DIRECTION_MISMATCH", "is LONG with net weight 0.25", both(change(*COIN, "Net_Weight", to=0.25), LONG_COIN)),
    ("DIRECTION_MISMATCH", "is LONG with net weight -0.0", change(*LOSING, "Direction", to="LONG")),
]


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


def words(run: Path) -> dict[str, str]:
    return {check.code.removeprefix("ATOMIC_"): check.what for check in validate(Run(run)).checks}


@pytest.mark.parametrize(("code", "what", "mutate"), NAMED, ids=[f"{code}-{what[:30]}" for code, what, _ in NAMED])
def test_a_fault_is_named_in_words(
    home: Path, code: str, what: str, mutate: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "SHOWN", 100)
    content = draft("SHORT")
    content[layout.OPTIMIZED]["profiles"]["hrp"]["clusters"].setdefault("9", 0.0)
    mutate(content)
    assert what in words(publish(home, "r", content, through=13))[code]


def test_a_verdict_spells_out_the_first_faults(home: Path) -> None:
    content = draft("SHORT")
    lose_a_stream(content)
    content[layout.CLUSTERS]["clusters"] = {}
    assert words(publish(home, "r", content, through=13))["CROSS_ARTIFACT"].endswith(" more")


INCOMPLETE = [
    ("environment",),
    ("lake",),
    ("lake", "head"),
    ("profile", "direction"),
    ("provenance",),
    ("run_id",),
    ("scanners",),
    ("source",),
    ("superset", "sha256"),
    ("as_of",),
]


@pytest.mark.parametrize("keys", INCOMPLETE, ids="_".join)
def test_an_incomplete_manifest_is_found(open_run: Path, keys: tuple[str, ...]) -> None:
    manifest = files.read_json(open_run / layout.MANIFEST)
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    files.write_json(open_run / layout.MANIFEST, manifest)
    result = validate(Run(open_run))
    assert (result.profile == "unknown") == (keys[0] not in ("environment", "run_id"))
    found = {check.code.removeprefix("ATOMIC_"): check.what for check in result.checks if not check.ok}
    assert {"NOT_REPLAYABLE", "HASH_MISMATCH"} <= found.keys()
    assert ".".join(keys) in found["NOT_REPLAYABLE"]


@pytest.mark.parametrize("damage", [b"", b"not json\n", b'{"head": 3}\n', b"[]\n"])
def test_heads_that_do_not_name_the_pin_are_found(open_run: Path, damage: bytes) -> None:
    (open_run.parent.parent / "lake" / "sample-0" / "heads.jsonl").write_bytes(damage)
    assert failed(open_run) == {"NOT_REPLAYABLE"}


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc"])
@pytest.mark.parametrize("keys", [("lake", "folder"), ("superset", "path")])
def test_a_manifest_does_not_lead_out_of_the_home_folder(open_run: Path, keys: tuple[str, str], folder: str) -> None:
    manifest = files.read_json(open_run / layout.MANIFEST)
    manifest[keys[0]][keys[1]] = folder
    files.write_json(open_run / layout.MANIFEST, manifest)
    assert "leaves the home folder" in words(open_run)["NOT_REPLAYABLE"]


def test_a_superset_that_was_changed_is_found(open_run: Path) -> None:
    (open_run.parent.parent / "lake" / "sample-0" / "superset" / "s.json").write_bytes(b"another superset\n")
    assert failed(open_run) == {"NOT_REPLAYABLE"}


# What was changed on the disk afterwards


@pytest.fixture(scope="module")
def whole_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_home(tmp_path_factory.mktemp("whole") / "home")
    publish(home, "r", draft("SHORT"), through=13)
    return home


@pytest.fixture
def open_run(whole_home: Path, tmp_path: Path) -> Path:
    """A run that has reached step 14, of which a test may break its own copy."""
    shutil.copytree(whole_home, tmp_path / "home")
    return tmp_path / "home" / "runs" / "r"


ALL = sorted(draft("SHORT").keys() - {layout.REPORT, layout.INDEX} | {layout.SIGN_PRE, layout.SIGN_POST})


@pytest.mark.parametrize("name", ALL)
def test_a_missing_artifact_is_found(open_run: Path, name: str) -> None:
    (open_run / name).unlink()
    found = {check.code.removeprefix("ATOMIC_"): check.what for check in validate(Run(open_run)).checks if not check.ok}
    assert found["MISSING_ARTIFACTS"] == f"{name} is missing"
    assert found["HASH_MISMATCH"] == f"{name} was recorded by its step, and is missing"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another run, every artifact of which differs a little."""
    other = draft("SHORT", seed=2)
    for document, key, value in (
        (layout.HEALTH, "rows", 299),
        (layout.PRESERVATION, "rebalances", 3),
        (layout.RAW, "pool", "superset"),
        (layout.SELECTION, "wanted", 3),
        (layout.CLUSTERS, "threshold", 0.5),
        (layout.RISK, "condition_number", 11.0),
    ):
        other[document][key] = value
    other[layout.WINNERS]["winners"][0]["alpha_score"] = 0.9
    other[layout.ENRICHED]["winners"][0]["beta"] = 0.5
    guarded(other)["assets"][0]["Weight"] = 0.2
    flat(other)["cash"] = 0.3
    for name in ALL:
        if name == layout.FEATURES or name.startswith("data/walk_forward/"):
            other[name] = other[name].with_columns(more=1.0) if name.endswith(".parquet") else {"more": 1.0}
    other[layout.SYNTHETIC] = other[layout.SYNTHETIC].drop(atom_ids("SHORT")[0])  # both sign tests fail, and differ
    return publish(make_home(tmp_path_factory.mktemp("twin") / "home"), "twin", other, through=13)


@pytest.mark.parametrize("name", ALL)
def test_another_runs_artifact_is_found(open_run: Path, twin: Path, name: str) -> None:
    data = (twin / name).read_bytes()
    assert data != (open_run / name).read_bytes()
    (open_run / name).write_bytes(data)
    assert "HASH_MISMATCH" in failed(open_run)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (layout.RETURNS, "RETURNS_PARSE"),
        (layout.SYNTHETIC, "RETURNS_PARSE"),
        (layout.SIGN_PRE, "SIGN_TEST_PRE_PARSE"),
        (layout.SIGN_POST, "SIGN_TEST_POST_PARSE"),
        (layout.OPTIMIZED, "OPT_PARSE"),
        (layout.FLATTENED, "FLATTEN_PARSE"),
        (layout.WALK_RETURNS, "CALENDAR"),
        (layout.RISK, "CAP_BREACH"),
        (layout.SELECTION, "FUNNEL"),
        (layout.MANIFEST, "NOT_REPLAYABLE"),
        (layout.WINNERS, "CROSS_ARTIFACT"),
    ],
)
@pytest.mark.parametrize("damage", [b"", b"{}", b"PAR1 nothing PAR1"])
def test_an_unreadable_artifact_is_found(open_run: Path, name: str, code: str, damage: bytes) -> None:
    (open_run / name).write_bytes(damage)
    found = failed(open_run)
    assert {code, "HASH_MISMATCH"} <= found
    assert ("MISSING_ARTIFACTS" in found) == (name != layout.MANIFEST or damage != b"{}")


def test_a_missing_sign_test_is_found(open_run: Path) -> None:
    (open_run / layout.SIGN_PRE).unlink()
    (open_run / layout.SIGN_POST).unlink()
    assert {"SIGN_TEST_PRE_MISSING", "SIGN_TEST_POST_MISSING"} <= failed(open_run)


def test_a_sign_test_that_claims_to_have_passed_is_made_again(home: Path) -> None:
    good = publish(home, "good", draft("SHORT"), through=13)
    content = draft("SHORT")
    flip_one_short(content)
    for name in (layout.SIGN_PRE, layout.SIGN_POST):
        content[name] = files.read_json(good / name)
    assert failed(publish(home, "forged", content, through=13)) == SIGNS


@pytest.mark.parametrize("change", [{"values_compared": 0}, {"ok": False}, {"stage": "post_opt"}])
def test_a_sign_test_that_did_not_pass_is_found(home: Path, change: dict[str, Any]) -> None:
    good = publish(home, "good", draft("SHORT"), through=13)
    content = draft("SHORT")
    content[layout.SIGN_PRE] = {**files.read_json(good / layout.SIGN_PRE), **change}
    assert failed(publish(home, "bad", content, through=13)) == {"SIGN_TEST_PRE_FAIL"}


# The ledger


def test_an_edited_ledger_line_is_found(open_run: Path) -> None:
    path = open_run / layout.LEDGER
    path.write_bytes(path.read_bytes().replace(b'"rows":300', b'"rows":301', 1))
    assert {"LEDGER_BROKEN", "HASH_MISMATCH"} <= failed(open_run)


def test_a_truncated_ledger_is_found(open_run: Path) -> None:
    path = open_run / layout.LEDGER
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in (whole[:-1], b"".join(lines[:-1]), b"".join(lines[:-2]), lines[0], b""):
        path.write_bytes(kept)
        assert "LEDGER_BROKEN" in failed(open_run)
    path.unlink()
    assert {"LEDGER_BROKEN", "HASH_MISMATCH", "MISSING_ARTIFACTS"} <= failed(open_run)


def test_another_runs_ledger_is_found(open_run: Path, twin: Path) -> None:
    (open_run / layout.LEDGER).write_bytes((twin / layout.LEDGER).read_bytes())
    assert "LEDGER_BROKEN" in failed(open_run)


def gate_that_failed(ledger: Ledger, step: int) -> None:
    if step == 7:
        ledger.gate(step, "sign_test_pre_opt", False, 100, ["x"])


def gate_that_checked_nothing(ledger: Ledger, step: int) -> None:
    if step == 7:
        ledger.gate(step, "sign_test_pre_opt", True, 0, [])


def contract_that_checked_nothing(ledger: Ledger, step: int) -> None:
    if step == 6:
        ledger.contract(step, "L3", "SyntheticReturnsSchema", 0, 0, 0, 0, "passed")


@pytest.mark.parametrize("say", [gate_that_failed, gate_that_checked_nothing, contract_that_checked_nothing])
def test_a_gate_without_teeth_is_found(home: Path, say: Callable[[Ledger, int], None]) -> None:
    assert failed(publish(home, "r", draft("SHORT"), through=13, on_step=say)) == {"LEDGER_BROKEN"}


def test_what_a_redone_step_said_before_does_not_count(home: Path) -> None:
    def redo(ledger: Ledger, step: int) -> None:
        if step == 7:
            ledger.gate(step, "sign_test_pre_opt", False, 100, ["x"])
            ledger.resume({"reason": "killed"})
            manifest = files.sha256_file(home / "runs" / "r" / layout.MANIFEST)
            ledger.intent(step, "sign_test_pre_opt", {layout.MANIFEST: manifest})
            ledger.gate(step, "sign_test_pre_opt", True, 100, [])

    assert failed(publish(home, "r", draft("SHORT"), through=13, on_step=redo)) == set()


@pytest.mark.parametrize(
    ("action", "dropped", "told"),
    [
        ("failed", [], "contract InferenceSchema of step 4 failed"),
        ("logged", [], "contract InferenceSchema of step 4 logged"),
        ("filtered", [atom_ids("SHORT")[0]], "which went on"),
        ("filtered", [COINS[PICKS[0][0]]], "which went on"),
        ("filtered", [f"{COINS[PICKS[0][0]]} 2024-03-30T00:00:00Z"], "which went on"),
        ("filtered", ["BINANCE:GONEUSDT"], None),
    ],
)
def test_a_contract_that_failed_or_dropped_a_winner_is_found(
    home: Path, action: str, dropped: list[str], told: str | None
) -> None:
    def say(ledger: Ledger, step: int) -> None:
        if step == 4:
            ledger.contract(step, "L2", "InferenceSchema", 9, 5, 45, 1, action, details={"dropped": dropped})

    run = publish(home, "r", draft("SHORT"), through=13, on_step=say)
    assert failed(run) == ({"CONTRACT_FAILED"} if told else set())
    assert told is None or told in words(run)["CONTRACT_FAILED"]


@pytest.mark.parametrize("layer", [3, 4, 6, 10])
def test_a_layer_without_a_contract_is_found(home: Path, layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_house, "CONTRACTS", {k: v for k, v in audit_house.CONTRACTS.items() if k != layer})
    assert failed(publish(home, "r", draft("SHORT"), through=13)) == {"CONTRACT_FAILED"}


def test_a_step_that_failed_at_last_has_not_ended(open_run: Path) -> None:
    with Ledger.open(open_run / layout.LEDGER) as ledger:
        ledger.intent(13, "capital_preservation", {})
        ledger.outcome(13, "capital_preservation", "failed", {}, {}, {"code": "GATE"})
    assert "step 13 capital_preservation has not ended well" in words(open_run)["LEDGER_BROKEN"]


def test_an_artifact_that_no_step_recorded_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tuple((name, tuple(w for w in writes if w != layout.HEALTH)) for name, writes in audit_house.STEPS)
    monkeypatch.setattr(audit_house, "STEPS", steps)
    content = draft("SHORT")
    run = publish(home, "r", content, through=13)
    save(run / layout.HEALTH, content[layout.HEALTH])
    assert failed(run) == {"HASH_MISMATCH"}


def test_a_step_that_is_being_redone_has_not_ended(open_run: Path) -> None:
    with Ledger.open(open_run / layout.LEDGER) as ledger:
        ledger.intent(13, "capital_preservation", {})
    assert "a step before this one has not ended" in words(open_run)["LEDGER_BROKEN"]


@pytest.mark.parametrize("step", [3, 7, 11])
def test_a_step_without_its_gate_is_found(home: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_house, "GATES", {k: v for k, v in audit_house.GATES.items() if k != step})
    assert failed(publish(home, "r", draft("SHORT"), through=13)) == {"LEDGER_BROKEN"}


def test_a_ledger_chained_rightly_and_told_wrongly_is_found(home: Path) -> None:
    def jump(ledger: Ledger, step: int) -> None:
        if step == 5:
            ledger.intent(6, "strategy_synthesis", {})

    assert "LEDGER_BROKEN" in failed(publish(home, "r", draft("SHORT"), through=13, on_step=jump))


@pytest.mark.parametrize("through", [1, 7, 12])
def test_a_run_that_stopped_early_is_not_valid(home: Path, through: int) -> None:
    assert {"LEDGER_BROKEN", "MISSING_ARTIFACTS"} <= failed(publish(home, "r", draft("SHORT"), through=through))


def test_a_step_under_another_name_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tuple(("sinthesis" if name == "strategy_synthesis" else name, w) for name, w in audit_house.STEPS)
    monkeypatch.setattr(audit_house, "STEPS", steps)
    assert failed(publish(home, "r", draft("SHORT"), through=13)) == {"LEDGER_BROKEN"}


# Empty portfolios


def empty(content: Draft, names: tuple[str, ...] = RISK_PROFILES) -> None:
    """All cash, guarded: every atom is a loss maker."""
    nothing = (0.0, 0.0, 0.0, 0.0)
    for name in names:
        made = audit_house.optimized("SHORT", nothing, 0.0)
        made["solver"]["status"] = "ALL_CASH"
        content[layout.OPTIMIZED]["profiles"][name] = made
        content[layout.FLATTENED]["profiles"][name] = audit_house.flattened("SHORT", nothing)


def lose_everywhere(content: Draft) -> None:
    empty(content)
    content[layout.RISK] |= {"loss_makers": dict.fromkeys(atom_ids("SHORT"), -0.01), "budget": 0.0}


def test_an_empty_portfolio_needs_its_event(home: Path) -> None:
    content = draft("SHORT")
    lose_everywhere(content)
    assert failed(publish(home, "silent", content, through=13)) == {"EMPTY_HRP", "EMPTY_FLATTENED"}
    run = publish(home, "told", content, through=13, events=("ALL_LOSS_MAKERS",))
    assert validate(Run(run)).ok


def test_an_event_that_is_not_true_excuses_nothing(home: Path) -> None:
    content = draft("SHORT")
    lose_everywhere(content)
    content[layout.RISK]["loss_makers"].popitem()
    run = publish(home, "r", content, through=13, events=("ALL_LOSS_MAKERS",))
    assert failed(run) == {"EMPTY_HRP", "EMPTY_FLATTENED"}


def test_only_max_sharpe_may_find_no_positive_mean(home: Path) -> None:
    content = draft("SHORT")
    empty(content, ("max_sharpe",))
    content[layout.OPTIMIZED]["profiles"]["max_sharpe"]["budget"] = 0.75
    assert failed(publish(home, "silent", content, through=13)) == {"EMPTY_FLATTENED"}
    event = ("NO_POSITIVE_EXPECTED_RETURN",)
    assert validate(Run(publish(home, "told", content, through=13, events=event))).ok
    empty(content, ("hrp",))
    content[layout.OPTIMIZED]["profiles"]["hrp"]["budget"] = 0.75
    assert failed(publish(home, "hrp", content, through=13, events=event)) == {"EMPTY_HRP", "EMPTY_FLATTENED"}


def test_without_the_guard_a_loss_maker_may_be_held(home: Path) -> None:
    content = draft("SHORT")
    settings = profile("SHORT", guard={"enabled": False, "days": 60})
    content[layout.MANIFEST]["profile"] = settings
    hold_a_loss_maker(content)
    assert validate(Run(publish(home, "r", content, through=13))).ok


def stand_aside(allowed: bool) -> Draft:
    content = draft("SHORT")
    content[layout.MANIFEST]["profile"] = profile("SHORT", stand_aside=allowed)
    content[layout.RAW]["candidates"] = []
    content[layout.WINNERS]["winners"] = []
    content[layout.ENRICHED] |= {"winners": [], "dropped": []}
    content[layout.SYNTHETIC] = content[layout.SYNTHETIC].select("date")
    content[layout.CLUSTERS]["clusters"] = {}
    content[layout.RISK] |= {"loss_makers": {}, "budget": 0.0}
    for kind, budget in (("profiles", 0.0), ("unguarded", 0.0)):
        for weights in content[layout.OPTIMIZED][kind].values():
            weights |= {"assets": [], "clusters": {}, "cash": 1.0, "budget": budget}
    for weights in content[layout.FLATTENED]["profiles"].values():
        weights |= {"assets": [], "cash": 1.0, "gross": 0.0, "net": 0.0}
    stages = content[layout.SELECTION]["stages"]
    stages[0] |= {"n_in": 6, "n_out": 0}
    for stage in stages[1:]:
        stage |= {"n_in": 0, "expanded": 0, "dropped": 0, "n_out": 0, "expanded_by": {}, "dropped_by": {}}
    content[layout.SELECTION] |= {"fates": [], "n_winners": 0, "n_clusters": 0}
    return content


def test_a_run_that_stands_aside_is_valid_if_its_profile_and_ledger_say_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = ("STAND_ASIDE",)

    def nothing_to_check(ledger: Ledger, step: int) -> None:
        ledger.contract(step, "L2", "InferenceSchema", 0, 0, 0, 0, "passed")

    told = publish(
        home, "told", stand_aside(True), through=13, events=event, stand_aside=True, on_step=nothing_to_check
    )
    assert failed(told) == set()
    assert {"EMPTY_HRP", "EMPTY_RETURNS", *SIGNS} <= failed(publish(home, "silent", stand_aside(True), through=13))
    forbidden = publish(home, "forbidden", stand_aside(False), through=13, events=event, stand_aside=True)
    assert {"EMPTY_HRP", "EMPTY_RETURNS", *SIGNS} <= failed(forbidden)


def test_a_run_with_atoms_does_not_stand_aside(home: Path) -> None:
    content = draft("SHORT")
    content[layout.MANIFEST]["profile"] = profile("SHORT", stand_aside=True)
    run = publish(home, "r", content, through=13, events=("STAND_ASIDE",))
    assert failed(run) >= SIGNS


def test_a_check_that_compared_nothing_has_failed(open_run: Path) -> None:
    check = atomic._check(Run(open_run), ("BAD", "GOOD", lambda _run, _tally: None))
    assert (check.code, check.ok, check.checked, check.what) == ("BAD", False, 0, "nothing was checked")


# The verdict for people


def test_the_verdict_in_words(open_run: Path) -> None:
    text = to_markdown(validate(Run(open_run)))
    assert text.startswith("# Atomic validation of r\n")
    assert "**VALID**, 22 of 22 checks ok" in text
    (open_run / layout.RISK).unlink()
    text = to_markdown(validate(Run(open_run)))
    assert "**INVALID**" in text
    assert f"{layout.RISK} is missing" in text
    check = artifacts.Check(code="X", ok=False, checked=0, what="<script>|\n|")
    text = to_markdown(artifacts.AtomicValidation(run_id="r", profile="p", ok=False, checks=[check]))
    assert "<script>" not in text
    assert text.splitlines()[-1].count("|") - text.splitlines()[-1].count("\\|") == 5


def test_a_changed_artifact_of_a_sealed_run_shows_in_both_gates(run: Path) -> None:
    content = files.read_json(run / layout.OPTIMIZED)
    save(run / layout.OPTIMIZED, json.loads(json.dumps(content).replace(COINS[0], COINS[3])))
    assert "HASH_MISMATCH" in failed(run)
    assert verify(run).problems[0].where == layout.OPTIMIZED
