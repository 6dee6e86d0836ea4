"""Sign tests of a meta-portfolio, over all sleeves: each sleeve's own, and whether what is held is what they hold.

Nothing here is shared with the code that aligned or flattened: streams and weights are read again from the sleeves'
runs and compared for exact equality.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl

from assay.base.errors import IntegrityError
from assay.gates.eligibility import leaves
from assay.gates.sign_test import NETTING, SIGNS, SignComparison, StageName, run_sign_test
from assay.runs.artifacts import FLATTENED, META_CONTRIBUTORS, META_RETURNS, WALK_RETURNS, WINNERS
from assay.runs.documents import Contributor, ContributorBook, Flattened, SignTest
from assay.runs.run import Run

SIGN_FLIPPED = "META_SIGN_FLIPPED"
RETURNS_MISMATCH = "META_RETURNS_MISMATCH"
DIRECTION_MISMATCH = "META_DIRECTION_MISMATCH"
CONTRIBUTORS_LOST = "META_CONTRIBUTORS_LOST"
EMPTY = "META_EMPTY"


class _PortfolioSigns(SignComparison):
    """The test of one portfolio while it runs."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.pins = [(one, run.beside(one.run_id)) for one in run.accepted]
        self.risk_profiles = run.of_portfolio.profile.risk_profiles

    def sleeves(self, stage: StageName) -> None:
        """Run each sleeve's own test again."""
        name = self.run.of_portfolio.profile.name
        below = [pair for one, _ in self.pins for pair in leaves(self.run, one, (name,)) if pair[1].kind == "run"]
        for leaf, sleeve in below:
            profile = sleeve.of_sleeve.profile
            aside = profile.stand_aside and not sleeve[WINNERS].winners
            found = run_sign_test(sleeve, stage, profile.direction, aside)
            self.values += found.values_compared
            self.weights += found.weights_compared
            self.atoms += found.atoms
            self.longs += found.longs
            for violation in found.violations:
                self.refuse(violation.code, f"{leaf.sleeve} {violation.where}", violation.what)

    def streams(self) -> None:
        """Compare each column of the meta returns with the sleeve's own walk-forward."""
        table = self.run[META_RETURNS]
        for one, sleeve in self.pins:
            if one.sleeve not in table.columns:
                self.refuse(RETURNS_MISMATCH, one.sleeve, "the sleeve has no returns")
                continue
            for name in self.risk_profiles:
                self._stream(name, one.sleeve, table, sleeve[WALK_RETURNS])

    def _stream(self, name: str, sleeve: str, table: pl.DataFrame, own: pl.DataFrame) -> None:
        mine = table.filter(pl.col("risk_profile") == name).select(pl.col("date").cast(pl.Date), pl.col(sleeve))
        joined = mine.join(own.filter(pl.col("risk_profile") == name).select("date", "ret"), on="date", how="left")
        found, wanted = joined[sleeve].to_numpy(), joined["ret"].to_numpy()
        where = f"{name} {sleeve}"
        self.values += len(found)
        if not len(found):
            self.refuse(EMPTY, where, "there is no day to compare")
        elif not np.array_equal(found, wanted):
            flipped = np.array_equal(found, -wanted)
            code, what = (SIGN_FLIPPED, "are turned over") if flipped else (RETURNS_MISMATCH, "differ")
            self.refuse(code, where, f"the returns {what} against the sleeve's walk-forward")

    def holdings(self) -> None:
        """Compare contributors and coins with what the sleeves hold."""
        document, flattened = self.run[META_CONTRIBUTORS], self.run[FLATTENED]
        for name in self.risk_profiles:
            if name not in document.profiles or name not in flattened.profiles:
                self.refuse(EMPTY, name, "the risk profile was not flattened")
                continue
            book = document.profiles[name]
            for one, sleeve in self.pins:
                self._contributors(name, one.sleeve, sleeve, book)
            self._coins(name, book, flattened)

    def _contributors(self, name: str, sleeve: str, run: Run, book: ContributorBook) -> None:
        share = book.sleeve_weight.get(sleeve)
        if share is None:
            self.refuse(CONTRIBUTORS_LOST, f"{name} {sleeve}", "the sleeve has no weight, not even 0")
            return
        wanted = _held(run, name) if share > 0.0 else {}
        found = {_key(part, part.Path[1:]): part for part in book.contributors if part.Sleeve == sleeve}
        for key in sorted(wanted.keys() ^ found.keys()):
            missing = key in wanted
            turned = (*key[:2], "SHORT" if key[2] == "LONG" else "LONG", *key[3:])
            if turned in (found if missing else wanted):
                self.refuse(
                    DIRECTION_MISMATCH, f"{name} {sleeve} {key[1]}", f"{key[2]} in one, {turned[2]} in the other"
                )
            else:
                what = "the sleeve holds it, the portfolio lost it" if missing else "the sleeve does not hold it"
                self.refuse(CONTRIBUTORS_LOST, f"{name} {sleeve} {key[1]}", what)
        for key in sorted(wanted.keys() & found.keys()):
            self.weights += 1
            part = found[key]
            if part.Weight != share * wanted[key] or not 0.0 <= part.Held <= part.Weight:
                what = f"weighs {part.Weight!r} (held {part.Held!r}), the sleeve gives {share * wanted[key]!r}"
                self.refuse(CONTRIBUTORS_LOST, f"{name} {sleeve} {key[1]}", what)

    def _coins(self, name: str, book: ContributorBook, flattened: Flattened) -> None:
        parts: dict[str, list[Contributor]] = {}
        for part in book.contributors:
            parts.setdefault(part.Symbol, []).append(part)
        coins = {coin.Symbol: coin for coin in flattened.profiles[name].assets}
        for symbol in sorted(parts.keys() ^ coins.keys()):
            self.refuse(
                CONTRIBUTORS_LOST, f"{name} {symbol}", "a coin without contributors, or contributors without a coin"
            )
        for symbol in sorted(parts.keys() & coins.keys()):
            self.weights += 1
            coin, own = coins[symbol], parts[symbol]
            gross = math.fsum(part.Held for part in own)
            net = math.fsum(part.Held * SIGNS[part.Direction] for part in own)
            where = f"{name} {symbol}"
            if not abs(gross - coin.Gross_Weight) <= NETTING:
                what = f"contributors hold {gross!r}, the coin {coin.Gross_Weight!r}"
                self.refuse(CONTRIBUTORS_LOST, where, what)
            side = "LONG" if coin.Net_Weight > 0.0 else "SHORT" if coin.Net_Weight < 0.0 else "FLAT"
            if not abs(net - coin.Net_Weight) <= NETTING or side != coin.Direction:
                what = f"contributors net to {net!r}, the coin is {coin.Direction} with {coin.Net_Weight!r}"
                self.refuse(DIRECTION_MISMATCH, where, what)


Key = tuple[str, str, str, tuple[str, ...]]


def _key(part: Contributor, path: list[str]) -> Key:
    return part.Symbol, part.Atom, part.Direction, tuple(path)


def _held(run: Run, name: str) -> dict[Key, float]:
    """Return what a sleeve holds, as shares of its own capital, from its artifacts."""
    if run.kind == "meta":
        book = run[META_CONTRIBUTORS].profiles[name]
        return {_key(part, part.Path): part.Held for part in book.contributors if part.Held > 0.0}
    flat = run[FLATTENED].profiles[name]
    pairs = [(coin.Symbol, part) for coin in flat.assets for part in coin.Atoms]
    return {(symbol, part.Atom, part.Direction, ()): part.Weight for symbol, part in pairs if part.Weight > 0.0}


def meta_sign_test(run: Run, stage: StageName) -> SignTest:
    """Test the signs of a portfolio and of all its sleeves.

    Parameters
    ----------
    run : Run
    stage : str
        ``pre_opt``: the sleeves' own tests, and their returns as the optimizers see them. ``post_opt``: the sleeves'
        tests after optimization, and every contributor and coin.

    Returns
    -------
    SignTest
        ``ok`` only if nothing is wrong and something was compared. What is missing or unreadable is a violation.
    """
    test = _PortfolioSigns(run)
    try:
        test.sleeves(stage)
        if stage == "pre_opt":
            test.streams()
        else:
            test.holdings()
    except IntegrityError as error:
        test.refuse(EMPTY, Path(error.where).name, error.what)
    return test.result(stage, compared=test.values > 0 and (stage == "pre_opt" or test.weights > 0))
