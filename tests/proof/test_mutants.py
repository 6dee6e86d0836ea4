"""No check without a mutant: every code that can refuse a run is in the register, and its mutants are tests."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest
from mutants import COMPOSED, GATES, MUTANTS, NO_FAULTS
from scripts.mutation import TESTS
from survivors import SURVIVORS

from assay.pipeline import sleeve_steps as steps
from assay.runs import artifacts as layout
from assay.runs.ledger import Ledger
from assay.selftest.cases import SETTINGS
from assay.selftest.sandbox import SHORT, Sandbox, mutated

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"(L[0-4]|SIGNTEST|ATOMIC|META|CAUSALITY)_[A-Z][A-Z_]*")
ROOMS = ("account", "gates", "runs", "market", "screening", "backtest", "meta", "report", "pipeline")


def constants(path):
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def sources():
    for room in ROOMS:
        path = ROOT / "src" / "assay" / room
        yield from [path] if path.is_file() else path.rglob("*.py")


def test_every_code_of_the_sources_is_in_the_register():
    written = {text for path in sources() for text in constants(path) if CODE.fullmatch(text)}
    assert len(written) > 100
    assert (written | set(COMPOSED)) - MUTANTS.keys() - NO_FAULTS.keys() == set()


def test_the_register_names_no_code_that_is_not_there():
    written = {text for path in sources() for text in constants(path)}
    assert (MUTANTS.keys() | NO_FAULTS.keys()) - written - set(COMPOSED) == set()
    assert not MUTANTS.keys() & NO_FAULTS.keys()


def gates():
    """Names of gates that the sources enter in a ledger; ``{stage}`` stands for both sign tests."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Gate", "validated"):
                name = ast.unparse(node.args[0])
                if name.endswith("'"):  # else it is handed down, and written where it comes from
                    yield name.removeprefix("f").strip("'").replace("result.stage", "stage")


def test_every_gate_of_the_sources_is_in_the_register():
    named = {gate.format(stage=stage) for gate in gates() for stage in ("pre_opt", "post_opt")}
    assert named == GATES.keys()


def words(node, tops, depth=2, seen=()):
    """Texts and names in a test, and in the tables and functions of its module that it uses."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.add(part.value)
        if isinstance(part, ast.Attribute):
            found.add(part.attr)
        if isinstance(part, ast.Name):
            found.add(part.id)
            if depth and part.id in tops and part.id not in seen:
                found |= words(tops[part.id], tops, depth - 1, (*seen, part.id))
    return found


def test_of(node_id):
    """Return a test's syntax tree and the names of its module's top level."""
    path, name = node_id.split("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    tops = {}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            tops[getattr(target, "id", "")] = node
        elif isinstance(node, ast.FunctionDef):
            tops[node.name] = node
    [found] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    return found, tops


test_of.__test__ = False


@pytest.mark.parametrize("code", MUTANTS)
def test_a_mutant_of_the_register_is_a_test_that_expects_the_code(code):
    assert MUTANTS[code]
    for node_id in MUTANTS[code]:
        told = words(*test_of(node_id))
        short = code.split("_", 1)[-1]  # tests of one room leave its name out
        assert code in told or (short in told and not code.startswith(("L", "META"))), node_id


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_of_the_register_is_in_a_test(gate):
    for node_id in GATES[gate]:
        node, _ = test_of(node_id)
        assert any(isinstance(part, ast.Assert) for part in ast.walk(node))


# ---- gates without codes of their own ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    return Sandbox.at(tmp_path_factory.mktemp("gates"), SETTINGS)


def stale(health):
    symbols = [
        entry.model_copy(update={"status": "STALE"}) if entry.symbol == health.benchmark else entry
        for entry in health.symbols
    ]
    return health.model_copy(update={"symbols": symbols})


UNHEALTHY = {
    "a candidate that nobody audited": lambda health: health.model_copy(update={"symbols": health.symbols[1:]}),
    "nobody was audited": lambda health: health.model_copy(update={"symbols": []}),
    "a stale benchmark": stale,
    "returns of another day": lambda health: health.model_copy(update={"last": "2023-10-18"}),
}


@pytest.mark.parametrize("fault", UNHEALTHY)
def test_the_foundation_gate_kills_its_mutants(sandbox, monkeypatch, fault):
    honest = steps.data_health
    monkeypatch.setattr(steps, "data_health", lambda *given: UNHEALTHY[fault](honest(*given)))
    folder, outcome = sandbox.run(SHORT)
    assert outcome.error["code"] == "GATE"
    assert outcome.error["where"] == layout.HEALTH
    assert not (folder / layout.WINNERS).exists()


def test_a_candidate_without_column_or_reason_is_refused(sandbox, monkeypatch):
    honest = steps.decision.prepare

    def prepare(market, candidates, profile):
        return honest(market, candidates[1:], profile)

    monkeypatch.setattr(steps.decision, "prepare", prepare)
    _, outcome = sandbox.run(SHORT)
    assert (outcome.error["code"], outcome.error["where"]) == ("GATE", layout.HEALTH)
    assert "neither a column nor a reason" in outcome.error["what"]


def hold_a_loss_maker(run):
    """Let the first coin that the guarded book holds be one that the decision called a loss maker."""
    weights = run[layout.WALK_WEIGHTS].with_columns((pl.int_range(pl.len()) == 0).alias("loss_maker"))
    return {layout.WALK_WEIGHTS: weights}


def test_the_gate_of_capital_preservation_kills_its_mutant(sandbox):
    _, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", hold_a_loss_maker))
    assert (outcome.error["code"], outcome.error["where"]) == ("GATE", layout.PRESERVATION)


# ---- checking nothing is a failure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gate",
    [
        "causality",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("foundation", "sign_test_pre_opt", "sign_test_post_opt", "capital_preservation")
        ),
    ],
)
def test_a_gate_that_checked_nothing_refuses_the_run(sandbox, monkeypatch, gate):
    honest = Ledger.gate

    def idle(self, step, name, **told):
        return honest(self, step, name, **(told | {"checked": 0} if name == gate else told))

    monkeypatch.setattr(Ledger, "gate", idle)
    _, outcome = sandbox.run(SHORT)
    assert outcome.error["code"] == "ATOMIC_LEDGER_BROKEN"


@pytest.mark.slow
@pytest.mark.parametrize("checked", [0, None])
@pytest.mark.parametrize("layer", ["L0", "L1", "L2", "L3", "L4"])
def test_a_contract_that_checked_nothing_or_was_skipped_refuses_the_run(sandbox, monkeypatch, layer, checked):
    honest = Ledger.contract

    def idle(self, step, **told):
        if told["layer"] != layer:
            return honest(self, step, **told)
        return self.head if checked is None else honest(self, step, **(told | {"checked": 0}))

    monkeypatch.setattr(Ledger, "contract", idle)
    _, outcome = sandbox.run(SHORT)
    assert outcome.error["code"] == ("ATOMIC_CONTRACT_FAILED" if checked is None else "ATOMIC_LEDGER_BROKEN")


def test_the_mutation_score_is_of_files_and_tests_that_are_there():
    """A pattern that meets no file takes its kernel out of the score without a word."""
    mutated_files = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    found = {pattern: sorted(ROOT.glob(pattern)) for pattern in mutated_files}
    assert all(found.values()), found
    kernels = {path.relative_to(ROOT / "src/assay").as_posix() for paths in found.values() for path in paths}
    assert kernels - TESTS.keys() == {"ratings/__init__.py"}
    assert TESTS.keys() <= kernels
    assert all((ROOT / test).exists() for tests in TESTS.values() for test in tests)


# ---- faults in the program that once survived ------------------------------------------------------------------------


@pytest.mark.parametrize("name", SURVIVORS)
def test_a_survivor_of_the_register_is_a_line_of_the_program_and_has_its_test(name):
    fault = SURVIVORS[name]
    assert (ROOT / "src/assay" / fault.path).read_text().count(fault.line) == 1
    assert fault.line != fault.instead
    node, _ = test_of(fault.test)
    assert any(isinstance(part, ast.Assert) for part in ast.walk(node))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the program and its tests, to be broken."""
    folder = tmp_path_factory.mktemp("survivors")
    for name in ("src", "tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SURVIVORS)
def test_the_test_of_a_survivor_kills_it(checkout, name):
    fault = SURVIVORS[name]
    path = checkout / "src/assay" / fault.path
    honest = path.read_text()
    path.write_text(honest.replace(fault.line, fault.instead))
    command = [sys.executable, "-m", "pytest", f"tests/{fault.test}", "-q", "-x", "-p", "no:cacheprovider"]
    try:
        environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(honest)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stopping after 1 failures" in done.stdout
