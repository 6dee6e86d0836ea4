"""What each file of a run is, and which step writes it."""

from __future__ import annotations

from typing import NamedTuple

from assay.runs import artifacts as layout
from assay.runs.artifacts import STEP_NAMES as STEP_NAMES

LAST_EVIDENCE_STEP = 14
"""The last step whose outcome is known when the report is written."""


class Artifact(NamedTuple):
    """A file (or, with a final slash, a folder) that a complete run holds."""

    path: str
    step: int
    what: str


ARTIFACTS = (
    Artifact(layout.MANIFEST, 1, "every value that the run used, with its origin, the pinned lake and the environment"),
    Artifact(layout.RAW, 2, "candidates of this profile from the superset, with scanner counts and merged quotes"),
    Artifact(layout.RETURNS, 3, "simple daily returns, days x symbols, of the decision's window (L0)"),
    Artifact(layout.HEALTH, 3, "health of each symbol, missing symbols with causes, findings about the data"),
    Artifact(layout.FEATURES, 4, "rows of the feature store that the decision read: ratings, votes, indicators (L1)"),
    Artifact(layout.WINNERS, 4, "the winners of natural selection with scores, clusters and ratings"),
    Artifact(layout.SELECTION, 4, "the funnel: stages, and the one fate of every candidate"),
    Artifact(layout.ENRICHED, 5, "winners with exchange filters, liquidity, margin permission and beta"),
    Artifact(layout.SYNTHETIC, 6, "synthetic returns, days x atoms: a short is seen as something one is long of (L3)"),
    Artifact(layout.SIGN_PRE, 7, "sign test before the optimization"),
    Artifact(layout.CLUSTERS, 8, "clusters of atoms"),
    Artifact(layout.RISK, 8, "regime, covariance conditioning, caps, loss makers and budget"),
    Artifact(layout.OPTIMIZED, 9, "weights of atoms for each risk profile, guard on and off, with solver records"),
    Artifact(layout.FLATTENED, 10, "weights of coins for each risk profile, with the atoms behind them (L4)"),
    Artifact(layout.SIGN_POST, 11, "sign test after flattening"),
    Artifact(layout.WALK_RETURNS, 12, "walk-forward: daily NAV, return, gross, net, cash, turnover, cost and borrow"),
    Artifact(layout.WALK_UNGUARDED, 12, "walk-forward with the guard off: the same columns"),
    Artifact(layout.WALK_DECISIONS, 12, "walk-forward: a summary of each decision"),
    Artifact(layout.WALK_WEIGHTS, 12, "walk-forward: net weights decided at each rebalance"),
    Artifact(layout.WALK + "unguarded_weights.parquet", 12, "walk-forward with the guard off: net weights decided"),
    Artifact(layout.WALK_TRADES, 12, "walk-forward: every trade"),
    Artifact(layout.WALK + "cancelled.parquet", 12, "walk-forward: orders that met no bar"),
    Artifact(
        layout.WALK_YARDSTICKS, 12, "walk-forward: daily returns of the benchmark and of all coins in equal weights"
    ),
    Artifact(layout.WALK_STATISTICS, 12, "walk-forward: metrics for each risk profile, guard on and off"),
    Artifact(layout.WALK_SURVIVORSHIP, 12, "walk-forward: the same on survivors only, and the error"),
    Artifact(layout.WALK_BY_YEAR, 12, "walk-forward: metrics for each risk profile in each calendar year"),
    Artifact(layout.WALK_BY_REGIME, 12, "walk-forward: metrics for each risk profile in each regime"),
    Artifact(layout.PRESERVATION, 13, "capital preservation: loss makers and drawdown, guard on and off"),
    Artifact(layout.VALIDATION, 14, "atomic validation of all artifacts against each other"),
    Artifact(layout.TRIALS, 15, "deflated Sharpe ratios, given what else was tried before this run"),
    Artifact(layout.REPORT, 15, "the audit report, in the order in which an auditor reads"),
    Artifact(layout.PAGE, 15, "the audit report as one page with plots"),
    Artifact(layout.INDEX, 15, "this list"),
    Artifact(layout.LEDGER, 1, "the ledger: a chain of hashes over everything that the run did"),
    Artifact(layout.STATUS, 1, "state, step, times and process of the run, rewritten as it goes"),
    Artifact("logs/", 1, "the traceback of an internal fault"),
)


def describe(path: str) -> Artifact | None:
    """Return the catalog's entry of a relative path, if it has one.

    >>> describe("reports/validation/atomic_validation_p_r.md").step
    14
    """
    for artifact in ARTIFACTS:
        if path == artifact.path or (artifact.path.endswith("/") and path.startswith(artifact.path)):
            return artifact
    return None


def step_title(step: int) -> str:
    """Return a step as the report names it.

    >>> step_title(4)
    'step 4 (natural_selection)'
    """
    known = 1 <= step <= len(STEP_NAMES)
    return f"step {step} ({STEP_NAMES[step - 1]})" if known else f"step {step}"
