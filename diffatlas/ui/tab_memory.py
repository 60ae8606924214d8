"""What Gradio remembers of each tab, kept small: it would keep a copy of the whole page for each of 10,000 tabs.

The copy (the configuration of every component, with the last value that each was given: whole runs with their
pictures) is there for links that restore a page, which this app has not; it is about half a megabyte a tab, and it is
kept after the tab was closed. Here a tab has what its components hold for it (``gr.State``), and nothing else.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading
import time
from collections import ChainMap
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol
from weakref import WeakSet

import gradio as gr
from gradio.blocks import BlocksConfig
from gradio.state_holder import SessionState, StateHolder

from diffatlas.ui.gone import last_asked

log = logging.getLogger("diffatlas")

#: Seconds after which a closed tab is forgotten (it may only have lost its connection), and one that was never said to
#: be closed and has asked nothing: a script, which keeps no connection open.
CLOSED, SILENT = 120.0, 1800.0
#: Seconds between two looks, at each of which memory that is free is given back.
EVERY = 20.0
#: Seconds without a question of any page after which what can be read again is let go of.
QUIET = 180.0
#: Tabs that are remembered, the longest silent go first.
MOST = 2000

_kept: WeakSet[Any] = WeakSet()
#: When that was let go of last, by `time.monotonic`.
_emptied = [0.0]
_lock = threading.Lock()


class SlimTab(SessionState):
    """The state of a tab, without a copy of the page."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks_config = _overlay(blocks.default_config)
        self.config_values: dict[int, Any] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 3600

    def __setitem__(self, key: int, value: Any) -> None:
        """See `SessionState`."""
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


def _overlay(page: BlocksConfig) -> BlocksConfig:
    """Return a tab's own view of the page: what it changes is its own, and all else is shared and not copied."""
    own = BlocksConfig(page.root_block)
    # Gradio copies both dicts: several hundred entries.
    own.blocks = ChainMap({}, page.blocks)
    own.fns, own.fn_id = page.fns, page.fn_id
    return own


class Tabs(StateHolder):
    """The states of the tabs. ``forget`` drops those that nobody comes back to."""

    def __getitem__(self, session_id: str) -> SessionState:
        """See `StateHolder`."""
        if session_id not in self.session_data:
            self.session_data[session_id] = SlimTab(self.blocks)
        return super().__getitem__(session_id)

    def forget(self) -> int:
        """Drop the tabs that are closed, or have been silent for long; return how many."""
        now, gone = datetime.now(), 0
        for tab, state in list(self.session_data.items()):
            quiet = now - self.time_last_used.get(tab, now)
            if quiet > timedelta(seconds=CLOSED if state.is_closed else SILENT):
                with self.lock:
                    self.session_data.pop(tab, None)
                    self.time_last_used.pop(tab, None)
                    # What was still to be sent to it.
                    queue = getattr(self.blocks, "_queue", None)
                    if queue is not None and not queue.pending_event_ids_session.get(tab):
                        queue.pending_messages_per_session.pop(tab, None)
                        queue.pending_event_ids_session.pop(tab, None)
                gone += 1
        return gone


def slim(app: gr.Blocks) -> Tabs:
    """Let a served app keep little of its tabs from now on, and return what it keeps."""
    tabs = Tabs()
    app.state_session_capacity = MOST
    tabs.set_blocks(app)
    app.app.state_holder = tabs
    return tabs


class Keeps(Protocol):
    """What keeps things that can be had again."""

    def empty(self) -> None:
        """Let go of them."""
        ...


def empty_when_quiet(*keeps: Keeps) -> None:
    """Let these be emptied where no page has asked anything for `QUIET` seconds."""
    for each in keeps:
        _kept.add(each)


def keep_small(app: gr.Blocks) -> None:
    """Begin to keep little of an app's tabs, and to give memory back that is free, for as long as it is served."""
    tabs, trim = slim(app), trimmer()

    def tidy() -> None:
        while app.is_running:
            time.sleep(EVERY)
            try:
                tabs.forget()
                if _is_quiet():
                    for each in list(_kept):
                        each.empty()
                    # It stops all threads for a moment, which nobody is there to see.
                    gc.collect()
                trim()
            except Exception:
                log.exception("The memory of closed tabs could not be freed.")

    threading.Thread(target=tidy, name="diffatlas-tidy", daemon=True).start()


def _is_quiet() -> bool:
    """Whether no page of any app has asked for `QUIET` seconds: said once, until somebody asks again."""
    with _lock:
        if last_asked[0] <= _emptied[0] or time.monotonic() - last_asked[0] <= QUIET:
            return False
        _emptied[0] = time.monotonic()
        return True


def trimmer() -> Callable[[], None]:
    """Return what gives the allocator's free memory back to the system, where it would keep it: with glibc."""
    if sys.platform != "linux":
        return lambda: None
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(0)
