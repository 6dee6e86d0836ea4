"""On 2024-03-29 a coin that was held short rose fourfold: books of one phase without caps did not outlive that day."""

from __future__ import annotations

import pytest

from assay.runs import artifacts as layout
from assay.runs.home import Home, Status
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES

from .conftest import SHORT
from .test_ruin import SHORT_CAPS, assay

WEAKENED = ("walk_forward.tranches=1", *(f"caps.{name}=1" for name in SHORT_CAPS))


@pytest.mark.slow
@pytest.mark.parametrize(("as_of", "since"), [("2024-04-07", ()), ("2024-06-28", ("walk_forward.start=2021-07-01",))])
def test_the_shorts_of_march_2024_read_valid_ruin_everywhere(shared, tmp_path, as_of, since):
    source = f"parquet:{shared / 'spot_daily_to_2024-06.parquet'}"
    sets = [word for text in (*WEAKENED, *since) for word in ("--set", text)]
    home = tmp_path / "home"
    said = assay("run", SHORT, "--source", source, "--as-of", as_of, "--run-id", "r", *sets, home=home, cwd=tmp_path)
    folder = home / "runs" / "r"
    told = Run(folder)[layout.PRESERVATION].ruin
    assert told.keys() == set(RISK_PROFILES)
    for name, one in told.items():
        assert (one.cause, one.date) == ("liquidated", "2024-03-29"), name
    assert "VALID, RUIN, weakened: " in said
    assert Status.shown(folder).verdict.startswith("VALID, RUIN, weakened: ")
    assert "VALID, RUIN, weakened: " in assay("status", home=Home(home).path, cwd=tmp_path)
    for file in (layout.REPORT, layout.PAGE):
        assert "VALID, RUIN, weakened: " in (folder / file).read_text()
