"""The Attention page: what each word of a prompt looks at, step by step, layer by layer."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import ModelEntry, list_models
from diffatlas.ui.attention_services import AttentionServices
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.attention_form import (
    PAGE,
    AttentionForm,
    build_attention_form,
    kind_for,
    to_watching,
)
from diffatlas.ui.components.picture_field import with_picture
from diffatlas.ui.components.viewer import AttentionIsland, own_schedulers
from diffatlas.ui.hosted_fields import takes_of
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.places import sees_inside
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import asked_by, wire_form, wire_note, wire_picture, wire_run
from diffatlas.ui.workshop.prepared import Prepared


def attention_page(
    app: gr.Blocks, libraries: Libraries, services: AttentionServices, turns: Turns, prepared: Prepared
) -> AttentionForm:
    """Draw the page inside ``app``, and return its form.

    Runs take ``turns`` with the other pages', and go to the visitor's library. ``prepared`` has those of a workshop's
    presets.
    """
    models = list_models("local")
    names = {entry.id: entry.name for entry in models}
    backend = shared_local_backend()
    live = LiveRuns(
        backend, names, turns, Shelf(libraries.of, room=libraries.check_room, prepared=prepared.give)
    )
    with gr.Row(elem_classes=["da-page", f"da-page-{PAGE}"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_attention_form(models, forms.known(backend.info, models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            island = AttentionIsland(services.functions, own_schedulers(models), elem_id=PAGE)

    def attention(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        """Run a prompt with its attention captured, once or several times, and stream the steps.

        Args:
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            runs: how many runs, one after another.
            seed_mode: what becomes of the seed after a run: keep, next or shuffle.
            again: whether to run even where the library has the same run already.
            kind: cross (to words), self (to places) or all.
            heads: mean, or each.
            halves: cond (the pass for the prompt), or both.
            every: every Nth step is captured, the first and the last always.
            most_layers: at most so many layers of each kind, spread over the depth; empty for all.
            layers: names, parts or globs, with commas; empty for all.
            picture: what the run begins from or is held to, and what is painted over it; empty for none.
            amount: how much noise the picture gets, or how firmly it is held to.
        """

        def read() -> Asked:
            params, place = forms.to_params(asked), forms.to_backend(asked)
            visitor = visitor_of(request, request.session_hash) or ""
            takes = takes_of(place, backend.takes_picture, visitor)
            params = with_picture(params, asked["picture"], asked["amount"], takes)
            runs = forms.to_runs(asked["runs"], asked["seed_mode"])
            capture = to_watching(asked) if sees_inside(place) else Capture()
            return Asked(params, capture, runs, asked["seed_mode"], not asked["again"], place)

        yield from live.stream(asked["prompt"], asked["model"], read, request)

    def follow(entry: ModelEntry, info: ModelInfo | None) -> list[Any]:
        return [kind_for(entry)]

    wire_run(form, attention, island, live.sessions, PAGE)

    def asked_of(request: gr.Request, run_id: Any) -> dict[str, str]:
        visitor = visitor_of(request, request.session_hash)
        return asked_by(libraries.of(visitor).open(run_id if isinstance(run_id, str) else ""))

    last = wire_form(app, form, PAGE, live.sessions, [form.attention], follow)
    wire_note(form, island, last, asked_of)
    wire_picture(form)
    return form
