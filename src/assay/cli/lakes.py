"""Commands about the lake and what is in it: ``ingest``, ``scan``, ``ratings``, ``doctor``, ``clean``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.base.domain import INTERVALS, UTC, check_symbol, format_instant, parse_as_of
from assay.base.errors import AssayError, DataError, Exit, UsageError
from assay.cli import output
from assay.cli.app import (
    DEFAULT_HOME,
    AcceptOption,
    AsOfOption,
    BecauseOption,
    HomeOption,
    JsonOption,
    SetOption,
    SourceOption,
    accepted,
    command,
    home_at,
    read_catalog,
)

if TYPE_CHECKING:
    import polars as pl

    from assay.pipeline.ingestion import Phase
    from assay.ratings import Explanation
    from assay.report.doctor import HomeCheckup
    from assay.runs.documents import Drop, Finding, Superset
    from assay.runs.home import Home
    from assay.screening.reconcile import Reconciliation
    from assay.settings import Catalog
    from assay.sources.acceptance import Acceptance

VOTE_WORDS = {1: "buy", 0: "neutral", -1: "sell", None: "none yet"}
ABBREVIATIONS = frozenset({"sma", "ema", "vwma", "ma", "rsi", "cci", "adx", "ao", "macd", "di", "k", "d"})
SHOWN = 6
"""Names that a line of ``doctor`` shows; ``--json`` has all."""


@command()
def ingest(
    source: SourceOption = "sample",
    scan: Annotated[bool, typer.Option("--scan", help="Ask the screener first, and keep what it says.")] = False,
    facts: Annotated[bool, typer.Option("--facts", help="Refresh the facts of instruments only, no bars.")] = False,
    borrow: Annotated[
        Path | None,
        typer.Option(help="Keep rates of borrowing from a CSV or Parquet file (base, from, rate), no bars."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Go on: day, hour, or 15m, 4h; works after each close, until a signal.")
    ] = None,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Scan, load a source's bars into the lake, audit and rate them, and consolidate the candidates."""
    place, catalog = home_at(home), read_catalog(settings)
    if facts and (scan or every):
        raise UsageError("--facts stands alone", hint="leave --scan and --every out: a whole ingestion has the facts")
    if borrow is not None:
        if facts or scan or every:
            raise UsageError("--borrow stands alone", hint="ingest bars first, then give the rates")
        return keep_borrow(place, catalog, source, borrow, as_json)
    taken = accepted(accept, because)
    if every is not None:
        from assay.cli import schedule

        if taken.wanted:
            raise UsageError("--accept is for one call, and --every makes many", hint="leave one of them out")

        return schedule.every(place, catalog, source, scan, every, as_json)
    if facts:
        return refresh_facts(place, catalog, source, as_json, taken)
    return ingest_once(place, catalog, source, scan, as_json, taken)


def ingest_once(
    home: Home, catalog: Catalog, source: str, scan: bool, as_json: bool, accept: Acceptance | None = None
) -> int:
    """Run phase 1 once and print what it did; return the exit code."""
    from assay.sources.acceptance import NOTHING_ACCEPTED

    taken = accept or NOTHING_ACCEPTED
    from assay.pipeline.ingestion import bring_up

    with output.telling(as_json) as tell:
        phase = bring_up(home, catalog, source, scan=scan, progress=tell, accept=taken)
    output.told_accepted(taken)
    if as_json:
        output.as_json(phase.as_dict())
    else:
        _print_phase(phase)
    if phase.scan_error is not None and not catalog.scan().fallback:
        output.note(f"error: {phase.scan_error.code}: {phase.scan_error}")
        return int(phase.scan_error.exit_code)
    return 0


def keep_borrow(home: Home, catalog: Catalog, source: str, path: Path, as_json: bool) -> int:
    """Add the rates of a file to a lake; print how many, of how many bases."""
    from assay.lake.lake import Lake
    from assay.lake.loader import keep_rates
    from assay.sources import opened
    from assay.sources.borrow import read_rates

    rates = read_rates(path)
    lake = Lake(home.path, opened(source, catalog), home.lake_at)
    head, changed = keep_rates(lake, rates)
    told = {"head": head, "changed": changed, "rates": rates.height, "bases": rates["base"].n_unique()}
    if as_json:
        output.as_json(told | {"lake": lake.storage.uri})
    else:
        state = "changed" if changed else "as before"
        output.line(f"borrow: {rates.height} rates of {told['bases']} bases, {state}, head {head}")
    return 0


def refresh_facts(home: Home, catalog: Catalog, source: str, as_json: bool, accept: Acceptance | None = None) -> int:
    """Refresh the facts of instruments, then consolidate; print unique atoms and invalid records."""
    from assay.lake.lake import Lake
    from assay.lake.loader import refresh
    from assay.pipeline.flow import lay_foundation
    from assay.pipeline.ingestion import counts, missing_symbols
    from assay.runs.documents import as_plain
    from assay.sources import opened
    from assay.sources.acceptance import NOTHING_ACCEPTED

    lake = Lake(home.path, opened(source, catalog), home.lake_at)
    taken = accept or NOTHING_ACCEPTED
    done = refresh(lake, taken)
    output.told_accepted(taken)
    foundation = lay_foundation(home, catalog, source)
    superset = foundation.superset
    missing = missing_symbols(foundation.snapshot, foundation.as_of, superset)
    if as_json:
        told: dict[str, Any] = {"head": foundation.snapshot.head, "changed": done.changed, "pairs": done.pairs}
        told |= {"findings": [as_plain(finding) for finding in done.findings], "lake": lake.storage.uri}
        told |= {"superset": counts(superset), "missing": [as_plain(drop) for drop in missing]}
        output.as_json(told)
        return 0
    output.line(f"instruments: {done.pairs} pairs, {'changed' if done.changed else 'as before'}, head {done.head}")
    _print_findings(done.findings)
    _print_superset(superset, missing)
    return 0


@command()
def scan(
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run every scanner as of a date and print the superset: counts, unique atoms, invalid records."""
    from assay.pipeline.flow import lay_foundation
    from assay.pipeline.ingestion import missing_symbols
    from assay.runs.documents import as_plain
    from assay.screening.reconcile import reconcile
    from assay.screening.recorded_scans import recorded

    catalog = read_catalog(settings)
    found = lay_foundation(home_at(home), catalog, source, as_of)
    superset = found.superset
    missing = missing_symbols(found.snapshot, found.as_of, superset)
    scanned = recorded(found.snapshot, found.as_of, catalog.scanners())
    compared = None if scanned is None else reconcile(scanned, found.snapshot)
    if as_json:
        more: dict[str, Any] = {"path": str(found.path), "missing": [as_plain(drop) for drop in missing]}
        more["reconciliation"] = None if compared is None else compared.as_dict()
        output.as_json(as_plain(superset) | more)
        return
    rows = [[c.scanner, c.universe, c.matched, c.kept] for c in superset.scanners]
    output.line(f"as of {format_instant(found.as_of)}, {found.source}, head {found.snapshot.head}")
    output.line(output.table(["scanner", "universe", "matched", "kept"], rows))
    output.line(f"merged quotes: {len(superset.merged_quotes)}")
    _print_superset(superset, missing)
    _print_reconciliation(compared)
    _print_findings(compared.rules() if compared is not None else ())
    output.line(f"superset: {found.path}")


def _print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        output.line(f"finding {finding.code}: {finding.what} ({finding.count}){output.names(finding.names)}")


def _print_phase(phase: Phase) -> None:
    output.line(f"lake: {phase.lake.storage.uri}")
    for key, value in phase.bars.as_dict().items():
        if key != "findings":
            output.line(f"{key}: {value}")
    _print_findings(phase.findings)
    if phase.scan is not None:
        for answer in phase.scan.answers:
            output.line(f"scan {answer.scanner}: {answer.total} records")
    if phase.scan_error is not None:
        did = "no answer" if phase.scan is None else "refused"
        output.line(f"scan: {did}, {phase.scan_error.code}: {phase.scan_error.what}")
    _print_reconciliation(phase.reconciliation)
    _print_superset(phase.superset, phase.missing)


def _print_superset(superset: Superset | None, missing: list[Drop]) -> None:
    """Print the counts of a superset, invalid records and missing symbols by name."""
    if superset is None:
        return
    output.line(f"superset as of {superset.as_of}, answered by {superset.provider}")
    if superset.fallback is not None:
        output.line(f"fallback: {superset.fallback}")
    output.line(f"unique atoms: {superset.unique_atoms}")
    output.line(f"invalid records: {len(superset.invalid_records)}")
    for record in superset.invalid_records:
        output.line(f"  {record.symbol!r} ({record.scanner}): {record.reason}")
    output.line(f"missing symbols: {len(missing)}")
    for drop in missing:
        output.line(f"  {drop.name}: {drop.reason}; {drop.detail}")


def _print_reconciliation(compared: Reconciliation | None) -> None:
    """Print how the screener's closed bars agree with ours, and both values where they do not."""
    if compared is None:
        return
    output.line(f"screener against lake: {compared.equal} of {compared.compared} values agree")
    finding = compared.finding()
    for told in finding.names if finding is not None else ():
        output.line(f"  {told}")
    if compared.alone:
        output.line(f"  without a bar in the lake: {', '.join(compared.alone)}")


@command()
def ratings(
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:BTCUSDT.")],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    interval: Annotated[
        str | None, typer.Option(help="Interval of the source's bars; default: what they have.")
    ] = None,
    edition: Annotated[
        str | None, typer.Option(help="Of the rules: 2026, or 2021; default: ratings.edition of the settings.")
    ] = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Print the three ratings of a symbol and the 26 votes behind them."""
    from assay.ratings import explain

    check_symbol(symbol)
    if interval is not None and interval not in INTERVALS:
        raise UsageError(f"unknown interval {interval!r}", hint=f"one of {', '.join(INTERVALS)}")
    catalog = read_catalog(settings)
    bars, found = _bars(home_at(home), catalog, source, symbol)
    if interval not in (None, found):
        raise UsageError(f"the source has {found} bars, not {interval}", where=source, hint="leave --interval out")
    if bars.is_empty():
        raise UsageError("no bars of this symbol", where=f"{symbol} in {source}", hint="write it as BINANCE:BTCUSDT")
    opened: dt.datetime = bars["open_time"].max()  # type: ignore[assignment]  # the column's type is known
    instant = parse_as_of(as_of) if as_of else opened + INTERVALS[found]
    explained = explain(bars, found, instant, edition or catalog.ratings().edition)
    if as_json:
        output.as_json(explained.as_dict())
    else:
        _print_ratings(explained)


def _print_ratings(explained: Explanation) -> None:
    """Print ratings with their words, and each vote with the values that it was read from."""
    from assay.ratings import label
    from assay.ratings.votes import MA_VOTES, OTHER_VOTES

    bar = f"{explained.interval} bar of {format_instant(explained.bar_open)}"
    output.line(f"{explained.symbol}, {bar}, as of {format_instant(explained.as_of)}, edition {explained.edition}")
    names = {"all": "all", "ma": "moving averages", "other": "oscillators"}
    rows = [[names[kind], _number(value, ".4f"), _words(label(value))] for kind, value in explained.ratings.items()]
    output.line(output.table(["rating", "value", "word"], rows))
    for title, group in (("moving average", MA_VOTES), ("oscillator", OTHER_VOTES)):
        cast = {name: explained.votes[name] for name in group}
        found = [vote.vote for vote in cast.values()]
        rows = [[_words(name), VOTE_WORDS[vote.vote], _values(vote.inputs)] for name, vote in cast.items()]
        output.line()
        output.line(output.table([title, "vote", "values"], rows))
        output.line(f"{found.count(1)} buy, {found.count(0)} neutral, {found.count(-1)} sell of {len(found)}")


def _values(inputs: Mapping[str, float | None]) -> str:
    return ", ".join(f"{_words(name)} {_number(value, '.8g')}" for name, value in inputs.items())


def _number(value: float | None, form: str) -> str:
    return "none yet" if value is None else format(value, form)


def _words(name: str) -> str:
    """Write a name as people do.

    >>> _words("stoch_rsi_k_prev"), _words("STRONG_BUY"), _words("ema_50")
    ('stoch RSI K before', 'strong buy', 'EMA 50')
    """
    shown = {"prev": "before", "prev2": "two before"}
    parts = name.lower().split("_")
    return " ".join(part.upper() if part in ABBREVIATIONS else shown.get(part, part) for part in parts)


def _bars(home: Home, catalog: Catalog, source: str, symbol: str) -> tuple[pl.DataFrame, str]:
    """Return a symbol's bars and their interval; a live source is not asked, its lake is."""
    from assay.lake.lake import Lake
    from assay.sources import is_live
    from assay.sources import opened as opened_source

    opened = opened_source(source, catalog)
    if not is_live(opened):
        read = opened.read()
        return read.bars.filter(read.bars["symbol"] == symbol), read.interval
    lake = Lake(home.path, opened, home.lake_at)
    if lake.latest_head() is None:
        hint = f"run: assay ingest --source {opened.name}"
        raise DataError(f"nothing was ingested from {opened.name} yet", where=str(lake.folder), hint=hint)
    snapshot = lake.latest()
    return snapshot.bars(symbols=[symbol]), snapshot.interval


@command()
def doctor(
    source: Annotated[str | None, typer.Option("--source", help="Lake of this source only; default: all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Say what is wrong with lakes, runs and registry, and what to run; nothing is changed."""
    from assay.pipeline.rehearsal import rehearse
    from assay.report.account_health import Issue
    from assay.report.doctor import examine_home

    found = examine_home(home_at(home), source, dt.datetime.now(UTC))
    try:
        catalog = read_catalog()
        found.issues.extend(issue for lake in found.lakes for issue in rehearse(catalog, lake))
    except AssayError as error:
        found.issues.append(Issue("ACTION", error.code, error.where, error.what, error.hint))
    if as_json:
        output.as_json(found.as_dict())
    else:
        _print_checkup(found)
    return found.exit_code


@command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else it is only listed.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """List, or remove with --yes, what is abandoned: empty lakes, runs that never began, files of dead processes."""
    from assay.pipeline.cleaning import abandoned, remove

    found = remove(home_at(home)) if yes else abandoned(home_at(home))
    if as_json:
        output.as_json({"removed": yes, "abandoned": [item.as_dict() for item in found]})
        return Exit.OK
    for item in found:
        output.line(f"{'removed ' if yes else ''}{item.kind} {item.path} ({item.size:,} bytes)")
    advice = "; nothing was changed, remove it by: assay clean --yes" if found and not yes else ""
    output.line(f"{len(found)} abandoned{advice}" if not yes else f"{len(found)} removed")
    return Exit.OK


def _print_checkup(found: HomeCheckup) -> None:
    for lake in found.lakes:
        output.line(f"lake {lake.folder.name} of {lake.source}")
        for name, value in lake.facts.items():
            told = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
            output.line(f"  {name}: {told or 'none'}")
        if lake.agreements:
            output.line(_agreement_table(lake.agreements))
    for issue in found.issues:
        names = output.names(issue.names, SHOWN)
        command = f"; run: {issue.command}" if issue.command else ""
        output.line(f"{issue.severity} {issue.code} [{issue.where}] {issue.what}{names}{command}")
    to_do = sum(issue.severity != "NOTE" for issue in found.issues)
    output.line(f"{found.verdict}: {to_do} to do, {len(found.issues)} findings")


def _agreement_table(entries: list[Reconciliation]) -> str:
    """Return the running table: a row for each scan and value, what was compared, what agreed, the largest gap."""
    rows = [
        [f"{entry.as_of:%Y-%m-%d}", one.what, one.compared, one.equal, f"{one.largest:.3g}"]
        for entry in entries[-1:]
        for one in entry.agreement
        if one.compared
    ]
    totals = [
        [f"{entry.as_of:%Y-%m-%d}", "all", entry.compared, entry.equal, _largest(entry)] for entry in entries[-31:-1]
    ]
    return output.table(["scan", "screener against lake", "compared", "equal", "largest gap"], [*totals, *rows])


def _largest(entry: Reconciliation) -> str:
    return f"{max((one.largest for one in entry.agreement), default=0.0):.3g}"
