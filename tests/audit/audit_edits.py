"""A small world of sealed runs, and every way that we know to change one.

An edit returns the run to verify, the changed files (None for a file that is removed), and where the first problem may
be: the line or file that was touched.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_house import Clock, snapshot
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.base import files
from assay.runs import registry, signing
from assay.runs.ledger import Ledger
from assay.runs.seal import seal

RUNS = ("a_20240401-060000", "b_20240401-060000", "c_20240401-060000")
NAMES = ("config/manifest.txt", "data/rückkehr.bin", "data/weights.txt", "reports/report.md")
BOOK = "registry.jsonl"
LEDGER = "audit.jsonl"
LINK = "symlink"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECK = signing.checker(KEY.public_key())

Files = dict[str, bytes]
Change = dict[str, bytes | str | None]


@dataclass(frozen=True)
class Edit:
    """What an edit did; ``where`` is a pattern for the first problem's place."""

    run: str
    change: Change
    where: str


def make_world(runs: Path) -> tuple[Files, dict[str, bytes]]:
    """Write three sealed runs, the second one resumed after a torn line; return all bytes, and older artifacts."""
    clock, old = Clock(), {}
    for number, run in enumerate(RUNS):
        folder = runs / run
        genesis = {"run_id": run, "profile": "p", "registry": registry.head(runs / BOOK)}
        ledger = Ledger.create(folder / LEDGER, genesis, clock=clock)
        for step, name in enumerate(NAMES, start=1):
            ledger.intent(step, f"step_{step}", {})
            if number == 1 and step == 2:
                old[f"{run}/{name}"] = b"an older attempt"
                files.write(folder / name, old[f"{run}/{name}"])
                ledger.close()
                with (folder / LEDGER).open("ab") as stream:
                    stream.write(b'{"body":{"half":')
                ledger = Ledger.open(folder / LEDGER, clock=clock)
                ledger.intent(step, f"step_{step}", {})
            digest = files.write(folder / name, f"{run} {name} {'x' * 40}\n".encode())
            old.setdefault(f"{run}/{name}", f"{run} {name} yesterday\n".encode())
            ledger.contract(step, "L0", "Schema", 10, 2, 20, 0, "passed")
            ledger.outcome(step, f"step_{step}", "ok", {}, {name: {"sha256": digest, "content": digest}})
        entered = seal(
            folder,
            ledger,
            manifest=files.sha256(run.encode()),
            verdict="VALID",
            performance={"hrp": number / 3},
            signer=signing.signer(KEY),
        )
        ledger.close()
        registry.append(runs / BOOK, entered)
    return {path: data for path, data in snapshot(runs).items() if not path.endswith(".lock")}, old


class Editor:
    """Draws edits."""

    def __init__(self, world: Files, old: dict[str, bytes], rng: random.Random) -> None:
        self.world = world
        self.old = old
        self.rng = rng

    def draw(self) -> tuple[str, Edit]:
        """Return the name of an edit and the edit; one that changes nothing is drawn again."""
        while True:
            kind = self.rng.choice(EDITS)
            edit = kind(self)
            if any(self.world.get(path) != data for path, data in edit.change.items()):
                return kind.__name__, edit

    def run(self) -> str:
        return self.rng.choice(RUNS)

    def lines(self, path: str) -> list[bytes]:
        return self.world[path].splitlines(keepends=True)

    def two(self, count: int) -> tuple[int, int]:
        first, second = sorted(self.rng.sample(range(count), 2))
        return first, second


def line_at(data: bytes, offset: int) -> int:
    return data[:offset].count(b"\n") + 1


def at_line(number: int) -> str:
    return f"{LEDGER} line {number}$"


def _touch(rng: random.Random, data: bytes) -> tuple[bytes, int]:
    """Flip a bit, delete a byte, or insert one; return the new bytes and where."""
    kind, at = rng.randrange(3), rng.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :], at
    if kind == 1:
        return data[:at] + data[at + 1 :], at
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at:], at


def touch_ledger(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    data, at = _touch(editor.rng, editor.world[path])
    return Edit(run, {path: data}, at_line(line_at(editor.world[path], at)))


def touch_a_digit(editor: Editor) -> Edit:
    """Change one hexadecimal digit or letter of a value, so that the line stays well formed."""
    run = editor.run()
    path = f"{run}/{LEDGER}"
    data = editor.world[path]
    at = editor.rng.choice([m.start() for m in re.finditer(rb"[0-9a-f](?=[0-9a-f])", data)])
    digit = editor.rng.choice(b"0123456789abcdef")
    return Edit(run, {path: data[:at] + bytes([digit]) + data[at + 1 :]}, at_line(line_at(data, at)))


def delete_lines(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    first = editor.rng.randrange(len(lines))
    count = editor.rng.randint(1, 3)
    return Edit(run, {path: b"".join(lines[:first] + lines[first + count :])}, at_line(first + 1))


def repeat_line(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    at, to = editor.rng.randrange(len(lines)), editor.rng.randint(1, len(lines))
    return Edit(run, {path: b"".join([*lines[:to], lines[at], *lines[to:]])}, rf"{LEDGER} line ({to + 1}|{to + 2})$")


def insert_foreign_line(editor: Editor) -> Edit:
    run, other = editor.rng.sample(RUNS, 2)
    path = f"{run}/{LEDGER}"
    lines, theirs = editor.lines(path), editor.lines(f"{other}/{LEDGER}")
    to = editor.rng.randrange(min(len(lines), len(theirs)))
    change = b"".join([*lines[:to], theirs[to], *lines[to:]])
    return Edit(run, {path: change}, rf"{LEDGER} line ({to + 1}|{to + 2})$")


def reorder_lines(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    first, second = editor.two(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return Edit(run, {path: b"".join(lines)}, at_line(first + 1))


def truncate_ledger(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    at = editor.rng.randrange(len(editor.world[path]))
    return Edit(run, {path: editor.world[path][:at]}, at_line(line_at(editor.world[path], at)))


def append_to_ledger(editor: Editor) -> Edit:
    """Go on after the seal with a line that continues the chain."""
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    last = json.loads(lines[-1])
    value = {**last, "seq": len(lines), "prev": files.sha256(lines[-1][:-1]), "kind": "event", "body": {"code": "X"}}
    return Edit(run, {path: b"".join([*lines, files.canonical_json(value) + b"\n"])}, at_line(len(lines) + 1))


def swap_ledgers(editor: Editor) -> Edit:
    run, other = editor.rng.sample(RUNS, 2)
    mine, theirs = f"{run}/{LEDGER}", f"{other}/{LEDGER}"
    return Edit(run, {mine: editor.world[theirs], theirs: editor.world[mine]}, at_line(1))


def remove_ledger(editor: Editor) -> Edit:
    run = editor.run()
    return Edit(run, {f"{run}/{LEDGER}": None}, f"{LEDGER}$")


def rechain(lines: list[bytes], start: int, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Change one entry and give every later line the hash that it needs."""
    done = lines[:start]
    for index in range(start, len(lines)):
        value = json.loads(lines[index])
        if index == start:
            change(value)
        elif done:
            value["prev"] = files.sha256(done[-1][:-1])
        done.append(files.canonical_json(value) + b"\n")
    return b"".join(done)


def edit_and_rechain(editor: Editor) -> Edit:
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    start = editor.rng.choice([i for i, line in enumerate(lines) if json.loads(line)["kind"] == "contract"])

    def forge(value: dict[str, Any]) -> None:
        value["body"]["violations"] = editor.rng.randint(1, 9)

    return Edit(run, {path: rechain(lines, start, forge)}, at_line(len(lines)))


def forge_artifact(run: str, world: Files, path: str, data: bytes) -> bytes:
    """Return a ledger that says an artifact was always so: outcome, seal and chain rewritten."""
    lines = world[f"{run}/{LEDGER}"].splitlines(keepends=True)
    digest = files.sha256(data)
    done: list[bytes] = []
    for line in lines:
        value = json.loads(line)
        if done:
            value["prev"] = files.sha256(done[-1][:-1])
        if value["kind"] == "outcome" and path in value["body"]["outputs"]:
            value["body"]["outputs"][path] = {"sha256": digest, "content": digest}
        if value["kind"] == "seal":
            value["body"]["files"][path] = {"sha256": digest, "size": len(data)}
        done.append(files.canonical_json(value) + b"\n")
    return b"".join(done)


def forge_run(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    data = editor.world[f"{run}/{name}"] + b"better\n"
    ledger = forge_artifact(run, editor.world, name, data)
    count = len(editor.lines(f"{run}/{LEDGER}"))
    return Edit(run, {f"{run}/{name}": data, f"{run}/{LEDGER}": ledger}, at_line(count))


def touch_artifact(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    data, _ = _touch(editor.rng, editor.world[f"{run}/{name}"])
    return Edit(run, {f"{run}/{name}": data}, f"{name}$")


def truncate_artifact(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    data = editor.world[f"{run}/{name}"]
    return Edit(run, {f"{run}/{name}": data[: editor.rng.randrange(len(data))]}, f"{name}$")


def remove_artifact(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    return Edit(run, {f"{run}/{name}": None}, f"{name}$")


def restore_old_artifact(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    return Edit(run, {f"{run}/{name}": editor.old[f"{run}/{name}"]}, f"{name}$")


def swap_artifact_between_runs(editor: Editor) -> Edit:
    (run, other), name = editor.rng.sample(RUNS, 2), editor.rng.choice(NAMES)
    mine, theirs = f"{run}/{name}", f"{other}/{name}"
    return Edit(run, {mine: editor.world[theirs], theirs: editor.world[mine]}, f"{name}$")


def swap_artifacts_within_run(editor: Editor) -> Edit:
    run = editor.run()
    first, second = editor.two(len(NAMES))
    one, two = f"{run}/{NAMES[first]}", f"{run}/{NAMES[second]}"
    return Edit(run, {one: editor.world[two], two: editor.world[one]}, f"{min(NAMES[first], NAMES[second])}$")


def rename_artifact(editor: Editor) -> Edit:
    run, name = editor.run(), editor.rng.choice(NAMES)
    change: Change = {f"{run}/{name}": None, f"{run}/{name}.bak": editor.world[f"{run}/{name}"]}
    return Edit(run, change, f"{name}$")


def add_file(editor: Editor) -> Edit:
    run = editor.run()
    name = editor.rng.choice(["data/extra.json", ".hidden", "data/.x.json.7.tmp", "zz", "run_status.json.bak", "new/f"])
    return Edit(run, {f"{run}/{name}": editor.rng.choice([b"", b"x", b"{}"])}, f"{re.escape(name)}$")


def replace_by_link(editor: Editor) -> Edit:
    """Put a symbolic link to the very same bytes where an artifact was."""
    run, name = editor.run(), editor.rng.choice(NAMES)
    return Edit(run, {f"{run}/{name}": LINK}, f"{name}$")


def remove_registry_tail(editor: Editor) -> Edit:
    lines = editor.lines(BOOK)
    keep = editor.rng.randrange(len(lines))
    run = editor.rng.choice(RUNS[keep:])
    return Edit(run, {BOOK: b"".join(lines[:keep])}, BOOK)


def truncate_registry(editor: Editor) -> Edit:
    data = editor.world[BOOK]
    at = editor.rng.randrange(len(data))
    return Edit(RUNS[-1], {BOOK: data[:at]}, BOOK)


def remove_registry(editor: Editor) -> Edit:
    return Edit(editor.run(), {BOOK: None}, BOOK)


def touch_registry(editor: Editor) -> Edit:
    data, at = _touch(editor.rng, editor.world[BOOK])
    line = line_at(editor.world[BOOK], at)
    # Nothing vouches for the registry's last line but the last run's own ledger.
    return Edit(RUNS[-1], {BOOK: data}, f"{BOOK}( line ({line}|{max(line, len(RUNS))}))?$")


def reorder_registry(editor: Editor) -> Edit:
    lines = editor.lines(BOOK)
    first, second = editor.two(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return Edit(editor.run(), {BOOK: b"".join(lines)}, f"{BOOK} line {first + 1}$")


def rewrite_registry_line(editor: Editor) -> Edit:
    """Change what a line says and chain the rest of the registry anew."""
    at = editor.rng.randrange(len(RUNS))

    def forge(value: dict[str, Any]) -> None:
        key = editor.rng.choice(["head", "seal", "manifest", "verdict", "profile", "performance", "time"])
        if key == "time":
            value["time"] = "2024-04-01T09:09:09.000000Z"
        else:
            value["body"][key] = {"hrp": 9.5} if key == "performance" else "f" * 64

    return Edit(RUNS[at], {BOOK: rechain(editor.lines(BOOK), at, forge)}, f"{BOOK} line {at + 1}$")


def drop_registry_line(editor: Editor) -> Edit:
    """Take a run out of the registry and chain the rest anew: a later run remembers the registry that it began with."""
    lines = editor.lines(BOOK)
    at = editor.rng.randrange(len(lines))
    done: list[bytes] = []
    for line in lines[:at] + lines[at + 1 :]:
        value = json.loads(line)
        value |= {"seq": len(done), "prev": files.sha256(done[-1][:-1]) if done else "0" * 64}
        done.append(files.canonical_json(value) + b"\n")
    return Edit(editor.rng.choice(RUNS[at:]), {BOOK: b"".join(done)}, BOOK)


def swap_runs(editor: Editor) -> Edit:
    """Two whole directories take each other's names."""
    run, other = editor.rng.sample(RUNS, 2)
    change: Change = {}
    for name in (LEDGER, *NAMES):
        change[f"{run}/{name}"] = editor.world[f"{other}/{name}"]
        change[f"{other}/{name}"] = editor.world[f"{run}/{name}"]
    return Edit(run, change, at_line(1))


def edit_seal(editor: Editor) -> Edit:
    """Change what the seal says; the line stays well formed."""
    run = editor.run()
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)

    def forge(value: dict[str, Any]) -> None:
        body, name = value["body"], editor.rng.choice(NAMES)
        key = editor.rng.choice(["verdict", "profile", "manifest", "performance", "size", "sha256", "file", "time"])
        if key == "time":
            value["time"] = "2024-04-01T09:09:09.000000Z"
        elif key == "file":
            del body["files"][name]
        elif key in ("size", "sha256"):
            body["files"][name][key] = 1 if key == "size" else "f" * 64
        else:
            body[key] = {"hrp": 9.5} if key == "performance" else "f" * 64

    return Edit(run, {path: rechain(lines, len(lines) - 1, forge)}, at_line(len(lines)))


def edit_signature(editor: Editor) -> Edit:
    """Drop, touch, or replace the signature, by another run's or by one of another key; the registry names none."""
    run, other = editor.rng.sample(RUNS, 2)
    path = f"{run}/{LEDGER}"
    lines = editor.lines(path)
    theirs = json.loads(editor.lines(f"{other}/{LEDGER}")[-1])["body"]["signature"]
    forged = signing.signer(Ed25519PrivateKey.from_private_bytes(editor.rng.randbytes(32)))

    def forge(value: dict[str, Any]) -> None:
        body = value["body"]
        kind = editor.rng.choice(["drop", "touch", "other", "key", "algorithm"])
        if kind == "touch":
            at = editor.rng.randrange(128)
            digits = body["signature"]["value"]
            body["signature"]["value"] = digits[:at] + ("0" if digits[at] != "0" else "1") + digits[at + 1 :]
        elif kind == "algorithm":
            body["signature"]["algorithm"] = "none"
        else:
            body["signature"] = {"drop": None, "other": theirs, "key": dict(forged(editor.rng.randbytes(9)))}[kind]

    return Edit(run, {path: rechain(lines, len(lines) - 1, forge)}, at_line(len(lines)))


def rewrite_all(editor: Editor) -> Edit:
    """Rewrite artifact, ledger, seal and registry so that they agree: only the signature is left to tell."""
    run, name = editor.run(), editor.rng.choice(NAMES)
    data = editor.world[f"{run}/{name}"] + b"better\n"
    ledger = forge_artifact(run, editor.world, name, data)
    sealed = json.loads(ledger.splitlines()[-1])
    body = {key: item for key, item in sealed["body"].items() if key != "signature"}

    def forge(value: dict[str, Any]) -> None:
        value["body"]["head"] = files.sha256(ledger.splitlines()[-1])
        value["body"]["seal"] = files.content_hash_json({"prev": sealed["prev"], "body": body})

    book = rechain(editor.lines(BOOK), RUNS.index(run), forge)
    count = len(editor.lines(f"{run}/{LEDGER}"))
    return Edit(run, {f"{run}/{name}": data, f"{run}/{LEDGER}": ledger, BOOK: book}, at_line(count))


def link_ledger(editor: Editor) -> Edit:
    """Put a symbolic link to the very same bytes where the ledger was."""
    run = editor.run()
    return Edit(run, {f"{run}/{LEDGER}": LINK}, f"{LEDGER}$")


def link_status(editor: Editor) -> Edit:
    """A link in the place of the status, which no seal holds."""
    run = editor.run()
    return Edit(run, {f"{run}/run_status.json": LINK}, "run_status.json$")


EDITS: list[Callable[[Editor], Edit]] = [
    touch_ledger,
    touch_ledger,
    touch_ledger,
    touch_a_digit,
    touch_a_digit,
    delete_lines,
    repeat_line,
    insert_foreign_line,
    reorder_lines,
    truncate_ledger,
    append_to_ledger,
    swap_ledgers,
    remove_ledger,
    edit_and_rechain,
    forge_run,
    touch_artifact,
    touch_artifact,
    truncate_artifact,
    remove_artifact,
    restore_old_artifact,
    swap_artifact_between_runs,
    swap_artifacts_within_run,
    rename_artifact,
    add_file,
    replace_by_link,
    remove_registry_tail,
    truncate_registry,
    remove_registry,
    touch_registry,
    touch_registry,
    reorder_registry,
    rewrite_registry_line,
    drop_registry_line,
    swap_runs,
    edit_seal,
    edit_signature,
    rewrite_all,
    link_ledger,
    link_status,
]


def apply(runs: Path, world: Files, change: Change) -> None:
    """Write an edit to the disk."""
    for path, data in change.items():
        place = runs / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if data == LINK:
            twin = runs.parent / "twin"
            twin.write_bytes(world.get(path, b"{}"))
            place.symlink_to(twin)
        elif isinstance(data, bytes):
            place.write_bytes(data)


def undo(runs: Path, world: Files, change: Change) -> None:
    """Put the world's bytes back."""
    for path in change:
        place = runs / path
        place.unlink(missing_ok=True)
        if path in world:
            place.write_bytes(world[path])
