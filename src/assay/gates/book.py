"""Checks of the book that is held now, and of ruin, by trades, days, decisions and weights, without the engine."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping

import polars as pl

from assay.base.domain import DAY, format_instant
from assay.gates.checks import Tally, near
from assay.runs.artifacts import FLATTENED, HOLDINGS, META_RETURNS, RUIN, WALK_DECISIONS, WALK_RETURNS, WALK_TRADES
from assay.runs.documents import HeldBook
from assay.runs.run import Run

Turns = Mapping[int, dt.datetime]
"""Tranche to its last decision."""
UNITS = 1e-9
"""By how much units may differ that were added up in another order, relative to all that was traded."""


def check_book(run: Run, tally: Tally) -> None:
    """Check that the book holds what was traded, in tranches that have their last decision, and today's in its own."""
    book, now, settings = run[HOLDINGS], run.manifest.as_of, run.leaf.of_sleeve.profile.walk_forward
    step, parts = settings.step, settings.tranches or settings.step
    if run.kind == "meta":  # its book ends with the last day that its sleeves share, which an older sleeve may set
        now = dt.datetime.fromisoformat(str(run[META_RETURNS]["date"].max())) + DAY
    moments = run[WALK_DECISIONS].drop_nulls("tranche").sort("as_of")
    turn = _turn(now, moments["as_of"].min(), step, parts)
    tally.expect((book.tranches, book.due) == (parts, turn), f"{HOLDINGS}: it is the turn of tranche {turn}")
    turns = dict(moments.select("tranche", "as_of").iter_rows()) | ({} if turn is None else {turn: now})
    today = run[FLATTENED].profiles
    tally.expect(book.profiles.keys() == today.keys(), f"{HOLDINGS} has other risk profiles")
    for name in book.profiles.keys() & today.keys():
        mine = pl.col("risk_profile") == name
        one, trades = book.profiles[name], run[WALK_TRADES].filter(mine)
        last = run[WALK_RETURNS].filter(mine).sort("date")["nav"].tail(1).to_list()
        tally.expect([one.nav] == (last or [1.0]), f"{name}: the book has another NAV than the last day")
        closed = "liquidation" in trades["reason"].to_list()
        tally.expect(one.liquidated == closed, f"{name}: the trades say otherwise whether it was liquidated")
        if closed or one.liquidated:
            tally.expect(not one.assets, f"{name}: a liquidated account holds something")
            continue
        _check_units(name, one, trades, tally)
        _check_parts(name, one, turns, now, tally)
        wanted = {} if turn is None else {coin.Symbol: coin.Net_Weight / parts for coin in today[name].assets}
        found = {asset.Symbol: part.weight for asset in one.assets for part in asset.Parts if part.tranche == turn}
        for symbol in sorted(found.keys() | wanted.keys()):
            decided = near(found.get(symbol, 0.0), wanted.get(symbol, 0.0))
            tally.expect(decided, f"{name} {symbol}: today's tranche has another weight than was decided")


def _turn(now: dt.datetime, begun: object, step: int, parts: int) -> int | None:
    """Return the tranche whose turn it is, in the calendar's own terms."""
    if parts == 1:
        return 0 if isinstance(begun, dt.datetime) and (now - begun).days % step == 0 else None
    since_1970 = (now - DAY).toordinal() - dt.date(1970, 1, 1).toordinal()
    tranche, rest = divmod(since_1970 % step, step // parts)
    return None if rest else tranche


def _check_units(name: str, book: HeldBook, trades: pl.DataFrame, tally: Tally) -> None:
    quantity = pl.col("quantity")
    traded = trades.group_by("symbol").agg(quantity.sum(), quantity.abs().sum().alias("all")).rows_by_key("symbol")
    told = {asset.Symbol: asset.Held for asset in book.assets}
    for symbol in sorted(told.keys() | traded.keys()):
        total, everything = traded[symbol][0] if symbol in traded else (0.0, 0.0)
        same = abs(told.get(symbol, 0.0) - total) <= UNITS * everything
        tally.expect(same, f"{name} {symbol}: held are not the units that were traded")


def _check_parts(name: str, book: HeldBook, turns: Turns, now: dt.datetime, tally: Tally) -> None:
    for asset in book.assets:
        where, total = f"{name} {asset.Symbol}", math.fsum(part.weight for part in asset.Parts)
        tally.expect(near(total, asset.Net_Weight), f"{where}: its parts sum to {total!r}")
        for part in asset.Parts:
            worth, when = part.units * asset.Price / book.nav, turns.get(part.tranche)
            tally.expect(near(part.weight, worth), f"{where}: a part weighs {part.weight!r}, its units {worth!r}")
            dated = when is not None and (part.as_of, part.age) == (format_instant(when), (now - when).days)
            tally.expect(dated, f"{where}: a part is not of its tranche's last decision")
    gross, net = (math.fsum(size(asset.Net_Weight) for asset in book.assets) for size in (abs, float))
    tally.expect(near(gross, book.gross), f"{name}: gross is not that of its coins")
    tally.expect(near(net, book.net), f"{name}: net is not that of its coins")
    tally.expect(near(book.cash, 1.0 - gross), f"{name}: cash is not what is left")


def check_ruin(run: Run, tally: Tally) -> None:
    """Check what is said of ruin, and that the gate said it, by code that shares nothing with the step that judged."""
    lost = {"risk_profile", "date", "nav", "level", "worst_level"} - set(run[WALK_RETURNS].columns)
    if lost:
        tally.expect(False, f"{WALK_RETURNS} has no {', '.join(sorted(lost))}")
        return
    told, found = run.books.ruin, dict(_ruins(run))
    if run.kind == "meta" and not run[WALK_DECISIONS].height:
        tally.expect(not told, "ruin is told of a portfolio that has walked no day")
        return
    tally.expect(
        bool(found) and told.keys() == found.keys(), f"ruin is told of {sorted(told)}, held were {sorted(found)}"
    )
    for name in told.keys() & found.keys():
        one = told[name]
        said = (one.ruined, one.cause, one.date, one.lowest_nav, one.lowest_level, one.worst_level)
        tally.expect(said == found[name], f"{name}: of ruin is said {said}, days and trades say {found[name]}")
    ruined = sorted(name for name, one in found.items() if one[0])
    gates = [entry.body for entry in run.current if entry.kind == "gate" and entry.body.get("gate") == RUIN]
    tally.expect(len(gates) == 1, f"{len(gates)} gates of ruin")
    for body in gates:
        same = (body.get("ok"), sorted(body.get("violations") or ())) == (not ruined, ruined)
        tally.expect(same, f"the gate of ruin names {body.get('violations')}, days and trades {ruined}")


def _ruins(run: Run) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield each risk profile with what its days and trades say of ruin, in the order of the document's fields."""
    days = sorted(run[WALK_RETURNS].select("risk_profile", "date", "nav", "level", "worst_level").iter_rows())
    sold = sorted(run[WALK_TRADES].select("risk_profile", "date", "reason").iter_rows())
    for name in dict.fromkeys([row[0] for row in (*days, *sold)]):
        mine = [row for row in days if row[0] == name]
        closed = [date for who, date, why in sold if who == name and why == "liquidation"]
        below = [date for _, date, nav, *_ in mine if not nav >= 0.25]
        first = str((closed or below)[0]) if closed or below else None
        cause = "liquidated" if closed else "below_quarter" if below else "none"
        lowest = [min((row[at] for row in mine if row[at] is not None), default=None) for at in (2, 3, 4)]
        yield name, (first is not None, cause, first, *lowest)
