"""Every file of a run, one row each, for sleeves and portfolios alike; every other list of files is made from this one.

A row is also its own path, relative to the run directory, and is annotated with what :class:`~assay.runs.run.Run` gives
for it: the schema of a document, a frame, plain JSON or a text. A path that ends in ``/`` is a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

if TYPE_CHECKING:  # Whoever needs names only (status, page) starts without Polars and Pydantic.
    import polars as pl

    from assay.runs import documents as doc

T_co = TypeVar("T_co", covariant=True)
Kind: TypeAlias = Literal["run", "meta"]
"""A sleeve or a portfolio of sleeves, as manifests say it."""
Plain: TypeAlias = dict[str, Any]
"""A JSON object without a schema."""


class Artifact(str, Generic[T_co]):
    """A file of a run that opens as a ``T_co``.

    Parameters
    ----------
    path : str
        Below the run directory; a folder where it ends in ``/``.
    what : str
        What it is, for people.
    sleeve, portfolio : int, optional
        Step that writes it in a run of each kind; None where a run of that kind has no such file.
    keys : tuple of str
        Columns that order a table's rows before its content is hashed.
    required : bool
        Validation misses it where it is not there, once its step has ended.

    Examples
    --------
    >>> WINNERS.step("run"), WINNERS.step("meta"), WINNERS.required
    (4, None, True)
    >>> VALIDATION.below("atomic_validation_p_r.json")
    'reports/validation/atomic_validation_p_r.json'
    """

    what: str
    keys: tuple[str, ...]
    required: bool
    _steps: tuple[int | None, int | None]

    def __new__(
        cls,
        path: str,
        what: str = "",
        *,
        sleeve: int | None = None,
        portfolio: int | None = None,
        keys: tuple[str, ...] = (),
        required: bool = True,
    ) -> Self:
        """Make a row of the table."""
        made = super().__new__(cls, path)
        made.what, made.keys, made.required, made._steps = what, keys, required, (sleeve, portfolio)
        return made

    def step(self, kind: Kind) -> int | None:
        """Return the step that writes it in a run of a kind; None where it has no such file."""
        return self._steps[kind == "meta"]

    def below(self, name: str) -> Artifact[T_co]:
        """Return a file in this folder."""
        sleeve, portfolio = self._steps
        return Artifact(self + name, self.what, sleeve=sleeve, portfolio=portfolio, required=self.required)

    def covers(self, path: str) -> bool:
        """Tell whether a path is this file, or lies in this folder."""
        return path == self or (self.endswith("/") and path.startswith(self))


WALK = "data/walk_forward/"
"""Folder of the walk-forward."""
_DAYS = ("date",)
_BOOK = ("risk_profile", "date")
_HELD = ("as_of", "risk_profile", "symbol")

# fmt: off
MANIFEST: Artifact[Plain] = Artifact(
    "config/resolved_manifest.json",
    "every value that the run used, with its origin, the lake or sleeves that it pins, and the environment",
    sleeve=1, portfolio=1)
RAW: Artifact[doc.RawCandidates] = Artifact(
    "data/portfolio_candidates_raw.json",
    "candidates of this profile from the superset, with scanner counts and merged quotes", sleeve=2)
META_SLEEVES: Artifact[doc.Sleeves] = Artifact(
    "data/meta_sleeves.json",
    "sleeves that were accepted, and runs that were refused, with code and reason", portfolio=2)
RETURNS: Artifact[pl.DataFrame] = Artifact(
    "data/returns_matrix.parquet",
    "simple daily returns, days x symbols, of the decision's window (L0)", sleeve=3, keys=_DAYS)
HEALTH: Artifact[doc.DataHealth] = Artifact(
    "data/data_health.json", "health of each symbol, missing symbols with causes, findings about the data", sleeve=3)
META_RETURNS: Artifact[pl.DataFrame] = Artifact(
    "data/meta_returns.parquet",
    "the sleeves' walk-forward returns on shared days, for each risk profile (L0)", portfolio=3, keys=_BOOK)
META_ALIGNMENT: Artifact[doc.Alignment] = Artifact(
    "data/meta_alignment.json", "shared days, shortfalls, sleeves in cash", portfolio=3)
FEATURES: Artifact[pl.DataFrame] = Artifact(
    "data/feature_store.parquet",
    "rows of the feature store that the decision read: ratings, votes, indicators (L1)",
    sleeve=4, keys=("symbol", "open_time"))
WINNERS: Artifact[doc.Winners] = Artifact(
    "data/portfolio_candidates.json", "the winners of natural selection with scores, clusters and ratings", sleeve=4)
SELECTION: Artifact[doc.SelectionAudit] = Artifact(
    "data/selection_audit.json", "the funnel: stages, and the one fate of every candidate", sleeve=4)
ENRICHED: Artifact[doc.Enrichment] = Artifact(
    "data/portfolio_enriched.json", "winners with exchange filters, liquidity, margin permission and beta", sleeve=5)
SYNTHETIC: Artifact[pl.DataFrame] = Artifact(
    "data/synthetic_returns.parquet",
    "synthetic returns, days x atoms: a short is seen as something one is long of (L3)", sleeve=6, keys=_DAYS)
SIGN_PRE: Artifact[doc.SignTest] = Artifact(
    "data/directional_sign_test_pre_opt.json",
    "sign test before the optimization; a portfolio's over all sleeves", sleeve=7, portfolio=4)
CLUSTERS: Artifact[doc.Clusters] = Artifact("data/portfolio_clusters.json", "clusters of atoms", sleeve=8)
RISK: Artifact[doc.RiskAnalysis] = Artifact(
    "data/risk_analysis.json", "regime, covariance conditioning, caps, loss makers and budget", sleeve=8)
OPTIMIZED: Artifact[doc.Optimized] = Artifact(
    "data/portfolio_optimized_v2.json",
    "weights of atoms for each risk profile, guard on and off, with solver records", sleeve=9)
META_OPTIMIZED: Artifact[doc.MetaOptimized] = Artifact(
    "data/meta_optimized.json", "weights of sleeves for each risk profile, with bounds and solver records", portfolio=5)
META_CONTRIBUTORS: Artifact[doc.Contributors] = Artifact(
    "data/meta_contributors.json", "every atom behind every coin, netting, and where the capital went", portfolio=6)
FLATTENED: Artifact[doc.Flattened] = Artifact(
    "data/portfolio_flattened.json",
    "weights of coins for each risk profile, with the atoms behind them (L4)", sleeve=10, portfolio=6)
SIGN_POST: Artifact[doc.SignTest] = Artifact(
    "data/directional_sign_test.json",
    "sign test after flattening; a portfolio's over all sleeves and coins", sleeve=11, portfolio=7)
WALK_RETURNS: Artifact[pl.DataFrame] = Artifact(
    WALK + "returns.parquet",
    "walk-forward: daily NAV, return, gross, net, largest coin, cash, turnover, cost and borrow",
    sleeve=12, portfolio=8, keys=_BOOK)
WALK_UNGUARDED: Artifact[pl.DataFrame] = Artifact(
    WALK + "unguarded_returns.parquet",
    "walk-forward of one phase with the guard off: the same columns", sleeve=12, keys=_BOOK)
WALK_PHASE: Artifact[pl.DataFrame] = Artifact(
    WALK + "phase_returns.parquet",
    "walk-forward of the same phase as run, the guard as the profile has it", sleeve=12, keys=_BOOK)
WALK_DECISIONS: Artifact[pl.DataFrame] = Artifact(
    WALK + "decisions.parquet",
    "walk-forward: a summary of each decision; a portfolio's has the weights of its sleeves",
    sleeve=12, portfolio=8, keys=("as_of",))
WALK_WEIGHTS: Artifact[pl.DataFrame] = Artifact(
    WALK + "weights.parquet",
    "walk-forward: net weights of coins decided at each rebalance", sleeve=12, portfolio=8, keys=_HELD)
WALK_UNGUARDED_WEIGHTS: Artifact[pl.DataFrame] = Artifact(
    WALK + "unguarded_weights.parquet", "walk-forward with the guard off: net weights decided", sleeve=12, keys=_HELD)
WALK_PHASE_WEIGHTS: Artifact[pl.DataFrame] = Artifact(
    WALK + "phase_weights.parquet", "walk-forward of that phase: net weights decided, as run", sleeve=12, keys=_HELD)
WALK_TRADES: Artifact[pl.DataFrame] = Artifact(
    WALK + "trades.parquet", "walk-forward: every trade",
    sleeve=12, portfolio=8, keys=("date", "risk_profile", "symbol", "reason"))
WALK_CANCELLED: Artifact[pl.DataFrame] = Artifact(
    WALK + "cancelled.parquet",
    "walk-forward: orders that met no bar", sleeve=12, portfolio=8, keys=("date", "risk_profile", "symbol"))
WALK_YARDSTICKS: Artifact[pl.DataFrame] = Artifact(
    WALK + "yardsticks.parquet",
    "walk-forward: daily returns of the benchmark and of all coins in equal weights", sleeve=12, keys=_DAYS)
HOLDINGS: Artifact[doc.HeldBooks] = Artifact(
    WALK + "holdings.json",
    "the book: what each tranche holds of each coin at the last close, after today's decision",
    sleeve=12, portfolio=8)
WALK_STATISTICS: Artifact[Plain] = Artifact(
    WALK + "statistics.json",
    "walk-forward: metrics for each risk profile; a sleeve's with the guard on and off", sleeve=12, portfolio=8)
WALK_SURVIVORSHIP: Artifact[Plain] = Artifact(
    WALK + "survivorship.json", "walk-forward: the same on survivors only, and the error", sleeve=12)
WALK_BY_YEAR: Artifact[Plain] = Artifact(
    WALK + "by_year.json", "walk-forward: metrics for each risk profile in each calendar year", sleeve=12)
WALK_BY_REGIME: Artifact[Plain] = Artifact(
    WALK + "by_regime.json", "walk-forward: metrics for each risk profile in each regime", sleeve=12)
WORTH: Artifact[doc.Worth] = Artifact(
    WALK + "worth.json",
    "what the decisions were worth: plain books on the same days, lots, capacity, where the result came from",
    sleeve=12)
META_ANALYSIS: Artifact[doc.Analysis] = Artifact(
    "data/meta_analysis.json", "ruin, concentration, bets, correlation, contributions, leave one out", portfolio=9)
PRESERVATION: Artifact[doc.CapitalPreservation] = Artifact(
    "data/capital_preservation.json", "capital preservation: loss makers and drawdown, guard on and off", sleeve=13)
VALIDATION: Artifact[doc.AtomicValidation] = Artifact(
    "reports/validation/", "validation of all artifacts against each other", sleeve=14, portfolio=10)
TRIALS: Artifact[Plain] = Artifact(
    "reports/trials.json", "deflated Sharpe ratios, given what else was tried in this home", sleeve=15, portfolio=11)
REPORT: Artifact[str] = Artifact(
    "reports/audit_report.md", "the audit report, in the order in which an auditor reads", sleeve=15, portfolio=11)
PAGE: Artifact[str] = Artifact(
    "reports/report.html", "the audit report as one page with plots", sleeve=15, portfolio=11)
INDEX: Artifact[str] = Artifact("INDEX.md", "this list", sleeve=15, portfolio=11)
LEDGER: Artifact[str] = Artifact(
    "audit.jsonl", "the ledger: a chain of hashes over everything that the run did", sleeve=1, portfolio=1)
STATUS: Artifact[Plain] = Artifact(
    "run_status.json",
    "state, step, times and process of the run, rewritten as it goes", sleeve=1, portfolio=1, required=False)
LOGS: Artifact[str] = Artifact("logs/", "the traceback of an internal fault", sleeve=1, portfolio=1, required=False)
# fmt: on

SINCE_FORMAT_2: tuple[str, ...] = (HOLDINGS, WORTH, WALK_PHASE, WALK_PHASE_WEIGHTS)
"""Files that runs of format 1 do not have; a portfolio of that format has no trades either."""
RUIN = "ruin"
"""Gate of step 13, or 9: its refusal is a verdict on what was held, no fault of the run, which goes on to its seal."""
TRIED = "TRIALS"
"""Event of what had been tried when a run began its walk-forward; it is of the whole home, and so of no artifact."""
TABLE: tuple[Artifact[Any], ...] = tuple(row for row in tuple(globals().values()) if isinstance(row, Artifact))
"""Every row, in the order of the steps."""
TABLE_KEYS: dict[str, tuple[str, ...]] = {row: row.keys for row in TABLE if row.keys}
"""Columns that order a table's rows before its content is hashed."""
STEP_NAMES: dict[Kind, tuple[str, ...]] = {
    "run": (
        "preflight",
        "discovery",
        "data_prep",
        "natural_selection",
        "enrichment",
        "strategy_synthesis",
        "sign_test_pre_opt",
        "risk_analysis",
        "optimization",
        "weight_flattening",
        "sign_test_post_opt",
        "walk_forward",
        "capital_preservation",
        "atomic_validation",
        "reporting",
    ),
    "meta": (
        "preflight",
        "eligibility",
        "meta_returns",
        "sign_test_pre_opt",
        "optimization",
        "weight_flattening",
        "sign_test_post_opt",
        "walk_forward",
        "analysis",
        "meta_validation",
        "reporting",
    ),
}
"""Public names of the steps of each kind of run, from step 1; the last but one validates, the last reports."""


def of(kind: Kind) -> tuple[Artifact[Any], ...]:
    """Return the rows of a kind of run, in the order of its steps."""
    return tuple(row for row in TABLE if row.step(kind) is not None)


def evidence(kind: Kind) -> tuple[Artifact[Any], ...]:
    """Return the rows without which validation refuses a run: what the steps before it always leave, and the ledger."""
    return tuple(row for row in of(kind) if row.required and (row.step(kind) or 0) < (VALIDATION.step(kind) or 0))


def describe(path: str) -> Artifact[Any] | None:
    """Return the row of a relative path, if it has one.

    >>> row = describe("reports/validation/atomic_validation_p_r.md")
    >>> row is VALIDATION, row.step("run")
    (True, 14)
    """
    return next((row for row in TABLE if row.covers(path)), None)


def step_title(step: int, kind: Kind = "run") -> str:
    """Return a step as the report names it.

    >>> step_title(4), step_title(9, "meta"), step_title(99)
    ('step 4 (natural_selection)', 'step 9 (analysis)', 'step 99')
    """
    names = STEP_NAMES[kind]
    return f"step {step} ({names[step - 1]})" if 1 <= step <= len(names) else f"step {step}"
