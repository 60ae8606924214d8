"""The fields that every page's form is put together from. The elements of a page are told apart by its prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.guidance import METHODS
from diffatlas.registry import HostedModel, ModelEntry
from diffatlas.request import FIELDS, MAX_SIDE, NUMBER, WHOLE, Field, named
from diffatlas.ui import said
from diffatlas.ui.chosen_model import where
from diffatlas.ui.guidance_values import guidance_html
from diffatlas.ui.places import LOCAL, choices, models_of
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.starts import first_of_form
from diffatlas.ui.workshop.held import first_value, has_models, is_fixed, takes_size

PREVIEWS = (
    ("Every step", "every"),
    ("Every 2nd step", "2"),
    ("Every 5th step", "5"),
    ("Every 10th step", "10"),
    ("Off", "off"),
)
ATTENTION = (("Off", "off"), ("What each word looks at", "cross"), ("Words and places", "all"))
#: What the button of `reset_button` says, before it is pressed and after.
RESET, UNDO_RESET = "Reset to the model’s own settings", "Undo the reset"
DECODERS = (("Linear, nearly free", "linear"), ("Decoded by the VAE", "vae"))


#: The fields of a request that this module draws one by one; those that are added to requests are drawn by their rows.
DRAWN = (
    "model", "prompt", "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "size", "scheduler",
    "guidance_method", "guidance_options", "noise", "num_images_per_prompt",
)  # fmt: skip


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled."""

    steps: gr.Number
    guidance: gr.Number
    size: gr.Dropdown
    #: Guidance values to choose from, beside the number.
    guides: gr.HTML


@dataclass(frozen=True)
class More:
    """What is folded away."""

    negative_prompt: gr.Textbox
    scheduler: gr.Dropdown
    guidance_method: gr.Dropdown
    guidance_options: gr.Textbox
    previews: gr.Dropdown
    preview_decoder: gr.Radio
    again: gr.Checkbox
    #: The fields of a request that are in no other place of a form, by their names in a link.
    others: dict[str, gr.components.Component]

    @property
    def settings(self) -> list[gr.components.Component]:
        """All of them, in the order in which they are drawn."""
        method = [self.guidance_method, self.guidance_options]
        shown = [self.previews, self.preview_decoder, self.again]
        return [self.negative_prompt, self.scheduler, *method, *self.others.values(), *shown]


def worded(page: str, name: str) -> dict[str, Any]:
    """Return the label, the line beneath and the id of a field of a request, as its component takes them."""
    field = named(name)
    return {"label": field.label, "info": said.as_hint(field.hint) or None, "elem_id": f"{page}-{name}"}


def prompt_field(page: str) -> gr.Textbox:
    """Draw the prompt, and the place for the words that its model knows."""
    prompt = gr.Textbox(
        first_of_form(page).prompt,
        lines=1,
        max_lines=5,
        max_length=2000,
        **worded(page, "prompt"),
    )
    # The words of the model that is chosen (``static/form/taught_words.js``).
    gr.HTML(f'<div class="da-form-words" data-page="{page}"></div>', elem_classes="da-form-taught")
    return prompt


def backend_field(page: str) -> gr.Dropdown:
    """Draw the choice of where the model runs: this machine, a place elsewhere, or a provider."""
    return gr.Dropdown(
        choices(),
        value=LOCAL,
        label="Backend",
        info="Where the model runs.",
        visible=not has_models(),
        elem_id=f"{page}-backend",
    )


def model_field(page: str, models: list[ModelEntry]) -> tuple[gr.Dropdown, gr.Button]:
    """Draw the choice of a model, which may be any of the Hub or a folder, and the button that keeps it in the list."""
    model = gr.Dropdown(
        model_choices(models),
        value=models[0].id,
        allow_custom_value=not has_models(),
        **worded(page, "model") | {"info": said.as_hint(models[0].notes or "From models/local.md.")},
    )
    keep = gr.Button(
        "Keep", size="sm", min_width=0, visible=False, elem_id=f"{page}-keep", elem_classes="da-keep"
    )
    return model, keep


def choices_of(backend: str) -> list[tuple[str, str]]:
    """Return what the model field offers for a backend, as label and id."""
    models = models_of(backend)
    return model_choices(models) if backend == LOCAL else [(entry.name, entry.id) for entry in models]


def model_choices(models: Sequence[ModelEntry]) -> list[tuple[str, str]]:
    """Return what the model field offers, as label and id: each says whether the model has to be downloaded."""
    labels = ((" · ".join(filter(None, (entry.name, where(entry)))), entry.id) for entry in models)
    return list(labels)


def seed_fields(page: str) -> tuple[gr.Number, gr.Button]:
    """Draw the seed, and the button that draws one; inside a row."""
    first = first_of_form(page).seed
    seed = gr.Number(first, **worded(page, "seed"))
    dice = gr.Button("Draw", size="sm", scale=0, min_width=0, elem_id=f"{page}-dice", elem_classes="da-dice")
    return seed, dice


def linked_fields(page: str) -> tuple[gr.Textbox, gr.Number]:
    """Draw what is seen only where a link asks for it: noise that is not the seed's alone, and several images."""
    noise = gr.Textbox(
        "",
        max_length=200,
        visible=False,
        **worded(page, "noise"),
    )
    images = gr.Number(
        1,
        visible=False,
        **worded(page, "num_images_per_prompt"),
    )
    return noise, images


def sampling_fields(page: str, entry: ModelEntry, info: ModelInfo | None) -> Sampling:
    """Draw steps, guidance and size in a row, and beneath them the guidance values that one may choose from."""
    with gr.Row(elem_classes="da-fields da-sampling"):
        steps = gr.Number(
            entry.steps or 30,
            min_width=60,
            interactive=not is_fixed("steps"),
            **worded(page, "num_inference_steps"),
        )
        guidance = gr.Number(
            5.0 if entry.guidance is None else entry.guidance,
            step=0.5,
            min_width=60,
            interactive=not is_fixed("guidance"),
            **worded(page, "guidance_scale"),
        )
        size = gr.Dropdown(
            **size_choices(info, entry),
            allow_custom_value=True,
            min_width=60,
            interactive=not is_fixed("size"),
            **worded(page, "size"),
        )
    guides = gr.HTML(
        guidance_html(page, entry, None),
        visible=not is_fixed("guidance"),
        elem_id=f"{page}-guides",
        js_on_load=None,
        apply_default_css=False,
    )
    return Sampling(steps, guidance, size, guides)


def more_fields(page: str, entry: ModelEntry, info: ModelInfo | None, single: bool = True) -> More:
    """Draw what is folded away; inside an accordion. single: whether the form asks for single runs."""
    negative = gr.Textbox(
        first_value("negative_prompt") or "",
        max_length=2000,
        interactive=not is_fixed("negative_prompt"),
        **worded(page, "negative_prompt"),
    )
    scheduler = gr.Dropdown(
        **scheduler_choices(info),
        allow_custom_value=True,
        interactive=not is_fixed("scheduler"),
        **worded(page, "scheduler"),
    )
    method = gr.Dropdown(
        **method_choices(),
        **worded(page, "guidance_method"),
    )
    options = gr.Textbox(
        "",
        max_length=400,
        visible=False,
        **worded(page, "guidance_options") | {"info": said.as_hint(options_hint(""))},
    )
    # By hand only: a link brings its own options along.
    method.input(_on_method, method, options, queue=False, **PRIVATE)
    added = [field for field in FIELDS if field.in_forms and field.name not in DRAWN]
    others = {field.link: _added(page, field) for field in added if single or not field.single}
    previews = gr.Dropdown(
        list(PREVIEWS),
        value="every",
        label="Previews",
        info="Which steps get a frame of the film; any number N for every Nth.",
        allow_custom_value=True,
        elem_id=f"{page}-previews",
    )
    decoder = gr.Radio(
        list(DECODERS),
        value=preview_decoder_for(entry),
        label="Kind of preview",
        info="How latents become a picture.",
    )
    again = gr.Checkbox(
        False,
        label="Run again",
        info="Even where the library has the same run already.",
        elem_id=f"{page}-again",
    )
    return More(negative, scheduler, method, options, previews, decoder, again, others)


def _added(page: str, field: Field) -> gr.components.Component:
    if field.kind in (WHOLE, NUMBER):
        return gr.Number(None, **worded(page, field.name))
    return gr.Textbox("", max_length=2000, **worded(page, field.name))


def attention_field(page: str) -> gr.Dropdown:
    """Draw the choice of what to capture of attention."""
    return gr.Dropdown(
        list(ATTENTION),
        value="off",
        label="Attention",
        info="What is captured besides. Places take most of the disk.",
        elem_id=f"{page}-attention",
    )


def _on_method(name: str) -> Any:
    has = bool(name) and bool(METHODS[name].options)
    return said.hint(options_hint(name), value="", visible=has)


def action_buttons(page: str, label: str = "Run") -> tuple[gr.Button, gr.Button]:
    """Draw Run and Stop."""
    with gr.Row(elem_classes="da-actions"):
        run = gr.Button(
            label, variant="primary", elem_id=f"{page}-run", elem_classes="da-go", min_width=120, scale=2
        )
        stop = gr.Button("Stop", elem_id=f"{page}-stop", elem_classes="da-stop", min_width=80, scale=1)
    return run, stop


def reset_button(page: str) -> gr.Button:
    """Draw the button that puts a form back to its model's own settings, and then undoes that."""
    return gr.Button(RESET, size="sm", min_width=0, elem_id=f"{page}-reset", elem_classes="da-form-reset")


def size_choices(info: ModelInfo | None, entry: ModelEntry) -> dict[str, Any]:
    """Return choices and value of the size field: the native size, and a few around it that fit."""
    hosted = isinstance(entry, HostedModel)
    usual = 1024 if hosted else 512
    width, height = (info.width, info.height) if info else (entry.size or usual, entry.size or usual)
    multiple = info.size_multiple if info else 16
    least, most = 0, MAX_SIDE
    if hosted and entry.sides:
        least, most, multiple = entry.sides
    choices = [(f"{width} × {height} ★", f"{width}x{height}")]
    for across, down in ((1.5, 1), (1, 1.5), (0.75, 0.75), (1.5, 1.5)):
        w, h = (
            max(1, round(side * k / multiple)) * multiple for side, k in ((width, across), (height, down))
        )
        choice = (f"{w} × {h}", f"{w}x{h}")
        if choice[1] not in {value for _, value in choices} and least <= min(w, h) and max(w, h) <= most:
            choices.append(choice)
    choices = [(label, size) for label, size in choices if takes_size(size)] or choices[:1]
    first = first_value("size") or choices[0][1]
    if first not in {value for _, value in choices}:
        choices.insert(0, (first.replace("x", " × "), first))
    return {"choices": choices, "value": first}


def scheduler_choices(info: ModelInfo | None) -> dict[str, Any]:
    """Return choices and value of the scheduler field; the model's own is the empty string."""
    names = info.schedulers if info else ()
    own = f"{names[0]} (the model’s own)" if names else "The model’s own"
    return {
        "choices": [(own, ""), *((name, name) for name in names[1:])],
        "value": first_value("scheduler") or "",
    }


def method_choices() -> dict[str, Any]:
    """Return choices and value of the guidance method; the plain formula is the empty string."""
    named = [(method.label, name) for name, method in METHODS.items()]
    return {"choices": [("Plain (classifier-free)", ""), *named], "value": ""}


def options_hint(method: str) -> str:
    """Return what can be written into the options of a method."""
    if not method:
        return ""
    known = METHODS[method].options
    return "Such as " + ", ".join(f"{name}={option.default:g}" for name, option in known.items()) + "."


def preview_decoder_for(entry: ModelEntry) -> str:
    """Return the kind of preview to begin with: small pictures can afford the VAE at every step; from 512 pixels
    on, one decoding costs about as much as one step."""
    return "vae" if (entry.size or 512) <= 128 else "linear"
