"""Sweeps and neighbourhoods as layers, as a visitor keeps them and lays them over each other."""

from __future__ import annotations

import re

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


def swatches(page, operation):
    """The colours of the rows of the list, in their order."""
    dots = page.locator(within(operation, ".da-layer-swatch"))
    return dots.evaluate_all(
        "all => all.map(node => getComputedStyle(node).backgroundColor.replace('rgba(0, 0, 0, 0)', 'none'))"
    )


def hexed(colour):
    """A colour as a browser computes it, "rgb(1, 2, 3)", as a figure has it."""
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])


def names_in(page, entries):
    """The names of a legend, without the samples beside them."""
    return [text.splitlines()[-1] for text in page.locator(entries).all_inner_texts()]


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
    entries = within("sweep", ".da-drift-values .da-figure-entry")
    page.wait_for_function("legend => document.querySelectorAll(legend).length === 2", arg=entries)
    assert names_in(page, entries) == [f"{names[1]} (in view)", names[0]]
    curves = """({ count }) => {
        const stage = document.querySelector(".da-page-sweep .da-drift-values .da-figure-stage");
        const lines = (stage?.data ?? []).filter(({ meta }) => meta.measure === "drift_image");
        return lines.length === count && lines.map(({ line }) => line.color);
    }"""
    drawn = page.wait_for_function(curves, arg={"count": 2}).json_value()
    assert drawn[0] != drawn[1]
    assert hexed(swatches(page, "sweep")[0]) == drawn[1]

    # A layer that is hidden is not drawn.
    page.click(within("sweep", f".da-layer[data-id='{first}'] .da-show"))
    page.wait_for_function(curves, arg={"count": 1})

    # A click brings the other into view; the first is what the page shows then, and the second is still there.
    page.click(within("sweep", f".da-layer[data-id='{first}'] .da-layer-name"))
    page.wait_for_selector(within("sweep", f".da-layer.da-active[data-id='{first}']:not(.da-hidden)"))
    page.wait_for_function("document.querySelector('#sweep-seed input').value === '51'")
    assert page.locator(within("sweep", ".da-layer")).count() == 2
    drawn = page.wait_for_function(curves, arg={"count": 2}).json_value()

    lock(page, "sweep")
    page.reload()
    page.wait_for_selector(within("sweep", ".da-layer >> nth=1"))
    assert page.locator(within("sweep", ".da-layer-name")).all_inner_texts() == names
    drawn = page.wait_for_function(curves, arg={"count": 2}).json_value()
    assert set(drawn) == {hexed(colour) for colour in swatches(page, "sweep")}

    remove = within("sweep", f".da-layer[data-id='{second}'] .da-delete")
    page.click(remove)
    page.click(remove)
    page.wait_for_function(curves, arg={"count": 1})
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
    entries = within("neighbourhood", ".da-growth-frame .da-figure-entry")
    page.wait_for_selector(f"{entries}:has-text('(in view)')")
    words = names_in(page, entries)
    assert any("median of" in entry and "radius 0.5" in entry for entry in words)
    assert any("radius 0.8: a blue square (in view)" in entry for entry in words)
    drawn = page.evaluate("""() => document.querySelector(".da-page-neighbourhood .da-growth-frame .da-figure-stage")
        .data.filter(({ meta }) => ["median", "beside"].includes(meta.part) && meta.measure === "growth")
        .map(({ line }) => line.color)""")
    assert drawn[1] == hexed(swatches(page, "neighbourhood")[0]) != drawn[0]
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
