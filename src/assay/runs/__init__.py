"""A run's directory: its artifacts, ledger, seal, registry and verifier."""
