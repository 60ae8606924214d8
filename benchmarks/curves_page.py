"""How soon are the curves of ten runs on the page, and how soon is a step of them chosen?

The real app and a real Chromium on the same machine; ten locked runs of fifty steps. In each round a new page opens
the view for the first time (plotly.js is in the browser's cache, as after the first time), leaves it and
comes back, asks for the other axis (a figure of the server's, drawn from nothing), and chooses steps by the arrow key.
Drawing the same figure once more is timed beside that: choosing is told as a share of it too. Each round is checked:
all lines are there, the step that was asked for is the one that is marked, and choosing has drawn nothing. Run from the
project's root::

    python -m benchmarks.curves_page
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import typer

from benchmarks.rounds import Short, quartiles
from tests.browser.visiting import lock, run
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

RUNS, STEPS, CHARTS = 10, 50, 8
#: Presses the arrow key in the figure, and returns the milliseconds of each until its frame is handed to be painted.
CHOOSE = """async (times) => {
    const node = document.querySelector(".da-page-trajectory .da-curves .da-figure");
    const stage = node.querySelector(".da-figure-stage");
    let drawings = 0;
    stage.on("plotly_afterplot", () => (drawings += 1));
    const took = [];
    for (let k = 0; k < times; k += 1) {
        const before = node.querySelector("[role=status]").textContent;
        const began = performance.now();
        node.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        took.push(performance.now() - began);
        if (node.querySelector("[role=status]").textContent === before) throw new Error("No other step was chosen.");
    }
    if (drawings) throw new Error("Choosing a step has drawn the figure anew.");
    if (node.querySelectorAll(".da-rule").length !== 8) throw new Error("The step is not marked.");
    return took;
}"""
#: Draws the figure once more, and returns the milliseconds.
REDRAW = """async () => {
    const stage = document.querySelector(".da-page-trajectory .da-curves .da-figure-stage");
    const began = performance.now();
    await window.Plotly.redraw(stage);
    return performance.now() - began;
}"""
#: Acts, and returns the milliseconds until so many lines are drawn, along an axis that ends there.
UNTIL_DRAWN = """async ([selector, lines, end]) => {
    const stage = document.querySelector(".da-page-trajectory .da-curves .da-figure-stage");
    const began = performance.now();
    document.querySelector(selector).click();
    const drawn = () => stage.clientWidth && stage.querySelectorAll(".js-line").length === lines
        && Math.max(...(stage.data?.[0]?.x ?? [0])) === end;
    while (!drawn()) await new Promise((done) => requestAnimationFrame(done));
    return performance.now() - began;
}"""
TAB = ".da-page-trajectory .da-tab[data-view={}]"


def main(rounds: int = 5, short: Short = False) -> None:
    """Print milliseconds: quartiles of the rounds, and of choosing of all its steps."""
    from playwright.sync_api import sync_playwright

    rounds, runs, steps = (1, 2, 12) if short else (rounds, RUNS, STEPS)
    times: dict[str, list[float]] = {
        "opened": [],
        "opened again": [],
        "another axis": [],
        "a step chosen": [],
    }
    shares = []
    with (
        tempfile.TemporaryDirectory() as folder,
        served_app(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        prepare(context, url, runs, steps)
        visit(context, url, runs, steps)  # the first time of all
        for _ in range(rounds):
            found = visit(context, url, runs, steps)
            shares += [chosen / found["redraw"] for chosen in found["chosen"]]
            times["opened"].append(found["opened"])
            times["opened again"].append(found["again"])
            times["another axis"].append(found["axis"])
            times["a step chosen"] += found["chosen"]
        browser.close()
    for what, values in times.items():
        print(f"{what}: {words(values)} ms")
    print(f"choosing, of the time that drawing takes: {words(shares, 3)}")


def words(values: list[float], digits: int = 0) -> str:
    """Return the median, and the quartiles beside it."""
    low, median, high = quartiles(values)
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def prepare(context: Any, url: str, runs: int, steps: int) -> None:
    """Make the runs, and lock each."""
    page = opened(context, url)
    for seed in range(runs):
        run(page, prompt="a red circle", seed=seed, num_inference_steps=steps)
        lock(page)
    page.close()


def opened(context: Any, url: str) -> Any:
    """Return a page of the app, its form filled and its layers there."""
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_selector(".da-page-trajectory .da-viewer")
    page.wait_for_selector("#field-run")
    page.wait_for_timeout(2000)
    return page


def visit(context: Any, url: str, runs: int, steps: int) -> dict[str, Any]:
    """Return the milliseconds of a visit."""
    page = opened(context, url)
    page.wait_for_function(
        "count => document.querySelectorAll('.da-sheet[data-layer]').length === count", arg=runs
    )
    lines = runs * CHARTS
    found = {"opened": page.evaluate(UNTIL_DRAWN, [TAB.format("curves"), lines, steps])}
    page.click(TAB.format("film"))
    page.wait_for_timeout(500)
    found["again"] = page.evaluate(UNTIL_DRAWN, [TAB.format("curves"), lines, steps])
    progress = ".da-page-trajectory .da-switch input[value=progress]"
    found["axis"] = page.evaluate(UNTIL_DRAWN, [progress, lines, 100])
    page.wait_for_timeout(500)
    found["chosen"] = page.evaluate(CHOOSE, 10)
    found["redraw"] = page.evaluate(REDRAW)
    page.close()
    return found


if __name__ == "__main__":
    typer.run(main)
