"""Ledger, gates, verifier."""
