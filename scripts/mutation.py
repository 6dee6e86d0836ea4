"""Mutation score of the numeric kernels: how many small faults in them do the quick tests notice?

    python scripts/mutation.py [--each 60] [--seed 1] [--work FOLDER]

mutmut makes every mutant of the files that ``[tool.mutmut]`` names, in a copy of the checkout. Of each file a seeded
sample is tried, with its own tests and then with those of its room, and the score is given with Wilson's 95 %
interval. Survivors are printed: each is a test that is missing, or a mutant that computes the same. With ``--work``
the folder is kept, and a second call goes on where the first was stopped.

mutmut's own runner is not used: a process that is forked after Polars has run hangs, which it counts as caught. Here
the process that forks has only imported.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "pyproject.toml")
TESTS = {
    "alpha/features.py": ["tests/alpha/test_features.py", "tests/alpha"],
    "alpha/scoring.py": ["tests/alpha/test_scoring.py", "tests/alpha"],
    "gates/sign_test.py": ["tests/audit/test_sign_test.py"],
    "backtest/book.py": [
        "tests/evaluation/test_book.py",
        "tests/evaluation/test_book_by_hand.py",
        "tests/evaluation/test_walk_forward.py",
    ],
    "backtest/statistics.py": ["tests/evaluation/test_statistics.py", "tests/evaluation/test_trial_variance.py"],
    "ratings/averages.py": ["tests/ratings/test_ratings_oracles.py", "tests/ratings"],
    "ratings/drift.py": ["tests/ratings/test_ratings_drift.py", "tests/ratings"],
    "ratings/explanation.py": ["tests/ratings/test_ratings_explain.py", "tests/ratings"],
    "ratings/frames.py": ["tests/ratings/test_ratings_frames.py", "tests/ratings"],
    "ratings/indicators.py": ["tests/ratings/test_ratings_oracles.py", "tests/ratings"],
    "ratings/kernels.py": ["tests/ratings/test_ratings_oracles.py", "tests/ratings"],
    "ratings/soundness.py": ["tests/contracts/test_contract_scores.py", "tests/pipeline/test_filters.py"],
    "ratings/table.py": ["tests/ratings/test_ratings_table.py", "tests/ratings"],
    "ratings/tape.py": ["tests/ratings/test_ratings_table.py", "tests/ratings"],
    "ratings/update.py": ["tests/ratings/test_ratings_update.py", "tests/ratings"],
    "ratings/votes.py": ["tests/ratings/test_ratings_votes.py", "tests/ratings/test_ratings_mutants.py"],
    "risk/caps.py": ["tests/risk/test_caps.py", "tests/risk"],
    "risk/guard.py": ["tests/risk/test_guard.py", "tests/risk"],
    "risk/optimizers.py": ["tests/risk/test_optimizers.py", "tests/risk"],
    "risk/solve.py": ["tests/risk/test_solve.py", "tests/risk"],
}
"""Beginning of a mutated file's path, below ``src/assay``, to tests: its own first, then those of its room."""
PRELOADED = ("numpy", "polars", "pytest", "hypothesis.strategies", "scipy.cluster.hierarchy", "scipy.optimize", "piqp")
SETTINGS = """
from hypothesis import HealthCheck, settings

settings.register_profile("mutation", derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("mutation")
"""
"""A mutant that dies by luck on some days would make the score a matter of luck."""
GENERATE = """
from pathlib import Path
from mutmut import __main__ as mutmut
mutmut.set_mutant_under_test("mutant_generation")
Path("mutants").mkdir(exist_ok=True)
mutmut.copy_src_dir(); mutmut.copy_also_copy_files(); mutmut.setup_source_paths(); mutmut.create_mutants(1)
"""
LIMIT = 60
"""Seconds of the processor for one mutant; the tests of one room take less than half of it."""
WAIT = 900.0
"""Seconds of waiting, for a mutant that hangs."""


def main() -> int:
    """Copy, mutate, sample, try, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=60, help="mutants of each file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder to work in, kept")
    parser.add_argument("--only", default="", help="files in whose path this regular expression is found")
    parser.add_argument("--tell", action="store_true", help="try nothing more; tell what was tried")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (asked.work or Path(scratch)).resolve()
        if not (work / "mutants").is_dir():
            _generate(work)
        chosen = _sample(work, asked.each, asked.seed, asked.only)
        results = work / "results.json"
        told: dict[str, str] = json.loads(results.read_text()) if results.is_file() else {}
        if not asked.tell:
            _try(work, chosen, told, results)
        _tell(work, chosen, told)
        return 0


def _generate(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, work / name)
    conftest = work / "tests" / "conftest.py"
    conftest.write_text(conftest.read_text() + SETTINGS)
    subprocess.run([sys.executable, "-c", GENERATE], cwd=work, check=True, stdout=subprocess.DEVNULL)


def _mutants(work: Path) -> dict[str, list[str]]:
    """Map each mutated file to the names of its mutants."""
    base = work / "mutants" / "src" / "assay"
    found = {}
    for path in sorted(base.rglob("*.meta")):
        names = sorted(json.loads(path.read_text())["exit_code_by_key"])
        if names:
            found[path.relative_to(base).as_posix().removesuffix(".meta")] = names
    return found


def _sample(work: Path, each: int, seed: int, only: str) -> dict[str, list[str]]:
    return {
        name: random.Random(f"{seed} {name}").sample(names, min(each, len(names)))
        for name, names in _mutants(work).items()
        if re.search(only, name)
    }


# ---- trying ------------------------------------------------------------------------------------------------------


def _try(work: Path, chosen: dict[str, list[str]], told: dict[str, str], results: Path) -> None:
    """Try every chosen mutant that has no verdict yet, one of each file in turn."""
    _prepare(work)
    for tests in sorted({tests for name in chosen for tests in _stages(name)}):
        if _forked(None, tests) != "survived":
            raise SystemExit(f"{tests} fails without any mutant")
    turns = [(name, mutant) for row in zip_longest(*_pairs(chosen)) for name, mutant in filter(None, row)]
    for name, mutant in turns:
        if mutant not in told:
            verdicts = (_forked(mutant, tests) for tests in _stages(name))
            told[mutant] = next((verdict for verdict in verdicts if verdict != "survived"), "survived")
            results.write_text(json.dumps(told, indent=0))


def _stages(name: str) -> list[str]:
    return next(stages for start, stages in TESTS.items() if name.startswith(start))


def _pairs(chosen: dict[str, list[str]]) -> list[list[tuple[str, str]]]:
    return [[(name, mutant) for mutant in names] for name, names in chosen.items()]


def _prepare(work: Path) -> None:
    import importlib

    os.environ.setdefault("ASSAY_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    os.environ.update(dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    os.chdir(work / "mutants")
    sys.path[:0] = [str(work / "mutants" / "src")]
    for module in PRELOADED:
        importlib.import_module(module)


def _forked(mutant: str | None, tests: str) -> str:
    """Run tests in a forked process; return ``caught``, ``survived`` or ``out of time``."""
    pid = os.fork()
    if not pid:
        _child(mutant, tests)
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            late = -os.waitstatus_to_exitcode(status) in (signal.SIGXCPU, signal.SIGKILL)
            return "survived" if not status else "out of time" if late else "caught"
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "out of time"


def _child(mutant: str | None, tests: str) -> None:
    import pytest

    spent = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (spent + LIMIT, spent + LIMIT + 1))
    os.environ["MUTANT_UNDER_TEST"] = mutant or ""
    null = os.open(os.devnull, os.O_WRONLY)
    if mutant:
        os.dup2(null, 1)
        os.dup2(null, 2)
    code = 70
    try:
        # What was imported before pytest is not rewritten, which is a warning, and warnings are errors here.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
        code = int(pytest.main(["-x", "-q", "-m", "not slow", *quiet, tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


# ---- telling -----------------------------------------------------------------------------------------------------


def wilson(good: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    >>> [round(bound, 3) for bound in wilson(9, 10)]
    [0.596, 0.982]
    """
    middle, spread = (good + z * z / 2) / (n + z * z), z * math.sqrt(good * (n - good) / n + z * z / 4) / (n + z * z)
    return max(0.0, middle - spread), min(1.0, middle + spread)


def _tell(work: Path, chosen: dict[str, list[str]], told: dict[str, str]) -> None:
    every = _mutants(work)
    total: Counter[str] = Counter()
    print(f"{'file':34s} {'mutants':>8s} {'tried':>6s} {'caught':>7s} {'late':>5s} {'score':>7s}  95 % interval")
    for name, names in chosen.items():
        count = Counter(told[one] for one in names if one in told)
        if count.total():
            _row(name, len(every[name]), count)
            total.update(count)
    _row("all", sum(map(len, every.values())), total)
    for one in sorted(one for one, verdict in told.items() if verdict == "survived"):
        print(f"survived: {one}")


def _row(name: str, mutants: int, count: Counter[str]) -> None:
    tried, good = count.total(), count.total() - count["survived"]
    low, high = wilson(good, tried)
    figures = f"{mutants:8d} {tried:6d} {good:7d} {count['out of time']:5d} {good / tried:7.1%}"
    print(f"{name:34s} {figures}  {low:.1%} to {high:.1%}")


if __name__ == "__main__":
    raise SystemExit(main())
