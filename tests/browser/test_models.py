"""A model that is not in the list, as a visitor names it, keeps it and removes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.browser.visiting import STATUS, fill
from tests.serving import ROOT, served_app

pytestmark = pytest.mark.browser

SENTENCE = "On a shared server runs cannot have a model of their own: choose one of its models."


def enter(page, model, said, prefix="field"):
    """Type a model, leave the field, and wait for what is said under it."""
    page.fill(f"#{prefix}-model input", model)
    page.keyboard.press("Enter")
    page.focus(f"#{prefix}-prompt textarea")
    page.locator(f"#{prefix}-model .info-text", has_text=said).wait_for()
    # Gradio sends what an answer ends with a second time; nobody types between the two.
    page.wait_for_timeout(1000)


def value(page, field):
    return page.input_value(f"#field-{field} :is(input, textarea)")


@pytest.fixture
def mine(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "models" / "shapes-dit", tmp_path / "my models" / "mine_1_2"))


@pytest.fixture
def open_own(chromium, tmp_path):
    """Open an app of its own, whose user has a registry in ``tmp_path``."""
    contexts = []

    def open_own(url):
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(150_000)
        page.goto(url)
        page.wait_for_selector(".da-viewer", state="attached")
        page.locator("#field-prompt textarea").wait_for()
        page.wait_for_timeout(1500)
        return page

    yield open_own
    for context in contexts:
        context.close()


def test_a_folder_is_named_run_kept_and_removed(open_own, mine, tmp_path):
    registry = tmp_path / "models.md"
    with served_app(tmp_path / "app", DIFFATLAS_USER_MODELS=str(registry)) as url:
        page = open_own(url)
        fill(page, "num_inference_steps", 9)
        # A field that is left as it was changes nothing.
        page.click("#field-model input")
        page.focus("#field-prompt textarea")
        page.wait_for_timeout(500)
        assert value(page, "num_inference_steps") == "9"

        enter(page, str(mine), "StableDiffusion3Pipeline, 64 × 64 pixels")
        assert value(page, "num_inference_steps") == "28"
        assert page.inner_text("#field-keep") == "Keep"
        fill(page, "num_inference_steps", 3)
        page.click("#field-run")
        page.wait_for_function(f"{STATUS} === 'complete'")

        page.click("#field-keep")
        page.locator("#field-keep", has_text="Remove").wait_for()
        assert f'"{mine}" | mine_1_2 |' in registry.read_text()

        # It is in the list of everything that is opened from now on.
        other = open_own(url)
        other.click("#field-model input")
        other.locator("[role=option]", has_text="mine_1_2").click()
        other.locator("#field-keep", has_text="Remove").wait_for()
        assert value(other, "num_inference_steps") == "28"

        enter(page, "some-body/<b>x</b>", "There is no model 'some-body/<b>x</b>'")
        page.wait_for_selector("#field-model.da-wrong")
        page.wait_for_selector("#field-keep", state="detached")
        enter(page, "some-body/other", "could not be asked about it")
        assert value(page, "num_inference_steps") == "3"
        enter(page, str(mine), "StableDiffusion3Pipeline")
        page.wait_for_selector("#field-model:not(.da-wrong)")
        page.click("#field-keep")
        page.locator("#field-keep", has_text="Keep").wait_for()
        assert "mine_1_2" not in registry.read_text()


def test_a_stranger_is_told_to_choose_from_the_list(open_own, mine, tmp_path):
    with served_app(tmp_path / "app", DIFFATLAS_MODE="shared") as url:
        page = open_own(url)
        for model in (str(mine), "some-body/other"):
            enter(page, model, SENTENCE)
        assert page.locator("#field-keep").count() == 0
        page.click("#field-run")
        page.locator(".da-field-error", has_text=SENTENCE).wait_for()
