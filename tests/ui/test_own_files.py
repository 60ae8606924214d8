"""The app's own modules, styles and fonts over HTTP."""

from __future__ import annotations

import gzip
import re

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from diffatlas.formats.html.bundle import STATIC
from diffatlas.library import Library
from diffatlas.ui.app import build_app, served
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.own_files import base, script

FONT = "vendor/lora/lora-latin-400-normal.woff2"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("own-files")
    app = build_app(Libraries(Library(root).folder, shared=False))
    return TestClient(gr.mount_gradio_app(FastAPI(), app, path="/below", **served()))


@pytest.mark.parametrize("name", ["core/dom.js", "core/page.css", FONT])
def test_a_file_comes_whole_and_may_be_kept_for_good(client, name):
    answer = client.get(f"/below/{base()}/{name}")
    assert answer.status_code == 200
    assert answer.content == (STATIC / name).read_bytes()
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    kind = {"js": "text/javascript", "css": "text/css", "woff2": "font/woff2"}[name.rpartition(".")[2]]
    assert answer.headers["content-type"].startswith(kind)


def test_text_is_packed_for_those_who_take_it(client):
    plain = client.get(f"/below/{script()}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get(f"/below/{script()}", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, mtime=0))
    head = client.head(f"/below/{script()}", headers={"accept-encoding": "identity"})
    assert (head.content, head.headers["content-length"]) == (b"", plain.headers["content-length"])


@pytest.mark.parametrize("name", ["nothing.js", "../theme.py", "..%2Ftheme.py", ""])
def test_there_is_nothing_else(client, name):
    answer = client.get(f"/below/{base()}/{name}")
    assert b"LocalFont" not in answer.content
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_the_page_names_what_is_there(client):
    page = client.get("/below/").text
    named = set(re.findall(r"atlas/[0-9a-f]{16}/[\w./-]+", page))
    assert script() in named
    assert f"{base()}/{FONT}" in named
    for address in named:
        assert client.get(f"/below/{address}").status_code == 200
