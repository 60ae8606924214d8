"""The form of the Attention page: a request, and what to capture of its attention."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.registry import ModelEntry
from diffatlas.ui.components import fields
from diffatlas.ui.components.form import (
    METHOD,
    SAMPLED,
    Form,
    arranged,
    begin_form,
    shown_of,
    to_capture,
    whole,
)

PAGE = "attention"
KINDS = (("Words and places", "all"), ("Words only", "cross"), ("Places only", "self"))
HEADS = (("Averaged", "mean"), ("Each", "each"))
HALVES = (("For the prompt", "cond"), ("Both", "both"))
#: From this size of pictures on, attention between places is left out at first: it takes most of the disk.
LARGE = 256


@dataclass(frozen=True)
class Watching:
    """How attention is captured."""

    heads: gr.Radio
    halves: gr.Radio
    every: gr.Number
    most_layers: gr.Number
    layers: gr.Textbox

    @property
    def fields(self) -> dict[str, gr.components.Component]:
        """By the names of the endpoint's arguments, as `to_watching` reads them."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}


@dataclass(frozen=True)
class AttentionForm(Form):
    """The fields of the Attention page: those of a run, and how its attention is captured."""

    watching: Watching

    @property
    def resets(self) -> list[gr.components.Component]:
        """See `Form.resets`."""
        return [*super().resets, *self.watching.fields.values()]

    @property
    def inputs(self) -> dict[str, gr.components.Component]:
        """What a run is made of, by the names of the endpoint's arguments, in their order."""
        watched = {"kind": self.attention, **self.watching.fields}
        shown = ("previews", "preview_decoder", "runs", "seed_mode", "again")
        first = (*SAMPLED, *METHOD, *shown, *watched, "noise", "images", "picture", "amount", "backend")
        return arranged(first, {**self.asked, **shown_of(self), **watched})


def build_attention_form(models: list[ModelEntry], info: ModelInfo | None) -> AttentionForm:
    """Draw the form for the first of ``models``; ``info`` is what is known of it."""
    first = models[0]
    with gr.Column(elem_classes="da-form"):
        begun = begin_form(PAGE, models, info)
        attention = gr.Dropdown(
            list(KINDS),
            value=kind_for(first),
            label="Capture",
            info="What looks at what. Places take most of the disk.",
            elem_id=f"{PAGE}-attention",
        )
        with gr.Accordion("More: layers, heads, scheduler", open=False, elem_classes="da-fold"):
            watching = _watching_fields()
            more = fields.more_fields(PAGE, first, info)
        reset = fields.reset_button(PAGE)
        run, stop = fields.action_buttons(PAGE)
    return AttentionForm(
        **begun, more=more, attention=attention, watching=watching, reset=reset, run=run, stop=stop
    )


def _watching_fields() -> Watching:
    heads = gr.Radio(list(HEADS), value="mean", label="Heads", info="Each takes their number as often.")
    halves = gr.Radio(list(HALVES), value="cond", label="Halves of guidance", info="Which passes are kept.")
    with gr.Row(elem_classes="da-fields da-pair-fields"):
        every = gr.Number(
            1, label="Every", info="Nth step.", elem_id=f"{PAGE}-attention_every", min_width=60, precision=0
        )
        most = gr.Number(
            None,
            label="Layers",
            info="At most.",
            elem_id=f"{PAGE}-attention_max_layers",
            min_width=60,
            precision=0,
        )
    layers = gr.Textbox(
        "",
        label="Which layers",
        info="All if empty; parts or names with commas, such as mid, up_blocks.1.*",
        max_length=400,
        elem_id=f"{PAGE}-attention_layers",
    )
    return Watching(heads, halves, every, most, layers)


def kind_for(entry: ModelEntry) -> str:
    """Return what of attention to capture at first for a model."""
    return "all" if (entry.size or 512) < LARGE else "cross"


def to_watching(asked: Mapping[str, Any]) -> Capture:
    """Return what to capture, by the names of `AttentionForm.inputs`. Raises `InvalidParams` naming the field that is
    wrong."""
    kind = asked["kind"]
    names = tuple(name for name in re.split(r"[,\s]+", asked["layers"] or "") if name)
    if kind not in {value for _, value in KINDS}:
        raise InvalidParams(
            f"The attention to capture is {kind!r}: choose all, cross (words) or self (places).",
            field="attention",
        )
    return replace(
        to_capture(asked["previews"], asked["preview_decoder"]),
        attention=kind,
        attention_heads=asked["heads"],
        attention_halves=asked["halves"],
        attention_every=whole(asked["every"]),
        attention_max_layers=whole(asked["most_layers"]),
        attention_layers=names or None,
    )
