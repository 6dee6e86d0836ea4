"""The doctor names a lake by the source that fills it, and says what an unfinished first load left."""

import pytest
from live_world import LocalExchange, archive, clock, small, source, sync

from assay.base.errors import SourceError
from assay.lake.lake import Lake
from assay.report.doctor import examine


def test_a_lake_that_the_archive_made_and_the_exchange_fills_is_the_exchanges(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange, archive(exchange))
        assert examine(lake.folder, clock(exchange)()).source == "archive"
        exchange.world.next_day()
        lake, _ = sync(tmp_path, exchange, source(exchange))
        found = examine(lake.folder, clock(exchange)())
        assert found.source == "binance"
        assert found.ingest(" --scan") == "assay ingest --source binance --scan"


def test_a_first_load_that_was_cut_off_tells_what_it_kept(tmp_path):
    lake = Lake(tmp_path, "ccxt:kraken")
    lake.introduce()
    (lake.folder / "spool").mkdir()
    (lake.folder / "spool" / "kraken.jsonl").write_text("{}\n")
    found = examine(lake.folder, clock(LocalExchange(small()))())
    assert [issue.code for issue in found.issues] == ["SPOOL_LEFT", "EMPTY_LAKE"]
    assert {issue.command for issue in found.issues} == {"assay ingest --source ccxt:kraken"}


def test_a_first_load_that_is_refused_leaves_no_lake(tmp_path):
    with LocalExchange(small()) as exchange:
        world = exchange.world
        for name, pair in list(world.pairs.items()):
            pair.quote = "XYZ"
            world.pairs[pair.name], world.rows[pair.name] = world.pairs.pop(name), world.rows.pop(name)
        with pytest.raises(SourceError, match="no pair") as caught:
            sync(tmp_path, exchange, attempts=1)
    assert caught.value.code == "SOURCE_EMPTY"
    assert not list((tmp_path / "lake").glob("*"))
