"""What the pages of studies share: running, retrying and opening, and a form that follows the model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.backends.model_info import ModelInfo
from diffatlas.capture.spec import Capture
from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import ModelEntry
from diffatlas.ui import links
from diffatlas.ui.carrying import asked_in, followed, take_along
from diffatlas.ui.components import fields
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.study_form import StudyForm, lane_choices, lanes_beside, own_value
from diffatlas.ui.places import LOCAL, info_of, models_of
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wire.submitted import submitted
from diffatlas.ui.wiring import MAX_WAITING, PRIVATE, wire_form


def run_page(
    runner: StudyRunner, plan: Callable[[], Study], asked: Mapping[str, Any], request: gr.Request
) -> Generator[dict[str, Any], None, None]:
    """Run what a form asks, and remember the seed that comes after it.

    plan: returns the study that the form asks for; may raise a `DiffAtlasError`. asked: what the form holds, by name.
    """
    session = request.session_hash

    def read() -> tuple[Study, Capture]:
        return plan(), forms.to_capture(asked["previews"], asked["preview_decoder"])

    ran = yield from runner.run(visitor_of(request, session), session, read, reuse=not asked["again"])
    if ran is not None:
        runner.sessions.note(session, (ran, forms.next_seed(asked["seed_mode"], ran)))


def wire_study(app: gr.Blocks, form: StudyForm, island: Any, runner: StudyRunner) -> None:
    """Wire a page's form to its model, and its view to retrying and opening studies."""

    def follow(entry: ModelEntry, info: ModelInfo | None) -> list[Any]:
        return [gr.update(choices=lanes_beside(entry, info), value=[])]

    last = wire_form(app, form, island.operation, runner.sessions, [form.lanes], follow)
    filled = [*form.asked.values(), form.lanes, *form.own.values(), last]
    nothing = [gr.skip() for _ in filled]

    def act(event: gr.EventData, request: gr.Request) -> Generator[list[Any], None, None]:
        asked = submitted(event._data)
        visitor = visitor_of(request, request.session_hash)
        if asked.retry is not None:
            for value in runner.retry(visitor, request.session_hash, asked.id, asked.retry):
                yield [value, *nothing]
        elif asked.carry is not None:
            yield [gr.skip(), *_followed(form, asked.carry, visitor or "")]
        elif asked.open:
            yield [gr.skip(), *_refill(form, runner.spec_of(visitor, asked.open)), gr.skip()]
        else:
            yield [gr.skip(), *nothing]

    # Several at once: another study can be looked at while one runs.
    island.submit(
        act, outputs=[island, *filled], trigger_mode="multiple", concurrency_limit=MAX_WAITING, **PRIVATE
    )
    take_along(form, island, island.operation)


def _followed(form: StudyForm, asked: Any, visitor: str) -> list[Any]:
    """Return the updates of the form by a model that came along from another page: its lanes are of it too."""
    own = [gr.skip() for _ in form.own]
    updates = followed(form, asked, visitor)
    if updates is None:
        return [gr.skip() for _ in (*form.asked, form.lanes, *form.own, None)]
    *request, model = updates
    lanes = gr.skip()
    if isinstance(model, str):
        lanes = gr.update(choices=carried_lanes(asked, model))
    return [*request, lanes, *own, model]


def _refill(form: StudyForm, spec: Mapping[str, Any] | None) -> list[Any]:
    """Return updates of the form by what a stored study asked: its request, its lanes, and the operation's own."""
    if not spec:
        return [gr.skip() for _ in (*form.asked, form.lanes, *form.own)]
    backend, model = spec["backend"], spec["base"]["model"]
    base = GenerationParams.from_dict(spec["base"])
    request = refilled(form, {**query_of(base), "backend": backend})
    info = info_of(backend, model)
    choices = lane_choices(models_of(backend), model, info, backend)
    offered = {value for _, value in choices}
    lanes = spec["lanes"]
    own = [own_value(name, spec) if name in spec else gr.skip() for name in form.own]
    return [*request, gr.update(choices=choices, value=[lane for lane in lanes if lane in offered]), *own]


def refilled(form: StudyForm, query: Mapping[str, str]) -> list[Any]:
    """Return the updates of a form's request by a link, with the choices of models of its backend."""
    updates, _ = links.fill(query, model_info, "")
    if isinstance(updates["model"], dict):
        updates["model"] = {**updates["model"], "choices": fields.choices_of(query["backend"])}
    return [updates[name] for name in form.asked]


def carried_lanes(carried: Any, model: str) -> list[tuple[str, str]]:
    """Return the lanes that are offered beside a model that came along from another page."""
    backend = asked_in(carried).get("backend") or LOCAL
    info = info_of(backend, model)
    return lane_choices(models_of(backend), model, info, backend)


def model_info(model: str) -> ModelInfo | None:
    """Return what is known of a model without loading it."""
    return forms.known(shared_local_backend().info, model)
