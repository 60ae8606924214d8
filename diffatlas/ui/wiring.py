"""What every page's form does besides running: it follows the model, draws seeds, stops, and is filled by a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import find_model, list_models
from diffatlas.ui import links
from diffatlas.ui.components import form as forms
from diffatlas.ui.sessions import Sessions

#: Visitors that may wait at once; each holds one of the server's threads.
MAX_WAITING = 30
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def wire_form(
    app: gr.Blocks,
    form: Any,
    sessions: Sessions,
    following: list[gr.components.Component],
    follow: Callable[[str], list[Any]],
    forget: Callable[[gr.Request], None] = lambda request: None,
    warns: bool = False,
) -> None:
    """Wire a form to its page.

    following: the components that change with the model; ``follow(model)`` returns their updates.
    forget: called when a visitor's tab has been closed. warns: whether to say what is wrong with a link.
    """
    backend = shared_local_backend()

    def known(model: str) -> Any:
        return forms.known(backend.info, model)

    def follow_link(request: gr.Request) -> list[Any]:
        # A link fills the forms of all pages: its prompt can be traced, and swept next.
        updates, problem = links.fill(dict(request.query_params), known, list_models("local")[0].id)
        if problem and warns:
            gr.Warning(problem, duration=None, title="Link")
        elif warns and (words := links.folded(dict(request.query_params))):
            gr.Info(words, title="Link")
        return updates[: len(form.asked)]

    def stop(request: gr.Request) -> None:
        sessions.stop(request.session_hash)

    def leave(request: gr.Request) -> None:
        sessions.forget(request.session_hash)
        forget(request)

    form.stop.click(stop, queue=False, **PRIVATE)
    form.dice.click(forms.draw_seed, outputs=form.seed, queue=False, **PRIVATE)
    # By hand only: a link brings the other fields along.
    form.model.input(follow, form.model, following, **PRIVATE)
    app.load(follow_link, outputs=form.asked, **PRIVATE)
    app.unload(leave)


def wire_run(form: Any, run: Callable[..., Any], view: Any, sessions: Sessions, name: str) -> None:
    """Let the form's Run call ``run`` and show what it yields in ``view``; the seed moves on after it."""

    def next_seed(seed: float | None, request: gr.Request) -> float | int | None:
        following = sessions.next_seed(request.session_hash)
        return seed if following is None else following

    gr.on(
        form.submits,
        run,
        form.inputs,
        view,
        api_name=name,
        trigger_mode="once",
        show_progress="hidden",
        concurrency_limit=MAX_WAITING,
    ).then(next_seed, form.seed, form.seed, **PRIVATE)


def model_updates(model: str) -> list[Any]:
    """Return the updates of model, steps, guidance, size, scheduler and kind of preview for another model."""
    return forms.on_model(find_model(model), forms.known(shared_local_backend().info, model))


def model_followers(form: Any) -> list[gr.components.Component]:
    """Return the components that `model_updates` updates, in its order."""
    sampling, more = form.sampling, form.more
    return [
        form.model, sampling.steps, sampling.guidance, sampling.size, more.scheduler, more.preview_decoder,
    ]  # fmt: skip
