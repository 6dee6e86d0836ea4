"""Make the pictures of the page in ``docs/images``: four runs as they go, a run's report, a lake, a coin's ratings.

::

    python scripts/page_screenshots.py [--out docs/images]

Needs Debian's Chromium, or another one named by the environment variable CHROMIUM; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
FLOW = "binance-spot-ratings"
AS_OF = "2023-10-20"
ALL_RUNNING = "() => document.querySelectorAll('.state-running').length === 4"
ALL_VALID = "() => document.querySelectorAll('.state-valid').length === 4"
HOUR = 3_600_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out: Path = parser.parse_args().out
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if browser is None:
        print("no chromium: apt-get install chromium, or name one in CHROMIUM", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="assay-pictures-") as folder:
        home = Path(folder) / "assay-home"
        server = start("serve", "--port", "0", home=home)
        try:
            address = server.stdout.readline().split(" at ")[1].split(" ")[0]  # type: ignore[union-attr]  # a pipe
            take(browser, address, home, out)
        finally:
            server.terminate()
            server.wait()
    return 0


def start(*arguments: str, home: Path) -> subprocess.Popen[str]:
    call = [sys.executable, "-m", "assay", *arguments, "--home", str(home)]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def take(path: str, address: str, home: Path, out: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = context_of(browser, 1280).new_page()
        page.goto(address)
        flow = start("flow", FLOW, "--as-of", AS_OF, "--workers", "4", home=home)
        page.wait_for_function(ALL_RUNNING, timeout=HOUR)
        page.locator(".c-step", has_text="Walk Forward").first.wait_for(timeout=HOUR)
        page.screenshot(path=out / "page-runs.png", clip={"x": 0, "y": 0, "width": 1280, "height": 580})
        page.wait_for_function(ALL_VALID, timeout=HOUR)
        flow.communicate()
        [lake] = (home / "lake").iterdir()
        [run] = (home / "runs").glob("binance_spot_rating_all_long_*")
        pictures = {
            "page-run": (f"/runs/{run.name}", 1280),
            "page-report": (f"/runs/{run.name}/files/reports/report.html", 1280),
            "page-lake": (f"/lakes/{lake.name}", 1280),
            "page-ratings": (f"/lakes/{lake.name}/coin?symbol=BINANCE:BTCUSDT&as_of={AS_OF}", 1280),
            "page-narrow": (f"/runs/{run.name}", 390),
        }
        for name, (place, width) in pictures.items():
            shown = context_of(browser, width).new_page()
            shown.goto(address + place, timeout=HOUR)
            shown.screenshot(path=out / f"{name}.png")
        browser.close()


def context_of(browser: Any, width: int) -> Any:
    return browser.new_context(viewport={"width": width, "height": 844 if width < 600 else 820})


if __name__ == "__main__":
    sys.exit(main())
