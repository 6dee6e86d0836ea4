"""``assay prove``: print the chain behind one weight."""

from __future__ import annotations

from collections.abc import Iterator

from assay.base.domain import check_symbol
from assay.base.errors import Exit
from assay.cli import do_output as output
from assay.prove import Link, Proof
from assay.prove import prove as chain
from assay.prove.links import Scalar
from assay.runs.home import Home


def prove(home: Home, run: str, risk_profile: str, symbol: str, as_json: bool) -> int:
    """Prove one weight and print it; return the exit code."""
    proof = chain(home.path, home.run(run), home.registry, risk_profile, check_symbol(symbol))
    if as_json:
        output.as_json(proof.as_dict())
    else:
        for line in _lines(proof):
            output.line(line)
        output.line(
            f"{proof.compared():,} figures compared: {'ok' if proof.ok else f'MISMATCH, first in {proof.broken}'}"
        )
    return Exit.OK if proof.ok else Exit.FAILED


def _lines(proof: Proof) -> Iterator[str]:
    for below in proof.sleeves:
        yield from _lines(below)
    signed = f", signed by {proof.signed_by}" if proof.signed_by else ""
    yield f"{proof.run_id}, {proof.risk_profile}, {proof.symbol}, as of {proof.as_of}"
    yield f"sealed: head {proof.head}{signed}"
    for link in proof.links:
        yield ""
        yield f"{'ok' if link.ok else 'MISMATCH':8} {link.name}{f' of {link.atom}' if link.atom else ''}: {link.what}"
        yield f"         {link.artifact} {link.sha256}"
        yield from _figures(link)
    yield ""
    yield f"net weight of {proof.symbol} in {proof.risk_profile}: {proof.net_weight:+.10f}"
    yield ""


def _figures(link: Link) -> Iterator[str]:
    rows = [
        [
            "ok" if one.ok else "MISMATCH",
            one.name,
            _text(one.recorded),
            _text(one.recomputed),
            ", ".join(f"{name} {_text(value)}" for name, value in one.inputs.items()),
        ]
        for one in link.pairs
    ]
    for line in output.table(["", "figure", "recorded", "recomputed", "read from"], rows).splitlines():
        yield f"         {line.rstrip()}"
    for name, value in link.notes.items():
        yield f"         {name}: {_text(value)}"


def _text(value: Scalar) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:16]}..."
    return "-" if value is None else str(value)
