"""Mutants of a run: a fault is put into what one step wrote, and a later step must name it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.pipeline.context import Context
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.documents import Document, Flattened, Optimized, Winners
from assay.selftest.sandbox import LONG, SHORT, Mutation, Sandbox, mutated

Json = dict[str, Any]


@dataclass(frozen=True)
class StepMutant:
    """A fault in one step.

    Attributes
    ----------
    after : str
        The step whose artifact is changed, once it has ended its work.
    mutation : callable
        Changes it.
    codes : frozenset of str
        One of these must refuse the run.
    profile : str
        What is run.
    """

    after: str
    mutation: Mutation
    codes: frozenset[str]
    profile: str = SHORT


def told_by(sandbox: Sandbox, mutant: StepMutant) -> set[str]:
    """Run with the fault; return the codes that refused it, none where the run became valid or left a report."""
    folder, outcome = sandbox.run(mutant.profile, steps=mutated(mutant.after, mutant.mutation))
    if outcome.error is None or (folder / layout.REPORT).exists():
        return set()
    told = {str(outcome.error["code"])}
    for path in (folder / layout.VALIDATION).glob("*.json"):
        told |= {check.code for check in artifacts.load(artifacts.AtomicValidation, path).checks if not check.ok}
    return told


def table(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Mutation:
    """Change one table."""
    return lambda context: context.save(name, change(context.table(name)))


def document(kind: type[Document], name: str, change: Callable[[Json], object]) -> Mutation:
    """Change one document."""

    def mutate(context: Context) -> None:
        value = context.load(kind, name).model_dump(mode="json")
        change(value)
        context.save(name, kind.model_validate(value))

    return mutate


def flip_one(frame: pl.DataFrame) -> pl.DataFrame:
    """Change the sign of the first atom."""
    return frame.with_columns(-pl.col(frame.columns[1]))


def swap_two(frame: pl.DataFrame) -> pl.DataFrame:
    """Exchange the first two atoms."""
    a, b = frame.columns[1:3]
    return frame.with_columns(pl.col(a).alias(b), pl.col(b).alias(a))


def move_a_date(frame: pl.DataFrame) -> pl.DataFrame:
    """Move every date by a day."""
    return frame.with_columns(pl.col("date").dt.offset_by("1d"))


def scale_a_weight(value: Json) -> None:
    """Scale the least weight of hrp by 1.1: it stays below its cap, so that only the sum can tell."""
    held = [asset for asset in value["profiles"]["hrp"]["assets"] if asset["Weight"]]
    asset = min(held, key=lambda one: one["Weight"])
    asset["Weight"] *= 1.1
    asset["Net_Weight"] *= 1.1


def scale_a_coin(value: Json) -> None:
    """Scale a flattened weight by 1.1."""
    asset = value["profiles"]["barbell"]["assets"][0]
    for name in ("Weight", "Gross_Weight", "Net_Weight"):
        asset[name] *= 1.1


def flip_a_direction(value: Json) -> None:
    """Hold a coin the other way round."""
    asset = value["profiles"]["min_variance"]["assets"][0]
    asset["Net_Weight"] = -asset["Net_Weight"]
    asset["Direction"] = "LONG" if asset["Direction"] == "SHORT" else "SHORT"


def drop_a_profile(value: Json) -> None:
    """Lose one risk profile."""
    del value["profiles"]["max_sharpe"]


def lose_a_winner(value: Json) -> None:
    """Lose the last winner."""
    value["winners"].pop()


def turn_a_winner(value: Json) -> None:
    """Let a winner point the other way."""
    winner = value["winners"][0]
    winner["direction"] = "LONG" if winner["direction"] == "SHORT" else "SHORT"
    winner["atom_id"] = f"{winner['symbol']}_{winner['logic']}_{winner['direction']}"


def empty_streams(context: Context) -> None:
    """Leave the synthetic returns without a row."""
    context.save(layout.SYNTHETIC, context.table(layout.SYNTHETIC).head(0))


def edit_ledger(context: Context) -> None:
    """Change a value in a line of the ledger."""
    path = context.path(layout.LEDGER)
    path.write_bytes(path.read_bytes().replace(b'"head":1', b'"head":2', 1))


def cut_ledger(context: Context) -> None:
    """Cut the last three lines of the ledger."""
    path = context.path(layout.LEDGER)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))


def anothers_artifact(sandbox: Sandbox) -> Mutation:
    """Put another run's weights in the place of this run's."""

    def mutate(context: Context) -> None:
        shutil.copy(sandbox.sealed(LONG) / layout.FLATTENED, context.path(layout.FLATTENED))

    return mutate


def _mutant(after: str, mutation: Mutation, *codes: str, profile: str = SHORT) -> StepMutant:
    return StepMutant(after, mutation, frozenset(codes), profile)


STEP_MUTANTS: dict[str, StepMutant] = {
    "flip one short": _mutant("strategy_synthesis", table(layout.SYNTHETIC, flip_one), "SIGNTEST_SHORT_NOT_INVERTED"),
    "flip one long": _mutant(
        "strategy_synthesis", table(layout.SYNTHETIC, flip_one), "SIGNTEST_LONG_MISMATCH", profile=LONG
    ),
    "swap two columns": _mutant("strategy_synthesis", table(layout.SYNTHETIC, swap_two), "SIGNTEST_SHORT_NOT_INVERTED"),
    "empty the synthetic returns": _mutant("strategy_synthesis", empty_streams, "SIGNTEST_EMPTY_SYNTHETIC"),
    "move the synthetic dates": _mutant(
        "sign_test_pre_opt",
        table(layout.SYNTHETIC, move_a_date),
        "SIGNTEST_SHORT_NOT_INVERTED",
        "ATOMIC_CALENDAR",
    ),
    "move the walk-forward's dates": _mutant(
        "capital_preservation", table(layout.WALK_RETURNS, move_a_date), "ATOMIC_CALENDAR"
    ),
    "scale an optimizer's weight by 1.1": _mutant(
        "optimization", document(Optimized, layout.OPTIMIZED, scale_a_weight), "L4_SUM", "L4_CLUSTER_CAP"
    ),
    "scale a coin's weight by 1.1": _mutant(
        "sign_test_post_opt", document(Flattened, layout.FLATTENED, scale_a_coin), "ATOMIC_WEIGHT_SUM"
    ),
    "flip a coin": _mutant(
        "weight_flattening", document(Flattened, layout.FLATTENED, flip_a_direction), "SIGNTEST_DIRECTION_INTENT"
    ),
    "drop a profile before flattening": _mutant(
        "optimization", document(Optimized, layout.OPTIMIZED, drop_a_profile), "L4_PROFILE"
    ),
    "drop a profile after flattening": _mutant(
        "sign_test_post_opt", document(Flattened, layout.FLATTENED, drop_a_profile), "ATOMIC_PROFILE_MISSING"
    ),
    "lose a winner": _mutant(
        "sign_test_post_opt", document(Winners, layout.WINNERS, lose_a_winner), "ATOMIC_CROSS_ARTIFACT"
    ),
    "turn a winner": _mutant(
        "natural_selection", document(Winners, layout.WINNERS, turn_a_winner), "L3_DIRECTION", "L3_COLUMNS"
    ),
    "edit the ledger": _mutant("capital_preservation", edit_ledger, "ATOMIC_LEDGER_BROKEN"),
    "truncate the ledger": _mutant("capital_preservation", cut_ledger, "LEDGER_CHANGED"),
}
"""By what is done. To replace an artifact by another run's needs that run: :func:`anothers_artifact`."""


def replaced_artifact(sandbox: Sandbox) -> StepMutant:
    """Return the mutant that takes another run's weights."""
    return _mutant("capital_preservation", anothers_artifact(sandbox), "ATOMIC_HASH_MISMATCH", "ATOMIC_CROSS_ARTIFACT")
