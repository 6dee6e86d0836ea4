"""Run everything that ``make test`` promises, print what failed, and stop with its code.

The static checks run beside the tests, since both have a core to themselves.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATIC = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "layers": ["lint-imports"],
}


def main(arguments: list[str]) -> int:
    marks = [] if "--slow" in arguments else ["-m", "not slow"]
    started = time.monotonic()
    static = {
        name: subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name, command in STATIC.items()
    }
    # A file's tests share what they made: a file stays with one worker.
    pytest = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--basetemp", str(ROOT / ".pytest_tmp")]
    tests = subprocess.run([*pytest, *marks], cwd=ROOT, check=False)
    failed = []
    for name, process in static.items():
        output, _ = process.communicate()
        if process.returncode:
            failed.append(name)
            print(output, flush=True)
        print(f"{name}: {'FAILED' if process.returncode else 'ok'}", flush=True)
    if tests.returncode:
        failed.append("tests")
    print(f"{time.monotonic() - started:.0f} s; {'failed: ' + ', '.join(failed) if failed else 'all ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
