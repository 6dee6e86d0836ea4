"""Draw the README's picture from a finished flow: walk-forward NAV of the four sleeves beside Bitcoin.

python scripts/plot_readme.py assay-home docs/images/sample_equity.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from assay import Run
from assay.lake.snapshot import pin
from assay.runs.home import Home

RISK_PROFILE = "hrp"
BENCHMARK = "BINANCE:BTCUSDT"


def benchmark(run: Run, first: object) -> pl.DataFrame:
    home = run.path.parent.parent
    lake = run.manifest["lake"]
    bars = pl.DataFrame(pin(home / lake["folder"], lake["head"]).bars(symbols=[BENCHMARK]))
    days = bars.sort("open_time").select(date=pl.col("open_time").dt.date(), close="close")
    before = days.filter(pl.col("date") < first)["close"][-1]
    return days.filter(pl.col("date") >= first).with_columns(nav=pl.col("close") / before)


def main(home: Path, target: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = "assay"  # equal runs give equal bytes
    runs = {run.status.profile: run for run in (Run(Home(home).runs / name) for name in Home(home).run_ids())}
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for profile, run in sorted(runs.items()):
        days = run.returns(RISK_PROFILE).sort("date")
        axes.plot(days["date"].to_list(), days["nav"].to_list(), label=profile.removeprefix("binance_spot_rating_"))
    coin = benchmark(run, days["date"][0])
    axes.plot(coin["date"].to_list(), coin["nav"].to_list(), color="black", linestyle=":", label="BTC, held")
    axes.set_title(f"Walk-forward NAV on the embedded sample, {RISK_PROFILE}, after costs: a demo, not evidence")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=3)
    figure.autofmt_xdate()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
