"""A run's results for other programs: frames with one call, years and regimes as files."""

import datetime as dt
import json
import sys
from importlib import resources

import numpy as np
import polars as pl
import pytest

import assay
from assay.base.errors import UsageError
from assay.settings import load

RISK_PROFILES = ["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return assay.run("binance_spot_rating_all_long", home=tmp_path_factory.mktemp("results") / "home")


def long_frame(run):
    """Return the days on which every tranche is filled, which are those that figures are of."""
    return pl.read_parquet(run.path / "data/walk_forward/returns.parquet").filter("counted")


def by_name(frame, name):
    [row] = frame.filter(pl.col("risk_profile") == name).to_dicts()
    return row


def test_a_wide_frame_of_polars(made):
    wide = made.returns_wide()
    assert wide.columns == ["date", *RISK_PROFILES]
    assert wide["date"].is_sorted()
    for name in RISK_PROFILES:
        own = long_frame(made).filter(pl.col("risk_profile") == name).sort("date")
        assert wide["date"].to_list() == own["date"].to_list()
        assert wide[name].to_list() == own["ret"].to_list()


def test_a_wide_frame_of_pandas(made):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    wide, plain = made.returns_wide(as_pandas=True), made.returns_wide()
    assert isinstance(wide, pandas.DataFrame)
    assert isinstance(wide.index, pandas.DatetimeIndex)
    assert (wide.index.name, list(wide.columns)) == ("date", RISK_PROFILES)
    assert [day.date() for day in wide.index] == plain["date"].to_list()
    np.testing.assert_array_equal(wide.to_numpy(), plain.drop("date").to_numpy())
    monthly = wide.add(1).resample("ME").prod().sub(1)
    assert monthly.add(1).prod()["hrp"] == pytest.approx(by_name(made.statistics, "hrp")["final_wealth"])


def test_the_unguarded_frame(made):
    other = pl.read_parquet(made.path / "data/walk_forward/unguarded_returns.parquet")
    own = other.filter(pl.col("counted"), pl.col("risk_profile") == "hrp").sort("date")["ret"].to_list()
    assert made.returns_wide(guarded=False)["hrp"].to_list() == own


def test_without_pandas_it_says_so(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas is not installed"):
        made.returns_wide(as_pandas=True)
    assert made.returns_wide().height == 124


def test_years(made):
    by_year = json.loads((made.path / "data/walk_forward/by_year.json").read_text())
    assert list(by_year) == sorted(RISK_PROFILES)
    for name, years in by_year.items():
        assert list(years) == ["2023", "2024"]
        for year, figures in years.items():
            own = long_frame(made).filter((pl.col("risk_profile") == name) & (pl.col("date").dt.year() == int(year)))
            daily = own.sort("date")["ret"].to_numpy()
            assert figures["days"] == len(daily)
            assert figures["final_wealth"] == pytest.approx(np.prod(1 + daily))
            assert figures["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(365))


def test_regimes_are_those_of_the_last_decision(made):
    by_regime = json.loads((made.path / "data/walk_forward/by_regime.json").read_text())
    decisions = pl.read_parquet(made.path / "data/walk_forward/decisions.parquet").sort("as_of")
    for name, regimes in by_regime.items():
        days = long_frame(made).filter(pl.col("risk_profile") == name).sort("date")
        named = days.join_asof(decisions, left_on="date", right_on="fill_date")
        assert set(regimes) == set(named["regime"].unique())
        assert len(regimes) > 1
        for regime, figures in regimes.items():
            daily = named.filter(pl.col("regime") == regime)["ret"].to_numpy()
            assert figures["days"] == len(daily)
            assert figures["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(365))


def test_a_run_is_opened_by_id_beginning_path_or_latest(made, monkeypatch):
    home = made.path.parents[1]
    assert assay.Run("latest", home) == assay.Run(made.run_id[:-2], home) == assay.Run(made.path) == made
    assert assay.Run(str(made.path)) == made
    monkeypatch.setenv("ASSAY_HOME", str(home))
    assert assay.runs() == assay.runs(made.status.profile, state="VALID") == [made]
    assert assay.runs(state="FAILED") == []
    assert repr(assay.Run("latest")) == f"Run({made.run_id!r}, VALID)"
    for unknown in ("nope", home / "nope"):
        with pytest.raises(UsageError, match="no run"):
            assay.Run(unknown)


def test_rooms_with_the_name_of_a_function_are_both(made):
    import assay.meta.walk
    import assay.runs.home as module

    assert module.Home
    assert assay.runs(home=made.path.parents[1]) == [made]
    assert callable(assay.meta)
    with pytest.raises(AttributeError, match="it has Lake, Profile, Run"):
        assay.nothing  # noqa: B018 - the access is what is tested


def test_results_are_frames_and_unknown_names_are_told(made):
    folder = made.path / "data" / "walk_forward"
    told = json.loads((folder / "statistics.json").read_text())["as_run"]
    assert made.statistics["risk_profile"].to_list() == RISK_PROFILES
    assert by_name(made.statistics, "hrp")["sharpe"] == told["hrp"]["sharpe"]
    yardsticks = pl.read_parquet(folder / "yardsticks.parquet")
    assert made.benchmark["ret"].to_list() == yardsticks["benchmark"].to_list()
    assert made.trades.equals(pl.read_parquet(folder / "trades.parquet"))
    books = json.loads((folder / "holdings.json").read_text())["profiles"]
    own = made.positions.filter(pl.col("risk_profile") == "hrp")
    assert own["net_weight"].to_list() == [one["Net_Weight"] for one in books["hrp"]["assets"]]
    for ask in (made.returns, made.sleeve):
        with pytest.raises(UsageError, match="no risk profile 'hrpp'"):
            ask("hrpp")
    assert len(repr(made.sleeve("hrp"))) < 120
    assert assay.why(made, "SOLUSDT").symbol == "BINANCE:SOLUSDT"


def test_a_profile_settings_date_and_frame_of_python(made, tmp_path):
    catalog = load()
    own = catalog.profile("binance_spot_rating_all_long").model_copy(update={"name": "mine"})
    bars = pl.read_parquet(next(resources.files("assay.sources").joinpath("sample").glob("*.parquet")))
    run = assay.run(
        own,
        source=bars,
        as_of=dt.date(2024, 1, 10),
        home=tmp_path / "home",
        settings={"caps.atom": 0.2, "walk_forward.days": 20},
        run_id="mine",
    )
    assert (run.run_id, run.status.profile) == ("mine", "mine")
    profile = run.manifest["profile"]
    assert (profile["caps"]["atom"], profile["walk_forward"]["days"]) == (0.2, 20)
    assert run.manifest["source"].startswith(f"parquet:{tmp_path}")
    assert run.sleeve("hrp").weights != {}
    with pytest.raises(UsageError, match="LazyFrame"):
        assay.run("binance_spot_rating_all_long", source=bars.lazy(), home=tmp_path / "home")
