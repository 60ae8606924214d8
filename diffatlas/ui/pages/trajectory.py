"""The Trajectory page: one prompt, its runs, and their paths from noise to image."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.capture.spec import Capture
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import list_models
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form, build_form
from diffatlas.ui.components.picture_field import with_picture
from diffatlas.ui.components.viewer import Viewer, own_schedulers, own_words
from diffatlas.ui.hosted_fields import takes_of
from diffatlas.ui.layers import Layers
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.places import sees_inside
from diffatlas.ui.services import Services
from diffatlas.ui.tab_memory import empty_when_quiet
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import asked_by, wire_form, wire_note, wire_picture, wire_run
from diffatlas.ui.workshop.prepared import Prepared


def trajectory_page(
    app: gr.Blocks, layers: Layers, turns: Turns, projections: Projections, prepared: Prepared
) -> Form:
    """Draw the page inside ``app``, and return its form.

    Runs take ``turns`` with the other pages', and go to the visitor's library, of which ``layers`` shows some.
    ``prepared`` has those of a workshop's presets.
    """
    models = list_models("local")
    names = {entry.id: entry.name for entry in models}
    backend = shared_local_backend()
    services = Services(layers, backend, names, projections)
    empty_when_quiet(services)

    def listed(visitor: str) -> list[dict[str, Any]]:
        # Whoever has a run may want to see its path.
        projections.prepare()
        return services.list_layers(visitor)["layers"]

    shelf = Shelf(layers.library, layers.begin, layers.lock, listed, layers.check_room, prepared.give)
    live = LiveRuns(backend, names, turns, shelf)

    with gr.Row(elem_classes=["da-page", "da-page-trajectory"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_form(models, forms.known(backend.info, models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            viewer = Viewer(
                [*services.functions, live.growing.function],
                own_schedulers(models),
                own_words(models),
                elem_id="viewer",
            )

    def reading(asked: Mapping[str, Any], request: gr.Request) -> Callable[[], Asked]:
        def read() -> Asked:
            visitor = visitor_of(request, request.session_hash) or ""
            params, place = forms.to_params(asked), forms.to_backend(asked)
            takes = takes_of(place, backend.takes_picture, visitor)
            params = with_picture(params, asked["picture"], asked["amount"], takes)
            capture = forms.to_capture(asked["previews"], asked["preview_decoder"], asked["attention"])
            if not sees_inside(place):
                # Nothing of a run can be captured there.
                capture = Capture()
            runs = forms.to_runs(asked["runs"], asked["seed_mode"])
            return Asked(params, capture, runs, asked["seed_mode"], not asked["again"], place)

        return read

    def trace(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        """Run a prompt, once or several times, and stream the steps.

        Args:
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            runs: how many runs, one after another; all but the last become locked layers.
            seed_mode: what becomes of the seed after a run: keep, next or shuffle.
            again: whether to run even where the library has the same run already.
            attention: what to capture of attention: off, cross (what each word looks at) or all (places as well).
            picture: what the run begins from or is held to, and what is painted over it; empty for none.
            amount: how much noise the picture gets, or how firmly it is held to.
        """
        yield from live.stream(asked["prompt"], asked["model"], reading(asked, request), request)

    def follow(asked: Mapping[str, Any], request: gr.Request) -> Generator[dict[str, Any], None, None]:
        yield from live.follow(asked["prompt"], asked["model"], reading(asked, request), request)

    def forget(request: gr.Request) -> None:
        if not visitor_of(request):
            layers.forget(visitor_of(request, request.session_hash))

    wire_run(form, trace, viewer, live.sessions, "trace", follow)

    def asked_of(request: gr.Request, run_id: Any) -> dict[str, str]:
        visitor = visitor_of(request, request.session_hash)
        return asked_by(layers.library(visitor).open(layers.find(visitor, run_id).id))

    last = wire_form(app, form, "field", live.sessions, forget=forget, warns=True)
    wire_note(form, viewer, last, asked_of)
    wire_picture(form)
    return form
