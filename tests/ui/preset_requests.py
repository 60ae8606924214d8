"""What the presets of the pages ask, read from the forms that they fill."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.attention_form import build_attention_form
from diffatlas.ui.components.study_form import build_neighbourhood_form, build_sweep_form, to_lanes
from diffatlas.ui.preset_filling import fields_by_name, filled, value_of
from diffatlas.ui.presets import PRESETS, Preset

BUILDERS = {
    "trajectory": ("field", forms.build_form),
    "attention": ("attention", build_attention_form),
    "sweep": ("sweep", build_sweep_form),
    "neighbourhood": ("neighbourhood", build_neighbourhood_form),
}
EVERY = [(page, preset.name) for page, presets in PRESETS.items() for preset in presets]


def preset_of(page: str, name: str) -> Preset:
    return next(preset for preset in PRESETS[page] if preset.name == name)


def held(page: str, name: str) -> tuple[Any, dict[Any, Any]]:
    """A page's form, and what its fields hold once a preset has filled it."""
    prefix, build = BUILDERS[page]
    models = list_models("local")
    with gr.Blocks():
        form = build(models, shared_local_backend().info(models[0].id))
    named = fields_by_name(form, prefix)
    first = [field.value for field in form.resets]
    updates = filled(form, named, first, preset_of(page, name), [], lambda entry, info: [])
    return form, {field: value_of(update) for field, update in updates.items()}


def params_of(page: str, name: str) -> GenerationParams:
    """The request of a preset, read as the page reads its form."""
    form, values = held(page, name)
    return forms.to_params({name: values[field] for name, field in form.asked.items()})


def study_of(page: str, name: str) -> Study:
    """The study of a preset, planned as the page plans it."""
    form, values = held(page, name)
    params = forms.to_params({name: values[field] for name, field in form.asked.items()})
    own = {key: values[field] for key, field in form.own.items()}
    lanes = to_lanes(values[form.lanes])
    if page == "sweep":
        return plan_sweep(params, own["field"], own["values"], seeds=own["seeds"], lanes=lanes)
    return plan_neighbourhood(params, own.pop("mode"), **own, lanes=lanes)
