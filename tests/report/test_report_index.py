"""The index names every file of a run once, with what it is and how long it is."""

from __future__ import annotations

from markdown_reader import by_title, sections, tokens
from report_run import FILES, RUN_ID, STEPS, put, write_failed_run

from assay.report.index import render_index
from assay.runs.artifacts import STEP_NAMES, TABLE
from assay.runs.run import Run

GROWING = {"INDEX.md", "audit.jsonl", "run_status.json"}


def test_every_file_once_with_its_size_and_a_link_that_works(run):
    put(run, "reports/audit_report.md", b"# x\n")
    rows = {row["file"]: row for row in sections(render_index(Run(run)))[0].rows("file")}
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert set(rows) == files | {"INDEX.md"}
    for path, row in rows.items():
        assert row["bytes"] == ("—" if path in GROWING else f"{(run / path).stat().st_size:,}")
        assert row["what"] != "not an artifact that Assay knows"
    links = [
        child.attrs["href"] for token in tokens(render_index(Run(run))) for child in token.children or [] if child.attrs
    ]
    assert {link for link in links if link != "INDEX.md"} <= files
    assert links[0] == "reports/audit_report.md"


def test_steps_of_the_files(run):
    rows = {row["file"]: row["step"] for row in sections(render_index(Run(run)))[0].rows("file")}
    assert {path: rows[path] for number in FILES for path in FILES[number]} == {
        path: str(number) for number in FILES for path in FILES[number]
    }


def test_what_a_failed_run_did_not_write_is_listed(tmp_path):
    run = write_failed_run(tmp_path / RUN_ID, 11, {"code": "GATE", "what": "x"})
    absent = {row["file"]: row["step"] for row in by_title(render_index(Run(run)))["Not written"].rows("file")}
    assert absent == {path: str(number) for number in (11, 12, 13) for path in FILES[number]} | {
        "reports/validation/": "14"
    }


def test_a_complete_run_misses_nothing(run):
    assert "Not written" not in render_index(Run(run))


def test_strangers_are_called_strangers_and_writes_in_progress_left_out(run):
    put(run, "data/notes.txt", b"12345")
    put(run, "data/.risk_analysis.json.17.tmp", b"1")
    put(run, "logs/error.txt", b"1")
    rows = {row["file"]: row for row in sections(render_index(Run(run)))[0].rows("file")}
    assert rows["data/notes.txt"] == {
        "file": "data/notes.txt",
        "step": "—",
        "what": "not an artifact that Assay knows",
        "bytes": "5",
    }
    assert not [path for path in rows if ".tmp" in path]
    assert rows["logs/error.txt"]["what"] == "the traceback of an internal fault"


def test_links_do_not_follow_out_of_the_run(run, tmp_path):
    (tmp_path / "outside.txt").write_text("secret")
    (run / "data" / "link.txt").symlink_to(tmp_path / "outside.txt")
    assert "link.txt" not in render_index(Run(run))


def test_the_catalog_knows_the_public_steps():
    assert STEP_NAMES["run"] == STEPS
    assert len(set(TABLE)) == len(TABLE)


def test_the_catalog_agrees_with_the_table_of_steps():
    from assay.pipeline import tables as pipeline

    known = {artifact: artifact.step("run") for artifact in TABLE if artifact.step("run")}
    for step in pipeline.STEPS:
        for path in step.writes:
            inside = {number for name, number in known.items() if name.startswith(path)}
            assert inside == {step.number}, path
