"""How many bytes of tensors a pipeline's call has alive at once, besides the model's own."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffatlas.backends.between import decoder_of


class Live:
    """Counts the storages that come and go in a call: the most at once before its decoding, and from then on.

    What a kernel takes for itself and gives back before it returns is not seen.
    """

    def __init__(self, pipe: Any) -> None:
        self._decoder = decoder_of(pipe)
        self._held: dict[int, list[int]] = {}
        self._now = 0
        self._in_decoder = False
        #: Bytes alive at once, in the passes and in the decoding.
        self.passing = self.decoding = 0
        for part in vars(pipe).values():
            for tensor in (*part.parameters(), *part.buffers()) if hasattr(part, "parameters") else ():
                # Held by the model all along.
                self._held[tensor.untyped_storage().data_ptr()] = [1, 0]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is called inside the context, on this thread."""
        from torch.utils._python_dispatch import TorchDispatchMode

        live = self

        class Counting(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = func(*args, **(kwargs or {}))
                for one in made if isinstance(made, (tuple, list)) else (made,):
                    live._made(one)
                return made

        handles = []
        if self._decoder is not None:
            handles.append(self._decoder.register_forward_pre_hook(self._decodes))
        try:
            with Counting():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _decodes(self, *_: Any) -> None:
        self._in_decoder = True

    def _made(self, tensor: Any) -> None:
        import torch

        if not isinstance(tensor, torch.Tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if not size:
            return
        if key not in self._held:
            self._held[key] = [0, size]
            self._now += size
            if self._in_decoder:
                self.decoding = max(self.decoding, self._now)
            else:
                self.passing = max(self.passing, self._now)
        self._held[key][0] += 1
        weakref.finalize(tensor, self._gone, key)

    def _gone(self, key: int) -> None:
        held = self._held[key]
        held[0] -= 1
        if not held[0]:
            self._now -= held[1]
            del self._held[key]
