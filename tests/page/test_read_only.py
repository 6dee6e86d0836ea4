"""The server writes nothing below the home: neither Python, as its audit hook sees it, nor anything else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import httpx
from page_house import serving

HOOK = """
import os, sys
HOME, LOG = {home!r}, {log!r}
DESCRIPTOR = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
            "os.chown", "os.utime", "os.setxattr", "os.removexattr", "shutil.")

def below(path):
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(HOME)

def hook(event, arguments):
    if event == "open" and below(arguments[0]):
        mode, flags = arguments[1], arguments[2]
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITING)
        os.write(DESCRIPTOR, ("WRITE " if writes else "READ ").encode() + os.fsencode(arguments[0]) + b"\\n")
    elif event.startswith(CHANGING) and any(map(below, arguments)):
        os.write(DESCRIPTOR, f"WRITE {{event}} {{arguments}}\\n".encode())

sys.addaudithook(hook)
"""


def fingerprint(home: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file, and the time of every folder."""
    found = {}
    for path in sorted(home.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.relative_to(home).as_posix()] = (content, path.stat().st_mtime_ns)
    return found


def addresses(lake: str) -> list[str]:
    btc = "symbol=BINANCE:BTCUSDT"
    pages = ["/runs/long", "/runs/long/ledger", "/compare?a=long&b=short", "/lakes", f"/lakes/{lake}", "/flows",
             f"/lakes/{lake}/coin?{btc}", "/runs/nobody", "/accounts", "/accounts/paper",
             f"/runs/long/why?{btc}"]  # fmt: skip
    return [
        "/",
        *pages,
        "/api/runs",
        *(f"/api{page}" for page in pages),
        "/runs/long/files/data/returns_matrix.parquet",
    ]


def test_no_request_writes_below_the_home(finished_home: Path, tmp_path: Path) -> None:
    before, log = fingerprint(finished_home), tmp_path / "opened"
    prelude = HOOK.format(home=str(finished_home), log=str(log))
    with serving(finished_home, prelude=prelude) as served, httpx.Client(base_url=served.address, timeout=60) as client:
        [lake] = client.get("/api/lakes").json()["lakes"]
        for address in addresses(lake["name"]):
            assert client.get(address).status_code in (200, 400, 404), address
            for method in ("POST", "PUT", "DELETE"):
                assert client.request(method, address, content=json.dumps({"run_id": "x"})).status_code == 405
        with client.stream("GET", "/events") as stream:
            assert next(stream.iter_lines())
    opened = log.read_text().splitlines()
    assert any(line.startswith("READ ") for line in opened), "the hook saw nothing"
    assert [line for line in opened if line.startswith("WRITE ")] == []
    assert fingerprint(finished_home) == before
