"""For each kind of fault that users reported: tests of the case itself, and of further examples of the kind."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

KINDS: dict[str, tuple[str, ...]] = {
    "K1 what the exchange says of a pair beyond its name": (
        "live/test_kinds_live.py::test_a_run_over_the_live_lake_buys_no_share_and_no_halted_pair_and_counts_them",
        "live/test_kinds_live.py::test_a_pair_that_is_no_coin_was_none_on_any_day",
        "live/test_kinds_live.py::test_a_status_that_changes_between_two_decisions_holds_for_each",
        "live/test_kinds_live.py::test_an_answer_that_leaves_permission_sets_out_forgets_no_share",
        "foundation/test_kinds.py::test_whatever_is_not_trading_is_left_out",
        "foundation/test_kinds.py::test_a_lake_of_a_former_version_learns_kinds_without_a_new_row_for_each_pair",
    ),
    "K2 days that lie in the archive and are not fetched": (
        "live/test_archive.py::test_days_that_a_month_lacks_are_asked_of_their_own_files",
        "live/test_archive.py::test_a_day_that_no_file_has_comes_from_the_exchange",
        "live/test_archive.py::test_a_month_whose_checksum_never_fits_is_a_finding_and_its_days_come_from_elsewhere",
    ),
    "K3 an answer that cannot be true is taken as sound": (
        "live/test_reconcile_phase.py::test_nobody_at_all_is_no_answer_and_the_earlier_one_stays_in_force",
        "live/test_reconcile_phase.py::test_nobody_at_all_in_the_first_scan_of_a_lake_is_refused_beside_its_first_bars",
        "live/test_ingest_live.py::test_answers_that_lack_other_pairs_each_day_are_never_taken",
        "meta/test_orders.py::test_rules_that_are_not_of_the_spot_market_are_refused_as_a_whole",
    ),
    "K4 pages shorter than a thousand bars": (
        "live/test_pages.py::test_a_first_load_is_complete_in_one_go",
        "live/test_pages.py::test_an_exchange_that_answers_with_the_last_bars_of_a_span_is_asked_for_those_before",
        "live/test_pages.py::test_an_empty_page_in_the_middle_of_a_listings_life_is_no_end",
        "live/test_pages.py::test_days_that_begin_elsewhere_are_said_to",
    ),
    "K5 the schedule is deaf": (
        "live/test_schedule.py::test_two_late_bars_and_a_ban_at_the_local_exchange",
        "live/test_schedule.py::test_late_bars_are_asked_for_again_within_the_hour_until_they_are_there",
        "live/test_schedule.py::test_a_ban_is_waited_out_even_past_the_next_close",
    ),
    "K6 a shorter list of pairs is refused for ever": (
        "live/test_ingest_live.py::test_pairs_that_were_not_trading_may_go_all_at_once",
        "live/test_ingest_live.py::test_trading_pairs_that_are_gone_on_three_days_alike_are_so",
        "live/test_ingest_live.py::test_a_whole_answer_between_two_parts_begins_the_count_anew",
    ),
    "K7 one pair, page or name stops everything": (
        "live/test_faults.py::test_one_odd_row_costs_its_pair_or_itself",
        "live/test_faults.py::test_an_answer_that_will_be_another_one_soon_costs_the_moment",
        "cli/test_output.py::test_a_terminal_that_lacks_a_character_gets_an_escape_and_json_stays_json",
        "foundation/test_kinds.py::test_odd_permission_sets_cost_that_pair",
    ),
    "K8 rules of futures for spot orders": (
        "meta/test_orders.py::test_rules_that_are_not_of_the_spot_market_are_refused_as_a_whole",
    ),
    "K9 the doctor names the source that made the lake": (
        "live/test_doctor_source.py::test_a_lake_that_the_archive_made_and_the_exchange_fills_is_the_exchanges",
        "live/test_doctor_source.py::test_a_first_load_that_was_cut_off_tells_what_it_kept",
        "live/test_doctor_source.py::test_a_first_load_that_is_refused_leaves_no_lake",
        "cli/test_clean.py::test_what_the_doctor_says_to_do_mends_it",
    ),
    "A refused rows turn into delistings": (
        "cli/test_reported_files.py::test_three_rows_that_come_twice_sell_no_coin_and_are_counted",
        "cli/test_reported_files.py::test_copies_at_the_end_move_no_decision",
        "pipeline/test_hole_and_copies.py::test_bars_that_come_twice_change_nothing_at_all",
        "lake/test_lake_holes.py::test_refused_rows_end_no_listing_until_there_are_more_than_ten",
        "cli/test_one_cause.py::test_why_tells_of_a_coin_whose_last_rows_were_refused",
        "foundation/test_whole_files.py::test_copies_that_contradict_each_other_at_the_end_say_where_the_data_end_now",
    ),
    "B a hole for all coins is the death of all": (
        "cli/test_reported_files.py::test_a_hole_of_the_market_ends_no_listing",
        "pipeline/test_hole_and_copies.py::test_a_hole_of_the_whole_market_changes_nothing_until_a_decision_sees_it",
        "lake/test_lake_holes.py::test_a_hole_of_the_market_ends_no_listing",
        "cli/test_one_cause.py::test_why_tells_of_holes_by_owner",
    ),
    "C one message for six causes": (
        "cli/test_reported_files.py::test_a_row_a_year_ahead_is_named_and_moves_nothing",
        "cli/test_reported_files.py::test_plain_symbols_are_those_of_the_exchange_that_the_profile_names",
        "cli/test_reported_files.py::test_a_quote_volume_of_zero_everywhere_is_refused_before_anything_is_stored",
        "cli/test_one_cause.py::test_the_condition_that_took_the_coins_is_named_in_words_and_numbers",
        "cli/test_one_cause.py::test_one_stray_row_changes_nothing_of_a_run",
        "cli/test_one_cause.py::test_a_file_that_cannot_be_read_is_refused_before_anything_is_stored",
        "foundation/test_whole_files.py::test_every_notation_of_a_pair_is_the_same_coin",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_reported_kind_has_tests_that_are_there(kind: str) -> None:
    for name in KINDS[kind]:
        path, _, function = name.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
