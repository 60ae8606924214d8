"""Running studies for the pages: events into values, one study per tab, each cell in its turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Generator
from dataclasses import replace
from typing import Any

from diffatlas.backends import open_backend
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError
from diffatlas.library.study import Study
from diffatlas.operations.study import CellStep, Stops, StudyEvent, run_study
from diffatlas.operations.trace import shared_local_backend
from diffatlas.ui.asked_words import refuse_server_files
from diffatlas.ui.chosen_model import loading_words
from diffatlas.ui.components.study_view import StudyView, stored_value
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.sessions import Sessions, Turns
from diffatlas.ui.study_services import Running, images_of, prompts_of
from diffatlas.ui.turned import TurnedBackend

log = logging.getLogger("diffatlas")

#: Steps that arrive faster than this many seconds apart travel together: more would not be seen.
FRAME_SECONDS = 0.1


class StudyRunner:
    """Runs the studies of one page. ``sessions`` has the stop signal of each tab."""

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
        try:
            study, capture = asked()
            if self._libraries.shared:
                for cell in study.cells:
                    refuse_server_files(cell.params)
        except DiffAtlasError as error:
            yield view.failed(error)
            return None
        study = replace(study, spec={**study.spec, "capture": capture.to_dict()})
        yield from self._follow(view, visitor, session, study, capture, None, reuse)
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
            capture = Capture.from_dict(study.spec.get("capture") or {})
            if self._libraries.shared:
                for cell in study.cells:
                    refuse_server_files(cell.params)
        except DiffAtlasError as error:
            yield view.failed(error)
            return
        yield from self._follow(view, visitor, session, study, capture, set(cells), True)

    def spec_of(self, visitor: str, study_id: Any) -> dict[str, Any] | None:
        """Return what a stored study asked, with what each further lane changes; None where it cannot be read."""
        try:
            study = self._libraries.of(visitor).studies.open(str(study_id))
        except DiffAtlasError:
            return None  # the page has said why already
        return {**study.spec, "lanes": [dict(lane.changes) for lane in study.lanes[1:]]}

    def _follow(
        self,
        view: StudyView,
        visitor: str,
        session: str,
        study: Study,
        capture: Capture,
        only: Collection[str] | None,
        reuse: bool,
    ) -> Generator[dict[str, Any], None, None]:
        stops = Stops(self.sessions.begin(session))
        events: Generator[StudyEvent, None, None] | None = None
        begun = False
        try:
            self._running.begin(visitor, study.id, stops)
            begun = True
            yield from self._wait(view, stops)
            yield view.loading("Loading the model…")
            yield view.loading(loading_words(study.cells[0].params, self._backend))
            library = self._libraries.of(visitor)
            events = run_study(study, self._backend, library, capture, stops=stops, only=only, reuse=reuse)
            sent = 0.0
            for event in events:
                view.add(event)
                if not isinstance(event, CellStep) or time.monotonic() - sent >= FRAME_SECONDS:
                    yield view.value()
                    sent = time.monotonic()
            events = None
            yield view.value()
        except DiffAtlasError as error:
            yield view.failed(error)
        except Exception:
            log.exception("The view of a study failed.")
            yield view.failed(BackendFailure("The app could not show this study; its log says why."))
        finally:
            if events is not None:
                # The tab was closed. This runs on the server's event loop, so the wait for the step in
                # progress is left to a thread.
                stops.all.set()
                threading.Thread(target=self._close, args=(events, visitor, study.id), daemon=True).start()
            elif begun:
                self._running.end(visitor, study.id)
            self.sessions.end(session, stops.all, None)

    def _wait(self, view: StudyView, stops: Stops) -> Generator[dict[str, Any], None, None]:
        """Wait once, so that it is seen how many come first; each cell takes a turn of its own after that."""
        ticket = self._turns.join()
        try:
            while (ahead := self._turns.ahead(ticket)) and not stops.all.is_set():
                yield view.waiting(ahead)
                self._turns.wait(1.0)
        finally:
            self._turns.leave(ticket)

    def _backend(self, name: str) -> Any:
        if name == "local":
            return TurnedBackend(shared_local_backend(), self._turns)
        return open_backend(name)

    def _close(self, events: Generator[StudyEvent, None, None], visitor: str, study_id: str) -> None:
        try:
            events.close()
        except Exception:
            log.exception("A study whose page was closed did not end cleanly.")
        finally:
            self._running.end(visitor, study_id)
