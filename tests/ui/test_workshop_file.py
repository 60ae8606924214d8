"""A workshop's file: what is wrong with it is said at its line, and what it decides holds for forms and runs."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import build_sweep_form
from diffatlas.ui.workshop import held, rules
from diffatlas.ui.workshop.plan import LESSONS, PAGES
from diffatlas.ui.workshop.reading import parse_workshop, read_workshop
from diffatlas.ui.workshop.words import workshop_lines

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "workshop.yaml"
STATIC = ROOT / "diffatlas" / "ui" / "static"


@pytest.fixture
def holding(tmp_path, monkeypatch):
    """Hold a workshop of this text."""

    def hold(text: str):
        file = tmp_path / "workshop.yaml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("DIFFATLAS_WORKSHOP", str(file))
        return held.begin()

    yield hold
    monkeypatch.undo()
    held.begin()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: 3", "line 1: title is 3: give text."),
        ("titel: x", "line 1: titel means nothing here: there are title, welcome, pages, "),
        ("title: a\npages: [trajectory, foo]", 'line 2: pages[1] is "foo": give '),
        ("title: a\npages: []", "line 2: pages is []: give a list of "),
        ("title: a\npages: [lab, lab]", "line 2: pages[1] is 'lab', which is there already"),
        (
            "title: a\nmodels:\n - sdxl",
            "line 3: models[0] is 'sdxl': give one that is listed here, of shapes, ",
        ),
        (
            "title: a\nbounds:\n  steps: [40, 1]",
            "line 3: bounds.steps are from 40 to 1: give the least first.",
        ),
        ("title: a\nlessons: [foo]", 'line 2: lessons[0] is "foo": give '),
        ("title: a\npages: [trajectory]\nlessons: [noise]", "line 3: lessons are of the 2D Lab: "),
        ("title: a\nfixed: {size: 64 by 64}", "line 2: fixed.size is '64 by 64': write width x height"),
        ("title: a\nfirst: {scheduler: foo}", "line 2: first.scheduler is 'foo': give one of ddim, "),
        ("title: a\nfirst: {steps: 9}\nfixed: {steps: 9}", "line 2: first.steps is fixed as well"),
        (
            "title: a\nbounds: {steps: [1, 9]}\nfirst: {steps: 30}",
            "first.steps is 30: the bounds are from 1 to 9.",
        ),
        (
            "title: a\nfixed: {guidance: 3}\npresets:\n  trajectory:\n  - name: n\n    prompt: p\n    guidance: 5",
            "line 7: presets.trajectory[0].guidance is 5.0, and it is fixed at 3.0: leave it out.",
        ),
        (
            "title: a\npages: [lab]\npresets: {sweep: [{name: a, prompt: b}]}",
            "presets.sweep are of a page that is ",
        ),
        (
            "title: a\npresets: {trajectory: [{name: a}]}",
            "presets.trajectory[0].prompt is missing: give text.",
        ),
        ("- a", "line 1: The whole is "),
        ("title: [", "line 2: "),
        ("", "It is empty."),
        ("title: &x a\nwelcome: *x", "line 1: what stands elsewhere is named again"),
    ],
)
def test_what_is_wrong_is_said_at_its_line(text, said):
    with pytest.raises(DiffAtlasError) as raised:
        parse_workshop(text, "w.yaml")
    assert raised.value.message.startswith("w.yaml")
    assert said in raised.value.message
    assert "\n" not in raised.value.message


def test_a_file_that_is_too_large_or_not_there_is_said_in_a_sentence(tmp_path):
    (tmp_path / "large.yaml").write_text("title: a\n" + "# \n" * 100_000)
    for name in ("large.yaml", "none.yaml"):
        with pytest.raises(DiffAtlasError, match=name):
            read_workshop(tmp_path / name)


def test_the_example_is_right_and_says_what_it_does():
    lines = list(workshop_lines(read_workshop(EXAMPLE)))
    assert lines[0] == "How an image comes out of noise"
    assert (
        "Pages: Trajectory, Attention, 2D Lab (not Sweep, Neighbourhood, Bench, Library, Settings)" in lines
    )
    assert "Fixed: size 64x64" in lines


def test_lessons_and_pages_are_those_that_the_page_has():
    lessons = (STATIC / "lab" / "lab_lesson_list.js").read_text(encoding="utf-8")
    assert tuple(re.findall(r'^    id: "(\w+)"', lessons, re.MULTILINE)) == LESSONS
    pages = (STATIC / "core" / "pages.js").read_text(encoding="utf-8")
    assert tuple(re.findall(r'"(\w+)"', re.search(r"const ALL = \[(.*)\];", pages)[1])) == PAGES


def test_the_forms_begin_with_what_the_teacher_says(holding):
    holding(
        "title: a\nmodels: [shapes-dit]\nfirst: {steps: 12}\nfixed: {guidance: 4, scheduler: euler}\n"
        "bounds: {size: [64, 64]}\n"
        "presets: {trajectory: [{name: One, prompt: a star, seed: 5, steps: 7, look_for: The star.}]}"
    )
    assert [(entry.id, entry.steps, entry.guidance) for entry in list_models("local")] == [
        ("shapes-dit", 12, 4)
    ]
    with gr.Blocks():
        form = forms.build_form(list_models("local"), None)
        sweep = build_sweep_form(list_models("local"), None)
    assert (form.prompt.value, form.seed.value, form.presets.hint.value) == ("a star", 5, "The star.")
    assert (form.sampling.steps.value, form.sampling.guidance.value, form.more.scheduler.value) == (
        12,
        4,
        "euler",
    )
    assert (form.sampling.steps.interactive, form.sampling.guidance.interactive) == (True, False)
    assert [button.value for button in form.presets.buttons] == ["One"]
    assert not form.backend.visible
    # What the app's own presets say to look for is true of other values.
    assert sweep.presets.buttons == ()


@pytest.mark.parametrize(
    ("asked", "backend", "field"),
    [
        ({"num_inference_steps": 41}, "local", "num_inference_steps"),
        ({"width": 128}, "local", "width"),
        ({"model": "shapes-dit"}, "local", "model"),
        ({"guidance_scale": 5.0}, "local", "guidance_scale"),
        ({"negative_prompt": "red"}, "local", "negative_prompt"),
        ({}, "replicate", "backend"),
    ],
)
def test_a_run_that_is_not_allowed_is_refused_at_its_field(holding, asked, backend, field):
    holding(
        "title: a\nmodels: [shapes]\nfixed: {guidance: 3, negative_prompt: ''}\n"
        "bounds: {steps: [1, 40], size: [16, 64]}"
    )
    allowed = GenerationParams(
        model="shapes", prompt="a star", num_inference_steps=40, guidance_scale=3.0, width=64
    )
    rules.check_run(allowed)
    with pytest.raises(InvalidParams, match="workshop") as raised:
        rules.check_run(allowed.replace(**asked), backend)
    assert raised.value.field == field


def test_what_a_page_does_that_is_left_out_is_refused(holding):
    holding("title: a\npages: [trajectory]")
    rules.check_page("trajectory")
    with pytest.raises(InvalidParams, match="Bench"):
        rules.check_page("bench")


def test_without_a_workshop_nothing_is_forbidden(monkeypatch):
    monkeypatch.delenv("DIFFATLAS_WORKSHOP", raising=False)
    rules.check_run(GenerationParams(model="any", prompt="a", num_inference_steps=900), "replicate")
    assert held.pages() == PAGES
