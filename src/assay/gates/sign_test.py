"""The sign test of a sleeve: every atom's stream and weight, recomputed from the physical returns.

This module shares no code with the synthesis that it tests. Streams are compared for exact equality, value by value;
comparing nothing is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

from assay.base.constants import Floats
from assay.base.errors import IntegrityError
from assay.gates.streams import Streams, streams
from assay.runs.artifacts import FLATTENED, OPTIMIZED, RETURNS, SYNTHETIC, WINNERS
from assay.runs.documents import (
    Contribution,
    Flattened,
    FlattenedAsset,
    FlattenedProfile,
    Optimized,
    OptimizedProfile,
    SignTest,
    SignViolation,
    Winner,
)
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES

T = TypeVar("T")
StageName = Literal["pre_opt", "post_opt"]

MISSING_SYNTHETIC = "SIGNTEST_MISSING_SYNTHETIC"
MISSING_RAW = "SIGNTEST_MISSING_RAW"
EMPTY_SYNTHETIC = "SIGNTEST_EMPTY_SYNTHETIC"
EMPTY_RAW = "SIGNTEST_EMPTY_RAW"
MISSING_PHYSICAL_COL = "SIGNTEST_MISSING_PHYSICAL_COL"
NO_ATOMS = "SIGNTEST_NO_ATOMS"
LONG_MISMATCH = "SIGNTEST_LONG_MISMATCH"
SHORT_NOT_INVERTED = "SIGNTEST_SHORT_NOT_INVERTED"
OPTIMIZER_NOT_NORMALIZED = "SIGNTEST_OPTIMIZER_NOT_NORMALIZED"
DIRECTION_INTENT = "SIGNTEST_DIRECTION_INTENT"

NETTING = 1e-12
"""A coin's net weight is a sum; the order of its terms may move it by so much."""

SIGNS = {"LONG": 1, "SHORT": -1, "FLAT": 0}


@dataclass
class SignComparison:
    """What a sign test has compared, and what it found wrong."""

    values: int = 0
    weights: int = 0
    atoms: int = 0
    longs: int = 0
    violations: list[SignViolation] = field(default_factory=list)

    def refuse(self, code: str, where: str, what: str) -> None:
        """Note a violation."""
        self.violations.append(SignViolation(code=code, where=where, what=what))

    def result(self, stage: StageName, compared: bool) -> SignTest:
        """Return the verdict: ok only if nothing is wrong and enough was compared."""
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


@dataclass
class _SleeveSigns(SignComparison):
    """The test of one sleeve while it runs."""

    returns: Streams = field(kw_only=True)
    synthetic: Streams = field(kw_only=True)
    winners: dict[str, Winner] = field(kw_only=True)

    def streams(self, direction: str) -> None:
        """Compare each atom's column with its coin's returns."""
        for name, atom in self.winners.items():
            if atom.direction != direction:
                self.refuse(DIRECTION_INTENT, name, f"the atom is {atom.direction}, the profile {direction}")
            if name != f"{atom.symbol}_{atom.logic}_{atom.direction}":
                self.refuse(DIRECTION_INTENT, name, "the atom's id is not built from its symbol, logic and direction")
            if name not in self.synthetic.columns:
                self.refuse(MISSING_SYNTHETIC, name, "the atom has no synthetic returns")
            elif atom.symbol not in self.returns.columns:
                self.refuse(MISSING_PHYSICAL_COL, name, f"the returns matrix has no {atom.symbol}")
            else:
                self.compare(name, atom.symbol, SIGNS[atom.direction], name)
        for name in self.synthetic.columns:
            if name not in self.winners:
                self.refuse(NO_ATOMS, name, "a column of the synthetic returns belongs to no atom")

    def compare(self, name: str, symbol: str, sign: int, where: str) -> None:
        """Compare an atom's stream with the profit of a coin held with a sign."""
        code = LONG_MISMATCH if self.winners[name].direction == "LONG" else SHORT_NOT_INVERTED
        if not np.array_equal(self.returns.days, self.synthetic.days):
            self.refuse(code, where, "the days are not those of the returns matrix")
            return
        stream, profit = self.synthetic[name], _profit(self.returns[symbol], sign)
        both = ~np.isnan(stream) & ~np.isnan(profit)
        self.values += int(both.sum())
        if not both.any():
            self.refuse(EMPTY_SYNTHETIC, where, "there is no value to compare")
        wrong = np.flatnonzero((stream != profit) & ~(np.isnan(stream) & np.isnan(profit)))
        if wrong.size:
            day = self.returns.days[wrong[0]]
            what = f"{wrong.size} values differ; on {day} it is {stream[wrong[0]]!s}, not {profit[wrong[0]]!s}"
            self.refuse(code, where, what)

    def optimized(self, document: Optimized) -> None:
        """Check that every optimizer saw each atom once, as something one is long of."""
        for name in _missing(document.profiles):
            self.refuse(OPTIMIZER_NOT_NORMALIZED, name, "the risk profile was not optimized")
        for where, profile in [
            *document.profiles.items(),
            *((f"unguarded {name}", profile) for name, profile in document.unguarded.items()),
        ]:
            self._optimized_profile(where, profile)

    def _optimized_profile(self, where: str, profile: OptimizedProfile) -> None:
        seen = [asset.Atom for asset in profile.assets]
        for name in sorted(self.winners.keys() ^ set(seen)):
            self.refuse(OPTIMIZER_NOT_NORMALIZED, f"{where} {name}", "the optimizer's atoms are not the winners")
        if len(set(seen)) != len(seen):
            self.refuse(OPTIMIZER_NOT_NORMALIZED, where, "an atom stands twice")
        for asset in profile.assets:
            place = f"{where} {asset.Atom}"
            self.weights += 1
            if not asset.Weight >= 0.0:
                self.refuse(OPTIMIZER_NOT_NORMALIZED, place, f"weight {asset.Weight!r} is not that of a long")
            atom = self.winners.get(asset.Atom)
            if atom is not None and (asset.Symbol, asset.Logic, asset.Direction) != _identity(atom):
                self.refuse(DIRECTION_INTENT, place, "symbol, logic or direction is not the winner's")
            if asset.Net_Weight != asset.Weight * SIGNS[asset.Direction]:
                self.refuse(DIRECTION_INTENT, place, f"net weight {asset.Net_Weight!r} is not {asset.Direction}")

    def flattened(self, document: Flattened, optimized: Optimized) -> None:
        """Check, over every risk profile, that what is held earns what the optimizer was shown."""
        for name in _missing(document.profiles):
            self.refuse(OPTIMIZER_NOT_NORMALIZED, name, "the risk profile was not flattened")
        for name, profile in document.profiles.items():
            given = optimized.profiles.get(name)
            if given is not None:
                self._flattened_profile(name, profile, {asset.Atom: asset.Weight for asset in given.assets})

    def _flattened_profile(self, where: str, profile: FlattenedProfile, given: dict[str, float]) -> None:
        parts = [part for asset in profile.assets for part in asset.Atoms]
        shares = {part.Atom: part.Weight for part in parts}
        if len(shares) != len(parts):
            self.refuse(OPTIMIZER_NOT_NORMALIZED, where, "an atom is flattened twice")
        for name in sorted(given.keys() | shares.keys()):
            if given.get(name) != shares.get(name):
                what = f"optimized to {given.get(name)!r}, flattened as {shares.get(name)!r}"
                self.refuse(OPTIMIZER_NOT_NORMALIZED, f"{where} {name}", what)
        for asset in profile.assets:
            self._flattened_asset(f"{where} {asset.Symbol}", asset)

    def _flattened_asset(self, where: str, asset: FlattenedAsset) -> None:
        self.weights += 1
        sign = (asset.Net_Weight > 0.0) - (asset.Net_Weight < 0.0)
        if sign != SIGNS[asset.Direction]:
            self.refuse(DIRECTION_INTENT, where, f"{asset.Direction} with net weight {asset.Net_Weight!r}")
        net = math.fsum(part.Weight * SIGNS[part.Direction] for part in asset.Atoms)
        if not abs(net - asset.Net_Weight) <= NETTING:
            self.refuse(DIRECTION_INTENT, where, f"its atoms sum to {net!r}, its net weight is {asset.Net_Weight!r}")
        sides = {part.Direction for part in asset.Atoms if part.Weight > 0.0}
        for part in asset.Atoms:
            self._contribution(f"{where} {part.Atom}", asset, part, sign if len(sides) == 1 else 0)

    def _contribution(self, where: str, asset: FlattenedAsset, part: Contribution, sign: int) -> None:
        """Hold the coin with the flattened sign: it must earn the atom's stream. Netted coins count by their parts."""
        atom = self.winners.get(part.Atom)
        if atom is None:
            self.refuse(NO_ATOMS, where, "a weight comes from no atom")
        elif (asset.Symbol, part.Logic, part.Direction) != _identity(atom):
            self.refuse(DIRECTION_INTENT, where, "symbol, logic or direction is not the winner's")
        elif part.Atom in self.synthetic.columns and asset.Symbol in self.returns.columns:
            self.compare(part.Atom, asset.Symbol, sign or SIGNS[part.Direction], where)


def _identity(atom: Winner) -> tuple[str, str, str]:
    return atom.symbol, atom.logic, atom.direction


def _missing(profiles: dict[str, OptimizedProfile] | dict[str, FlattenedProfile]) -> list[str]:
    return [name for name in RISK_PROFILES if name not in profiles]


def _profit(returns: Floats, sign: int) -> Floats:
    """Profit of one unit held for a day, (n_days,): a coin bought earns its return, a coin sold short the opposite.

    A short loses at most what was staked.
    """
    if sign > 0:
        return returns
    lost = returns >= 1.0
    return np.where(lost, -1.0, 0.0 - returns)


def sign_test(
    returns: Streams,
    synthetic: Streams,
    atoms: Sequence[Winner],
    direction: str,
    stage: StageName,
    optimized: Optimized | None = None,
    flattened: Flattened | None = None,
    stand_aside: bool = False,
) -> SignTest:
    """Test signs on tables in hand.

    Parameters
    ----------
    returns : Streams
        Returns matrix, simple returns per day of physical symbols.
    synthetic : Streams
        Synthetic returns, one column for each atom.
    atoms : sequence of Winner
        Winners that enrichment kept.
    direction : str
        The profile's, ``LONG`` or ``SHORT``.
    stage : str
        ``pre_opt``, or ``post_opt`` with the two documents.
    optimized, flattened : documents, optional
        Steps 9 and 10.
    stand_aside : bool
        The scan found nobody and the profile allows that: no atoms is then what is expected, and any is a fault.

    Returns
    -------
    SignTest
        ``ok`` only if nothing is wrong and something was compared.
    """
    winners = {atom.atom_id: atom for atom in atoms}
    longs = sum(atom.direction == "LONG" for atom in atoms)
    test = _SleeveSigns(returns=returns, synthetic=synthetic, winners=winners, atoms=len(atoms), longs=longs)
    if len(winners) != len(atoms):
        test.refuse(NO_ATOMS, "winners", "an atom stands twice")
    for code, where, what in _emptiness(returns, synthetic, atoms, stand_aside):
        test.refuse(code, where, what)
    test.streams(direction)
    if stage == "post_opt":
        _test_weights(test, optimized, flattened)
    return test.result(stage, stand_aside or test.values > 0)


def _test_weights(test: _SleeveSigns, optimized: Optimized | None, flattened: Flattened | None) -> None:
    if optimized is None or flattened is None:
        missing = OPTIMIZED if optimized is None else FLATTENED
        test.refuse(OPTIMIZER_NOT_NORMALIZED, missing, "there are no weights to test")
        return
    test.optimized(optimized)
    test.flattened(flattened, optimized)


def _emptiness(
    returns: Streams, synthetic: Streams, atoms: Sequence[Winner], stand_aside: bool
) -> Iterator[tuple[str, str, str]]:
    if stand_aside:
        if atoms:
            yield NO_ATOMS, WINNERS, "the run stands aside, and has atoms"
        return
    if not atoms:
        yield NO_ATOMS, WINNERS, "there is no atom to test"
    if returns.empty:
        yield EMPTY_RAW, RETURNS, "the returns matrix has no observation"
    if synthetic.empty:
        yield EMPTY_SYNTHETIC, SYNTHETIC, "the synthetic returns have no observation"


def run_sign_test(run: Run, stage: StageName, profile_direction: str, stand_aside: bool = False) -> SignTest:
    """Test the signs of a run directory; what is missing or unreadable is a violation, never an exception.

    Parameters
    ----------
    run : Run
    stage : str
        ``pre_opt`` (step 7) or ``post_opt`` (step 11).
    profile_direction : str
        ``LONG`` or ``SHORT``, as the manifest has it.
    stand_aside : bool
        See :func:`sign_test`.
    """
    faults: list[SignViolation] = []
    returns = _attempt(lambda: streams(run, RETURNS), MISSING_RAW, RETURNS, faults)
    synthetic = _attempt(lambda: streams(run, SYNTHETIC), MISSING_SYNTHETIC, SYNTHETIC, faults)
    atoms = _attempt(lambda: run.atoms, NO_ATOMS, WINNERS, faults)
    optimized = flattened = None
    if stage == "post_opt":
        optimized = _attempt(lambda: run[OPTIMIZED], OPTIMIZER_NOT_NORMALIZED, OPTIMIZED, faults)
        flattened = _attempt(lambda: run[FLATTENED], OPTIMIZER_NOT_NORMALIZED, FLATTENED, faults)
    if faults or returns is None or synthetic is None or atoms is None:
        longs = sum(atom.direction == "LONG" for atom in atoms or ())
        return SignComparison(atoms=len(atoms or ()), longs=longs, violations=faults).result(stage, compared=False)
    return sign_test(returns, synthetic, atoms, profile_direction, stage, optimized, flattened, stand_aside)


def _attempt(read: Callable[[], T], code: str, name: str, faults: list[SignViolation]) -> T | None:
    try:
        return read()
    except IntegrityError as error:
        faults.append(SignViolation(code=code, where=name, what=error.what))
        return None
