"""The app as another's backend: the paths of the protocol beside its pages (docs/remote.md)."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from diffatlas.backends.remote.place import is_loopback
from diffatlas.backends.remote.protocol import PREFIX
from diffatlas.operations.trace import shared_local_backend
from diffatlas.serving.access import own_token
from diffatlas.serving.app import Serving
from diffatlas.serving.runs import Work
from diffatlas.settings import is_shared
from diffatlas.ui.turns import Turns

_served: WeakKeyDictionary[Any, tuple[Turns, SecretStr | None]] = WeakKeyDictionary()


def serve_runs(blocks: Any, turns: Turns) -> None:
    """Have an app serve runs to other Atlases, which take turns with those of its pages.

    The token is that of the environment now. Raises `InvalidParams` for one that cannot be.
    """
    _served[blocks] = turns, own_token()


class RemoteRoutes:
    """ASGI middleware of an app of `serve_runs`: answers other Atlases, and passes everything else on.

    It stands before the sign-in of the app, whose header its token has. signs_in: whether there is one, where nobody
    may ask without a token.
    """

    def __init__(self, app: Any, signs_in: bool = False) -> None:
        self._app = app
        self._signs_in = signs_in
        self._serving: Serving | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, or pass it on."""
        path = scope.get("path", "")
        root = scope.get("root_path", "")
        inner = path.removeprefix(root) if root else path
        if scope["type"] != "http" or not inner.startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        if self._serving is None:
            blocks = scope["app"].get_blocks()
            turns, token = _served[blocks]
            work = Work(shared_local_backend, turns, is_shared())
            self._serving = Serving(work, token, lambda: not self._signs_in and _for_this_machine(blocks))
        await self._serving({**scope, "path": inner, "root_path": ""}, receive, send)


def _for_this_machine(blocks: Any) -> bool:
    """Whether an app is one for the programs of this machine: it listens to nothing else and has no sign-in."""
    return (
        not is_shared()
        and is_loopback(str(getattr(blocks, "server_name", "")))
        and not any(getattr(blocks, name, None) for name in ("share", "share_url", "auth", "is_colab"))
    )
