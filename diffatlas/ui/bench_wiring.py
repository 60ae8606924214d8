"""What the view of the Bench page asks of its page: running, judging, and forms that are filled."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import gradio as gr

from diffatlas.bench.keep import keep_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.library.study import Cell
from diffatlas.operations.trace import shared_local_backend
from diffatlas.ui import expectations, links, said
from diffatlas.ui.bench_expected import ASKED, images_words
from diffatlas.ui.bench_runner import BenchRunner
from diffatlas.ui.bench_services import BenchServices
from diffatlas.ui.carrying import followed, take_along
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.bench_form import PAGE, pack_choices
from diffatlas.ui.components.study_form import StudyForm, chosen_lanes, lane_choices
from diffatlas.ui.places import info_of, models_of
from diffatlas.ui.quiet import PRIVATE
from diffatlas.ui.study_wiring import carried_lanes, model_info, refilled
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.wire.bench import BenchSubmitted
from diffatlas.ui.wire.call import read
from diffatlas.ui.wiring import MAX_WAITING

#: The form's own fields that a link may fill.
OWN = ("pack", "each", "pack_seed", "seeds")


def wire_bench(
    app: gr.Blocks,
    form: StudyForm,
    island: Any,
    runner: BenchRunner,
    services: BenchServices,
    last: gr.State,
    around: StudyForm | None,
    attention: Any,
    counted: gr.components.Component,
    sized: Any,
) -> None:
    """Wire the view to running cells again, to judging, and to the forms that it fills.

    last: the model that the form follows. around, attention: the forms that a card fills, where there are such
    pages. counted: says how many images the form asks for. sized: the event after which what a run takes has changed
    (`wire_run`).
    """
    filled = [*form.asked.values(), form.lanes, form.exact, *form.own.values(), last]
    others = [*_fields_around(around), *(attention.asked.values() if attention else ())]
    nothing, elsewhere = [gr.skip() for _ in filled], [gr.skip() for _ in others]

    def act(event: gr.EventData, request: gr.Request) -> Generator[list[Any], None, None]:
        asked = _submitted(event._data)
        session = request.session_hash
        visitor = visitor_of(request, session)
        if asked.retry is not None:
            for value in runner.resume(visitor, session, asked.id, asked.retry):
                yield [value, *nothing, *elsewhere]
        elif asked.judge is not None:
            for value in runner.judge(visitor, session, asked.id, asked.judge, asked.again):
                yield [value, *nothing, *elsewhere]
        elif asked.carry is not None:
            yield [gr.skip(), *_followed(form, asked.carry, visitor or ""), *elsewhere]
        elif asked.open:
            yield [gr.skip(), *_refilled(form, services, visitor, asked.open), *elsewhere]
        elif asked.pack is not None:
            yield [gr.skip(), *_of_pack(form, services, visitor, asked.pack), *elsewhere]
        elif asked.explore or asked.attend:
            yield [gr.skip(), *nothing, *_elsewhere(asked, services, visitor, around, attention)]
        else:
            yield [gr.skip(), *nothing, *elsewhere]

    # Several at once: another bench can be looked at while one runs.
    island.submit(
        act,
        outputs=[island, *filled, *others],
        trigger_mode="multiple",
        concurrency_limit=MAX_WAITING,
        **PRIVATE,
    )
    take_along(form, island, PAGE)

    def follow_own(request: gr.Request) -> list[Any]:
        query = dict(request.query_params)
        own = services.own_packs(visitor_of(request, request.session_hash))
        offered = gr.update(choices=pack_choices(own))
        pack, *rest = (_of_link(name, query.get(name)) for name in OWN)
        return [{**offered, **pack}, *rest]

    def say_images(request: gr.Request, *values: Any) -> Any:
        library = services.library(visitor_of(request, request.session_hash))
        words = images_words(shared_local_backend(), library, dict(zip(ASKED, values, strict=True)))
        return gr.update(value=words, visible=bool(words))

    deciding = [form.inputs[name] for name in ASKED]
    own = [form.inputs[name] for name in ASKED if name not in expectations.ASKED]
    changed = [app.load, *(field.change for field in own)]
    gr.on(changed, say_images, deciding, counted, trigger_mode="always_last", **PRIVATE)
    sized.then(say_images, deciding, counted, trigger_mode="multiple", **PRIVATE)
    app.load(follow_own, outputs=[form.own[name] for name in OWN], **PRIVATE)


def _submitted(data: Any) -> BenchSubmitted:
    try:
        return read(BenchSubmitted, data)
    except InvalidParams:
        return BenchSubmitted()


def _of_link(name: str, text: str | None) -> Any:
    """Return the update of an own field by what a link says of it."""
    if not text:
        return gr.skip()
    if name == "pack":
        return gr.update(value=text[:200])
    return gr.update(value=int(text)) if text.isdecimal() and len(text) < 20 else gr.skip()


def _followed(form: StudyForm, carried: Any, visitor: str) -> list[Any]:
    """Return the updates of the form by a model that came along from another page: its lanes are of it too."""
    rest = [gr.skip() for _ in (form.exact, *form.own)]
    updates = followed(form, carried, visitor)
    if updates is None:
        return [gr.skip() for _ in (*form.asked, form.lanes, form.exact, *form.own, None)]
    *request, model = updates
    lanes = gr.skip()
    if isinstance(model, str):
        lanes = gr.update(choices=carried_lanes(carried, model))
    return [*request, lanes, *rest, model]


def _refilled(form: StudyForm, services: BenchServices, visitor: str, bench_id: str) -> list[Any]:
    """Return updates of the form by what a stored bench asked."""
    try:
        _, bench = services.open(visitor, bench_id)
    except DiffAtlasError:
        # The page has said why already.
        return [gr.skip() for _ in (*form.asked, form.lanes, form.exact, *form.own, None)]
    spec: Mapping[str, Any] = bench.study.spec
    model = spec["base"]["model"]
    first = bench.study.in_lane(bench.study.lanes[0].key)[0]
    backend = bench.study.lanes[0].backend
    query = {**forms.query_of(first.params), "backend": backend, "prompt": ""}
    info = info_of(backend, model)
    choices = lane_choices(models_of(backend), model, info, backend)
    offered = {value for _, value in choices}
    changed = chosen_lanes(bench.study.lanes)
    asked = spec.get("asked") or {"pack": bench.pack.name}
    own = {
        **{name: asked.get(name, gr.skip()) for name in ("pack", "each", "pack_seed")},
        "seeds": spec["seeds"],
        "scorers": [name for name in bench.scorers if name != "hand"],
        "kept": keep_of(Capture.from_dict(spec.get("capture") or {})),
    }
    return [
        *refilled(form, query),
        gr.update(choices=choices, value=[lane for lane in changed if lane in offered]),
        bool(spec.get("exact")),
        *(own[name] for name in form.own),
        gr.skip(),
    ]


def _of_pack(form: StudyForm, services: BenchServices, visitor: str, name: str) -> list[Any]:
    """Return updates of the form that ask for a whole pack, by name."""
    own = {
        "pack": gr.update(choices=pack_choices(services.own_packs(visitor)), value=name),
        "each": None,
        "pack_seed": 0,
    }
    return [
        *(gr.skip() for _ in (*form.asked, form.lanes, form.exact)),
        *(own.get(field, gr.skip()) for field in form.own),
        gr.skip(),
    ]


def _elsewhere(
    asked: BenchSubmitted, services: BenchServices, visitor: str, around: StudyForm | None, attention: Any
) -> list[Any]:
    """Return updates of the forms of the Neighbourhood and the Attention page by the settings of a card."""
    near = [gr.skip() for _ in _fields_around(around)]
    words = [gr.skip() for _ in (attention.asked if attention else ())]
    try:
        _, bench = services.open(visitor, str(asked.id))
        cell = _cell(bench.study.cells, asked.explore or asked.attend)
        lanes = {lane.key: lane.backend for lane in bench.study.lanes}
        query = forms.query_of(cell.params, lanes[cell.lane])
        updates, problem = links.fill(query, model_info, "")
        if problem:
            raise InvalidParams(problem.replace("The link", "This card"))
    except DiffAtlasError as error:
        said.warn(error.message, "Form")
        return [*near, *words]
    updates = links.emptied(updates, query)
    if asked.explore and around:
        near = [*(updates[name] for name in around.asked), gr.update(value="perturb")]
    elif attention:
        words = [updates[name] for name in attention.asked]
    return [*near, *words]


def _fields_around(around: StudyForm | None) -> list[Any]:
    """Return the fields of the form of neighbourhoods that a card fills; none where that page is not there."""
    return [*around.asked.values(), around.own["mode"]] if around else []


def _cell(cells: tuple[Cell, ...], key: str | None) -> Cell:
    for cell in cells:
        if cell.key == key:
            return cell
    raise InvalidParams("The bench has no such card.")
