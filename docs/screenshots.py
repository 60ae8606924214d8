"""Take the pictures of the pages in `docs` from the real app, on the embedded model.

Run from the project's root (it needs the ``test`` extra and a Chromium)::

    python -m docs.screenshots
    python -m docs.screenshots studies attention   # some of them only
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.formats.kinds import export
from diffatlas.formats.named import Named
from tests.browser.visiting import lock, run
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

IMAGES = Path(__file__).parent / "images"
PATIENCE = 240_000  # ms
RUNS = (
    {"prompt": "a red circle to the left of a blue square", "seed": 7, "num_inference_steps": 30},
    {"prompt": "a green circle to the left of a blue square", "seed": 7, "num_inference_steps": 30},
    {"prompt": "a yellow star above a purple ring", "seed": 9, "num_inference_steps": 20},
)


def keep(page: Page, name: str, **options: Any) -> None:
    """Take a picture of what is in sight."""
    page.wait_for_timeout(2500)  # until turns and fades are over
    shot = Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")
    shot.save(IMAGES / f"{name}.webp", quality=82, method=6)


def show(page: Page, view: str) -> None:
    """Choose a view."""
    page.click(f".da-tab[data-view={view}]")
    page.evaluate("scrollTo(0, 0)")


def studies(page: Page, address: str) -> None:
    """Make a sweep with a lane beside it, and a neighbourhood, and take pictures of both."""
    for operation, fields, lane, views in (
        (
            "sweep",
            {"values": "1, 3, 6, 9, 12", "prompt": "a red circle and a blue square"},
            "euler_a",
            ["drift"],
        ),
        ("neighbourhood", {"k": "12", "radius": "0.9", "prompt": "two shapes"}, None, ["map", "growth"]),
    ):
        page.goto(f"{address}?__theme=light&page={operation}")
        island = f".da-study[data-operation={operation}]"
        page.wait_for_selector(island)
        for field, value in fields.items():
            page.fill(f"#{operation}-{field} :is(input, textarea)", value)
        if lane:
            page.click(f"#{operation}-lanes input")
            page.keyboard.type(lane)
            page.click(f"#{operation}-lanes [role=option]:has-text('{lane}')")
            page.keyboard.press("Escape")
        page.click(f"#{operation}-run")
        page.wait_for_selector(
            f".da-page-{operation} .da-start", state="hidden"
        )  # the example, which is complete
        page.wait_for_selector(f"{island}[data-status=complete]")
        page.wait_for_selector(f"{island} .da-cell-numbers:not(:empty)")
        page.evaluate("scrollTo(0, 0)")
        keep(page, operation)
        for view in views:
            page.click(f"{island} .da-tab[data-view={view}]")
            page.wait_for_timeout(2000)  # a figure is asked for
            keep(page, f"{operation}-{view}")


def lab(page: Page, address: str) -> None:
    """Take pictures of the 2D Lab: a path and the density in mid flight, quality, and a lesson."""
    page.goto(f"{address}?__theme=light&page=lab")
    page.wait_for_selector(".da-lab-measures:not([hidden])")
    island = page.locator(".da-lab")
    for name in ("Exact density", "Path"):
        island.get_by_role("checkbox", name=name, exact=True).check()
    page.wait_for_timeout(4000)
    island.get_by_label("Time, from noise to points").fill("13")
    keep(page, "lab2d")
    page.click("#da-lab-tab-quality")
    island.get_by_role("button", name="Measure", exact=True).click()
    page.wait_for_selector("text=36 samplings of 2,000 points")
    page.locator("#da-lab-panel-quality").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#da-lab-tab-quality').scrollIntoView()")
    keep(page, "lab2d-quality")
    page.evaluate("scrollTo(0, 0)")
    page.click(".da-lab-lesson-menu > summary")
    page.click("[data-lesson=guidance]")
    page.wait_for_selector(".da-lab-lesson .da-lab-buttons .da-button:not(:disabled)")
    island.get_by_role("button", name="Next", exact=True).click()
    page.click(".da-lab-choices button:nth-child(2)")
    page.wait_for_selector(".da-right")
    page.wait_for_timeout(2000)
    page.evaluate("scrollTo(0, 0)")
    keep(page, "lab2d-lesson")


def attention(page: Page, address: str) -> None:
    """Run a prompt without guidance on the Attention page, of whose eight seeds the last exchanges the colours, and
    take pictures of its views."""
    page.goto(f"{address}?__theme=light&page=attention")
    page.wait_for_selector("#attention-prompt textarea")
    asked = {"prompt": "a blue star and a purple square", "seed": "15", "runs": "8", "guidance_scale": "1"}
    for field, value in asked.items():
        page.fill(f"#attention-{field} :is(textarea, input)", value)
    page.click(".da-page-attention label:has-text('+1')")
    page.click("#attention-run")
    page.wait_for_function(
        """document.querySelector('.da-attention').dataset.status === 'complete'
            && document.querySelectorAll('.da-attention-run').length === 8"""
    )
    page.click(".da-attention-open[aria-label$='seed 22']")
    page.wait_for_selector(".da-attention .da-status:has-text('seed 22')")
    page.click(".da-words .da-word >> text=blue")
    page.click(".da-attention-frame >> nth=11")
    page.evaluate("scrollTo(0, 0)")
    keep(page, "attention")
    for view in ("curves", "places", "objects", "compare"):
        page.click(f"#da-attention-tab-{view}")
        if view == "compare":
            page.click(".da-attention-run .da-plain:has-text('Compare'):visible")
        if view == "objects":
            page.wait_for_selector(".da-seed-face >> nth=7")
        page.wait_for_timeout(2000)
        panel = page.locator(f"#da-attention-panel-{view}")
        shot = Image.open(io.BytesIO(panel.screenshot())).convert("RGB")
        shot.save(IMAGES / f"attention-{view}.webp", quality=82, method=6)


def without_a_server(page: Page, folder: Path) -> None:
    """Export two seeds of one prompt as a page, open it from the disk, and take its picture."""
    prompt = "a blue star and a purple square"
    runs = [
        diffatlas.trace(
            GenerationParams(prompt=prompt, seed=seed, num_inference_steps=24),
            Capture(attention="cross", previews="every", preview_decoder="vae"),
        )
        for seed in (9, 11)
    ]
    file = folder / "two.html"
    file.write_bytes(export("html", [Named(prompt, run) for run in runs]))
    page.emulate_media(color_scheme="light")
    page.goto(file.as_uri())
    page.click(".da-words .da-word >> text=star")
    page.wait_for_selector(".da-attention-twin canvas:visible >> nth=1")
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    keep(page, "html", full_page=True)


def trajectory(page: Page, address: str) -> None:
    """Run three prompts, and take pictures of the views of the Trajectory page, and of the Library that has them."""
    page.goto(f"{address}?__theme=light")
    page.wait_for_selector(".da-viewer")
    run(page, **RUNS[0])
    show(page, "film")
    keep(page, "film")
    page.click(".da-frame[data-step='4']")
    page.wait_for_selector(".da-inspector-large img")
    keep(page, "inspector")
    page.keyboard.press("Escape")
    lock(page)
    run(page, **RUNS[1])
    lock(page)
    run(page, **RUNS[2])
    show(page, "pca")
    page.wait_for_selector(".da-label-end")
    keep(page, "pca")
    show(page, "umap")
    page.wait_for_function("document.querySelector('.da-path').innerText.includes('not to scale')")
    keep(page, "umap")
    show(page, "curves")
    keep(page, "curves")
    page.click(".da-compare-go")
    page.wait_for_selector(".da-compare-result .da-figure-says")
    page.click(".da-deep summary")
    page.wait_for_selector(".da-deep canvas")
    page.evaluate("document.querySelector('.da-section-compare').scrollIntoView()")
    keep(page, "deep-dive")
    page.goto(f"{address}?__theme=light&page=library")
    page.wait_for_selector(".da-run-shot img")
    keep(page, "library")
    page.goto(f"{address}?__theme=dark")
    page.wait_for_selector(".da-layer >> nth=2")
    show(page, "film")
    keep(page, "film-dark")


PARTS = {"trajectory": trajectory, "studies": studies, "attention": attention, "lab": lab}
#: The part that needs no app.
PAGE = "html"


def main(asked: list[str]) -> None:
    """Take the pictures of the parts that are named; all where none is."""
    parts = asked or [*PARTS, PAGE]
    if unknown := set(parts) - {*PARTS, PAGE}:
        raise SystemExit(
            f"There is no part {', '.join(sorted(unknown))}: choose of {', '.join((*PARTS, PAGE))}."
        )
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        for part in parts:
            # A visitor of its own for each, to whom no form has anything to carry along.
            page = browser.new_context(viewport={"width": 1280, "height": 940}).new_page()
            page.set_default_timeout(PATIENCE)
            if part == PAGE:
                without_a_server(page, Path(folder))
                continue
            with served_app(Path(folder) / part) as address:
                PARTS[part](page, address)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
