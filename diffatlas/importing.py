"""Taking turns at importing diffusers, transformers and peft."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_turn = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A process that is forked while another thread has the turn would never get it: that thread is not in it.
    os.register_at_fork(before=_turn.acquire, after_in_parent=_turn.release, after_in_child=_turn.release)


@contextmanager
def importing() -> Iterator[None]:
    """Be the only thread that imports classes of diffusers, transformers and peft.

    They import each other's modules when a class is first asked for. Two threads that meet there would wait for each
    other, which Python ends by giving one of them a module that is not finished: "cannot import name".
    """
    with _turn:
        yield
