"""Printing never fails on a name, nor because nobody reads on."""

import json
import os
import subprocess
import sys

import pytest

from assay.cli import output

NAMES = "BINANCE:币安人生USDT é 😀 \udce9"
"""Beyond Latin-1, beyond ASCII, beyond 16 bits, and a byte of a file name that is no UTF-8."""
PRINTS = f"""
from assay.cli import output
output.take_streams()
output.line({NAMES!r})
output.note({NAMES!r})
output.as_json({{"name": {NAMES!r}}})
output.progress({NAMES!r}, 0, 3)
"""
TALKS = """
import sys
from assay.cli import output
output.take_streams()
for number in range(100_000):
    output.{how}(f"line {number}")
output.note("came to its end")
"""


def python(code, encoding="utf-8", **kept):
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=60, **kept)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "ascii:strict", "utf-16-le"])
def test_a_terminal_that_lacks_a_character_gets_an_escape_and_json_stays_json(encoding):
    codec = encoding.partition(":")[0]
    done = python(PRINTS, encoding)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.decode(codec).splitlines()
    assert json.loads("".join(rest)) == {"name": NAMES}
    assert json.loads(f'"{first}"') == NAMES
    said = done.stderr.decode(codec).splitlines()
    assert said == [first, f"foundation: {first}, 3 bars"]
    assert ("币" in first) is codec.startswith("utf")
    assert r"\udce9" in first


def test_what_a_command_refuses_is_told_in_escapes(tmp_path):
    for arguments, code in ((["status"], 0), (["verify", "币"], 2), (["run", "é", "--json"], 2), (["doctor"], 1)):
        env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        command = [sys.executable, "-m", "assay", *arguments, "--home", str(tmp_path / "北é")]
        done = subprocess.run(command, capture_output=True, env=env, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize(("how", "code", "ended"), [("line", 141, False), ("note", 0, True)])
def test_who_reads_no_further_is_no_fault(how, code, ended):
    """Results that nobody reads end the process quietly; progress that nobody reads stops no work."""
    stream = "stdout" if how == "line" else "stderr"
    done = "import sys; sys.stdout.write('done')"
    code_run = TALKS.replace("{how}", how) + (done if ended else "")
    with subprocess.Popen([sys.executable, "-c", code_run], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talking:
        pipe = getattr(talking, stream)
        assert pipe.readline() == b"line 0\n"
        pipe.close()
        left = (talking.stderr if how == "line" else talking.stdout).read()
        assert talking.wait(60) == code
    assert left == (b"done" if ended else b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_fault(tmp_path, closed):
    command = f"{sys.executable} -m assay profiles list --json {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=60, cwd=tmp_path, check=False)
    assert (done.returncode, b"rror" in done.stderr) == (0, False), done.stderr


def test_head_takes_one_line_of_a_command(tmp_path):
    piped = f"({sys.executable} -m assay profiles list; echo $? >&2) | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", piped], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.strip() in ("0", "141")


def test_a_table_that_is_too_wide_for_its_reader_is_told_row_by_row(monkeypatch):
    head, rows = ["profile", "run id"], [["a" * 30, "b" * 30], ["c", "d"]]
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = output.table(head, rows)
    assert wide.splitlines()[0].split() == ["profile", "run", "id"]
    monkeypatch.setenv("COLUMNS", "62")
    assert output.table(head, rows) == wide
    monkeypatch.setenv("COLUMNS", "61")
    assert output.table(head, rows) == f"profile  {'a' * 30}\nrun id   {'b' * 30}\n\nprofile  c\nrun id   d"
