"""Assay from Python: run a profile, read what it made.

>>> import assay
>>> run = assay.run("binance_spot_rating_all_long", home=tmp)  # doctest: +SKIP
>>> run.sleeve("hrp").weights  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from assay.base.errors import RunFailed, UsageError
from assay.runs import artifacts as layout
from assay.runs.home import Home, Status
from assay.runs.run import Run, counted_days

if TYPE_CHECKING:
    import polars as pl

    from assay.report.figures.figure import Figure
    from assay.report.figures.of_run import RunFigures
    from assay.runs.documents import HeldBooks, Stage, Winner, Worth


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


@dataclass(frozen=True)
class FinishedRun:
    """A run directory, read-only; ``assay.Run``."""

    path: Path

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
    def statistics(self) -> dict[str, Any]:
        """Walk-forward metrics per risk profile."""
        return self._run[layout.WALK_STATISTICS]

    @property
    def worth(self) -> Worth:
        """What the decisions of the headline's book were worth: plain books, lots, capacity, where it came from."""
        return self._run[layout.WORTH]

    def returns(self, risk_profile: str | None = None) -> pl.DataFrame:
        """Return daily walk-forward rows of one risk profile, or of all."""
        frame = self._run[layout.WALK_RETURNS]
        return frame if risk_profile is None else frame.filter(frame["risk_profile"] == risk_profile)

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
        profile = self.manifest["profile"]
        wide = wide.select("date", *(profile.get("risk_profiles") or profile["risk"]["risk_profiles"]))
        return _to_pandas(wide) if as_pandas else wide

    def sleeve(self, risk_profile: str = "hrp") -> Sleeve:
        """Return the portfolio of one risk profile.

        Raises
        ------
        UsageError
            If the run has no such risk profile.
        """
        profiles = self._run[layout.FLATTENED].profiles
        if risk_profile not in profiles:
            raise UsageError(f"no risk profile {risk_profile!r}", hint=f"one of {', '.join(sorted(profiles))}")
        found = profiles[risk_profile]
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


def run(
    profile: str,
    *,
    source: str = "sample",
    as_of: str | None = None,
    home: str | Path = "assay-home",
    settings: Sequence[str] = (),
    run_id: str | None = None,
) -> FinishedRun:
    """Run one profile in this process and return the finished run.

    Parameters
    ----------
    profile : str
        Name in the canon or in ``assay.toml``.
    source : str
        ``sample`` or ``parquet:PATH``.
    as_of : str, optional
        UTC date or instant; default: the close of the source's last bar.
    home : str or Path
        Folder in which lake, runs and reports live.
    settings : sequence of str
        Dotted settings, such as ``caps.atom=0.2``.
    run_id : str, optional
        Name of the run.

    Raises
    ------
    RunFailed
        If the run did not end valid; the message says where its ledger is.
    """
    from assay.pipeline.flow import lay_foundation, requests
    from assay.pipeline.runner import execute
    from assay.settings import load

    folder = Home(Path(home).resolve())
    catalog = load(Path.cwd(), settings=settings)
    catalog.profile(profile)
    foundation = lay_foundation(folder, catalog, source, as_of)
    [request] = requests(folder, catalog, foundation, [profile], run_id)
    outcome = execute(request)
    if outcome.error is not None:
        raise RunFailed(
            outcome.error["what"], where=outcome.run_id, hint=outcome.error["hint"], code=str(outcome.error["code"])
        )
    return FinishedRun(request.run)
