"""Whatever the app is sent over HTTP, it answers, with a sentence where it is wrong; and one visitor stops no other."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffatlas.ui.plain_requests import MOST_BODY, REMEMBERED, Owners, Refused
from tests.hostile import HOSTILE, bounded, with_another_part
from tests.serving import served_app
from tests.visitors import Visitor

#: What no answer may hold: the words of an error that nobody foresaw.
RAW = ("Traceback", 'File "', "KeyError", "TypeError", "site-packages", "NoneType", "Internal Server Error")
JSON = {"content-type": "application/json"}
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"{}",
    b"NaN",
    b"\xff\xfe\x00",
    b"\x00",
    b'{"data": [], "session_hash": "\\ud800", "fn_index": 0}',
    b'{"data": [NaN], "session_hash": "s", "fn_index": 0}',
    b'{"session_hash": [], "component_id": {}, "fn_name": 5, "data": null}',
    b"[" * 100_000,
    b'{"data":' * 100_000,
    b"9" * 5000,
    b'{"fn_index": 1e400, "data": [], "session_hash": "s"}',
    '{"data": [], "session_hash": "s"}'.encode("utf-16"),
    b'{"event_id": "x", "session_hash": "s", "fn_index": 0}',
]
KINDS = [
    ("text/plain", b"{}"),
    ("multipart/form-data", b"--x"),
    ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
    (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
    ),
    ("application/json; charset=utf-16", "{}".encode("utf-16")),
    ("", b"\xff"),
]
#: What takes JSON, and what does not.
POSTS = (
    *("queue/join", "cancel", "reset", "component_server", "run/trace", "run/x", "api/trace"),
    *("call/trace", "call/x", "call/v2/trace", "call/v2/x"),
)
OTHER_POSTS = (
    *("upload", "process_recording", "vibe-edit", "stream/x", "stream/x/close", "queue/data", "heartbeat/x"),
    *("queue/status", "file=x", "nothing", "run/", "run/%00", "call/%ff"),
)
GETS = (
    *("queue/data", "queue/data?session_hash=", "queue/data?session_hash=%00", "heartbeat/%00", "heartbeat/"),
    *(
        "call/trace/x",
        "call/v2/trace/x",
        "call/trace/%00",
        "upload_progress",
        "upload_progress?upload_id=%00",
    ),
    *(
        "deep_link?session_hash=x",
        "queue/status",
        "info",
        "info?all_endpoints=1",
        "info?page=x",
        "openapi.json",
    ),
    *(
        "token",
        "user",
        "login_check",
        "app_id",
        "dev/reload",
        "stream/a/b/c/playlist.m3u8",
        "stream/a/b/1/c.ts",
    ),
    *(
        "proxy=http://127.0.0.1",
        "custom_component/a/b/c/d",
        "run-history/buckets",
        "startup-events",
        "vibe-code",
    ),
    *("queue/join", "cancel", "component_server", "run/trace", "queue/data?" + "&".join(["a=b"] * 200)),
)
TOPS = (
    *(
        "pwa_icon/5",
        "pwa_icon/100000",
        "monitoring",
        "monitoring/summary",
        "monitoring/x",
        "config?deep_link=x",
    ),
    *(
        "config?deep_link=../..",
        "?deep_link=%00",
        "gradio_api/deep_link",
        "manifest.json",
        "theme.css",
        "robots.txt",
    ),
    *(
        "svelte/x",
        "assets/../x",
        "static/%00",
        "runs",
        "login",
        "logout",
        "favicon.ico",
        "nothing",
        "%00",
        "%ff",
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served_app(folder, DIFFATLAS_MODE="shared") as url:
        yield url


@pytest.fixture(scope="module")
def visitor(address: str) -> Visitor:
    return Visitor(address)


@pytest.fixture
def answers(address: str, visitor: Visitor) -> Iterator[None]:
    """After a test the app still answers."""
    yield
    told = visitor.call("library", "find", limit=1)
    assert isinstance(told["total"], int)


def ask(visitor: Visitor, method: str, path: str, **options: Any) -> httpx.Response | None:
    """The answer of the app, of a stream its beginning; None where the address cannot even be sent."""
    with visitor.http.stream(method, path, **options) as answer:
        kind = answer.headers.get("content-type", "")
        answer.text_so_far = (
            "" if kind.startswith("text/event-stream") else answer.read().decode("utf-8", "replace")
        )
    assert answer.status_code < 500, (method, path, options, answer.text_so_far)
    assert not any(word in answer.text_so_far for word in RAW), (method, path, answer.text_so_far[:500])
    return answer


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_any_kind_is_answered(visitor: Visitor, answers: None, path: str) -> None:
    for body in BODIES:
        ask(visitor, "POST", f"gradio_api/{path}", content=body, headers=JSON)
    for kind, body in KINDS:
        ask(visitor, "POST", f"gradio_api/{path}", content=body, headers={"content-type": kind})


def test_a_body_where_none_is_taken_is_answered(visitor: Visitor, answers: None) -> None:
    for path in OTHER_POSTS:
        for kind, body in [*KINDS, *(("application/json", body) for body in BODIES[:4])]:
            ask(visitor, "POST", f"gradio_api/{path}", content=body, headers={"content-type": kind})


def test_an_address_of_any_kind_is_answered(visitor: Visitor, answers: None) -> None:
    for path in [*(f"gradio_api/{name}" for name in GETS), *TOPS]:
        ask(visitor, "GET", path)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "ODD"):
        for path in (
            "",
            *(f"gradio_api/{name}" for name in ("queue/join", "cancel", "component_server", "upload")),
        ):
            ask(visitor, method, path)


@bounded(60)
@given(data=st.data())
def test_a_request_with_anything_in_it_is_answered(visitor: Visitor, data: st.DataObject) -> None:
    component = next(c["id"] for c in visitor.config["components"] if c["props"].get("elem_id") == "library")
    good = {
        "queue/join": {
            "fn_index": visitor.events["trace"],
            "data": [5],
            "session_hash": "abc",
            "trigger_id": 1,
            "event_data": {"a": 1},
            "event_id": None,
            "batched": False,
            "simple_format": False,
        },
        "cancel": {"fn_index": 0, "session_hash": "abc", "event_id": "x"},
        "reset": {"event_id": "x"},
        "run/stop": {"data": [], "fn_index": 5, "session_hash": "abc"},
        "call/trace": {"data": [5], "session_hash": "abc"},
        "call/v2/trace": {"prompt": 5},
        "component_server": {
            "session_hash": "abc",
            "component_id": component,
            "fn_name": "find",
            "data": {"limit": 1},
        },
    }
    path = data.draw(st.sampled_from(sorted(good)))
    asked = with_another_part(data, good[path], HOSTILE)
    if data.draw(st.booleans()) and isinstance(asked, dict):
        asked.pop(data.draw(st.sampled_from(sorted(asked))))
    ask(visitor, "POST", f"gradio_api/{path}", content=json.dumps(asked).encode(), headers=JSON)


def test_every_function_without_a_queue_refuses_what_it_cannot_take(visitor: Visitor, answers: None) -> None:
    for one in visitor.config["dependencies"]:
        count = len(one["inputs"])
        for data in ([[]] * (count + 1), [{"a": [[]]}] * count if count else [0]):
            body = {"data": data, "fn_index": one["id"], "session_hash": "abc"}
            ask(visitor, "POST", "gradio_api/run/x", json=body)


def test_a_body_has_a_bound(visitor: Visitor, answers: None) -> None:
    large = b'{"data": "' + b"x" * MOST_BODY + b'"}'
    answer = ask(visitor, "POST", "gradio_api/component_server", content=large, headers=JSON)
    assert answer.status_code == 413


def test_nobody_listens_to_stops_or_goes_on_with_the_run_of_another(address: str) -> None:
    mine, yours = Visitor(address), Visitor(address)
    strangers = httpx.Client(base_url=address, timeout=60)
    tab = secrets.token_hex(8)
    body = {
        "fn_index": mine.events["trace"],
        "data": list({**mine.defaults["trace"], "prompt": "a red circle", "steps": 60}.values()),
        "session_hash": tab,
        "trigger_id": None,
    }
    event = mine.http.post("gradio_api/queue/join", json=body).json()["event_id"]
    began, ended = threading.Event(), []

    def listen() -> None:
        with mine.http.stream("GET", "gradio_api/queue/data", params={"session_hash": tab}) as answer:
            for line in answer.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_generating":
                    began.set()
                if told.get("msg") == "process_completed":
                    ended.append(told)
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert began.wait(120)
    stop = next(
        d["id"]
        for d in mine.config["dependencies"]
        if d["id"] and not d["queue"] and not d["inputs"] and d["targets"]
    )
    for other in (yours.http, strangers):
        for path, sent in (
            ("cancel", {"session_hash": tab, "fn_index": body["fn_index"], "event_id": event}),
            ("cancel", {"session_hash": "mine", "fn_index": body["fn_index"], "event_id": event}),
            ("run/stop", {"session_hash": tab, "fn_index": stop, "data": []}),
            ("queue/join", body),
            ("call/trace", {"data": body["data"], "session_hash": tab}),
            ("component_server", {"session_hash": tab, "component_id": 1, "fn_name": "find", "data": {}}),
        ):
            answer = other.post(f"gradio_api/{path}", json=sent)
            assert answer.status_code in (403, 404), (path, sent)
        for path in (
            f"queue/data?session_hash={tab}",
            f"heartbeat/{tab}",
            f"call/trace/{event}",
            f"call/v2/x/{event}",
        ):
            answer = other.get(f"gradio_api/{path}")
            assert (answer.status_code, "another visitor's" in answer.json()["detail"]) == (403, True), path
        assert other.post(f"gradio_api/stream/{event}/close").status_code == 404
        other.post("gradio_api/reset", json={"event_id": event})
    thread.join(120)
    assert ended[0]["success"]
    assert ended[0]["output"]["data"]
    assert mine.call("library", "find", limit=5)["runs"][0]["status"] == "complete"


def test_ones_own_run_can_be_cancelled(address: str) -> None:
    mine = Visitor(address)
    stream = mine.stream("trace", prompt="a red circle", steps=100)
    next(stream)
    stream.close()
    tab = secrets.token_hex(8)
    asked = {"session_hash": tab, "fn_index": mine.events["trace"], "event_id": "0" * 32}
    assert mine.http.post("gradio_api/cancel", json=asked).json() == {"success": True}


def test_a_key_that_was_typed_is_in_no_answer_and_not_in_the_log(address: str, folder: Path) -> None:
    key, mine = "typed-key-0815-4711", Visitor(address)
    answers = [mine.raw("settings", "key_put", provider="replicate", key=key).text]
    assert '"typed"' in answers[0]
    answers += [mine.raw("settings", name).text for name in ("settings_keys", "settings_variables")]
    answers.append(mine.raw("status", "status", backend="replicate", model="x").text)
    # One that is none comes back in no sentence either.
    answers += [
        mine.raw("settings", "key_put", provider="replicate", key=wrong).text for wrong in (f"{key} x", [key])
    ]
    answers += [
        mine.http.get(path).text for path in ("config", "gradio_api/info", "gradio_api/openapi.json", "")
    ]
    other = Visitor(address).raw("settings", "settings_keys").text
    assert '"typed"' not in other
    assert not [text for text in (*answers, other, (folder / "log.txt").read_text()) if "4711" in text]


def test_the_log_has_no_error_that_nobody_foresaw(folder: Path) -> None:
    """After all of the tests before: what Gradio could not take has come to it."""
    log = (folder / "log.txt").read_text()
    assert "Exception in ASGI application" not in log, log[-3000:]


def test_a_session_is_of_who_came_first() -> None:
    owners = Owners()
    owners.check("a", None)
    owners.check("a", "me")
    owners.check("a", "me")
    for other in ("you", None):
        with pytest.raises(Refused, match="another visitor's"):
            owners.check("a", other)
    for number in range(REMEMBERED):
        owners.check(f"n{number}", "me")
    # No more than so many are remembered.
    owners.check("a", "you")
