"""ZeroGPU's own server on loopback: it lends a GPU that is not there, and ends processes that keep it too long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.http_thread import serving


@dataclass
class FakeZeroGpu:
    """What was asked (path, parameters), and what to answer next."""

    address: str = ""
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    #: (status, headers, body) instead of a GPU, for the next request.
    refusal: tuple[int, dict[str, str], dict] | None = None
    #: Whether the next request waits in the queue until `let_go` is set; and whether it gets nothing then.
    queues: bool = False
    fails: bool = False
    let_go: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    #: Whether a process is ended when its seconds are over: on a slow machine all would be.
    strict: bool = False
    #: Whether a process may be used again; each has another number else.
    idle: bool = False
    processes: list[int] = field(default_factory=list)
    lent: dict[str, float] = field(default_factory=dict)

    def asked(self, path: str) -> list[dict[str, str]]:
        return [given for called, given in self.calls if called == path]


@contextmanager
def serve() -> Iterator[FakeZeroGpu]:
    platform = FakeZeroGpu()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            parts = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(parts.query).items()}
            platform.calls.append((parts.path, given))
            if parts.path == "/schedule":
                return self._schedule(given)
            if parts.path == "/allow":
                platform.processes.append(int(given["pid"]))
            if parts.path == "/allow" and platform.strict:
                _end_after(int(given["pid"]), platform.lent[given["allowToken"]])
            if parts.path == "/release":
                platform.released.set()
            return self._send(200, {}, {})

        def _schedule(self, given):
            if platform.refusal is not None:
                refusal, platform.refusal = platform.refusal, None
                return self._send(*refusal)
            token = f"allow-{len(platform.lent)}"
            platform.lent[token] = float(given["durationSeconds"])
            lent = {
                "idle": platform.idle,
                "nvidiaIndex": 0,
                "nvidiaUUID": "none",
                "allowToken": token,
            }
            if not platform.queues:
                return self._send(200, {}, lent)
            platform.queues = False
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("X-Queuing-Reason", "node")
            self.end_headers()
            while not platform.let_go.wait(0.05):
                self._say("event: ping\n\n")
            platform.let_go.clear()
            self._say(
                "event: failed\n\n" if platform.fails else f"event: succeeded\ndata: {json.dumps(lent)}\n\n"
            )
            platform.fails = False
            return None

        def _say(self, text):
            self.wfile.write(text.encode())
            self.wfile.flush()

        def _send(self, status, headers, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with serving(Handler) as platform.address:
        try:
            yield platform
        finally:
            # They wait for more to do, also when the program that forked them is gone.
            for pid in platform.processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _end_after(pid: int, seconds: float) -> None:
    def end() -> None:
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    threading.Thread(target=end, daemon=True).start()


def without_cuda() -> None:
    """Import ``spaces`` so that it begins on a machine without CUDA, and so that its processes do."""
    import torch

    torch.version.cuda = torch.version.cuda or "12.8"
    if not hasattr(torch._C, "_cuda_init"):
        torch._C._cuda_init = lambda: None
        # It is asked in another process, to which its name is sent; this is false and has one.
        torch.cuda._is_in_bad_fork = bool
    import spaces.zero.torch as patched

    patched.init = lambda uuid: None
    patched.move = lambda callback=None: None
