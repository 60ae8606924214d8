"""A workshop as its visitors have it: what there is, what is refused, and the code of the address."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest

from diffatlas.ui.own_files import script
from tests.serving import ROOT, served_app
from tests.visitors import Visitor

ADDRESS = "https://atlas.example.org/"
PASSWORD = "a:b"


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    variables = {
        "DIFFATLAS_MODE": "shared",
        "DIFFATLAS_WORKSHOP": str(ROOT / "docs" / "workshop.yaml"),
        "DIFFATLAS_AUTH": f"anna:{PASSWORD}",
        "DIFFATLAS_ADDRESS": ADDRESS,
    }
    with served_app(tmp_path_factory.mktemp("held"), **variables) as url:
        yield url


@pytest.fixture(scope="module")
def visitor(held):
    found = Visitor(held.replace("://", "://anna:a%3Ab@"))
    yield found
    found.http.close()


def test_nothing_is_served_without_a_password(held):
    for path in ("", "config", "gradio_api/info", script(), "gradio_api/file=/etc/hostname"):
        assert httpx.get(held + path).status_code == 401, path
    assert httpx.post(held + "gradio_api/queue/join", json={}).status_code == 401


def test_a_page_that_is_left_out_has_no_endpoint_and_no_function(visitor):
    assert set(visitor.defaults) == {"trace", "attention"}
    names = {c["props"].get("elem_id") for c in visitor.config["components"]}
    assert not names & {"sweep", "neighbourhood", "bench", "library", "settings"}
    body = {"data": [], "session_hash": "abc"}
    assert visitor.http.post("gradio_api/call/sweep", json=body).status_code == 404


def test_what_is_forbidden_is_refused_with_a_sentence_and_the_rest_runs(visitor):
    for asked, said in (({"steps": 41}, "from 1 to 40"), ({"size": "32x32"}, "leave it at 64x64")):
        *_, last = visitor.stream("trace", prompt="a star", **asked)
        assert (last["status"], said in last["error"]["message"]) == ("failed", True), last["error"]
    *_, last = visitor.stream("trace", prompt="an orange ring and a blue star", seed=8, steps=2)
    assert last["status"] == "complete"
    image = visitor.http.get(last["image"])
    assert image.status_code == 200
    other = httpx.get(image.url, auth=("anna", PASSWORD))
    assert other.status_code == 404


def test_the_page_shows_its_pages_and_the_code_of_its_address(held, chromium):
    context = chromium.new_context(http_credentials={"username": "anna", "password": PASSWORD})
    page = context.new_page()
    page.goto(f"{held}?page=bench")
    page.wait_for_selector(".da-page-trajectory .da-viewer")
    assert page.locator(".da-nav button").all_inner_texts() == ["Trajectory", "Attention", "2D Lab"]
    assert page.locator(".da-page-trajectory").is_visible()
    assert page.inner_text(".da-held h2") == "How an image comes out of noise"
    page.click(".da-invite-open")
    assert page.inner_text(".da-invite-address") == ADDRESS
    assert page.get_attribute(".da-invite-code", "aria-label") == f"QR code of {ADDRESS}"
    page.click(".da-invite .da-dialog-close")
    page.click(".da-nav [data-page=lab]")
    page.wait_for_selector(".da-lab-lesson-menu")
    page.click(".da-lab-lesson-menu summary")
    assert page.locator(".da-lab-lesson-pick strong").all_inner_texts() == [
        "What noise does",
        "What the score is",
        "Why few steps fail",
    ]
    assert urlsplit(page.url).hostname == "127.0.0.1"
    context.close()
