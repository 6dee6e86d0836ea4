"""The registry of runs: one chained line for each sealed run, shared by all processes of a home.

A line repeats what the run's seal says, so that an edit of either shows in the other. It is also where the number of
trials comes from: who looks at many portfolios finds a good one by chance. So a run has a line, too, before its
walk-forward shows anything: a look that is interrupted was a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from assay.base import files
from assay.base.errors import IntegrityError, LedgerError
from assay.runs.ledger import Clock, broken, chain_line, format_time, read_ledger, utc_now
from assay.runs.verify import FORMAT, REGISTRY_KINDS, Chain, Entry, Problem, newer, parse_line, read_chain, registration


@dataclass(frozen=True)
class Registration:
    """What the registry holds about a sealed run.

    Attributes
    ----------
    run_id, profile : str
    head : str
        Hash of the ledger's last line.
    seal : str
        Hash of what the seal says and of the head before it; what a signature signs.
    manifest : str
        Hash of what was asked for, without the run's name, clock or earlier trials: equal ones are one trial.
    verdict : str
    time : str
        When the run was sealed.
    performance : dict
        Risk profile to annual Sharpe ratio of the walk-forward, None where there is none.
    format : int
        Of the run; a line of format 1 does not tell it.
    """

    run_id: str
    profile: str
    head: str
    seal: str
    manifest: str
    verdict: str
    time: str
    performance: dict[str, float | None] = field(default_factory=dict)
    format: int = 1

    @classmethod
    def sealed(cls, entries: list[Entry]) -> Self:
        """Return what a sealed ledger says, for entering it, again if need be.

        Raises
        ------
        LedgerError
            If the ledger does not end with a seal.
        """
        if not entries or entries[-1].kind != "seal":
            raise LedgerError("run is not sealed", hint="resume it", code="NOT_SEALED")
        return cls(**registration(entries[0], entries[-1]), time=entries[-1].time)

    @classmethod
    def entered(cls, entry: Entry) -> Self:
        """Read a line of the registry."""
        if fault := newer(entry.body):
            line = Problem("NEWER_FORMAT", f"registry line {entry.seq + 1}", fault)
            raise broken(Path(str(entry.body.get("run_id"))), line)
        try:
            return cls(**entry.body, time=entry.time)
        except TypeError as error:
            what = f"registry line {entry.seq + 1} has missing or unknown fields"
            raise LedgerError(what, where=str(entry.body.get("run_id")), hint="run: assay verify") from error

    @property
    def body(self) -> dict[str, Any]:
        """Fields of the line but its time, which every line has."""
        told = asdict(self)
        return {key: value for key, value in told.items() if key != "time" and (key, value) != ("format", 1)}


@dataclass(frozen=True)
class Begun:
    """A run that is about to look at its walk-forward.

    Attributes
    ----------
    run_id, profile : str
    tried : str
        Hash of the settings that can change a decision or a cost.
    """

    run_id: str
    profile: str
    tried: str


def begin(path: Path, runs: Sequence[Begun], *, clock: Clock = utc_now) -> str:
    """Enter runs that begin together, and return the hash of the last one's line; what stands there stays as it is.

    Raises
    ------
    LedgerError
        If the registry is broken; the message names the line.
    DiskError
        If a line did not reach the disk; the registry is then what it was before.
    """
    wanted = {one.run_id for one in runs}
    with files.locked(path.with_name(path.name + ".lock")):
        lines = _whole(path, clock)
        there = {entry.body["run_id"] for entry in lines if entry.kind == "begun"}
        for one in runs:
            if one.run_id not in there:
                body = asdict(one) | {"format": FORMAT}
                lines = _write(path, lines, chain_line(lines, format_time(clock()), "begun", body))
    return [entry.hash for entry in lines if entry.kind == "begun" and entry.body["run_id"] in wanted][-1]


def until(path: Path, head: str | None = None) -> list[Entry]:
    """Return the lines up to one that a run has pinned, all where None.

    Raises
    ------
    LedgerError
        If the registry is broken, or has no such line.
    """
    lines = _load(path)[0].entries
    for entry in lines:
        if entry.kind == "begun" and not all(isinstance(entry.body.get(key), str) for key in ("run_id", "tried")):
            what = "fields are missing or of the wrong type"
            raise broken(path, Problem("LINE_BROKEN", f"{path.name} line {entry.seq + 1}", what))
    if head is None:
        return lines
    known = [place for place, entry in enumerate(lines, start=1) if entry.hash == head]
    if not known:
        what = f"the registry has no line {head} any more"
        raise LedgerError(what, where=str(path), hint="run: assay verify", code="REGISTRY_CUT")
    return lines[: known[0]]


def append(path: Path, run: Registration, *, clock: Clock = utc_now) -> str:
    """Enter a sealed run and return the registry's head; to enter the same run again changes nothing.

    A torn last line is cut, and a ``resume`` line holds its length and hash.

    Raises
    ------
    LedgerError
        If the registry is broken; the message names the line.
    IntegrityError
        If the registry holds another seal of this run.
    DiskError
        If the line did not reach the disk; the registry is then what it was before.
    """
    with files.locked(path.with_name(path.name + ".lock")):
        chain = _load(path)[0]
        known = [entry for entry in chain.entries if entry.kind == "run" and entry.body.get("run_id") == run.run_id]
        if known:
            _refuse_another(path, known[0], run)
            return chain.head
        lines = _whole(path, clock)
        return _write(path, lines, chain_line(lines, run.time, "run", run.body))[-1].hash


def _whole(path: Path, clock: Clock) -> list[Entry]:
    """Return the lines, once a torn last one is cut."""
    chain, size = _load(path)
    if not chain.torn:
        return chain.entries
    files.truncate(path, size)
    body = {"reason": "torn line", "cut": {"bytes": len(chain.torn), "sha256": files.sha256(chain.torn)}}
    return _write(path, chain.entries, chain_line(chain.entries, format_time(clock()), "resume", body))


def complete(path: Path, ledger: Path) -> str:
    """Enter a run whose process died between its seal and the registry, from its ledger; return the registry's head.

    Raises
    ------
    LedgerError
        If the ledger is broken or not sealed, or the registry is broken.
    IntegrityError
        If the registry holds another seal of this run.
    """
    return append(path, Registration.sealed(read_ledger(ledger)))


def _refuse_another(path: Path, entry: Entry, run: Registration) -> None:
    if Registration.entered(entry) != run:
        what = f"registry line {entry.seq + 1} holds another seal of run {run.run_id}"
        raise IntegrityError(what, where=str(path), hint="run: assay verify")


def _write(path: Path, before: list[Entry], line: bytes) -> list[Entry]:
    size = path.stat().st_size if path.exists() else 0
    try:
        files.append(path, line)
        files.sync_folder(path.parent)  # the first line makes the file
    except BaseException:  # whatever cut the writing, an interrupt too, half a line must not stay
        if path.exists():
            files.truncate(path, size)
        raise
    return [*before, parse_line(line[:-1], REGISTRY_KINDS)]


def _load(path: Path) -> tuple[Chain, int]:
    """Return the chain and the number of bytes of its whole lines; a home without runs has no registry yet."""
    if not path.exists():
        return Chain([], None, b""), 0
    data = files.read(path)
    chain = read_chain(data, path.name, REGISTRY_KINDS, ordered=False)
    if chain.fault is not None:
        raise broken(path, chain.fault)
    return chain, len(data) - len(chain.torn)


def entries(path: Path) -> list[Registration]:
    """Return the sealed runs in the order in which they were entered; a torn last line is not one.

    Raises
    ------
    LedgerError
        If the registry is broken; the message names the line.
    """
    return [Registration.entered(entry) for entry in _load(path)[0].entries if entry.kind == "run"]


def head(path: Path) -> str:
    """Return the hash of the registry's last line, for the genesis of a run that begins; 64 zeros for none."""
    return _load(path)[0].head


def check(path: Path) -> int:
    """Check the registry's lines and links, and that no run stands twice; return how many lines hold.

    Raises
    ------
    LedgerError
        If a line is wrong or torn; the message names the line.
    """
    chain, _ = _load(path)
    if chain.torn:
        where = f"{path.name} line {len(chain.entries) + 1}"
        raise broken(path, Problem("TORN", where, "no newline ends it: a write was cut"))
    seen: dict[str, int] = {}
    for entry in chain.entries:
        if entry.kind == "run":
            run = Registration.entered(entry).run_id
            if run in seen:
                what = f"run {run} stands in line {seen[run]} too"
                raise broken(path, Problem("REGISTRY_RUN", f"{path.name} line {entry.seq + 1}", what))
            seen[run] = entry.seq + 1
    return len(chain.entries)


def count(tried: list[dict[str, float]]) -> dict[str, Any]:
    """Count trials, each with the Sharpe ratio of each risk profile, and tell their spread.

    Returns
    -------
    dict
        ``n`` trials. ``sharpes``: how many ratios, one for each trial and risk profile. ``sharpe_mean`` and
        ``sharpe_variance`` over all of them (sample variance of annual ratios; None for fewer than two), and
        ``risk_profiles``: the same three for each one.
    """
    names = sorted({name for known in tried for name in known})
    pooled = [sharpe for known in tried for sharpe in known.values()]
    by_name = {name: [known[name] for known in tried if name in known] for name in names}
    return {"n": len(tried), **_spread(pooled), "risk_profiles": {name: _spread(by_name[name]) for name in names}}


def _spread(values: list[float]) -> dict[str, float | int | None]:
    from statistics import fmean, variance  # 10 ms that a command which counts nothing need not pay

    return {
        "sharpes": len(values),
        "sharpe_mean": fmean(values) if values else None,
        "sharpe_variance": variance(values) if len(values) > 1 else None,
    }
