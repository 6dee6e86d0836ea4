"""Pages of accounts: what they show is what the ledger says, also of one that is broken."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from account_ledger import BTC, ETH, OLD, Line, a_ledger, write_account
from page_client import Client

from assay.page.app import create_app
from assay.report.account import account_facts
from assay.runs.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("accounts")
    write_account(home, a_ledger())
    write_account(home, [*a_ledger("done"), Line("close", {"because": "enough"})])
    write_account(home, a_ledger("new")[:1])
    broken = write_account(home, a_ledger("broken")) / "account.jsonl"
    broken.write_bytes(broken.read_bytes().replace(b'"nav":"9993"', b'"nav":"9994"'))
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    with Client(create_app(Home(home)), base_url="http://localhost") as client:
        yield client


def test_every_account_has_a_row(client: Client) -> None:
    rows = {row["account"]: row for row in client.get("/api/accounts").json()["accounts"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "broken": "UNREADABLE",
        "done": "CLOSED",
        "new": "NEW",
        "paper": "OPEN",
    }
    assert rows["paper"]["nav"] == 9992.2
    page = client.get("/accounts").text
    assert 'href="/accounts/paper"' in page
    assert "9,992.20" in page
    assert rows["broken"]["error"] in page


def test_an_account_tells_what_its_ledger_says(client: Client) -> None:
    told = client.get("/api/accounts/paper").json()
    facts = account_facts(a_ledger())
    assert {name: told[name] for name in ("nav", "held", "orders", "changes", "margin", "answer")} == {
        name: facts[name] for name in ("nav", "held", "orders", "changes", "margin", "answer")
    }
    page = client.get("/accounts/paper").text
    for word in (
        "NAV against expectation",
        "Today's orders",
        "Holdings",
        "What changed and why",
        "Margin",
        BTC,
        ETH,
        OLD,
    ):
        assert word.replace("'", "&#39;") in page or word in page
    assert 'href="/accounts/paper/files/account.jsonl"' in page
    assert client.get("/accounts/paper/files/account.jsonl").status_code == 200


def test_an_earlier_day_is_a_page_of_its_own(client: Client) -> None:
    told = client.get("/api/accounts/paper?day=2024-06-10").json()
    assert (told["day"], told["simulated"], told["day_before"], told["day_after"]) == (
        "2024-06-10",
        True,
        None,
        "2024-06-11",
    )
    assert "SIMULATED" in client.get("/accounts/paper?day=2024-06-10").text
    assert 'href="/accounts/paper?day=2024-06-11"' in client.get("/accounts/paper").text
    for day in ("2024-07-01", "x", "2024-06-09"):
        answer = client.get(f"/api/accounts/paper?day={day}")
        assert answer.status_code == 400
        assert answer.json()["error"]["hint"] == "its days: 2024-06-10 to 2024-06-12"


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/accounts/nobody", 404, "is no account"),
        ("/accounts/%2e%2e%2fruns", 404, ""),
        ("/accounts/broken", 500, "CHAIN"),
        ("/accounts/paper/files/.lock", 404, "is no such file"),
        ("/accounts/new", 200, "assay account step"),
        ("/accounts/done", 200, "The account is closed."),
    ],
)
def test_what_cannot_be_shown_says_why(client: Client, address: str, status: int, says: str) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    assert says in answer.text


def test_a_home_without_accounts_says_how_to_open_one(tmp_path: Path) -> None:
    with Client(create_app(Home(tmp_path)), base_url="http://localhost") as client:
        assert "assay account new" in client.get("/accounts").text


def test_only_the_owner_may_read(home: Path) -> None:
    for path in (home / "accounts" / "paper", *(home / "accounts" / "paper").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
