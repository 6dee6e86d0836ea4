"""Performance of the walk-forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import polars as pl

from assay.report.findings import EVIDENCE_DAYS
from assay.report.markdown import (
    ABSENT,
    Number,
    Safe,
    count,
    fill,
    finite,
    integer,
    percent,
    ratio,
    section,
    sparkline,
    table,
)
from assay.report.view import RunView, Split
from assay.runs import artifacts as layout

Column = tuple[str, str, str]
"""Metric, header, kind."""

RESULT: tuple[Column, ...] = (
    ("days", "days", "integer"),
    ("cagr", "CAGR", "percent"),
    ("volatility", "volatility", "percent"),
    ("sharpe", "Sharpe", "ratio"),
    ("sharpe_low", "95 % from", "ratio"),
    ("sharpe_high", "to", "ratio"),
    ("psr", "PSR", "ratio"),
    ("dsr", "DSR", "ratio"),
    ("sortino", "Sortino", "ratio"),
    ("calmar", "Calmar", "ratio"),
    ("max_drawdown", "max drawdown", "percent"),
    ("cvar_95", "CVaR 95", "percent"),
)
TRADING: tuple[Column, ...] = (
    ("beta", "beta", "ratio"),
    ("correlation", "correlation", "ratio"),
    ("average_gross", "average gross", "percent"),
    ("turnover", "turnover a year", "ratio"),
    ("cost", "cost a year", "percent"),
    ("borrow", "borrow a year", "percent"),
    ("hit_rate", "hit rate", "percent"),
    ("final_wealth", "final wealth", "ratio"),
)

BY_LABEL: tuple[Column, ...] = (
    ("days", "days", "integer"),
    ("final_wealth", "final wealth", "ratio"),
    ("volatility", "volatility", "percent"),
    ("sharpe", "Sharpe", "ratio"),
    ("max_drawdown", "max drawdown", "percent"),
    ("beta", "beta", "ratio"),
)


SURVIVORS: tuple[Column, ...] = (
    ("cagr", "CAGR", "percent"),
    ("final_wealth", "final wealth", "ratio"),
    ("max_drawdown", "max drawdown", "percent"),
)


def performance(view: RunView) -> Safe:
    """Return the walk-forward's metrics, guard on beside guard off, and NAV lines."""
    if not view.statistics:
        return section("Performance", fill("No walk-forward: {why}.", why=view.absent(layout.WALK_STATISTICS)))
    return section(
        "Performance",
        evidence_line(view),
        fill("Trials, pinned in the manifest: {trials}.", trials=_trials(view)),
        metric_table(view, RESULT),
        fill("{text}", text=_luck(view)) if _luck(view) else None,
        Safe("Exposure and costs; turnover is value traded over NAV, beta and correlation are to the benchmark:"),
        metric_table(view, TRADING),
        fill("Decisions: {text}.", text=_decisions(view)),
        Safe("NAV from the first day to the last:"),
        nav_table(view),
        *_by_label(
            "Survivorship: the same walk-forward on coins that still trade on the last day; the error flatters:",
            "universe",
            view.survivorship,
            SURVIVORS,
        ),
        *_by_label("By calendar year, as run:", "year", view.by_year),
        *_by_label(
            "By regime of the last decision before each day, as run, days strung together:", "regime", view.by_regime
        ),
    )


def evidence_line(view: RunView) -> Safe:
    """Say how many days the walk-forward has, and plainly when they are too few."""
    days = count(view.days or 0, "day")
    span = _span(view.returns)
    if (view.days or 0) < EVIDENCE_DAYS:
        return fill(
            "**{days} are not evidence**{span}: fewer than {floor}. Read the figures as a demonstration.",
            days=days,
            span=span,
            floor=EVIDENCE_DAYS,
        )
    return fill("{days} of walk-forward{span}.", days=days, span=span)


def _span(frame: pl.DataFrame | None) -> Safe:
    if frame is None or frame.is_empty():
        return Safe("")
    dates = frame["date"].drop_nulls()
    return (
        Safe("") if dates.is_empty() else fill(", {first} to {last}", first=_day(dates.min()), last=_day(dates.max()))
    )


def _day(value: object) -> str:
    return str(value)[:10]


def _trials(view: RunView) -> str:
    """Say how many trials the deflated Sharpe ratios allow for."""
    n = finite(view.setting("trials.n"))
    if n is None:
        return "unknown"
    spread = ratio(finite(view.setting("trials.sharpe_variance")))
    return f"{count(int(n), 'earlier trial')} and this one; variance of the earlier annual Sharpe ratios {spread}"


def _luck(view: RunView) -> str:
    """Say how likely it is that the best risk profile is best by luck."""
    known = [value for metrics in view.statistics.values() if (value := metrics.get("pbo")) is not None]
    return f"Probability that choosing the best risk profile is overfitting: {percent(known[0])}." if known else ""


def _decisions(view: RunView) -> str:
    """Say how many decisions were taken, what they held and why some stayed in cash."""
    decisions = view.decisions
    if decisions is None:
        return view.absent(layout.WALK_DECISIONS)
    if decisions.is_empty():
        return "none"
    held, losers = ([int(n) for n in decisions[name].fill_null(0)] for name in ("held", "loss_makers"))
    text = (
        f"{integer(decisions.height)}; coins held {min(held)} to {max(held)}, mean {ratio(sum(held) / len(held), 1)}; "
        f"loss makers mean {ratio(sum(losers) / len(losers), 1)}"
    )
    reasons = Counter(decisions["reason"].drop_nulls()) if "reason" in decisions.columns else Counter()
    aside = ", ".join(f"{reason} {integer(n)}" for reason, n in sorted(reasons.items()))
    return f"{text}; in cash for a reason: {aside}" if aside else text


def metric_table(view: RunView, columns: tuple[Column, ...], *, guard_off: bool = True) -> Safe:
    """Return metrics by risk profile; the row with the guard off stands below the row as run."""
    known = [column for column in columns if any(column[0] in metrics for metrics in view.statistics.values())]
    rows: list[list[object]] = []
    for name in view.risk_profiles:
        rows.append([name, "on" if view.guarded else "off (profile)", *_metrics(view.statistics.get(name), known)])
        if guard_off and view.unguarded_statistics:
            rows.append([name, "off", *_metrics(view.unguarded_statistics.get(name), known)])
    return table(["risk profile", "guard", *(f">{header}" for _, header, _ in known)], rows)


def _by_label(lead: str, label: str, split: Split, columns: tuple[Column, ...] = BY_LABEL) -> list[Safe]:
    """Return metrics by year or regime, or nothing where the run has none."""
    rows = [
        [name, key, *_metrics(metrics, list(columns))]
        for name, parts in split.items()
        for key, metrics in parts.items()
    ]
    if not rows:
        return []
    return [Safe(lead), table(["risk profile", label, *(f">{header}" for _, header, _ in columns)], rows)]


def _metrics(metrics: Mapping[str, float | None] | None, columns: list[Column]) -> list[str]:
    if metrics is None:
        return [ABSENT] * len(columns)
    return [show(metrics.get(metric), kind) for metric, _, kind in columns]


def show(value: Number, kind: str) -> str:
    """Return a number as its kind is written.

    >>> show(0.5, "percent"), show(133.0, "integer"), show(1.234, "ratio")
    ('50.0 %', '133', '1.23')
    """
    if kind == "percent":
        return percent(value)
    return integer(value) if kind == "integer" else ratio(value)


def nav_table(view: RunView) -> Safe:
    """Return a line of bars for each risk profile's NAV, guard on and off."""
    rows: list[list[object]] = []
    for name in view.risk_profiles:
        for state, frame in (
            ("on" if view.guarded else "off (profile)", view.returns),
            ("off", view.unguarded_returns),
        ):
            nav = series(frame, name)
            if nav:
                ends = [ratio(value, 4) for value in (nav[0], min(nav), max(nav), nav[-1])]
                rows.append([name, state, sparkline(nav), *ends])
    if not rows:
        return fill("No NAV: {why}.", why=view.absent(layout.WALK_RETURNS))
    return table(["risk profile", "guard", "NAV", ">first", ">lowest", ">highest", ">last"], rows)


def series(frame: pl.DataFrame | None, name: str) -> list[float]:
    """Return the NAV of a risk profile in order of days, without what is not a number."""
    if frame is None:
        return []
    own = frame.filter(pl.col("risk_profile") == name).sort("date")
    return [value for raw in own["nav"].to_list() if (value := finite(raw)) is not None]
