"""Cards by which a notebook shows runs and sleeves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assay.report.figures.figure import colours
from assay.report.html.html_environment import environment
from assay.report.html.html_run_page import head_of
from assay.report.markdown import percent
from assay.report.view import open_run

LISTED = 12
"""Coins that a sleeve's card shows."""


def run_card(run_dir: Path) -> str:
    """Return verdict and key facts of a run as HTML."""
    view = open_run(run_dir)
    head = head_of(view)
    return _card(view.name, f"{head.word}. {head.why}", head.facts)


def sleeve_card(profile: str, risk_profile: str, weights: Mapping[str, float], cash: float) -> str:
    """Return the coins of a sleeve, the largest first, as HTML."""
    held = sorted((pair for pair in weights.items() if pair[1]), key=lambda pair: (-abs(pair[1]), pair[0]))
    facts = [(symbol, percent(weight, 2)) for symbol, weight in held[:LISTED]]
    if len(held) > LISTED:
        rest = sum(weight for _, weight in held[LISTED:])
        facts.append((f"{len(held) - LISTED} more, together", percent(rest, 2)))
    return _card(f"{profile}, {risk_profile}", f"{len(held)} coins", [*facts, ("cash", percent(cash, 2))])


def _card(title: str, text: str, facts: Sequence[tuple[str, str]]) -> str:
    template = environment().get_template("card.html.j2")
    return template.render(title=title, text=text, facts=facts, colours=colours("div.assay-card"))
