"""The presets of a page's form: a word to press for each, and a line that says what to look for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from diffatlas.registry import ModelEntry
from diffatlas.ui.presets import Preset
from diffatlas.ui.starts import first_of_form, page_of_form
from diffatlas.ui.workshop.held import presets_of

#: What is said of a request that is none of a page's presets.
OWN = {
    "trajectory": "Your own request: look for the step at which the main thing can first be told, and at what comes "
    "after it.",
    "sweep": "Your own sweep: look for the value from which on it is another picture, and for what stays the same.",
    "neighbourhood": "Your own neighbourhood: look for what all neighbours share, and for the nearest that is "
    "something else.",
    "attention": "Your own request: look whether each word looks at what it names, and from which step on.",
}


@dataclass(frozen=True)
class PresetRow:
    """``buttons``: one for each of ``presets``. ``hint`` says what to look for; ``own`` of a request that is none."""

    presets: tuple[Preset, ...]
    buttons: tuple[gr.Button, ...]
    hint: gr.Markdown
    own: str


def no_presets() -> PresetRow:
    """Return the row of a form that has no presets, which is not seen."""
    return PresetRow((), (), gr.Markdown(visible=False), "")


def preset_row(page: str, models: Sequence[ModelEntry]) -> PresetRow:
    """Draw the presets whose models are listed, and the line; inside a form's column.

    page: the prefix of the form's ids.
    """
    listed = {entry.id for entry in models}
    name = page_of_form(page)
    presets = tuple(preset for preset in presets_of(name) if preset.model in listed)
    with gr.Row(elem_classes="da-presets", visible=bool(presets)):
        buttons = tuple(gr.Button(preset.name, size="sm", min_width=0, scale=0) for preset in presets)
    # The line never goes: the fields beneath it would move at the first letter.
    first = first_of_form(page)
    says = first.look_for if first in presets and first.model == models[0].id else OWN[name]
    return PresetRow(presets, buttons, gr.Markdown(says, elem_classes="da-hint"), OWN[name])
