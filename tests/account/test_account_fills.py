"""Fills of a file through the command: each is booked, passed over or refused by name, and what is left is said."""

import shutil
from decimal import Decimal

import pytest
from test_account_command import LONG, days_of, error, files_of, opened, told

HEAD = "trade_id,symbol,side,amount,price,time,fee,fee_coin"


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    """A home with an account that has orders for 2024-01-20, and those orders."""
    home = tmp_path_factory.mktemp("fills") / "home"
    opened(home, "real", LONG, "2024-01-19", "--band", 0)
    told("account", "step", "real", "--as-of", "2024-01-19", "--home", home)
    [rows] = [body["rows"] for body in days_of(home, "real")[-1].bodies("orders")]
    return home, [row for row in rows if Decimal(row["quantity"])]


@pytest.fixture
def home(ordered, tmp_path):
    shutil.copytree(ordered[0], tmp_path / "home")
    return tmp_path / "home"


def trade(number, symbol, amount, price, side="buy", day="2024-01-20"):
    return f"{number},{symbol},{side},{amount},{price},{day}T00:01:00Z,0,USDT"


def write(tmp_path, *rows, name="fills.csv"):
    path = tmp_path / name
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def step(home, path, *more):
    return "account", "step", "real", "--as-of", "2024-01-20", "--fills", path, *more, "--home", home


def test_a_part_is_booked_and_what_is_left_is_said(home, ordered, tmp_path):
    first, second, third = ordered[1][:3]
    half = round(Decimal(first["quantity"]) / 2, 6)
    path = write(
        tmp_path,
        trade(1, first["symbol"], half, first["decided"]),
        trade(2, second["symbol"], second["quantity"], second["decided"]),
        trade(2, second["symbol"], second["quantity"], second["decided"]),
    )
    told(*step(home, path))
    day = days_of(home, "real")[-1]
    booked = {body["symbol"]: Decimal(body["quantity"]) for body in day.bodies("fill")}
    assert booked == {first["symbol"]: half, second["symbol"]: Decimal(second["quantity"])}
    [part] = day.bodies("partial")
    assert part["symbol"] == first["symbol"]
    assert third["symbol"] in {body["symbol"] for body in day.bodies("unfilled")}
    paid = sum(Decimal(body["cash"]) for body in day.bodies("fill"))
    assert Decimal(day.bodies("mark")[-1]["cash"]) == 100_000 + paid
    assert told("account", "verify", "real", "--home", home)["ok"]
    before = files_of(home / "accounts")
    assert told(*step(home, path))["outcome"] == "ALREADY_DONE"
    assert error(*step(home, write(tmp_path, name="other.csv"))) == "OTHER_FILLS"
    assert files_of(home / "accounts") == before


def test_a_trade_is_booked_once_for_ever(home, ordered, tmp_path):
    first = ordered[1][0]
    path = write(tmp_path, trade(1, first["symbol"], first["quantity"], first["decided"]))
    told(*step(home, path))
    more = ("account", "step", "real", "--as-of", "2024-01-21", "--fills", path, "--home", home)
    told(*more)
    day = days_of(home, "real")[-1]
    assert day.bodies("fill") == []
    said = {one["code"] for body in day.bodies("reconcile") for one in body.get("findings", [])}
    assert said == {"FILL_KNOWN", "ORDER_UNFILLED"}


def test_a_coin_that_nobody_ordered_refuses_the_file_unless_it_is_taken_by_name(home, ordered, tmp_path):
    coin = "BINANCE:BTCUSDT"
    assert coin not in {row["symbol"] for row in ordered[1]}
    first = ordered[1][0]
    path = write(
        tmp_path, trade(1, first["symbol"], first["quantity"], first["decided"]), trade(2, coin, "0.01", "41600")
    )
    before = files_of(home / "accounts")
    assert error(*step(home, path)) == "FILL_NOT_ORDERED"
    assert files_of(home / "accounts") == before
    told(*step(home, path, "--take", coin))
    assert {body["symbol"] for body in days_of(home, "real")[-1].bodies("fill")} == {first["symbol"], coin}
    shown = told("account", "show", "real", "--home", home)
    assert {row["symbol"] for row in shown["holdings"]} == {first["symbol"], coin}
    assert told("account", "verify", "real", "--home", home)["ok"]
