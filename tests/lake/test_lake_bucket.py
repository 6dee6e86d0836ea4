"""A lake in a bucket: the same rows, the same runs, and no writer's rows lost, against a server that speaks S3."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import obstore
import obstore.store
import polars as pl
import pytest
from test_lake_crash import RECORDER, WRITER, go, start

from assay.base.errors import ConflictError, DiskError, Exit, IntegrityError, UsageError
from assay.base.files import content_hash_table
from assay.lake import delta
from assay.lake import storage as place
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.snapshot import pin
from assay.market.schema import CANDIDATES, KEYS
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.report.doctor import examine
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.settings import load

SECRET = "a-secret-that-must-not-be-stored"
BUCKET = "assay-tests"


@pytest.fixture(scope="session")
def service():
    """The address of a server in a process of its own: Delta Lake holds the interpreter's lock while it waits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _make_bucket(address)
            yield address
        finally:
            process.kill()


def _make_bucket(address):
    for _ in range(200):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT")).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not start")


@pytest.fixture
def bucket(service, monkeypatch, tmp_path):
    """An empty prefix, and the environment in which it is found."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": service,
    }.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{re.sub('[^A-Za-z0-9]', '-', tmp_path.name)}"


def content(lake):
    snapshot = lake.latest()
    return {name: content_hash_table(snapshot.table(name), KEYS[name]) for name in snapshot.versions}


@pytest.fixture
def grown(market_bars):
    """The bars as they come: the beginning, more days, and one value mended."""
    day = market_bars["timestamp"].unique().sort()
    mended = pl.when((pl.col("timestamp") == day[200]) & (pl.col("symbol") == "BINANCE:ETHUSDT"))
    repaired = market_bars.with_columns(close=mended.then(pl.col("close") * 1.001).otherwise(pl.col("close")))
    wide = repaired.with_columns(high=pl.max_horizontal("high", "close"), low=pl.min_horizontal("low", "close"))
    return [market_bars.filter(pl.col("timestamp") < day[300]), market_bars, wide]


def test_each_state_in_a_bucket_holds_what_a_folder_holds(bucket, tmp_path, parquet, grown):
    states = []
    for table in grown:
        source = parquet(table)
        far, near = Lake(tmp_path / "far", source, bucket), Lake(tmp_path / "near", source)
        assert ingest(far).as_dict() == ingest(near).as_dict()
        assert content(far) == content(near)
        states.append(content(near))
    assert not ingest(far).changed
    for number, known in enumerate(states, start=1):  # what was pinned stays readable
        snapshot = pin(far.folder, number)
        assert {n: content_hash_table(snapshot.table(n), KEYS[n]) for n in snapshot.versions} == known
    assert sorted(path.name for path in far.folder.iterdir()) == [".lock", "location.json", "source.json"]


def test_the_doctor_looks_into_a_bucket(bucket, tmp_path, parquet, market_bars, monkeypatch):
    lake = Lake(tmp_path / "home", parquet(market_bars), bucket)
    ingest(lake)
    now = lake.latest().last_close()
    healthy = examine(lake.folder, now)
    assert (healthy.issues, healthy.facts["head"], healthy.facts["symbols"]) == ([], 1, 3)
    file = delta.content(lake.storage.table("bars"), lake.latest().versions["bars"]).files[0]
    store = obstore.store.from_url(lake.storage.uri, client_options={"allow_http": True})
    obstore.put(store, file.removeprefix(f"{lake.storage.uri}/"), b"PAR1")
    [damage] = [issue for issue in examine(lake.folder, now).issues if issue.code == "TABLE_DAMAGED"]
    assert damage.severity == "INTEGRITY"
    obstore.delete(store, "heads/00000000000000000001.json")
    assert [issue.code for issue in examine(lake.folder, now).issues] == ["EMPTY_LAKE"]


def test_a_run_on_a_bucket_equals_a_run_on_a_folder(bucket, tmp_path):
    settings = ["walk_forward.days=40"]
    hashes = []
    for home in (Home(tmp_path / "far", bucket), Home(tmp_path / "near")):
        catalog = load(settings=settings)
        foundation = lay_foundation(home, catalog, "sample", "2023-10-20")
        [request] = requests(home, catalog, foundation, ["binance_spot_rating_all_short"], "one")
        outcome = execute(request)
        assert outcome.state == "VALID", outcome.error
        ledger = [json.loads(line) for line in (request.run / layout.LEDGER).read_bytes().splitlines()]
        outputs = [
            line["body"]["outputs"] for line in ledger if line["kind"] == "outcome" and line["body"]["step"] < 14
        ]
        hashes.append([{name: record["content"] for name, record in step.items()} for step in outputs])
    assert hashes[0][1:] == hashes[1][1:]
    assert len(hashes[0]) == 13
    stored = [path for path in (tmp_path / "far").rglob("*") if path.is_file()]
    assert stored
    assert not any(SECRET.encode() in path.read_bytes() for path in stored)


@pytest.mark.parametrize(("writing", "rows"), [(2, 2), pytest.param(4, 5, marks=pytest.mark.slow)])
def test_writers_who_meet_lose_no_row(bucket, tmp_path, parquet, market_bars, writing, rows):
    source = parquet(market_bars)
    lake = Lake(tmp_path / "home", source, bucket)
    ingest(lake)
    homes = [tmp_path / f"home{number}" for number in range(writing)]  # machines of their own: no lock is shared
    for home in homes:
        Lake(home, source, bucket).record("candidates", pl.DataFrame(schema=CANDIDATES))
    few = RECORDER.replace("range(10)", f"range({rows})")
    writers = [start(few, home, source, f"scanner{number}") for number, home in enumerate(homes)]
    for writer in writers:
        go(writer)
    for writer in writers:
        writer.communicate(timeout=300)
    assert [writer.returncode for writer in writers] == [0] * writing
    found = lake.latest().candidates()
    assert found.group_by("scanner").len().sort("scanner").rows() == [(f"scanner{n}", rows) for n in range(writing)]
    assert len(lake.heads()) == 1 + writing + writing * rows


@pytest.mark.parametrize("moment", ["before the bars", "between bars and ratings", "before the head"])
def test_a_writer_who_was_slower_begins_again(bucket, tmp_path, parquet, grown, monkeypatch, moment):
    source = parquet(grown[0])
    slow, fast = Lake(tmp_path / "slow", source, bucket), Lake(tmp_path / "fast", source, bucket)
    ingest(slow)
    ingest(fast)  # finds it done
    parquet(grown[1])
    write, meetings = delta.write, []

    def meeting(place_, rows, **options):
        name = place_.uri.rsplit("/", 1)[-1]
        due = {"before the bars": "bars", "between bars and ratings": "ratings"}.get(moment)
        if name == due and not meetings:
            meetings.append(name)
            ingest(fast)
        version = write(place_, rows, **options)
        if due is None and name == "ratings" and not meetings:
            meetings.append(name)
            ingest(fast)
        return version

    monkeypatch.setattr(delta, "write", meeting)
    ingest(slow)
    assert len(meetings) == 1
    near = Lake(tmp_path / "near", source)
    ingest(near)
    assert content(slow) == content(fast) == content(near)
    assert len(slow.heads()) == 2  # the slower found that nothing was left to do


def test_a_version_of_another_between_ours_is_noticed(bucket, tmp_path, parquet, market_bars):
    lake = Lake(tmp_path / "home", parquet(market_bars), bucket)
    ingest(lake)
    table, rows = lake.storage.table("bars"), lake.latest().bars()
    version = lake.latest().versions["bars"]
    delta.write(table, rows, replace=True, upon=version)
    with pytest.raises(ConflictError):
        delta.write(table, rows, replace=True, upon=version)
    assert lake.latest().bars().equals(rows)


def test_an_answer_that_was_lost_is_not_another_writer(bucket, tmp_path, parquet, market_bars):
    lake = Lake(tmp_path / "home", parquet(market_bars), bucket)
    ingest(lake)
    line = lake.storage.heads()[0]
    lake.storage.add_head(1, line)
    with pytest.raises(ConflictError, match="another writer"):
        lake.storage.add_head(1, line.replace(b"1", b"2"))


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_writers_that_are_killed_leave_whole_states(bucket, tmp_path, parquet, grown, kills):
    source = parquet(grown[0])
    lake, near = Lake(tmp_path / "home", source, bucket), Lake(tmp_path / "near", source)
    ingest(lake)
    moments = random.Random(11)
    for number in range(kills):
        parquet(grown[number % 3])
        writer = start(WRITER, tmp_path / "home", source)
        go(writer)
        time.sleep(moments.uniform(0.0, 0.6))
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=30)
        assert lake.latest().table("bars").height == lake.latest().record.rows["bars"]
    parquet(grown[2])
    ingest(lake)
    ingest(near)
    assert content(lake) == content(near)


def test_a_bucket_that_is_gone_is_a_clear_error(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(DiskError, match="does not answer") as caught:
        ingest(Lake(tmp_path, "sample", f"s3://{BUCKET}/gone"))
    assert caught.value.code == "LAKE_UNREACHABLE"
    assert caught.value.exit_code == Exit.INTERNAL
    assert SECRET not in str(caught.value)


def test_a_state_that_is_missing_is_an_integrity_error(bucket, tmp_path, parquet, grown):
    for table in grown[:2]:
        lake = Lake(tmp_path, parquet(table), bucket)
        ingest(lake)
    store = obstore.store.from_url(lake.storage.uri, client_options={"allow_http": True})
    obstore.delete(store, f"heads/{1:020d}.json")
    with pytest.raises(IntegrityError, match="without a gap"):
        lake.latest()


@pytest.mark.parametrize(
    "at", ["s3://", "s3://UPPER/x", "http://host/bucket", "s3://b", "s3://bucket/../x y", "/srv/lake"]
)
def test_what_is_no_bucket_is_refused(tmp_path, at):
    with pytest.raises(UsageError, match="not a place"):
        Lake(tmp_path, "sample", at)


def test_a_lake_does_not_move_by_itself(bucket, tmp_path, parquet, market_bars):
    source = parquet(market_bars)
    ingest(Lake(tmp_path / "far", source, bucket))
    with pytest.raises(UsageError, match="already"):
        Lake(tmp_path / "far", source, f"{bucket}/elsewhere")
    assert Lake(tmp_path / "far", source).latest().bars().height == market_bars.height  # the folder remembers
    ingest(Lake(tmp_path / "near", source))
    with pytest.raises(UsageError, match="already"):
        Lake(tmp_path / "near", source, bucket)


@pytest.mark.parametrize("told", ["[]", "{}", '{"url": "s3://x y"}', '{"url": "file:///etc"}'])
def test_a_damaged_pointer_is_an_integrity_error(tmp_path, told):
    (tmp_path / place.POINTER).write_text(told)
    with pytest.raises(IntegrityError):
        place.storage_of(tmp_path)


def test_without_its_package_a_bucket_is_refused_by_name(bucket, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match="s3"):
        Lake(tmp_path, "sample", bucket).latest()


def test_the_command_line_takes_the_place_from_the_environment(bucket, tmp_path):
    told = subprocess.run(
        [sys.executable, "-m", "assay", "ingest", "--home", tmp_path / "home", "--json"],
        env=os.environ | {"ASSAY_LAKE": bucket},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout)["lake"].startswith(bucket)
    assert SECRET not in told.stdout + told.stderr
