"""TradingView's crypto screener, ``POST /crypto/scan``, over a book of pairs.

Answers have the form ``{"totalCount": n, "data": [{"s": symbol, "d": [values in the order of columns]}]}`` and, where a
column or operation is unknown, HTTP 400 with ``{"totalCount": 0, "error": ..., "data": null}``. The book is
``server.screen``, a map of symbol to columns; where a test sets none, it is made of the server's world by
``screener_book``, whose ratings come from the plain-Python rules in ``tests/ratings/naive_ratings.py``.

Faults that it knows, beside those of the core: ``columns`` (a column less in each record), ``renamed`` (a column is not
known any more), ``types`` (texts where numbers were), ``short`` (a record less than due), ``twice`` (one record twice),
``moving`` (totalCount differs from page to page), ``stranger`` (records of another exchange among them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exchange_server import Request, Response, Server

PATH = "/crypto/scan"
Book = Mapping[str, Mapping[str, Any]]

OPERATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "greater": lambda left, right: left is not None and left > right,
    "egreater": lambda left, right: left is not None and left >= right,
    "less": lambda left, right: left is not None and left < right,
    "eless": lambda left, right: left is not None and left <= right,
    "equal": lambda left, right: left == right,
    "nequal": lambda left, right: left != right,
    "in_range": lambda left, right: left in right,
}


def register(server: Server) -> None:
    server.route("POST", PATH, lambda request: scan(request, book_of(server)))


def book_of(server: Server) -> Book:
    book: Book | None = getattr(server, "screen", None)
    if book is None:
        from screener_book import book_of_world

        book = server.screen = book_of_world(server.world)  # type: ignore[attr-defined]  # the server holds what routes hang on it
    return book


def scan(request: Request, book: Book) -> Response:
    """Filter, sort, cut."""
    kind = request.fault.kind if request.fault else ""
    query = request.json()
    known = set().union(*book.values()) if book else set()
    if kind == "renamed":
        known -= {query["columns"][-1]}
    asked = [*query["columns"], *(part["left"] for part in query["filter"]), query["sort"]["sortBy"]]
    unknown = [column for column in asked if column not in known]
    if unknown and book:
        return _refused(f'Unknown field "{unknown[0]}"')
    if any(part["operation"] not in OPERATIONS for part in query["filter"]):
        return _refused("Unknown operation")
    found = [(symbol, row) for symbol, row in book.items() if _passes(row, query["filter"])]
    column, down = query["sort"]["sortBy"], query["sort"]["sortOrder"] == "desc"
    found.sort(key=lambda pair: (pair[1][column] is None, pair[1][column] or 0.0), reverse=down)
    begin, end = query["range"]
    data = [{"s": symbol, "d": [row[name] for name in query["columns"]]} for symbol, row in found[begin:end]]
    total = len(found) + (begin if kind == "moving" else 0)
    return Response.json({"totalCount": total, "data": _spoilt(kind, data)})


def _passes(row: Mapping[str, Any], parts: list[dict[str, Any]]) -> bool:
    return all(OPERATIONS[part["operation"]](row[part["left"]], part["right"]) for part in parts)


def _refused(message: str) -> Response:
    return Response.json({"totalCount": 0, "error": message, "data": None}, 400)


def _spoilt(kind: str, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if kind == "columns":
        return [entry | {"d": entry["d"][:-1]} for entry in data]
    if kind == "types":
        return [entry | {"d": [str(value) for value in entry["d"]]} for entry in data]
    if kind == "short":
        return data[:-1]
    if kind == "twice":
        return [*data[:-1], data[0]]
    if kind == "stranger":
        return [entry | {"s": entry["s"].replace("BINANCE:", "KRAKEN:")} for entry in data[:1]] + data[1:]
    return data
