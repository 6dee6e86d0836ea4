"""Which input caused a change: the decisions of two runs taken again, with one group of inputs replaced at a time.

Three groups decide everything: settings, data (the head of the lake) and date (as_of). Between the first run and the
second, each group that differs is replaced alone, then with each other, then all together; each such decision is
compared with the first run's. Effects of several groups need not add up, so every combination is shown as it is. Each
setting that differs is replaced alone, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from threadpoolctl import threadpool_limits

from assay.backtest.decision import Decision, decide
from assay.base.constants import TOLERANCE
from assay.base.domain import format_instant
from assay.base.errors import AssayError, UsageError
from assay.lake.snapshot import Snapshot, pinned
from assay.report.compare import Weights, sleeve_runs, turnover
from assay.report.small_book import all_holdings
from assay.report.view import RunView, in_order
from assay.runs.home import Home
from assay.runs.request import Request
from assay.runs.run import Run
from assay.settings.model import Profile, Scanner
from assay.settings.resolve import dotted

GROUPS = ("settings", "data", "date")
IDENTITY = ("profile.name", "profile.description", "profile.direction", "profile.logics", "profile.scanners")
"""Settings that make a profile another one; they change together, with scanners that only one of the runs knows."""


@dataclass(frozen=True)
class Portfolio:
    """What was decided: ids of atoms, and risk profile to coin to net weight; an empty book is all cash."""

    candidates: frozenset[str]
    winners: frozenset[str]
    books: Mapping[str, Weights]


Decide = Callable[[Request], Portfolio]
"""Takes one decision; raises an error of ours where it cannot be taken."""


@dataclass(frozen=True)
class Effect:
    """What replacing some inputs of the first run by the second's does."""

    replaced: list[str]
    """Groups of inputs, or settings."""
    impossible: str | None = None
    """Why this decision cannot be taken; everything else is then empty."""
    candidates_gained: int = 0
    candidates_lost: int = 0
    winners_gained: int = 0
    winners_lost: int = 0
    turnover: dict[str, float] = field(default_factory=dict)
    """Risk profile to the turnover between the first run's book and this one."""
    remaining: dict[str, float] = field(default_factory=dict)
    """The same between this book and the second run's: 0 where these inputs explain the whole change."""

    @property
    def moved(self) -> float:
        """Mean turnover over the risk profiles."""
        return _mean(self.turnover)

    @property
    def left(self) -> float:
        """Mean turnover that remains."""
        return _mean(self.remaining)

    @property
    def idle(self) -> bool:
        """Whether nothing at all changed."""
        counts = (self.candidates_gained, self.candidates_lost, self.winners_gained, self.winners_lost)
        return self.impossible is None and not any(counts) and max(self.turnover.values(), default=0.0) <= TOLERANCE


@dataclass(frozen=True)
class Attribution:
    """Which input changed what."""

    impossible: str | None
    """Why nothing can be attributed."""
    differ: list[str]
    """Groups of inputs that differ."""
    effects: list[Effect]
    """Every combination of these groups, from the smallest; the last one is the whole change."""
    settings: list[Effect]
    """Every setting that differs, replaced alone."""
    reproduced: dict[str, float | None]
    """``a`` and ``b``: the largest difference of a weight between what was recorded and what is decided again. More
    than rounding means that something else differs: versions of packages, or of this program."""
    verdict: list[str]
    """The same in sentences."""


def unattributed(reason: str) -> Attribution:
    """Return an attribution that says why there is none."""
    return Attribution(reason, [], [], [], {"a": None, "b": None}, [f"the change cannot be attributed: {reason}"])


def attribute(a: Request, b: Request, decide: Decide, recorded: tuple[RunView, RunView]) -> Attribution:
    """Decide again with one group of inputs replaced at a time.

    Parameters
    ----------
    a, b : Request
        Of the first and the second run, on one lake.
    decide : callable
        Takes a decision.
    recorded : tuple of RunView
        What the two runs decided.
    """
    try:
        first, second = decide(a), decide(b)
    except AssayError as error:
        return unattributed(f"a decision cannot be taken again: {error}")
    differ = [group for group in GROUPS if _replaced(a, b, (group,)) != a]
    effects = [
        _effect(list(groups), partial(decide, _replaced(a, b, groups)), first, second)
        for size in range(1, len(differ) + 1)
        for groups in itertools.combinations(differ, size)
    ]
    settings = [_effect(names, partial(decide, inputs), first, second) for names, inputs in one_setting_at_a_time(a, b)]
    reproduced = {
        name: _largest_difference({one: book.weights for one, book in all_holdings(view).items()}, made.books)
        for name, view, made in zip("ab", recorded, (first, second), strict=True)
    }
    return Attribution(None, differ, effects, settings, reproduced, _verdict(differ, effects, settings, reproduced))


def portfolio(decision: Decision, profile: Profile) -> Portfolio:
    """Return what is compared of a decision."""
    return Portfolio(
        candidates=frozenset(candidate.atom.id for candidate in decision.discovery.candidates),
        winners=frozenset(atom.id for atom in decision.selection.winner_atoms) if decision.selection else frozenset(),
        books={name: decision.net.get(name, {}) for name in profile.risk.risk_profiles},
    )


def _replaced(a: Request, b: Request, groups: Sequence[str]) -> Request:
    made = a
    if "settings" in groups:
        made = replace(made, profile=b.profile, scanners=b.scanners)
    if "data" in groups:
        made = replace(made, head=b.head)
    return replace(made, as_of=b.as_of) if "date" in groups else made


def one_setting_at_a_time(a: Request, b: Request) -> Iterator[tuple[list[str], Request]]:
    """Yield the first run's inputs with one setting of the second's, for each that differs."""
    first, second = _settings(a), _settings(b)
    names = [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
    one_sided = {f"scanners.{name}" for name in a.scanners.keys() ^ b.scanners.keys()}
    together = [name for name in names if name in IDENTITY or name in one_sided]
    for group in [*([together] if together else []), *([name] for name in names if name not in together)]:
        mixed = {name: (second if name in group else first).get(name) for name in {*first, *second}}
        tree = _nested({name: value for name, value in mixed.items() if value is not None or name not in one_sided})
        profile = Profile.model_validate(tree["profile"])
        scanners = {name: Scanner.model_validate(value) for name, value in tree["scanners"].items()}
        yield group, replace(a, profile=profile, scanners=scanners)


def _settings(inputs: Request) -> dict[str, Any]:
    """Return dotted settings; a scanner stays whole where the other run may not know it."""
    found = dotted(inputs.profile.model_dump(mode="json"), "profile.")
    for name, scanner in inputs.scanners.items():
        found[f"scanners.{name}"] = scanner.model_dump(mode="json")
    return found


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"profile": {}, "scanners": {}}
    for name, value in sorted(flat.items()):
        section, _, rest = name.partition(".")
        path = [rest] if section == "scanners" else rest.split(".")
        below = tree[section]
        for key in path[:-1]:
            below = below.setdefault(key, {})
        below[path[-1]] = value
    return tree


def _effect(names: list[str], decide: Callable[[], Portfolio], first: Portfolio, second: Portfolio) -> Effect:
    try:
        made = decide()
    except AssayError as error:
        return Effect(names, str(error))
    return Effect(
        replaced=names,
        candidates_gained=len(made.candidates - first.candidates),
        candidates_lost=len(first.candidates - made.candidates),
        winners_gained=len(made.winners - first.winners),
        winners_lost=len(first.winners - made.winners),
        turnover=_turnovers(first, made),
        remaining=_turnovers(made, second),
    )


def _turnovers(a: Portfolio, b: Portfolio) -> dict[str, float]:
    return {name: turnover(a.books[name], b.books[name]) for name in in_order(a.books.keys() & b.books.keys())}


def _largest_difference(recorded: Mapping[str, Weights], again: Mapping[str, Weights]) -> float | None:
    """Largest difference of one weight; None for a run that did not come so far."""
    if not recorded:
        return None
    pairs = [(recorded.get(name, {}), again.get(name, {})) for name in sorted({*recorded, *again})]
    return max(
        (abs(one.get(coin, 0.0) - other.get(coin, 0.0)) for one, other in pairs for coin in {*one, *other}),
        default=0.0,
    )


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values) if values else 0.0


def _verdict(
    differ: Sequence[str], effects: Sequence[Effect], settings: Sequence[Effect], reproduced: Mapping[str, float | None]
) -> list[str]:
    told = [
        f"the books of run {run} are not decided again to rounding (largest difference {gap:.1e}): something besides "
        "settings, data and date differs, such as a version of this program or of a package"
        for run, gap in reproduced.items()
        if gap is not None and gap > TOLERANCE
    ]
    if not differ:
        return [*told, "settings, data and date are the same: there is nothing to attribute"]
    same = [group for group in GROUPS if group not in differ]
    told += [f"{' and '.join(same)}: the same"] if same else []
    told += [_sentence(effect) for effect in effects]
    idle = [", ".join(effect.replaced) for effect in settings if effect.idle]
    return told + ([f"settings without any effect on this decision: {'; '.join(idle)}"] if idle else [])


def _sentence(effect: Effect) -> str:
    name = " and ".join(effect.replaced)
    if effect.impossible is not None:
        return f"{name}: cannot be replaced ({effect.impossible})"
    if effect.idle:
        return f"{name}: no effect"
    whole = "" if effect.left > TOLERANCE else "; that is the whole change of the books"
    return (
        f"{name}: candidates +{effect.candidates_gained} -{effect.candidates_lost}, "
        f"winners +{effect.winners_gained} -{effect.winners_lost}, "
        f"mean turnover of the books {effect.moved:.1%}{whole}"
    )


def attribution_of(home: Home, views: tuple[RunView, RunView]) -> Attribution:
    """Decide again on the pinned lake, one group of inputs at a time.

    Parameters
    ----------
    home : Home
        Holds the lake that both runs are pinned to.
    views : tuple of RunView
        The two runs.
    """
    if any(view.kind == "meta" for view in views):
        return unattributed(_by_sleeves(views))
    try:
        for view in views:
            Run(view.folder).check_format()
        a, b = (Request.of(home.path, view.folder) for view in views)
        if a.lake != b.lake:
            return unattributed(
                f"the runs read different lakes ({a.lake} and {b.lake}), and a head of one means nothing in the other"
            )
        snapshots = {request.head: pinned(request) for request in (a, b)}
        for snapshot in snapshots.values():
            snapshot.prove()
    except AssayError as error:
        return unattributed(str(error))
    with threadpool_limits(1):  # as in a run: equal inputs give equal weights
        return attribute(a, b, _decider(snapshots), views)


def _by_sleeves(views: tuple[RunView, RunView]) -> str:
    """Say what of two runs can be attributed where one is a portfolio: its sleeves' decisions, one by one."""
    first, second = map(sleeve_runs, views)
    pairs = [(first[name], second[name]) for name in first if second.get(name, first[name]) != first[name]]
    if first and second and not pairs:
        return "both portfolios hold the same runs of the sleeves that they share: what differs is told below"
    told = "; ".join(f"assay compare {a} {b}" for a, b in pairs)
    return f"a portfolio decides from its sleeves{f': compare these: {told}' if told else ', and one run is none'}"


def _decider(snapshots: dict[int, Snapshot]) -> Callable[[Request], Portfolio]:
    market = lru_cache(maxsize=4)(lambda head, as_of, days: snapshots[head].market(as_of, days))

    def again(inputs: Request) -> Portfolio:
        last = snapshots[inputs.head].last_close()
        if inputs.as_of > last:
            raise UsageError(f"the data of head {inputs.head} end at {format_instant(last)}")
        known = market(inputs.head, inputs.as_of, inputs.profile.sight_days)
        return portfolio(decide(known, inputs.profile, inputs.scanners), inputs.profile)

    return again
