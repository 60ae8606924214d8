"""An app that asks for a name and a password asks agents for them too."""

from __future__ import annotations

import base64

import anyio
import pytest
from gradio.routes import App

from diffatlas.ui.programs.signed_in import signed_in
from tests.own_thread import in_own_thread


def asked(app, **headers):
    scope = {"type": "http", "app": app, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    return in_own_thread(anyio.run, signed_in, scope)


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.fixture
def app():
    made = App(auth_dependency=None)
    made.cookie_id = "x"
    made.tokens = {"token": "ada"}
    return made


def test_everybody_is_let_in_where_nobody_has_to_sign_in(app):
    app.auth = None
    assert asked(app)


@pytest.mark.parametrize(
    "auth", [{"ada": "engine ☃"}, lambda name, password: (name, password) == ("ada", "engine ☃")]
)
def test_name_and_password_or_the_cookie_of_the_page(app, auth):
    app.auth = auth
    assert asked(app, authorization=basic("ada:engine ☃"))
    assert asked(app, cookie="access-token-unsecure-x=token")
    for wrong in ("ada:", "ada", "eve:engine ☃", "ada:engine", ":"):
        assert not asked(app, authorization=basic(wrong))
    assert not asked(app)
    assert not asked(app, authorization="Basic !!!")
    assert not asked(app, authorization="Bearer token")
    assert not asked(app, cookie="access-token-unsecure-x=other")
