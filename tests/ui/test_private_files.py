"""A visitor's files are given to that visitor only, however the address is spelled."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import unquote

import anyio
import pytest

from diffatlas.ui.private_files import PrivateFiles, private_url, sweep
from diffatlas.ui.visitors import COOKIE, SESSION, visitor_of

MINE, YOURS = "1" * 32, "2" * 32


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


class _Request:
    def __init__(self, secret):
        self.cookies = {COOKIE: secret}


def ask(path, secret=None):
    """The status of a request: 200 where the middleware lets it pass."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    headers = [(b"cookie", f"other=1; {COOKIE}={secret}".encode())] if secret else []
    scope = {"type": "http", "path": path, "headers": headers}
    # Nothing here waits, so no event loop is needed: another test's browser may have one running.
    with pytest.raises(StopIteration):
        PrivateFiles(app)(scope, None, send).send(None)
    return sent[0]["status"]


def test_only_the_visitor_gets_the_file():
    url = private_url(visitor_of(_Request(MINE)), b"picture", "image.png")
    path = url.removeprefix("gradio_api/file=")
    assert Path(path).read_bytes() == b"picture"
    assert ask(f"/{url}", MINE) == 200
    assert ask(f"/{url}", YOURS) == 404
    assert ask(f"/{url}") == 404
    assert ask(f"/gradio_api/file/{path}", YOURS) == 404
    assert ask(f"/atlas/gradio_api/file={path}", YOURS) == 404


def test_no_other_spelling_of_the_address_helps(tmp_path):
    path = private_url(visitor_of(_Request(MINE)), b"picture", "image.png").removeprefix("gradio_api/file=")
    folder, name = os.path.split(path)
    around = os.path.join(os.path.dirname(os.path.dirname(folder)), "nowhere", "..")
    link = tmp_path / "link"
    link.symlink_to(os.path.dirname(folder))
    spellings = [
        path.replace("/visitors/", "//visitors//"),
        path.replace("/visitors/", "/visitors/./"),
        folder + "/../" + os.path.basename(folder) + "/" + name,
        around + path.removeprefix(os.path.dirname(os.path.dirname(folder))),
        str(link / os.path.basename(folder) / name),
        path.lstrip("/"),
        "/" + path,
    ]
    for spelling in spellings:
        assert ask(f"/gradio_api/file={spelling}", YOURS) == 404, spelling
        assert ask(f"/gradio_api/file={spelling}", MINE) == 200, spelling


@pytest.fixture(params=["absolute", "relative"])
def served(request, monkeypatch, tmp_path):
    """A client of the app as it is served, whose files lie below the folder where it runs."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from diffatlas.ui.app import served

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "gtmp" if request.param == "relative" else str(tmp_path / "gtmp"))
    with gr.Blocks() as blocks:
        gr.HTML("")
    app = gr.mount_gradio_app(FastAPI(), blocks, path="/atlas", app_kwargs=served()["app_kwargs"])
    with TestClient(app) as client:

        def ask(path, method="GET", **headers):
            """Status and body of an address as it is sent: no client tidies it, and the server decodes it once."""
            return client.portal.call(_answer, app, path, method, headers)

        yield ask


async def _answer(app, path, method, headers):
    sent, body = [], b""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
    }

    asked = iter([{"type": "http.request", "body": b""}])

    async def receive():
        message = next(asked, None)
        if message is None:
            await anyio.sleep_forever()
        return message

    async def send(message):
        nonlocal body
        sent.append(message)
        body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception:
        return 500, body
    return sent[0]["status"], body


def test_the_served_app_gives_a_file_to_its_visitor_only_however_it_is_asked_for(served, tmp_path):
    data = b"\x89PNG picture"
    url = private_url(visitor_of(_Request(MINE)), data, "image.png")
    path = os.path.abspath(url.removeprefix("gradio_api/file="))
    near = os.path.relpath(path, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "gtmp")
    (tmp_path / "gtmp" / "other").mkdir()
    readable = [
        path,
        near,
        f"./{near}",
        f"nowhere/../{near}",
        f"gtmp/other/../{near.removeprefix('gtmp/')}",
        f"../{tmp_path.name}/{near}",
        near.replace("/", "//"),
        near.replace("gtmp", "link", 1),
        near.replace("/", "%2F"),
        near.replace("v", "%76"),
        near.replace("/", "/./"),
        # What follows the second mark is no path to the server.
        f"{tmp_path}/file=/../{near}",
        f"{tmp_path}/file/../{near}",
    ]
    for spelling in readable:
        for mark in ("file=", "file/"):
            address = f"/atlas/gradio_api/{mark}{spelling}"
            assert served(address, cookie=f"{COOKIE}={MINE}") == (200, data), address
            for other in ({"cookie": f"{COOKIE}={YOURS}"}, {}):
                assert served(address, **other)[0] in (403, 404), address
                assert served(address, "HEAD", **other)[0] in (403, 404, 405), address


def test_nothing_that_is_asked_for_is_an_error_of_the_server(served, tmp_path):
    path = private_url(visitor_of(_Request(MINE)), b"picture", "image.png").removeprefix("gradio_api/file=")
    spellings = [
        path.replace("/", "%252F"),
        path.replace("/", "%5C"),
        path + "%00",
        "%00" + path,
        path + "%00.png",
        "~/" + path,
        "file://" + path,
        "file:" + path,
        "http://127.0.0.1/" + path,
        "https://example.org/x.js",
        "//evil.example/x.js",
        "//" + os.path.abspath(path),
        "a" * 300,
        "/".join(["a"] * 5000),
        "%FF%FE",
        "%ED%A0%80",
        "\U0001f600",
        "",
        "/",
        ".",
        "..",
        "../../../../etc/passwd",
        "C:%5Cx",
        os.path.dirname(path),
        os.path.dirname(os.path.dirname(path)),
        os.path.dirname(os.path.dirname(os.path.dirname(path))),
    ]
    routes = [f"gradio_api/{name}" for name in ("file=", "file/", "proxy=", "stream/", "custom_component/")]
    for route in (*routes, "static/", "assets/", "gradio_api/custom_component/a/client/b/", "theme.css/"):
        for spelling in spellings:
            for secret in (MINE, YOURS):
                status, body = served(f"/atlas/{route}{spelling}", cookie=f"{COOKIE}={secret}")
                assert status < 500, (route, spelling)
                assert body != b"picture", (route, spelling)
    wanted = (
        "bytes=",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=900-",
        "bytes=" + "9" * 40 + "-",
    )
    for asked in (*wanted, "bytes=-3", "bytes=2-4"):
        status, body = served(f"/atlas/gradio_api/file={path}", cookie=f"{COOKIE}={MINE}", range=asked)
        assert status < 500, asked
    assert body == b"ctu"


def test_files_that_nobody_asked_for_are_deleted_and_those_in_use_stay():
    old, used, new = (
        Path(private_url("visitor", data, "x.bin").removeprefix("gradio_api/file="))
        for data in (b"a", b"b", b"c")
    )
    for path in (old, used):
        os.utime(path, (time.time() - 100, time.time() - 100))
    private_url("visitor", b"b", "x.bin")
    sweep(50)
    assert [path.exists() for path in (old, used, new)] == [False, True, True]
    assert not old.parent.exists()


def test_other_files_and_pages_pass():
    assert ask("/") == 200
    assert ask("/gradio_api/file=/somewhere/else.png") == 200
    assert ask("/gradio_api/queue/join") == 200


def test_a_script_without_cookie_reads_what_its_session_made():
    url = private_url(SESSION + "0" * 24, b"data", "run.csv")
    assert ask(f"/{url}") == 200
