"""What a link asks for: ``?prompt=a+red+circle&seed=7&steps=30`` fills the form, and runs nothing.

Gradio's own deep links are never used: they publish every field, keys included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import gradio as gr

from diffatlas.errors import DiffAtlasError, InvalidParams, UnknownModel
from diffatlas.guidance import check_method
from diffatlas.registry import find_model
from diffatlas.request import FIELDS, MAX_IMAGES, MAX_STEPS, NUMBER, SIZE, WHOLE
from diffatlas.studies.plan_lanes import method_name
from diffatlas.ui import said
from diffatlas.ui.asked_words import UNFILLABLE, check_fillable, to_noise
from diffatlas.ui.chosen_model import choose
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.hosted_fields import line_of, place_words
from diffatlas.ui.places import LOCAL, entry_of

#: What a link can fill in: the fields of the forms of single runs; other forms have some of them.
NAMES = (*(field.link for field in FIELDS if field.in_forms), "backend")
MOST_LETTERS = 2000
#: What every request has: a form that is filled with one keeps the value that is there.
_ALWAYS_SET = ("model", "prompt", "seed", "steps", "guidance", "size")


def fill(
    query: Mapping[str, str], known: Callable[[str], Any], first_model: str
) -> tuple[dict[str, Any], str | None]:
    """Return updates of the form's fields, by `NAMES`, and what is wrong with the link, if anything is.

    known: what is known of a model, given its id. A link that is wrong fills nothing.
    """
    given = {name: query[name][:MOST_LETTERS] for name in (*NAMES, *UNFILLABLE) if query.get(name)}
    nothing = {name: gr.skip() for name in NAMES}
    if not given:
        return nothing, None
    try:
        return _filled(given, known, first_model), None
    except DiffAtlasError as error:
        return nothing, f"The link could not fill the form: {error.message}"


def folded(query: Mapping[str, str]) -> str | None:
    """Return what to say of a link that asks for guidance other than the plain one: its field is folded away."""
    method = query.get("guidance_method")
    if not method:
        return None
    name = method_name(method, forms.to_options(query.get("guidance_options")))
    return f"The link asks for another guidance method ({name}): it is among the fields under More."


def emptied(updates: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return the updates of `fill` with those fields emptied that the query does not name."""
    empty = {field.link: gr.update(value=None if field.kind in (WHOLE, NUMBER) else "") for field in FIELDS}
    empty |= {
        "backend": gr.update(value=LOCAL),
        "guidance_options": gr.update(value="", visible=False),
        "noise": gr.update(value="", visible=False),
        "images": gr.update(value=1, visible=False),
    }
    return {
        name: update if query.get(name) or name in _ALWAYS_SET else empty[name]
        for name, update in updates.items()
    }


class PageParameter:
    """ASGI middleware: keeps ``?page=`` from Gradio, which has a parameter of that name and no page of ours.

    The browser still has it, and turns to the page.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, without ``page`` where it is for the app's own page."""
        if scope["type"] == "http" and _is_page(scope):
            kept = [
                (k, v) for k, v in parse_qsl(scope["query_string"], keep_blank_values=True) if k != b"page"
            ]
            scope = {**scope, "query_string": urlencode(kept).encode()}
        await self._app(scope, receive, send)


def _is_page(scope: Mapping[str, Any]) -> bool:
    """Whether a request is for the app's own page. A proxy on a sub-path may have taken that off the path."""
    below = scope.get("root_path", "").rstrip("/")
    return not scope["path"].removeprefix(below).strip("/")


def _filled(given: Mapping[str, str], known: Callable[[str], Any], first_model: str) -> dict[str, Any]:
    check_fillable(given)
    updates: dict[str, Any] = {name: gr.skip() for name in NAMES}
    backend = given.get("backend", LOCAL)
    if "backend" in given:
        updates["backend"] = gr.update(value=backend, info=said.as_hint(place_words(backend)))
    if backend != LOCAL:
        updates |= _by_hosted(backend, given.get("model", ""))
    elif "model" in given and given["model"] != first_model:
        updates |= _by_model(given["model"], known)
    for field in FIELDS:
        name = field.link
        if name not in given or name == "model" or not field.in_forms:
            continue
        if field.kind in (WHOLE, NUMBER):
            updates[name] = _number(name, given[name])
        elif field.kind == SIZE:
            width, height = forms.parse_size(given[name])
            updates[name] = _valued(updates[name], f"{width}x{height}")
        else:
            updates[name] = _valued(updates[name], given[name])
    _fill_guidance(updates, given)
    if noise := to_noise(given.get("noise")):
        noise.validate(int(_number("steps", given["steps"])) if "steps" in given else MAX_STEPS)
        updates["noise"] = gr.update(value=given["noise"], visible=True)
    if "images" in given:
        images = updates["images"]
        if not isinstance(images, int) or not 1 <= images <= MAX_IMAGES:
            raise InvalidParams(
                f"its number of images is {given['images']!r}: give a whole number from 1 to {MAX_IMAGES}.",
                field="num_images_per_prompt",
            )
        updates["images"] = gr.update(value=images, visible=images > 1)
    return updates


def _fill_guidance(updates: dict[str, Any], given: Mapping[str, str]) -> None:
    """Add the updates of the guidance method and its options. Raises `InvalidParams`."""
    method = given.get("guidance_method")
    if method:
        check_method(method, forms.to_options(given.get("guidance_options")))
        updates["guidance_method"] = gr.update(value=method)
        updates["guidance_options"] = said.hint(
            fields.options_hint(method), value=given.get("guidance_options", ""), visible=True
        )
    elif given.get("guidance_options"):
        raise InvalidParams("its guidance options are without a guidance method.", field="guidance_options")


def _by_model(model: str, known: Callable[[str], Any]) -> dict[str, Any]:
    """Return the updates that a model brings along. Raises a `DiffAtlasError` where there is none, or not for all."""
    try:
        entry = find_model(model)
        info, line = known(entry.id), entry.notes or "From models/local.md."
    except UnknownModel:
        chosen = choose(model)
        entry, info, line = chosen.entry, chosen.info, chosen.line
    updates = forms.on_model(entry, info)
    updates[0] = said.hint(line, value=model, elem_classes=[])
    return dict(zip(("model", "steps", "guidance", "size", "scheduler"), updates, strict=False))


def _by_hosted(backend: str, model: str) -> dict[str, Any]:
    """Return the updates that a provider's model brings along, its first where none is named."""
    entry = entry_of(backend, model)
    updates = forms.on_model(entry, None)
    updates[0] = said.hint(line_of(entry), value=entry.id, elem_classes=[])
    return dict(zip(("model", "steps", "guidance", "size", "scheduler"), updates, strict=False))


def _valued(update: Any, value: str) -> Any:
    """The update with another value: what it says of choices stays."""
    choices = update.get("choices") if isinstance(update, dict) else None
    return gr.update(value=value, choices=choices) if choices else gr.update(value=value)


def _number(name: str, text: str) -> float | int:
    if text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e18:
        raise InvalidParams(f"its {name} is {text!r}, which is no number.", field=name)
    return int(value) if value.is_integer() else value
