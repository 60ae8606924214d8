"""What a visitor has typed goes along from page to page and over a reload (``static/form/carry.js``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from diffatlas.errors import DiffAtlasError
from diffatlas.guidance import METHODS
from diffatlas.ui import links, said
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.hosted_fields import choose, place_words
from diffatlas.ui.places import LOCAL, choices
from diffatlas.ui.quiet import PRIVATE


def tell_form(app: gr.Blocks, form: Any, page: str) -> None:
    """Let the page's JavaScript know what the form asks: ``window.diffatlasForms[page]``, at every change.

    ``window.diffatlasFirst[page]`` is what it asked first, before anybody typed.

    page: the prefix of the form's ids.
    """
    names = json.dumps(list(form.asked))
    told = (
        "(...values) => { const forms = (window.diffatlasForms ??= {});"
        f" forms[{json.dumps(page)}] = Object.fromEntries({names}.map((name, at) => [name, values[at]]));"
        f" (window.diffatlasFirst ??= {{}})[{json.dumps(page)}] ??= forms[{json.dumps(page)}];"
        f" window.dispatchEvent(new CustomEvent('diffatlas-form', {{ detail: {json.dumps(page)} }})); }}"
    )
    asked = list(form.asked.values())
    gr.on([field.change for field in asked], None, asked, None, js=told, **PRIVATE)
    app.load(None, asked, None, js=told, **PRIVATE)


def take_along(form: Any, island: Any, page: str) -> None:
    """Let what was typed on another page come into a form when the view beside it asks for that.

    It happens in the browser: the fields are looked at and set in one go, so that nothing comes over what is typed
    meanwhile. `followed` is what the server adds. page: the prefix of the form's ids.
    """
    given = f"{json.dumps(page)}, {json.dumps(list(form.asked))}, values"
    taken = f"(...values) => window.diffatlasCarry?.({given}) ?? values.map(() => undefined)"
    asked = list(form.asked.values())
    island.submit(None, asked, asked, js=taken, **PRIVATE)


def followed(form: Any, asked: Any, visitor: str = "") -> list[Any] | None:
    """Return the updates of a form's request and of the model that it follows, where a model or method came along.

    They change what fields offer and say, never what they hold. asked: what the browser handed over. visitor: whose
    token another Atlas gets. None where neither is new.
    """
    query = asked_in(asked)
    if not query:
        return None
    updates = {name: gr.skip() for name in form.asked}
    method = query.get("guidance_method", "")
    if not method or method in METHODS:
        has = bool(method) and bool(METHODS[method].options)
        updates["guidance_options"] = said.hint(fields.options_hint(method), visible=has)
    last = gr.skip()
    if "model" in query:
        backend = query.get("backend") or LOCAL
        updates["backend"] = gr.update(choices=choices())
        try:
            chosen = choose(backend, query["model"], visitor)
            updates["backend"] = said.hint(place_words(backend), choices=choices())
            by_model = forms.on_model(chosen.entry, chosen.info, chosen.line)
            names = ("model", "steps", "guidance", "size", "scheduler")
            for name, update in zip(names, by_model, strict=False):
                if isinstance(update, dict):
                    updates[name] = {key: value for key, value in update.items() if key != "value"}
            updates["model"] |= {"choices": fields.choices_of(backend)}
        except DiffAtlasError as error:
            updates["model"] = said.hint(error.message, elem_classes=["da-wrong"])
        last = query["model"]
    return [*updates.values(), last]


def asked_in(given: Any) -> Mapping[str, str]:
    """Return the query that a browser handed over; empty where it is none."""
    if not isinstance(given, dict):
        return {}
    return {
        name: str(given[name])
        for name in links.NAMES
        if isinstance(given.get(name), (str, int, float)) and str(given[name]) != ""
    }
