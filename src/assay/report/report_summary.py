"""Title, executive summary and status."""

from __future__ import annotations

from assay.report.findings import EVIDENCE_DAYS, AuditFinding, notices, verdict
from assay.report.markdown import Safe, bullets, count, escape, fill, percent, plain, ratio, section, table
from assay.report.small_book import Holdings, guarded_book
from assay.report.view import RunView


def title(view: RunView) -> Safe:
    """Return the report's first line."""
    return fill("# Audit report: {name}", name=view.name)


def executive_summary(view: RunView) -> Safe:
    """Return verdict, holdings, evidence and the strongest warning, then what was run."""
    found = notices(view)
    return section("Executive summary and status", verdict_line(view), bullets(key_lines(view, found)), _facts(view))


def verdict_line(view: RunView) -> Safe:
    """Return the verdict with its reason."""
    judged = verdict(view)
    return fill("**Verdict: {word}.** {why}", word=judged.word, why=sentence(judged.why))


def sentence(text: str) -> str:
    """Return a text as a sentence: a capital at its start, one full stop at its end.

    >>> sentence("no fault.")
    'No fault.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def key_lines(view: RunView, found: list[AuditFinding]) -> list[Safe]:
    """Return what the sleeve holds, how the evidence looks and the strongest warning."""
    lines = [fill("**Funnel.** {text}", text=_funnel(view)), *_holdings(view), *_evidence(view)]
    if found:
        lines.append(fill("**Strongest warning: {code}.** {what}", code=found[0].code, what=sentence(found[0].what)))
    else:
        lines.append(Safe("**Strongest warning.** None: no rule found anything."))
    further = list(dict.fromkeys(notice.code for notice in found[1:]))
    if further:
        lines.append(fill("**Further findings:** {codes}.", codes=", ".join(further)))
    return lines


def _funnel(view: RunView) -> str:
    if view.raw is None or view.selection is None:
        return "No winners: the run did not reach natural selection."
    audit = view.selection
    return (
        f"{count(len(view.raw.candidates), 'candidate')} gave {count(audit.n_winners, 'winner')} from "
        f"{count(audit.n_clusters, 'cluster')}; {audit.wanted} were wanted, {audit.relaxed} came by relaxation "
        f"({percent(audit.relaxed_share)})."
    )


def _holdings(view: RunView) -> list[Safe]:
    books = {name: guarded_book(view, name) for name in view.risk_profiles}
    held = {name: book for name, book in books.items() if book is not None}
    if not held:
        return [Safe("**Holdings.** None: the run has no flattened weights.")]
    return [
        fill("**Holdings, {name}:** {text}.", name=name, text=holding_sentence(book)) for name, book in held.items()
    ]


def holding_sentence(book: Holdings) -> str:
    """Say in words what a risk profile holds."""
    largest = book.largest
    if largest is None:
        return f"no coin; cash is {percent(book.cash)}"
    longs = sum(weight > 0.0 for weight in book.weights.values())
    shorts = book.coins - longs
    sides = [f"{side} {count(n, 'coin')}" for side, n in (("long", longs), ("short", shorts)) if n]
    return (
        f"{' and '.join(sides)}, gross {percent(book.gross)}, net {percent(book.net)}, cash {percent(book.cash)}; "
        f"the largest is {largest[0]} with {percent(largest[1])}"
    )


def _evidence(view: RunView) -> list[Safe]:
    if view.days is None:
        return [Safe("**Evidence.** None: the run has no walk-forward statistics.")]
    enough = "" if view.days >= EVIDENCE_DAYS else f" (these are not evidence: fewer than {EVIDENCE_DAYS})"
    text = (
        f"Walk-forward of {count(view.days, 'day')}{enough}: Sharpe {span(view, 'sharpe')}, deflated Sharpe "
        f"{span(view, 'dsr')}, maximum drawdown {span(view, 'max_drawdown', in_percent=True)}, "
        f"beta to the benchmark {span(view, 'beta')}."
    )
    return [fill("**Evidence.** {text}", text=text)]


def span(view: RunView, metric: str, *, in_percent: bool = False) -> str:
    """Return the range of a metric over the risk profiles, with the profiles at its ends."""
    known = [(value, name) for name, metrics in view.statistics.items() if (value := metrics.get(metric)) is not None]
    if not known:
        return "unknown"
    (low, low_name), (high, high_name) = min(known), max(known)
    show = percent if in_percent else ratio
    if show(low) == show(high):
        return show(low)
    return f"{show(low)} ({low_name}) to {show(high)} ({high_name})"


def _facts(view: RunView) -> Safe:
    lake = view.manifest.get("lake")
    head = lake.get("head") if isinstance(lake, dict) else None
    rows = [
        ("run", view.run_id),
        ("profile", view.name),
        ("description", view.setting("profile.description")),
        ("direction", view.direction or None),
        ("as of", view.as_of or None),
        ("source", plain(view.manifest.get("source"))),
        ("lake head", plain(head)),
        ("superset", plain(view.setting("superset.sha256"))),
        ("pool", view.setting("profile.pool")),
        ("guard", None if not view.manifest else ("on" if view.guarded else "off")),
        ("settings changed", _changed(view)),
        ("environment", plain(view.setting("environment.python"))),
    ]
    return table(["what", "value"], [(escape(name), plain(value)) for name, value in rows])


def _changed(view: RunView) -> str:
    """Return the settings whose value does not come from the package."""
    origins = view.manifest.get("provenance")
    if not isinstance(origins, dict):
        return ""
    changed = [
        f"{key} = {plain(view.setting(f'profile.{key}'))} ({origin})"
        for key, origin in origins.items()
        if origin not in {"default", "canon.toml"}
    ]
    return "; ".join(changed) or "none"
