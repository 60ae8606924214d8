"""A visitor's files are given to that visitor only, however the address is spelled."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
