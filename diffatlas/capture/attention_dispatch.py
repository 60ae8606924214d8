"""Looking on where diffusers hands attention to a backend, and where its older processors compute the scores.

Transformers of diffusers pass queries, keys and values, each (B, S, heads, D), to a function of
``_AttentionBackendRegistry``: PyTorch's own attention, flash, sage, flex, xformers and others. Processors that need the
probabilities call ``get_attention_scores`` of their layer, with queries and keys (B * heads, S, D).
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffatlas.capture.watching import method_watched

#: Called as ``around(backend, proceed, args, kwargs)``; ``proceed(*args, **kwargs)`` makes the call.
AroundBackend = Callable[[str, Callable[..., Any], tuple, dict[str, Any]], Any]
SCORES = "get_attention_scores"
_lock = threading.Lock()


class Backends:
    """Looks on at every backend that is registered."""

    def __init__(self, around: AroundBackend) -> None:
        self._around = around

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look on inside this context; what is registered later, from the next `look_again` on."""
        self.look_again()
        try:
            yield
        finally:
            with _lock:
                table = _table()
                for key, function in list(table.items()):
                    if isinstance(function, _Watched) and self._around in function.arounds:
                        function.arounds = tuple(a for a in function.arounds if a != self._around)
                        if not function.arounds:
                            table[key] = function.plain

    def look_again(self) -> None:
        """Look at the backends that are registered by now."""
        with _lock:
            table = _table()
            for key, function in list(table.items()):
                if not isinstance(function, _Watched):
                    function = table[key] = _Watched(key, function)
                if self._around not in function.arounds:
                    function.arounds = (*function.arounds, self._around)


class _Watched:
    """Stands in the table of backends for one of them."""

    def __init__(self, key: Any, plain: Callable[..., Any]) -> None:
        self.name = str(getattr(key, "value", key))
        self.plain = plain
        self.arounds: tuple[AroundBackend, ...] = ()
        functools.update_wrapper(self, plain)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        proceed = self.plain
        for around in self.arounds:
            proceed = functools.partial(_around, around, self.name, proceed)
        return proceed(*args, **kwargs)


def _around(around: AroundBackend, name: str, proceed: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return around(name, proceed, args, kwargs)


def _table() -> dict[Any, Any]:
    module = sys.modules.get("diffusers.models.attention_dispatch")
    registry = getattr(module, "_AttentionBackendRegistry", None)
    return getattr(registry, "_backends", {})


@contextmanager
def scores_watched(modules: Iterable[Any], around: Any) -> Iterator[None]:
    """Look on at ``get_attention_scores`` of the classes of these layers (`diffatlas.capture.watching`)."""
    owners = (
        next(
            (cls for cls in type(module).__mro__ if callable(cls.__dict__.get(SCORES)) or _is_seen(cls)), None
        )
        for module in modules
    )
    with ExitStack() as stack:
        for owner in dict.fromkeys(owners):
            if owner is not None:
                stack.enter_context(method_watched(owner, SCORES, around))
        yield


def _is_seen(cls: type) -> bool:
    return hasattr(cls.__dict__.get(SCORES), "arounds")
