"""What the app says of its endpoints (``view_api``, ``/gradio_api/info``): each argument typed, with a sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.utils import get_function_description

from diffatlas.ui.programs import arguments

#: What a value of an endpoint holds, by the kind of its component.
RESULTS: dict[str, dict[str, str]] = {
    "Viewer": {
        "status": "waiting, loading, running, complete, stopped or failed",
        "run": "what was asked and what it runs on; its id is in here; null until it has begun",
        "steps": "one of each step: index, timestep, sigma_before, sigma, metrics in the order of `metrics`, preview",
        "points": "the path in three dimensions, float32 as base64",
        "image": "the address of the final image, relative to the app",
        "totals": "what the end tells of the path: its length, chord, straightness, mean curvature",
        "cached": "whether the library had this run already",
        "error": "null, or what is wrong: message (one sentence) and field",
    },
    "Studyisland": {
        "status": "waiting, loading, running, complete, stopped or failed",
        "study": "what was asked: id, title, lanes, columns, rows, and the parameters of each cell",
        "cells": "by key, what became of each cell: status, the id of its run, image, seconds, error",
        "lanes": "by key, what each lane does: status and message",
        "error": "null, or what is wrong: message (one sentence) and field",
    },
    "Benchisland": {
        "status": "waiting, loading, running, complete, stopped or failed",
        "bench": "its id and title; null until it is kept",
        "changed": "by key, the cells that changed of late: all of them, over all values of the stream",
        "lanes": "by key: status, message, and how many cells there are, are complete and have failed",
        "scorers": "by name: status, message, and how many images were judged",
        "error": "null, or what is wrong: message (one sentence) and field",
    },
}
RESULTS["Attentionisland"] = RESULTS["Viewer"]


class App(gr.Blocks):
    """Gradio's app, which says more of its endpoints than their components do."""

    #: What runs for agents (`diffatlas.ui.programs.running.Runs`), once the app is built.
    programs: Any = None

    def get_api_info(self, all_endpoints: bool = False, page: str | None = None) -> Any:
        """Return what there is to call: see `gradio.Blocks.get_api_info`."""
        info = super().get_api_info(all_endpoints, page)
        functions = {f"/{fn.api_name}": fn for fn in self.fns.values() if fn.api_visibility != "private"}
        for name, endpoint in info["named_endpoints"].items():
            _describe(name.lstrip("/"), endpoint, functions[name])
        return info


def _describe(name: str, endpoint: dict[str, Any], fn: Any) -> None:
    _, said, returned = get_function_description(fn.fn)
    for parameter, component in zip(endpoint["parameters"], fn.inputs, strict=True):
        words = said.get(parameter["parameter_name"], "")
        own = _own_schema(parameter["type"], component)
        schema = {**own, **(arguments.known(name, parameter["parameter_name"]) or {}), "description": words}
        if "enum" in schema:
            schema.setdefault("type", "string")
        parameter["type"] = schema
        parameter["python_type"] = {"type": _python(schema), "description": words}
        if isinstance(parameter["parameter_default"], float) and schema.get("type") == "integer":
            parameter["parameter_default"] = int(parameter["parameter_default"])
    for value in endpoint["returns"]:
        held = RESULTS.get(value["component"], {})
        words = "; ".join(f"{key}: {about}" for key, about in held.items()) or " ".join(returned)
        properties = {key: {"description": about} for key, about in held.items()}
        value["label"] = "result"
        value["type"] = {
            "type": "object",
            "description": words,
            **({"properties": properties} if held else {}),
        }
        value["python_type"] = {"type": "dict", "description": words}


def _own_schema(schema: dict[str, Any], component: Any) -> dict[str, Any]:
    """Return what a component says of its value; where it takes others than its choices, these are examples."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "additional_description")}
    if getattr(component, "allow_custom_value", False):
        of_items = "items" in schema
        values = dict(schema["items"]) if of_items else schema
        if "enum" in values:
            values["examples"] = values.pop("enum")
        if of_items:
            schema["items"] = values
    return schema


def _python(schema: dict[str, Any]) -> str:
    """Return what a schema is called in Python."""
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    words = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds == ["array"]:
        return f"list[{_python(schema.get('items', {}))}]"
    return " | ".join(words.get(kind, "dict") for kind in kinds)
