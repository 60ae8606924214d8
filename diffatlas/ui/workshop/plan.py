"""What a teacher decides of a workshop: its pages, models, presets, lessons, and the values of the form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, ConfigDict, Field, Strict, StringConstraints

from diffatlas.backends.schedulers import SCHEDULERS
from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.request import MAX_GUIDANCE, MAX_SEED, MAX_SIDE, MAX_STEPS

PAGES = ("trajectory", "sweep", "neighbourhood", "attention", "bench", "lab", "library", "settings")
#: Pages whose forms have presets.
PRESET_PAGES = ("trajectory", "sweep", "neighbourhood", "attention")
#: What pages are called in a sentence.
PAGE_NAMES = {name: "2D Lab" if name == "lab" else name.capitalize() for name in PAGES}
#: The lessons of the 2D Lab, in the order in which it has them.
LESSONS = ("noise", "score", "steps", "guidance", "null", "memory", "budget")
MOST_PRESETS = 12

Page = Literal["trajectory", "sweep", "neighbourhood", "attention", "bench", "lab", "library", "settings"]
Text = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=600, strip_whitespace=True)]
Title = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Prompt = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
Steps = Annotated[int, Strict(), Field(ge=1, le=MAX_STEPS)]
Side = Annotated[int, Strict(), Field(ge=8, le=MAX_SIDE)]
Guidance = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=MAX_GUIDANCE)]


class _Part:
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Values(_Part):
    """Values of a form, by the names of a link; None for what is not said."""

    steps: Steps | None = None
    guidance: Guidance | None = None
    size: Text | None = None
    scheduler: Title | None = None
    negative_prompt: Annotated[str, Strict(), StringConstraints(max_length=2000)] | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What is said, by name."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}


@dataclass(frozen=True, kw_only=True)
class Preset(Values):
    """A request to begin from. What it does not say is as the form has it first."""

    name: Title
    prompt: Prompt
    seed: Annotated[int, Strict(), Field(ge=0, le=MAX_SEED)] = 0
    look_for: Text = "Look for the step at which the main thing can first be told."
    model: Title | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Its values besides prompt, seed and model, by name."""
        own = {one.name for one in fields(Values)}
        return {name: value for name, value in self.said.items() if name in own}


Presets = Annotated[tuple[Preset, ...], Field(max_length=MOST_PRESETS)]


@dataclass(frozen=True, kw_only=True)
class PresetsOfPages(_Part):
    """The presets of each page; the app's own where nothing is said."""

    trajectory: Presets | None = None
    sweep: Presets | None = None
    neighbourhood: Presets | None = None
    attention: Presets | None = None


@dataclass(frozen=True, kw_only=True)
class Bounds(_Part):
    """The least and the most of what may be asked, both among it."""

    steps: tuple[Steps, Steps] | None = None
    #: Of both sides, in pixels.
    size: tuple[Side, Side] | None = None


@dataclass(frozen=True, kw_only=True)
class Workshop(_Part):
    """A workshop. What is not said is as the app has it."""

    title: Title
    welcome: Text | None = None
    pages: Annotated[tuple[Page, ...], Field(min_length=1)] = PAGES  # type: ignore[assignment]
    #: Of this machine; where some are named, runs are made with them alone. The first is the one to begin with.
    models: tuple[Title, ...] = ()
    presets: PresetsOfPages = field(default_factory=PresetsOfPages)
    lessons: tuple[Literal[LESSONS], ...] = LESSONS  # type: ignore[valid-type]
    first: Values = field(default_factory=Values)
    fixed: Values = field(default_factory=Values)
    bounds: Bounds = field(default_factory=Bounds)

    def presets_of(self, page: str) -> tuple[Preset, ...] | None:
        """Return the presets of a page; None where the app's own serve."""
        return getattr(self.presets, page, None)

    @property
    def begins(self) -> dict[str, Any]:
        """What the form has first, fixed or not, by the names of a link."""
        return {**self.first.said, **self.fixed.said}


def sides_of(size: str) -> tuple[int, int]:
    """Return width and height of "64x64". Raises `InvalidParams` for anything else."""
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size)
    if not found:
        raise InvalidParams(f"The size {size!r} cannot be read: write 64x64.", field="size")
    return int(found[1]), int(found[2])


def faults(workshop: Workshop, listed: Sequence[ModelEntry]) -> Iterator[tuple[list[str | int], str]]:
    """Yield what is wrong with a workshop beyond its types: where, and what, to which the place is the beginning.

    listed: the models of this machine.
    """
    for name in ("pages", "models", "lessons"):
        yield from _doubled(name, getattr(workshop, name))
    known = [entry.id for entry in listed]
    for number, model in enumerate(workshop.models):
        if model not in known:
            yield ["models", number], f"is {model!r}: give one that is listed here, of {', '.join(known)}"
    if workshop.lessons != LESSONS and "lab" not in workshop.pages:
        yield ["lessons"], "are of the 2D Lab: add lab to the pages, or leave them out"
    for name in ("steps", "size"):
        bounds = getattr(workshop.bounds, name)
        if bounds and bounds[0] > bounds[1]:
            yield ["bounds", name], f"are from {bounds[0]} to {bounds[1]}: give the least first"
    for name in workshop.first.said:
        if name in workshop.fixed.said:
            yield ["first", name], "is fixed as well: say it at one of the two places"
    for group in ("first", "fixed"):
        for name, what in _wrong_values(getattr(workshop, group).said, workshop.bounds):
            yield [group, name], what
    offered = workshop.models or tuple(known)
    for page in PRESET_PAGES:
        yield from _wrong_presets(workshop, page, offered)


def _wrong_presets(
    workshop: Workshop, page: str, offered: Sequence[str]
) -> Iterator[tuple[list[str | int], str]]:
    presets = workshop.presets_of(page)
    if presets is None:
        return
    if page not in workshop.pages:
        yield (
            ["presets", page],
            f"are of a page that is not there: add {page} to the pages, or leave them out",
        )
    names = [preset.name for preset in presets]
    for number, preset in enumerate(presets):
        where: list[str | int] = ["presets", page, number]
        if preset.name in names[:number]:
            yield [*where, "name"], f"is {preset.name!r}, as of another preset of this page"
        if preset.model is not None and preset.model not in offered:
            yield [*where, "model"], f"is {preset.model!r}: give one of {', '.join(offered)}"
        for name, what in _wrong_values(preset.settings, workshop.bounds):
            yield [*where, name], what
        for name, value in preset.settings.items():
            if (fixed := workshop.fixed.said.get(name, value)) != value:
                yield [*where, name], f"is {value!r}, and it is fixed at {fixed!r}: leave it out"


def _wrong_values(values: dict[str, Any], bounds: Bounds) -> Iterator[tuple[str, str]]:
    steps = values.get("steps")
    sides: tuple[int, ...] = ()
    if steps is not None and bounds.steps and not bounds.steps[0] <= steps <= bounds.steps[1]:
        yield "steps", f"is {steps}: the bounds are from {bounds.steps[0]} to {bounds.steps[1]}"
    if (size := values.get("size")) is not None:
        try:
            sides = sides_of(size)
            GenerationParams(model="any", prompt="any", width=sides[0], height=sides[1]).validate()
        except InvalidParams:
            yield "size", f"is {size!r}: write width x height in pixels, such as 64x64"
            return
    if sides and bounds.size and not all(bounds.size[0] <= side <= bounds.size[1] for side in sides):
        yield "size", f"is {size}: the bounds of both sides are from {bounds.size[0]} to {bounds.size[1]}"
    if (scheduler := values.get("scheduler", "ddim")) not in SCHEDULERS:
        yield "scheduler", f"is {scheduler!r}: give one of {', '.join(SCHEDULERS)}"


def _doubled(name: str, values: Sequence[str]) -> Iterator[tuple[list[str | int], str]]:
    for number, value in enumerate(values):
        if value in values[:number]:
            yield [name, number], f"is {value!r}, which is there already: name each once"
