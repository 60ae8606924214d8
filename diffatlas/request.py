"""The fields of a request, each said once: what it may be, and what forms, links, tables and the shell say of it.

A request is `diffatlas.params.GenerationParams`. A field of it is added there with its default and here with a row;
everything that shows, reads or checks requests goes by these rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diffatlas.errors import InvalidParams

MAX_SEED = 2**63 - 1
MAX_STEPS = 1000
MAX_GUIDANCE = 100.0
MAX_SIDE = 4096
MAX_IMAGES = 64

#: What values can be. Those of the first four are checked, spelled and read by their rows alone; each of the others
#: has its own class or notation.
TEXT, WHOLE, NUMBER, NAME = "text", "a whole number", "a number", "a name"
METHOD, OPTIONS, SIZE, NOISE = "a guidance method", "numbers by name", "width and height", "noise"
LORAS, ARGUMENTS, PICTURES = "LoRAs", "arguments by name", "pictures"


@dataclass(frozen=True)
class Field:
    """One thing that is asked, and what is said of it. What is empty is worked out, or there is no such thing.

    Sentences, labels and phrases are in plain text; a phrase has ``{}`` where the value stands.
    """

    #: As in `GenerationParams`, and at the end of the ids of a page's elements.
    name: str
    #: One of the kinds above.
    kind: str
    #: What it is called in a table of settings: "guidance".
    called: str = ""

    #: How a sentence on a wrong value begins: "The guidance scale".
    subject: str = ""
    #: The range of a number, both ends in it.
    least: float = 0
    most: float = math.inf
    #: Of a text: what is said where there is none, but there has to be one.
    missing: str = ""
    #: Whether None may be asked: the model's own value, or nothing of the kind.
    optional: bool = True
    #: Whether it is stored even where it is None. Fields that were added later are not, so that keys stay the same.
    always: bool = False
    #: The fields of `GenerationParams` that it is, where they are not the one of its name.
    parts: tuple[str, ...] = ()

    #: In a form: the label, and the line beneath. No form has a field without a label.
    label: str = ""
    hint: str = ""
    #: Whether only single runs are asked for it: the cells of a study have their own.
    single: bool = False

    #: Its name in a link and as an argument of the HTTP endpoints; that of the field where empty.
    link: str = ""
    #: What a program that calls an endpoint is told of it.
    about: str = ""
    #: Where no form has it: what a run has that no link can ask for, such as "the revision {} of its model".
    beyond: str = ""

    #: Options of the shell that ask for it, the first one is its name; none where the shell has none.
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    help: str = ""

    #: Its columns in a table of runs; ``parts`` where empty.
    columns: tuple[str, ...] = ()
    #: In a table of two runs: what stands for a value that there is not.
    unset: str = "none"
    #: In the names of runs that are told apart: what is said of a value, and where there is none.
    phrase: str = ""
    phrase_unset: str = ""

    def __post_init__(self) -> None:
        called = self.called or self.name.replace("_", " ")
        worked_out = {
            "called": called,
            "subject": self.subject or f"The {called}",
            "parts": self.parts or (self.name,),
            "link": self.link or self.name,
            "columns": self.columns or self.parts or (self.name,),
            "phrase": self.phrase or f"{called} {{}}",
            "phrase_unset": self.phrase_unset or f"no {called}",
        }
        for name, value in worked_out.items():
            object.__setattr__(self, name, value)

    @property
    def noun(self) -> str:
        """What it is called in the middle of a sentence: "number of steps"."""
        return self.subject.removeprefix("The ")

    @property
    def in_forms(self) -> bool:
        """Whether the pages' forms have it."""
        return bool(self.label)


FIELDS: tuple[Field, ...] = (
    Field(
        "model", TEXT, optional=False, always=True,
        missing="No model was chosen: name one of `diffatlas models`.",
        label="Model",
        about="an id of the model list or of the Hub, or a pipeline folder; on a shared server of the list.",
        flags=("--model",),
        help="An id of `diffatlas models` or of the Hub (user/name), or a pipeline folder.",
        phrase="{}",
    ),
    Field(
        "prompt", TEXT, optional=False, always=True,
        missing="The prompt is empty: say what the image should show.",
        label="Prompt",
        hint="What the image should show. Enter runs it.",
        about="what the image should show.",
        help="What the image should show.",
        unset="no prompt",
        phrase="“{}”", phrase_unset="“”",
    ),
    Field(
        "negative_prompt", TEXT, optional=False, always=True,
        label="Negative prompt",
        hint="What guidance pushes away from.",
        about="what guidance pushes away from.",
        flags=("--negative-prompt",),
        help="What it should not show.",
        phrase="not “{}”", phrase_unset="nothing ruled out",
    ),
    Field(
        "seed", WHOLE, least=0, most=MAX_SEED, optional=False, always=True,
        label="Seed",
        hint="The noise is drawn from it.",
        about="a whole number; of several runs, that of the first.",
        flags=("--seed",),
        help="Seed of the initial noise.",
        unset="not known",
        phrase_unset="no known seed",
    ),
    Field(
        "num_inference_steps", WHOLE, called="steps", subject="The number of steps", least=1, most=MAX_STEPS,
        optional=False, always=True,
        label="Steps",
        hint="How many.",
        link="steps",
        about="number of denoising steps.",
        flags=("--steps", "--num-inference-steps"),
        help="Denoising steps. Default: the model's.",
        phrase="{} steps",
    ),
    Field(
        "guidance_scale", NUMBER, called="guidance", subject="The guidance scale", least=0, most=MAX_GUIDANCE,
        optional=False, always=True,
        label="Guidance",
        hint="1 is off.",
        link="guidance",
        about="guidance scale; at most 1 turns guidance off.",
        flags=("--guidance", "--guidance-scale"),
        help="Guidance scale. Default: the model's.",
    ),
    Field(
        "size", SIZE, least=8, most=MAX_SIDE, always=True,
        parts=("width", "height"),
        label="Size",
        hint="★ native.",
        about="width x height in pixels, such as 64x64.",
        flags=("--width", "--height"),
        help="Pixels. Default: the model's native size.",
        unset="the model’s own",
        phrase="{}", phrase_unset="native size",
    ),
    Field(
        "scheduler", TEXT, always=True,
        label="Scheduler",
        hint="The rule of the steps; the model’s own comes first.",
        about="a scheduler's name; empty for the model's own.",
        flags=("--scheduler",),
        help="ddim, euler, euler_a, dpm++_2m, ... Default: the model's own.",
        unset="the model’s own",
        phrase="{}", phrase_unset="the model’s scheduler",
    ),
    Field(
        "guidance_method", METHOD,
        label="Guidance method",
        hint="How the two predictions are put together.",
        about="a name of `diffatlas.guidance.METHODS`; empty for plain guidance.",
        flags=("--guidance-method",),
        help="rescale, interval, apg, cfg_zero_star, tangential, pag or slg. Default: the plain one.",
        unset="plain",
        phrase="{}", phrase_unset="plain guidance",
    ),
    Field(
        "guidance_options", OPTIONS,
        label="Method options",
        about="the method's options, such as eta=0.5, norm=10.",
        flags=("--guidance-option",), metavar="NAME=VALUE",
        help="An option of the guidance method; may be repeated.",
    ),
    Field(
        "noise", NOISE,
        label="Noise",
        hint="What the seed’s noise becomes. Empty it to leave that out.",
        single=True,
        about="what the seed's noise becomes, such as perturb, seed=8, amount=0.3; empty for nothing.",
        columns=("noise_kind", "noise_seed", "noise_amount", "noise_step"),
        unset="that of its seed alone",
        phrase="{}", phrase_unset="unperturbed",
    ),
    Field(
        "num_images_per_prompt", WHOLE, called="images", subject="The number of images", least=1, most=MAX_IMAGES,
        optional=False, always=True,
        label="Images",
        hint="In one batch; the first is shown. 1 for one.",
        single=True,
        link="images",
        about="how many images in one batch.",
        flags=("--images", "--num-images-per-prompt"),
        help="Images in one batch.",
        phrase="{} images",
    ),
    Field(
        "variant", NAME,
        beyond="the variant {} of its model's weights",
        flags=("--variant",),
        help="Which of several sets of weight files, such as fp16. Default: the model's.",
        unset="plain weights",
        phrase="{}", phrase_unset="plain weights",
    ),
    Field(
        "revision", NAME,
        beyond="the revision {} of its model",
        flags=("--revision",),
        help="Branch, tag or commit of a model of the Hub. Default: the newest.",
        unset="the newest",
        phrase="{}", phrase_unset="newest revision",
    ),
    Field(
        "subfolder", NAME,
        beyond="the subfolder {} of its model",
        flags=("--subfolder",),
        help="Where the pipeline is in its repository or folder. Default: the top.",
        phrase="{}",
    ),
    Field(
        "loras", LORAS, called="LoRA",
        beyond="the LoRA {}",
        flags=("--lora",), metavar="PATH[:WEIGHT]",
        help="A LoRA: a .safetensors file, or user/name[:file] of the Hub; may be repeated. Weight: 1.",
        phrase="{}",
    ),
    Field(
        "extra", ARGUMENTS,
        beyond="the further arguments {}",
        phrase="{}", phrase_unset="no further arguments",
    ),
    Field(
        "inputs", PICTURES,
        beyond="the pictures {}",
        phrase="from {}", phrase_unset="from noise alone",
    ),
)  # fmt: skip


def named(name: str) -> Field:
    """Return the field of a name. Raises KeyError where there is none."""
    return {field.name: field for field in FIELDS}[name]


def in_order(*first: str) -> Iterator[Field]:
    """Return all fields: those of the names ``first``, and then the others as they stand in `FIELDS`."""
    yield from map(named, first)
    yield from (field for field in FIELDS if field.name not in first)


def check(field: Field, value: Any, name: str = "") -> None:
    """Raise `InvalidParams` for a value that is none of a field's. Kinds with a class of their own are passed.

    name: which of the field's parts it is of; the field itself where empty.
    """
    name = name or field.name
    if value is None and field.optional:
        return
    if field.kind == TEXT:
        if not isinstance(value, str) or (field.missing and not value.strip()):
            raise InvalidParams(field.missing or f"{field.subject} must be text.", field=name)
    elif field.kind in (WHOLE, SIZE):
        check_whole(
            name, f"The {name}" if field.kind == SIZE else field.subject, value, field.least, field.most
        )
    elif field.kind == NUMBER:
        if not is_number(value) or not field.least <= value <= field.most:
            raise InvalidParams(
                f"{field.subject} is {value!r}: give a number from {field.least:g} to {field.most:g}.",
                field=name,
            )
    elif field.kind == NAME and (problem := name_problem(name, value)):
        raise InvalidParams(f"{field.subject} {value!r} {problem}.", field=name)


def check_whole(name: str, subject: str, value: Any, least: float, most: float) -> None:
    """Raise `InvalidParams` of the field ``name`` for anything but a whole number in a range, both ends in it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParams(
            f"{subject} is {value!r}: give a whole number from {least} to {most}.", field=name
        )


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def name_problem(name: str, value: Any) -> str | None:
    """Return what is wrong with a name such as a variant, a revision or a subfolder, or None."""
    if not isinstance(value, str) or not value:
        return "is no text"
    if name == "variant":
        return None if re.fullmatch(r"[A-Za-z0-9_-]+", value) else "is no name of files, such as fp16"
    parts = value.split("/")
    if not re.fullmatch(r"[\w./-]+", value) or "" in parts or ".." in parts or "." in parts:
        what = {"subfolder": "a subfolder, such as a/b", "revision": "a branch, tag or commit"}
        return f"is not the name of {what.get(name, f'a {name}')}"
    return None
