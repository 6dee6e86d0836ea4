"""``orders``: a run's weights as orders for an exchange; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli import output
from assay.cli.app import (
    DEFAULT_HOME,
    AcceptOption,
    BecauseOption,
    HomeOption,
    JsonOption,
    RunArgument,
    accepted,
    command,
    home_at,
)


@command()
def orders(
    run: RunArgument,
    nav: Annotated[str, typer.Option(help="Net asset value of the account, in dollars.")],
    holdings: Annotated[
        Path | None,
        typer.Option(
            help="What the account holds: CSV or JSON of symbol, quantity (negative for a short); default: nothing."
        ),
    ] = None,
    risk_profile: Annotated[str, typer.Option(help="Which of the run's portfolios.")] = "hrp",
    decision: Annotated[
        bool, typer.Option("--decision", help="Trade today's decision alone, not the book that it is a part of.")
    ] = False,
    instruments: Annotated[
        Path | None,
        typer.Option(help="Recorded GET /api/v3/exchangeInfo, plain or gzipped; default: the lake's table."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="CSV or JSON of symbol, price; default: the last close that the run knew.")
    ] = None,
    order_type: Annotated[str, typer.Option("--type", help="limit or market.")] = "limit",
    leave_out: Annotated[list[str] | None, typer.Option(help="Symbol to keep as it is; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: reports/orders/RUN in the home.")
    ] = None,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Turn a run's weights into orders that pass the exchange's filters, as JSON and CSV; nothing is sent."""
    from assay.orders.of_run import OrdersRequest
    from assay.orders.of_run import orders as write

    taken = accepted(accept, because)
    asked = OrdersRequest(
        run, nav, holdings, risk_profile, decision, order_type, instruments, prices, leave_out or (), out, taken
    )
    document, written = write(home_at(home), asked)
    output.told_accepted(taken)
    if as_json:
        output.as_json(document | {"files": [str(path) for path in written]})
        return
    for text in _lines(document):
        output.line(text)
    output.line(f"written, not sent: {written[0].with_suffix('')}.json and .csv")


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    from assay.orders.rebalance import REASONS, STEP

    funds, costs, tracking = document["funds"], document["costs"], document["tracking_error"]
    yield f"{document['run']}: {document['risk_profile']}, as of {document['as_of']}, NAV {funds['nav']:,.2f}"
    yield f"trades {document['trades']}"
    yield f"prices: {document['sources']['prices']['from']}"
    yield f"exchange's rules: {document['sources']['rules']['from']}, of {document['sources']['rules']['valid_from']}"
    head = ["side", "symbol", "type", "amount", "price", "value", "effect", "how"]
    rows = [
        (o["side"], o["symbol"], o["type"], _digits(o["amount"]), _digits(o["price"]), *_about(o["info"]))
        for o in document["orders"]
    ]
    yield output.table(head, rows) if rows else "no orders"
    yield (
        f"free cash {funds['free_before']:,.2f}, {funds['free_for_opening']:,.2f} after what closes; "
        f"what opens takes {funds['needed']:,.2f}; {funds['free_after']:,.2f} is left"
    )
    yield (f"fees {costs['fees']:,.2f}, slippage {costs['slippage']:,.2f}, borrow {costs['borrow_per_day']:,.2f} a day")
    yield f"tracking error {tracking['value']:.4%}: {tracking['explanation']}"
    yield f"sum of absolute differences of weight: {tracking['absolute']:.4%}"
    rounded = [dust for dust in document["dust"] if list(dust["reasons"]) == [STEP]]
    if rounded:
        total = sum(abs(dust["value"]) for dust in rounded)
        yield f"left by rounding: {total:,.2f} over {len(rounded)} of the coins, each {REASONS[STEP]}"
    for dust in (dust for dust in document["dust"] if dust not in rounded):
        value = "" if dust["value"] is None else f" {dust['value']:+,.2f}"
        yield f"left: {dust['instrument']}{value}: {'; '.join(dust['reasons'].values())}"
    for finding in document["findings"]:
        names = f" ({', '.join(finding['names'])})" if finding["names"] else ""
        yield f"{finding['code']}: {finding['what']}{names}"


def _digits(number: float | None) -> str:
    from assay.orders.records import plain

    return "" if number is None else plain(Decimal(repr(number)))


def _about(info: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{info['value']:,.2f}", info["effect"], info["venue"]
