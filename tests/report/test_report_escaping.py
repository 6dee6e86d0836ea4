"""Whatever a name or a cause holds, tables keep their shape and no markup comes to life.

The oracle is an independent CommonMark parser: what it reads back must be the text that went in.
"""

from __future__ import annotations

import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_reader import LITERAL, by_title, inline_types, plain, sections, tokens
from report_run import COINS, PROFILE, RUN_ID, LedgerWriter, documents, put, write_run

from assay.report.audit_report import render, render_joint
from assay.report.index import render_index
from assay.report.markdown import ABSENT, escape, fill, table
from assay.runs.run import Run

HOSTILE = [
    "a|b",
    "a\\|b",
    "a\\\\|b\\",
    "`code`",
    "``|``",
    "<script>alert(1)</script>",
    "<!-- -->",
    "&lt;b&gt; &amp; &#124;",
    "[x](javascript:alert)",
    "![x](http://example.org/x.png)",
    "**bold** __bold__ _it_ *it* ~~no~~",
    "line\nbreak\r\n\u2028\u2029\x85\x0b\x0c\x1c",
    "# heading",
    "- item\n1. item\n> quote",
    "\n\n| a |\n|---|\n| b |",
    "https://example.org www.example.org a@example.org",
    "\u202eright to left\u202c \u200bhidden",
    "\ud800 lone",
    "{brace} {0} %s",
    "$math$ :smile: @user #1",
    "---",
    " ",
    "",
]
TEXT = (
    st.text(max_size=40) | st.sampled_from(HOSTILE) | st.text(alphabet="\\|`*_[]<>!&#~-\n \u2028a1.:/w@{}", max_size=30)
)


PATIENT = settings(deadline=None)
"""The machine may be busy with other tests."""


def seen(text: str) -> str:
    """Return what a reader should see of a text: one line, nothing invisible."""
    hidden = {"Cc", "Cf", "Zl", "Zp"}
    shown = "".join(" " if unicodedata.category(c) in hidden else c for c in text)
    return " ".join("".join("\ufffd" if unicodedata.category(c) == "Cs" else c for c in shown).split()) or ABSENT


@PATIENT
@given(TEXT)
def test_a_cell_reads_back_as_its_text(text):
    found = table(["name", ">value"], [[text, "1"], ["after", text]])
    rows = [plain(token) for token in tokens(found) if token.type == "inline"]
    assert rows == ["name", "value", seen(text), "1", "after", seen(text)]
    assert inline_types(found) <= {"text"}


@PATIENT
@given(TEXT)
def test_a_header_reads_back_as_its_text(text):
    found = table(["first", f">{text}"], [["a", "b"]])
    assert [plain(token) for token in tokens(found) if token.type == "inline"] == ["first", seen(text), "a", "b"]


@PATIENT
@given(TEXT, TEXT)
def test_a_sentence_reads_back_as_its_text(one, other):
    line = fill("**{one}:** what {other}.", one=one, other=other)
    assert "\n" not in line
    (inline,) = [token for token in tokens(line) if token.type == "inline"]
    assert inline.content == line
    assert {child.type for child in inline.children} == {"text", "strong_open", "strong_close"}
    body = "".join(child.content for child in inline.children)
    assert body == f"{seen(one)}: what {seen(other)}."


@PATIENT
@given(TEXT)
def test_escaping_is_done_once(text):
    assert escape(escape(text)) == escape(text)
    assert escape(text).encode()


@PATIENT
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=6))
def test_every_row_has_the_cells_of_its_header(rows):
    lines = table(["a", "b", ">c"], rows).splitlines()
    assert len(lines) == len(rows) + 2
    bars = [sum(line[i] == "|" and (i == 0 or line[i - 1] != "\\") for i in range(len(line))) for line in lines]
    assert set(bars) == {4}


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells"):
        table(["a", "b"], [["only one"]])


def hostile_documents(names: list[str]) -> dict[str, Any]:
    """Return the documents of the run with other symbols and hostile causes everywhere."""
    text = json.dumps(documents())
    for i, name in enumerate(names):
        text = text.replace(json.dumps(COINS[i])[1:-1], json.dumps(name)[1:-1])
    for phrase in ("its quote ranks lower", "2 days without a bar", "no such pair", "white space", "as it should be"):
        text = text.replace(phrase, json.dumps(names[0])[1:-1])
    return json.loads(text)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        TEXT.filter(lambda text: text.isascii() or text.encode(errors="ignore").decode() == text),
        min_size=7,
        max_size=7,
    )
)
def test_any_names_leave_the_report_whole(names):
    with tempfile.TemporaryDirectory() as home:
        run = write_run(Path(home) / RUN_ID, hostile_documents([f"BINANCE:{name}{i}" for i, name in enumerate(names)]))
        text = render(run)
        joint = render_joint([run, run])
    assert text.encode()
    for markdown in (text, joint):
        assert inline_types(markdown) <= LITERAL - {"link_open", "link_close"}
        assert not {token.type for token in tokens(markdown)} & {"html_block", "code_block", "fence", "blockquote_open"}
    found = by_title(text)
    shown = [row["atom"] for row in found["Winners"].rows("atom")]
    assert shown == [f"{seen(f'BINANCE:{name}{i}_rating_all_SHORT')}" for i, name in enumerate(names)]
    assert [section.title for section in sections(text) if section.level == 2][-1] == "Ledger"
    for section in sections(text):
        assert all(len({len(row) for row in rows}) == 1 for rows in section.tables)


def test_hostile_names_everywhere_do_nothing(tmp_path):
    content = hostile_documents([f"BINANCE:{text}" for text in HOSTILE[4:11]])
    own = content["config/resolved_manifest.json"]
    own["profile"]["name"] = "<img src=x onerror=alert(1)>|`x`"
    own["profile"]["description"] = own["source"] = "\n# heading\n\n<script>|"
    own["provenance"]["<b>|"] = "|\n|"
    hostile = "|<script>`\n\n# x"
    for name in ("min_variance", "hrp"):
        content["data/portfolio_optimized_v2.json"]["profiles"][name]["solver"] |= {"name": hostile, "status": hostile}
    content["data/portfolio_flattened.json"]["profiles"][hostile] = {
        "assets": [],
        "cash": 1.0,
        "gross": 0.0,
        "net": 0.0,
    }
    content["data/walk_forward/statistics.json"]["as_run"][hostile] = {"days": 3.0, hostile: 1.0}
    preserved = content["data/capital_preservation.json"]["profiles"]
    preserved[hostile] = preserved["hrp"]
    preserved[hostile]["as_run"]["worst_period"]["as_of"] = hostile
    content["data/risk_analysis.json"]["events"].append(
        {"code": hostile, "what": hostile, "values": {hostile: hostile}}
    )
    run = write_run(tmp_path / RUN_ID, content)
    for text in (render(run), render_joint([run, run])):
        assert inline_types(text) <= LITERAL - {"link_open", "link_close"}
        assert "<" not in text
        assert not [section.title for section in sections(text) if section.title in {"x", "heading"}]


def test_a_hostile_ledger_does_nothing(run):
    hostile = "|<script>`\n\n# x"
    ledger = LedgerWriter.of(run)
    for kind, body in (
        ("event", {"step": 8, "code": hostile, "what": hostile, "values": {hostile: [hostile]}}),
        ("contract", {"step": 4, "layer": hostile, "schema": hostile, "violations": [hostile], "action": hostile}),
        ("contract", {"step": 4, "layer": [], "violations": 1, "details": {hostile: hostile}}),
        ("gate", {"step": 7, "gate": hostile, "ok": False, "checked": hostile, "violations": {hostile: 1}}),
        ("outcome", {"step": 15, "name": hostile, "state": "failed", "error": {"code": hostile, "what": hostile}}),
        ("event", {"step": [], "code": None}),
        ("gate", {}),
        ("contract", {}),
    ):
        ledger.add(kind, body)
    put(run, "audit.jsonl", ledger.data())
    text = render(run)
    assert inline_types(text) <= LITERAL - {"link_open", "link_close"}
    assert "<" not in text
    found = by_title(text)
    assert "Events:" in found["Ledger"].paragraphs
    assert "Verdict: FAILED." in found["Executive summary and status"].text


def test_the_index_escapes_names_and_quotes_links(run):
    put(run, "data/a|b [x](y) <z>.txt", b"1")
    links = [
        child for token in tokens(render_index(Run(run))) for child in token.children or [] if child.type == "link_open"
    ]
    assert "data/a%7Cb%20%5Bx%5D%28y%29%20%3Cz%3E.txt" in [link.attrs["href"] for link in links]
    assert "data/a|b [x](y) <z>.txt" in [row["file"] for row in sections(render_index(Run(run)))[0].rows("file")]


def test_a_scanner_that_is_not_ours_is_only_text(run):
    content = documents()["data/portfolio_candidates_raw.json"]
    content["scanners"][0] |= {"scanner": "|x|", "dropped": {"|why|": 1}}
    put(run, "data/portfolio_candidates_raw.json", content)
    row = by_title(render(run))["Funnel"].rows("scanner")[0]
    assert (row["scanner"], row["- |why|"], PROFILE in row.values()) == ("|x|", "1", False)
