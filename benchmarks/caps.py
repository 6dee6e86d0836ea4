"""Caps to choose among: DESIGN's against smaller books of few winners and 10 % a coin; and features of a good short.

    python -m benchmarks.caps [--record FILE] [--step 1]

A decision every day (or every ``--step`` days) of the two canonical profiles of the combined rating, recorded in FILE
and read from there the next time. Each first day of the ten-day grid is a phase: the whole capital in one book, margin
on, hrp. Fixed before it was run: the median over phases of the mean daily log growth, longs and shorts apart, 2021-07
to 2022; caps change only where another rule is better by more than the spread between quartiles over phases, and 2023
to 2024-06 (which had been seen before) does not contradict. A rule may be tighter than DESIGN's and never wider.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from assay.backtest.book import Target, simulate
from assay.backtest.decision import Deciding, net_weights
from assay.backtest.walk_forward import close_of, prices_of
from assay.market.panel import Market
from assay.risk.allocate import allowed_weights, optimize
from assay.settings import load
from assay.settings.model import Profile
from benchmarks.recorded import market as load_market

Floats = npt.NDArray[np.float64]

PROFILES = ("binance_spot_rating_all_long", "binance_spot_rating_all_short")
STRETCHES = {"2021-07 to 2022": ("2021-07-01", "2022-12-31"), "2023 to 2024-06": ("2023-01-01", "2024-06-30")}
RULES = ("DESIGN 8", "x min(1, winners / 15)", "10 % a coin")
HOLD, WANTED, COIN = 10, 15, 0.10
CHOSEN = ("most alpha", "least alpha", "most volatility", "least volatility", "least efficiency", "least drift")
"""Features of shorts that were held, each way counted as a trial."""
SETTINGS = ("risk.risk_profiles=['hrp']",)


@dataclass(frozen=True)
class Recorded:
    """One decision: what it holds under two caps, and what was known of every candidate."""

    row: int
    winners: int
    held: Mapping[str, float]
    capped: Mapping[str, float]
    """With no more than 10 % a coin."""
    symbols: tuple[str, ...]
    features: Mapping[str, Floats]
    """By name, (n_candidates,)."""

    def under(self, rule: str) -> dict[str, float]:
        """Net weights under one of :data:`RULES`."""
        factor = min(1.0, self.winners / WANTED) if rule == RULES[1] else 1.0
        return {symbol: weight * factor for symbol, weight in (self.capped if rule == RULES[2] else self.held).items()}


def record(market: Market, profile: Profile, rows: Sequence[int]) -> Iterator[Recorded]:
    """Take the decisions of the rows."""
    scanners = load().scanners()
    for row in rows:
        deciding = Deciding(market.until(close_of(market.days[row]), profile.sight_days), profile, scanners)
        if not deciding.discovery.candidates:
            yield Recorded(row, 0, {}, {}, (), {})
            continue
        selection, state = deciding.selection, deciding.state
        known = selection.model.features_ if selection.atoms else None
        told = (
            {}
            if known is None
            else {name: np.array(getattr(known, name)) for name in (field.name for field in fields(known))}
        )
        told |= {} if known is None else {"alpha": np.array(selection.model.alpha_)}
        symbols = tuple(atom.symbol for atom in selection.atoms)
        if state is None:
            yield Recorded(row, 0, {}, {}, symbols, told)
            continue
        caps = replace(state.caps, atom=min(COIN, state.caps.atom))
        tight = replace(state, caps=caps, guarded=allowed_weights(state.labels, caps, state.guard))
        held, capped = (net_weights(state.atoms, optimize(one, profile)["hrp"].weights) for one in (state, tight))
        yield Recorded(row, len(state.atoms), held, capped, symbols, told)


def growth(market: Market, profile: Profile, decisions: Sequence[Recorded], rule: str) -> tuple[float, float, float]:
    """Return mean daily log growth, final wealth and deepest fall of one phase under a rule."""
    return held(market, profile, [(one.row, one.under(rule)) for one in decisions])


def held(
    market: Market, profile: Profile, books: Sequence[tuple[int, Mapping[str, float]]]
) -> tuple[float, float, float]:
    """Hold net weights from row to row; a ruined book grows by -1 a day."""
    targets = []
    for row, net in books:
        weights = np.zeros(len(market.symbols))
        for symbol, weight in net.items():
            weights[market.column(symbol)] = weight
        targets.append(Target(row, 0, weights))
    begin, last = books[0][0], min(books[-1][0] + HOLD, len(market.days) - 1)
    prices = prices_of(market, profile.costs)
    cut = replace(prices, **{name: getattr(prices, name)[: last + 1] for name in vars(prices)})
    nav = simulate(cut, targets, profile.costs, margin=profile.margin).nav
    nav = np.asarray(nav)[-(last - begin) :]
    fall = float((nav / np.maximum.accumulate(np.append(1.0, nav))[1:] - 1.0).min())
    mean = float(np.log(nav[-1]) / len(nav)) if nav[-1] > 0.0 else -1.0
    return mean, float(nav[-1]), fall


def study(market: Market, profile: Profile, decisions: Sequence[Recorded], step: int) -> list[list[str]]:
    """Compare the rules over the phases of both stretches."""
    rows = []
    for stretch, (begin, end) in STRETCHES.items():
        first, last = (int(np.searchsorted(market.days, np.datetime64(day))) for day in (begin, end))
        mine = [one for one in decisions if first <= one.row <= last]
        for rule in RULES:
            phases = [
                growth(market, profile, [one for one in mine if (one.row - mine[0].row) % HOLD == phase], rule)
                for phase in range(0, HOLD, step)
            ]
            means, wealth, falls = (np.array(part) for part in zip(*phases, strict=True))
            low, middle, high = np.percentile(means * 1e4, [25, 50, 75])
            told = [f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{high - low:.1f}"]
            told += [f"{np.median(wealth):.2f}", f"{100 * np.median(falls):.0f} %"]
            rows.append([profile.direction, stretch, rule, *told])
    return rows


def ranked(market: Market, decisions: Sequence[Recorded]) -> list[list[str]]:
    """Rank each feature of the candidates against what shorting them for ten days earned, by phase and stretch."""
    opened = market["open"]
    names = sorted({name for one in decisions for name in one.features})
    scores: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for one in decisions:
        fill, out = one.row + 1, one.row + 1 + HOLD
        if out >= len(market.days) or len(one.symbols) < 10:
            continue
        columns = [market.column(symbol) for symbol in one.symbols]
        earned = 1.0 - opened[out, columns] / opened[fill, columns]
        day = str(market.days[one.row])[:10]
        for stretch, (begin, end) in STRETCHES.items():
            if begin <= day <= end:
                for name in names:
                    scores.setdefault((name, stretch), []).append((one.row % HOLD, _rank(one.features[name], earned)))
    table = []
    for name in names:
        line = [name]
        for stretch in STRETCHES:
            found = scores.get((name, stretch), [])
            phases = [np.nanmean([ic for at, ic in found if at == phase]) for phase in sorted({at for at, _ in found})]
            signs = sum(value > 0 for value in phases)
            line += [f"{np.median(phases):+.3f}", f"{min(phases):+.3f} to {max(phases):+.3f}", f"{signs}/{len(phases)}"]
        table.append(line)
    return sorted(table, key=lambda line: -abs(float(line[1])))


def shorted(market: Market, profile: Profile, decisions: Sequence[Recorded], step: int) -> list[list[str]]:
    """Short the 15 candidates that a feature likes best, a fifteenth each, and all of them alike, by phases."""
    table = []
    for name in ("all alike", *CHOSEN):
        line = [name]
        for begin, end in STRETCHES.values():
            first, last = (int(np.searchsorted(market.days, np.datetime64(day))) for day in (begin, end))
            mine = [one for one in decisions if first <= one.row <= last]
            phases = []
            for phase in range(0, HOLD, step):
                rows = [one for one in mine if (one.row - mine[0].row) % HOLD == phase]
                phases.append(held(market, profile, [(one.row, _best(one, name)) for one in rows]))
            means, wealth, falls = (np.array(part) for part in zip(*phases, strict=True))
            low, middle, high = np.percentile(means * 1e4, [25, 50, 75])
            line += [f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{np.median(wealth):.2f}"]
            line.append(f"{100 * np.median(falls):.0f} %")
        table.append(line)
    return table


def _best(one: Recorded, name: str) -> dict[str, float]:
    if name == "all alike":
        return dict.fromkeys(one.symbols, -1.0 / max(WANTED, len(one.symbols)))
    sign, _, feature = name.partition(" ")
    values = one.features.get(feature, np.empty(0)) * (1.0 if sign == "most" else -1.0)
    if len(values) != len(one.symbols):
        return {}
    order = np.argsort(-np.where(np.isfinite(values), values, -np.inf), kind="stable")[:WANTED]
    return {one.symbols[i]: -1.0 / WANTED for i in order}


def _rank(feature: Floats, earned: Floats) -> float:
    """Spearman's correlation over the candidates that have both."""
    if len(feature) != len(earned):  # some candidates have no features
        return float("nan")
    known = np.isfinite(feature) & np.isfinite(earned)
    if known.sum() < 10 or np.ptp(feature[known]) == 0.0:
        return float("nan")
    return float(np.corrcoef(rankdata(feature[known]), rankdata(earned[known]))[0, 1])


def main() -> None:
    """Record what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, default=Path("caps.pickle"))
    parser.add_argument("--step", type=int, default=1)
    asked = parser.parse_args()
    market, what = load_market(days=1096 + 520)
    print(what)
    first, last = (int(np.searchsorted(market.days, np.datetime64(day))) for day in ("2021-07-01", "2024-06-30"))
    rows = range(first, min(last, len(market.days) - 2), asked.step)
    kept = pickle.loads(asked.record.read_bytes()) if asked.record.is_file() else {}
    table, told, books = [], [], []
    for name in PROFILES:
        profile = load(settings=SETTINGS).profile(name)
        known = {one.row: one for one in kept.get(name, ())}
        begun = time.monotonic()
        for done, one in enumerate(record(market, profile, [row for row in rows if row not in known]), start=1):
            known[one.row] = one
            if done % 100 == 0:
                print(name, done, f"{time.monotonic() - begun:.0f} s", flush=True)
                kept[name] = list(known.values())
                asked.record.write_bytes(pickle.dumps(kept))
        kept[name] = [known[row] for row in rows if row in known]
        asked.record.write_bytes(pickle.dumps(kept))
        table += study(market, profile, kept[name], asked.step)
        if profile.direction == "SHORT":
            told, books = ranked(market, kept[name]), shorted(market, profile, kept[name], asked.step)
    head = [
        "side",
        "stretch",
        "rule",
        "median log growth, bp a day",
        "quartiles",
        "spread",
        "median wealth",
        "median fall",
    ]
    _print(head, table)
    stretches = [f"{title}, {stretch}" for stretch in STRETCHES for title in ("median", "phases", "positive")]
    _print(["feature of a short", *stretches], told)
    held_as = [f"{title}, {stretch}" for stretch in STRETCHES for title in ("log growth, bp a day", "wealth", "fall")]
    _print(["15 shorts with", *held_as], books)


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
