"""Capital preservation: what the guard kept out, what it cost, and what it could not see.

The evidence is the walk-forward's tables: the decisions of one phase were held twice, as run and with the guard off. A
*loss maker* is what the guard calls one at the decision (the mean of its window, less costs, was not positive). A
*later loser* was none, and lost until the next rebalance: no guard that looks back can know it, and the report shows
it. Ruin is judged on the book that was run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from assay.backtest.book import LIQUIDATION
from assay.backtest.statistics import max_drawdown
from assay.base.constants import TOLERANCE, Floats
from assay.base.domain import format_instant
from assay.runs.documents import (
    BookRuin,
    CapitalPreservation,
    LossMakerLosses,
    Optimized,
    OptimizedProfile,
    Preserved,
    PreservedProfile,
    StandingExposure,
    WorstPeriod,
)
from assay.settings.model import Guard, Margin

NO_MARGIN = Margin(enabled=False)
QUARTER = 0.25
"""Share of the initial account below which a book is ruined, at any close."""


def preservation(
    tables: Mapping[str, pl.DataFrame],
    guard: Guard,
    optimized: Optimized | None = None,
    loss_makers: Collection[str] = (),
    margin: Margin = NO_MARGIN,
) -> CapitalPreservation:
    """Compare the walk-forward as run with the same decisions unguarded.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        ``phase_returns``, ``unguarded_returns``, ``phase_weights``, ``unguarded_weights``, ``decisions``, and of the
        tranche book ``returns``, ``weights`` and ``trades``, as :func:`assay.backtest.walk_forward.frames` makes them.
    guard : Guard
        The profile's setting.
    optimized : Optimized, optional
        The live decision; without it ``standing`` is empty.
    loss_makers : collection of str
        Atom ids of the live decision's loss makers.
    margin : Margin
        Below which level a book was liquidated.

    Returns
    -------
    CapitalPreservation
    """
    decisions = tables["decisions"].sort("as_of")
    phase = decisions.filter("phase")
    held = tables["weights"].filter(pl.col("net_weight") != 0.0)
    names = tables["returns"]["risk_profile"].unique().sort().to_list()
    return CapitalPreservation(
        guard_enabled=guard.enabled,
        guard_days=guard.days,
        rebalances=decisions.height,
        rebalances_in_cash=decisions.height - held["as_of"].n_unique(),
        mean_loss_makers=float(np.mean(decisions["loss_makers"].to_numpy())),
        no_loss_maker_held=not held["loss_maker"].any(),
        standing={} if optimized is None else _standing(optimized, set(loss_makers)),
        profiles={name: _profile(tables, phase, name, margin) for name in names},
        ruin={
            name: ruin(*(tables[key].filter(pl.col("risk_profile") == name) for key in ("returns", "trades")))
            for name in names
        },
    )


def ruin(days: pl.DataFrame, trades: pl.DataFrame) -> BookRuin:
    """Judge one risk profile's book as run by its days and trades: they tell it whatever the engine says of itself."""
    closed = trades.filter(pl.col("reason") == LIQUIDATION)["date"].min()
    fallen = days.filter(pl.col("nav") < QUARTER)["date"].min()
    date = fallen if closed is None else closed
    return BookRuin(
        ruined=date is not None,
        cause="none" if date is None else "below_quarter" if closed is None else "liquidated",
        date=None if date is None else str(date),
        lowest_nav=float(days["nav"].to_numpy().min()),
        lowest_level=_lowest(days, "level"),
        worst_level=_lowest(days, "worst_level"),
    )


def _lowest(days: pl.DataFrame, column: str) -> float | None:
    levels = days[column].drop_nulls().to_numpy()
    return float(levels.min()) if levels.size else None


def _standing(optimized: Optimized, loss_makers: set[str]) -> dict[str, StandingExposure]:
    def weight(profile: OptimizedProfile, only: set[str] | None = None) -> float:
        return sum(asset.Weight for asset in profile.assets if only is None or asset.Atom in only)

    return {
        name: StandingExposure(
            gross=weight(profile),
            gross_guard_off=weight(optimized.unguarded[name]),
            loss_maker_weight=weight(profile, loss_makers),
            loss_maker_weight_guard_off=weight(optimized.unguarded[name], loss_makers),
        )
        for name, profile in sorted(optimized.profiles.items())
    }


def _profile(
    tables: Mapping[str, pl.DataFrame], decisions: pl.DataFrame, name: str, margin: Margin
) -> PreservedProfile:
    mine = pl.col("risk_profile") == name
    weights, without = (tables[key].filter(mine) for key in ("phase_weights", "unguarded_weights"))
    days, days_without = (tables[key].filter(mine).sort("date") for key in ("phase_returns", "unguarded_returns"))
    gross, gross_without = _decided_gross(decisions, weights), _decided_gross(decisions, without)
    return PreservedProfile(
        as_run=_book(decisions, weights, days, margin),
        guard_off=_book(decisions, without, days_without, margin),
        gross_never_above_guard_off=bool((gross <= gross_without + TOLERANCE).all()),
    )


def _decided_gross(decisions: pl.DataFrame, weights: pl.DataFrame) -> Floats:
    """Sum of absolute weights at each decision, 0 where nothing was held."""
    by_decision = weights.group_by("as_of").agg(pl.col("net_weight").abs().sum().alias("gross"))
    joined = decisions.select("as_of").join(by_decision, on="as_of", how="left", maintain_order="left")
    return joined["gross"].fill_null(0.0).to_numpy()


def _book(decisions: pl.DataFrame, weights: pl.DataFrame, days: pl.DataFrame, margin: Margin) -> Preserved:
    gross = _decided_gross(decisions, weights)
    on_losers = _decided_gross(decisions, weights.filter("loss_maker"))
    returns = days["ret"].to_numpy()
    deepest = max_drawdown(returns)
    assert deepest is not None
    level = _lowest(days, "level")
    called = margin.enabled and level is not None and level < margin.maintenance
    return Preserved(
        loss_maker_weight_mean=float(on_losers.mean()),
        loss_maker_weight_max=float(on_losers.max()),
        loss_maker_rebalances=int(np.count_nonzero(on_losers)),
        decided_gross_mean=float(gross.mean()),
        decided_gross_max=float(gross.max()),
        average_gross=float(days["gross"].to_numpy().mean()),
        max_drawdown=deepest,
        final_wealth=float(days["nav"].to_numpy()[-1]),
        liquidated=called or bool((days["nav"].to_numpy() <= 0.0).any()),
        worst_period=_worst_period(decisions, days),
        losses=_losses(weights),
    )


def _worst_period(decisions: pl.DataFrame, days: pl.DataFrame) -> WorstPeriod:
    """Period of the lowest return, from the close before one fill to the close before the next; the first of equals."""
    began = np.searchsorted(days["date"].to_numpy(), decisions["fill_date"].to_numpy())
    growth = np.multiply.reduceat(1.0 + days["ret"].to_numpy(), began) - 1.0
    worst = int(np.argmin(growth))
    return WorstPeriod(as_of=format_instant(decisions["as_of"][worst]), ret=float(growth[worst]))


def _losses(weights: pl.DataFrame) -> LossMakerLosses:
    pnl = weights["pnl"].to_numpy()
    flagged = weights["loss_maker"].to_numpy()
    lost = np.minimum(pnl, 0.0)
    return LossMakerLosses(
        from_loss_makers=float(lost[flagged].sum()),
        pnl_loss_makers=float(pnl[flagged].sum()),
        from_later_losers=float(lost[~flagged].sum()),
        pnl_others=float(pnl[~flagged].sum()),
        later_losers=int(np.count_nonzero(lost[~flagged])),
        holdings=weights.height,
    )
