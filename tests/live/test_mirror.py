"""A host that refuses by country: with ``source.mirror`` its public mirror is asked, without it the error names it."""

import json

import pytest
from exchange_server import Fault, Response
from live_world import COINS, PATIENT, LocalExchange, small, source, stored
from typer.testing import CliRunner

from assay.cli import app
from assay.lake.lake import Lake

KLINES, INFO = "/api/v3/klines", "/api/v3/exchangeInfo"
WORDS = "Service unavailable from a restricted location according to 'b. Eligibility' in the terms."


@pytest.fixture
def refusing():
    with LocalExchange(small()) as running:
        yield running


@pytest.fixture
def mirror(refusing):
    with LocalExchange(refusing.world) as running:
        yield running


def ingest(home, refusing, mirror, *arguments, kind="binance"):
    settings = {f"ASSAY_LIVE__{name.upper()}": str(value) for name, value in PATIENT.items()}
    settings |= {f"ASSAY_BINANCE_{name}URL": refusing.url for name in ("", "ARCHIVE_")}
    settings |= {"ASSAY_BINANCE_MIRROR_URL": mirror.url}
    asked = ["ingest", "--source", kind, "--json", "--home", str(home), *arguments]
    done = CliRunner().invoke(app, asked, env=settings)
    return done.exit_code, json.loads(done.stdout)


def refuse(exchange, path, status, text):
    """Let an endpoint answer so from now on."""
    body = Response(text.encode(), status, content_type="text/html")
    exchange._routes.insert(0, ("GET", path, lambda _: body, 1))


WITH = ("--set", "source.mirror=true")
REFUSALS = [
    (451, ""),
    (403, WORDS),
    (403, "<h1>403 ERROR</h1> The Amazon CloudFront distribution is configured to block access from your country."),
    (400, json.dumps({"code": 0, "msg": WORDS})),
]


@pytest.mark.parametrize(("status", "text"), REFUSALS)
@pytest.mark.parametrize("path", ["/api*", KLINES])
def test_the_mirror_answers_where_the_setting_says_so_and_it_is_told(tmp_path, refusing, mirror, path, status, text):
    refuse(refusing, path, status, text)
    code, told = ingest(tmp_path, refusing, mirror, *WITH)
    assert code == 0, told
    counts = {finding["code"]: finding["count"] for finding in told["findings"]}
    answered = len(COINS) if path == KLINES else 2 + len(COINS)
    assert counts["MIRRORED"] == answered == len(mirror.log)
    assert told["cost"]["requests"] == len(mirror.log) + len(refusing.log)
    lake = Lake(tmp_path, source(refusing))
    assert stored(lake).equals(refusing.world.truth())
    assert "MIRRORED" in {finding.code for finding in lake.latest().record.findings}


@pytest.mark.parametrize(("status", "text"), REFUSALS)
def test_without_the_setting_the_error_names_it_and_nobody_else_is_asked(tmp_path, refusing, mirror, status, text):
    refuse(refusing, "/api*", status, text)
    code, told = ingest(tmp_path, refusing, mirror)
    assert (code, told["error"]["code"]) == (4, "SOURCE_REFUSED")
    assert "source.mirror=true" in told["error"]["hint"]
    assert (len(refusing.log), mirror.log) == (1, [])


def test_a_refusal_that_is_not_the_countrys_is_not_gone_round(tmp_path, refusing, mirror):
    refuse(refusing, "/api*", 403, "<html>blocked by the firewall</html>")
    code, told = ingest(tmp_path, refusing, mirror, *WITH)
    assert (code, told["error"]["code"], mirror.log) == (4, "SOURCE_REFUSED", [])


def test_a_mirror_that_refuses_too_ends_it(tmp_path, refusing, mirror):
    for host in (refusing, mirror):
        refuse(host, "/api*", 451, "")
    code, told = ingest(tmp_path, refusing, mirror, *WITH)
    assert (code, told["error"]["code"]) == (4, "SOURCE_REFUSED")
    assert "the mirror refuses too" in told["error"]["hint"]
    assert (len(refusing.log), len(mirror.log)) == (1, 1)


def test_the_mirror_has_the_same_patience(tmp_path, refusing, mirror):
    refuse(refusing, "/api*", 451, "")
    mirror.fail(Fault("429", INFO))
    mirror.fail(Fault("reset", KLINES, "ETHUSDT"))
    code, told = ingest(tmp_path, refusing, mirror, *WITH)
    found = {finding["code"] for finding in told["findings"]}
    assert (code, found) == (0, {"MIRRORED", "RETRY_RATE_LIMITED", "RETRY_CONNECTION", "CLOCK_SKEW"})
    assert stored(Lake(tmp_path, source(refusing))).equals(refusing.world.truth())


def test_facts_alone_and_holes_of_the_archive_are_asked_of_the_mirror_too(tmp_path, refusing, mirror):
    refusing.world.at("2023-03-03")
    refusing.world.unfiled = {(kind, "2023-02-09") for kind in ("monthly", "daily")}
    refuse(refusing, "/api*", 451, "")
    code, told = ingest(tmp_path, refusing, mirror, *WITH, kind="archive")
    counts = {finding["code"]: finding["count"] for finding in told["findings"]}
    assert (code, counts["MIRRORED"], counts["GAP_REPAIRED"]) == (0, len(COINS), len(COINS))
    assert stored(Lake(tmp_path, source(refusing))).equals(refusing.world.truth())
    code, told = ingest(tmp_path, refusing, mirror, *WITH, "--facts")
    assert (code, [finding["code"] for finding in told["findings"]]) == (0, ["MIRRORED"])


def test_the_setting_is_shown_with_its_origin():
    shown = CliRunner().invoke(app, ["profiles", "show", "binance_spot_rating_all_long", *WITH, "--json"])
    assert shown.exit_code == 0
    mirror = json.loads(shown.stdout)["source.mirror"]
    assert (mirror["value"], mirror["origin"]) == (True, "--set source.mirror=true")
