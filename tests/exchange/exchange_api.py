"""The exchange's public endpoints, as recorded: ``/api/v3/{time,ping,exchangeInfo,klines,ticker/24hr}``.

Faults that it knows, for klines: ``duplicate`` (a row twice), ``conflict`` (twice, with different closes), ``missing``
(a row in the middle), ``unordered``, ``forming`` (the bar of today, though it was not asked for), ``columns`` (a column
less), ``more_columns``, ``odd_time`` and ``odd_number`` (of one row), ``types`` (an object for an array),
``impossible`` (high below low), ``empty``, ``gone`` (the pair is unknown). For exchangeInfo: ``shrunk`` (half of the
pairs), ``filters`` (the first pair lacks LOT_SIZE), ``maintenance``.
"""

from __future__ import annotations

from typing import Any

from exchange_server import Request, Response, Server
from exchange_world import DAY_MS, Pair, Row, World, text

KLINES, INFO, TIME, TICKER = "/api/v3/klines", "/api/v3/exchangeInfo", "/api/v3/time", "/api/v3/ticker/24hr"
MOST = 1000
TEN_YEARS = 3650 * DAY_MS


def register(server: Server, world: World) -> None:
    server.route("GET", "/api/v3/ping", lambda _: Response.json({}), 1)
    server.route("GET", TIME, lambda _: Response.json({"serverTime": world.now + world.skew}), 1)
    server.route("GET", INFO, lambda request: _info(server, world, request), 20)
    server.route("GET", KLINES, lambda request: _klines(world, request), 2)
    server.route("GET", TICKER, lambda request: _ticker(world, request), lambda r: 2 if "symbol" in r.query else 80)


def _error(code: int, message: str) -> Response:
    return Response.json({"code": code, "msg": message}, 400)


# --- klines -----------------------------------------------------------------------------------------------------------


def _klines(world: World, request: Request) -> Response:
    query, kind = request.query, request.fault.kind if request.fault else ""
    name = query.get("symbol")
    if name is None:
        return _error(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    if name not in world.rows or name in world.hidden or kind == "gone":
        return _error(-1121, "Invalid symbol.")
    if query.get("interval") != "1d":
        return _error(-1120, "Invalid interval.")
    start, end = (int(query[key]) if key in query else None for key in ("startTime", "endTime"))
    rows = world.klines(name, start, end, min(int(query.get("limit", 500)), MOST))
    return Response.json(_spoilt(kind, rows, world, name))


def _spoilt(kind: str, rows: list[Row], world: World, name: str) -> Any:
    middle = len(rows) // 2
    if kind == "duplicate":
        return [*rows[: middle + 1], *rows[middle:]]
    if kind == "conflict":
        other = [*rows[middle][:4], rows[middle][3], *rows[middle][5:]]
        return [*rows[: middle + 1], other, *rows[middle + 1 :]]
    if kind == "missing":
        return rows[:middle] + rows[middle + 1 :]
    if kind == "unordered":
        return rows[::-1]
    if kind == "forming":
        return [*rows, world.rows[name].get(world.today) or _today(rows[-1], world.today)]
    if kind == "columns":
        return [row[:11] for row in rows]
    if kind in ("odd_time", "odd_number"):
        odd = [None, *rows[middle][1:]] if kind == "odd_time" else [*rows[middle][:4], "n/a", *rows[middle][5:]]
        return [*rows[:middle], odd, *rows[middle + 1 :]]
    if kind == "more_columns":
        return [[*row[:5], "0", *row[5:]] for row in rows]
    if kind == "impossible":
        return [*rows[:middle], [*rows[middle][:2], rows[middle][3], *rows[middle][3:]], *rows[middle + 1 :]]
    return {"types": {"rows": rows}, "empty": []}.get(kind, rows)


def _today(row: Row, opened: int) -> Row:
    return [opened, *row[1:6], opened + DAY_MS - 1, *row[7:]]


# --- pairs ------------------------------------------------------------------------------------------------------------


def _info(server: Server, world: World, request: Request) -> Response:
    kind = request.fault.kind if request.fault else ""
    if kind == "maintenance":
        return Response.json({"status": 1, "msg": "system maintenance"})
    entries = [_entry(pair, world.status(pair)) for pair in world.listed()]
    if kind == "shrunk":
        entries = entries[::2]
    if kind == "filters":
        entries[0]["filters"] = [item for item in entries[0]["filters"] if item["filterType"] != "LOT_SIZE"]
    return Response.json(
        {
            "timezone": "UTC",
            "serverTime": world.now + world.skew,
            "rateLimits": _limits(server),
            "exchangeFilters": [],
            "symbols": entries,
        }
    )


def _limits(server: Server) -> list[dict[str, Any]]:
    seconds = server.limits.window
    unit, count = ("MINUTE", round(seconds / 60)) if seconds >= 60 else ("SECOND", round(seconds))
    day = {"rateLimitType": "REQUEST_WEIGHT", "interval": "DAY", "intervalNum": 1, "limit": server.limits.day}
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": unit, "intervalNum": count, "limit": server.limits.weight},
        *([day] if server.limits.day else []),
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 160000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
    ]


def _entry(pair: Pair, status: str) -> dict[str, Any]:
    notional = {"filterType": "NOTIONAL", "minNotional": pair.min_notional, "applyMinToMarket": True}
    return {
        "symbol": pair.name,
        "status": status,
        "baseAsset": pair.base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": pair.margin,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": pair.tick, "maxPrice": "922327.00000000", "tickSize": pair.tick},
            {"filterType": "LOT_SIZE", "minQty": pair.min_qty, "maxQty": "900000.00000000", "stepSize": pair.step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "1000.0", "stepSize": "0.00000000"},
            notional | {"maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": ["SPOT", *(["MARGIN"] if pair.margin else [])] if pair.sets is None else [],
    } | ({} if pair.sets is None else {"permissionSets": pair.sets})


# --- ticker -----------------------------------------------------------------------------------------------------------


def _ticker(world: World, request: Request) -> Response:
    wanted = request.query.get("symbol")
    names = [pair.name for pair in world.listed() if wanted in (None, pair.name)]
    if not names:
        return _error(-1121, "Invalid symbol.")
    answers = [_day(world, name) for name in names]
    return Response.json(answers if wanted is None else answers[0])


def _day(world: World, name: str) -> dict[str, Any]:
    """The last closed bar, said in the words of the ticker."""
    row = world.klines(name, None, world.today - 1, 1)[-1]
    opened, o, h, low, c, v = row[:6]
    change = float(c) - float(o)
    return {
        "symbol": name,
        "priceChange": text(change),
        "priceChangePercent": f"{100 * change / float(o):.3f}",
        "weightedAvgPrice": text(float(row[7]) / float(v)) if float(v) else "0.00000000",
        "prevClosePrice": o,
        "lastPrice": c,
        "lastQty": "1.00000000",
        "bidPrice": c,
        "bidQty": "1.00000000",
        "askPrice": c,
        "askQty": "1.00000000",
        "openPrice": o,
        "highPrice": h,
        "lowPrice": low,
        "volume": v,
        "quoteVolume": row[7],
        "openTime": opened,
        "closeTime": row[6],
        "firstId": 1,
        "lastId": row[8],
        "count": row[8],
    }
