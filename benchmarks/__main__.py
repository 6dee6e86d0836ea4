"""Run every benchmark, each in a process of its own, so that none warms another up."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPTS = {
    "main_job": "The main job, from cold processes, on the embedded sample",
    "ratings": "Technical ratings, beside TA-Lib called per symbol",
    "selection": "Natural selection",
    "optimizers": "Optimizers, beside skfolio",
    "noise_search": "What the deflated Sharpe ratio promotes",
    "walk_forward": "Three years of walk-forward, beside skfolio",
    "live": "Live data from a local exchange, beside plain Parquet",
    "page": "The page: a first look at a run among 500, beside a static file",
}


def main(names: list[str]) -> int:
    failed = []
    for name in names or SCRIPTS:
        print(f"\n## {SCRIPTS[name]}\n", flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], env=environment, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
