"""The ledger as the report reads it: what each step did last, and when.

The report must also be writable for a run whose ledger is torn or missing, so faults are values here and not errors.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.base.domain import UTC
from assay.runs.verify import LEDGER_KINDS, Body, Entry, read_chain


def step_of(entry: Entry) -> int | None:
    """Return the step that an entry belongs to."""
    step = entry.body.get("step")
    return step if type(step) is int else None


@dataclass(frozen=True)
class Outcome:
    """How the last attempt of a step went."""

    step: int
    name: str
    state: str
    error: Mapping[str, Any] | None
    started: dt.datetime | None
    ended: dt.datetime | None
    attempts: int

    @property
    def failed(self) -> bool:
        """Whether the attempt ended with an error."""
        return self.error is not None

    @property
    def finished(self) -> bool:
        """Whether the attempt ended well."""
        return self.ended is not None and self.error is None

    @property
    def seconds(self) -> float | None:
        """Seconds from intent to outcome."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class Trail:
    """A ledger read once.

    Attributes
    ----------
    entries : tuple of Entry
        In the order of the file, as far as its chain holds.
    fault : str or None
        Why the file cannot be read to its end.
    """

    entries: tuple[Entry, ...]
    fault: str | None

    @property
    def head(self) -> str | None:
        """Hash of the last line that could be read."""
        return self.entries[-1].hash if self.entries else None

    @cached_property
    def outcomes(self) -> dict[int, Outcome]:
        """Last attempt of each step, by number."""
        return {step: self._outcome(step) for step in sorted(self._intents)}

    @cached_property
    def _intents(self) -> dict[int, list[int]]:
        """Positions of the intents of each step."""
        positions: dict[int, list[int]] = {}
        for position, entry in enumerate(self.entries):
            step = step_of(entry)
            if entry.kind == "intent" and step is not None:
                positions.setdefault(step, []).append(position)
        return positions

    def _outcome(self, step: int) -> Outcome:
        intents = self._intents[step]
        begin = self.entries[intents[-1]]
        later = self.entries[intents[-1] :]
        end = next((entry for entry in later if entry.kind == "outcome" and step_of(entry) == step), None)
        return Outcome(
            step=step,
            name=str(begin.body.get("name", "")),
            state=str(end.body.get("state", "")) if end else "unfinished",
            error=_error(end.body) if end else None,
            started=parse_time(begin.time),
            ended=parse_time(end.time) if end else None,
            attempts=len(intents),
        )

    def current(self, *kinds: str) -> Iterator[Entry]:
        """Entries of the given kinds, without those of attempts that a resumed run has redone."""
        for position, entry in enumerate(self.entries):
            step = step_of(entry)
            begun = self._intents.get(step, []) if step is not None else []
            if entry.kind in kinds and (not begun or position >= begun[-1]):
                yield entry

    def last(self, kind: str) -> Entry | None:
        """Return the last entry of a kind."""
        return next((entry for entry in reversed(self.entries) if entry.kind == kind), None)

    @property
    def failure(self) -> Outcome | None:
        """The step whose last attempt failed."""
        return next((outcome for outcome in self.outcomes.values() if outcome.failed), None)

    @property
    def reached(self) -> int:
        """The furthest step that ended well; 0 where none did."""
        return max((outcome.step for outcome in self.outcomes.values() if outcome.finished), default=0)


def _error(body: Body) -> Mapping[str, Any] | None:
    """Return the error of an outcome as a mapping with ``code`` and ``what``; None where the step ended well."""
    error = body.get("error")
    if isinstance(error, Mapping):
        return error
    if error:
        return {"code": str(error), "what": str(error)}
    state = str(body.get("state", ""))
    return {"code": state.upper(), "what": f"the step ended {state}"} if state.lower() in _BAD_STATES else None


_BAD_STATES = frozenset({"failed", "interrupted", "error", "timeout"})


def parse_time(text: object) -> dt.datetime | None:
    """Read an instant as the ledger writes it; None for anything else."""
    try:
        instant = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def read_trail(path: Path) -> Trail:
    """Read a ledger up to its first fault; what is wrong with the rest is for ``assay verify`` to say."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Trail((), f"the ledger cannot be read: {error.strerror or error}")
    chain = read_chain(data, path.name, LEDGER_KINDS)
    fault = None if chain.entries else "the ledger is empty"
    if chain.torn:
        fault = f"the last line of the ledger, after {len(chain.entries)} whole ones, is torn"
    if chain.fault is not None:
        fault = f"the ledger is broken at {chain.fault.where}: {chain.fault.what}"
    return Trail(tuple(chain.entries), fault)
