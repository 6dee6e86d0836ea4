"""What a reading of a source changes in a lake: bars that are new, changed or gone, and the ratings that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from assay.market.holes import cut_listings
from assay.market.schema import BAR_VALUES, BARS
from assay.ratings import extend
from assay.runs.documents import Finding

KEY = ("symbol", "open_time")

TAIL = 260
"""Rated bars before the first new one that the daily update of ratings is given: 200 for its longest window, 32 by
which the stored state is older than the new bar, and room. A listing that is cut has then a whole state behind it."""


@dataclass(frozen=True)
class BarDifference:
    """Bars as they will be, and how they differ from those of the lake."""

    bars: pl.DataFrame
    """All bars, with ``listing``, sorted by (open_time, symbol)."""
    added: pl.DataFrame
    """Those whose key is new, in the same order."""
    repaired: int
    """Bars whose values changed."""
    removed: int
    appends: bool
    """Nothing changed but that symbols got later bars, or are new."""
    since: pl.DataFrame
    """``symbol`` and ``since``: the first instant at which a symbol's bars, or their listings, differ."""
    findings: tuple[Finding, ...] = ()
    """On the listings."""


def compare(old: pl.DataFrame, fresh: pl.DataFrame, rejected: pl.DataFrame, *, complete: bool) -> BarDifference:
    """Compare what a source gives with the bars that the lake holds.

    Parameters
    ----------
    old : DataFrame
        The lake's bars.
    fresh : DataFrame
        Bars of the source, unique by (symbol, open_time), without ``listing``.
    rejected : DataFrame
        The quarantine as it will be: it tells which missing days are no coin's own.
    complete : bool
        A bar that is only in ``old`` is gone; otherwise it stays.
    """
    added = fresh.join(old, on=KEY, how="anti").select(KEY)
    changed = _changed(old, fresh)
    gone = (old.join(fresh, on=KEY, how="anti") if complete else old.clear()).select(KEY)
    bars = fresh if complete or old.is_empty() else _united(old, fresh)
    listing, findings = cut_listings(bars, rejected)
    bars = bars.with_columns(listing).select(list(BARS))
    cut = _changed(old, bars, ("listing",))
    since = pl.concat([added, changed, gone, cut]).group_by("symbol").agg(pl.col("open_time").min().alias("since"))
    later = since.join(old.group_by("symbol").agg(pl.col("open_time").max().alias("last")), on="symbol", how="left")
    return BarDifference(
        bars=bars,
        added=bars if old.is_empty() else bars.join(added, on=KEY, how="semi", maintain_order="left"),
        repaired=changed.height,
        removed=gone.height,
        appends=cut.is_empty() and bool((later["last"].is_null() | (later["since"] > later["last"])).all()),
        since=since.sort("symbol"),
        findings=tuple(findings),
    )


def _united(old: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    kept = old.select(fresh.columns).join(fresh, on=KEY, how="anti")
    return pl.concat([kept, fresh]).sort("open_time", "symbol")


def _changed(old: pl.DataFrame, fresh: pl.DataFrame, columns: Sequence[str] = BAR_VALUES) -> pl.DataFrame:
    both = fresh.join(old, on=KEY, how="inner", suffix="_old")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in columns]
    return both.filter(pl.any_horizontal(differs)).select(KEY)


def tails(difference: BarDifference) -> pl.DataFrame:
    """Return the bars that new ratings depend on.

    Of each symbol that differs, these are its bars from :data:`TAIL` rated ones before the first difference on.
    """
    own = difference.bars.join(difference.since, on="symbol", how="inner").sort("symbol", "open_time")
    rated = (pl.col("volume") > 0).cast(pl.Int32)
    before = (rated * (pl.col("open_time") < pl.col("since"))).sum().over("symbol")
    return own.filter(rated.cum_sum().over("symbol") > before - TAIL).drop("since")


def rerate(
    difference: BarDifference, tail: pl.DataFrame, previous: pl.DataFrame, interval: str, edition: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rate what is new, and again what comes after a change.

    Parameters
    ----------
    difference : BarDifference
        What changed.
    tail : DataFrame
        What :func:`tails` returns.
    previous : DataFrame
        Rows of the ratings table, at least those of the instants in ``tail``.
    interval : str
        Interval of the bars.
    edition : str
        Of the rating rules.

    Returns
    -------
    tuple of DataFrame
        The previous rows that still hold, and the rows made now.
    """
    marked = previous.join(difference.since, on="symbol", how="left", maintain_order="left")
    holds = pl.col("since").is_null() | (pl.col("open_time") < pl.col("since"))
    kept = marked.filter(holds)
    stored = kept.filter(pl.col("since").is_not_null()).drop("since")
    return kept.drop("since"), extend(tail, stored.join(tail, on=KEY, how="semi"), interval, edition)
