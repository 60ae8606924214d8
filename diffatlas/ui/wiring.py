"""What every page's form does besides running: it follows the model, draws seeds, stops, and is filled by a link."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry, list_models
from diffatlas.settings import is_shared
from diffatlas.ui import chosen_model, links
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.picture_field import follow as follow_picture
from diffatlas.ui.sessions import Sessions

log = logging.getLogger("diffatlas")

#: Visitors that may wait at once; each holds one of the server's threads.
MAX_WAITING = 30
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def wire_form(
    app: gr.Blocks,
    form: Any,
    sessions: Sessions,
    also: Sequence[gr.components.Component] = (),
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]] = lambda entry, info: [],
    forget: Callable[[gr.Request], None] = lambda request: None,
    warns: bool = False,
) -> gr.State:
    """Wire a form to its page, and return the model that its fields follow.

    also: the components of this page that change with the model; ``follow(entry, info)`` returns their updates.
    forget: called when a visitor's tab has been closed. warns: whether to say what is wrong with a link.
    """

    def follow_link(request: gr.Request) -> list[Any]:
        # A link fills the forms of all pages: its prompt can be traced, and swept next.
        updates, problem = filled(form, dict(request.query_params), list_models("local")[0].id)
        if problem and warns:
            gr.Warning(problem, duration=None, title="Link")
        elif warns and (words := links.folded(dict(request.query_params))):
            gr.Info(words, title="Link")
        return updates

    def stop(request: gr.Request) -> None:
        sessions.stop(request.session_hash)

    def leave(request: gr.Request) -> None:
        sessions.forget(request.session_hash)
        forget(request)

    last = gr.State(list_models("local")[0].id)
    form.stop.click(stop, queue=False, **PRIVATE)
    form.dice.click(forms.draw_seed, outputs=form.seed, queue=False, **PRIVATE)
    _wire_model(form, last, also, follow)
    app.load(follow_link, outputs=[*form.asked, last], **PRIVATE)
    app.unload(leave)
    return last


def filled(form: Any, query: Mapping[str, str], first_model: str) -> tuple[list[Any], str | None]:
    """Return the updates of a form and of the model that it follows, by a link; and what is wrong with it."""
    backend = shared_local_backend()
    updates, problem = links.fill(query, lambda model: forms.known(backend.info, model), first_model)
    models = list_models("local")
    # What was kept since the page was built is offered too.
    named = updates[0].get("value", models[0].id)
    updates[0] = {**updates[0], **gr.update(choices=fields.model_choices(models))}
    return [*updates[: len(form.asked)], named], problem


def wire_note(
    app: gr.Blocks,
    form: Any,
    page: str,
    island: Any,
    last: gr.State,
    params_of: Callable[[gr.Request, Any], GenerationParams],
) -> None:
    """Tell the view beside a form what the form asks, and fill it with a run's settings when the view asks for it.

    page: the prefix of the form's ids. params_of: returns what the run of an id was asked; may raise a
    `DiffAtlasError`.
    """
    names = json.dumps(links.FIELDS[: len(form.asked)])
    told = (
        "(...values) => { const forms = (window.diffatlasForms ??= {});"
        f" forms[{json.dumps(page)}] = Object.fromEntries({names}.map((name, at) => [name, values[at]]));"
        f" window.dispatchEvent(new CustomEvent('diffatlas-form', {{ detail: {json.dumps(page)} }})); }}"
    )

    def fill(event: gr.EventData, request: gr.Request) -> list[Any]:
        nothing = [gr.skip() for _ in (*form.asked, last)]
        run = (event._data or {}).get("fill")
        try:
            params = params_of(request, run)
        except DiffAtlasError as error:
            gr.Warning(error.message, title="Form")
            return nothing
        query = {name: text for name, text in forms.query_of(params).items() if name in links.FIELDS}
        if params.seed is None:
            del query["seed"]
        updates, problem = filled(form, query, "")
        if problem:
            gr.Warning(problem.replace("The link", "This run"), duration=None, title="Form")
            return nothing
        return [*links.emptied(updates[:-1], query), updates[-1]]

    gr.on([field.change for field in form.asked], None, form.asked, None, js=told, **PRIVATE)
    app.load(None, form.asked, None, js=told, **PRIVATE)
    island.submit(fill, outputs=[*form.asked, last], **PRIVATE)


def _wire_model(
    form: Any,
    last: gr.State,
    also: Sequence[gr.components.Component],
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]],
) -> None:
    """Let the other fields follow the model, say what it is, and let the user's own list keep it.

    last: the model that the fields follow. A field says that it changed whenever it is left.
    """
    sampling, more = form.sampling, form.more
    plain = [sampling.steps, sampling.guidance, sampling.size, more.scheduler, more.preview_decoder]
    following = [form.model, *plain, form.keep, last, *also]

    def alone(model: Any, keep: Any = None, name: Any = None) -> list[Any]:
        rest = [gr.skip() for _ in also]
        return [model, *(gr.skip() for _ in plain), keep or gr.skip(), name or gr.skip(), *rest]

    def on_model(name: str | None, before: str) -> Generator[list[Any], None, None]:
        if name == before:
            yield alone(gr.skip())
            return
        yield alone(gr.update(info="Looking it up…", elem_classes=[]))
        try:
            chosen = chosen_model.choose(name)
            updates = forms.on_model(chosen.entry, chosen.info, chosen.line)
            yield [*updates, _keep(chosen), name, *follow(chosen.entry, chosen.info)]
        except DiffAtlasError as error:
            yield alone(_wrong(error), gr.update(visible=False), name)
        except Exception:
            log.exception("A model could not be looked up.")
            error = BackendFailure("This model could not be looked up; the app’s log says why.")
            yield alone(_wrong(error), gr.update(visible=False), name)

    def on_keep(name: str | None) -> list[Any]:
        try:
            kept = chosen_model.keep_or_remove(name)
            chosen = chosen_model.choose(kept)
        except DiffAtlasError as error:
            return [_wrong(error), gr.skip(), gr.skip()]
        choices = fields.model_choices(list_models("local"))
        info = chosen.line
        return [gr.update(choices=choices, value=kept, info=info, elem_classes=[]), _keep(chosen), kept]

    # By hand only: a link brings the other fields along. What is typed last counts, however long a look-up takes.
    form.model.input(on_model, [form.model, last], following, trigger_mode="always_last", **PRIVATE)
    form.keep.click(on_keep, form.model, [form.model, form.keep, last], **PRIVATE)


def wire_picture(form: Any) -> None:
    """Let a form's picture field say what its model does with a picture: when it is opened, and with each model."""
    takes = shared_local_backend().takes_picture
    gr.on(
        [form.picture.fold.expand, form.model.change],
        lambda model: follow_picture(model, takes),
        form.model,
        form.picture.following,
        **PRIVATE,
    )


def _wrong(error: DiffAtlasError) -> Any:
    return gr.update(info=error.message, elem_classes=["da-wrong"])


def _keep(chosen: chosen_model.Chosen) -> Any:
    return gr.update(value=chosen.action or "Keep", visible=bool(chosen.action) and not is_shared())


def wire_run(form: Any, run: Callable[..., Any], view: Any, sessions: Sessions, name: str) -> None:
    """Let the form's Run call ``run`` and show what it yields in ``view``; the seed moves on after it."""

    def next_seed(request: gr.Request) -> Any:
        following = sessions.next_seed(request.session_hash)
        # Left alone where it stays: by now the visitor may have typed another.
        return gr.skip() if following is None else following

    gr.on(
        form.submits,
        run,
        form.inputs,
        view,
        api_name=name,
        trigger_mode="once",
        show_progress="hidden",
        concurrency_limit=MAX_WAITING,
    ).then(next_seed, None, form.seed, **PRIVATE)
