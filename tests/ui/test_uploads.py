"""Which uploads are taken on a shared server: asked of the middleware, and of the app as it is served."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time

import httpx
import pytest

from diffatlas.ui import uploads
from diffatlas.ui.uploads import Uploads
from diffatlas.ui.visitors import COOKIE
from tests.serving import served_app
from tests.visitors import Visitor

ME, YOU = "1" * 32, "2" * 32


@pytest.fixture
def room(monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setenv("DIFFATLAS_UPLOAD_BYTES", "100000")
    monkeypatch.setenv("DIFFATLAS_VISITOR_UPLOADS", "250000")

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    return Uploads(app)


class Wait:
    """Something to wait for without an event loop: another test's browser may have one running."""

    def __await__(self):
        yield


def scope_of(path, secret, size=None, method="POST", kind="multipart/form-data; boundary=x"):
    headers = [(b"cookie", f"{COOKIE}={secret}".encode())] if secret else []
    headers += [(b"content-type", kind.encode())]
    headers += [
        (b"transfer-encoding", b"chunked") if size is None else (b"content-length", str(size).encode())
    ]
    return {"type": "http", "path": path, "method": method, "headers": headers}


def ask(room, secret, size=1000, path="/gradio_api/upload", **more):
    """Status and sentence of an upload."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    with pytest.raises(StopIteration):
        room(scope_of(path, secret, size, **more), receive, send).send(None)
    return sent[0]["status"], sent[1]["body"].decode()


def opened(room, secret, tab="abc"):
    """A page of a visitor; closing it is ``.throw(GeneratorExit)`` or ``.close()``."""

    async def receive():
        await Wait()

    async def send(message):
        pass

    page = room(scope_of(f"/gradio_api/heartbeat/{tab}", secret, method="GET"), receive, send)
    page.send(None)
    return page


def test_only_who_has_a_page_open_may_upload(room):
    assert ask(room, ME)[0] == 403
    page, another = opened(room, ME), opened(room, ME, "def")
    assert ask(room, ME)[0] == 200
    assert ask(room, YOU)[0] == 403
    assert ask(room, None)[0] == 403
    page.close()
    assert ask(room, ME)[0] == 200
    another.close()
    status, words = ask(room, ME)
    assert (status, words.split(":")[0]) == (403, "Files are taken from the pages of this app only")


def test_a_tab_that_was_open_before_it_had_a_cookie_is_known_by_what_it_asks(room):
    page = opened(room, None, "first")
    assert ask(room, ME)[0] == 403

    def say(secret, tab):
        async def receive():
            body = b'{"component_id":3,"session_hash": "' + tab + b'","data":{}}'
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            pass

        scope = scope_of("/gradio_api/component_server", secret, 60, kind="application/json")
        with pytest.raises(StopIteration):
            room(scope, receive, send).send(None)

    say(YOU, b"another")
    assert ask(room, YOU)[0] == 403
    say(ME, b"first")
    assert ask(room, ME)[0] == 200
    assert ask(room, YOU)[0] == 403
    page.close()
    assert ask(room, ME)[0] == 403


def test_an_upload_has_a_size_and_a_visitor_so_many_bytes_a_day(room, monkeypatch):
    opened_pages = [opened(room, secret, secret[:3]) for secret in (ME, YOU)]
    assert ask(room, ME, None)[0] == 411
    assert ask(room, ME, 200_000)[0] == 413
    assert [
        ask(room, ME, 100_000, path)[0] for path in ("/gradio_api/upload", "/atlas/gradio_api/upload/")
    ] == [200] * 2
    status, words = ask(room, ME, 100_000)
    assert status == 429
    assert words.startswith("You have uploaded as much as one visitor may in a day (2000 files, ")
    assert ask(room, YOU, 100_000)[0] == 200
    monkeypatch.setattr(uploads, "MOST", 3)
    assert [ask(room, YOU, 10)[0] for _ in range(3)] == [200, 200, 429]
    monkeypatch.setattr(uploads, "WINDOW", 0.0)
    time.sleep(0.01)
    assert ask(room, ME, 100_000)[0] == 200
    for page in opened_pages:
        page.close()


def test_a_picture_out_of_an_editor_is_an_upload_and_a_question_is_none(room):
    editor, question = {"path": "/gradio_api/component_server"}, {"kind": "application/json"}
    assert ask(room, ME, **editor)[0] == 403
    assert ask(room, ME, **editor, **question)[0] == 200
    assert ask(room, ME, 200_000, **editor, **question)[0] == 413
    assert ask(room, ME, None, path="/gradio_api/queue/join", **question)[0] == 411
    page = opened(room, ME)
    assert [ask(room, ME, 100_000, **editor)[0] for _ in range(3)] == [200, 200, 429]
    page.close()


def test_on_a_personal_machine_nothing_is_asked(room, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    assert ask(room, None, 10**9)[0] == 200


def test_the_served_app_takes_files_of_an_open_page_only(tmp_path):
    with served_app(tmp_path, DIFFATLAS_MODE="shared", DIFFATLAS_UPLOAD_BYTES="50000") as address:
        visitor = Visitor(address)
        files = {"files": ("a.png", b"x" * 1000, "image/png")}
        assert visitor.http.post("gradio_api/upload", files=files).status_code == 403
        tab, there = secrets.token_hex(8), threading.Event()

        def page():
            with (
                contextlib.suppress(httpx.HTTPError),
                visitor.http.stream("GET", f"gradio_api/heartbeat/{tab}") as answer,
            ):
                for _ in answer.iter_lines():
                    there.set()

        thread = threading.Thread(target=page, daemon=True)
        thread.start()
        assert there.wait(60)
        assert visitor.http.post("gradio_api/upload", files=files).status_code == 200
        large = {"files": ("a.png", b"x" * 100_000, "image/png")}
        # The connection may be closed while it still sends.
        with contextlib.suppress(httpx.WriteError):
            assert visitor.http.post("gradio_api/upload", files=large).status_code == 413
        assert Visitor(address).http.post("gradio_api/upload", files=files).status_code == 403
