"""The home folder and run directories: names, claims, status.

::

    assay-home/
        lake/<source>-<sha8>/       tables, heads.jsonl, superset/
        runs/<run id>/              one execution of one profile
        runs/registry.jsonl         chained list of sealed runs
        flows/<flow id>/            what a flow printed
        reports/                    what later commands found about sealed runs
        accounts/<name>/            a book that lives from day to day
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import DiskError, IntegrityError, UsageError
from assay.runs.artifacts import LEDGER, MANIFEST, STATUS
from assay.runs.ledger import broken, read_ledger
from assay.runs.verify import REGISTRY_KINDS, Story, read_chain

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SEAL = re.compile(
    rb'"profile":"((?:[^"\\]|\\.)*)","signature":(?:null|\{[^{}]*\}),'
    rb'"verdict":"([A-Z]+)((?:, RUIN(?: of [a-z_, ]+)?)?)"\},'
    rb'"kind":"seal","prev":"[0-9a-f]{64}","seq":\d+,"time":"[^"\\]*"\}\n\Z'
)
"""End of a canonical line: one brace closes it, so that no value within can look like this."""
SHOWN = 3
"""Weakened rules that a table names; reports and JSON name all."""
LATEST = "latest"
"""Names the run that was sealed last."""
FINAL_STATES = frozenset({"VALID", "FAILED", "INTERRUPTED"})


@dataclass(frozen=True)
class Home:
    """The one folder in which everything lives.

    Attributes
    ----------
    path : Path
        The folder, absolute.
    lake_at : str or None
        Where new lakes keep their tables if not in the folder: ``s3://bucket/prefix``.
    """

    path: Path
    lake_at: str | None = None

    @property
    def runs(self) -> Path:
        """Folder of run directories."""
        return self.path / "runs"

    @property
    def registry(self) -> Path:
        """Chained list of sealed runs."""
        return self.runs / "registry.jsonl"

    @property
    def lake(self) -> Path:
        """Folder of lakes, one for each source."""
        return self.path / "lake"

    @property
    def flows(self) -> Path:
        """Folder of flows."""
        return self.path / "flows"

    @property
    def accounts(self) -> Path:
        """Folder of accounts, which only their owner may read."""
        return self.path / "accounts"

    def has_account(self, name: str) -> bool:
        """Return whether an account is called so, and no run is."""
        named = RUN_ID.fullmatch(name) is not None and (self.accounts / name).is_dir()
        return named and not (self.runs / name).exists()

    @property
    def reports(self) -> Path:
        """Folder for findings about sealed runs."""
        return self.path / "reports"

    def run(self, name: str) -> Path:
        """Return the directory of a run.

        Parameters
        ----------
        name : str
            Its id, or a beginning that no other id has; a path to it; or ``latest`` or ``latest:PROFILE``, the one that
            was sealed last.

        Raises
        ------
        UsageError
            If there is no such run, or more than one.
        """
        if RUN_ID.fullmatch(name) and (self.runs / name).is_dir():
            return self.runs / name
        folder = Path(name)
        if (folder / LEDGER).is_file() or (folder / STATUS).is_file():
            return folder.resolve()
        word, _, profile = name.partition(":")
        sealed = self.sealed(profile) if word == LATEST else []
        if sealed:
            return self.runs / sealed[-1]
        found = [one for one in self.run_ids() if name and one.startswith(name)]
        if len(found) > 1:
            hint = f"say more of it: {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}"
            raise UsageError(f"{len(found)} runs begin with {name!r}", where=str(self.runs), hint=hint)
        if not found:
            raise UsageError(f"no run {name!r}", where=str(self.runs), hint="list the runs with: assay status")
        return self.runs / found[0]

    def sealed(self, profile: str = "") -> list[str]:
        """Ids of sealed runs that are there, of all profiles or of one, in the order in which they were sealed."""
        try:
            lines = files.read(self.registry) if self.registry.is_file() else b""
        except IntegrityError:
            return []
        chain = read_chain(lines, self.registry.name, REGISTRY_KINDS, ordered=False)
        told = [one.body for one in chain.entries if one.kind == "run"]
        ids = [str(body.get("run_id")) for body in told if profile in ("", body.get("profile"))]
        return [one for one in ids if RUN_ID.fullmatch(one) and (self.runs / one / LEDGER).is_file()]

    def run_ids(self) -> list[str]:
        """Ids of all runs, oldest name first."""
        if not self.runs.is_dir():
            return []
        return sorted(entry.name for entry in self.runs.iterdir() if entry.is_dir() and RUN_ID.fullmatch(entry.name))


def claim(parent: Path, stem: str, requested: str | None, now: dt.datetime, *, again: bool = False) -> Path:
    """Claim a directory by creating it exclusively, so that two runs never share one.

    Parameters
    ----------
    parent : Path
        Folder of run (or flow) directories.
    stem : str
        Profile or flow; the name becomes ``<stem>_<YYYYMMDD-HHMMSS>``, then ``-2``, ``-3``.
    requested : str or None
        A name given by the user; taken as it is or refused.
    again : bool
        Take over the directory of that name if its run died before it had written its manifest.

    Raises
    ------
    UsageError
        If the requested name is not a run id, or is taken.
    """
    if requested is not None and not RUN_ID.fullmatch(requested):
        raise UsageError(
            f"{requested!r} cannot name a run", hint="letters, digits, dot, dash and underscore, at most 100, no path"
        )
    base = requested or f"{stem}_{now.astimezone(UTC):%Y%m%d-%H%M%S}"
    if not RUN_ID.fullmatch(base):  # the name of a profile or flow comes from the user's settings
        hint = "letters, digits, dot, dash and underscore, at most 84"
        raise UsageError(f"{stem!r} cannot name a folder", hint=hint)
    files.make_folders(parent)
    with files.disk_errors(parent):
        for attempt in range(1, 10_000):
            folder = parent / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                files.disk.make_folder(folder)
            except FileExistsError:
                if again and not (folder / MANIFEST).is_file():
                    return folder
                if requested is not None:
                    raise UsageError(
                        f"run {requested!r} exists", where=str(folder), hint="choose another name, or add --resume"
                    ) from None
            else:
                files.sync_folder(parent)
                return folder
    raise UsageError("ten thousand runs share one second", where=str(parent), hint="name the run with --run-id")


def check_free(parent: Path, name: str) -> None:
    """Refuse a name that a run has already, before anything is claimed.

    Raises
    ------
    UsageError
        If it is taken.
    """
    if RUN_ID.fullmatch(name) and (parent / name).exists():
        raise UsageError(f"run {name!r} exists", where=str(parent / name), hint="choose another name, or add --resume")


@dataclass(frozen=True)
class RunResult:
    """How a run ended, as a worker tells it: here, since whoever waits for it needs nothing that runs need."""

    run_id: str
    profile: str
    state: str
    exit_code: int
    error: dict[str, Any] | None
    report: str | None
    weakened: tuple[str, ...] = ()
    ruin: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as a JSON object."""
        return {**asdict(self), "verdict": self.verdict}

    @property
    def verdict(self) -> str:
        """Return one word, and the reason of a failure or what was weakened."""
        if self.error is not None:
            return f"{self.state} {self.error['code']}"
        return self.state + (behind(self.ruin, self.weakened) if self.state == "VALID" else "")


@dataclass(frozen=True)
class Status:
    """``run_status.json``: where a run is, for whoever looks.

    ``state`` is RUNNING, VALID, FAILED or INTERRUPTED on disk; :meth:`seen` says DEAD where the process is gone.
    """

    run_id: str
    profile: str
    state: str
    step: int
    stage: str
    started: str
    elapsed: float
    pid: int
    pid_started: str
    error: dict[str, Any] | None = None
    host: str = ""
    weakened: tuple[str, ...] = ()
    """What the sealed manifest names as weaker than the canon; never read from the status, which nothing protects."""
    ruin: str = ""
    """What the seal says of ruined books; likewise."""

    @property
    def verdict(self) -> str:
        """State, the code of an error, and what was weakened for it."""
        if self.error is not None:
            return f"{self.state} {self.error['code']}"
        return self.state + (behind(self.ruin, self.weakened) if self.state == "VALID" else "")

    @classmethod
    def begin(cls, run_id: str, profile: str, now: dt.datetime) -> Self:
        """Return the status of a run that has just been claimed by this process."""
        return cls(
            run_id=run_id,
            profile=profile,
            state="RUNNING",
            step=0,
            stage="Waiting",
            started=now.astimezone(UTC).isoformat(timespec="milliseconds"),
            elapsed=0.0,
            pid=os.getpid(),
            pid_started=process_started(os.getpid()),
            host=platform.node(),
        )

    def write(self, folder: Path) -> Self:
        """Write the status into a run directory."""
        own = {name: value for name, value in asdict(self).items() if name not in ("weakened", "ruin")}
        files.write_json(folder / STATUS, own)
        sweep(folder)
        return self

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the status of a run directory.

        Raises
        ------
        IntegrityError
            If it cannot be read, or no version of this program wrote it.
        """
        body = files.read_json(folder / STATUS)
        try:
            status = replace(cls(**body), weakened=(), ruin="")
            status._check()
        except (TypeError, ValueError, OverflowError) as error:
            what = f"not a status of this version: {error}"
            raise IntegrityError(what, where=str(folder / STATUS), hint="run: assay verify") from error
        return status

    def _check(self) -> None:
        """Refuse values that an onlooker could not show."""
        texts = (self.run_id, self.profile, self.state, self.stage, self.started, self.pid_started, self.host)
        if not all(isinstance(text, str) for text in texts) or self.state not in {*FINAL_STATES, "RUNNING"}:
            raise ValueError("a field has the wrong type, or the state is unknown")
        if dt.datetime.fromisoformat(self.started).tzinfo is None:
            raise ValueError("the start has no time zone")
        if (
            not math.isfinite(self.elapsed)
            or type(self.step) is not int
            or type(self.pid) is not int
            or abs(self.pid) >= 2**31
        ):
            raise ValueError("step, elapsed or pid is no number")
        if self.error is not None and not (isinstance(self.error, dict) and isinstance(self.error.get("code"), str)):
            raise ValueError("the error is no object with a code")

    @classmethod
    def shown(cls, folder: Path) -> Self:
        """Return the status of a run as it is shown: as far as ledger and seal back it, and DEAD without its process.

        Raises
        ------
        IntegrityError
            If it cannot be read.
        """
        return replace(cls.read(folder).backed(folder).seen(), weakened=weakened_in(folder))

    def backed(self, folder: Path) -> Self:
        """Return what seal and ledger say where the status, which nothing protects, says otherwise.

        A look at the last line tells a seal; the whole ledger is read only where it contradicts. Whether the seal is
        genuine is for the verifier to say.
        """
        sealed = _sealed(folder / LEDGER)
        if sealed is not None and sealed[:2] == (self.profile, self.state):
            return replace(self, run_id=folder.name, ruin=sealed[2])
        if sealed is None and self.state != "VALID":
            return replace(self, run_id=folder.name)
        try:
            entries = read_ledger(folder / LEDGER)
            if problems := Story(entries).problems:
                raise broken(folder / LEDGER, problems[0])
        except IntegrityError as error:
            return replace(self, run_id=folder.name, state="FAILED", error=error.as_dict())
        told = [entry.body for entry in entries if entry.kind in ("intent", "outcome")]
        last = told[-1] if told else {}
        profile = str(entries[0].body["profile"]) if entries else self.profile
        fault = last["error"] if isinstance(last.get("error"), dict) else None
        if sealed is not None:
            profile, state, fault = *sealed[:2], None
        elif fault is not None and str(fault.get("what")).startswith(KeyboardInterrupt.__name__):
            state, fault = "INTERRUPTED", None
        elif fault is not None:
            state, fault = "FAILED", {**fault, "code": str(fault.get("code"))}
        else:
            state = "RUNNING"  # or dead, which its process tells
        step = int(last.get("step", 0))
        stage = f"Step {step}: {last['name'].replace('_', ' ').title()}" if last else "Waiting"
        told_of = replace(self, profile=profile, state=state, step=step, stage=stage, error=fault)
        return replace(told_of, run_id=folder.name, ruin="" if sealed is None else sealed[2])

    def seen(self) -> Self:
        """Return the status as an onlooker sees it: a run whose process is gone is DEAD.

        Processes of another host of a cluster cannot be seen, and are believed.
        """
        if self.state == "RUNNING" and self.host in ("", platform.node()) and not self.is_alive():
            return replace(self, state="DEAD")
        return self

    def is_alive(self) -> bool:
        """Tell whether a process of this host is the one that wrote the status."""
        return process_started(self.pid) == self.pid_started

    def same_process(self, other: Self) -> bool:
        """Tell whether two statuses were written by one process."""
        return (self.host, self.pid, self.pid_started) == (other.host, other.pid, other.pid_started)


def weakened_in(folder: Path) -> tuple[str, ...]:
    """Return what a run's manifest names as weaker than the canon; nothing where it cannot be read."""
    path = folder / MANIFEST
    try:
        manifest = files.read_json(path) if path.is_file() else None
    except IntegrityError:
        return ()
    return weakened_by(manifest)


def weakened_by(manifest: Any) -> tuple[str, ...]:
    """Return what a manifest names as weaker than the canon; one of format 1 names nothing."""
    found = manifest.get("weakened") if isinstance(manifest, dict) else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def told(texts: Sequence[str], most: int | None = SHOWN) -> str:
    """Return what stands behind a verdict; empty where nothing is weakened.

    >>> "VALID" + told(["caps.atom 1 (canon 0.25)"])
    'VALID, weakened: caps.atom 1 (canon 0.25)'
    """
    if not texts:
        return ""
    shown = texts if most is None or len(texts) <= most else [*texts[:most], f"and {len(texts) - most} more"]
    return f", weakened: {', '.join(shown)}"


def ruin_told(ruined: Sequence[str], headline: str) -> str:
    """Return what is said of ruined risk profiles: the headline's is the sleeve's, another's is its own.

    >>> ruin_told(["hrp", "max_sharpe"], "hrp"), ruin_told(["barbell", "max_sharpe"], "hrp"), ruin_told([], "hrp")
    ('RUIN', 'RUIN of barbell, max_sharpe', '')
    """
    if headline in ruined:
        return "RUIN"
    return f"RUIN of {', '.join(ruined)}" if ruined else ""


def behind(ruin: str, weakened: Sequence[str] = (), most: int | None = SHOWN) -> str:
    """Return what stands behind VALID: what was ruined, then what was weakened.

    >>> "VALID" + behind("RUIN", ["caps.atom 1 (canon 0.25)"])
    'VALID, RUIN, weakened: caps.atom 1 (canon 0.25)'
    """
    return (f", {ruin}" if ruin else "") + told(weakened, most)


def ruin_in(folder: Path) -> str:
    """Return what the seal of a run says of ruined books; empty where there is none, or nothing was ruined."""
    sealed = _sealed(folder / LEDGER)
    return sealed[2] if sealed else ""


def _sealed(ledger: Path) -> tuple[str, str, str] | None:
    """Return profile, state and ruin of the seal that ends a ledger, by its last bytes; None where there is none."""
    try:
        found = _SEAL.search(files.tail(ledger, 4096))
    except IntegrityError:
        return None
    if not found:
        return None
    return json.loads(b'"%b"' % found[1]), found[2].decode(), found[3].decode().removeprefix(", ")


def sweep(folder: Path) -> None:
    """Remove what writers of the status left that were killed: beside a seal it would be a file too many."""
    for path in folder.glob(f".{STATUS}.*.tmp"):
        pid = path.name.removesuffix(".tmp").rpartition(".")[2]
        if pid.isdecimal() and not process_started(int(pid)):
            with suppress(DiskError):  # what stays is named by the verifier
                files.remove(path)


def process_started(pid: int) -> str:
    """Return a mark of when a process started, so that a reused pid is not taken for the old one; empty if gone."""
    try:
        # Field 22 of /proc/<pid>/stat is the start time; the name in field 2 may hold spaces and parentheses.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
