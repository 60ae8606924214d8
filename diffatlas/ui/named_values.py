"""What the fields of a form hold is handed to a page's function by name; programs give it by the same names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import gradio as gr

from diffatlas.request import FIELDS

#: A function of a page that runs what a form asks: of the values by name, and of who asks.
Run = Callable[[Mapping[str, Any], gr.Request], Generator[Any, None, None]]


def by_name(run: Run, names: Iterable[str]) -> Callable[..., Generator[Any, None, None]]:
    """Return ``run`` as Gradio calls it: with one value for each of ``names``, in their order.

    Gradio reads the names of an endpoint's arguments from its signature, and what it says of itself from its docstring:
    a line is added for each field of a request.
    """
    names = tuple(names)

    @functools.wraps(run)
    def called(request: gr.Request, *values: Any) -> Generator[Any, None, None]:
        yield from run(dict(zip(names, values, strict=True)), request)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # A field that is empty at first, such as a picture, may be left out by a program.
    arguments = [inspect.Parameter(name, kind, default=None) for name in names]
    who = inspect.Parameter("request", kind, annotation=gr.Request)
    called.__signature__ = inspect.Signature([who, *arguments])  # type: ignore[attr-defined]
    called.__annotations__ = {"request": gr.Request}
    first, _, own = inspect.cleandoc(run.__doc__ or "").partition("\n\nArgs:\n")
    told = [field for field in FIELDS if field.link in names and f"    {field.link}: " not in own]
    lines = [f"    {field.link}: {field.about}" for field in told]
    if "backend" in names:
        lines.append("    backend: where it runs, one of the names that the endpoint backends returns.")
    called.__doc__ = "\n".join([first, "", "Args:", *lines, *([own] if own else [])])
    return called
