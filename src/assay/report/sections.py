"""What the templates of the reports ask of a run, and the rendering of them.

A template says what stands where; what has to be counted, ordered or judged first is counted here.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Environment
from jinja2.meta import find_referenced_templates

from assay.backtest.book import FORCED
from assay.backtest.statistics import correlation
from assay.market.kinds import REASONS
from assay.report import findings, small_book, templating, track, worth
from assay.report import glance as first_screen
from assay.report import view as views
from assay.report.findings import AuditFinding, contract_status, gate_said, violations
from assay.report.markdown import (
    ABSENT,
    Number,
    Safe,
    count,
    fill,
    finite,
    integer,
    names,
    number,
    percent,
    plain,
    ratio,
    sparkline,
)
from assay.report.small_book import Holdings, by_size, holdings
from assay.report.view import LedgerView, RunView, in_order, shared_returns, step_of
from assay.runs import artifacts as layout
from assay.runs import documents as doc
from assay.runs.artifacts import STEP_NAMES, step_title
from assay.runs.run import counted_days
from assay.runs.verify import Entry

Labelled = Sequence[tuple[str, RunView]]
"""Runs with the names that tell them apart."""

LEAST_DAYS = 20
"""Shared days without which a correlation is not printed."""


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital at its start, one full stop at its end.

    >>> sentence("no fault.")
    'No fault.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


# --- summary ----------------------------------------------------------------------------------------------------------


def holdings_sentence(book: Holdings) -> str:
    """Say in words what a risk profile holds."""
    largest = book.largest
    if largest is None:
        return f"no coin; cash is {percent(book.cash)}"
    longs = sum(weight > 0.0 for weight in book.weights.values())
    sides = [f"{side} {count(n, 'coin')}" for side, n in (("long", longs), ("short", book.coins - longs)) if n]
    return (
        f"{' and '.join(sides)}, gross {percent(book.gross)}, net {percent(book.net)}, cash {percent(book.cash)}; "
        f"the largest is {largest[0]} with {percent(largest[1])}"
    )


def span(view: RunView, metric: str, *, in_percent: bool = False) -> str:
    """Return the range of a metric over the risk profiles, with the profiles at its ends."""
    known = [(value, name) for name, metrics in view.statistics.items() if (value := metrics.get(metric)) is not None]
    if not known:
        return "unknown"
    (low, low_name), (high, high_name) = min(known), max(known)
    show = percent if in_percent else ratio
    if show(low) == show(high):
        return show(low)
    return f"{show(low)} ({low_name}) to {show(high)} ({high_name})"


def changed_settings(view: RunView) -> str:
    """Return the settings whose value does not come from the package."""
    origins = view.manifest.get("provenance")
    if not isinstance(origins, dict):
        return ""
    changed = [
        f"{key} = {plain(view.setting(f'profile.{key}'))} ({origin})"
        for key, origin in origins.items()
        if origin not in {"default", "canon.toml"}
    ]
    return "; ".join(changed) or "none"


# --- contracts and gates ----------------------------------------------------------------------------------------------

LAYERS = {
    "L0": ("L0 Foundation", "ReturnsMatrixSchema", 3),
    "L1": ("L1 Ingestion", "FeatureStoreSchema", 4),
    "L2": ("L2 Inference", "InferenceSchema", 4),
    "L3": ("L3 Synthesis", "SyntheticReturnsSchema", 6),
    "L4": ("L4 Allocation", "WeightsSchema", 10),
}
"""Layer to contract, schema and the step that checks it."""
GATE_STEPS = {"run": (3, 7, 11, 12, 13, 14), "meta": (2, 4, 7, 10)}
"""Steps that end with a gate."""


def contract_rows(view: RunView) -> list[tuple[str, list[object]]]:
    """Return layer and row of every contract check, in order of the layers; a layer without one has a row too.

    A portfolio has no candidates, and so no check of L1 and L2.
    """
    rows: list[tuple[str, list[object]]] = []
    entries = list(view.ledger.current("contract"))
    for layer, (contract, schema, step) in LAYERS.items():
        own = [entry for entry in entries if _layer(entry) == layer]
        rows += [(layer, _contract_row(contract, entry)) for entry in own]
        if not own and view.kind == "run":
            rows.append((layer, [contract, schema, not_recorded(view, step), step, *[ABSENT] * 5]))
    others = [entry for entry in entries if _layer(entry) not in LAYERS]
    return rows + [(_layer(entry), _contract_row(plain(entry.body.get("layer")), entry)) for entry in others]


def _layer(entry: Entry) -> str:
    return str(entry.body.get("layer", ""))[:2].upper()


def _contract_row(contract: str, entry: Entry) -> list[object]:
    body, columns, details = entry.body, entry.body.get("columns"), entry.body.get("details")
    of = details.get("sleeve") if isinstance(details, Mapping) else None
    return [
        f"{contract}, {of}" if of else contract,
        plain(body.get("schema")),
        contract_status(entry),
        plain(step_of(entry)),
        integer(finite(body.get("rows"))),
        integer(len(columns) if isinstance(columns, (list, tuple)) else finite(columns)),
        _checked(body.get("checked")),
        integer(violations(entry)),
        plain(body.get("action")),
    ]


def _checked(value: Any) -> str:
    """Return how much was checked: a count, or counts by name."""
    if isinstance(value, (list, tuple)):
        return integer(len(value))
    return integer(finite(value)) if finite(value) is not None else plain(value)


def not_recorded(view: RunView, step: int) -> str:
    """Return why the ledger holds no check of a step: an empty sleeve has nothing to check."""
    if view.ledger.reached < step:
        return "NOT REACHED"
    return "STOOD ASIDE" if view.stood_aside else "NOT RECORDED"


def gate_rows(view: RunView) -> list[list[object]]:
    """Return a row for every gate, and one for each step that should have had one."""
    entries = list(view.ledger.current("gate"))
    rows: list[tuple[int, list[object]]] = []
    for entry in entries:
        step = step_of(entry) or 0
        said = gate_said(view, entry)
        row = [plain(entry.body.get("gate")), step, said, _checked(entry.body.get("checked")), violations(entry)]
        rows.append((step, row))
    expected = GATE_STEPS[view.kind]
    silent = (step for step in expected if all(step_of(entry) != step for entry in entries))
    rows += [(step, [step_title(step, view.kind), step, not_recorded(view, step), ABSENT, ABSENT]) for step in silent]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def violations_of(view: RunView, kind: str, key: str) -> list[tuple[str, str]]:
    """Return violations that the ledger names, not only counts, with the contract or gate that found them."""
    return [
        (plain(entry.body.get(key)), _violation(found))
        for entry in view.ledger.current(kind)
        for found in _named(entry.body.get("violations")) or _detailed(entry.body.get("details"))
    ]


def _named(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [f"{key}: {plain(item)}" for key, item in value.items()]
    return list(value) if isinstance(value, (list, tuple)) else []


def _detailed(details: Any) -> list[Any]:
    """Return violations that stand beside their count: a list of them, or what happened by code and place."""
    if isinstance(details, Mapping) and isinstance(details.get("violations"), (list, tuple)):
        return list(details["violations"])
    return _named(details)


def _violation(value: Any) -> str:
    return "; ".join(plain(item) for item in value.values()) if isinstance(value, Mapping) else plain(value)


def failed_checks(view: RunView) -> list[Any]:
    """Return the checks of atomic validation that failed."""
    return [check for check in view.atomic.checks if not check.ok] if view.atomic else []


# --- funnel and winners -----------------------------------------------------------------------------------------------

SCAN_REASONS = (
    "invalid",
    "exchange",
    "quote",
    *REASONS,
    "only",
    "without",
    "value_traded",
    "volatility",
    "unrated",
    "history",
    "rating",
    "merged_quote",
    "limit",
)
"""Filters in the order in which a scanner applies them."""


def scan_reasons(scanners: Iterable[doc.ScannerCount]) -> list[str]:
    """Return the filters that dropped anybody, in their order."""
    seen = {reason for scanner in scanners for reason, n in scanner.dropped.items() if n}
    return [*(reason for reason in SCAN_REASONS if reason in seen), *sorted(seen - set(SCAN_REASONS))]


def lost(audit: doc.SelectionAudit, raw: doc.RawCandidates | None, stage: str, reason: str) -> list[str]:
    """Return the symbols that a stage lost for a reason, each once."""
    found = [fate.symbol for fate in audit.fates if (fate.stage, fate.reason) == (stage, reason)]
    if stage == "discovery" and raw is not None:
        found += (symbol for scanner in raw.scanners for symbol in scanner.names.get(reason, ()))
        records = [("invalid", one.scanner, one.symbol) for one in raw.invalid_records]
        records += [("merged_quote", one.scanner, one.symbol) for one in raw.merged_quotes]
        own = {scanner.scanner for scanner in raw.scanners}
        found += (symbol for why, scanner, symbol in records if why == reason and scanner in own)
    return list(dict.fromkeys(found))


def relaxed_decisions(view: RunView) -> str:
    """Say how many winners of the walk-forward came by relaxation."""
    decisions = view.decisions
    if decisions is None:
        return view.absent(layout.WALK_DECISIONS)
    if not {"winners", "relaxed"} <= set(decisions.columns):
        return f"no winners in {count(decisions.height, 'decision')}"
    winners = int(decisions["winners"].fill_null(0).sum())
    relaxed = int(decisions["relaxed"].fill_null(0).sum())
    some = decisions.filter(pl.col("relaxed") > 0).height
    share = percent(relaxed / winners) if winners else ABSENT
    return (
        f"{integer(relaxed)} of {count(winners, 'winner')} ({share}) in {count(decisions.height, 'decision')}, "
        f"{integer(some)} of which relaxed at all"
    )


def enriched_cells(known: doc.Enriched | None) -> list[str | None]:
    """Return what enrichment measured of a winner."""
    if known is None:
        return [ABSENT] * 6
    margin = ABSENT if known.margin_allowed is None else ("allowed" if known.margin_allowed else "refused")
    measured = [ratio(known.beta), ratio(known.correlation), ratio(known.liquidity)]
    return [*measured, integer(known.median_value_traded), known.facts, margin]


# --- allocation -------------------------------------------------------------------------------------------------------

REGIME_WORDS: Mapping[str, tuple[str, Callable[[Number], str]]] = {
    "v": ("volatility of 20 days", percent),
    "p": ("its percentile", ratio),
    "d": ("fall from the high of 60 days", percent),
    "n": ("volatilities ranked", integer),
}
"""Key of an input to its words and its form."""


def regime_inputs(inputs: Mapping[str, float | None]) -> str:
    """Return what the regime was read from, in words."""
    keys = [*(key for key in REGIME_WORDS if key in inputs), *(key for key in inputs if key not in REGIME_WORDS)]
    told = ((REGIME_WORDS.get(key, (key, number)), inputs[key]) for key in keys)
    return ", ".join(f"{words} {show(value)}" for (words, show), value in told)


def worst_first(losers: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return loss makers with their means, the worst first."""
    return sorted(losers.items(), key=lambda pair: (pair[1], pair[0]))


def optimizer_events(optimized: doc.Optimized) -> list[doc.Event]:
    """Return the events of all risk profiles, equal ones once."""
    events = [event for profile in optimized.profiles.values() for event in profile.events]
    return list({event.model_dump_json(): event for event in events}.values())


def holdings_cells(book: Holdings | None) -> list[object]:
    """Return coins held, gross, net, cash and the largest coin."""
    if book is None:
        return [ABSENT] * 6
    symbol, weight = book.largest or (None, None)
    return [integer(book.coins), percent(book.gross), percent(book.net), percent(book.cash), symbol, percent(weight, 2)]


def weight_cell(weight: float | None) -> str:
    """Return a net weight; nothing held is absent."""
    return percent(weight, 2) if weight else ABSENT


def netted_coins(view: RunView) -> list[tuple[str, doc.FlattenedAsset]]:
    """Return risk profile and asset of coins that more than one atom holds."""
    return [
        (name, asset)
        for name in view.risk_profiles
        if (profile := view.holding(name)) is not None
        for asset in profile.assets
        if asset.Gross_Weight and sum(atom.Weight != 0.0 for atom in asset.Atoms) > 1
    ]


# --- performance and preservation -------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A metric in a table."""

    metric: str
    header: str
    show: Callable[[Number], str]


RESULT = (
    Column("days", "days", integer),
    Column("cagr", "CAGR", percent),
    Column("volatility", "volatility", percent),
    Column("sharpe", "Sharpe", ratio),
    Column("sharpe_low", "95 % from", ratio),
    Column("sharpe_high", "to", ratio),
    Column("psr", "PSR", ratio),
    Column("dsr", "DSR", ratio),
    Column("sortino", "Sortino", ratio),
    Column("calmar", "Calmar", ratio),
    Column("max_drawdown", "max drawdown", percent),
    Column("cvar_95", "CVaR 95", percent),
)
TRADING = (
    Column("beta", "beta", ratio),
    Column("correlation", "correlation", ratio),
    Column("average_gross", "average gross", percent),
    Column("turnover", "turnover a year", ratio),
    Column("cost", "cost a year", percent),
    Column("borrow", "borrow a year", percent),
    Column("hit_rate", "hit rate", percent),
    Column("final_wealth", "final wealth", ratio),
)


def columns_of(*metrics: str) -> tuple[Column, ...]:
    """Return some of those columns in another order."""
    known = {column.metric: column for column in (*RESULT, *TRADING)}
    return tuple(known[metric] for metric in metrics)


BY_LABEL = columns_of("days", "final_wealth", "volatility", "sharpe", "max_drawdown", "beta")
SURVIVORS = columns_of("cagr", "final_wealth", "max_drawdown")


def known_columns(view: RunView, columns: Iterable[Column]) -> list[Column]:
    """Return the columns of which any risk profile has the metric."""
    return [column for column in columns if any(column.metric in metrics for metrics in view.statistics.values())]


def metric_cells(metrics: Mapping[str, float | None] | None, columns: Sequence[Column]) -> list[str]:
    """Return the metrics of a risk profile."""
    return [ABSENT if metrics is None else column.show(metrics.get(column.metric)) for column in columns]


def dates(frame: pl.DataFrame | None) -> Safe:
    """Return the first and the last day of a table, as the end of a phrase."""
    days = None if frame is None else counted_days(frame)["date"].drop_nulls()
    if days is None or days.is_empty():
        return Safe("")
    return fill(", {first} to {last}", first=str(days.min())[:10], last=str(days.max())[:10])


def trials(view: RunView) -> str:
    """Say how many trials the deflated Sharpe ratios allow for, and of what they were counted."""
    told = view.trials
    n = finite(told.get("trials"))
    if n is None:
        return "unknown"
    spread = ratio(finite(told.get("spread")))
    sets = f"{count(int(n), 'set')} of settings when this run began to look, its own among them"
    others = f"{plain(told.get('headline'))} is deflated by {integer(n)}, the others by {integer(5 * n)}"
    first = f"the registry began at {plain(told.get('first_time'))} with {plain(told.get('first'))}"
    return f"{sets}; {others}; variance of the others' annual Sharpe ratios on shared days {spread}; {first}"


def overfitting(view: RunView) -> float | None:
    """Return the probability that the best risk profile is best by luck."""
    return next((value for found in view.statistics.values() if (value := found.get("pbo")) is not None), None)


def decisions(view: RunView) -> str:
    """Say how many decisions were taken, what they held and why some stayed in cash."""
    taken = view.decisions
    if taken is None:
        return view.absent(layout.WALK_DECISIONS)
    if taken.is_empty():
        return "none"
    held = [int(n) for n in taken["held"].fill_null(0)]
    text = f"{integer(taken.height)}; coins held {min(held)} to {max(held)}, mean {ratio(sum(held) / len(held), 1)}"
    if "loss_makers" in taken.columns:
        losers = [int(n) for n in taken["loss_makers"].fill_null(0)]
        text += f"; loss makers mean {ratio(sum(losers) / len(losers), 1)}"
    reasons = Counter(taken["reason"].drop_nulls()) if "reason" in taken.columns else Counter()
    aside = ", ".join(f"{reason} {integer(n)}" for reason, n in sorted(reasons.items()))
    text += f"; in cash for a reason: {aside}" if aside else ""
    return f"{text}; contracts dropped {_dropped(taken)}" if "dropped" in taken.columns else text


def _dropped(taken: pl.DataFrame) -> str:
    """Say what contracts dropped from decisions: in how many of them, and each coin or atom with its count."""
    told = taken["dropped"].drop_nulls()
    counted = Counter(name for dropped in told for name in dropped.split("; "))
    each = names([f"{name} ({integer(n)})" for name, n in sorted(counted.items())])
    return f"from {count(told.len(), 'decision')}: {each}" if counted else "nothing"


def forced_exits(view: RunView) -> list[list[object]]:
    """Return the trades that nobody decided: date, risk profile, coin, quantity, price and cause."""
    if view.trades is None:
        return []
    told = "cause" if "cause" in view.trades.columns else "reason"
    columns = ["date", "risk_profile", "symbol", told, "quantity", "price"]
    if not set(columns) <= set(view.trades.columns):
        return []
    rows = view.trades.filter(pl.col(told).is_in(list(FORCED))).sort("date", "symbol", "risk_profile")
    return [
        [str(date), name, symbol, number(quantity), number(price), FORCED[cause]]
        for date, name, symbol, cause, quantity, price in rows.select(columns).iter_rows()
    ]


def spread_rows(view: RunView) -> list[list[str]]:
    """Return what each risk profile came to beside what its phases did: median and range, and how many were ruined."""
    shown = {"sharpe": ratio, "cagr": percent, "final_wealth": ratio, "max_drawdown": percent}
    rows = []
    for name in view.risk_profiles:
        told = view.phases.get(name) or {}
        ruined, n = finite(told.get("ruined")), finite(told.get("count"))
        cells = []
        for metric, show in shown.items():
            one = told.get(metric)
            known = (
                [finite(one.get(key)) for key in ("median", "low", "high")] if isinstance(one, Mapping) else [None] * 3
            )
            median, low, high = (show(value) for value in known)
            cells += [show((view.statistics.get(name) or {}).get(metric)), f"{median} ({low} to {high})"]
        if n is not None and n > 1.0:
            rows.append([name, *cells, f"{integer(ruined)} of {integer(n)}"])
    return rows


SURVIVAL = {"honest": "all, as run", "survivors": "survivors alone", "error": "difference"}
"""Parts of the table of survivorship, in words and in their order."""


def survival(view: RunView) -> dict[str, dict[str, Mapping[str, float | None]]]:
    """Return the comparison of survivorship under names that people read, the difference last."""
    return {
        name: {told: parts[key] for key, told in SURVIVAL.items() if key in parts}
        for name, parts in view.survivorship.items()
    }


def nav_rows(view: RunView) -> list[list[str]]:
    """Return a line of bars for each risk profile's NAV, guard on and off."""
    states = (("on" if view.guarded else "off (profile)", view.returns), ("off, one phase", view.unguarded_returns))
    found = [(name, state, series(frame, name)) for name in view.risk_profiles for state, frame in states]
    return [
        [name, state, sparkline(nav), *(ratio(value, 4) for value in (nav[0], min(nav), max(nav), nav[-1]))]
        for name, state, nav in found
        if nav
    ]


def series(frame: pl.DataFrame | None, name: str) -> list[float]:
    """Return the NAV of a risk profile in order of days, without what is not a number."""
    if frame is None:
        return []
    own = frame.filter(pl.col("risk_profile") == name).sort("date")
    return [value for raw in own["nav"].to_list() if (value := finite(raw)) is not None]


def preserved_books(document: doc.CapitalPreservation) -> list[tuple[str, str, doc.Preserved]]:
    """Return risk profile, state of the guard and what was preserved, as run and with the guard off."""
    state = "on" if document.guard_enabled else "off (profile)"
    return [
        (name, label, book)
        for name in in_order(document.profiles)
        for label, book in ((state, document.profiles[name].as_run), ("off", document.profiles[name].guard_off))
    ]


# --- recommendations and ledger ---------------------------------------------------------------------------------------


def advised(found: Iterable[AuditFinding]) -> dict[tuple[str, str], list[str]]:
    """Return what was found by code and recommendation, the gravest first."""
    merged: dict[tuple[str, str], list[str]] = {}
    for one in found:
        if one.advice:
            merged.setdefault((one.code, one.advice), []).append(one.what.rstrip("."))
    return merged


def steps_of(ledger: LedgerView) -> list[tuple[int, str]]:
    """Return number and name of every step that a run has, or that its ledger speaks of."""
    named = dict(enumerate(STEP_NAMES["run"], start=1))
    return [(step, named.get(step, "")) for step in sorted({*named, *ledger.outcomes})]


# --- several runs -----------------------------------------------------------------------------------------------------


def incomparable(runs: Labelled) -> Iterator[str]:
    """Name what makes the runs hard to compare: other dates, other bars."""
    sources = [(view.manifest.get("source"), view.lake_heads) for _, view in runs]
    for what, values in (("as-of date", [view.as_of for _, view in runs]), ("source and lake head", sources)):
        if len(set(map(str, values))) > 1:
            yield what


def joint_contract_rows(runs: Labelled) -> list[tuple[str, list[object]]]:
    """Return label and row of every contract check, layer by layer."""
    found = [
        (layer, number, label, row) for number, (label, view) in enumerate(runs) for layer, row in contract_rows(view)
    ]
    return [(label, row) for _, _, label, row in sorted(found, key=lambda item: item[:2])]


def risk_profiles(runs: Labelled) -> list[str]:
    """Risk profiles that any run has weights for, the canon's order first."""
    return in_order(name for _, view in runs if view.flattened for name in view.flattened.profiles)


def side_by_side(runs: Labelled, name: str) -> list[list[object]]:
    """Return the net weights of one risk profile in every run, and together; nothing where no run holds a coin."""
    books = [holdings(view, name) for _, view in runs]
    coins = by_size(book.weights for book in books if book is not None)
    if not coins:
        return []
    rows: list[list[object]] = []
    for symbol in coins:
        sides = [book.weights.get(symbol, 0.0) if book else 0.0 for book in books]
        rows.append([symbol, *map(weight_cell, sides), percent(math.fsum(sides) / len(books), 2)])
    for label in ("gross", "net", "cash"):
        values = [getattr(book, label) if book else None for book in books]
        known = [value for value in values if value is not None]
        mean = math.fsum(known) / len(books) if len(known) == len(books) else None
        rows.append([Safe(f"**{label}**"), *(percent(value, 2) for value in values), percent(mean, 2)])
    return rows


def netted_exposure(runs: Labelled, name: str) -> list[str]:
    """Return the exposure of one risk profile over all sleeves, each with an equal share of the capital."""
    sides: dict[str, list[float]] = {}
    for _, view in runs:
        book = holdings(view, name)
        for symbol, weight in book.weights.items() if book else ():
            sides.setdefault(symbol, []).append(weight / len(runs))
    gross = math.fsum(abs(weight) for weights in sides.values() for weight in weights)
    totals = [math.fsum(weights) for weights in sides.values()]
    after = math.fsum(abs(total) for total in totals)
    both = sum(min(weights) < 0.0 < max(weights) for weights in sides.values())
    shares = (gross, gross - after, after, math.fsum(totals))
    return [*(percent(share, 2) for share in shares), integer(len(sides)), integer(both)]


def correlated(runs: Labelled) -> list[tuple[str, str, str, int, float | None]]:
    """Return risk profile, two labels, their shared days and the correlation on them, for every pair of runs."""
    found = []
    for (one, first), (other, second) in combinations(runs, 2):
        for name in in_order([*first.risk_profiles, *second.risk_profiles]):
            shared = shared_returns(first.returns, second.returns, name)
            measured = correlation(shared["ret"], shared["ret_other"]) if shared.height >= LEAST_DAYS else None
            found.append((name, one, other, shared.height, measured))
    return found


# --- rendering --------------------------------------------------------------------------------------------------------

KNOWN = (layout, views, small_book, findings, worth, first_screen, track, sys.modules[__name__])
"""Modules whose own public functions and constants templates know by their names."""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = templating.markdown_environment()
    made.filters["weight"] = weight_cell
    for module in KNOWN:
        own = (pair for pair in vars(module).items() if getattr(pair[1], "__module__", "") == module.__name__)
        made.globals |= {name: value for name, value in vars(module).items() if name.isupper()} | dict(own)
    return made


def load() -> None:
    """Compile the templates of a run's report, which takes longer than to write the report."""
    made, source = _environment(), templating.asset("audit_report.md.j2")
    for name in ("audit_report.md.j2", *find_referenced_templates(made.parse(source))):
        made.get_template(str(name))


def render(template: str, **values: object) -> str:
    """Return a report as Markdown; everything in it that is not the template's own text is escaped."""
    return templating.tidy(_environment().get_template(template).render(values))
