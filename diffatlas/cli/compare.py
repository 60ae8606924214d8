"""The command that says in what two runs differ, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli.output import print_table
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.library.difference import Difference, ImageDifference, PathDifference

commands = typer.Typer()
FORMAT = "diffusion-atlas/compare"
VERSION = 1
_UNITS = {
    "mean_absolute": "levels of 255",
    "images.maximum": "levels of 255",
    "path.maximum": "latent units",
    "distances": "latent units",
    "relative": "none",
    "first_step": "none",
}


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="An id of `diffatlas runs`.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what differs by the names of the fields, as JSON.")
    ] = False,
) -> None:
    """Say in what two runs differ (settings, machine), and how far apart their images and paths are."""
    from diffatlas.formats import compared
    from diffatlas.library.difference import difference
    from diffatlas.library.store import Library
    from diffatlas.registry import list_models

    if first == second:
        raise InvalidParams(f"{first} is named twice: name two runs.")
    library = Library()
    a, b = library.open(first), library.open(second)
    found = difference(a, b)
    machine = compared.machine(found.environment, first, second)
    models = {entry.id: entry.name for entry in list_models("local")}
    rows = [*compared.settings(a.params, b.params, models, in_full=True), *machine.rows]
    lines = [*map(compared.said, rows), *machine.sentences]
    if as_json:
        _print_json(first, second, found, lines)
        return
    print(f"{first} and {second}")
    print("\n".join(lines) or "The same was asked, and both ran on the same.")
    for number, image in enumerate(found.images, start=1):
        name = "Image" if len(found.images) == 1 else f"Image {number}"
        print(f"{name}: {_image_words(image)}")
    print(f"Path: {_path_words(found.path)}")
    if found.path is not None and found.path.first_step is not None:
        distances = found.path.distances
        print_table(
            ("After step", "Distance (latent units)"),
            [(str(step), f"{distance:.6g}") for step, distance in enumerate(distances)],
        )


def _print_json(first: str, second: str, found: Difference, lines: list[str]) -> None:
    from diffatlas.library import format as layout

    data = {
        "format": FORMAT,
        "version": VERSION,
        "units": _UNITS,
        "a": first,
        "b": second,
        "words": lines,
        "params": {name: {"a": x, "b": y} for name, (x, y) in found.params.items()},
        "environment": {name: {"a": x, "b": y} for name, (x, y) in found.environment.items()},
        "images": [_finite(asdict(image)) for image in found.images],
        "path": None if found.path is None else _finite(asdict(found.path)),
    }
    typer.echo(layout.dumps(data, indent=1).encode("utf-8", "backslashreplace").decode())


def _finite(value: Any) -> Any:
    """Return numbers with None for what is infinite, as where two images cannot be laid over each other."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _image_words(image: ImageDifference) -> str:
    if image.identical:
        return "identical"
    if math.isinf(image.maximum):
        return "cannot be compared, since it is of another size or only one run has it"
    return f"{image.mean_absolute:.3g} of 255 levels apart on average, {image.maximum:g} at most"


def _path_words(path: PathDifference | None) -> str:
    if path is None:
        return (
            "cannot be compared step by step, since a run has no latents, others or another number of steps"
        )
    if path.identical:
        return "identical"
    if path.first_step is None:
        return f"identical as far as both go, {len(path.distances) - 1} steps"
    begin = f"after step {path.first_step}" if path.first_step else "from the start"
    return (
        f"apart {begin}, by {path.relative:.3g} of the states' norm at most; no number differs by more than "
        f"{path.maximum:.3g}"
    )
