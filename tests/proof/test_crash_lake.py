"""Writers of a lake are killed at random moments, and starved: it stays readable, and ends as if nothing had been."""

import os
import subprocess
import sys
from contextlib import contextmanager

import polars as pl
import pytest
from crash_lake import Attack, content, finish, start, starved, states
from crash_world import LONG, SMALL, make_bars
from loops import often

from assay.base.errors import DiskError, Exit
from assay.lake import delta
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.storage import Folder
from assay.pipeline.replay import recorded_artifacts
from assay.runs.home import Home


def attack(folder, kills, seed):
    made = Attack(folder, seed)
    while made.kills < kills:
        made.strike()
    made.end()
    assert made.kept  # at least one was killed before it was done, or this shows nothing
    return made


def test_six_killed_writers_lose_nothing(tmp_path):
    attack(tmp_path, kills=6, seed=20240121)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_two_hundred_killed_writers_lose_nothing(tmp_path, seed):
    attack(tmp_path, kills=often("WRITERS") // 4, seed=seed)


@pytest.mark.parametrize("size", [0, 60_000])
def test_a_writer_without_room_ends_with_the_disks_code_and_leaves_the_state(tmp_path, size):
    path = tmp_path / "bars.parquet"
    before, wanted = states()[:2]
    before.write_parquet(path)
    lake = Lake(tmp_path / "home", f"parquet:{path}")
    ingest(lake)
    old = content(lake.latest())
    wanted.write_parquet(path)
    assert finish(*start(starved, tmp_path / "home", lake.source.name, size)) == Exit.INTERNAL
    assert content(lake.latest()) == old
    assert len(lake.heads()) == 1
    ingest(lake)
    clean = Lake(tmp_path / "clean", f"parquet:{path}")
    ingest(clean)
    assert content(lake.latest()) == content(clean.latest())


@contextmanager
def mounted(folder, size):
    """A file system so small that it can be filled."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(folder, room):
    """Leave only so many bytes free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(65_536))
        except OSError:
            pass
        stream.truncate(max(0, filler.stat().st_size - room))
    yield
    filler.unlink()


@pytest.mark.slow
def test_a_file_system_that_is_really_full_loses_neither_lake_nor_run(tmp_path):
    path = tmp_path / "bars.parquet"
    make_bars(days=280).write_parquet(path)
    with mounted(tmp_path / "small", "24m") as small:
        lake = Lake(small / "home", f"parquet:{path}")
        ingest(lake)
        old = content(lake.latest())
        make_bars().write_parquet(path)
        for room in (0, 4_096, 8_192):
            with filled(small, room), pytest.raises(DiskError):
                ingest(lake)
            assert content(lake.latest()) == old
        ingest(lake)
        command = [
            sys.executable,
            "-m",
            "assay",
            "run",
            LONG,
            "--home",
            str(small / "home"),
            "--source",
            lake.source.name,
        ]
        for setting in SMALL:
            command += ["--set", setting]
        subprocess.run([*command, "--run-id", "twin"], check=True, capture_output=True)
        twin = recorded_artifacts(Home(small / "home").run("twin"))
        codes = set()
        for room in (0, 8_192, 40_960, 102_400, 204_800):
            name = f"room{room}"
            with filled(small, room):
                done = subprocess.run([*command, "--run-id", name], capture_output=True, text=True, check=False)
            assert done.returncode == Exit.INTERNAL
            assert "DISK" in done.stdout + done.stderr
            codes.add(done.returncode)
            resume = ["--resume"] if (small / "home" / "runs" / name).is_dir() else []
            subprocess.run([*command, "--run-id", name, *resume], check=True, capture_output=True)
            assert recorded_artifacts(Home(small / "home").run(name)) == twin
        assert codes == {Exit.INTERNAL}


@pytest.mark.slow
def test_the_checkpoints_of_a_table_reach_the_disk_before_a_head_can_name_what_needs_them(tmp_path, monkeypatch):
    synced = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.path.realpath(f"/proc/self/fd/{descriptor}")))
    for number in range(100):
        rows = pl.DataFrame({"interval": ["1d"], "x": [float(number)]})
        delta.write(Folder(tmp_path / "t"), rows, replace=False, upon=number - 1 if number else None)
    log = tmp_path / "t" / "_delta_log"
    needed = {
        str(path) for path in (*log.glob("*.checkpoint.parquet"), *log.glob("*.json"), log / "_last_checkpoint", log)
    }
    assert len(needed) == 103
    assert needed <= synced
