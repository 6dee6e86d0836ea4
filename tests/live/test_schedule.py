"""The schedule: on the grid, through failures, until a signal; time is a test's to give."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_lakes import few_coins
from typer.testing import CliRunner

from assay.base.domain import DAY, UTC
from assay.base.errors import DiskError, SourceError, UsageError
from assay.cli import app, schedule
from assay.cli.schedule import Scheduler, Stopped, alone, next_due, read_period
from assay.settings.model import Schedule

START = dt.datetime(2024, 3, 1, 13, 37, 11, tzinfo=UTC)
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)


class FakeClock:
    """Jumps to what is waited for; a round takes as long as the work says."""

    def __init__(self, rounds, now=START):
        self.time, self.left, self.asked = now, rounds, False

    def now(self):
        return self.time

    def wait(self, until):
        assert until > self.time
        self.left -= 1
        if self.left == 0:
            raise Stopped
        self.time = until

    def check(self):
        if self.asked:
            raise Stopped


def play(work, rounds, period=DAY, **settings):
    clock, lines = FakeClock(rounds), []
    Scheduler(period, Schedule(**settings), lambda check: work(clock, check), clock, lines.append).run()
    return lines


def begun(lines):
    return [dt.datetime.fromisoformat(line["at"]) for line in lines if line["outcome"] != "stopped"]


def test_rounds_come_after_each_close_whatever_they_took():
    def work(clock, _check):
        clock.time += dt.timedelta(seconds=97 * (1 + clock.left))
        return {}

    lines = play(work, 5)
    closes = [dt.datetime(2024, 3, day, 0, 5, tzinfo=UTC) for day in (2, 3, 4, 5)]
    assert begun(lines) == [START, *closes]
    assert [line["outcome"] for line in lines] == ["ok"] * 5 + ["stopped"]
    assert lines[0]["next"] == "2024-03-02T00:05:00Z"


def test_a_round_that_takes_longer_than_the_period_skips_to_the_next_instant():
    def work(clock, _check):
        clock.time += 150 * MINUTE
        return {}

    assert begun(play(work, 3, HOUR)) == [
        START,
        dt.datetime(2024, 3, 1, 17, 5, tzinfo=UTC),
        dt.datetime(2024, 3, 1, 20, 5, tzinfo=UTC),
    ]


def test_a_dead_source_is_tried_again_later_and_later_and_never_past_the_next_close():
    def work(_clock, _check):
        raise SourceError("no route", where="binance", hint="later", code="SOURCE_UNREACHABLE")

    lines = play(work, 18, retry=60.0, retry_limit=7200.0)
    waits = [(b - a) / MINUTE for a, b in zip(begun(lines), begun(lines)[1:], strict=False)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert max(waits) <= 120
    assert dt.datetime(2024, 3, 2, 0, 5, tzinfo=UTC) in begun(lines)
    assert [line["failures"] for line in lines[:-1]] == list(range(1, 19))
    assert {line["code"] for line in lines[:-1]} == {"SOURCE_UNREACHABLE"}


def test_success_ends_the_patience():
    outcomes = iter(["fail", "fail", "ok", "fail", "ok"])

    def work(_clock, _check):
        if next(outcomes) == "fail":
            raise DiskError("no space", where="lake")
        return {}

    lines = play(work, 5, HOUR)
    assert [line.get("failures") for line in lines[:-1]] == [1, 2, None, 1, None]
    assert lines[2]["next"] == "2024-03-01T14:05:00Z"


def test_a_round_without_the_screener_failed_though_its_bars_came():
    lines = play(lambda _clock, _check: {"outcome": "failed", "code": "SCREENER_LIMITED", "added": 3}, 2)
    assert lines[0]["outcome"] == "failed"
    assert (lines[0]["added"], lines[0]["failures"]) == (3, 1)


def test_what_was_asked_wrongly_ends_the_schedule():
    def work(_clock, _check):
        raise UsageError("no such source")

    with pytest.raises(UsageError):
        play(work, 5)


def test_a_stop_within_a_round_ends_it_where_it_may():
    done = []

    def work(clock, check):
        done.append("scan")
        clock.asked = True
        check()
        done.append("bars")
        return {}

    assert [line["outcome"] for line in play(work, 5)] == ["stopped"]
    assert done == ["scan"]


@given(
    st.floats(0, 4e9),
    st.sampled_from(["day", "hour", "15m", "4h", "2d"]),
    st.integers(0, 3600),
)
def test_due_instants_lie_on_the_grid_and_ahead_by_at_most_a_period(stamp, word, seconds):
    after, period, grace = dt.datetime.fromtimestamp(stamp, UTC), read_period(word), dt.timedelta(seconds=seconds)
    due = next_due(after, period, grace)
    assert after < due <= after + period
    assert (due - grace - dt.datetime(1970, 1, 1, tzinfo=UTC)) % period == dt.timedelta(0)


@pytest.mark.parametrize("text", ["", "week", "0h", "-1h", "1.5h", "5s", "day "])
def test_periods_that_are_none(text):
    with pytest.raises(UsageError, match="period"):
        read_period(text)


def test_a_second_schedule_on_the_same_home_is_refused(tmp_path):
    with alone(tmp_path):
        done = CliRunner().invoke(app, ["ingest", "--every", "day", "--home", str(tmp_path)])
    assert done.exit_code == 2
    assert "LOCKED" in done.output
    with alone(tmp_path):
        pass


def test_the_wall_clock_wakes_for_a_signal():
    clock = schedule.WallClock()
    with clock.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            clock.wait(clock.now() + DAY)
    assert clock.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) != clock.stop


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process_cleanly(tmp_path, number, code):
    source = few_coins(tmp_path / "bars.parquet", ("BTC",))
    command = [sys.executable, "-m", "assay", "ingest", "--source", source, "--every", "day", "--json"]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path / "home")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = json.loads(process.stdout.readline())
    assert (first["outcome"], first["added"], first["head"]) == ("ok", 386, 1)
    time.sleep(0.05)
    process.send_signal(number)
    rest, errors = process.communicate(timeout=30)
    assert json.loads(rest)["outcome"] == "stopped"
    assert (process.returncode, "Traceback" in errors) == (code, False)
