"""What the server adds when a model goes along from page to page: what the fields offer, and none of their values."""

from __future__ import annotations

import gradio as gr
import pytest

from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import list_models
from diffatlas.ui import links
from diffatlas.ui.carrying import followed
from diffatlas.ui.components import form as forms


@pytest.fixture(scope="module")
def form():
    models = list_models("local")
    with gr.Blocks():
        return forms.build_form(models, shared_local_backend().info(models[0].id))


def by_name(form, asked):
    *updates, last = followed(form, asked)
    return dict(zip(links.NAMES, updates, strict=True)), last


def test_a_model_brings_what_its_fields_offer_and_no_values(form):
    updates, last = by_name(form, {"model": "shapes-dit", "guidance_method": ""})
    assert last == "shapes-dit"
    assert all("value" not in update for update in updates.values())
    assert "flow matching" in updates["model"]["info"]
    assert "flow_heun" in [name for _, name in updates["scheduler"]["choices"]]
    assert updates["size"]["choices"][0][1] == "64x64"
    for name in ("prompt", "seed", "steps", "guidance"):
        assert updates[name] == gr.skip()


def test_a_method_shows_its_options(form):
    assert by_name(form, {"guidance_method": "apg"})[0]["guidance_options"]["visible"] is True
    assert (
        by_name(form, {"model": "shapes", "guidance_method": ""})[0]["guidance_options"]["visible"] is False
    )


def test_a_model_that_is_none_says_so_and_touches_nothing_else(form):
    updates, last = by_name(form, {"model": "no/where/at all"})
    assert updates["model"]["elem_classes"] == ["da-wrong"]
    assert last == "no/where/at all"
    assert updates["size"] == gr.skip()


@pytest.mark.parametrize("asked", [None, {}, "x", {"model": ""}, {"model": ["a"]}])
def test_nothing_is_said_where_neither_came_along(form, asked):
    assert followed(form, asked) is None
