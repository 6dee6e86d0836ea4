"""What an auditor asks of several runs side by side: are they complete and sound, and which may enter a portfolio.

Each function answers one question for the template of the joint report; nothing here is written by hand for a run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from assay.backtest.statistics import deflated, trial_variance
from assay.base import files
from assay.base.constants import Floats
from assay.base.errors import AssayError, RunFailed
from assay.report.findings import verdict
from assay.report.glance import headline_of
from assay.report.markdown import ABSENT, count, finite, integer, names, percent, ratio
from assay.report.sections import Labelled
from assay.report.small_book import holdings
from assay.report.view import RunView, in_order
from assay.runs import artifacts as layout
from assay.runs import documents as doc
from assay.settings.model import DRAWDOWN_LIMIT, MetaProfile

LEAST_GROSS = float(MetaProfile.model_fields["min_gross"].default)
READ_DAYS = int(MetaProfile.model_fields["train"].default)
"""What a portfolio asks of a sleeve unless its settings say otherwise, and the days over which."""


# --- conclusion -------------------------------------------------------------------------------------------------------


def barred(view: RunView) -> list[str]:
    """Return why a run is not ready for a portfolio, the gravest first; nothing where it is."""
    judged = verdict(view)
    if judged.word != "VALID":
        return [f"{judged.word}: {judged.why}"]
    reasons = [] if view.ledger.last("seal") else ["it is not sealed"]
    try:
        view.run.check_format()
    except RunFailed as error:
        reasons.append(error.what)
    ruined, name = view.books.ruined if view.books else [], headline_of(view)
    if name in ruined and view.books:
        reasons.append(f"RUIN: {name} {view.books.ruin[name].told}")
    gross = invested(view, name)
    if len(gross) < READ_DAYS:
        reasons.append(f"{count(len(gross), 'day')} of walk-forward; a portfolio reads {READ_DAYS}")
    elif np.mean(gross) < LEAST_GROSS:
        mean = percent(float(np.mean(gross)))
        reasons.append(f"in cash: its mean gross over {READ_DAYS} days is {mean}, below {percent(LEAST_GROSS)}")
    return reasons


def invested(view: RunView, name: str) -> Sequence[float]:
    """Return the gross of one risk profile's book at the last closes that a portfolio would read."""
    table = view.run.get(layout.WALK_RETURNS)
    if table is None or not {"gross", "risk_profile", "date"} <= set(table.columns):
        return []
    return list(table.filter(pl.col("risk_profile") == name).sort("date")["gross"].tail(READ_DAYS))


def left_out(view: RunView) -> list[str]:
    """Return the other risk profiles in which a portfolio would leave a run out."""
    ruined = view.books.ruined if view.books else []
    told = []
    for name in view.risk_profiles:
        gross = invested(view, name)
        if name == headline_of(view):
            continue
        if name in ruined:
            told.append(f"{name} (ruined)")
        elif len(gross) and np.mean(gross) < LEAST_GROSS:
            told.append(f"{name} (in cash)")
    return told


def ready(runs: Labelled) -> list[str]:
    """Return the labels of the runs that are ready for a portfolio."""
    return [label for label, view in runs if not barred(view)]


# --- superset and funnel ----------------------------------------------------------------------------------------------


class SupersetFacts(NamedTuple):
    """One superset that some of the runs read."""

    path: str
    labels: list[str]
    found: doc.Superset | None
    fault: str


def supersets(runs: Labelled) -> list[SupersetFacts]:
    """Return each superset that the runs pinned, read anew where it still is what they pinned."""
    pinned: dict[tuple[str, str, str], list[str]] = {}
    for label, view in runs:
        path, told = view.setting("superset.path"), view.setting("superset.sha256")
        if path and told:
            pinned.setdefault((str(view.run.runs.parent), str(path), str(told)), []).append(label)
    return [SupersetFacts(key[1], labels, *_superset(*key)) for key, labels in pinned.items()]


def _superset(home: str, path: str, told: str) -> tuple[doc.Superset | None, str]:
    place = Path(home) / path
    try:
        data = files.read(place, files.LARGEST_JSON)
        if files.sha256(data) != told:
            return None, "it is not what the runs pinned"
        return doc.validated(doc.Superset, files.parse_json(data, place), place), ""
    except AssayError as error:
        return None, error.what


def funnel_rows(runs: Labelled) -> list[list[str]]:
    """Return a row for each stage with a column for each run: how many were left, and the share of the stage before."""
    views = [view for _, view in runs]
    rows = [["listed on the day", *(_at(view, 0, "n_in") for view in views)]]
    for place, words in enumerate(("found by its scanners", "after normalization", "one for each coin", "selected")):
        rows.append([words, *(_stage(view, place) for view in views)])
    rows.append(["retained of all listed", *(_retained(view) for view in views)])
    rows.append(["wanted", *(integer(view.wanted) for view in views)])
    rows.append(["by relaxation", *(integer(view.selection.relaxed if view.selection else None) for view in views)])
    for place, words in ((0, "most lost in discovery to"), (3, "most lost in selection to")):
        rows.append([words, *(_most(view, place) for view in views)])
    held = [holdings(view, headline_of(view)) for view in views]
    return [*rows, ["coins held, headline", *(integer(book.coins) if book else ABSENT for book in held)]]


def _stages(view: RunView) -> list[doc.Stage]:
    return view.selection.stages if view.selection else []


def _at(view: RunView, place: int, field: str) -> str:
    stages = _stages(view)
    return integer(getattr(stages[place], field)) if place < len(stages) else ABSENT


def _stage(view: RunView, place: int) -> str:
    stages = _stages(view)
    if place >= len(stages):
        return ABSENT
    one = stages[place]
    reached = one.n_in + one.expanded
    return f"{integer(one.n_out)} ({percent(one.n_out / reached if reached else None)})"


def _retained(view: RunView) -> str:
    stages = _stages(view)
    return percent(stages[-1].n_out / stages[0].n_in) if stages and stages[0].n_in else ABSENT


def _most(view: RunView, place: int) -> str:
    stages = _stages(view)
    lost = Counter(stages[place].dropped_by).most_common(2) if place < len(stages) else []
    return ", ".join(f"{reason} {integer(n)}" for reason, n in lost if n) or ABSENT


# --- what was made, and checked ---------------------------------------------------------------------------------------


def complete_row(view: RunView) -> list[str]:
    """Return how many of a run's artifacts are there, which are missing, and both sign tests in words."""
    wanted = [*layout.evidence(view.kind), layout.VALIDATION]
    missing = [path for path in wanted if not view.run.has(path)]
    told = f"{integer(len(wanted) - len(missing))} of {integer(len(wanted))}"
    return [told, names(missing) or "none", _signs(view.sign_pre), _signs(view.sign_post)]


def _signs(test: doc.SignTest | None) -> str:
    if test is None:
        return "not reached"
    compared = f"{count(test.longs, 'long')}, {count(test.shorts, 'short')}, {integer(test.values_compared)} values"
    return f"PASS: {compared}" if test.ok else f"FAIL: {count(len(test.violations), 'violation')} in {compared}"


# --- data -------------------------------------------------------------------------------------------------------------

STATUSES = ("OK", "GAPS", "STALE", "MISSING", "TOXIC", "DELISTED")


def quality_row(view: RunView) -> list[str]:
    """Return how many symbols were audited, each status, missing symbols, dropped columns and invalid records."""
    health = view.health
    if health is None:
        return [ABSENT] * (len(STATUSES) + 4)
    counted = Counter(str(one.status) for one in health.symbols)
    invalid = len(view.raw.invalid_records) if view.raw else None
    found = (len(health.symbols), *(counted[status] for status in STATUSES), len(health.missing), len(health.dropped))
    return [*map(integer, found), integer(invalid)]


def missing_symbols(runs: Labelled) -> list[list[str]]:
    """Return every candidate without bars or ratings, or left out of the returns, with cause and who says so."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for label, view in runs:
        for drop in (*view.health.missing, *view.health.dropped) if view.health else ():
            told.setdefault((drop.name, drop.reason, drop.detail), []).append(label)
    return [[*key, names(labels)] for key, labels in sorted(told.items())]


# --- inverted candidates ----------------------------------------------------------------------------------------------

INVERTED = ("vetoed", "not chosen", "loss makers at zero", "without weight", "held")


def inverted_row(view: RunView) -> list[str]:
    """Return how many candidates were turned to the other side, and what became of them."""
    turned = {one.atom.id for one in view.raw.candidates if one.inverted} if view.raw else set()
    fates = view.selection.fates if view.selection else []
    ended = Counter(_ended(view, fate) for fate in fates if fate.atom.id in turned)
    return [integer(len(turned)), *(integer(ended[word]) for word in INVERTED)]


def inverted(runs: Labelled) -> bool:
    """Whether any run read a candidate that a scanner had found on the other side."""
    return any(one.inverted for _, view in runs if view.raw for one in view.raw.candidates)


def _ended(view: RunView, fate: doc.Fate) -> str:
    if fate.reason != "winner":
        return "vetoed" if fate.reason.startswith("VETO_") else "not chosen"
    if view.guarded and view.risk is not None and fate.atom.id in view.risk.loss_makers:
        return "loss makers at zero"
    books = view.flattened.profiles.values() if view.flattened else ()
    held = {part.Atom for book in books for coin in book.assets for part in coin.Atoms if part.Weight > 0.0}
    return "held" if fate.atom.id in held else "without weight"


# --- performance ------------------------------------------------------------------------------------------------------


def drawdown_rows(runs: Labelled) -> Iterator[list[str]]:
    """Yield label, risk profile, deepest fall, the benchmark's beside it, the limit and whether it was kept."""
    for label, view in runs:
        told = finite(view.setting("profile.drawdown_limit"))
        limit, market = DRAWDOWN_LIMIT if told is None else told, view.benchmark_drawdown
        for name, metrics in view.statistics.items():
            fall = metrics.get("max_drawdown")
            word = ABSENT if fall is None else "BEYOND" if fall < limit else "within"
            yield [label, name, percent(fall), percent(market), percent(limit), word]


class Together(NamedTuple):
    """One series among those that are shown side by side."""

    label: str
    risk_profile: str
    sharpe: float | None
    own: float | None
    """Deflated Sharpe ratio, by what the home had tried."""
    together: float | None
    """The same, by what is shown together."""


def shown_together(runs: Labelled) -> list[Together]:
    """Deflate every series by the number of those that are shown side by side: the best of them was looked for here."""
    series = {(label, name): (view, _series(view, name)) for label, view in runs for name in in_order(view.statistics)}
    sharpes = {key: view.statistics[key[1]].get("sharpe") for key, (view, _) in series.items()}
    found = []
    for key, (view, returns) in series.items():
        others = [value for other, value in sharpes.items() if other != key and value is not None]
        made = None
        if len(returns) > 1:
            spread = float(np.var(others, ddof=1)) if len(others) > 1 else None
            variance = trial_variance(len(returns), len(others), spread)
            made = deflated({key[1]: returns}, len(series), variance)[key[1]]["dsr"]
        found.append(Together(*key, sharpes[key], view.statistics[key[1]].get("dsr"), made))
    return found


def _series(view: RunView, name: str) -> Floats:
    """Return the daily returns that a run's statistics are of: the last days of its table."""
    days = finite(view.statistics[name].get("days")) or 0.0
    if view.returns is None or days < 1 or not math.isfinite(days):
        return np.empty(0)
    own = view.returns.filter(pl.col("risk_profile") == name).sort("date")["ret"].tail(int(days))
    return own.fill_null(0.0).to_numpy().astype(np.float64)


def together_rows(runs: Labelled) -> list[list[str]]:
    """Return label, risk profile, Sharpe ratio and both deflated ones, the best first."""
    rows = sorted(shown_together(runs), key=lambda one: -(one.sharpe if one.sharpe is not None else -math.inf))
    return [[one.label, one.risk_profile, ratio(one.sharpe), ratio(one.own), ratio(one.together)] for one in rows]
