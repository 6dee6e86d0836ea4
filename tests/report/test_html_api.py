"""A real run: its page, its figures from Python, and the commands that write them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_reader import read, table

import assay
from assay.base.errors import UsageError
from assay.base.files import sha256_file
from assay.cli import reports
from assay.report.html import render_page
from assay.runs import artifacts as layout
from assay.runs.home import Home


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return assay.run("binance_spot_rating_all_long", home=tmp_path_factory.mktemp("home"), as_of="2023-10-20")


@pytest.fixture(scope="module")
def page(run):
    return read((run.path / layout.PAGE).read_text())


def test_the_page_is_written_by_the_last_step_and_sealed(run, page):
    entries = [json.loads(line) for line in (run.path / layout.LEDGER).read_text().splitlines()]
    assert entries[-1]["kind"] == "seal"
    assert json.dumps(entries[-1]).count(sha256_file(run.path / layout.PAGE)) == 1
    assert layout.PAGE in (run.path / layout.INDEX).read_text()
    assert len(page.all("figure")) >= 10
    assert page.one("p", **{"class": "verdict good"}).text.startswith("VALID")


def test_numbers_of_the_page_are_the_artifacts(run, page):
    sleeve = run.sleeve("hrp")
    rows = page.one("figure", id="figure-weights-coins").one("table").rows()
    at = rows[0].index("hrp")
    shown = {row[0]: float(row[at].removesuffix(" %")) for row in rows[1:]}
    for coin, weight in sleeve.weights.items():
        assert shown[coin] == pytest.approx(100 * weight, abs=0.006)
    statistics = {row["risk_profile"]: row for row in run.statistics.to_dicts()}
    days = page.one("figure", id="figure-drawdown").one("figcaption").text
    for name, metrics in statistics.items():
        assert f"{name} {100 * metrics['max_drawdown']:.1f} %" in days
    growth = page.one("figure", id="figure-equity").one("figcaption").text
    for name in statistics:  # NAV from the first fill on
        assert f"{name} {run.returns(name).sort('date')['nav'][-1]:.2f}" in growth
    assert len(page.one("figure", id="figure-votes").one("table").rows()) - 1 == len(run.winners)


def test_ratings_of_the_votes_are_the_winners(run, page):
    rows = {row["coin"]: row for row in table(page.one("figure", id="figure-votes"), "coin")}
    for winner in run.winners:
        assert rows[winner.symbol]["all"] == f"{winner.ratings['recommend_all']:.2f}"


@pytest.mark.parametrize(
    "name",
    [
        "equity",
        "drawdown",
        "weights",
        "funnel",
        "correlation",
        "votes",
        "monthly",
        "turnover",
        "loss_makers",
        "run_times",
    ],
)
def test_every_figure_shows_itself(run, name):
    figure = getattr(run.plot, name)()
    shown = read(figure._repr_html_())
    assert shown.one("table").rows()[1:] == [list(row) for row in figure.rows]
    assert (figure.lines is None) == (not shown.all("svg", **{"class": "plt-container"}))
    assert figure.rows


def test_figures_that_take_a_choice(run):
    assert run.plot.weights("atoms").rows[0][0].endswith("_LONG")
    assert run.plot.rolling_beta(window=10).rows
    symbol = run.winners[0].symbol
    assert symbol in run.plot.votes(symbol).title
    with pytest.raises(UsageError):
        run.plot.votes("BINANCE:NOSUCHUSDT")
    with pytest.raises(UsageError):
        run.plot.weights("stars")
    with pytest.raises(UsageError, match="no figure"):
        run.plot.rolling_beta(window=10_000)


def test_cards(run):
    card = read(run._repr_html_())
    assert "VALID" in card.text
    assert run.path.name in card.text
    sleeve = run.sleeve("hrp")
    assert max(sleeve.weights, key=lambda coin: sleeve.weights[coin]) in read(sleeve._repr_html_()).text
    assert read(run.funnel._repr_html_()).one("figure")
    assert run.funnel.stages[-1].n_out == len(run.winners)


def test_written_anew_beside_the_run(run, tmp_path, capsys):
    home = Home(run.path.parents[1])
    before = {p: sha256_file(p) for p in run.path.rglob("*") if p.is_file()}
    reports.page_again(run.path.name, home=home.path, as_json=True)
    made = json.loads(capsys.readouterr().out)["report"]
    assert made == str(home.reports / f"report_{run.path.name}.html")
    assert "the run is sealed by entry" in read(Path(made).read_text()).text
    reports.page_again(run.path.name, tmp_path / "mine.html", home=home.path)
    assert (tmp_path / "mine.html").read_text() == render_page(run.path)
    with pytest.raises(UsageError):
        reports.page_again(run.path.name, run.path / "reports" / "again.html", home=home.path)
    assert {p: sha256_file(p) for p in run.path.rglob("*") if p.is_file()} == before


def test_a_plot_that_fails_fails_the_run(tmp_path, monkeypatch):
    from assay.report.figures import lines

    def broken(*_arguments, **_settings):
        raise RuntimeError("no ink")

    monkeypatch.setattr(lines, "lines_over", broken)
    with pytest.raises(assay.base.errors.RunFailed, match="no ink"):
        assay.run("binance_spot_rating_all_long", home=tmp_path, as_of="2023-10-20")
