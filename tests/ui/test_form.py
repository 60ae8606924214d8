"""From the fields of the form to parameters."""

from __future__ import annotations

import pytest

from diffatlas.backends.parts import FolderParts
from diffatlas.errors import InvalidParams
from diffatlas.registry import find_model
from diffatlas.ui.components import fields, form


def params(**changes):
    values = {
        "model": "shapes", "prompt": "a red circle", "negative_prompt": "", "seed": 7.0, "steps": 30.0,
        "guidance": 3, "size": "64x96", "scheduler": "",
    }  # fmt: skip
    return form.to_params({**values, **changes})


def test_numbers_of_the_form_become_whole():
    p = params()
    assert (p.seed, p.num_inference_steps, p.width, p.height, p.scheduler) == (7, 30, 64, 96, None)
    assert isinstance(p.seed, int)
    assert isinstance(p.num_inference_steps, int)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"seed": 1.5}, "seed"),
        ({"seed": None}, "seed"),
        ({"steps": float("nan")}, "num_inference_steps"),
        ({"guidance": None}, "guidance_scale"),
        ({"size": "64"}, "width"),
        ({"size": None}, "width"),
        ({"size": "64x64x64"}, "width"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(change, field):
    with pytest.raises(InvalidParams) as caught:
        params(**change)
    assert caught.value.field == field


@pytest.mark.parametrize(("previews", "meant"), [("every", "every"), ("off", "off"), ("5", 5)])
def test_previews(previews, meant):
    assert form.to_capture(previews, "linear").previews == meant


def test_every_attention_that_is_offered_is_captured():
    assert form.to_capture("every", "linear").attention == "off"
    assert form.to_capture("every", "linear", None).attention == "off"
    for _, attention in fields.ATTENTION:
        capture = form.to_capture("every", "linear", attention)
        assert (capture.attention, capture.attention_resolution) == (attention, 32)


def test_every_offered_size_and_scheduler_runs():
    """The form must not offer what the model refuses."""
    from diffatlas.backends import model_info

    source = model_info.find_source("shapes")
    info = model_info.describe("shapes", source.folder, source.entry)
    sizes = fields.size_choices(info, find_model("shapes"))["choices"]
    assert sizes[0] == ("64 × 64 ★", "64x64")
    for _, size in sizes:
        model_info.fit(params(size=size), FolderParts(source.folder), info)
    for _, scheduler in fields.scheduler_choices(info)["choices"]:
        model_info.fit(params(scheduler=scheduler, size="64x64"), FolderParts(source.folder), info)


def test_next_seed():
    assert form.next_seed("keep", 7) == 7
    assert form.next_seed("next", 7.0) == 8
    assert form.next_seed("next", None) is None
    assert len({form.next_seed("shuffle", 7) for _ in range(20)}) > 10


@pytest.mark.parametrize(("runs", "mode", "count"), [(1.0, "keep", 1), (50, "next", 50), (3, "shuffle", 3)])
def test_runs(runs, mode, count):
    assert form.to_runs(runs, mode) == count


@pytest.mark.parametrize(
    ("runs", "mode"), [(0, "next"), (51, "next"), (1.5, "next"), (None, "next"), (2, "keep")]
)
def test_runs_that_make_no_sense_are_refused_by_name(runs, mode):
    with pytest.raises(InvalidParams) as caught:
        form.to_runs(runs, mode)
    assert caught.value.field == "runs"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", None),
        (None, None),
        (" , ", None),
        ("eta=0.5", {"eta": 0.5}),
        ("eta = 1; norm=0", {"eta": 1, "norm": 0}),
    ],
)
def test_options_of_a_method(text, options):
    assert form.to_options(text) == options


@pytest.mark.parametrize("text", ["eta", "eta=", "eta=big", "=1,eta"])
def test_options_that_cannot_be_read_are_refused(text):
    with pytest.raises(InvalidParams) as caught:
        form.to_options(text)
    assert caught.value.field == "guidance_options"


def test_every_method_is_offered_with_options_that_it_takes():
    for _, name in fields.method_choices()["choices"][1:]:
        hint = fields.options_hint(name).removeprefix("Such as ").removesuffix(".")
        asked = params(guidance_method=name, guidance_options=hint)
        assert asked.guidance_method == name
