"""What a workshop does, in lines to read before it is held."""

from __future__ import annotations

from collections.abc import Iterator

from diffatlas.spelled import number
from diffatlas.ui.workshop.plan import LESSONS, PAGE_NAMES, PAGES, PRESET_PAGES, Values, Workshop


def workshop_lines(workshop: Workshop) -> Iterator[str]:
    """Yield what a workshop does, a line for each thing that it decides."""
    yield workshop.title
    if workshop.welcome:
        yield f"Welcome: {workshop.welcome}"
    there = ", ".join(PAGE_NAMES[page] for page in workshop.pages)
    absent = ", ".join(PAGE_NAMES[page] for page in PAGES if page not in workshop.pages)
    yield f"Pages: {there}" + (f" (not {absent})" if absent else "")
    if workshop.models:
        yield f"Models: {', '.join(workshop.models)}, on this machine alone"
    else:
        yield "Models: all that are listed"
    for page in PRESET_PAGES:
        presets = workshop.presets_of(page)
        if presets is not None:
            yield f"Presets of {PAGE_NAMES[page]}: {', '.join(one.name for one in presets) or 'none'}"
    if "lab" in workshop.pages and workshop.lessons != LESSONS:
        yield f"Lessons of the 2D Lab: {', '.join(workshop.lessons) or 'none'}"
    if workshop.first.said:
        yield f"First values: {_values(workshop.first)}"
    if workshop.fixed.said:
        yield f"Fixed: {_values(workshop.fixed)}"
    if workshop.bounds.steps:
        yield "Steps: {} to {}".format(*workshop.bounds.steps)
    if workshop.bounds.size:
        yield "Sides: {} to {} pixels".format(*workshop.bounds.size)


def _values(values: Values) -> str:
    spelled = (
        f"{name.replace('_', ' ')} {number(value) if isinstance(value, (int, float)) else value or 'nothing'}"
        for name, value in values.said.items()
    )
    return ", ".join(spelled)
