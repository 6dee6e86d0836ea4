"""What one who decides in a minute must see of a run: three lights, six figures beside the benchmark's, what is held.

It is the same in report, page, notebook and terminal. The lights are a pure function of a few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from assay.backtest import statistics as measures
from assay.base.constants import Floats
from assay.report.findings import verdict
from assay.report.markdown import ABSENT, count, finite, integer, percent, ratio
from assay.report.small_book import Holdings, holdings
from assay.report.view import RunView, open_run, table_of
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run
from assay.settings.model import HEADLINE

PSR_LEAST, DSR_HOLDS, PBO_MOST = 0.90, 0.95, 0.5
DAYS_LEAST, DECISIONS_LEAST = 120, 12
GROSS_LEAST, COIN_MOST, COINS_LEAST, COINS_GROSS = 0.01, 0.15, 5.0, 0.5
HELD = 10
"""Holdings that are shown."""
DIGITS = 17
"""Decimal places that tell any two shares apart."""
YARDSTICKS: Mapping[str, pl.DataType] = {"date": pl.Date(), "benchmark": pl.Float64(), "universe": pl.Float64()}

Tone = Literal["good", "open", "bad"]


class Light(NamedTuple):
    """One judgement: a word, and the condition that decides with its number."""

    name: str
    word: str
    why: str
    tone: Tone


@dataclass(frozen=True)
class LightFacts:
    """What the lights depend on; None is what nobody knows.

    Attributes
    ----------
    valid : bool
        Whether the process was: every gate and check of the run.
    why : str
        Of the verdict.
    days, decisions : int
        Counted days, and decisions that held something.
    psr, dsr, pbo : float, optional
        Probabilistic and deflated Sharpe ratio; probability of overfitting, None where nothing was chosen.
    interval : tuple of float, optional
        Of the Sharpe ratio, 95 %.
    end, benchmark_end, candidates_end : float, optional
        What 1 became: the book; the benchmark at the book's gross; equal weight of the candidates.
    ruin : str
        How the headline's book was ruined; empty where it was not.
    weights : mapping of str to float
        What is held, as signed shares of NAV.
    """

    valid: bool
    why: str = ""
    days: int = 0
    decisions: int = 0
    psr: float | None = None
    dsr: float | None = None
    pbo: float | None = None
    interval: tuple[float, float] | None = None
    end: float | None = None
    benchmark_end: float | None = None
    candidates_end: float | None = None
    ruin: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)


def lights(facts: LightFacts) -> tuple[Light, Light, Light]:
    """Return PROCESS, EVIDENCE and BOOK.

    >>> [light.word for light in lights(LightFacts(valid=True, psr=0.8, days=300, decisions=30, weights={"A": 0.2}))]
    ['valid', 'none', 'concentrated']
    """
    process = Light("PROCESS", *(("valid", facts.why, "good") if facts.valid else ("not valid", facts.why, "bad")))
    return process, _evidence(facts), _book(facts)


def apart(value: float, other: float, show: Callable[[float, int], str] = ratio, digits: int = 2) -> str:
    """Return a number with as many digits as tell it from another; equal numbers need no more.

    >>> apart(0.8999, 0.9), apart(0.42, 0.9), apart(1.5, 1.5)
    ('0.8999', '0.42', '1.50')
    """
    shown = (show(value, more) for more in range(digits, DIGITS) if show(value, more) != show(other, more))
    return show(value, digits) if value == other else next(shown, show(value, DIGITS))


def _evidence(facts: LightFacts) -> Light:
    nothing = next(_nothing(facts), None)
    if nothing is not None:
        return Light("EVIDENCE", "none", nothing, "bad")
    doubt = next(_doubts(facts), None)
    if doubt is not None:
        return Light("EVIDENCE", "weak", doubt, "open")
    assert facts.end is not None
    assert facts.benchmark_end is not None
    own, other = apart(facts.end, facts.benchmark_end), apart(facts.benchmark_end, facts.end)
    return Light(
        "EVIDENCE", "holds", f"DSR {ratio(facts.dsr)}, ends at {own}, the benchmark at its gross at {other}", "good"
    )


def _nothing(facts: LightFacts) -> Iterator[str]:
    """Say what leaves no evidence at all."""
    if facts.psr is None:
        yield f"no PSR can be told from {count(facts.days, 'counted day')}"
    elif facts.psr < PSR_LEAST:
        yield f"PSR {apart(facts.psr, PSR_LEAST)}, below {ratio(PSR_LEAST)}"
    if facts.days < DAYS_LEAST:
        yield f"{count(facts.days, 'counted day')}, fewer than {DAYS_LEAST}"
    if facts.decisions < DECISIONS_LEAST:
        yield f"{count(facts.decisions, 'decision')} with holdings, fewer than {DECISIONS_LEAST}"


def _doubts(facts: LightFacts) -> Iterator[str]:
    """Say what keeps the evidence from holding."""
    if facts.dsr is None:
        yield "no DSR can be told"
    elif facts.dsr < DSR_HOLDS:
        yield f"DSR {apart(facts.dsr, DSR_HOLDS)}, below {ratio(DSR_HOLDS)}"
    if facts.interval is None:
        yield "no 95 % interval of the Sharpe ratio can be told"
    elif facts.interval[0] <= 0.0:
        low, high = facts.interval
        yield f"the 95 % interval of the Sharpe ratio, {ratio(low)} to {ratio(high)}, is not above 0"
    if facts.pbo is not None and facts.pbo > PBO_MOST:
        yield f"PBO {apart(facts.pbo, PBO_MOST)}, above {ratio(PBO_MOST)}"
    yardsticks = {
        "the benchmark at its gross": facts.benchmark_end,
        "equal weight of the candidates": facts.candidates_end,
    }
    for name, other in yardsticks.items():
        if other is None or facts.end is None:
            yield f"what {name} became is not known"
        elif facts.end <= other:
            yield f"ends at {apart(facts.end, other)}, {name} at {apart(other, facts.end)}"


def _book(facts: LightFacts) -> Light:
    if facts.ruin:
        return Light("BOOK", "ruinous", facts.ruin, "bad")
    gross = math.fsum(map(abs, facts.weights.values()))
    if gross < GROSS_LEAST:
        said = apart(gross, GROSS_LEAST, percent, 1)
        return Light("BOOK", "empty", f"gross {said}, below {percent(GROSS_LEAST, 0)}", "open")
    coin, largest = min(facts.weights.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    if abs(largest) > COIN_MOST:
        said = apart(largest, math.copysign(COIN_MOST, largest), percent, 1)
        return Light("BOOK", "concentrated", f"{coin} {said}, above {percent(COIN_MOST, 0)} of NAV", "open")
    effective = gross**2 / math.fsum(weight**2 for weight in facts.weights.values())
    if gross > COINS_GROSS and effective < COINS_LEAST:
        said = apart(effective, COINS_LEAST, ratio, 1)
        why = f"{said} effective coins, fewer than {COINS_LEAST:.0f}, at gross {percent(gross)}"
        return Light("BOOK", "concentrated", why, "open")
    why = f"{count(len(facts.weights), 'coin')}, {ratio(effective, 1)} effective, the largest {percent(largest)}"
    return Light("BOOK", "sound", why, "good")


# --- a run ------------------------------------------------------------------------------------------------------------


class Beside(NamedTuple):
    """One figure of the headline's book, beside the same of what it is held against."""

    name: str
    own: str
    benchmark: str
    universe: str
    phases: str
    """From the lowest to the highest of single phases; a dash where none were looked at."""


class Glance(NamedTuple):
    """The first screen of a run."""

    headline: str
    lights: tuple[Light, Light, Light]
    figures: list[Beside]
    book: Holdings | None

    @property
    def held(self) -> list[tuple[str, float]]:
        """The largest holdings."""
        weights = self.book.weights if self.book else {}
        return sorted(weights.items(), key=lambda pair: (-abs(pair[1]), pair[0]))[:HELD]


SIX = (
    ("what 1 became", "final_wealth", ratio, measures.wealth),
    ("return a year (CAGR)", "cagr", percent, measures.cagr),
    ("volatility a year", "volatility", percent, measures.volatility),
    ("Sharpe", "sharpe", ratio, measures.sharpe),
    ("maximum drawdown", "max_drawdown", percent, measures.max_drawdown),
    ("CVaR 95, a day", "cvar_95", percent, measures.cvar),
)
"""Figures of the first screen: name, metric, form, and how it is measured of a yardstick."""


def headline_of(view: RunView) -> str:
    """Return the risk profile that stands for a run."""
    return str(view.setting("profile.headline") or HEADLINE)


def glance(view: RunView) -> Glance:
    """Return the first screen of a run, as far as the run came."""
    name = headline_of(view)
    book = book_of(view, name)
    return Glance(name, lights(facts_of(view, name, book)), _six(view, name), book)


def book_of(view: RunView, name: str) -> Holdings | None:
    """Return the tranche book after today's decision; of a run that has none, the decision itself."""
    books = view.run.get(layout.HOLDINGS)
    if books is None or name not in books.profiles:
        return holdings(view, name)
    book = books.profiles[name]
    weights = {asset.Symbol: asset.Net_Weight for asset in book.assets if asset.Net_Weight}
    return Holdings(weights, book.gross, book.net, book.cash)


def facts_of(view: RunView, name: str, book: Holdings | None) -> LightFacts:
    """Return what the lights of a run depend on."""
    judged, told = verdict(view), view.statistics.get(name, {})
    low, high = told.get("sharpe_low"), told.get("sharpe_high")
    ruin = view.books.ruin.get(name) if view.books is not None else None
    ruined = ruin.told if ruin is not None and ruin.ruined else ""
    beside = view.worth.baselines if view.worth is not None and view.worth.risk_profile == name else {}
    benchmark_end, candidates_end = (
        beside[key].final_wealth if key in beside else None for key in ("benchmark", "candidates")
    )
    held = 0 if view.decisions is None or "held" not in view.decisions.columns else view.decisions["held"].gt(0).sum()
    return LightFacts(
        valid=judged.word == "VALID",
        why=judged.why,
        days=int(told.get("days") or 0),
        decisions=int(held or 0),
        psr=told.get("psr"),
        dsr=told.get("dsr"),
        pbo=told.get("pbo"),
        interval=None if low is None or high is None else (low, high),
        end=told.get("final_wealth"),
        benchmark_end=benchmark_end,
        candidates_end=candidates_end,
        ruin=ruined,
        weights=book.weights if book else {},
    )


def _six(view: RunView, name: str) -> list[Beside]:
    own, phases = view.statistics.get(name), view.phases.get(name, {})
    if own is None:
        return []
    table = yardsticks(view, name)

    def measured(column: str, measure: Callable[[Floats], float | None], show: Callable[[float | None], str]) -> str:
        values: Floats = table[column].drop_nulls().to_numpy() if table is not None else np.zeros(0)
        return show(measure(values)) if values.size else ABSENT

    found = []
    for label, metric, show, measure in SIX:
        spread = phases.get(metric)
        ends = (finite(spread.get("low")), finite(spread.get("high"))) if isinstance(spread, Mapping) else (None, None)
        of = f" ({integer(finite(phases.get('count')))})"
        told = ABSENT if None in ends else f"{show(ends[0])} to {show(ends[1])}{of}"
        benchmark, universe = (measured(column, measure, show) for column in ("benchmark", "universe"))
        found.append(Beside(label, show(own.get(metric)), benchmark, universe, told))
    return found


def glance_lines(view: RunView, before: RunView | None = None) -> list[str]:
    """Return the first screen of a run as lines for a terminal; ``before`` is the profile's run before."""
    seen = glance(view)
    lines = [f"{light.name:<9} {light.word}: {light.why.rstrip('.')}" for light in seen.lights]
    if seen.figures:
        heads = ("", seen.headline, "benchmark", "all coins", "single phases")
        rows = [heads, *seen.figures]
        widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
        lines.append("")
        for row in rows:
            cells = (cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in
                     enumerate(zip(row, widths, strict=True)))  # fmt: skip
            lines.append("  ".join(cells).rstrip())
    held = ", ".join(f"{coin} {percent(weight)}" for coin, weight in seen.held)
    lines += ["", f"holds {held or 'nothing'}", *changed(view, before)]
    return lines


def changed(view: RunView, before: RunView | None) -> list[str]:
    """Say what the headline's book holds that it did not hold in the run before, and the other way round."""
    if before is None:
        return ["no earlier run of this profile"]
    name = headline_of(view)
    books = [book.weights if (book := book_of(one, name)) else {} for one in (before, view)]
    moves = {coin: books[1].get(coin, 0.0) - books[0].get(coin, 0.0) for coin in books[0].keys() | books[1].keys()}
    traded = math.fsum(map(abs, moves.values())) / 2.0
    told = [f"since {before.run_id} (as of {before.as_of}): {percent(traded)} of NAV changed hands"]
    for word, coins in (
        ("came", books[1].keys() - books[0].keys()),
        ("went", books[0].keys() - books[1].keys()),
        ("changed most", [coin for coin in books[0].keys() & books[1].keys() if abs(moves[coin]) >= GROSS_LEAST]),
    ):
        listed = sorted(coins, key=lambda coin: (-abs(moves[coin]), coin))
        shown = ", ".join(f"{coin} {100.0 * moves[coin]:+.1f} %" for coin in listed[:HELD])
        told += (
            [f"{word}: {shown}" + (f" and {len(listed) - HELD} more" if len(listed) > HELD else "")] if coins else []
        )
    return told


def run_before(view: RunView) -> RunView | None:
    """Return the run of the same profile that was sealed last before this one, in the same home."""
    ids = Home(view.folder.parent.parent).sealed(view.name)
    earlier = ids[: ids.index(view.run_id)] if view.run_id in ids else ids
    return open_run(view.folder.parent / earlier[-1]) if earlier else None


def yardsticks(view: RunView, name: str) -> pl.DataFrame | None:
    """Return the daily returns of benchmark and all coins on the counted days of a book; None where nobody has them."""
    table = table_of(measured_by(view.run), layout.WALK_YARDSTICKS, YARDSTICKS)
    if table is None or view.returns is None:
        return None
    days = view.returns.filter(pl.col("risk_profile") == name).sort("date")["date"]
    counted = int(view.statistics.get(name, {}).get("days") or days.len())
    return table.join(days.tail(counted).to_frame(), on="date", how="semi").sort("date")


def measured_by(run: Run) -> Run:
    """Return the run that knows benchmark and all coins on these days: a portfolio has no such table of its own."""
    if run.kind != "meta" or not run.has(layout.META_SLEEVES):
        return run
    sleeves = (run.beside(sleeve.run_id) for sleeve in run[layout.META_SLEEVES].accepted)
    return next((sleeve for sleeve in sleeves if sleeve.has(layout.WALK_YARDSTICKS)), run)
