"""A first look at any run, with 500 runs in the folder, beside a static file of the same bytes from the same server.

The server runs in a process of its own and is asked over loopback. Every page that is timed is one that nobody has
looked at before, and is checked first: the look that checks is of another copy of the same run.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

RUNS = 500
LOOKS = 100
LIMIT = 0.2
PROFILE = "binance_spot_rating_all_long"

PEER = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
app = Starlette(routes=[Mount("/", StaticFiles(directory=sys.argv[1]))])
config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
server = uvicorn.Server(config)
sock = config.bind_socket()
sock.listen()
print(f" at http://127.0.0.1:{sock.getsockname()[1]} ", flush=True)
server.run(sockets=[sock])
"""


def assay(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "assay", *arguments]


@contextlib.contextmanager
def server(call: list[str]) -> Iterator[tuple[httpx.Client, int]]:
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split(" ")[0]
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def many(home: Path) -> list[str]:
    """Run once, and put copies of the run beside it under names of their own."""
    subprocess.run(
        assay("run", PROFILE, "--home", str(home), "--run-id", "run000"), check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    first = home / "runs" / "run000"
    status = json.loads((first / "run_status.json").read_text())
    for number in range(1, RUNS):
        copy = home / "runs" / f"run{number:03}"
        shutil.copytree(first, copy)
        (copy / "run_status.json").write_text(json.dumps(status | {"run_id": copy.name}))
    return [f"run{number:03}" for number in range(RUNS)]


def seconds(client: httpx.Client, path: str) -> float:
    begin = time.perf_counter()
    answer = client.get(path)
    took = time.perf_counter() - begin
    assert answer.status_code == 200, path
    return took


def processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def check(client: httpx.Client, home: Path, name: str) -> bytes:
    """Compare the answer with the run's own files; return the page."""
    told = client.get(f"/api/runs/{name}").json()
    book = json.loads((home / "runs" / name / "data/portfolio_flattened.json").read_text())["profiles"]["hrp"]
    net = {coin["symbol"]: coin["net"]["hrp"] for coin in told["weights"]["coins"] if "hrp" in coin["net"]}
    assert net == {asset["Symbol"]: asset["Net_Weight"] for asset in book["assets"]}, "the answer differs from the file"
    page = client.get(f"/runs/{name}")
    assert all(symbol in page.text for symbol in net), "the page leaves a coin out"
    assert client.get("/api/runs").json()["all"] == RUNS, "runs are missing from the list"
    return page.content


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        home, static = Path(scratch) / "home", Path(scratch) / "static"
        names = many(home)
        with server(assay("serve", "--home", str(home), "--port", "0")) as (client, pid):
            page = check(client, home, names[0])
            static.mkdir()
            (static / "page.html").write_bytes(page)
            with server([sys.executable, "-c", PEER, str(static)]) as (peer, _):
                assert peer.get("/page.html").content == page
                # In turn, so that whatever else the machine does falls on both.
                before = processor(pid)
                looks = [
                    (seconds(client, f"/runs/{name}"), seconds(peer, "/page.html")) for name in names[1 : LOOKS + 1]
                ]
                cost = (processor(pid) - before) / LOOKS
            lists = [seconds(client, "/") for _ in range(20)]
            report = f"/runs/{names[-1]}/files/reports/report.html"
            reports = [seconds(client, report)] if (home / "runs" / names[-1] / "reports/report.html").is_file() else []
            used = idle(client, pid)
    ours, theirs = zip(*looks, strict=True)
    print(f"runs in the folder                     {RUNS}")
    print(f"first look at a run, median            {1000 * statistics.median(ours):8.1f} ms of {LOOKS} looks")
    print(f"first look at a run, slowest           {1000 * max(ours):8.1f} ms")
    print(f"processor time of the server per look  {1000 * cost:8.1f} ms")
    print(f"the same {len(page):,} bytes as a static file  {1000 * statistics.median(theirs):8.1f} ms, median")
    print(f"ratio of the medians                   {statistics.median(ours) / statistics.median(theirs):8.1f}")
    print(f"the list of all runs, median           {1000 * statistics.median(lists):8.1f} ms")
    for took in reports:
        print(f"a run's report.html                    {1000 * took:8.1f} ms")
    print(f"processor time of the server while one viewer looks and nothing changes {100 * used:.1f} % of a core")
    if cost > LIMIT or min(ours) > LIMIT:
        sys.exit(f"a first look takes longer than {1000 * LIMIT:.0f} ms, whatever else the machine does")
    if max(ours) > LIMIT:
        print(
            f"some looks took longer than {1000 * LIMIT:.0f} ms: their processor time says whether the machine was busy"
        )


def idle(client: httpx.Client, pid: int) -> float:
    with client.stream("GET", "/events") as stream:
        next(stream.iter_lines())
        before, begin = processor(pid), time.perf_counter()
        time.sleep(5)
        return (processor(pid) - before) / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
