"""Whatever the page's functions are handed, they answer, or say in a sentence what is wrong with it."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Response
from hypothesis import given
from hypothesis import strategies as st

from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.ui import app as apps
from diffatlas.ui import links
from diffatlas.ui.asked_values import asked_values, submitted, typed
from diffatlas.ui.components import form as forms
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.starts import start_of
from diffatlas.ui.visitors import COOKIE
from tests.hostile import bounded
from tests.library.made_runs import made

SECRET = "1" * 32
PAGES = ("Viewer", "LibraryView", "AttentionIsland", "LabIsland", "StudyIsland")
#: They begin work that goes on after the answer, or that takes long where all is right with what is asked.
LONG = {
    "lab_train",
    "lab_sample",
    "lab_quality",
    "lab_budget",
    "lab_memory",
    "lab_model_density",
    "replay",
    "push",
}
CLOUD = [[0.0, 0.1], [1.0, -1.0], [0.5, 0.2]] * 9
#: Words of Python's own errors, and of an error that nobody foresaw.
RAW = (
    "log says why",
    "NoneType",
    "TypeError",
    "KeyError",
    "object has no",
    "unhashable",
    "not supported between",
)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**70, -(10**400), 10**400, 0.5, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "0", "\0", "../..", "\ud800", "NaN", "a" * 5000, "~nobody", "data:;base64,AA"]),
)
ANYTHING = st.one_of(
    LEAVES,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        max_leaves=4,
    ),
    st.sampled_from([json.loads("[" * 20 + "]" * 20), [[0, 0], [1, "x"]], {"id": {}}, [{}], [[]]]),
)
NAMES = (
    *(
        "id",
        "ids",
        "a",
        "b",
        "kind",
        "view",
        "fit",
        "index",
        "decode",
        "align",
        "action",
        "name",
        "visible",
        "text",
    ),
    *(
        "offset",
        "limit",
        "since",
        "sort",
        "tag",
        "locked",
        "attention",
        "tags",
        "note",
        "step",
        "image",
        "job",
    ),
    *(
        "source",
        "title",
        "per",
        "licence",
        "token",
        "repo",
        "count",
        "studies",
        "layers",
        "head",
        "half",
        "tokens",
    ),
    *(
        "words",
        "place",
        "operation",
        "cell",
        "lane",
        "of",
        "lab",
        "target",
        "recipe",
        "kept",
        "again",
        "instead",
    ),
    *(
        "pretrained",
        "steps",
        "seed",
        "n",
        "sampler",
        "start",
        "sigmas",
        "classes",
        "weight",
        "interval",
        "low",
        "high",
    ),
    *(
        "points",
        "quantity",
        "t",
        "samples",
        "sizes",
        "samplers",
        "request",
        "changes",
        "field",
        "model",
        "until",
    ),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "cache"))
        library = Library(folder / "runs")
        for number in range(3):
            library.save(made(number))
        yield apps.build_app(Libraries(folder / "runs", False)), [info.id for info in library.list()]


@pytest.fixture(scope="module")
def functions(app):
    """By the kind of the view and the name: the function; of the pages of studies, one is enough."""
    found = {}
    for block in app[0].blocks.values():
        if type(block).__name__ in PAGES:
            for name in dir(block):
                each = getattr(block, name, None)
                if getattr(each, "_is_server_fn", False):
                    found.setdefault((type(block).__name__, name), each)
    return found


@pytest.fixture(scope="module")
def base(app, functions):
    """What the functions are asked when all is right."""
    runs = app[1]
    request = SimpleNamespace(cookies={COOKIE: SECRET})
    begun = functions["LabIsland", "lab_begin"](
        {"target": {"points": CLOUD, "labels": [0] * len(CLOUD)}, "recipe": {"steps": 200}}, request
    )
    example = start_of("attention")["id"]
    return {
        "Viewer": {"id": runs[0], "ids": runs[:2], "a": runs[0], "b": runs[1], "kind": "csv", "index": 0},
        "LibraryView": {"id": runs[0], "ids": runs[:1], "a": runs[0], "b": runs[1], "kind": "csv"},
        "AttentionIsland": {
            "id": example,
            "ids": [example],
            "a": example,
            "b": example,
            "step": 0,
            "index": 0,
        },
        "LabIsland": {"lab": begun["lab"], "sigmas": [1.0], "start": [0, 0], "steps": 2},
        "StudyIsland": {
            "id": start_of("sweep")["id"],
            "ids": runs[:1],
            "kind": "csv",
            "lane": "0",
            "cell": "0",
        },
    }


class _Failures(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.seen.append(record)


@pytest.fixture
def failures():
    """What the app's log tells of as an error that nobody foresaw."""
    handler, log = _Failures(), logging.getLogger("diffatlas")
    log.addHandler(handler)
    yield handler.seen
    log.removeHandler(handler)


def told(answer: Any) -> str:
    """What is wrong, by an answer, which the browser can read."""
    if isinstance(answer, Response):
        return ""
    json.dumps(answer)
    return (answer.get("error") or {}).get("message", "")


def refusal(call: Any, *values: Any) -> InvalidParams | None:
    """How a call refuses values; None where it takes them."""
    try:
        call(*values)
    except InvalidParams as error:
        return error
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_function_of_the_views_answers_with_sense(page, functions, base, failures):
    names = [name for kind, name in functions if kind == page and name not in LONG]
    request = SimpleNamespace(cookies={COOKIE: SECRET})

    def call(name, asked):
        each = functions[page, name]
        answer = each(asked) if name == "grown" else each(asked, request)
        message = told(answer)
        assert not any(word in message for word in RAW), (name, asked, message)
        assert not failures, (name, asked, failures[0].getMessage(), failures[0].exc_info)

    # Each of the functions of attention works through all that was captured.
    few = bounded(4 if page == "AttentionIsland" else 12)

    @few
    @given(st.data())
    def one_is_wrong(data):
        for name in names:
            field = data.draw(st.sampled_from([*base[page], *NAMES]))
            call(name, {**base[page], field: data.draw(ANYTHING)})

    @few
    @given(ANYTHING)
    def all_is_wrong(asked):
        for name in names:
            call(name, asked)

    for name in names:
        for field in base[page]:
            for wrong in ([], {}, [[]], [{}], [None], {"a": 1}):
                call(name, {**base[page], field: wrong})
    one_is_wrong()
    all_is_wrong()


@pytest.mark.parametrize("name", sorted(LONG))
def test_what_would_take_long_is_refused_before_it_begins(name, functions, base, failures):
    page = "LabIsland" if name.startswith("lab_") else "LibraryView"
    request = SimpleNamespace(cookies={COOKIE: SECRET})
    for wrong in (None, 5, {}, [1], "x", float("nan"), 10**400, True, [[]]):
        for field in ("lab", "id", "ids") if name in ("replay", "push") else ("lab",):
            message = (
                told(functions[page, name]({**base[page], field: wrong}, request))
                if wrong is not None
                else ""
            )
            assert not any(word in message for word in RAW), (field, wrong, message)
    assert not failures


@bounded(12)
@given(ANYTHING)
def test_values_of_another_kind_are_named(value):
    for name in NAMES:
        error = refusal(asked_values, {name: value})
        if error is not None:
            assert error.field == name
            assert name in error.message
            assert len(error.message.encode()) < 400
    assert isinstance(submitted(value), dict)


@bounded(12)
@given(ANYTHING, st.sampled_from(links.NAMES))
def test_values_of_the_form_are_refused_by_name(value, name):
    good = {"model": "shapes", "prompt": "a red circle", "seed": 7, "size": "64x64"}
    error = refusal(forms.to_params, {**good, name: value})
    if error is not None:
        assert error.field
        assert not any(word in error.message for word in RAW)


def test_text_of_a_field_is_text():
    assert typed(None, "model") == ""
    assert typed(" a ", "model") == "a"
    for wrong in (5, True, [], {}, "\ud800"):
        with pytest.raises(InvalidParams, match="model"):
            typed(wrong, "model")


def test_over_http_a_wrong_value_is_a_sentence_and_no_error_of_the_server(app):
    import gradio as gr
    from starlette.testclient import TestClient

    blocks, _ = app
    served = gr.mount_gradio_app(FastAPI(), blocks, path="/", app_kwargs=apps.served()["app_kwargs"])
    view = next(block for block in blocks.blocks.values() if type(block).__name__ == "LibraryView")
    with TestClient(served, raise_server_exceptions=False) as client:
        client.cookies[COOKIE] = SECRET
        for body in (
            "[]",
            "5",
            '"x"',
            "NaN",
            "1e999",
            '{"ids": [[]]}',
            '{"ids": {}}',
            '{"id": 1e400}',
            "null",
        ):
            asked = (
                f'{{"data": {body}, "component_id": {view._id}, "session_hash": "s", "fn_name": "details"}}'
            )
            answer = client.post(
                "/gradio_api/component_server", content=asked, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, body
            assert answer.json()["error"]["message"]
            assert not any(word in answer.text for word in RAW), body
            assert answer.headers["content-security-policy"]
