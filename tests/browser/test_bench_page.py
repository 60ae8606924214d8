"""The Bench page, used as a visitor would: a small pack of the embedded model."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

pytestmark = pytest.mark.browser

BENCH = ".da-page-bench"
#: How many cards have their pictures.
PICTURES = f"document.querySelectorAll('{BENCH} .da-card-shot img:not([hidden])').length"
#: What is said of the first cards, as a screen reader hears it.
LABELS = f"""[...document.querySelectorAll('{BENCH} .da-card')].slice(0, 4)
    .map((card) => card.getAttribute('aria-label'))"""


def begin(page, **fields):
    """Fill the form, press Run, and look at the cards."""
    page.click(f"{BENCH} .da-tab[data-view=cards]")
    for field, value in fields.items():
        page.fill(f"#bench-{field} :is(input, textarea)", str(value))
    page.click("#bench-run")


def wait_for(page, *statuses):
    page.wait_for_selector(", ".join(f"{BENCH} .da-bench[data-status={one}]" for one in statuses))


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_bench_is_stopped_and_goes_on_where_it_was(open_page):
    page = open_page(query="?page=bench")
    begin(page, seed=4711, num_inference_steps=40)
    page.wait_for_function(f"{PICTURES} >= 1")
    page.click("#bench-stop")
    wait_for(page, "stopped")
    left = int(page.inner_text(f"{BENCH} .da-bench-resume").split()[1])
    assert 0 < left < 12
    # As whoever comes back would find it.
    page.reload()
    page.wait_for_selector(f"{BENCH} .da-bench-resume")
    assert page.inner_text(f"{BENCH} .da-bench-resume") == f"Resume: {left} left"
    page.click(f"{BENCH} .da-bench-resume")
    wait_for(page, "complete")
    page.wait_for_function(
        f"document.querySelector('{BENCH} .da-status').textContent === 'Complete: 12 images'"
    )
    page.click(f"{BENCH} .da-tab[data-view=results]")
    page.wait_for_selector(f"{BENCH} .da-bench-table tfoot")
    counts = page.locator(f"{BENCH} .da-bench-table tbody tr td:nth-child(5)").all_inner_texts()
    assert counts == ["2"] * 6
    assert not page.problems


def test_cards_are_judged_by_keyboard_and_lead_to_their_trajectories(open_page):
    page = open_page(query="?page=bench")
    begin(page, num_inference_steps=3)
    wait_for(page, "complete")
    page.wait_for_function(f"{PICTURES} === 12")
    page.click(f"{BENCH} .da-card >> nth=0")
    for key in ("p", "ArrowRight", "f", "n", "u", "ArrowRight", "p", "Backspace"):
        page.keyboard.press(key)
    page.wait_for_function(f"{LABELS}[2].includes('by hand: cannot judge')")
    page.keyboard.press("p")
    page.keyboard.press("z")
    page.wait_for_selector(f"{BENCH} .da-bench:not([data-saving])")
    page.reload()
    page.wait_for_function(f"{PICTURES} === 12")
    said = page.evaluate(LABELS)
    assert [label.partition("by hand: ")[2] for label in said] == ["pass", "fail", "cannot judge", ""]
    page.check(f"{BENCH} .da-cards-blind input")
    assert not any("shapes:" in label for label in page.evaluate(LABELS))
    # Exactly one card can be reached by Tab.
    assert page.locator(f"{BENCH} .da-card[tabindex='0']").count() == 1
    page.click(f"{BENCH} .da-card >> nth=1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".da-card-dialog .da-card-image")
    assert page.get_attribute(".da-card-dialog button:has-text('Fail')", "aria-pressed") == "true"
    page.click(".da-card-dialog button:has-text('Trajectory')")
    page.wait_for_url("**run=*")
    run = parse_qs(urlsplit(page.url).query)["run"][0]
    # Layers of earlier visits may be there before it.
    page.wait_for_selector(f".da-page-trajectory .da-layer[data-id='{run}']")
    assert not page.problems


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(open_page, width):
    page = open_page(width, query="?page=bench")
    assert fits(page)
    begin(page, num_inference_steps=2)
    wait_for(page, "complete")
    for view in ("cards", "results"):
        page.click(f"{BENCH} .da-tab[data-view={view}]")
        page.wait_for_selector(f"{BENCH} .da-card, {BENCH} .da-bench-table")
        assert fits(page), view
    page.click(f"{BENCH} .da-tab[data-view=cards]")
    page.dblclick(f"{BENCH} .da-card >> nth=0")
    page.wait_for_selector(".da-card-dialog .da-card-image")
    box = page.locator(".da-card-dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
