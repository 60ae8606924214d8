"""Sweeps and neighbourhoods as layers, as a visitor keeps them and lays them over each other."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def within(operation, selector):
    """A part of a page, without the study pages that are out of sight."""
    return f".da-study[data-operation={operation}] {selector}"


def run(page, operation, **fields):
    """Run a study, wait until it is the layer in view, and return its id."""
    row = within(operation, ".da-layer.da-active")
    before = page.evaluate("row => document.querySelector(row)?.dataset.id ?? ''", row)
    for field, value in fields.items():
        page.fill(f"#{operation}-{field} :is(input, textarea)", str(value))
    page.click(f"#{operation}-run")
    page.wait_for_function(
        """([row, before]) => {
            const layer = document.querySelector(row);
            return layer && layer.dataset.id !== before && !layer.querySelector('.da-lock').disabled;
        }""",
        arg=[row, before],
    )
    return page.get_attribute(row, "data-id")


def lock(page, operation):
    page.click(within(operation, ".da-temporary .da-lock"))
    page.wait_for_selector(within(operation, ".da-temporary"), state="detached")


def colours(page, selector):
    """The colours in which something is drawn, in its order."""
    return page.locator(selector).evaluate_all("all => all.map(node => getComputedStyle(node).color)")


def swatches(page, operation):
    """The colours of the rows of the list, in their order."""
    dots = page.locator(within(operation, ".da-layer-swatch"))
    return dots.evaluate_all(
        "all => all.map(node => getComputedStyle(node).backgroundColor.replace('rgba(0, 0, 0, 0)', 'none'))"
    )


def test_two_sweeps_are_drawn_together_and_a_locked_one_outlives_a_reload(open_page):
    page = open_page(query="?page=sweep")
    page.wait_for_selector(within("sweep", ".da-masthead"))
    assert page.locator(within("sweep", ".da-layer")).count() == 0, "there is nothing to keep yet"
    asked = {"prompt": "a red circle to keep", "num_inference_steps": 3}
    first = run(page, "sweep", **asked, seed=51, values="1, 4")
    lock(page, "sweep")
    second = run(page, "sweep", **asked, seed=52, values="1, 4")
    assert second != first

    # They have one title, so what differs is in their names, in the list as in the legend.
    names = page.locator(within("sweep", ".da-layer-name")).all_inner_texts()
    assert ["seed 51" in names[0], "seed 52" in names[1]] == [True, True]
    page.click(within("sweep", ".da-tab[data-view=drift]"))
    page.wait_for_function(
        "legend => document.querySelectorAll(legend).length === 2",
        arg=within("sweep", ".da-legend-long > span"),
    )
    legend = page.locator(within("sweep", ".da-legend-long > span")).all_inner_texts()
    assert legend == [f"{names[1]} (in view)", names[0]]
    curves = within("sweep", ".da-plot[data-metric=image_distance] .da-curve")
    drawn = colours(page, curves)
    assert drawn == colours(page, within("sweep", ".da-legend-long .da-swatch"))
    assert drawn[1] == swatches(page, "sweep")[0]
    assert drawn[0] != drawn[1]

    # A layer that is hidden is not drawn.
    page.click(within("sweep", f".da-layer[data-id='{first}'] .da-show"))
    page.wait_for_function("curves => document.querySelectorAll(curves).length === 1", arg=curves)

    # A click brings the other into view; the first is what the page shows then, and the second is still there.
    page.click(within("sweep", f".da-layer[data-id='{first}'] .da-layer-name"))
    page.wait_for_selector(within("sweep", f".da-layer.da-active[data-id='{first}']:not(.da-hidden)"))
    page.wait_for_function("document.querySelector('#sweep-seed input').value === '51'")
    assert page.locator(within("sweep", ".da-layer")).count() == 2
    page.wait_for_function("curves => document.querySelectorAll(curves).length === 2", arg=curves)

    lock(page, "sweep")
    page.reload()
    page.wait_for_selector(within("sweep", ".da-layer >> nth=1"))
    assert page.locator(within("sweep", ".da-layer-name")).all_inner_texts() == names
    page.wait_for_function("curves => document.querySelectorAll(curves).length === 2", arg=curves)
    assert set(colours(page, curves)) == set(swatches(page, "sweep"))

    remove = within("sweep", f".da-layer[data-id='{second}'] .da-delete")
    page.click(remove)
    page.click(remove)
    page.wait_for_function("curves => document.querySelectorAll(curves).length === 1", arg=curves)
    assert page.locator(within("sweep", ".da-layer")).count() == 1
    page.click(within("sweep", ".da-shelf summary"))
    page.wait_for_selector(within("sweep", f".da-shelf-line[data-id='{second}']"))
    assert page.problems == []


def test_two_neighbourhoods_lie_over_each_other_in_the_same_list(open_page):
    page = open_page(390, "?page=neighbourhood")
    page.wait_for_selector(within("neighbourhood", ".da-masthead"))
    asked = {"prompt": "a blue square", "num_inference_steps": 3, "k": 3}
    first = run(page, "neighbourhood", **asked, seed=7, radius=0.5)
    lock(page, "neighbourhood")
    run(page, "neighbourhood", **asked, seed=7, radius=0.8)
    page.click(within("neighbourhood", ".da-tab[data-view=growth]"))
    page.wait_for_function(
        "rows => document.querySelectorAll(rows).length === 2",
        arg=within("neighbourhood", ".da-together tbody tr"),
    )
    medians = page.locator(within("neighbourhood", ".da-growth-median"))
    strokes = medians.evaluate_all("all => all.map(node => getComputedStyle(node).stroke)")
    assert strokes == colours(page, within("neighbourhood", ".da-growth-study .da-swatch"))[::-1]
    assert strokes[0] == swatches(page, "neighbourhood")[0]
    words = page.inner_text(within("neighbourhood", ".da-growth-key"))
    assert "radius 0.5" in words
    assert "radius 0.8: a blue square (in view)" in words
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    # The layer of a study that goes to the trash is left out, and comes back with it.
    page.click(within("neighbourhood", ".da-shelf summary"))
    remove = within("neighbourhood", f".da-shelf-line[data-id='{first}'] .da-shelf-delete")
    page.click(remove)
    page.click(remove)
    page.wait_for_selector(within("neighbourhood", f".da-layer[data-id='{first}']"), state="detached")
    assert "its neighbourhood is in the Trash" in page.inner_text(within("neighbourhood", ".da-left-out"))
    page.click(".da-toast button:has-text('Undo')")
    page.wait_for_selector(within("neighbourhood", f".da-layer[data-id='{first}']:not(.da-temporary)"))
    assert page.problems == []
