"""Every gate kills its mutants, through the real steps: a fault is put into one step, and a later one must name it."""

import shutil

import polars as pl
import pytest

from assay import artifacts, files, layout
from assay.artifacts import Flattened, Optimized, Winners
from assay.audit import atomic
from assay.audit.verify import verify
from assay.errors import Exit

from .conftest import LONG, SHORT, mutated


def table(name, change):
    return lambda context: context.save(name, change(context.table(name)))


def document(kind, name, change):
    def mutate(context):
        value = context.load(kind, name).model_dump(mode="json")
        change(value)
        context.save(name, kind.model_validate(value))

    return mutate


def flip_one(frame):
    name = frame.columns[1]
    return frame.with_columns(-pl.col(name))


def swap_two(frame):
    a, b = frame.columns[1:3]
    return frame.with_columns(pl.col(a).alias(b), pl.col(b).alias(a))


def move_a_date(frame):
    return frame.with_columns(pl.col("date").dt.offset_by("1d"))


def scale_a_weight(document):
    # The least of the weights stays below its cap when it grows, so that only the sum can tell.
    asset = min(
        (asset for asset in document["profiles"]["hrp"]["assets"] if asset["Weight"]), key=lambda a: a["Weight"]
    )
    asset["Weight"] *= 1.1
    asset["Net_Weight"] *= 1.1


def flip_a_direction(document):
    asset = document["profiles"]["min_variance"]["assets"][0]
    asset["Net_Weight"] = -asset["Net_Weight"]
    asset["Direction"] = "LONG" if asset["Direction"] == "SHORT" else "SHORT"


def scale_a_coin(document):
    asset = document["profiles"]["barbell"]["assets"][0]
    for field in ("Weight", "Gross_Weight", "Net_Weight"):
        asset[field] *= 1.1


def drop_a_profile(document):
    del document["profiles"]["max_sharpe"]


def lose_a_winner(document):
    document["winners"].pop()


def turn_a_winner(document):
    winner = document["winners"][0]
    winner["direction"] = "LONG" if winner["direction"] == "SHORT" else "SHORT"
    winner["atom_id"] = f"{winner['symbol']}_{winner['logic']}_{winner['direction']}"


MUTANTS = {
    "flip one short": ("strategy_synthesis", table(layout.SYNTHETIC, flip_one), {"SIGNTEST_SHORT_NOT_INVERTED"}),
    "swap two columns": ("strategy_synthesis", table(layout.SYNTHETIC, swap_two), {"SIGNTEST_SHORT_NOT_INVERTED"}),
    "move the synthetic dates": (
        "sign_test_pre_opt",
        table(layout.SYNTHETIC, move_a_date),
        {"SIGNTEST_SHORT_NOT_INVERTED", "ATOMIC_CALENDAR"},
    ),
    "move the walk-forward's dates": (
        "capital_preservation",
        table(layout.WALK_RETURNS, move_a_date),
        {"ATOMIC_CALENDAR"},
    ),
    "scale an optimizer's weight by 1.1": (
        "optimization",
        document(Optimized, layout.OPTIMIZED, scale_a_weight),
        {"L4_SUM", "L4_CLUSTER_CAP"},
    ),
    "scale a coin's weight by 1.1": (
        "sign_test_post_opt",
        document(Flattened, layout.FLATTENED, scale_a_coin),
        {"ATOMIC_WEIGHT_SUM"},
    ),
    "flip a coin": (
        "weight_flattening",
        document(Flattened, layout.FLATTENED, flip_a_direction),
        {"SIGNTEST_DIRECTION_INTENT"},
    ),
    "drop a profile before flattening": (
        "optimization",
        document(Optimized, layout.OPTIMIZED, drop_a_profile),
        {"L4_PROFILE"},
    ),
    "drop a profile after flattening": (
        "sign_test_post_opt",
        document(Flattened, layout.FLATTENED, drop_a_profile),
        {"ATOMIC_PROFILE_MISSING"},
    ),
    "lose a winner": (
        "sign_test_post_opt",
        document(Winners, layout.WINNERS, lose_a_winner),
        {"ATOMIC_CROSS_ARTIFACT"},
    ),
    "turn a winner": (
        "natural_selection",
        document(Winners, layout.WINNERS, turn_a_winner),
        {"L3_DIRECTION", "L3_COLUMNS"},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_refused_with_its_code(workshop, name):
    after, mutation, codes = MUTANTS[name]
    folder, outcome = workshop.run(SHORT, steps=mutated(after, mutation))
    assert outcome.state == "FAILED"
    assert outcome.exit_code == Exit.FAILED
    told = {outcome.error["code"]}
    for path in (folder / layout.VALIDATION).glob("*.json"):
        told |= {check.code for check in artifacts.load(artifacts.AtomicValidation, path).checks if not check.ok}
    assert told & codes, (told, outcome.error)
    assert not (folder / layout.REPORT).exists()


def test_the_long_side_is_tested_like_the_short_one(workshop):
    _, outcome = workshop.run(LONG, steps=mutated("strategy_synthesis", table(layout.SYNTHETIC, flip_one)))
    assert outcome.error["code"] == "SIGNTEST_LONG_MISMATCH"


def test_an_edited_ledger_stops_the_run(workshop):
    def edit(context):
        path = context.path(layout.LEDGER)
        path.write_bytes(path.read_bytes().replace(b'"head":1', b'"head":2', 1))

    folder, outcome = workshop.run(SHORT, steps=mutated("capital_preservation", edit))
    assert outcome.state == "FAILED"
    assert outcome.error["code"] == "ATOMIC_LEDGER_BROKEN"
    assert not verify(folder).ok


def test_a_truncated_ledger_stops_the_run(workshop):
    def cut(context):
        path = context.path(layout.LEDGER)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))

    _, outcome = workshop.run(SHORT, steps=mutated("capital_preservation", cut))
    assert (outcome.state, outcome.exit_code) == ("FAILED", Exit.INTEGRITY)
    assert outcome.error["code"] == "LEDGER"


def test_another_runs_artifact_is_refused(workshop, finished):
    def replace_artifact(context):
        shutil.copy(finished[LONG] / layout.FLATTENED, context.path(layout.FLATTENED))

    folder, outcome = workshop.run(SHORT, steps=mutated("capital_preservation", replace_artifact))
    assert outcome.state == "FAILED"
    failed = {check.code for check in atomic.validate(folder).checks if not check.ok}
    assert {"ATOMIC_HASH_MISMATCH", "ATOMIC_CROSS_ARTIFACT"} <= failed


def test_a_fault_in_synthesis_itself_breaks_l3(workshop, monkeypatch):
    from assay import steps

    honest = steps.synthetic_frame
    monkeypatch.setattr(steps, "synthetic_frame", lambda *arguments: flip_one(honest(*arguments)))
    _, outcome = workshop.run(SHORT)
    assert outcome.error["code"] == "L3_SHORT_NOT_INVERTED"


def test_a_gate_that_compares_nothing_is_a_fault(workshop):
    def empty(context):
        context.save(layout.SYNTHETIC, context.table(layout.SYNTHETIC).head(0))

    _, outcome = workshop.run(SHORT, steps=mutated("strategy_synthesis", empty))
    assert outcome.error["code"] == "SIGNTEST_EMPTY_SYNTHETIC"


@pytest.mark.parametrize("name", [layout.FLATTENED, layout.SIGN_PRE, layout.WALK_RETURNS, layout.REPORT])
def test_a_sealed_run_that_loses_or_changes_a_file_is_broken(workshop, finished, tmp_path, name):
    folder = tmp_path / finished[SHORT].name
    shutil.copytree(finished[SHORT], folder)
    registry = workshop.home.registry
    assert verify(folder, registry=registry).ok
    path = folder / name
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert name in str(verify(folder, registry=registry).problems[0])
    path.unlink()
    assert name in str(verify(folder, registry=registry).problems[0])
    files.write(path, data)
    assert verify(folder, registry=registry).ok


@pytest.mark.parametrize("gate", ["foundation", "sign_test_pre_opt", "sign_test_post_opt", "causality"])
def test_a_run_that_skips_a_gate_is_refused(workshop, monkeypatch, gate):
    from assay.audit.ledger import Ledger

    honest = Ledger.gate

    def silent(self, step, name, **told):
        return self.head if name == gate else honest(self, step, name, **told)

    monkeypatch.setattr(Ledger, "gate", silent)
    _, outcome = workshop.run(SHORT)
    assert outcome.state == "FAILED"
    assert outcome.error["code"].startswith("ATOMIC_")
