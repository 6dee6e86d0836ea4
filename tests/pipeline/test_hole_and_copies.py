"""A market that lacks days for all coins, or has bars twice: its run is the whole market's where neither is touched."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.backtest.book import FORCED
from assay.base.domain import DAY
from assay.cli import app

sys.path.insert(0, str(Path(__file__).parents[1] / "foundation"))
from made_files import FIRST, made

TABLE = made(560)
PHASE = ("phase_returns", "unguarded_returns")
"""Books of one phase: the whole account, which decides every ten days and may have a hole between two decisions."""
BOOKS = ("decisions", "weights", "phase_weights", "trades", "returns", *PHASE, "yardsticks")
WHEN = {"decisions": "as_of", "weights": "as_of", "phase_weights": "as_of"}


def walked(table: pl.DataFrame, folder: Path) -> dict[str, pl.DataFrame]:
    """Run the long profile on a table; return the walk-forward's tables."""
    table.write_parquet(folder / "bars.parquet")
    asked = ["run", "binance_spot_rating_all_long", "--source", f"parquet:{folder}/bars.parquet"]
    done = CliRunner().invoke(app, [*asked, "--home", str(folder / "home"), "--json"])
    told = json.loads(done.stdout)["runs"][0]
    assert told["state"] == "VALID", told["error"]
    walk = folder / "home" / "runs" / told["run_id"] / "data" / "walk_forward"
    return {name: pl.read_parquet(walk / f"{name}.parquet") for name in BOOKS}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return walked(TABLE, tmp_path_factory.mktemp("base"))


def turns(tables: dict[str, pl.DataFrame]) -> list[dt.date]:
    """Days on which decisions of the one phase are filled."""
    return tables["decisions"].filter("phase")["fill_date"].sort().to_list()


def before(table: pl.DataFrame, name: str, day: dt.date) -> pl.DataFrame:
    return table.filter(pl.col(WHEN.get(name, "date")).cast(pl.Date) < day)


@pytest.mark.parametrize(("after", "days"), [(2, 3), (1, 8)])
def test_a_hole_of_the_whole_market_changes_nothing_until_a_decision_sees_it(base, tmp_path, after, days):
    fills = turns(base)
    fill, following = fills[12], fills[13]
    first, last = fill + after * DAY, fill + (after + days - 1) * DAY
    assert last < following - DAY
    inside = pl.col("timestamp").cast(pl.Date).is_between(first, last)
    holed = walked(TABLE.filter(~inside), tmp_path)
    # Before the hole nothing may differ but what a tranche's last holding earned by the time that it could next trade.
    for name in BOOKS:
        there, here = before(base[name], name, first), before(holed[name], name, first)
        lasting = [column for column in there.columns if (name, column) != ("weights", "pnl")]
        assert here.select(lasting).equals(there.select(lasting)), name
        assert not there.is_empty()
    # After it nothing differs until the next decision of a phase but the days of the hole.
    for name in PHASE:
        between = pl.col("date").is_between(last + DAY, following - DAY)
        there, here = base[name].filter(between), holed[name].filter(between)
        assert not there.is_empty()
        for column in ("nav", "gross", "net", "cash"):
            assert here[column].to_numpy() == pytest.approx(there[column].to_numpy(), rel=1e-12), (name, column)
        later = between & (pl.col("date") > last + DAY)
        assert holed[name].filter(later)["ret"].to_numpy() == pytest.approx(
            base[name].filter(later)["ret"].to_numpy(), rel=1e-9, abs=1e-15
        )
    for name in ("returns", *PHASE):
        gap = holed[name].filter(pl.col("date").is_between(first, last))
        assert gap["ret"].abs().max() == 0.0  # marked at the last close
        assert base[name].filter(pl.col("date").is_between(first, last))["ret"].abs().max() > 0.0
    # What a day earns after the hole does not depend on it, nor does any coin leave or begin anew.
    behind = pl.col("date") > last + DAY
    assert holed["yardsticks"].filter(behind).equals(base["yardsticks"].filter(behind))
    assert holed["trades"].filter(pl.col("reason").is_in(list(FORCED))).is_empty()
    assert turns(holed) == fills
    # The tranches whose turn came in the hole decide nothing; all others decide for the same reason as without it.
    elsewhere = ~pl.col("fill_date").is_between(first + DAY, last + DAY)
    assert holed["decisions"].height == base["decisions"].height - days
    told = ("fill_date", "tranche", "phase", "reason")
    assert holed["decisions"].select(told).equals(base["decisions"].filter(elsewhere).select(told))
    # Nobody trades in the hole: what was decided on its eve is cancelled, and waits for the tranche's next turn.
    in_hole = pl.col("date").is_between(first, last)
    assert holed["trades"].filter(in_hole).is_empty()
    assert not base["trades"].filter(in_hole).is_empty()


def forming(table: pl.DataFrame) -> pl.DataFrame:
    """Bars as they were while they formed: half of the volume, and a range inside the final one."""
    middle = (pl.col("open") + pl.col("close")) / 2
    return table.with_columns(
        pl.max_horizontal("open", middle).alias("high"),
        pl.min_horizontal("open", middle).alias("low"),
        middle.alias("close"),
        pl.col("volume") / 2,
        pl.col("quote_volume") / 2,
    )


def test_bars_that_come_twice_change_nothing_at_all(base, tmp_path):
    last = pl.col("timestamp") >= FIRST + 557 * DAY
    middle = pl.col("timestamp").is_between(FIRST + 300 * DAY, FIRST + 302 * DAY)
    one = (pl.col("symbol") == "BINANCE:SOLUSDT") & (pl.col("timestamp") > FIRST + 500 * DAY)
    twice = pl.concat([TABLE, forming(TABLE.filter(last)), forming(TABLE.filter(middle)), TABLE.filter(one)])
    found = walked(twice, tmp_path)
    for name in BOOKS:
        assert found[name].equals(base[name]), name
