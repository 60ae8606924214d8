"""The form of the Trajectory page, and how the values of a form become `GenerationParams`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import HostedModel, ModelEntry
from diffatlas.request import (
    ARGUMENTS,
    FIELDS,
    LORAS,
    NOISE,
    NUMBER,
    OPTIONS,
    PICTURES,
    SIZE,
    WHOLE,
    Field,
)
from diffatlas.ui import asked_words as words
from diffatlas.ui import said
from diffatlas.ui.asked_values import typed
from diffatlas.ui.components import fields
from diffatlas.ui.components.expected import Expected, expected_field
from diffatlas.ui.components.picture_field import PictureField, picture_field
from diffatlas.ui.components.preset_row import PresetRow, preset_row
from diffatlas.ui.places import LOCAL, name_of

SEED_MODES = (("Keep", "keep"), ("+1", "next"), ("Shuffle", "shuffle"))
MAX_RUNS = 50
#: Seeds drawn for the user stay below this: short enough to read aloud.
DRAWN_SEEDS = 2**31


@dataclass(frozen=True)
class Form:
    """The fields of the Trajectory page."""

    backend: gr.Dropdown
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
    def asked(self) -> dict[str, gr.components.Component]:
        """What a request is made of, by the names of a link."""
        return asked_of(self)

    @property
    def linked(self) -> list[gr.components.Component]:
        """What is there only where a link asks for it."""
        return [self.noise, self.images]

    @property
    def inputs(self) -> dict[str, gr.components.Component]:
        """What a run is made of, by the names of the endpoint's arguments, in their order."""
        shown = ("previews", "preview_decoder", "runs", "seed_mode", "again")
        first = (*SAMPLED, *shown, *METHOD, "attention", "noise", "images", "picture", "amount", "backend")
        return arranged(first, {**self.asked, **shown_of(self), "attention": self.attention})

    @property
    def submits(self) -> list[Any]:
        """The events that start a run."""
        return [*submits_of(self), self.runs.submit]


#: The first arguments of every endpoint, and those of the guidance method: programs that give values without names
#: count on their order.
SAMPLED = ("model", "prompt", "negative_prompt", "seed", "steps", "guidance", "size", "scheduler")
METHOD = ("guidance_method", "guidance_options")


def asked_of(form: Any) -> dict[str, gr.components.Component]:
    """Return the fields of a form that are a request, by their names in a link."""
    sampling, more = form.sampling, form.more
    drawn = {
        "model": form.model,
        "prompt": form.prompt,
        "negative_prompt": more.negative_prompt,
        "seed": form.seed,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "size": sampling.size,
        "scheduler": more.scheduler,
        "guidance_method": more.guidance_method,
        "guidance_options": more.guidance_options,
        **more.others,
    }
    if hasattr(form, "linked"):
        drawn |= dict(zip(("noise", "images"), form.linked, strict=True))
    return {
        **{field.link: drawn[field.link] for field in FIELDS if field.link in drawn},
        "backend": form.backend,
    }


def shown_of(form: Any) -> dict[str, gr.components.Component]:
    """Return what a form of single runs asks beside a request, by the names of an endpoint's arguments."""
    more = form.more
    return {
        "previews": more.previews,
        "preview_decoder": more.preview_decoder,
        "runs": form.runs,
        "seed_mode": form.seed_mode,
        "again": more.again,
        **form.picture.values,
    }


def arranged(
    first: Sequence[str], components: Mapping[str, gr.components.Component]
) -> dict[str, gr.components.Component]:
    """Return components by name: those of the names ``first``, then the others."""
    return {name: components[name] for name in (*first, *components)}


def reset_of(form: Any) -> list[gr.components.Component]:
    """Return the settings that every form has, all but model, prompt and seed."""
    sampling = form.sampling
    return [sampling.steps, sampling.guidance, sampling.size, *form.more.settings]


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
    backend = fields.backend_field(page)
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
        "backend": backend,
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


def to_backend(asked: Mapping[str, Any]) -> str:
    """Return the backend that a form asks for; this machine where it names none. Raises `InvalidParams`.

    asked: what fields hold, by their names in a link.
    """
    backend = typed(asked.get("backend"), "backend") or LOCAL
    name_of(backend)
    return backend


def to_params(asked: Mapping[str, Any]) -> GenerationParams:
    """Return validated parameters. Raises `InvalidParams` naming the field that is wrong.

    asked: what fields hold, by their names in a link; what is not there is as nobody asks for it.
    """
    values: dict[str, Any] = {}
    for field in FIELDS:
        if field.in_forms and field.link in asked:
            values |= dict(zip(field.parts, _read(field, asked[field.link]), strict=True))
    return GenerationParams(**values).validate()


def _read(field: Field, value: Any) -> Sequence[Any]:
    """Return what the value of a form's field asks, for each of the field's parts. Raises `InvalidParams`."""
    if field.kind == SIZE:
        return parse_size(value)
    if field.kind == WHOLE:
        # It is out of sight where no link asks for it.
        return [1 if value is None and field.name == "num_images_per_prompt" else whole(value)]
    if field.kind == NUMBER:
        return [value]
    text = typed(value, field.name)
    if field.kind == OPTIONS:
        return [to_options(text)]
    if field.kind == NOISE:
        return [words.to_noise(text)]
    return [(text or None) if field.optional else text]


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


def query_of(params: GenerationParams, backend: str = LOCAL) -> dict[str, str]:
    """Return a request as a link would ask for it (`diffatlas.ui.links`), with what a form has no field for.

    backend: where it runs; a link does not name this machine.
    """
    asked = {field.link: _linked(field, params) for field in FIELDS}
    place = {} if backend == LOCAL else {"backend": backend}
    return place | {name: str(value) for name, value in asked.items() if value is not None}


def _linked(field: Field, params: GenerationParams) -> str | int | None:
    """Return the value of a field as a link has it; None where it asks for none."""
    if field.kind == SIZE:
        return f"{params.width}x{params.height}" if params.width and params.height else None
    if field.kind in _TEXTS:
        return _TEXTS[field.kind](params)
    value = getattr(params, field.name)
    if field.name == "seed" and value is None:
        return words.NO_SEED
    if field.name == "num_images_per_prompt":
        return value if value > 1 else None
    if field.name == "negative_prompt":
        return value or None
    return words.number(value) if field.kind == NUMBER and value is not None else value


#: How values that are more than a number or a text are written into a link, by the kind of their field.
_TEXTS: dict[str, Callable[[GenerationParams], str | None]] = {
    OPTIONS: lambda params: words.options_text(params.guidance_options),
    NOISE: lambda params: words.noise_text(params.noise),
    LORAS: lambda params: words.loras_text(params.loras),
    ARGUMENTS: words.extra_text,
    PICTURES: words.inputs_text,
}


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
    steps, guidance = entry.steps or 30, 5.0 if entry.guidance is None else entry.guidance
    if isinstance(entry, HostedModel):
        steps, guidance = int(_within(steps, entry.steps_range)), _within(guidance, entry.guidance_range)
    return [
        said.hint(line or entry.notes or f"From models/{entry.provider}.md.", elem_classes=[]),
        steps,
        guidance,
        gr.update(**fields.size_choices(info, entry)),
        gr.update(**fields.scheduler_choices(info)),
        fields.preview_decoder_for(entry),
    ]


def _within(value: float, bounds: tuple[float, float] | None) -> float:
    """Return the value, or the end of the bounds that is nearest to it."""
    return value if bounds is None else min(max(value, bounds[0]), bounds[1])


def known(info_of: Any, model: str) -> ModelInfo | None:
    """Return what is known of a model, or None where its files are not here or cannot be read."""
    try:
        return info_of(model)
    except DiffAtlasError:
        return None


def whole(value: Any) -> Any:
    """A whole number of a form as an int; anything else as it is, to be refused by name."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
