"""The audit of a sealed run: everything that can be checked about it, at once, and the only verdict that says SOUND.

Bytes, settings, lake, artifacts against each other, trials, figures of the walk-forward against each other, every
weight, and every step done again. What costs little comes first, and the first thing that does not hold ends it.
Run and lake are only read: a read-only copy gets the same verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from assay.account.verify import verify_account
from assay.backtest.trials import CANON, denied, tally
from assay.base import files
from assay.base.domain import parse_as_of
from assay.base.environment import environment
from assay.base.errors import AssayError, Exit, GateError, IntegrityError
from assay.gates.validation import validate
from assay.lake.roots import refuse
from assay.pipeline.replay import replay
from assay.pipeline.sleeve_steps import performance, verdict_of
from assay.prove import Prover
from assay.prove.links import Link
from assay.prove.sealed import Sealed
from assay.prove.walk import WalkLinks
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.request import Job, weakened_by_sleeves
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings import load
from assay.settings.resolve import dotted

SOUND = "SOUND"
State = Literal["ok", "FAIL", "not reached"]
WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, pl.exceptions.PolarsError)
"""What reading figures raises that no writer of ours wrote."""
Progress = Callable[[str, str], None]
"""Told a run and the check that begins."""


@dataclass(frozen=True)
class Checked:
    """One check of an audit: how much was compared, in how many seconds of work."""

    name: str
    what: str
    state: State = "not reached"
    checked: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    run_id : str
    verdict : str
        ``SOUND``, or the code of the first thing that is not.
    checks : tuple of Checked
    error : dict or None
        The first thing that is not: ``code``, ``what``, ``where``, ``hint``, ``exit_code``.
    sleeves : tuple of Audit
        Of a portfolio: its sleeves', which must be sound too.
    """

    run_id: str
    verdict: str
    checks: tuple[Checked, ...]
    error: dict[str, Any] | None = None
    sleeves: tuple[Audit, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 only for a sound run."""
        return int(self.error["exit_code"]) if self.error is not None else Exit.OK

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as a JSON object."""
        return asdict(self) | {"sound": self.verdict == SOUND}


def audit_account(folder: Path) -> Audit:
    """Audit the ledger of an account: chain, days, and every sum to the last digit.

    Its decisions are not made again, so that the verdict is ``VERIFIED`` and not :data:`SOUND`.
    """
    began = time.perf_counter()
    found = verify_account(folder)
    problem = found.problems[0] if found.problems else None
    state: State = "ok" if problem is None else "FAIL"
    took, count = round(time.perf_counter() - began, 3), sum(found.checked.values())
    check = Checked("account", "chain, days and sums of the ledger", state, count, took)
    if problem is None:
        return Audit(folder.name, "VERIFIED", (check,))
    told = IntegrityError(problem.what, where=problem.where, hint="restore it from a copy", code=problem.code)
    return Audit(folder.name, problem.code, (check,), told.as_dict())


class Auditor:
    """Audits runs of one home, each once: sleeves of several portfolios, too.

    Parameters
    ----------
    home : Home
        With the registry and the lakes.
    elsewhere : bool
        The runs were made on another machine or with other packages: their manifests' environment is not held against
        this one, and numbers may differ by less than 1e-9.
    progress : callable, optional
        Told what begins.
    """

    def __init__(self, home: Home, elsewhere: bool = False, progress: Progress | None = None) -> None:
        self.home = home
        self.elsewhere = elsewhere
        self.progress = progress
        self._known: dict[Path, Audit] = {}

    def audit(self, folder: Path) -> Audit:
        """Audit a run."""
        if folder not in self._known:
            self._known[folder] = self._audit(folder)
        return self._known[folder]

    def _audit(self, folder: Path) -> Audit:
        names = [name for name in CHECKS if name != "sleeves" or Run(folder).kind == "meta"]
        checks, sleeves = [Checked(name, CHECKS[name]) for name in names], []
        looks = Looks(self.home, folder, self.elsewhere)
        for place, check in enumerate(checks):
            if self.progress is not None:
                self.progress(folder.name, check.name)
            began, error, count = time.perf_counter(), None, 0
            try:
                if check.name == "sleeves":
                    for below in looks.sleeves():
                        sleeves.append(found := self.audit(below))
                        count += 1
                        if found.error is not None:
                            raise _error_of(found)
                else:
                    count = getattr(looks, check.name)()
            except AssayError as known:
                error = known
            except WRONG as fault:
                what = f"{check.what}: cannot be computed from these files: {type(fault).__name__}: {fault}"
                error = _refusal("AUDIT_UNREADABLE", what, folder.name)
            took = round(time.perf_counter() - began, 3)
            state: State = "ok" if error is None else "FAIL"
            checks[place] = Checked(check.name, check.what, state, count, took)
            if error is not None:
                exit_code = Exit.INTEGRITY if isinstance(error, IntegrityError) else Exit.FAILED
                told = error.as_dict() | {"exit_code": int(exit_code), "where": error.where or folder.name}
                return Audit(folder.name, error.code, tuple(checks), told, tuple(sleeves))
        return Audit(folder.name, SOUND, tuple(checks), None, tuple(sleeves))


CHECKS = {
    "bytes": "ledger, seal, registry and every file",
    "settings": "manifest against seal, canon and environment",
    "lake": "the lake that was pinned, all of its bytes",
    "sleeves": "audits of a portfolio's sleeves",
    "artifacts": "every artifact against every other",
    "trials": "what had been tried, counted again from the registry",
    "walk_forward": "returns, NAV, trades and statistics against each other",
    "weights": "a proof of every weight",
    "steps": "every step done again, the report too",
}
"""Every check, what costs little first."""


@dataclass
class Looks:
    """The checks of one run, each of which returns how much it compared and raises what it found."""

    home: Home
    folder: Path
    elsewhere: bool
    _sealed: Sealed | None = None

    @property
    def run(self) -> Sealed:
        """The run, once its bytes hold."""
        if self._sealed is None:
            self._sealed = Sealed(self.home.path, self.folder, self.home.registry)
        return self._sealed

    def bytes(self) -> int:
        """Verify the run, and that this version can judge it."""
        verdict = verify(self.folder, registry=self.home.registry)
        if verdict.problems:
            first = verdict.problems[0]
            hint = f"see all of it with: assay verify {self.folder.name}"
            raise IntegrityError(first.what, where=f"{self.folder.name} {first.where}", hint=hint, code=first.code)
        Run(self.folder).check_format()
        return sum(verdict.checked.values())

    def settings(self) -> int:
        """Hold the manifest against the seal, the canon and this environment."""
        run, request = self.run, self.run.manifest
        genesis, seal = run.ledger[0].body, run.ledger[-1].body
        manifest = run[layout.MANIFEST]
        pairs = {
            "run id": (genesis["run_id"], manifest["run_id"]),
            "profile": ((genesis["profile"], seal["profile"]), (request.profile.name, request.profile.name)),
            "settings": (seal["manifest"], request.key),
            "verdict": (seal["verdict"], verdict_of(run)),
            "Sharpe ratios": (seal["performance"], performance(run)),
        }
        for name, (sealed, found) in pairs.items():
            if sealed != found:
                what = f"{name}: the seal says {sealed}, the files say {found}"
                raise _refusal("AUDIT_SEAL", what, f"{run.folder.name} {layout.LEDGER}")
        checked = len(pairs) + self._origins(request)
        here, told = environment(), manifest.get("environment")
        if told != here and not self.elsewhere:
            what = f"the manifest says that it was made elsewhere: {_first_difference(told, here)}"
            hint = "audit it there, or say --elsewhere: then numbers may differ by 1e-9, and what the manifest says of "
            raise _refusal("AUDIT_ENVIRONMENT", what, layout.MANIFEST, f"{hint}its environment is not checked")
        return checked + 1

    def _origins(self, request: Job) -> int:
        """Check that what is said to be the canon's is the canon's, and that the rest says where it is from."""
        kind = "meta" if self.run.kind == "meta" else "profiles"
        values, catalog = dotted(request.profile.model_dump(mode="json")), load()
        canon: Mapping[str, Any] = {}
        if request.profile.name in catalog.names(kind):
            name = request.profile.name
            profile = catalog.meta(name) if kind == "meta" else catalog.profile(name)
            canon = dotted(profile.model_dump(mode="json"))
        for key, value in values.items():
            origin = request.provenance.get(key)
            if origin is None or not _is_origin(origin):
                raise _refusal("AUDIT_ORIGIN", f"{key}: no place that settings come from: {origin}", layout.MANIFEST)
            if origin in CANON and not self.elsewhere and canon.get(key, value) != value:
                what = f"{key} = {value} is said to be the canon's, which says {canon[key]}"
                raise _refusal("AUDIT_ORIGIN", what, layout.MANIFEST, "it was made by another version, or changed")
        if strangers := sorted(request.provenance.keys() - values.keys()):
            raise _refusal("AUDIT_ORIGIN", f"{strangers[0]} is no setting", layout.MANIFEST)
        return len(values)

    def lake(self) -> int:
        """Hold the pinned lake against the manifest, and its bytes against the roots that were pinned."""
        run = self.run
        if run.kind == "meta":
            request_of, runs = run.of_portfolio, self.home.runs
            if request_of.weakened_sleeves != weakened_by_sleeves(runs, request_of.pins):
                raise _refusal("AUDIT_ORIGIN", "its sleeves name other weakened rules than it does", layout.MANIFEST)
            return 2 + len(request_of.pins)
        request, snapshot = run.request, run.snapshot
        superset = self.home.path / request.superset
        manifest = run[layout.MANIFEST]
        pairs = {
            "source": (_spoken(request.source), _spoken(snapshot.record.source)),
            "edition": (request.edition, snapshot.edition),
            "superset": (request.superset_sha256, files.sha256_file(superset) if superset.is_file() else "no file"),
            "provider": (request.provider, run[layout.RAW].provider),
            "tables": (dict(request.tables), snapshot.versions),
            "as of": (parse_as_of(manifest["as_of"]), parse_as_of(run[layout.RAW].as_of)),
        }
        for name, (told, found) in pairs.items():
            if told != found:
                what = f"{name}: the manifest says {told}, the lake {found}"
                raise IntegrityError(what, where=request.lake, hint="restore the lake's folder from a copy")
        refuse(snapshot.storage, snapshot.changes(whole=True))
        return len(pairs) + len(snapshot.record.roots)

    def sleeves(self) -> Iterator[Path]:
        """Yield the sleeves that a portfolio accepted."""
        yield from (self.run.beside(pin.run_id).folder for pin in self.run.accepted)

    def artifacts(self) -> int:
        """Validate the run again."""
        result = validate(Run(self.folder, self.home.runs))
        for check in result.checks:
            if not check.ok:
                hint = f"see all of it with: assay validate {self.folder.name}"
                raise GateError(check.what, where=self.folder.name, hint=hint, code=check.code)
        return sum(check.checked for check in result.checks)

    def trials(self) -> int:
        """Count again what had been tried."""
        run = self.run
        told = [entry.body for entry in run.current if entry.body.get("code") == layout.TRIED]
        if len(told) != 1:
            raise _refusal("AUDIT_TRIALS", f"the ledger counts trials {len(told)} times", layout.LEDGER)
        if others := denied(self.home.registry, run):
            what = f"{others[0]} and this run do not name the same runs as made together"
            raise _refusal("AUDIT_TRIALS", what, layout.MANIFEST)
        said, found = told[0]["values"], tally(self.home.registry, run)
        for name in {**said, **found}:
            if said.get(name) != found.get(name):
                what = f"{name}: the run says {said.get(name)}, the registry and its runs {found.get(name)}"
                raise _refusal("AUDIT_TRIALS", what, layout.LEDGER, "bring back runs that are gone, or run it again")
        return len(found)

    def walk_forward(self) -> int:
        """Add the walk-forward up again."""
        return _compared("AUDIT_FIGURES", WalkLinks(self.run).links())

    def weights(self) -> int:
        """Prove every weight; a sleeve's are proved in its own audit."""
        proofs = Prover(self.run, below=False).every()
        return _compared("AUDIT_PROOF", (link for proof in proofs for link in proof.links))

    def steps(self) -> int:
        """Do every step again."""
        result = replay(self.home, self.folder)
        fine = {"EQUAL", "WITHIN 1e-9"} if self.elsewhere else {"EQUAL"}
        for name, verdict in result.artifacts.items():
            if verdict not in fine:
                hint = f"see all of it with: assay replay {self.folder.name}"
                what = f"{name} is not what the step that wrote it gives, done again: {verdict}"
                raise IntegrityError(what, where=name, hint=hint, code="AUDIT_REPLAY")
        return len(result.artifacts)


def _spoken(source: str) -> tuple[str, str]:
    """Return kind and last name of a source; a user may write its folder in several ways."""
    kind, _, place = source.partition(":")
    return kind, Path(place).name


def _is_origin(text: str) -> bool:
    return text in CANON or text.startswith(("--set ", "ASSAY_SET__")) or text.endswith(".toml")


def _compared(code: str, links: Iterator[Link]) -> int:
    """Count the pairs of links; the first that does not hold is refused."""
    count = 0
    for link in links:
        for pair in link.pairs:
            if not pair.ok:
                what = f"{link.name}: {pair.name} is recorded as {pair.recorded} and comes out as {pair.recomputed}"
                raise _refusal(code, what, f"{link.artifact} {link.atom}".strip())
        count += len(link.pairs)
    return count


def _refusal(
    code: str, what: str, where: str, hint: str = "the run was changed and sealed anew; run it again"
) -> GateError:
    return GateError(what, where=where, hint=hint, code=code)


def _error_of(audit: Audit) -> AssayError:
    assert audit.error is not None
    kind = IntegrityError if audit.error["exit_code"] == Exit.INTEGRITY else GateError
    told = audit.error
    return kind(str(told["what"]), where=f"{audit.run_id} {told['where']}", hint=told["hint"], code=told["code"])


def _first_difference(told: Any, here: Mapping[str, Any]) -> str:
    said = dotted(told) if isinstance(told, Mapping) else {}
    own = dotted(here)
    names = [name for name in {**said, **own} if said.get(name) != own.get(name)]
    return f"{names[0]} {said.get(names[0])}, here {own.get(names[0])}" if names else "no environment is named"
