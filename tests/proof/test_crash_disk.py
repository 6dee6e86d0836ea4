"""The faulty disk bites: the atomic writer and the appender survive it, and each without one of its parts does not."""

import os

import pytest

from assay.base import files
from assay.base.errors import DiskError
from assay.selftest.crash import faults_of
from assay.selftest.faults import Died, FaultyDisk, writing_to

OLD, NEW, LINE = b"old" * 50, b"new" * 70, b"a line\n"


def without_sync(path, data):
    temporary = path.with_suffix(".tmp")
    with files._opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        files.disk.write(descriptor, data)
    files.disk.rename(temporary, path)
    files.sync_folder(path.parent)


def without_folder_sync(path, data):
    temporary = path.with_suffix(".tmp")
    with files._opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        files.disk.write(descriptor, data)
        files.disk.sync(descriptor)
    files.disk.rename(temporary, path)


def in_place(path, data):
    with files._opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
        files.disk.write(descriptor, data)
        files.disk.sync(descriptor)
    files.sync_folder(path.parent)


def endings(folder, writer, seeds=8):
    """What may be read after each fault of a write, and whether the writer had returned before the power failed."""
    counting = FaultyDisk()
    path = folder / "file"
    path.write_bytes(OLD)
    with writing_to(counting):
        writer(path, NEW)
    for seed in range(seeds):
        for fault in [*faults_of(counting.operations, seed=seed), None]:
            path.write_bytes(OLD)
            disk, returned = FaultyDisk(fault), False
            with writing_to(disk):
                try:
                    writer(path, NEW)
                    returned = True
                except (Died, OSError, DiskError):
                    pass
            if not disk.dead:
                disk._random.seed(seed)
                disk.cut_power()
            yield path.read_bytes(), returned


def test_a_written_file_is_old_or_new_and_new_once_written(tmp_path):
    found = set(endings(tmp_path, files.write))
    assert found == {(OLD, False), (NEW, False), (NEW, True)}


@pytest.mark.parametrize("writer", [without_sync, without_folder_sync, in_place])
def test_a_writer_that_lacks_a_part_is_caught(tmp_path, writer):
    found = set(endings(tmp_path, writer))
    assert found - {(OLD, False), (NEW, False), (NEW, True)}


def test_what_was_appended_stays_and_what_was_not_is_no_line(tmp_path):
    def add(path, _data):
        files.append(path, LINE)

    for data, returned in endings(tmp_path, add):
        assert data.startswith(OLD)
        assert data == OLD + LINE or (not returned and b"\n" not in data)


def test_folders_that_were_made_stay(tmp_path):
    counting = FaultyDisk()
    with writing_to(counting):
        files.write(tmp_path / "a" / "b" / "c", NEW)
        counting.cut_power()
    assert (tmp_path / "a" / "b" / "c").read_bytes() == NEW
    assert [one.name for one in counting.operations[:4]] == ["make_folder", "sync_folder"] * 2


def test_a_removed_file_stays_removed(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    for seed in range(8):
        disk = FaultyDisk()
        disk._random.seed(seed)
        with writing_to(disk):
            files.remove(tmp_path / "a")
            disk.cut_power()
        assert not (tmp_path / "a").exists()
        (tmp_path / "a").write_bytes(OLD)
