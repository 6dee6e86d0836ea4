"""Which vote a screener casts otherwise, found from ratings alone."""

from __future__ import annotations

from pathlib import Path

import naive_ratings
import numpy as np
import pytest
from ratings_bars import walk
from recordings import Corpus, measured

from assay.ratings import drift as module
from assay.ratings.drift import Drift, drift
from assay.ratings.drift import measured as measured_at
from assay.ratings.votes import MA_VOTES, OTHER_VOTES, votes

UNKNOWN = ()
"""No edition is known: a rule has to be learned."""


@pytest.fixture(scope="module")
def coins() -> dict[str, np.ndarray]:
    """Indicator values of 1,500 random coins on their last bar."""
    bars = walk(11, 260, 1_500)
    symbols, values = measured_at(bars, "1d", bars["open_time"].max())
    assert len(symbols) == 1_500
    return values


def said(values: dict[str, np.ndarray], edition: str, group: tuple[str, ...] = OTHER_VOTES) -> np.ndarray:
    """What a screener answers that follows an edition, by the plain rules."""
    lists = {name: [None if np.isnan(x) else float(x) for x in column] for name, column in values.items()}
    cast, _ = naive_ratings.votes(lists, edition)
    return np.array([sum(cast[name][i] for name in group) / len(group) for i in range(len(lists["close"]))])


def test_values_are_those_of_the_bar(coins):
    bars = walk(11, 260, 3)
    plain = naive_ratings.values(*[bars.head(260)[name].to_list() for name in ("high", "low", "close", "volume")])
    symbols, values = measured_at(bars, "1d", bars["open_time"].max())
    assert symbols == ["BINANCE:C000USDT", "BINANCE:C001USDT", "BINANCE:C002USDT"]
    for name in ("rsi", "stoch_8_k", "adx_prev", "ema_200", "ao_prev2"):
        assert values[name][0] == pytest.approx(plain[name][-1], rel=1e-9)
    assert measured_at(bars.head(259), "1d", bars["open_time"][259]) == ([], {})


def test_the_same_rules_do_not_differ(coins):
    for edition in ("2026", "2021"):
        for group, names in (("other", OTHER_VOTES), ("ma", MA_VOTES)):
            found = drift(said(coins, edition, names), coins, group, edition)
            assert (found.differing, found.beyond, found.causes) == (0, False, ())
            assert found.compared == 1_500


@pytest.mark.parametrize(("ours", "theirs"), [("2021", "2026"), ("2026", "2021")])
def test_another_edition_is_named_vote_by_vote(coins, ours, theirs):
    found = drift(said(coins, theirs), coins, "other", ours)
    assert found.beyond
    assert {cause.vote for cause in found.causes} == {"adx", "stochastic", "stoch_rsi"}
    assert {cause.edition for cause in found.causes} == {theirs}
    assert sum(cause.repaired for cause in found.causes) == found.differing


def test_a_rule_that_nobody_knows_is_learned(coins):
    """The screener's momentum votes on its own side of 0 only."""
    ours = votes(coins, "2026")
    theirs = {name: cast.astype(int) for name, cast in ours.items()}
    theirs["momentum"] = np.where(np.sign(coins["momentum"]) == ours["momentum"], theirs["momentum"], 0)
    recommended = sum(theirs[name] for name in OTHER_VOTES) / 11
    differing = int((theirs["momentum"] != ours["momentum"]).sum())
    assert differing > module.LEAST_LEARNED
    found = drift(recommended, coins, "other", "2026")
    assert found.differing == differing
    [cause] = found.causes
    assert (cause.vote, cause.edition) == ("momentum", "")
    assert cause.repaired == differing
    assert str(cause) == f"momentum by a rule that is not known: {cause.repaired} coins"


def test_few_coins_show_what_a_known_edition_explains_and_nothing_else(coins):
    some = {name: values[:150] for name, values in coins.items()}
    recommended = said(some, "2026")
    found = drift(recommended, some, "other", "2021")
    assert 3 < found.differing < module.LEAST_LEARNED
    assert found.causes[0].edition == "2026"
    assert drift(recommended, some, "other", "2021", UNKNOWN).causes == ()


def test_a_vote_is_named_by_its_share_of_the_coins_that_differ(coins):
    """36 coins are noise and 4 differ by the other edition's rule of one vote: half a percent of all, a tenth of 40."""
    differs = {name: cast != votes(coins, "2021")[name] for name, cast in votes(coins, "2026").items()}
    many = sum(differs.values())
    agree, others = np.flatnonzero(many == 0)[:796], np.flatnonzero((many == 1) & differs["adx"])[:4]
    some = {name: values[np.concatenate([agree, others])] for name, values in coins.items()}
    recommended = said(some, "2021")
    recommended[:18] += 1 / 11
    recommended[18:36] -= 1 / 11
    found = drift(recommended, some, "other", "2026")
    assert (found.compared, found.differing) == (800, 40)
    assert [(cause.vote, cause.edition, cause.repaired) for cause in found.causes] == [("adx", "2021", 4)]


def test_noise_names_nobody(coins):
    random = np.random.default_rng(4)
    recommended = said(coins, "2026") * 11
    hit = random.random(1_500) < 0.2
    recommended[hit] += random.choice([-1, 1], hit.sum())
    found = drift(recommended / 11, coins, "other", "2026")
    assert found.beyond
    assert found.causes == ()


@pytest.mark.parametrize(("wrong", "beyond"), [(30, False), (31, True)])
def test_two_percent_of_the_coins_are_tolerated(coins, wrong, beyond):
    recommended = said(coins, "2026")
    recommended[:wrong] -= 1 / 11
    assert drift(recommended, coins, "other", "2026").beyond is beyond


def test_one_coin_is_no_rule():
    assert not Drift("other", "2026", 10, 1, ()).beyond
    assert Drift("other", "2026", 10, 2, ()).beyond


def test_coins_without_every_vote_are_left_out(coins):
    recommended = said(coins, "2026")
    some = {name: values.copy() for name, values in coins.items()}
    some["rsi"][:10] = np.nan
    recommended[10:20] = np.nan
    recommended[20:30] += 0.5 / 11  # of another number of votes
    assert drift(recommended, some, "other", "2026").compared == 1_470


def test_votes_stay_votes(coins):
    """A correction that would make a vote of 2 is none."""
    recommended = said(coins, "2026") + 2 * (votes(coins, "2026")["macd"] == 1) / 11
    found = drift(recommended, coins, "other", "2026", UNKNOWN)
    assert "macd" not in {cause.vote for cause in found.causes}


# The corpus, rated by the edition of before.


@pytest.fixture(scope="module")
def cases(shared: Path):
    folder = shared / "tradingview" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the corpus is absent: {folder}")
    corpus = Corpus(folder)
    table = corpus.cases()
    return table, measured(table, corpus.hours(), "1h")


@pytest.mark.parametrize("known", [("2026", "2021"), UNKNOWN], ids=["known", "learned"])
def test_recorded_answers_of_2026_name_the_index_first_and_the_stochastic_second(cases, known):
    table, values = cases
    found = drift(table["Recommend.Other"].to_numpy(), values, "other", "2021", known)
    assert (found.compared, found.beyond) == (2_940, True)
    first, second, *_ = found.causes
    assert (first.vote, second.vote) == ("adx", "stochastic")
    assert first.repaired >= 700
    assert second.repaired >= 10
    assert {cause.edition for cause in found.causes} == ({"2026"} if known else {""})


def test_recorded_averages_name_nobody(cases):
    table, values = cases
    for edition in ("2026", "2021"):
        found = drift(table["Recommend.MA"].to_numpy(), values, "ma", edition)
        assert not found.beyond
        assert found.causes == ()


def test_recorded_answers_are_those_of_the_default_edition(cases):
    table, values = cases
    assert drift(table["Recommend.Other"].to_numpy(), values, "other", "2026").differing == 0
