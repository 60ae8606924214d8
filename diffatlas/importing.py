"""Taking turns at importing diffusers, transformers and peft."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_turn = threading.RLock()


@contextmanager
def importing() -> Iterator[None]:
    """Be the only thread that imports classes of diffusers, transformers and peft.

    They import each other's modules when a class is first asked for. Two threads that meet there would wait for each
    other, which Python ends by giving one of them a module that is not finished: "cannot import name".
    """
    with _turn:
        yield
