"""The policy that goes with every answer names the scripts of the app's own pages, and nobody else's."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from diffatlas.ui.own_page import OwnPageOnly

SCRIPT = "window.mine = 1"
PAGE = f"<html><script>{SCRIPT}</script><SCRIPT src='/other.js'></SCRIPT></html>"


@pytest.fixture
def client() -> TestClient:
    def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    app = Starlette(
        routes=[Route("/", page), Route("/gradio_api/{path:path}", page), Route("/file/{path:path}", page)]
    )
    return TestClient(OwnPageOnly(app, scripts=("window.later = 2",)))


def rule(client: TestClient, path: str) -> list[str]:
    policy = client.get(path).headers["content-security-policy"]
    return next(part.split() for part in policy.split("; ") if part.startswith("script-src "))


def digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_the_scripts_of_a_page_run_and_no_others(client: TestClient) -> None:
    assert rule(client, "/")[1:] == ["'self'", "'unsafe-eval'", digest(SCRIPT), digest("window.later = 2")]


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=/tmp/a.html", "/gradio_api/file%3D/tmp/a.html", "/file/a.html"]
)
def test_a_file_that_somebody_uploaded_runs_none(client: TestClient, path: str) -> None:
    assert rule(client, path)[1:] == ["'self'", "'unsafe-eval'"]
    assert client.get(path).text == PAGE
