"""Nothing is unpickled, no name leads out of the home folder, no secret is written, no licence binds users."""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit, SourceError
from assay.cli import app
from assay.runs.home import Home
from assay.selftest.cases import SETTINGS
from assay.selftest.sandbox import SHORT, Sandbox
from assay.sources import archive
from assay.sources import rules as exchange_info
from assay.sources.rules import read_exchange_info

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "assay").rglob("*.py"))


# ---- what the sources may not do -----------------------------------------------------------------------------------

IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "xmlrpc", "telnetlib", "yaml", "commands"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("os", "fork"),
    ("tempfile", "mktemp"),
    ("np", "load"),
    ("numpy", "load"),
    ("yaml", "load"),
    ("pl", "read_database"),
    ("multiprocessing", "Process"),
    ("multiprocessing", "Pool"),
}
EXECUTORS = {"ProcessPoolExecutor": "mp_context"}
CONTEXTS = [["'spawn'"], ["'forkserver'"]]
"""A fork server is a process that was spawned and forks before it has threads; what forks this one is refused."""


def offences(tree: ast.Module) -> list[str]:
    """Return what a module does that none may, with lines."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: import {one.name}" for one in node.names if one.name.split(".")[0] in IMPORTS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in IMPORTS and not node.level:
            found.append(f"{node.lineno}: from {node.module}")
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in _calls(node)]
    return found


def _calls(node: ast.Call) -> list[str]:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    name = ast.unparse(node.func)
    found = [name] if name in CALLS or tuple(name.rsplit(".", 1)) in ATTRIBUTES else []
    if name.endswith("get_context") and [ast.unparse(one) for one in node.args] not in CONTEXTS:
        found.append(f"{name} without spawn")
    last = name.rsplit(".", 1)[-1]
    if last in EXECUTORS and EXECUTORS[last] not in given:
        found.append(f"{last} without {EXECUTORS[last]}")
    risky = [key for key in ("shell", "allow_pickle") if key in given and ast.unparse(given[key]) != "False"]
    return found + risky


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_sources_unpickle_evaluate_and_fork_nothing(path):
    assert offences(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "import xml.etree, shelve",
        "eval('1')",
        "np.load(path)",
        "np.savez(path, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "multiprocessing.get_context('fork')",
        "multiprocessing.get_context()",
        "ProcessPoolExecutor(2)",
        "os.system('ls')",
    ],
)
def test_the_search_has_teeth(line):
    assert offences(ast.parse(line))


# ---- names and paths -------------------------------------------------------------------------------------------------

BAD_NAMES = (
    "../../x",
    "/tmp/assay-evil",
    "a/b",
    "..",
    ".",
    ".hidden",
    "-rf",
    "a\\b",
    "C:\\x",
    "a b",
    "a\n",
    "a\0b",
    "ｒun",
    "rаn",
    "run\u202e",
    "a" * 101,
    "",
    "%2e%2e",
    "a:b",
    "NUL\u0000",
)
"""Paths, hidden names, options, separators of other systems, look-alikes, control characters, too long, nothing."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    made = Sandbox.at(tmp_path_factory.mktemp("security") / "home", SETTINGS)
    made.sealed(SHORT)
    return made


def tree(folder: Path) -> set[str]:
    """Every name below a folder but locks, which reading takes too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.endswith("lock")}


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_run_is_never_named_by_a_path(sandbox, name):
    home = sandbox.home.path
    before = tree(home.parent)
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    done = call("run", SHORT, "--run-id", name, "--home", str(home), "--as-of", "2023-10-20", *settings)
    assert done.exit_code == Exit.USAGE, done.output
    assert tree(home.parent) == before


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "a\0b", "ｒun", "", "no-such-run"])
@pytest.mark.parametrize("command", ["verify", "validate", "replay", "why", "causality", "report", "status"])
def test_no_command_takes_a_run_that_is_a_path_out(sandbox, command, name):
    home = sandbox.home.path
    before = tree(home.parent)
    more = ["BINANCE:BTCUSDT"] if command == "why" else []
    done = call(command, name, *more, "--home", str(home))
    assert done.exit_code == Exit.USAGE, done.output
    assert "Traceback" not in done.output
    assert tree(home.parent) == before


@pytest.mark.parametrize("arguments", [("run", "../../x"), ("flow", "../x"), ("profiles", "show", "/etc/passwd")])
def test_profiles_and_flows_are_looked_up_and_never_opened(sandbox, arguments):
    before = tree(sandbox.home.path.parent)
    home = [] if arguments[0] == "profiles" else ["--home", str(sandbox.home.path)]
    done = call(*arguments, *home)
    assert done.exit_code == Exit.USAGE
    assert tree(sandbox.home.path.parent) == before


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "\u202eevil", "e" * 90])
def test_a_declared_profile_or_flow_does_not_lead_out_of_the_home_folder(sandbox, tmp_path, monkeypatch, name):
    text = f"""
[profiles.{json.dumps(name)}]
direction = "SHORT"
logics = ["rating_all"]
scanners = ["{SHORT}"]

[flows]
{json.dumps(name)} = ["{SHORT}"]
"""
    (tmp_path / "assay.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    home = sandbox.home.path
    before = tree(home.parent), tree(tmp_path)
    for command in ("run", "flow"):
        done = call(command, name, "--home", str(home), "--as-of", "2023-10-20")
        assert done.exit_code == Exit.USAGE, done.output
    assert (tree(home.parent), tree(tmp_path)) == before


@pytest.mark.parametrize(
    "symbol", ["../../etc/passwd", "BINANCE:../../x", "BINANCE:B\0TC", "BINANCE:\u202eX", "BINANCE:A B"]
)
def test_a_symbol_is_no_path(sandbox, symbol):
    before = tree(sandbox.home.path.parent)
    home = ["--home", str(sandbox.home.path)]
    run = sandbox.sealed(SHORT).name
    for arguments in (("ratings", symbol), ("why", run, symbol), ("prove", run, "hrp", symbol)):
        done = call(*arguments, *home)
        assert done.exit_code == Exit.USAGE, done.output
        assert "Traceback" not in done.output
    assert tree(sandbox.home.path.parent) == before


def test_a_link_in_the_place_of_a_run_is_not_followed(sandbox, tmp_path):
    outside = tmp_path / "outside"
    for name, target in (("linked", outside), ("dangling", tmp_path / "nowhere")):
        link = sandbox.home.runs / name
        link.symlink_to(target)
        try:
            done = call("run", SHORT, "--run-id", name, "--home", str(sandbox.home.path), "--as-of", "2023-10-20")
        finally:
            link.unlink()
        assert done.exit_code == Exit.USAGE, done.output
        assert not target.exists()
    assert list(tmp_path.iterdir()) == []


def test_names_of_runs_are_those_of_the_design():
    for name in ("a", "A9._-", "x" * 100, "CON", "1"):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
        with pytest.raises(Exception, match="no run"):
            Home(Path("/nowhere")).run(name)


# ---- archives --------------------------------------------------------------------------------------------------------


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange_info, "MOST_BYTES", 1 << 20)
    path = tmp_path / "exchangeInfo.json.gz"
    path.write_bytes(gzip.compress(b" " * (3 << 20), 1))
    assert path.stat().st_size < 1 << 15
    with pytest.raises(SourceError, match="more than 1,048,576 bytes"):
        read_exchange_info(path)


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8b", b"\x1f\x8b" + b"\0" * 40, gzip.compress(b"{}" * 99, mtime=0)[:-9], b"[" * 100_000],
    ids=["two bytes", "no header", "cut", "deep"],
)
def test_a_damaged_answer_is_an_error_of_the_source(tmp_path, data):
    path = tmp_path / "exchangeInfo.json"
    path.write_bytes(data)
    with pytest.raises(SourceError):
        read_exchange_info(path)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


NAME = "BTCUSDT-1d-2024-05.zip"
ROW = b"1714521600000,1,2,1,2,3,1714607999999,4,5,6,7,8\n"


@pytest.mark.parametrize(
    "members",
    [
        {"../BTCUSDT-1d-2024-05.csv": ROW},
        {"/etc/passwd": ROW},
        {"BTCUSDT-1d-2024-05.csv": ROW, "more.csv": ROW},
        {"other.csv": ROW},
        {},
        {"BTCUSDT-1d-2024-05.csv": b"\0" * (65 << 20)},
    ],
    ids=["climbs", "absolute", "two", "another", "empty", "bomb"],
)
def test_an_archive_of_other_names_or_sizes_is_refused(members):
    assert archive.rows(zipped({"BTCUSDT-1d-2024-05.csv": ROW}), NAME)[0][0] == 1714521600000
    with pytest.raises(archive.BadFile):
        archive.rows(zipped(members), NAME)


# ---- secrets ---------------------------------------------------------------------------------------------------------

SECRET = "pLaNtEd-5ecret-7f3a"
PLANTED = {
    "BINANCE_API_KEY": f"key-{SECRET}",
    "BINANCE_API_SECRET": f"secret-{SECRET}",
    "TRADINGVIEW_SESSIONID": f"session-{SECRET}",
    "AWS_SECRET_ACCESS_KEY": f"aws-{SECRET}",
    "HTTPS_PROXY": f"http://user:{SECRET}@proxy.invalid:8080",
    "ASSAY_TOKEN": f"token-{SECRET}",
}


def holding(folder: Path, needle: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_a_secret_of_the_environment_is_nowhere_to_be_read(tmp_path, monkeypatch):
    pytest.importorskip("cryptography", reason="signing is an extra")
    monkeypatch.chdir(tmp_path)
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    key = tmp_path / "keys" / "signing.key"
    key.parent.mkdir()
    assert call("keys", "new", str(key)).exit_code == Exit.OK
    monkeypatch.setenv("ASSAY_SIGNING_KEY", str(key))
    private = b"".join(line for line in key.read_bytes().splitlines() if not line.startswith(b"-----"))
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    said = [
        call("run", SHORT, "--as-of", "2023-10-20", "--run-id", "r", *settings),
        call("run", "no_such_profile"),
        call("run", SHORT, "--as-of", "1999-01-01", "--json"),
        call("verify", "r", "--json"),
    ]
    assert [one.exit_code for one in said] == [Exit.OK, Exit.USAGE, Exit.USAGE, Exit.OK], [one.output for one in said]
    home = tmp_path / "assay-home"
    assert holding(home, b"run_id")  # the search finds what is there
    assert b'"signature":{' in (home / "runs" / "r" / "audit.jsonl").read_bytes()
    for needle in (SECRET.encode(), private, str(key.parent).encode()):
        assert len(needle) > 10
        assert holding(home, needle) == []
        assert not any(needle in one.output.encode() for one in said)


# ---- what users install ----------------------------------------------------------------------------------------------

FORBIDDEN = re.compile(
    r"\b(?:A|L)?GPL|\bGNU\b|Affero|Commons Clause|SSPL|Business Source|Elastic License", re.IGNORECASE
)
LOCKS = ("requirements.txt", "requirements-live.txt")


def locked(name: str) -> list[tuple[str, str]]:
    """Return name and line of every package of a lock."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(.*)$", (ROOT / name).read_text(), re.MULTILINE)
    return [(package, rest) for package, rest in found]


def licences(package: str) -> list[str]:
    """Return what a package's metadata call its licence: the expression, else classifiers, else the text's head."""
    told = metadata.metadata(package)
    expression = told.get("License-Expression")
    classified = [one for one in told.get_all("Classifier") or [] if one.startswith("License ::")]
    if expression:
        return [expression, *classified]
    return classified or [(told.get("License") or "").strip()[:80]]


UNMET = {"tzdata"}
"""Apache-2.0; the newer pandas of the test environment asks for it on other systems only."""


@pytest.mark.parametrize("lock", LOCKS)
def test_no_licence_of_the_lock_binds_users(lock):
    packages = locked(lock)
    assert len(packages) > 40
    seen = 0
    for package, rest in packages:
        try:
            found = licences(package)
        except metadata.PackageNotFoundError:
            elsewhere = "sys_platform" in rest or "platform_" in rest or "python" in rest
            assert elsewhere or package in UNMET, f"{package} is not installed"
            continue
        assert all(found), f"{package} names no licence"
        assert not any(FORBIDDEN.search(text) for text in found), (package, found)
        seen += 1
    assert seen > 0.9 * len(packages)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_the_lock_is_pinned_by_hashes(lock):
    text = (ROOT / lock).read_text()
    assert text.count("==") <= text.count("--hash=sha256:")
    assert not re.search(r"https?://(?!\S*\.org)\S*@", text)


@pytest.mark.parametrize(
    "text", ["GPL-3.0-or-later", "License :: OSI Approved :: GNU Lesser General Public License", "LGPL"]
)
def test_the_search_for_licences_has_teeth(text):
    assert FORBIDDEN.search(text)
