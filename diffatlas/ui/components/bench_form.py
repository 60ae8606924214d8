"""The form of the Bench page: a pack, what runs it, and who judges."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.bench.bench import HAND
from diffatlas.bench.packs.shipped import SHIPPED
from diffatlas.bench.scored import SCORERS
from diffatlas.errors import InvalidParams
from diffatlas.registry import ModelEntry
from diffatlas.ui.components import fields
from diffatlas.ui.components.expected import counted_field, expected_field
from diffatlas.ui.components.preset_row import no_presets
from diffatlas.ui.components.study_form import StudyForm, exact_field, lanes_field

PAGE = "bench"
#: What the form begins with: small enough to be looked at in some seconds.
FIRST_PACK, FIRST_EACH, FIRST_SEEDS, FIRST_SEED = "shapes", 1, 2, 0


#: What is kept of each image, as `diffatlas.bench.keep.KEEPS` names it.
KEPT = [
    ("Its path", "paths"),
    ("Its path, and what each word looked at", "attention"),
    ("The picture alone", "pictures"),
]


def build_bench_form(
    models: list[ModelEntry], info: ModelInfo | None
) -> tuple[StudyForm, gr.components.Component]:
    """Draw the form, and the line that says how many images it asks for.

    It has the fields of a study's form, and its prompts are those of the pack.
    """
    first = models[0]
    with gr.Column(elem_classes="da-form"):
        prompt = gr.Textbox("", visible=False, elem_id=f"{PAGE}-prompt")
        pack = gr.Dropdown(
            pack_choices(()),
            value=FIRST_PACK,
            label="Pack",
            info="What is asked of the model.",
            allow_custom_value=True,
            elem_id=f"{PAGE}-pack",
        )
        with gr.Row(elem_classes="da-fields da-three"):
            each = gr.Number(
                FIRST_EACH, label="Prompts", info="A category.", elem_id=f"{PAGE}-each", min_width=60
            )
            pack_seed = gr.Number(
                0, label="Pack seed", info="Which ones.", elem_id=f"{PAGE}-pack_seed", min_width=60
            )
            seeds = gr.Number(
                FIRST_SEEDS, label="Seeds", info="Of each.", elem_id=f"{PAGE}-seeds", min_width=60
            )
        backend = fields.backend_field(PAGE)
        model, keep = fields.model_field(PAGE, models)
        with gr.Row(elem_classes="da-fields da-seed"):
            seed = gr.Number(FIRST_SEED, **fields.worded(PAGE, "seed") | {"label": "First seed"})
            dice = gr.Button(
                "Draw", size="sm", scale=0, min_width=0, elem_id=f"{PAGE}-dice", elem_classes="da-dice"
            )
        sampling = fields.sampling_fields(PAGE, first, info)
        scorers = gr.Dropdown(
            scorer_choices(),
            value=["shapes"],
            multiselect=True,
            allow_custom_value=True,
            label="Judges",
            info="You can always judge by hand.",
            elem_id=f"{PAGE}-scorers",
        )
        counted = counted_field(PAGE)
        expected = expected_field(PAGE)
        lanes = lanes_field(PAGE, models, info)
        with gr.Accordion("More: negative prompt, scheduler, method", open=False, elem_classes="da-fold"):
            more = fields.more_fields(PAGE, first, info, single=False)
            kept = gr.Dropdown(
                KEPT,
                value="paths",
                label="Kept of each image",
                info="Why it failed is asked of paths and of attention.",
                elem_id=f"{PAGE}-kept",
            )
            exact = exact_field(PAGE)
        seed_mode = gr.Radio(["keep"], value="keep", visible=False)
        reset = fields.reset_button(PAGE)
        run, stop = fields.action_buttons(PAGE)
    none = no_presets()
    own = {
        "pack": pack,
        "each": each,
        "pack_seed": pack_seed,
        "seeds": seeds,
        "scorers": scorers,
        "kept": kept,
    }
    form = StudyForm(
        backend,
        model,
        keep,
        prompt,
        none,
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
        own,
    )
    return form, counted


def pack_choices(own: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what the field of packs offers, as label and name. own: those of the visitor, likewise."""
    return [*own, *((one.title, name) for name, one in SHIPPED.items())]


def scorers_known() -> list[tuple[str, str]]:
    """Return the name of each scorer that can be asked for, and what it judges."""
    return [(name, kind.about) for name, kind in SCORERS.items() if name != HAND]


def to_scorers(chosen: Sequence[str] | None) -> list[str]:
    """Return the names of scorers that were chosen. Raises `InvalidParams` for one that there is not."""
    names = [str(name) for name in chosen or ()]
    for name in names:
        # What follows a colon is the model that it is run with.
        if name.partition(":")[0] not in SCORERS:
            raise InvalidParams(
                f"There is no judge {name!r:.80}: there are {', '.join(SCORERS)}.", field="scorers"
            )
    return names


def scorer_choices() -> list[tuple[str, str]]:
    """Return what the field of scorers offers, as label and name."""
    return [(name, name) for name, _ in scorers_known()]
