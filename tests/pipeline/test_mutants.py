"""Every gate kills its mutants, through the real steps: a fault is put into one step, and a later one must name it."""

import shutil

import pytest

from assay.base import files
from assay.base.errors import Exit
from assay.runs import artifacts as layout
from assay.runs.verify import verify
from assay.selftest.step_mutants import STEP_MUTANTS, flip_one, replaced_artifact, told_by

from .conftest import SHORT, mutated


@pytest.mark.parametrize("name", STEP_MUTANTS)
def test_a_mutant_is_refused_with_its_code(sandbox, name):
    mutant = STEP_MUTANTS[name]
    told = told_by(sandbox, mutant)
    assert told & mutant.codes, told


def test_another_runs_artifact_is_refused(sandbox, finished):
    mutant = replaced_artifact(sandbox)
    assert mutant.codes <= told_by(sandbox, mutant)


def test_a_failed_gate_ends_the_run_with_exit_code_1_and_a_broken_ledger_with_3(sandbox):
    for name, code in (("flip one short", Exit.FAILED), ("truncate the ledger", Exit.INTEGRITY)):
        mutant = STEP_MUTANTS[name]
        folder, outcome = sandbox.run(mutant.profile, steps=mutated(mutant.after, mutant.mutation))
        assert (outcome.state, outcome.exit_code) == ("FAILED", code)
        assert not verify(folder).ok


def test_a_fault_in_synthesis_itself_breaks_l3(sandbox, monkeypatch):
    from assay.pipeline import sleeve_steps as steps

    honest = steps.synthetic_frame
    monkeypatch.setattr(steps, "synthetic_frame", lambda *arguments: flip_one(honest(*arguments)))
    _, outcome = sandbox.run(SHORT)
    assert outcome.error["code"] == "L3_SHORT_NOT_INVERTED"


@pytest.mark.parametrize("name", [layout.FLATTENED, layout.SIGN_PRE, layout.WALK_RETURNS, layout.REPORT])
def test_a_sealed_run_that_loses_or_changes_a_file_is_broken(sandbox, finished, tmp_path, name):
    folder = tmp_path / finished[SHORT].name
    shutil.copytree(finished[SHORT], folder)
    registry = sandbox.home.registry
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
def test_a_run_that_skips_a_gate_is_refused(sandbox, monkeypatch, gate):
    from assay.runs.ledger import Ledger

    honest = Ledger.gate

    def silent(self, step, name, **told):
        return self.head if name == gate else honest(self, step, name, **told)

    monkeypatch.setattr(Ledger, "gate", silent)
    _, outcome = sandbox.run(SHORT)
    assert outcome.state == "FAILED"
    assert outcome.error["code"].startswith("ATOMIC_")
