"""A preset that is pressed fills the form: with its model's own settings, and what the preset changes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import DiffAtlasError
from diffatlas.registry import ModelEntry
from diffatlas.ui import chosen_model, said
from diffatlas.ui.components import fields
from diffatlas.ui.hosted_fields import place_words
from diffatlas.ui.places import LOCAL
from diffatlas.ui.presets import Preset
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.reset import all_settings

#: Fields that decide nothing of what a preset shows.
_ASIDE = ("previews", "again", "runs")
#: What to look for is said of the very request of a preset; ``hint`` may go on to say which model was chosen for it.
_SAY = """(...values) => {
  const hint = values.pop() ?? "";
  const asked = JSON.stringify(values.map((value) => String(value ?? "")));
  const found = %s.find((preset) => preset.asked === asked);
  return !found ? %s : hint.startsWith(found.look_for) ? hint : found.look_for;
}"""

Follow = Callable[[ModelEntry, ModelInfo | None], list[Any]]


def wire_presets(
    form: Any, page: str, last: gr.State, also: Sequence[gr.components.Component], follow: Follow
) -> None:
    """Let the presets of a form fill it, and its line say what to look for. They never run anything.

    page: the prefix of the form's ids. last: the model that the fields follow. ``also``, ``follow``: as of `wire_form`.
    """
    row = form.presets
    first = [field.value for field in form.resets]
    named = fields_by_name(form, page)
    pictures = [form.picture.editor] if hasattr(form, "picture") else []
    around = [row.hint, form.keep, last, form.reset, *pictures]

    def pressed(preset: Preset) -> Callable[[str], list[Any]]:
        def press(model: str) -> list[Any]:
            try:
                updates = filled(form, named, first, preset, also, follow)
            except DiffAtlasError as error:
                said.warn(error.message, "Preset")
                return [
                    gr.skip()
                    for _ in (*around, form.backend, form.model, form.prompt, form.seed, *form.resets)
                ]
            line = preset.look_for
            if model != preset.model:
                line += f" The model is now {chosen_model.entry_at_hand(preset.model).name}."
            emptied = [None for _ in pictures]
            kept = [line, gr.update(visible=False), preset.model, fields.RESET, *emptied]
            return [
                *kept,
                *(
                    updates[field]
                    for field in (form.backend, form.model, form.prompt, form.seed, *form.resets)
                ),
            ]

        return press

    outputs = [*around, form.backend, form.model, form.prompt, form.seed, *form.resets]
    for button, preset in zip(row.buttons, row.presets, strict=True):
        button.click(pressed(preset), form.model, outputs, queue=False, **PRIVATE)
    compared = [field for name, field in named.items() if name not in _ASIDE]
    known = []
    for preset in row.presets:
        updates = filled(form, named, first, preset, also, follow)
        texts = [_text(value_of(updates[field])) for field in compared]
        asked = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        known.append({"asked": asked, "look_for": preset.look_for})
    say = _SAY % (json.dumps(known), json.dumps(row.own))
    gr.on([field.change for field in compared], None, [*compared, row.hint], row.hint, js=say, **PRIVATE)


def fields_by_name(form: Any, page: str) -> dict[str, gr.components.Component]:
    """Return a form's fields by the names in their ids, which are those of `Preset.settings`."""
    named = [field for field in (form.model, form.prompt, form.seed, *form.resets) if field.elem_id]
    return {field.elem_id.removeprefix(f"{page}-"): field for field in named}


def filled(
    form: Any,
    named: dict[str, gr.components.Component],
    first: Sequence[Any],
    preset: Preset,
    also: Sequence[gr.components.Component],
    follow: Follow,
) -> dict[gr.components.Component, Any]:
    """Return the updates of backend, model, prompt, seed and all settings by a preset.

    first: what each of ``form.resets`` begins with. Raises the errors of `diffatlas.ui.chosen_model.choose`.
    """
    chosen = chosen_model.choose(preset.model)
    given = {named[name]: value for name, value in preset.settings.items()}
    return {
        form.backend: said.hint(place_words(LOCAL), value=LOCAL),
        form.model: said.hint(
            chosen.line, value=preset.model, choices=fields.choices_of(LOCAL), elem_classes=[]
        ),
        form.prompt: preset.prompt,
        form.seed: preset.seed,
        **all_settings(form, first, also, follow, chosen, given),
    }


def value_of(update: Any) -> Any:
    """Return the value that an update gives a field."""
    return update["value"] if isinstance(update, dict) else update


def _text(value: Any) -> str:
    """A value as JavaScript writes it: a number that is whole has no point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
