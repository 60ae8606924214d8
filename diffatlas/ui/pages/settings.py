"""The Settings page: where models run, keys, this machine, the library, looks."""

from __future__ import annotations

import gradio as gr

from diffatlas.ui.components.viewer import SettingsIsland
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.settings_services import SettingsServices
from diffatlas.ui.visitor_keys import KEYS
from diffatlas.ui.visitors import visitor_of


def settings_page(app: gr.Blocks, services: SettingsServices) -> None:
    """Draw the page inside ``app``. Keys are kept as long as their visitor has a tab."""
    with gr.Column(elem_classes="da-page-settings"):
        SettingsIsland(services.functions, elem_id="settings")

    def enter(request: gr.Request) -> None:
        KEYS.enter(visitor_of(request, request.session_hash) or "", request.session_hash or "")

    def leave(request: gr.Request) -> None:
        KEYS.leave(request.session_hash or "")

    app.load(enter, queue=False, **PRIVATE)
    app.unload(leave)
