"""A market that ends today, so that the screener, which answers only as of now, and the exchange agree on the day."""

from __future__ import annotations

import datetime as dt
from functools import cache

import polars as pl
from exchange_world import NO_COINS, SAMPLE, World

from assay.base.domain import UTC


def world_of_today(coins: int, days: int = 400) -> World:
    """The most traded coins of the embedded sample, moved so that their last bar is yesterday's."""
    table = _most_traded(coins)
    now = dt.datetime.now(UTC)
    last = table["timestamp"].cast(pl.Datetime("ms")).max().date()
    table = table.with_columns(pl.col("timestamp") + (now.date() - dt.timedelta(days=1) - last))
    table = table.filter(pl.col("timestamp").cast(pl.Datetime("ms")).dt.date() >= now.date() - dt.timedelta(days=days))
    world = World.of(table)
    world.now = int(now.timestamp() * 1000)
    return world


@cache
def _most_traded(coins: int) -> pl.DataFrame:
    table = pl.read_parquet(SAMPLE).with_columns(quote_volume=pl.col("close") * pl.col("volume"))
    table = table.filter(~pl.col("symbol").is_in([f"BINANCE:{base}USDT" for base in NO_COINS]))
    worth = table.group_by("symbol").agg(pl.col("quote_volume").sum()).sort("quote_volume", descending=True)
    return table.join(worth.head(coins), on="symbol", how="semi")
