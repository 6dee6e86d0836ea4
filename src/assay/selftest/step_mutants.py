"""Mutants of a run: a fault is put into what one step wrote, and a later step must name it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from assay.pipeline.context import Made
from assay.risk.solve import CAPS_BIND
from assay.runs import artifacts as layout
from assay.runs.artifacts import Artifact
from assay.runs.documents import Document
from assay.runs.run import Run
from assay.selftest.sandbox import LONG, SHORT, Mutation, Sandbox, mutated

D = TypeVar("D", bound=Document)
Json = dict[str, Any]


@dataclass(frozen=True)
class StepMutant:
    """A fault: what is changed once the step ``after`` has worked, and codes of which one must refuse the run."""

    after: str
    mutation: Mutation
    codes: frozenset[str]
    profile: str = SHORT


def told_by(sandbox: Sandbox, mutant: StepMutant) -> set[str]:
    """Run with the fault; return the codes that refused it, none where the run became valid or left a report."""
    folder, outcome = sandbox.run(mutant.profile, steps=mutated(mutant.after, mutant.mutation))
    if outcome.error is None or (folder / layout.REPORT).exists():
        return set()
    checks = [Run(folder)[layout.VALIDATION.below(path.name)] for path in (folder / layout.VALIDATION).glob("*.json")]
    return {str(outcome.error["code"])} | {one.code for document in checks for one in document.checks if not one.ok}


def _table(row: Artifact[pl.DataFrame], change: Callable[[pl.DataFrame], pl.DataFrame]) -> Mutation:
    return lambda run: {row: change(run[row])}


def _document(row: Artifact[D], change: Callable[[Json], object]) -> Mutation:
    def mutate(run: Run) -> Made:
        value = run[row].model_dump(mode="json")
        change(value)
        return {row: run[row].model_validate(value)}

    return mutate


def flip_one(frame: pl.DataFrame) -> pl.DataFrame:
    """Change the sign of the first atom's returns."""
    return frame.with_columns(-pl.col(frame.columns[1]))


def _swap_two(frame: pl.DataFrame) -> pl.DataFrame:
    a, b = frame.columns[1:3]
    return frame.with_columns(pl.col(a).alias(b), pl.col(b).alias(a))


def _move_a_date(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("date").dt.offset_by("1d"))


def _scale_a_weight(value: Json) -> None:
    """Scale the least weight of hrp by 1.1: it stays below its cap, so that only the sum can tell."""
    held = [asset for asset in value["profiles"]["hrp"]["assets"] if asset["Weight"]]
    asset = min(held, key=lambda one: one["Weight"])
    asset["Weight"] *= 1.1
    asset["Net_Weight"] *= 1.1


def _push_a_weight(value: Json) -> None:
    """Give half of one atom's equal weight to another of its cluster, as caps that push once did."""
    book = value["profiles"]["equal_weight"]
    held = [asset for asset in book["assets"] if asset["Weight"]]
    one, other = next((a, b) for a in held for b in held if a is not b and a["Cluster_ID"] == b["Cluster_ID"])
    moved = min(one["Weight"] / 2, book["atom_cap"] - other["Weight"])
    for asset, change in ((one, -moved), (other, moved)):
        asset["Weight"] += change
        asset["Net_Weight"] = -asset["Weight"] if asset["Direction"] == "SHORT" else asset["Weight"]


def _silence_the_caps(value: Json) -> None:
    """Forget that caps took a part of the budget."""
    books = [book for book in value["profiles"].values() if any(e["code"] == CAPS_BIND for e in book["events"])]
    for book in [*books, books[0]]:
        book["events"] = [event for event in book["events"] if event["code"] != CAPS_BIND]


def _scale_a_coin(value: Json) -> None:
    asset = value["profiles"]["barbell"]["assets"][0]
    for name in ("Weight", "Gross_Weight", "Net_Weight"):
        asset[name] *= 1.1


def _scale_a_part(value: Json) -> None:
    value["profiles"]["hrp"]["assets"][0]["Parts"][0]["weight"] *= 1.1


def _lose_a_part(value: Json) -> None:
    asset = value["profiles"]["hrp"]["assets"][0]
    asset["Net_Weight"] -= asset["Parts"].pop()["weight"]


def _hold_other_units(value: Json) -> None:
    value["profiles"]["hrp"]["assets"][0]["Held"] *= 1.1


def _age_a_part(value: Json) -> None:
    value["profiles"]["hrp"]["assets"][0]["Parts"][0]["age"] += 1


def _skip_a_turn(value: Json) -> None:
    value["due"] = (value["due"] + 1) % value["tranches"]


def _flip_a_direction(value: Json) -> None:
    asset = value["profiles"]["min_variance"]["assets"][0]
    asset["Net_Weight"] = -asset["Net_Weight"]
    asset["Direction"] = "LONG" if asset["Direction"] == "SHORT" else "SHORT"


def _drop_a_profile(value: Json) -> None:
    del value["profiles"]["max_sharpe"]


def _lose_a_winner(value: Json) -> None:
    value["winners"].pop()


def _turn_a_winner(value: Json) -> None:
    winner = value["winners"][0]
    winner["direction"] = "LONG" if winner["direction"] == "SHORT" else "SHORT"
    winner["atom_id"] = f"{winner['symbol']}_{winner['logic']}_{winner['direction']}"


def _empty_streams(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.head(0)


def _edit_ledger(run: Run) -> Made:
    path = run.folder / layout.LEDGER
    path.write_bytes(path.read_bytes().replace(b'"head":1', b'"head":2', 1))
    return {}


def _cut_ledger(run: Run) -> Made:
    path = run.folder / layout.LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    return {}


def _anothers_artifact(sandbox: Sandbox) -> Mutation:
    def mutate(run: Run) -> Made:
        shutil.copy(sandbox.sealed(LONG) / layout.FLATTENED, run.folder / layout.FLATTENED)
        return {}

    return mutate


def _mutant(after: str, mutation: Mutation, *codes: str, profile: str = SHORT) -> StepMutant:
    return StepMutant(after, mutation, frozenset(codes), profile)


def _book_mutant(change: Callable[[Json], object]) -> StepMutant:
    return _mutant("capital_preservation", _document(layout.HOLDINGS, change), "ATOMIC_BOOK")


STEP_MUTANTS: dict[str, StepMutant] = {
    "flip one short": _mutant("strategy_synthesis", _table(layout.SYNTHETIC, flip_one), "SIGNTEST_SHORT_NOT_INVERTED"),
    "flip one long": _mutant(
        "strategy_synthesis", _table(layout.SYNTHETIC, flip_one), "SIGNTEST_LONG_MISMATCH", profile=LONG
    ),
    "swap two columns": _mutant(
        "strategy_synthesis", _table(layout.SYNTHETIC, _swap_two), "SIGNTEST_SHORT_NOT_INVERTED"
    ),
    "empty the synthetic returns": _mutant(
        "strategy_synthesis", _table(layout.SYNTHETIC, _empty_streams), "SIGNTEST_EMPTY_SYNTHETIC"
    ),
    "move the synthetic dates": _mutant("sign_test_pre_opt", _table(layout.SYNTHETIC, _move_a_date), "NOT_AS_DECIDED"),
    "move the walk-forward's dates": _mutant(
        "capital_preservation", _table(layout.WALK_RETURNS, _move_a_date), "ATOMIC_CALENDAR"
    ),
    "scale an optimizer's weight by 1.1": _mutant(
        "optimization", _document(layout.OPTIMIZED, _scale_a_weight), "L4_SUM", "L4_CLUSTER_CAP"
    ),
    "push a weight beyond its equal share": _mutant(
        "optimization", _document(layout.OPTIMIZED, _push_a_weight), "ATOMIC_CAP_BREACH"
    ),
    "silence what caps took": _mutant(
        "optimization", _document(layout.OPTIMIZED, _silence_the_caps), "ATOMIC_CAP_BREACH"
    ),
    "scale a coin's weight by 1.1": _mutant(
        "sign_test_post_opt", _document(layout.FLATTENED, _scale_a_coin), "ATOMIC_WEIGHT_SUM"
    ),
    "flip a coin": _mutant(
        "weight_flattening", _document(layout.FLATTENED, _flip_a_direction), "SIGNTEST_DIRECTION_INTENT"
    ),
    "drop a profile before flattening": _mutant(
        "optimization", _document(layout.OPTIMIZED, _drop_a_profile), "L4_PROFILE"
    ),
    "drop a profile after flattening": _mutant(
        "sign_test_post_opt", _document(layout.FLATTENED, _drop_a_profile), "L4_PROFILE"
    ),
    "drop a profile after the walk-forward": _mutant(
        "walk_forward", _document(layout.FLATTENED, _drop_a_profile), "ATOMIC_PROFILE_MISSING"
    ),
    "lose a winner": _mutant("sign_test_post_opt", _document(layout.WINNERS, _lose_a_winner), "ATOMIC_CROSS_ARTIFACT"),
    "turn a winner": _mutant(
        "natural_selection", _document(layout.WINNERS, _turn_a_winner), "L3_DIRECTION", "L3_COLUMNS"
    ),
    "scale a part of the book": _book_mutant(_scale_a_part),
    "lose a part of the book": _book_mutant(_lose_a_part),
    "hold units that were not traded": _book_mutant(_hold_other_units),
    "age a part of the book": _book_mutant(_age_a_part),
    "fill another tranche": _book_mutant(_skip_a_turn),
    "edit the ledger": _mutant("capital_preservation", _edit_ledger, "ATOMIC_LEDGER_BROKEN"),
    "truncate the ledger": _mutant("capital_preservation", _cut_ledger, "LEDGER_CHANGED"),
}
"""By what is done. To replace an artifact by another run's needs that run: :func:`_anothers_artifact`."""


def replaced_artifact(sandbox: Sandbox) -> StepMutant:
    """Return the mutant that takes another run's weights."""
    return _mutant("capital_preservation", _anothers_artifact(sandbox), "ATOMIC_HASH_MISMATCH", "ATOMIC_CROSS_ARTIFACT")
