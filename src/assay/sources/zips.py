"""Files of the kline archive: a checksum, a zip of one table, rows with stamps in milliseconds or microseconds."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
import zlib
from typing import Any

_MOST_PACKED = 16 << 20
_MOST = 64 << 20
"""Bytes of a table; a month of daily bars has 5 kB, a month of minutes 10 MB."""
_COLUMNS = 12
_LEAST_MICROS = 10**14
"""Stamps from here on are microseconds: as milliseconds they would lie after the year 5000."""


class BadFile(Exception):  # noqa: N818 - never leaves this room: it becomes a finding
    """A file that is not what the archive has; ``code`` names the finding."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def verify(data: bytes, checksum: bytes, name: str) -> None:
    """Compare a file with its ``.CHECKSUM``, ``<sha256>  <name>``; raise :class:`BadFile` where they differ.

    Examples
    --------
    >>> verify(b"x", hashlib.sha256(b"x").hexdigest().encode() + b"  x.zip", "x.zip")
    """
    found = re.fullmatch(rb"([0-9a-fA-F]{64})\s+\*?(\S+)\s*", checksum)
    if found is None or found.group(2).decode(errors="replace") != name:
        raise BadFile("CHECKSUM", f"the checksum file does not name {name}")
    if hashlib.sha256(data).hexdigest() != found.group(1).decode().lower():
        raise BadFile("CHECKSUM", "the content differs from its checksum")


def rows(data: bytes, name: str) -> list[list[Any]]:
    """Return the rows of a zipped table: ``[open time in ms, open, high, low, close, volume, quote volume]``.

    Parameters
    ----------
    data : bytes
        The zip.
    name : str
        Its name, ``BTCUSDT-1d-2024-05.zip``; the one member is ``BTCUSDT-1d-2024-05.csv``.

    Raises
    ------
    BadFile
        If it is no such zip, is too large, or holds anything else.
    """
    lines = list(csv.reader(io.StringIO(_content(data, name))))
    if lines and lines[0] and not lines[0][0].isdigit():
        lines = lines[1:]  # some files begin with the names of columns
    return [_row(line) for line in lines if line]


def _content(data: bytes, name: str) -> str:
    if len(data) > _MOST_PACKED:
        raise BadFile("ARCHIVE_FILE", f"{len(data)} bytes are too many")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
            if members != [name.removesuffix(".zip") + ".csv"]:
                raise BadFile("ARCHIVE_FILE", f"it holds {members[:3]}")
            with archive.open(members[0]) as stream:
                content = stream.read(_MOST + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadFile("ARCHIVE_FILE", f"it is no zip that can be read: {error}") from error
    if len(content) > _MOST:
        raise BadFile("ARCHIVE_FILE", f"it holds more than {_MOST} bytes")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadFile("ARCHIVE_FILE", "its table is not text") from error


def _row(line: list[str]) -> list[Any]:
    if len(line) != _COLUMNS or not (line[0].isdigit() and line[6].isdigit()):
        raise BadFile("ARCHIVE_FILE", f"a row is no kline: {','.join(line)[:100]}")
    stamp = int(line[0])
    if stamp >= _LEAST_MICROS:
        if stamp % 1000:
            raise BadFile("ARCHIVE_FILE", f"a bar opens between two milliseconds: {stamp}")
        stamp //= 1000
    if any(_number(value) is None for value in (*line[1:6], line[7])):
        raise BadFile("ARCHIVE_FILE", f"a value is no number: {','.join(line)[:100]}")
    return [stamp, *line[1:6], line[7]]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
