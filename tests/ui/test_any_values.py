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
from diffatlas.ui.asked_values import typed
from diffatlas.ui.components import form as forms
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.starts import start_of
from diffatlas.ui.visitors import COOKIE
from diffatlas.ui.wire.call import schema_of
from diffatlas.ui.wire.calls import CALLS
from diffatlas.ui.wire.submitted import Submitted, submitted
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
    """What each function of a page is asked when all is right: ``base(page, name)``."""
    runs = app[1]
    request = SimpleNamespace(cookies={COOKIE: SECRET})
    begun = functions["LabIsland", "lab_begin"](
        {"target": {"points": CLOUD, "labels": [0] * len(CLOUD)}, "recipe": {"steps": 200}}, request
    )
    example = start_of("attention")["id"]
    values = {
        "Viewer": {"id": runs[0], "ids": runs[:2], "a": runs[0], "b": runs[1], "kind": "csv", "index": 0},
        "LibraryView": {"id": runs[0], "ids": runs[:1], "a": runs[0], "b": runs[1], "kind": "csv"},
        "AttentionIsland": {
            "id": example,
            "ids": [example],
            "a": example,
            "b": example,
            "step": 0,
            "index": 0,
            "tokens": [1],
            "words": [[1]],
            "place": [0.5, 0.5],
        },
        "LabIsland": {"lab": begun["lab"], "sigmas": [1.0], "start": [0, 0], "steps": 2},
        "StudyIsland": {
            "id": start_of("sweep")["id"],
            "ids": runs[:1],
            "kind": "csv",
            "lane": "0",
            "cell": "0",
            "operation": "sweep",
            "of": "image",
        },
    }
    return lambda page, name: {of: value for of, value in values[page].items() if of in fields_of(name)}


def fields_of(name: str) -> list[str]:
    """What a call asks."""
    return list(schema_of(CALLS[name].asked)["properties"])


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
            field = data.draw(st.sampled_from([*fields_of(name), "other"]))
            call(name, {**base(page, name), field: data.draw(ANYTHING)})

    @few
    @given(ANYTHING)
    def all_is_wrong(asked):
        for name in names:
            call(name, asked)

    for name in names:
        call(name, base(page, name))
        for field in fields_of(name):
            for wrong in ([], {}, [[]], [{}], [None], {"a": 1}):
                call(name, {**base(page, name), field: wrong})
    one_is_wrong()
    all_is_wrong()


@pytest.mark.parametrize("name", sorted(LONG))
def test_what_would_take_long_is_refused_before_it_begins(name, functions, base, failures):
    page = "LabIsland" if name.startswith("lab_") else "LibraryView"
    request = SimpleNamespace(cookies={COOKIE: SECRET})
    good = base(page, name)
    for field in {"lab", "id", "ids"} & set(fields_of(name)):
        for wrong in (5, {}, [1], "x", float("nan"), 10**400, True, [[]]):
            message = told(functions[page, name]({**good, field: wrong}, request))
            assert message, (field, wrong)
            assert not any(word in message for word in RAW), (field, wrong, message)
    assert not failures


@bounded(12)
@given(ANYTHING)
def test_values_of_another_kind_are_named(value):
    """Every field of every call, alone: it is taken or refused by its name, or another is missing."""
    for name, call in CALLS.items():
        for field in [*fields_of(name), "other"]:
            error = refusal(call.read, {field: value})
            if error is not None:
                assert error.field in fields_of(name) or error.field == "other", (name, field)
                assert error.field in error.message
                assert len(error.message.encode()) < 400
    assert isinstance(submitted(value), Submitted)
    for field in Submitted.__dataclass_fields__:
        assert submitted({field: value}) == Submitted() or getattr(submitted({field: value}), field) == value


def test_a_field_that_a_call_does_not_know_and_one_that_is_not_given_are_named():
    refused = refusal(CALLS["step"].read, {"id": "x", "index": 0, "decoded": True})
    assert (refused.field, refused.message) == (
        "decoded",
        "decoded means nothing here: id, index, decode, dark can be given.",
    )
    refused = refusal(CALLS["step"].read, {"id": "x"})
    assert (refused.field, refused.message) == ("index", "index is missing: give a whole number.")
    # Neither text, a truth value nor a number with a part is a whole number, and nothing is not what is usual.
    for wrong, words in (("0", "0"), (True, "True"), (1.0, "1.0"), (None, "empty")):
        refused = refusal(CALLS["step"].read, {"id": "x", "index": wrong})
        assert refused.message == f"index is {words}: give a whole number."
    # Inside a list and an object it is the field that is named.
    refused = refusal(CALLS["curves"].read, {"layers": [{"id": 3, "name": "x"}]})
    assert refused.field == "layers"
    assert refused.message.endswith("give a list of 1 to 60 objects.")


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
