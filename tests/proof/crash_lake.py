"""A writer of a lake that can be killed, starved and checked: its work happens below Python, so it dies by SIGKILL."""

import os
import resource
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl
from crash_kills import template
from crash_world import make_bars

from assay.base.errors import AssayError
from assay.base.files import content_hash_table
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.schema import KEYS

STAGES = ("ready", "compare", "write", "write", "write")
"""Where a writer is when its last moments begin; most of what can go wrong is in the write."""


def states():
    """States of a source: a beginning, more days, other values, a coin gone and a day inserted."""
    whole = make_bars()
    beginning = whole.filter(pl.col("timestamp").dt.ordinal_day() < 200)
    month = pl.col("timestamp").dt.month() == 5
    repaired = whole.with_columns(pl.when(month).then(pl.col("high") * 2).otherwise("high").alias("high"))
    hole = (pl.col("symbol") == "BINANCE:LTCUSDT") | (pl.col("timestamp").dt.ordinal_day() == 100)
    return [beginning, whole, repaired, whole.filter(~hole)]


def content(snapshot):
    """Content hashes of all that a head names, which must be as many rows as it says, none of them twice."""
    tables = {"bars": snapshot.bars(), "ratings": snapshot.ratings()}
    for name, table in tables.items():
        assert table.height == snapshot.record.rows[name]
        assert not table.select(pl.struct(KEYS[name]).is_duplicated().any()).item()
    return {name: content_hash_table(table, KEYS[name]) for name, table in tables.items()}


def write(home, source, pipe):
    """Ingest, and tell each stage; the exit code is the command's."""

    def tell(stage, done, _total):
        if not done:
            pipe.send(stage)

    lake = Lake(home, source)
    pipe.send("ready")
    try:
        ingest(lake, progress=tell)
    except AssayError as error:
        raise SystemExit(int(error.exit_code)) from None


def starved(home, source, pipe, size):
    """Ingest where no file may grow beyond a size, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    write(home, source, pipe)


def start(target, *arguments):
    """Start a process with a pipe; return both."""
    context = template()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments[:2], theirs, *arguments[2:]))
    process.start()
    theirs.close()
    return process, ours


def finish(process, pipe):
    """Wait for a process; return its exit code."""
    process.join()
    code = process.exitcode
    process.close()
    pipe.close()
    return code


@dataclass
class Attack:
    """Kills writers of one lake, at moments that a seed chooses, and checks it after each."""

    folder: Path
    seed: int
    kills: int = 0
    kept: int = 0
    """Killed writers whose state was not there."""

    def __post_init__(self):
        self.random = Random(self.seed)
        self.path = self.folder / "bars.parquet"
        self.tables, self.expected = states(), []
        for number, table in enumerate(self.tables):
            table.write_parquet(self.path)
            clean = Lake(self.folder / f"clean{number}", f"parquet:{self.path}")
            ingest(clean)
            self.expected.append(content(clean.latest()))
        self.lake = Lake(self.folder / "home", f"parquet:{self.path}")
        self.tables[0].write_parquet(self.path)
        ingest(self.lake)
        self.now = 0
        self.pins = {1: self.expected[0]}
        began = time.monotonic()
        self.tables[1].write_parquet(self.path)
        self._complete(1)
        self.span = time.monotonic() - began

    def _complete(self, wanted):
        ingest(self.lake)
        assert content(self.lake.latest()) == self.expected[wanted]
        self.now = wanted
        self.pins[self.lake.latest_head().head] = self.expected[wanted]

    def strike(self):
        """Kill one writer; the lake is readable and is what it was, or what it was to become; then complete it."""
        wanted = self.random.choice([n for n in range(len(self.tables)) if n != self.now])
        self.tables[wanted].write_parquet(self.path)
        stage, delay = self.random.choice(STAGES), self.random.uniform(0, self.span)
        process, pipe = start(write, self.folder / "home", self.lake.source.name)
        try:
            while pipe.recv() != stage:
                pass
            time.sleep(delay)
        except EOFError:
            pass
        with suppress(ProcessLookupError):  # it was faster
            os.kill(process.pid, signal.SIGKILL)
        killed = finish(process, pipe) == -signal.SIGKILL
        self.kills += killed
        self.span *= 1.1 if killed else 0.7  # follows the machine: most are to die, and some late
        after = content(self.lake.latest())
        assert after in (self.expected[self.now], self.expected[wanted])
        self.kept += killed and after == self.expected[self.now]
        self._look_back()
        leave = self.random.random() < 0.25  # and let the next writer begin upon what this one left
        if not leave or after == self.expected[wanted]:
            self._complete(wanted)

    def _look_back(self):
        head = self.random.choice(sorted(self.pins))
        assert content(self.lake.pin(head)) == self.pins[head]

    def end(self):
        """Complete the last state, which is value by value that of a lake that nobody disturbed."""
        wanted = (self.now + 1) % len(self.tables)
        self.tables[wanted].write_parquet(self.path)
        self._complete(wanted)
        for head, expected in self.pins.items():
            assert content(self.lake.pin(head)) == expected
