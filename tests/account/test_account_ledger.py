"""The ledger of an account: whole or not at all, one writer, no day twice or left out, nobody else's to read."""

import datetime as dt
import os
import stat

import pytest

from assay.account.ledger import LOCKED, AccountLedger, read_account, split
from assay.base.errors import Exit, InternalError, LedgerError, UsageError

FIRST = dt.date(2024, 1, 1)
END = {"simulated": False, "state": "", "head": 1, "fills": None, "bars": {}}


def events(day, count=3):
    return [("mark", {"day": day.isoformat(), "nav": str(100 + at)}) for at in range(count)]


@pytest.fixture
def folder(tmp_path):
    with AccountLedger.create(tmp_path / "accounts" / "mine", {"account": "mine"}) as kept:
        kept.append_day(FIRST, events(FIRST), END)
    return tmp_path / "accounts" / "mine"


def written(folder):
    return [(entry.kind, entry.body) for entry in read_account(folder)]


def test_only_the_owner_may_read_it(folder):
    for path in (folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "account.jsonl").stat().st_mode) == 0o600


def test_a_name_is_given_once(folder):
    before = (folder / "account.jsonl").read_bytes()
    with pytest.raises(UsageError, match="exists"):
        AccountLedger.create(folder, {"account": "mine"})
    assert (folder / "account.jsonl").read_bytes() == before


def test_a_creation_that_died_leaves_its_name_free(tmp_path):
    (tmp_path / "accounts" / "mine").mkdir(parents=True)
    with AccountLedger.create(tmp_path / "accounts" / "mine", {"account": "mine"}) as kept:
        assert [entry.kind for entry in kept.entries] == ["genesis"]


def test_there_is_one_writer(folder):
    with AccountLedger.open(folder), pytest.raises(UsageError) as refused:
        AccountLedger.open(folder)
    assert (refused.value.code, refused.value.exit_code) == (LOCKED, Exit.USAGE)


@pytest.mark.parametrize("step", [0, 2, -1])
def test_no_day_is_done_twice_or_left_out(folder, step):
    day = FIRST + dt.timedelta(days=step)
    with AccountLedger.open(folder) as kept, pytest.raises(InternalError):
        kept.append_day(day, events(day), END)


def test_a_day_that_was_cut_anywhere_is_done_again(folder):
    """Cut a second day after every one of its bytes: it is gone as a whole, and what is done then is the same."""
    path, day = folder / "account.jsonl", FIRST + dt.timedelta(days=1)
    before = path.read_bytes()
    with AccountLedger.open(folder) as kept:
        kept.append_day(day, events(day), END)
    whole, wanted = path.read_bytes(), written(folder)
    for cut in range(len(before), len(whole)):
        path.write_bytes(whole[:cut])
        assert written(folder) == wanted[: len(written(folder))]
        assert len(split(read_account(folder))[0]) == 1
        with AccountLedger.open(folder) as kept:
            assert kept.last_day == FIRST
            kept.append_day(day, events(day), END)
        assert [entry for entry in written(folder) if entry[0] != "resume"] == wanted
    path.write_bytes(whole)
    with AccountLedger.open(folder) as kept:
        assert kept.last_day == day
    assert path.read_bytes() == whole


def test_a_changed_line_is_refused(folder):
    path = folder / "account.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"nav":"101"', b'"nav":"901"'))
    for look in (AccountLedger.open, read_account):
        with pytest.raises(LedgerError, match="line 3"):
            look(folder)


def test_what_else_wrote_meanwhile_is_noticed(folder):
    with AccountLedger.open(folder) as kept:
        with (folder / "account.jsonl").open("ab") as other:
            other.write(b"x")
        with pytest.raises(LedgerError) as refused:
            kept.append("asked", {"amount": "1", "day": None, "because": ""})
    assert refused.value.code == "LEDGER_CHANGED"


def test_nothing_follows_the_end(folder):
    with AccountLedger.open(folder) as kept:
        kept.append("close", {"nav": "100"})
        with pytest.raises(UsageError, match="closed"):
            kept.append("asked", {"amount": "1"})
    with pytest.raises(UsageError, match="closed"):
        AccountLedger.open(folder)


def test_files_of_others_stay_as_readable_as_they_were(folder, tmp_path):
    before = os.umask(0o022)
    os.umask(before)
    with AccountLedger.open(folder):
        pass
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o666 & ~before
