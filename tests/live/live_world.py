"""What tests of live data share: a small exchange, a source that asks it, and what the lake then holds."""

import copy
import datetime as dt
import json
from functools import cache

from exchange_world import UTC, VALUES
from local_exchange import LocalExchange, World
from typer.testing import CliRunner

from assay.cli import app
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.sources.archive import ArchiveSource
from assay.sources.exchange import ExchangeSource
from assay.sources.settings import Access

COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT")
PATIENT = {"backoff": 0.01, "timeout": 30.0, "attempts": 4, "patience": 5.0}
"""Short waits, so that tests of patience are quick."""


def small(day="2024-01-10", coins=COINS):
    """Six coins of the sample, some minutes after a day's close."""
    world = copy.deepcopy(_sample(coins))
    world.at(day)
    return world


@cache
def _sample(coins):
    return World.sample(*coins)


def clock(exchange):
    """This machine's clock, set by the exchange's true one."""
    return lambda: dt.datetime.fromtimestamp(exchange.world.now / 1000, UTC)


def source(exchange, name="binance", **changes):
    return ExchangeSource(name, Access(**{"url": exchange.url, **PATIENT, **changes}), clock(exchange))


def archive(exchange, **changes):
    access = Access(**dict.fromkeys(("url", "archive_url", "listing_url"), exchange.url) | PATIENT | changes)
    return ArchiveSource(access, clock(exchange))


def sync(home, exchange, feed=None, **changes):
    """Ingest once; return the lake and the report."""
    feed = feed or source(exchange, **changes)
    lake = Lake(home, feed)
    return lake, ingest(lake, feed)


def command(home, exchange, *arguments, **changes):
    """Ingest by the command; return its exit code and the JSON that it prints."""
    settings = {f"ASSAY_LIVE__{name.upper()}": str(value) for name, value in {**PATIENT, **changes}.items()}
    asked = ["ingest", "--source", "binance", "--json", "--home", str(home), *arguments]
    done = CliRunner().invoke(app, asked, env={"ASSAY_BINANCE_URL": exchange.url, **settings})
    return done.exit_code, json.loads(done.stdout)


def stored(lake):
    """The lake's bars, in the columns of ``World.truth``."""
    return lake.latest().bars().select("symbol", "open_time", *VALUES)


def quiet_after(exchange, status):
    """Seconds from the one answer of this status to the next request, but for those that were on their way then."""
    [refused] = [request.at for request in exchange.log if request.status == status]
    return min((request.at - refused for request in exchange.log if request.at > refused + 0.5), default=0.0)


def codes(report):
    return {finding.code: finding for finding in report.findings}


__all__ = [
    "COINS",
    "LocalExchange",
    "World",
    "archive",
    "clock",
    "codes",
    "command",
    "quiet_after",
    "small",
    "source",
    "stored",
    "sync",
]
