"""What the pages say of words that the model does not read, where its own are, and which words bring company."""

from __future__ import annotations

import pytest

from diffatlas.library import Library
from tests.browser.visiting import PATIENCE, STATUS, fill, run

pytestmark = pytest.mark.browser

NOTES = ".da-section-image .da-run-notes"
LONG = "a red circle to the left of a blue square on a white background and a star "
LONG += "and a ring and a heart <b>and</b> a diamond"


@pytest.fixture(scope="module")
def page(chromium, app_url):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(app_url)
    page.wait_for_selector(NOTES, state="attached")
    yield page
    context.close()


def test_a_word_that_was_never_taught_is_named_while_the_run_lasts(page):
    page.evaluate(
        f"""() => {{
            const noted = (window.noted = []);
            new MutationObserver(() => noted.push([{STATUS}, document.querySelector('{NOTES}').innerText]))
                .observe(document.querySelector('{NOTES}'), {{childList: true}});
        }}"""
    )
    run(page, prompt="a photo of a cat", seed=5, num_inference_steps=20)
    assert page.locator(f"{NOTES} > p").all_inner_texts() == ["The model was never taught: cat."]
    status, text = page.evaluate("window.noted[0]")
    assert (status, "cat" in text) == ("running", True)


def test_its_own_words_are_one_click_away_and_can_be_put_into_the_prompt(page):
    fold = page.locator(f"{NOTES} .da-taught")
    assert not fold.locator("dl").is_visible()
    fold.locator("summary").click()
    names = fold.locator("dt").all_inner_texts()
    assert {"shapes", "colours", "relations", "numbers"} <= set(names)
    fill(page, "prompt", "a red")
    fold.get_by_role("button", name="star", exact=True).click()
    fold.get_by_role("button", name="to the left of", exact=True).click()
    assert page.input_value("#field-prompt textarea") == "a red star to the left of"


def test_a_prompt_of_words_that_it_knows_has_no_note(page):
    page.fill("#field-prompt textarea", page.input_value("#field-prompt textarea") + " a ring")
    run(page, seed=6, num_inference_steps=4)
    assert page.inner_text(".da-headline") == "a red star to the left of a ring"
    assert page.locator(NOTES).is_hidden()


def test_what_lies_behind_the_limit_is_quoted_as_text(page):
    run(page, prompt=LONG, seed=7, num_inference_steps=4)
    told = page.inner_text(f"{NOTES} > p >> nth=0")
    assert told.startswith("The model read 24 tokens of the prompt; it did not read: “")
    rest = told.split("“")[1].removesuffix("”.")
    assert LONG.endswith(rest)
    assert "<b>" in rest
    assert page.locator(f"{NOTES} b").count() == 0


def test_the_library_says_it_of_the_stored_run(page, app_folder):
    page.click(".da-nav [data-page=library]")
    page.locator(".da-run-open", has_text="a photo of a cat").first.click()
    notes = page.locator("dialog[open] .da-run-notes")
    notes.locator("p").first.wait_for()
    assert notes.locator("> p").all_inner_texts() == ["The model was never taught: cat."]
    notes.locator("summary").click()
    assert "triangle" in notes.locator("dl").inner_text()
    assert notes.locator("dl button").count() == 0
    page.keyboard.press("Escape")
    (stored,) = Library(app_folder / "runs").search("cat").runs
    assert Library(app_folder / "runs").open(stored.id).provenance["prompt"]["unknown"] == [
        {"of": "prompt", "words": ["cat"]}
    ]


def test_the_attention_page_says_it_too(page):
    page.click(".da-nav [data-page=attention]")
    for field, value in (("prompt", "a photo of a dog"), ("num_inference_steps", "4")):
        page.fill(f"#attention-{field} :is(input, textarea)", value)
    page.click("#attention-run")
    notes = page.locator(".da-attention .da-run-notes:visible")
    # Another run may be in view until this one is.
    page.wait_for_selector(".da-attention .da-run-notes:has-text('dog'):visible")
    page.wait_for_selector(".da-attention-word:visible")
    assert notes.locator("> p").all_inner_texts() == ["The model was never taught: dog."]
    notes.locator("summary").click()
    notes.get_by_role("button", name="heart", exact=True).click()
    assert page.input_value("#attention-prompt textarea") == "a photo of a dog heart"
    assert page.problems == []


def test_a_sweep_says_it_above_its_frames(page):
    page.click(".da-nav [data-page=sweep]")
    # What was typed on the page before comes along first.
    page.wait_for_function("window.diffatlasForms.sweep.prompt === window.diffatlasForms.attention.prompt")
    for field, value in (("prompt", "a photo of a bird"), ("num_inference_steps", "3"), ("values", "1, 3")):
        page.fill(f"#sweep-{field} :is(input, textarea)", value)
    page.click("#sweep-run")
    # Not the example, which is complete from the start.
    page.wait_for_selector(".da-study[data-operation=sweep] .da-headline:has-text('a photo of a bird')")
    page.wait_for_selector(".da-study[data-operation=sweep][data-status=complete]")
    notes = page.locator(".da-study[data-operation=sweep] .da-run-notes")
    assert notes.locator("> p").all_inner_texts() == ["The model was never taught: bird."]
    notes.locator("summary").click()
    notes.get_by_role("button", name="diamond", exact=True).click()
    assert page.input_value("#sweep-prompt textarea") == "a photo of a bird diamond"
    assert page.problems == []


def test_the_words_of_the_chosen_model_are_at_the_prompt_of_every_form(chromium, app_url):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{app_url}?page=sweep")
    fold = page.locator(".da-page-sweep .da-form-words .da-taught")
    fold.locator("summary").click()
    fold.get_by_role("button", name="purple").click()
    assert page.input_value("#sweep-prompt textarea").endswith(" purple")
    for other in ("trajectory", "neighbourhood", "attention"):
        page.locator(f".da-page-{other} .da-form-words .da-taught").wait_for(state="attached")
    page.fill("#sweep-model input", "stable-diffusion-v1-5/stable-diffusion-v1-5")
    page.press("#sweep-model input", "Enter")
    fold.wait_for(state="detached")
    context.close()


def test_a_paperclip_and_a_terminal_come_by_name_and_go(page):
    page.click(".da-nav [data-page=trajectory]")
    page.fill("#field-prompt textarea", "")
    page.type("#field-prompt textarea", "clippy")
    assert not page.locator(".da-companion").count()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.type("Clippy")
    page.wait_for_selector(".da-clippy >> text=You prompted for me")
    page.keyboard.type("hackerman")
    page.wait_for_selector('.da-hackerman >> text=payload: "clippy"')
    assert page.locator(".da-companion").count() == 1
    page.keyboard.press("Escape")
    assert not page.locator(".da-companion").count()
    page.keyboard.type("clippy")
    page.get_by_role("button", name="Dismiss").click()
    assert not page.locator(".da-companion").count()
    assert not page.problems
