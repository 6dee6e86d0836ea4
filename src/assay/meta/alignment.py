"""Meta returns: the sleeves' walk-forward returns per risk profile, on the days that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.base.constants import Bools, Days, Floats
from assay.base.errors import DataError
from assay.runs import artifacts as layout
from assay.runs.documents import AlignedProfile, Alignment, Event, SleeveDays, SleeveFacts
from assay.runs.run import Run, counted_days

SLEEVE_IN_CASH = "META_SLEEVE_IN_CASH"
SHORTFALL = "META_SHORTFALL"
TOO_FEW_DAYS = "META_TOO_FEW_DAYS"
CALENDAR = "META_CALENDAR"
REGIMES = ("QUIET", "NORMAL", "TURBULENT", "CRISIS")
"""From the mildest to the gravest."""


@dataclass(frozen=True)
class SleeveRecord:
    """What a sleeve's walk-forward left, for one risk profile.

    Attributes
    ----------
    days : (n_days,) datetime64[D] array
        Ascending.
    returns, gross : (n_days,) arrays
        Simple daily returns of its NAV, and exposure over NAV at each close.
    decided : dict of instant to dict
        Net weight of each coin as its tranche book decided, by the decision's instant; empty for cash.
    tranches : dict of instant to int
        Tranche of each of these decisions.
    """

    days: Days
    returns: Floats
    gross: Floats
    decided: Mapping[np.datetime64, Mapping[str, float]]
    tranches: Mapping[np.datetime64, int]


@dataclass(frozen=True)
class Aligned:
    """Sleeves of one risk profile on shared days.

    Attributes
    ----------
    sleeves : tuple of str
        In the profile's order.
    days : (n_days,) datetime64[D] array
        Consecutive.
    returns, gross : (n_days, n_sleeves) arrays
    records : tuple of SleeveRecord
        The sleeves' own, for what they held.
    """

    sleeves: tuple[str, ...]
    days: Days
    returns: Floats
    gross: Floats
    records: tuple[SleeveRecord, ...]

    def without(self, names: Sequence[str]) -> Aligned:
        """Return the same days without some sleeves."""
        on = [i for i, name in enumerate(self.sleeves) if name not in names]
        sleeves, records = tuple(self.sleeves[i] for i in on), tuple(self.records[i] for i in on)
        return Aligned(sleeves, self.days, self.returns[:, on], self.gross[:, on], records)


def read_sleeve(run: Run, risk_profiles: Sequence[str]) -> dict[str, SleeveRecord]:
    """Read what a sleeve's walk-forward left, by risk profile.

    Raises
    ------
    IntegrityError
        If a table is missing or unreadable.
    """
    returns = counted_days(run[layout.WALK_RETURNS])
    turns = run[layout.WALK_DECISIONS].drop_nulls("tranche").select("as_of", "tranche").unique().sort("as_of")
    return {name: _record(name, returns, run[layout.WALK_WEIGHTS], turns) for name in risk_profiles}


def _record(name: str, returns: pl.DataFrame, weights: pl.DataFrame, turns: pl.DataFrame) -> SleeveRecord:
    own = returns.filter(pl.col("risk_profile") == name).sort("date")
    held: dict[object, dict[str, float]] = {moment: {} for moment in turns["as_of"]}
    rows = weights.filter((pl.col("risk_profile") == name) & (pl.col("net_weight") != 0.0))
    for moment, symbol, weight in rows.select("as_of", "symbol", "net_weight").sort("as_of", "symbol").iter_rows():
        held[moment][symbol] = weight
    stamps = list(turns["as_of"].dt.replace_time_zone(None).to_numpy())
    return SleeveRecord(
        days=own["date"].to_numpy().astype("datetime64[D]"),
        returns=own["ret"].to_numpy().astype(np.float64),
        gross=own["gross"].to_numpy().astype(np.float64),
        decided=dict(zip(stamps, held.values(), strict=True)),
        tranches=dict(zip(stamps, turns["tranche"].to_list(), strict=True)),
    )


def align(records: Mapping[str, SleeveRecord], min_days: int, where: str) -> Aligned:
    """Cut sleeves to the days that all share.

    Parameters
    ----------
    records : mapping of str to SleeveRecord
        By sleeve.
    min_days : int
        Days without which nothing is decided.
    where : str
        Risk profile, for the message.

    Raises
    ------
    DataError
        ``META_TOO_FEW_DAYS``, or ``META_CALENDAR`` if the shared days have a gap or a sleeve has a day twice.
    """
    shared: Days | None = None
    for record in records.values():
        if len(np.unique(record.days)) != len(record.days):
            raise DataError("a sleeve has a day twice", where=where, hint="run: assay verify", code=CALENDAR)
        shared = record.days if shared is None else np.intersect1d(shared, record.days)
    if shared is None or len(shared) < min_days:
        found = 0 if shared is None else len(shared)
        raise DataError(
            f"the sleeves share {found} days, and {min_days} are needed",
            where=where,
            hint="run the sleeves over the same, longer walk-forward (walk_forward.days or walk_forward.start)",
            code=TOO_FEW_DAYS,
        )
    if (np.diff(shared) != np.timedelta64(1, "D")).any():
        raise DataError("the shared days have a gap", where=where, hint="run the sleeves again", code=CALENDAR)
    at = [np.searchsorted(record.days, shared) for record in records.values()]
    both = list(zip(records.values(), at, strict=True))
    return Aligned(
        tuple(records),
        shared,
        np.column_stack([record.returns[rows] for record, rows in both]),
        np.column_stack([record.gross[rows] for record, rows in both]),
        tuple(records.values()),
    )


def without_ruined(returns: Floats, sleeves: Sequence[str], accepted: Sequence[SleeveFacts], name: str) -> Floats:
    """Return the returns that one risk profile may decide by: a sleeve whose own book was ruined has none.

    Parameters
    ----------
    returns : (n_days, n_sleeves) array
    sleeves : sequence of str
    accepted : sequence of SleeveFacts
        What eligibility said of each sleeve.
    name : str
        Risk profile.
    """
    barred = {facts.sleeve for facts in accepted if name in facts.ruined}
    return np.where([sleeve in barred for sleeve in sleeves], 0.0, returns)


def in_use(returns: Floats, gross: Floats, least: float) -> Bools:
    """Say of each sleeve whether it takes part: its returns vary, and it was invested by ``least`` on average.

    Parameters
    ----------
    returns, gross : (n_days, n_sleeves) arrays
        Of the days that a decision reads.
    least : float

    Examples
    --------
    >>> returns = np.array([[0.0, 0.01, 0.01], [0.0, 0.02, 0.03]])
    >>> in_use(returns, np.array([[1.0, 0.5, 0.1], [1.0, 0.0, 0.2]]), 0.2).tolist()
    [False, True, False]
    """
    invested = gross.mean(axis=0)
    return np.asarray(varying(returns) & (invested >= least) & (invested > 0.0))


def varying(returns: Floats) -> Bools:
    """Say for each column of (n_days, n_sleeves) returns whether it varies.

    >>> varying(np.array([[0.0, 0.01], [0.0, 0.02]])).tolist()
    [False, True]
    """
    return np.asarray(np.ptp(returns, axis=0) > 0.0)


def alignment(as_of: str, aligned: Mapping[str, Aligned], train: int, least: float) -> Alignment:
    """Write ``meta_alignment.json``: shared days, shortfalls, sleeves in cash."""
    profiles = {name: _aligned_profile(one, train, least) for name, one in aligned.items()}
    shortfalls = [
        Event(
            code=SHORTFALL,
            what=f"{name}: {days.left_out} of {days.days} days of {sleeve} are not shared by all sleeves",
            values={"risk_profile": name, "sleeve": sleeve, "days": days.days, "left_out": days.left_out},
        )
        for name, profile in profiles.items()
        for sleeve, days in profile.sleeves.items()
        if days.left_out
    ]
    return Alignment(as_of=as_of, profiles=profiles, shortfalls=shortfalls)


def _aligned_profile(one: Aligned, train: int, least: float) -> AlignedProfile:
    moving = in_use(one.returns[-train:], one.gross[-train:], least)
    return AlignedProfile(
        first=str(one.days[0]),
        last=str(one.days[-1]),
        days=len(one.days),
        sleeves={
            name: SleeveDays(
                first=str(record.days[0]),
                last=str(record.days[-1]),
                days=len(record.days),
                left_out=len(record.days) - len(one.days),
            )
            for name, record in zip(one.sleeves, one.records, strict=True)
        },
        in_cash=[name for name, moves in zip(one.sleeves, moving, strict=True) if not moves],
        zero_days={name: int((one.returns[:, i] == 0.0).sum()) for i, name in enumerate(one.sleeves)},
    )


def returns_frame(aligned: Mapping[str, Aligned], sleeves: Sequence[str]) -> pl.DataFrame:
    """Return ``risk_profile``, ``date`` and one Float64 column for each sleeve: what step 3 writes."""
    parts = [
        pl.DataFrame({"risk_profile": [name] * len(one.days), "date": _stamps(one.days)}).with_columns(
            pl.Series(sleeve, one.returns[:, one.sleeves.index(sleeve)]) for sleeve in sleeves
        )
        for name, one in aligned.items()
    ]
    return pl.concat(parts).sort("risk_profile", "date")


def _stamps(days: Days) -> pl.Series:
    return pl.Series("date", days.astype("datetime64[us]")).dt.replace_time_zone("UTC")


def rejoin(frame: pl.DataFrame, records: Mapping[str, Mapping[str, SleeveRecord]], risk_profile: str) -> Aligned:
    """Read one risk profile of the table of step 3; exposures and holdings are the sleeves' own.

    Parameters
    ----------
    frame : DataFrame
        From :func:`returns_frame`.
    records : mapping of str to mapping of str to SleeveRecord
        By sleeve, then risk profile.
    risk_profile : str
    """
    own = frame.filter(pl.col("risk_profile") == risk_profile).sort("date")
    sleeves = tuple(name for name in frame.columns if name not in ("risk_profile", "date"))
    days = own["date"].dt.replace_time_zone(None).to_numpy().astype("datetime64[D]")
    mine = tuple(records[sleeve][risk_profile] for sleeve in sleeves)
    gross = np.column_stack([record.gross[np.searchsorted(record.days, days)] for record in mine])
    return Aligned(sleeves, days, np.ascontiguousarray(own.select(sleeves).to_numpy()), gross, mine)


def regimes(run: Run) -> tuple[tuple[np.datetime64, str], ...]:
    """Return the regime that each decision of a sleeve's walk-forward named, by its instant, ascending."""
    decisions = run[layout.WALK_DECISIONS].sort("as_of")
    if "regime" not in decisions.columns:
        return ()
    named = decisions.drop_nulls("regime")
    return tuple(zip(named["as_of"].dt.replace_time_zone(None).to_numpy(), named["regime"].to_list(), strict=True))


def live_regime(runs: Sequence[Run]) -> str:
    """Return the gravest regime that any sleeve's own decision found; NORMAL where none tells one."""
    return gravest([_live(run) for run in runs])


def _live(run: Run) -> str:
    if run.kind == "meta":
        return gravest([profile.regime for profile in run[layout.META_OPTIMIZED].profiles.values()])
    return run[layout.RISK].regime


def gravest(names: Sequence[str]) -> str:
    """Return the gravest of some regimes; NORMAL where there is none.

    >>> gravest(["QUIET", "TURBULENT", "NORMAL"]), gravest([])
    ('TURBULENT', 'NORMAL')
    """
    known = [REGIMES.index(name) for name in names if name in REGIMES]
    return REGIMES[max(known)] if known else "NORMAL"
