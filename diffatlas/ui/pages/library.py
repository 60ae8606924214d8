"""The Library page: the runs that are kept, found, compared, replayed and shared."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffatlas.errors import DiffAtlasError
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import list_models
from diffatlas.ui import links
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form
from diffatlas.ui.components.viewer import LibraryView
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.visitors import visitor_of


def library_page(services: LibraryServices, form: Form) -> None:
    """Draw the page in the Blocks that is being built. A run that is opened from it fills ``form``."""
    with gr.Column(elem_classes="da-page-library"):
        view = LibraryView(services.functions, elem_id="library")

    def restore(event: gr.EventData, request: gr.Request) -> list[Any]:
        try:
            asked = services.query_of(visitor_of(request) or "", (event._data or {}).get("ids"))
        except DiffAtlasError:
            asked = {}  # the page has said why already
        backend = shared_local_backend()
        return links.fill(asked, lambda model: forms.known(backend.info, model), list_models("local")[0].id)[
            0
        ]

    view.submit(restore, outputs=form.asked, api_visibility="private", show_progress="hidden")
