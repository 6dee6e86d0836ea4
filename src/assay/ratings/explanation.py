"""One rating with everything behind it, for ``assay ratings``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.base.constants import Floats
from assay.base.domain import DEFAULT_EDITION, format_instant
from assay.base.errors import DataError, UsageError
from assay.ratings.averages import Course, recursive_averages
from assay.ratings.indicators import indicators
from assay.ratings.tape import interval_length, tape
from assay.ratings.votes import NO_VOTE, check_edition, ratings, rules, votes


@dataclass(frozen=True)
class VoteEvidence:
    """One vote and the indicator values that it was read from; None where a value does not exist yet."""

    vote: int | None
    inputs: Mapping[str, float | None]


@dataclass(frozen=True)
class Explanation:
    """The rating of one bar.

    Attributes
    ----------
    bar_open : datetime
        Open of the rated bar, the last one with volume that had closed by ``as_of``.
    ratings : mapping of ``all``, ``ma``, ``other`` to float or None
    votes : mapping of the 26 names to VoteEvidence
    """

    symbol: str
    interval: str
    edition: str
    as_of: dt.datetime
    bar_open: dt.datetime
    ratings: Mapping[str, float | None]
    votes: Mapping[str, VoteEvidence]

    def as_dict(self) -> dict[str, object]:
        """Return the answer of ``assay ratings --json``."""
        return {
            "symbol": self.symbol,
            "interval": self.interval,
            "as_of": format_instant(self.as_of),
            "bar_open": format_instant(self.bar_open),
            "ratings": dict(self.ratings),
            "votes": {
                name: {"vote": evidence.vote, "inputs": dict(evidence.inputs)} for name, evidence in self.votes.items()
            },
        }


def explain(bars: pl.DataFrame, interval: str, as_of: dt.datetime, edition: str = DEFAULT_EDITION) -> Explanation:
    """Rate the last bar that had closed by an instant, and keep what each vote was read from.

    Parameters
    ----------
    bars : DataFrame
        Lake columns of one symbol, the listing from its first bar on; later bars and other intervals are left out.
    interval : str
        One of :data:`assay.base.domain.INTERVALS`.
    as_of : datetime
        With a time zone.
    edition : {"2026", "2021"}
        Of the rules.

    Returns
    -------
    Explanation

    Raises
    ------
    UsageError
        If the interval or the edition is unknown, ``as_of`` has no time zone, or the bars are of several symbols.
    DataError
        If no bar with volume had closed by ``as_of``.
    """
    length = interval_length(interval)
    check_edition(edition)
    if as_of.tzinfo is None:
        raise UsageError(f"{as_of} has no time zone", hint="give the instant in UTC")
    bars = bars.filter(pl.col("interval") == interval)
    symbols = bars["symbol"].unique().sort().to_list()
    if len(symbols) > 1:
        raise UsageError(f"bars of {len(symbols)} symbols", where=", ".join(symbols[:3]), hint="pass one symbol's bars")
    rated = tape(bars.filter(pl.col("open_time") <= as_of.astimezone(dt.UTC) - length), interval)
    if rated.keys.height == 0:
        raise DataError(
            f"no {interval} bar with volume had closed by {format_instant(as_of)}",
            where=", ".join(symbols),
            hint="choose a later instant, or load earlier bars",
        )
    begin, end = int(rated.starts[-2]), int(rated.starts[-1])
    averages = recursive_averages(rated, [Course(begin, end)])
    values = indicators(rated, averages, slice(end - 1, end))
    cast = votes(values, edition)
    return Explanation(
        symbol=rated.keys["symbol"][-1],
        interval=interval,
        edition=edition,
        as_of=as_of,
        bar_open=rated.keys["open_time"][-1],
        ratings=dict(zip(("all", "ma", "other"), map(_number, ratings(cast)), strict=True)),
        votes={name: _evidence(int(cast[name][0]), values, rule.inputs) for name, rule in rules(edition).items()},
    )


def _number(values: Floats) -> float | None:
    value = float(values[0])
    return None if np.isnan(value) else value


def _evidence(vote: int, values: Mapping[str, Floats], names: tuple[str, ...]) -> VoteEvidence:
    return VoteEvidence(None if vote == NO_VOTE else vote, {name: _number(values[name]) for name in names})
