"""Looking on where torch's attention is called, where diffusers hands attention to a backend, and where its older
processors compute the scores.

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

#: Called as ``around(name, proceed, args, kwargs)``; ``proceed(*args, **kwargs)`` makes the call.
AroundBackend = Callable[[str, Callable[..., Any], tuple, dict[str, Any]], Any]
ATTEND, SCORES = "scaled_dot_product_attention", "get_attention_scores"
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


class TorchAttention:
    """Looks on at torch's ``scaled_dot_product_attention``, as it is called by that name.

    A mode that sees each function of torch would do so too, and costs as much as a layer's own calls.
    """

    def __init__(self, around: AroundBackend) -> None:
        self._around = around
        self._stand_in: _Watched | None = None

    def begin(self) -> None:
        """Look on, until `end`."""
        import torch

        functional = torch.nn.functional
        with _lock:
            found = getattr(functional, ATTEND)
            if not isinstance(found, _Watched):
                found = _Watched(ATTEND, found)
                setattr(functional, ATTEND, found)
            found.arounds = (*found.arounds, self._around)
            self._stand_in = found

    def end(self) -> None:
        """Look away; once nobody looks on, the function is there as it was."""
        import torch

        functional, stand_in = torch.nn.functional, self._stand_in
        if stand_in is None:
            return
        with _lock:
            stand_in.arounds = tuple(a for a in stand_in.arounds if a != self._around)
            if not stand_in.arounds and getattr(functional, ATTEND) is stand_in:
                setattr(functional, ATTEND, stand_in.plain)
        self._stand_in = None


class _Watched:
    """Stands where a function is looked up: in the table of backends, or in torch."""

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
