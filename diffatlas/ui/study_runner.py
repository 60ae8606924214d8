"""Running studies for the pages: events into values, one study per tab, each cell in its turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import replace
from typing import Any

from diffatlas.backends.bounds import BoundedBackend, Bounds, bounds_here
from diffatlas.backends.listed import refuse_server_files
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError, OverBound, PaidImages
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.operations.expected import expected_of_study
from diffatlas.operations.paid import check_confirmed
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.studies.paid import paid_of_study
from diffatlas.studies.run import CellEnded, CellStep, Stops, run_study
from diffatlas.ui import elsewhere
from diffatlas.ui.chosen_model import loading_words
from diffatlas.ui.components.study_form import chosen_lanes
from diffatlas.ui.components.study_view import StudyView, stored_value
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_runs import PAY_OR_LESS
from diffatlas.ui.sessions import Sessions
from diffatlas.ui.study_services import Running, images_of, prompts_of
from diffatlas.ui.turned import Held, TurnedBackend, seconds_of
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitor_keys import backend_for
from diffatlas.ui.workshop.rules import check_runs

log = logging.getLogger("diffatlas")

#: What arrives faster than this many seconds apart travels together.
FRAME_SECONDS = 0.1


class StudyRunner:
    """Runs the studies of one page. ``sessions`` has the stop signal of each tab."""

    #: Events that travel together where they come faster than frames: more would not be seen.
    frequent: tuple[type, ...] = (CellStep,)

    def __init__(self, libraries: Libraries, turns: Turns, running: Running) -> None:
        self.sessions = Sessions()
        self._libraries = libraries
        self._turns = turns
        self._running = running

    def run(
        self, visitor: str, session: str, asked: Callable[[], tuple[Study, Capture]], reuse: bool
    ) -> Generator[dict[str, Any], None, int | None]:
        """Run what ``asked()`` plans, and yield the values to show; return the seed that ran, if any did.

        ``asked`` may raise a `DiffAtlasError`, which is shown at its field.
        """
        view = StudyView(visitor)
        bounds: Bounds | None = bounds_here()
        confirmed = self.sessions.confirmed(session)
        if confirmed and not bounds.shared:
            bounds = None
        try:
            study, capture = asked()
            self._libraries.check_study(visitor)
            self._check_asked(study)
        except DiffAtlasError as error:
            yield view.failed(error)
            return None
        study = replace(study, spec={**study.spec, "capture": capture.to_dict()})
        yield from self._follow(view, visitor, session, study, capture, None, reuse, bounds, confirmed)
        return study.cells[0].params.seed

    def retry(
        self, visitor: str, session: str, study_id: Any, cells: Collection[str]
    ) -> Generator[dict[str, Any], None, None]:
        """Run cells of a stored study again, with what was captured then."""
        library = self._libraries.of(visitor)
        view = StudyView(visitor)
        try:
            study = library.studies.open(str(study_id))
            images, prompts = images_of(study, library), prompts_of(study, library)
            view = StudyView(visitor, stored_value(study, images, prompts, visitor))
            self._libraries.check_room(visitor)
            capture = Capture.from_dict(study.spec.get("capture") or {})
            self._check_asked(study)
        except DiffAtlasError as error:
            yield view.failed(error)
            return
        # Who may confirm has done so when these cells ran first.
        bounds = bounds_here()
        asks = bounds if bounds.shared else None
        yield from self._follow(view, visitor, session, study, capture, set(cells), True, asks, True)

    def spec_of(self, visitor: str, study_id: Any) -> dict[str, Any] | None:
        """Return what a stored study asked, with its backend and the choices of its further lanes.

        None where it cannot be read.
        """
        try:
            study = self._libraries.of(visitor).studies.open(str(study_id))
        except DiffAtlasError:
            return None  # the page has said why already
        return {**study.spec, "backend": study.lanes[0].backend, "lanes": chosen_lanes(study.lanes)}

    def _check_asked(self, study: Study) -> None:
        """Raise `InvalidParams` for a study that this server does not run."""
        if self._libraries.shared:
            refuse_files_of(study)
        where = {lane.key: lane.backend for lane in study.lanes}
        check_runs((cell.params, where[cell.lane]) for cell in study.cells)

    def _follow(
        self,
        view: Any,
        visitor: str,
        session: str,
        study: Study,
        capture: Capture,
        only: Collection[str] | None,
        reuse: bool,
        bounds: Bounds | None,
        confirmed: bool,
        run: Callable[[Any, Library, Stops], Generator[Any, None, None]] | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Run a study and yield the values to show.

        confirmed: whether the visitor has said that all of it is to be paid for. run: what runs the study,
        given backends, library and stops.
        """
        stops = Stops(self.sessions.begin(session))
        who = self._turns.who(visitor, session)
        held: Held | None = None
        events: Generator[Any, None, None] | None = None
        begun = False

        def opened(name: str) -> Any:
            if name == "local":
                return self._backend(who, held)
            return backend_for(visitor, session, name)

        try:
            self._running.begin(visitor, study.id, stops)
            begun = True
            library = self._libraries.of(visitor)
            served_by = library if reuse else None
            if not confirmed:
                check_confirmed(paid_of_study(opened, study, capture, served_by, only), PAY_OR_LESS)
            here = _first_here(study, only)
            if here is not None:
                seconds = seconds_of(shared_local_backend(), [here], capture)
                held = yield from self._wait(view, stops, who, seconds)
                yield view.loading("Loading the model…")
                yield view.loading(loading_words(here, shared_local_backend()))
            if bounds is not None and not stops.all.is_set():
                local = shared_local_backend()
                bounds = bounds.in_parts()
                bounds.check(expected_of_study(local, study, capture, served_by, stops.all, only, bounds))
            if run is not None:
                events = run(opened, library, stops)
            else:
                events = run_study(study, opened, library, capture, stops=stops, only=only, reuse=reuse)
            yield from self._frames(view, events, held)
            events = None
        except DiffAtlasError as error:
            if isinstance(error, OverBound):
                asked = error.asked if isinstance(error, PaidImages) else ""
                self.sessions.refuse(session, asked and f"This asks for {asked}. Run it all the same?")
            yield view.failed(error)
        except Exception:
            log.exception("The view of a study failed.")
            yield view.failed(BackendFailure("The app could not show this study; its log says why."))
        finally:
            if held is not None:
                held.give_up()
            if events is not None:
                # The tab was closed. This runs on the server's event loop, so the wait for the step in
                # progress is left to a thread.
                stops.all.set()
                threading.Thread(target=self._close, args=(events, visitor, study.id), daemon=True).start()
            elif begun:
                self._running.end(visitor, study.id)
            self.sessions.end(session, stops.all, None)

    def _frames(
        self, view: Any, events: Generator[Any, None, None], held: Held | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Take in events and yield the values to show, not more of them than can be seen."""
        sent = 0.0
        for event in events:
            view.add(event)
            if held is not None and isinstance(event, CellEnded):
                # A cell that the library has, or another backend runs, needs no turn here.
                held.give_up()
            if not isinstance(event, self.frequent) or time.monotonic() - sent >= FRAME_SECONDS:
                yield view.value()
                sent = time.monotonic()
        yield view.value()

    def _wait(
        self, view: Any, stops: Stops, who: str, seconds: float | None
    ) -> Generator[dict[str, Any], None, Held]:
        """Wait for a turn, and return it for the first cell that runs here. Each one after it takes its own."""
        held = Held(self._turns, ticket := self._turns.join(who, seconds))
        try:
            for place in self._turns.waiting(ticket, stops.all.is_set):
                yield view.waiting(place)
        except BaseException:
            held.give_up()
            raise
        return held

    def _backend(self, who: str, held: Held | None) -> Any:
        backend, bounds = shared_local_backend(), bounds_here()
        bounded = BoundedBackend(backend, bounds) if bounds.shared else backend
        return TurnedBackend(bounded, self._turns, who, held)

    def _close(self, events: Generator[Any, None, None], visitor: str, study_id: str) -> None:
        try:
            events.close()
        except Exception:
            log.exception("A study whose page was closed did not end cleanly.")
        finally:
            self._running.end(visitor, study_id)


def refuse_files_of(study: Study) -> None:
    """Raise `InvalidParams` for a study of a shared server's visitor that names what is on the server."""
    where = {lane.key: lane.backend for lane in study.lanes}
    for backend in where.values():
        elsewhere.learn_models(backend)
    for cell in study.cells:
        refuse_server_files(cell.params, where[cell.lane])


def _first_here(study: Study, only: Collection[str] | None) -> GenerationParams | None:
    """Return the request of the first cell that is to run on this machine; None where none is."""
    here = {lane.key for lane in study.lanes if lane.backend == "local"}
    for cell in study.cells:
        chosen = cell.status != "complete" if only is None else cell.key in only
        if chosen and cell.lane in here:
            return cell.params
    return None
