"""The sign test and the mutants that it must kill."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from audit_house import COINS, Draft, atom_ids, draft, save

import assay.gates.sign_test as module
from assay.gates.sign_test import run_sign_test, sign_test
from assay.gates.streams import Streams
from assay.runs import artifacts as layout
from assay.runs.documents import Flattened, Optimized, SignTest, Winner
from assay.runs.run import Run
from assay.settings.model import RISK_PROFILES

Mutant = Callable[[Draft], None]
DIRECTIONS = ("LONG", "SHORT")


def judge(content: Draft, direction: str, stage: str = "post_opt", **more: Any) -> SignTest:
    """Run the test on tables in hand."""
    winners = [Winner.model_validate(winner) for winner in content[layout.WINNERS]["winners"]]
    kept = {winner["atom_id"] for winner in content[layout.ENRICHED]["winners"]}
    return sign_test(
        Streams.of(content[layout.RETURNS], "returns"),
        Streams.of(content[layout.SYNTHETIC], "synthetic"),
        [winner for winner in winners if winner.atom_id in kept],
        direction,
        stage,  # type: ignore[arg-type]  # parametrised text is one of the two
        Optimized.model_validate(content[layout.OPTIMIZED]),
        Flattened.model_validate(content[layout.FLATTENED]),
        **more,
    )


def codes(result: SignTest) -> set[str]:
    return {violation.code.removeprefix("SIGNTEST_") for violation in result.violations}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_right_run_passes_and_says_how_much_was_compared(direction: str) -> None:
    """Atoms have 300, 280, 300 and 300 days: 1180 values; then once more for each of five risk profiles."""
    content = draft(direction)
    before, after = judge(content, direction, "pre_opt"), judge(content, direction)
    assert before.ok
    assert after.ok
    assert (before.atoms, before.longs, before.shorts) == (4, 4 * (direction == "LONG"), 4 * (direction == "SHORT"))
    assert (before.values_compared, before.weights_compared) == (1180, 0)
    assert after.values_compared == 1180 * 6
    assert after.weights_compared == 4 * 10 + 3 * 5  # every optimized atom of ten profiles, every coin of five


def streams(content: Draft) -> pl.DataFrame:
    table: pl.DataFrame = content[layout.SYNTHETIC]
    return table


def set_streams(content: Draft, **columns: Any) -> None:
    content[layout.SYNTHETIC] = streams(content).with_columns(**columns)


def flip(content: Draft) -> None:
    name = streams(content).columns[1]
    set_streams(content, **{name: -pl.col(name)})


def flip_one_value(content: Draft) -> None:
    name = streams(content).columns[1]
    set_streams(content, **{name: pl.when(pl.arange(300) == 200).then(-pl.col(name)).otherwise(pl.col(name))})


def nudge_one_value(content: Draft) -> None:
    """One unit in the last place is enough."""
    name = streams(content).columns[1]
    set_streams(
        content, **{name: pl.when(pl.arange(300) == 200).then(pl.col(name) * (1 + 2**-52)).otherwise(pl.col(name))}
    )


def swap_columns(content: Draft) -> None:
    one, two = streams(content).columns[1:3]
    set_streams(content, **{one: pl.col(two), two: pl.col(one)})


def rotate_columns(content: Draft) -> None:
    _, *names = streams(content).columns
    content[layout.SYNTHETIC] = streams(content).rename(dict(zip(names, names[1:] + names[:1], strict=True)))


def shift_a_day(content: Draft) -> None:
    name = streams(content).columns[1]
    set_streams(content, **{name: pl.col(name).shift(1)})


def fill_a_gap(content: Draft) -> None:
    name = streams(content).columns[2]
    set_streams(content, **{name: pl.col(name).fill_null(0.0)})


def lose_a_value(content: Draft) -> None:
    name = streams(content).columns[1]
    set_streams(content, **{name: pl.when(pl.arange(300) == 7).then(None).otherwise(pl.col(name))})


def move_a_date(content: Draft) -> None:
    set_streams(
        content, date=pl.when(pl.arange(300) == 299).then(pl.col("date") + pl.duration(days=1)).otherwise("date")
    )


def drop_a_day(content: Draft) -> None:
    content[layout.SYNTHETIC] = streams(content).head(299)


STREAM_MUTANTS = [
    flip,
    flip_one_value,
    nudge_one_value,
    swap_columns,
    rotate_columns,
    shift_a_day,
    fill_a_gap,
    lose_a_value,
    move_a_date,
    drop_a_day,
]


@pytest.mark.parametrize("mutate", STREAM_MUTANTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("stage", ["pre_opt", "post_opt"])
def test_a_stream_that_is_not_the_atoms_is_found(mutate: Mutant, direction: str, stage: str) -> None:
    content = draft(direction)
    mutate(content)
    result = judge(content, direction, stage)
    assert not result.ok
    assert codes(result) == {"LONG_MISMATCH" if direction == "LONG" else "SHORT_NOT_INVERTED"}


def test_a_short_that_was_not_clipped_is_found() -> None:
    """The coin gained 130 % on one day; a short loses 100 %."""
    content = draft("SHORT")
    name = atom_ids("SHORT")[0]
    assert streams(content)[name][17] == -1.0
    raw = content[layout.RETURNS][COINS[0]]
    set_streams(content, **{name: -raw})
    result = judge(content, "SHORT", "pre_opt")
    assert codes(result) == {"SHORT_NOT_INVERTED"}
    assert "1 values differ" in result.violations[0].what


def test_a_gain_of_a_long_is_not_clipped() -> None:
    content = draft("LONG")
    assert streams(content)[atom_ids("LONG")[0]][17] == 1.3
    assert judge(content, "LONG", "pre_opt").ok


def test_missing_columns_are_named() -> None:
    content = draft()
    content[layout.SYNTHETIC] = streams(content).drop(atom_ids("SHORT")[1])
    assert codes(judge(content, "SHORT", "pre_opt")) == {"MISSING_SYNTHETIC"}
    content = draft()
    content[layout.RETURNS] = content[layout.RETURNS].drop(COINS[1])
    assert codes(judge(content, "SHORT", "pre_opt")) == {"MISSING_PHYSICAL_COL"}


def test_missing_columns_are_named_after_the_optimizers_too() -> None:
    content = draft()
    content[layout.SYNTHETIC] = streams(content).drop(atom_ids("SHORT")[1])
    assert codes(judge(content, "SHORT")) == {"MISSING_SYNTHETIC"}
    content = draft()
    content[layout.RETURNS] = content[layout.RETURNS].drop(COINS[1])
    assert codes(judge(content, "SHORT")) == {"MISSING_PHYSICAL_COL"}


def test_an_atom_that_stands_twice_is_named() -> None:
    content = draft()
    content[layout.WINNERS]["winners"].append(content[layout.WINNERS]["winners"][0])
    assert codes(judge(content, "SHORT", "pre_opt")) == {"NO_ATOMS"}


@pytest.mark.parametrize("missing", [layout.OPTIMIZED, layout.FLATTENED])
def test_without_weights_there_is_no_second_test(missing: str) -> None:
    content = draft()
    result = sign_test(
        Streams.of(content[layout.RETURNS], "returns"),
        Streams.of(content[layout.SYNTHETIC], "synthetic"),
        [Winner.model_validate(winner) for winner in content[layout.WINNERS]["winners"][:4]],
        "SHORT",
        "post_opt",
        None if missing == layout.OPTIMIZED else Optimized.model_validate(content[layout.OPTIMIZED]),
        None if missing == layout.FLATTENED else Flattened.model_validate(content[layout.FLATTENED]),
    )
    assert [(violation.code, violation.where) for violation in result.violations] == [
        ("SIGNTEST_OPTIMIZER_NOT_NORMALIZED", missing)
    ]


def test_a_stream_of_nobody_is_named() -> None:
    content = draft()
    set_streams(content, extra=pl.lit(0.5))
    assert codes(judge(content, "SHORT", "pre_opt")) == {"NO_ATOMS"}


def test_empty_tables_are_named() -> None:
    content = draft()
    content[layout.SYNTHETIC] = streams(content).select("date")
    assert codes(judge(content, "SHORT", "pre_opt")) == {"EMPTY_SYNTHETIC", "MISSING_SYNTHETIC"}
    content = draft()
    content[layout.RETURNS] = content[layout.RETURNS].select("date")
    assert codes(judge(content, "SHORT", "pre_opt")) == {"EMPTY_RAW", "MISSING_PHYSICAL_COL"}


def test_an_atom_without_values_has_not_been_tested() -> None:
    content = draft()
    name = atom_ids("SHORT")[0]
    content[layout.RETURNS] = content[layout.RETURNS].with_columns(pl.lit(None, pl.Float64).alias(COINS[0]))
    set_streams(content, **{name: pl.lit(None, pl.Float64)})
    assert codes(judge(content, "SHORT", "pre_opt")) == {"EMPTY_SYNTHETIC"}


def test_no_atoms_is_a_failure_unless_the_run_stands_aside() -> None:
    content = draft()
    content[layout.WINNERS]["winners"] = []
    content[layout.ENRICHED]["winners"] = []
    content[layout.SYNTHETIC] = streams(content).select("date")
    assert "NO_ATOMS" in codes(judge(content, "SHORT", "pre_opt"))
    assert judge(content, "SHORT", "pre_opt", stand_aside=True).ok
    assert codes(judge(draft(), "SHORT", "pre_opt", stand_aside=True)) == {"NO_ATOMS"}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_atoms_that_point_another_way_than_the_profile_are_found(direction: str) -> None:
    other = "LONG" if direction == "SHORT" else "SHORT"
    assert codes(judge(draft(direction), other, "pre_opt")) == {"DIRECTION_INTENT"}


def test_an_id_that_was_not_built_is_found() -> None:
    content = draft()
    content[layout.WINNERS]["winners"][0]["logic"] = "rating_other"
    assert "DIRECTION_INTENT" in codes(judge(content, "SHORT", "pre_opt"))


# After the optimizers, over every risk profile


def optimized(content: Draft, name: str, kind: str = "profiles") -> dict[str, Any]:
    found: dict[str, Any] = content[layout.OPTIMIZED][kind][name]
    return found


def flattened(content: Draft, name: str) -> dict[str, Any]:
    found: dict[str, Any] = content[layout.FLATTENED]["profiles"][name]
    return found


def negative_weight(content: Draft, name: str) -> None:
    asset = optimized(content, name)["assets"][0]
    asset["Weight"], asset["Net_Weight"] = -asset["Weight"], -asset["Net_Weight"]


def negative_unguarded_weight(content: Draft, name: str) -> None:
    asset = optimized(content, name, "unguarded")["assets"][0]
    asset["Weight"], asset["Net_Weight"] = -asset["Weight"], -asset["Net_Weight"]


def optimizer_lost_an_atom(content: Draft, name: str) -> None:
    optimized(content, name)["assets"].pop(1)


def unguarded_optimizer_lost_an_atom(content: Draft, name: str) -> None:
    optimized(content, name, "unguarded")["assets"].pop(1)


def optimizer_saw_an_atom_twice(content: Draft, name: str) -> None:
    assets = optimized(content, name)["assets"]
    assets.append(copy.deepcopy(assets[0]))


def optimizer_was_not_run(content: Draft, name: str) -> None:
    del content[layout.OPTIMIZED]["profiles"][name]


def optimizer_saw_the_coin(content: Draft, name: str) -> None:
    optimized(content, name)["assets"][0]["Atom"] = COINS[0]


def not_flattened(content: Draft, name: str) -> None:
    del content[layout.FLATTENED]["profiles"][name]


def flattened_more(content: Draft, name: str) -> None:
    coin = flattened(content, name)["assets"][0]
    coin["Atoms"][0]["Weight"] *= 1.1
    coin["Net_Weight"] *= 1.1


def flattened_twice(content: Draft, name: str) -> None:
    coin = flattened(content, name)["assets"][0]
    coin["Atoms"].append(copy.deepcopy(coin["Atoms"][0]))
    coin["Net_Weight"] *= 2


NORMALIZATION_MUTANTS = [
    negative_weight,
    negative_unguarded_weight,
    optimizer_lost_an_atom,
    unguarded_optimizer_lost_an_atom,
    optimizer_saw_an_atom_twice,
    optimizer_was_not_run,
    optimizer_saw_the_coin,
    not_flattened,
    flattened_more,
    flattened_twice,
]


def net_of_the_other_side(content: Draft, name: str) -> None:
    optimized(content, name)["assets"][0]["Net_Weight"] *= -1


def atom_of_the_other_side(content: Draft, name: str) -> None:
    asset = optimized(content, name)["assets"][0]
    asset["Direction"] = "LONG" if asset["Direction"] == "SHORT" else "SHORT"


def atom_of_another_coin(content: Draft, name: str) -> None:
    optimized(content, name)["assets"][0]["Symbol"] = COINS[1]


def holding_not_turned(content: Draft, name: str) -> None:
    """What was short is held long: the coin then earns the opposite of the stream."""
    coin = flattened(content, name)["assets"][0]
    coin["Net_Weight"] *= -1
    coin["Direction"] = "LONG" if coin["Direction"] == "SHORT" else "SHORT"


def direction_not_of_the_net(content: Draft, name: str) -> None:
    flattened(content, name)["assets"][0]["Direction"] = "FLAT"


def net_without_provenance(content: Draft, name: str) -> None:
    flattened(content, name)["assets"][0]["Net_Weight"] *= 0.9


def contribution_of_the_other_side(content: Draft, name: str) -> None:
    part = flattened(content, name)["assets"][0]["Atoms"][0]
    part["Direction"] = "LONG" if part["Direction"] == "SHORT" else "SHORT"


def contribution_of_another_logic(content: Draft, name: str) -> None:
    flattened(content, name)["assets"][0]["Atoms"][0]["Logic"] = "rating_ma"


DIRECTION_MUTANTS = [
    net_of_the_other_side,
    atom_of_the_other_side,
    atom_of_another_coin,
    holding_not_turned,
    direction_not_of_the_net,
    net_without_provenance,
    contribution_of_the_other_side,
    contribution_of_another_logic,
]


@pytest.mark.parametrize("mutate", NORMALIZATION_MUTANTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", RISK_PROFILES)
def test_an_optimizer_that_did_not_see_longs_is_found(mutate: Any, direction: str, name: str) -> None:
    content = draft(direction)
    mutate(content, name)
    result = judge(content, direction)
    assert not result.ok
    assert "OPTIMIZER_NOT_NORMALIZED" in codes(result)


SAID = {
    negative_unguarded_weight: "is not that of a long",
    optimizer_lost_an_atom: "the optimizer's atoms are not the winners",
    unguarded_optimizer_lost_an_atom: "the optimizer's atoms are not the winners",
    optimizer_saw_an_atom_twice: "an atom stands twice",
    optimizer_was_not_run: "the risk profile was not optimized",
    optimizer_saw_the_coin: "the optimizer's atoms are not the winners",
    not_flattened: "the risk profile was not flattened",
    flattened_twice: "an atom is flattened twice",
    net_of_the_other_side: "is not SHORT",
    atom_of_the_other_side: "symbol, logic or direction is not the winner's",
    atom_of_another_coin: "symbol, logic or direction is not the winner's",
    contribution_of_another_logic: "symbol, logic or direction is not the winner's",
}


@pytest.mark.parametrize("mutate", SAID)
def test_a_refusal_says_what_was_found(mutate: Any) -> None:
    content = draft("SHORT")
    mutate(content, "hrp")
    told = [violation.what for violation in judge(content, "SHORT").violations]
    ends = SAID[mutate]
    assert any(what == ends or (ends.startswith("is ") and what.endswith(ends)) for what in told), told


@pytest.mark.parametrize("mutate", DIRECTION_MUTANTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", RISK_PROFILES)
def test_a_weight_that_points_another_way_is_found(mutate: Any, direction: str, name: str) -> None:
    content = draft(direction)
    mutate(content, name)
    result = judge(content, direction)
    assert not result.ok
    assert "DIRECTION_INTENT" in codes(result)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_holding_of_the_wrong_sign_does_not_earn_the_stream(direction: str) -> None:
    content = draft(direction)
    holding_not_turned(content, "hrp")
    assert ("LONG_MISMATCH" if direction == "LONG" else "SHORT_NOT_INVERTED") in codes(judge(content, direction))


def test_a_contribution_of_nobody_is_found() -> None:
    content = draft()
    coin = flattened(content, "hrp")["assets"][0]
    coin["Atoms"].append({**coin["Atoms"][0], "Atom": "BINANCE:XUSDT_rating_all_SHORT", "Weight": 0.0})
    assert {"NO_ATOMS", "OPTIMIZER_NOT_NORMALIZED"} <= codes(judge(content, "SHORT"))


def test_an_all_cash_sleeve_is_tested_like_any_other() -> None:
    content = draft()
    for profile in content[layout.OPTIMIZED]["profiles"].values():
        for asset in profile["assets"]:
            asset["Weight"] = asset["Net_Weight"] = 0.0
    for profile in content[layout.FLATTENED]["profiles"].values():
        for coin in profile["assets"]:
            coin |= {"Weight": 0.0, "Gross_Weight": 0.0, "Net_Weight": 0.0, "Direction": "FLAT"}
            for part in coin["Atoms"]:
                part["Weight"] = 0.0
    result = judge(content, "SHORT")
    assert result.ok
    assert result.weights_compared == 55


# A run directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in draft().items():
        save(tmp_path / name, value)
    return tmp_path


def test_a_run_directory_passes(folder: Path) -> None:
    assert run_sign_test(Run(folder), "pre_opt", "SHORT").ok
    assert run_sign_test(Run(folder), "post_opt", "SHORT").ok


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (layout.RETURNS, "MISSING_RAW"),
        (layout.SYNTHETIC, "MISSING_SYNTHETIC"),
        (layout.WINNERS, "NO_ATOMS"),
        (layout.OPTIMIZED, "OPTIMIZER_NOT_NORMALIZED"),
        (layout.FLATTENED, "OPTIMIZER_NOT_NORMALIZED"),
    ],
)
@pytest.mark.parametrize("damage", [None, b"", b"{}", b"PAR1 no table PAR1"])
def test_a_missing_or_unreadable_file_is_a_violation(folder: Path, name: str, code: str, damage: bytes | None) -> None:
    (folder / name).unlink()
    if damage is not None:
        (folder / name).write_bytes(damage)
    result = run_sign_test(Run(folder), "post_opt", "SHORT")
    assert not result.ok
    assert codes(result) == {code}
    assert {violation.where for violation in result.violations} == {name}


@pytest.mark.parametrize(
    ("name", "table", "code"),
    [
        (layout.RETURNS, pl.DataFrame({"date": []}, schema={"date": pl.Date}), "EMPTY_RAW"),
        (layout.SYNTHETIC, pl.DataFrame({"date": []}, schema={"date": pl.Date}), "EMPTY_SYNTHETIC"),
        (layout.RETURNS, pl.DataFrame({"x": [1.0]}), "MISSING_RAW"),
        (layout.SYNTHETIC, pl.DataFrame({"date": ["2024-01-01"], "x": [1.0]}), "MISSING_SYNTHETIC"),
        (
            layout.SYNTHETIC,
            pl.DataFrame({"date": [None], "x": [1.0]}, schema_overrides={"date": pl.Date}),
            "MISSING_SYNTHETIC",
        ),
    ],
)
def test_an_empty_or_foreign_table_is_a_violation(folder: Path, name: str, table: pl.DataFrame, code: str) -> None:
    save(folder / name, table)
    assert code in codes(run_sign_test(Run(folder), "pre_opt", "SHORT"))


def test_dates_must_be_midnights_in_utc(folder: Path) -> None:
    table = pl.read_parquet(folder / layout.RETURNS)
    for date in (pl.col("date") + pl.duration(hours=1), pl.col("date").dt.convert_time_zone("Asia/Tokyo")):
        save(folder / layout.RETURNS, table.with_columns(date=date))
        assert codes(run_sign_test(Run(folder), "pre_opt", "SHORT")) == {"MISSING_RAW"}


def test_without_enrichment_all_winners_are_tested(folder: Path) -> None:
    (folder / layout.ENRICHED).unlink()
    assert codes(run_sign_test(Run(folder), "pre_opt", "SHORT")) == {"MISSING_SYNTHETIC"}


def test_the_test_shares_nothing_with_the_synthesis() -> None:
    import ast

    text = Path(str(module.__file__)).read_text()
    named = [node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in named if name and name.startswith("assay.alpha")]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_agrees_with_the_synthesis_that_it_tests(direction: str) -> None:
    from assay.alpha.synthesis import synthetic

    content = draft(direction)
    physical = Streams.of(content[layout.RETURNS], "returns")
    columns = [physical.columns.index(COINS[coin]) for coin in (0, 1, 2, 2)]
    made = synthetic(physical.values[:, columns], [1 if direction == "LONG" else -1] * 4)
    table = pl.DataFrame({name: made[:, i] for i, name in enumerate(atom_ids(direction))})
    content[layout.SYNTHETIC] = table.insert_column(0, streams(content)["date"])
    assert judge(content, direction).ok
