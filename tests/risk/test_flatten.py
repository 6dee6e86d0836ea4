from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.base.domain import Atom
from assay.risk.flatten import flatten

SYMBOLS = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:1000SATSUSDT", "KRAKEN:XMRUSD", "BINANCE:币安人生USDT")


@st.composite
def portfolios(draw: st.DrawFn) -> tuple[list[Atom], list[float], list[int]]:
    keys = st.tuples(
        st.sampled_from(SYMBOLS), st.sampled_from(["rating_all", "rating_ma"]), st.sampled_from(["LONG", "SHORT"])
    )
    atoms = [Atom(*key) for key in draw(st.lists(keys, min_size=1, max_size=15, unique=True))]
    raw = draw(st.lists(st.floats(0, 1), min_size=len(atoms), max_size=len(atoms)))
    total = max(1.0, math.fsum(raw) * (1 + 1e-15))
    labels = draw(st.lists(st.integers(1, 5), min_size=len(atoms), max_size=len(atoms)))
    return atoms, [weight / total for weight in raw], labels


def test_by_hand() -> None:
    atoms = [
        Atom("BINANCE:BTCUSDT", "rating_all", "LONG"),
        Atom("BINANCE:BTCUSDT", "rating_ma", "SHORT"),
        Atom("BINANCE:ETHUSDT", "rating_all", "LONG"),
        Atom("BINANCE:ETHUSDT", "rating_ma", "SHORT"),
        Atom("KRAKEN:XMRUSD", "rating_all", "SHORT"),
    ]
    found = flatten(atoms, [0.25, 0.125, 0.1, 0.1, 0.0], [1, 2, 3, 4, 5])
    rows = {asset.Symbol: asset for asset in found.assets}
    assert [asset.Symbol for asset in found.assets] == ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "KRAKEN:XMRUSD"]
    assert [rows[s].Net_Weight for s in rows] == [0.125, 0.0, 0.0]
    assert [rows[s].Gross_Weight for s in rows] == [0.375, 0.2, 0.0]
    assert [rows[s].Direction for s in rows] == ["LONG", "FLAT", "FLAT"]
    assert [rows[s].Cluster_ID for s in rows] == [1, 3, 5]
    assert [rows[s].Market for s in rows] == ["BINANCE_SPOT", "BINANCE_SPOT", "KRAKEN_SPOT"]
    assert {asset.Sector for asset in found.assets} == {"UNCLASSIFIED"}
    assert (found.gross, found.net, found.cash) == pytest.approx((0.575, 0.125, 0.425))
    assert [part.Atom for part in rows["BINANCE:BTCUSDT"].Atoms] == [atoms[0].id, atoms[1].id]


def test_all_cash() -> None:
    atom = Atom("BINANCE:BTCUSDT", "rating_all", "LONG")
    found = flatten([atom], [0.0], [1])
    assert (found.cash, found.gross, found.net) == (1.0, 0.0, 0.0)
    assert found.assets[0].Atoms[0].Atom == atom.id  # provenance is complete without weight, too


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        flatten([Atom("BINANCE:BTCUSDT", "rating_all", "LONG")], [0.5, 0.5], [1])


@given(portfolios())
def test_identities(portfolio: tuple[list[Atom], list[float], list[int]]) -> None:
    atoms, weights, labels = portfolio
    found = flatten(atoms, weights, labels)
    assert found.gross + found.cash == pytest.approx(1.0, abs=1e-12)
    assert found.cash >= 0
    assert sorted(part.Atom for asset in found.assets for part in asset.Atoms) == sorted(atom.id for atom in atoms)
    assert len({asset.Symbol for asset in found.assets}) == len(found.assets)
    for asset in found.assets:
        own = [i for i, atom in enumerate(atoms) if atom.symbol == asset.Symbol]
        net = sum(Fraction(weights[i]) * (1 if atoms[i].direction == "LONG" else -1) for i in own)
        gross = sum(Fraction(weights[i]) for i in own)
        assert asset.Net_Weight == pytest.approx(float(net), abs=1e-15)
        assert asset.Weight == asset.Gross_Weight == pytest.approx(float(gross), abs=1e-15)
        assert abs(asset.Net_Weight) <= asset.Gross_Weight
        assert asset.Direction == ("LONG" if net > 0 else "SHORT" if net < 0 else "FLAT")
        assert asset.Cluster_ID in {labels[i] for i in own if weights[i] == max(weights[j] for j in own)}


@given(portfolios(), st.randoms(use_true_random=False))
def test_the_order_of_the_atoms_does_not_matter(portfolio, shuffler) -> None:
    atoms, weights, labels = portfolio
    order = list(range(len(atoms)))
    shuffler.shuffle(order)
    straight = flatten(atoms, weights, labels)
    turned = flatten([atoms[i] for i in order], [weights[i] for i in order], [labels[i] for i in order])
    drop = {"assets": {"__all__": {"Cluster_ID"}}}  # of equally heavy atoms the first decides
    assert straight.model_dump(exclude=drop) == turned.model_dump(exclude=drop)
