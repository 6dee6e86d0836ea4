"""Accounts where runs are looked at: ``status``, ``audit`` and ``doctor`` know them."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest
from account_ledger import Line, a_ledger, close, mark, write_account
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.cli import app
from assay.report.account_health import account_issues
from assay.runs.home import Home

NOW = dt.datetime(2024, 6, 13, 5, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_account(tmp_path, a_ledger())
    return tmp_path


def damage(home: Path) -> None:
    path = home / "accounts" / "paper" / "account.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"nav":"9993"', b'"nav":"9994"'))


def codes(home: Path, now: dt.datetime = NOW) -> dict[str, str]:
    return {issue.code: issue.severity for issue in account_issues(Home(home), now)}


def test_status_has_a_line_for_each_account(home: Path) -> None:
    done = CliRunner().invoke(app, ["status", "--home", str(home)])
    assert done.exit_code == 0, done.output
    assert "account paper: OPEN, NAV 9,992.20 on 2024-06-12, binance_spot_rating_all_long" in done.output
    damage(home)
    assert "account paper: UNREADABLE" in CliRunner().invoke(app, ["status", "--home", str(home)]).output


def test_the_doctor_finds_what_is_wrong_with_an_account(home: Path) -> None:
    assert codes(home) == {}
    assert codes(home, NOW + dt.timedelta(hours=26)) == {"ACCOUNT_BEHIND": "ACTION"}
    (home / "accounts" / "paper" / "account.jsonl").chmod(0o644)
    assert codes(home) == {"ACCOUNT_OPEN_TO_OTHERS": "ACTION"}
    (home / "accounts" / "paper" / "account.jsonl").chmod(0o600)
    damage(home)
    assert codes(home) == {"ACCOUNT_DAMAGED": "INTEGRITY"}


def test_the_doctor_finds_an_alarm_and_a_liquidation(tmp_path: Path) -> None:
    day, look = "2024-06-13", {"level": "1.01", "worst_level": "1", "moment": "close"}
    left = mark(day, "9000", "9000", "0", "0", "0.9", BTC="62000", ETH="3000")
    more = [Line("look", {"day": day} | look), left, close(day)]
    write_account(tmp_path, [*a_ledger(), *more])
    assert codes(tmp_path) == {"ACCOUNT_LIQUIDATED": "NOTE"}
    wrong = {"day": day, "tracking": {"total": "0.1", "lines": {"fees": "0"}}}
    write_account(tmp_path, [*a_ledger("other"), Line("reconcile", wrong), *more])
    assert set(codes(tmp_path)) == {"ACCOUNT_LIQUIDATED", "ACCOUNT_ALARM"}


def test_a_closed_account_and_one_of_a_still_source_are_not_behind(tmp_path: Path) -> None:
    write_account(tmp_path, [*a_ledger("closed"), Line("close", {"because": ""})])
    write_account(tmp_path, a_ledger("still", source="parquet:/x.parquet"))
    assert codes(tmp_path, NOW + dt.timedelta(days=90)) == {}


def test_audit_verifies_an_account_and_does_not_call_it_sound(home: Path) -> None:
    """Sums by hand are not those of a step: the first mark that does not add up is named."""
    done = CliRunner().invoke(app, ["audit", "paper", "--home", str(home), "--json"])
    [found] = json.loads(done.stdout)
    assert found["sound"] is False
    assert found["run_id"] == "paper"
    assert os.path.exists(home / "reports" / "audit" / "accounts" / "paper.json")
    damage(home)
    done = CliRunner().invoke(app, ["audit", "paper", "--home", str(home)])
    assert done.exit_code == 3
    assert "account.jsonl" in done.output
