"""Who may hold a ruined book: nobody, unless it is accepted by name; then it is on record with what was made of it."""

from __future__ import annotations

import re
import shutil

import pytest

from assay.account.ledger import read_account, split
from assay.base import files
from assay.gates.validation import validate
from assay.pipeline.replay import replay
from assay.runs import artifacts as layout
from assay.runs.run import Run
from assay.selftest.sandbox import LONG, SHORT, Sandbox

from .conftest import MA_LONG, mutated
from .test_ruin import fallen

OFFER = re.compile(r"--accept (RUIN:[0-9a-f]{16}) --because TEXT")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    return Sandbox.at(tmp_path_factory.mktemp("accepted") / "home")


def ruined(sandbox, name):
    folder, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", fallen(name, 0.1)))
    assert outcome.verdict.startswith("VALID, RUIN")
    return folder


@pytest.fixture(scope="module")
def lost(sandbox):
    """A sleeve whose headline was ruined, and one whose max_sharpe alone was."""
    return ruined(sandbox, "hrp"), ruined(sandbox, "max_sharpe")


# --- orders -----------------------------------------------------------------------------------------------------------


def test_a_ruined_headline_is_not_ordered_in_any_risk_profile(order, lost):
    for name in ("hrp", "equal_weight"):
        code, told = order(lost[0], "--risk-profile", name)
        assert (code, told["error"]["code"]) == (1, "RUIN")
        assert "hrp fell below a quarter of its capital" in told["error"]["what"]
        assert OFFER.search(told["error"]["hint"])


def test_anothers_ruin_bars_that_risk_profile_alone(order, lost):
    assert order(lost[1], "--risk-profile", "hrp")[0] == 0
    code, told = order(lost[1], "--risk-profile", "max_sharpe")
    assert (code, told["error"]["code"]) == (1, "RUIN")


def test_what_is_accepted_is_on_record(order, lost):
    accept = OFFER.search(order(lost[0])[1]["error"]["hint"])[1]
    code, told = order(lost[0], "--accept", accept, "--because", "the coin was delisted since")
    assert code == 0
    [note] = told["accepted"]
    assert f"{note['code']}:{note['digest']}" == accept
    assert note["because"] == "the coin was delisted since"
    assert any(one["code"] == "RUIN" and "the coin was delisted since" in one["what"] for one in told["findings"])


def test_it_is_accepted_of_one_run_with_a_reason(order, lost):
    accept = OFFER.search(order(lost[0])[1]["error"]["hint"])[1]
    other = OFFER.search(order(lost[1], "--risk-profile", "max_sharpe")[1]["error"]["hint"])[1]
    assert accept != other
    assert order(lost[0], "--accept", other, "--because", "of it")[1]["error"]["code"] == "RUIN"
    assert order(lost[0], "--accept", accept)[0] == 2


# --- portfolios -------------------------------------------------------------------------------------------------------


def test_a_ruined_sleeve_is_left_out_by_name(call, sandbox, lost):
    pins = (sandbox.sealed(LONG).name, sandbox.sealed(MA_LONG).name, lost[0].name)
    code, told = call("meta", "run", "trio", *pins)
    assert code == 0, told
    run = Run(sandbox.home.runs / told["run_id"])
    [refused] = run[layout.META_SLEEVES].refused
    assert (refused.sleeve, refused.code) == (SHORT, "META_SLEEVE_RUINED")
    assert {one.sleeve for one in run[layout.META_SLEEVES].accepted} == {LONG, MA_LONG}
    assert "META_SLEEVE_RUINED" in run.events
    assert validate(run).ok


def test_without_it_too_few_are_left(call, sandbox, lost):
    code, told = call("meta", "run", "pair", sandbox.sealed(LONG).name, lost[0].name)
    assert (code, told["error"]["code"]) == (1, "META_SLEEVE_RUINED")
    assert OFFER.search(told["error"]["what"])


def test_an_accepted_sleeve_is_held_and_the_portfolio_says_so(call, sandbox, lost):
    pins = (sandbox.sealed(LONG).name, lost[0].name)
    accept = OFFER.search(call("meta", "run", "pair", *pins)[1]["error"]["what"])[1]
    code, told = call("meta", "run", "pair", *pins, "--accept", accept, "--because", "a study")
    assert code == 0, told
    run = Run(sandbox.home.runs / told["run_id"])
    assert {one.sleeve for one in run[layout.META_SLEEVES].accepted} == {LONG, SHORT}
    [note] = run[layout.MANIFEST]["accepted"]
    assert (f"{note['code']}:{note['digest']}", note["because"]) == (accept, "a study")
    assert "ACCEPTED" in run.events
    assert validate(run).ok
    assert replay(sandbox.home, run.folder).verdict == "EQUAL"


def test_anothers_ruin_bars_that_risk_profile_of_a_portfolio_alone(call, sandbox, lost):
    pins = (sandbox.sealed(LONG).name, sandbox.sealed(MA_LONG).name, lost[1].name)
    code, told = call("meta", "run", "trio", *pins)
    assert code == 0, told
    run = Run(sandbox.home.runs / told["run_id"])
    weights = {
        name: {one.Sleeve: one.Weight for one in made.sleeves}[SHORT]
        for name, made in run[layout.META_OPTIMIZED].profiles.items()
    }
    assert weights.pop("max_sharpe") == 0.0
    assert min(weights.values()) > 0.0
    assert [one.ruined for one in run[layout.META_SLEEVES].accepted if one.sleeve == SHORT] == [["max_sharpe"]]
    assert "META_SLEEVE_RUINED" in run.events
    assert validate(run).ok
    forged = shutil.copytree(run.folder, run.folder.with_name("forged"))
    body = files.read_json(forged / layout.META_SLEEVES)
    files.write_json(
        forged / layout.META_SLEEVES, body | {"accepted": [one | {"ruined": []} for one in body["accepted"]]}
    )
    told = " ".join(check.what for check in validate(Run(forged)).checks if check.code == "META_SLEEVE_INVALID")
    assert "ruin bars ['max_sharpe'], not []" in told


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_a_ruined_sleeve_bars_an_account_of_a_portfolio_as_it_bars_the_portfolio(call, sandbox, lost):
    """Of two sleeves one alone is left, which is too few; of three it is left out. Accepted, it is in the ledger."""
    shutil.rmtree(lost[1], ignore_errors=True)
    more = ("--nav", "1000", "--portfolio")
    code, told = call("account", "new", "pair", *more, "pair")
    assert (code, told["error"]["code"]) == (1, "META_SLEEVE_RUINED")
    assert not (sandbox.home.accounts / "pair").exists()
    accept = OFFER.search(told["error"]["hint"])[1]
    assert call("account", "new", "pair", *more, "pair", "--accept", accept, "--because", "a study")[0] == 0
    notes = [entry.body for entry in read_account(sandbox.home.accounts / "pair") if entry.kind == "accept"]
    assert [f"{note['code']}:{note['digest']}" for note in notes] == [accept]
    assert call("account", "new", "trio", *more, "trio")[0] == 0
    assert call("account", "step", "trio")[0] == 0
    days = split(read_account(sandbox.home.accounts / "trio"))[0]
    [decision] = days[-1].bodies("decision")
    assert decision["ruined"] == [SHORT]
    assert float(decision["sleeves"][SHORT]) == 0.0


def test_no_account_follows_a_ruined_headline_unless_it_is_accepted(call, sandbox, lost):
    """The refused one leaves no folder; the accepted one has it in its ledger, and is not asked again by its steps."""
    shutil.rmtree(lost[1], ignore_errors=True)  # the last run of the sleeve is the one whose headline was ruined
    asked = ("account", "new", "fallen", "--portfolio", SHORT, "--nav", "1000")
    code, told = call(*asked)
    assert (code, told["error"]["code"]) == (1, "RUIN")
    assert not (sandbox.home.accounts / "fallen").exists()
    accept = OFFER.search(told["error"]["hint"])[1]
    assert call(*asked, "--accept", accept)[0] == 2
    other = accept[:-1] + ("0" if accept[-1] != "0" else "1")
    assert call(*asked, "--accept", other, "--because", "of it")[1]["error"]["code"] == "RUIN"
    code, told = call(*asked, "--accept", accept, "--because", "delisted since")
    assert code == 0, told
    [note] = [entry.body for entry in read_account(sandbox.home.accounts / "fallen") if entry.kind == "accept"]
    assert (f"{note['code']}:{note['digest']}", note["because"]) == (accept, "delisted since")
    code, told = call("account", "step", "fallen")
    assert code == 0, told
