"""The process: where it listens, what it prints, how it stops."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from page_house import a_status, command, serving

from assay.base.errors import UsageError
from assay.cli.watch import serve
from assay.page.server import bind


def wait(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


SIGNALS = [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("sent", "code"), SIGNALS)
def test_it_stops_when_told_though_someone_is_looking(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    a_status(tmp_path / "home", "one")
    with serving(tmp_path / "home") as served:
        with httpx.stream("GET", f"{served.address}/events", timeout=120) as stream:
            assert next(stream.iter_lines())
            served.process.send_signal(sent)
            err = served.process.communicate(timeout=120)[1]
        assert served.process.returncode == code
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_port_in_use_is_a_plain_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("serve", "--home", str(tmp_path), "--port", port), capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert "the port is in use" in done.stderr
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", "127.0.0.1.nip.io", "*"])
def test_beyond_loopback_without_a_token_it_does_not_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="others could read"):
        serve(host, 0, home=tmp_path)


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters", "x" * 15 + "\n", "é" * 20])
def test_a_weak_token_is_refused(tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_TOKEN", token)
    with pytest.raises(UsageError, match="ASSAY_TOKEN"):
        serve("127.0.0.1", 0, home=tmp_path)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.7", 0), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_had(host: str, port: int) -> None:
    with pytest.raises(UsageError):
        bind(host, port)


@pytest.mark.slow
def test_a_new_token_is_printed_once_and_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path / "home", "--host", "0.0.0.0", "--new-token") as served:
        token = served.first_lines[1].split(": ")[1].strip()
        port = served.address.rpartition(":")[2]
        address = f"http://127.0.0.1:{port}/api/runs"
        assert httpx.get(address).status_code == 401
        assert httpx.get(address, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert httpx.get(address, auth=("me", token)).status_code == 200
        assert httpx.get(address, params={"token": token}).status_code == 401
        served.process.terminate()
        out, err = served.process.communicate(timeout=120)
        assert token not in out + err, "the token is in what the server says later"


@pytest.mark.slow
def test_the_token_of_the_environment_is_never_printed(tmp_path: Path) -> None:
    token = "a-token-from-the-environment"
    with serving(tmp_path / "home", ASSAY_TOKEN=token) as served:
        assert httpx.get(f"{served.address}/").status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{served.address}/runs/nobody?x={token}", headers=headers).status_code == 404
        assert httpx.post(f"{served.address}/", headers=headers).status_code == 405
        served.process.terminate()
        out, err = served.process.communicate(timeout=120)
        assert token not in "".join(served.first_lines) + out + err


def test_changes_are_told_as_they_come(tmp_path: Path) -> None:
    """One server: a run appears, moves, ends, and goes; a viewer that comes back gets what it missed."""
    home = tmp_path / "home"
    told: list[dict] = []

    def listen(address: str, ended: threading.Event) -> None:
        with httpx.stream("GET", f"{address}/events", timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    told.append(json.loads(line[6:]))
                if ended.is_set():
                    return

    def said(run_id: str, state: str, step: int) -> bool:
        rows = [row for update in told for row in update["rows"]]
        return any((row["run_id"], row["state"], row["step"]) == (run_id, state, step) for row in rows)

    with serving(home) as served:
        ended = threading.Event()
        viewer = threading.Thread(target=listen, args=(served.address, ended), daemon=True)
        viewer.start()
        for step in (1, 7, 15):
            a_status(home, "one", step=step)
            wait(lambda step=step: said("one", "RUNNING", step))
        missed = told[-1]["mark"]
        a_status(home, "one", state="VALID", step=15)
        wait(lambda: said("one", "VALID", 15))
        a_status(home, "two", state="VALID", step=15)
        wait(lambda: said("two", "VALID", 15))
        (home / "runs/two/run_status.json").unlink()
        shutil.rmtree(home / "runs/two")
        wait(lambda: any("two" in update["gone"] for update in told))
        headers = {"Last-Event-ID": missed}
        with httpx.stream("GET", f"{served.address}/events", headers=headers, timeout=120) as stream:
            again = json.loads(next(line[6:] for line in stream.iter_lines() if line.startswith("data: ")))
        assert not again["whole"]
        assert [(row["run_id"], row["state"]) for row in again["rows"]] == [("one", "VALID")]
        assert again["gone"] == ["two"]
        ended.set()
        a_status(home, "one", state="FAILED")
        viewer.join(120)
        assert not viewer.is_alive()


@pytest.mark.slow
def test_a_viewer_who_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for number in range(120):
        a_status(home, f"run{number:03}", stage="x" * 2000)
    with serving(home) as served:
        host, port = served.address.removeprefix("http://").split(":")
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect((host, int(port)))
            lazy.sendall(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            with httpx.stream("GET", f"{served.address}/events", timeout=120) as stream:
                lines = stream.iter_lines()
                for turn in range(8):
                    for number in range(0, 120, 3):
                        a_status(home, f"run{number:03}", step=turn, stage="y" * 2000)
                    seen = 0
                    while seen < 1:
                        line = next(lines)
                        if line.startswith("data: "):
                            seen += any(row["step"] == turn for row in json.loads(line[6:])["rows"])
            memory = Path(f"/proc/{served.process.pid}/status").read_text()
            resident = int(memory.split("VmRSS:")[1].split()[0]) / 1024
            assert resident < 600, "the server keeps what the lazy viewer does not read"


def test_a_missing_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.cli.watch.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"assay-portfolio\[page\]"):
        serve("127.0.0.1", 0, home=tmp_path)


def test_a_port_in_use_is_refused_before_anything_is_served() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="the port is in use"):
            bind("127.0.0.1", taken.getsockname()[1])
