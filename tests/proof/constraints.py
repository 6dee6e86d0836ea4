"""What every decision must keep, written from the design and not from the gates: no check here calls one.

Numbers are computed anew, in plain loops where the product has arrays, so that a fault would have to be made twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from assay.backtest.decision import Decision
from assay.base.domain import Atom
from assay.market.panel import Market
from assay.risk.allocate import RiskState
from assay.risk.flatten import flatten
from assay.risk.optimizers import Allocation
from assay.settings.model import Profile, Scanner

Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-9
CASH_EVENTS = frozenset({"ALL_LOSS_MAKERS", "NO_POSITIVE_EXPECTED_RETURN"})
SHORT_EVENTS = CASH_EVENTS | {"CAPS_BIND", "LOSS_MAKERS_GUARDED"}
SAFETY = ("VETO_DIRECTION", "VETO_ABSENT", "VETO_TOXIC", "VETO_STALE", "VETO_COVERAGE", "VETO_FRICTION")


def breaches(decision: Decision, market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> list[str]:
    """Return every constraint that a decision does not keep, in words; empty where it keeps all.

    Parameters
    ----------
    decision : Decision
        Of ``market.as_of``.
    market : Market
        What it saw.
    profile, scanners : Profile, mapping of str to Scanner
        What it was asked.
    """
    return list(_breaches(decision, market, profile, scanners))


def _breaches(decision: Decision, market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Iterator[str]:
    yield from _candidates(decision, market, profile, scanners)
    if decision.selection is None:
        if decision.discovery.candidates:
            yield "candidates were found, and nothing was selected from them"
        yield from _nobody(decision, market, scanners)
        return
    yield from _funnel(decision)
    yield from _winners(decision, market, profile)
    if decision.state is None:
        if decision.selection.winner_atoms:
            yield "there are winners, and no risk was measured"
        return
    yield from _state(decision.state, decision, profile)
    for books, guarded in ((decision.guarded_on_atoms, True), (decision.unguarded_on_atoms, False)):
        if books is None or tuple(books) != profile.risk.risk_profiles:
            yield f"the risk profiles are {list(books or ())}"
            continue
        for name, book in books.items():
            where = f"{name}{'' if guarded else ' unguarded'}"
            yield from (f"{where}: {fault}" for fault in _book(book, decision.state, profile, guarded, name))


# --- who may be held ----------------------------------------------------------------------------------------------


def _candidates(decision: Decision, market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Iterator[str]:
    found = decision.discovery.candidates
    keys = Counter((one.symbol, one.logic, one.direction) for one in found)
    yield from (f"{key} is a candidate twice" for key, n in keys.items() if n > 1)
    for one in found:
        if one.direction != profile.direction or one.inverted != (one.direction != one.scan_direction):
            yield f"{one.symbol} points {one.direction}, was scanned {one.scan_direction}, inverted {one.inverted}"
        for name in one.scanners:
            yield from _seen(one.symbol, market, scanners[name], name)


def _seen(symbol: str, market: Market, scanner: Scanner, name: str) -> Iterator[str]:
    """Check one finding of one scanner against the last bar."""
    column = market.symbols.index(symbol)
    rating = market[scanner.logic.replace("rating_", "recommend_")][-1, column]
    if not (rating > 0 if scanner.direction == "LONG" else rating < 0):
        yield f"{name} found {symbol} with a rating of {rating!r}"
    if not market["value_traded"][-1, column] >= scanner.min_value_traded:
        yield f"{name} found {symbol}, which trades {market['value_traded'][-1, column]!r}"
    high, low = market["high"][-1, column], market["low"][-1, column]
    if not 100.0 * (high - low) / low > scanner.min_volatility:
        yield f"{name} found {symbol}, which did not move"
    if symbol.partition(":")[0] != scanner.universe.exchange or not symbol.endswith(scanner.universe.quotes):
        yield f"{name} found {symbol}, which is not of its universe"


def _nobody(decision: Decision, market: Market, scanners: Mapping[str, Scanner]) -> Iterator[str]:
    """Check who could be asked where nobody was found: none at all, or some whose ratings were of no side."""
    asked = [scanners[count.scanner] for count in decision.discovery.scanners]
    could = {symbol for scanner in asked for symbol in market.symbols if _askable(symbol, market, scanner)}
    if decision.reason == "NO_CANDIDATES" and not could:
        yield "nobody is a candidate, and no coin could be asked"
    if decision.reason == "NO_UNIVERSE" and could and market.instruments is None:
        yield f"no coin could be asked, and {sorted(could)} could"


def _askable(symbol: str, market: Market, scanner: Scanner) -> bool:
    """Whether a coin trades and moves enough, is old enough and has a rating, whatever that says."""
    column = market.symbols.index(symbol)
    last = {name: market[name][-1, column] for name in ("open", "high", "low", "close", "volume", "value_traded")}
    rating = market[scanner.logic.replace("rating_", "recommend_")][-1, column]
    listing = market.listing[:, column]
    if listing[-1] < 0 or not np.isfinite([*last.values(), rating]).all() or last["low"] <= 0.0:
        return False
    if symbol.partition(":")[0] != scanner.universe.exchange or not symbol.endswith(scanner.universe.quotes):
        return False
    moves = 100.0 * (last["high"] - last["low"]) / last["low"] > scanner.min_volatility
    old = (listing == listing[-1]).sum() >= scanner.universe.min_bars
    return bool(moves and old and last["value_traded"] >= scanner.min_value_traded)


def _funnel(decision: Decision) -> Iterator[str]:
    assert decision.selection is not None
    audit = decision.selection.audit()
    for stage in audit.stages:
        if stage.n_out != stage.n_in + stage.expanded - stage.dropped:
            yield f"{stage.stage}: {stage.n_in} + {stage.expanded} - {stage.dropped} is not {stage.n_out}"
        if sum(stage.dropped_by.values()) != stage.dropped or sum(stage.expanded_by.values()) != stage.expanded:
            yield f"{stage.stage}: its reasons do not add up"
    expanded = sum(stage.expanded for stage in audit.stages[1:])
    ended = [fate for fate in audit.fates if fate.stage != "discovery"]
    if len(ended) != len(decision.discovery.candidates) + expanded:
        yield f"{len(ended)} fates of {len(decision.discovery.candidates)} candidates and {expanded} expanded"
    crowned = Counter((fate.symbol, fate.logic, fate.direction) for fate in audit.fates if fate.reason == "winner")
    if crowned != Counter((a.symbol, a.logic, a.direction) for a in decision.selection.winner_atoms):
        yield "the fates' winners are not the winners"
    if any(not fate.reason for fate in audit.fates):
        yield "somebody ends without a reason"


def _winners(decision: Decision, market: Market, profile: Profile) -> Iterator[str]:
    assert decision.selection is not None
    selection, chosen = decision.selection, profile.selection
    atoms = selection.winner_atoms
    if len(set(atoms)) != len(atoms) or len(atoms) > chosen.max_winners:
        yield f"{len(atoms)} winners, {len(set(atoms))} of them different"
    model = selection.model
    admitted = model.admitted_
    if "relaxation" in admitted and len(atoms) > chosen.wanted:
        yield f"{len(atoms)} winners, and some came by relaxation"
    merits = Counter(
        label for label, way in zip(model.clusters_[model.winners_].tolist(), admitted, strict=True) if way == "merit"
    )
    yield from (f"cluster {label} gives {n} winners" for label, n in merits.items() if n > chosen.top_n)
    alphas = selection.model.alpha_
    if not ((alphas >= 0.0) & (alphas <= 1.0)).all():
        yield f"alpha lies outside [0, 1]: {alphas.min()!r} to {alphas.max()!r}"
    struck = {veto.code: veto.hit for veto in selection.model.vetoes_}
    for place, (atom, column) in enumerate(zip(atoms, selection.model.winners_.tolist(), strict=True)):
        yield from (f"{atom.id} won in spite of {code}" for code in SAFETY if code in struck and struck[code][column])
        yield from (f"{atom.id}: {fault}" for fault in _winner(atom, selection.streams[:, place], market, profile))


def _winner(atom: Atom, stream: Floats, market: Market, profile: Profile) -> Iterator[str]:
    """Check a winner's side, bars and stream against the closes."""
    if atom.direction != profile.direction:
        yield f"the profile is {profile.direction}"
    close = market["close"][-profile.data.lookback :, market.symbols.index(atom.symbol)]
    expected = [_gain(close[i - 1], close[i], atom.direction) for i in range(1, len(close))][-len(stream) :]
    if not np.array_equal(stream, np.array(expected), equal_nan=True):
        yield "its stream is not what its closes say"
    if not math.isfinite(close[-1]):
        yield "it has no bar on the day of the decision"
    late = stream[-profile.data.estimation_rows :]
    if np.isfinite(late).sum() < profile.data.winner_coverage * len(late) - TOLERANCE:
        yield f"it has {np.isfinite(late).sum()} of {len(late)} rows"
    recent = [gain for gain in stream[-profile.selection.feature_bars :].tolist() if not math.isnan(gain)]
    costs, hold = profile.costs, profile.walk_forward.hold
    charge = 2.0 * (costs.fee + costs.slippage) + (costs.borrow * hold / 365.0 if atom.direction == "SHORT" else 0.0)
    if not hold * math.fsum(recent) / max(len(recent), 1) > charge - TOLERANCE:
        yield "it does not earn its costs"


def _gain(before: float, after: float, direction: str) -> float:
    """Return what one day earns: r for a long, -min(r, 1) for a short; NaN unless both days have a close."""
    if math.isnan(before) or math.isnan(after):
        return math.nan
    r = after / before - 1.0
    return r if direction == "LONG" else -min(r, 1.0)


# --- what is held -------------------------------------------------------------------------------------------------


def _state(state: RiskState, decision: Decision, profile: Profile) -> Iterator[str]:
    assert decision.selection is not None
    n = len(state.atoms)
    if state.atoms != decision.selection.winner_atoms:
        yield "the atoms are not the winners"
    if len(state.labels) != n or (n and state.labels.min() < 1):
        yield "clusters do not cover every atom once"
    k = len(set(state.labels.tolist()))
    if k > profile.selection.max_clusters:
        yield f"{k} clusters"
    caps, short, calm = profile.caps, profile.direction == "SHORT", state.regime.name in ("QUIET", "NORMAL")
    plain = {
        ("LONG", "TURBULENT"): caps.cluster_turbulent,
        ("LONG", "CRISIS"): caps.cluster_crisis,
        ("SHORT", "TURBULENT"): caps.cluster_short_turbulent,
        ("SHORT", "CRISIS"): caps.cluster_short_crisis,
    }.get((profile.direction, state.regime.name), caps.cluster_short if short else caps.cluster)
    raised = calm and not short and caps.slack / k > plain
    wanted = (caps.atom_short if short else caps.atom, min(1.0, caps.slack / k) if raised else plain)
    if max(abs(state.caps.atom - wanted[0]), abs(state.caps.cluster - wanted[1])) > TOLERANCE:
        yield f"the caps are {state.caps.atom!r} and {state.caps.cluster!r}, the settings give {wanted}"
    told = [str(event.values["cap"]) for event in state.caps.events if event.code == "CAP_RELAXED"]
    if told != ["cluster"] * (wanted[1] > plain):
        yield f"caps were raised: {wanted[1] > plain}; told: {told}"
    losers = loss_makers(decision.selection.streams, state.atoms, profile)
    doubtful = [i for i, (loses, net) in enumerate(losers) if loses != state.guard.loss_makers[i] and abs(net) > 1e-15]
    yield from (f"{state.atoms[i].id} is a loss maker: {losers[i][0]}" for i in doubtful)
    if state.rows_used < profile.data.min_rows:
        yield f"{state.rows_used} rows carry the estimates"


def loss_makers(streams: Floats, atoms: Sequence[Atom], profile: Profile) -> list[tuple[bool, float]]:
    """Return for each atom whether its mean of the last days, less costs per day, is not positive, and that mean."""
    late = streams[-profile.data.estimation_rows :]
    rows = [row for row in late.tolist() if not any(math.isnan(value) for value in row)][-profile.guard.days :]
    costs, hold = profile.costs, profile.walk_forward.hold
    verdicts = []
    for i, atom in enumerate(atoms):
        charge = 2.0 * (costs.fee + costs.slippage) / hold + (
            costs.borrow / 365.0 if atom.direction == "SHORT" else 0.0
        )
        net = math.fsum(row[i] for row in rows) / len(rows) - charge
        verdicts.append((not net > 0.0, net))
    return verdicts


def _book(book: Allocation, state: RiskState, profile: Profile, guarded: bool, name: str) -> Iterator[str]:
    weights = [float(weight) for weight in book.weights]
    codes = {event.code for event in book.events}
    if len(weights) != len(state.atoms) or not all(math.isfinite(weight) for weight in weights):
        yield "weights are missing or not finite"
        return
    gross = math.fsum(weights)
    if abs(gross + book.cash - 1.0) > TOLERANCE or not -TOLERANCE <= book.cash <= 1.0 + TOLERANCE:
        yield f"weights sum to {gross!r}, cash is {book.cash!r}"
    if min(weights) < 0.0 or any(0.0 < weight < profile.risk.min_weight * 0.999 for weight in weights):
        yield "a weight is negative, or too small to be one"
    yield from _bounds(weights, state)
    yield from _guarded(weights, state, profile, guarded, gross)
    yield from _told(book, gross, codes, name, state, profile)
    yield from _cut(book, weights, gross, name)
    flat = flatten(state.atoms, weights, state.labels.tolist())
    sign = 1 if profile.direction == "LONG" else -1
    for coin in flat.assets:
        if abs(coin.Net_Weight - sign * coin.Gross_Weight) > TOLERANCE or coin.Gross_Weight != coin.Weight:
            yield f"{coin.Symbol}: net {coin.Net_Weight!r}, gross {coin.Gross_Weight!r} in a {profile.direction} sleeve"
    if abs(flat.gross + flat.cash - 1.0) > TOLERANCE or abs(flat.gross - gross) > TOLERANCE:
        yield f"flattened to {flat.gross!r} and {flat.cash!r} of cash"
    if len({coin.Symbol for coin in flat.assets}) != len(flat.assets):
        yield "a coin stands twice"


def _cut(book: Allocation, weights: Sequence[float], gross: float, name: str) -> Iterator[str]:
    """Check that what caps take is told as it is, and that they push nobody."""
    for event in book.events:
        numbers = {"budget": book.budget, "held": gross}
        if event.code == "CAPS_BIND" and any(abs(event.values[k] - v) > TOLERANCE for k, v in numbers.items()):
            yield f"caps leave {numbers}, and the event says {event.values}"
    if name == "equal_weight" and max(weights) > 1.0 / len(weights) + TOLERANCE:
        yield f"equal weights, and one is pushed to {max(weights)!r}"


def _bounds(weights: Sequence[float], state: RiskState) -> Iterator[str]:
    sums: dict[int, list[float]] = {}
    for weight, label, atom in zip(weights, state.labels.tolist(), state.atoms, strict=True):
        sums.setdefault(label, []).append(weight)
        if weight > state.caps.atom + TOLERANCE:
            yield f"{atom.id} weighs {weight!r}, its cap is {state.caps.atom!r}"
    for label, parts in sums.items():
        if math.fsum(parts) > state.caps.cluster + TOLERANCE:
            yield f"cluster {label} weighs {math.fsum(parts)!r}, its cap is {state.caps.cluster!r}"


def _guarded(
    weights: Sequence[float], state: RiskState, profile: Profile, guarded: bool, gross: float
) -> Iterator[str]:
    if not (guarded and profile.guard.enabled):
        return
    losers = state.guard.loss_makers.tolist()
    for weight, loses, atom in zip(weights, losers, state.atoms, strict=True):
        if loses and weight:
            yield f"{atom.id} is a loss maker and weighs {weight!r}"
    share = 1.0 - sum(losers) / len(losers)
    if gross > share + TOLERANCE:
        yield f"holds {gross!r}, and loss makers' share is cash: {share!r}"


def _told(
    book: Allocation, gross: float, codes: set[str], name: str, state: RiskState, profile: Profile
) -> Iterator[str]:
    """Check that nothing that changed an answer is silent."""
    if book.solver.fallbacks and "SOLVER_FALLBACK" not in codes:
        yield "a solver failed, and no event says so"
    if book.solver.status not in {"SOLVED", "ALL_CASH"}:
        yield f"the solver's status is {book.solver.status}"
    if (gross == 0.0) != (book.solver.status == "ALL_CASH"):
        yield f"holds {gross!r} with status {book.solver.status}"
    if gross == 0.0 and not codes & CASH_EVENTS:
        yield f"all cash, and no event says why: {sorted(codes)}"
    dust = len(state.atoms) * profile.risk.min_weight + TOLERANCE
    if gross < book.budget - dust and not codes & (CASH_EVENTS | {"CAPS_BIND"}):
        yield f"holds {gross!r} of a budget of {book.budget!r}, and no event says why"
    if book.budget < 1.0 - TOLERANCE and not codes & SHORT_EVENTS:
        yield f"the budget is {book.budget!r}, and no event says why"
    if "NO_POSITIVE_EXPECTED_RETURN" in codes and name != "max_sharpe":
        yield "looks at means"
