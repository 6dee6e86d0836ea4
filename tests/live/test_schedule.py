"""The schedule: on the grid, through failures, until a signal; time is a test's to give."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from exchange_server import Response
from hypothesis import given
from hypothesis import strategies as st
from live_lakes import few_coins
from live_world import COINS, LocalExchange, small
from typer.testing import CliRunner

from assay.base.domain import DAY, UTC
from assay.base.errors import DiskError, SourceError, UsageError
from assay.cli import app, schedule
from assay.cli.schedule import Scheduler, Stopped, alone, next_due, read_period
from assay.runs.home import Home
from assay.settings import load
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


def test_late_bars_are_asked_for_again_within_the_hour_until_they_are_there():
    there = dt.datetime(2024, 3, 2, 0, 20, tzinfo=UTC)

    def work(clock, _check):
        return {"complete": not dt.datetime(2024, 3, 2, tzinfo=UTC) <= clock.time < there}

    lines = play(work, 8)
    midnight = dt.datetime(2024, 3, 2, 0, 0, tzinfo=UTC)
    assert begun(lines)[1:6] == [midnight + minutes * MINUTE for minutes in (5, 6, 8, 12, 20)]
    assert begun(lines)[6] == midnight + DAY + 5 * MINUTE
    assert [line["outcome"] for line in lines[:-1]] == ["ok"] * 8
    assert "failures" not in lines[1]


def test_a_pair_that_stays_late_is_asked_for_each_hour_and_a_new_close_begins_anew():
    lines = play(lambda _clock, _check: {"complete": False}, 60)
    gaps = [(b - a) / MINUTE for a, b in zip(begun(lines), begun(lines)[1:], strict=False)]
    assert max(gaps) <= 60
    close = begun(lines).index(dt.datetime(2024, 3, 2, 0, 5, tzinfo=UTC))
    assert gaps[close : close + 4] == [1, 2, 4, 8]


def test_only_regular_rounds_and_failed_ones_ask_the_screener():
    did = iter([{"complete": False}, {"complete": False}, {"outcome": "failed", "complete": False}, {}, {}])
    clock, again = FakeClock(5), []
    made = Scheduler(DAY, Schedule(), lambda _check: again.append(made.again) or next(did), clock, lambda _told: None)
    made.run()
    assert again == [False, True, True, False, False]


@pytest.mark.parametrize("seconds", [6900, 90_000, 300_000])
def test_a_ban_is_waited_out_even_past_the_next_close(seconds):
    bans = iter([SourceError("banned", where="binance", code="SOURCE_BANNED", retry_after=float(seconds))])

    def work(_clock, _check):
        for ban in bans:
            raise ban
        return {}

    lines = play(work, 2)
    assert begun(lines) == [START, START + dt.timedelta(seconds=seconds)]
    assert (lines[0]["code"], lines[0]["retry_after"], lines[1]["outcome"]) == ("SOURCE_BANNED", seconds, "ok")


def test_a_screener_that_wants_to_be_left_alone_is_so():
    lines = play(lambda _clock, _check: {"outcome": "failed", "code": "SCREENER_LIMITED", "retry_after": 5000.0}, 2)
    assert begun(lines)[1] - START == dt.timedelta(seconds=5000)


def test_a_short_wait_that_was_asked_for_shortens_no_patience():
    def work(_clock, _check):
        raise SourceError("banned", where="binance", code="SOURCE_BANNED", retry_after=7.0)

    assert begun(play(work, 2))[1] - START == MINUTE


def played_on(exchange, home, monkeypatch, start, until):
    """Let the schedule run on the exchange's own clock; return its lines, each with the requests of its round."""
    world, lines = exchange.world, []

    class Clock(FakeClock):
        def now(self):
            return dt.datetime.fromtimestamp(world.now / 1000, UTC)

        def wait(self, due):
            if due >= until:
                raise Stopped
            world.now = int(due.timestamp() * 1000)

    def tell(told):
        lines.append(told | {"asked": len(exchange.log)})
        exchange.log.clear()

    monkeypatch.setenv("ASSAY_BINANCE_URL", exchange.url)
    monkeypatch.setenv("ASSAY_LIVE__BACKOFF", "0.01")
    world.now = int(start.timestamp() * 1000)
    catalog = load()
    work = partial(schedule._work, Home(home), catalog, "binance", False)
    Scheduler(DAY, catalog.schedule(), work, Clock(0), tell).run()
    return lines


def test_two_late_bars_and_a_ban_at_the_local_exchange(tmp_path, monkeypatch):
    close = dt.datetime(2023, 12, 2, tzinfo=UTC)
    with LocalExchange(small("2023-12-02", COINS[:4])) as exchange:
        world, klines, answer = exchange.world, exchange.world.klines, exchange._answer
        there = {COINS[1]: close + 6 * MINUTE, COINS[2]: close + 20 * MINUTE}
        banned = (close + DAY, close + DAY + 2 * HOUR)

        def late(name, *arguments):
            rows = klines(name, *arguments)
            waiting = world.now < there.get(name, close).timestamp() * 1000
            return [row for row in rows if not waiting or row[0] < world.today - DAY // dt.timedelta(milliseconds=1)]

        def banning(request):
            now = dt.datetime.fromtimestamp(world.now / 1000, UTC)
            if banned[0] <= now < banned[1]:
                left = str(int((banned[1] - now).total_seconds()))
                return Response(b'{"code":-1003,"msg":"banned"}', 418, {"Retry-After": left})
            return answer(request)

        world.klines, exchange._answer = late, banning
        lines = played_on(exchange, tmp_path, monkeypatch, close + 5 * MINUTE, close + 2 * DAY)
    told = [(line["at"][11:16], line.get("complete"), line.get("findings", {}).get("BARS_LATE")) for line in lines[:5]]
    assert told == [
        ("00:05", False, 2),
        ("00:06", False, 1),
        ("00:08", False, 1),
        ("00:12", False, 1),
        ("00:20", True, None),
    ]
    ban, after = lines[5:7]
    assert (ban["code"], ban["asked"], ban["retry_after"]) == ("SOURCE_BANNED", 1, 6900.0)
    assert (after["at"], after["outcome"], after["complete"]) == ("2023-12-03T02:00:00Z", "ok", True)
    assert [line["at"][11:16] for line in lines[2:4] if not line["added"]] == ["00:08", "00:12"]


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
