"""Markets that no one would choose: every trait that breaks assumptions, alone and together, from a seed.

A universe is a table of raw bars, as a file would hold it, and a profile that may be small enough for few days. It
passes the same judge, rater and panel as bars from a file do; only the lake's files are left out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import strategies as st

from assay.base.domain import BENCHMARK, DAY, UTC

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST = dt.datetime(2023, 1, 1, tzinfo=UTC)
SIDES = ("binance_spot_rating_all_long", "binance_spot_rating_all_short", "binance_spot_rating_ma_short")

HOSTILE = (
    "../../etc/passwd",
    "..\\..\\windows",
    "<script>alert(1)</script>",
    "A|B|C",
    "`rm -rf ~`",
    "'; DROP TABLE bars; --",
    "{{7*7}}",
    "=HYPERLINK(1)",
    "\u202egnp.exe",
    "A\u200bB",
    "A\u0000B",
    "A B",
    "A\nB",
    "ＢＴＣ",
    "ВТС",
    "e\u0301",
    "\u00e9",
    "\U0001f680",
    "_rating_all_LONG",
    "X_rating_ma_SHORT",
    "date",
    "atom_id",
    "CON",
    "NUL.",
    "%s%n%x",
    "A" * 300,
    "ﷺ",
    "$(id)",
    "a_prob",
    "COL_duplicated_0",
)
"""Bases of pairs: paths, markup, formulas, look-alikes, control characters, names of Assay's own columns."""


@dataclass(frozen=True)
class Universe:
    """What a generated market is made of; equal values give equal bars.

    Attributes
    ----------
    seed : int
        Of every random number.
    traits : frozenset of str
        Names from :data:`TRAITS`.
    coins, days : int
        Beside the benchmark; days of bars.
    profile : str
        Canonical profile; its settings are shrunk where days are few.
    settings : mapping of str to str
        Dotted settings on top, by value; see :func:`degenerate.profile_of`.
    """

    seed: int
    traits: frozenset[str]
    coins: int
    days: int
    profile: str = SIDES[0]
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        traits = ", ".join(sorted(self.traits)) or "plain"
        return f"universe {self.seed}: {self.coins} coins, {self.days} days, {traits}"


@dataclass
class _Draft:
    """Prices while traits change them; all arrays are (n_days, n_symbols), the benchmark in column 0."""

    rng: np.random.Generator
    names: list[str]
    returns: Floats
    scale: Floats
    volume: Floats
    missing: Bools
    wick: Floats
    ties: bool = False

    @property
    def coins(self) -> npt.NDArray[np.int64]:
        """Columns of all but the benchmark."""
        return np.arange(1, len(self.names))

    def some(self, share: float = 0.5) -> npt.NDArray[np.int64]:
        """Return some of the coins, one at least where there is any."""
        coins = self.coins
        if not coins.size:
            return coins
        return self.rng.choice(coins, size=max(1, int(share * coins.size)), replace=False)


Trait = Callable[[_Draft], None]


def _twins(draft: _Draft) -> None:
    for column in draft.coins[1:]:
        draft.returns[:, column] = draft.returns[:, 1]


def _mirror(draft: _Draft) -> None:
    for column in draft.coins[1::2]:
        draft.returns[:, column] = -draft.returns[:, column - 1] / (1.0 + draft.returns[:, column - 1])


def _still(draft: _Draft) -> None:
    draft.returns[:, draft.some()] = 0.0


def _all_still(draft: _Draft) -> None:
    draft.returns[:, draft.coins] = 0.0
    draft.wick[:, draft.coins] = 0.0


def _falling(draft: _Draft) -> None:
    draft.returns[:, draft.coins] = -np.abs(draft.returns[:, draft.coins]) * 0.3


def _rising(draft: _Draft) -> None:
    draft.returns[:, draft.coins] = np.abs(draft.returns[:, draft.coins]) * 0.3


def _steady(draft: _Draft) -> None:
    """Give some coins one return, every day: no variance, and a trend."""
    for column in draft.some():
        draft.returns[:, column] = draft.rng.choice([0.01, -0.01, 0.001])


def _whale(draft: _Draft) -> None:
    if draft.coins.size:
        draft.volume[:, 1] *= 99.0 * max(1.0, draft.coins.size - 1.0)


def _dying(draft: _Draft) -> None:
    days = draft.missing.shape[0]
    for column in draft.some():
        draft.missing[draft.rng.integers(days // 2, days) :, column] = True


def _newborn(draft: _Draft) -> None:
    days = draft.missing.shape[0]
    for column in draft.some():
        draft.missing[: draft.rng.integers(1, days), column] = True


def _ties(draft: _Draft) -> None:
    _twins(draft)
    draft.ties = True


def _huge(draft: _Draft) -> None:
    draft.scale[draft.some()] = 1e9


def _tiny(draft: _Draft) -> None:
    draft.scale[draft.some()] = 1e-9


def _gaps(draft: _Draft) -> None:
    holes = draft.rng.random(draft.missing.shape) < draft.rng.choice([0.02, 0.1, 0.4])
    holes[:, 0] = False
    draft.missing |= holes


def _relisted(draft: _Draft) -> None:
    days = draft.missing.shape[0]
    for column in draft.some():
        at = int(draft.rng.integers(3, max(4, days - 8)))
        draft.missing[at : at + int(draft.rng.integers(3, 7)), column] = True
        draft.returns[min(at + 7, days - 1), column] = draft.rng.choice([999.0, -0.999])


def _silent(draft: _Draft) -> None:
    quiet = draft.rng.random(draft.volume.shape) < 0.3
    quiet[:, 0] = False
    draft.volume[quiet] = 0.0


def _jumps(draft: _Draft) -> None:
    days = draft.returns.shape[0]
    for column in draft.some():
        day = draft.rng.integers(1, days)
        draft.returns[day, column] = draft.rng.choice([1.0, 4.0, 5.0, 5.5, -0.5, -0.999, 50.0])


def _twitch(draft: _Draft) -> None:
    for column in draft.some():
        draft.returns[:, column] = np.where(np.arange(draft.returns.shape[0]) % 2, 0.25, -0.2)


def _hostile(draft: _Draft) -> None:
    for column in draft.some():
        base = HOSTILE[int(draft.rng.integers(len(HOSTILE)))]
        draft.names[column] = f"BINANCE:{base}{draft.rng.choice(['USDT', 'USDC', '', 'USD'])}"


def _quotes(draft: _Draft) -> None:
    for column in draft.coins[1::2]:
        stem = draft.names[column - 1].removesuffix("USDT")
        draft.names[column] = f"{stem}{draft.rng.choice(['USDC', 'FDUSD', 'USD', 'EUR'])}"


def _benchmark_missing(draft: _Draft) -> None:
    draft.missing[:, 0] = True


def _benchmark_gaps(draft: _Draft) -> None:
    draft.missing[:, 0] |= draft.rng.random(draft.missing.shape[0]) < 0.05


def _benchmark_stale(draft: _Draft) -> None:
    draft.missing[-int(draft.rng.integers(1, 5)) :, 0] = True


def _benchmark_still(draft: _Draft) -> None:
    draft.returns[:, 0] = 0.0


TRAITS: Mapping[str, Trait] = {
    "twins": _twins,
    "mirror": _mirror,
    "still": _still,
    "all_still": _all_still,
    "falling": _falling,
    "rising": _rising,
    "steady": _steady,
    "whale": _whale,
    "dying": _dying,
    "newborn": _newborn,
    "ties": _ties,
    "huge": _huge,
    "tiny": _tiny,
    "gaps": _gaps,
    "relisted": _relisted,
    "silent": _silent,
    "jumps": _jumps,
    "twitch": _twitch,
    "hostile": _hostile,
    "quotes": _quotes,
    "benchmark_missing": _benchmark_missing,
    "benchmark_gaps": _benchmark_gaps,
    "benchmark_stale": _benchmark_stale,
    "benchmark_still": _benchmark_still,
}
"""What may be wrong with prices, in the order in which it is done."""

ROWS = ("nan", "negative", "torn", "doubled", "shuffled")
"""What may be wrong with single rows of the table."""

RARE = {"benchmark_missing": 0.01, "benchmark_stale": 0.02, "benchmark_still": 0.03, "all_still": 0.04}
USUAL = 0.14


def draw(seed: int) -> Universe:
    """Return the universe of a seed.

    >>> draw(7) == draw(7)
    True
    """
    rng = np.random.default_rng([seed, 1])
    traits = {name for name in (*TRAITS, *ROWS) if rng.random() < RARE.get(name, USUAL)}
    if rng.random() < 0.05:
        traits.add("instruments")
    kind = rng.random()
    coins = 1 if kind < 0.08 else int(rng.integers(30, 61)) if kind < 0.16 else int(rng.integers(2, 13))
    days = int(rng.choice([24, 30, 45, 60, 90, 320], p=[0.05, 0.15, 0.3, 0.3, 0.15, 0.05]))
    settings: dict[str, Any] = {
        "pool": str(rng.choice(["own", "superset"])),
        "guard": {"enabled": bool(rng.random() < 0.7), "days": 20 if days < 252 else 60},
        "caps": {"atom": float(rng.choice([0.25, 0.05, 1.0])), "cluster": float(rng.choice([0.25, 0.05, 1.0]))},
        "lenient": bool(rng.random() < 0.7),
        "free": bool(rng.random() < 0.3),
    }
    return Universe(seed, frozenset(traits), coins, days, str(rng.choice(SIDES)), settings)


def raw_bars(universe: Universe) -> pl.DataFrame:
    """Return a universe's bars as a file would hold them: columns of ``parquet:PATH``."""
    rng = np.random.default_rng([universe.seed, 2])
    draft = _plain(universe, rng)
    for name, trait in TRAITS.items():
        if name in universe.traits:
            trait(draft)
    return _spoil(_table(draft), universe, rng)


def _plain(universe: Universe, rng: np.random.Generator) -> _Draft:
    shape = (universe.days, universe.coins + 1)
    common = rng.normal(0.0, 0.02, (universe.days, 1))
    drift = rng.normal(0.002, 0.004, shape[1])
    return _Draft(
        rng=rng,
        names=[BENCHMARK, *(f"BINANCE:C{i:02d}USDT" for i in range(universe.coins))],
        returns=np.clip(common + rng.normal(0.0, 0.03, shape) + drift, -0.6, 1.5),
        scale=np.exp(rng.normal(1.0, 2.0, shape[1])),
        volume=np.exp(rng.normal(16.0, 1.0, shape)),
        missing=np.zeros(shape, dtype=np.bool_),
        wick=np.abs(rng.normal(0.0, 0.02, shape)),
    )


def _table(draft: _Draft) -> pl.DataFrame:
    n_days, n_symbols = draft.returns.shape
    close = draft.scale * np.cumprod(1.0 + draft.returns, axis=0)
    opened = np.vstack([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) * (1.0 + draft.wick), np.minimum(opened, close) / (1.0 + draft.wick)
    volume = draft.volume / close
    if draft.ties and n_symbols > 2:
        for values in (close, opened, high, low, volume):
            values[:, 2:] = values[:, 1:2]
    days = pl.datetime_range(FIRST, FIRST + (n_days - 1) * DAY, "1d", time_unit="us", time_zone="UTC", eager=True)
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    there = ~draft.missing.T.reshape(-1)
    frame = pl.DataFrame(
        {
            "symbol": pl.Series(np.repeat(np.arange(n_symbols), n_days)).replace_strict(
                dict(enumerate(draft.names)), return_dtype=pl.String
            ),
            "timestamp": pl.concat([days] * n_symbols),
            **{name: values.T.reshape(-1) for name, values in columns.items()},
        }
    )
    return frame.filter(pl.Series(there))


def _spoil(frame: pl.DataFrame, universe: Universe, rng: np.random.Generator) -> pl.DataFrame:
    own = (frame["symbol"] != BENCHMARK).to_numpy()

    def hit(share: float) -> pl.Series:
        return pl.Series(own & (rng.random(frame.height) < share))

    if "nan" in universe.traits:
        frame = frame.with_columns(pl.when(hit(0.03)).then(float("nan")).otherwise("close").alias("close"))
    if "negative" in universe.traits:
        frame = frame.with_columns(pl.when(hit(0.01)).then(-1.0).otherwise("low").alias("low"))
    if "torn" in universe.traits:
        frame = frame.with_columns(pl.when(hit(0.02)).then(float("inf")).otherwise("high").alias("high"))
    if "doubled" in universe.traits and frame.height:
        again = frame.filter(hit(0.05)).with_columns(pl.col("volume") * rng.choice([1.0, 2.0]))
        frame = pl.concat([frame, again])
    if "shuffled" in universe.traits:
        frame = frame.sample(fraction=1.0, shuffle=True, seed=universe.seed)
    return frame


KINDS = (*TRAITS, *ROWS, "instruments")


@st.composite
def universes(draw: st.DrawFn, max_coins: int = 12) -> Universe:
    """Small universes of any traits together, drawn trait by trait, so that a failing one shrinks to what matters."""
    settings: dict[str, Any] = {
        "pool": draw(st.sampled_from(["own", "superset"])),
        "guard": {"enabled": draw(st.booleans()), "days": 20},
        "lenient": draw(st.booleans()),
        "free": draw(st.booleans()),
    }
    return Universe(
        seed=draw(st.integers(0, 2**32 - 1)),
        traits=draw(st.frozensets(st.sampled_from(KINDS), max_size=6)),
        coins=draw(st.integers(1, max_coins)),
        days=draw(st.integers(2, 70)),
        profile=draw(st.sampled_from(SIDES)),
        settings=settings,
    )
