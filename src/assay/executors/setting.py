"""The one setting: ``serial``, ``pool``, or ``ray[:ADDRESS]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.base.errors import UsageError
from assay.executors.base import Executor, Serial

EXECUTORS = ("serial", "pool", "ray[:ADDRESS]")


@dataclass(frozen=True)
class Setting:
    """Which executor.

    Attributes
    ----------
    kind : str
        ``serial``, ``pool`` or ``ray``.
    address : str or None
        Of a running Ray cluster, as ``host:port``; None starts one on this machine.
    """

    kind: str
    address: str | None = None


def parse(text: str) -> Setting:
    """Read the setting as users write it.

    Raises
    ------
    UsageError
        If there is no such executor.

    Examples
    --------
    >>> parse("ray:10.0.0.1:6379")
    Setting(kind='ray', address='10.0.0.1:6379')
    >>> parse("pool")
    Setting(kind='pool', address=None)
    """
    kind, colon, address = text.partition(":")
    if kind not in ("serial", "pool", "ray") or (colon and (kind != "ray" or not address)):
        raise UsageError(f"unknown executor {text!r}", where="executor", hint=f"one of {', '.join(EXECUTORS)}")
    return Setting(kind, address or None)


@contextmanager
def opened(setting: Setting, workers: int | None, folder: Path, warm: Sequence[str] = ()) -> Iterator[Executor]:
    """Start an executor, or connect to it, for as long as the block runs.

    Parameters
    ----------
    setting : Setting
    workers : int or None
        Tasks at a time; None for one on each core of this machine, or for what the cluster offers.
    folder : Path
        Every worker must see it; created here.
    warm : sequence of str
        Modules that workers import before their first task.

    Raises
    ------
    UsageError
        If the executor needs what is not installed, or a node does not see the folder.
    """
    if setting.kind == "serial":
        yield Serial()
        return
    if setting.kind == "pool":
        import os

        from assay.executors.pool import ProcessPool

        pool = ProcessPool(workers or os.cpu_count() or 1, warm)
        try:
            yield pool
        finally:
            pool.close()
        return
    from assay.executors.cluster import connected

    with connected(setting.address, workers, folder, warm) as cluster:
        yield cluster
