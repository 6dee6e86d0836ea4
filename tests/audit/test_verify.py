"""The verifier: what it accepts, what it names, and that it needs nothing but Python."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785
from audit_house import draft, publish
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base import files
from assay.base.errors import IntegrityError, UsageError
from assay.runs import artifacts as layout
from assay.runs import registry, verify
from assay.runs.home import sweep
from assay.runs.ledger import Ledger, read_ledger
from assay.runs.registry import Registration
from assay.runs.seal import seal

SCRIPT = Path(verify.__file__)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=12)


def codes(verdict: verify.Verdict) -> list[str]:
    return [problem.code for problem in verdict.problems]


# RFC 8785, appendix B: bits of a double and its canonical form.
RFC_NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), RFC_NUMBERS.items())
def test_numbers_of_the_rfc(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert verify.canonical(value) == text


def test_order_of_keys_of_the_rfc() -> None:
    """Section 3.2.3: names sort by their UTF-16 code units."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(verify.canonical(dict.fromkeys(names)))) == expected


@settings(deadline=None)
@given(JSON)
def test_canonical_json_is_what_the_library_writes(value: object) -> None:
    assert verify.canonical(value).encode() == rfc8785.dumps(value)  # type: ignore[arg-type]  # values come from parameters


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", [object()]])
def test_what_is_not_json_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError):
        verify.canonical(value)


@settings(deadline=None)
@given(JSON)
def test_canonical_json_is_a_fixed_point(value: object) -> None:
    text = verify.canonical(value)
    assert verify.canonical(json.loads(text)) == text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5_000,
        b'{"body":{},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z","x":1}',
        b'{"body":{},"kind":"event","prev":"PREV","seq":0}',
        b'{"body":{},"kind":"event","prev":"PREV","seq":0, "time":"2024-04-01T00:00:00.000000Z"}',
        b'{"kind":"event","body":{},"prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":1,"a":1},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":NaN},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":1e999},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":1.0},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":9007199254740993},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":"\\ud800"},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"\\ud800":1},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{"a":"\\u0041"},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":[],"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":"party","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":["x"],"prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":"event","prev":"PREV","seq":true,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00Z"}',
        b'{"body":{},"kind":"event","prev":"short","seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":"event","prev":0,"seq":0,"time":"2024-04-01T00:00:00.000000Z"}',
        b'{"body":{},"kind":"event","prev":"PREV","seq":0,"time":1711929600}',
    ],
)
def test_a_line_that_no_writer_wrote_is_refused(line: bytes) -> None:
    good = b'{"body":{},"kind":"event","prev":"PREV","seq":0,"time":"2024-04-01T00:00:00.000000Z"}'
    zero = verify.ZERO.encode()
    assert verify.parse_line(good.replace(b"PREV", zero), verify.LEDGER_KINDS).kind == "event"
    chain = verify.read_chain(line.replace(b"PREV", zero) + b"\n", "x", verify.LEDGER_KINDS)
    assert chain.fault is not None
    assert chain.fault.code == "LINE_BROKEN"
    assert chain.fault.where == "x line 1"


def test_a_sealed_run_holds(run: Path) -> None:
    verdict = verify.verify(run)
    assert verdict.ok
    assert verdict.sealed
    assert verdict.checked["files"] == 35
    assert verdict.checked["outcomes"] == 15
    assert verdict.checked["registry_lines"] == 1
    assert all(verdict.checked.values())


def test_the_status_of_a_run_is_not_sealed(run: Path) -> None:
    (run / layout.STATUS).write_text("{}")
    assert verify.verify(run).ok


def test_what_a_killed_writer_of_the_status_left_is_named(run: Path) -> None:
    (run / ".run_status.json.12.tmp").write_text("Sharpe 9.9")
    (run / ".run_status.json.7.tmp").write_text("")
    verdict = verify.verify(run)
    assert [(each.code, each.where) for each in verdict.problems] == [
        ("FILE_EXTRA", ".run_status.json.12.tmp"),
        ("FILE_EXTRA", ".run_status.json.7.tmp"),
    ]


def test_a_writer_of_the_status_at_work_is_waited_for(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = run / ".run_status.json.12.tmp"
    temporary.write_text("{")
    monkeypatch.setattr(verify.clock, "sleep", lambda seconds: temporary.unlink())
    assert verify.verify(run).ok


def test_no_pipe_in_the_place_of_a_chain_is_opened(run: Path, home: Path) -> None:
    import os

    for path, code in ((run / layout.LEDGER, "LEDGER_MISSING"), (home / "runs" / "registry.jsonl", "REGISTRY_MISSING")):
        data = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert verify.verify(run).problems[0].code == code
        path.unlink()
        path.write_bytes(data)


def test_a_link_in_the_place_of_the_status_is_strange(run: Path) -> None:
    (run / layout.STATUS).unlink()
    (run / layout.STATUS).symlink_to(run / layout.LEDGER)
    assert codes(verify.verify(run)) == ["FILE_STRANGE"]


def test_strange_things_are_named_and_not_opened(run: Path) -> None:
    import os

    os.mkfifo(run / "data" / "pipe")
    for name in ("bell\x07", "back\\slash", "\u202egnp.exe"):
        (run / "data" / name).write_bytes(b"")
    verdict = verify.verify(run)
    assert codes(verdict) == ["FILE_STRANGE"] * 4
    found = [problem.where.removeprefix("data/") for problem in verdict.problems]
    assert found == ["back\\slash", "bell\x07", "pipe", "\u202egnp.exe"]


def test_a_file_that_was_added_is_named(run: Path) -> None:
    (run / "data" / "more.json").write_bytes(b"{}")
    verdict = verify.verify(run)
    assert [(problem.code, problem.where) for problem in verdict.problems] == [("FILE_EXTRA", "data/more.json")]


def test_a_file_that_cannot_be_read_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, paths: list[str]) -> dict[str, object]:
        raise PermissionError(13, "Permission denied", str(folder / paths[0]))

    monkeypatch.setattr(verify, "inventory", fail)
    verdict = verify.verify(run)
    assert codes(verdict) == ["UNREADABLE"]
    assert verdict.problems[0].where.endswith("INDEX.md")


def test_a_run_under_another_name_is_named(run: Path) -> None:
    run.rename(run.with_name("better_run"))
    assert codes(verify.verify(run.with_name("better_run")))[0] == "RUN_ID"


def test_a_run_reached_through_a_link_is_the_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)
    assert verify.verify(tmp_path / "latest").ok


def test_a_missing_ledger_is_named(run: Path) -> None:
    (run / layout.LEDGER).unlink()
    assert codes(verify.verify(run)) == ["LEDGER_MISSING"]


def test_a_run_that_failed_is_intact_but_not_sealed(home: Path) -> None:
    run = publish(home, "failed", draft(), through=6)
    verdict = verify.verify(run)
    assert codes(verdict) == ["NOT_SEALED"]
    assert not verdict.ok
    assert verdict.intact
    assert verdict.checked["lines"] == 18


def test_a_failed_run_whose_ledger_was_edited_is_not_intact(home: Path) -> None:
    run = publish(home, "failed", draft(), through=6)
    ledger = run / layout.LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"violations":0', b'"violations":1'))
    assert codes(verify.verify(run)) == ["CHAIN"]
    assert not verify.verify(run).intact


def test_a_seal_that_the_registry_lost_is_named(run: Path, home: Path) -> None:
    (home / "runs" / "registry.jsonl").write_bytes(b"")
    assert codes(verify.verify(run)) == ["REGISTRY_RUN"]


def test_a_missing_registry_is_named_for_a_sealed_run_only(run: Path, home: Path) -> None:
    failed = publish(home, "failed", draft(), through=6)
    (home / "runs" / "registry.jsonl").unlink()
    assert codes(verify.verify(run)) == ["REGISTRY_MISSING", "REGISTRY_RUN"]
    assert "REGISTRY_MISSING" not in codes(verify.verify(failed))


def test_the_registry_must_hold_the_line_that_a_run_began_after(run: Path, home: Path) -> None:
    later = publish(home, "later", draft("LONG"))
    book = home / "runs" / "registry.jsonl"
    assert verify.verify(later).ok
    (entered,) = [entry for entry in registry.entries(book) if entry.run_id == "later"]
    book.unlink()
    registry.append(book, entered)
    assert codes(verify.verify(later)) == ["REGISTRY_CUT"]


def test_a_torn_or_edited_registry_is_named(run: Path, home: Path) -> None:
    publish(home, "later", draft("LONG"))
    book = home / "runs" / "registry.jsonl"
    whole = book.read_bytes()
    book.write_bytes(whole + b"{")
    assert codes(verify.verify(run)) == ["TORN"]
    book.write_bytes(whole.replace(b'"kind":"run"', b'"kind":"ran"', 2))
    assert codes(verify.verify(run))[0] == "LINE_BROKEN"
    book.write_bytes(whole[:-2] + b" }\n")
    problem = verify.verify(run).problems[0]
    assert (problem.code, problem.where) == ("LINE_BROKEN", "registry.jsonl line 2")


def test_a_seal_cut_from_the_ledger_is_named(run: Path) -> None:
    ledger = run / layout.LEDGER
    *lines, _ = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines))
    verdict = verify.verify(run)
    assert codes(verdict) == ["LEDGER_CUT", "NOT_SEALED"]
    assert not verdict.intact


# Stories that are chained rightly and told wrongly


def tell(run: Path, *entries: tuple[str, dict[str, object]]) -> list[str]:
    """Write a chain with these entries and return the codes of the problems in it, the missing seal apart."""
    done: list[bytes] = []
    for kind, body in entries:
        prev = files.sha256(done[-1][:-1]) if done else verify.ZERO
        value = {"seq": len(done), "time": "2024-04-01T00:00:00.000000Z", "prev": prev, "kind": kind, "body": body}
        done.append(files.canonical_json(value) + b"\n")
    run.mkdir(parents=True, exist_ok=True)
    (run / layout.LEDGER).write_bytes(b"".join(done))
    return [code for code in codes(verify.verify(run)) if code != "NOT_SEALED"]


HASH = "a" * 64
GENESIS = ("genesis", {"run_id": "r", "profile": "p"})
INTENT = ("intent", {"step": 1, "name": "one", "inputs": {}})
OUTPUT = {"data/x": {"sha256": HASH, "content": HASH}}
OUTCOME = ("outcome", {"step": 1, "name": "one", "state": "ok", "inputs": {}, "outputs": OUTPUT, "error": None})
FAILED = ("outcome", {**OUTCOME[1], "state": "failed", "error": {"code": "DATA"}})
SEAL = (
    "seal",
    {"files": {}, "profile": "p", "manifest": HASH, "verdict": "VALID", "performance": {}, "signature": None},
)


def test_a_plain_story_is_right(tmp_path: Path) -> None:
    assert tell(tmp_path / "r", GENESIS, INTENT, OUTCOME) == []
    assert tell(tmp_path / "r", GENESIS, INTENT, FAILED, ("resume", {}), INTENT, OUTCOME) == []
    assert tell(tmp_path / "r", GENESIS, INTENT, ("resume", {}), INTENT, OUTCOME) == []


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([INTENT], "GENESIS"),
        ([INTENT, OUTCOME, SEAL], "GENESIS"),
        ([GENESIS, GENESIS], "GENESIS"),
        ([("genesis", {})], "SHAPE"),
        ([GENESIS, ("intent", {"step": 1})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "more": 1})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "inputs": {"x": "no hash"}})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "step": "1"})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "step": True})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "name": None})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "inputs": ["x"]})], "SHAPE"),
        ([GENESIS, ("intent", {**INTENT[1], "inputs": {"x": 7}})], "SHAPE"),
        ([("genesis", {"run_id": "r"})], "SHAPE"),
        ([("genesis", {"profile": "p"})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "outputs": ["x"]})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "outputs": {"x": "y"}})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "outputs": {"x": {"sha256": 1, "content": HASH}}})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "name": 1})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "more": 1})], "SHAPE"),
        ([GENESIS, ("seal", {**SEAL[1], "files": ["x"]})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "state": "fine"})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "error": {}})], "SHAPE"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "outputs": {"x": {"sha256": HASH}}})], "SHAPE"),
        ([GENESIS, OUTCOME], "UNPAIRED"),
        ([GENESIS, INTENT, INTENT], "UNPAIRED"),
        ([GENESIS, INTENT, OUTCOME, OUTCOME], "UNPAIRED"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "step": 2})], "UNPAIRED"),
        ([GENESIS, INTENT, ("outcome", {**OUTCOME[1], "inputs": {"x": HASH}})], "UNPAIRED"),
        ([GENESIS, INTENT, FAILED, INTENT], "UNPAIRED"),
        ([GENESIS, INTENT, SEAL], "UNPAIRED"),
        ([GENESIS, INTENT, FAILED, SEAL], "UNPAIRED"),
        ([GENESIS, ("seal", {**SEAL[1], "more": 1})], "SHAPE"),
        ([GENESIS, ("seal", {**SEAL[1], "files": {"x": {"sha256": HASH}}})], "SHAPE"),
        ([GENESIS, SEAL, ("event", {})], "AFTER_SEAL"),
        (
            [GENESIS, INTENT, OUTCOME, ("intent", {"step": 2, "name": "two", "inputs": {"data/x": "b" * 64}})],
            "INPUT_CHANGED",
        ),
    ],
)
def test_a_story_told_wrongly_is_named(tmp_path: Path, entries: list[tuple[str, dict[str, object]]], code: str) -> None:
    assert tell(tmp_path / "r", *entries)[0] == code


def test_times_may_not_decrease(tmp_path: Path) -> None:
    run = tmp_path / "r"
    tell(run, GENESIS, ("event", {}))
    first, second = (json.loads(line) for line in (run / layout.LEDGER).read_bytes().splitlines())
    first["time"] = "2024-04-01T00:00:01.000000Z"
    line = files.canonical_json(first)
    second["prev"] = files.sha256(line)
    (run / layout.LEDGER).write_bytes(line + b"\n" + files.canonical_json(second) + b"\n")
    assert verify.verify(run).problems[0].code == "TIME"


# The seal


def test_the_seal_agrees_with_the_registry(run: Path, home: Path) -> None:
    (entered,) = registry.entries(home / "runs" / "registry.jsonl")
    assert entered.run_id == run.name
    assert entered.profile == "p_short"
    assert entered.head == verify.verify(run).head
    assert entered.performance == {"hrp": 1.25, "max_sharpe": None}


def unsealed(home: Path) -> tuple[Path, Ledger]:
    run = publish(home, "r", draft(), through=13)
    return run, Ledger.open(run / layout.LEDGER)


def close(run: Path, ledger: Ledger, **changes: object) -> Registration:
    settings = {"manifest": HASH, "verdict": "VALID", "performance": {}, **changes}
    return seal(run, ledger, **settings)  # type: ignore[arg-type]  # values come from parameters


def test_nothing_follows_the_seal(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        close(run, ledger)
        with pytest.raises(UsageError, match="sealed"):
            ledger.event(15, "X", "too late")
    with pytest.raises(UsageError, match="sealed"):
        Ledger.open(run / layout.LEDGER)


def test_the_seal_refuses_what_is_not_the_runs_own(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        (run / "data" / "other.json").write_text("{}")
        with pytest.raises(IntegrityError, match="no step says"):
            close(run, ledger)
        (run / "data" / "other.json").unlink()
        (run / "data" / "link").symlink_to(run / layout.RETURNS)
        with pytest.raises(IntegrityError, match="symbolic link"):
            close(run, ledger)
        (run / "data" / "link").unlink()
        (run / "data" / ".secret").write_text("")
        with pytest.raises(IntegrityError, match="hidden"):
            close(run, ledger)
        (run / "data" / ".secret").unlink()
        before = (run / layout.RISK).read_bytes()
        (run / layout.RISK).write_bytes(before + b" ")
        with pytest.raises(IntegrityError, match="otherwise than the step"):
            close(run, ledger)
        (run / layout.RISK).unlink()
        with pytest.raises(IntegrityError, match="gone"):
            close(run, ledger)
        (run / layout.RISK).write_bytes(before)
        close(run, ledger)


def test_the_seal_refuses_a_step_that_has_not_ended(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        ledger.intent(14, "atomic_validation", {})
        with pytest.raises(IntegrityError, match="not ended well"):
            close(run, ledger)


def test_the_seal_refuses_a_step_that_failed_or_none_at_all(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        ledger.intent(14, "atomic_validation", {})
        ledger.outcome(14, "atomic_validation", "failed", {}, {}, {"code": "GATE"})
        with pytest.raises(IntegrityError, match="not ended well"):
            close(run, ledger)
    empty = home / "runs" / "empty"
    with (
        Ledger.create(empty / layout.LEDGER, {"run_id": "empty", "profile": "p"}) as ledger,
        pytest.raises(IntegrityError, match="there was none"),
    ):
        close(empty, ledger)


def test_a_link_that_looks_like_a_leftover_is_not_followed(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        (run / "data" / ".x.json.1.tmp").symlink_to(run / layout.RISK)
        with pytest.raises(IntegrityError, match="symbolic link"):
            close(run, ledger)
    assert (run / layout.RISK).exists()


def test_the_seal_removes_what_killed_writers_left_and_says_so(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        (run / "data" / ".risk.json.4242.tmp").write_text("half")
        (run / ".run_status.json.4242.tmp").write_text("a writer at work")
        entered = close(run, ledger)
        assert ledger.entries[-2].body["values"] == {"names": ["data/.risk.json.4242.tmp"]}
    assert (run / ".run_status.json.4242.tmp").exists()
    registry.append(home / "runs" / "registry.jsonl", entered)
    assert codes(verify.verify(run)) == ["FILE_EXTRA"]
    sweep(run)
    assert verify.verify(run).ok


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"cash": 0.5, "cash": 0.1}', "duplicate key 'cash'"),
        ('{"a": [{"as_of": 1, "b": 2, "\\u0061s_of": 1}]}', "duplicate key 'as_of'"),
        ("[" * 100_000, "recursion"),
        ("{", "Expecting"),
    ],
)
def test_a_sealed_document_that_two_readers_read_differently_is_named(home: Path, text: str, what: str) -> None:
    run, ledger = unsealed(home)
    with ledger:
        (run / "logs").mkdir(exist_ok=True)
        (run / "logs" / "note.json").write_text(text)
        with pytest.raises(IntegrityError, match=re.escape(what)) as caught:
            close(run, ledger)
        assert caught.value.code == "FILE_AMBIGUOUS"


def test_notes_of_a_failed_attempt_need_no_step(home: Path) -> None:
    run, ledger = unsealed(home)
    with ledger:
        (run / "logs").mkdir()
        (run / "logs" / "error.txt").write_text("Traceback")
        registry.append(home / "runs" / "registry.jsonl", close(run, ledger))
    assert verify.verify(run).ok
    (run / "logs" / "error.txt").write_text("nothing happened")
    assert codes(verify.verify(run)) == ["FILE_CHANGED"]


def test_a_signature_finds_a_full_rewrite(home: Path) -> None:
    """HMAC stands in for a real signature: the seam is the same."""

    def sign(message: bytes) -> dict[str, str]:
        value = hmac.new(b"secret", message, hashlib.sha256).hexdigest()
        return {"algorithm": "test", "key": "0" * 64, "value": value}

    def check(message: bytes, signature: dict[str, object]) -> str | None:
        return None if signature == sign(message) else "forged"

    book = home / "runs" / "registry.jsonl"
    run, ledger = unsealed(home)
    with ledger:
        registry.append(book, close(run, ledger, signer=sign))
    assert verify.verify(run, check_signature=check).ok
    *lines, last = (run / layout.LEDGER).read_bytes().splitlines()
    value = json.loads(last)
    value["body"]["verdict"] = "BETTER"
    (run / layout.LEDGER).write_bytes(b"".join(line + b"\n" for line in [*lines, files.canonical_json(value)]))
    book.unlink()
    registry.append(book, Registration.sealed(read_ledger(run / layout.LEDGER)))
    assert verify.verify(run).ok
    assert codes(verify.verify(run, check_signature=check)) == ["SIGNATURE"]


def test_a_seal_without_the_wanted_signature_is_named(run: Path) -> None:
    assert codes(verify.verify(run, check_signature=lambda message, signature: None)) == ["SIGNATURE_MISSING"]


def test_an_unsealed_run_has_nothing_to_sign(home: Path) -> None:
    run = publish(home, "failed", draft(), through=6)
    assert codes(verify.verify(run, check_signature=lambda message, signature: None)) == ["NOT_SEALED"]


# The command


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the file as an auditor would: no packages of ours, no site-packages at all."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True
    )


def test_the_file_runs_alone(run: Path, home: Path, tmp_path: Path) -> None:
    done = call(run, "--json")
    verdict = json.loads(done.stdout)
    assert done.returncode == 0
    assert verdict["ok"]
    assert verdict["checked"]["files"] == 35
    (run / layout.REPORT).write_bytes(b"all is well\n")
    done = call(run)
    assert done.returncode == 3
    assert done.stdout.startswith(f"FILE_CHANGED {layout.REPORT}")


def test_exit_codes(run: Path, home: Path, tmp_path: Path) -> None:
    failed = publish(home, "failed", draft(), through=6)
    assert verify.main([str(run)]) == 0
    assert verify.main([str(failed)]) == 3
    assert verify.main([str(failed), "--allow-unsealed"]) == 0
    assert verify.main([str(run), "--head", "0" * 64]) == 3
    assert verify.main([str(run), "--head", str(verify.verify(run).head).upper()]) == 0
    assert verify.main([str(run), "--registry", str(tmp_path / "none")]) == 3
    assert verify.main([str(tmp_path / "no run")]) == 2
    (run / layout.REPORT).unlink()
    assert verify.main([str(run), "--allow-unsealed"]) == 3


def test_hostile_names_do_not_reach_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "\x1b[2Jx").write_bytes(b"")
    verify.main([str(run)])
    assert "\x1b" not in capsys.readouterr().out


def test_the_verifier_imports_only_the_standard_library() -> None:
    import ast

    names = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names <= sys.stdlib_module_names
