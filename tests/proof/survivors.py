"""Faults in the program that no test noticed once, or that a new check must see, each with the test that kills it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One line of the program that is changed, and the test that must fail then."""

    path: str
    line: str
    instead: str
    test: str


DEAR = "proof/test_audit.py::test_the_dear_checks_find_by_themselves"
FORGED = "proof/test_audit.py::test_a_forgery_that_was_sealed_anew_is_not_sound"
TRIED = "pipeline/test_survivors.py::test_the_sharpe_ratios_are_deflated_by_every_set_that_was_tried"

BOOK = {
    name: Fault("backtest/book.py", line, instead, test if "::" in test else f"evaluation/test_book_by_hand.py::{test}")
    for name, line, instead, test in (
        (
            "orders are sized at the open that fills them",
            "tranche, decided = target.tranche, self.bars.mark[target.row]",
            "tranche, decided = target.tranche, self.bars.open[day]",
            "evaluation/test_book.py::test_orders_fill_at_the_open_of_their_bar",
        ),
        (
            "every tranche has the whole NAV",
            "share = self.nav / len(self.held)",
            "share = self.nav",
            "test_a_tranche_has_its_share_of_nav_and_the_others_stand_still",
        ),
        (
            "an order forgets what its tranche holds",
            "order = np.where(fills, wanted - held, 0.0)",
            "order = np.where(fills, wanted, 0.0)",
            "test_a_tranche_has_its_share_of_nav_and_the_others_stand_still",
        ),
        (
            "an order fills without a bar",
            "fills = self.bars.has_bar[day] & ~self.bars.relisted[day] & (decided > 0.0)",
            "fills = ~self.bars.relisted[day] & (decided > 0.0)",
            "evaluation/test_book.py::test_order_without_a_bar_is_cancelled_and_recorded",
        ),
        (
            "an order fills on another listing",
            "fills = self.bars.has_bar[day] & ~self.bars.relisted[day] & (decided > 0.0)",
            "fills = self.bars.has_bar[day] & (decided > 0.0)",
            "evaluation/test_book.py::test_order_for_a_listing_that_has_ended_is_cancelled",
        ),
        (
            "cash is no asset",
            "assets = np.maximum(cash, 0.0) + _total(np.maximum(value, 0.0))",
            "assets = _total(np.maximum(value, 0.0))",
            "test_a_short_that_rises_within_the_day_is_closed_where_the_level_is_the_maintenance",
        ),
        (
            "longs are no assets",
            "assets = np.maximum(cash, 0.0) + _total(np.maximum(value, 0.0))",
            "assets = np.maximum(cash, 0.0) + 0.0 * _total(value)",
            "test_a_leveraged_long_is_closed_at_its_low",
        ),
        (
            "a debt in cash is no liability",
            "[assets, np.maximum(-cash, 0.0) + _total(np.maximum(-value, 0.0))]",
            "[assets, _total(np.maximum(-value, 0.0))]",
            "test_a_leveraged_long_is_closed_at_its_low",
        ),
        (
            "shorts are no liabilities",
            "[assets, np.maximum(-cash, 0.0) + _total(np.maximum(-value, 0.0))]",
            "[assets, np.maximum(-cash, 0.0)]",
            "test_only_the_coin_that_costs_most_stands_at_its_worst",
        ),
        (
            "a short's high is not looked at",
            "np.where(units < 0.0, bars.high, bars.low)",
            "np.where(units < 0.0, bars.mark, bars.low)",
            "test_a_short_that_rises_within_the_day_is_closed_where_the_level_is_the_maintenance",
        ),
        (
            "a long's low is not looked at",
            "np.where(units < 0.0, bars.high, bars.low)",
            "bars.high",
            "test_a_leveraged_long_is_closed_at_its_low",
        ),
        (
            "every coin stands at its worst at once",
            "    others = value\n",
            "    others = at_worst.copy()\n",
            "test_only_the_coin_that_costs_most_stands_at_its_worst",
        ),
        (
            "what costs most is measured from the open",
            "np.where(seen, value - at_worst, -1.0)",
            "np.where(seen, units * bars.open - at_worst, -1.0)",
            "test_what_costs_most_is_counted_in_money_against_the_close",
        ),
        (
            "nobody looks within the day",
            "within = looks.within < maintenance",
            "within = looks.within < 0.0",
            "test_a_short_that_rises_within_the_day_is_closed_where_the_level_is_the_maintenance",
        ),
        (
            "the maintenance itself is too little",
            "within = looks.within < maintenance",
            "within = looks.within <= maintenance",
            "test_the_maintenance_itself_is_enough",
        ),
        (
            "nobody looks at the close",
            "(looks.close < maintenance)",
            "(looks.close < 0.0)",
            "test_the_look_at_the_close_comes_after_borrow",
        ),
        (
            "a coin is closed at its worst",
            "return (OPEN, opened) if beyond else (DAY, level)",
            "return DAY, level * 2",
            "test_a_short_that_rises_within_the_day_is_closed_where_the_level_is_the_maintenance",
        ),
        (
            "a coin beyond the maintenance is not closed at its open",
            "return (OPEN, opened) if beyond else (DAY, level)",
            "return DAY, level",
            "test_a_coin_that_opens_beyond_the_maintenance_goes_at_its_open",
        ),
        (
            "a long beyond the maintenance is not closed at its open",
            "beyond = opened <= level",
            "beyond = False",
            "test_a_long_that_opens_beyond_the_maintenance_goes_at_its_open",
        ),
        (
            "the others are closed at the open",
            "price = book.bars.mark[day].copy()",
            "price = book.bars.open[day].copy()",
            "test_the_others_are_closed_at_the_close",
        ),
        (
            "a liquidation repays its shorts for nothing",
            "fee * float(_total(np.maximum(-value, 0.0)) + max(-self.cash, 0.0))",
            "fee * max(-self.cash, 0.0)",
            "test_a_liquidation_pays_fees_slippage_and_a_share_of_what_it_repays",
        ),
        (
            "a liquidation repays its debt for nothing",
            "fee * float(_total(np.maximum(-value, 0.0)) + max(-self.cash, 0.0))",
            "fee * float(_total(np.maximum(-value, 0.0)))",
            "test_debts_in_cash_are_repaid_too",
        ),
        (
            "a liquidation pays no slippage",
            "price, self.costs.slippage, self.costs.fee, LIQUIDATION",
            "price, 0.0, self.costs.fee, LIQUIDATION",
            "test_a_liquidation_pays_fees_slippage_and_a_share_of_what_it_repays",
        ),
        (
            "a liquidation pays no fee",
            "price, self.costs.slippage, self.costs.fee, LIQUIDATION",
            "price, self.costs.slippage, 0.0, LIQUIDATION",
            "test_a_liquidation_pays_fees_slippage_and_a_share_of_what_it_repays",
        ),
        (
            "a debt is forgiven",
            "self.cash_at[day:] = self.nav = self.cash",
            "self.cash_at[day:] = self.nav = max(self.cash, 0.0)",
            "test_what_is_left_is_final_even_a_debt",
        ),
        (
            "an account that ends within the day owes its borrow",
            "moment, price = _prices_of_margin(book, looks, last, maintenance)\n",
            "moment, price = _prices_of_margin(book, looks, last, maintenance)\n            book.close(last)\n",
            "test_an_account_that_ends_within_the_day_owes_no_borrow_of_it",
        ),
        (
            "borrow is owed on the open",
            "upkeep=mark * borrow_per_day(prices.borrow)",
            "upkeep=prices.open * borrow_per_day(prices.borrow)",
            "test_the_look_at_the_close_comes_after_borrow",
        ),
        (
            "statistics begin with the first tranche",
            "max(due.values()) + begin",
            "min(due.values()) + begin",
            "test_a_book_counts_from_the_day_on_which_all_tranches_have_entered",
        ),
    )
}
"""Every clause of order sizing, margin and liquidation."""

CARRY = {
    name: Fault(path, line, instead, f"lake/test_lake_borrow.py::{test}")
    for name, path, line, instead, test in (
        (
            "a rate is used before it is known",
            "market/borrow.py",
            "since=pl.max_horizontal(begins, known_by)",
            "since=begins",
            "test_a_rate_counts_from_when_it_was_known",
        ),
        (
            "a rate holds for ever",
            "market/borrow.py",
            " & (age <= HOLDS)",
            "",
            "test_the_last_known_stands_in_for_thirty_days",
        ),
        (
            "a rate that is told late undoes a later one",
            "market/borrow.py",
            'rows.select(pl.col("rank").cum_max().over("base"))["rank"]',
            'rows["rank"]',
            "test_what_is_known_late_does_not_undo_what_began_later",
        ),
        (
            "the book charges the same whatever is known",
            "backtest/walk_forward.py",
            "borrow=rates_in_force(market, costs.borrow)",
            "borrow=np.full(market.listing.shape, costs.borrow)",
            "test_rates_reach_who_decides_and_who_is_charged",
        ),
        (
            "the friction veto does not know the rate",
            "alpha/selection.py",
            "borrow=last_rates(market, columns)",
            "borrow=None",
            "test_the_friction_veto_counts_the_rate_that_is_known",
        ),
        (
            "the guard does not know the rate",
            "backtest/decision.py",
            "antifragility(selection), rates)",
            "antifragility(selection))",
            "test_the_guard_counts_the_rate_that_is_known",
        ),
        (
            "nobody tries another future of the rates",
            "pipeline/causality.py",
            '        "borrow": snapshot.borrow(),\n',
            "",
            "test_another_future_of_rates_leaves_what_was_known",
        ),
    )
}
"""What is known of rates of borrowing, and who must use it."""

DIFFERENCE = "test_account_difference.py::test_lines_add_up"
ACCOUNT = {
    name: Fault(
        f"account/{module}.py",
        line,
        instead,
        f"account/test_account_rules.py::{test}" if test else f"account/{DIFFERENCE}",
    )
    for name, module, line, instead, test in (
        (
            "a fill pays no fee",
            "day",
            "fees = exact(abs(quantity) * price * fee + owed)",
            "fees = exact(owed)",
            "test_a_fill_pays_a_worse_price_and_a_fee_on_it",
        ),
        (
            "slippage helps who sells",
            "day",
            "slippage if quantity > 0 else -slippage)",
            "slippage)",
            "test_a_fill_pays_a_worse_price_and_a_fee_on_it",
        ),
        (
            "an account fills without a bar",
            "day",
            "if self.state.liquidated or not coin.has_bar or coin.relisted:",
            "if self.state.liquidated or coin.relisted:",
            "test_an_order_without_a_bar_or_on_another_listing_is_cancelled_and_told",
        ),
        (
            "an account fills on another listing",
            "day",
            "if self.state.liquidated or not coin.has_bar or coin.relisted:",
            "if self.state.liquidated or not coin.has_bar:",
            "test_an_order_without_a_bar_or_on_another_listing_is_cancelled_and_told",
        ),
        (
            "an account fills after its liquidation",
            "day",
            "if self.state.liquidated or not coin.has_bar or coin.relisted:",
            "if not coin.has_bar or coin.relisted:",
            "test_a_short_is_liquidated_where_the_margin_is_the_maintenance",
        ),
        (
            "longs pay borrow",
            "day",
            "for symbol, coin, units in shorts if units < 0",
            "for symbol, coin, units in shorts if units",
            "test_borrow_is_a_day_of_the_rate_on_the_close_and_longs_pay_none",
        ),
        (
            "a delisting leaves one tranche",
            "day",
            "for tranche, units in enumerate(self.state.held[symbol]) if units}",
            "for tranche, units in enumerate(self.state.held[symbol][:1]) if units}",
            "test_a_coin_that_ended_leaves_every_tranche_at_its_last_close_less_the_haircut",
        ),
        (
            "an old listing leaves at the new one's price",
            "day",
            "self.leave(symbol, self.state.marks[symbol], self.haircut, ZERO, DELISTING, _why_ended(coin))",
            "self.leave(symbol, coin.open, self.haircut, ZERO, DELISTING, _why_ended(coin))",
            "test_a_coin_that_another_listing_follows_leaves_at_the_old_one_s_last_close",
        ),
        (
            "what ended stays",
            "day",
            "                    if coin.ended:\n",
            "                    if False:\n",
            "test_a_coin_that_ended_leaves_every_tranche_at_its_last_close_less_the_haircut",
        ),
        (
            "the maintenance itself is too little",
            "day",
            "if level is None or level >= self.maintenance:",
            "if level is None or level > self.maintenance:",
            "test_a_short_is_liquidated_where_the_margin_is_the_maintenance",
        ),
        (
            "a liquidation repays nothing",
            "day",
            "owed = self.repayment * _sides(self.state.cash, worth)[1]",
            "owed = ZERO",
            "test_a_short_is_liquidated_where_the_margin_is_the_maintenance",
        ),
        (
            "an account that has nothing lives on",
            "day",
            "+ sum(marked.values(), ZERO) <= 0",
            "+ sum(marked.values(), ZERO) < 0",
            "test_without_a_margin_an_account_ends_at_the_close_that_leaves_nothing",
        ),
        (
            "a deposit is a gain",
            "state",
            "nav=state.nav + amount)",
            "nav=state.nav)",
            "test_deposits_and_withdrawals_move_nav_and_not_the_wealth",
        ),
        (
            "whatever is asked for is paid out",
            "day",
            "elif amount < 0 and (left < 0 or",
            "elif False and (left < 0 or",
            "test_a_flow_that_cannot_be_is_told_and_moves_nothing",
        ),
        (
            "a withdrawal may break the margin",
            "day",
            " or assets < self.maintenance * liabilities):",
            "):",
            "test_a_flow_that_cannot_be_is_told_and_moves_nothing",
        ),
        (
            "money is put into what was liquidated",
            "day",
            "if over and amount > 0:",
            "if False:",
            "test_a_flow_that_cannot_be_is_told_and_moves_nothing",
        ),
        (
            "an imported fill need not add up",
            "day",
            "if exact(-quantity * price) - fee != cash:",
            "if False:",
            "test_imported_fills_stand_in_place_of_the_paper_ones_and_must_add_up",
        ),
        (
            "every tranche of an account has the whole NAV",
            "orders",
            "share = state.nav / state.tranches",
            "share = state.nav",
            "test_a_tranche_is_to_hold_its_share_of_nav",
        ),
        (
            "an account's order forgets what its tranche holds",
            "orders",
            "change = target - own",
            "change = target",
            "test_a_tranche_is_to_hold_its_share_of_nav",
        ),
        (
            "the band keeps what is not wanted",
            "orders",
            "elif target and abs(change) * close < band * share:",
            "elif abs(change) * close < band * share:",
            "test_the_band_leaves_small_changes_out_and_never_an_exit",
        ),
        (
            "the band is a share of NAV",
            "orders",
            "abs(change) * close < band * share:",
            "abs(change) * close < band * state.nav:",
            "test_the_band_leaves_small_changes_out_and_never_an_exit",
        ),
        (
            "what halts is ordered",
            "orders",
            "if rule.status != TRADING or rule.spot_allowed is False:",
            "if rule.spot_allowed is False:",
            "test_filters_round_towards_zero_and_say_what_they_took",
        ),
        (
            "the least value holds at the close only",
            "orders",
            "low, high = min(order.decided, worse), max(order.decided, worse)",
            "low, high = order.decided, max(order.decided, worse)",
            "test_the_least_value_holds_at_the_worse_of_close_and_fill",
        ),
        (
            "closing and opening are one order",
            "orders",
            "if net * change >= 0 or abs(change) <= abs(net):",
            "if True:",
            "test_an_order_that_crosses_zero_is_two_and_each_must_pass",
        ),
        (
            "orders are filled every day",
            "state",
            "wealth=grown(state, nav), orders=())",
            "wealth=grown(state, nav))",
            "test_orders_wait_in_the_state_until_the_next_mark",
        ),
        (
            "a mark is believed",
            "state",
            'if lacking or nav != Decimal(body["nav"]) or state.cash != Decimal(body["cash"]):',
            "if lacking:",
            "test_a_ledger_whose_sums_were_changed_is_refused",
        ),
        (
            "a day is marked twice",
            "state",
            "if state.day is not None and day <= state.day:",
            "if False:",
            "test_a_ledger_whose_sums_were_changed_is_refused",
        ),
        (
            "a line of an order is lost",
            "difference",
            '{line: -float(units) for line, units in body["lines"].items()}',
            "{}",
            "",
        ),
        ("a missed decision is nobody's", "difference", "self.late |= decided.keys() ^ theirs.keys()", "pass", ""),
        ("the lines forget what they moved apart", "difference", "made[line] -= share * change", "pass", ""),
        ("a liquidation of one is not told", "difference", "self.over = True", "pass", ""),
        ("deposits thin nothing", "difference", "self.apart[FLOW] += math.log(self.nav / mine.nav)", "pass", ""),
    )
}

SURVIVORS: dict[str, Fault] = (
    {
        "a contract that failed is only written down": Fault(
            "pipeline/context.py",
            '        failed = self.result.action == "failed"\n',
            "        return None\n",
            "pipeline/test_filters.py::test_a_filter_that_the_decision_did_not_apply_ends_the_run",
        ),
        "what L1 drops is not vetoed": Fault(
            "backtest/decision.py",
            "self.discovery, self.profile, self.ill)",
            "self.discovery, self.profile, {})",
            "pipeline/test_filters.py::test_a_coin_whose_row_l1_drops_is_vetoed_and_the_run_goes_on",
        ),
        "one trial for ever": Fault("pipeline/sleeve_steps.py", 'n = int(told["n"]) * (', "n = 1 * (", TRIED),
        "the superset's pinned hash is not checked": Fault(
            "pipeline/sleeve_steps.py",
            "if not path.is_file() or sha256_file(path) != asked.superset_sha256:",
            "if not path.is_file():",
            "pipeline/test_superset_derived.py::test_a_superset_that_is_not_the_one_that_was_pinned_is_refused",
        ),
        "the pinned head's table versions are not checked": Fault(
            "lake/snapshot.py",
            "    if record.tables != dict(request.tables):\n",
            "    if False:\n",
            "pipeline/test_superset_derived.py::test_a_pinned_head_that_names_other_versions_is_refused",
        ),
        "the gate of causality does not refuse": Fault(
            "pipeline/sleeve_steps.py",
            'yield Gate("causality", verdict.ok,',
            'yield Gate("causality", True,',
            "pipeline/test_survivors.py::test_a_causality_gate_that_refuses_ends_the_run_in_its_step",
        ),
        "sleeves are not validated again": Fault(
            "gates/eligibility.py",
            "    if validate is None:\n",
            "    if True:\n",
            "meta/test_meta_mutants.py::test_a_sleeve_that_says_valid_and_is_not_is_validated_again",
        ),
        "a replay is content with a thousandth": Fault(
            "pipeline/replay.py",
            '"WITHIN 1e-9" if size <= TOLERANCE else',
            '"WITHIN 1e-9" if size <= 1e-3 else',
            "proof/test_replay_workers.py::test_the_greatest_difference_is_told",
        ),
        "no line says that a run begins to look": Fault(
            "pipeline/runner.py",
            "    if step.number == looks:\n",
            "    if False:\n",
            "pipeline/test_survivors.py::test_a_look_that_is_interrupted_was_a_look",
        ),
        "runs of a flow do not count each other": Fault(
            "backtest/trials.py",
            "return run.manifest.flow or (run.folder.name,)",
            "return (run.folder.name,)",
            "pipeline/test_survivors.py::test_all_of_a_flow_are_entered_before_the_first_looks",
        ),
        "what was tried after a run began counts": Fault(
            "backtest/trials.py",
            "    lines = lines[: own[-1]]\n",
            "",
            "pipeline/test_survivors.py::test_all_of_a_flow_are_entered_before_the_first_looks",
        ),
        "the best of five is deflated as if chosen before": Fault(
            "pipeline/sleeve_steps.py", "(1 if name == headline else len(RISK_PROFILES))", "1", TRIED
        ),
        "the spread is of whatever days": Fault(
            "backtest/trials.py",
            'theirs.join(own.select("date", "risk_profile"), on=["date", "risk_profile"])',
            "theirs",
            "cli/test_trials.py::test_the_spread_is_of_the_days_that_a_record_shares_with_the_run",
        ),
        "a replay does not read the ledger": Fault(
            "pipeline/replay.py",
            "sizes[layout.LEDGER] = _distance(_said(run, steps), said) or None",
            "sizes[layout.LEDGER] = None",
            DEAR,
        ),
        "an audit does not hash the lake": Fault(
            "prove/audit.py",
            "refuse(snapshot.storage, snapshot.changes(whole=True))",
            "pass",
            "proof/test_audit.py::test_a_lake_whose_bytes_are_others_is_named_before_anything_is_done_again",
        ),
        "an audit proves no weight": Fault(
            "prove/audit.py", "proofs = Prover(self.run, below=False).every()", "proofs = iter(())", DEAR
        ),
        "an audit does not add up": Fault(
            "prove/audit.py", "            if not pair.ok:\n", "            if False:\n", DEAR
        ),
        "an audit does not count trials": Fault(
            "prove/audit.py", "            if said.get(name) != found.get(name):\n", "            if False:\n", FORGED
        ),
        "an audit does not ask where it is": Fault(
            "prove/audit.py", "if told != here and not self.elsewhere:", "if False:", FORGED
        ),
        "an audit believes every origin": Fault(
            "prove/audit.py", "if origin is None or not _is_origin(origin):", "if False:", FORGED
        ),
        "a portfolio's sleeves are not audited": Fault(
            "prove/audit.py",
            "yield from (self.run.beside(pin.run_id).folder for pin in self.run.accepted)",
            "yield from ()",
            "proof/test_audit.py::test_a_portfolio_and_its_sleeves_are_sound",
        ),
    }
    | BOOK
    | CARRY
    | ACCOUNT
)
"""Faults by what they do; the first eight once survived every test."""
