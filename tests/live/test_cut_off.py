"""A load that is cut off - process killed, network dead, disk full - loses and invents nothing, whatever the source."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from exchange_server import Fault
from live_world import LocalExchange, archive, codes, small, source, stored

from assay.base.errors import AssayError, DiskError, SourceError
from assay.lake.ingest import ingest
from assay.lake.lake import Lake

KINDS = ("binance", "archive", "ccxt:binanceus")
CHILD = "import sys; from assay.lake.loader import PersistentDataLoader as L; L(sys.argv[1], sys.argv[2]).sync()"


def feed(kind, exchange, **changes):
    if kind == "archive":
        return archive(exchange, **changes)
    return source(exchange, kind.removeprefix("ccxt:"), **changes)


def bars_asked(exchange):
    """Files and pages of bars that were answered."""
    log = [request for request in exchange.log if request.status == 200 and request.fault is None]
    return [r for r in log if r.path.endswith(".zip") or "interval" in r.query]


def truth(exchange, kind):
    held = exchange.world.truth()
    if kind.startswith("ccxt"):
        name = kind.removeprefix("ccxt:").upper()
        held = held.drop("quote_volume").with_columns(held["symbol"].str.replace("BINANCE", name))
    return held


def check_whole(lake, exchange, kind):
    wanted = truth(exchange, kind)
    assert stored(lake).select(wanted.columns).equals(wanted)
    assert list((lake.folder / "spool").glob("*")) == []


@pytest.fixture
def exchange():
    with LocalExchange(small("2023-02-10")) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["first", "later"])
def begun(request, tmp_path, exchange):
    """A function that makes the lake of a kind: empty, or filled some days before."""

    def make(kind):
        lake = Lake(tmp_path, feed(kind, exchange))
        if request.param:
            exchange.world.at("2023-02-05")
            ingest(lake, feed(kind, exchange))
            exchange.world.at("2023-02-10")
            exchange.forget()
        return lake

    return make


# --- dead network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_dies_in_mid_load(exchange, begun, kind):
    lake = begun(kind)
    before = [head.head for head in lake.heads()]
    answer, dead = exchange._answer, []

    def dying(request):
        if len(bars_asked(exchange)) >= 3 and not dead:
            dead.append(exchange.fail(Fault("reset", times=None)))
            request.fault = Fault("reset")
        return answer(request)

    exchange._answer = dying
    with pytest.raises(SourceError) as caught:
        ingest(lake, feed(kind, exchange, attempts=2, concurrency=1))
    assert (caught.value.code, caught.value.exit_code) == ("SOURCE_UNREACHABLE", 4)
    assert "are kept" in caught.value.hint
    assert [head.head for head in lake.heads()] == before
    had = {(request.path, str(request.query)) for request in bars_asked(exchange)}
    exchange.heal()
    exchange.forget()
    report = ingest(lake, feed(kind, exchange))
    assert codes(report)["RESUMED"].count >= 1
    check_whole(lake, exchange, kind)
    if kind != "ccxt:binanceus":  # there an answer counts once what comes before it was asked for
        assert not had & {(request.path, str(request.query)) for request in bars_asked(exchange)}


# --- full disk --------------------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size):
    """Let every write beyond a size fail, as on a full disk, whoever writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("stage", ["fetch", "write"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full(exchange, begun, kind, stage):
    """Where nothing more can be spooled, and where everything is fetched and nothing can be written into the lake."""
    lake = begun(kind)
    before = [head.head for head in lake.heads()]
    limit, full = resource.getrlimit(resource.RLIMIT_FSIZE), []

    def tell(now, _done, _total):
        if now == stage and not full:
            full.append(resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1])))

    with files_of_at_most(limit[0]), pytest.raises(AssayError) as caught:
        ingest(lake, feed(kind, exchange), progress=tell)
    assert full
    assert isinstance(caught.value, DiskError), caught.value
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert [head.head for head in lake.heads()] == before
    exchange.forget()
    report = ingest(lake, feed(kind, exchange))
    check_whole(lake, exchange, kind)
    if stage == "write":
        assert bars_asked(exchange) == []
        assert "RESUMED" in codes(report)


# --- killed process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_killed(tmp_path, exchange, kind):
    exchange.latency = 0.05
    names = ("BINANCE_URL", "BINANCE_ARCHIVE_URL", "BINANCEUS_URL")
    settings = {f"ASSAY_{name}": exchange.url for name in names} | {"ASSAY_LIVE__CONCURRENCY": "1"}
    settings["POLARS_MAX_THREADS"] = "1"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), kind], env=os.environ | settings)
    lake = Lake(tmp_path, feed(kind, exchange))
    spool = lake.folder / "spool"
    while not any(path.read_bytes().count(b"\n") >= 4 for path in spool.glob("*.jsonl")):
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert lake.heads() == []
    exchange.latency = 0.0
    kept = {json.loads(line)[0] for path in spool.glob("*.jsonl") for line in path.read_bytes().splitlines()[1:]}
    exchange.forget()
    report = ingest(lake, feed(kind, exchange))
    assert codes(report)["RESUMED"].count == len({key.split("/")[4] if "/" in key else key for key in kept})
    asked = {r.path.removeprefix("/") if kind == "archive" else r.query["symbol"] for r in bars_asked(exchange)}
    if kind != "ccxt:binanceus":
        assert not asked & {key.removeprefix("BINANCE:") for key in kept}
    check_whole(lake, exchange, kind)
