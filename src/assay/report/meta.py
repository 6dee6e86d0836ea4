"""The report of a meta-portfolio, generated from its ledger and artifacts; the last step of its run writes it."""

from __future__ import annotations

from pathlib import Path

from assay.report.markdown import Safe, bullets, count, fill, integer, names, percent, ratio, section, table
from assay.report.view import MetaView
from assay.runs import artifacts as layout
from assay.runs.documents import AtomicValidation, LeftOut, load

COINS_SHOWN = 40
TITLES = {
    "min_variance": "minimum variance",
    "hrp": "hierarchical risk parity",
    "max_sharpe": "maximum Sharpe ratio",
    "equal_weight": "equal weight",
    "barbell": "barbell",
}


def render_meta(run_dir: Path) -> str:
    """Return the report of a meta-portfolio as Markdown.

    Raises
    ------
    IntegrityError
        If an artifact of its steps is missing or broken.
    """
    return compose_meta(MetaView(run_dir))


def compose_meta(view: MetaView) -> str:
    """Return the report of a meta-portfolio that has been read."""
    parts = [
        _title(view),
        _summary(view),
        _sleeves(view),
        _contracts(view),
        _by_sleeve(view),
        _conservation(view),
        _by_coin(view),
        _netting(view),
        _correlation(view),
        _performance(view),
        _left_out(view),
        _shorts(view),
        _events(view),
        _method(view),
    ]
    return "\n\n".join(parts) + "\n"


def _title(view: MetaView) -> Safe:
    name, run = view.manifest["profile"]["name"], view.manifest["run_id"]
    as_of, source = view.manifest["as_of"], view.manifest["source"]
    line = fill("Run {run}, as of {as_of}, source {source}.", run=run, as_of=as_of, source=source)
    return Safe(f"{fill('# Meta-portfolio {name}', name=name)}\n\n{line}")


def _summary(view: MetaView) -> Safe:
    checks = validation_of(view)
    ok = checks is not None and checks.ok
    n_checks = 0 if checks is None else len(checks.checks)
    told = fill(
        "**{word}**: {n} of {wanted} sleeves accepted, {checks} of meta validation.",
        word="VALID" if ok else "NOT VALID",
        n=len(view.sleeves.accepted),
        wanted=len(view.manifest["profile"]["sleeves"]),
        checks=count(n_checks, "check"),
    )
    rows = []
    for name in view.names:
        book, found = view.contributors.profiles[name], view.analysis.profiles[name]
        rows.append(
            [
                TITLES.get(name, name),
                integer(found.coins),
                percent(book.gross),
                percent(book.net),
                percent(book.cash),
                percent(found.largest_coin),
                ratio(found.effective_coins, 1),
                ratio(found.effective_bets),
            ]
        )
    head = ["risk profile", ">coins", ">gross", ">net", ">cash", ">largest coin", ">effective coins", ">effective bets"]
    return section("Summary", told, table(head, rows))


def validation_of(view: MetaView) -> AtomicValidation | None:
    """Return the run's own validation, if it came so far."""
    found = sorted((view.folder / layout.VALIDATION).glob("meta_validation_*.json"))
    return load(AtomicValidation, found[0]) if found else None


def _sleeves(view: MetaView) -> Safe:
    rows = [
        [one.sleeve, one.run_id, one.direction, one.as_of, ratio(one.age_days, 1), one.head[:16], integer(one.checked)]
        for one in view.sleeves.accepted
    ]
    head = ["sleeve", "run", "direction", "as of", ">age (days)", "ledger head", ">comparisons"]
    refused = [[one.sleeve, one.run_id or None, one.code, one.reason] for one in view.sleeves.refused]
    days = [
        [
            TITLES.get(name, name),
            profile.first,
            profile.last,
            integer(profile.days),
            names(profile.in_cash) if profile.in_cash else "none",
        ]
        for name, profile in view.alignment.profiles.items()
    ]
    lost = [[event.what] for event in view.alignment.shortfalls]
    return section(
        "Sleeves",
        table(head, rows),
        section("Refused runs", table(["sleeve", "run", "code", "reason"], refused), level=3)
        if refused
        else Safe("No run was refused."),
        section("Shared days", table(["risk profile", "first", "last", ">days", "sleeves in cash"], days), level=3),
        table(["shortfall"], lost) if lost else Safe("All days of every sleeve are shared."),
    )


def _contracts(view: MetaView) -> Safe:
    contracts = [
        [
            entry.body["layer"],
            entry.body["schema"],
            (entry.body.get("details") or {}).get("sleeve"),
            integer(entry.body["rows"]),
            integer(entry.body["checked"]),
            entry.body["action"],
        ]
        for entry in view.entries
        if entry.kind == "contract"
    ]
    gates = [
        [entry.body["gate"], "ok" if entry.body["ok"] else "FAIL", integer(entry.body["checked"])]
        for entry in view.entries
        if entry.kind == "gate"
    ]
    checks = validation_of(view)
    found = [] if checks is None else checks.checks
    rows = [[one.code, "ok" if one.ok else "FAIL", integer(one.checked), one.what] for one in found]
    return section(
        "Contracts and gates",
        table(["layer", "schema", "sleeve", ">rows", ">values", "status"], contracts),
        table(["gate", "verdict", ">comparisons"], gates),
        section("Meta validation", table(["check", "verdict", ">comparisons", "what"], rows), level=3),
    )


def _by_sleeve(view: MetaView) -> Safe:
    blocks = []
    for name in view.names:
        given, found = view.optimized.profiles[name], view.analysis.profiles[name]
        rows = [
            [
                one.Sleeve,
                one.Direction,
                percent(one.Weight),
                percent(found.sleeves[one.Sleeve].volatility),
                percent(found.sleeves[one.Sleeve].risk_share),
                percent(found.sleeves[one.Sleeve].return_share),
                percent(found.sleeves[one.Sleeve].realised),
            ]
            for one in given.sleeves
        ]
        head = ["sleeve", "direction", ">weight", ">volatility", ">share of risk", ">expected return", ">realised"]
        told = fill(
            "Bounds {low} to {high}; cash {cash}; solver {solver} {status}, {moved} moved to keep the bounds; "
            "regime {regime}.",
            low=percent(given.lower),
            high=percent(given.upper),
            cash=percent(given.cash),
            solver=given.solver.name,
            status=given.solver.status,
            moved=ratio(given.solver.projection_distance, 4),
            regime=given.regime,
        )
        blocks.append(section(TITLES.get(name, name).capitalize(), table(head, rows), told, level=3))
    note = Safe(
        "Share of risk: of the portfolio's variance over the days that the decision reads. Expected return: weight x "
        "mean return of those days, per year. Realised: sum of weight x return over the walk-forward."
    )
    return section("Allocation by sleeve", note, *blocks)


def _conservation(view: MetaView) -> Safe:
    rows = []
    for name in view.names:
        book = view.contributors.profiles[name]
        numbers = (
            book.before_netting,
            book.concentration_cash,
            book.gross,
            book.netted,
            book.abs_net,
            book.sleeve_cash,
            book.unallocated,
            book.cash,
        )
        rows.append([TITLES.get(name, name), *(percent(number, 2) for number in numbers)])
    head = ["risk profile", ">before netting", ">concentration", ">gross", ">netted", ">held net"]
    head += [">sleeves' cash", ">unallocated", ">cash"]
    note = Safe(
        "Before netting = sum of sleeve weight x sleeve gross. Gross = before netting - concentration. Held net + "
        "netted = gross. Cash = sleeves' cash + unallocated + concentration; gross + cash = 100 %."
    )
    return section("Where the capital is", table(head, rows), note)


def _by_coin(view: MetaView) -> Safe:
    nets = {name: {coin.Symbol: coin for coin in view.contributors.profiles[name].coins} for name in view.names}
    weight = {symbol: 0.0 for coins in nets.values() for symbol in coins}
    for coins in nets.values():
        for symbol, coin in coins.items():
            weight[symbol] = max(weight[symbol], coin.Gross)
    order = sorted(weight, key=lambda symbol: (-weight[symbol], symbol))
    rows = [
        [symbol, *(percent(nets[name][symbol].Net if symbol in nets[name] else 0.0, 2) for name in view.names)]
        for symbol in order
    ]
    head = ["coin", *(f">{TITLES.get(name, name)}" for name in view.names)]
    note = Safe("Net weights; negative ones are short.")
    more = f" in {layout.FLATTENED}"
    return section("Allocation by coin", note, table(head, rows, limit=COINS_SHOWN, more=more))


def _netting(view: MetaView) -> Safe:
    rows = [
        [
            TITLES.get(name, name),
            coin.Symbol,
            percent(coin.Before, 2),
            percent(coin.To_Cash, 2),
            percent(coin.Long, 2),
            percent(coin.Short, 2),
            percent(coin.Net, 2),
            percent(coin.Netted, 2),
            names(sorted({*coin.Long_Sleeves, *coin.Short_Sleeves}), 4),
        ]
        for name in view.names
        for coin in view.contributors.profiles[name].coins
        if (coin.Long > 0.0 and coin.Short > 0.0) or coin.To_Cash > 0.0
    ]
    head = ["risk profile", "coin", ">before", ">to cash", ">long", ">short", ">net", ">netted", "sleeves"]
    limit = fill(
        "Coins that are long in one sleeve and short in another, or exceed {limit} of the capital.",
        limit=percent(view.contributors.max_coin),
    )
    return section("Netting and concentration", limit, table(head, rows) if rows else Safe("There is none."))


def _correlation(view: MetaView) -> Safe:
    blocks = []
    for name in view.names:
        found = view.analysis.profiles[name].correlation
        rows = [[one, *(ratio(row[other]) for other in found)] for one, row in found.items()]
        head = ["sleeve", *(f">{other}" for other in found)]
        blocks.append(section(TITLES.get(name, name).capitalize(), table(head, rows), level=3))
    return section("Correlation of sleeves", Safe("Of daily walk-forward returns on the shared days."), *blocks)


def _performance(view: MetaView) -> Safe:
    rows = []
    for name in view.names:
        metrics = view.statistics[name]
        rows.append(
            [
                TITLES.get(name, name),
                integer(metrics["days"]),
                percent(metrics["cagr"]),
                percent(metrics["volatility"]),
                ratio(metrics["sharpe"]),
                f"{ratio(metrics.get('sharpe_low'))} to {ratio(metrics.get('sharpe_high'))}",
                ratio(metrics["psr"]),
                percent(metrics["max_drawdown"]),
                percent(metrics["cvar_95"]),
                percent(metrics["cost"]),
                percent(metrics["average_gross"]),
            ]
        )
    head = ["risk profile", ">days", ">CAGR", ">volatility", ">Sharpe", ">95 % interval", ">PSR", ">max drawdown"]
    head += [">CVaR 95", ">cost a year", ">gross"]
    profile = view.manifest["profile"]
    note = fill(
        "Walk-forward of the portfolio: weights from the {train} days before, held for {hold} days; the sleeves' "
        "returns are out of sample themselves.",
        train=profile["train"],
        hold=profile["hold"],
    )
    return section("Performance", note, table(head, rows))


def _left_out(view: MetaView) -> Safe:
    head = ["risk profile", "without", *_HEAD]
    rows = [_row(name, one) for name in view.names for one in view.analysis.profiles[name].leave_one_out]
    note = Safe(
        "The walk-forward without one sleeve, and in brackets what the sleeve adds: the whole portfolio's figure less "
        "this one. A drawdown that is added above 0 is a shallower one."
    )
    return section("What each sleeve adds", note, table(head, rows) if rows else Safe("There is one sleeve only."))


_HEAD = (">Sharpe", ">CAGR", ">volatility", ">max drawdown")


def _row(name: str, one: LeftOut) -> list[object]:
    without, added = one.figures, one.added
    cells = [f"{ratio(without['sharpe'])} ({ratio(added['sharpe'])})"]
    cells += [f"{percent(without[key])} ({percent(added[key])})" for key in ("cagr", "volatility", "max_drawdown")]
    return [TITLES.get(name, name), names(one.without, 4), *cells]


def _shorts(view: MetaView) -> Safe:
    rows = []
    for name in view.names:
        found = view.analysis.profiles[name]
        if found.without_shorts is not None:
            left = found.without_shorts
            whole = found.whole["max_drawdown"]
            rows.append(
                [
                    TITLES.get(name, name),
                    percent(whole),
                    percent(left.figures["max_drawdown"]),
                    percent(left.added["max_drawdown"]),
                    ratio(found.whole["sharpe"]),
                    ratio(left.figures["sharpe"]),
                ]
            )
    head = ["risk profile", ">drawdown with", ">drawdown without", ">difference", ">Sharpe with", ">Sharpe without"]
    none = Safe("No sleeve is short, or every one is.")
    return section("With and without the short sleeves", table(head, rows) if rows else none)


def _events(view: MetaView) -> Safe:
    found = [entry for entry in view.entries if entry.kind in ("event", "fallback")]
    rows = [[integer(entry.body["step"]), entry.body["code"], entry.body["what"]] for entry in found]
    return section("Events", table([">step", "code", "what"], rows, limit=80, more=" in the ledger"))


def _method(view: MetaView) -> Safe:
    limit = percent(view.contributors.max_coin)
    return section(
        "How to read this",
        bullets(
            [
                Safe("A sleeve is weighed by its walk-forward returns; the five risk profiles are the sleeves' own."),
                Safe("Bounds are constraints of each optimization. No mean positive: least variance, with an event."),
                fill("A coin holds at most {limit} of the capital, gross; what exceeds it is cash.", limit=limit),
                Safe(
                    "In the walk-forward the same limit scales a sleeve by the share of its holdings that is kept: "
                    "exact where the cut coin is all that the sleeve holds, else as if the rest had earned the same."
                ),
                Safe("Capital moves between sleeves at the close before a period, at the costs of the settings."),
            ]
        ),
    )
