import pytest

from assay.base.errors import ProfileError
from assay.settings import RISK_PROFILES, load

CANON = [f"binance_spot_rating_{kind}_{side}" for kind in ("all", "ma") for side in ("long", "short")]


@pytest.mark.parametrize("name", CANON)
def test_the_canon_holds_the_published_constants(name):
    profile = load().profile(name)
    assert (profile.data.lookback, profile.data.floor) == (500, 252)
    assert (profile.selection.top_n, profile.selection.cluster_threshold, profile.selection.vetoes.entropy) == (
        15,
        0.45,
        0.999,
    )
    assert (profile.walk_forward.train, profile.walk_forward.hold, profile.walk_forward.step) == (252, 10, 10)
    assert profile.benchmark == "BINANCE:BTCUSDT"
    assert profile.risk.risk_profiles == RISK_PROFILES
    assert profile.direction == name.rsplit("_", 1)[1].upper()
    assert (profile.selection.dominant_signal, profile.selection.dominant_weight) == (
        ("recommend_ma", 3.0) if "_ma_" in name else (None, 3.0)
    )
    assert profile.scanners == (name,)


def test_layers_lie_over_each_other_in_order(tmp_path):
    (tmp_path / "assay.toml").write_text(
        "[defaults]\ncaps.atom = 0.2\ncosts.fee = 0.002\n[profiles.binance_spot_rating_all_long]\ncosts.fee = 0.003\n"
    )
    environment = {"ASSAY_SET__caps__cluster": "0.3", "ASSAY_SET__costs__borrow": "0.2", "HOME": "/x"}
    catalog = load(tmp_path, environment, ["costs.borrow=0.4"])
    profile = catalog.profile("binance_spot_rating_all_long")
    assert (profile.caps.atom, profile.caps.cluster, profile.costs.fee, profile.costs.borrow) == (0.2, 0.3, 0.003, 0.4)
    origins = catalog.provenance("binance_spot_rating_all_long")
    assert origins["caps.atom"] == "assay.toml"
    assert origins["caps.cluster"] == "ASSAY_SET__caps__cluster"
    assert origins["costs.borrow"] == "--set costs.borrow=0.4"
    assert origins["costs.slippage"] == "default"
    assert origins["data.floor"] == "canon.toml"
    assert catalog.profile("binance_spot_rating_all_short").costs.fee == 0.002


def test_settings_of_the_house_know_where_they_came_from(tmp_path):
    (tmp_path / "assay.toml").write_text('[scan]\nfallback = true\n[executor]\nuse = "serial"\n')
    environment = {"ASSAY_SET__schedule__grace": "60"}
    house = load(tmp_path, environment, ["scan.screener.attempts=2", "caps.atom=0.2"]).house()
    assert house["scan.fallback"] == (True, "assay.toml")
    assert house["executor.use"] == ("serial", "assay.toml")
    assert house["schedule.grace"] == (60.0, "ASSAY_SET__schedule__grace")
    assert house["scan.screener.attempts"] == (2, "--set scan.screener.attempts=2")
    assert house["scan.provider"] == ("ratings", "default")
    assert house["ratings.edition"] == ("2026", "canon.toml")
    assert load(settings=["ratings.edition=2021"]).house()["ratings.edition"] == ("2021", "--set ratings.edition=2021")
    assert {key.partition(".")[0] for key in house} == {"ratings", "scan", "source", "schedule", "executor"}


@pytest.mark.parametrize("said", ["2020", "mixed", "1"])
def test_an_edition_that_is_not_known_is_refused(said):
    with pytest.raises(ProfileError, match="one of 2026, 2021"):
        load(settings=[f'ratings.edition="{said}"']).ratings()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("caps.atoms=0.2", "unknown setting 'caps.atoms' .*; did you mean caps.atom?"),
        ("atom=0.2", "did you mean caps.atom?"),
        ("caps=3", "'caps' is a group of settings, not a value .*; set caps.KEY"),
        ("caps.atom=2", "'caps.atom' cannot be 2: it is above 0, at most 1, in share of the account"),
        ("caps.atom=nan", "caps.atom"),
        ("walk_forward.tranches=3", "3 tranches do not divide a step of 10 days"),
        ("limit=3", "unknown setting 'limit' .*; it is a setting of scanners: write scanners.NAME.limit"),
        ("max_coin=0.2", "it is a setting of portfolios: write meta.max_coin"),
        ("meta.max_coi=0.2", "there is no meta.max_coi .*; did you mean meta.max_coin?"),
        ("meta=3", "meta is a section"),
        ("defaults.caps.atom=0.2", "defaults is set in files only"),
        ("profiles.binance_spot_rating_al_long.caps.atom=0.2", "did you mean profiles.binance_spot_rating_all_long?"),
        ("scanners.binance_spot_rating_al_long.limit=3", "did you mean scanners.binance_spot_rating_all_long?"),
        ("scanners.binance_spot_rating_all_long.limti=3", "unknown setting 'limti' .*; did you mean limit?"),
        ("universe.exchnage=KRAKEN", "did you mean universe.exchange?"),
        ("caps.atom", "cannot read"),
        ("direction=UP", "direction"),
        ("scanners=[]", "scanners"),
        ('scanners=["nobody"]', "nobody"),
        ("logics=[]", "logics"),
    ],
)
def test_a_bad_setting_is_refused_by_name(setting, says):
    with pytest.raises(ProfileError, match=says):
        load(settings=[setting]).profile("binance_spot_rating_all_long")


def test_a_setting_of_one_profile_leaves_the_others():
    catalog = load(settings=["profiles.binance_spot_rating_all_long.caps.atom=0.2"])
    assert catalog.profile("binance_spot_rating_all_long").caps.atom == 0.2
    assert catalog.profile("binance_spot_rating_all_short").caps.atom == 0.25


def test_a_scanner_with_an_unknown_key_is_refused_with_its_profile(tmp_path):
    (tmp_path / "assay.toml").write_text("[scanners.binance_spot_rating_all_long]\nmin_value = 1e6\n")
    with pytest.raises(ProfileError, match="did you mean min_value_traded"):
        load(tmp_path).profile("binance_spot_rating_all_long")


def test_bad_files_and_names_are_refused(tmp_path):
    (tmp_path / "assay.toml").write_text("[profile.x]\n")
    with pytest.raises(ProfileError, match="unknown section 'profile'"):
        load(tmp_path)
    (tmp_path / "assay.toml").write_text("[profiles\n")
    with pytest.raises(ProfileError, match="not TOML"):
        load(tmp_path)
    with pytest.raises(ProfileError, match="unknown name"):
        load().profile("binance_spot_rating_every_long")
    with pytest.raises(ProfileError, match="unknown flow"):
        load().flow("nothing")


def test_a_user_can_add_a_scanner_and_a_profile(tmp_path):
    (tmp_path / "assay.toml").write_text(
        '[scanners.deep]\nlogic = "rating_all"\ndirection = "LONG"\nlimit = 7\n'
        '[profiles.mine]\ndirection = "LONG"\nlogics = ["rating_all"]\nscanners = ["deep"]\n'
    )
    catalog = load(tmp_path, settings=["scanners.deep.min_value_traded=5e6"])
    assert catalog.profile("mine").scanners == ("deep",)
    assert (catalog.scanners()["deep"].limit, catalog.scanners()["deep"].min_value_traded) == (7, 5e6)
    assert catalog.scanners()["deep"].universe.quotes == ("USDT", "USDC", "FDUSD", "TUSD", "DAI", "USD")


def test_the_universe_is_a_setting_of_every_scanner():
    scanners = load(settings=['universe.quotes=["USDT"]']).scanners()
    assert {scanner.universe.quotes for scanner in scanners.values()} == {("USDT",)}
    assert load(settings=['universe.quotes=["USDT"]']).profile("binance_spot_rating_all_long").name


def test_the_multi_logic_example_and_the_flows_ship():
    catalog = load()
    assert catalog.profile("binance_spot_rating_multi_long").logics == ("rating_ma", "rating_other")
    assert catalog.flow("binance-spot-ratings") == CANON
    assert catalog.meta("meta_binance_spot_ratings").sleeves == tuple(CANON)
