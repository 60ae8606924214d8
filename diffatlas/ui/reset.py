"""The button that puts a form back to its model's own settings, and takes that back when it is pressed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import DiffAtlasError
from diffatlas.guidance import METHODS
from diffatlas.registry import ModelEntry
from diffatlas.ui import chosen_model, said
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.hosted_fields import choose
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.visitors import visitor_of


def wire_reset(
    form: Any,
    also: Sequence[gr.components.Component],
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]],
) -> None:
    """Wire a form's reset. ``also`` and ``follow``: what changes with the model besides, as of `wire_form`.

    Backend, model, prompt, seed and picture stay. Whatever is changed by hand afterwards ends the offer to undo.
    """
    settings = form.resets
    # Before anything is asked of the form: what each field begins with.
    first = [field.value for field in settings]
    before = gr.State(None)

    def press(
        request: gr.Request, label: str, kept: list[Any] | None, backend: str, model: str, *values: Any
    ) -> list[Any]:
        if label == fields.UNDO_RESET and kept is not None:
            return [None, fields.RESET, *_shown(form, settings, kept).values()]
        try:
            chosen = choose(backend, model, visitor_of(request, request.session_hash) or "")
        except DiffAtlasError as error:
            said.warn(error.message, "Reset")
            return [gr.skip() for _ in (before, form.reset, *settings)]
        updates = all_settings(form, first, also, follow, chosen)
        return [list(values), fields.UNDO_RESET, *updates.values()]

    form.reset.click(
        press,
        [form.reset, before, form.backend, form.model, *settings],
        [before, form.reset, *settings],
        **PRIVATE,
    )
    ended = f"() => {json.dumps(fields.RESET)}"
    typed = [form.model, form.prompt, form.seed, *settings]
    gr.on([field.input for field in typed], None, None, form.reset, js=ended, **PRIVATE)


def all_settings(
    form: Any,
    first: Sequence[Any],
    also: Sequence[gr.components.Component],
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]],
    chosen: chosen_model.Chosen,
    given: Mapping[Any, Any] = MappingProxyType({}),
) -> dict[Any, Any]:
    """Return the updates of all settings to a model's own, by field, but for the values that are ``given`` by field.

    first: what each of ``form.resets`` begins with. ``also`` and ``follow``: as of `wire_reset`.
    """
    values = [given.get(field, value) for field, value in zip(form.resets, first, strict=True)]
    updates = _shown(form, form.resets, values)
    followed = dict(zip(also, follow(chosen.entry, chosen.info), strict=True))
    for field, own in (own_settings(form, chosen.entry, chosen.info) | followed).items():
        if field not in given:
            updates[field] = own
        elif isinstance(own, dict):
            updates[field] = {**own, "value": given[field]}
    return updates


def own_settings(form: Any, entry: ModelEntry, info: ModelInfo | None) -> dict[Any, Any]:
    """Return the updates that a model's own settings are, by field."""
    sampling, more = form.sampling, form.more
    named = [sampling.steps, sampling.guidance, sampling.size, more.scheduler, more.preview_decoder]
    return dict(zip(named, forms.on_model(entry, info)[1:], strict=True))


def _shown(form: Any, settings: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
    """Return updates to values by field, with those in sight that are there only where they say something."""
    by_field = dict(zip(settings, values, strict=True))
    method = by_field[form.more.guidance_method]
    seen = {form.more.guidance_options: bool(method) and bool(METHODS[method].options)}
    for field, usual in zip(getattr(form, "linked", ()), ("", 1), strict=False):
        seen[field] = by_field[field] not in (usual, None)
    return {
        field: gr.update(value=value, visible=seen[field]) if field in seen else gr.update(value=value)
        for field, value in by_field.items()
    }
