"""Who is let in, and what leaves."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_client import Client
from page_house import a_status

from assay.page.app import create_app
from assay.runs.home import Home

TOKEN = "correct-horse-battery-staple"
ADDRESSES = ("/", "/api/runs", "/runs/one", "/events", "/static/page.js", "/nope", "/runs/one/files/run_status.json")
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    a_status(tmp_path / "home", "one")
    return tmp_path / "home"


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with Client(create_app(Home(home)), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def closed(home: Path) -> Iterator[Client]:
    app = create_app(Home(home), token=TOKEN, hosts=["assay.example"])
    with Client(app, base_url="http://assay.example") as client:
        yield client


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_reading_is_answered(client: Client, method: str, address: str) -> None:
    answer = client.request(method, address, content=b"x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("address", [address for address in ADDRESSES if address != "/events"])
def test_a_head_has_the_headers_of_a_get_and_no_body(client: Client, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


STRANGERS = ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "assay")
STRANGE = ("[evil]", "127.0.0.1@evil.example", "2130706433x", "::1:8000")


@pytest.mark.parametrize("host", [*STRANGERS, *STRANGE])
@pytest.mark.parametrize("address", ["/", "/api/runs", "/events"])
def test_a_name_that_is_not_ours_is_refused(client: Client, host: str, address: str) -> None:
    answer = client.get(address, headers={"Host": host})
    assert answer.status_code == 421
    assert "one" not in answer.text.split("<h1>")[-1].split("</h1>")[0]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8000", "LOCALHOST.", "[::1]:8000", "127.0.0.1:1", "10.0.0.7:80"]
)
def test_our_own_names_are_let_in(client: Client, host: str) -> None:
    assert client.get("/api/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("address", [*ADDRESSES, "/static/icon.svg"])
def test_with_a_token_every_address_needs_it(closed: Client, address: str) -> None:
    answer = closed.get(address)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "RUNNING" not in answer.text


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN}"},
        {"Authorization": basic("anyone", TOKEN)},
        {"Authorization": basic("", TOKEN)},
        {"Cookie": f"assay_token={TOKEN}"},
        {"Cookie": f"other=1; assay_token={TOKEN}; more=2"},
    ],
)
def test_the_token_opens(closed: Client, headers: dict[str, str]) -> None:
    assert closed.get("/api/runs", headers=headers).json()["all"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": basic(TOKEN, "")},
        {"Authorization": basic(TOKEN, "wrong")},
        {"Authorization": "Basic ***"},
        {"Authorization": f"Digest {TOKEN}"},
        {"Cookie": "assay_token="},
        {"Cookie": f"token={TOKEN}"},
        {"Cookie": '"; assay_token'},
    ],
)
def test_anything_else_does_not(closed: Client, headers: dict[str, str]) -> None:
    sent = {key: value.encode("latin-1") for key, value in headers.items()}
    assert closed.get("/api/runs", headers=sent).status_code == 401


def test_the_token_in_the_address_does_not_count(closed: Client) -> None:
    assert closed.get(f"/api/runs?token={TOKEN}&assay_token={TOKEN}").status_code == 401


def test_a_strange_name_is_refused_even_with_the_token(closed: Client) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert closed.get("/api/runs", headers=headers).status_code == 421


@pytest.mark.parametrize(
    "address", [*(address for address in ADDRESSES if address != "/events"), "/runs/%00", "/lakes"]
)
def test_every_answer_has_the_headers_that_keep_it_safe(client: Client, address: str) -> None:
    headers = client.get(address).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert "unsafe-inline" not in policy["script-src"]
    assert "unsafe-eval" not in policy["script-src"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_refusals_have_them_too(closed: Client) -> None:
    for answer in (closed.get("/"), closed.post("/"), closed.get("/", headers={"Host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_fault_of_ours_has_them_too_and_tells_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.page import runs

    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(runs, "run_facts", broken)
    with Client(create_app(Home(home)), base_url="http://localhost", raise_faults=False) as client:
        answer = client.get("/runs/one")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in answer.text


TRAVERSALS = (
    "../../secret.txt",
    "..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/secret.txt",
    "..%252f..%252fsecret.txt",
    "data/../../../secret.txt",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..%5c..%5csecret.txt",
    "link.txt",
    "folder/secret.txt",
    "loop",
    ".hidden",
    "data/.hidden",
    "data",
    "data/",
    "",
    "%00",
    "x" * 5000,
    "pipe",
)


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_file_but_the_runs_own(home: Path, client: Client, path: str) -> None:
    (home.parent / "secret.txt").write_text("the secret")
    (home / "secret.txt").write_text("the secret")
    run = home / "runs" / "one"
    (run / "data").mkdir()
    (run / "data" / ".hidden").write_text("the secret")
    (run / ".hidden").write_text("the secret")
    (run / "link.txt").symlink_to(home / "secret.txt")
    (run / "folder").symlink_to(home)
    (run / "loop").symlink_to(run / "loop")
    os.mkfifo(run / "pipe")
    answer = client.get(f"/runs/one/files/{path}")
    assert answer.status_code == 404
    assert "the secret" not in answer.text


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2f..", "x" * 101, "-x", "a b", "a%00b", "registry.jsonl", "link", "é"]
)
@pytest.mark.parametrize(
    "address", ["/runs/{}", "/api/runs/{}", "/runs/{}/files/run_status.json", "/flows/{}", "/lakes/{}"]
)
def test_no_folder_but_a_run_a_flow_or_a_lake(home: Path, client: Client, name: str, address: str) -> None:
    (home / "runs" / "registry.jsonl").write_text("")
    a_status(home.parent / "other", "elsewhere")
    (home / "runs" / "link").symlink_to(home.parent / "other" / "runs" / "elsewhere")
    answer = client.get(address.format(name))
    # A name of dots is taken away by the client itself: what is left is a list, or nothing.
    assert answer.status_code in (400, 404) or (name in ("..", ".", "%2e%2e") and "elsewhere" not in answer.text)


def test_a_file_of_a_run_cannot_act_on_the_page(home: Path, client: Client) -> None:
    run = home / "runs" / "one"
    (run / "evil.html").write_text("<script>parent.alert(1)</script>")
    (run / "table.parquet").write_bytes(b"PAR1")
    answer = client.get("/runs/one/files/evil.html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy  # so default-src 'none' holds
    script = next(part.split() for part in policy.split("; ") if part.startswith("script-src"))
    assert script[1].startswith("'sha256-")
    assert len(script) == 2
    assert client.get("/runs/one/files/table.parquet").headers["content-disposition"].startswith("attachment")


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, closed: Client) -> None:
    import hmac

    seen = []
    real = hmac.compare_digest
    monkeypatch.setattr("assay.page.access.hmac.compare_digest", lambda a, b: (seen.append((a, b)), real(a, b))[1])
    closed.get("/", headers={"Authorization": f"Bearer {TOKEN}", "Cookie": "assay_token=wrong"})
    assert len(seen) == 2, "every token that is brought is compared, the first hit ends nothing"
