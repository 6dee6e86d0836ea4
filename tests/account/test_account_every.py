"""Accounts on a schedule: they wait for bars that are late, but not for ever, and share the lock of ingestion."""

import datetime as dt
import json
import shutil

import pytest
from test_account_command import LONG, assay, error, opened

from assay.cli import schedule
from assay.cli.schedule import Stopped, alone

NOW = dt.datetime(2024, 1, 22, 0, 5, tzinfo=dt.UTC)


class Clock(schedule.WallClock):
    """Jumps to what is waited for, and ends after some rounds."""

    def __init__(self, rounds):
        super().__init__()
        self.time, self.left = NOW, rounds

    def now(self):
        return self.time

    def wait(self, until):
        self.left -= 1
        if not self.left:
            raise Stopped
        self.time = until


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A home with two accounts that were never stepped."""
    home = tmp_path_factory.mktemp("every") / "home"
    for name in ("one", "two"):
        opened(home, name, LONG, "2024-01-21")
    return home


@pytest.fixture
def home(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "home")
    return tmp_path / "home"


def rounds(monkeypatch, home, late, n_rounds):
    """Play rounds of which the first ones lack bars; return what each said of the accounts."""
    left = [False] * late

    def bars(*_):
        return {"complete": left.pop() if left else True}

    monkeypatch.setattr(schedule, "_bars", bars)
    monkeypatch.setattr(schedule, "WallClock", lambda: Clock(n_rounds))
    done = assay("account", "step", "one", "two", "--every", "day", "--home", home, "--json")
    assert done.exit_code == 0, done.output
    return [told["accounts"] for told in map(json.loads, done.stdout.splitlines()) if "accounts" in told]


WAITING = dict.fromkeys(("one", "two"), "WAITING for bars that are due")


def test_each_account_is_stepped_when_its_bars_are_there(home, monkeypatch):
    told = rounds(monkeypatch, home, late=1, n_rounds=3)
    days = [dict.fromkeys(("one", "two"), f"{word} 2024-01-21") for word in ("DONE", "ALREADY_DONE")]
    assert told == [WAITING, *days]


def test_it_does_not_wait_for_ever(home, monkeypatch):
    told = rounds(monkeypatch, home, late=9, n_rounds=schedule.PATIENT + 1)
    assert told == [WAITING] * schedule.PATIENT + [dict.fromkeys(("one", "two"), "DONE 2024-01-21")]


def test_one_schedule_works_on_a_home(home):
    with alone(home):
        assert error("account", "step", "one", "--every", "day", "--home", home) == "LOCKED"
        assert error("ingest", "--source", "sample", "--every", "day", "--home", home) in ("LOCKED", "USAGE")
