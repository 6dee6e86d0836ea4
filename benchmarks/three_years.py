"""Tables of ``docs/evidence.md`` from the runs of a home: single phases beside the book, and what survivors would say.

python -m benchmarks.three_years HOME
"""

from __future__ import annotations

import sys
from pathlib import Path

from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def phases(run: Run) -> list[str]:
    told, rows = run[layout.WALK_STATISTICS], []
    for name in RISK_PROFILES:
        book, each = told["as_run"][name], told["phases"][name]
        spread = {key: each[key] for key in ("final_wealth", "sharpe", "max_drawdown")}
        cells = [f"{book['final_wealth']:.2f}", f"{book['sharpe']:.2f}", percent(book["max_drawdown"])]
        cells += [f"{one['median']:.2f}, {one['low']:.2f} to {one['high']:.2f}" for one in list(spread.values())[:2]]
        fall = spread["max_drawdown"]
        cells += [f"{percent(fall['median'])}, {percent(fall['low'])} to {percent(fall['high'])}"]
        cells += [f"{each['ruined']} of {each['count']}", percent(book["average_gross"])]
        rows.append(f"| {run.manifest.profile.name} | {name} | {' | '.join(cells)} |")
    return rows


def survivors(run: Run) -> str:
    told = run[layout.WALK_SURVIVORSHIP]
    cells = []
    for name in RISK_PROFILES:
        pair = told["profiles"][name]
        honest, alive, error = (pair[key]["cagr"] for key in ("honest", "survivors", "error"))
        cells.append(f"{honest:.1%}, {alive:.1%}, {100 * error:+.1f}")
    return f"| {run.manifest.profile.name} | {len(told['held_dead'])} of {len(told['dead'])} | {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    [folder] = arguments
    home = Home(Path(folder))
    runs = [
        run for run in map(Run, map(home.run, sorted(home.sealed()))) if run.get(layout.WALK_SURVIVORSHIP) is not None
    ]
    print("\n".join(row for run in runs for row in phases(run)))
    print()
    print("\n".join(map(survivors, runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
