"""What is typed on one page goes along to the others, also where one types on there before it has arrived."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.browser

PREFIXES = {"trajectory": "field"} | {page: page for page in ("sweep", "neighbourhood", "attention")}
#: Seconds by which the server's answers come late.
LATE = 0.8


@pytest.fixture
def page(open_page: Any) -> Any:
    """The app, behind a slow line."""
    page = open_page()
    page.wait_for_function(
        "['field', 'sweep', 'neighbourhood', 'attention', 'bench'].every(f => window.diffatlasForms?.[f])"
    )
    page.wait_for_timeout(1000)

    def late(route: Any) -> None:
        time.sleep(LATE)
        route.continue_()

    page.route("**/queue/join*", late)
    return page


def type_into(page: Any, field: str, text: str) -> None:
    """Type over what a field holds, letter by letter."""
    page.click(f"#{field} :is(textarea, input)")
    page.keyboard.press("Control+a")
    page.keyboard.type(text, delay=15)


def turn(page: Any, name: str) -> None:
    page.click(f'.da-nav [data-page="{name}"]')


def held(page: Any, name: str) -> tuple[str, str]:
    """Prompt and seed of a page's form, as one reads them there."""
    turn(page, name)
    page.wait_for_timeout(300)
    prefix = PREFIXES[name]
    return page.input_value(f"#{prefix}-prompt textarea"), page.input_value(f"#{prefix}-seed input")


@pytest.mark.parametrize(("first", "second"), [("trajectory", "sweep"), ("neighbourhood", "attention")])
def test_what_is_typed_on_the_next_page_at_once_is_kept(page: Any, first: str, second: str) -> None:
    turn(page, first)
    type_into(page, f"{PREFIXES[first]}-prompt", "a green heart")
    type_into(page, f"{PREFIXES[first]}-seed", "41")
    turn(page, second)
    type_into(page, f"{PREFIXES[second]}-seed", "77")
    page.wait_for_timeout(int(4000 * LATE))
    assert page.input_value(f"#{PREFIXES[second]}-seed input") == "77"
    for name in PREFIXES:
        assert held(page, name) == ("a green heart", "77"), name
    assert page.problems == []


def test_of_one_field_the_last_letters_count(page: Any) -> None:
    type_into(page, "field-prompt", "a green heart")
    turn(page, "neighbourhood")
    type_into(page, "neighbourhood-prompt", "a pink ring")
    turn(page, "attention")
    # One types on in what one reads there.
    page.wait_for_function("document.querySelector('#attention-prompt textarea').value == 'a pink ring'")
    page.click("#attention-prompt textarea")
    page.keyboard.press("End")
    page.keyboard.type(" on a navy background", delay=15)
    page.wait_for_timeout(int(4000 * LATE))
    for name in PREFIXES:
        assert held(page, name)[0] == "a pink ring on a navy background", name
    assert page.problems == []


def test_what_is_typed_before_the_views_have_come_goes_along(page: Any, app_url: str) -> None:
    waiting: list[Any] = []
    page.route("**/views.js", lambda route: waiting.append(route))
    page.goto(app_url)
    page.wait_for_function("window.diffatlasForms?.field && window.diffatlasForms?.neighbourhood")
    type_into(page, "field-prompt", "a green heart")
    type_into(page, "field-seed", "41")
    page.keyboard.press("Tab")
    page.wait_for_function("window.diffatlasForms.field.seed == 41")
    page.click(".da-nav [data-page=neighbourhood]")
    assert waiting
    for route in waiting:
        route.continue_()
    page.wait_for_selector(".da-page-neighbourhood .da-study", state="attached")
    page.wait_for_timeout(int(4000 * LATE))
    for name in PREFIXES:
        assert held(page, name) == ("a green heart", "41"), name
    assert page.problems == []


def test_what_a_loading_page_loses_is_asked_for_again(page: Any) -> None:
    page.evaluate("() => { window.kept = window.diffatlasCarry; window.diffatlasCarry = undefined; }")
    type_into(page, "field-prompt", "a green heart")
    turn(page, "sweep")
    page.wait_for_timeout(800)
    assert page.input_value("#sweep-prompt textarea") != "a green heart"
    page.evaluate("() => { window.diffatlasCarry = window.kept; }")
    page.wait_for_function("document.querySelector('#sweep-prompt textarea').value === 'a green heart'")
    for name in PREFIXES:
        assert held(page, name)[0] == "a green heart", name
    assert page.problems == []


def test_a_link_leaves_what_it_does_not_name_to_the_page_in_sight(page: Any, app_url: str) -> None:
    page.goto(f"{app_url}?page=sweep&prompt=a+red+star")
    page.wait_for_function("window.diffatlasForms?.neighbourhood?.prompt === 'a red star'")
    page.wait_for_timeout(int(4000 * LATE))
    assert held(page, "sweep") == ("a red star", "8")
    assert page.problems == []


def test_a_model_that_goes_along_brings_what_its_fields_offer(page: Any) -> None:
    page.click("#field-model input")
    page.keyboard.press("Control+a")
    page.keyboard.type("shapes-dit", delay=15)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('#field-model').innerText.includes('flow matching')")
    turn(page, "sweep")
    type_into(page, "sweep-seed", "12")
    page.wait_for_function("document.querySelector('#sweep-model').innerText.includes('flow matching')")
    assert page.input_value("#sweep-model input").startswith("Shapes, transformer (embedded)")
    assert page.input_value("#sweep-seed input") == "12"
    page.click("#sweep-lanes input")
    page.wait_for_selector("#sweep-lanes [role=option]:has-text('Model: Shapes (embedded)')")
    assert page.problems == []
