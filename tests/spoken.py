"""Services as a page speaks with them: asked with plain JSON, their answers held against the types of the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffatlas.ui.wire.calls import CALLS


class Spoken:
    """Services whose methods that the browser may call take a dict; the rest is as it is.

    A wrong question raises what reading it raises, and a wrong answer `diffatlas.ui.wire.call.Mismatch`.

    more: names of calls by methods, besides those of ``services.calls``.
    """

    def __init__(self, services: Any, **more: str) -> None:
        self._services = services
        calls = {name: getattr(services, method) for method, name in more.items()}
        calls |= getattr(services, "calls", {})
        self._asks = {call.__name__: _plain(name, call) for name, call in calls.items()}

    def __getattr__(self, name: str) -> Any:
        return self._asks[name] if name in self._asks else getattr(self._services, name)


def _plain(name: str, call: Callable[[str, Any], Any]) -> Callable[..., Any]:
    wire = CALLS[name]

    def ask(visitor: str, asked: Any = None) -> Any:
        answer = call(visitor, wire.read(asked))
        wire.check(answer)
        return answer

    return ask
