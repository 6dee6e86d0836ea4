"""Markdown that keeps its shape whatever is put into it, and numbers as people read them.

Text from outside (symbols, causes, messages) passes through :func:`escape`; only text that this room writes itself may
be :class:`Safe`. Tables and templates escape everything that is not.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from assay.base.constants import TOLERANCE

ABSENT = "—"
"""What stands where there is no value."""

PAD_LIMIT = 48
"""Cells wider than this are not padded to, so that one long cause does not stretch a whole table."""

_HUGE = 1e12
BARS = "▁▂▃▄▅▆▇█"
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_MARKUP = re.compile(r"[\\`*\[\]|~#!$@{}]")
_EDGE_UNDERSCORE = re.compile(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_AUTOLINK = re.compile(r"://|(?<=www)\.", re.IGNORECASE)
_HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})

Number = float | int | None


class Safe(str):
    """Markdown that this room wrote, not to be escaped again."""

    __slots__ = ()


def escape(value: object) -> Safe:
    r"""Return a value as one line of literal Markdown text.

    Pipes, backticks, brackets, angle brackets and everything else that Markdown, HTML or an automatic link would read
    as markup is made literal; line breaks and invisible characters become spaces, lone surrogates the replacement sign.

    Examples
    --------
    >>> escape("a|b `c` <d>")
    'a\\|b \\`c\\` &lt;d&gt;'
    >>> escape(None)
    '—'
    """
    if isinstance(value, Safe):
        return value
    if value is None:
        return Safe(ABSENT)
    line = visible(str(value))
    line = _MARKUP.sub(r"\\\g<0>", line.translate(_ENTITIES))
    line = _EDGE_UNDERSCORE.sub(r"\\_", line)
    return Safe(_AUTOLINK.sub(r"\\\g<0>", line) or ABSENT)


def visible(text: str) -> str:
    r"""Return a text as one line without invisible characters; lone surrogates become the replacement sign.

    >>> visible("a\u200bb\u202ec\nd")
    'a b c d'
    """
    if not text.isprintable():
        text = "".join(_visible(character) for character in text)
    return " ".join(text.split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in _HIDDEN:
        return " "
    return "\ufffd" if category == "Cs" else character


def fill(template: str, **values: object) -> Safe:
    r"""Put values into a template, escaped.

    >>> fill("**{code}** {what}", code="X_1", what="a*b")
    '**X_1** a\\*b'
    """
    return Safe(template.format(**{key: escape(value) for key, value in values.items()}))


def join(parts: Iterable[object], separator: str = ", ") -> Safe:
    """Join values, escaped."""
    return Safe(separator.join(escape(part) for part in parts))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], limit: int | None = None, more: str = "") -> Safe:
    r"""Return a table.

    Parameters
    ----------
    columns : sequence of str
        Headers, escaped like cells; one that begins with ``>`` is aligned to the right.
    rows : iterable of sequences
        Cells, as many as there are columns; what is not :class:`Safe` is escaped.
    limit : int, optional
        Rows to show; the rest is counted in a line below.
    more : str
        Where the rest is.

    Examples
    --------
    >>> print(table(["coin", ">weight"], [["a|b", "1.0 %"]]))
    | coin | weight |
    |------|-------:|
    | a\|b |  1.0 % |
    """
    body = [[escape(cell) for cell in row] for row in rows]
    if any(len(row) != len(columns) for row in body):
        raise ValueError(f"every row must have the {len(columns)} cells of its header")
    shown = body if limit is None else body[:limit]
    right = [column.startswith(">") for column in columns]
    head = [escape(type(column)(column.removeprefix(">"))) for column in columns]
    widths = [
        max(3, len(name), *(len(row[i]) for row in shown if len(row[i]) <= PAD_LIMIT), 0) for i, name in enumerate(head)
    ]
    rule = "".join(
        f"|{'-' * (width + 1)}:" if is_right else f"|{'-' * (width + 2)}"
        for width, is_right in zip(widths, right, strict=True)
    )
    lines = [_row(head, widths, right), rule + "|", *(_row(row, widths, right) for row in shown)]
    if len(shown) < len(body):
        lines += ["", f"... and {integer(len(body) - len(shown))} more{more}."]
    return Safe("\n".join(lines))


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, width, is_right in zip(cells, widths, right, strict=True)
    )
    return f"| {' | '.join(padded)} |"


def bullets(lines: Iterable[Safe]) -> Safe:
    """Return a list; each line begins with words of this room, so that outside text cannot open a block."""
    return Safe("\n".join(f"- {line}" for line in lines))


def section(title: str, *blocks: str | None, level: int = 2) -> Safe:
    """Return a heading and its blocks, separated by empty lines; absent blocks are left out."""
    return Safe("\n\n".join([f"{'#' * level} {title}", *(block for block in blocks if block)]))


def finite(value: object) -> float | None:
    """Return a finite number as a float, anything else as None.

    >>> finite(2), finite(float("nan")), finite("2"), finite(True)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and abs(value) > 2**1023:
        return None
    return float(value) if math.isfinite(value) else None


def percent(value: Number, digits: int = 1) -> str:
    """Return a share as percent; a share too small for its digits keeps one significant digit, noise is zero.

    >>> percent(0.1234), percent(-0.00001), percent(12.5), percent(None), percent(-1e-15)
    ('12.3 %', '-0.001 %', '1,250.0 %', '—', '0.0 %')
    """
    number_ = finite(value)
    if number_ is None:
        return ABSENT
    return f"{_fixed(0.0 if abs(number_) < TOLERANCE else 100.0 * number_, digits)} %"


def ratio(value: Number, digits: int = 2) -> str:
    """Return a plain number with fixed digits.

    >>> ratio(1.005e4), ratio(-0.004), ratio(float("nan"))
    ('10,050.00', '-0.004', '—')
    """
    number_ = finite(value)
    return ABSENT if number_ is None else _fixed(number_, digits)


def _fixed(value: float, digits: int) -> str:
    if abs(value) >= _HUGE:
        return f"{value:.3g}"
    if 0.0 < abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.1g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def integer(value: Number) -> str:
    """Return a count with thousands separators.

    >>> integer(1234567), integer(None)
    ('1,234,567', '—')
    """
    number_ = finite(value)
    return ABSENT if number_ is None else f"{round(number_):,}"


def number(value: Number) -> str:
    """Return a number of unknown kind with four significant digits.

    >>> number(1234567.8), number(0.123456), number(3), number(None)
    ('1,234,568', '0.1235', '3', '—')
    """
    number_ = finite(value)
    if number_ is None:
        return ABSENT
    if abs(number_) >= _HUGE:
        return f"{number_:.3g}"
    return f"{number_:,.0f}" if number_ == int(number_) or abs(number_) >= 10_000 else f"{number_:,.4g}"


def plain(value: object) -> str:
    """Return any JSON value as text: numbers as :func:`number`, booleans as yes and no, lists joined.

    >>> plain(True), plain([1, "a"]), plain({"k": 0.5}), plain(None), plain(float("inf"))
    ('yes', '1, a', 'k 0.5', '—', '—')
    """
    if isinstance(value, bool):
        return yes(value)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or ABSENT
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or ABSENT
    return ABSENT if value is None or value == "" else str(value)


def yes(value: bool | None) -> str:
    """Return yes, no or absent."""
    return ABSENT if value is None else ("yes" if value else "no")


def seconds(value: Number) -> str:
    """Return a duration in seconds.

    >>> seconds(0.0421), seconds(83.2)
    ('0.042 s', '83.200 s')
    """
    number_ = finite(value)
    return ABSENT if number_ is None else f"{number_:,.3f} s"


def names(items: Sequence[str], limit: int = 6) -> str:
    """Return the first names and how many follow.

    >>> names(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {integer(rest)} more" if rest > 0 else "")


def count(n: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> count(1, "coin"), count(2, "coin"), count(0, "entry", "entries")
    ('1 coin', '2 coins', '0 entries')
    """
    return f"{integer(n)} {one if n == 1 else many or one + 's'}"


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Return a line of bars from lowest to highest; a longer series keeps evenly spaced points, its ends among them.

    >>> sparkline([1.0, 2.0, 3.0])
    '▁▅█'
    >>> sparkline([1.0, 1.0])
    '▁▁'
    """
    points = [value for value in values if math.isfinite(value)]
    if len(points) > width:
        points = [points[round(i * (len(points) - 1) / (width - 1))] for i in range(width)]
    if not points:
        return ABSENT
    low, span = min(points), max(points) - min(points)
    top = len(BARS) - 1
    return "".join(BARS[int((value - low) / span * top + 0.5) if span > 0 else 0] for value in points)
