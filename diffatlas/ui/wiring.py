"""What every page's form does besides running: it follows the model, draws seeds, stops, and is filled by a link."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import gradio as gr

from diffatlas.backends.bounds import bounds_here
from diffatlas.backends.model_info import ModelInfo
from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.formats.hosted import backend_of
from diffatlas.library import StoredRun
from diffatlas.operations.trace import shared_local_backend
from diffatlas.registry import ELSEWHERE, HostedModel, ModelEntry, list_models
from diffatlas.settings import is_shared
from diffatlas.ui import chosen_model, elsewhere, expectations, links, said
from diffatlas.ui.asked_values import typed
from diffatlas.ui.asked_words import NO_SEED
from diffatlas.ui.carrying import followed, take_along, tell_form
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.picture_field import follow as follow_picture
from diffatlas.ui.guidance_values import guidance_html, hosted_guidance, kind_of
from diffatlas.ui.hosted_fields import choose, place_words, takes_of, wire_hints
from diffatlas.ui.named_values import Run, by_name
from diffatlas.ui.once import once_a_tab
from diffatlas.ui.places import LOCAL, choices, entry_of, info_of, models_of, place_name
from diffatlas.ui.preset_filling import wire_presets
from diffatlas.ui.quiet import HIDDEN, IN_ORDER, PRIVATE
from diffatlas.ui.reset import wire_reset
from diffatlas.ui.sessions import Sessions
from diffatlas.ui.turns import MOST_IN_ALL
from diffatlas.ui.visitor_keys import token_for
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wire.submitted import submitted

log = logging.getLogger("diffatlas")

#: Requests of one kind that Gradio takes in at once: more than may wait for a turn, so that all who wait are told where
#: they stand, and whoever is refused is told so at once.
MAX_WAITING = MOST_IN_ALL + 10

#: The seed field moves on in the browser, in one go with looking at what it holds: a seed that was typed since the run
#: was asked for stays.
MOVE_SEED = """(seed, seeds) => {
  const [asked, following] = JSON.parse(seeds || "null") ?? [];
  return following !== undefined && (seed ?? null) === asked ? following : seed;
}"""


def wire_form(
    app: gr.Blocks,
    form: Any,
    page: str,
    sessions: Sessions,
    also: Sequence[gr.components.Component] = (),
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]] = lambda entry, info: [],
    forget: Callable[[gr.Request], None] = lambda request: None,
    warns: bool = False,
) -> gr.State:
    """Wire a form to its page, and return the model that its fields follow.

    page: the prefix of the form's ids.
    also: the components of this page that change with the model; ``follow(entry, info)`` returns their updates.
    forget: called when a visitor's tab has been closed. warns: whether to say what is wrong with a link.
    """

    def follow_link(request: gr.Request) -> list[Any]:
        # A link fills the forms of all pages: its prompt can be traced, and swept next.
        query = dict(request.query_params)
        updates, named, problem = filled(form, query, list_models("local")[0].id)
        if problem and warns:
            said.warn(problem, "Link", stays=True)
        elif warns and (words := links.folded(dict(request.query_params))):
            said.inform(words, "Link")
        place = updates["backend"].get("value") or LOCAL
        # The places that are offered may be others than when the page was built.
        updates["backend"] = {**updates["backend"], **gr.update(choices=choices())}
        return [*updates.values(), *_offered(place, named, also, follow), named]

    def stop(request: gr.Request) -> None:
        sessions.stop(request.session_hash)

    def leave(request: gr.Request) -> None:
        sessions.forget(request.session_hash)
        forget(request)

    last = gr.State(list_models("local")[0].id)
    # First of all that hangs on the fields: whoever turns the page at once takes along what was typed.
    tell_form(app, form, page)
    form.stop.click(stop, queue=False, **PRIVATE)
    form.dice.click(forms.draw_seed, outputs=form.seed, queue=False, **PRIVATE)
    by_hand = _wire_model(form, last, also, follow)
    wire_hints(form, by_hand)
    wire_reset(form, also, follow)
    wire_presets(form, page, last, also, follow)
    linked = app.load(follow_link, outputs=[*form.asked.values(), *also, last], **PRIVATE)
    _wire_guides(linked, form, by_hand)
    app.unload(leave)
    return last


def _offered(
    backend: str,
    model: str,
    also: Sequence[gr.components.Component],
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]],
) -> list[Any]:
    """Return what the components that follow the model offer for one that a link names; what they hold stays."""
    try:
        entry = entry_of(backend, model)
    except DiffAtlasError:
        # What is wrong with it is said at its field.
        return [gr.skip() for _ in also]
    return [
        {name: value for name, value in each.items() if name != "value"}
        if isinstance(each, dict)
        else gr.skip()
        for each in follow(entry, info_of(backend, model))
    ]


def filled(form: Any, query: Mapping[str, str], first_model: str) -> tuple[dict[str, Any], str, str | None]:
    """Return the updates of a form by a link, by name; the model that it follows then; what is wrong with the link."""
    backend = shared_local_backend()
    updates, problem = links.fill(query, lambda model: forms.known(backend.info, model), first_model)
    backend_asked = LOCAL if problem else query.get("backend") or LOCAL
    # What was kept since the page was built is offered too.
    named = updates["model"].get("value", list_models("local")[0].id)
    updates["model"] = {**updates["model"], **gr.update(choices=fields.choices_of(backend_asked))}
    return {name: updates[name] for name in form.asked}, named, problem


def wire_note(
    form: Any,
    island: Any,
    last: gr.State,
    asked_of: Callable[[gr.Request, Any], dict[str, str]],
) -> None:
    """Fill a form with a run's settings when the view beside it asks for that.

    asked_of: returns what the run of an id was asked, as a link would ask for it (`asked_by`); may raise a
    `DiffAtlasError`.
    """

    def fill(event: gr.EventData, request: gr.Request) -> list[Any]:
        nothing = [gr.skip() for _ in (*form.asked, last)]
        asked = submitted(event._data)
        if asked.carry is not None:
            visitor = visitor_of(request, request.session_hash) or ""
            return followed(form, asked.carry, visitor) or nothing
        try:
            query = asked_of(request, asked.fill)
        except DiffAtlasError as error:
            said.warn(error.message, "Form")
            return nothing
        query = {name: text for name, text in query.items() if name in links.NAMES}
        if query.get("seed") == NO_SEED:
            del query["seed"]
        updates, named, problem = filled(form, query, "")
        if problem:
            said.warn(problem.replace("The link", "This run"), "Form", stays=True)
            return nothing
        return [*links.emptied(updates, query).values(), named]

    # Several at once: a form can be filled again while the server looks up a model.
    island.submit(fill, outputs=[*form.asked.values(), last], trigger_mode="multiple", **PRIVATE)
    take_along(form, island, form.prompt.elem_id.removesuffix("-prompt"))


def asked_by(stored: StoredRun) -> dict[str, str]:
    """Return what a stored run was asked, as a link would ask for it."""
    return forms.query_of(stored.params, backend_of(stored.provenance))


def _wire_model(
    form: Any,
    last: gr.State,
    also: Sequence[gr.components.Component],
    follow: Callable[[ModelEntry, ModelInfo | None], list[Any]],
) -> list[Any]:
    """Let the other fields follow the model, say what it is, and let the user's own list keep it.

    last: the model that the fields follow. A field says that it changed whenever it is left. Returns the events of a
    model and of a backend that were chosen by hand, to which more can be hung.
    """
    sampling, more = form.sampling, form.more
    plain = [sampling.steps, sampling.guidance, sampling.size, more.scheduler, more.preview_decoder]
    following = [form.model, *plain, form.keep, last, *also]
    here = gr.State(list_models("local")[0].id)  # the model of this machine that was chosen last

    def alone(model: Any, keep: Any = None, name: Any = None) -> list[Any]:
        rest = [gr.skip() for _ in also]
        return [model, *(gr.skip() for _ in plain), keep or gr.skip(), name or gr.skip(), *rest]

    looking: dict[str, str | None] = {}  # tab -> the model that is being looked up for it

    def on_model(
        name: str | None, before: str, backend: str, request: gr.Request
    ) -> Generator[list[Any], None, None]:
        tab = request.session_hash or ""
        # Enter and leaving the field say it twice, and the second answer would come over what was typed since.
        if name == before or (tab in looking and looking[tab] == name):
            yield alone(gr.skip())
            return
        looking[tab] = name
        try:
            yield from look_up(name, backend, visitor_of(request, request.session_hash) or "")
        finally:
            if looking.get(tab) == name:
                del looking[tab]

    def look_up(name: str | None, backend: str, visitor: str) -> Generator[list[Any], None, None]:
        yield alone(said.hint("Looking it up…", elem_classes=[]))
        try:
            chosen = choose(backend, name, visitor)
            updates = forms.on_model(chosen.entry, chosen.info, chosen.line)
            yield [*updates, _keep(chosen), name, *follow(chosen.entry, chosen.info)]
        except DiffAtlasError as error:
            yield alone(_wrong(error), gr.update(visible=False), name)
        except Exception:
            log.exception("A model could not be looked up.")
            error = BackendFailure("This model could not be looked up; the app’s log says why.")
            yield alone(_wrong(error), gr.update(visible=False), name)

    def on_backend(
        backend: str, name: str | None, before: str, request: gr.Request
    ) -> Generator[list[Any], None, None]:
        kept = name if name and chosen_model.is_of_here(name) else before
        visitor = visitor_of(request, request.session_hash) or ""
        try:
            if backend in ELSEWHERE:
                asking = f"Asking {place_name(backend)} what it offers…"
                yield [said.hint(asking), kept, *alone(gr.skip())]
                if problem := elsewhere.learn_models(backend, token_for(visitor), anew=True):
                    raise problem
            place = gr.update(info=said.as_hint(place_words(backend)))
            listed = [one.id for one in models_of(backend)]
            model = kept if backend == LOCAL or kept in listed else next(iter(listed), "")
            chosen = choose(backend, model, visitor)
            updates = forms.on_model(chosen.entry, chosen.info, chosen.line)
            updates[0] |= {"value": model, "choices": fields.choices_of(backend)}
            yield [place, kept, *updates, _keep(chosen), model, *follow(chosen.entry, chosen.info)]
        except DiffAtlasError as error:
            yield [said.hint("Where the model runs."), kept, *alone(_wrong(error), gr.update(visible=False))]

    def on_keep(name: str | None) -> list[Any]:
        try:
            kept = chosen_model.keep_or_remove(name)
            chosen = chosen_model.choose(kept)
        except DiffAtlasError as error:
            return [_wrong(error), gr.skip(), gr.skip()]
        choices = fields.model_choices(list_models("local"))
        shown = said.hint(chosen.line, choices=choices, value=kept, elem_classes=[])
        return [shown, _keep(chosen), kept]

    # By hand only: a link brings the other fields along. What is typed last counts, however long a look-up takes.
    asked = [form.model, last, form.backend]
    chosen = form.model.input(on_model, asked, following, trigger_mode="always_last", **PRIVATE)
    placed = form.backend.input(
        on_backend,
        [form.backend, form.model, here],
        [form.backend, here, *following],
        trigger_mode="always_last",
        **PRIVATE,
    )
    form.keep.click(on_keep, form.model, [form.model, form.keep, last], **PRIVATE)
    return [chosen, placed]


def _wire_guides(linked: Any, form: Any, by_hand: Sequence[Any]) -> None:
    """Let the guidance values that are offered follow the model, whoever sets it, and let the one asked be marked.

    linked: the event of a page that was loaded and filled by its link. chosen: that of a model that was chosen by hand
    and has been looked up.
    """
    page = form.sampling.guidance.elem_id.removesuffix("-guidance_scale")

    def follow(backend: str, name: str | None, request: gr.Request) -> Any:
        try:
            if backend != LOCAL:
                entry = entry_of(backend, typed(name, "model"))
                if isinstance(entry, HostedModel):
                    return hosted_guidance(page, entry)
                visitor = visitor_of(request, request.session_hash) or ""
                kind = elsewhere.said(backend, "guidance_kind", entry.id, token_for(visitor))
                return guidance_html(page, entry, kind)
            return guidance_html(page, chosen_model.entry_at_hand(name), kind_of(typed(name, "model")))
        except DiffAtlasError:
            # The model field says what is wrong, or has still to look it up.
            return gr.skip()

    guides, marked = form.sampling.guides, "() => window.dispatchEvent(new Event('diffatlas-guidance'))"
    named = [form.backend, form.model]
    linked.then(follow, named, guides, **PRIVATE)
    # A model of one id may be there at several places.
    changes = [form.backend.change, form.model.change]
    gr.on(changes, follow, named, guides, **IN_ORDER)
    for event in by_hand:
        event.then(follow, named, guides, **PRIVATE)
    form.sampling.guidance.change(None, None, None, js=marked, **PRIVATE)


def wire_picture(form: Any) -> None:
    """Let a form's picture field say what its model does with a picture: when it is opened, and with each model."""
    takes = shared_local_backend().takes_picture

    def look(backend: str, model: str, request: gr.Request) -> Any:
        visitor = visitor_of(request, request.session_hash) or ""
        return follow_picture(model, takes_of(backend, takes, visitor))

    gr.on(
        [form.picture.fold.expand, form.backend.change, form.model.change],
        look,
        [form.backend, form.model],
        form.picture.following,
        **IN_ORDER,
    )


def _wrong(error: DiffAtlasError) -> Any:
    return said.hint(error.message, elem_classes=["da-wrong"])


def _keep(chosen: chosen_model.Chosen) -> Any:
    return gr.update(value=chosen.action or "Keep", visible=bool(chosen.action) and not is_shared())


def wire_run(
    form: Any,
    run: Run,
    view: Any,
    sessions: Sessions,
    name: str,
    shown: Run | None = None,
) -> Any:
    """Let the form's Run call ``run`` and show what it yields in ``view``; the seed moves on after it.

    Returns the event that follows what a run is expected to take (`expectations.ASKED`): what else follows those fields
    and may not be left behind comes after it.

    run: takes what the form asks by the names of ``form.inputs``; programs call it by ``name``.
    shown: what the page calls instead, of the same inputs; then ``run`` is for programs alone.
    """

    def next_seed(request: gr.Request) -> str:
        return json.dumps(sessions.next_seed(request.session_hash))

    def confirm(request: gr.Request) -> None:
        sessions.confirm(request.session_hash)

    def telling(after: bool) -> Callable[..., list[Any]]:
        def tell(request: gr.Request, *values: Any) -> list[Any]:
            refused = after and sessions.refused(request.session_hash)
            if refused and (question := sessions.question(request.session_hash)):
                return expectations.asked_again(question)
            asked = dict(zip(expectations.ASKED, values, strict=True))
            return expectations.told(shared_local_backend(), bounds_here(), refused, asked)

        return tell

    inputs, called = list(form.inputs.values()), by_name(run, form.inputs)
    sized = [form.asked[each] for each in expectations.ASKED]
    seen = {"outputs": form.expected.shown, "queue": False, **PRIVATE}
    limits: dict[str, Any] = {**HIDDEN, "concurrency_limit": MAX_WAITING}
    named: dict[str, Any] = {"api_name": name}
    if shown is not None:
        gr.on([], called, inputs, view, **named, **limits)
        named = {"api_visibility": "private"}
    page_run = once_a_tab(by_name(shown, form.inputs) if shown else called)
    started = gr.on(form.submits, page_run, inputs, view, trigger_mode="multiple", **named, **limits)
    sure = form.expected.anyway.click(confirm, queue=False, **PRIVATE)
    again = sure.then(page_run, inputs, view, api_visibility="private", **limits)
    seeds = gr.Textbox(visible="hidden")  # [asked, following] as JSON
    for ended in (started, again):
        asked = ended.then(next_seed, None, seeds, **PRIVATE)
        asked.then(None, [form.seed, seeds], form.seed, js=MOVE_SEED, **PRIVATE).then(
            telling(True), sized, **seen
        )
    changed = [field.change for field in sized]
    return gr.on(changed, telling(False), sized, trigger_mode="always_last", **seen)
