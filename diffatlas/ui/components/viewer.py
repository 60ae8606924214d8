"""The view of a run and of the layers: a Gradio component around the ES modules in ``static/``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from diffatlas.export.kinds import KINDS
from diffatlas.glossary import TERMS
from diffatlas.ui.components.run_view import IDLE
from diffatlas.ui.palette import PALETTE
from diffatlas.ui.theme import STATIC

# `watch` is called at once and not after the import, so that no change is missed in between.
_LOAD = """
let changed = () => {};
watch("value", () => changed());
(async () => {
  const modules = new URL("gradio_api/file=" + props.modules + "/", document.baseURI);
  const { mount } = await import(new URL("viewer.js", modules).href);
  changed = mount(element, () => props.value, server, props);
})();
"""


class Viewer(gr.HTML):
    """Shows one run as it grows, and the layers; its value is described in `run_view`.

    The template does not mention the value, so the element and its WebGL context live as long as the page.
    functions: what the page may call on the server (`diffatlas.ui.services`).
    """

    def __init__(self, functions: list[Callable[..., Any]], **kwargs: Any) -> None:
        gr.set_static_paths([STATIC])
        super().__init__(
            value=IDLE,
            html_template='<div class="da-mount"></div>',
            js_on_load=_LOAD,
            apply_default_css=False,
            server_functions=functions,
            modules=STATIC.as_posix(),
            glossary={term.key: asdict(term) for term in TERMS},
            kinds=[
                {"key": kind.key, "label": kind.label, "about": kind.about, "several": kind.several}
                for kind in KINDS.values()
            ],
            palette=list(PALETTE),
            **kwargs,
        )

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """Send the value as it is."""
        return value

    def api_info(self) -> dict[str, Any]:
        """The value is an object; see `run_view`."""
        return {"type": "object", "description": "one run: status, run, steps, points, image, totals, error"}
