"""The seed field after a run: it moves on as was asked, and never over what was typed meanwhile."""

from __future__ import annotations

import pytest

from tests.browser.visiting import STATUS, press_run, run

pytestmark = pytest.mark.browser

#: Types a seed at the moment in which a run's end is shown, so before the server could have moved the field on.
TYPES_AT_THE_END = f"""(seed) => new Promise((resolve) => {{
    const viewer = document.querySelector('.da-viewer');
    new MutationObserver((_, observer) => {{
        if ({STATUS} !== 'complete') return;
        observer.disconnect();
        const field = document.querySelector('#field-seed input');
        field.value = seed;
        field.dispatchEvent(new Event('input', {{ bubbles: true }}));
        resolve();
    }}).observe(viewer, {{ attributes: true, attributeFilter: ['data-status'] }});
    document.querySelector('#field-run').click();
}})"""


def seed(page):
    return page.input_value("#field-seed input")


def settled(page):
    """Wait until what follows a run has been told."""
    page.wait_for_timeout(1500)
    return seed(page)


def test_it_moves_on_stays_and_gives_way_to_what_is_typed(open_page):
    page = open_page()
    run(page, prompt="a red circle", seed=41, num_inference_steps=2)
    assert settled(page) == "41"
    page.evaluate(TYPES_AT_THE_END, "61")
    assert settled(page) == "61"
    page.get_by_role("radio", name="+1").first.check()
    press_run(page, seed=71)
    page.wait_for_function("document.querySelector('#field-seed input').value === '72'")
    page.evaluate(TYPES_AT_THE_END, "91")
    assert settled(page) == "91"
    assert page.problems == []
