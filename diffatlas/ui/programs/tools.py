"""The tools that agents are offered (MCP): what each is for, what it takes, and what does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema

from diffatlas.bench.packs.shipped import SHIPPED
from diffatlas.bench.scored import SCORERS
from diffatlas.errors import InvalidParams
from diffatlas.library.find import SORTS
from diffatlas.library.study import FIELDS as SWEPT
from diffatlas.library.study import MODES
from diffatlas.request import FIELDS
from diffatlas.schema_words import words
from diffatlas.ui.asked_values import asked_values, shown
from diffatlas.ui.programs import arguments, kept
from diffatlas.ui.programs.callers import Caller
from diffatlas.ui.programs.kept import LINKS
from diffatlas.ui.programs.running import Runs

_FIELDS = {field.link: field for field in FIELDS}
#: Of a request, what tools take: the rest is for scripts and the shell.
_ASKED = (
    "prompt",
    "model",
    "negative_prompt",
    "seed",
    "steps",
    "guidance",
    "size",
    "scheduler",
    "guidance_method",
    "guidance_options",
)
_TEXT = {"type": "string"}
_ID = {"type": "string", "description": "The id of a run, as trace and search return it."}
_AGAIN = {
    "type": "boolean",
    "default": False,
    "description": "Run even what the library has already, in place of returning that.",
}
_LANES = {
    "type": "array",
    "items": _TEXT,
    "maxItems": 3,
    "description": "Further ways of running all of it, to compare: each name=value, such as scheduler=euler or "
    "model=shapes-dit.",
}


@dataclass(frozen=True)
class Tool:
    """One tool. ``call`` is given who calls and the arguments, and returns plain JSON; where it ``runs`` something, it
    is a generator of `diffatlas.ui.programs.running.Progress` which returns that."""

    name: str
    about: str
    takes: Mapping[str, Mapping[str, Any]]
    call: Callable[..., Any]
    required: tuple[str, ...] = ()
    runs: bool = False
    #: Whether it is for everybody alike, so that nobody has to say who they are.
    for_all: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.takes.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }

    def check(self, asked: Any) -> dict[str, Any]:
        """Return the arguments that were given. Raises `InvalidParams` for the first one that is wrong."""
        given = asked_values(asked)
        for name in given:
            if name not in self.takes:
                raise InvalidParams(
                    f"{self.name} takes no {shown(name)}: give {', '.join(self.takes) or 'nothing'}.",
                    field=name,
                )
        for name in self.required:
            if name not in given:
                raise InvalidParams(f"{name} is missing: give {words(self.takes[name], {})}.", field=name)
        for name, value in given.items():
            if not jsonschema.Draft202012Validator(self.takes[name]).is_valid(value):
                give = words(self.takes[name], {})
                if "pattern" in self.takes[name]:
                    give = "width x height in pixels, such as 64x64"
                raise InvalidParams(f"{name} is {shown(value)}: give {give}.", field=name)
        return given


def tools_of(runs: Runs) -> dict[str, Tool]:
    """Return the tools by name."""
    made = (*_running(runs), *_reading(runs))
    return {tool.name: tool for tool in made}


def _running(runs: Runs) -> tuple[Tool, ...]:
    request = {name: _field(name) for name in _ASKED}
    without_prompt = {name: schema for name, schema in request.items() if name != "prompt"}
    return (
        Tool(
            "trace",
            "Generate one image with a diffusion model and record its path through latent space, step by step. Returns "
            "the id of the run, the address of its image, its totals, and the address that opens it in the app. "
            "Without a model it takes the first of `models`, which is small and draws coloured shapes in seconds.",
            {
                **request,
                "attention": {
                    "enum": ["off", "cross", "all"],
                    "type": "string",
                    "default": "off",
                    "description": "What to capture for `attention`: cross is what each word of the prompt looks at.",
                },
                "again": _AGAIN,
            },
            runs.trace,
            ("prompt",),
            runs=True,
        ),
        Tool(
            "sweep",
            "Run one prompt and seed over a list of values of one setting, to see what the setting does. Returns each "
            "cell with its run and the address of its image.",
            {
                **request,
                "field": {
                    "enum": list(SWEPT),
                    "type": "string",
                    "default": "guidance_scale",
                    "description": "The setting that takes each of the values.",
                },
                "values": {
                    **_TEXT,
                    "description": "The values, with commas, such as 1, 3, 7.5. Without it, some usual ones.",
                },
                "seeds": {
                    **arguments.OWN["sweep.seeds"],
                    "default": 1,
                    "description": "How many seeds, a row each.",
                },
                "lanes": _LANES,
                "again": _AGAIN,
            },
            runs.sweep,
            ("prompt", "field"),
            runs=True,
        ),
        Tool(
            "neighbourhood",
            "Run one prompt from noise around that of one seed, to see how far an image hangs on its noise. Returns "
            "each neighbour with its run and the address of its image.",
            {
                **request,
                "mode": {
                    "enum": list(MODES),
                    "type": "string",
                    "default": "perturb",
                    "description": "perturb: noise near the seed's; slerp: from one seed's to another's; offset: seeds "
                    "near in number, which are no nearer in noise.",
                },
                "k": {
                    **arguments.OWN["k"],
                    "default": 8,
                    "description": "How many neighbours, of perturb and offset.",
                },
                "radius": {
                    **arguments.OWN["radius"],
                    "default": 0.4,
                    "description": "Of perturb: how far out, 0 for copies, 1 for other noise.",
                },
                "to_seed": {
                    **arguments.OWN["to_seed"],
                    "description": "Of slerp: the seed at the other end.",
                },
                "stops": {
                    **arguments.OWN["stops"],
                    "default": 8,
                    "description": "Of slerp: how many points on the way, both ends among them.",
                },
                "again": _AGAIN,
            },
            runs.neighbourhood,
            ("prompt",),
            runs=True,
        ),
        Tool(
            "bench",
            "Run the prompts of a pack with several seeds and have a detector judge whether each image shows what was "
            "asked. Returns the rate of correct images with its 95% interval, by category and lane.",
            {
                **without_prompt,
                "pack": {
                    **_TEXT,
                    "default": "shapes",
                    "examples": list(SHIPPED),
                    "description": "The name of a pack of prompts.",
                },
                "each": {
                    **arguments.OWN["each"],
                    "default": 1,
                    "description": "How many prompts of each category; null for all of the pack.",
                },
                "seeds": {
                    **arguments.OWN["bench.seeds"],
                    "default": 2,
                    "description": "How many images of each prompt.",
                },
                "scorers": {
                    "type": "array",
                    "items": {"type": "string", "enum": list(SCORERS)},
                    "default": ["shapes"],
                    "description": "What judges; shapes is exact for the embedded models and needs nothing else.",
                },
                "lanes": _LANES,
                "again": _AGAIN,
            },
            runs.bench,
            runs=True,
        ),
    )


def _reading(runs: Runs) -> tuple[Tool, ...]:
    held = runs.kept
    found = {
        "text": {
            **_TEXT,
            "description": "Words; each must begin a word of the prompt, name, note, tags, model or id.",
        },
        "model": {**_TEXT, "description": "The id of a model."},
        "kind": {**_TEXT, "description": "What made the run: trace, sweep, neighbourhood, bench."},
        "status": {**_TEXT, "description": "complete, stopped, failed, running or partial."},
        "tag": {**_TEXT, "description": "A tag that the run has."},
        "attention": {
            "type": "string",
            "enum": ["cross", "self", "all"],
            "description": "The kind of attention that was captured.",
        },
        "sort": {
            "type": "string",
            "enum": list(SORTS),
            "default": "created",
            "description": "What the runs are sorted by, the last one first.",
        },
        "limit": {**arguments.OWN["limit"], "default": 20, "description": "How many runs at most."},
        "offset": {
            **arguments.OWN["search.offset"],
            "default": 0,
            "description": "How many of those found are left out before the first.",
        },
    }
    return (
        Tool(
            "search",
            "Find runs in the library by words and settings, the newest first. Returns one page of them, each with its "
            "id and the address that opens it, and how many there are in all.",
            found,
            lambda caller, **asked: held.search(caller.visitor, caller.root, **asked),
        ),
        Tool(
            "run",
            "Say all of one kept run: what was asked, what came of it, its image, and with `steps` its numbers step by "
            "step (noise levels, norms, distances, curvature).",
            {
                "run_id": _ID,
                "steps": {
                    "type": "boolean",
                    "default": False,
                    "description": "Whether to return the numbers of each step too.",
                },
            },
            lambda caller, run_id, steps=False: _run(held, caller, run_id, steps),
            ("run_id",),
        ),
        Tool(
            "run_link",
            "Return the address of a file of a kept run: image is the final one, gif and mp4 its film that moves, png "
            "and svg its film as a strip, html a page that needs no server, csv and json its tables, npz its arrays.",
            {
                "run_id": _ID,
                "kind": {
                    "type": "string",
                    "enum": list(LINKS),
                    "default": "image",
                    "description": "What the address is of.",
                },
            },
            lambda caller, run_id, kind="image": held.link(caller.visitor, caller.root, run_id, kind),
            ("run_id",),
        ),
        Tool(
            "attention",
            "Return by step how much each word of a run's prompt was looked at. The run must have captured it: call "
            "trace with attention=cross first.",
            {
                "run_id": _ID,
                "word": {
                    **_TEXT,
                    "description": "A word of the prompt, as it stands there; all words without it.",
                },
            },
            lambda caller, run_id, word="": held.words(caller.visitor, run_id, word),
            ("run_id",),
        ),
        Tool(
            "models",
            "Say which models can be run here, with good first values of steps and guidance. The first two are "
            "embedded and always at hand; others are fetched when they first run.",
            {},
            lambda caller: kept.models(),
            for_all=True,
        ),
    )


def _run(held: kept.Kept, caller: Caller, run_id: str, steps: bool) -> dict[str, Any]:
    told = held.run(caller.visitor, caller.root, run_id)
    return {**told, **({"steps": held.steps(caller.visitor, run_id)["steps"]} if steps else {})}


def _field(name: str) -> dict[str, Any]:
    """Return the schema of a field of a request, with what is said of it."""
    field = _FIELDS[name]
    about = field.about[0].upper() + field.about[1:]
    if name in ("steps", "guidance", "size"):
        about += " Without it, the model's own."
    return {**arguments.schema_of(field), "description": about}
