"""Every mutant of a meta-portfolio is refused with its code, through the real steps."""

import datetime as dt
import shutil

import polars as pl
import pytest
from signed_runs import change_json, reseal

from assay.base import files
from assay.gates.eligibility import Refused, Terms, _check_terms
from assay.gates.validation import validate
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS as SLEEVE_STEPS
from assay.runs import artifacts as layout
from assay.runs.documents import Contributors, Flattened, Pin
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings import load
from assay.settings.model import MetaProfile

from .conftest import META, SHORTS, SLEEVES, mutated


def document(row, change):
    def mutate(run):
        value = run[row].model_dump(mode="json")
        change(value)
        return {row: type(run[row]).model_validate(value)}

    return mutate


def flip_a_sleeve(run):
    return {layout.META_RETURNS: run[layout.META_RETURNS].with_columns(-pl.col(SLEEVES[1]))}


def another_sleeves_returns(run):
    return {layout.META_RETURNS: run[layout.META_RETURNS].with_columns(pl.col(SLEEVES[0]).alias(SLEEVES[2]))}


def empty_returns(run):
    return {layout.META_RETURNS: run[layout.META_RETURNS].head(0)}


def scale_a_weight(value):
    value["profiles"]["hrp"]["sleeves"][0]["Weight"] *= 1.1


def move_a_weight(value):
    sleeves = value["profiles"]["equal_weight"]["sleeves"]
    sleeves[0]["Weight"] += 0.3
    sleeves[1]["Weight"] -= 0.15
    sleeves[2]["Weight"] -= 0.15


def call_a_sleeve_cash(value):
    """Leave out the last sleeve, and give its weight to the first: only who counts the days again can tell."""
    book = value["profiles"]["equal_weight"]
    last, first = book["sleeves"][-1], book["sleeves"][0]
    first["Weight"], last["Weight"] = first["Weight"] + last["Weight"], 0.0
    book["in_cash"] = [last["Sleeve"]]


def tell_another_gross(value):
    book = value["profiles"]["hrp"]["mean_gross"]
    book[SLEEVES[1]] += 0.01


def lose_a_shared_contributor(value):
    """Drop one of two sleeves' shares of a coin that both hold, and let the coin agree with what is left."""
    book = value["profiles"]["equal_weight"]
    parts = book["contributors"]
    symbol = next(
        part["Symbol"]
        for part in parts
        if len({other["Sleeve"] for other in parts if other["Symbol"] == part["Symbol"]}) > 1
    )
    parts.remove(next(part for part in parts if part["Symbol"] == symbol))


def turn_a_contributor(value):
    part = value["profiles"]["min_variance"]["contributors"][0]
    part["Direction"] = "LONG" if part["Direction"] == "SHORT" else "SHORT"


def turn_a_coin(value):
    coin = value["profiles"]["hrp"]["assets"][0]
    coin["Net_Weight"] = -coin["Net_Weight"]
    coin["Direction"] = "LONG" if coin["Direction"] == "SHORT" else "SHORT"


def lose_a_coin(value):
    value["profiles"]["hrp"]["assets"].pop()


def lose_a_profile(value):
    del value["profiles"]["barbell"]


def hide_netting(value):
    value["profiles"]["hrp"]["netted"] += 0.01


def raise_the_limit(run):
    """Undo the cut of a coin everywhere: only the limit itself can tell."""
    contributors = run[layout.META_CONTRIBUTORS].model_dump(mode="json")
    flattened = run[layout.FLATTENED].model_dump(mode="json")
    book, flat = contributors["profiles"]["hrp"], flattened["profiles"]["hrp"]
    coin = next(coin for coin in book["coins"] if coin["To_Cash"] > 0)
    factor, more = coin["Before"] / coin["Gross"], coin["To_Cash"]
    for part in book["contributors"]:
        if part["Symbol"] == coin["Symbol"]:
            part["Held"] = part["Weight"]
    for field in ("Gross", "Long", "Short", "Net"):
        coin[field] *= factor
    coin["To_Cash"] = 0.0
    asset = next(asset for asset in flat["assets"] if asset["Symbol"] == coin["Symbol"])
    for field in ("Weight", "Gross_Weight", "Net_Weight"):
        asset[field] *= factor
    for part in asset["Atoms"]:
        part["Weight"] *= factor
    book["concentration_cash"] -= more
    for one in (book, flat):
        one["gross"] += more
        one["cash"] -= more
        one["net"] -= more
    book["abs_net"] += more
    return {
        layout.META_CONTRIBUTORS: Contributors.model_validate(contributors),
        layout.FLATTENED: Flattened.model_validate(flattened),
    }


def hold_another_coin(run):
    """Move a weight of one day from a coin to another: only who multiplies the sleeves' coins again can tell."""
    rows = run[layout.WALK_WEIGHTS].sort("as_of", "risk_profile", "symbol")
    sizes = rows["net_weight"].to_list()
    sizes[0], sizes[1] = sizes[0] + 0.01, sizes[1] - 0.01
    return {layout.WALK_WEIGHTS: rows.with_columns(pl.Series("net_weight", sizes))}


def weigh_a_sleeve_more(run):
    column = f"weight {SLEEVES[0]}"
    return {layout.WALK_DECISIONS: run[layout.WALK_DECISIONS].with_columns(pl.col(column) + 0.01)}


def forget_a_day(run):
    rows = run[layout.WALK_DECISIONS]
    return {layout.WALK_DECISIONS: rows.filter(pl.col("as_of") != rows["as_of"].max())}


def another_tranche(run):
    return {layout.WALK_DECISIONS: run[layout.WALK_DECISIONS].with_columns((pl.col("tranche") + 1) % 10)}


def hold_what_was_not_traded(value):
    value["profiles"]["hrp"]["assets"][0]["Held"] *= 1.5


def fall_below_a_quarter(run):
    """Let the table tell a fall of which the verdict knows nothing."""
    first = pl.col("date") == pl.col("date").min()
    nav = pl.when(first).then(0.2).otherwise(pl.col("nav"))
    return {layout.WALK_RETURNS: run[layout.WALK_RETURNS].with_columns(nav.alias("nav"))}


def deny_ruin(value):
    value["ruin"]["hrp"]["lowest_level"] = None
    value["ruin"]["hrp"]["lowest_nav"] += 0.1


MUTANTS = {
    "a coin of a day that no sleeve holds so": ("walk_forward", hold_another_coin, {"META_WALK"}),
    "a sleeve that weighs more than its day allows": ("walk_forward", weigh_a_sleeve_more, {"META_WALK"}),
    "a day without a decision": ("walk_forward", forget_a_day, {"META_WALK"}),
    "the turn of another tranche": ("walk_forward", another_tranche, {"META_WALK"}),
    "units that nobody traded": (
        "walk_forward",
        document(layout.HOLDINGS, hold_what_was_not_traded),
        {"META_BOOK"},
    ),
    "a fall of which nothing is said": ("analysis", fall_below_a_quarter, {"META_RUIN"}),
    "another lowest NAV": ("analysis", document(layout.META_ANALYSIS, deny_ruin), {"META_RUIN"}),
    "a sleeve with flipped signs": ("meta_returns", flip_a_sleeve, {"META_SIGN_FLIPPED"}),
    "no returns": ("meta_returns", empty_returns, {"META_EMPTY"}),
    "another sleeve's returns": ("meta_returns", another_sleeves_returns, {"META_RETURNS_MISMATCH"}),
    "a scaled weight": (
        "optimization",
        document(layout.META_OPTIMIZED, scale_a_weight),
        {"META_WEIGHT_SUM"},
    ),
    "a weight beyond its bounds": (
        "optimization",
        document(layout.META_OPTIMIZED, move_a_weight),
        {"META_BOUNDS_BREACH"},
    ),
    "a sleeve called cash": (
        "optimization",
        document(layout.META_OPTIMIZED, call_a_sleeve_cash),
        {"META_SLEEVE_IN_CASH"},
    ),
    "another mean gross": (
        "optimization",
        document(layout.META_OPTIMIZED, tell_another_gross),
        {"META_SLEEVE_IN_CASH"},
    ),
    "overlapping contributors lost": (
        "weight_flattening",
        document(layout.META_CONTRIBUTORS, lose_a_shared_contributor),
        {"META_CONTRIBUTORS_LOST"},
    ),
    "a turned contributor": (
        "weight_flattening",
        document(layout.META_CONTRIBUTORS, turn_a_contributor),
        {"META_DIRECTION_MISMATCH"},
    ),
    "a turned coin": (
        "weight_flattening",
        document(layout.FLATTENED, turn_a_coin),
        {"META_DIRECTION_MISMATCH"},
    ),
    "a lost coin": (
        "weight_flattening",
        document(layout.FLATTENED, lose_a_coin),
        {"META_CONTRIBUTORS_LOST"},
    ),
    "a lost risk profile": (
        "analysis",
        document(layout.FLATTENED, lose_a_profile),
        {"META_PROFILE_MISSING"},
    ),
    "netting that does not add up": (
        "sign_test_post_opt",
        document(layout.META_CONTRIBUTORS, hide_netting),
        {"META_MASS"},
    ),
    "a coin above the limit": ("weight_flattening", raise_the_limit, {"META_CONCENTRATION"}),
}


QUICK = {
    "a coin of a day that no sleeve holds so",
    "units that nobody traded",
    "a fall of which nothing is said",
    "a sleeve with flipped signs",
    "a scaled weight",
    "a weight beyond its bounds",
    "a sleeve called cash",
    "another mean gross",
    "overlapping contributors lost",
    "a coin above the limit",
}


@pytest.mark.parametrize(
    "mutant", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in MUTANTS]
)
def test_the_mutant_is_refused_with_its_code(assembly, mutant):
    after, mutation, codes = MUTANTS[mutant]
    folder, outcome = assembly.run(assembly.request(), mutated(after, mutation))
    assert outcome.state == "FAILED"
    assert outcome.exit_code == 1
    assert outcome.error["code"] in codes, outcome.error
    assert not verify(folder, registry=assembly.home.registry).sealed


def refusal(assembly, request):
    _, outcome = assembly.run(request)
    assert outcome.state == "FAILED"
    return outcome.error["code"]


def test_a_missing_sleeve_is_refused(assembly):
    assert refusal(assembly, assembly.request(pins={SLEEVES[1]: Pin(SLEEVES[1], "")})) == "META_SLEEVE_MISSING"


def test_an_unsealed_run_is_refused(assembly):
    from assay.pipeline.flow import requests

    [request] = requests(assembly.home, load(settings=SHORTS), assembly.foundation, [SLEEVES[1]])
    execute(request, steps=SLEEVE_STEPS[:13])
    one = assembly.pin_of(request.run, SLEEVES[1])
    assert refusal(assembly, assembly.request(pins={SLEEVES[1]: one})) == "META_SLEEVE_UNSEALED"
    shutil.rmtree(request.run)


def test_a_stale_run_is_refused_by_dates_and_not_by_the_clock(assembly):
    later = assembly.foundation.as_of + dt.timedelta(days=2)
    assert refusal(assembly, assembly.request(as_of=later)) == "META_SLEEVE_STALE"
    earlier = assembly.foundation.as_of - dt.timedelta(days=1)
    assert refusal(assembly, assembly.request(as_of=earlier)) == "META_SLEEVE_FUTURE"


def test_a_sleeve_with_a_changed_byte_or_another_head_is_refused(assembly):
    one = assembly.pins[SLEEVES[1]]
    path = assembly.home.runs / one.run_id / layout.SYNTHETIC
    kept = path.read_bytes()
    try:
        frame = pl.read_parquet(path)
        files.write_table(path, frame.with_columns(-pl.col(frame.columns[1])))
        assert refusal(assembly, assembly.request()) == "META_SLEEVE_HASH_MISMATCH"
    finally:
        files.write(path, kept)
    other = Pin(one.sleeve, one.run_id, "0" * 64, one.seal, one.manifest)
    assert refusal(assembly, assembly.request(pins={SLEEVES[1]: other})) == "META_SLEEVE_HASH_MISMATCH"


@pytest.mark.slow
def test_a_run_of_another_profile_or_lake_is_refused(assembly):
    stranger = assembly.pins[SLEEVES[0]]
    one = Pin(SLEEVES[1], stranger.run_id, stranger.head, stranger.seal, stranger.manifest)
    assert refusal(assembly, assembly.request(pins={SLEEVES[1]: one})) == "META_SLEEVE_OTHER_PROFILE"
    from dataclasses import replace

    assert refusal(assembly, replace(assembly.request(), lake="lake/other-00000000")) == "META_LAKE_MISMATCH"


def test_one_sleeve_alone_is_refused_unless_the_profile_says_so(assembly):
    alone = MetaProfile(name="alone", sleeves=SLEEVES[:1])
    assert refusal(assembly, assembly.request(alone)) == "META_TOO_FEW_SLEEVES"
    allowed = MetaProfile(name="alone", sleeves=SLEEVES[:1], allow_single=True)
    _, outcome = assembly.run(assembly.request(allowed))
    assert outcome.state == "VALID", outcome.error


@pytest.mark.slow
def test_a_refused_sleeve_may_be_left_out_where_the_profile_allows_it(assembly):
    profile = load(settings=["meta.require_all=false"]).meta(META)
    folder, outcome = assembly.run(assembly.request(profile, {SLEEVES[1]: Pin(SLEEVES[1], "")}))
    assert outcome.state == "VALID", outcome.error
    report = (folder / layout.REPORT).read_text()
    assert "META_SLEEVE_MISSING" in report
    few = {sleeve: Pin(sleeve, "") for sleeve in SLEEVES[1:]}
    assert refusal(assembly, assembly.request(profile, few)) == "META_SLEEVE_MISSING"


def test_a_sealed_portfolio_is_not_valid_any_more_when_a_sleeve_changes(assembly, portfolio):
    assert validate(Run(portfolio)).ok
    path = assembly.home.runs / assembly.pins[SLEEVES[0]].run_id / layout.FLATTENED
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b" ")
        failed = [check.code for check in validate(Run(portfolio)).checks if not check.ok]
        assert failed == ["META_SLEEVE_HASH_MISMATCH"]
    finally:
        files.write(path, kept)


def forget(*keys):
    def edit(path):
        value = files.read_json(path)
        for key in keys:
            del value[key]
        files.write_json(path, value)

    return edit


def put(key, value):
    def edit(path):
        files.write_json(path, files.read_json(path) | {key: value})

    return edit


def hold_nothing(path):
    value = files.read_json(path)
    value["profiles"]["hrp"] |= {"assets": [], "gross": 0.0, "net": 0.0, "cash": 1.0}
    files.write_json(path, value)


PAPERS = {
    "META_MISSING_ARTIFACTS": (layout.META_ANALYSIS, lambda path: path.unlink()),
    "META_LEDGER_BROKEN": (layout.LEDGER, lambda path: path.write_bytes(path.read_bytes()[9:])),
    "META_CONTRACT_FAILED": (
        layout.LEDGER,
        lambda path: path.write_bytes(path.read_bytes().replace(b'"action":"passed"', b'"action":"failed"', 1)),
    ),
    "META_HASH_MISMATCH": (layout.WALK_STATISTICS, lambda path: path.write_bytes(path.read_bytes() + b" ")),
    "META_NOT_REPLAYABLE": (layout.MANIFEST, forget("environment")),
    "META_SIGN_TEST_PRE": (layout.SIGN_PRE, put("values_compared", 0)),
    "META_SIGN_TEST_POST": (layout.SIGN_POST, put("ok", False)),
    "META_ALL_CASH": (layout.FLATTENED, hold_nothing),
}


@pytest.mark.parametrize("code", PAPERS)
def test_a_changed_paper_of_a_portfolio_is_named(portfolio, code):
    name, edit = PAPERS[code]
    path = portfolio / name
    kept = path.read_bytes()
    try:
        edit(path)
        failed = {check.code for check in validate(Run(portfolio)).checks if not check.ok}
    finally:
        files.write(path, kept)
    assert code in failed
    assert validate(Run(portfolio)).ok


def test_a_sleeve_that_did_not_end_valid_is_refused(assembly):
    path = assembly.home.runs / assembly.pins[SLEEVES[1]].run_id / layout.STATUS
    kept = path.read_bytes()
    try:
        put("state", "FAILED")(path)
        assert refusal(assembly, assembly.request()) == "META_SLEEVE_INVALID"
    finally:
        files.write(path, kept)


def test_a_sleeve_that_says_valid_and_is_not_is_validated_again(assembly):
    """Its paper is wrong, and everything that could tell was sealed anew: its own verdict counts for nothing."""
    run, registry = assembly.home.runs / assembly.pins[SLEEVES[1]].run_id, assembly.home.registry
    paths = (run / layout.SELECTION, run / layout.LEDGER, registry)
    kept = [path.read_bytes() for path in paths]
    try:
        change_json(paths[0], lambda value: value.update(n_winners=value["n_winners"] + 1))
        reseal(assembly.home.path, run)
        assert verify(run, registry=registry).ok
        request = assembly.request(pins={SLEEVES[1]: assembly.pin_of(run, SLEEVES[1])})
        assert refusal(assembly, request) == "META_SLEEVE_INVALID"
    finally:
        for path, data in zip(paths, kept, strict=True):
            files.write(path, data)


def test_a_sleeve_of_other_bars_is_refused():
    manifest = {"profile": {"name": "s", "interval": "4h"}, "lake": {"folder": "lake/x"}}
    terms = Terms(None, None, None, "lake/x")
    with pytest.raises(Refused) as refused:
        _check_terms(terms, Pin("s", "r"), manifest)
    assert refused.value.code == "META_CALENDAR_MISMATCH"
