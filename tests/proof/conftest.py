"""Runs of a home whose seals are signed, made once for all tests of a worker."""

from __future__ import annotations

import datetime as dt

import pytest
from signed_runs import AS_OF, LONG, META, SHORT, Signed

from assay.pipeline.flow import lay_foundation, requests, run_all, workforce
from assay.pipeline.runner import execute
from assay.runs import signing
from assay.runs.home import Home, claim
from assay.runs.request import MetaRequest, pin, weakened_by_sleeves
from assay.settings import load
from assay.settings.model import MetaProfile
from assay.settings.resolve import dotted

# The short sleeve turns every candidate and looks at 20 days where the long one looks at 120, so that some coins are
# long in one and short in the other.
DAYS = "walk_forward.days=70"
TURNED = (DAYS, "pool=superset", "selection.feature_bars=20", "selection.max_winners=200", "guard.enabled=false")


@pytest.fixture(scope="session")
def signed(tmp_path_factory) -> Signed:
    """Two sleeves, signed by the workers of a pool, and a portfolio of both."""
    folder = tmp_path_factory.mktemp("signed")
    public, _ = signing.new_pair(folder / "key")
    home = Home(folder / "home")
    foundation = lay_foundation(home, load(), "sample", AS_OF)
    wanted = [
        *requests(home, load(settings=[DAYS]), foundation, [LONG]),
        *requests(home, load(settings=TURNED), foundation, [SHORT]),
    ]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(signing.VARIABLE, str(folder / "key"))
        with workforce("pool", 2, home) as executor:
            outcomes = run_all(executor, wanted)
        assert [one.state for one in outcomes] == ["VALID", "VALID"], outcomes
        profile = MetaProfile(name=META, sleeves=(LONG, SHORT))
        pins = tuple(pin(home.runs, one.profile, one.run_id) for one in outcomes)
        request = MetaRequest(
            home=home.path,
            run=claim(home.runs, META, None, dt.datetime.now(dt.UTC)),
            profile=profile,
            provenance=dict.fromkeys(dotted(profile.model_dump(mode="json")), "default"),
            pins=pins,
            weakened_sleeves=weakened_by_sleeves(home.runs, pins),
            passed_over=(),
            source="sample",
            lake=foundation.lake.folder.relative_to(home.path).as_posix(),
            as_of=foundation.as_of,
        )
        outcome = execute(request)
        assert outcome.state == "VALID", outcome.error
    runs = {one.profile: home.runs / one.run_id for one in (*outcomes, outcome)}
    return Signed(home.path, folder / "key", public, runs)
