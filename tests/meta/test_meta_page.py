"""``report.html`` of a portfolio of sleeves."""

from __future__ import annotations

import json

from page_reader import read

from assay.report.html import render_page
from assay.runs import artifacts as layout


def test_page_of_a_portfolio(portfolio):
    text = (portfolio / layout.PAGE).read_text()
    page = read(text)
    assert len(text.encode()) < 600_000
    assert page.one("p", **{"class": "verdict good"}).text.startswith("VALID")
    found = [figure.attributes["id"] for figure in page.all("figure")]
    assert found == [
        *("figure-first", "figure-weights-sleeves", "figure-weights-coins", "figure-correlation", "figure-equity"),
        *("figure-drawdown", "figure-rolling-sharpe", "figure-rolling-beta", "figure-monthly", "figure-months"),
        *("figure-histogram", "figure-contributions", "figure-turnover"),
    ]
    body = json.loads((portfolio / layout.FLATTENED).read_text())["profiles"]["hrp"]
    rows = page.one("figure", id="figure-weights-coins").one("table").rows()
    shown = {row[0]: row[rows[0].index("hrp")] for row in rows[1:]}
    for asset in body["assets"]:
        if asset["Net_Weight"]:
            assert float(shown[asset["Symbol"]].removesuffix(" %")) == round(100 * asset["Net_Weight"], 2)
    assert read(render_page(portfolio)).one("h1").text == page.one("h1").text


def test_index_of_a_portfolio(portfolio):
    """Its files have the steps of a portfolio, their lengths, and links that work."""
    rows = [line.split(" | ") for line in (portfolio / layout.INDEX).read_text().splitlines() if line.startswith("| [")]
    found = {row[0].removeprefix("| [").partition("](")[0]: [cell.strip(" |") for cell in row[1:]] for row in rows}
    assert set(found) >= {"data/meta_sleeves.json", "data/meta_analysis.json", "data/walk_forward/returns.parquet"}
    assert [found[path][0] for path in ("data/meta_sleeves.json", "data/portfolio_flattened.json")] == ["2", "6"]
    assert found["data/meta_analysis.json"][2] == f"{(portfolio / 'data/meta_analysis.json').stat().st_size:,}"
