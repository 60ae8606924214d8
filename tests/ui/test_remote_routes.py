"""An app is a backend of another: beside its pages, for this machine alone or by its token."""

from __future__ import annotations

import types
import urllib.request

import httpx
import pytest

from diffatlas import GenerationParams, Library
from diffatlas.backends import open_backend
from diffatlas.errors import InvalidParams, KeyRefused
from diffatlas.ui import remote_routes
from diffatlas.ui.app import launch
from diffatlas.ui.sign_in import Accounts

TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path))
    opened = []

    def serve(**options):
        opened.append(launch(Library(tmp_path), prevent_thread_lock=True, server_name="127.0.0.1", **options))
        return opened[-1].local_url

    yield serve
    for one in opened:
        one.close(verbose=False)


def test_an_app_serves_its_page_and_runs_for_the_programs_of_its_machine(app):
    url = app()
    remote = open_backend("remote", url=url)
    params = GenerationParams(prompt="a red circle", num_inference_steps=2)
    assert [event.kind for event in remote.trace(params)] == ["started", "step", "step", "image", "finished"]
    with urllib.request.urlopen(url) as page:
        assert b"Diffusion Atlas" in page.read()
    # From a web page, and through a proxy.
    for headers in ({"Origin": "http://127.0.0.1:3000"}, {"X-Forwarded-Host": "atlas.example"}):
        assert httpx.get(f"{url}atlas/v1/info", headers=headers).status_code == 401


def test_an_app_with_a_token_asks_for_it(app, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_TOKEN", TOKEN)
    url = app()
    with pytest.raises(KeyRefused, match="asks for a token"):
        open_backend("remote", url=url)
    assert open_backend("remote", url=url, token=TOKEN).models()[0].id == "shapes"


def test_an_app_that_asks_for_a_password_serves_runs_for_its_token_alone(app, monkeypatch):
    url = app(signed_in=Accounts({"anna": "secret"}))
    for auth in (None, ("anna", "secret")):
        assert httpx.get(f"{url}atlas/v1/info", auth=auth).status_code == 401
    with pytest.raises(KeyRefused, match="has no token"):
        open_backend("remote", url=url)
    monkeypatch.setenv("DIFFATLAS_TOKEN", TOKEN)
    url = app(signed_in=Accounts({"anna": "secret"}))
    assert open_backend("remote", url=url, token=TOKEN).models()[0].id == "shapes"
    assert httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert httpx.get(url, auth=("anna", "secret")).status_code == 200


def test_an_app_does_not_start_with_a_token_that_keeps_nobody_out(app, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_TOKEN", "short")
    with pytest.raises(InvalidParams, match="too short"):
        app()


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"server_name": "0.0.0.0"}, False),
        ({"server_name": None}, False),
        ({"share": True}, False),
        ({"share_url": "https://x.gradio.live"}, False),
        ({"auth": [("teacher", "secret")]}, False),
        ({"is_colab": True}, False),
    ],
)
def test_without_a_token_an_app_that_others_can_reach_serves_no_runs(changes, allowed):
    blocks = types.SimpleNamespace(
        **{
            "server_name": "127.0.0.1",
            "share": False,
            "share_url": None,
            "auth": None,
            "is_colab": False,
            **changes,
        }
    )
    assert remote_routes._for_this_machine(blocks) == allowed


def test_a_shared_app_serves_no_runs_without_a_token(monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    assert not remote_routes._for_this_machine(types.SimpleNamespace(server_name="127.0.0.1"))
