"""The Settings page, and the line at the head of every page."""

from __future__ import annotations

from typing import Any

from tests.browser.visiting import press_run

ON_EVERY_FORM = """wanted => {
    const forms = Object.values(window.diffatlasForms ?? {});
    const asks = ({ model, steps, guidance, size }) => [model, steps, guidance, size].join(" ");
    return forms.length === 5 && forms.every((form) => asks(form) === wanted);
}"""
TURBO = "stabilityai/sd-turbo 4 0 512x512"


def test_a_choice_is_what_all_forms_begin_with_also_after_a_reload(open_page: Any):
    page = open_page(1280, "?page=settings")
    page.wait_for_selector(".da-settings .da-first:not(:disabled)")
    page.select_option(".da-settings label:has-text('Model') select", "stabilityai/sd-turbo")
    page.wait_for_selector(".da-settings-warnings li:has-text('without guidance')")
    page.focus(".da-settings .da-first")
    page.keyboard.press("Enter")
    page.wait_for_function(ON_EVERY_FORM, arg=TURBO)
    page.reload()
    page.wait_for_function(ON_EVERY_FORM, arg=TURBO)
    page.wait_for_function(
        "document.querySelector('.da-settings label:nth-of-type(2) select').value === 'stabilityai/sd-turbo'"
    )


def test_another_provider_brings_its_first_model(open_page: Any):
    page = open_page(1280, "?page=settings")
    page.wait_for_selector(".da-settings .da-first:not(:disabled)")
    page.select_option(".da-settings label:has-text('Where it runs') select", "replicate")
    page.wait_for_selector(".da-settings-warnings li:has-text('no guidance')")
    assert page.input_value(".da-settings label:has-text('Model') select").startswith("black-forest-labs/")
    assert page.is_disabled(".da-settings label:has-text('Guidance') input")


def test_a_key_leaves_the_page_as_it_is_typed(open_page: Any):
    key = "a-key-of-the-test-4711"
    page = open_page(1280, "?page=settings")
    row = ".da-key[data-provider=replicate]"
    page.fill(f"{row} input", key)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{row}[data-source=typed]")
    assert page.input_value(f"{row} input") == ""
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    assert key not in page.evaluate(kept) + page.content()
    page.click(f"{row} button:has-text('Forget')")
    page.wait_for_selector(f"{row}[data-source=none]")


def test_the_line_tells_of_a_run_until_it_ends(open_page: Any):
    page = open_page(1280, "")
    page.wait_for_selector(".da-standing-facts:has-text('Shapes (embedded)')")
    press_run(page, prompt="a green star", seed=4711, num_inference_steps=400)
    page.wait_for_selector(".da-standing-facts:has-text('1 running')")
    page.click("#field-stop")
    page.wait_for_selector(".da-standing-facts:has-text('nothing runs')")


def test_looks_are_kept_and_are_one_with_the_switch_of_the_header(open_page: Any):
    page = open_page(1280, "?page=settings")
    page.check(".da-settings input[value=dark]")
    page.reload()
    page.wait_for_function("document.body.classList.contains('dark')")
    page.click(".da-ink-switch")
    page.wait_for_function("document.querySelector('.da-settings input[value=light]').checked")
    assert not page.evaluate("document.body.classList.contains('dark')")


def test_no_sideways_scroll_on_a_phone(open_page: Any):
    page = open_page(390, "?__theme=dark&page=settings")
    page.wait_for_selector(".da-settings-fits tbody tr")
    page.click(".da-settings summary")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_another_atlas_is_offered_as_soon_as_it_has_an_address_and_its_token_is_kept_nowhere(open_page: Any):
    token, block = "a-token-of-the-test-4711", ".da-atlas"
    page = open_page(1280, "?page=settings")
    page.wait_for_selector(f"{block}[data-token=none]")
    # Nobody listens there.
    page.fill(f"{block} input[type=text]", "http://127.0.0.1:9")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{block} .da-key-wrong:has-text('Nothing answers at http://127.0.0.1:9')")
    page.fill(f"{block} input[type=password]", token)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{block}[data-token=typed]")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert "http://127.0.0.1:9" in kept
    assert token not in kept + page.content()
    # The forms of a page that is open already.
    page.click(".da-nav :text('Sweep'), :text('Sweep')")
    page.click("#sweep-backend input")
    page.click("[role=option]:has-text('Another Atlas')")
    page.wait_for_selector("#sweep-model :text('Nothing answers')")
    page.click(":text('Settings')")
    page.fill(f"{block} input[type=text]", "")
    page.keyboard.press("Enter")
    page.wait_for_function(
        """[...document.querySelectorAll(".da-settings select")[0].options].every((one) => one.value !== "remote")"""
    )
    assert "127.0.0.1:9" not in page.evaluate("JSON.stringify({...localStorage})")
