"""Attempts to break what Assay promises, each with what must catch it; the tests and ``assay selftest`` share them."""
