"""A Ray cluster: its scheduler places tasks, its retries begin again what a dead worker or node leaves behind.

Nodes must see one file system: tasks name files below a folder, and every worker checks that it is the driver's. Ray
itself carries only tasks and results.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from assay.base.errors import AssayError, InternalError, UsageError
from assay.base.files import disk_errors
from assay.executors.base import INTERVAL, R, T, Watch, check_sizes, worker_died
from assay.executors.pool import GRACE, THREADS

OBJECT_STORE = 100 * 2**20
"""Bytes of the object store of a cluster that is started here: tasks and results are small."""

ATTEMPTS = 4
"""Times that a task is begun: its worker or its node may die, and memory may be short for a moment only."""

UNSEEN = "NODE_WITHOUT_FOLDER"
UNREACHABLE = "CLUSTER_UNREACHABLE"
PROBE_SECONDS = 60.0
PATIENCE = 10.0
"""Seconds in which a cluster must accept a connection."""


@dataclass(frozen=True)
class Mark:
    """A file in the shared folder by which a worker knows that the folder is the driver's."""

    path: Path
    content: str

    def seen(self) -> bool:
        """Tell whether this process sees it."""
        try:
            return self.path.read_text(encoding="ascii") == self.content
        except OSError:
            return False


@dataclass(frozen=True)
class Cluster:
    """A connection to a cluster, made by :func:`connected`; without a limit, tasks take what the cluster offers."""

    ray: ModuleType
    mark: Mark
    limit: int | None
    warm: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """Processors of all nodes that are alive, or the limit."""
        return self.limit or max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def map(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        lost: Callable[[T], R] | None = None,
        watch: Watch | None = None,
    ) -> list[R]:
        """Do the work for every task; see :meth:`assay.executors.base.Executor.map`."""
        check_sizes(work, tasks)
        # Ray tries again where a worker or a node died, and not where the work raised an error.
        remote = self.ray.remote(_work).options(
            num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=False, scheduling_strategy="SPREAD"
        )
        waiting = list(enumerate(tasks))[::-1]
        running: dict[Any, int] = {}
        ended: dict[int, Any] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (self.limit or len(tasks)):
                    i, task = waiting.pop()
                    running[remote.remote(self.mark, self.warm, work, task)] = i
                finished, _ = self.ray.wait(list(running), num_returns=len(running), timeout=INTERVAL)
                ended |= {running.pop(reference): reference for reference in finished}
                if watch is not None:
                    watch()
        except KeyboardInterrupt:
            self._interrupt(list(running))
            raise
        return [self._result(ended[i], task, lost) for i, task in enumerate(tasks)]

    def _result(self, reference: Any, task: T, lost: Callable[[T], R] | None) -> R:
        failures = self.ray.exceptions
        try:
            result: R = self.ray.get(reference)
        except failures.RayTaskError as error:
            raise _cause(error) from None
        except (
            failures.WorkerCrashedError,
            failures.NodeDiedError,
            failures.OutOfMemoryError,
            failures.ObjectLostError,
        ):
            if lost is None:
                raise worker_died(task) from None
            return lost(task)
        except failures.RayError as error:
            raise InternalError(
                f"Ray: {str(error).splitlines()[0]}", where=str(task)[:200], hint="look at the cluster: ray status"
            ) from error
        return result

    def _interrupt(self, running: list[Any]) -> None:
        """Interrupt what runs and give it time to say so; what waits is never begun."""
        for reference in running:
            self.ray.cancel(reference, force=False)
        until = time.monotonic() + GRACE
        while running and time.monotonic() < until:
            _, running = self.ray.wait(running, num_returns=len(running), timeout=INTERVAL)

    def check_nodes(self) -> None:
        """Ask every node whether it sees the folder.

        Raises
        ------
        UsageError
            If one does not; it is named.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in self.ray.nodes() if node["Alive"]}
        look = self.ray.remote(Mark.seen)
        asked = {
            look.options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(self.mark): node
            for node in nodes
        }
        answered, silent = self.ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
        blind = [asked[reference] for reference in silent]
        for reference in answered:
            try:
                if not self.ray.get(reference):
                    blind.append(asked[reference])
            except self.ray.exceptions.RayTaskError as error:
                raise UsageError(
                    f"a node cannot run tasks: {_cause(error)}",
                    where=nodes[asked[reference]],
                    hint="install the same version of assay, with the extra ray, on every node",
                    code="NODE_UNFIT",
                ) from None
        if blind:
            raise unseen(self.mark, ", ".join(sorted(f"{nodes[node]} ({node[:8]})" for node in blind)))


def unseen(mark: Mark, where: str) -> UsageError:
    """Return the error of a node that does not see the folder."""
    return UsageError(
        f"a node does not see the folder {mark.path.parent}",
        where=where,
        hint="mount it at the same path on every node: tasks pass paths, not tables",
        code=UNSEEN,
    )


@contextmanager
def connected(address: str | None, workers: int | None, folder: Path, warm: Sequence[str] = ()) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine, for as long as the block runs.

    Raises
    ------
    UsageError
        If Ray is not installed, the cluster is not there (``CLUSTER_UNREACHABLE``), or a node does not see the folder
        (``NODE_WITHOUT_FOLDER``).
    """
    ray = _import()
    mark = Mark(folder / f".cluster-{uuid.uuid4().hex}", uuid.uuid4().hex)
    _init(ray, address, workers)
    try:
        with disk_errors(mark.path):
            folder.mkdir(parents=True, exist_ok=True)
            mark.path.write_text(mark.content, encoding="ascii")
        cluster = Cluster(ray, mark, workers, tuple(warm))
        cluster.check_nodes()
        yield cluster
    finally:
        mark.path.unlink(missing_ok=True)
        ray.shutdown()


def _import() -> ModuleType:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Figures for a dashboard that is not started; without this the exporter of metrics logs that it finds nobody.
    os.environ.setdefault("RAY_enable_metrics_collection", "false")
    try:
        with warnings.catch_warnings():
            # Ray's own modules use what Python and its packages are about to remove; that is not our users' business.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            import ray
    except ImportError:
        raise UsageError(
            "Ray is not installed", where="executor", hint="pip install 'assay-portfolio[ray]', or use pool"
        ) from None
    module: ModuleType = ray
    return module


def _init(ray: ModuleType, address: str | None, workers: int | None) -> None:
    shared: dict[str, Any] = {
        "configure_logging": True,
        "logging_level": "ERROR",
        "log_to_driver": False,  # a run tells what it does in its own status and ledger
        "runtime_env": {"env_vars": dict.fromkeys(THREADS, "1")},
    }
    try:
        if address is not None:
            _knock(address)
            ray.init(address=address, **shared)
        else:
            ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **shared,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            where=f"ray:{address}" if address else "ray",
            hint="start one with: ray start --head; give its address as ray:HOST:PORT, from a machine that is a node",
            code=UNREACHABLE,
        ) from error


def _knock(address: str) -> None:
    """Raise OSError or ValueError unless somebody listens: Ray itself tries for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE):
        pass


def _cause(error: Any) -> BaseException:
    """Return what the work raised, as it was; Ray wraps it in an error of both types."""
    cause = error.cause
    if isinstance(cause, AssayError):
        return cause
    return cause if isinstance(cause, BaseException) else InternalError(str(error), hint="report this")


def _work(mark: Mark, warm: Sequence[str], work: Callable[[T], R], task: T) -> R:
    """Do one task in a worker, which may be on a node that joined after the others were asked."""
    _make_ready(mark, warm)
    return work(task)


_seen: set[Path] = set()


def _make_ready(mark: Mark, warm: Sequence[str]) -> None:
    if mark.path in _seen:
        return
    if not mark.seen():
        raise unseen(mark, os.uname().nodename)
    for module in warm:
        import_module(module)
    _seen.add(mark.path)
