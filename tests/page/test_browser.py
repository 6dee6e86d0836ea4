"""The pages in Debian's Chromium, as people use them: with a pointer, with keys, on a telephone."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from page_house import LONG, SHORT, Served, a_status, command, serving

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
BTC = "BINANCE:BTCUSDT"
LONGEST = 600_000
REPORT = "reports/report.html"


@contextlib.contextmanager
def opened(browser: Any, address: str, path: str, **settings: Any) -> Iterator[Any]:
    """Open a page; at the end, whatever it complained about is a failure."""
    complaints: list[str] = []
    context = browser.new_context(viewport=settings.pop("viewport", WIDE), **settings)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.goto(address + path)
    try:
        yield page
    finally:
        context.close()
    assert complaints == []


def lake_of(home: Path) -> str:
    [folder] = (home / "lake").iterdir()
    return folder.name


def main_pages(home: Path) -> dict[str, str]:
    lake = lake_of(home)
    audit = json.loads((home / "runs/long/data/selection_audit.json").read_text())
    return {
        "runs": "/",
        "run": "/runs/long",
        "ledger": "/runs/long/ledger",
        "why": f"/runs/long/why?symbol={audit['fates'][0]['symbol']}",
        "compare": "/compare?a=long&b=short",
        "lakes": "/lakes",
        "lake": f"/lakes/{lake}",
        "coin": f"/lakes/{lake}/coin?symbol={BTC}&as_of=2023-10-20",
        "flows": "/flows",
        "accounts": "/accounts",
        "account": "/accounts/paper",
    }


def faults(page: Any) -> list[str]:
    """Return what axe calls serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {[node['html'][:160] for node in violation['nodes'][:3]]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


CLIPPED = """() => {
  const found = [], room = document.documentElement;
  if (room.scrollWidth > room.clientWidth) found.push({ what: "page", wide: room.scrollWidth, told: false });
  for (const one of document.querySelectorAll("body *")) {
    if (!one.clientWidth || one.scrollWidth <= one.clientWidth + 1) continue;
    if (one.closest(".unseen, .skip, .uplot, select") || getComputedStyle(one).overflowX === "visible") continue;
    const told = getComputedStyle(one, "::before").content.includes("sideways");
    const what = `${one.tagName}.${one.className} ${(one.getAttribute("aria-label") || one.textContent).slice(0, 60)}`;
    found.push({ what, wide: one.scrollWidth, told });
  }
  return found;
}"""
"""What is wider than its room and not shown beyond it, and whether it says so."""


def cut_off(browser: Any, address: str, path: str, width: int) -> list[str]:
    """Return what cannot be seen at a width; on a telephone a wide table may be swiped if it says that it can."""
    with opened(browser, address, path, viewport={"width": width, "height": 900}) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = page.evaluate(CLIPPED)
    return [f"{one['what']}: {one['wide']} at {width}" for one in found if width > 390 or not one["told"]]


def row_ids(page: Any) -> list[str]:
    ids: list[str] = page.eval_on_selector_all("#runs tbody tr:not([hidden])", "rows => rows.map(row => row.id)")
    return ids


# --- live -----------------------------------------------------------------------------------------------------------


def test_a_run_appears_moves_and_ends_without_reloading(browser: Any, stage: tuple[Path, Served]) -> None:
    home, served = stage
    with opened(browser, served.address, "/") as page:
        page.get_by_text("No runs here yet").wait_for()
        page.evaluate("window.untouched = true")
        for name in ("one", "two", "three", "four"):
            a_status(home, name, step=1, stage="Step 1: Preflight")
        for step, stage in ((4, "Step 4: Natural Selection"), (12, "Step 12: Walk Forward")):
            for name in ("one", "two", "three", "four"):
                a_status(home, name, step=step, stage=stage)
            for name in ("one", "two", "three", "four"):
                page.locator(f"#{name} .c-step", has_text=stage).wait_for()
                assert page.locator(f"#{name} .state").inner_text() == "RUNNING"
        before = float(page.locator("#one .c-elapsed").inner_text().removesuffix(" s"))
        page.wait_for_function(
            "before => parseFloat(document.querySelector('#one .c-elapsed').textContent) > before", arg=before
        )
        a_status(home, "one", state="VALID", step=15, stage="Step 15: Reporting")
        page.locator("#one .state", has_text="VALID").wait_for()
        # The made run has no whole ledger, and a look between its seal and its status is told too.
        page.locator("#told", has_text="one is VALID").wait_for()
        error = {"code": "NO_CANDIDATES", "what": "nobody", "where": "", "hint": "", "exit_code": 1}
        a_status(home, "two", state="FAILED", error=error)
        page.locator("#two .code", has_text="NO_CANDIDATES").wait_for()
        shutil.rmtree(home / "runs" / "three")
        page.locator("#three").wait_for(state="detached")
        assert page.evaluate("window.untouched")
        assert sorted(row_ids(page)) == ["four", "one", "two"]


@pytest.mark.slow
def test_the_page_of_a_run_follows_it(browser: Any, stage: tuple[Path, Served]) -> None:
    home, served = stage
    a_status(home, "one")
    with opened(browser, served.address, "/runs/one") as page:
        page.locator(".lead .state", has_text="RUNNING").wait_for()
        a_status(home, "one", step=9, stage="Step 9: Optimization")
        page.locator(".facts", has_text="Step 9: Optimization").wait_for()
        error = {"code": "DATA", "what": "too few days", "where": "", "hint": "", "exit_code": 1}
        a_status(home, "one", state="FAILED", error=error)
        page.locator(".lead", has_text="too few days").wait_for()


@pytest.mark.slow
def test_a_viewer_reconnects_when_the_server_comes_back(browser: Any, finished_home: Path) -> None:
    with serving(finished_home) as served:
        context = browser.new_context()
        page = context.new_page()
        page.goto(served.address)
        page.locator("#connection.live").wait_for()
    page.locator("#connection", has_text="reconnecting").wait_for()
    context.close()


# --- looking --------------------------------------------------------------------------------------------------------


def test_pages_load_without_complaint_and_lead_to_each_other(
    browser: Any, finished: Served, finished_home: Path
) -> None:
    with opened(browser, finished.address, "/") as page:
        page.locator("#long a").click()
        page.get_by_role("heading", name="Funnel").wait_for()
        page.get_by_role("link", name="Ledger").click()
        page.locator("summary").first.click()
        page.get_by_text("SHA-256").first.wait_for()
        page.get_by_role("link", name="Lakes").click()
        page.get_by_role("link", name=lake_of(finished_home)).click()
        page.get_by_label("Ratings of").fill(BTC)
        page.get_by_label("Date").fill("2023-08-17")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("heading", name=BTC).wait_for()
        assert "2023-08-17" in page.locator(".lead").inner_text()
        assert page.locator("figure canvas").count() == 2  # closes, and ratings
        assert page.locator("figure canvas").first.get_attribute("role") == "img"
        page.goto(f"{finished.address}/runs/long")
        page.get_by_label("With").select_option("short")
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("heading", name="Settings").wait_for()
        assert page.get_by_label("First").input_value() == "long"
        assert page.get_by_label("Second").input_value() == "short"


def test_the_list_is_filtered_and_sorted(browser: Any, stage: tuple[Path, Served]) -> None:
    home, served = stage
    for number, state in enumerate(("VALID", "FAILED", "VALID", "DEAD")):
        profile = (LONG, SHORT)[number % 2]
        started = f"2024-01-0{number + 1}T00:00:00.000+00:00"
        written = "RUNNING" if state == "DEAD" else state
        a_status(home, f"run{number}", state=written, profile=profile, started=started, elapsed=10.0 - number, pid=1,
                 pid_started="never")  # fmt: skip
    with opened(browser, served.address, "/") as page:
        page.locator("#runs[data-ready]").wait_for()
        assert row_ids(page) == ["run3", "run2", "run1", "run0"]
        page.get_by_role("link", name="Run", exact=True).click()
        assert row_ids(page) == ["run0", "run1", "run2", "run3"]
        assert page.locator("th.c-run_id").get_attribute("aria-sort") == "ascending"
        page.get_by_role("link", name="Elapsed").click()
        assert row_ids(page) == ["run3", "run2", "run1", "run0"]
        page.get_by_role("link", name="Elapsed").click()
        assert row_ids(page) == ["run0", "run1", "run2", "run3"]
        page.get_by_label("State").select_option("VALID")
        assert row_ids(page) == ["run0", "run2"]
        page.get_by_label("State").select_option("DEAD")
        assert row_ids(page) == ["run3"]
        page.get_by_label("State").select_option("")
        page.get_by_label("Search").fill("short fail")
        assert row_ids(page) == ["run1"]
        assert page.locator("#count").inner_text() == "1 of 4 shown"
        page.reload()  # the address remembers
        page.locator("#runs[data-ready]").wait_for()
        assert row_ids(page) == ["run1"]
        a_status(home, "another", state="VALID", profile=LONG)
        page.locator("#count", has_text="1 of 5 shown").wait_for()


def test_the_list_shows_results_and_is_sorted_by_them(browser: Any, finished: Served) -> None:
    with opened(browser, finished.address, "/") as page:
        page.locator("#runs[data-ready]").wait_for()
        page.locator("#long .c-sharpe", has_text=".").wait_for()
        page.locator("#short .c-sharpe", has_text=".").wait_for()
        sharpes = {name: float(page.locator(f"#{name} .c-sharpe").inner_text()) for name in ("long", "short")}
        assert page.locator("#long .c-evidence").inner_text() in ("none", "weak", "holds")
        assert page.locator("#long .c-cagr").inner_text().endswith(" %")
        page.get_by_role("link", name="Sharpe").click()
        assert row_ids(page) == sorted(sharpes, key=sharpes.__getitem__)


@pytest.mark.slow
def test_without_a_script_the_list_still_filters(browser: Any, finished: Served) -> None:
    with opened(browser, finished.address, "/", java_script_enabled=False) as page:
        page.get_by_label("Search").fill("short")
        page.get_by_role("button", name="Show").click()
        assert page.locator("tbody tr").count() == 1
        page.get_by_role("link", name="Profile").click()
        assert "q=short" in page.url
        page.locator("tbody a").click()
        assert page.locator("h1").inner_text() == "short"


HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


def test_hostile_names_do_nothing(browser: Any, stage: tuple[Path, Served]) -> None:
    home, served = stage
    error = {"code": HOSTILE, "what": HOSTILE, "where": "", "hint": "", "exit_code": 1}
    with opened(browser, served.address, "/") as page:
        page.locator("#connection.live").wait_for()
        a_status(home, "one", profile=HOSTILE, stage=HOSTILE, state="FAILED", error=error)
        page.locator("#one .c-profile", has_text="<img src=x").wait_for()
        assert page.locator("#main img, #main script").count() == 0
        page.locator("#one a").click()
        page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
        assert page.locator("#main img, #main script").count() == 0


@pytest.mark.slow
def test_keys_alone_are_enough(browser: Any, finished: Served) -> None:
    with opened(browser, finished.address, "/") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name"))
        assert {"q", "Run", "Elapsed", "long", "short"} <= set(reached)
        outline = page.evaluate(
            "() => { const a = document.querySelector('#long a'); a.focus(); return getComputedStyle(a).outlineStyle }"
        )
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="long", exact=True).wait_for()


SMALL = """() => [...document.querySelectorAll('a, button, input, select, summary')].filter((one) => {
  const box = one.getBoundingClientRect();
  const inline = one.closest('p') && getComputedStyle(one).display === 'inline';
  return box.width > 0 && box.height > 0 && box.height < 24 && !inline && !one.classList.contains('skip');
}).map((one) => one.outerHTML.slice(0, 120))"""
"""WCAG 2.2, success criterion 2.5.8: targets of 24 px; links within a sentence are exempt."""


@pytest.mark.parametrize("name", ["runs", "run"])
def test_on_a_telephone_nothing_is_cut_off_or_too_small(
    browser: Any, finished: Served, finished_home: Path, name: str
) -> None:
    telephone(browser, finished, main_pages(finished_home)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ledger", "why", "compare", "lakes", "lake", "coin", "flows", "accounts", "account"])
def test_on_a_telephone_the_other_pages(browser: Any, finished: Served, finished_home: Path, name: str) -> None:
    telephone(browser, finished, main_pages(finished_home)[name])


def telephone(browser: Any, finished: Served, path: str) -> None:
    with opened(browser, finished.address, path, viewport=NARROW, has_touch=True, is_mobile=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("window.innerWidth") == 390
        assert page.evaluate(SMALL) == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_is_cut_off_in_list_run_and_report(
    browser: Any, finished: Served, finished_home: Path, width: int
) -> None:
    for name in ("runs", "run"):
        assert cut_off(browser, finished.address, main_pages(finished_home)[name], width) == []
    report = finished_home / "runs" / "long" / REPORT
    assert cut_off(browser, f"file://{quote(str(report))}", "", width) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_is_cut_off_on_any_page(browser: Any, finished: Served, finished_home: Path, width: int) -> None:
    found = [cut_off(browser, finished.address, path, width) for path in main_pages(finished_home).values()]
    assert [said for one in found for said in one] == []


def test_a_table_that_is_wider_than_its_room_is_found(browser: Any, finished: Served) -> None:
    """The measure itself: a column that cannot be seen is told, and one that says so passes on a telephone alone."""
    with opened(browser, finished.address, "/", viewport={"width": 390, "height": 844}) as page:
        page.evaluate(
            "document.querySelector('main').insertAdjacentHTML('beforeend', "
            "'<div class=\"scroll\"><table><tr><td class=\"n\">' + 'x'.repeat(400) + '</td></tr></table></div>')"
        )
        [found] = page.evaluate(CLIPPED)
        assert not found["told"]
        page.evaluate("drawCharts(document)")
        page.locator(".scroll.more").wait_for()
        [found] = page.evaluate(CLIPPED)
        assert found["told"]


# --- axe ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run"])
def test_axe_finds_nothing_serious(browser: Any, finished: Served, finished_home: Path, name: str) -> None:
    with opened(browser, finished.address, main_pages(finished_home)[name]) as page:
        assert faults(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_serious_on_any_page(
    browser: Any, finished: Served, finished_home: Path, scheme: str, viewport: dict[str, int]
) -> None:
    found = {}
    for name, path in main_pages(finished_home).items():
        with opened(browser, finished.address, path, color_scheme=scheme, viewport=viewport) as page:
            found[name] = faults(page)
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.slow
def test_axe_finds_nothing_serious_while_runs_go_and_fail(browser: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    error = {"code": "DATA", "what": "too few days", "where": "", "hint": "", "exit_code": 1}
    a_status(home, "one")
    a_status(home, "two", state="FAILED", error=error)
    a_status(home, "three", state="INTERRUPTED")
    a_status(home, "four", pid=1, pid_started="never")
    (home / "runs/five").mkdir()
    for scheme in ("light", "dark"):
        with serving(home) as served:
            for path in ("/", "/runs/one", "/runs/two", "/runs/four"):
                with opened(browser, served.address, path, color_scheme=scheme) as page:
                    assert faults(page) == [], path


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_from_disk_and_from_the_page(
    browser: Any, finished: Served, finished_home: Path, scheme: str
) -> None:
    for run in ("long", "short"):
        path = finished_home / "runs" / run / REPORT
        assert path.is_file()
        with opened(browser, f"file://{quote(str(path))}", "", color_scheme=scheme) as page:
            assert faults(page) == []
        with opened(
            browser, finished.address, f"/runs/{run}/files/{REPORT}", color_scheme=scheme, viewport=NARROW
        ) as page:
            page.get_by_role("heading", level=1).wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert faults(page) == []


LINES = ("equity", "drawdown", "rolling-beta", "turnover", "loss-makers")


@pytest.mark.parametrize("how", ["from disk", "from the page"])
def test_lines_are_drawn_with_the_network_off_and_tell_one_date(
    browser: Any, finished: Served, finished_home: Path, how: str
) -> None:
    """``opened`` fails on anything that the policy of report or page refuses."""
    report = finished_home / "runs" / "long" / REPORT
    address = f"file://{quote(str(report))}" if how == "from disk" else f"{finished.address}/runs/long/files/{REPORT}"
    asked: list[str] = []
    with opened(browser, address, "") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.context.set_offline(True)
        drawn = [name for name in LINES if page.locator(f"#figure-{name}").count()]
        assert {"equity", "drawdown", "turnover"} <= set(drawn)
        for name in drawn:
            canvas = page.locator(f"#figure-{name} canvas").first
            assert canvas.get_attribute("role") == "img"
            assert canvas.evaluate(
                "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean)"
            )
        over = page.locator("#figure-equity .u-over")
        box = over.bounding_box()
        over.hover(position={"x": box["width"] / 2, "y": 20})
        told = page.locator("#figure-equity .u-legend .u-value").all_inner_texts()
        others = page.locator("#figure-drawdown .u-legend .u-value").all_inner_texts()
        assert told[0] == others[0]  # the date
        days = page.locator("#figure-equity .chart").evaluate("one => JSON.parse(one.dataset.chart).days")
        middle = (dt.date.fromisoformat(told[0]) - dt.date(1970, 1, 1)).days
        assert abs(middle - days[len(days) // 2]) <= 1
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20, steps=4)
        page.mouse.up()
        before = page.evaluate(INK)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"before => ({INK})() !== before", arg=before)
    assert asked == []


INK = "() => document.querySelector('#figure-equity canvas').toDataURL()"
INKED = "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean)"


@pytest.mark.slow
def test_without_a_script_every_figure_has_its_numbers(browser: Any, finished_home: Path) -> None:
    report = finished_home / "runs" / "long" / REPORT
    with opened(browser, f"file://{quote(str(report))}", "", java_script_enabled=False) as page:
        figure = page.locator("#figure-equity")
        assert figure.locator("canvas").count() == 0
        figure.locator("summary").click()
        assert figure.locator("tbody tr").first.is_visible()


FLOW = ("flow", "binance-spot-ratings", "--workers", "4")
META = ("meta", "run", "meta_binance_spot_ratings")


@pytest.mark.slow
def test_four_real_runs_in_parallel_and_the_reports_of_all_kinds(browser: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as served:
        with opened(browser, served.address, "/") as page:
            page.get_by_text("No runs here yet").wait_for()
            with subprocess.Popen(command(*FLOW, "--home", str(home)), stdout=subprocess.DEVNULL) as flow:
                page.wait_for_function(
                    "() => document.querySelectorAll('.state-running').length === 4", timeout=LONGEST
                )
                for title in ("Walk Forward", "Reporting"):
                    page.locator(".c-step", has_text=title).first.wait_for(timeout=LONGEST)
                page.wait_for_function("() => document.querySelectorAll('.state-valid').length === 4", timeout=LONGEST)
                assert flow.wait() == 0
            assert len(row_ids(page)) == 4
        call = command(*META, "--home", str(home), "--run-id", "meta")
        made = subprocess.run(call, check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        [flow_name] = [path.name for path in (home / "flows").iterdir()]
        for scheme in ("light", "dark"):
            for path in ("/runs/meta", f"/runs/meta/files/{REPORT}", f"/flows/{flow_name}", "/?kind=meta"):
                for viewport in (WIDE, NARROW):
                    with opened(browser, served.address, path, color_scheme=scheme, viewport=viewport) as page:
                        assert faults(page) == [], path
        joint = f"/flows/{flow_name}/files/report.html"
        for path in (f"/flows/{flow_name}", joint, "/runs/meta", f"/runs/meta/files/{REPORT}"):
            for width in (390, 1280, 1920):
                assert cut_off(browser, served.address, path, width) == []
        with opened(browser, served.address, f"/flows/{flow_name}") as page:
            page.get_by_role("heading", name="Conclusion").wait_for()
            assert page.locator("#figure-equity canvas").count() == 1
