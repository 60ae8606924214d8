"""The workshop that this server holds, if any: read once, from the file that DIFFATLAS_WORKSHOP names."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from diffatlas.registry import list_models, narrow
from diffatlas.settings import settings
from diffatlas.ui.presets import PRESETS
from diffatlas.ui.presets import Preset as AppPreset
from diffatlas.ui.workshop.plan import PAGES, Workshop, sides_of
from diffatlas.ui.workshop.reading import read_workshop

#: What the values of a workshop are called in the ids of a form's fields.
FIELD_NAMES = {"steps": "num_inference_steps", "guidance": "guidance_scale"}


def held() -> Workshop | None:
    """Return the workshop of this server; None where it holds none. Raises as `read_workshop`."""
    path = settings().workshop
    return None if path is None else _read(path)


def begin() -> Workshop | None:
    """Read the workshop anew, and offer its models alone, with its values as their first ones."""
    narrow(None)
    _read.cache_clear()
    workshop = held()
    if workshop is None:
        return None
    listed = {entry.id: entry for entry in list_models("local")}
    given = {name: value for name, value in workshop.begins.items() if name in ("steps", "guidance")}
    if workshop.models or given:
        narrow([replace(listed[model], **given) for model in workshop.models or listed])
    return workshop


def pages() -> tuple[str, ...]:
    """Return the pages that there are, the first one first."""
    workshop = held()
    return PAGES if workshop is None else workshop.pages


def presets_of(page: str) -> tuple[AppPreset, ...]:
    """Return the presets of a page: those of the workshop, else the app's own where they are true here."""
    workshop = held()
    own = PRESETS[page]
    if workshop is None:
        return own
    given = workshop.presets_of(page)
    if given is None:
        # What they say to look for is true of the models' own values.
        changed = workshop.begins or workshop.bounds.steps or workshop.bounds.size
        return () if changed else own
    first = workshop.models[0] if workshop.models else list_models("local")[0].id
    return tuple(
        AppPreset(
            one.name,
            one.look_for,
            one.prompt,
            one.seed,
            {FIELD_NAMES.get(name, name): value for name, value in one.settings.items()},
            one.model or first,
        )
        for one in given
    )


def first_value(name: str) -> str | None:
    """Return what a workshop has a field begin with, by its name in a link; None where it says nothing."""
    workshop = held()
    return None if workshop is None else workshop.begins.get(name)


def is_fixed(name: str) -> bool:
    """Whether a workshop has fixed a field, by its name in a link."""
    workshop = held()
    return workshop is not None and name in workshop.fixed.said


def has_models() -> bool:
    """Whether a workshop says which models there are, all of them of this machine."""
    workshop = held()
    return workshop is not None and bool(workshop.models)


def takes_size(size: str) -> bool:
    """Whether a workshop allows a size such as "64x64"."""
    workshop = held()
    if workshop is None or workshop.bounds.size is None:
        return True
    least, most = workshop.bounds.size
    return all(least <= side <= most for side in sides_of(size))


@lru_cache(maxsize=4)
def _read(path: Path) -> Workshop:
    return read_workshop(path)
