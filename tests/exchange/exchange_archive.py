"""The exchange's archive: monthly and daily kline files with checksums, and the bucket's XML listing.

Objects are ``data/spot/{monthly,daily}/klines/<PAIR>/1d/<PAIR>-1d-<period>.zip`` and the same with ``.CHECKSUM``.
Faults that it knows: ``checksum`` (a byte of the zip is changed on the way), ``lost`` and ``lost_zip`` (404; the second
not for its checksum). What lies in the bucket is spoilt by ``world.spoilt[file name]``: ``bomb`` (64 MB of blanks),
``member`` (a name with a path), ``two`` (two members), ``not_zip``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from xml.sax.saxutils import escape

from exchange_server import Request, Response, Server
from exchange_world import DAY_MS, UTC, Row, World

ROOT = "data/spot/"
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
MAX_KEYS = 1000


def register(server: Server, world: World, max_keys: int = MAX_KEYS) -> None:
    server.route("GET", "/", lambda request: _listing(world, request, max_keys))
    server.route("GET", f"/{ROOT}*", lambda request: _object(world, request))


def _day(at: int) -> dt.date:
    return dt.datetime.fromtimestamp(at / 1000, UTC).date()


def periods(world: World, name: str, kind: str) -> dict[str, list[Row]]:
    """Rows of each file of a pair: whole months that have ended, or every day that has closed."""
    this_month = _day(world.now).isoformat()[:7]
    found: dict[str, list[Row]] = {}
    for at, row in sorted(world.rows[name].items()):
        day = _day(at).isoformat()
        period = day[: 7 if kind == "monthly" else 10]
        if at < world.today and (kind, day) not in world.unfiled and (kind == "daily" or period < this_month):
            found.setdefault(period, []).append(row)
    return found


def _keys(world: World, prefix: str) -> Iterator[tuple[str, int]]:
    """Keys, each with the number of rows."""
    for kind in ("daily", "monthly"):
        for name in sorted(world.rows):
            folder = f"{ROOT}{kind}/klines/{name}/1d/"
            if folder.startswith(prefix) or prefix.startswith(folder):
                for period, rows in periods(world, name, kind).items():
                    key = f"{folder}{name}-1d-{period}.zip"
                    yield from ((key, len(rows)), (f"{key}.CHECKSUM", len(rows)))


def _listing(world: World, request: Request, max_keys: int) -> Response:
    query = request.query
    prefix, delimiter, marker = query.get("prefix", ""), query.get("delimiter", ""), query.get("marker", "")
    entries: dict[str, bool] = {}
    tags = dict(_keys(world, prefix))
    for key in sorted(tags):
        if key.startswith(prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            entries.setdefault(prefix + head + cut if cut else key, bool(cut))
    after = [name for name in sorted(entries) if name > marker]
    shown, more = after[:max_keys], len(after) > max_keys
    parts = [
        f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        if entries[name]
        else f"<Contents><Key>{escape(name)}</Key><LastModified>2024-07-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{tags[name]}"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>'
        for name in shown
    ]
    following = f"<NextMarker>{escape(shown[-1])}</NextMarker>" if more and delimiter else ""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>{following}"
        f"<MaxKeys>{max_keys}</MaxKeys><Delimiter>{escape(delimiter)}</Delimiter>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{''.join(parts)}</ListBucketResult>"
    )
    return Response(text.encode(), content_type="application/xml")


def _object(world: World, request: Request) -> Response:
    kind_of_fault = request.fault.kind if request.fault else ""
    key = request.path.removeprefix("/")
    wanted = key.removesuffix(".CHECKSUM")
    _, _, kind, _, name, _, file = wanted.split("/")
    period = file.removeprefix(f"{name}-1d-").removesuffix(".zip")
    rows = periods(world, name, kind).get(period) if name in world.rows else None
    if rows is None or kind_of_fault == "lost" or (kind_of_fault == "lost_zip" and key == wanted):
        return Response(b"<Error><Code>NoSuchKey</Code></Error>", 404, content_type="application/xml")
    whole = _made(world.spoilt.get(file), file, _csv(world, rows))
    if key.endswith(".CHECKSUM"):
        return Response(f"{hashlib.sha256(whole).hexdigest()}  {file}\n".encode(), content_type="text/plain")
    return Response(_spoilt(kind_of_fault, whole), content_type="application/zip")


def _spoilt(kind: str, whole: bytes, file: str, content: str) -> bytes:
    if kind == "checksum":
        return whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    return whole


def _spoilt(kind: str, whole: bytes) -> bytes:
    """Spoil a zip on its way."""
    return whole[:40] + bytes([whole[40] ^ 1]) + whole[41:] if kind == "checksum" else whole


def _made(kind: str | None, file: str, content: str) -> bytes:
    """Return the zip as it lies in the bucket; its checksum is of these bytes."""
    if kind == "bomb":
        return _bomb(file)
    if kind == "member":
        return _zip(file, content, f"../../{file.replace('.zip', '.csv')}")
    if kind == "two":
        return _zip(file, content, more="more.csv")
    if kind == "not_zip":
        return content.encode()
    return _zip(file, content)


@lru_cache(maxsize=1)
def _bomb(file: str) -> bytes:
    return _zip(file, " " * ((64 << 20) + 1))


def _csv(world: World, rows: list[Row]) -> str:
    scale = 1000 if _day(rows[0][0]) >= world.micro_from else 1
    lines = [HEADER] if world.header else []
    for row in rows:
        opened, closed = row[0] * scale, (row[0] + DAY_MS) * scale - 1
        lines.append(",".join(str(value) for value in [opened, *row[1:6], closed, *row[7:]]))
    return "\n".join(lines) + "\n"


def _zip(file: str, content: str, member: str | None = None, more: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (member or file.replace(".zip", ".csv"), more):
            if name is not None:
                entry = zipfile.ZipInfo(name, (2024, 7, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    return buffer.getvalue()
