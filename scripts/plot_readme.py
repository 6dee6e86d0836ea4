"""Draw the README's picture from a finished flow: walk-forward NAV of the four sleeves beside Bitcoin.

python scripts/plot_readme.py assay-home docs/images/sample_equity.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from assay.report.figures.lines import lines_over
from assay.report.figures.of_walk import WalkFigures, growth_of
from assay.report.markdown import ratio
from assay.runs.home import Home
from assay.runs.run import Run

RISK_PROFILE = "hrp"


def main(home: Path, target: Path) -> None:
    lines: dict[str, np.ndarray] = {}
    for name in sorted(Home(home).run_ids()):
        run = Run(Home(home).runs / name)
        if run.kind != "meta":
            walk = WalkFigures(run, [RISK_PROFILE])
            profile = name.rpartition("_")[0].removeprefix("binance_spot_rating_")
            lines[profile] = walk.column("nav")[RISK_PROFILE]
            bitcoin, days = growth_of(walk.yardsticks["benchmark"]), walk.days
    title = f"Growth of 1 in the walk-forward, {RISK_PROFILE}, after costs: a demo, not evidence"
    figure = lines_over("sample-equity", title, "", days, {"": lines | {"benchmark": bitcoin}}, (ratio,), level=1.0)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.save(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
