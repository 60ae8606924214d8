"""A page that has no app behind it, in which modules of the pages are loaded by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffatlas import look
from tests.browser.visiting import PATIENCE

STATIC = Path(__file__).resolve().parents[2] / "diffatlas" / "ui" / "static"
HOST = "http://modules.test"
PAGE = f"<!doctype html><style>{look.variables()}</style><body></body>"
#: How a module is called: `m` is the module, the values come by their names.
Call = Callable[..., Any]


@contextmanager
def module_page(chromium: Any, html: str = PAGE, **context_options: Any) -> Iterator[Any]:
    """A page whose files are answered from the folder of the pages' modules. html: what it holds."""
    context = chromium.new_context(**context_options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)

    def answer(route: Any) -> None:
        name = route.request.url.removeprefix(f"{HOST}/")
        if name:
            route.fulfill(body=(STATIC / name).read_bytes(), content_type="text/javascript")
        else:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")

    page.route(f"{HOST}/**", answer)
    page.goto(HOST)
    yield page
    context.close()


def loader(page: Any) -> Callable[[str], Call]:
    """Return ``load``: ``load("core/format.js")("m.short(value)", value=3)`` is what an expression comes to."""

    def load(name: str) -> Call:
        def call(expression: str, /, **values: Any) -> Any:
            names = ", ".join(values)
            script = f"async ({{ {names} }}) => {{ const m = await import('{HOST}/{name}'); return {expression}; }}"
            return page.evaluate(script, values)

        return call

    return load
