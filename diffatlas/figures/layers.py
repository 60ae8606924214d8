"""The runs of a figure: what each is called and its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.figures.template import ground, layer_colour
from diffatlas.library.reader import read_run
from diffatlas.library.stored import StoredRun
from diffatlas.names import facts_of, told_apart
from diffatlas.run import Run


@dataclass(frozen=True)
class Layer:
    """A run as it is drawn beside others. ``colour``: "#rrggbb"."""

    name: str
    run: Run
    colour: str


def layers_of(
    runs: Any, names: Sequence[str] | None = None, colours: Sequence[str] | None = None, dark: bool = False
) -> list[Layer]:
    """Return the layers of a run or of several, each as `run_of` takes it.

    names: what they are called; without them their prompts, and what differs. colours: without them the accent for
    one, and those of layers for several.

    Raises `InvalidParams` where there is no run, and for another number of names or colours.
    """
    read = [run_of(one) for one in (runs if isinstance(runs, Sequence) else [runs])]
    if not read:
        raise InvalidParams("There is no run to draw: give one.")
    if names is None:
        names = told_apart(
            [one.params.prompt or "A run without a prompt" for one in read],
            [facts_of(one.params, ended="" if one.status == "complete" else one.status) for one in read],
        )
    if colours is None:
        colours = [layer_colour(k) for k in range(len(read))] if len(read) > 1 else [ground(dark).burgundy]
    for given, what in ((names, "names"), (colours, "colours")):
        if len(given) != len(read):
            raise InvalidParams(f"There are {len(read)} runs and {len(given)} {what}: give one for each.")
    return [Layer(*one) for one in zip(names, read, colours, strict=True)]


def run_of(one: Any) -> Run:
    """Return the run of a `Run`, of one that a library has opened, or of the trace of a call.

    Raises `InvalidParams` for anything else, and `DamagedRun` for a stored run that cannot be read.
    """
    if isinstance(one, StoredRun):
        return read_run(one.folder)
    run = one if isinstance(one, Run) else getattr(one, "run", None)
    if not isinstance(run, Run):
        raise InvalidParams(f"A {type(one).__name__} is no run: give a run, or one out of a library.")
    return run
