"""Who may come in: read from a file or the environment, never shown, and asked of every request."""

from __future__ import annotations

import base64

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from diffatlas.errors import InvalidParams
from diffatlas.ui import sign_in
from diffatlas.ui.sign_in import VARIABLE, Accounts, SignIn, accounts

SECRET = "planted-password"


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(sign_in, "SLOW", 0)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def client():
    inner = [Middleware(SignIn, accounts=Accounts({"anna": "a:b", "ürs": "ö"}))]
    routes = [Route("/{rest:path}", lambda request: PlainTextResponse("inside"))]
    with TestClient(Starlette(routes=routes, middleware=inner)) as made:
        yield made


@pytest.mark.parametrize("given", [("anna", "a:b"), ("ürs", "ö")])
def test_an_account_comes_in_everywhere(client, given):
    token = base64.b64encode(":".join(given).encode()).decode()
    for path in ("/", "/gradio_api/queue/data", "/atlas/x/views.js"):
        assert client.get(path, headers={"authorization": f"Basic {token}"}).text == "inside"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !", "Bearer a:b", "Basic " + base64.b64encode(b"anna").decode()]
    + [
        "Basic " + base64.b64encode(one).decode()
        for one in (b"anna:", b"anna:a", b"anna:a:b:", b":a:b", b"\xff:\xff")
    ],
)
def test_nobody_else_does(client, header):
    for path in ("/", "/gradio_api/startup-events/", "/gradio_api/startup-events"):
        answer = client.get(path, headers={} if header is None else {"authorization": header})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "inside" not in answer.text


def test_accounts_come_from_a_file_and_the_environment(tmp_path, monkeypatch):
    assert accounts() is None
    file = tmp_path / "who"
    file.write_text(f"# teachers\nanna:{SECRET}, with a comma\n\nben:x:y\n", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, "carla:one,dora:two")
    found = accounts(file)
    assert len(found) == 4
    assert found.has("anna", f"{SECRET}, with a comma")
    assert found.has("ben", "x:y")
    assert found.has("dora", "two")
    assert not found.has("dora", "one")
    assert SECRET not in repr(found) + repr(vars(found))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SECRET, "line 1: write a name, a colon and a password"),
        (f"a:{SECRET}\na:{SECRET}", "line 2: this name is there twice"),
        (f":{SECRET}", "line 1: write a name"),
        ("# nobody", "names nobody"),
    ],
)
def test_what_is_wrong_is_said_without_what_is_in_it(tmp_path, text, said):
    file = tmp_path / "who"
    file.write_text(text)
    with pytest.raises(InvalidParams) as raised:
        accounts(file)
    assert said in raised.value.message
    assert SECRET not in raised.value.message


def test_a_password_as_an_argument_is_refused_and_not_said_again():
    with pytest.raises(InvalidParams, match="takes the name of a file") as raised:
        accounts(f"anna:{SECRET}")
    assert SECRET not in raised.value.message
