"""The fields that every page's form is put together from. The elements of a page are told apart by its prefix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.guidance import METHODS
from diffatlas.registry import ModelEntry
from diffatlas.ui.presets import PRESETS

PREVIEWS = (
    ("Every step", "every"),
    ("Every 2nd step", "2"),
    ("Every 5th step", "5"),
    ("Every 10th step", "10"),
    ("Off", "off"),
)
ATTENTION = (("Off", "off"), ("What each word looks at", "cross"), ("Words and places", "all"))
DECODERS = (("Linear, nearly free", "linear"), ("Decoded by the VAE", "vae"))


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled."""

    steps: gr.Number
    guidance: gr.Number
    size: gr.Dropdown


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


def prompt_field(page: str) -> gr.Textbox:
    """Draw the prompt, and the prompts that one may begin with."""
    prompt = gr.Textbox(
        PRESETS[0].prompt,
        label="Prompt",
        info="What the image should show. Enter runs it.",
        lines=1,
        max_lines=5,
        max_length=2000,
        elem_id=f"{page}-prompt",
    )
    with gr.Row(elem_classes="da-presets"):
        buttons = [gr.Button(preset.name, size="sm", min_width=0, scale=0) for preset in PRESETS]
    hint = gr.Markdown(PRESETS[0].look_for, elem_classes="da-hint")
    for button, preset in zip(buttons, PRESETS, strict=True):
        button.click(None, outputs=prompt, js=f"() => {json.dumps(preset.prompt)}", api_visibility="private")
    # What to look for is said of a preset, not of anything else that is typed or that a link brings.
    looks = json.dumps({preset.prompt: preset.look_for for preset in PRESETS})
    prompt.change(None, prompt, hint, js=f"words => ({looks})[words] ?? ''", api_visibility="private")
    return prompt


def model_field(page: str, models: list[ModelEntry]) -> tuple[gr.Dropdown, gr.Button]:
    """Draw the choice of a model, which may be any of the Hub or a folder, and the button that keeps it in the list."""
    model = gr.Dropdown(
        model_choices(models),
        value=models[0].id,
        label="Model",
        info=models[0].notes or "From models/local.md.",
        allow_custom_value=True,
        elem_id=f"{page}-model",
    )
    keep = gr.Button(
        "Keep", size="sm", min_width=0, visible=False, elem_id=f"{page}-keep", elem_classes="da-keep"
    )
    return model, keep


def model_choices(models: list[ModelEntry]) -> list[tuple[str, str]]:
    """Return what the model field offers, as name and id."""
    return [(entry.name, entry.id) for entry in models]


def seed_fields(page: str) -> tuple[gr.Number, gr.Button]:
    """Draw the seed, and the button that draws one; inside a row."""
    seed = gr.Number(7, label="Seed", info="The noise is drawn from it.", elem_id=f"{page}-seed")
    dice = gr.Button("Draw", size="sm", scale=0, min_width=0, elem_id=f"{page}-dice", elem_classes="da-dice")
    return seed, dice


def linked_fields(page: str) -> tuple[gr.Textbox, gr.Number]:
    """Draw what is seen only where a link asks for it: noise that is not the seed's alone, and several images."""
    noise = gr.Textbox(
        "",
        label="Noise",
        info="What the seed’s noise becomes. Empty it to leave that out.",
        max_length=200,
        elem_id=f"{page}-noise",
        visible=False,
    )
    images = gr.Number(
        1,
        label="Images",
        info="In one batch; the first is shown. 1 for one.",
        elem_id=f"{page}-num_images_per_prompt",
        visible=False,
    )
    return noise, images


def sampling_fields(page: str, entry: ModelEntry, info: ModelInfo | None) -> Sampling:
    """Draw steps, guidance and size in a row."""
    with gr.Row(elem_classes="da-fields da-three"):
        steps = gr.Number(
            entry.steps or 30,
            label="Steps",
            info="How many.",
            elem_id=f"{page}-num_inference_steps",
            min_width=60,
        )
        guidance = gr.Number(
            5.0 if entry.guidance is None else entry.guidance,
            label="Guidance",
            info="1 is off.",
            step=0.5,
            elem_id=f"{page}-guidance_scale",
            min_width=60,
        )
        size = gr.Dropdown(
            **size_choices(info, entry),
            label="Size",
            info="★ native.",
            allow_custom_value=True,
            elem_id=f"{page}-size",
            min_width=60,
        )
    return Sampling(steps, guidance, size)


def more_fields(page: str, entry: ModelEntry, info: ModelInfo | None) -> More:
    """Draw what is folded away; inside an accordion."""
    negative = gr.Textbox(
        "",
        label="Negative prompt",
        info="What guidance pushes away from.",
        max_length=2000,
        elem_id=f"{page}-negative_prompt",
    )
    scheduler = gr.Dropdown(
        **scheduler_choices(info),
        label="Scheduler",
        info="The rule of the steps; the model’s own comes first.",
        allow_custom_value=True,
        elem_id=f"{page}-scheduler",
    )
    method = gr.Dropdown(
        **method_choices(),
        label="Guidance method",
        info="How the two predictions are put together.",
        elem_id=f"{page}-guidance_method",
    )
    options = gr.Textbox(
        "",
        label="Method options",
        info=options_hint(""),
        max_length=400,
        elem_id=f"{page}-guidance_options",
        visible=False,
    )
    # By hand only: a link brings its own options along.
    method.input(_on_method, method, options, queue=False, api_visibility="private", show_progress="hidden")
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
    return More(negative, scheduler, method, options, previews, decoder, again)


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
    return gr.update(value="", info=options_hint(name), visible=has)


def action_buttons(page: str, label: str = "Run") -> tuple[gr.Button, gr.Button]:
    """Draw Run and Stop."""
    with gr.Row(elem_classes="da-actions"):
        run = gr.Button(
            label, variant="primary", elem_id=f"{page}-run", elem_classes="da-go", min_width=120, scale=2
        )
        stop = gr.Button("Stop", elem_id=f"{page}-stop", elem_classes="da-stop", min_width=80, scale=1)
    return run, stop


def size_choices(info: ModelInfo | None, entry: ModelEntry) -> dict[str, Any]:
    """Return choices and value of the size field: the native size, and a few around it that fit."""
    width, height = (info.width, info.height) if info else (entry.size or 512, entry.size or 512)
    multiple = info.size_multiple if info else 16
    choices = [(f"{width} × {height} ★", f"{width}x{height}")]
    for across, down in ((1.5, 1), (1, 1.5), (0.75, 0.75), (1.5, 1.5)):
        w, h = (
            max(1, round(side * k / multiple)) * multiple for side, k in ((width, across), (height, down))
        )
        choice = (f"{w} × {h}", f"{w}x{h}")
        if choice[1] not in {value for _, value in choices}:
            choices.append(choice)
    return {"choices": choices, "value": choices[0][1]}


def scheduler_choices(info: ModelInfo | None) -> dict[str, Any]:
    """Return choices and value of the scheduler field; the model's own is the empty string."""
    names = info.schedulers if info else ()
    own = f"{names[0]} (the model’s own)" if names else "The model’s own"
    return {"choices": [(own, ""), *((name, name) for name in names[1:])], "value": ""}


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
