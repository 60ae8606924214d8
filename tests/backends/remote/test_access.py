"""Who may ask a server of runs, and what those hear who may not, over real HTTP."""

from __future__ import annotations

import logging

import httpx
import pytest

from diffatlas import GenerationParams, cli
from diffatlas.backends import open_backend
from diffatlas.backends.remote.place import place_of
from diffatlas.errors import InvalidParams, KeyRefused
from diffatlas.serving import access
from tests.backends.remote.wires import TOKEN, served

OTHER = "another-token-of-the-tests-98765"


@pytest.fixture(scope="module")
def guarded():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_TOKEN", TOKEN)
        with served() as server:
            patch.undo()
            yield server


@pytest.fixture(scope="module")
def unguarded():
    with served() as server:
        yield server


def test_a_token_lets_in_and_is_nowhere_to_be_read(guarded, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DIFFATLAS_REMOTE_TOKEN", TOKEN)
    monkeypatch.setenv("DIFFATLAS_REMOTE_URL", guarded.url)
    remote = open_backend("remote")
    params = GenerationParams(prompt="a red circle", num_inference_steps=2)
    events = list(remote.trace(params))
    assert events[-1].status == "complete"
    assert remote.identity(remote.resolve(params))
    said = [caplog.text, *capfd.readouterr(), repr(remote.place), repr(vars(remote)), repr(events)]
    assert not any(TOKEN in text for text in said)


def test_no_token_and_a_wrong_one_are_told_apart_and_not_repeated(guarded):
    with pytest.raises(KeyRefused, match="Yours goes into DIFFATLAS_REMOTE_TOKEN"):
        open_backend("remote", url=guarded.url)
    with pytest.raises(KeyRefused, match="does not take this token") as caught:
        open_backend("remote", url=guarded.url, token=OTHER)
    assert OTHER not in str(caught.value)


@pytest.mark.parametrize("path", ["info", "models", "runs/" + "0" * 32 + "/events", "nothing"])
@pytest.mark.parametrize(
    "header", ["", f"Bearer {OTHER}", f"Basic {TOKEN}", f"bearer {TOKEN}", TOKEN, "Bearer \xe9"]
)
def test_every_path_asks_for_it(guarded, path, header):
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    answer = httpx.get(f"{guarded.url}/atlas/v1/{path}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "auth")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "atlas.example"},
        {"Host": "localhost.example:8421"},
        {"Host": "127.0.0.1.example"},
        {"Host": ""},
        {"X-Forwarded-For": "203.0.113.5"},
        {"X-Real-IP": "203.0.113.5"},
        {"Forwarded": "for=203.0.113.5"},
        {"Via": "1.1 proxy"},
        {"Origin": "http://localhost:3000"},
        {"Referer": "http://127.0.0.1/"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_without_a_token_no_page_and_no_proxy_gets_in(unguarded, headers):
    assert httpx.get(f"{unguarded.url}/atlas/v1/info").status_code == 200
    answer = httpx.get(f"{unguarded.url}/atlas/v1/info", headers=headers)
    assert answer.status_code == 401
    assert "set DIFFATLAS_TOKEN there" in answer.json()["message"]


def test_without_a_token_nobody_gets_in_from_elsewhere():
    scope = {"client": ("203.0.113.5", 1234), "headers": [(b"host", b"localhost")]}
    with pytest.raises(KeyRefused):
        access.check_access(scope, None, open_here=True)
    here = {**scope, "client": ("::1", 1234), "headers": [(b"host", b"[::1]:8421")]}
    access.check_access(here, None, open_here=True)
    with pytest.raises(KeyRefused):
        access.check_access(here, None, open_here=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "atlas.example"])
def test_serving_the_network_needs_a_token(host, capsys):
    assert cli.run(["serve", "--host", host, "--port", "0"]) == 2
    assert f"Whoever reaches {host} could run models here: set DIFFATLAS_TOKEN" in capsys.readouterr().err


def test_a_short_token_is_none(monkeypatch, capsys):
    monkeypatch.setenv("DIFFATLAS_TOKEN", "secret")
    assert cli.run(["serve", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "too short" in said
    assert "secret" not in said.replace("secrets", "")


def test_an_address_that_is_taken_is_one_sentence(unguarded, capsys):
    port = unguarded.url.rpartition(":")[2]
    assert cli.run(["serve", "--port", port]) == 2
    assert capsys.readouterr().err.startswith(f"error: Nothing can be served at 127.0.0.1, port {port}")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8421", "is no address"),
        ("ftp://localhost", "is no address"),
        ("http://", "is no address"),
        ("http://x:99999", "is no address"),
        ("http://me:secret@localhost", "no name, token or question"),
        ("http://localhost/?token=secret", "no name, token or question"),
        ("", "No other Atlas is named"),
    ],
)
def test_what_is_no_address_is_refused(url, words):
    with pytest.raises(InvalidParams, match=words) as caught:
        open_backend("remote", url=url)
    assert "secret" not in str(caught.value).replace(url, "")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é" * 20])
def test_what_is_no_token_is_refused_unread(token):
    with pytest.raises(InvalidParams, match="The token") as caught:
        open_backend("remote", url="http://localhost:1", token=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "token", "warns"),
    [
        ("http://atlas.example", TOKEN, True),
        ("http://192.168.1.5:8421", TOKEN, True),
        ("https://atlas.example", TOKEN, False),
        ("http://atlas.example", None, False),
        ("http://127.0.0.1:8421", TOKEN, False),
        ("http://localhost", TOKEN, False),
        ("http://[::1]:8421", TOKEN, False),
    ],
)
def test_a_token_that_others_can_read_on_its_way_is_warned_of(url, token, warns):
    assert bool(place_of(url, token).warning) == warns
