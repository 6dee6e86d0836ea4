"""What a reader must know, found by rules: a code, its numbers and, where one follows, a recommendation.

Nothing here is written by hand for a run, and a rule that finds nothing says nothing. Findings and events that steps
wrote under codes of their own are passed on; :data:`ADVICE` holds what follows from those that this room knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import polars as pl

from assay.backtest.book import FORCED
from assay.base.constants import TOLERANCE
from assay.report.markdown import count, finite, integer, names, percent, plain, ratio
from assay.report.small_book import SMALL, all_holdings, caps_take, causes, small_books
from assay.report.view import RunView
from assay.report.worth import losses
from assay.risk import solve as events
from assay.runs.artifacts import RUIN
from assay.runs.documents import BookRuin
from assay.runs.home import behind, weakened_by
from assay.runs.run import STAND_ASIDE
from assay.runs.verify import Entry
from assay.settings.model import DRAWDOWN_LIMIT

EVIDENCE_DAYS = 252
"""A walk-forward of fewer days is a demonstration, not evidence: a decision itself is trained on so many."""

CONFIDENCE = 0.95
"""Level at which a deflated Sharpe ratio counts."""

MERGED = "MERGED"
"""Reason of a pair that gave way to another quote: it is not missing."""

RELAXED_SHARE = 0.25
"""From one winner in four on, relaxation fills the portfolio rather than rounds it off."""

LARGEST_COIN = 0.25
"""Share of the account from which one coin decides what becomes of a book."""

BETA_GROSS = 0.3
"""Average gross from which a beta says something about the side of the book."""


PASSED_ACTIONS = frozenset({"", "pass", "passed", "ok", "none"})


class AuditFinding(NamedTuple):
    """One thing that a reader must know."""

    severity: int
    """Order of importance: 90 and more is about validity, 60 about evidence, 40 about the book, 20 about the data."""
    code: str
    what: str
    advice: str = ""
    """What to do; empty where nothing follows."""


ADVICE: dict[str, str] = {
    events.CAP_RELAXED: "read the weights as those of a small pool; a longer list of candidates lowers the caps again",
    events.NO_POSITIVE_EXPECTED_RETURN: "expect max_sharpe to stay so until a capped portfolio has a positive mean",
    events.CONDITION_NUMBER_HIGH: "prefer hrp and equal_weight here: they do not invert the covariance",
    events.ZERO_VARIANCE: "look at the bars of the flat atom before trading it",
    events.REGIME_UNKNOWN: "load a longer history of the benchmark: without it the regime is taken as NORMAL",
    "INSTRUMENTS_UNKNOWN": "load the exchange's filters before orders: without them there can be none",
    "QUARANTINED": "look at the lake's quarantine table and mend the source",
    "TOXIC": "mend the bars of these symbols at the source; until then they are vetoed",
    "DELISTED": "do not expect to trade these symbols: they have left the exchange",
    "STALE": "ingest again: a symbol without its last bar is vetoed",
    "GAPS": "repair the missing days by ingesting again, or accept them: nothing is filled",
    "SCAN_FALLBACK": "compare with a later scan: the candidates are those of our own ratings, not the screener's",
    "QUOTE_VOLUME_ESTIMATED": "prefer a source with quote volume: scanners and liquidity read value traded",
}
"""Recommendation for codes that other rooms write."""


VERIFY = "find what changed with: assay verify"
REFUSED = "do not trade this run"
KNOWN: dict[str, tuple[int, str]] = {
    "LEDGER": (98, "find the first wrong line with: assay verify"),
    "INTEGRITY": (97, VERIFY),
    "GATE": (95, REFUSED),
    "RUIN": (
        85,
        "do not allocate to a ruined book; portfolios and orders leave it out unless it is accepted by name",
    ),
    "RUIN_IN_PHASES": (68, "size the sleeve for the worst of its phases, not for the one that was shown"),
    "MOSTLY_CASH": (54, "judge the sleeve by the days on which it held something; widen the scan if they are too few"),
    "DRAWDOWN": (64, "hold so little that this fall can be borne, or do not hold it"),
    "WALK_CONCENTRATION": (46, "read the figures as those of a few coins; lower caps.atom, or widen the scan"),
    "SHARPE_INTERVAL": (59, "conclude nothing about the sign of these Sharpe ratios"),
    "OVERFITTING": (57, "do not choose a risk profile by its past figures here"),
    "FORCED_EXITS": (38, "look up each in the table of trades that nobody decided"),
    "WEAKENED": (80, "leave these settings out, or read every figure as that of other rules"),
    "LOSS_MAKER_HELD": (75, REFUSED),
    STAND_ASIDE: (70, "choose another date, or a wider scan"),
    "ALL_CASH": (70, ""),
    "CONCENTRATION": (66, "size the sleeve as the few coins that it is, or widen the scan"),
    "BETA_SIGN": (65, "do not use this sleeve as a hedge or as exposure; look at its walk-forward decisions first"),
    "SHORT_EVIDENCE": (60, "run on longer bars, with an earlier walk_forward.start, before anything is concluded"),
    "UNPROVEN_SHARPE": (58, "treat the Sharpe ratios as luck until more days or fewer trials say otherwise"),
    "GROSS_ABOVE_GUARD_OFF": (57, "compare the books of these rebalances before relying on the guard"),
    "WALK_FORWARD_LOSS": (56, "do not allocate to these risk profiles on this evidence"),
    "LOSES_TO_BASELINE": (57, "hold the plain book, or nothing, unless something else speaks for this sleeve"),
    "GUARD_OFF": (55, "switch the guard on with: --set guard.enabled=true"),
    "SMALL_BOOK": (
        50,
        "read the book without the guard beside it in the optimization section before sizing the sleeve",
    ),
    events.CAPS_BIND: (52, "size the sleeve as what is left, or widen the scan: more clusters hold more within caps"),
    "INVERTED": (49, "use --set pool=own, unless this is what is tested"),
    "RELAXATION": (48, "lower selection.wanted, or widen the scan: these winners did not pass the quality vetoes"),
    events.SOLVER_FALLBACK: (42, "compare its residual in the solver table before trading it"),
    "INVALID_RECORDS": (32, "mend or remove these records at the provider, then ingest again"),
    "MISSING_SYMBOLS": (24, "load their bars, or accept that they cannot be held"),
}
"""Severity and recommendation for codes of this room."""


INVERTED = ("dropped before", "vetoed", "not chosen", "loss makers at zero", "held", "winners without weight")
"""How a turned candidate may end."""


class RunVerdict(NamedTuple):
    """One word and its reason."""

    word: Literal["VALID", "FAILED", "INCOMPLETE"]
    why: str
    behind: str = ""
    """What stands behind VALID: ruined books, and rules that are weaker than the canon's."""

    @property
    def said(self) -> str:
        """The word, and what stands behind it."""
        return self.word + self.behind


def verdict(view: RunView) -> RunVerdict:
    """Return VALID only if atomic validation passed and nothing before it failed."""
    failure = view.ledger.failure
    if failure is not None and failure.error is not None:
        return RunVerdict("FAILED", f"{view.ledger.ending}: {error_text(failure.error)}")
    refused = [entry for entry in view.ledger.current("gate") if gate_said(view, entry) == "REFUSED"]
    if refused:
        return RunVerdict("FAILED", f"the gate {plain(refused[0].body.get('gate'))} refused the run")
    broken = [entry for entry in view.ledger.current("contract") if contract_status(entry) == "FAIL"]
    if broken:
        return RunVerdict("FAILED", f"the contract {plain(broken[0].body.get('schema'))} is broken")
    if view.atomic is not None and not view.atomic.ok:
        return RunVerdict("FAILED", f"{'meta' if view.kind == 'meta' else 'atomic'} validation refused the run")
    if view.ledger.fault is not None:
        return RunVerdict("INCOMPLETE", view.ledger.fault)
    finished = view.ledger.outcomes.get(view.validates)
    if view.atomic is None or finished is None or not finished.finished:
        return RunVerdict("INCOMPLETE", view.ledger.ending)
    contracts = count(len(list(view.ledger.current("contract"))), "contract check")
    gates = count(len(list(view.ledger.current("gate"))), "gate")
    checks = count(len(view.atomic.checks), "meta check" if view.kind == "meta" else "atomic check")
    aside = "the sleeve stood aside and is empty; " if view.stood_aside else ""
    why = f"{aside}no fatal fault in {contracts}, {gates} and {checks}"
    return RunVerdict("VALID", why, behind(view.ruin, weakened_by(view.manifest), most=None))


def error_text(error: Any) -> str:
    """Return an error of the ledger as a sentence: what, where, what to do next."""
    where = f" [{error['where']}]" if error.get("where") else ""
    hint = f"; {error['hint']}" if error.get("hint") else ""
    return f"{plain(error.get('what') or error.get('code'))}{where}{hint}"


def gate_said(view: RunView, entry: Entry) -> Literal["ok", "REFUSED", "RUIN"]:
    """Return what a gate said; one that checked nothing refused the run, unless the sleeve is empty."""
    if entry.body.get("checked") == 0 and not view.stood_aside:
        return "REFUSED"
    if entry.body.get("ok") is True:
        return "ok"
    return "RUIN" if entry.body.get("gate") == RUIN else "REFUSED"


def contract_status(entry: Entry) -> Literal["PASS", "FILTERED", "FAIL"]:
    """Return a contract's status; one that checked nothing has failed."""
    action = str(entry.body.get("action") or "").lower()
    if "fatal" in action or "stop" in action or "fail" in action or entry.body.get("checked") == 0:
        return "FAIL"
    return "PASS" if action in PASSED_ACTIONS and not violations(entry) else "FILTERED"


def violations(entry: Entry) -> int:
    """Return how many violations an entry counts, whether it lists them or counts them."""
    found = entry.body.get("violations")
    if isinstance(found, dict):
        return sum(value for value in found.values() if isinstance(value, int))
    if isinstance(found, (list, tuple)):
        return len(found)
    return found if isinstance(found, int) else 0


def findings(view: RunView) -> list[AuditFinding]:
    """Return all findings, the gravest first; equals keep the order of the rules."""
    return sorted((found for rule in RULES for found in rule(view)), key=lambda found: -found.severity)


def _known(code: str, what: str) -> AuditFinding:
    severity, advice = KNOWN[code]
    return AuditFinding(severity, code, what, advice)


def _failure(view: RunView) -> Iterator[AuditFinding]:
    failure = view.ledger.failure
    if failure is not None and failure.error is not None:
        error = failure.error
        advice = str(error.get("hint") or "mend the cause that it names, then resume the run")
        yield AuditFinding(100, plain(error.get("code")), f"{view.ledger.ending}: {error_text(error)}", advice)


def _ledger(view: RunView) -> Iterator[AuditFinding]:
    if view.ledger.fault is not None:
        yield _known("LEDGER", view.ledger.fault)
    for path, reason in view.faults.items():
        yield _known("INTEGRITY", f"{path} cannot be read: {reason}")
    for path in view.lost:
        yield _known("INTEGRITY", view.absent(path))


def _weakened(view: RunView) -> Iterator[AuditFinding]:
    if names_of := weakened_by(view.manifest):
        yield _known("WEAKENED", f"{count(len(names_of), 'rule')} weaker than the canon's: {', '.join(names_of)}")


def _gates(view: RunView) -> Iterator[AuditFinding]:
    for entry in view.ledger.current("gate"):
        if gate_said(view, entry) == "REFUSED":
            what = f"the gate {plain(entry.body.get('gate'))} found {count(violations(entry), 'violation')}"
            yield _known("GATE", f"{what}, {plain(entry.body.get('checked'))} checked")
    for check in view.atomic.checks if view.atomic else []:
        if not check.ok:
            yield AuditFinding(94, check.code, check.what, f"{REFUSED}; repeat the check with: assay validate")


def _contracts(view: RunView) -> Iterator[AuditFinding]:
    for entry in view.ledger.current("contract"):
        layer, action = plain(entry.body.get("layer")), plain(entry.body.get("action"))
        what = f"{layer} {plain(entry.body.get('schema'))}: {count(violations(entry), 'violation')}, action {action}"
        if contract_status(entry) == "FAIL":
            yield AuditFinding(93, f"CONTRACT_{layer}", what, REFUSED)
        elif contract_status(entry) == "FILTERED":
            yield AuditFinding(30, f"CONTRACT_{layer}", what, "look up what was dropped in the data quality section")


def _evidence(view: RunView) -> Iterator[AuditFinding]:
    if view.days is None:
        return
    if view.days < EVIDENCE_DAYS:
        days = count(view.days, "day")
        yield _known("SHORT_EVIDENCE", f"{days} of walk-forward are not evidence: fewer than {EVIDENCE_DAYS}")
    known = [(value, name) for name, metrics in view.statistics.items() if (value := metrics.get("dsr")) is not None]
    best, name = max(known, key=lambda pair: pair[0], default=(CONFIDENCE, ""))
    if best < CONFIDENCE:
        what = f"no deflated Sharpe reaches {ratio(CONFIDENCE)}: the best is {ratio(best)}, of {name}"
        yield _known("UNPROVEN_SHARPE", what)
    ends = [(name, metrics.get("final_wealth")) for name, metrics in view.statistics.items()]
    losers = [f"{name} {_end(wealth)}" for name, wealth in ends if wealth is not None and wealth < 1.0]
    profiles = count(len(view.statistics), "risk profile")
    if losers:
        what = f"the walk-forward lost money in {len(losers)} of {profiles}; 1 became: {', '.join(losers)}"
        yield _known("WALK_FORWARD_LOSS", what)
    spans = [(name, metrics.get("sharpe_low"), metrics.get("sharpe_high")) for name, metrics in view.statistics.items()]
    known_spans = [(name, low, high) for name, low, high in spans if low is not None and high is not None]
    both = [f"{name} {ratio(low)} to {ratio(high)}" for name, low, high in known_spans if low <= 0.0 <= high]
    if both:
        what = f"the {percent(CONFIDENCE, 0)} interval of the Sharpe ratio contains zero in {len(both)} of {profiles}"
        yield _known("SHARPE_INTERVAL", f"{what}: {', '.join(both)}")
    pbo = max((value for metrics in view.statistics.values() if (value := metrics.get("pbo")) is not None), default=0.0)
    if pbo > 0.5:
        what = f"the risk profile that was best so far came out below the middle with probability {percent(pbo)}"
        yield _known("OVERFITTING", f"{what} (PBO)")


def _drawdown(view: RunView) -> Iterator[AuditFinding]:
    told = finite(view.setting("profile.drawdown_limit"))
    limit = DRAWDOWN_LIMIT if told is None else told
    found = [(name, metrics.get("max_drawdown")) for name, metrics in view.statistics.items()]
    deep = [f"{name} {percent(fall)}" for name, fall in found if fall is not None and fall < limit]
    if deep:
        market = view.benchmark_drawdown
        beside = "" if market is None else f"; the benchmark's on the same days was {percent(market)}"
        what = f"the walk-forward fell deeper than the limit of {percent(limit)} in {len(deep)} of"
        yield _known("DRAWDOWN", f"{what} {count(len(found), 'risk profile')}: {', '.join(deep)}{beside}")


def _phases(view: RunView) -> Iterator[AuditFinding]:
    phases = {name: (finite(one.get("ruined")), finite(one.get("count"))) for name, one in view.phases.items()}
    told = [f"{name} {integer(ruined)} of {integer(n)}" for name, (ruined, n) in phases.items() if ruined]
    if told:
        yield _known(
            "RUIN_IN_PHASES", f"with another day on which the grid starts the account is ruined: {', '.join(told)}"
        )


def _held(view: RunView) -> Iterator[AuditFinding]:
    """Look at what the walk-forward decided to hold: how often nothing, and how much of one coin."""
    if view.decisions is None or view.weights is None or not view.decisions.height:
        return
    held = view.weights.filter(pl.col("net_weight") != 0.0)
    n = view.decisions.height
    idle, single = [], []
    for name in view.risk_profiles:
        mine = held.filter(pl.col("risk_profile") == name)
        empty = n - mine["as_of"].n_unique()
        if 2 * empty > n:
            idle.append(f"{name} in {empty}")
        over = mine.filter(pl.col("net_weight").abs() > LARGEST_COIN + TOLERANCE)
        if over.height:
            top = over.sort(-pl.col("net_weight").abs(), "as_of").row(0, named=True)
            times = count(over["as_of"].n_unique(), "decision")
            single.append(f"{name} in {times}, up to {percent(top['net_weight'])} in {top['symbol']}")
    if idle:
        yield _known("MOSTLY_CASH", f"more than half of {count(n, 'decision')} hold nothing: {', '.join(idle)}")
    if single:
        what = f"a coin had more than {percent(LARGEST_COIN, 0)} of the account in the walk-forward"
        yield _known("WALK_CONCENTRATION", f"{what}: {'; '.join(single)}")


def _forced(view: RunView) -> Iterator[AuditFinding]:
    """Count exits that nobody decided, by cause."""
    trades = view.trades
    if trades is None or "reason" not in trades.columns:
        return
    told = "cause" if "cause" in trades.columns else "reason"
    out = trades.filter(pl.col(told).is_in(list(FORCED)))
    causes_of = out.group_by(told).agg(pl.col("symbol").unique().sort()).sort(told)
    parts = [f"{FORCED[str(cause)]}: {names(coins)}" for cause, coins in causes_of.iter_rows()]
    if parts:
        yield _known("FORCED_EXITS", f"{count(out.height, 'holding')} ended without a decision; {'; '.join(parts)}")


def _end(wealth: float) -> str:
    return f"a debt of {ratio(-wealth)}" if wealth < 0.0 else ratio(wealth)


def _ruin(view: RunView) -> Iterator[AuditFinding]:
    found = view.books.ruin if view.books else {}
    groups: dict[str, list[tuple[str, BookRuin]]] = {}
    for name, one in found.items():
        if one.ruined:
            groups.setdefault(f"{_CAUSES[one.cause]} on {one.date}", []).append((name, one))
    parts = []
    for what, books in groups.items():
        navs = [ratio(one.lowest_nav) for _, one in books]
        levels = [ratio(one.lowest_level) for _, one in books if one.lowest_level is not None]
        worst = f"; lowest margin level {', '.join(levels)}" if levels else ""
        parts.append(f"{', '.join(name for name, _ in books)} {what} (of 1 at the lowest {', '.join(navs)}{worst})")
    if parts:
        who = f"{sum(one.ruined for one in found.values())} of {count(len(found), 'book')}"
        yield _known("RUIN", f"{who} ruined: {'; '.join(parts)}")


_CAUSES = {"liquidated": "liquidated", "below_quarter": "below a quarter of the capital"}


def _baselines(view: RunView) -> Iterator[AuditFinding]:
    found = [] if view.worth is None else losses(view.worth)
    if view.worth is not None and found:
        own = f"{view.worth.risk_profile} ends at {ratio(view.worth.final_wealth)}"
        yield _known("LOSES_TO_BASELINE", f"{own} and loses, at the same gross, to {'; '.join(found)}")


def _beta(view: RunView) -> Iterator[AuditFinding]:
    sign = {"LONG": 1.0, "SHORT": -1.0}.get(view.direction)
    if sign is None:
        return
    wrong = [
        f"{name} {ratio(beta)} at gross {percent(gross)}"
        for name, metrics in view.statistics.items()
        if (beta := metrics.get("beta")) is not None
        and (gross := metrics.get("average_gross")) is not None
        and gross >= BETA_GROSS
        and beta * sign <= 0.0
    ]
    if wrong:
        yield _known("BETA_SIGN", f"a {view.direction} sleeve has a beta of the other sign: {'; '.join(wrong)}")


def _books(view: RunView) -> Iterator[AuditFinding]:
    small = small_books(view)
    why = [cause for name in small for cause in causes(view, name)]
    codes = ", ".join(dict.fromkeys(cause.code for cause in why))
    if view.stood_aside:
        what = "; ".join(dict.fromkeys(cause.what for cause in why)) or "no risk profile was weighed"
        yield _known(STAND_ASIDE, f"the sleeve is all cash: {what}")
    elif small and all(book.coins == 0 for book in small.values()) and len(small) == len(view.risk_profiles):
        yield _known("ALL_CASH", f"every risk profile is all cash: {codes}")
    elif small and view.kind == "run":
        parts = [f"{name} {count(book.coins, 'coin')}, gross {percent(book.gross)}" for name, book in small.items()]
        who = f"{len(small)} of {count(len(view.risk_profiles), 'risk profile')}"
        yield _known("SMALL_BOOK", f"{who} hold {SMALL} ({'; '.join(parts)}); causes: {codes}")


def _concentration(view: RunView) -> Iterator[AuditFinding]:
    """Name coins that hold more than the profile's cap of an atom: the pool was too small for it."""
    cap = finite(view.setting("profile.caps.atom_short" if view.direction == "SHORT" else "profile.caps.atom"))
    if cap is None:
        return
    held = {name: book.largest for name, book in all_holdings(view).items()}
    over = [
        f"{name} {percent(top[1])} in {top[0]}" for name, top in held.items() if top and abs(top[1]) > cap + TOLERANCE
    ]
    if over:
        what = f"a coin holds more than the {percent(cap)} that the profile allows an atom: {'; '.join(over)}"
        yield _known("CONCENTRATION", what)


def _caps(view: RunView) -> Iterator[AuditFinding]:
    """Name risk profiles of which caps take more than half of the budget."""
    books = view.optimized.profiles if view.optimized else {}
    left = {name: taken for name, book in books.items() if (taken := caps_take(book))}
    most = [
        f"{name} {percent(held)} of {percent(budget)}" for name, (held, budget) in left.items() if 2 * held < budget
    ]
    if most:
        yield _known(events.CAPS_BIND, f"caps take more than half of the budget; they leave {'; '.join(most)}")


def _guard(view: RunView) -> Iterator[AuditFinding]:
    risk = view.risk
    if risk is None or not risk.loss_makers:
        return
    winners = view.winners.winners if view.winners else []
    who = f"{len(risk.loss_makers)} of {count(len(winners) or len(risk.loss_makers), 'winner')}"
    if view.guarded:
        what = f"{who} are loss makers and are not held; the budget is {percent(risk.budget)}"
        inverted = count(sum(winner.inverted for winner in winners), "winner")
        polluted = f"the pool is polluted: {inverted} inverted; use --set pool=own"
        yield AuditFinding(45, "LOSS_MAKERS", what, polluted if any(winner.inverted for winner in winners) else "")
    else:
        yield _known("GUARD_OFF", f"the guard is off, and {who} are loss makers")


def _inverted(view: RunView) -> Iterator[AuditFinding]:
    """Say what became of the candidates that were scanned for the other side."""
    turned = {(one.symbol, one.logic) for one in view.raw.candidates if one.inverted} if view.raw else set()
    if not turned or view.selection is None:
        return
    books = view.optimized.profiles.values() if view.optimized else ()
    held = {asset.Atom for book in books for asset in book.assets if asset.Weight}
    losers = set(view.risk.loss_makers) if view.risk and view.guarded else set()
    ends: Counter[str] = Counter()
    for fate in view.selection.fates:
        if (fate.symbol, fate.logic) in turned:
            atom = f"{fate.symbol}_{fate.logic}_{fate.direction}"
            won = "loss makers at zero" if atom in losers else "held" if atom in held else "winners without weight"
            lost = "vetoed" if fate.reason.startswith("VETO_") else "not chosen"
            ends[won if fate.reason == "winner" else lost if fate.stage == "selection" else "dropped before"] += 1
    told = ", ".join(f"{integer(ends[name])} {name}" for name in INVERTED if ends[name] or name in INVERTED[1:5])
    who = f"{len(turned)} of {count(len(view.raw.candidates) if view.raw else 0, 'candidate')}"
    yield _known("INVERTED", f"{who} were scanned for the other side and turned: {told}")


def _selection(view: RunView) -> Iterator[AuditFinding]:
    audit = view.selection
    if audit is not None and audit.relaxed and audit.relaxed_share >= RELAXED_SHARE:
        who = f"{audit.relaxed} of {count(audit.n_winners, 'winner')} ({percent(audit.relaxed_share)})"
        yield _known("RELAXATION", f"{who} were admitted by relaxation")


def _preservation(view: RunView) -> Iterator[AuditFinding]:
    document = view.preservation
    if document is None or not document.guard_enabled:
        return
    if not document.no_loss_maker_held:
        yield _known("LOSS_MAKER_HELD", "the guard is on, and the walk-forward held a loss maker")
    above = [name for name, profile in document.profiles.items() if not profile.gross_never_above_guard_off]
    if above:
        what = f"the guarded book was larger than the unguarded one at some rebalance: {', '.join(above)}"
        yield _known("GROSS_ABOVE_GUARD_OFF", what)


def _solvers(view: RunView) -> Iterator[AuditFinding]:
    for name, profile in view.optimized.profiles.items() if view.optimized else ():
        solver = profile.solver
        if solver.fallbacks:
            what = f"{name} was solved by {solver.name} ({solver.status}) after {names(solver.fallbacks)}"
            yield _known(events.SOLVER_FALLBACK, what)


def _events(view: RunView) -> Iterator[AuditFinding]:
    """Events of the ledger whose code has advice, once each."""
    counted: dict[str, list[str]] = {}
    for entry in view.ledger.current("event", "fallback"):
        counted.setdefault(str(entry.body.get("code")), []).append(plain(entry.body.get("what")))
    for code, texts in counted.items():
        if code in ADVICE:
            yield AuditFinding(40, code, names(list(dict.fromkeys(texts)), 3), ADVICE[code])


def _data(view: RunView) -> Iterator[AuditFinding]:
    """Pass on what the steps found in the data, and name what is missing."""
    for severity, document in ((28, view.enrichment), (25, view.health)):
        for found in document.findings if document else []:
            who = f": {names(found.names)}" if found.names else ""
            what = f"{found.what} ({integer(found.count)}{who})"
            yield AuditFinding(severity, found.code, what, ADVICE.get(found.code, ""))
    if view.raw is not None and view.raw.invalid_records:
        who = names([record.symbol for record in view.raw.invalid_records])
        what = f"{count(len(view.raw.invalid_records), 'invalid candidate record')}: {who}"
        yield _known("INVALID_RECORDS", what)
    missing = [drop for drop in view.health.missing if drop.reason != MERGED] if view.health else []
    if missing:
        who = names([f"{drop.name} ({drop.reason})" for drop in missing])
        yield _known("MISSING_SYMBOLS", f"{count(len(missing), 'candidate')} without bars or ratings: {who}")


Rule = Callable[[RunView], Iterator[AuditFinding]]
RULES: tuple[Rule, ...] = (
    _failure,
    _ledger,
    _ruin,
    _weakened,
    _gates,
    _contracts,
    _books,
    _concentration,
    _caps,
    _beta,
    _drawdown,
    _phases,
    _held,
    _evidence,
    _baselines,
    _guard,
    _inverted,
    _preservation,
    _selection,
    _solvers,
    _forced,
    _events,
    _data,
)
"""Every rule, in the order in which equals are shown."""
