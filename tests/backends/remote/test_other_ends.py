"""What is no Atlas of this version at the other end: one sentence each, with what to do."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler

import pytest

from diffatlas import GenerationParams
from diffatlas.backends import open_backend, wire
from diffatlas.backends.remote.asking import Patience
from diffatlas.errors import CapabilityError, HostedError, NetworkError, ProviderDown, ProviderTimeout
from diffatlas.events import Finished
from tests.backends.remote.wires import TOKEN, served
from tests.http_thread import serving

HASTY = Patience(connect=1.0, answer=0.5, silent=0.5, lost=0.3, first=0.01, most=0.02, stopping=1.0)
OURS = {"Atlas-Protocol": "1"}


#: What is answered below a path, as (status, headers, body); and what came of it.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {}
ASKED: list[tuple[str, str | None]] = []


class Anything(BaseHTTPRequestHandler):
    """Answers what `ANSWERS` has for the longest beginning of a path."""

    def do_GET(self):
        ASKED.append((self.path, self.headers.get("Authorization")))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = max((path for path in ANSWERS if self.path.startswith(path)), key=len)
        status, headers, body = ANSWERS[found]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def other():
    with serving(Anything) as url:
        yield url


@pytest.fixture(autouse=True)
def anew():
    ANSWERS.clear()
    ASKED.clear()


def info(**changes):
    told = {"protocol": 1, "wire": wire.VERSION, "capabilities": {"trace": True}} | changes
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "words"),
    [
        (200, {}, b"<html>a router</html>", HostedError, "is no Atlas"),
        (404, {}, b"", HostedError, "is no Atlas"),
        (401, {}, b"", HostedError, "whether a sign-in stands before it"),
        (502, {}, b"", ProviderDown, "cannot reach it"),
        (
            200,
            {"Atlas-Protocol": "2"},
            info(),
            CapabilityError,
            "speaks version 2 .* install the same version",
        ),
        (404, {"Atlas-Protocol": "2"}, b"", CapabilityError, "speaks version 2"),
        (200, OURS, info(wire=99), CapabilityError, "install the same version"),
        (200, OURS, b"no json", HostedError, "what cannot be read"),
        (200, OURS, b"[" * 100_000, HostedError, "what cannot be read"),
        (200, OURS, info(capabilities={"concurrent": "many"}), HostedError, "what cannot be read"),
        (200, OURS, info(capabilities=None), HostedError, "what cannot be read"),
        (500, OURS, b"", Exception, "status 500"),
    ],
)
def test_what_answers_is_not_what_was_meant(other, status, headers, body, error, words):
    ANSWERS["/"] = status, headers, body
    with pytest.raises(error, match=words) as caught:
        open_backend("remote", url=other, patience=HASTY)
    assert "\n" not in str(caught.value)


def test_a_token_does_not_follow_to_another_address(other):
    ANSWERS["/here"] = 307, {"Location": f"{other}/elsewhere"}, b""
    ANSWERS["/elsewhere"] = 200, OURS, info()
    with pytest.raises(HostedError, match="points to another address, where the token is not sent"):
        open_backend("remote", url=f"{other}/here", token=TOKEN)
    assert [("/here/atlas/v1/info", f"Bearer {TOKEN}")] == ASKED


def test_nobody_there_and_nobody_answering_are_told_apart():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ProviderTimeout, match="gave no answer in time"):
            open_backend("remote", url=url, patience=HASTY)
    with pytest.raises(NetworkError, match="diffatlas serve"):
        open_backend("remote", url=url, patience=HASTY)


def test_one_that_goes_away_between_two_runs_is_a_failure_of_the_run():
    with served() as server:
        remote = open_backend("remote", url=server.url, patience=HASTY)
    (failed,) = remote.trace(GenerationParams(prompt="x"))
    assert failed.code == "network"
    assert "Nothing answers at" in failed.message


def framed(kind, payload):
    return len(payload).to_bytes(4, "little") + bytes([kind]) + payload


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"no frames at all, but many letters", "what cannot be read"),
        (b"\xff\xff\xff\xff\0", "what cannot be read"),
        (framed(0, b"\0\0\0\0junk"), "what cannot be read"),
        (framed(1, b"ab"), "what cannot be read"),
        (framed(0, wire.answer_to_bytes(9, Finished("complete", 0.0))), "what cannot be read"),
        (framed(3, b"null"), "cannot be read"),
        (framed(3, b""), "what cannot be read"),
        (framed(3, b"{"), "cannot be read"),
        (framed(3, b'{"code": "out_of_memory", "message": "Full."}'), "Full."),
        (b"", "was lost and did not come back"),
    ],
)
def test_events_that_are_none_end_the_run_with_a_sentence(other, sent, words):
    ANSWERS["/atlas/v1/info"] = 200, OURS, info()
    ANSWERS["/atlas/v1/runs"] = 201, OURS, b"{}"
    ANSWERS["/atlas/v1/runs/"] = 200, OURS, sent
    events = list(open_backend("remote", url=other, patience=HASTY).trace(GenerationParams(prompt="x")))
    assert [event.kind for event in events if event.kind != "waiting"] == ["failed"]
    assert words in events[-1].message
