"""Commands as users type them: what they print, and their exit codes; bad input of every kind."""

import datetime as dt
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit
from assay.cli import app
from assay.sources import open_source

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
AS_OF = "2023-10-20"


def assay(*arguments, folder=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home with one finished flow of two sleeves."""
    folder = tmp_path_factory.mktemp("cli") / "home"
    done = assay("flow", "binance-spot-rating-all-ls", "--as-of", AS_OF, "--home", folder, "--json")
    assert done.exit_code == Exit.OK, done.output
    told = json.loads(done.stdout)
    assert [run["state"] for run in told["runs"]] == ["VALID", "VALID"]
    return folder


@pytest.fixture
def run_ids(home):
    return {name.rsplit("_", 1)[0]: name for name in (path.name for path in (home / "runs").glob("binance*"))}


@pytest.fixture(scope="session")
def sample():
    return open_source("sample").read().bars


# --- commands -------------------------------------------------------------------------------------------------------


def test_a_flow_keeps_its_table_and_a_joint_report(home, run_ids):
    [folder] = (home / "flows").iterdir()
    told = json.loads((folder / "flow.json").read_text())
    assert {run["run_id"] for run in told["runs"]} == set(run_ids.values())
    report = (folder / "audit_report.md").read_text()
    assert all(name in report for name in run_ids.values())
    for run in told["runs"]:
        assert run["report"].endswith("reports/audit_report.md")
        assert "**Verdict: VALID.**" in Path(run["report"]).read_text()


def test_status_shows_every_run(home, run_ids):
    told = json.loads(assay("status", "--home", home, "--json").stdout)
    assert {run["run_id"]: run["state"] for run in told} == dict.fromkeys(run_ids.values(), "VALID")
    assert "Step 15: Reporting" in assay("status", "--home", home).stdout


def test_status_is_newest_first_and_chooses(home, run_ids, tmp_path):
    told = json.loads(assay("status", "--home", home, "--json").stdout)
    assert [one["started"] for one in told] == sorted((one["started"] for one in told), reverse=True)

    def chosen(*options):
        done = assay("status", "--home", home, "--json", *options)
        assert done.exit_code == Exit.OK, done.output
        return {one["run_id"] for one in json.loads(done.stdout)}

    assert chosen("--profile", LONG) == {run_ids[LONG]}
    assert chosen("--state", "valid", "--since", "1d") == set(run_ids.values())
    assert chosen("--since", "2100-01-01") == chosen("--state", "FAILED") == set()
    assert assay("status", "--state", "GOOD", "--home", home).exit_code == Exit.USAGE
    assert assay("status", "--since", "soon", "--home", home).exit_code == Exit.USAGE


def test_an_empty_home_is_told_the_next_step_and_stays_empty(tmp_path):
    assert "make one with: assay flow" in assay("status", "--home", tmp_path).stdout
    assert assay("trials", "--home", tmp_path).exit_code == Exit.OK
    assert list(tmp_path.iterdir()) == []


def test_why_has_an_answer_for_whoever_a_scan_dropped(home, run_ids, sample):
    """Whoever has a bar of the day is a candidate, or named under the condition that took it."""
    raw = json.loads((home / "runs" / run_ids[LONG] / "data" / "portfolio_candidates_raw.json").read_text())
    [count] = raw["scanners"]
    lost = [symbol for symbols in count["names"].values() for symbol in symbols]
    lost += [record["symbol"] for record in (*raw["merged_quotes"], *raw["invalid_records"])]
    found = [one["symbol"] for one in raw["candidates"]]
    traded = sample.filter(pl.col("open_time").dt.date() == dt.date.fromisoformat(AS_OF))["symbol"].to_list()
    assert sorted(lost + found) == sorted(traded)
    for reason, symbols in count["names"].items():
        done = assay("why", run_ids[LONG], symbols[0].removeprefix("BINANCE:"), "--home", home, "--json")
        told = json.loads(done.stdout)
        assert told["data"]["scanned"][LONG]["reason"] == reason
        assert told["answer"].startswith(f"no candidate: {LONG}: ")
    [symbol, *_] = count["names"]["value_traded"]
    bar = sample.filter(pl.col("symbol") == symbol, pl.col("open_time").dt.date() == dt.date.fromisoformat(AS_OF))
    value = bar["quote_volume"].fill_null(bar["close"] * bar["volume"])[0]
    assert (
        f"value traded is {value:.6g}, wanted is >= 1e+06" in assay("why", run_ids[LONG], symbol, "--home", home).stdout
    )


def test_why_answers_for_the_benchmark_and_offers_what_was_meant(home, run_ids):
    done = assay("why", run_ids[LONG], "BTC/USDT", "--home", home)
    assert "the benchmark of this run" in done.stdout
    done = assay("why", run_ids[LONG], "SOLUSD", "--home", home)
    assert done.exit_code == Exit.USAGE
    assert "NOT_IN_LAKE" in done.output
    assert "did you mean BINANCE:SOLUSDT" in done.output


def test_the_funnel_names_whom_the_scan_dropped(home, run_ids):
    report = (home / "runs" / run_ids[LONG] / "reports" / "audit_report.md").read_text()
    rows = [line for line in report.splitlines() if line.startswith("| discovery") and "dropped" in line]
    assert rows
    assert all("BINANCE:" in row for row in rows)


def test_a_flow_names_its_runs_and_goes_on_with_them(home, tmp_path):
    copy = tmp_path / "home"
    shutil.copytree(home / "lake", copy / "lake")
    flow = ("flow", "binance-spot-rating-all-ls", "--as-of", AS_OF, "--home", copy)
    assert assay(*flow, "--run-ids", "a").exit_code == Exit.USAGE
    assert assay(*flow, "--resume").exit_code == Exit.USAGE
    assert not (copy / "runs").exists()
    done = assay(*flow, "--run-ids", "a,b", "--json")
    assert [run["run_id"] for run in json.loads(done.stdout)["runs"]] == ["a", "b"]
    assert assay(*flow, "--run-ids", "c,a").exit_code == Exit.USAGE
    assert {path.name for path in (copy / "runs").iterdir() if path.is_dir()} == {"a", "b"}
    ledgers = [copy / "runs" / name / "audit.jsonl" for name in ("a", "b")]
    sealed = [path.read_bytes() for path in ledgers]
    ledgers[1].write_bytes(b"".join(sealed[1].splitlines(keepends=True)[:12]))  # as if it had died
    (copy / "runs" / "registry.jsonl").write_bytes((copy / "runs" / "registry.jsonl").read_bytes().splitlines(True)[0])
    done = assay(*flow, "--resume", "--json")
    assert done.exit_code == Exit.OK, done.output
    assert [(run["run_id"], run["state"]) for run in json.loads(done.stdout)["runs"]] == [
        ("a", "VALID"),
        ("b", "VALID"),
    ]
    assert ledgers[0].read_bytes() == sealed[0]
    assert ledgers[1].read_bytes() != sealed[1]
    assert len(list((copy / "flows").iterdir())) == 2


def test_validate_and_verify_pass_and_write_beside_the_run(home, run_ids):
    run = run_ids[SHORT]
    done = assay("validate", run, "--home", home)
    assert done.exit_code == Exit.OK
    assert f"{run}: VALID" in done.stdout
    assert list((home / "reports" / "validation").glob(f"*{run}*"))
    done = assay("verify", run, "--home", home)
    assert done.exit_code == Exit.OK, done.output
    assert f"{run}: INTACT" in done.stdout
    assert assay("validate", "--all", "--home", home).exit_code == Exit.OK


def test_verify_names_a_changed_file_and_exits_with_3(home, run_ids, tmp_path):
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    run = run_ids[LONG]
    (copy / "runs" / run / "data" / "portfolio_flattened.json").write_text("{}")
    done = assay("verify", run, "--home", copy)
    assert done.exit_code == Exit.INTEGRITY
    assert "portfolio_flattened.json" in done.stdout
    assert assay("validate", run, "--home", copy).exit_code == Exit.FAILED


def test_verify_against_a_head_noted_elsewhere(home, run_ids):
    run = run_ids[LONG]
    head = json.loads(assay("verify", run, "--home", home, "--json").stdout)["head"]
    assert assay("verify", run, "--head", head, "--home", home).exit_code == Exit.OK
    assert assay("verify", run, "--head", "0" * 64, "--home", home).exit_code == Exit.INTEGRITY


def test_why_answers_for_winners_and_losers(home, run_ids):
    audit = json.loads((home / "runs" / run_ids[SHORT] / "data" / "selection_audit.json").read_text())
    reasons = {fate["reason"]: fate["symbol"] for fate in audit["fates"]}
    assert len(reasons) > 2
    for reason, symbol in reasons.items():
        done = assay("why", run_ids[SHORT], symbol, "--home", home)
        assert done.exit_code == Exit.OK
        assert reason in done.stdout
        told = json.loads(assay("why", run_ids[SHORT], symbol, "--home", home, "--json").stdout)
        assert (told["weights"] != {}) <= (reason == "winner")
    assert assay("why", run_ids[SHORT], "BINANCE:NOBODYUSDT", "--home", home).exit_code == Exit.USAGE


def test_worth_says_what_the_report_says(home, run_ids):
    for run in run_ids.values():
        done = assay("worth", run, "--home", home)
        assert done.exit_code == Exit.OK
        first, *said = done.stdout.splitlines()
        assert first == f"{run}:"
        report = (home / "runs" / run / "reports" / "audit_report.md").read_text().replace("\\", "")
        assert len(said) > 8
        assert all(f"- {line.strip()}" in report for line in said)
        told = json.loads(assay("worth", run, "--home", home, "--json").stdout)
        assert told == json.loads((home / "runs" / run / "data/walk_forward/worth.json").read_text())
        figures = json.loads((home / "runs" / run / "data/walk_forward/statistics.json").read_text())["as_run"]["hrp"]
        assert (told["days"], told["final_wealth"]) == pytest.approx((figures["days"], figures["final_wealth"]))
        assert told["sharpe"] == pytest.approx(figures["sharpe"])
        assert told["exposure"]["beta"] == pytest.approx(figures["beta"])


def test_audit_report_over_two_runs(home, run_ids):
    done = assay("audit-report", *run_ids.values(), "--home", home, "--json")
    text = Path(json.loads(done.stdout)["report"]).read_text()
    assert all(run in text for run in run_ids.values())


def test_scan_prints_unique_atoms_and_invalid_records(home):
    done = assay("scan", "--as-of", AS_OF, "--home", home)
    assert done.exit_code == Exit.OK
    assert "unique atoms: " in done.stdout
    assert "invalid records: 0" in done.stdout
    told = json.loads(assay("scan", "--as-of", AS_OF, "--home", home, "--json").stdout)
    atoms = {(c["symbol"], c["logic"], c["direction"]) for c in told["candidates"]}
    assert len(atoms) == len(told["candidates"]) == told["unique_atoms"]
    assert [count["scanner"] for count in told["scanners"]] == sorted(count["scanner"] for count in told["scanners"])


def test_ratings_explain_themselves():
    done = assay("ratings", "BINANCE:BTCUSDT", "--interval", "1d", "--as-of", "2024-01-10", "--json")
    told = json.loads(done.stdout)
    assert told.keys() == {"symbol", "interval", "as_of", "bar_open", "ratings", "votes"}
    assert (told["as_of"], told["bar_open"]) == ("2024-01-11T00:00:00Z", "2024-01-10T00:00:00Z")
    assert told["ratings"].keys() == {"all", "ma", "other"}
    assert len(told["votes"]) == 26
    assert told["ratings"]["all"] == (told["ratings"]["ma"] + told["ratings"]["other"]) / 2
    assert all(vote.keys() == {"vote", "inputs"} for vote in told["votes"].values())


PRINTED = """BINANCE:BTCUSDT, 1d bar of 2024-01-10T00:00:00Z, as of 2024-01-11T00:00:00Z, edition {edition}"""


def test_ratings_are_printed_for_people():
    asked = ("ratings", "BINANCE:BTCUSDT", "--as-of", "2024-01-10")
    told = json.loads(assay(*asked, "--json").stdout)
    lines = assay(*asked).stdout.splitlines()
    assert lines[0] == PRINTED.format(edition="2026")
    assert lines[1].split() == ["rating", "value", "word"]
    shown = {"all": "all", "ma": "moving averages", "other": "oscillators"}
    words = {0.4455: "buy", 0.8: "strong buy", 0.0909: "neutral"}
    for line, (kind, value) in zip(lines[2:5], told["ratings"].items(), strict=True):
        name, number, word = re.split(r"  +", line)
        assert (name, float(number)) == (shown[kind], round(value, 4))
        assert word == words[float(number)]
    tables = "\n".join(lines[5:]).strip().split("\n\n")
    assert [table.split()[0] for table in tables] == ["moving", "oscillator"]
    votes = iter(told["votes"].items())
    said = {1: "buy", 0: "neutral", -1: "sell"}
    for table, size in zip(tables, (15, 11), strict=True):
        head, *rows, count = table.splitlines()
        assert re.split(r"  +", head)[1:] == ["vote", "values"]
        assert len(rows) == size
        cast = []
        for row, (name, vote) in zip(rows, votes, strict=False):
            label, word, values = re.split(r"  +", row)
            assert label.lower() == name.replace("_", " ")
            assert word == said[vote["vote"]]
            numbers = [float(value.rpartition(" ")[2]) for value in values.split(", ")]
            assert numbers == [pytest.approx(value, rel=1e-7) for value in vote["inputs"].values()]
            cast.append(word)
        assert count == (
            f"{cast.count('buy')} buy, {cast.count('neutral')} neutral, {cast.count('sell')} sell of {size}"
        )


def test_ratings_of_a_young_coin_say_what_is_missing():
    young = assay("ratings", "BINANCE:BTCUSDT", "--as-of", "2023-01-12").stdout
    assert "none yet" in young
    assert "SMA 200         none yet  SMA 200 none yet, close " in young


def test_ratings_by_the_other_edition(tmp_path, monkeypatch):
    asked = ("ratings", "BINANCE:BTCUSDT", "--as-of", "2024-01-10")
    by_option = assay(*asked, "--edition", "2021").stdout
    assert by_option.splitlines()[0] == PRINTED.format(edition="2021")
    assert "stoch K before" in by_option
    assert assay(*asked, "--set", "ratings.edition=2021").stdout == by_option
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assay.toml").write_text('[ratings]\nedition = "2021"\n')
    assert assay(*asked).stdout == by_option
    assert assay(*asked, "--edition", "2020").exit_code == Exit.USAGE


def test_replay_is_equal(home, run_ids):
    done = assay("replay", run_ids[SHORT], "--home", home)
    assert done.exit_code == Exit.OK, done.output
    assert f"{run_ids[SHORT]}: EQUAL" in done.stdout


def test_profiles_show_value_and_origin():
    done = assay("profiles", "show", SHORT, "--set", "caps.atom=0.2", "--json")
    told = json.loads(done.stdout)["caps.atom"]
    assert (told["value"], told["origin"]) == (0.2, "--set caps.atom=0.2")
    told = json.loads(done.stdout)["scan.provider"]
    assert (told["value"], told["origin"]) == ("ratings", "default")
    secret = assay("profiles", "show", SHORT, "--set", "scan.screener.address=https://me:secret@mirror.example")
    assert "https://***@mirror.example" in secret.stdout
    assert "secret" not in secret.output
    assert SHORT in assay("profiles", "list").stdout


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "nobody"), Exit.USAGE, "unknown name 'nobody'"),
        (("flow", "nothing"), Exit.USAGE, "unknown flow"),
        (("run", LONG, "--source", "parquet:/no/such/file.parquet"), Exit.USAGE, "no/such/file"),
        (("run", LONG, "--source", "ftp:x"), Exit.USAGE, "ftp"),
        (("run", LONG, "--as-of", "2031-01-01"), Exit.USAGE, "2024-01-22"),
        (("run", LONG, "--as-of", "2019-01-01"), Exit.USAGE, "2023-01"),
        (("run", LONG, "--as-of", "soon"), Exit.USAGE, "soon"),
        (("run", LONG, "--as-of", "2023-03-01"), Exit.FAILED, "NO_UNIVERSE"),
        (("run", LONG, "--run-id", "../../etc/x"), Exit.USAGE, "cannot name a run"),
        (("run", LONG, "--set", "caps.atoms=1"), Exit.USAGE, "caps.atoms"),
        (("run", LONG, SHORT, "--run-id", "x"), Exit.USAGE, "--run-id"),
        (("run", LONG, "--resume"), Exit.USAGE, "--run-id"),
        (("run", LONG, "--resume", "--run-id", "nobody"), Exit.USAGE, "no run"),
        (("verify", "nobody"), Exit.USAGE, "no run"),
        (("validate", "../x"), Exit.USAGE, "no run"),
        (("ratings", "BINANCE:BTC/USDT"), Exit.USAGE, "a slash"),
        (("ratings", "BINANCE:NOBODYUSDT"), Exit.USAGE, "no bars"),
        (("ratings", "BINANCE:BTCUSDT", "--interval", "1h"), Exit.USAGE, "1d bars"),
        (("profiles", "show", "nobody"), Exit.USAGE, "nobody"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_a_bad_command_says_what_to_do_and_exits_with_its_code(tmp_path, arguments, code, says):
    home = () if arguments[0] in {"ratings", "profiles"} else ("--home", tmp_path / "home")
    done = assay(*arguments, *home)
    assert done.exit_code == code, done.output
    assert says in done.output
    assert "Traceback" not in done.output


def frame(sample):
    """A few coins of the sample as a file of bars has them."""
    symbols = [*sample["symbol"].unique().sort().head(40).to_list(), "BINANCE:BTCUSDT"]
    return (
        sample.filter(pl.col("symbol").is_in(symbols))
        .rename({"open_time": "timestamp"})
        .select("symbol", "timestamp", "open", "high", "low", "close", "volume")
    )


def run_on(tmp_path, bars, *more):
    path = tmp_path / "bars.parquet"
    bars.write_parquet(path)
    quick = ("--set", "walk_forward.days=30")
    return assay("run", LONG, "--source", f"parquet:{path}", "--home", tmp_path / "home", *quick, *more)


def nth(n):
    return pl.int_range(pl.len()) == n


def put(at, name, value):
    """Replace one value of a column."""
    return lambda bars: bars.with_columns(pl.when(nth(at)).then(value).otherwise(name).alias(name))


def again(at, rows=1, **changes):
    """Append a copy of some rows, changed."""
    return lambda bars: pl.concat([bars, bars.slice(at, rows).with_columns(**changes)])


BAD_ROWS = [
    (put(1000, "close", float("nan")), "NAN", 1),
    (put(2000, "high", float("inf")), "INFINITE", 1),
    (put(3000, "low", 0.0), "NON_POSITIVE", 1),
    (put(4000, "open", -1.0), "NON_POSITIVE", 1),
    (put(5000, "close", None), "NULL", 1),
    (put(6000, "volume", -1.0), "NEGATIVE_VOLUME", 1),
    (again(7000, volume=pl.col("volume") * 2), "DUPLICATE_UNFINISHED", 1),
    (again(8000, open=pl.col("open") * 1.001), "DUPLICATE_CONFLICT", 2),
    (again(9000, 3, symbol=pl.lit("BINANCE:A/BUSDT")), "SYMBOL", 3),
]


def test_bad_rows_go_to_quarantine_by_name_and_the_run_goes_on(tmp_path, sample):
    """Every kind of them in one file, far from each other."""
    bars, wanted = frame(sample), Counter()
    for change, reason, rows in BAD_ROWS:
        bars = change(bars)
        wanted[f"QUARANTINE_{reason}"] += rows
    done = run_on(tmp_path, bars)
    assert done.exit_code == Exit.OK, done.output
    path = tmp_path / "bars.parquet"
    told = json.loads(assay("ingest", "--source", f"parquet:{path}", "--home", tmp_path / "home", "--json").stdout)
    counts = {finding["code"]: finding["count"] for finding in told["findings"]}
    assert {code: counts[code] for code in wanted} == wanted
    assert told["quarantined"] == wanted.total()


def test_unordered_and_repeated_bars_change_nothing(tmp_path, sample):
    bars = frame(sample)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tidy = run_on(tmp_path / "a", bars, "--json", "--run-id", "x")
    messy = run_on(
        tmp_path / "b",
        pl.concat([bars.sample(fraction=1.0, shuffle=True, seed=1), bars.head(10)]),
        "--json",
        "--run-id",
        "x",
    )
    assert tidy.exit_code == messy.exit_code == Exit.OK
    weights = [(tmp_path / name / "home/runs/x/data/portfolio_flattened.json").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_a_dot_in_a_name_is_a_name(tmp_path, sample):
    bars = frame(sample)
    dotted = bars.filter(pl.col("symbol") == "BINANCE:ARBUSDT").with_columns(symbol=pl.lit("BINANCE:A.RBUSDT"))
    done = run_on(tmp_path, pl.concat([bars, dotted]), "--run-id", "x")
    assert done.exit_code == Exit.OK, done.output
    assert "BINANCE:A.RBUSDT" in (tmp_path / "home/runs/x/data/selection_audit.json").read_text()


@pytest.mark.parametrize("coin", ["600 % day", "no volume"])
def test_a_broken_coin_is_named_and_not_held(tmp_path, sample, coin):
    bars = frame(sample)
    raw = json.loads(run_on(tmp_path, bars, "--json", "--run-id", "clean").stdout)
    assert raw["runs"][0]["state"] == "VALID"
    winners = json.loads((tmp_path / "home/runs/clean/data/portfolio_candidates.json").read_text())["winners"]
    symbol = winners[0]["symbol"]
    mine = pl.col("symbol") == symbol
    if coin == "600 % day":
        later = mine & (pl.col("timestamp") >= dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
        bars = bars.with_columns(
            pl.when(later).then(pl.col(name) * 7).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close")
        )
    else:
        bars = bars.with_columns(pl.when(mine).then(0.0).otherwise("volume").alias("volume"))
    done = run_on(tmp_path, bars, "--run-id", "broken")
    assert done.exit_code == Exit.OK, done.output
    folder = tmp_path / "home/runs/broken"
    held = json.loads((folder / "data/portfolio_flattened.json").read_text())["profiles"]["equal_weight"]["assets"]
    assert symbol not in {asset["Symbol"] for asset in held}
    assert held
    if coin == "600 % day":
        done = assay("why", "broken", symbol, "--home", tmp_path / "home")
        assert "TOXIC" in done.stdout


def test_mixed_time_units_and_a_malformed_file_are_the_user_s(tmp_path, sample):
    bars = frame(sample).with_columns(pl.col("timestamp").dt.epoch("ms"))
    mixed = bars.with_columns(
        pl.when(nth(5)).then(pl.col("timestamp") // 1000).otherwise("timestamp").alias("timestamp")
    )
    done = run_on(tmp_path, mixed)
    assert done.exit_code == Exit.USAGE
    assert "unit" in done.output
    (tmp_path / "bars.parquet").write_bytes(b"PAR1 this is no table")
    done = assay("run", LONG, "--source", f"parquet:{tmp_path / 'bars.parquet'}", "--home", tmp_path / "home")
    assert done.exit_code == Exit.USAGE
    assert not list((tmp_path / "home").glob("runs/*"))


def test_an_error_is_json_where_json_is_wanted(tmp_path):
    done = assay("run", "nobody", "--home", tmp_path, "--json")
    told = json.loads(done.stdout)["error"]
    assert (told["code"], told["exit_code"]) == ("PROFILE", 2)
    assert told["hint"]
