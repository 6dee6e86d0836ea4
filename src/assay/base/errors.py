"""Every error that Assay raises on purpose, drawn once.

::

    AssayError                 code          exit
    ├── UsageError             USAGE            2   the command asks for something that cannot be
    │   └── ProfileError       PROFILE          2   a setting is unknown or out of range
    ├── RunFailed              RUN_FAILED       1   a run ended without a portfolio
    │   ├── NoCandidates       NO_CANDIDATES    1   the scan found nobody
    │   ├── DataError          DATA             1   the bars cannot carry a decision
    │   ├── ContractError      CONTRACT         1   a table broke its contract fatally
    │   ├── GateError          GATE             1   a gate refused the run
    │   ├── SolverError        SOLVER           1   every solver of the fallback chain failed
    │   └── StepTimeout        STEP_TIMEOUT     1   a step took longer than its limit
    ├── IntegrityError         INTEGRITY        3   bytes differ from what was sealed
    │   └── LedgerError        LEDGER           3   the hash chain is broken
    ├── SourceError            SOURCE           4   a source is missing, unreachable or unreadable
    │   └── FileError          FILE             2   a file of the user's own is not there, or no table of bars
    └── InternalError          INTERNAL         5   a fault of ours, or of the disk
        └── DiskError          DISK             5   a write did not reach the disk
            └── ConflictError  CONFLICT         5   another writer was faster; what it wrote is kept

An error says what happened, where, and what to do next; ``code`` is its stable name for machines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, ClassVar

_LOGIN = re.compile(r"""[^\s/:'"]+:[^\s/]*@|(?<=://)[^\s/]+@""")
"""User and password before a host, with or without the scheme, also where a path has made one slash of two."""


def redacted(text: str) -> str:
    """Return a text without the logins of its addresses: no error, log or document may show a password.

    >>> redacted("no answer from https://user:secret@mirror.example/api")
    'no answer from https://***@mirror.example/api'
    """
    return _LOGIN.sub("***@", text)


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTEGRITY = 3
    SOURCE = 4
    INTERNAL = 5
    INTERRUPTED = 130
    UNREAD = 141
    """Nobody reads the output any more, as after ``| head``: what a shell says of SIGPIPE."""


class AssayError(Exception):
    """Base of the tree.

    Parameters
    ----------
    what : str
        What happened, one sentence.
    where : str
        File, table, symbol or setting in which it happened.
    hint : str
        What to do next.
    code : str, optional
        Stable name of the reason; defaults to the class's own.
    retry_after : float
        Seconds for which who refused wants to be left alone; 0 where it did not say.
    facts : mapping, optional
        The numbers of the message for machines, plain JSON values.

    Examples
    --------
    >>> str(UsageError("no such run", where="runs/x", hint="list them with: assay status"))
    'no such run [runs/x]; list them with: assay status'
    """

    default_code: ClassVar[str] = "ASSAY"
    exit_code: ClassVar[Exit] = Exit.INTERNAL

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        hint: str = "",
        code: str | None = None,
        retry_after: float = 0.0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(redacted(what))
        self.what = redacted(what)
        self.where = redacted(where)
        self.hint = redacted(hint)
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.facts = dict(facts or {})

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        advice = f"; {self.hint}" if self.hint else ""
        return f"{self.what}{place}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes hand errors back; the default loses keyword-only arguments.
        more = {"code": self.code, "retry_after": self.retry_after, "facts": self.facts}
        return _rebuild, (type(self), self.what, {"where": self.where, "hint": self.hint, **more})

    def as_dict(self) -> dict[str, Any]:
        """Return the error as a JSON object for ``--json`` and the ledger."""
        told = {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
        }
        return told | ({"facts": self.facts} if self.facts else {})


def _rebuild(kind: type[AssayError], what: str, more: Mapping[str, Any]) -> AssayError:
    return kind(what, **more)


class UsageError(AssayError):
    """The command asks for something that cannot be."""

    default_code = "USAGE"
    exit_code = Exit.USAGE


class ProfileError(UsageError):
    """A profile is unknown, or one of its settings is."""

    default_code = "PROFILE"


class RunFailed(AssayError):
    """A run ended without a portfolio, for a named reason."""

    default_code = "RUN_FAILED"
    exit_code = Exit.FAILED


class NoCandidates(RunFailed):
    """The scan found nobody."""

    default_code = "NO_CANDIDATES"


class DataError(RunFailed):
    """The bars cannot carry a decision."""

    default_code = "DATA"


class ContractError(RunFailed):
    """A table broke its contract fatally."""

    default_code = "CONTRACT"


class GateError(RunFailed):
    """A gate refused the run."""

    default_code = "GATE"


class SolverError(RunFailed):
    """Every solver of the fallback chain failed."""

    default_code = "SOLVER"


class StepTimeout(RunFailed):
    """A step took longer than its limit."""

    default_code = "STEP_TIMEOUT"


class IntegrityError(AssayError):
    """Bytes differ from what was recorded."""

    default_code = "INTEGRITY"
    exit_code = Exit.INTEGRITY


class LedgerError(IntegrityError):
    """The hash chain is broken."""

    default_code = "LEDGER"


class SourceError(AssayError):
    """A source is missing, unreachable or unreadable."""

    default_code = "SOURCE"
    exit_code = Exit.SOURCE


class FileError(SourceError):
    """A file, folder or frame of the user's own is not there, or is no table of bars."""

    default_code = "FILE"
    exit_code = Exit.USAGE


class InternalError(AssayError):
    """A fault of ours."""

    default_code = "INTERNAL"
    exit_code = Exit.INTERNAL


class DiskError(InternalError):
    """A write did not reach the disk."""

    default_code = "DISK"


class ConflictError(DiskError):
    """Another writer was faster; what it wrote is kept."""

    default_code = "CONFLICT"
