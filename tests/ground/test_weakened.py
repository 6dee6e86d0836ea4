"""Which settings weaken the canon: each field says so once, and every way of setting it is seen."""

import pytest

from assay.settings import load
from assay.settings.model import CHOICE, MetaProfile, Profile, Scanner
from assay.settings.weakened import rules, weakened

LONG = "binance_spot_rating_all_long"
CANON = [f"binance_spot_rating_{kind}_{side}" for kind in ("all", "ma") for side in ("long", "short")]


@pytest.mark.parametrize("model", [Profile, MetaProfile, Scanner])
def test_every_setting_says_whether_it_can_weaken_a_rule(model):
    undecided = [name for name, rule in rules(model) if rule is None]
    assert not undecided, f"{model.__name__}: give these a Strength (LESS, MORE, OTHER or CHOICE): {undecided}"
    assert sum(rule is not CHOICE for _, rule in rules(model)) >= 3


def test_nothing_of_the_canon_is_weakened():
    catalog = load()
    assert {name: weakened(catalog.profile(name), catalog.scanners()) for name in CANON} == dict.fromkeys(CANON, ())
    assert weakened(catalog.profile("binance_spot_rating_multi_long"), catalog.scanners()) == ()
    assert weakened(catalog.meta("meta_binance_spot_ratings")) == ()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("costs.fee=0", "costs.fee 0 (canon 10 bp)"),
        ("costs.slippage=0.0001", "costs.slippage 1 bp (canon 5 bp)"),
        ("costs.borrow=0", "costs.borrow 0 (canon 0.1)"),
        ("costs.delisting_haircut=0", "costs.delisting_haircut 0 (canon 0.1)"),
        ("caps.atom=1", "caps.atom 1 (canon 0.25)"),
        ("caps.cluster_crisis=0.2", "caps.cluster_crisis 0.2 (canon 0.15)"),
        ("caps.slack=5", "caps.slack 5 (canon 1.5)"),
        ("guard.enabled=false", "guard.enabled off (canon on)"),
        ("guard.days=2", "guard.days 2 (canon 60)"),
        ("guard.days=5000", "guard.days 5,000 (canon 60)"),
        ("data.floor=30", "data.floor 30 (canon 252)"),
        ("data.min_rows=10", "data.min_rows 10 (canon 200)"),
        ("data.coverage=0", "data.coverage 0 (canon 0.9)"),
        ("selection.vetoes.entropy=1", "selection.vetoes.entropy 1 (canon 0.999)"),
        ("selection.vetoes.efficiency=0", "selection.vetoes.efficiency 0 (canon 0.05)"),
        ("selection.vetoes.kurtosis=1e9", "selection.vetoes.kurtosis 1,000,000,000 (canon 20)"),
        ("selection.cluster_threshold=9", "selection.cluster_threshold 9 (canon 0.45)"),
        ("selection.cluster_threshold=0.001", "selection.cluster_threshold 0.001 (canon 0.45)"),
        ("selection.cluster_windows=[2]", "selection.cluster_windows 2 (canon 60/120/200)"),
        ("walk_forward.train=20", "walk_forward.train 20 (canon 252)"),
        ("walk_forward.step=100", "walk_forward.step 100 (canon 10)"),
        (f"scanners.{LONG}.min_value_traded=0", f"scanners.{LONG}.min_value_traded 0 (canon 1,000,000)"),
        ("universe.min_bars=1", f"scanners.{LONG}.universe.min_bars 1 (canon 252)"),
    ],
)
def test_a_weaker_rule_is_named_with_both_values(setting, says):
    catalog = load(settings=[setting])
    assert weakened(catalog.profile(LONG), catalog.scanners()) == (says,)


@pytest.mark.parametrize(
    "setting",
    [
        "costs.fee=0.02", "caps.atom=0.1", "data.floor=300", "selection.vetoes.efficiency=0.2", "pool=own",
        "selection.wanted=5", "walk_forward.start=2023-01-01", "universe.min_bars=400", "stand_aside=true",
        "scanners.binance_spot_rating_ma_long.limit=500",
    ],
)  # fmt: skip
def test_a_stronger_rule_a_choice_and_another_s_scanner_are_not(setting):
    catalog = load(settings=[setting])
    assert weakened(catalog.profile(LONG), catalog.scanners()) == ()


def test_the_pool_of_all_scanners_names_all_of_them():
    catalog = load(settings=["scanners.binance_spot_rating_ma_long.limit=500", "pool=superset"])
    [said] = weakened(catalog.profile(LONG), catalog.scanners())
    assert said == "scanners.binance_spot_rating_ma_long.limit 500 (canon 100)"


@pytest.mark.parametrize("section", ["[defaults]", f"[profiles.{LONG}]"])
def test_a_file_and_the_environment_are_seen_as_well(tmp_path, section):
    (tmp_path / "assay.toml").write_text(f"{section}\ncosts.fee = 0.0\n")
    catalog = load(tmp_path, {"ASSAY_SET__data__floor": "30"})
    assert set(weakened(catalog.profile(LONG))) == {"costs.fee 0 (canon 10 bp)", "data.floor 30 (canon 252)"}


def test_a_profile_and_a_scanner_of_one_s_own_are_held_against_the_packaged_defaults(tmp_path):
    (tmp_path / "assay.toml").write_text(
        '[scanners.mine]\nlogic = "rating_other"\ndirection = "LONG"\nuniverse.min_bars = 10\n'
        '[profiles.mine]\ndirection = "LONG"\nlogics = ["rating_other"]\nscanners = ["mine"]\ncaps.atom = 0.5\n'
        '[meta.mine]\nsleeves = ["mine"]\nallow_single = true\nmax_coin = 0.9\n'
    )
    catalog = load(tmp_path)
    assert weakened(catalog.profile("mine"), catalog.scanners()) == (
        "caps.atom 0.5 (canon 0.25)",
        "scanners.mine.universe.min_bars 10 (canon 252)",
    )
    assert weakened(catalog.meta("mine")) == ("max_coin 0.9 (canon 0.15)", "allow_single on (canon off)")
