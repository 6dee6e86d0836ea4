"""From facts to HTML: one look for reports and page, everything escaped."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files as resources
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from assay.base.domain import UTC
from assay.base.files import sha256
from assay.page.runs import METRICS, STATES
from assay.report.markdown import integer, number, percent, plain, ratio, seconds, visible
from assay.report.sections import columns_of, sentence
from assay.report.templating import COMPACT, asset, charts, stylesheet

COLUMNS = (
    ("run_id", "Run"),
    ("profile", "Profile"),
    ("state", "State"),
    ("cagr", "Return a year"),
    ("sharpe", "Sharpe"),
    ("max_drawdown", "Drawdown"),
    ("evidence", "Evidence"),
    ("book", "Book"),
    ("step", "Step"),
    ("elapsed", "Elapsed"),
    ("as_of", "As of"),
    ("started", "Started"),
)
VOTES = {1: "buy", 0: "neutral", -1: "sell", None: "no vote yet"}
SCRIPT = "text/javascript"
TYPES = {"page.css": "text/css", "charts.js": SCRIPT, "page.js": SCRIPT, "icon.svg": "image/svg+xml"}


@lru_cache(maxsize=1)
def assets() -> dict[str, bytes]:
    """Return the files that pages name, by name; the style sheet begins with the reports' own."""
    own = {name: (resources("assay.page") / "static" / name).read_bytes() for name in TYPES if name != "charts.js"}
    return own | {"page.css": stylesheet().encode() + b"\n" + own["page.css"], "charts.js": charts().encode()}


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates; text is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("assay.page"), PrefixLoader({"report": FunctionLoader(asset)})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.policies["json.dumps_kwargs"] = COMPACT
    made.filters |= {
        "integer": integer,
        "number": number,
        "percent": percent,
        "plain": plain,
        "ratio": ratio,
        "sentence": sentence,
        "seconds": seconds,
        "elapsed": _elapsed,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "soft": _soft,
        "query": lambda text: quote(text, safe=""),
        "vote": VOTES.__getitem__,
    }
    stamp = sha256(b"".join(assets()[name] for name in sorted(assets())))[:12]
    made.globals |= {
        "assets": stamp,
        "ratio": ratio,
        "metrics": columns_of(*METRICS),
        "states": STATES,
        "columns": COLUMNS,
    }
    return made


def _shown(value: object) -> object:
    """Make invisible and direction-changing characters of outside text visible; a missing value is a dash."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "—" if value is None else value
    return value if value.isprintable() else "\n".join(map(visible_line, value.split("\n")))


def visible_line(line: str) -> str:
    """Return a line with its indentation and without invisible characters."""
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + visible(body)


def _soft(name: str) -> Markup:
    """Let a long name break after its underscores and dashes.

    >>> str(_soft("a_b<c"))
    'a_<wbr>b&lt;c'
    """
    return Markup("<wbr>").join(re.split(r"(?<=[_-])", visible(name)))


def _elapsed(run: Mapping[str, Any]) -> str:
    if run["state"] == "RUNNING":
        passed = (dt.datetime.now(UTC) - dt.datetime.fromisoformat(run["started"])).total_seconds()
        return f"{max(passed, 0.0):.1f} s"
    return f"{run['elapsed']:.1f} s"


def page(template: str, **facts: Any) -> str:
    """Return a page."""
    return environment().get_template(template).render(**facts)
