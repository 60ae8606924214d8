"""The app as a Space starts it: a real process, with ZeroGPU's server, the Hub and its sign-in on loopback."""

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from diffatlas import space
from diffatlas.ui import signed_in
from tests import fake_zerogpu
from tests.formats.dataset import fake_hub
from tests.http_thread import serving
from tests.serving import served_app
from tests.visitors import Visitor

TOKEN = "hf_" + "OfTheS1gnIn" * 3


@contextmanager
def sign_in():
    """A provider of OpenID that lets everybody in as "someone"."""
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    key, nonce = RSAKey.generate_key(2048, parameters={"kid": "one"}), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            address = f"http://{self.headers['host']}"
            if self.path.startswith("/oauth/authorize"):
                return self._json({})
            if self.path == "/keys":
                return self._json({"keys": [key.as_dict(private=False)]})
            return self._json(
                {
                    "issuer": address,
                    "authorization_endpoint": f"{address}/oauth/authorize",
                    "token_endpoint": f"{address}/oauth/token",
                    "jwks_uri": f"{address}/keys",
                }
            )

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            now = int(time.time())
            claims = {
                "iss": f"http://{self.headers['host']}",
                "aud": "client",
                "sub": "1",
                "iat": now,
                "exp": now + 3600,
                "nonce": nonce[-1],
                "preferred_username": "someone",
            }
            told = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600}
            self._json({**told, "id_token": jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)})

        def _json(self, data):
            body = json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with serving(Handler) as address:
        yield SimpleNamespace(address=address, nonce=nonce)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space")
    with fake_zerogpu.serve() as gpus, fake_hub.serve() as hub, sign_in() as provider:
        environment = {
            "SYSTEM": "spaces",
            "SPACE_ID": "someone/atlas",
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": gpus.address,
            "OAUTH_CLIENT_ID": "client",
            "OAUTH_CLIENT_SECRET": "secret",
            "OAUTH_SCOPES": "openid profile write-repos manage-repos",
            "OPENID_PROVIDER_URL": provider.address,
            "HF_ENDPOINT": hub.address,
            "HF_HUB_OFFLINE": "0",
            "HOME": str(folder),
            "CALLED": str(folder / "called"),
            "DIFFATLAS_CHECK_ANSWERS": "1",
        }
        script = Path(__file__).with_name("space_app.py")
        with served_app(folder, script, **environment) as url:
            yield SimpleNamespace(url=url, folder=folder, gpus=gpus, hub=hub, provider=provider)


def test_a_visitor_runs_on_a_lent_gpu_and_pushes_with_their_sign_in(atlas):
    visitor = Visitor(atlas.url)
    visitor.http.headers["x-ip-token"] = "visitor.e30.c"
    *_, last = visitor.stream("trace", prompt="a red circle", steps=3)
    assert last["status"] == "complete", last["error"]
    assert atlas.gpus.asked("/startup-report") == [{}]
    assert [each["token"] for each in atlas.gpus.asked("/schedule")] == ["visitor.e30.c"]
    # Strangers to each other: nobody else sees the run.
    found = visitor.call("library", "find")
    assert (found["total"], found["mode"]) == (1, "shared")
    assert Visitor(atlas.url).call("library", "find")["total"] == 0
    machine = visitor.call("settings", "settings_machine")
    assert machine["device"] == "cpu"  # what stands for the GPU

    run = found["runs"][0]["id"]
    asked = {"ids": [run], "repo": "someone/circles", "token": ""}
    assert visitor.call("library", "dataset_about", ids=[run])["signed_in"] is None
    refused = visitor.call("library", "push", **asked)
    assert "sign in" in refused["error"]["message"]
    _sign_in(atlas, visitor)
    about = visitor.call("library", "dataset_about", ids=[run])
    assert (about["sign_in"], about["signed_in"]) == (True, "someone")
    job = visitor.call("library", "push", **asked)["job"]
    for _ in range(600):
        if (told := visitor.call("library", "job", job=job))["done"]:
            break
        time.sleep(0.1)
    assert told["error"] is None, told
    assert "README.md" in atlas.hub.repos["someone/circles"]
    assert atlas.hub.tokens - {""} == {TOKEN}


def test_a_page_may_ask_for_several_things_at_once(atlas):
    visitor = Visitor(atlas.url)
    events = [
        each["id"]
        for each in visitor.config["dependencies"]
        if not each["inputs"] and any(target[1] == "load" for target in each["targets"])
    ]
    assert events
    asked = [{"fn_index": event, "data": [], "session_hash": visitor.tab} for event in events * 6]
    told = [visitor.http.post("gradio_api/queue/join", json=body).status_code for body in asked]
    assert set(told) == {200}


def test_nobody_outside_is_asked_and_no_token_is_kept(atlas):
    called = set((atlas.folder / "called").read_text().split())
    assert called <= {"127.0.0.1", "0.0.0.0", "localhost", "::1"}
    kept = [path for path in atlas.folder.rglob("*") if path.is_file()]
    assert len(kept) > 5
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


def _sign_in(atlas, visitor):
    """Go the way of the button: to the provider, and back with its code."""
    away = visitor.http.get("login/huggingface")
    asked = parse_qs(urlsplit(away.headers["location"]).query)
    atlas.provider.nonce.append(asked["nonce"][0])
    _keep_session(visitor, away)
    back = visitor.http.get("login/callback", params={"code": "x", "state": asked["state"][0]})
    assert back.is_redirect, back.text
    _keep_session(visitor, back)


def _keep_session(visitor, answer: httpx.Response) -> None:
    """Send a cookie back, which a browser does on https alone."""
    own = visitor.http.headers["cookie"].partition("; session=")[0]
    session = answer.headers["set-cookie"].split(";")[0]
    assert "httponly" in answer.headers["set-cookie"].lower()
    visitor.http.headers["cookie"] = f"{own}; {session}"
    visitor.http.cookies.clear()


def test_a_space_keeps_things_where_they_last_and_serves_to_the_outside(tmp_path):
    there = {"SPACE_ID": "a/b", "SPACES_ZERO_GPU": "true", "DIFFATLAS_USER_MODELS": "mine.md"}
    space.prepare(there, tmp_path)
    assert there["GRADIO_SERVER_NAME"] == "0.0.0.0"
    assert there["DIFFATLAS_LIBRARY"] == str(tmp_path / "diffatlas" / "runs")
    assert there["DIFFATLAS_USER_MODELS"] == "mine.md"
    assert there["DIFFATLAS_DEVICE"] == "cpu"
    without = {"SPACE_ID": "a/b"}
    space.prepare(without, tmp_path / "none")
    assert not {"DIFFATLAS_LIBRARY", "DIFFATLAS_DEVICE", "HF_HOME"} & set(without)
    elsewhere = {}
    space.prepare(elsewhere, tmp_path)
    assert elsewhere == {}


def test_without_a_sign_in_nothing_changes(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "a/b")
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    assert not signed_in.can_sign_in()
    assert signed_in.signed_in() is None
