"""The packs that come with the program, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from diffatlas.bench.packs.coco import SIX, coco_pack
from diffatlas.bench.packs.shapes import hard_pack, shapes_pack
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams


@dataclass(frozen=True)
class Shipped:
    """A pack that is made when it is asked for."""

    name: str
    title: str
    #: Prompts of each category where no size is asked for.
    each: int
    make: Callable[[int, int], Pack]


def _coco(name: str, title: str, tags: tuple[str, ...], each: int, description: str) -> Shipped:
    return Shipped(
        name, title, each, lambda size, seed: coco_pack(name, title, tags, size, seed, description)
    )


SHIPPED = {
    one.name: one
    for one in (
        Shipped("shapes", "Shapes", 25, shapes_pack),
        Shipped("shapes-hard", "Shapes, beyond what was learned", 12, hard_pack),
        _coco("geneval-form", "GenEval's form", SIX, 80, "Six categories, as many prompts of each."),
        _coco(
            "lite", "GenEval's form, two of each", SIX, 2, "Twelve prompts: what a model can do, in a minute."
        ),
        _coco("smoke", "Smoke", ("single_object", "colors"), 1, "Two prompts: whether anything works."),
        _coco("counting", "Counting", ("counting",), 40, "Two, three or four of one class."),
        _coco("colour", "Colour", ("colors", "color_attr"), 40, "One object in a colour, and two in two."),
        _coco(
            "spatial", "Spatial", ("position",), 40, "One object left of, right of, above or below another."
        ),
        _coco("negation", "Negation", ("negation",), 40, "An object, and another that must not be there."),
        _coco(
            "critical-absence",
            "Critical absence",
            ("critical_absence",),
            18,
            "What nearly always comes with the object must not be there.",
        ),
    )
}


def shipped_pack(name: str, each: int | None = None, seed: int = 0) -> Pack:
    """Return a pack that comes with the program: ``each`` prompts of each category, drawn by ``seed``.

    Raises `InvalidParams` for a name that is none, a size below 1, and one for which there are not enough prompts.
    """
    if name not in SHIPPED:
        near = get_close_matches(name, SHIPPED, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise InvalidParams(
            f"There is no pack {name!r}: there are {', '.join(SHIPPED)}.{meant}", field="pack"
        )
    known = SHIPPED[name]
    size = known.each if each is None else each
    if size < 1:
        raise InvalidParams(f"A pack of {size} prompts a category is none: give 1 or more.", field="size")
    return known.make(size, seed)
