"""Findings of a live reading, by code: what each means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from assay.runs.documents import Finding
from assay.sources.exchange import TROUBLES

MEANINGS = {
    "CLOCK_SKEW": "seconds between the exchange's clock and this machine's; the earlier one tells which bars closed",
    "RESUMED": "symbols had been fetched, in whole or in part, by an ingestion that did not end; that was kept",
    "GAP_REPAIRED": "days that were missing from a first answer, or from the lake, came when asked for again",
    "GAPS": "days inside a listing that the exchange does not have; they stay missing",
    "LISTING_RESTARTED": "three or more days are missing before bars go on: what follows is another listing",
    "BARS_LATE": "symbols are trading and have no bar for the last closed day, though asked for twice",
    "HISTORY_CUT": "the exchange no longer gives the last bar that the lake has; the lake's bars stay",
    "SYMBOL_GONE": "symbols are listed and yet unknown when asked for bars; their bars in the lake stay",
    "SYMBOL_FAILED": "symbols could not be fetched; the next ingestion asks for them again",
    "NEW_SYMBOL": "symbols that the lake did not have",
    "CHECKSUM": "files of the archive, fetched twice, differ from their checksum; nothing of them was stored",
    "CHECKSUM_MISSING": "files of the archive have no checksum file; nothing of them was stored",
    "ARCHIVE_FILE": "files of the archive are no zip of one table of klines, or too large; nothing of them was stored",
    "FILE_FAILED": "files of the archive could not be fetched; the next ingestion asks for them again",
}
"""What each code of the loader means; those of retries begin with ``RETRY_``."""


def finding(code: str, names: Collection[str] = (), count: int | None = None) -> list[Finding]:
    """Return the finding of a code as a list; none where nothing was counted."""
    number = len(names) if count is None else count
    return [Finding(code=code, what=MEANINGS[code], count=number, names=sorted(names))] if number else []


def retries(counted: Counter[str] | Mapping[str, int]) -> list[Finding]:
    """Return what requests were repeated for."""
    return [
        Finding(code=f"RETRY_{kind}", what=what, count=counted[kind])
        for kind, what in TROUBLES.items()
        if counted.get(kind)
    ]
