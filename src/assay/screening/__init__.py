"""Scanners, the superset of their candidates, and the live screener."""
