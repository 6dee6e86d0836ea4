"""Sign tests of a meta-portfolio, over all sleeves: each sleeve's own, and whether what is held is what they hold.

Nothing here is shared with the code that aligned or flattened: streams and weights are read again from the sleeves'
runs and compared for exact equality.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from assay.base import files
from assay.base.errors import IntegrityError
from assay.gates.eligibility import accepted_names, leaves
from assay.gates.sign_test import run_sign_test
from assay.runs import artifacts as layout
from assay.runs.documents import Contributor, ContributorBook, Contributors, Flattened, SignTest, SignViolation, load
from assay.runs.request import Pin, is_meta

SIGN_FLIPPED = "META_SIGN_FLIPPED"
RETURNS_MISMATCH = "META_RETURNS_MISMATCH"
DIRECTION_MISMATCH = "META_DIRECTION_MISMATCH"
CONTRIBUTORS_LOST = "META_CONTRIBUTORS_LOST"
EMPTY = "META_EMPTY"

Stage = Literal["pre_opt", "post_opt"]
NETTING = 1e-12


class _Trial:
    def __init__(self, run: Path, runs: Path) -> None:
        self.run = run
        self.runs = runs
        manifest = files.read_json(run / layout.MANIFEST)
        accepted = accepted_names(run)
        self.pins = [Pin(**one) for one in manifest["sleeves"] if one["sleeve"] in accepted]
        self.name = str(manifest["profile"]["name"])
        self.risk_profiles = [str(name) for name in manifest["profile"]["risk_profiles"]]
        self.violations: list[SignViolation] = []
        self.values = self.weights = self.atoms = self.longs = 0

    def refuse(self, code: str, where: str, what: str) -> None:
        self.violations.append(SignViolation(code=code, where=where, what=what))

    def leaf_runs(self) -> Iterator[tuple[Pin, Path]]:
        for one in self.pins:
            for leaf in leaves(self.runs, one, (self.name,)):
                folder = self.runs / leaf.run_id
                if not is_meta(folder):
                    yield leaf, folder

    def sleeves(self, stage: Stage) -> None:
        """Run each sleeve's own test again."""
        for leaf, folder in self.leaf_runs():
            profile = files.read_json(folder / layout.MANIFEST)["profile"]
            aside = profile.get("stand_aside") is True and not _winners(folder)
            found = run_sign_test(folder, stage, str(profile["direction"]), aside)
            self.values += found.values_compared
            self.weights += found.weights_compared
            self.atoms += found.atoms
            self.longs += found.longs
            for violation in found.violations:
                self.refuse(violation.code, f"{leaf.sleeve} {violation.where}", violation.what)

    def streams(self) -> None:
        """Compare each column of the meta returns with the sleeve's own walk-forward."""
        table = pl.read_parquet(self.run / layout.META_RETURNS)
        for one in self.pins:
            if one.sleeve not in table.columns:
                self.refuse(RETURNS_MISMATCH, one.sleeve, "the sleeve has no returns")
                continue
            own = pl.read_parquet(self.runs / one.run_id / layout.WALK_RETURNS)
            for name in self.risk_profiles:
                self._stream(name, one.sleeve, table, own)

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
        document = load(Contributors, self.run / layout.META_CONTRIBUTORS)
        flattened = load(Flattened, self.run / layout.FLATTENED)
        for name in self.risk_profiles:
            if name not in document.profiles or name not in flattened.profiles:
                self.refuse(EMPTY, name, "the risk profile was not flattened")
                continue
            book = document.profiles[name]
            for one in self.pins:
                self._contributors(name, one, book)
            self._coins(name, book, flattened)

    def _contributors(self, name: str, one: Pin, book: ContributorBook) -> None:
        share = book.sleeve_weight.get(one.sleeve)
        if share is None:
            self.refuse(CONTRIBUTORS_LOST, f"{name} {one.sleeve}", "the sleeve has no weight, not even 0")
            return
        wanted = _held(self.runs / one.run_id, name) if share > 0.0 else {}
        found = {_key(part, part.Path[1:]): part for part in book.contributors if part.Sleeve == one.sleeve}
        for key in sorted(wanted.keys() ^ found.keys()):
            missing = key in wanted
            turned = (*key[:2], "SHORT" if key[2] == "LONG" else "LONG", *key[3:])
            if turned in (found if missing else wanted):
                self.refuse(
                    DIRECTION_MISMATCH, f"{name} {one.sleeve} {key[1]}", f"{key[2]} in one, {turned[2]} in the other"
                )
            else:
                what = "the sleeve holds it, the portfolio lost it" if missing else "the sleeve does not hold it"
                self.refuse(CONTRIBUTORS_LOST, f"{name} {one.sleeve} {key[1]}", what)
        for key in sorted(wanted.keys() & found.keys()):
            self.weights += 1
            part = found[key]
            if part.Weight != share * wanted[key] or not 0.0 <= part.Held <= part.Weight:
                what = f"weighs {part.Weight!r} (held {part.Held!r}), the sleeve gives {share * wanted[key]!r}"
                self.refuse(CONTRIBUTORS_LOST, f"{name} {one.sleeve} {key[1]}", what)

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
            net = math.fsum(part.Held * (1.0 if part.Direction == "LONG" else -1.0) for part in own)
            where = f"{name} {symbol}"
            if not abs(gross - coin.Gross_Weight) <= NETTING:
                what = f"contributors hold {gross!r}, the coin {coin.Gross_Weight!r}"
                self.refuse(CONTRIBUTORS_LOST, where, what)
            side = "LONG" if coin.Net_Weight > 0.0 else "SHORT" if coin.Net_Weight < 0.0 else "FLAT"
            if not abs(net - coin.Net_Weight) <= NETTING or side != coin.Direction:
                what = f"contributors net to {net!r}, the coin is {coin.Direction} with {coin.Net_Weight!r}"
                self.refuse(DIRECTION_MISMATCH, where, what)

    def result(self, stage: Stage) -> SignTest:
        compared = self.values > 0 and (stage == "pre_opt" or self.weights > 0)
        return SignTest(
            stage=stage,
            ok=not self.violations and compared,
            atoms=self.atoms,
            longs=self.longs,
            shorts=self.atoms - self.longs,
            values_compared=self.values,
            weights_compared=self.weights,
            violations=self.violations,
        )


Key = tuple[str, str, str, tuple[str, ...]]


def _key(part: Contributor, path: list[str]) -> Key:
    return part.Symbol, part.Atom, part.Direction, tuple(path)


def _held(run: Path, name: str) -> dict[Key, float]:
    """Return what a sleeve holds, as shares of its own capital, from its artifacts."""
    if is_meta(run):
        book = load(Contributors, run / layout.META_CONTRIBUTORS).profiles[name]
        return {_key(part, part.Path): part.Held for part in book.contributors if part.Held > 0.0}
    flat = load(Flattened, run / layout.FLATTENED).profiles[name]
    pairs = [(coin.Symbol, part) for coin in flat.assets for part in coin.Atoms]
    return {(symbol, part.Atom, part.Direction, ()): part.Weight for symbol, part in pairs if part.Weight > 0.0}


def _winners(run: Path) -> int:
    return len(files.read_json(run / layout.WINNERS)["winners"])


def meta_sign_test(run: Path, stage: Stage, runs: Path | None = None) -> SignTest:
    """Test the signs of a meta-portfolio and of all its sleeves.

    Parameters
    ----------
    run : Path
        Its directory.
    stage : str
        ``pre_opt``: the sleeves' own tests, and their returns as the optimizers see them. ``post_opt``: the sleeves'
        tests after optimization, and every contributor and coin.
    runs : Path, optional
        Folder of the sleeves; by default they lie beside the run.

    Returns
    -------
    SignTest
        ``ok`` only if nothing is wrong and something was compared. What is missing or unreadable is a violation.
    """
    trial = _Trial(run, run.parent if runs is None else runs)
    try:
        trial.sleeves(stage)
        if stage == "pre_opt":
            trial.streams()
        else:
            trial.holdings()
    except IntegrityError as error:
        trial.refuse(EMPTY, Path(error.where).name, error.what)
    return trial.result(stage)
