"""From bars to the returns matrix: the links that the pinned lake and the scan can answer for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import Days, Floats, Scalar
from assay.base.domain import DAY, RATINGS, Direction, format_instant, rating_column
from assay.base.errors import IntegrityError
from assay.market.panel import RATING_FIELDS
from assay.market.schema import KEYS
from assay.prove.links import Link, Pair, paired
from assay.prove.sealed import Sealed
from assay.ratings.explanation import Explanation, explain
from assay.report.why import NO_BAR, NOT_ANSWERED
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.screening.recorded_scans import PROVIDER
from assay.screening.superset import profile_pool

PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class MarketLinks:
    """One symbol's bars and rating as of a decision; ``days`` are the rows of the returns matrix."""

    sealed: Sealed
    symbol: str
    days: Days

    @cached_property
    def _bars(self) -> pl.DataFrame:
        """Bars of the symbol and of the benchmark, known at the decision, in one look at the lake."""
        request = self.sealed.request
        wanted = {self.symbol, request.profile.benchmark}
        return self.sealed.snapshot.bars(until=request.as_of, symbols=wanted)

    @cached_property
    def bars(self) -> pl.DataFrame:
        """Bars of the symbol, from its first one in the lake."""
        own = self._bars.filter(pl.col("symbol") == self.symbol)
        if own.is_empty():
            raise IntegrityError(
                "the pinned lake has no bar of this symbol", where=self.symbol, hint="restore the lake's folder"
            )
        return own

    @cached_property
    def _stored(self) -> pl.DataFrame:
        """Ratings of the last bar, as the lake has them."""
        opened = self.bars["open_time"][-1]
        return self.sealed.snapshot.ratings(since=opened, until=self.sealed.request.as_of, symbols=[self.symbol])

    @cached_property
    def rating(self) -> dict[str, Any]:
        """The stored rating of the last bar; empty where there is none."""
        return self._stored.row(0, named=True) if self._stored.height else {}

    @cached_property
    def explained(self) -> Explanation:
        """The rating computed anew from the bars of the listing."""
        return explain(
            self.bars, self.sealed.snapshot.interval, self.sealed.request.as_of, self.sealed.snapshot.edition
        )

    @cached_property
    def superset(self) -> artifacts.Superset:
        """All scanners' candidates of the instant."""
        return artifacts.load(artifacts.Superset, self.sealed.home / self.sealed.request.superset)

    @cached_property
    def _found(self) -> list[artifacts.Candidate]:
        """The symbol's candidates among them."""
        return [one for one in self.superset.candidates if one.symbol == self.symbol]

    @cached_property
    def seen(self) -> dict[str, Any]:
        """What a scanner would see on the last bar, recomputed."""
        last = self.bars.row(-1, named=True)
        traded = last["quote_volume"] if last["quote_volume"] is not None else last["close"] * last["volume"]
        fields = {name: last[name] for name in PRICES}
        fields |= {"value_traded": traded, "volatility_d": 100.0 * (last["high"] - last["low"]) / last["low"]}
        fields |= {name: self.rating.get(name) for name in RATING_FIELDS}
        return fields

    def links(self) -> Iterator[Link]:
        """Bars, votes, scan, candidate."""
        yield self._bars_link()
        yield self._votes_link()
        yield self._scan_link()
        yield self._candidate_link()

    def unfound_links(self, scanned: Mapping[str, Any]) -> Iterator[Link]:
        """Rating and scan of a symbol that is no candidate of the profile.

        Parameters
        ----------
        scanned : mapping of str to assay.report.why.Scanned
            What each scanner of the profile makes of it in the pinned lake.
        """
        if not self._bars.filter(pl.col("symbol") == self.symbol).is_empty():
            yield self._rating_link()
        sealed, path = self.sealed.request.superset_sha256, self.sealed.home / self.sealed.request.superset
        pairs = [Pair("superset", sealed, files.sha256_file(path))]
        for count in (one for one in self.superset.scanners if one.scanner in scanned):
            name, made = count.scanner, scanned[count.scanner].reason
            pairs.append(Pair(f"found by {name}", self._is_found(name), made is None))
            if count.names or not any(count.dropped.values()):  # else it was scanned before names were kept
                pairs.append(Pair(f"left out by {name}", self._left_out(count), made))
        yield Link(
            "scan",
            "whom each scanner left out, and under which condition, as recorded and as the pinned lake has it",
            self.sealed.request.superset,
            sealed,
            tuple(pairs),
            notes={name: one.said for name, one in scanned.items()},
        )
        yield self._absent_link()

    def _is_found(self, scanner: str) -> bool:
        return any(scanner in one.scanners for one in self._found)

    def _left_out(self, count: artifacts.ScannerCount) -> str | None:
        """Return under which condition a scanner's record names the symbol; None where it found it."""
        superset = self.superset
        if self._is_found(count.scanner):
            return None
        named = [reason for reason, symbols in count.names.items() if self.symbol in symbols]
        for reason, records in (("merged_quote", superset.merged_quotes), ("invalid", superset.invalid_records)):
            named += [reason for one in records if (one.scanner, one.symbol) == (count.scanner, self.symbol)]
        return named[0] if named else NOT_ANSWERED if superset.provider == PROVIDER else NO_BAR

    def _rating_link(self) -> Link:
        names = list(RATINGS)
        made = {name: self.explained.ratings[name.removeprefix("recommend_")] for name in names}
        votes = {name: (self.rating.get(f"vote_{name}"), cast) for name, cast in self.explained.votes.items()}
        return Link(
            "rating",
            "the ratings of its last bar: stored, and computed anew from the listing's bars",
            self.sealed.table_name("ratings"),
            files.content_hash_table(self._stored, KEYS["ratings"]),
            (
                *(Pair(name, stored, cast.vote, inputs=cast.inputs) for name, (stored, cast) in votes.items()),
                *paired({name: self.rating.get(name) for name in names}, made),
            ),
            notes={"last bar": format_instant(self.bars["open_time"][-1])},
        )

    def _absent_link(self) -> Link:
        made = profile_pool(self.superset, self.sealed.request.profile).candidates
        recorded = [one for one in self.sealed[layout.RAW].candidates if one.symbol == self.symbol]
        return self.sealed.link(
            "candidate",
            "the profile's share of the superset has no record of it",
            layout.RAW,
            (Pair("records", len(recorded), sum(one.symbol == self.symbol for one in made)),),
        )

    def _bars_link(self) -> Link:
        recorded = self._found[0].fields if self._found else {}
        names = [*PRICES, "value_traded", "volatility_d"]
        last_day = self.bars["open_time"][-1]
        closed = self.sealed.request.as_of - DAY
        return Link(
            "bars",
            "the last bar that had closed, as the scan recorded it and as the pinned lake has it",
            self.sealed.table_name("bars"),
            files.content_hash_table(self.bars, KEYS["bars"]),
            (
                Pair("last bar", format_instant(closed), format_instant(last_day)),
                *paired({name: recorded.get(name) for name in names}, {name: self.seen[name] for name in names}),
            ),
            notes={
                "rows": self.bars.height,
                "first": format_instant(self.bars["open_time"][0]),
                "last": format_instant(last_day),
                "lake head": self.sealed.request.head,
            },
        )

    def _votes_link(self) -> Link:
        votes = tuple(
            Pair(name, self.rating.get(f"vote_{name}"), evidence.vote, inputs=evidence.inputs)
            for name, evidence in self.explained.votes.items()
        )
        ratings = tuple(
            Pair(column, self.rating.get(column), self.explained.ratings[column.removeprefix("recommend_")])
            for column in RATINGS
        )
        adx = Pair("adx", self.rating.get("adx"), self.explained.votes["adx"].inputs["adx"])
        sealed = self.sealed[layout.FEATURES].filter(pl.col("symbol") == self.symbol)
        keys = KEYS["ratings"]
        row = Pair("row", files.content_hash_table(sealed, keys), files.content_hash_table(self._stored, keys))
        return self.sealed.link(
            "votes",
            "26 votes and the three ratings on that bar: sealed, stored, and computed anew from the listing's bars",
            layout.FEATURES,
            (*votes, *ratings, adx, row),
            notes={"table": self.sealed.table_name("ratings")},
        )

    def _scan_link(self) -> Link:
        request = self.sealed.request
        path = self.sealed.home / request.superset
        pairs: list[Pair] = [Pair("superset", request.superset_sha256, files.sha256_file(path))]
        for one in self._found:
            stem = f"{one.logic} {one.direction}"
            pairs.append(Pair(f"rank {stem}", one.rank, rank(self.superset.candidates, one)))
            pairs += [Pair(f"{name} {stem}", one.fields.get(name), self.seen[name]) for name in RATING_FIELDS]
        return Link(
            "scan",
            "ratings as the scanners saw them, and ranks by rating, value traded and symbol among all candidates",
            request.superset,
            request.superset_sha256,
            tuple(pairs),
            notes={"candidates": len(self.superset.candidates), "provider": self.superset.provider},
        )

    def _candidate_link(self) -> Link:
        made = profile_pool(self.superset, self.sealed.request.profile).candidates
        return self.sealed.link(
            "candidate",
            "the profile's share of the superset",
            layout.RAW,
            paired(_records(self.sealed[layout.RAW].candidates, self.symbol), _records(made, self.symbol)),
        )

    def returns_link(self, recorded: Floats) -> Link:
        """Compare the symbol's column of the returns matrix with returns from the lake's closes.

        Parameters
        ----------
        recorded : (n_days,) array
            NaN where there is no return.
        """
        made = self.daily_returns()
        return self.sealed.link(
            "returns",
            "close-to-close returns of consecutive days of one listing, over the window of the decision",
            layout.RETURNS,
            (Pair("column", _hash(recorded), _hash(made)), differing(recorded, made)),
            notes={"days": len(recorded), "returns": int(np.isfinite(recorded).sum())},
        )

    def no_returns_link(self) -> Link:
        """Compare what the data audit says of a candidate without a column of returns with the lake's closes."""
        health = self.sealed[layout.HEALTH]
        told = [f"{one.reason} {one.detail}".strip() for one in (*health.missing, *health.dropped)
                if one.name == self.symbol]  # fmt: skip
        there = self.symbol in self.sealed[layout.RETURNS].columns
        return self.sealed.link(
            "no returns",
            "the candidate has no column of returns; the number of its returns in the lake",
            layout.HEALTH,
            (Pair("column", there, False), Pair("reasons", bool(told), True)),
            notes={"reason": "; ".join(told), "returns": int(np.isfinite(self.daily_returns()).sum())},
        )

    def daily_returns(self) -> Floats:
        """Return simple returns on the rows of the returns matrix, (n_days,)."""
        before = self.days[0] - np.timedelta64(1, "D")
        grid = np.arange(before, self.days[-1] + np.timedelta64(1, "D"))
        close, listing = on_days(self.bars, "close", grid), on_days(self.bars, "listing", grid)
        same = listing[1:] == listing[:-1]
        result = np.full(len(self.days), np.nan)
        result[same] = (close[1:] / close[:-1] - 1.0)[same]
        return result

    def value_traded(self, rows: int) -> Floats:
        """Return value traded of the last days, (rows,)."""
        traded = pl.coalesce("quote_volume", pl.col("close") * pl.col("volume")).alias("value_traded")
        return on_days(self.bars.with_columns(traded), "value_traded", self.days[-rows:])

    def benchmark_close(self, lookback: int) -> Floats:
        """Return the benchmark's closes of the last days that a decision may look at, (lookback,)."""
        grid = np.arange(self.days[-1] - np.timedelta64(lookback - 1, "D"), self.days[-1] + np.timedelta64(1, "D"))
        benchmark = self._bars.filter(pl.col("symbol") == self.sealed.request.profile.benchmark)
        return on_days(benchmark, "close", grid)


def differing(recorded: Floats, made: Floats) -> Pair:
    """Count the days on which two series differ; NaN equals NaN."""
    same = (recorded == made) | (np.isnan(recorded) & np.isnan(made))
    return Pair("days that differ", int((~same).sum()), 0)


def on_days(bars: pl.DataFrame, column: str, days: Days) -> Floats:
    """Lay a column of one symbol's bars on calendar days; NaN where there is no bar."""
    opened = bars["open_time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[D]")
    place = (opened - days[0]).astype(np.int64)
    inside = (place >= 0) & (place < len(days))
    result = np.full(len(days), np.nan)
    result[place[inside]] = bars[column].cast(pl.Float64).to_numpy()[inside]
    return result


def rank(candidates: list[artifacts.Candidate], one: artifacts.Candidate) -> int:
    """Return the best place of a candidate in the lists of the scanners that found it, from 1."""
    sign = Direction[one.scan_direction].sign
    column = rating_column(one.logic)

    def key(other: artifacts.Candidate) -> tuple[float, float, str]:
        return (-sign * _number(other.fields, column), -_number(other.fields, "value_traded"), other.symbol)

    lists = ([other for other in candidates if name in other.scanners] for name in one.scanners)
    return 1 + min(sum(key(other) < key(one) for other in found) for found in lists)


def _number(fields: Mapping[str, Scalar], name: str) -> float:
    value = fields.get(name)
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _records(candidates: list[artifacts.Candidate], symbol: str) -> dict[str, str]:
    """Map the candidates of a symbol to the hashes of their records."""
    return {
        f"{one.logic} {one.direction}": files.content_hash_json(artifacts.as_plain(one))
        for one in candidates
        if one.symbol == symbol
    }


def _hash(values: Floats) -> str:
    plain = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, one zero
    return files.sha256(plain.astype("<f8").tobytes())
