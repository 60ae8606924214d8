"""The form of the Trajectory page, and how the values of a form become `GenerationParams`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.ui import asked_words as words
from diffatlas.ui import said
from diffatlas.ui.asked_values import typed
from diffatlas.ui.components import fields
from diffatlas.ui.components.expected import Expected, expected_field
from diffatlas.ui.components.picture_field import PictureField, picture_field
from diffatlas.ui.components.preset_row import PresetRow, preset_row

SEED_MODES = (("Keep", "keep"), ("+1", "next"), ("Shuffle", "shuffle"))
MAX_RUNS = 50
#: Seeds drawn for the user stay below this: short enough to read aloud.
DRAWN_SEEDS = 2**31


@dataclass(frozen=True)
class Form:
    """The fields of the Trajectory page."""

    model: gr.Dropdown
    keep: gr.Button
    prompt: gr.Textbox
    presets: PresetRow
    seed: gr.Number
    sampling: fields.Sampling
    picture: PictureField
    more: fields.More
    attention: gr.Dropdown
    runs: gr.Number
    seed_mode: gr.Radio
    dice: gr.Button
    noise: gr.Textbox
    images: gr.Number
    expected: Expected
    reset: gr.Button
    run: gr.Button
    stop: gr.Button

    @property
    def resets(self) -> list[gr.components.Component]:
        """The settings that `reset` puts back: all but model, prompt, seed and picture."""
        return [*reset_of(self), self.attention, self.runs, self.seed_mode, *self.linked]

    @property
    def asked(self) -> list[gr.components.Component]:
        """What a request is made of, in the order of `diffatlas.ui.links.FIELDS`."""
        return [*asked_of(self), *self.linked]

    @property
    def linked(self) -> list[gr.components.Component]:
        """What is there only where a link asks for it."""
        return [self.noise, self.images]

    @property
    def inputs(self) -> list[gr.components.Component]:
        """What a run is made of."""
        more, asked = self.more, asked_of(self)
        shown = [more.previews, more.preview_decoder, self.runs, self.seed_mode, more.again]
        return [*asked[:-2], *shown, *asked[-2:], self.attention, *self.linked, *self.picture.values]

    @property
    def submits(self) -> list[Any]:
        """The events that start a run."""
        return [*submits_of(self), self.runs.submit]


def asked_of(form: Any) -> list[gr.components.Component]:
    """Return the fields of a form that are a request, in the order of `diffatlas.ui.links.FIELDS`."""
    sampling, more = form.sampling, form.more
    sampled = [sampling.steps, sampling.guidance, sampling.size]
    method = [more.guidance_method, more.guidance_options]
    return [form.model, form.prompt, more.negative_prompt, form.seed, *sampled, more.scheduler, *method]


def reset_of(form: Any) -> list[gr.components.Component]:
    """Return the settings that every form has, all but model, prompt and seed."""
    sampling, more = form.sampling, form.more
    return [
        sampling.steps,
        sampling.guidance,
        sampling.size,
        *(getattr(more, each.name) for each in dataclass_fields(more)),
    ]


def submits_of(form: Any) -> list[Any]:
    """Return the events of a form that start a run: its button, and Enter in a field of a request."""
    typed = (form.prompt, form.more.negative_prompt, form.seed, form.sampling.steps, form.sampling.guidance)
    return [form.run.click, *(field.submit for field in typed)]


def build_form(models: list[ModelEntry], info: ModelInfo | None) -> Form:
    """Draw the form for the first of ``models``; ``info`` is what is known of it."""
    page, first = "field", models[0]
    with gr.Column(elem_classes="da-form"):
        begun = begin_form(page, models, info)
        with gr.Accordion("More: negative prompt, scheduler, previews", open=False, elem_classes="da-fold"):
            more = fields.more_fields(page, first, info)
            attention = fields.attention_field(page)
        reset = fields.reset_button(page)
        run, stop = fields.action_buttons(page)
    return Form(**begun, more=more, attention=attention, reset=reset, run=run, stop=stop)


def begin_form(page: str, models: list[ModelEntry], info: ModelInfo | None) -> dict[str, Any]:
    """Draw what a form of single runs begins with, and return it by the names of `Form`; inside a column."""
    prompt = fields.prompt_field(page)
    presets = preset_row(page, models)
    model, keep = fields.model_field(page, models)
    with gr.Row(elem_classes="da-fields da-seed"):
        seed, dice = fields.seed_fields(page)
        runs = gr.Number(1, label="Runs", info="In a row.", elem_id=f"{page}-runs", min_width=60, scale=0)
    seed_mode = gr.Radio(
        list(SEED_MODES), value="keep", label="After a run", info="What becomes of the seed."
    )
    noise, images = fields.linked_fields(page)
    sampling = fields.sampling_fields(page, models[0], info)
    expected = expected_field(page)
    picture = picture_field(page)
    return {
        "noise": noise,
        "images": images,
        "prompt": prompt,
        "presets": presets,
        "model": model,
        "keep": keep,
        "seed": seed,
        "dice": dice,
        "runs": runs,
        "seed_mode": seed_mode,
        "sampling": sampling,
        "expected": expected,
        "picture": picture,
    }


def to_params(
    model: str,
    prompt: str,
    negative_prompt: str,
    seed: float,
    steps: float,
    guidance: float,
    size: str,
    scheduler: str | None,
    guidance_method: str | None = "",
    guidance_options: str | None = "",
    noise: str | None = "",
    images: float | None = 1,
) -> GenerationParams:
    """Return validated parameters. Raises `InvalidParams` naming the field that is wrong."""
    width, height = parse_size(size)
    return GenerationParams(
        model=typed(model, "model"),
        prompt=typed(prompt, "prompt"),
        negative_prompt=typed(negative_prompt, "negative_prompt"),
        seed=whole(seed),
        num_inference_steps=whole(steps),
        guidance_scale=guidance,
        width=width,
        height=height,
        scheduler=typed(scheduler, "scheduler") or None,
        guidance_method=typed(guidance_method, "guidance_method") or None,
        guidance_options=to_options(typed(guidance_options, "guidance_options")),
        noise=words.to_noise(typed(noise, "noise")),
        num_images_per_prompt=1 if images is None else whole(images),
    ).validate()


def to_options(text: str | None) -> dict[str, float] | None:
    """Read "eta=0.5, norm=10"; None where there is nothing to read. Raises `InvalidParams`."""
    options = {}
    for part in (text or "").replace(";", ",").split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name and not equals:
            continue
        try:
            options[name] = float(value)
        except ValueError:
            raise InvalidParams(
                f"The option {part.strip()!r} cannot be read: write name=number, such as eta=0.5.",
                field="guidance_options",
            ) from None
    return options or None


def query_of(params: GenerationParams) -> dict[str, str]:
    """Return a request as a link would ask for it (`diffatlas.ui.links.FIELDS`), with what a form has no field for."""
    images = params.num_images_per_prompt
    asked = {
        "model": params.model,
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt or None,
        "seed": words.NO_SEED if params.seed is None else params.seed,
        "steps": params.num_inference_steps,
        "guidance": words.number(params.guidance_scale),
        "size": f"{params.width}x{params.height}" if params.width and params.height else None,
        "scheduler": params.scheduler,
        "guidance_method": params.guidance_method,
        "guidance_options": words.options_text(params.guidance_options),
        "noise": words.noise_text(params.noise),
        "images": images if images > 1 else None,
        "variant": params.variant,
        "revision": params.revision,
        "subfolder": params.subfolder,
        "loras": words.loras_text(params.loras),
        "extra": words.extra_text(params),
        "inputs": words.inputs_text(params),
    }
    return {name: str(value) for name, value in asked.items() if value is not None}


def to_capture(previews: str, preview_decoder: str, attention: str | None = "off") -> Capture:
    """Return what to capture for the view: the metrics and previews, the latents that the path needs, and attention."""
    every = int(previews) if str(previews).isdigit() else previews
    return Capture(previews=every, preview_decoder=preview_decoder, attention=attention or "off")


def to_runs(runs: float | None, seed_mode: str) -> int:
    """Return how many runs to make, one after another. Raises `InvalidParams` where that makes no sense."""
    count = whole(runs)
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


def on_model(entry: ModelEntry, info: ModelInfo | None, line: str = "") -> list[Any]:
    """Return the updates of model, steps, guidance, size, scheduler and kind of preview for another model.

    line: what is said of it; its notes where that is empty.
    """
    return [
        said.hint(line or entry.notes or "From models/local.md.", elem_classes=[]),
        entry.steps or 30,
        5.0 if entry.guidance is None else entry.guidance,
        gr.update(**fields.size_choices(info, entry)),
        gr.update(**fields.scheduler_choices(info)),
        fields.preview_decoder_for(entry),
    ]


def known(info_of: Any, model: str) -> ModelInfo | None:
    """Return what is known of a model, or None where its files are not here or cannot be read."""
    try:
        return info_of(model)
    except DiffAtlasError:
        return None


def whole(value: Any) -> Any:
    """A whole number of a form as an int; anything else as it is, to be refused by name."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
