"""How soon is the app there for a new visitor, and what does it gain by sending its modules as one script?

The real app and a real Chromium on the same machine; each visit is in a window of its own, whose browser has fetched
nothing yet. In each round the page is opened, and then the modules of the views alone are imported in two more such
windows: as the one script that the page has, and file by file. That is one ratio a round. Each visit is checked: the
view is there, and the files that were fetched are those that are meant. Run from the project's root::

    python -m benchmarks.app_open
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.rounds import Short, quartiles
from diffatlas.ui.own_files import SCRIPT, VIEWS, base
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

#: Imports modules by their addresses, and returns the milliseconds and how many files that took.
IMPORT = """async (addresses) => {
    const began = performance.now();
    const found = await Promise.all(addresses.map((address) => import(address)));
    const took = performance.now() - began;
    if (!found.every((one) => one.mount || one.modules)) throw new Error("These are no views.");
    return [took, performance.getEntriesByType("resource").filter(({ name }) => name.endsWith(".js")).length];
}"""


def main(rounds: int = 5, short: Short = False) -> None:
    """Print the seconds until the view is there, the files that are fetched, and the ratio of the two imports."""
    from playwright.sync_api import sync_playwright

    rounds = 1 if short else rounds
    opened, requests, whole, apart = [], [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        served_app(Path(folder)) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        visit(browser, url)  # the server's own first time
        for _ in range(rounds):
            seconds, fetched = visit(browser, url)
            opened.append(seconds)
            requests.append(fetched)
            whole.append(imported(browser, url, [SCRIPT], 1))
            apart.append(imported(browser, url, VIEWS, len(VIEWS) + 1))
        browser.close()
    ratios = [one / many for one, many in zip(whole, apart, strict=True)]
    print(f"until the view is there: {words(opened)} s, {max(requests)} requests")
    print(f"modules as one script, of the time that they take one by one: {words(ratios)}")


def words(values: list[float]) -> str:
    """Return the median of the rounds, and the quartiles beside it."""
    low, median, high = quartiles(values)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def visit(browser: Any, url: str) -> tuple[float, int]:
    """Return the seconds until the view of a new visitor is there, and the requests of the page until then."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector(".da-page-trajectory .da-viewer")
    page.wait_for_selector("#field-run")
    seconds = time.perf_counter() - began
    if sum(one.endswith(f"/{base()}/{SCRIPT}") for one in requested) != 1:
        raise RuntimeError(f"The page fetched its script otherwise than once: {requested}")
    context.close()
    return seconds, len(requested)


def imported(browser: Any, url: str, names: Any, least: int) -> float:
    """Return the milliseconds that importing modules takes a new visitor; at least so many files are fetched."""
    context = browser.new_context()
    page = context.new_page()
    # A page of the app's own with nothing in it.
    page.goto(f"{url}{base()}/core/page.css")
    took, files = page.evaluate(IMPORT, [f"{url}{base()}/{name}" for name in names])
    context.close()
    if files < least or (least == 1 and files != 1):
        raise RuntimeError(f"{files} files were fetched for {names}.")
    return took


if __name__ == "__main__":
    typer.run(main)
