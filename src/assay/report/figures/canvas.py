"""Matplotlib as a writer of small, clean SVG.

Only the object interface is used, no window system, no global state: settings hold for one drawing and are the
package's own, whatever the user's are. Text never reaches matplotlib but is put into the finished tree: nothing in a
name is read as markup or mathematics, no glyph is looked up, and two thirds of the time to draw are saved.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assay.report.markdown import visible
from assay.report.palette import PLACEHOLDERS, Style, variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 34
"""Characters of a name; the table beside a figure has the whole of it."""
LINE = 90
"""Characters of any text in a picture."""

FONT = 11.0

Anchor = Literal["start", "middle", "end"]
Outline = Sequence[tuple[float, float]]
"""Corners, in pixels from the upper left corner."""
Ticks = Sequence[tuple[float, str]]
"""Values on an axis with their labels."""

_COLOUR = re.compile("#[0-9a-f]{6}")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_VARIABLES = {placeholder: variable(name) for name, placeholder in PLACEHOLDERS.items()}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"

_SETTINGS: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "assay",
    "figure.facecolor": "none",
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


def colour(name: str) -> str:
    """Return what matplotlib is told to draw with for a colour of the palette."""
    return PLACEHOLDERS[name]


class Canvas:
    """One drawing; places and sizes in pixels from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        load()
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self._texts: list[ET.Element] = []
        # 72 dots an inch: a point is a pixel.
        self.figure = Figure(figsize=(width / 72.0, height / 72.0), dpi=72)
        FigureCanvasSVG(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes without frame or ticks."""
        share = (left / self.width, 1.0 - (top + height) / self.height, width / self.width, height / self.height)
        axes: Axes = self.figure.add_axes(share)
        axes.set_axis_off()
        return axes

    def text(
        self,
        left: float,
        top: float,
        text: str,
        tone: str = "ink",
        *,
        anchor: Anchor = "start",
        size: float = FONT,
        bold: bool = False,
        upright: bool = False,
    ) -> None:
        """Write one line; the place is that of its middle in height, and of its ``anchor`` in width."""
        place = {"x": _short(left), "y": _short(top)}
        found = {"fill": variable(tone), "font-size": _short(size), "text-anchor": anchor, "dy": "0.33em"}
        if upright:
            found["transform"] = f"rotate(-90 {place['x']} {place['y']})"
        if bold:
            found["font-weight"] = "600"
        element = ET.Element("text", place | found)
        element.text = shortened(text, LINE)
        self._texts.append(element)

    def ticks(self, axes: Axes, x: Ticks = (), y: Ticks = ()) -> None:
        """Draw grid lines at values of the axes, and write their labels below and to the left."""
        box = axes.get_window_extent()
        low, high = self.height - float(box.y1), self.height - float(box.y0)
        lines = []
        for value, label in x:
            at = float(axes.transData.transform((value, axes.get_ylim()[0]))[0])
            lines.append([(at, low), (at, high)])
            self.text(at, high + 14, label, "muted", anchor="middle", size=10.5)
        for value, label in y:
            at = self.height - float(axes.transData.transform((axes.get_xlim()[0], value))[1])
            lines.append([(float(box.x0), at), (float(box.x1), at)])
            self.text(float(box.x0) - 8, at, label, "muted", anchor="end", size=10.5)
        self.strokes(lines, "grid")

    def fill(self, outlines: Sequence[Outline], tone: str) -> None:
        """Fill closed outlines, all of them as one path."""
        self._path(outlines, closed=True, facecolor=colour(tone), edgecolor="none", linewidth=0.0)

    def strokes(
        self, outlines: Sequence[Outline], tone: str, width: float = 0.8, dash: Any = "solid", *, closed: bool = False
    ) -> None:
        """Draw lines, all of them as one path."""
        self._path(outlines, closed=closed, facecolor="none", edgecolor=colour(tone), linewidth=width, linestyle=dash)

    def _path(self, outlines: Sequence[Outline], *, closed: bool, **settings: Any) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Shape
        from matplotlib.transforms import IdentityTransform

        if not outlines:
            return
        corners: list[tuple[float, float]] = []
        codes: list[Any] = []
        for outline in outlines:
            points = [*outline, outline[0]] if closed else outline
            corners += [(x, self.height - y) for x, y in points]
            codes += [Shape.MOVETO, *[Shape.LINETO] * (len(outline) - 1), *([Shape.CLOSEPOLY] if closed else [])]
        self.figure.add_artist(PathPatch(Shape(corners, codes), transform=IdentityTransform(), **settings))

    def svg(self, name: str, title: str, description: str) -> str:
        """Return the drawing as an SVG element for a page of HTML; ``name`` keeps its ids apart from others."""
        out = io.StringIO()
        self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        root = ET.fromstring(out.getvalue())  # noqa: S314 - as above
        return _cleaned(root, name, title, description, self._texts)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return one visible line of at most so many characters.

    >>> shortened("BINANCE:BTCUSDT"), shortened("x" * 50, 10)
    ('BINANCE:BTCUSDT', 'xxxxxxxxx…')
    """
    line = visible(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def labels(names: Sequence[str]) -> list[str]:
    """Return names as labels: one line each, not too long, without an exchange that all of them share.

    >>> labels(["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]), labels(["X:A", "Y:A"])
    (['BTCUSDT', 'ETHUSDT'], ['X:A', 'Y:A'])
    """
    exchanges = {name.partition(":")[0] if ":" in name else "" for name in names}
    shared = f"{exchanges.pop()}:" if len(exchanges) == 1 and "" not in exchanges else ""
    return [shortened(name.removeprefix(shared)) for name in names]


def label_room(found: Sequence[str], least: float = 60.0) -> float:
    """Return the width that labels of the usual size need."""
    return max(least, 24.0 + 6.3 * max((len(label) for label in found), default=0))


@contextmanager
def drawing(width: float, height: float) -> Iterator[Canvas]:
    """Yield a canvas; matplotlib's settings are ours inside, whatever a notebook has set."""
    load()
    import matplotlib

    settings: Any = _defaults() | dict(_SETTINGS)
    with matplotlib.rc_context(settings):
        yield Canvas(width, height)


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    """Matplotlib's own settings; the backend is left out: setting it would choose one."""
    import matplotlib

    return {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}


# --- the tree ---------------------------------------------------------------------------------------------------------


def _cleaned(root: ET.Element, name: str, title: str, description: str, texts: Sequence[ET.Element]) -> str:
    box = root.get("viewBox", "")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style") or (child.tag == f"{_SVG}defs" and not _kept(child)):
                parent.remove(child)
    used = {found for element in root.iter() for found in _references(element)}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _dress(element, name, used)
        element.text = element.tail = None
    children = list(root)
    root.clear()
    root.attrib.update({"viewBox": box, "class": "plot", "role": "img", "aria-labelledby": f"{name}-title {name}-text"})
    for tag, ending, text in (("title", "title", title), ("desc", "text", description)):
        ET.SubElement(root, tag, {"id": f"{name}-{ending}"}).text = visible(text)
    root.extend([*children, *texts])
    return ET.tostring(root, encoding="unicode")


def _kept(definitions: ET.Element) -> bool:
    return any(child.tag != f"{_SVG}style" for child in definitions)


def _references(element: ET.Element) -> Iterator[str]:
    if _HREF in element.attrib:
        yield element.attrib[_HREF].removeprefix("#")
    for value in element.attrib.values():
        yield from _REFERENCE.findall(value)


def _dress(element: ET.Element, name: str, used: set[str]) -> None:
    """Turn styles into attributes (a page that allows no inline style shows them), colours into variables."""
    found: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "id":
            if value in used:
                found["id"] = f"{name}-{value}"
        elif key == _HREF:
            found["href"] = f"#{name}-{value.removeprefix('#')}"
        elif key == "style":
            found |= _declared(value)
        else:
            found[key] = value
    element.attrib.clear()
    element.attrib.update({key: _value(key, value, name) for key, value in found.items()})


def _declared(style: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in style.split(";") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _value(key: str, value: str, name: str) -> str:
    if key in ("fill", "stroke"):
        return _COLOUR.sub(lambda match: _VARIABLES.get(match[0], match[0]), value)
    if key == "clip-path":
        return _REFERENCE.sub(lambda match: f"url(#{name}-{match[1]})", value)
    if key in ("id", "href", "viewBox"):
        return value
    return _NUMBER.sub(lambda match: _short(float(match[0])), value).replace("\n", "")


def _short(value: float) -> str:
    """Return a length to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


# --- matplotlib -------------------------------------------------------------------------------------------------------


def load() -> None:
    """Import matplotlib with a list of its own fonts only, kept in the user's cache or else in a scratch folder.

    Left alone, it looks through all fonts of the machine at its first use, and warns where it cannot keep the list.
    """
    if "matplotlib" in sys.modules:
        return
    with _variables(_font_cache() | {"MPL_IGNORE_SYSTEM_FONTS": "1"}):
        import_module("matplotlib.font_manager")


def _font_cache() -> dict[str, str]:
    if os.environ.get("MPLCONFIGDIR"):
        return {}
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
        for folder in (cache, settings):
            folder.mkdir(parents=True, exist_ok=True)
        if sys.platform.startswith(("linux", "freebsd")) and os.access(cache, os.W_OK) and os.access(settings, os.W_OK):
            return {"XDG_CACHE_HOME": str(cache)}  # the user's settings stay where they are
    except (OSError, RuntimeError):
        pass  # no home, or one that cannot be written
    return {"MPLCONFIGDIR": _scratch()}


def _scratch() -> str:
    """Make a folder that goes when the process does."""
    folder = tempfile.mkdtemp(prefix="assay-fonts-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def box(left: float, top: float, width: float, height: float) -> Outline:
    """Return the corners of a rectangle."""
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def dashes(style: Style) -> Any:
    """Return a style's dash as matplotlib takes it."""
    return (0, style.dash) if style.dash else "solid"
