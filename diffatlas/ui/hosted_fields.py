"""What a form's fields say of a model that a provider runs: which of them it takes, and in which range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from diffatlas.backends.hosted import money
from diffatlas.backends.tasks import USUAL, TakesPicture
from diffatlas.errors import DiffAtlasError
from diffatlas.registry import ELSEWHERE, ELSEWHERE_NAMES, HostedModel, ModelEntry
from diffatlas.ui import chosen_model, elsewhere, said
from diffatlas.ui.asked_values import typed
from diffatlas.ui.places import LOCAL, entry_of, info_of, name_of
from diffatlas.ui.quiet import IN_ORDER, PRIVATE
from diffatlas.ui.visitor_keys import token_for

NO_LATENTS = "None: a hosted service returns only the finished image."
ITS_OWN = "A hosted model has its own."


def choose(backend: str | None, model: str | None, visitor: str = "") -> chosen_model.Chosen:
    """Find the model that a form names, of this machine, of a place elsewhere or of a provider.

    visitor: whose token another Atlas gets. Raises the errors of `diffatlas.ui.chosen_model.choose`, and
    `InvalidParams` for an unknown backend.
    """
    backend = typed(backend, "backend") or LOCAL
    if backend == LOCAL:
        return chosen_model.choose(model)
    entry = entry_of(backend, typed(model, "model"))
    info = info_of(backend, entry.id, token_for(visitor))
    return chosen_model.Chosen(entry, info, line_of(entry), "")


def takes_of(
    backend: str | None, here: Callable[[str], TakesPicture | None], visitor: str = ""
) -> Callable[[str], TakesPicture | None]:
    """Return what tells which picture a model of a backend takes: ``here`` of this machine; no provider takes one.

    Where a place elsewhere does not say it, what most models take. visitor: whose token another Atlas gets.
    """
    if (backend or LOCAL) == LOCAL:
        return here
    if backend not in ELSEWHERE:
        return lambda model: None
    return lambda model: elsewhere.said(backend, "takes_picture", model, token_for(visitor), USUAL)


def line_of(entry: ModelEntry) -> str:
    """Return what is said of a model that does not run here: its notes; of a provider's also what it does not take,
    and what an image costs."""
    if not isinstance(entry, HostedModel):
        place = ELSEWHERE_NAMES.get(entry.provider, "this place")
        return entry.notes or f"It runs on {place}, which may have models that it does not list."
    parts = [
        entry.notes or ("" if entry.takes is not None else "Not in the list: all that is asked is sent.")
    ]
    lacks = [words for name, words in _INPUTS if not entry.has(name)]
    if lacks:
        listed = " and ".join(f"no {words}" for words in lacks)
        parts.append(f"{entry.name} takes {listed}: {'it is' if len(lacks) == 1 else 'these are'} ignored.")
    if (price := entry.dollars()) is not None:
        parts.append(f"About {money.dollars_words(price)} an image.")
    return " ".join(filter(None, parts))


#: Inputs that a sentence names where a model has none of them.
_INPUTS = (
    ("guidance", "guidance"),
    ("steps", "number of steps"),
    ("seed", "seed"),
    ("negative_prompt", "negative prompt"),
)


def hints(entry: HostedModel) -> dict[str, tuple[str, bool]]:
    """Return the hint of each field that a hosted model may not take, by its name in a link, and whether it does."""
    return {
        "steps": _hint(entry, "steps", _range(entry.steps_range) or "How many."),
        "guidance": _hint(entry, "guidance", _range(entry.guidance_range) or "As it is sent."),
        "seed": _hint(entry, "seed", "The provider draws the noise from it."),
        "size": _size(entry),
        "negative_prompt": _hint(entry, "negative_prompt", "What guidance pushes away from."),
        "scheduler": (ITS_OWN, False),
        "guidance_method": (ITS_OWN, False),
        "previews": (NO_LATENTS, False),
        "attention": (NO_LATENTS, False),
        "mode": ("A provider takes seeds alone.", False),
    }


#: What fields hold that cannot be changed, by their names: what no provider takes would refuse every run.
_TAKEN = {"scheduler": {"value": ""}, "guidance_method": {"value": ""}, "mode": {"value": "offset"}}


def wire_hints(form: Any, by_hand: Sequence[Any]) -> None:
    """Let the fields of a form say what its model does not take, whoever sets the model or its backend.

    by_hand: the events of a model and of a backend that were chosen by hand. A change of both is told as two changes,
    of which the page may miss the second: so it is said once more when all of it is there.
    """
    fields = _fields(form)
    own = {name: field.info or "" for name, field in fields.items()}

    def tell(backend: str | None, model: str | None) -> list[Any]:
        try:
            entry = (
                entry_of(typed(backend, "backend") or LOCAL, typed(model, "model"))
                if backend != LOCAL
                else None
            )
        except DiffAtlasError:
            # What is wrong is said at the field of the model, or by the run.
            entry = None
        if not isinstance(entry, HostedModel):
            return [said.hint(own[name], interactive=True) for name in fields]
        told = hints(entry)
        return [
            said.hint(told[name][0], interactive=told[name][1], **_TAKEN.get(name, {})) for name in fields
        ]

    named, told = [form.backend, form.model], list(fields.values())
    gr.on([form.backend.change, form.model.change], tell, named, told, **IN_ORDER)
    for event in by_hand:
        event.then(tell, named, told, **PRIVATE)


def _fields(form: Any) -> dict[str, gr.components.Component]:
    """Return the fields of a form that `hints` tells of, by its names."""
    asked, more = form.asked, form.more
    names = ("steps", "guidance", "seed", "size", "negative_prompt", "scheduler", "guidance_method")
    fields = {name: asked[name] for name in names} | {"previews": more.previews}
    fields |= {"attention": form.attention} if hasattr(form, "attention") else {}
    # How the neighbours of a seed are found.
    return fields | ({"mode": form.own["mode"]} if "mode" in getattr(form, "own", {}) else {})


def _hint(entry: HostedModel, name: str, words: str) -> tuple[str, bool]:
    return (words, True) if entry.has(name) else ("Not taken.", False)


def _size(entry: HostedModel) -> tuple[str, bool]:
    if entry.has("size"):
        if entry.sides is None:
            return "★ native.", True
        least, most, multiple = entry.sides
        return f"{least} to {most}" + (f" by {multiple}." if multiple > 1 else "."), True
    return ("Its shape counts.", True) if entry.has("aspect") else ("Not taken.", False)


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}."


def place_words(backend: str) -> str:
    """Return what is said at the field of the backend. Raises `InvalidParams` for one that there is not."""
    if backend == LOCAL:
        return "Where the model runs."
    if backend in ELSEWHERE:
        return f"{name_of(backend)} runs the model, and shows all of its path."
    return f"{name_of(backend)} makes the image with your key: the page Settings takes it."
