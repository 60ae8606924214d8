"""Does the 2D Lab's page stay responsive, and how soon does it show samples of a network in training?

The real app and a real Chromium on the same machine. Blocked is the longest task of the page's main thread, as the
browser's own long-task observer counts it, over opening, sampling, playing with all layers on, moving a path, training
with the field in view, and a quality chart. Run from the project's root::

    python -m benchmarks.lab2d_page
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.rounds import Short
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

#: Seconds.
MOST_BLOCKED, MOST_FIRST = 0.5, 2.0
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => window.tasks.push(duration)))
  .observe({ type: "longtask", buffered: true });
"""
LIVE = "() => /Training: step [1-9]/.test(document.querySelector('.da-lab .da-status').textContent)"
#: Rises with every drawing of the plane.
COUNT = """
window.drawn = 0;
const plane = document.querySelector(".da-lab-stage canvas").getContext("2d");
const fill = plane.fill.bind(plane);
plane.fill = (...given) => ((window.drawn += 1), fill(...given));
0;
"""


def main(rounds: int = 3, short: Short = False) -> None:
    """Print the longest blocked moment of each thing that is done, and the seconds to the first samples."""
    from playwright.sync_api import sync_playwright

    rounds = 1 if short else rounds
    watched = 300 if short else 3500  # ms of each thing that goes on by itself
    with (
        tempfile.TemporaryDirectory() as folder,
        served_app(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.add_init_script(WATCH)
        page.goto(url + "?page=lab")
        page.wait_for_selector(".da-lab-measures:not([hidden])")
        lab = page.locator(".da-lab")
        told(page, "opening the page")
        page.wait_for_timeout(watched)
        told(page, "playing 1,000 points")
        for name in ("Path", "Mesh", "Exact density", "Density of the points"):
            lab.get_by_role("checkbox", name=name, exact=True).check()
        page.wait_for_timeout(watched)
        lab.get_by_role("button", name="Play").click()
        page.wait_for_timeout(watched)
        told(page, "playing with all layers on")
        box = page.locator(".da-lab-stage canvas").first.bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.mouse.down()
        for k in range(30):
            page.mouse.move(box["x"] + 100 + 6 * k, box["y"] + 100 + 3 * k)
        page.mouse.up()
        told(page, "moving a path")
        first = []
        page.evaluate(COUNT)
        for _ in range(rounds):
            began = time.perf_counter()
            lab.get_by_role("button", name="Train", exact=True).click()
            page.wait_for_function(LIVE)
            page.evaluate("() => (window.drawn = 0)")
            page.wait_for_function("() => window.drawn > 0")
            first.append(time.perf_counter() - began)
            page.wait_for_timeout(watched)
            lab.get_by_role("button", name="Stop").first.click()
            page.wait_for_function(
                "() => /trained/.test(document.querySelector('.da-lab .da-status').textContent)"
            )
        told(page, "training with the field in view")
        print(f"first samples on screen: {statistics.median(first):.2f} s after Train (limit {MOST_FIRST:g})")
        page.click("#da-lab-tab-quality")
        if short:
            lab.get_by_label("Points", exact=True).last.select_option("200")
            lab.get_by_label("Repeats").fill("1")
        lab.get_by_role("button", name="Measure", exact=True).click()
        measured = "12 samplings of 200 points" if short else "36 samplings of 2,000 points"
        page.wait_for_selector(f"text={measured}", timeout=120_000)
        told(page, "measuring quality")
        browser.close()


def told(page: Any, what: str) -> None:
    """Print the longest task since the last call."""
    longest = page.evaluate("() => Math.max(0, ...window.tasks.splice(0))") / 1000
    print(f"{what}: blocked for at most {longest:.2f} s (limit {MOST_BLOCKED:g})", flush=True)


if __name__ == "__main__":
    typer.run(main)
