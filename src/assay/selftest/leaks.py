"""A decision that knows tomorrow, and whether the test of causality finds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from assay.backtest import decision
from assay.backtest.causality import Probes, probe
from assay.backtest.decision import Decision, history_days
from assay.backtest.walk_forward import walk_forward
from assay.base.domain import DAY
from assay.market.panel import Market
from assay.pipeline.context import load_market
from assay.runs.request import Request


class Remembering(Market):
    """A market whose cuts keep hold of the whole: the fault that views of arrays invite."""

    def until(self, as_of: dt.datetime, lookback: int | None = None) -> Market:
        """Cut as every market does, and remember."""
        cut = Remembering(**_fields(super().until(as_of, lookback)))
        cut.__dict__["whole"] = self.__dict__.get("whole", self)
        return cut


def probed(request: Request, *, leaky: bool) -> Probes:
    """Probe a short walk-forward, with the true decision or with one that is taken a day later."""
    profile, scanners = request.profile, request.scanners
    days = history_days(profile, request.as_of)
    market = load_market(request.lake_folder, request.head, request.as_of, days)

    def honest(known: Market) -> Decision:
        return decision.decide(known, profile, scanners)

    def tomorrow(known: Market) -> Decision:
        whole: Market = known.__dict__["whole"]
        return replace(honest(whole.until(known.as_of + DAY)), as_of=known.as_of)

    decide: Callable[[Any], Decision] = tomorrow if leaky else honest
    seen = Remembering(**_fields(market)) if leaky else market
    return probe(walk_forward(seen, profile, decide), seen, profile, decide)


def _fields(market: Market) -> dict[str, Any]:
    return {name: getattr(market, name) for name, told in market.__dataclass_fields__.items() if told.init}
