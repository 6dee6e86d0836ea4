"""A market in memory with another future: the cheap form of :mod:`assay.backtest.perturbations`."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.backtest.perturbations import (
    BROKEN,
    bytes_apart,
    listing_gaps,
    new_names,
    other_ends,
    other_ratings,
    scrambled,
)
from assay.base.domain import UTC
from assay.market.panel import RATING_FIELDS, Floats, Market
from assay.market.schema import QUARANTINE


def perturb_market(
    market: Market, as_of: dt.datetime, rng: np.random.Generator, *, keep_open: bool = False
) -> tuple[Market, int, int]:
    """Change the later rows of a market that is in memory already: noise, interruptions and new listings at once.

    Parameters
    ----------
    market : Market
    as_of : datetime
        Midnight, UTC, before the last close.
    rng : Generator
        Seeded by the caller.
    keep_open : bool
        The bar that opens at ``as_of`` keeps its open.

    Returns
    -------
    market : Market
        Rows of bars that have closed by ``as_of`` are the same.
    changed : int
        Bytes that differ.
    coins : int
        Symbols with other bars, new ones among them.
    """
    begin = int(np.searchsorted(market.days, np.datetime64(as_of.astimezone(UTC).replace(tzinfo=None), "D")))
    twins = new_names(list(market.symbols), list(market.symbols))
    names = [*market.symbols, *twins]
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    columns = np.concatenate([np.arange(len(market.symbols)), [market.index[source] for source in twins.values()]])
    later = {name: values[begin:, columns[order]] for name, values in market.fields.items()}
    listing = market.listing[begin:, columns[order]].copy()
    first = np.zeros(listing.shape, dtype=np.bool_)
    first[0] = keep_open
    ratings = [name for name in later if name in RATING_FIELDS]
    made = scrambled({name: values for name, values in later.items() if name not in ratings}, first, rng)
    made |= {name: other_ratings(name, listing.shape, rng) for name in ratings}
    gaps = listing_gaps(len(names), rng)
    day = np.arange(len(listing))[:, None] - int(keep_open)
    gone = (day >= 0) & (day < gaps)
    listing += ((day >= gaps) & (gaps >= 3) & (listing >= 0)).astype(np.int32)
    listing[gone] = -1
    for name, values in made.items():
        made[name] = np.where(listing < 0, np.nan, values)
    old = order < len(market.symbols)
    changed = sum(bytes_apart(_flat(later[name]), _flat(made[name])) for name in made)
    return (
        replace(
            market,
            symbols=tuple(names[i] for i in order),
            fields={
                name: _joined(values[:begin], made[name], columns[order], old, np.nan)
                for name, values in market.fields.items()
            },
            listing=_joined(market.listing[:begin], listing, columns[order], old, -1),
            instruments=_other_facts(market.instruments, as_of, rng),
            quarantine=_accusing(market.quarantine, names, as_of),
        ),
        changed,
        len(names),
    )


def _flat(values: Floats) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values).view(np.uint8).ravel()


def _joined(before: Any, after: Any, columns: npt.NDArray[np.int64], old: npt.NDArray[np.bool_], absent: float) -> Any:
    """Put rows with new columns below rows that do not have them yet."""
    whole = np.empty((len(before) + len(after), len(columns)), dtype=before.dtype)
    whole[: len(before)] = np.where(old, before[:, columns], before.dtype.type(absent))
    whole[len(before) :] = after
    return whole


def _other_facts(instruments: pl.DataFrame | None, as_of: dt.datetime, rng: np.random.Generator) -> pl.DataFrame | None:
    if instruments is None:
        return None
    ends = other_ends(instruments, as_of, "noise", rng)
    status = pl.when(pl.col("valid_from") > as_of).then(pl.lit("BREAK")).otherwise("status")
    return ends.with_columns(status.alias("status"))


def _accusing(quarantine: pl.DataFrame | None, names: list[str], as_of: dt.datetime) -> pl.DataFrame:
    """Put a row of every coin into the quarantine."""
    rows = pl.DataFrame(
        {"symbol": names, "open_time": [as_of] * len(names), "reason": [BROKEN] * len(names)},
        schema={name: QUARANTINE[name] for name in ("symbol", "open_time", "reason")},
    )
    return rows if quarantine is None else pl.concat([quarantine.select(rows.columns), rows])
