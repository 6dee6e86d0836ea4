"""Decisions on past days, the book that holds them, and what both are worth."""
