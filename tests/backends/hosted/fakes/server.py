"""A provider of hosted models on loopback, over real HTTP, which can be told to fail in the ways that they do."""

from __future__ import annotations

import io
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

KEY = "key-of-a-test-4711"
#: What can be wrong with the request for an image. Those with "wait" say how long, in Retry-After.
REFUSALS = ("401", "402", "403", "422", "429", "429 wait", "500", "503 wait")
#: Other faults of that request, and of the picture.
FAULTS = ("hang", "drop", "redirect", "refused content")
OF_PICTURES = (
    "truncated picture",
    "no picture",
    "dropped picture",
    "picture elsewhere",
    "picture at a private address",
)
_STATUS = {"429 wait": 429, "503 wait": 503}


@dataclass(frozen=True)
class Seen:
    """A request that arrived. Names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer. ``cut``: only so many bytes of it are sent before the connection drops."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    cut: int | None = None

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def png(seed: int = 0, side: int = 64) -> bytes:
    """A picture that tells its seed, as a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class FakeProvider(ABC):
    """Use it as a context. A provider's own fake says what it answers (`reply`) and what creates (`creates`).

    ``fault``: one of those above, "" for none; it shows ``times`` times. ``seen``: what arrived, in order.
    ``made``: how many images it has taken on, and would be paid for.
    """

    #: As in `diffatlas.registry.HOSTED`, a model of it that takes all, and what stands before its key.
    name = ""
    model = ""
    scheme = "Bearer"
    #: The key that it takes.
    key = KEY
    #: Whether pictures come in the answer, so that nothing is fetched.
    inline = False
    #: The error's code where a 403 or a 422 has another meaning than usual.
    codes: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.fault, self.times = "", 0
        self.seen: list[Seen] = []
        self.made = 0
        #: Seconds that it takes over an image.
        self.delay = 0.0
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> FakeProvider:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, self.rfile.read(length))
                with fake._lock:
                    fake.seen.append(seen)
                self.send(fake._answer(seen))

            do_GET = do_POST = do_PUT = handle_one

            def send(self, reply: Reply) -> None:
                content = reply.content()
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content if reply.cut is None else content[: reply.cut])
                    self.wfile.flush()
                except OSError:
                    self.close_connection = True
                if reply.cut is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, fault: str, times: int = 1_000_000) -> None:
        """Fail in a way of those above, so many times."""
        self.fault, self.times = fault, times

    @property
    def creations(self) -> list[Seen]:
        """The requests for an image that arrived."""
        return [seen for seen in self.seen if self.creates(seen)]

    # What a provider's own fake says.

    @abstractmethod
    def creates(self, seen: Seen) -> bool:
        """Whether a request asks for an image."""

    @abstractmethod
    def reply(self, seen: Seen) -> Reply | None:
        """Answer a request that nothing is wrong with; None for one that there is not."""

    @abstractmethod
    def refusal(self, status: int) -> Any:
        """The body of a refusal of this status, in the provider's way."""

    @abstractmethod
    def refused_content(self) -> Reply | None:
        """Refuse what a prompt asks for, in the provider's way; None where it says so later, in `reply`."""

    # What they share.

    def failing(self, fault: str) -> bool:
        """Whether this fault shows now; it is counted."""
        with self._lock:
            if self.fault != fault or self.times <= 0:
                return False
            self.times -= 1
            return True

    def picture(self, seed: int = 0) -> bytes:
        """A picture's file, with what is wrong with it."""
        if self.failing("truncated picture"):
            return png(seed)[:3000]
        return b"<html>not a picture</html>" if self.failing("no picture") else png(seed)

    def picture_reply(self, seen: Seen, seed: int = 0) -> Reply:
        """Answer the request for a picture's file."""
        if self.failing("dropped picture"):
            return Reply(png(seed), kind="image/png", cut=3000)
        if self.failing("picture elsewhere"):
            return Reply(status=302, headers={"Location": seen.path + "?moved"})
        if self.failing("picture at a private address"):
            return Reply(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
        return Reply(self.picture(seed), kind="image/png")

    def _answer(self, seen: Seen) -> Reply:
        if "authorization" in seen.headers and seen.headers["authorization"] != f"{self.scheme} {self.key}":
            return Reply(self.refusal(401), 401)
        creates = self.creates(seen)
        if creates:
            for fault in REFUSALS:
                if self.failing(fault):
                    status = _STATUS.get(fault) or int(fault)
                    waits = {"Retry-After": "1"} if "wait" in fault else {}
                    return Reply(self.refusal(status), status, waits)
            if self.failing("redirect"):
                return Reply(status=307, headers={"Location": "https://elsewhere.example/v1"})
            if self.failing("hang"):
                self._closing.wait(60)
                return Reply(status=500)
            if self.fault == "refused content" and (refused := self.refused_content()) is not None:
                return refused
        reply = self.reply(seen)
        if reply is None:
            return Reply({"detail": "Not found."}, 404)
        if creates:
            self.made += 1
            if self.failing("drop"):
                return Reply(
                    reply.body, reply.status, reply.headers, reply.kind, cut=len(reply.content()) // 2
                )
        return reply
