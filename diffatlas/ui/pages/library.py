"""The Library page: the runs that are kept, found, compared, replayed and shared."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffatlas.errors import DiffAtlasError
from diffatlas.operations.trace import shared_local_backend
from diffatlas.ui import links
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form
from diffatlas.ui.components.study_form import StudyForm
from diffatlas.ui.components.viewer import LibraryView
from diffatlas.ui.library_services import LibraryServices
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.signed_in import can_sign_in
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wire.kinds import Several
from diffatlas.ui.wire.library import Explored
from diffatlas.ui.wire.submitted import submitted


def library_page(services: LibraryServices, form: Form | None, around: StudyForm | None) -> None:
    """Draw the page in the Blocks that is being built.

    A run that is opened from it fills ``form``; one that is to be explored fills that of neighbourhoods, ``around``:
    where these pages are there.
    """
    with gr.Column(elem_classes="da-page-library"):
        view = LibraryView(services.functions, elem_id="library")
        if can_sign_in():
            # For pushing datasets without a token of one's own.
            with gr.Row():
                gr.LoginButton(size="sm", scale=0, min_width=240, elem_id="sign-in")

    def restore(event: gr.EventData, request: gr.Request) -> list[Any]:
        asked, visitor = submitted(event._data), visitor_of(request) or ""
        opened: dict[str, str] = {}
        near: Explored = {"query": {}, "own": {}}
        try:
            if asked.explore:
                near = services.explore(visitor, Several(ids=asked.explore))
            else:
                opened = services.query_of(visitor, asked.ids)
        except DiffAtlasError:
            pass  # the page has said why already
        own = [near["own"].get(name, gr.skip()) for name in (around.own if around else ())]
        return [*_filled(form, opened), *_filled(around, near["query"]), *own]

    filled = [component for each in (form, around) if each for component in each.asked.values()]
    outputs = [*filled, *(around.own.values() if around else ())]
    view.submit(restore, outputs=outputs, **PRIVATE)


def _filled(form: Form | StudyForm | None, query: dict[str, str]) -> list[Any]:
    """Return updates of a form's request: all of it, where there is a query that can be filled in.

    None where there is no such page.
    """
    if form is None:
        return []
    info = shared_local_backend().info
    updates, problem = links.fill(query, lambda model: forms.known(info, model), "")
    if query and not problem:
        updates = links.emptied(updates, query)
    return [updates[name] for name in form.asked]
