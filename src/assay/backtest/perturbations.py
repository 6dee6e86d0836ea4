"""Other futures: tables of a lake, or a market, in which everything that becomes known after an instant is different.

What was known by then stays byte for byte. Four kinds of change are made:

``noise``
    Other prices, volumes, ratings and facts; a third of the coins is interrupted, some for so long that another listing
    begins, and some for good.
``open``
    The same, but the bar that opens at the instant keeps its open: what trades there may know this price and no more.
``deletion``
    Nothing comes after.
``listings``
    What comes after stays, and is joined by new coins and new quotes of old ones, by new facts about instruments, and
    by rows in quarantine that speak against every coin.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.constants import LISTING_ENDS_AFTER, Bools, Floats, Ints
from assay.base.domain import DAY, UTC
from assay.market.panel import RATING_FIELDS, Market
from assay.market.schema import BAR_VALUES, KEYS, ORDER, QUARANTINE
from assay.ratings.soundness import UNSOUND

Kind = Literal["noise", "open", "deletion", "listings"]
KINDS: tuple[Kind, ...] = ("noise", "open", "deletion", "listings")
Tables = Mapping[str, pl.DataFrame]
"""Tables of a lake by name; a lake without rejected rows has an empty ``quarantine``."""

NEW_COINS = 12
"""New names at each end of the alphabet, and as many new quotes of coins that are there."""
SELDOM = 0.02
"""Share of later rows of ratings that are no ratings."""
LONGEST_GAP = 7
FOR_GOOD = 100_000
"""Days of the gap of a coin that does not come back."""
FOREIGN_QUOTE = "TRY"
"""No scanner of the canon takes it."""
BROKEN = "NON_POSITIVE"
"""A reason of the quarantine that speaks against a coin."""

_KNOWN_AT = {
    "bars": pl.col("open_time") + DAY,
    "ratings": pl.col("open_time") + DAY,
    "instruments": pl.col("valid_from"),
    "borrow": pl.col("known_at"),
    "candidates": pl.col("as_of"),
    "quarantine": pl.col("open_time") + DAY,
}


@dataclass(frozen=True)
class Perturbation:
    """Tables with another future."""

    tables: dict[str, pl.DataFrame]
    """In the lake's order."""
    changed: dict[str, int]
    """Table to the number of bytes in which its later rows differ, row by row in their order."""
    coins: int
    """Symbols whose bars differ."""


def perturb(tables: Tables, as_of: dt.datetime, kind: Kind, rng: np.random.Generator) -> Perturbation:
    """Change everything that becomes known after an instant, in every table.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Any of the lake's tables; ``bars`` among them. Bars and ratings are daily.
    as_of : datetime
        Midnight, UTC. A row without a time cannot be placed, and stays.
    kind : str
        One of :data:`KINDS`.
    rng : Generator
        Seeded by the caller.
    """
    known, later = {}, {}
    for name, frame in tables.items():
        after = (_KNOWN_AT[name] > as_of).fill_null(value=False)
        known[name], later[name] = frame.filter(~after), frame.filter(after)
    made = _MAKERS[kind](_Futures(tables, later, as_of, rng))
    changed = {name: changed_bytes(later[name], made[name]) for name in tables}
    if "instruments" in known:
        facts = known["instruments"]
        known["instruments"] = other_ends(facts, as_of, kind, rng)
        changed["instruments"] += changed_bytes(facts, known["instruments"])
    whole = {name: pl.concat([known[name], made[name]]).sort(ORDER[name]) for name in tables}
    return Perturbation(whole, changed, _coins(later["bars"], made["bars"]))


@dataclass(frozen=True)
class _Futures:
    """What comes after the instant, table by table, and what it is changed with."""

    tables: Tables
    later: dict[str, pl.DataFrame]
    as_of: dt.datetime
    rng: np.random.Generator

    @property
    def symbols(self) -> list[str]:
        """Every coin of the lake, sorted."""
        return self.tables["bars"]["symbol"].unique().sort().to_list()


def _noise(futures: _Futures, keep_open: bool = False) -> dict[str, pl.DataFrame]:
    made = dict(futures.later)
    made["bars"] = _noisy_bars(futures, keep_open)
    if "ratings" in made:
        made["ratings"] = _noisy_ratings(futures.later["ratings"], made["bars"], futures.rng)
    if "instruments" in made:
        made["instruments"] = futures.later["instruments"].with_columns(
            pl.lit("BREAK").alias("status"), pl.lit(FOREIGN_QUOTE).alias("quote"), ~pl.col("margin_allowed")
        )
    if "borrow" in made:
        noise = pl.Series(np.exp(futures.rng.normal(0.0, 1.0, futures.later["borrow"].height)))
        made["borrow"] = futures.later["borrow"].with_columns(rate=pl.col("rate") * noise + 1.0)
    if "candidates" in made:
        made["candidates"] = futures.later["candidates"].with_columns(pl.col("rank") + 1, pl.lit("{}").alias("fields"))
    if "quarantine" in made:
        rows = futures.later["quarantine"]
        others = pl.Series("symbol", futures.rng.choice(futures.symbols, rows.height), dtype=pl.String)
        made["quarantine"] = rows.with_columns(others, pl.lit(BROKEN).alias("reason"))
    return made


def scrambled(values: Mapping[str, Floats], keep_open: Bools, rng: np.random.Generator) -> dict[str, Floats]:
    """Return other prices and volumes: positive, consistent, and NaN where there was none.

    Parameters
    ----------
    values : mapping of str to array
        ``open`` and ``close``, and any volumes; ``high`` and ``low`` are made from the new ones. All of one shape.
    keep_open : bool array of that shape
        Where the open stays as it is.
    rng : Generator
    """
    shape = values["close"].shape
    noise = {"close": np.exp(rng.normal(0.0, 1.0, shape)), "open": np.exp(rng.normal(0.0, 1.0, shape))}
    made = {name: values[name] * factor for name, factor in noise.items()}
    made["open"] = np.where(keep_open, values["open"], made["open"])
    made["high"] = np.maximum(made["open"], made["close"]) * (1.0 + 0.2 * rng.random(shape))
    made["low"] = np.minimum(made["open"], made["close"]) * (1.0 - 0.2 * rng.random(shape))
    for name in values.keys() - made.keys():
        made[name] = (values[name] + 1.0) * np.exp(rng.normal(0.0, 3.0, shape))
    return made


def _noisy_bars(futures: _Futures, keep_open: bool) -> pl.DataFrame:
    later, rng = futures.later["bars"], futures.rng
    values = {name: later[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in BAR_VALUES}
    first = (later["open_time"] == futures.as_of).to_numpy()
    made = scrambled(values, first & keep_open, rng)
    noisy = later.with_columns(pl.Series(name, made[name], nan_to_null=True) for name in BAR_VALUES)
    symbols = later["symbol"].unique().sort()
    gaps = listing_gaps(len(symbols), rng)
    begin = futures.as_of + DAY if keep_open else futures.as_of
    resumes = begin + pl.duration(days="gap")
    kept = (pl.col("open_time") < begin) | (pl.col("open_time") >= resumes)
    relisted = (pl.col("gap") >= LISTING_ENDS_AFTER) & (pl.col("open_time") >= resumes)
    return (
        noisy.join(pl.DataFrame({"symbol": symbols, "gap": gaps}), on="symbol", how="left", maintain_order="left")
        .filter(kept)
        .with_columns((pl.col("listing") + relisted.cast(pl.Int32)).alias("listing"))
        .drop("gap")
    )


def listing_gaps(count: int, rng: np.random.Generator) -> Ints:
    """Days without bars after the instant: none for two thirds of the coins, all days for a ninth."""
    gaps = np.where(rng.random(count) < 1 / 3, rng.integers(1, LONGEST_GAP + 1, count), 0)
    return np.where((gaps > 0) & (rng.random(count) < 1 / 3), FOR_GOOD, gaps)


def _noisy_ratings(later: pl.DataFrame, bars: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    rows = later.join(bars, on=["symbol", "open_time"], how="semi", maintain_order="left")
    floats = [name for name, kind in rows.schema.items() if kind.is_float()]
    noise = [pl.Series(name, other_ratings(name, (rows.height,), rng)) for name in floats]
    broken = [pl.Series(UNSOUND, rng.random(rows.height) < SELDOM)] if UNSOUND in rows.columns else []
    return rows.with_columns(*noise, *broken)


def other_ratings(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return noise in the range of a rating, or of ADX."""
    return rng.uniform(-1.0, 1.0, shape) if name.startswith("recommend") else rng.uniform(0.0, 100.0, shape)


def _listings(futures: _Futures) -> dict[str, pl.DataFrame]:
    made = dict(futures.later)
    twins = new_names(futures.symbols, futures.later["bars"]["symbol"].unique().sort().to_list())
    named = pl.DataFrame(
        {"symbol": list(twins.values()), "twin": list(twins)}, schema={"symbol": pl.String, "twin": pl.String}
    )
    for name in ("bars", "ratings"):
        if name in made:
            made[name] = pl.concat([made[name], _twins(made[name], named)])
    when = futures.as_of + DAY
    if "instruments" in made:
        made["instruments"] = pl.concat([made["instruments"], _new_facts(futures, list(twins), when)])
    if "borrow" in made:
        bases = futures.tables["borrow"]["base"].unique().sort().to_list()
        rows = {"base": bases, "from": when, "rate": 9.0, "source": "new", "known_at": when}
        made["borrow"] = pl.concat([made["borrow"], _rows(rows, made["borrow"])]) if bases else made["borrow"]
    if "candidates" in made:
        unknown = dict.fromkeys(made["candidates"].columns)
        rows = unknown | {
            "scanner": "new",
            "as_of": when,
            "scanned_at": when,
            "symbol": list(twins),
            "rank": 1,
            "fields": "{}",
        }
        made["candidates"] = pl.concat([made["candidates"], _rows(rows, made["candidates"])])
    if "quarantine" in made:
        symbols = [*futures.symbols, *twins]
        taken: Any = futures.tables["quarantine"]["row"].max()
        rows = {
            "source": "new",
            "row": np.arange(len(symbols)) + (-1 if taken is None else taken) + 1,
            "symbol": symbols,
            "open_time": futures.as_of,
            "reason": BROKEN,
            "raw": "{}",
        }
        made["quarantine"] = pl.concat([made["quarantine"], _rows(rows, made["quarantine"])])
    return made


def _rows(values: Mapping[str, object], like: pl.DataFrame) -> pl.DataFrame:
    longest = max(len(value) for value in values.values() if isinstance(value, (list, np.ndarray)))
    columns = {
        name: value if isinstance(value, (list, np.ndarray)) else [value] * longest for name, value in values.items()
    }
    return pl.DataFrame(columns).select(like.columns).cast(like.schema)


def new_names(symbols: list[str], sources: list[str]) -> dict[str, str]:
    """Map names that no coin has to the coins whose later bars they get.

    Parameters
    ----------
    symbols : list of str
        Every name that is taken.
    sources : list of str
        Coins to copy.

    Examples
    --------
    >>> list(new_names(["BINANCE:BTCUSDT"], ["BINANCE:BTCUSDT"]))
    ['BINANCE:0NEW0USDT', 'BINANCE:ZZNEW0USDT', 'BINANCE:BTCUSDC', 'BINANCE:BTCFDUSD']
    """
    copied = sources[:: max(1, len(sources) // NEW_COINS)][:NEW_COINS]
    made: dict[str, str] = {}
    for form in ("{exchange}:0NEW{i}USDT", "{exchange}:ZZNEW{i}USDT", "{stem}USDC", "{stem}FDUSD"):
        for i, source in enumerate(copied):
            exchange = source.partition(":")[0]
            made[form.format(exchange=exchange, i=i, stem=source.removesuffix("USDT"))] = source
    return {name: source for name, source in made.items() if name not in set(symbols)}


def _twins(later: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Copy rows under new names, at fifty times the volume and with other ratings."""
    rows = named.join(later, on="symbol", how="inner").with_columns(pl.col("twin").alias("symbol"))
    other = [(50.0 * pl.col(name)).alias(name) for name in ("volume", "quote_volume") if name in rows.columns]
    other += [(-pl.col(name)).alias(name) for name in RATING_FIELDS[:3] if name in rows.columns]
    if "listing" in rows.columns:
        other.append(pl.lit(0, dtype=pl.Int32).alias("listing"))
    return rows.with_columns(other).select(later.columns)


def _new_facts(futures: _Futures, names: list[str], when: dt.datetime) -> pl.DataFrame:
    """Facts of new coins, and new facts of every second old one: another base and quote, and no trading."""
    like = futures.tables["instruments"]
    symbols = [*names, *futures.symbols[::2]]
    rows: dict[str, object] = dict.fromkeys(like.columns) | {
        "symbol": symbols,
        "base": [f"X{i}" for i in range(len(symbols))],
        "quote": FOREIGN_QUOTE,
        "status": "BREAK",
        "margin_allowed": False,
        "valid_from": when,
    }
    return _rows(rows, like)


def other_ends(known: pl.DataFrame, as_of: dt.datetime, kind: Kind, rng: np.random.Generator) -> pl.DataFrame:
    """Change the ends of validity that nobody knew at the instant: ``valid_to`` after it says what comes."""
    ahead = (pl.col("valid_to") > as_of).fill_null(value=False)
    if kind == "deletion":
        return known.with_columns(pl.when(~ahead).then("valid_to").alias("valid_to"))
    if kind == "listings":
        return known
    days = pl.Series("days", rng.integers(1, 30, known.height))
    ends = pl.lit(as_of).cast(known.schema["valid_to"]) + pl.duration(days="days")
    other = pl.when(pl.col("valid_to").is_null()).then(ends).when(~ahead).then("valid_to")
    return known.with_columns(days).with_columns(other.alias("valid_to")).drop("days")


_MAKERS: dict[Kind, Callable[[_Futures], dict[str, pl.DataFrame]]] = {
    "noise": _noise,
    "open": partial(_noise, keep_open=True),
    "deletion": lambda futures: {name: rows.clear() for name, rows in futures.later.items()},
    "listings": _listings,
}


def changed_bytes(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Count the bytes in which two tables of the same columns differ; what only one of them has counts whole.

    >>> changed_bytes(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 3, 4]}))
    9
    """
    return sum(bytes_apart(_raw(before[name]), _raw(after[name])) for name in before.columns)


def _raw(column: pl.Series) -> npt.NDArray[np.uint8]:
    if column.dtype == pl.String:
        return np.frombuffer("\0".join(column.fill_null("").to_list()).encode(), dtype=np.uint8)
    if column.dtype == pl.Boolean:
        return column.cast(pl.Int8).fill_null(-1).to_numpy().view(np.uint8)
    values = column.to_physical()
    filled = values.fill_null(float("nan")) if column.dtype.is_float() else values.fill_null(-1)
    return np.ascontiguousarray(filled.to_numpy()).view(np.uint8)


def bytes_apart(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> int:
    """Count the bytes that differ; what only one of the two has counts whole."""
    both = min(len(before), len(after))
    return int(np.count_nonzero(before[:both] != after[:both])) + abs(len(before) - len(after))


def _coins(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Count the symbols whose bars differ."""
    on = [*KEYS["bars"], "open", "close"]
    gone, come = before.join(after, on=on, how="anti"), after.join(before, on=on, how="anti")
    return pl.concat([gone["symbol"], come["symbol"]]).n_unique()


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
    listing += ((day >= gaps) & (gaps >= LISTING_ENDS_AFTER) & (listing >= 0)).astype(np.int32)
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
            unsound=None
            if market.unsound is None
            else _joined(market.unsound[:begin], rng.random(listing.shape) < SELDOM, columns[order], old, False),
            instruments=_other_facts(market.instruments, as_of, rng),
            quarantine=_accusing(market.quarantine, names, as_of),
        ),
        changed,
        len(names),
    )


def _flat(values: Floats) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values).view(np.uint8).ravel()


def _joined(before: Any, after: Any, columns: Ints, old: Bools, absent: float) -> Any:
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
