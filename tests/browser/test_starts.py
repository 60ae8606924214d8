"""The pages before anything has run: a recorded example plays, one button runs it, and what is typed goes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from diffatlas.ui.starts import STARTS, start_of
from tests.browser.visiting import fill, lock
from tests.browser.windows import Windows
from tests.serving import served_app

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def fresh_url(tmp_path_factory):
    """An app whose library is empty."""
    with served_app(tmp_path_factory.mktemp("fresh")) as url:
        yield url


@pytest.fixture(scope="module")
def fresh_windows(chromium: Any, fresh_url: str) -> Iterator[Windows]:
    windows = Windows(chromium, fresh_url)
    yield windows
    windows.close()


@pytest.fixture
def visit(fresh_windows: Windows, fresh_url: str) -> Iterator[Callable[..., Any]]:
    def visit(
        query: str = "", before: Callable[[Any], object] | None = None, size: tuple[int, int] = (1280, 900)
    ) -> Any:
        page = fresh_windows.blank(*size)
        if before:
            before(page)
        page.goto(fresh_url + query)
        return page

    yield visit
    fresh_windows.leave()


def test_the_example_plays_before_anything_runs_and_can_be_locked(visit: Any) -> None:
    page = visit()
    page.wait_for_selector(".da-page-trajectory .da-start:not([hidden])")
    assert STARTS["trajectory"].says in page.inner_text(".da-page-trajectory .da-start")
    page.wait_for_selector(".da-layer.da-temporary .da-lock:not([disabled])")
    assert page.locator(".da-page-trajectory .da-film .da-cell[data-index]").count() == 30
    lock(page)
    page.wait_for_selector(".da-page-trajectory .da-start", state="hidden")
    assert page.get_attribute(".da-layer", "data-id") == start_of("trajectory")["id"]
    assert page.problems == []


def test_its_button_runs_what_it_shows(visit: Any) -> None:
    page = visit()
    page.click(".da-page-trajectory .da-start-run")
    page.wait_for_function(
        "document.querySelector('.da-page-trajectory .da-viewer').dataset.status === 'complete'"
        " && document.querySelector('.da-layer.da-temporary .da-lock:not([disabled])')"
    )
    assert page.locator(".da-page-trajectory .da-start").is_hidden()
    assert page.get_attribute(".da-layer", "data-id") != start_of("trajectory")["id"]
    assert page.inner_text(".da-headline") == STARTS["trajectory"].preset.prompt
    assert page.problems == []


@pytest.mark.parametrize("name", ["sweep", "neighbourhood", "attention"])
def test_the_other_pages_have_examples_of_their_own(visit: Any, name: str) -> None:
    page = visit(f"?page={name}")
    page.wait_for_selector(f".da-page-{name} .da-start:not([hidden])")
    assert STARTS[name].says in page.inner_text(f".da-page-{name} .da-start")
    page.wait_for_selector(f".da-page-{name} :is(.da-cell img, .da-attention-whole canvas)")
    assert page.problems == []


def test_a_click_on_the_navigation_turns_the_page_before_the_views_have_come(visit: Any) -> None:
    held: list[Any] = []
    page = visit(
        "?page=attention",
        before=lambda page: page.route("**/views.js", lambda route: held.append(route)),
    )
    page.wait_for_selector("#attention-prompt textarea")
    page.click('.da-nav [data-page="sweep"]')
    page.wait_for_selector("#sweep-prompt textarea")
    assert not page.is_visible("#attention-prompt textarea")
    for route in held:
        route.continue_()
    page.wait_for_selector(".da-page-sweep .da-study")
    assert page.evaluate(
        "[document.body.dataset.page, new URLSearchParams(location.search).get('page')]"
    ) == [
        "sweep",
        "sweep",
    ]


def test_what_is_typed_goes_along_and_over_a_reload(visit: Any) -> None:
    page = visit()
    page.wait_for_function("window.diffatlasForms?.neighbourhood && window.diffatlasForms?.field")
    untouched = page.evaluate("window.diffatlasForms.neighbourhood.prompt")
    page.click('.da-nav [data-page="neighbourhood"]')
    page.wait_for_timeout(500)
    assert page.evaluate("window.diffatlasForms.neighbourhood.prompt") == untouched
    page.click('.da-nav [data-page="trajectory"]')
    fill(page, "prompt", "a green heart")
    fill(page, "seed", 123)
    page.keyboard.press("Tab")
    page.wait_for_function("window.diffatlasForms.field.seed == 123")
    page.click('.da-nav [data-page="neighbourhood"]')
    page.wait_for_function("window.diffatlasForms.neighbourhood.seed == 123")
    assert page.input_value("#neighbourhood-prompt textarea") == "a green heart"
    page.reload()
    page.wait_for_function("window.diffatlasForms?.neighbourhood?.prompt === 'a green heart'")
    page.click('.da-nav [data-page="attention"]')
    page.wait_for_function("window.diffatlasForms.attention.prompt === 'a green heart'")
    assert page.input_value("#attention-seed input") == "123"


def test_the_study_in_sight_comes_back_after_a_reload(visit: Any) -> None:
    page = visit("?page=sweep&prompt=a+red+star&steps=3")
    page.wait_for_function("window.diffatlasForms?.sweep?.prompt === 'a red star'")
    page.fill("#sweep-values textarea, #sweep-values input", "1, 3")
    page.click("#sweep-run")
    page.wait_for_function(
        "document.querySelector('.da-page-sweep .da-study').dataset.status === 'complete'"
        " && document.querySelector('.da-page-sweep .da-headline').textContent.includes('a red star')"
    )
    page.goto(page.url.split("?")[0] + "?page=sweep")
    page.wait_for_function(
        "document.querySelector('.da-page-sweep .da-headline')?.textContent.includes('a red star')"
    )
    assert page.locator(".da-page-sweep .da-start").is_hidden()
    assert page.problems == []


def test_the_tour_has_five_stops_and_ends(visit: Any) -> None:
    page = visit()
    page.wait_for_selector(".da-page-trajectory .da-start:not([hidden])")
    page.click(".da-tour-begin")
    ink = "selector => getComputedStyle(document.querySelector(selector)).color"
    assert page.evaluate(ink, ".da-tour h2") == page.evaluate(ink, ".da-page-trajectory .da-headline")
    seen = []
    for number in range(5):
        page.wait_for_selector(f".da-tour-count:text('{number + 1} of 5')")
        seen.append(page.evaluate("document.body.dataset.page"))
        page.wait_for_selector(f".da-page-{seen[-1]} .da-tour-here:visible")
        page.click(".da-tour .da-first")
    assert seen == ["trajectory", "sweep", "neighbourhood", "attention", "lab"]
    assert page.locator(".da-tour").count() == 0
    page.click(".da-tour-begin")
    page.keyboard.press("Escape")
    assert page.locator(".da-tour").count() == 0
    assert page.problems == []


PREFIXES = {"trajectory": "field"} | {page: page for page in ("sweep", "neighbourhood", "attention")}


@pytest.mark.parametrize(("name", "prefix"), PREFIXES.items())
def test_a_run_that_begins_before_the_view_is_there_comes_into_it(visit: Any, name: str, prefix: str) -> None:
    """The form answers before the views have come."""
    held: list[Any] = []
    page = visit(
        f"?page={name}",
        before=lambda page: page.route("**/views.js", lambda route: held.append(route)),
    )
    page.fill(f"#{prefix}-prompt textarea", "a red circle")
    page.fill(f"#{prefix}-num_inference_steps input", "3")
    with page.expect_response("**/queue/join*"):
        page.click(f"#{prefix}-run")
    page.wait_for_timeout(4000)
    assert held
    shown = f".da-page-{name}"
    assert page.inner_text(f"{shown} .da-mount") == "Loading the view…"
    for route in held:
        route.continue_()
    page.wait_for_selector(f"{shown} [data-status=complete]")
    page.wait_for_selector(f"{shown} .da-start", state="hidden")
    assert "a red circle" in page.inner_text(f"{shown} .da-main")
    # It is the visitor's own, though it began before anything but the page itself was there.
    page.unroute_all()
    page.reload()
    page.wait_for_selector(f"{shown} .da-main >> text=a red circle")
    page.wait_for_selector(f"{shown} .da-start", state="hidden")
    assert page.problems == []


@pytest.mark.parametrize(("name", "prefix"), PREFIXES.items())
def test_on_a_phone_what_begins_is_seen(visit: Any, name: str, prefix: str) -> None:
    """The form lies below the results there, so the page goes up to them, and stays there as they grow."""
    page = visit(f"?page={name}", size=(390, 844))
    shown = f".da-page-{name}"
    # The view is there: it says that there is nothing to stop.
    page.wait_for_selector(f"#{prefix}-stop:disabled", state="attached")
    page.fill(f"#{prefix}-prompt textarea", "a green ring")
    page.fill(f"#{prefix}-num_inference_steps input", "4")
    page.click(f"#{prefix}-run")
    page.wait_for_selector(f"{shown} .da-start", state="hidden")
    page.wait_for_selector(f"{shown} .da-main >> text=a green ring")
    page.wait_for_selector(f"#{prefix}-stop:disabled", state="attached")
    # It stays: once it is there, it is there a while later too.
    top = "shown => document.querySelector(shown).getBoundingClientRect().top"
    within = f"shown => {{ const top = ({top})(shown); return top > -400 && top < 844 * 0.6; }}"
    page.wait_for_function(within, arg=f"{shown} .da-main")
    page.wait_for_timeout(2500)
    assert -400 < page.evaluate(top, f"{shown} .da-main") < 844 * 0.6
    assert page.problems == []


#: What lies over Run at any place to which the page can be scrolled.
OVER = """run => {
    const found = new Set();
    for (let y = 0; y < document.documentElement.scrollHeight; y += 6) {
        scrollTo(0, y);
        const { left, top, width, height } = run.getBoundingClientRect();
        for (const across of [0.1, 0.3, 0.5, 0.7, 0.9]) for (const down of [0.1, 0.5, 0.9]) {
            const one = document.elementFromPoint(left + width * across, top + height * down);
            if (one && !run.contains(one)) found.add(one.outerHTML.slice(0, 120));
        }
    }
    return [...found];
}"""


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_nothing_lies_over_run_and_takes_its_clicks(visit: Any, size: tuple[int, int]) -> None:
    page = visit(size=size)
    for name, prefix in PREFIXES.items():
        page.wait_for_selector(f"#{prefix}-stop:disabled", state="attached")
        page.evaluate(f"document.querySelector('.da-nav [data-page=\"{name}\"]').click()")
        page.wait_for_selector(f"#{prefix}-run:visible")
        assert page.locator(f"#{prefix}-run").evaluate(OVER) == [], name
