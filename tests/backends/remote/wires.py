"""A server of runs in this process, a network that cuts connections, and a model that is watched."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from diffatlas.operations.trace import shared_local_backend
from diffatlas.serving.limits import Limits
from diffatlas.serving.server import Server, warm_up
from diffatlas.ui.turns import Turns

TOKEN = "a-token-of-the-tests-0123456789"


@contextmanager
def served(limits: Limits | None = None, turns: Turns | None = None) -> Iterator[Server]:
    """Serve runs of this process's models on loopback."""
    # So that what the server measures first is measured already, and counted by nobody.
    warm_up()
    server = Server("127.0.0.1", 0, turns or Turns(in_all=60), limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)


@dataclass
class Watched:
    """How often a denoiser was called, and what each call waits for besides."""

    calls: int = 0
    seconds: float = 0.0
    called: threading.Event = field(default_factory=threading.Event)

    def settled(self) -> int:
        """Return the number of calls once no more come."""
        seen = -1
        while seen != self.calls:
            seen = self.calls
            time.sleep(0.4)
        return seen


@contextmanager
def watching(seconds: float = 0.0) -> Iterator[Watched]:
    """Count the calls of the embedded model's denoiser, each of which takes so many seconds more."""
    watched = Watched(seconds=seconds)
    unet = shared_local_backend().pipeline("shapes").unet

    def note(*_: Any) -> None:
        watched.calls += 1
        watched.called.set()
        time.sleep(watched.seconds)

    handle = unet.register_forward_pre_hook(note)
    try:
        yield watched
    finally:
        handle.remove()


class Network:
    """A TCP proxy on loopback before a server, which cuts connections when it is told to.

    cuts: bytes of answers after which a connection is cut, one number for each that is to be cut, in this order; None
    for one that is left alone.
    """

    def __init__(self, url: str, cuts: list[int | None] | None = None) -> None:
        target = urlsplit(url)
        self._target = (target.hostname, target.port)
        self.cuts = cuts or []
        self.down = False
        self.made = 0
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        for one in [*self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.down:
                near.close()
                continue
            self.made += 1
            most = self.cuts.pop(0) if self.cuts else None
            far = socket.create_connection(self._target)
            self._open |= {near, far}
            ends = [near, far]
            threading.Thread(target=self._move, args=(near, far, None, ends), daemon=True).start()
            threading.Thread(target=self._move, args=(far, near, most, ends), daemon=True).start()

    def _move(
        self, source: socket.socket, target: socket.socket, most: int | None, ends: list[socket.socket]
    ) -> None:
        with suppress(OSError):
            while part := source.recv(4096):
                if most is not None and len(part) >= most:
                    target.sendall(part[:most])
                    break
                if most is not None:
                    most -= len(part)
                target.sendall(part)
        for one in ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
            self._open.discard(one)


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until something is true; return whether it became so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
