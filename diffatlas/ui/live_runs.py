"""Running what the form of a page asks: one run or several in sequence, as the values of a `RunView`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from diffatlas.backends.bounds import BoundedBackend, Bounds, bounds_here
from diffatlas.backends.listed import refuse_server_files
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError, OverBound, PaidImages
from diffatlas.events import Started, Step
from diffatlas.library import Library
from diffatlas.operations.cache import lookup
from diffatlas.operations.expected import expected
from diffatlas.operations.paid import check_confirmed, paid_of
from diffatlas.operations.trace import stream
from diffatlas.params import GenerationParams
from diffatlas.settings import is_shared
from diffatlas.ui import elsewhere
from diffatlas.ui.chosen_model import loading_words
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.growing_runs import GrowingRuns
from diffatlas.ui.places import LOCAL, called, place_name, sees_inside
from diffatlas.ui.sessions import Sessions
from diffatlas.ui.turned import TurnedBackend, seconds_of
from diffatlas.ui.turns import Ticket, Turns
from diffatlas.ui.visitor_keys import backend_for
from diffatlas.ui.visitors import visitor_of
from diffatlas.ui.workshop.rules import check_run, is_allowed

log = logging.getLogger("diffatlas")

#: How to confirm what is paid for, to end the sentence that asks.
PAY_OR_LESS = "press “Run all the same” in the form to pay for them, or ask for fewer"
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
    #: Where it runs.
    backend: str = LOCAL


@dataclass(frozen=True)
class Shelf:
    """What a page does with its visitor's runs: told when one has begun, when another follows it, and at the end.

    ``library`` is where they are recorded; ``listed`` returns what the page shows of them at the end of each; ``room``
    raises `TooMuch` where the visitor keeps all that one may. ``prepared`` may put a run that was made ahead into the
    library, where it is asked for.
    """

    library: Callable[[str], Library]
    begin: Callable[[str, str, str], None] = lambda visitor, run_id, prompt: None
    keep: Callable[[str, str], None] = lambda visitor, run_id: None
    listed: Callable[[str], list[dict[str, Any]]] = lambda visitor: []
    room: Callable[[str], None] = lambda visitor: None
    prepared: Callable[[Library, GenerationParams, Capture], None] = lambda library, params, capture: None


class LiveRuns:
    """The runs of one page. ``sessions`` has the stop signal of each tab."""

    def __init__(self, backend: Any, names: dict[str, str], turns: Turns, shelf: Shelf) -> None:
        self.sessions = Sessions()
        self.growing = GrowingRuns(turns.by_visitor)
        self._backend = backend
        self._names = names
        self._turns = turns
        self._shelf = shelf

    def stream(
        self, prompt: str, model: str, asked: Callable[[], Asked], request: gr.Request
    ) -> Generator[dict[str, Any], None, None]:
        """Run what ``asked()`` says and yield the values to show; it may raise a `DiffAtlasError`, which is shown."""
        sent = 0.0
        with closing(self._moments(prompt, model, asked, request)) as moments:
            for view, pressing in moments:
                if pressing or time.monotonic() - sent >= FRAME_SECONDS:
                    yield view.value()
                    sent = time.monotonic()

    def follow(
        self, prompt: str, model: str, asked: Callable[[], Asked], request: gr.Request
    ) -> Generator[dict[str, Any], None, None]:
        """The same for a page that asks ``growing`` for what is new to it: yield what begins, and what has ended.

        Each yield costs the page more than a step does.
        """
        view = None
        try:
            with closing(self._moments(prompt, model, asked, request)) as moments:
                for now, _ in moments:
                    self.growing.grown(now)
                    begins, view = now is not view, now
                    if begins:
                        yield now.brief()
            if view is not None:
                yield view.brief()
        except GeneratorExit:
            # The tab was closed.
            if view is not None:
                self.growing.forget(view)
            raise

    def _moments(
        self, prompt: str, model: str, asked: Callable[[], Asked], request: gr.Request
    ) -> Generator[tuple[RunView, bool], None, None]:
        """Run, and yield each view whenever it has something to show, and whether that is more than another step."""
        stop = self.sessions.begin(request.session_hash)
        who = self._turns.who(visitor_of(request, request.session_hash) or "", request.session_hash)
        visitor = visitor_of(request, request.session_hash)
        view = RunView(str(prompt or "").strip(), self._names.get(str(model), str(model)), visitor)
        seeds = None
        bounds = bounds_here()
        sure = self.sessions.confirmed(request.session_hash)
        confirmed = sure and not bounds.shared
        try:
            what = asked()
            if what.backend != LOCAL:
                view.loading(f"Asking {place_name(what.backend)}…")
                yield view, True
            if is_shared():
                elsewhere.learn_models(what.backend)
                refuse_server_files(what.params, what.backend)
            check_run(what.params, what.backend)
            self._shelf.room(visitor)
            params, count = what.params, what.count
            there = self._there_of(what, visitor, request.session_hash)
            if there is not None and not sure:
                self._check_paid(there, what, visitor)
            for number in range(1, count + 1):
                batch = (number, count) if count > 1 else None
                view = RunView(params.prompt, self._name(what), visitor, batch)
                ask = None if confirmed or number > 1 else bounds
                if there is not None:
                    moments = self._there(view, params, what, stop, visitor, there)
                elif self._is_kept(params, what, visitor):
                    moments = self._kept(view, params, what, stop, visitor, who)
                else:
                    ticket = self._ask(who, params, what, number)
                    moments = self._here(view, params, what, stop, visitor, ask, bounds.shared, ticket)
                for pressing in moments:
                    yield view, pressing
                if view.status not in ("complete", "stopped"):
                    break
                following = forms.next_seed(what.seed_mode, params.seed)
                seeds = (what.params.seed, following)
                if view.status == "stopped":
                    break
                if number < count:
                    self._shelf.keep(visitor, view.run_id)
                    view.ended(self._shelf.listed(visitor))
                    yield view, True
                    params = replace(params, seed=following).validate()
        except DiffAtlasError as error:
            if isinstance(error, OverBound):
                asks = error.asked if isinstance(error, PaidImages) else ""
                question = asks and f"This asks for {asks}. Run it all the same?"
                self.sessions.refuse(request.session_hash, question)
            view.failed(error)
            yield view, True
        except Exception:
            log.exception("The view of a run failed.")
            view.failed(BackendFailure("The app could not show this run; its log says why."))
            yield view, True
        finally:
            self.sessions.end(request.session_hash, stop, seeds)

    def _ask(self, who: str, params: GenerationParams, what: Asked, number: int) -> Ticket:
        """Ask for a turn for the run of this number. Raises `TooMuch` where too many wait."""
        seconds = seconds_of(self._backend, [params], what.capture)
        return self._turns.join(who, seconds, begun=number > 1)

    def _name(self, what: Asked) -> str:
        """Return what the model is called that is asked for."""
        model = what.params.model
        return self._names.get(model, model) if what.backend == LOCAL else called(what.backend, model)

    def _there_of(self, what: Asked, visitor: str, session: str | None) -> Any:
        """Return the backend elsewhere, or of a provider, that is asked for; None for this machine.

        Raises `KeyRefused`, and `InvalidParams` for one that is not offered.
        """
        return None if what.backend == LOCAL else backend_for(visitor, session, what.backend)

    def _is_kept(self, params: GenerationParams, what: Asked, visitor: str) -> bool:
        """Whether the visitor's library has a run already, or is given one that was prepared."""
        if not what.reuse:
            return False
        library = self._shelf.library(visitor)
        self._shelf.prepared(library, params, what.capture)
        return lookup(library, self._backend, params, what.capture) is not None

    def _kept(
        self,
        view: RunView,
        params: GenerationParams,
        what: Asked,
        stop: threading.Event,
        visitor: str,
        who: str,
    ) -> Generator[bool, None, None]:
        """Show a run that the library has, for which nobody has to wait; yields as `_here`."""
        view.loading("Reading it from the library…")
        yield True
        bounds = bounds_here()
        backend = BoundedBackend(self._backend, bounds) if bounds.shared else self._backend
        # Were it to vanish in this moment, its run would take a turn as any does.
        turned = TurnedBackend(backend, self._turns, who)
        events = stream(params, what.capture, turned, self._shelf.library(visitor), stop)
        with closing(events):
            yield from self._shown(view, events, params, visitor)

    def _there(
        self,
        view: RunView,
        params: GenerationParams,
        what: Asked,
        stop: threading.Event,
        visitor: str,
        backend: Any,
    ) -> Generator[bool, None, None]:
        """Run elsewhere or at a provider, as `_here` does on this machine: it takes no turn, and no bounds of here."""
        view.loading(f"Asking {place_name(what.backend)}…")
        yield True
        library = self._shelf.library(visitor)
        events: Generator[Any, None, None] | None = None
        counting = elsewhere.counted() if sees_inside(what.backend) else nullcontext()
        try:
            events = stream(params, what.capture, backend, library, stop, what.reuse)
            with counting:
                yield from self._shown(view, events, params, visitor)
            events = None
        finally:
            if events is not None:
                # The tab was closed; to end the request there takes a moment.
                stop.set()
                threading.Thread(target=_close, args=(events,), daemon=True).start()

    def _here(
        self,
        view: RunView,
        params: GenerationParams,
        what: Asked,
        stop: threading.Event,
        visitor: str,
        bounds: Bounds | None,
        shared: bool,
        ticket: Ticket,
    ) -> Generator[bool, None, None]:
        """Wait for a turn, run on this machine, and yield whenever there is something to show.

        It yields True where that is more than a step.

        bounds: what it may be expected to take; None where it was confirmed. Raises `OverBound`.
        """
        turns = self._turns
        events: Generator[Any, None, None] | None = None
        try:
            for place in turns.waiting(ticket, stop.is_set):
                view.waiting(place)
                yield True
            view.loading("Loading the model…")
            yield True
            view.loading(loading_words(params, self._backend))
            yield True
            library = self._shelf.library(visitor)
            if bounds is not None and not stop.is_set():
                self._check(bounds, params, what, library, stop)
            backend = BoundedBackend(self._backend, bounds_here()) if shared else self._backend
            events = stream(params, what.capture, backend, library, stop, what.reuse)
            yield from self._shown(view, events, params, visitor)
            events = None
        finally:
            if events is None:
                turns.leave(ticket)
            else:
                # The tab was closed. This runs on the server's event loop, so the wait for the step in
                # progress is left to a thread.
                stop.set()
                ending = events, partial(turns.leave, ticket)
                threading.Thread(target=_close, args=ending, daemon=True).start()

    def _shown(
        self, view: RunView, events: Generator[Any, None, None], params: GenerationParams, visitor: str
    ) -> Generator[bool, None, None]:
        """Show the events of a run as they come; yield True where there is more to show than a step."""
        for event in events:
            if isinstance(event, Started):
                self._shelf.begin(visitor, event.run_id, params.prompt)
            view.add(event)
            yield not isinstance(event, Step)
        view.ended(self._shelf.listed(visitor))
        yield True

    def _check_paid(self, backend: Any, what: Asked, visitor: str) -> None:
        """Raise `PaidImages` for runs that are to be confirmed before they are paid for."""
        library = self._shelf.library(visitor) if what.reuse else None
        runs = [what.params] * what.count
        check_confirmed(paid_of(backend, runs, what.capture, library), PAY_OR_LESS)

    def _check(
        self, bounds: Bounds, params: GenerationParams, what: Asked, library: Library, stop: threading.Event
    ) -> None:
        """Raise `OverBound` for runs that are expected to take more than they may."""
        if what.count == 1 and is_allowed(params):
            return
        runs = [params] * what.count
        estimate = expected(self._backend, runs, what.capture, library if what.reuse else None, stop, bounds)
        if estimate is not None:
            bounds.check(
                replace(estimate, seconds=estimate.seconds / what.count, alone=estimate.work / what.count)
            )
            bounds.in_parts().check(estimate, field="runs")


def _close(events: Generator[Any, None, None], after: Callable[[], None] = lambda: None) -> None:
    try:
        events.close()
    except Exception:
        log.exception("A run whose page was closed did not end cleanly.")
    finally:
        after()
