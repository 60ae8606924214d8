"""Running what the form of a page asks: one run or several in sequence, as the values of a `RunView`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.events import Started, Step
from diffatlas.library import Library
from diffatlas.operations.trace import stream
from diffatlas.params import GenerationParams
from diffatlas.settings import is_shared
from diffatlas.ui.asked_words import refuse_server_files
from diffatlas.ui.chosen_model import loading_words
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.sessions import Sessions, Turns
from diffatlas.ui.visitors import visitor_of

log = logging.getLogger("diffatlas")

#: Steps that arrive faster than this many seconds apart travel together: more would not be seen.
FRAME_SECONDS = 0.04


@dataclass(frozen=True)
class Asked:
    """What a form asks: the runs' parameters, what to capture, how many, what becomes of the seed, and whether the
    library may answer."""

    params: GenerationParams
    capture: Capture
    count: int
    seed_mode: str
    reuse: bool


@dataclass(frozen=True)
class Shelf:
    """What a page does with its visitor's runs: told when one has begun, when another follows it, and at the end.

    ``library`` is where they are recorded; ``listed`` returns what the page shows of them at the end of each.
    """

    library: Callable[[str], Library]
    begin: Callable[[str, str, str], None] = lambda visitor, run_id, prompt: None
    keep: Callable[[str, str], None] = lambda visitor, run_id: None
    listed: Callable[[str], list[dict[str, Any]]] = lambda visitor: []


class LiveRuns:
    """The runs of one page. ``sessions`` has the stop signal of each tab."""

    def __init__(self, backend: Any, names: dict[str, str], turns: Turns, shelf: Shelf) -> None:
        self.sessions = Sessions()
        self._backend = backend
        self._names = names
        self._turns = turns
        self._shelf = shelf

    def stream(
        self, prompt: str, model: str, asked: Callable[[], Asked], request: gr.Request
    ) -> Generator[dict[str, Any], None, None]:
        """Run what ``asked()`` says and yield the values to show; it may raise a `DiffAtlasError`, which is shown."""
        stop = self.sessions.begin(request.session_hash)
        visitor = visitor_of(request, request.session_hash)
        view = RunView((prompt or "").strip(), self._names.get(model, model), visitor)
        following = None
        try:
            what = asked()
            if is_shared():
                refuse_server_files(what.params)
            params, count = what.params, what.count
            for number in range(1, count + 1):
                batch = (number, count) if count > 1 else None
                view = RunView(params.prompt, self._names.get(model, model), visitor, batch)
                yield from self._one(view, params, what, stop, visitor)
                if view.status not in ("complete", "stopped"):
                    break
                following = forms.next_seed(what.seed_mode, params.seed)
                if view.status == "stopped":
                    break
                if number < count:
                    self._shelf.keep(visitor, view.run_id)
                    yield view.ended(self._shelf.listed(visitor))
                    params = replace(params, seed=following).validate()
        except DiffAtlasError as error:
            yield view.failed(error)
        except Exception:
            log.exception("The view of a run failed.")
            yield view.failed(BackendFailure("The app could not show this run; its log says why."))
        finally:
            self.sessions.end(request.session_hash, stop, following)

    def _one(
        self, view: RunView, params: GenerationParams, what: Asked, stop: threading.Event, visitor: str
    ) -> Generator[dict[str, Any], None, None]:
        """Wait for a turn, run, and yield what to show."""
        turns = self._turns
        ticket = turns.join()
        events: Generator[Any, None, None] | None = None
        try:
            while (ahead := turns.ahead(ticket)) and not stop.is_set():
                yield view.waiting(ahead)
                turns.wait(1.0)
            yield view.loading("Loading the model…")
            yield view.loading(loading_words(params, self._backend))
            library = self._shelf.library(visitor)
            events = stream(params, what.capture, self._backend, library, stop, what.reuse)
            sent = 0.0
            for event in events:
                if isinstance(event, Started):
                    self._shelf.begin(visitor, event.run_id, params.prompt)
                view.add(event)
                if not isinstance(event, Step) or time.monotonic() - sent >= FRAME_SECONDS:
                    yield view.value()
                    sent = time.monotonic()
            events = None
            yield view.ended(self._shelf.listed(visitor))
        finally:
            if events is None:
                turns.leave(ticket)
            else:
                # The tab was closed. This runs on the server's event loop, so the wait for the step in
                # progress is left to a thread.
                stop.set()
                threading.Thread(target=_close, args=(events, turns, ticket), daemon=True).start()


def _close(events: Generator[Any, None, None], turns: Turns, ticket: int) -> None:
    try:
        events.close()
    except Exception:
        log.exception("A run whose page was closed did not end cleanly.")
    finally:
        turns.leave(ticket)
