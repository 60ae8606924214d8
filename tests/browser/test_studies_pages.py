"""The Sweep and the Neighbourhood page, used as a visitor would."""

from __future__ import annotations

import csv
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser import visiting
from tests.browser.visiting import PATIENCE

pytestmark = pytest.mark.browser


#: Every status that the study of a selector takes from now on, in a list that grows.
WATCH_STATUSES = """selector => {
    const seen = [];
    const look = () => {
        const status = document.querySelector(selector)?.dataset.status;
        if (status && status !== seen.at(-1)) seen.push(status);
    };
    look();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    return seen;
}"""


def study(operation):
    return f".da-study[data-operation={operation}]"


def begin(page, operation, **fields):
    """Fill a page's fields and press its button."""
    for field, value in fields.items():
        page.fill(f"#{operation}-{field} :is(input, textarea)", str(value))
    page.click(f"#{operation}-run")


def wait_for(page, operation, *statuses):
    # The example is complete from the start.
    page.wait_for_selector(f".da-page-{operation} .da-start", state="hidden")
    states = ", ".join(f"{study(operation)}[data-status={status}]" for status in statuses or ("complete",))
    page.wait_for_selector(states)


def run(page, operation, **fields):
    """Run a study to its end, and return its id, out of the address that Copy link would copy."""
    begin(page, operation, **fields)
    wait_for(page, operation)


def view(page, operation, name):
    page.click(f"{study(operation)} .da-tab[data-view={name}]")


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def lane(page, operation, words):
    """Choose what a further lane differs in."""
    page.click(f"#{operation}-lanes input")
    page.keyboard.type(words)
    page.click(f"#{operation}-lanes [role=option]:has-text('{words}')")
    page.keyboard.press("Escape")


@pytest.fixture(scope="module")
def swept(chromium, app_url):
    """A page on which a sweep of three values and two seeds has been made."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(f"{app_url}?page=sweep")
    page.wait_for_selector(f"{study('sweep')}")
    run(page, "sweep", prompt="a red circle swept", seed=41, num_inference_steps=5, values="1, 3, 9", seeds=2)
    yield page
    context.close()


def test_every_cell_has_its_picture_its_caption_and_its_drift(swept):
    page = swept
    view(page, "sweep", "grid")
    grid = page.locator(f"{study('sweep')} .da-contact-cell[data-cell]")
    page.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=sweep] .da-cell-numbers:not(:empty)').length >= 4"
    )
    assert grid.count() == 6
    assert page.locator(f"{study('sweep')} .da-contact-cell img").count() == 6
    text = page.inner_text(study("sweep"))
    assert "diffusers applies it only above 1" in text
    # What is usual gives way to what was measured, and all of it can be read.
    captions = page.locator(f"{study('sweep')} .da-cell-caption")
    assert all(words.startswith("Measured: ") for words in captions.all_inner_texts())
    assert "colours may clip" not in text
    assert captions.evaluate_all("all => all.every((one) => one.scrollHeight <= one.clientHeight + 1)")
    assert "baseline" in text
    assert "seed 42" in text
    assert page.problems == []


def test_a_cell_opens_in_the_inspector_with_its_histogram(swept):
    page = swept
    view(page, "sweep", "grid")
    page.click(f"{study('sweep')} [data-cell='a-0-2'] .da-frame")
    page.wait_for_selector("dialog.da-inspector[open] .da-inspector-large img")
    words = page.inner_text("dialog.da-inspector[open]")
    assert "Entropy" in words
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.da-inspector[open]", state="detached")


def test_the_paths_of_the_cells_are_drawn_by_the_views_of_the_trajectory_page(swept):
    page = swept
    view(page, "sweep", "film")
    page.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=sweep] .da-sheet[data-layer]').length === 6"
    )
    view(page, "sweep", "pca")
    page.wait_for_selector(f"{study('sweep')} .da-label-end")
    view(page, "sweep", "curves")
    page.wait_for_selector(f"{study('sweep')} .da-figure .js-line")
    view(page, "sweep", "drift")
    page.wait_for_selector(f"{study('sweep')} .da-drift-values .js-line")
    page.wait_for_selector(f"{study('sweep')} .da-drift-steps .js-line")
    words = page.inner_text(f"{study('sweep')} .da-panel-drift")
    assert "Mode collapse cannot be told" in words
    assert "largest change" in words
    # A point is a cell, whichever of its charts it is in.
    figure = page.locator(f"{study('sweep')} .da-drift-values .da-figure")
    figure.focus()
    for key, chosen in (("ArrowRight", "g 9"), ("ArrowLeft", "g 3"), ("ArrowLeft", "g 1")):
        for _ in range(3 if key == "ArrowRight" else 1):
            page.keyboard.press(key)
        page.wait_for_selector(f"{study('sweep')} .da-study-chosen:has-text('{chosen}')")
    rules = f'document.querySelectorAll("{study("sweep")} .da-drift-values .da-rule").length'
    assert page.evaluate(rules) > 5
    assert page.problems == []


def test_a_study_is_taken_away_as_a_table(swept, tmp_path):
    page = swept
    with page.expect_download() as download:
        page.click(f"{study('sweep')} .da-button[data-study-kind=csv]")
    download.value.save_as(tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [1, 3, 9, 1, 3, 9]
    assert {row["status"] for row in rows} == {"complete"}
    # One row: either files of the study, or of its runs, of which a page shows two.
    row = f"{study('sweep')} .da-export-row"
    assert [page.locator(row).nth(at).is_visible() for at in (0, 1)] == [True, False]
    page.select_option(f"{study('sweep')} .da-export-what", "runs")
    assert [page.locator(row).nth(at).is_visible() for at in (0, 1)] == [False, True]
    assert page.is_visible(f"{study('sweep')} .da-export-pair")
    page.select_option(f"{study('sweep')} .da-export-what", "whole")


def test_cells_become_layers_of_the_trajectory_page(swept):
    page = swept
    page.click(f"{study('sweep')} button:has-text('Open as layers')")
    page.wait_for_selector("body[data-page=trajectory]")
    page.wait_for_function("document.querySelectorAll('.da-page-trajectory .da-layer').length === 6")
    page.click(".da-nav button[data-page=sweep]")


def test_an_earlier_study_is_opened_again_and_fills_the_form(swept):
    page = swept
    page.reload()
    page.wait_for_selector(study("sweep"), state="attached")
    page.click(f"{study('sweep')} .da-shelf summary")
    page.click(f"{study('sweep')} .da-shelf-title >> nth=0")
    view(page, "sweep", "grid")
    page.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=sweep] .da-contact-cell img').length === 6"
    )
    page.wait_for_function(
        "document.querySelector('#sweep-values input, #sweep-values textarea').value === '1, 3, 9'"
    )
    assert page.input_value("#sweep-prompt textarea") == "a red circle swept"
    assert page.input_value("#sweep-seeds input") == "2"


def test_an_earlier_study_is_renamed(swept):
    page = swept
    page.click(f"{study('sweep')} .da-shelf-rename >> nth=0")
    page.fill(f"{study('sweep')} .da-name-input", "Red <b>circles</b>")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{study('sweep')} .da-shelf-title:has-text('Red <b>circles</b>')")
    page.click(f"{study('sweep')} .da-shelf-delete >> nth=0")
    assert page.inner_text(f"{study('sweep')} .da-shelf-delete >> nth=0") == "Sure?"


def test_a_link_opens_the_study(swept):
    page = swept
    context = page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(f"{study('sweep')} .da-copy-link")
    page.wait_for_selector(f"{study('sweep')} .da-copy-link:has-text('Copied')")
    address = page.evaluate("navigator.clipboard.readText()")
    query = parse_qs(urlsplit(address).query)
    assert query["page"] == ["sweep"]
    assert query["prompt"] == ["a red circle swept"]
    other = context.new_page()
    other.goto(address)
    other.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=sweep] .da-contact-cell img').length === 6"
    )
    other.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_neighbourhood_is_mapped_and_measured(open_page, width):
    page = open_page(width, "?page=neighbourhood")
    run(page, "neighbourhood", prompt="a blue square", seed=5, num_inference_steps=4, k=5, radius=0.7)
    page.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=neighbourhood] .da-contact-cell img').length === 6"
    )
    assert fits(page)
    view(page, "neighbourhood", "map")
    page.wait_for_function("document.querySelectorAll('.da-scatter-shot').length === 6")
    assert "basin" in page.inner_text(f"{study('neighbourhood')} .da-panel-map")
    assert fits(page)
    view(page, "neighbourhood", "growth")
    page.wait_for_selector(".da-growth-frame .points path")
    assert fits(page)
    view(page, "neighbourhood", "matrix")
    page.wait_for_selector(".da-matrix-map .heatmaplayer image, .da-matrix-map .hm image")
    figure = page.locator(".da-matrix-map .da-figure")
    figure.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".da-panel-matrix .da-pair-words:has-text('The anchor and neighbour 1')")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{study('neighbourhood')} .da-study-chosen:has-text('anchor')")
    assert fits(page)
    assert page.problems == []


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        (
            "sweep",
            [
                ("values", "", "values"),
                ("values", "1, two", "not a number"),
                ("values", ",".join(str(n) for n in range(200)), "32"),
                ("seeds", "0", "seeds"),
            ],
        ),
        ("neighbourhood", [("k", "0", "1 to"), ("radius", "1.5", "0 to 1")]),
    ],
)
def test_a_wrong_value_is_told_at_its_field(open_page, operation, wrong):
    page = open_page(query=f"?page={operation}")
    for field, value, words in wrong:
        good = page.input_value(f"#{operation}-{field} :is(input, textarea)")
        begin(page, operation, **{field: value})
        page.locator(f"#error-{operation}-{field}", has_text=words).wait_for()
        # What was in view stays there: the example.
        page.wait_for_selector(f".da-page-{operation} .da-start:not([hidden])")
        assert "recorded" in page.inner_text(f".da-page-{operation} .da-start").lower()
        page.fill(f"#{operation}-{field} :is(input, textarea)", good)


@pytest.mark.parametrize("first", [0, 1])
def test_the_example_comes_though_what_was_asked_before_it_is_refused(open_page, first):
    held = []

    def hold(route):
        asked = route.request.post_data_json or {}
        held.append(route) if asked.get("fn_name") == "study" else route.continue_()

    page = open_page()
    page.route("**/component_server/**", hold)
    page.click(".da-nav [data-page=neighbourhood]")
    begin(page, "neighbourhood", radius="1.5")
    page.wait_for_selector("#error-neighbourhood-radius")
    # It has been asked for anew, since what it was asked for first was given up for the run.
    for _ in range(PATIENCE // 100):
        if len(held) < 2:
            page.wait_for_timeout(100)
    for at in (first, 1 - first):
        with page.expect_response("**/component_server/**"):
            held[at].continue_()
        page.wait_for_selector(".da-page-neighbourhood .da-start:not([hidden])")
        page.wait_for_timeout(300)
        assert page.is_visible(".da-page-neighbourhood .da-start")
    assert page.is_visible("#error-neighbourhood-radius")
    assert page.is_visible(".da-page-neighbourhood .da-problem")


def test_a_lane_that_cannot_run_fails_alone_and_says_why(open_page):
    page = open_page(query="?page=sweep")
    page.wait_for_selector(study("sweep"))
    lane(page, "sweep", "SD-Turbo")
    begin(page, "sweep", prompt="a green ring", seed=6, num_inference_steps=3, values="2, 4")
    wait_for(page, "sweep", "complete", "failed")
    page.wait_for_selector(f"{study('sweep')} .da-lane:has-text('SD-Turbo'):has-text('Retry')")
    words = page.inner_text(study("sweep"))
    assert "could not be fetched" in words
    assert page.locator(f"{study('sweep')} .da-contact-cell img").count() == 2
    statuses = page.evaluate_handle(WATCH_STATUSES, study("sweep"))
    page.click(f"{study('sweep')} .da-lane:has-text('SD-Turbo') button:has-text('Retry')")
    # It fails so soon that nobody who looks now and then is sure to see it at work.
    page.wait_for_function(
        "seen => ['complete', 'failed'].includes(seen.at(-1)) && seen.length > 1", arg=statuses
    )
    page.wait_for_selector(f"{study('sweep')} .da-lane:has-text('SD-Turbo'):has-text('Retry')")
    assert page.locator(f"{study('sweep')} .da-contact-cell img").count() == 2


def test_stop_keeps_the_cells_that_are_finished(open_page):
    page = open_page(query="?page=sweep")
    page.wait_for_selector(study("sweep"))
    page.click(".da-page-sweep .da-fold button")
    page.check("#sweep-exact input")
    begin(page, "sweep", prompt="a cyan star", seed=61, num_inference_steps=40, values="2, 3, 4, 5, 6, 7")
    page.wait_for_function(
        "() => document.querySelector('.da-study[data-operation=sweep] .da-status').innerText.includes('1 of 6')"
        " || document.querySelectorAll('.da-study[data-operation=sweep] .da-contact-cell img').length >= 2"
    )
    page.click("#sweep-stop")
    wait_for(page, "sweep", "stopped")
    text = page.inner_text(study("sweep"))
    assert "topped" in text
    assert page.locator(f"{study('sweep')} .da-contact-cell img").count() < 6


def test_two_runs_of_the_library_fill_the_way_between_them(open_page):
    page = open_page()
    for seed in (81, 82):
        visiting.run(page, prompt="a magenta ring for the way", seed=seed, num_inference_steps=2)
    page.click(".da-nav button[data-page=library]")
    page.fill(".da-search", "ring for the way")
    page.wait_for_function("document.querySelectorAll('.da-run').length === 2")
    page.click(".da-select-all")
    page.click(".da-act-explore")
    page.wait_for_selector("body[data-page=neighbourhood]")
    page.wait_for_selector("#neighbourhood-to_seed input:visible")
    page.wait_for_function(
        "document.querySelector('#neighbourhood-prompt textarea').value.includes('for the way')"
    )
    ends = {page.input_value(f"#neighbourhood-{field} input") for field in ("seed", "to_seed")}
    assert ends == {"81", "82"}
    run(page, "neighbourhood", stops=3)
    page.wait_for_function(
        "() => document.querySelectorAll('.da-study[data-operation=neighbourhood] .da-contact-cell img').length === 3"
    )
    assert page.problems == []
