from __future__ import annotations

import math
from collections.abc import Callable

import pandera.errors
import pytest
from contract_tables import BTC, SYMBOLS, WINNERS, coin, flattened, optimized, optimized_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.gates.contract import ContractResult
from assay.gates.weights import WeightsSchema, check_l4
from assay.runs.documents import Contribution, Event, Flattened, FlattenedProfile, Optimized

Break = Callable[[Optimized, Flattened], None]
ALL_CASH = Event(code="ALL_LOSS_MAKERS", what="every atom lost of late")


def codes(result: ContractResult) -> set[str]:
    return {violation.code for violation in result.violations}


def check(breaking: Break) -> ContractResult:
    atoms, coins = optimized(), flattened()
    breaking(atoms, coins)
    return check_l4(atoms, coins, SYMBOLS)


def test_clean_weights_pass() -> None:
    result = check(lambda atoms, coins: None)
    assert result.violations == []
    assert result.action == "passed"
    assert (result.layer, result.schema) == ("L4", "WeightsSchema")
    assert result.frame is not None
    assert result.frame.height == 5 * (6 + 6 + 5)
    assert result.checked == result.frame.height * 5 + 15


def test_rounding_of_sums_and_caps_is_no_fault() -> None:
    def nudge(atoms: Optimized, coins: Flattened) -> None:
        atoms.profiles["hrp"].assets[0].Weight += 9e-10
        atoms.profiles["hrp"].assets[0].Net_Weight += 9e-10

    assert check(nudge).action == "passed"


def test_netted_coins_are_flat_within_rounding() -> None:
    def flat(atoms: Optimized, coins: Flattened) -> None:
        for side in (0, 1):
            asset = atoms.profiles["hrp"].assets[side]
            asset.Weight, asset.Net_Weight = 0.175, math.copysign(0.175, asset.Net_Weight)
        weights = (0.175, 0.175, 0.2, 0.25, 0.15, 0.0)
        book = coins.profiles["hrp"]
        book.assets[0] = coin(BTC, 0.35, 0.0, 0, 1, weights=weights)
        book.net = 0.1
        assert book.assets[0].Direction == "FLAT"

    assert check(flat).violations == []


def scale(atoms: Optimized, coins: Flattened) -> None:
    for asset in atoms.profiles["hrp"].assets:
        asset.Weight *= 1.1
        asset.Net_Weight *= 1.1


def set_atom(place: int, book: str = "profiles", **values: object) -> Break:
    def breaking(atoms: Optimized, coins: Flattened) -> None:
        for name, value in values.items():
            setattr(getattr(atoms, book)["hrp"].assets[place], name, value)

    return breaking


def set_coin(place: int, **values: object) -> Break:
    def breaking(atoms: Optimized, coins: Flattened) -> None:
        for name, value in values.items():
            setattr(coins.profiles["hrp"].assets[place], name, value)

    return breaking


def set_book(side: int, **values: object) -> Break:
    def breaking(*documents: Optimized | Flattened) -> None:
        for name, value in values.items():
            setattr(documents[side].profiles["hrp"], name, value)

    return breaking


def set_part(place: int, **values: object) -> Break:
    def breaking(atoms: Optimized, coins: Flattened) -> None:
        for name, value in values.items():
            setattr(coins.profiles["hrp"].assets[place].Atoms[0], name, value)

    return breaking


def twice(side: int) -> Break:
    def breaking(*documents: Optimized | Flattened) -> None:
        documents[side].profiles["hrp"].assets.append(documents[side].profiles["hrp"].assets[0])

    return breaking


def listed_twice(atoms: Optimized, coins: Flattened) -> None:
    parts = coins.profiles["hrp"].assets[0].Atoms
    parts.append(parts[0])


def foreign_atom(atoms: Optimized, coins: Flattened) -> None:
    part = Contribution(Atom="BINANCE:XUSDT_rating_all_LONG", Logic="rating_all", Direction="LONG", Weight=0.1)
    coins.profiles["hrp"].assets[0].Atoms.append(part)


def swap_coins(atoms: Optimized, coins: Flattened) -> None:
    first, second = coins.profiles["hrp"].assets[1:3]
    first.Symbol, second.Symbol = second.Symbol, first.Symbol


def from_another_run(atoms: Optimized, coins: Flattened) -> None:
    for asset in atoms.profiles["hrp"].assets:
        asset.Atom = asset.Atom.replace("rating_all", "rating_other")
        asset.Logic = "rating_other"


FAULTS: list[tuple[Break, str]] = [
    (scale, "L4_SUM"),
    (set_book(0, cash=0.06), "L4_SUM"),
    (set_book(0, cash=0.05 + 2e-9), "L4_SUM"),
    (set_book(1, cash=0.06), "L4_SUM"),
    (set_book(1, gross=0.9), "L4_TOTAL"),
    (set_book(1, net=0.3), "L4_TOTAL"),
    (set_book(0, budget=0.9), "L4_BUDGET"),
    (set_book(0, budget=float("nan")), "L4_BUDGET"),
    (set_atom(0, Weight=-0.25, Net_Weight=-0.25), "L4_NEGATIVE"),
    (set_coin(2, Weight=-0.2), "L4_NEGATIVE"),
    (set_atom(0, Weight=float("nan")), "L4_NOT_FINITE"),
    (set_atom(0, Weight=float("inf")), "L4_NOT_FINITE"),
    (set_coin(0, Net_Weight=float("nan")), "L4_NOT_FINITE"),
    (set_coin(0, Weight=0.36), "L4_GROSS"),
    (set_atom(0, Weight=0.25 + 2e-9, Net_Weight=0.25), "L4_ATOM_CAP"),
    (set_atom(0, "unguarded", Weight=0.3, Net_Weight=0.3), "L4_ATOM_CAP"),
    (set_atom(2, Cluster_ID=1), "L4_CLUSTER_CAP"),
    (set_book(0, cluster_cap=0.34), "L4_CLUSTER_CAP"),
    (set_coin(2, Net_Weight=0.21), "L4_NET"),
    (set_coin(1, Net_Weight=-0.26), "L4_NET"),
    (set_coin(0, Direction="SHORT"), "L4_DIRECTION"),
    (set_coin(0, Direction="FLAT"), "L4_DIRECTION"),
    (set_coin(1, Net_Weight=0.25), "L4_DIRECTION"),
    (set_coin(4, Direction="LONG"), "L4_DIRECTION"),
    (set_atom(3, Net_Weight=0.25), "L4_DIRECTION"),
    (set_atom(3, Net_Weight=-0.2), "L4_UNEXPLAINED"),
    (set_coin(0, Net_Weight=0.16), "L4_UNEXPLAINED"),
    (set_coin(2, Atoms=[]), "L4_UNEXPLAINED"),
    (set_part(2, Weight=0.19), "L4_UNEXPLAINED"),
    (set_part(1, Direction="LONG"), "L4_UNEXPLAINED"),
    (set_coin(2, Atoms=[]), "L4_PROVENANCE"),
    (set_part(2, Weight=0.19), "L4_PROVENANCE"),
    (set_part(1, Direction="LONG"), "L4_PROVENANCE"),
    (set_part(1, Logic="rating_ma"), "L4_PROVENANCE"),
    (set_part(1, Atom=WINNERS[2].id), "L4_PROVENANCE"),
    (listed_twice, "L4_PROVENANCE"),
    (foreign_atom, "L4_PROVENANCE"),
    (swap_coins, "L4_PROVENANCE"),
    (from_another_run, "L4_PROVENANCE"),
    (twice(0), "L4_DUPLICATE"),
    (twice(1), "L4_DUPLICATE"),
    (set_coin(2, Symbol="BINANCE:ZUSDT"), "L4_SYMBOL"),
    (set_atom(2, Symbol="BINANCE:ZUSDT"), "L4_SYMBOL"),
    (lambda atoms, coins: atoms.profiles.pop("barbell"), "L4_PROFILE"),
    (lambda atoms, coins: coins.profiles.pop("barbell"), "L4_PROFILE"),
    (lambda atoms, coins: coins.profiles.update(extra=coins.profiles["hrp"]), "L4_PROFILE"),
]


@pytest.mark.parametrize(("breaking", "code"), FAULTS)
def test_every_fault_of_weights_is_fatal(breaking: Break, code: str) -> None:
    result = check(breaking)
    assert result.action == "failed"
    assert code in codes(result)
    assert result.frame is None
    assert all(violation.where for violation in result.violations)


def all_cash(events: list[Event]) -> Break:
    def breaking(atoms: Optimized, coins: Flattened) -> None:
        for name in atoms.profiles:
            atoms.profiles[name] = optimized_profile((0.0,) * 6, events)
            coins.profiles[name] = FlattenedProfile(assets=[], cash=1.0, gross=0.0, net=0.0)

    return breaking


def test_all_cash_is_valid_where_an_event_says_why() -> None:
    assert check(all_cash([ALL_CASH])).action == "passed"
    silent = check(all_cash([]))
    assert silent.action == "failed"
    assert codes(silent) == {"L4_ALL_CASH"}


def test_no_documents_is_nothing_checked() -> None:
    empty = Optimized(as_of="x", profiles={}, unguarded={}), Flattened(as_of="x", profiles={})
    result = check_l4(*empty, SYMBOLS, ())
    assert result.action == "failed"
    assert codes(result) == {"L4_EMPTY"}
    assert codes(check_l4(*empty, SYMBOLS)) == {"L4_PROFILE"}


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 0.25), min_size=6, max_size=6))
def test_what_the_flattener_makes_of_any_weights_passes(drawn: list[float]) -> None:
    from assay.risk.flatten import flatten

    weights = [weight * min(1.0, 1.0 / max(sum(drawn), 1e-12)) for weight in drawn]
    atoms, coins = optimized(), flattened()
    for name in atoms.profiles:
        book = optimized_profile(weights, [ALL_CASH])
        book.cluster_cap = 1.0
        book.cash = max(0.0, 1.0 - math.fsum(weights))
        atoms.profiles[name] = book
        coins.profiles[name] = flatten(WINNERS, weights, [1] * 6)
    assert check_l4(atoms, coins, SYMBOLS).violations == []


def test_the_schema_of_weights_alone() -> None:
    frame = check(lambda atoms, coins: None).frame
    assert frame is not None
    assert WeightsSchema.validate(frame).height == frame.height
    with pytest.raises(pandera.errors.SchemaError, match="L4_NEGATIVE"):
        WeightsSchema.validate(frame.with_columns(frame["weight"] - 1.0))
