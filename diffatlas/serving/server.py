"""A server of runs without a page."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import uvicorn

from diffatlas.backends.remote.place import is_loopback
from diffatlas.errors import InvalidParams
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from diffatlas.serving.access import check_host, own_token
from diffatlas.serving.app import Serving
from diffatlas.serving.limits import Limits
from diffatlas.serving.runs import Turns, Work
from diffatlas.settings import is_shared

log = logging.getLogger("diffatlas")

#: Seconds that what is under way has to come to its end where the server ends.
ENDING = 15.0


class Server:
    """Listens at an address from the moment it is made; `run` answers.

    host, port: where it listens; 0 takes any port that is free. turns: who has the model next.

    Raises `InvalidParams` where the address cannot be listened at, or the network could reach it and there is no token.
    """

    def __init__(self, host: str, port: int, turns: Turns, limits: Limits | None = None) -> None:
        token = own_token()
        check_host(host, token)
        self._socket = _listen(host, port)
        own = self._socket.getsockname()
        shown = f"[{own[0]}]" if ":" in own[0] else own[0]
        self.url = f"http://{shown}:{own[1]}"
        #: Whether a token is asked for.
        self.asks = token is not None
        # Made before any thread asks for it: two that ask at once would make two.
        backend = shared_local_backend()
        work = Work(lambda: backend, turns, is_shared())
        # On a shared server all are strangers, also those of this machine.
        self.serving = Serving(
            work, token, lambda: is_loopback(host) and not is_shared(), limits, reference=True
        )
        config = uvicorn.Config(
            self.serving,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            # What a proxy says of whom it asks for is not believed.
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Answer until interrupted, or `stop`."""
        ended = threading.Event()
        warming = threading.Thread(target=warm_up, args=(ended,), name="diffatlas-warm-up", daemon=True)
        warming.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            ended.set()
            self._socket.close()
            # A process that ends while torch is at work in a thread is aborted.
            self.serving.runs.close(ENDING)
            warming.join(ENDING)

    def stop(self) -> None:
        """Have `run` return."""
        self._server.should_exit = True


def warm_up(ended: threading.Event | None = None) -> None:
    """Load the first model and measure it, so that the first run answers at once. ``ended``: ends the measuring."""
    try:
        first = list_models("local")[0].id
        shared_local_backend().measure(GenerationParams(model=first, prompt="a picture"), stop=ended)
    except Exception as error:
        # The first run meets the same error and tells it.
        log.info("The first model could not be loaded ahead: %s", error)


def _listen(host: str, port: int) -> socket.socket:
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found: Any = socket.socket(kind, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(100)
        except BaseException:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        raise InvalidParams(
            f"Nothing can be served at {host}, port {port}: {str(error).rstrip('.')}. Choose another --port, or a "
            "--host of this machine.",
            field="port",
        ) from error
    return found
