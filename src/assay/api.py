"""Assay from Python: run a profile, read what it made.

>>> import assay
>>> run = assay.run("binance_spot_rating_all_long", home=tmp)  # doctest: +SKIP
>>> run.sleeve("hrp").weights  # doctest: +SKIP
>>> assay.why("latest", "SOLUSDT").answer  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from assay.base.domain import UTC
from assay.base.errors import IntegrityError, RunFailed, UsageError
from assay.runs import artifacts as layout
from assay.runs.home import Home, RunResult, Status, claim
from assay.runs.run import Run, counted_days

if TYPE_CHECKING:
    import polars as pl

    from assay.pipeline.flow import Foundation
    from assay.report.compare import Comparison
    from assay.report.figures.figure import Figure
    from assay.report.figures.of_run import RunFigures
    from assay.report.why import Why
    from assay.runs.documents import HeldBooks, Stage, Winner, Worth
    from assay.settings import Catalog, Profile

__all__ = ["FinishedRun", "Funnel", "RunPlots", "Sleeve", "compare", "flow", "meta", "run", "runs", "why"]

Settings = Mapping[str, Any] | Sequence[str]
DEFAULT_HOME = "assay-home"


@dataclass(frozen=True)
class Sleeve:
    """The portfolio of one profile under one risk profile.

    Attributes
    ----------
    weights : mapping of str to float
        Coin to signed share of the account; shorts are negative.
    cash : float
        Share that is not allocated.
    returns : (n_days, 2) DataFrame
        ``date`` and ``ret``: simple daily returns of the walk-forward.
    """

    profile: str
    risk_profile: str
    weights: Mapping[str, float]
    cash: float
    returns: pl.DataFrame

    def __repr__(self) -> str:
        gross = sum(map(abs, self.weights.values()))
        held = sum(map(bool, self.weights.values()))
        return f"Sleeve({self.profile}, {self.risk_profile}: {held} coins, gross {gross:.3f}, cash {self.cash:.3f})"

    def _repr_html_(self) -> str:
        from assay.report.html import sleeve_card

        return sleeve_card(self.profile, self.risk_profile, self.weights, self.cash)


@dataclass(frozen=True)
class Funnel:
    """How the candidates became winners.

    Attributes
    ----------
    stages : list of Stage
        Each with ``n_in``, ``expanded``, ``dropped`` and ``n_out``, and the reasons of both.
    """

    stages: list[Stage]
    path: Path

    def __repr__(self) -> str:
        told = ", ".join(f"{one.stage} {one.n_in} to {one.n_out}" for one in self.stages)
        return f"Funnel({told})"

    def _repr_html_(self) -> str:
        return RunPlots(self.path).funnel()._repr_html_()


class RunPlots:
    """Figures of a run, the same as in its report.

    Each is shown by a notebook, holds its numbers in ``columns`` and ``rows``, and is written by ``save`` to an
    ``.svg`` or ``.html`` file. A figure whose files the run does not have is an error that says why.

    Parameters
    ----------
    path : Path
        Run directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def _figures(self) -> RunFigures:
        from assay.report.figures.of_run import RunFigures
        from assay.report.view import open_run

        return RunFigures(open_run(self._path))

    def _there(self, drawn: Figure | str) -> Figure:
        if isinstance(drawn, str):
            raise UsageError(f"no figure: {drawn}", where=str(self._path), hint="see the run's state: assay status")
        return drawn

    def equity(self) -> Figure:
        """Growth of 1 in the walk-forward: risk profiles, Bitcoin, all coins in equal weights."""
        return self._there(self._figures.equity())

    def drawdown(self) -> Figure:
        """Fall from the highest value so far."""
        return self._there(self._figures.drawdown())

    def weights(self, of: Literal["coins", "atoms"] = "coins") -> Figure:
        """Weights of every risk profile.

        Parameters
        ----------
        of : {"coins", "atoms"}
            Net weights on coins, signed; or what the optimizers gave to atoms.
        """
        return self._there(self._figures.weights(of))

    def funnel(self) -> Figure:
        """From what was listed to the winners, with the reasons of each loss."""
        return self._there(self._figures.funnel())

    def correlation(self) -> Figure:
        """Correlation of the winners' synthetic streams over the days of the covariance, by cluster."""
        return self._there(self._figures.correlation())

    def votes(self, symbol: str | None = None) -> Figure:
        """All votes of the winners, or ratings and votes of one candidate.

        Parameters
        ----------
        symbol : str, optional
            TradingView notation; default: all winners.

        Raises
        ------
        UsageError
            If the symbol was no candidate of the run.
        """
        return self._there(self._figures.votes(symbol))

    def rolling_beta(self, window: int = 60) -> Figure:
        """Beta to Bitcoin over the last days.

        Parameters
        ----------
        window : int
            Days of each beta, at least 2.
        """
        return self._there(self._figures.rolling_beta(window))

    def monthly(self) -> Figure:
        """Return of every month."""
        return self._there(self._figures.monthly())

    def turnover(self) -> Figure:
        """Value traded and its cost, summed up."""
        return self._there(self._figures.turnover())

    def loss_makers(self) -> Figure:
        """Weight on loss makers at each decision, as run and with the guard off."""
        return self._there(self._figures.loss_makers())

    def run_times(self) -> Figure:
        """Time that each step took."""
        return self._there(self._figures.run_times())


class FinishedRun:
    """A run, read-only; ``assay.Run``.

    Parameters
    ----------
    run : str or Path
        Its id or a beginning of it, a path to it, ``latest``, or ``latest:PROFILE``.
    home : str or Path, optional
        Where ids are looked for; default: ``ASSAY_HOME``, else ``assay-home`` in the working folder.

    Attributes
    ----------
    path : Path
        Its directory.

    Raises
    ------
    UsageError
        If there is no such run, or more than one.
    """

    def __init__(self, run: str | Path, home: str | Path | None = None) -> None:
        known = isinstance(run, Path) and (run / layout.MANIFEST).is_file()
        self.path = Path(run).resolve() if known else _home(home).run(os.fspath(run))

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.path.name

    def __repr__(self) -> str:
        try:
            told = self.status.verdict
        except IntegrityError as error:
            told = error.code
        return f"Run({self.run_id!r}, {told})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FinishedRun) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def _repr_html_(self) -> str:
        from assay.report.html import run_card

        return run_card(self.path)

    @property
    def _run(self) -> Run:
        return Run(self.path)

    @property
    def plot(self) -> RunPlots:
        """Figures: ``run.plot.equity()`` and so on."""
        return RunPlots(self.path)

    @property
    def funnel(self) -> Funnel:
        """How the candidates became winners.

        Raises
        ------
        UsageError
            If the run is a portfolio: its sleeves have winners, see :attr:`sleeves`.
        """
        return Funnel(self._sleeves_own("funnel")[layout.SELECTION].stages, self.path)

    @property
    def sleeves(self) -> dict[str, FinishedRun]:
        """Runs of the sleeves that a portfolio accepted, by profile; of a sleeve, none."""
        run = self._run
        accepted = run.accepted if run.kind == "meta" else []
        return {one.sleeve: FinishedRun(run.beside(one.run_id).folder) for one in accepted}

    def _sleeves_own(self, what: str) -> Run:
        run = self._run
        if run.kind == "meta":
            raise UsageError(f"a portfolio has no {what} of its own", where=run.folder.name, hint="ask its .sleeves")
        return run

    @property
    def status(self) -> Status:
        """State, step and error."""
        return Status.shown(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        """Every value that the run used."""
        return self._run[layout.MANIFEST]

    @property
    def holdings(self) -> HeldBooks:
        """The book: what each tranche holds of each coin, after today's decision."""
        return self._run[layout.HOLDINGS]

    @property
    def winners(self) -> list[Winner]:
        """Atoms that selection kept."""
        return self._sleeves_own("winners")[layout.WINNERS].winners

    @property
    def statistics(self) -> pl.DataFrame:
        """Walk-forward metrics: a row for each risk profile, in the order of the settings."""
        import polars as pl

        told = self._run[layout.WALK_STATISTICS]["as_run"]
        rows = [{"risk_profile": name} | told[name] for name in self.risk_profiles if name in told]
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def risk_profiles(self) -> list[str]:
        """Risk profiles of the run, in the order of the settings."""
        profile = self.manifest["profile"]
        return list(profile.get("risk_profiles") or profile["risk"]["risk_profiles"])

    @property
    def benchmark(self) -> pl.DataFrame:
        """Simple daily returns of what the run is measured by; of a portfolio, on the days that it counts."""
        run = self._run
        if run.kind == "meta":
            own = run[layout.WALK_RETURNS].select("date").unique().sort("date")
            return own.join(FinishedRun(run.leaf.folder).benchmark, on="date", how="left")
        return run[layout.WALK_YARDSTICKS].select("date", ret="benchmark")

    @property
    def trades(self) -> pl.DataFrame:
        """Every trade of the walk-forward's books."""
        return self._run[layout.WALK_TRADES]

    @property
    def positions(self) -> pl.DataFrame:
        """What the books hold after today's decision: risk profile, symbol, share of NAV, units and price."""
        import polars as pl

        kinds = {"risk_profile": pl.String, "symbol": pl.String} | dict.fromkeys(
            ("net_weight", "units", "price"), float
        )
        rows = [
            (name, one.Symbol, one.Net_Weight, one.Held, one.Price)
            for name, book in self.holdings.profiles.items()
            for one in book.assets
        ]
        return pl.DataFrame(rows, schema=kinds, orient="row")

    @property
    def worth(self) -> Worth:
        """What the decisions of the headline's book were worth: plain books, lots, capacity, where it came from."""
        return self._run[layout.WORTH]

    def returns(self, risk_profile: str | None = None) -> pl.DataFrame:
        """Return daily walk-forward rows of one risk profile, or of all.

        Raises
        ------
        UsageError
            If the run has no such risk profile.
        """
        frame = self._run[layout.WALK_RETURNS]
        if risk_profile is None:
            return frame
        return frame.filter(frame["risk_profile"] == _known(risk_profile, self.risk_profiles))

    @overload
    def returns_wide(self, *, guarded: bool = ..., as_pandas: Literal[False] = ...) -> pl.DataFrame: ...

    @overload
    def returns_wide(self, *, guarded: bool = ..., as_pandas: Literal[True]) -> Any: ...

    def returns_wide(self, *, guarded: bool = True, as_pandas: bool = False) -> Any:
        """Return daily walk-forward returns, dates x risk profiles, for use in other libraries.

        Parameters
        ----------
        guarded : bool
            As run; False for the same decisions with the guard off.
        as_pandas : bool
            Return a pandas frame with a ``DatetimeIndex`` instead of a Polars frame with a ``date`` column.

        Returns
        -------
        polars.DataFrame or pandas.DataFrame
            Simple returns of the days that statistics count, those on which every tranche is filled; one column for
            each risk profile in the order of the settings.

        Raises
        ------
        UsageError
            If pandas is asked for and is not installed.
        """
        run = self._run if guarded else self._sleeves_own("guard")
        frame = run[layout.WALK_RETURNS if guarded else layout.WALK_UNGUARDED]
        frame = counted_days(frame).select("date", "risk_profile", "ret")
        wide = frame.pivot(on="risk_profile", index="date", values="ret").sort("date")
        wide = wide.select("date", *self.risk_profiles)
        return _to_pandas(wide) if as_pandas else wide

    def sleeve(self, risk_profile: str = "hrp") -> Sleeve:
        """Return the portfolio of one risk profile.

        Raises
        ------
        UsageError
            If the run has no such risk profile.
        """
        profiles = self._run[layout.FLATTENED].profiles
        found = profiles[_known(risk_profile, sorted(profiles))]
        return Sleeve(
            profile=self.status.profile,
            risk_profile=risk_profile,
            weights={asset.Symbol: asset.Net_Weight for asset in found.assets},
            cash=found.cash,
            returns=self.returns(risk_profile).select("date", "ret"),
        )


def _to_pandas(wide: pl.DataFrame) -> Any:
    # Column by column: Polars' own conversion needs pyarrow, which nothing else here does.
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise UsageError(
            "pandas is not installed", hint="install pandas, or use the Polars frame without as_pandas"
        ) from None
    import polars as pl

    columns = {name: wide[name].to_numpy() for name in wide.columns if name != "date"}
    return pandas.DataFrame(
        columns, index=pandas.DatetimeIndex(wide["date"].cast(pl.Datetime("ns")).to_numpy(), name="date")
    )


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise UsageError(f"no risk profile {name!r}", hint=f"one of {', '.join(names)}")
    return name


def run(
    profile: str | Profile,
    *,
    source: str | Path | Any = "sample",
    as_of: str | dt.date | None = None,
    home: str | Path | None = None,
    settings: Settings = (),
    run_id: str | None = None,
) -> FinishedRun:
    """Run one profile in this process and return the finished run.

    Parameters
    ----------
    profile : str or assay.Profile
        Name in the canon or in ``assay.toml``, or the settings themselves.
    source : str, Path or frame
        As ``--source`` says it; the path of a Parquet file, else of CSV or a folder; or bars as a Polars or pandas
        frame, with the columns of a file, which the home keeps.
    as_of : str, date or datetime, optional
        A date (its close counts) or an instant in UTC; default: the close of the source's last bar.
    home : str or Path, optional
        Folder in which lake, runs and reports live; default: ``ASSAY_HOME``, else ``assay-home``.
    settings : mapping or sequence of str
        Dotted settings: ``{"caps.atom": 0.2}``, or ``["caps.atom=0.2"]``.
    run_id : str, optional
        Name of the run.

    Raises
    ------
    RunFailed
        If the run did not end valid; the message says where its ledger is.
    """
    from assay.pipeline.flow import requests
    from assay.pipeline.runner import execute

    folder = _home(home)
    catalog, name = _catalog(settings, profile)
    catalog.profile(name)
    foundation = _foundation(folder, catalog, source, as_of)
    [request] = requests(folder, catalog, foundation, [name], run_id)
    return _finished(folder, execute(request))


def flow(
    name: str,
    *,
    source: str | Path | Any = "sample",
    as_of: str | dt.date | None = None,
    home: str | Path | None = None,
    settings: Settings = (),
    workers: int = 1,
) -> dict[str, FinishedRun]:
    """Run the profiles of a flow, write their joint report, and return the runs by profile.

    Parameters
    ----------
    name : str
        Flow, such as ``binance-spot-ratings``.
    source, as_of, home, settings
        As of :func:`run`.
    workers : int
        Processes; more than one need ``if __name__ == "__main__":`` in the script that calls this.

    Raises
    ------
    RunFailed
        If a run did not end valid; the others are kept.
    """
    from assay.pipeline.flow import joint_report, requests, run_all, workforce

    place = _home(home)
    catalog, _ = _catalog(settings)
    names = catalog.flow(name)
    for profile in names:
        catalog.profile(profile)
    foundation = _foundation(place, catalog, source, as_of)
    folder = claim(place.flows, name, None, dt.datetime.now(UTC))
    with workforce("serial" if workers == 1 else "pool", workers, place) as pool:
        outcomes = run_all(pool, requests(place, catalog, foundation, names))
        table = "\n".join(f"{one.profile}  {one.run_id}  {one.verdict}" for one in outcomes)
        joint_report(folder, place, foundation, outcomes, pool, table)
    return {one.profile: _finished(place, one) for one in outcomes}


def meta(
    name: str,
    runs: Sequence[str | FinishedRun] = (),
    *,
    source: str | None = None,
    as_of: str | dt.date | None = None,
    home: str | Path | None = None,
    settings: Settings = (),
    run_id: str | None = None,
) -> FinishedRun:
    """Put sleeves into one portfolio in this process, and return its run.

    Parameters
    ----------
    name : str
        Meta-portfolio, such as ``meta_binance_spot_ratings``.
    runs : sequence of str or assay.Run
        Runs to take; those of the other sleeves are found, or made.
    source, as_of, home, settings, run_id
        As of :func:`run`; source and date are by default those of the runs.

    Raises
    ------
    RunFailed
        If the portfolio did not end valid.
    """
    from assay.pipeline import meta_flow

    place = _home(home)
    catalog, _ = _catalog(settings)
    chosen = [one.run_id if isinstance(one, FinishedRun) else one for one in runs]
    execution = catalog.execution().model_copy(update={"use": "serial", "workers": 1})
    done = meta_flow.run(place, catalog, name, chosen, source, _instant(as_of), run_id, execution, True)
    return _finished(place, done)


def runs(profile: str | None = None, *, state: str | None = None, home: str | Path | None = None) -> list[FinishedRun]:
    """List the runs of a home folder, newest first.

    Parameters
    ----------
    profile, state : str, optional
        Only those of a profile or portfolio, or in a state such as ``VALID``.
    """
    from assay.report.live import newest

    place = _home(home)
    return [FinishedRun(place.runs / one.run_id) for one in newest(place, profile=profile, state=state)]


def compare(a: str | FinishedRun, b: str | FinishedRun, *, home: str | Path | None = None) -> Comparison:
    """Say what changed from one run to another.

    Parameters
    ----------
    a, b : str or assay.Run
        As :class:`assay.Run` takes them.
    """
    from assay.report.compare import compare as compare_views
    from assay.report.view import open_run

    return compare_views(*(open_run(_opened(one, home).path) for one in (a, b)))


def why(run: str | FinishedRun, symbol: str, *, home: str | Path | None = None) -> Why:
    """Say what became of a coin in a run, winner or loser; ``.answer`` says it in one line.

    Parameters
    ----------
    run : str or assay.Run
        As :class:`assay.Run` takes it.
    symbol : str
        ``BINANCE:SOLUSDT``, ``SOLUSDT`` or ``SOL/USDT``.
    """
    from assay.report.why import why as tell

    return tell(_opened(run, home).path, symbol)


def _opened(run: str | FinishedRun, home: str | Path | None) -> FinishedRun:
    return run if isinstance(run, FinishedRun) else FinishedRun(run, home)


def _home(path: str | Path | None) -> Home:
    """Return a home folder, where none is named that of the environment, as the command line does."""
    chosen = path or os.environ.get("ASSAY_HOME") or DEFAULT_HOME
    return Home(Path(chosen).expanduser().resolve(), os.environ.get("ASSAY_LAKE") or None)


def _catalog(settings: Settings, profile: str | Profile = "") -> tuple[Catalog, str]:
    """Read settings, and enter a profile that was made in Python; return its name too."""
    from assay.settings import load
    from assay.settings.resolve import Layer

    if isinstance(settings, Mapping):
        settings = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    catalog = load(Path.cwd(), os.environ, [settings] if isinstance(settings, str) else settings)
    if isinstance(profile, str):
        return catalog, profile
    given = Layer("assay.Profile", {"profiles": {profile.name: profile.model_dump(mode="json")}})
    return replace(catalog, files=(*catalog.files, given)), profile.name


def _foundation(home: Home, catalog: Catalog, source: Any, as_of: str | dt.date | None) -> Foundation:
    from assay.pipeline.flow import lay_foundation

    return lay_foundation(home, catalog, _source(home, catalog, source), _instant(as_of))


def _instant(as_of: str | dt.date | None) -> str | None:
    return as_of.isoformat() if isinstance(as_of, dt.date) else as_of


def _source(home: Home, catalog: Catalog, source: Any) -> str:
    """Return a source as the command line writes it; a frame is kept in the home folder, named by its content."""
    if isinstance(source, str):
        return source
    if isinstance(source, os.PathLike):
        path = Path(source)
        return f"{'parquet' if path.suffix == '.parquet' else 'csv'}:{path}"
    from assay.sources.files import Reading, keep_frame

    return keep_frame(source, home.path, Reading.of(catalog))


def _finished(home: Home, outcome: RunResult) -> FinishedRun:
    if outcome.error is not None:
        error = outcome.error
        raise RunFailed(error["what"], where=outcome.run_id, hint=error["hint"], code=str(error["code"]))
    return FinishedRun(home.runs / outcome.run_id)
