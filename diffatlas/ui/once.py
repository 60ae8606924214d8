"""One run of a page at a time in each tab: Run is of no use while one runs, and is never lost once one has ended.

Gradio can ignore a click while an event of the same kind is under way, but the page shows that a run has ended a moment
before Gradio's event is over, and a click in between would be lost.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

#: Seconds after its beginning in which a second click is a double click.
DOUBLE = 0.8
#: Seconds for which a click waits for the end of the run before it.
PATIENCE = 2.0
#: What the page's own requests say of themselves; those of programs say "api", or nothing.
_USER = "x-gradio-user"


def once_a_tab(run: Callable[..., Generator[Any, None, None]]) -> Callable[..., Generator[Any, None, None]]:
    """Return ``run`` as Run calls it: while it runs for the same tab nothing happens, but in its last moments it waits.

    Programs are let through, as often as they ask.
    """
    running: dict[str, float] = {}  # tab -> when its run began
    ended = threading.Condition()

    def begin(tab: str) -> bool:
        with ended:
            began = running.get(tab)
            if began is not None and time.monotonic() - began > DOUBLE:
                ended.wait_for(lambda: tab not in running, PATIENCE)
            if tab in running:
                return False
            running[tab] = time.monotonic()
            return True

    @functools.wraps(run)
    def once(*values: Any) -> Generator[Any, None, None]:
        tab = _tab(next((value for value in values if isinstance(value, gr.Request)), None))
        if not tab:
            yield from run(*values)
            return
        if not begin(tab):
            yield gr.skip()
            return
        try:
            yield from run(*values)
        finally:
            with ended:
                running.pop(tab, None)
                ended.notify_all()

    return once


def _tab(request: gr.Request | None) -> str:
    """Return the tab whose page asks; "" for a program."""
    if request is None or request.headers.get(_USER) != "app":
        return ""
    return request.session_hash or ""
