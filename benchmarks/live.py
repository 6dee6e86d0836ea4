"""A day of live data for 400 symbols, beside writing its bars as plain Parquet; a first load; the pace of requests.

Usage: ``python -m benchmarks.live [SYMBOLS] [DAYS]``. The exchange is the tests' local one in a process of its own, fed
with random walks from a fixed seed, its limits off but for the pace. The lake's bars are compared with the exchange's,
and ratings with a computation from nothing, before anything is told. Seconds are of this process's processor time; what
the exchange needs is not in them.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from assay.base.domain import DAY
from assay.lake.ingest import IngestReport, ingest
from assay.lake.lake import Lake
from assay.market.schema import BAR_VALUES
from assay.ratings import rate
from assay.sources.exchange import ExchangeSource
from assay.sources.settings import Access
from benchmarks.ratings import walks

ROUNDS = 5
SHARE = 0.95
SERVER = Path(__file__).parents[1] / "tests" / "exchange"


def market(symbols: int, days: int) -> pl.DataFrame:
    bars = walks(symbols, days).with_columns(
        timestamp=pl.col("open_time"), quote_volume=pl.col("close") * pl.col("volume")
    )
    btc = pl.col("symbol").replace({"BINANCE:C0000USDT": "BINANCE:BTCUSDT"})
    return bars.with_columns(btc)


def serve(pipe: Connection, symbols: int, days: int, weight: int, window: float) -> None:
    """Be the exchange: answer what the clock is turned to, what bars there are, how requests came."""
    sys.path.insert(0, str(SERVER))
    from exchange_world import World
    from local_exchange import Limits, LocalExchange

    world = World.of(market(symbols, days))
    world.now -= ROUNDS * 86_400_000
    with LocalExchange(world, Limits(weight, window, header=f"X-MBX-USED-WEIGHT-{int(window)}S")) as exchange:
        pipe.send(exchange.url)
        for asked in iter(pipe.recv, "stop"):
            if asked == "day":
                world.next_day()
                pipe.send(None)
                continue
            pipe.send(world.truth() if asked == "truth" else exchange.rate(round(SHARE * weight)))


@contextmanager
def exchange(
    symbols: int, days: int, weight: int = 10**9, window: float = 60.0
) -> Iterator[tuple[str, Callable[[str], Any]]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, symbols, days, weight, window), daemon=True)
    process.start()

    def ask(what: str) -> Any:
        ours.send(what)
        return ours.recv()

    try:
        yield ours.recv(), ask
    finally:
        ours.send("stop")
        process.join()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def check(lake: Lake, truth: pl.DataFrame) -> None:
    held = lake.latest().bars()
    if not held.select("symbol", "open_time", *BAR_VALUES).equals(truth):
        raise SystemExit("the lake's bars differ from the exchange's: no figure is told")
    ratings = lake.latest().ratings()
    if not ratings.equals(rate(held).sort("open_time", "symbol").select(ratings.columns)):
        raise SystemExit("the ratings differ from a computation from nothing: no figure is told")


def plain(day: pl.DataFrame, folder: Path) -> None:
    """Write bars as Parquet, as one would without a lake."""
    buffer = io.BytesIO()
    day.write_parquet(buffer)
    (folder / "day.parquet").write_bytes(buffer.getvalue())


def main() -> None:
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    days = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    with exchange(symbols, days + ROUNDS) as (url, ask), tempfile.TemporaryDirectory() as home:
        feed = ExchangeSource("binance", Access(url=url, timeout=60.0))
        lake = Lake(home, feed)
        first, report = timed(lambda: ingest(lake, feed))
        seconds, reports, written = [], [], []
        for _ in range(ROUNDS):
            ask("day")
            spent, daily = timed(lambda: ingest(lake, feed))
            seconds.append(spent)
            reports.append(daily)
            day = lake.latest().bars(since=daily.last_close - DAY)
            written.append(timed(partial(plain, day, Path(home)))[0])
        again, _ = timed(lambda: ingest(lake, feed))
        check(lake, ask("truth"))
    tell(first, report, seconds, reports, written, again)
    pace()


def tell(
    first: float,
    report: IngestReport,
    seconds: list[float],
    reports: list[IngestReport],
    written: list[float],
    again: float,
) -> None:
    day, parquet = median(seconds), median(written)
    parts = ", ".join(f"{name} {value:.2f}" for name, value in reports[-1].seconds.items())
    print(f"{'':58}{'CPU s':>9}{'requests':>10}{'weight':>8}")
    for what, spent, cost in (
        (f"first load: {report.symbols} symbols, {report.rows:,} bars, rated", first, report.cost),
        (f"a day: {reports[-1].added} bars, rated (median of {ROUNDS})", day, reports[-1].cost),
        ("the same day again", again, {"requests": 2, "weight": 21}),
        (f"{reports[-1].added} bars as plain Parquet", parquet, {}),
    ):
        print(f"{what:58}{spent:9.3f}{cost.get('requests', 0):10}{cost.get('weight', 0):8}")
    print(f"a day is {day / parquet:.0f} times plain Parquet; wall seconds of its stages: {parts}")


def pace() -> None:
    """How much of a limit a first load uses, where the limit and not the processor is what holds it back."""
    weight, window, symbols = 240, 4.0, 465
    with exchange(symbols, 12 + ROUNDS, weight, window) as (url, ask), tempfile.TemporaryDirectory() as home:
        feed = ExchangeSource("binance", Access(url=url, timeout=60.0, history=10, share=SHARE))
        report = ingest(Lake(home, feed), feed)
        pace_ = ask("rate")
    refused = [finding.code for finding in report.findings if finding.code.startswith("RETRY")]
    print(
        f"pace of a first load of {symbols} symbols under a limit of {weight} in {window:.0f} s: "
        f"{pace_ / (weight / window):.0%} of what it allows, refused: {refused or 'none'}"
    )


if __name__ == "__main__":
    main()
