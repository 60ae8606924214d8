"""The Trajectory page: one prompt, its runs, and their paths from noise to image."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import gradio as gr

from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.events import Started, Step
from diffatlas.operations.projections import Projections
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.registry import list_models
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form, build_form
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.components.viewer import Viewer
from diffatlas.ui.layers import Layers
from diffatlas.ui.services import Services
from diffatlas.ui.sessions import Sessions, Turns
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wiring import model_followers, model_updates, wire_form, wire_run

log = logging.getLogger("diffatlas")

#: Steps that arrive faster than this many seconds apart travel together: more would not be seen.
FRAME_SECONDS = 0.04


def trajectory_page(app: gr.Blocks, layers: Layers, turns: Turns, projections: Projections) -> Form:
    """Draw the page inside ``app``, and return its form.

    Runs take ``turns`` with the other pages', and go to the visitor's library, of which ``layers`` shows some.
    """
    models = list_models("local")
    names = {entry.id: entry.name for entry in models}
    backend = shared_local_backend()
    sessions = Sessions()
    services = Services(layers, backend, names, projections)

    with gr.Row(elem_classes=["da-page", "da-page-trajectory"]):
        with gr.Column(scale=0, min_width=300, elem_classes="da-side"):
            form = build_form(models, forms.known(backend.info, models[0].id))
        with gr.Column(scale=1, min_width=300, elem_classes="da-main"):
            viewer = Viewer(services.functions, elem_id="viewer")

    def trace(
        model: str,
        prompt: str,
        negative_prompt: str,
        seed: float,
        steps: float,
        guidance: float,
        size: str,
        scheduler: str,
        previews: str,
        preview_decoder: str,
        runs: float,
        seed_mode: str,
        again: bool,
        guidance_method: str,
        guidance_options: str,
        request: gr.Request,
    ) -> Generator[dict[str, Any], None, None]:
        """Run a prompt, once or several times, and stream the steps.

        Args:
            model: an id of the model list.
            prompt: what the image should show.
            negative_prompt: what guidance pushes away from.
            seed: a whole number; of several runs, that of the first.
            steps: number of denoising steps.
            guidance: guidance scale; at most 1 turns guidance off.
            size: width x height in pixels, such as 64x64.
            scheduler: a scheduler's name; empty for the model's own.
            previews: every, off, or the number of steps from one preview to the next.
            preview_decoder: linear or vae.
            runs: how many runs, one after another; all but the last become locked layers.
            seed_mode: what becomes of the seed after a run: keep, next or shuffle.
            again: whether to run even where the library has the same run already.
            guidance_method: a name of `diffatlas.guidance.METHODS`; empty for plain guidance.
            guidance_options: the method's options, such as eta=0.5, norm=10.
        """
        stop = sessions.begin(request.session_hash)
        visitor = visitor_of(request, request.session_hash)
        view = RunView((prompt or "").strip(), names.get(model, model), visitor)
        following = None
        try:
            asked = (model, prompt, negative_prompt, seed, steps, guidance, size, scheduler)
            params = forms.to_params(*asked, guidance_method, guidance_options)
            capture = forms.to_capture(previews, preview_decoder)
            count = forms.to_runs(runs, seed_mode)
            for number in range(1, count + 1):
                batch = (number, count) if count > 1 else None
                view = RunView(params.prompt, names.get(model, model), visitor, batch)
                yield from one_run(view, params, capture, stop, visitor, not again)
                if view.status not in ("complete", "stopped"):
                    break
                following = forms.next_seed(seed_mode, params.seed)
                if view.status == "stopped":
                    break
                if number < count:
                    layers.lock(visitor, view.run_id)
                    yield view.ended(services.list_layers(visitor, {})["layers"])
                    params = replace(params, seed=following).validate()
        except DiffAtlasError as error:
            yield view.failed(error)
        except Exception:
            log.exception("The view of a run failed.")
            yield view.failed(BackendFailure("The app could not show this run; its log says why."))
        finally:
            sessions.end(request.session_hash, stop, following)

    def one_run(
        view: RunView, params: Any, capture: Any, stop: threading.Event, visitor: str, reuse: bool
    ) -> Generator[dict[str, Any], None, None]:
        """Wait for a turn, run, and yield what to show; the run is the visitor's temporary layer."""
        ticket = turns.join()
        events: Generator[Any, None, None] | None = None
        try:
            while (ahead := turns.ahead(ticket)) and not stop.is_set():
                yield view.waiting(ahead)
                turns.wait(1.0)
            yield view.loading("Loading the model…")
            events = stream(params, capture, backend, layers.library(visitor), stop, reuse)
            sent = 0.0
            for event in events:
                if isinstance(event, Started):
                    layers.begin(visitor, event.run_id, params.prompt)
                view.add(event)
                if not isinstance(event, Step) or time.monotonic() - sent >= FRAME_SECONDS:
                    yield view.value()
                    sent = time.monotonic()
            events = None
            yield view.ended(services.list_layers(visitor, {})["layers"])
        finally:
            if events is None:
                turns.leave(ticket)
            else:
                # The tab was closed. This runs on the server's event loop, so the wait for the step in
                # progress is left to a thread.
                stop.set()
                threading.Thread(target=_close, args=(events, turns, ticket), daemon=True).start()

    def forget(request: gr.Request) -> None:
        if not visitor_of(request):
            layers.forget(visitor_of(request, request.session_hash))

    wire_run(form, trace, viewer, sessions, "trace")
    wire_form(app, form, sessions, model_followers(form), model_updates, forget, warns=True)
    return form


def _close(events: Generator[Any, None, None], turns: Turns, ticket: int) -> None:
    try:
        events.close()
    except Exception:
        log.exception("A run whose page was closed did not end cleanly.")
    finally:
        turns.leave(ticket)
