"""What a user may accept though it was refused by name: one state, in one call, with a reason.

A refusal prints the digest of what it refused and the line to type. Another answer has another digest, so that it is
refused again. Nothing here is read from a file or the environment. What was accepted of a source is a part of the
lake's states from then on, see :class:`assay.lake.head.Head`; of a run, of the portfolio or the orders that take it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.base import files
from assay.base.errors import UsageError

IMPLAUSIBLE = "SCREENER_IMPLAUSIBLE"
SHRUNK = "INSTRUMENTS_SHRUNK"
RUIN = "RUIN"
ACCEPTABLE = {
    RUIN: "the run's book counts though its walk-forward was not survived",
    IMPLAUSIBLE: "the screener's recorded answer counts, whatever our own bars and ratings say",
    SHRUNK: "the trading pairs that the exchange's answer lacks are gone",
}
"""Every refusal that may be accepted, and what then holds; rules of futures for spot orders are never among them."""
_NEVER = ("RULES_NOT_SPOT", "RULES_UNREADABLE")
_DIGITS = 16
_WANTED = re.compile(rf"([A-Z_]+):([0-9a-f]{{{_DIGITS}}})")


@dataclass(frozen=True)
class Acceptance:
    """What is accepted in one call.

    Attributes
    ----------
    wanted : frozenset of (str, str)
        Codes and digests.
    because : str
        The user's reason.
    used : list of dict
        What was refused by one of them and taken: ``code``, ``digest``, ``because``, ``what``.
    """

    wanted: frozenset[tuple[str, str]] = frozenset()
    because: str = ""
    used: list[dict[str, str]] = field(default_factory=list, compare=False)

    @classmethod
    def asked(cls, wanted: Sequence[str], because: str | None) -> Acceptance:
        """Read ``--accept`` and ``--because``.

        Raises
        ------
        UsageError
            If one stands without the other, a code is not one of :data:`ACCEPTABLE`, or a digest is none.
        """
        reason = " ".join((because or "").split())
        if not wanted and because is None:
            return cls()
        hint = "write --accept CODE:DIGEST --because TEXT, as the refusal prints it"
        if not wanted or not reason:
            what = "--because says why something is accepted" if not wanted else "what is accepted needs a reason"
            raise UsageError(what, where="--because", hint=hint)
        found = [_read(text, hint) for text in wanted]
        return cls(frozenset(found), reason)

    @classmethod
    def recorded(cls, notes: Sequence[Mapping[str, str]]) -> Acceptance:
        """Return what a manifest says was accepted."""
        because = "; ".join(dict.fromkeys(note["because"] for note in notes))
        return cls(frozenset((note["code"], note["digest"]) for note in notes), because)

    @property
    def notes(self) -> tuple[dict[str, str], ...]:
        """What is accepted, as a manifest says it."""
        return tuple({"code": code, "digest": state, "because": self.because} for code, state in sorted(self.wanted))

    def takes(self, code: str, digest: str, what: str) -> bool:
        """Tell whether a refused state is accepted, and note it."""
        if (code, digest) not in self.wanted:
            return False
        note = {"code": code, "digest": digest, "because": self.because, "what": what}
        if note not in self.used:
            self.used.append(note)
        return True

    def about(self, code: str) -> bool:
        """Tell whether anything of a code is to be accepted."""
        return any(one == code for one, _ in self.wanted)

    @property
    def unused(self) -> list[str]:
        """What was to be accepted and was not refused in this call."""
        used = {(note["code"], note["digest"]) for note in self.used}
        return [f"{code}:{digest}" for code, digest in sorted(self.wanted - used)]


def _read(text: str, hint: str) -> tuple[str, str]:
    parts = _WANTED.fullmatch(text)
    code = text.partition(":")[0]
    if code in _NEVER:
        raise UsageError(f"{code} is never accepted: orders go by the rules of their own market", where="--accept")
    if code not in ACCEPTABLE:
        raise UsageError(f"{code!r} cannot be accepted", where="--accept", hint=f"one of: {', '.join(ACCEPTABLE)}")
    if parts is None:
        raise UsageError(f"{text!r} has no digest of {_DIGITS} hexadecimal digits", where="--accept", hint=hint)
    return parts[1], parts[2]


def digest(state: Any) -> str:
    """Return the digest of a refused state, JSON values.

    >>> digest({"gone": ["BINANCE:XUSDT"]})
    '9089dcd189db9eff'
    """
    return files.content_hash_json(state)[:_DIGITS]


def ruin_state(run_id: str, ruin: Any) -> str:
    """Return the digest of what a run says of ruined books: it is accepted of one run."""
    return digest({"run": run_id, "ruin": ruin})


def offer(command: str, code: str, state: str) -> str:
    """Return the line that accepts a refused state, for the hint of its refusal.

    >>> offer("ingest --source binance", "SYNC_EMPTY", "0123456789abcdef")
    'if it is so, accept it by: assay ingest --source binance --accept SYNC_EMPTY:0123456789abcdef --because TEXT'
    """
    return f"if it is so, accept it by: assay {command} --accept {code}:{state} --because TEXT"


NOTHING_ACCEPTED = Acceptance()
