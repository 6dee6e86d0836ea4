"""The decisions of one walk-forward, taken in parts by an executor.

A part names a run and rows of its grid; whoever takes it reads the manifest and the pinned lake. What comes back is
what the walk-forward holds, not all that was thought about it: weights, loss makers and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.backtest.choice import Choice
from assay.backtest.decision import decide, decider
from assay.backtest.survivorship import survivors
from assay.backtest.walk_forward import Each, Targets, WalkForwardResult, decide_row
from assay.pipeline.context import GivenSleeve, market_of
from assay.runs.request import Request

if TYPE_CHECKING:
    from assay.market.panel import Market
    from assay.runs.documents import Scalar
    from assay.settings.model import Profile

PARTS = 4
"""Parts for each worker: enough that one which is late does not keep the others waiting."""


@dataclass(frozen=True)
class Part:
    """Rows of the grid of a run's walk-forward."""

    home: Path
    run: Path
    rows: tuple[int, ...]
    survivors: bool = False
    """On the market of those that have a bar on the last day."""


@dataclass(frozen=True)
class Decided:
    """What a walk-forward needs from a decision; see :class:`assay.backtest.walk_forward.Targets`."""

    net: Mapping[str, Mapping[str, float]]
    unguarded: Mapping[str, Mapping[str, float]]
    loss_makers: Collection[str]
    summary: Mapping[str, Scalar]
    choice: Choice

    @classmethod
    def of(cls, targets: Targets) -> Decided:
        """Return the little that is passed on of a decision."""
        return cls(targets.net, targets.unguarded, tuple(targets.loss_makers), dict(targets.summary), targets.choice)


def decide_part(part: Part) -> list[Decided]:
    """Take the decisions of a part, in a worker."""
    request = Request.of(part.home, part.run)
    market = market_of(request)
    if part.survivors:
        market = survivors(market, request.profile.benchmark)

    def whole(known: Market) -> Targets:
        return decide(known, request.profile, request.scanners)

    decided = whole if part.survivors else decider(market, request.profile, request.scanners)
    return [Decided.of(decide_row(market, request.profile, decided, row)) for row in part.rows]


def each_of(given: GivenSleeve, *, survivors: bool = False) -> Each | None:
    """Return what takes the decisions of a run's walk-forward in parts; None where one worker would take all."""
    executor, request = given.executor, given.request
    if executor.workers < 2:
        return None

    def each(rows: Sequence[int]) -> Iterable[Targets]:
        size = max(1, -(-len(rows) // (PARTS * executor.workers)))
        cuts = range(0, len(rows), size)
        parts = [Part(request.home, request.run, tuple(rows[i : i + size]), survivors) for i in cuts]
        return [targets for decided in executor.map(decide_part, parts) for targets in decided]

    return each


def with_whole_middle(
    result: WalkForwardResult, market: Market, profile: Profile, decide: Callable[[Market], Targets]
) -> WalkForwardResult:
    """Return a walk-forward whose one phase has all that was thought about its middle decision: the probe reads it."""
    rebalances = list(result.phase.rebalances)
    middle = len(rebalances) // 2
    if isinstance(rebalances[middle].targets, Decided):
        whole = decide_row(market, profile, decide, rebalances[middle].row)
        rebalances[middle] = replace(rebalances[middle], targets=whole)
    return replace(result, phase=replace(result.phase, rebalances=tuple(rebalances)))
