"""Verify a run with the standard library alone: this one file, so that an auditor can read all of it, and copy it.

::

    python verify.py RUN_DIR [--registry FILE] [--head HASH] [--allow-unsealed] [--signed DIR] [--json]

Exit code 0 if everything holds, 3 if anything does not, 2 if there is no such run.

A run is a directory. Its ledger, ``audit.jsonl``, holds one JSON object a line, written as RFC 8785 says, so that
there is only one way to write it::

    {"body":{...},"kind":"genesis","prev":"000...","seq":0,"time":"2024-04-01T00:00:00.000000Z"}

``prev`` is the SHA-256 of the line before, without its newline. The first line is ``genesis`` and names the run; each
step has an ``intent`` and an ``outcome`` with the SHA-256 of what it read and wrote; a ``resume`` follows whatever was
cut off; the last line is the ``seal``: SHA-256 and size of every file but the ledger and ``run_status.json``. The hash
of that line is the *head*. The registry, ``registry.jsonl`` beside the runs, is chained likewise and has one line for
each sealed run: its head, and what else its seal says of it; and one for each run that began its walk-forward.

What shows: any edit that leaves one of run, registry, signature, or a head noted elsewhere (``--head``) intact. Whoever
rewrites all of them at once, where nothing is signed and no head was noted, is not found by this or any other program.
Empty folders hold no bytes and are not looked at.

This file holds no cryptography beyond SHA-256. A signature (Ed25519) is checked by a function that the caller hands
over, or by hand, with the public key and nothing of this project but this file::

    python verify.py RUN_DIR --signed DIR
    openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in DIR/message -sigfile DIR/signature
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import stat
import sys
import time as clock
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

LEDGER = "audit.jsonl"
STATUS = "run_status.json"
REGISTRY = "registry.jsonl"
UNOWNED = "logs/"  # files here need no step that wrote them: they are noted when a step fails
ZERO = "0" * 64
LARGEST_JSON = 64 * 2**20
FORMAT = 2
"""Of runs that this version writes, as genesis, manifest and line of the registry tell it; what does not is of 1."""
LEDGER_KINDS = frozenset({"genesis", "intent", "outcome", "contract", "gate", "fallback", "resume", "event", "seal"})
REGISTRY_KINDS = frozenset({"run", "begun", "resume"})
SUMMARY_FIELDS = ("profile", "manifest", "verdict", "performance")
SEAL_FIELDS = {"files", *SUMMARY_FIELDS, "signature"}

_HASH = re.compile(r"[0-9a-f]{64}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_STATUS_TEMPORARY = re.compile(r"\.run_status\.json\.\d+\.tmp")
_atom = json.JSONEncoder(ensure_ascii=False).encode

Body = dict[str, Any]
SignatureCheck = Callable[[bytes, Body], str | None]
"""Takes what was signed and the seal's signature; says what is wrong, or None."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable code, the line or file, and words."""

    code: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.code} {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a chain; ``hash`` is the SHA-256 of its bytes."""

    seq: int
    time: str
    prev: str
    kind: str
    body: Body
    hash: str


@dataclass
class Verdict:
    """What was found; ``problems`` names the first wrong line or file first."""

    run: str
    sealed: bool = False
    head: str | None = None
    signed_by: str | None = None
    """Fingerprint of the key that the seal names; whether the signature holds is known only where it was checked."""
    checked: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the run is sealed and nothing is wrong."""
        return not self.problems

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong but that the run was never sealed: it failed, or is still running."""
        return all(problem.code == "NOT_SEALED" for problem in self.problems)

    def add(self, code: str, where: str, what: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(code, where, what))

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        return {"ok": self.ok, "intact": self.intact, **asdict(self)}


# ---- canonical JSON


def canonical(value: Any) -> str:
    """Write a JSON value as RFC 8785 says.

    >>> canonical({"b": [1.0, 1e21, 5e-324, 0.000001], "a": None})
    '{"a":null,"b":[1,1e+21,5e-324,0.000001]}'
    """
    if value is None or isinstance(value, (bool, str)):
        return _atom(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**53 else _number(float(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    raise ValueError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """Write a double as ECMAScript does: the shortest digits that read back as the same number."""
    if value - value != 0.0:
        raise ValueError("a number is not finite")
    if value == 0.0:
        return "0"
    sign, figures, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, figures))
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+d}"
    return "-" + text if sign else text


def _unique(pairs: list[tuple[str, Any]]) -> Body:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)!r}")
    return result


def sha256(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


# ---- chains


@dataclass(frozen=True)
class Chain:
    """A chained file as far as it holds: lines before the first fault, the fault, bytes after the last newline."""

    entries: list[Entry]
    fault: Problem | None
    torn: bytes

    @property
    def head(self) -> str:
        """Hash of the last line; 64 zeros for no line."""
        return self.entries[-1].hash if self.entries else ZERO


def parse_line(raw: bytes, kinds: frozenset[str]) -> Entry:
    """Read one line; ValueError, RecursionError or OverflowError if no writer of this format wrote it."""
    fields = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(fields, dict) or set(fields) != {"seq", "time", "prev", "kind", "body"}:
        raise ValueError("it has not exactly the fields body, kind, prev, seq, time")
    if canonical(fields).encode("utf-8") != raw:
        raise ValueError("it is not canonical JSON")
    entry = Entry(**fields, hash=sha256(raw))
    if type(entry.seq) is not int or not _is(_HASH, entry.prev) or not isinstance(entry.body, dict):
        raise ValueError("seq, prev or body has the wrong type")
    if not isinstance(entry.kind, str) or entry.kind not in kinds:
        raise ValueError(f"kind {entry.kind!r} is unknown")
    if not _is(_TIME, entry.time):
        raise ValueError("its time is not a UTC instant with microseconds")
    return entry


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def read_chain(data: bytes, name: str, kinds: frozenset[str], head: str | None = None, ordered: bool = True) -> Chain:
    """Read a chained file up to its first fault.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in a problem.
    kinds : frozenset of str
        Kinds of lines that it may have.
    head : str, optional
        Hash that the last line is known to have; it helps to tell an edited line from an edited link.
    ordered : bool
        Times may not decrease.
    """
    *lines, torn = data.split(b"\n")
    entries: list[Entry] = []
    for index, raw in enumerate(lines):
        where = f"{name} line {index + 1}"
        try:
            entry = parse_line(raw, kinds)
        except (ValueError, RecursionError, OverflowError) as error:
            return Chain(entries, Problem("LINE_BROKEN", where, f"no line of a chain: {error}"), torn)
        if entry.seq != index:
            what = f"sequence number {entry.seq} where {index} should be: a line is missing, added or moved"
            return Chain(entries, Problem("SEQUENCE", where, what), torn)
        if entry.prev != (entries[-1].hash if entries else ZERO):
            # If what follows vouches for this line, it is the line before that was changed.
            follower = lines[index + 1] if index + 1 < len(lines) else f'"prev":"{head}"'.encode()
            blamed = index if index and f'"prev":"{entry.hash}"'.encode() in follower else index + 1
            what = f"line {index + 1} was written after another line {index}"
            return Chain(entries, Problem("CHAIN", f"{name} line {blamed}", what), torn)
        if ordered and entries and entry.time < entries[-1].time:
            what = f"{entry.time} is before the line above, {entries[-1].time}"
            return Chain(entries, Problem("TIME", where, what), torn)
        entries.append(entry)
    return Chain(entries, None, torn)


# ---- the story that a ledger tells


class Story:
    """What a ledger says that happened: steps begun and ended, files written, the seal."""

    def __init__(self, entries: list[Entry]) -> None:
        self.problems: list[Problem] = []
        self.genesis: Entry | None = None
        self.seal: Entry | None = None
        self.pairs = 0
        self.steps: dict[int, dict[str, str]] = {}
        """Step that ended well to path to SHA-256 of what it wrote."""
        self.open: Body | None = None
        """Intent without its outcome."""
        self.failed = False
        """A step failed and no resume followed."""
        for entry in entries:
            self._read(entry)

    @property
    def outputs(self) -> dict[str, str]:
        """Path to SHA-256 as steps wrote them last."""
        return {path: digest for written in self.steps.values() for path, digest in written.items()}

    def _read(self, entry: Entry) -> None:
        if self.seal is not None:
            self._wrong(entry, "AFTER_SEAL", "something follows the seal")
        elif (entry.kind == "genesis") != (entry.seq == 0):
            self._wrong(entry, "GENESIS", "a ledger has one genesis, in its first line")
        elif entry.kind in _SHAPES and not _SHAPES[entry.kind](entry.body):
            self._wrong(entry, "SHAPE", f"fields are missing, unknown or of the wrong type for kind {entry.kind}")
        elif entry.kind in _SHAPES:
            getattr(self, f"_read_{entry.kind}")(entry)

    def _wrong(self, entry: Entry, code: str, what: str) -> None:
        self.problems.append(Problem(code, f"{LEDGER} line {entry.seq + 1}", what))

    def _read_genesis(self, entry: Entry) -> None:
        self.genesis = entry
        if fault := newer(entry.body):
            self._wrong(entry, "NEWER_FORMAT", fault)

    def _read_resume(self, _entry: Entry) -> None:
        self.open, self.failed = None, False

    def _read_intent(self, entry: Entry) -> None:
        if self.open is not None or self.failed:
            self._wrong(entry, "UNPAIRED", "a step begins where the one before has not ended well, and nothing resumed")
        self.open = entry.body
        known = self.outputs
        for path, digest in sorted(entry.body["inputs"].items()):
            if known.get(path, digest) != digest:
                self._wrong(entry, "INPUT_CHANGED", f"{path} is not what the step that wrote it recorded")

    def _read_outcome(self, entry: Entry) -> None:
        body = entry.body
        if self.open != {key: body[key] for key in ("step", "name", "inputs")}:
            self._wrong(entry, "UNPAIRED", f"this outcome of step {body['step']} has no intent")
        self.open, self.failed = None, body["state"] == "failed"
        self.pairs += 1
        written = self.steps.pop(body["step"], {})  # moves the step to the end: what was written last counts
        if not self.failed:
            written = {path: record["sha256"] for path, record in body["outputs"].items()}
        self.steps[body["step"]] = written

    def _read_seal(self, entry: Entry) -> None:
        if self.open is not None or self.failed:
            self._wrong(entry, "UNPAIRED", "the run was sealed with a step that has not ended well")
        self.seal = entry


def _is_step(body: Body) -> bool:
    return type(body.get("step")) is int and isinstance(body.get("name"), str) and _is_hashes(body.get("inputs"))


def _is_hashes(value: Any) -> bool:
    return isinstance(value, dict) and all(_is(_HASH, digest) for digest in value.values())


def _is_records(value: Any, fields: set[str]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(record, dict) and set(record) == fields and _is(_HASH, record["sha256"]) for record in value.values()
    )


def _is_outcome(body: Body) -> bool:
    return (
        set(body) == {"step", "name", "state", "inputs", "outputs", "error"}
        and _is_step(body)
        and body["state"] == ("ok" if body["error"] is None else "failed")
        and _is_records(body["outputs"], {"sha256", "content"})
    )


def _is_signature(value: Any) -> bool:
    """Tell whether this is algorithm, fingerprint of the key, and value, both in hexadecimal."""
    return (
        isinstance(value, dict)
        and set(value) == {"algorithm", "key", "value"}
        and isinstance(value["algorithm"], str)
        and _is(_HASH, value["key"])
        and _is(_HEX, value["value"])
    )


_SHAPES: Mapping[str, Callable[[Body], bool]] = {
    "genesis": lambda body: (
        all(isinstance(body.get(key), str) for key in ("run_id", "profile")) and type(body.get("format", 1)) is int
    ),
    "intent": lambda body: set(body) == {"step", "name", "inputs"} and _is_step(body),
    "outcome": _is_outcome,
    "resume": lambda body: True,  # noqa: ARG005 - any words of whoever resumed
    "seal": lambda body: (
        set(body) == SEAL_FIELDS
        and _is_records(body["files"], {"sha256", "size"})
        and (body["signature"] is None or _is_signature(body["signature"]))
    ),
}


def newer(body: Body) -> str | None:
    """Say that a manifest or a line is of a format that this version does not know, or None."""
    found = body.get("format", 1)
    if isinstance(found, int) and found <= FORMAT:
        return None
    return f"it is of format {found}, this version of Assay reads formats up to {FORMAT}: install a newer one"


def seal_message(prev: str, body: Body) -> bytes:
    """Return what a signature signs: the head before the seal, and the seal without its signature."""
    return canonical({"prev": prev, "body": {key: body[key] for key in SEAL_FIELDS - {"signature"}}}).encode()


def registration(genesis: Entry, seal: Entry) -> Body:
    """Return what the registry must hold about a sealed run."""
    summary = {key: seal.body[key] for key in SUMMARY_FIELDS}
    digest = sha256(seal_message(seal.prev, seal.body))
    told = {"format": genesis.body["format"]} if "format" in genesis.body else {}
    return {"run_id": genesis.body["run_id"], "head": seal.hash, "seal": digest, **summary, **told}


# ---- files


def walk(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return sorted relative paths of a run's files but ledger and status, and why each strange thing is strange."""
    plain: list[str] = []
    strange: dict[str, str] = {}
    for path, mode in _listing(folder, ""):
        own = path in (LEDGER, STATUS) or _STATUS_TEMPORARY.fullmatch(path) is not None
        fault = _strangeness(path, mode, own)
        if fault is not None:
            strange[path] = fault
        elif not own:
            plain.append(path)
    return sorted(plain), strange


def _listing(folder: Path, below: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as listing:
        found = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in listing]
    for name, mode in found:
        if stat.S_ISDIR(mode):
            yield from _listing(folder / name, f"{below}{name}/")
        else:
            yield below + name, mode


def _strangeness(path: str, mode: int, own: bool) -> str | None:
    if not stat.S_ISREG(mode):
        return "it is a symbolic link" if stat.S_ISLNK(mode) else "it is not a regular file"
    if not own and any(part.startswith(".") for part in path.split("/")):
        return "it is hidden"
    if "\\" in path or any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in path):
        return "its name has a character that no artifact has"
    return None


def _plain(path: Path) -> bytes:
    """Read a chained file; a pipe or a device in its place is not opened, a link not followed."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(0, "it is not a regular file", str(path))
    return path.read_bytes()


def inventory(folder: Path, paths: list[str]) -> dict[str, Body]:
    """Return SHA-256 and size of files, by path."""
    found: dict[str, Body] = {}
    for path in paths:
        with (folder / path).open("rb") as stream:
            found[path] = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "size": stream.tell()}
    return found


def _misread(path: Path) -> str | None:
    """Say why two readers may not see the same in a JSON document, or None."""
    if path.stat().st_size > LARGEST_JSON:
        return f"it is larger than {LARGEST_JSON} bytes"
    try:
        json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _leftovers(folder: Path) -> list[str]:
    """Return temporary files of the status that stay: a writer at work renames its own within moments."""
    names: list[str] = []
    for _ in range(50):
        with os.scandir(folder) as listing:
            names = [each.name for each in listing if each.is_file(follow_symlinks=False)]
        names = sorted(name for name in names if _STATUS_TEMPORARY.fullmatch(name))
        if not names:
            break
        clock.sleep(0.002)
    return names


def file_problems(folder: Path, sealed: Mapping[str, Body], outputs: Mapping[str, str]) -> Iterator[Problem]:
    """Compare files on disk with a seal, and the seal with what the steps recorded; problems come by path."""
    try:
        plain, strange = walk(folder)
        found = inventory(folder, plain)
    except OSError as error:
        yield Problem("UNREADABLE", str(error.filename), f"cannot be read: {error.strerror}")
        return
    for path in sorted({*sealed, *found, *strange, *outputs}):
        if path in strange:
            yield Problem("FILE_STRANGE", path, strange[path])
        elif path not in found:
            yield Problem("FILE_MISSING", path, "it was sealed, or a step wrote it, and it is gone")
        elif path not in sealed:
            yield Problem("FILE_EXTRA", path, "the seal does not know it")
        elif found[path] != sealed[path]:
            sizes = f"{sealed[path]['size']} bytes were sealed, {found[path]['size']} are there"
            yield Problem("FILE_CHANGED", path, f"its SHA-256 is not the sealed one; {sizes}")
        elif path not in outputs and not path.startswith(UNOWNED):
            yield Problem("FILE_UNOWNED", path, "no step says that it wrote this")
        elif outputs.get(path, sealed[path]["sha256"]) != sealed[path]["sha256"]:
            yield Problem("FILE_CHANGED", path, "it was sealed otherwise than the step that wrote it recorded")
        elif path.endswith(".json") and (fault := _misread(folder / path)):
            yield Problem("FILE_AMBIGUOUS", path, f"it is not JSON that every reader reads alike: {fault}")


# ---- the verdict


def verify(
    run_dir: Path | str,
    registry: Path | str | None = None,
    head: str | None = None,
    check_signature: SignatureCheck | None = None,
) -> Verdict:
    """Verify one run.

    Parameters
    ----------
    run_dir : Path or str
        Directory of the run; its name must be the run's id.
    registry : Path or str, optional
        Registry of runs; ``registry.jsonl`` beside the run by default.
    head : str, optional
        Head that was noted when the run was made.
    check_signature : callable, optional
        Takes the signed bytes and the seal's ``signature`` and says what is wrong with it, or None; no signature is
        then a problem.
    """
    folder = Path(run_dir).resolve()
    verdict = Verdict(folder.name)
    book = _registry(Path(registry) if registry is not None else folder.parent / REGISTRY)
    registered = [entry for entry in book.entries if entry.kind == "run" and entry.body.get("run_id") == folder.name]
    try:
        data = _plain(folder / LEDGER)
    except OSError as error:
        verdict.add("LEDGER_MISSING", LEDGER, f"cannot be read: {error.strerror}")
        return verdict
    chain = read_chain(data, LEDGER, LEDGER_KINDS, registered[-1].body.get("head") if registered else None)
    story = Story(chain.entries)
    verdict.head, verdict.sealed = chain.head, story.seal is not None
    if story.seal is not None and story.seal.body["signature"] is not None:
        verdict.signed_by = story.seal.body["signature"]["key"]
    verdict.checked.update(lines=len(chain.entries), outcomes=story.pairs, registry_lines=len(book.entries))
    _judge_ledger(chain, story, verdict)
    if story.problems and story.problems[0].code == "NEWER_FORMAT":
        del verdict.problems[1:]  # what it does not know it cannot judge
        return verdict
    if check_signature is not None:
        _judge_signature(story, check_signature, verdict)  # before the registry, which does not repeat signatures
    _judge_registry(book, chain, verdict)
    if chain.fault is None and story.seal is None:
        _judge_unsealed(chain, registered, verdict)
    elif chain.fault is None and story.seal is not None and story.genesis is not None:
        _judge_seal(registration(story.genesis, story.seal), story.seal, registered, verdict)
        verdict.checked["files"] = len(story.seal.body["files"])
        verdict.problems.extend(file_problems(folder, story.seal.body["files"], story.outputs))
        for name in _leftovers(folder):
            verdict.add(
                "FILE_EXTRA", name, "a process died while it wrote the status, or somebody put it there; remove it"
            )
    if head is not None and head.lower() != verdict.head:
        verdict.add("NOTED_HEAD", LEDGER, f"the noted head is {head}, the ledger's is {verdict.head}")
    return verdict


def _registry(path: Path) -> Chain:
    try:
        data = _plain(path)
        if not data.endswith(b"\n"):
            clock.sleep(0.002)  # another run may be in the middle of its one write
            data = _plain(path)
    except OSError as error:
        return Chain([], Problem("REGISTRY_MISSING", path.name, f"cannot be read: {error.strerror}"), b"")
    return read_chain(data, REGISTRY, REGISTRY_KINDS, ordered=False)  # runs are entered with their seals' times


def _torn(chain: Chain, name: str) -> Problem | None:
    where = f"{name} line {len(chain.entries) + 1}"
    return chain.fault or (Problem("TORN", where, "no newline ends it: a write was cut") if chain.torn else None)


def _judge_ledger(chain: Chain, story: Story, verdict: Verdict) -> None:
    fault = _torn(chain, LEDGER)
    # What is out of order in the lines that hold comes before the line that does not.
    verdict.problems.extend([*story.problems, *([fault] if fault else [])])
    if story.genesis is not None and story.genesis.body["run_id"] != verdict.run:
        what = f"the ledger is of run {story.genesis.body['run_id']!r}, the directory is called {verdict.run!r}"
        verdict.add("RUN_ID", f"{LEDGER} line 1", what)


def _judge_unsealed(chain: Chain, registered: list[Entry], verdict: Verdict) -> None:
    end = f"{LEDGER} line {len(chain.entries) + 1}"
    if registered:
        verdict.add("LEDGER_CUT", end, "the registry holds this run's seal; the ledger has lost it")
    verdict.add("NOT_SEALED", end, "no seal: the run failed or has not finished")


def _judge_seal(expected: Body, seal: Entry, registered: list[Entry], verdict: Verdict) -> None:
    if len(registered) != 1:
        verdict.add(
            "REGISTRY_RUN", REGISTRY, f"a sealed run has one line in the registry; this one has {len(registered)}"
        )
        return
    entered, line = registered[0].body, f"{REGISTRY} line {registered[0].seq + 1}"
    wrong = [key for key in sorted({*expected, *entered}) if expected.get(key) != entered.get(key)]
    wrong += ["time"] if registered[0].time != seal.time else []
    if wrong:
        # A changed ledger moves its head and something else; an edited line of the registry moves one field.
        end = f"{LEDGER} line {seal.seq + 1}"
        where = end if "head" in wrong and len(wrong) > 1 and expected.keys() == entered.keys() else line
        verdict.add("REGISTRY_RUN", where, f"{end} and {line} disagree about {', '.join(wrong)}")


def _judge_registry(book: Chain, ledger: Chain, verdict: Verdict) -> None:
    fault = _torn(book, REGISTRY)
    if fault is not None and (verdict.sealed or fault.code != "REGISTRY_MISSING"):
        verdict.problems.append(fault)
    known = {ZERO, *(entry.hash for entry in book.entries)}
    for entry, anchor in _anchors(ledger):
        if anchor not in known:
            what = f"at line {entry.seq + 1} of {LEDGER} the registry ended with {anchor}; it has no such line now"
            verdict.add("REGISTRY_CUT", REGISTRY, what)


def _anchors(ledger: Chain) -> Iterator[tuple[Entry, Any]]:
    """Yield the heads of the registry that a ledger names: when the run began, and when trials were counted."""
    for entry in ledger.entries:
        values = entry.body.get("values") if entry.body.get("code") == "TRIALS" else None
        told = entry.body if entry.kind == "genesis" else values if entry.kind == "event" else None
        if isinstance(told, dict):
            yield entry, told.get("registry", ZERO)


def _judge_signature(story: Story, check: SignatureCheck, verdict: Verdict) -> None:
    if story.seal is None:
        return
    body, where = story.seal.body, f"{LEDGER} line {story.seal.seq + 1}"
    if body["signature"] is None:
        verdict.add("SIGNATURE_MISSING", where, "a signature is required, and the seal has none")
    elif fault := check(seal_message(story.seal.prev, body), body["signature"]):
        verdict.add("SIGNATURE", where, fault)


def export_signed(run_dir: Path, folder: Path) -> bool:
    """Write the bytes that a seal's signature signs, and the signature, for another program to check."""
    story = Story(read_chain(_plain(run_dir / LEDGER), LEDGER, LEDGER_KINDS).entries)
    if story.seal is None or story.seal.body["signature"] is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "message").write_bytes(seal_message(story.seal.prev, story.seal.body))
    (folder / "signature").write_bytes(bytes.fromhex(story.seal.body["signature"]["value"]))
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Verify that a run is what was sealed.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--registry", type=Path, help=f"default: {REGISTRY} beside the run")
    parser.add_argument("--head", help="head that was noted when the run was made")
    parser.add_argument("--allow-unsealed", action="store_true", help="accept a failed run if its ledger is whole")
    parser.add_argument("--signed", type=Path, metavar="DIR", help="write what was signed, and the signature, there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if not options.run_dir.is_dir():
        sys.stderr.write(f"no such run: {options.run_dir}\n")
        return 2
    verdict = verify(options.run_dir, options.registry, options.head)
    if options.signed is not None and not export_signed(options.run_dir, options.signed):
        verdict.add("SIGNATURE_MISSING", LEDGER, "there is no signed seal")
    good = verdict.ok or (options.allow_unsealed and verdict.intact)
    if options.json:
        sys.stdout.write(json.dumps(verdict.as_dict(), indent=2, sort_keys=True) + "\n")
    else:
        lines = [str(problem) for problem in verdict.problems]
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in verdict.checked.items())
        lines += [f"{'OK' if good else 'NOT OK'} {verdict.run}: {counts}", f"head {verdict.head}"]
        sys.stdout.write("".join(_printable(line) + "\n" for line in lines))
    return 0 if good else 3


def _printable(text: str) -> str:
    """Escape what a hostile name could do to a terminal, and what a terminal does not have."""
    harmless = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    encoding = sys.stdout.encoding or "utf-8"
    return harmless.encode(encoding, "backslashreplace").decode(encoding)


if __name__ == "__main__":
    sys.exit(main())
