"""Which mutants each code of refusal must kill, and where they are: the tests that make them and name the code."""

from __future__ import annotations

MUTANTS: dict[str, tuple[str, ...]] = {
    "ACCOUNT_CLOSED": ("account/test_account_command.py::test_money_comes_and_goes_at_the_close_and_earns_nothing",),
    "ACCOUNT_GRID": (
        "account/test_account_command.py::test_other_settings_begin_a_new_epoch_and_other_tranches_are_refused",
    ),
    "ALREADY_DONE": ("account/test_account_command.py::test_a_day_again_changes_no_byte",),
    "ATOMIC_BOOK": ("audit/test_atomic.py::test_what_was_decided_wrongly_is_found",),
    "ATOMIC_CALENDAR": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_CAP_BREACH": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_CONTRACT_FAILED": (
        "audit/test_atomic.py::test_a_contract_that_failed_or_dropped_a_winner_is_found",
        "pipeline/test_filters.py::test_a_contract_that_is_only_written_down_refuses_the_run_at_step_14",
        "proof/test_mutants.py::test_a_contract_that_checked_nothing_or_was_skipped_refuses_the_run",
    ),
    "ATOMIC_CROSS_ARTIFACT": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_DIRECTION_MISMATCH": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_EMPTY_FLATTENED": (
        "audit/test_atomic.py::test_an_empty_portfolio_needs_its_event",
        "audit/test_atomic.py::test_an_event_that_is_not_true_excuses_nothing",
    ),
    "ATOMIC_EMPTY_HRP": (
        "audit/test_atomic.py::test_an_empty_portfolio_needs_its_event",
        "audit/test_atomic.py::test_an_event_that_is_not_true_excuses_nothing",
    ),
    "ATOMIC_EMPTY_RETURNS": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_FLATTEN_PARSE": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_FUNNEL": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_HASH_MISMATCH": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_an_incomplete_manifest_is_found",
    ),
    "ATOMIC_LEDGER_BROKEN": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_MISSING_ARTIFACTS": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_NOT_REPLAYABLE": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_an_incomplete_manifest_is_found",
    ),
    "ATOMIC_OPT_PARSE": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_PROFILE_MISSING": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "ATOMIC_RETURNS_PARSE": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_heads_that_do_not_name_the_pin_are_found",
    ),
    "ATOMIC_RUIN": (
        "pipeline/test_ruin.py::test_a_document_that_is_not_what_the_tables_say_is_refused",
        "pipeline/test_ruin.py::test_a_step_that_judges_by_another_clause_is_refused",
        "pipeline/test_ruin.py::test_a_gate_that_does_not_say_it_is_refused",
    ),
    "ATOMIC_SIGN_TEST_POST_FAIL": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_sign_test_that_claims_to_have_passed_is_made_again",
    ),
    "ATOMIC_SIGN_TEST_POST_MISSING": ("audit/test_atomic.py::test_a_missing_sign_test_is_found",),
    "ATOMIC_SIGN_TEST_POST_PARSE": ("audit/test_atomic.py::test_an_unreadable_artifact_is_found",),
    "ATOMIC_SIGN_TEST_PRE_FAIL": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_sign_test_that_did_not_pass_is_found",
    ),
    "ATOMIC_SIGN_TEST_PRE_MISSING": ("audit/test_atomic.py::test_a_missing_sign_test_is_found",),
    "ATOMIC_SIGN_TEST_PRE_PARSE": ("audit/test_atomic.py::test_an_unreadable_artifact_is_found",),
    "ATOMIC_WEIGHT_SUM": (
        "audit/test_atomic.py::test_what_was_decided_wrongly_is_found",
        "audit/test_atomic.py::test_a_fault_is_named_in_words",
    ),
    "CAUSALITY_VOID": (
        "evaluation/test_causality.py::test_unchanged_world_is_refused",
        "evaluation/test_causality.py::test_date_after_the_last_bar_is_refused",
    ),
    "EARLIER_DAY": ("account/test_account_command.py::test_an_earlier_day_and_other_fills_are_refused",),
    "FILL_NOT_ORDERED": (
        "account/test_account_fills.py::test_a_coin_that_nobody_ordered_refuses_the_file_unless_it_is_taken_by_name",
    ),
    "L0_BENCHMARK": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_COLUMN_NOT_IN_DATAFRAME": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_DTYPE": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_DUPLICATE_COLUMN": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_INDEX": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_BOOK_LOST": ("meta/test_meta_parts.py::test_returns_of_books_have_a_contract_of_their_own",),
    "L0_NOT_FINITE": ("contracts/test_contract_returns.py::test_a_faulty_column_is_named_and_left_out",),
    "L0_OBSERVATIONS": ("contracts/test_contract_returns.py::test_a_faulty_column_is_named_and_left_out",),
    "L0_RANGE": (
        "contracts/test_contract_returns.py::test_a_faulty_column_is_named_and_left_out",
        "contracts/test_contract_returns.py::test_the_schema_alone_is_pandera_s",
    ),
    "L0_SERIES_CONTAINS_NULLS": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_WRONG_DATATYPE": ("contracts/test_contract_returns.py::test_a_fault_of_structure_is_fatal",),
    "L0_ZERO_VARIANCE": ("contracts/test_contract_returns.py::test_a_faulty_column_is_named_and_left_out",),
    "L1_COLUMN_NOT_IN_DATAFRAME": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L1_DUPLICATE_KEY": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L1_EMPTY": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L1_FUTURE": (
        "contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",
        "contracts/test_contract_scores.py::test_a_bar_is_known_at_its_close_and_not_before",
    ),
    "L1_MEAN": (
        "contracts/test_contract_scores.py::test_a_faulty_row_is_named_and_left_out",
        "contracts/test_contract_scores.py::test_the_schema_of_the_feature_store_alone",
    ),
    "L1_OSCILLATOR_RANGE": ("contracts/test_contract_scores.py::test_a_faulty_row_is_named_and_left_out",),
    "L1_RATING_RANGE": ("contracts/test_contract_scores.py::test_a_faulty_row_is_named_and_left_out",),
    "L1_SERIES_CONTAINS_NULLS": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L1_VOTE": ("contracts/test_contract_scores.py::test_a_faulty_row_is_named_and_left_out",),
    "L1_VOTES": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L1_WRONG_DATATYPE": ("contracts/test_contract_scores.py::test_a_fault_of_structure_is_fatal",),
    "L2_ATOMS": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L2_COLUMN_NOT_IN_DATAFRAME": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L2_CONSTANT_SCORE": (
        "contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",
        "contracts/test_contract_scores.py::test_a_score_may_stand_still_only_while_its_feature_does",
    ),
    "L2_DTYPE": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L2_EMPTY": (
        "contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",
        "contracts/test_contract_scores.py::test_no_candidates_is_nothing_checked",
    ),
    "L2_NO_FEATURE": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L2_NO_SCORES": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L2_NULL": ("contracts/test_contract_scores.py::test_a_faulty_score_is_named_and_its_atom_left_out",),
    "L2_RANGE": (
        "contracts/test_contract_scores.py::test_a_faulty_score_is_named_and_its_atom_left_out",
        "contracts/test_contract_scores.py::test_the_schema_of_scores_alone",
    ),
    "L2_WRONG_DATATYPE": ("contracts/test_contract_scores.py::test_a_fault_of_structure_of_scores_is_fatal",),
    "L3_COLUMNS": (
        "contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",
        "contracts/test_contract_returns.py::test_a_winner_named_twice_is_fatal",
    ),
    "L3_COLUMN_NOT_IN_DATAFRAME": (
        "contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",
    ),
    "L3_DIRECTION": (
        "contracts/test_contract_returns.py::test_an_atom_that_points_another_way_than_its_profile_is_fatal",
    ),
    "L3_DTYPE": ("contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",),
    "L3_EMPTY": ("contracts/test_contract_returns.py::test_no_winner_is_nothing_checked",),
    "L3_INDEX": ("contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",),
    "L3_INDEX_DIFFERS": ("contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",),
    "L3_LONG_MISMATCH": ("contracts/test_contract_returns.py::test_a_long_that_is_not_its_physical_column_is_fatal",),
    "L3_NOT_FINITE": ("contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",),
    "L3_PHYSICAL_COLUMN": (
        "contracts/test_contract_returns.py::test_a_winner_whose_symbol_is_not_in_the_matrix_is_fatal",
    ),
    "L3_RANGE": (
        "contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",
        "contracts/test_contract_returns.py::test_a_short_loses_at_most_what_was_staked",
    ),
    "L3_SHORT_NOT_INVERTED": (
        "contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",
        "contracts/test_contract_returns.py::test_a_short_loses_at_most_what_was_staked",
    ),
    "L3_WRONG_DATATYPE": ("contracts/test_contract_returns.py::test_every_fault_of_synthetic_returns_is_fatal",),
    "L4_ALL_CASH": ("contracts/test_contract_weights.py::test_all_cash_is_valid_where_an_event_says_why",),
    "L4_ATOM_CAP": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_BUDGET": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_CLUSTER_CAP": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_DIRECTION": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_DUPLICATE": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_EMPTY": ("contracts/test_contract_weights.py::test_no_documents_is_nothing_checked",),
    "L4_GROSS": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_NEGATIVE": (
        "contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",
        "contracts/test_contract_weights.py::test_the_schema_of_weights_alone",
    ),
    "L4_NET": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_NOT_FINITE": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_PROFILE": (
        "contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",
        "contracts/test_contract_weights.py::test_no_documents_is_nothing_checked",
    ),
    "L4_PROVENANCE": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_SUM": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_SYMBOL": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_TOTAL": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "L4_UNEXPLAINED": ("contracts/test_contract_weights.py::test_every_fault_of_weights_is_fatal",),
    "META_ALL_CASH": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_BOOK": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_BOUNDS_BREACH": (
        "meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",
        "meta/test_meta_parts.py::test_a_scaled_or_moved_weight_is_a_fault",
    ),
    "META_CALENDAR": ("meta/test_meta_parts.py::test_a_gap_in_the_shared_days_is_no_calendar",),
    "META_CALENDAR_MISMATCH": ("meta/test_meta_mutants.py::test_a_sleeve_of_other_bars_is_refused",),
    "META_CONCENTRATION": (
        "meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",
        "meta/test_meta_portfolio.py::test_the_single_coin_of_the_short_sleeves_is_cut_with_an_event",
    ),
    "META_CONTRIBUTORS_LOST": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_CYCLE": ("meta/test_meta_portfolio.py::test_a_cycle_is_refused_in_settings_and_in_runs",),
    "META_DIRECTION_MISMATCH": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_EMPTY": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_GRID": ("meta/test_portfolio_book.py::test_sleeves_in_other_tranches_are_refused_by_name",),
    "META_HASH_MISMATCH": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_LAKE_MISMATCH": ("meta/test_meta_mutants.py::test_a_run_of_another_profile_or_lake_is_refused",),
    "META_CONTRACT_FAILED": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_LEDGER_BROKEN": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_MASS": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_MISSING_ARTIFACTS": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_NOT_REPLAYABLE": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_PROFILE_MISSING": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_RETURNS_MISMATCH": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_RUIN": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_SIGN_FLIPPED": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_SIGN_TEST_POST": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_SIGN_TEST_PRE": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
    "META_SLEEVE_FUTURE": ("meta/test_meta_mutants.py::test_a_stale_run_is_refused_by_dates_and_not_by_the_clock",),
    "META_SLEEVE_HASH_MISMATCH": (
        "meta/test_meta_mutants.py::test_a_sleeve_with_a_changed_byte_or_another_head_is_refused",
        "meta/test_meta_mutants.py::test_a_sealed_portfolio_is_not_valid_any_more_when_a_sleeve_changes",
    ),
    "META_SLEEVE_INVALID": ("meta/test_meta_mutants.py::test_a_sleeve_that_did_not_end_valid_is_refused",),
    "META_SLEEVE_MISSING": (
        "meta/test_meta_mutants.py::test_a_missing_sleeve_is_refused",
        "meta/test_meta_mutants.py::test_a_refused_sleeve_may_be_left_out_where_the_profile_allows_it",
    ),
    "META_SLEEVE_OTHER_PROFILE": ("meta/test_meta_mutants.py::test_a_run_of_another_profile_or_lake_is_refused",),
    "META_SLEEVE_OTHER_SETTINGS": (
        "meta/test_meta_portfolio.py::test_the_command_takes_the_latest_valid_runs_and_names_what_it_passed_over",
    ),
    "META_SLEEVE_STALE": ("meta/test_meta_mutants.py::test_a_stale_run_is_refused_by_dates_and_not_by_the_clock",),
    "META_SLEEVE_UNSEALED": ("meta/test_meta_mutants.py::test_an_unsealed_run_is_refused",),
    "META_SLEEVE_IN_CASH": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_SLEEVE_RUINED": (
        "pipeline/test_ruin_accepted.py::test_a_ruined_sleeve_is_left_out_by_name",
        "pipeline/test_ruin_accepted.py::test_without_it_too_few_are_left",
    ),
    "META_TOO_FEW_DAYS": ("meta/test_meta_parts.py::test_alignment_keeps_shared_days_and_names_what_is_lost",),
    "META_TOO_FEW_SLEEVES": (
        "meta/test_meta_mutants.py::test_one_sleeve_alone_is_refused_unless_the_profile_says_so",
        "meta/test_portfolio_book.py::test_a_day_with_too_few_sleeves_is_cash_with_its_reason",
    ),
    "META_WALK": ("meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",),
    "META_WEIGHT_SUM": (
        "meta/test_meta_mutants.py::test_the_mutant_is_refused_with_its_code",
        "meta/test_meta_parts.py::test_a_scaled_or_moved_weight_is_a_fault",
    ),
    "OTHER_FILLS": (
        "account/test_account_command.py::test_an_earlier_day_and_other_fills_are_refused",
        "account/test_account_fills.py::test_a_part_is_booked_and_what_is_left_is_said",
    ),
    "RUIN": (
        "pipeline/test_ruin_accepted.py::test_a_ruined_headline_is_not_ordered_in_any_risk_profile",
        "pipeline/test_ruin_accepted.py::test_no_account_follows_a_ruined_headline_unless_it_is_accepted",
    ),
    "SIGNTEST_DIRECTION_INTENT": (
        "audit/test_sign_test.py::test_atoms_that_point_another_way_than_the_profile_are_found",
        "audit/test_sign_test.py::test_an_id_that_was_not_built_is_found",
    ),
    "SIGNTEST_EMPTY_RAW": (
        "audit/test_sign_test.py::test_empty_tables_are_named",
        "audit/test_sign_test.py::test_an_empty_or_foreign_table_is_a_violation",
    ),
    "SIGNTEST_EMPTY_SYNTHETIC": (
        "audit/test_sign_test.py::test_empty_tables_are_named",
        "audit/test_sign_test.py::test_an_empty_or_foreign_table_is_a_violation",
    ),
    "SIGNTEST_LONG_MISMATCH": (
        "audit/test_sign_test.py::test_a_stream_that_is_not_the_atoms_is_found",
        "audit/test_sign_test.py::test_a_holding_of_the_wrong_sign_does_not_earn_the_stream",
    ),
    "SIGNTEST_MISSING_PHYSICAL_COL": (
        "audit/test_sign_test.py::test_missing_columns_are_named",
        "audit/test_sign_test.py::test_missing_columns_are_named_after_the_optimizers_too",
    ),
    "SIGNTEST_MISSING_RAW": (
        "audit/test_sign_test.py::test_a_missing_or_unreadable_file_is_a_violation",
        "audit/test_sign_test.py::test_an_empty_or_foreign_table_is_a_violation",
    ),
    "SIGNTEST_MISSING_SYNTHETIC": (
        "audit/test_sign_test.py::test_missing_columns_are_named",
        "audit/test_sign_test.py::test_missing_columns_are_named_after_the_optimizers_too",
    ),
    "SIGNTEST_NO_ATOMS": (
        "audit/test_sign_test.py::test_an_atom_that_stands_twice_is_named",
        "audit/test_sign_test.py::test_a_stream_of_nobody_is_named",
    ),
    "SIGNTEST_OPTIMIZER_NOT_NORMALIZED": (
        "audit/test_sign_test.py::test_without_weights_there_is_no_second_test",
        "audit/test_sign_test.py::test_an_optimizer_that_did_not_see_longs_is_found",
    ),
    "SIGNTEST_SHORT_NOT_INVERTED": (
        "audit/test_sign_test.py::test_a_stream_that_is_not_the_atoms_is_found",
        "audit/test_sign_test.py::test_a_short_that_was_not_clipped_is_found",
    ),
}
"""Code to tests, below ``tests``: each puts a fault in and names the code, in its text or its table of cases."""

GATES: dict[str, tuple[str, ...]] = {
    "foundation": ("proof/test_mutants.py::test_the_foundation_gate_kills_its_mutants",),
    "sign_test_pre_opt": ("pipeline/test_mutants.py::test_a_mutant_is_refused_with_its_code",),
    "sign_test_post_opt": ("pipeline/test_mutants.py::test_a_mutant_is_refused_with_its_code",),
    "causality": ("evaluation/test_causality.py::test_run_with_a_leak_is_refused",),
    "capital_preservation": ("proof/test_mutants.py::test_the_gate_of_capital_preservation_kills_its_mutant",),
    "ruin": ("pipeline/test_ruin.py::test_every_clause_is_judged_by_days_and_trades",),
    "atomic_validation": ("pipeline/test_mutants.py::test_a_mutant_is_refused_with_its_code",),
    "eligibility": ("meta/test_meta_mutants.py::test_a_missing_sleeve_is_refused",),
    "meta_validation": ("meta/test_meta_mutants.py::test_a_changed_paper_of_a_portfolio_is_named",),
}
"""Name of a gate, as the ledger has it, to tests in which it refuses a run."""

NO_FAULTS: dict[str, str] = {
    "ATOMIC_SIGN_TEST_PRE": "beginning of a family's codes",
    "ATOMIC_SIGN_TEST_POST": "beginning of a family's codes",
    "ATOMIC_SIGN_TEST_PRE_PASS": "a check that is ok",
    "ATOMIC_SIGN_TEST_POST_PASS": "a check that is ok",
    "ATOMIC_HRP_PRESENT": "a check that is ok",
    "ATOMIC_FLATTENED_PRESENT": "a check that is ok",
    "META_BOUNDS_RELAXED": "an event",
    "META_FLATTENED": "an event",
    "META_NETTED": "an event",
    "META_NO_WALK_FORWARD": "an event",
    "META_PINNED": "an event",
    "META_SHORTFALL": "an event",
    "L0_EMPTY": "cannot be alone: a matrix without a value has no benchmark, which is told first",
}
"""Codes that refuse nothing, and why they are codes."""

COMPOSED = (
    *(f"L{layer}_EMPTY" for layer in range(5)),
    *(f"L{layer}_COLUMN_NOT_IN_DATAFRAME" for layer in range(4)),
    *(f"L{layer}_WRONG_DATATYPE" for layer in range(4)),
    *(f"L{layer}_SERIES_CONTAINS_NULLS" for layer in range(2)),
    *(f"ATOMIC_SIGN_TEST_{stage}_{fault}" for stage in ("PRE", "POST") for fault in ("MISSING", "PARSE", "FAIL")),
)
"""Codes that the sources put together from parts."""
