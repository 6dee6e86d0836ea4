"""Where bars come from.

A file gives every bar that it has, judged row by row by :mod:`assay.market.bars`, and a fingerprint of its
content, by which a lake knows that there is nothing new. ``sample`` is embedded in the package; ``parquet:PATH`` is a
file with the columns ``symbol timestamp open high low close volume`` and perhaps ``quote_volume``, or others that
settings map to these; ``csv:PATH`` the same as text, or a folder of an exchange's files. A live source,
``binance``, ``archive`` or ``ccxt:NAME``, is told what the lake holds and gives what is new.
"""

from __future__ import annotations

import os
from pathlib import Path

from assay.base.errors import UsageError
from assay.settings import Catalog
from assay.settings.model import Universe
from assay.sources.base import Source
from assay.sources.files import USUAL, CsvSource, ParquetSource, Reading, SampleSource

KINDS = ("sample", "csv:PATH", "parquet:PATH", "binance", "archive", "ccxt:NAME")

FILES = {"parquet": ParquetSource, "csv": CsvSource}


def opened(text: str, catalog: Catalog, *, for_runs: bool = False) -> Source:
    """Read a source as users write it, under their settings; see :func:`open_source`.

    Parameters
    ----------
    text : str
        One of :data:`KINDS`.
    catalog : Catalog
        Whose scanners, columns and mirror count.
    for_runs : bool
        Refuse a file that has no coin that a scanner looks at, or no benchmark, before it is rated.
    """
    reading = Reading.of(catalog, for_runs=for_runs)
    return open_source(text, catalog.universe(), catalog.source().mirror, reading)


def open_source(text: str, universe: Universe | None = None, mirror: bool = False, reading: Reading = USUAL) -> Source:
    """Read a source as users write it; nothing is opened yet.

    Live sources take their addresses from the environment, see :mod:`assay.sources.settings`.

    Parameters
    ----------
    text : str
        One of :data:`KINDS`.
    universe : Universe, optional
        Which pairs a live source is asked for; those of the scanners' defaults where None.
    mirror : bool
        The setting ``source.mirror``: where Binance refuses this country its public mirror is asked.
    reading : Reading
        How a file is read.

    Raises
    ------
    UsageError
        If the kind is unknown, the path is missing, or a setting in the environment is wrong.

    Examples
    --------
    >>> open_source("sample").name
    'sample'
    >>> open_source("parquet:/data/../data/bars.parquet").name
    'parquet:/data/bars.parquet'
    """
    kind, colon, rest = text.partition(":")
    if text == "sample":
        return SampleSource()
    if kind in FILES and colon and rest and "\0" not in rest:
        return FILES[kind](Path(rest).expanduser().resolve(), reading=reading)
    if text not in ("binance", "archive") and not (kind == "ccxt" and rest.isidentifier()):
        raise UsageError(f"unknown source {text!r}", where="source", hint=f"write one of: {', '.join(KINDS)}")
    # What only a live source needs is not loaded for others.
    from assay.sources.archive import ArchiveSource
    from assay.sources.exchange import ExchangeSource
    from assay.sources.settings import Access

    name = rest or "binance"
    access = Access.read(name, os.environ).model_copy(update={"mirror": mirror})
    wanted = universe or Universe()
    return (
        ArchiveSource(access, universe=wanted) if text == "archive" else ExchangeSource(name, access, universe=wanted)
    )


def is_live(source: Source) -> bool:
    """Tell whether a source is somewhere else and goes on, other than a file or the sample."""
    return not isinstance(source, ParquetSource)


def lake_name(source: Source) -> str:
    """Name of the folder of a source's lake, ``<kind>-<sha8>``.

    >>> lake_name(ParquetSource(Path("/data/bars.parquet")))
    'parquet-b3e68774'
    """
    return f"{source.kind}-{source.identity[:8]}"
