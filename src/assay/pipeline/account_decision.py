"""What an account's sleeve decides today: the steps of a run up to the second sign test, in a scratch folder.

So the decision is a run's, under a run's contracts and gates, and no run is made: what the steps wrote is hashed into
the account's ledger, and made again from the pinned head whenever somebody asks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.backtest.decision import NO_CANDIDATES, NO_UNIVERSE, NO_WINNERS
from assay.base.errors import AssayError, IntegrityError, InternalError, RunFailed, SourceError, UsageError
from assay.pipeline.flow import Foundation, asked
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.ledger import read_ledger
from assay.runs.run import STAND_ASIDE, Run
from assay.settings import Catalog
from assay.settings.model import Profile

LAST = layout.SIGN_POST.step("run")
_KINDS: Mapping[int, type[AssayError]] = {
    int(kind.exit_code): kind for kind in (RunFailed, UsageError, IntegrityError, SourceError, InternalError)
}
NOBODY = frozenset({NO_CANDIDATES, NO_UNIVERSE, NO_WINNERS})
"""Refusals of a run that are cash in a walk-forward, and so on a day that is past."""
DECIDING = tuple(step for step in STEPS if LAST is not None and step.number <= LAST)
"""Steps 1 to 11: all that is decided, and nothing of how it would have gone."""


@dataclass(frozen=True)
class DecisionToday:
    """What a sleeve decided at an instant.

    Attributes
    ----------
    weights : mapping of str to mapping of str to float
        Risk profile to symbol to net weight, without those that are 0.
    record : dict
        What the ledger keeps of how it came about: hashes of what the steps made, gates, contracts, events.
    """

    weights: Mapping[str, Mapping[str, float]]
    record: dict[str, Any]

    @property
    def regime(self) -> str | None:
        """Regime of the market, as a decision tells it that has winners."""
        return None if self.record["aside"] else str(self.record["regime"])


def decide_today(home: Home, catalog: Catalog, foundation: Foundation, profile: Profile) -> DecisionToday:
    """Decide by a run's own steps; where they find nobody on a day that is past, it is cash, as in the walk-forward.

    Raises
    ------
    AssayError
        What would have ended the run: nothing is decided, and nothing is written.
    """
    with tempfile.TemporaryDirectory(prefix="assay-account-") as scratch:
        folder = Path(scratch) / "runs" / profile.name
        folder.mkdir(parents=True)
        request = asked(home, catalog, foundation, profile, folder, (profile.name,))
        outcome = execute(replace(request, provenance={}), steps=DECIDING)
        if outcome.error is not None:
            if outcome.error["code"] in NOBODY and foundation.as_of < foundation.snapshot.last_close():
                nobody = {"head": request.head, "state": request.state, "aside": outcome.error["code"]}
                return DecisionToday({name: {} for name in profile.risk.risk_profiles}, nobody)
            raise _failed(outcome.error)
        run = Run(folder)
        flattened = run[layout.FLATTENED].profiles
        weights = {
            name: {asset.Symbol: asset.Net_Weight for asset in one.assets if asset.Net_Weight}
            for name, one in flattened.items()
        }
        entries = [(entry.kind, entry.body) for entry in read_ledger(folder / layout.LEDGER)]
        regime = run[layout.RISK].regime
    outputs = {
        path: one["content"]
        for kind, body in entries
        if kind == "outcome" and path_step(body) > 1  # the manifest names this machine
        for path, one in body["outputs"].items()
    }
    gates = {body["gate"]: {"ok": body["ok"], "checked": body["checked"]} for kind, body in entries if kind == "gate"}
    aside = [
        str(body["values"].get("reason")) for kind, body in entries if kind == "event" and body["code"] == STAND_ASIDE
    ]
    record = {
        "head": request.head,
        "state": request.state,
        "superset": request.superset_sha256,
        "provider": request.provider,
        "outputs": outputs,
        "gates": gates,
        "contracts": sum(kind == "contract" for kind, _ in entries),
        "events": sorted({str(body["code"]) for kind, body in entries if kind == "event"}),
        "aside": aside[0] if aside else None,
        "regime": regime,
    }
    return DecisionToday(weights, record)


def path_step(body: Mapping[str, Any]) -> int:
    """Return the step of an outcome."""
    return int(body["step"])


def _failed(error: Mapping[str, Any]) -> AssayError:
    """Return what ended the steps as the error that a run would have ended with."""
    what, where, hint, code = (str(error[name]) for name in ("what", "where", "hint", "code"))
    return _KINDS[error["exit_code"]](what, where=where, hint=hint, code=code, facts=error.get("facts"))
