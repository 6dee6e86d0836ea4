"""What pages and answers say, beside the files that they are about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest
from page_client import Client
from page_house import a_status, status_path

from assay.page.app import create_app
from assay.runs.home import Home

BTC = "BINANCE:BTCUSDT"


class Text(HTMLParser):
    """The words of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def client(finished_home: Path) -> Iterator[Client]:
    with Client(create_app(Home(finished_home)), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def lake(client: Client) -> str:
    [found] = client.get("/api/lakes").json()["lakes"]
    return str(found["name"])


def empty(home: Path) -> Client:
    return Client(create_app(Home(home)), base_url="http://localhost")


def test_all_runs_are_listed_the_last_first(client: Client) -> None:
    told = client.get("/api/runs").json()
    assert [run["run_id"] for run in told["runs"]] == ["short", "long"]
    assert {run["state"] for run in told["runs"]} == {"VALID"}
    assert {run["as_of"] for run in told["runs"]} == {"2023-10-21T00:00:00Z"}
    page = Text(client.get("/").text)
    assert [tag["href"] for name, tag in page.tags if name == "a" and str(tag.get("href")).startswith("/runs/")] == [
        "/runs/short",
        "/runs/long",
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=long", ["long"]),
        ("q=all+short", ["short"]),
        ("q=nobody", []),
        ("state=VALID", ["short", "long"]),
        ("state=DEAD", []),
        ("kind=meta", []),
        ("sort=run_id", ["long", "short"]),
        ("sort=run_id&order=desc", ["short", "long"]),
        ("sort=started&order=asc", ["long", "short"]),
    ],
)
def test_the_list_is_filtered_and_sorted_without_a_script(client: Client, query: str, expected: list[str]) -> None:
    assert [run["run_id"] for run in client.get(f"/api/runs?{query}").json()["runs"]] == expected
    rows = [tag["id"] for name, tag in Text(client.get(f"/?{query}").text).tags if name == "tr" and "id" in tag]
    assert rows == expected


def test_a_run_tells_what_its_files_tell(client: Client, finished_home: Path) -> None:
    run = finished_home / "runs" / "long"
    told = client.get("/api/runs/long").json()
    flattened = json.loads((run / "data/portfolio_flattened.json").read_text())
    for name, book in flattened["profiles"].items():
        shown = {coin["symbol"]: coin["net"][name] for coin in told["weights"]["coins"] if name in coin["net"]}
        assert shown == {asset["Symbol"]: asset["Net_Weight"] for asset in book["assets"]}
        assert told["weights"]["cash"][name] == book["cash"]
    winners = json.loads((run / "data/portfolio_candidates.json").read_text())["winners"]
    assert [winner["atom_id"] for winner in told["winners"]] == [winner["atom_id"] for winner in winners]
    assert told["funnel"] == json.loads((run / "data/selection_audit.json").read_text())["stages"]
    sharpe = json.loads((run / "data/walk_forward/statistics.json").read_text())["as_run"]["hrp"]["sharpe"]
    assert told["statistics"]["hrp"]["sharpe"] == sharpe
    on_disk = {path.relative_to(run).as_posix(): path.stat().st_size for path in run.rglob("*") if path.is_file()}
    assert {file["path"]: file["bytes"] for file in told["files"]} == on_disk
    assert told["ledger"]["entries"] == len((run / "audit.jsonl").read_text().splitlines())
    assert [step["state"] for step in told["steps"]] == ["ok"] * 15
    assert told["verdict"]["word"] == "VALID"
    assert told["faults"] == []


def test_the_page_of_a_run_shows_the_same(client: Client) -> None:
    told, page = client.get("/api/runs/long").json(), Text(client.get("/runs/long").text)
    for winner in told["winners"]:
        assert winner["symbol"] in page.text
    for stage in told["funnel"]:
        assert f"{stage['stage']} : {stage['n_in']} in" in page.text
    links = {tag.get("href") for name, tag in page.tags if name == "a"}
    assert {f"/runs/long/files/{file['path']}" for file in told["files"]} <= links


def test_every_file_of_a_run_is_given_as_it_is(client: Client, finished_home: Path) -> None:
    for file in client.get("/api/runs/long").json()["files"]:
        answer = client.get(f"/runs/long/files/{quote(file['path'])}")
        assert answer.content == (finished_home / "runs/long" / file["path"]).read_bytes()


def test_the_ledger_is_shown_line_by_line(client: Client, finished_home: Path) -> None:
    lines = (finished_home / "runs/long/audit.jsonl").read_text().splitlines()
    told = client.get("/api/runs/long/ledger?from=3").json()
    assert told["lines"][0]["seq"] == 3
    assert [line["body"] for line in told["lines"]] == [json.loads(line)["body"] for line in lines[3:]]
    assert client.get("/api/runs/long/ledger?from=9999").json()["lines"] == []
    assert client.get("/runs/long/ledger?from=x").status_code == 400


def test_why_answers_for_winners_and_losers(client: Client, finished_home: Path) -> None:
    audit = json.loads((finished_home / "runs/long/data/selection_audit.json").read_text())
    for fate in audit["fates"][:8]:
        told = client.get("/api/runs/long/why", params={"symbol": fate["symbol"]}).json()
        assert fate in told["fates"]
        assert fate["reason"] in Text(client.get("/runs/long/why", params={"symbol": fate["symbol"]}).text).text
    assert client.get("/runs/long/why?symbol=BINANCE:NOBODY").status_code == 400
    assert client.get("/runs/long/why").status_code == 400


def test_two_runs_are_compared(client: Client) -> None:
    told = client.get("/api/compare?a=long&b=short").json()
    assert {change["name"] for change in told["settings"]} >= {"name", "direction"}
    page = Text(client.get("/compare?a=long&b=short").text)
    assert "assay compare long short" in page.text
    assert client.get("/compare?a=long&b=long").status_code == 400
    assert client.get("/compare?a=long&b=nobody").status_code == 404
    assert client.get("/compare").status_code == 200


def test_a_lake_tells_coverage_and_health(client: Client, lake: str, finished_home: Path) -> None:
    from assay.sources import open_source

    told = client.get(f"/api/lakes/{lake}").json()
    bars = open_source("sample").read().bars
    per_day = dict(bars.group_by(pl.col("open_time").dt.date()).len().iter_rows())
    assert {day["day"]: day["symbols"] for day in told["coverage"]} == {str(day): n for day, n in per_day.items()}
    per_symbol = dict(bars.group_by("symbol").len().iter_rows())
    assert {symbol["symbol"]: symbol["observations"] for symbol in told["symbols"]} == per_symbol
    assert sum(told["counts"].values()) == len(per_symbol)
    assert told["heads"][0]["rows"]["bars"] == bars.height
    assert told["heads"][0]["edition"] == "2026"
    page = Text(client.get(f"/lakes/{lake}").text)
    assert "rated by edition 2026 of the rules" in page.text
    gaps = next(symbol for symbol in told["symbols"] if symbol["status"] == "GAPS")
    assert gaps["cause"] in page.text


def test_a_coin_is_rated_as_the_command_rates_it(client: Client, lake: str) -> None:
    from typer.testing import CliRunner

    from assay.cli import app

    printed = CliRunner().invoke(app, ["ratings", BTC, "--as-of", "2023-08-17", "--json"])
    told = client.get(f"/api/lakes/{lake}/coin", params={"symbol": BTC, "as_of": "2023-08-17"}).json()
    expected = json.loads(printed.stdout)
    assert {key: told[key] for key in expected} == expected
    assert len(told["votes"]) == 26
    assert told["edition"] == "2026"
    assert told["bars"][-1]["open_time"] == "2023-08-17T00:00:00Z"
    page = Text(client.get(f"/lakes/{lake}/coin", params={"symbol": BTC, "as_of": "2023-08-17"}).text)
    assert all(name in page.text for name in told["votes"])
    assert "rated by edition 2026 of the rules" in page.text
    assert len([1 for _, attributes in page.tags if "data-chart" in attributes]) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("symbol=BINANCE:NOBODY", 404),
        ("", 400),
        ("symbol=a/b", 400),
        ("symbol=BINANCE:BTCUSDT&as_of=2099-01-01", 400),
        ("symbol=BINANCE:BTCUSDT&as_of=1999-01-01", 400),
        ("symbol=BINANCE:BTCUSDT&as_of=soon", 400),
        ("symbol=BINANCE:BTCUSDT&as_of=2023-02-30", 400),
        ("symbol=" + "x" * 5000, 404),
    ],
)
def test_what_cannot_be_rated_says_why(client: Client, lake: str, query: str, status: int) -> None:
    for prefix in ("", "/api"):
        answer = client.get(f"{prefix}/lakes/{lake}/coin?{query}")
        assert answer.status_code == status
    error = answer.json()["error"]
    assert error["what"]
    assert error["hint"]


@pytest.mark.parametrize("address", ["/", "/compare", "/lakes", "/flows", "/api/runs", "/api/lakes", "/api/flows"])
@pytest.mark.parametrize("made", [None, "", "runs", "lake"])
def test_a_home_that_is_empty_or_not_there_yet(tmp_path: Path, address: str, made: str | None) -> None:
    home = tmp_path / "home"
    if made is not None:
        (home / made).mkdir(parents=True)
    with empty(home) as client:
        assert client.get(address).status_code == 200
    assert home.exists() == (made is not None)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/runs/nobody", "there is no run"),
        ("/runs/-", "cannot be the name"),
        ("/nowhere", "there is no such page"),
        ("/flows/x", "there is no flow"),
        ("/lakes/sample-00000000", "there is no lake"),
        ("/?sort=x", "no column"),
    ],
)
def test_an_error_says_what_and_what_to_do(tmp_path: Path, address: str, words: str) -> None:
    with empty(tmp_path) as client:
        page = client.get(address)
        assert page.status_code in (400, 404)
        assert words in page.text.lower()
        assert "What to do" in page.text


def test_damaged_runs_are_shown_as_far_as_they_can_be_read(finished_home: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_home / "runs", tmp_path / "runs")
    run = tmp_path / "runs/long"
    (run / "data/portfolio_flattened.json").write_text("{")
    (run / "data/selection_audit.json").write_bytes(b"\xff\xfe")
    (run / "data/walk_forward/returns.parquet").write_bytes(b"PAR1")
    (run / "audit.jsonl").write_text((run / "audit.jsonl").read_text()[:-40])
    status_path(tmp_path, "short").write_text("[1]")
    with empty(tmp_path) as client:
        told = client.get("/api/runs/long").json()
        assert any("portfolio_flattened" in fault for fault in told["faults"])
        assert any("ledger" in fault for fault in told["faults"])
        assert told["verdict"]["word"] != "VALID"
        page = client.get("/runs/long")
        assert page.status_code == 200
        assert "portfolio_flattened" in page.text
        assert client.get("/runs/short").status_code == 200
        states = {one["run_id"]: one["state"] for one in client.get("/api/runs").json()["runs"]}
        assert states["long"] != "VALID"  # its seal is torn off
        assert states["short"] == "UNREADABLE"
        assert client.get("/compare?a=long&b=short").status_code == 200


def test_a_run_that_goes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.page import runs

    a_status(tmp_path, "one")
    a_status(tmp_path, "two")
    real = runs.LedgerView

    def vanish(path: Path) -> object:
        shutil.rmtree(path.parent, ignore_errors=True)
        return real(path)

    monkeypatch.setattr(runs, "LedgerView", vanish)
    with empty(tmp_path) as client:
        assert client.get("/runs/one").status_code in (200, 400, 404)
        assert client.get("/runs/one").status_code == 404
        assert [run["run_id"] for run in client.get("/api/runs").json()["runs"]] == ["two"]


HOSTILE = '"><img src=x onerror=alert(1)>{{7001*8003}}${7}&amp;</script><script>alert(2)</script>'


def test_hostile_names_are_text(tmp_path: Path) -> None:
    error = {"code": HOSTILE, "what": HOSTILE, "where": HOSTILE, "hint": HOSTILE, "exit_code": 1}
    folder = a_status(tmp_path, "one", profile=HOSTILE, stage=HOSTILE, state="FAILED", error=error)
    (folder / "config").mkdir()
    (folder / "config/resolved_manifest.json").write_text(
        json.dumps({"kind": HOSTILE, "as_of": HOSTILE, "source": HOSTILE})
    )
    (folder / '"><script>alert(3)<').write_text("x")
    with empty(tmp_path) as client:
        asked = ("/?q=", "/nope/", "/compare?a=", "/runs/one/why?symbol=")
        for address in ("/", "/runs/one", *(start + quote(HOSTILE) for start in asked)):
            page = Text(client.get(address).text)
            assert not [tag for tag, _ in page.tags if tag == "img"]
            assert [attributes.get("src", "").split("?")[0] for tag, attributes in page.tags if tag == "script"] == [
                "/static/charts.js",
                "/static/page.js",
            ]
            assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
            assert "56029003" not in page.text  # what a template that evaluates names would say; no clock says it


def test_pages_bring_no_inline_style_or_script(client: Client, lake: str) -> None:
    for address in ("/", "/runs/long", "/runs/long/ledger", "/compare?a=long&b=short", "/lakes", f"/lakes/{lake}",
                    f"/lakes/{lake}/coin?symbol={BTC}", "/flows"):  # fmt: skip
        page = Text(client.get(address).text)
        assert not [tag for tag, _ in page.tags if tag == "style"]
        assert not [attributes["style"] for _, attributes in page.tags if "style" in attributes]
        outside = [value for _, attributes in page.tags for name, value in attributes.items()
                   if name in ("src", "href", "action") and value and "//" in value]  # fmt: skip
        assert outside == []


def test_a_run_that_goes_shows_what_is_to_come(tmp_path: Path, finished_home: Path) -> None:
    folder = a_status(tmp_path, "one", step=3, stage="Step 3: Data Prep")
    lines = (finished_home / "runs/long/audit.jsonl").read_text().splitlines(keepends=True)
    begun = next(i for i, line in enumerate(lines) if json.loads(line)["body"].get("name") == "data_prep")
    (folder / "audit.jsonl").write_text("".join(lines[: begun + 1]))
    with empty(tmp_path) as client:
        states = [step["state"] for step in client.get("/api/runs/one").json()["steps"]]
    assert states == ["ok", "ok", "running", *["waiting"] * 12]
