"""The panel that decisions read: days x symbols, cut at an instant.

A :class:`Market` holds only what is known at its ``as_of``. Decisions receive one and nothing else, so that the future
is not merely unused but absent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.constants import Bools, Days, Floats
from assay.base.domain import BENCHMARK, DAY, RATINGS, UTC
from assay.base.errors import DataError
from assay.market.holes import Owners, owners, refused_days

BAR_FIELDS = ("open", "high", "low", "close", "volume", "value_traded")
RATING_FIELDS = (*RATINGS, "adx")
T = TypeVar("T")


@dataclass(frozen=True)
class Market:
    """Daily bars and ratings known at ``as_of``.

    Attributes
    ----------
    days : (n_days,) datetime64[D] array
        Open days of the bars: every calendar day between the first and the last, ascending.
    symbols : tuple of str
        Sorted.
    fields : mapping of str to (n_days, n_symbols) float64 array
        :data:`BAR_FIELDS`, :data:`RATING_FIELDS`; NaN where there is no bar or no rating. ``value_traded`` is quote
        volume, else close x volume.
    listing : (n_days, n_symbols) int32 array
        Ordinal of the listing that a bar belongs to, -1 where there is no bar.
    as_of : datetime
        UTC; every bar has closed by then.
    instruments : DataFrame or None
        Rows of the lake's ``instruments`` table whose validity began by ``as_of``; None where the source has no such
        table, so that every fact is UNKNOWN.
    quarantine : DataFrame or None
        ``symbol``, ``open_time`` and ``reason`` of rows that were refused.
    unsound : (n_days, n_symbols) bool array or None
        Where the row of ratings breaks a rule of L1, in whatever column; None where nobody looked.
    """

    days: Days
    symbols: tuple[str, ...]
    fields: Mapping[str, Floats]
    listing: npt.NDArray[np.int32]
    as_of: dt.datetime
    instruments: pl.DataFrame | None = None
    quarantine: pl.DataFrame | None = None
    unsound: Bools | None = None
    _cut: tuple[Market, int] | None = field(default=None, init=False, repr=False, compare=False)
    """The market that these days were cut from, and the row of it with which they begin."""
    _memory: dict[Callable[[Market], object], object] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getitem__(self, name: str) -> Floats:
        """Return one field as a (n_days, n_symbols) array."""
        return self.fields[name]

    def column(self, symbol: str) -> int:
        """Return the column of a symbol."""
        try:
            return self.index[symbol]
        except KeyError:
            raise DataError("symbol has no bars", where=symbol, hint="look at: assay doctor") from None

    @cached_property
    def index(self) -> dict[str, int]:
        """Map of symbol to column."""
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    @cached_property
    def holes(self) -> Owners:
        """Who owns each day of each coin, (n_days, n_symbols), by what these days show; see :func:`owners`."""
        first = int(self.days[0].astype(np.int64)) if self.days.size else 0
        refused = refused_days(self.quarantine, self.index, first, self.listing.shape)
        return owners(self.listing >= 0, refused, self.index.get(BENCHMARK))

    def until(self, as_of: dt.datetime, lookback: int | None = None) -> Market:
        """Return what was known at an earlier instant, at most the last ``lookback`` days of it.

        The arrays are views that end before the cut: a decision cannot reach what comes later.
        """
        last_open = np.datetime64((as_of.astimezone(UTC) - DAY).replace(tzinfo=None), "D")
        end = int(np.searchsorted(self.days, last_open, side="right"))
        begin = 0 if lookback is None else max(0, end - lookback)
        if end == 0:
            raise DataError(
                f"no bar has closed by {as_of:%Y-%m-%d %H:%M}Z", hint="choose a later date, or load earlier bars"
            )
        cut = slice(begin, end)
        instruments = self.instruments
        if instruments is not None:
            instruments = instruments.filter(instruments["valid_from"] <= as_of)
        whole, before = self._cut or (self, 0)
        known = replace(
            self,
            days=self.days[cut],
            fields={name: values[cut] for name, values in self.fields.items()},
            listing=self.listing[cut],
            as_of=as_of,
            instruments=instruments,
            unsound=None if self.unsound is None else self.unsound[cut],
        )
        object.__setattr__(known, "_cut", (whole, before + begin))
        return known

    def by_day(self, of: Callable[[Market], T]) -> tuple[T, int, int]:
        """Return what a function makes of all days that these were cut from, and the rows of them that these days are.

        It is made once for all decisions of a market. The function gives arrays of which a row depends on that day and
        on earlier ones alone, so that nobody who keeps to these rows sees further than these days.
        """
        whole, begin = self._cut or (self, 0)
        if of not in whole._memory:
            whole._memory[of] = of(whole)
        made: T = whole._memory[of]  # type: ignore[assignment]  # kept by the function that made it
        return made, begin, begin + len(self.days)

    @property
    def undisturbed(self) -> bool:
        """Whether every missing day of these is a coin's own, as far as anyone can see without looking at each."""
        column = self.index.get(BENCHMARK)
        refused = self.quarantine is not None and not self.quarantine.is_empty()
        return not refused and (column is None or bool((self.listing[:, column] >= 0).all()))

    def refused(self) -> pl.DataFrame:
        """Return ``symbol`` and ``reason`` of the rows that were refused in these days, of every coin.

        A row without a readable time cannot be placed before or after a decision, and is left to the lake's audits.
        """
        if self.quarantine is None or self.quarantine.is_empty():
            return pl.DataFrame(schema={"symbol": pl.String, "reason": pl.String})
        first = self.days[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
        rows = self.quarantine.drop_nulls(["symbol", "open_time"])
        inside = (rows["open_time"] >= first) & (rows["open_time"] + DAY <= self.as_of)
        return rows.filter(inside).select("symbol", "reason")

    def rejections(self) -> dict[str, str]:
        """Map each symbol with refused rows in these days to their reasons."""
        reasons: dict[str, set[str]] = {}
        for symbol, reason in self.refused().iter_rows():
            reasons.setdefault(symbol, set()).add(reason)
        return {symbol: ", ".join(sorted(found)) for symbol, found in sorted(reasons.items())}

    def returns(self) -> Floats:
        """Return simple close-to-close returns, (n_days, n_symbols); NaN unless both days are of one listing."""
        every, begin, end = self.by_day(_changes)
        result = every[begin:end].copy()
        result[:1] = np.nan
        return result

    def returns_of(self, columns: Sequence[int], days: int) -> Floats:
        """Return :meth:`returns` of some columns in the last so many days but the first, (n_days - 1, n_columns)."""
        every, begin, end = self.by_day(_changes)
        return every[max(end - days, begin) + 1 : end, columns]


def _changes(market: Market) -> Floats:
    close, listing = market.fields["close"], market.listing
    result = np.full_like(close, np.nan)
    same = (listing[1:] == listing[:-1]) & (listing[1:] >= 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.divide(close[1:], close[:-1], out=result[1:], where=same)
    result -= 1.0
    return result
