"""The forms of the pages that make studies: what every study asks, and what a sweep or a neighbourhood asks besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import InvalidParams
from diffatlas.guidance import METHODS
from diffatlas.library.study import Lane
from diffatlas.registry import ModelEntry
from diffatlas.studies.plan_sweep import FIELD_NAMES
from diffatlas.ui.components import fields
from diffatlas.ui.components.expected import Expected, expected_field
from diffatlas.ui.components.form import METHOD, SAMPLED, SEED_MODES, arranged, asked_of, reset_of, submits_of
from diffatlas.ui.components.preset_row import PresetRow, preset_row
from diffatlas.ui.places import LOCAL, models_of, name_of, offered, place_of, sees_inside
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.starts import NEIGHBOURS, RADIUS, SCALES

SWEPT = tuple((label, name) for name, label in FIELD_NAMES.items())
#: What a field is swept over at first.
FIRST_VALUES = {
    "guidance_scale": SCALES,
    "guidance_method": "plain, rescale, interval, apg, cfg_zero_star, pag",
    "num_inference_steps": "5, 10, 20, 30, 50",
    "scheduler": "ddim, euler, dpm++_2m, unipc",
    "seed": "1, 2, 3, 4, 5, 6",
}
MODES = (
    ("Perturb the noise", "perturb"),
    ("Between two seeds", "slerp"),
    ("Neighbouring seeds", "offset"),
)
SPREADS = (("Even, out to the radius", "even"), ("All at the radius", "shell"))
MOST_LANES = 3


@dataclass(frozen=True)
class StudyForm:
    """The fields of a page that makes studies. ``own`` are the operation's, by the name of what they set."""

    backend: gr.Dropdown
    model: gr.Dropdown
    keep: gr.Button
    prompt: gr.Textbox
    presets: PresetRow
    seed: gr.Number
    sampling: fields.Sampling
    more: fields.More
    lanes: gr.Dropdown
    exact: gr.Checkbox
    seed_mode: gr.Radio
    dice: gr.Button
    expected: Expected
    reset: gr.Button
    run: gr.Button
    stop: gr.Button
    own: dict[str, gr.components.Component]

    @property
    def asked(self) -> dict[str, gr.components.Component]:
        """What a request is made of, by the names of a link."""
        return asked_of(self)

    @property
    def inputs(self) -> dict[str, gr.components.Component]:
        """What a study is made of, by the names of the endpoint's arguments, in their order."""
        more = self.more
        shown = {
            "previews": more.previews,
            "preview_decoder": more.preview_decoder,
            "again": more.again,
            "lanes": self.lanes,
            "exact": self.exact,
            "seed_mode": self.seed_mode,
            **self.own,
        }
        return arranged((*SAMPLED, *METHOD, *shown, "backend"), {**self.asked, **shown})

    @property
    def resets(self) -> list[gr.components.Component]:
        """See `Form.resets`."""
        return [*reset_of(self), self.lanes, self.exact, self.seed_mode, *self.own.values()]

    @property
    def submits(self) -> list[Any]:
        """The events that start a study."""
        typed = [field for field in self.own.values() if isinstance(field, (gr.Textbox, gr.Number))]
        return [*submits_of(self), *(field.submit for field in typed)]


def build_sweep_form(models: list[ModelEntry], info: ModelInfo | None) -> StudyForm:
    """Draw the form of the Sweep page."""

    def own() -> dict[str, gr.components.Component]:
        with gr.Row(elem_classes="da-fields da-two"):
            swept = gr.Dropdown(
                list(SWEPT),
                value="guidance_scale",
                label="Sweep",
                info="What changes.",
                elem_id="sweep-field",
                min_width=120,
            )
            seeds = gr.Number(
                1, label="Seeds", info="A row each.", elem_id="sweep-seeds", min_width=60, scale=0
            )
        values = gr.Textbox(
            FIRST_VALUES["guidance_scale"],
            label="Values",
            info="With commas, up to 32.",
            max_length=1000,
            elem_id="sweep-values",
        )
        swept.input(FIRST_VALUES.get, swept, values, queue=False, api_visibility="private")
        return {"field": swept, "values": values, "seeds": seeds}

    return _build("sweep", "Sweep", models, info, own)


def build_neighbourhood_form(models: list[ModelEntry], info: ModelInfo | None) -> StudyForm:
    """Draw the form of the Neighbourhood page."""

    def own() -> dict[str, gr.components.Component]:
        page = "neighbourhood"
        mode = gr.Dropdown(
            list(MODES),
            value="perturb",
            label="Neighbours",
            info="How they are found.",
            elem_id=f"{page}-mode",
        )
        with gr.Row(elem_classes="da-fields da-three", visible=True) as perturbing:
            k = gr.Number(NEIGHBOURS, label="Neighbours", info="How many.", elem_id=f"{page}-k", min_width=60)
            radius = gr.Number(
                RADIUS, label="Radius", info="0 to 1.", step=0.05, elem_id=f"{page}-radius", min_width=60
            )
            step = gr.Number(0, label="At step", info="0: the start.", elem_id=f"{page}-step", min_width=60)
        with gr.Row(elem_classes="da-fields", visible=False) as between:
            to_seed = gr.Number(
                8, label="To seed", info="The other end.", elem_id=f"{page}-to_seed", min_width=60
            )
            stops = gr.Number(8, label="Stops", info="Both ends too.", elem_id=f"{page}-stops", min_width=60)
        with gr.Row(elem_classes="da-fields", visible=False) as offsets:
            offset = gr.Number(
                1000,
                label="Seed offset",
                info="Seeds this near in number. Their noise is independent.",
                elem_id=f"{page}-offset",
                min_width=60,
            )
        spread = gr.Radio(
            list(SPREADS),
            value="even",
            label="Distances",
            info="How far the neighbours lie.",
            elem_id=f"{page}-spread",
        )

        def on_mode(chosen: str) -> list[Any]:
            perturbed = chosen == "perturb"
            return [
                gr.update(visible=chosen != "slerp"),
                gr.update(visible=perturbed),
                gr.update(visible=perturbed),
                gr.update(visible=chosen == "slerp"),
                gr.update(visible=chosen == "offset"),
                gr.update(visible=perturbed),
            ]

        mode.change(
            on_mode,
            mode,
            [perturbing, radius, step, between, offsets, spread],
            queue=False,
            **PRIVATE,
        )
        return {
            "mode": mode,
            "k": k,
            "radius": radius,
            "spread": spread,
            "step": step,
            "to_seed": to_seed,
            "stops": stops,
            "offset": offset,
        }

    return _build("neighbourhood", "Explore", models, info, own)


def _build(page: str, verb: str, models: list[ModelEntry], info: ModelInfo | None, own: Any) -> StudyForm:
    first = models[0]
    with gr.Column(elem_classes="da-form"):
        prompt = fields.prompt_field(page)
        presets = preset_row(page, models)
        owned = own()
        backend = fields.backend_field(page)
        model, keep = fields.model_field(page, models)
        with gr.Row(elem_classes="da-fields da-seed"):
            seed, dice = fields.seed_fields(page)
        seed_mode = gr.Radio(
            list(SEED_MODES), value="keep", label="After a run", info="What becomes of the seed."
        )
        sampling = fields.sampling_fields(page, first, info)
        expected = expected_field(page)
        lanes = lanes_field(page, models, info)
        with gr.Accordion("More: negative prompt, scheduler, method", open=False, elem_classes="da-fold"):
            more = fields.more_fields(page, first, info, single=False)
            exact = exact_field(page)
        reset = fields.reset_button(page)
        run, stop = fields.action_buttons(page, verb)
    return StudyForm(
        backend,
        model,
        keep,
        prompt,
        presets,
        seed,
        sampling,
        more,
        lanes,
        exact,
        seed_mode,
        dice,
        expected,
        reset,
        run,
        stop,
        owned,
    )


def lanes_field(page: str, models: Sequence[ModelEntry], info: ModelInfo | None) -> gr.Dropdown:
    """Draw the field of further lanes, beside the first of ``models``."""
    return gr.Dropdown(
        lane_choices(models, models[0].id, info),
        value=[],
        multiselect=True,
        max_choices=MOST_LANES,
        label="Compare with",
        info="A lane for each choice, everything else the same.",
        elem_id=f"{page}-lanes",
    )


def exact_field(page: str) -> gr.Checkbox:
    """Draw the field that forbids shared batches."""
    return gr.Checkbox(
        False,
        label="One by one",
        info="No shared batches: slower, and bit-equal to single runs.",
        elem_id=f"{page}-exact",
    )


def lane_choices(
    models: Sequence[ModelEntry], model: str, info: ModelInfo | None, backend: str = LOCAL
) -> list[tuple[str, str]]:
    """Return what a lane may differ in, as label and what `to_lanes` reads.

    models: of ``backend``, where the first lane runs ``model``.
    """
    chosen = []
    if sees_inside(backend):
        schedulers = info.schedulers[1:] if info else ()
        chosen += [(f"Scheduler: {name}", f"scheduler={name}") for name in schedulers]
        chosen += [
            (f"Guidance: {method.label}", f"guidance_method={name}") for name, method in METHODS.items()
        ]
    others = [entry for entry in models if entry.id != model]
    named = fields.model_choices(others) if backend == LOCAL else [(entry.name, entry.id) for entry in others]
    chosen += [(f"Model: {label}", f"model={name}") for label, name in named]
    for place, label in offered():
        if place != backend:
            chosen += [(f"{label}: {entry.name}", lane_choice(place, entry.id)) for entry in models_of(place)]
    return chosen


def lanes_beside(entry: ModelEntry, info: ModelInfo | None) -> list[tuple[str, str]]:
    """Return `lane_choices` beside a lane of this model, wherever that runs."""
    backend = place_of(entry)
    return lane_choices(models_of(backend), entry.id, info, backend)


def lane_choice(backend: str, model: str) -> str:
    """Return the choice of a lane that runs a model on another backend than the first lane."""
    return f"backend={backend} model={model}"


def chosen_lanes(lanes: Sequence[Lane]) -> list[str]:
    """Return the choices that the further lanes of a study were asked by, as `to_lanes` reads them."""
    first, *others = lanes
    found = []
    for lane in others:
        changes = dict(lane.changes)
        if lane.backend != first.backend and "model" in changes:
            found.append(lane_choice(lane.backend, changes["model"]))
        else:
            found += [f"{field}={value}" for field, value in changes.items()]
    return found


def to_lanes(chosen: Sequence[str] | None) -> list[dict[str, str]]:
    """Read "field=value" choices, and "backend=name model=id" ones. Raises `InvalidParams` for what is none."""
    lanes = []
    for choice in chosen or ():
        field, equals, value = str(choice).partition("=")
        if not equals or not value:
            raise InvalidParams(
                f"The lane {choice!r} cannot be read: write field=value, such as scheduler=euler.",
                field="lanes",
            )
        if field != "backend":
            lanes.append({field: value})
            continue
        backend, _, rest = value.partition(" ")
        name_of(backend)
        lanes.append({"backend": backend} | to_lanes([rest])[0] if rest else {"backend": backend})
    return lanes


def own_value(name: str, spec: Mapping[str, Any]) -> Any:
    """Return what a field of an operation shows for a stored study."""
    value = spec[name]
    if name != "values":
        return value
    return ", ".join(_written(spec["field"], each) for each in value)


def _written(field: str, value: Any) -> str:
    if value is None:
        return "plain" if field == "guidance_method" else "own"
    return f"{value:g}" if isinstance(value, float) else str(value)
