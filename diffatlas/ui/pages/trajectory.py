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
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.registry import find_model, list_models
from diffatlas.ui import links
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import Form, build_form
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.components.viewer import Viewer
from diffatlas.ui.layers import Layers
from diffatlas.ui.services import Services
from diffatlas.ui.sessions import Sessions, Turns
from diffatlas.ui.visitors import visitor_of

log = logging.getLogger("diffatlas")

#: Steps that arrive faster than this many seconds apart travel together: more would not be seen.
FRAME_SECONDS = 0.04
#: Visitors that may wait at once; each holds one of the server's threads.
MAX_WAITING = 30


def trajectory_page(app: gr.Blocks, layers: Layers, turns: Turns) -> Form:
    """Draw the page inside ``app``, and return its form.

    Runs take ``turns`` with the other pages', and go to the visitor's library, of which ``layers`` shows some.
    """
    models = list_models("local")
    names = {entry.id: entry.name for entry in models}
    backend = shared_local_backend()
    sessions = Sessions()
    services = Services(layers, backend, names)

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
        """
        stop = sessions.begin(request.session_hash)
        visitor = visitor_of(request, request.session_hash)
        view = RunView((prompt or "").strip(), names.get(model, model), visitor)
        following = None
        try:
            params = forms.to_params(model, prompt, negative_prompt, seed, steps, guidance, size, scheduler)
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

    _wire(app, form, viewer, trace, sessions, layers)
    return form


def _wire(app: gr.Blocks, form: Form, viewer: Viewer, trace: Any, sessions: Sessions, layers: Layers) -> None:
    backend = shared_local_backend()
    private = {"api_visibility": "private", "show_progress": "hidden"}

    def next_seed(seed: float | None, request: gr.Request) -> float | int | None:
        following = sessions.next_seed(request.session_hash)
        return seed if following is None else following

    def choose_model(model: str) -> list[Any]:
        return forms.on_model(find_model(model), forms.known(backend.info, model))

    def follow_link(request: gr.Request) -> list[Any]:
        updates, problem = links.fill(
            dict(request.query_params),
            lambda model: forms.known(backend.info, model),
            list_models("local")[0].id,
        )
        if problem:
            gr.Warning(problem, duration=None, title="Link")
        return updates

    def stop(request: gr.Request) -> None:
        sessions.stop(request.session_hash)

    def forget(request: gr.Request) -> None:
        sessions.forget(request.session_hash)
        if not visitor_of(request):
            layers.forget(visitor_of(request, request.session_hash))

    gr.on(
        form.submits,
        trace,
        form.inputs,
        viewer,
        api_name="trace",
        trigger_mode="once",
        show_progress="hidden",
        concurrency_limit=MAX_WAITING,
    ).then(next_seed, form.seed, form.seed, **private)
    form.stop.click(stop, queue=False, **private)
    form.dice.click(forms.draw_seed, outputs=form.seed, queue=False, **private)
    # By hand only: a link brings the other fields along.
    form.model.input(
        choose_model,
        form.model,
        [form.model, form.steps, form.guidance, form.size, form.scheduler, form.preview_decoder],
        **private,
    )
    filled = [getattr(form, name) for name in links.FIELDS]
    app.load(follow_link, outputs=filled, **private)
    app.unload(forget)


def _close(events: Generator[Any, None, None], turns: Turns, ticket: int) -> None:
    try:
        events.close()
    except Exception:
        log.exception("A run whose page was closed did not end cleanly.")
    finally:
        turns.leave(ticket)
