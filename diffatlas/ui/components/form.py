"""The form of a generation: its fields, and how their values become `GenerationParams`."""

from __future__ import annotations

import json
import math
import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.ui.presets import PRESETS

SEED_MODES = (("Keep", "keep"), ("+1", "next"), ("Shuffle", "shuffle"))
PREVIEWS = (
    ("Every step", "every"),
    ("Every 2nd step", "2"),
    ("Every 5th step", "5"),
    ("Every 10th step", "10"),
    ("Off", "off"),
)
DECODERS = (("Linear, nearly free", "linear"), ("Decoded by the VAE", "vae"))
MAX_RUNS = 50
#: Seeds drawn for the user stay below this: short enough to read aloud.
DRAWN_SEEDS = 2**31


@dataclass(frozen=True)
class Form:
    """The fields, in the order in which `to_params` takes them, and what else the page wires."""

    model: gr.Dropdown
    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    seed: gr.Number
    steps: gr.Number
    guidance: gr.Number
    size: gr.Dropdown
    scheduler: gr.Dropdown
    previews: gr.Dropdown
    preview_decoder: gr.Radio
    runs: gr.Number
    seed_mode: gr.Radio
    again: gr.Checkbox
    dice: gr.Button
    run: gr.Button
    stop: gr.Button

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What a run is made of."""
        return [
            self.model,
            self.prompt,
            self.negative_prompt,
            self.seed,
            self.steps,
            self.guidance,
            self.size,
            self.scheduler,
            self.previews,
            self.preview_decoder,
            self.runs,
            self.seed_mode,
            self.again,
        ]

    @property
    def submits(self) -> list[Any]:
        """The events that start a run."""
        typed = (self.prompt, self.negative_prompt, self.seed, self.steps, self.guidance, self.runs)
        return [self.run.click, *(field.submit for field in typed)]


def build_form(models: list[ModelEntry], info: ModelInfo | None) -> Form:
    """Draw the form for the first of ``models``; ``info`` is what is known of it."""
    first = models[0]
    with gr.Column(elem_classes="da-form"):
        prompt = gr.Textbox(
            PRESETS[0].prompt,
            label="Prompt",
            info="What the image should show. Enter runs it.",
            lines=1,
            max_lines=5,
            max_length=2000,
            elem_id="field-prompt",
        )
        _build_presets(prompt)
        model = gr.Dropdown(
            [(entry.name, entry.id) for entry in models],
            value=first.id,
            label="Model",
            info=first.notes or "From models/local.md.",
            elem_id="field-model",
        )
        with gr.Row(elem_classes="da-fields da-seed"):
            seed = gr.Number(7, label="Seed", info="The noise is drawn from it.", elem_id="field-seed")
            dice = gr.Button("Draw", size="sm", scale=0, min_width=0, elem_id="dice")
            runs = gr.Number(1, label="Runs", info="In a row.", elem_id="field-runs", min_width=60, scale=0)
        seed_mode = gr.Radio(
            list(SEED_MODES), value="keep", label="After a run", info="What becomes of the seed."
        )
        with gr.Row(elem_classes="da-fields da-three"):
            steps = gr.Number(
                first.steps or 30,
                label="Steps",
                info="How many.",
                elem_id="field-num_inference_steps",
                min_width=60,
            )
            guidance = gr.Number(
                5.0 if first.guidance is None else first.guidance,
                label="Guidance",
                info="1 is off.",
                step=0.5,
                elem_id="field-guidance_scale",
                min_width=60,
            )
            size = gr.Dropdown(
                **size_choices(info, first),
                label="Size",
                info="★ native.",
                allow_custom_value=True,
                elem_id="field-size",
                min_width=60,
            )
        with gr.Accordion("More: negative prompt, scheduler, previews", open=False, elem_classes="da-fold"):
            negative = gr.Textbox(
                "",
                label="Negative prompt",
                info="What guidance pushes away from.",
                max_length=2000,
                elem_id="field-negative_prompt",
            )
            scheduler = gr.Dropdown(
                **scheduler_choices(info),
                label="Scheduler",
                info="The rule of the steps; the model’s own comes first.",
                allow_custom_value=True,
                elem_id="field-scheduler",
            )
            previews = gr.Dropdown(
                list(PREVIEWS),
                value="every",
                label="Previews",
                info="Which steps get a frame of the film; any number N for every Nth.",
                allow_custom_value=True,
                elem_id="field-previews",
            )
            decoder = gr.Radio(
                list(DECODERS),
                value=preview_decoder_for(first),
                label="Kind of preview",
                info="How latents become a picture.",
            )
            again = gr.Checkbox(
                False,
                label="Run again",
                info="Even where the library has the same run already.",
                elem_id="field-again",
            )
        with gr.Row(elem_classes="da-actions"):
            run = gr.Button("Run", variant="primary", elem_id="run", min_width=120, scale=2)
            stop = gr.Button("Stop", elem_id="stop", min_width=80, scale=1)
    return Form(
        model, prompt, negative, seed, steps, guidance, size, scheduler, previews, decoder,
        runs, seed_mode, again, dice, run, stop,
    )  # fmt: skip


def _build_presets(prompt: gr.Textbox) -> None:
    with gr.Row(elem_classes="da-presets"):
        buttons = [gr.Button(preset.name, size="sm", min_width=0, scale=0) for preset in PRESETS]
    hint = gr.Markdown(PRESETS[0].look_for, elem_classes="da-hint")
    for button, preset in zip(buttons, PRESETS, strict=True):
        values = json.dumps([preset.prompt, preset.look_for])
        button.click(None, outputs=[prompt, hint], js=f"() => {values}", api_visibility="private")
    # What to look for was said of the preset, not of what is typed now.
    prompt.input(None, outputs=hint, js="() => ''", api_visibility="private")


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


def to_params(
    model: str,
    prompt: str,
    negative_prompt: str,
    seed: float,
    steps: float,
    guidance: float,
    size: str,
    scheduler: str | None,
) -> GenerationParams:
    """Return validated parameters. Raises `InvalidParams` naming the field that is wrong."""
    width, height = parse_size(size)
    return GenerationParams(
        model=model,
        prompt=(prompt or "").strip(),
        negative_prompt=(negative_prompt or "").strip(),
        seed=_whole(seed),
        num_inference_steps=_whole(steps),
        guidance_scale=guidance,
        width=width,
        height=height,
        scheduler=scheduler or None,
    ).validate()


def to_capture(previews: str, preview_decoder: str) -> Capture:
    """Return what to capture for the view: the metrics and previews, and the latents that the path needs."""
    every = int(previews) if str(previews).isdigit() else previews
    return Capture(previews=every, preview_decoder=preview_decoder)


def to_runs(runs: float | None, seed_mode: str) -> int:
    """Return how many runs to make, one after another. Raises `InvalidParams` where that makes no sense."""
    count = _whole(runs)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_RUNS:
        raise InvalidParams(
            f"The number of runs is {runs}: give a whole number from 1 to {MAX_RUNS}.", field="runs"
        )
    if count > 1 and seed_mode not in ("next", "shuffle"):
        raise InvalidParams(
            "With one seed kept, every run would be the same: choose +1 or Shuffle after a run, or one run.",
            field="runs",
        )
    return count


def parse_size(size: str) -> tuple[int, int]:
    """Read "width x height". Raises `InvalidParams` for anything else."""
    sides = str(size or "").lower().replace("×", "x").replace("★", "").split("x")
    try:
        width, height = (int(side) for side in sides)
    except ValueError:
        raise InvalidParams(
            f"The size {size!r} cannot be read: give width x height in pixels, such as 64x64.", field="width"
        ) from None
    return width, height


def next_seed(mode: str, seed: float | None) -> float | int | None:
    """Return the seed of the run after this one."""
    if mode == "next" and seed is not None and float(seed).is_integer():
        return int(seed) + 1
    if mode == "shuffle":
        return draw_seed()
    return seed


def draw_seed() -> int:
    """Return a seed at random."""
    return secrets.randbelow(DRAWN_SEEDS)


def on_model(entry: ModelEntry, info: ModelInfo | None) -> list[Any]:
    """Return the updates of model, steps, guidance, size, scheduler and kind of preview for another model."""
    return [
        gr.update(info=entry.notes or "From models/local.md."),
        entry.steps or 30,
        5.0 if entry.guidance is None else entry.guidance,
        gr.update(**size_choices(info, entry)),
        gr.update(**scheduler_choices(info)),
        preview_decoder_for(entry),
    ]


def preview_decoder_for(entry: ModelEntry) -> str:
    """Return the kind of preview to begin with: small pictures can afford the VAE at every step; from 512 pixels
    on, one decoding costs about as much as one step."""
    return "vae" if (entry.size or 512) <= 128 else "linear"


def known(info_of: Any, model: str) -> ModelInfo | None:
    """Return what is known of a model, or None where its files are not here or cannot be read."""
    try:
        return info_of(model)
    except DiffAtlasError:
        return None


def _whole(value: float | None) -> Any:
    """A whole number as an int; anything else is left for `validate` to refuse."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
