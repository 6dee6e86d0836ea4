"""Names of the files in a run directory; a name that ends in ``/`` is a folder."""

LEDGER = "audit.jsonl"
STATUS = "run_status.json"
MANIFEST = "config/resolved_manifest.json"
RAW = "data/portfolio_candidates_raw.json"
RETURNS = "data/returns_matrix.parquet"
HEALTH = "data/data_health.json"
WINNERS = "data/portfolio_candidates.json"
SELECTION = "data/selection_audit.json"
ENRICHED = "data/portfolio_enriched.json"
SYNTHETIC = "data/synthetic_returns.parquet"
FEATURES = "data/feature_store.parquet"
SIGN_PRE = "data/directional_sign_test_pre_opt.json"
CLUSTERS = "data/portfolio_clusters.json"
RISK = "data/risk_analysis.json"
OPTIMIZED = "data/portfolio_optimized_v2.json"
FLATTENED = "data/portfolio_flattened.json"
SIGN_POST = "data/directional_sign_test.json"
WALK = "data/walk_forward/"
PRESERVATION = "data/capital_preservation.json"
VALIDATION = "reports/validation/"
TRIALS = "reports/trials.json"
REPORT = "reports/audit_report.md"
PAGE = "reports/report.html"
INDEX = "INDEX.md"
WALK_RETURNS = WALK + "returns.parquet"
WALK_UNGUARDED = WALK + "unguarded_returns.parquet"
WALK_WEIGHTS = WALK + "weights.parquet"
WALK_UNGUARDED_WEIGHTS = WALK + "unguarded_weights.parquet"
WALK_CANCELLED = WALK + "cancelled.parquet"
WALK_DECISIONS = WALK + "decisions.parquet"
WALK_TRADES = WALK + "trades.parquet"
WALK_SURVIVORSHIP = WALK + "survivorship.json"
WALK_YARDSTICKS = WALK + "yardsticks.parquet"
WALK_STATISTICS = WALK + "statistics.json"
WALK_BY_YEAR = WALK + "by_year.json"
WALK_BY_REGIME = WALK + "by_regime.json"

META_SLEEVES = "data/meta_sleeves.json"
META_RETURNS = "data/meta_returns.parquet"
META_ALIGNMENT = "data/meta_alignment.json"
META_OPTIMIZED = "data/meta_optimized.json"
META_CONTRIBUTORS = "data/meta_contributors.json"
META_ANALYSIS = "data/meta_analysis.json"

TABLE_KEYS: dict[str, tuple[str, ...]] = {
    RETURNS: ("date",),
    SYNTHETIC: ("date",),
    FEATURES: ("symbol", "open_time"),
    META_RETURNS: ("risk_profile", "date"),
    WALK_RETURNS: ("risk_profile", "date"),
    WALK_UNGUARDED: ("risk_profile", "date"),
    WALK_WEIGHTS: ("as_of", "risk_profile", "symbol"),
    WALK_UNGUARDED_WEIGHTS: ("as_of", "risk_profile", "symbol"),
    WALK_CANCELLED: ("date", "risk_profile", "symbol"),
    WALK_DECISIONS: ("as_of",),
    WALK_YARDSTICKS: ("date",),
    WALK_TRADES: ("date", "risk_profile", "symbol", "reason"),
}
"""Columns that order a table's rows before its content is hashed."""

STEP_NAMES = (
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
)
"""Public names of the fifteen steps, from step 1."""
