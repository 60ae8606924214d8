"""The presets fill the forms with what the forms themselves take, and say what to look for of nothing else."""

from __future__ import annotations

import pytest

from diffatlas.registry import ModelEntry
from diffatlas.ui.components.preset_row import OWN, preset_row
from diffatlas.ui.presets import PRESETS
from tests.ui.preset_requests import EVERY, held, params_of, preset_of, study_of

PAGES = ("trajectory", "sweep", "neighbourhood", "attention")


def test_every_page_with_a_form_has_some_and_each_has_a_name_of_its_own():
    assert set(PRESETS) == set(PAGES)
    for presets in PRESETS.values():
        assert 3 <= len(presets) <= 5
        assert len({preset.name for preset in presets}) == len(presets)


@pytest.mark.parametrize(("page", "name"), EVERY)
def test_a_preset_asks_what_its_page_takes(page, name):
    preset = preset_of(page, name)
    params = params_of(page, name)
    assert (params.prompt, params.seed, params.model) == (preset.prompt, preset.seed, preset.model)
    assert (params.width, params.height, params.negative_prompt) == (64, 64, "")
    _, values = held(page, name)
    by_name = {field.elem_id.partition("-")[2]: value for field, value in values.items() if field.elem_id}
    for key, value in preset.settings.items():
        assert by_name[key] == value, key
    if page in ("sweep", "neighbourhood"):
        assert 1 < len(study_of(page, name).cells) <= 32


def test_what_was_set_before_is_put_back():
    _, values = held("trajectory", PRESETS["trajectory"][-1].name)
    given = PRESETS["trajectory"][-1].settings
    form, first = held("trajectory", PRESETS["trajectory"][0].name)
    assert set(values.values()) >= set(given.values())
    assert [first[field] for field in list(form.asked.values())[2:]] == [
        "",
        8,
        30,
        3.0,
        "64x64",
        "",
        "",
        "",
        "",
        1,
        "local",
    ]


def test_only_presets_of_listed_models_are_offered():
    import gradio as gr

    with gr.Blocks():
        row = preset_row("sweep", [ModelEntry("mine", "Mine", size=64)])
    assert row.buttons == ()
    assert row.hint.value == OWN["sweep"]
