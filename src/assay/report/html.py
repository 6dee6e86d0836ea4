"""Reports as one page of HTML: the Markdown report's own text, with plots; no network, no outside part.

The text is written once, as Markdown, by the modules of :mod:`assay.report`; here it becomes HTML and gains pictures.
So a page can say nothing that the audit report does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from assay.base.constants import TOLERANCE, Floats
from assay.report.attribution import Attribution
from assay.report.audit_report import compose, compose_joint, labelled
from assay.report.compare import BookChange, Comparison
from assay.report.comparison import to_markdown
from assay.report.figures import grids, lines
from assay.report.figures.figure import Figure, colours
from assay.report.figures.of_run import RunFigures
from assay.report.figures.of_walk import Drawn, WalkFigures, growth_of, weights_by_size
from assay.report.findings import verdict
from assay.report.glance import changed, glance, headline_of, measured_by, run_before
from assay.report.markdown import count, integer, percent, ratio, visible
from assay.report.meta import compose_meta, profiles_of, validation_of
from assay.report.prose import Passage, passages
from assay.report.sections import Labelled, risk_profiles, sentence
from assay.report.small_book import holdings
from assay.report.templating import Banner, Block, Kind, document, environment
from assay.report.view import RunView, open_run, shared_returns
from assay.runs import artifacts as layout
from assay.runs.home import told, weakened_by
from assay.runs.run import Run

Pictures = Mapping[str, Sequence[Drawn]]
"""Title of a section to its figures, or the reasons why there are none."""
KINDS: dict[str, Kind] = {"VALID": "good", "FAILED": "bad", "INCOMPLETE": "open"}
GLANCE = "At a glance"
SHOWN = "hrp"
"""Risk profile that is drawn where one has to stand for all."""
CARD_COINS = 12
"""Coins that a sleeve's card shows."""


def render_page(run_dir: Path) -> str:
    """Return the report of a run, of a sleeve or of a portfolio of sleeves, as a page.

    Parameters
    ----------
    run_dir : Path
        Run directory; one that failed is shown as far as it came.

    Raises
    ------
    UsageError
        If there is no such folder.
    IntegrityError
        If an artifact of the steps of a portfolio is missing or broken.
    """
    run = Run(run_dir)
    return page_of_portfolio(run) if run.kind == "meta" else page_of_sleeve(open_run(run_dir))


def page_of_sleeve(view: RunView, text: str | None = None) -> str:
    """Return the page of a sleeve's run that has been opened; ``text``: its audit report, if written already."""
    return report_page(compose(view) if text is None else text, _run_pictures(RunFigures(view)), head_of(view))


def page_of_portfolio(run: Run) -> str:
    """Return the page of a portfolio of sleeves that has been opened."""
    return report_page(compose_meta(run), _meta_pictures(run), _meta_head(run))


def report_page(markdown: str, pictures: Pictures, head: Banner | None = None) -> str:
    """Return a report that is written in Markdown as a page with figures.

    Parameters
    ----------
    markdown : str
        Text of this package; one title, sections of the second level.
    pictures : mapping of str to sequence of Figure or str
        Title of a section to what is shown at its beginning.
    head : Banner, optional

    Raises
    ------
    ValueError
        If a section that pictures name is not in the text.
    """
    title, lead, blocks = blocks_of(markdown, pictures)
    return document(title, blocks, head=head, lead=lead)


def blocks_of(markdown: str, pictures: Pictures) -> tuple[str, Markup, list[Block]]:
    """Return title, lead and sections of a report, each section with its figures."""
    title, lead, found = passages(markdown)
    shown = {visible(name): figures for name, figures in pictures.items()}
    strangers = set(shown) - {passage.title for passage in found}
    if strangers:
        raise ValueError(f"figures for sections that the report does not have: {sorted(strangers)}")
    return title, lead, [_block(passage, shown.get(passage.title, ())) for passage in found]


def _block(passage: Passage, pictures: Sequence[Drawn]) -> Block:
    figures = [picture for picture in pictures if isinstance(picture, Figure)]
    absent = dict.fromkeys(picture for picture in pictures if isinstance(picture, str))
    return Block(passage.key, passage.title, passage.body, figures, list(absent))


# --- one run ----------------------------------------------------------------------------------------------------------


def _run_pictures(figures: RunFigures) -> Pictures:
    return {
        GLANCE: [first_figure(figures.view)],
        "Funnel": [figures.funnel()],
        "Winners": [figures.votes(), figures.correlation()],
        "Optimization and flattening": [figures.weights("coins"), figures.weights("atoms")],
        "Performance": figures.performance(headline_of(figures.view)),
        "Capital preservation": [figures.loss_makers()],
    }


def first_figure(view: RunView) -> Drawn:
    """Return the growth of the headline's book beside benchmark and all coins."""
    name = headline_of(view)
    return WalkFigures(view.run, [name], measured_by(view.run)).equity("first")


def head_of(view: RunView) -> Banner:
    """Return verdict and key facts of a run."""
    judged = verdict(view)
    facts = [("Run", view.run_id), ("As of", view.as_of or "unknown"), ("Direction", view.direction or "unknown")]
    if view.selection is not None:
        raw = f" of {integer(len(view.raw.candidates))} candidates" if view.raw else ""
        facts.append(("Winners", f"{integer(view.selection.n_winners)}{raw}"))
    if view.days is not None:
        facts.append(("Walk-forward", f"{integer(view.days)} days"))
    kind: Kind = "bad" if view.ruin else KINDS[judged.word]
    return Banner(judged.said, sentence(judged.why), kind, facts)


# --- a portfolio of sleeves -------------------------------------------------------------------------------------------


def _meta_head(run: Run) -> Banner:
    found = validation_of(run)
    ok = found is not None and found.ok
    checks = count(0 if found is None else len(found.checks), "check")
    days = [profile.days for profile in run[layout.META_ALIGNMENT].profiles.values()]
    coins = [profile.coins for profile in run[layout.META_ANALYSIS].profiles.values()]
    cash = [book.cash for book in run[layout.META_CONTRIBUTORS].profiles.values()]
    facts = [
        ("Run", str(run[layout.MANIFEST]["run_id"])),
        ("As of", str(run[layout.MANIFEST]["as_of"])),
        ("Sleeves", integer(len(run[layout.META_SLEEVES].accepted))),
        ("Shared days", f"{integer(min(days))} to {integer(max(days))}"),
        ("Coins", f"{integer(min(coins))} to {integer(max(coins))}"),
        ("Cash", f"{percent(min(cash))} to {percent(max(cash))}"),
    ]
    why = f"{checks} of meta validation, {'all ok' if ok else 'not all ok'}."
    word = f"VALID{told(weakened_by(run[layout.MANIFEST]), most=None)}" if ok else "NOT VALID"
    return Banner(word, why, "good" if ok else "bad", facts)


def _meta_pictures(run: Run) -> Pictures:
    figures = WalkFigures(run, profiles_of(run), measured_by(run))
    return {
        GLANCE: [first_figure(RunView(run))],
        "Allocation by sleeve": [_sleeve_weights(run)],
        "Allocation by coin": [_coin_weights(run)],
        "Correlation of sleeves": [_meta_correlation(run)],
        "Performance": figures.performance(headline_of(RunView(run))),
    }


def _sleeve_weights(run: Run) -> Drawn:
    columns = {
        name: {one.Sleeve: one.Weight for one in run[layout.META_OPTIMIZED].profiles[name].sleeves}
        for name in profiles_of(run)
    }
    rows = [sleeve.sleeve for sleeve in run[layout.META_SLEEVES].accepted]
    return grids.weights(rows, columns, "weights-sleeves", "Weights of sleeves")


def _coin_weights(run: Run) -> Drawn:
    columns = {
        name: {coin.Symbol: coin.Net for coin in run[layout.META_CONTRIBUTORS].profiles[name].coins if coin.Net}
        for name in profiles_of(run)
    }
    return weights_by_size(columns, "weights-coins", "Net weights on coins")


def _meta_correlation(run: Run) -> Drawn:
    """Draw the first risk profile's; the tables have all."""
    names = profiles_of(run)
    name = SHOWN if SHOWN in names else names[0]
    found = run[layout.META_ANALYSIS].profiles[name].correlation
    if len(found) < 2:
        return "one sleeve has no correlation"
    cells = np.array([[np.nan if row[other] is None else row[other] for other in found] for row in found.values()])
    title = f"Correlation of the sleeves, {name}"
    return grids.correlation(list(found), [""] * len(found), cells.astype(np.float64), title=title)


# --- several runs -----------------------------------------------------------------------------------------------------


def render_joint_page(run_dirs: Sequence[Path]) -> str:
    """Return the joint report over several runs as a page.

    Raises
    ------
    UsageError
        If there is no run, or a folder does not exist.
    """
    runs = labelled([open_run(folder) for folder in run_dirs])
    text = compose_joint(runs)
    words = [verdict(view).word for _, view in runs]
    ruined = [f"{label}: {view.ruin}" for label, view in runs if view.ruin]
    kind: Kind = "bad" if "FAILED" in words or ruined else "good" if set(words) == {"VALID"} else "open"
    said = "; ".join([f"{words.count('VALID')} of {len(words)} VALID", *ruined])
    head = Banner(said, f"{count(len(words), 'run')} side by side.", kind)
    return report_page(text, _joint_pictures(runs), head)


def joint_blocks(run_dirs: Sequence[Path]) -> list[Block]:
    """Return the sections of the joint report, for a page that has its own head.

    Raises
    ------
    UsageError
        If there is no run, or a folder does not exist.
    """
    runs = labelled([open_run(folder) for folder in run_dirs])
    _, _, blocks = blocks_of(compose_joint(runs), _joint_pictures(runs))
    return blocks


def _joint_pictures(runs: Labelled) -> Pictures:
    names = risk_profiles(runs)
    if not names:
        return {}
    name = SHOWN if SHOWN in names else names[0]
    found: dict[str, list[Drawn]] = {
        "Verdicts": [growth(runs, name)],
        "Holdings side by side": [_holdings(runs, name)],
    }
    if len(runs) > 1:
        found["Correlation of the sleeves"] = [_correlation(runs, name)]
    return found


def growth(runs: Labelled, name: str, key: str = "equity") -> Drawn:
    """Draw the growth of 1 of one risk profile in several runs, with what the first of them is held against."""
    walks = [(label, WalkFigures(view.run, [name])) for label, view in runs]
    known = [(label, walk) for label, walk in walks if not isinstance(walk.walk, str)]
    if not known:
        return f"no run has a walk-forward of {name}"
    days = np.unique(np.concatenate([walk.days for _, walk in known]))
    nav: dict[str, Floats] = {}
    for label, walk in known:
        nav[label] = np.full(len(days), np.nan)
        nav[label][np.searchsorted(days, walk.days)] = walk.column("nav")[name]
    measured: dict[str, Floats] = {}
    first = known[0][1]
    if len(first.days) == len(days):
        measured = {one: growth_of(series) for one, series in first.yardsticks.items()}
    told = ", ".join(f"{label} {ratio(lines.last(values))}" for label, values in nav.items())
    title = f"Growth of 1 in the walk-forward, {name}, after costs"
    description = f"From {lines.span(days)}. At the end: {told}."
    panels = {"": {**nav, **measured}}
    return lines.lines_over(key, title, description, days, panels, (ratio,), level=1.0, growth=True)


def _holdings(runs: Labelled, name: str) -> Drawn:
    columns = {label: book.weights for label, view in runs if (book := holdings(view, name)) is not None}
    return weights_by_size(columns, "weights-coins", f"Net weights on coins, {name}", "nothing is held")


def _correlation(runs: Labelled, name: str) -> Drawn:
    n = len(runs)
    cells = np.full((n, n), np.nan)
    for i, (_, one) in enumerate(runs):
        for j, (_, other) in enumerate(runs):
            shared = shared_returns(one.returns, other.returns, name)
            if shared.height > 1:
                with np.errstate(invalid="ignore", divide="ignore"):
                    cells[i, j] = np.corrcoef(shared["ret"].to_numpy(), shared["ret_other"].to_numpy())[0, 1]
    if not np.isfinite(cells).any():
        return "no two runs have days in common"
    title = f"Correlation of the sleeves, {name}"
    return grids.correlation([label for label, _ in runs], [""] * n, cells, title=title)


def render_comparison_page(comparison: Comparison, attribution: Attribution, views: tuple[RunView, RunView]) -> str:
    """Return the comparison of two runs as a page."""
    runs = [(comparison.a, views[0]), (comparison.b, views[1])]
    pictures: dict[str, list[Drawn]] = {
        f"Weights of {name}": [figure]
        for name, book in comparison.books.items()
        if (figure := _moved(comparison, name, book)) is not None
    }
    for name in comparison.performance:
        pictures[f"Walk-forward of {name}"] = [growth(runs, name, f"equity-{name.replace('_', '-')}")]
    return report_page(to_markdown(comparison, attribution), pictures)


def _moved(comparison: Comparison, name: str, book: BookChange) -> Figure | None:
    moved = [holding for holding in book.holdings if abs(holding.difference) > TOLERANCE]
    if not moved:
        return None
    columns = {
        comparison.a: {one.coin: one.a for one in moved if one.a},
        comparison.b: {one.coin: one.b for one in moved if one.b},
        "difference": {one.coin: one.difference for one in moved},
    }
    rows = [one.coin for one in moved]
    return grids.weights(rows, columns, f"weights-{name.replace('_', '-')}", f"Net weights on coins, {name}")


# --- cards of a notebook ----------------------------------------------------------------------------------------------


def run_card(run_dir: Path) -> str:
    """Return verdict and key facts of a run as HTML."""
    view = open_run(run_dir)
    head, seen = head_of(view), glance(view)
    facts = [*head.facts, *((light.name, f"{light.word}: {light.why}") for light in seen.lights)]
    facts += [(row.name, f"{row.own} (benchmark {row.benchmark}, all coins {row.universe})") for row in seen.figures]
    facts += [(coin, percent(weight, 2)) for coin, weight in seen.held]
    facts += [("since the last run", line) for line in changed(view, run_before(view))]
    return _card(view.name, f"{head.word}. {head.why}", facts)


def sleeve_card(profile: str, risk_profile: str, weights: Mapping[str, float], cash: float) -> str:
    """Return the coins of a sleeve, the largest first, as HTML."""
    held = sorted((pair for pair in weights.items() if pair[1]), key=lambda pair: (-abs(pair[1]), pair[0]))
    facts = [(symbol, percent(weight, 2)) for symbol, weight in held[:CARD_COINS]]
    if len(held) > CARD_COINS:
        rest = sum(weight for _, weight in held[CARD_COINS:])
        facts.append((f"{len(held) - CARD_COINS} more, together", percent(rest, 2)))
    return _card(f"{profile}, {risk_profile}", f"{len(held)} coins", [*facts, ("cash", percent(cash, 2))])


def _card(title: str, text: str, facts: Sequence[tuple[str, str]]) -> str:
    template = environment().get_template("card.html.j2")
    return template.render(title=title, text=text, facts=facts, colours=colours("div.assay-card"))
