"""Running benches for the page: as studies run, and judged as the images come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from typing import Any

from diffatlas.backends.bounds import Bounds, bounds_here
from diffatlas.backends.listed import refuse_server_files
from diffatlas.bench.bench import HAND, Bench
from diffatlas.bench.judging import Scored
from diffatlas.bench.kept import Benches
from diffatlas.bench.running import judge_bench, run_bench
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.library import Library
from diffatlas.studies.run import CellBegan, CellEnded, CellStep, Stops
from diffatlas.ui import elsewhere
from diffatlas.ui.components.bench_form import to_scorers
from diffatlas.ui.components.bench_view import BenchView
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.workshop.rules import check_run

log = logging.getLogger("diffatlas")


class BenchRunner(StudyRunner):
    """Runs the benches of the page, and judges what they made."""

    #: Many of these come in a moment.
    frequent = (CellStep, CellBegan, CellEnded, Scored)

    def __init__(self, libraries: Libraries, turns: Turns, running: Running, live: LiveBenches) -> None:
        super().__init__(libraries, turns, running)
        self._live = live

    def run_bench(
        self, visitor: str, session: str, asked: Callable[[Library], tuple[Bench, Capture]], reuse: bool
    ) -> Generator[dict[str, Any], None, None]:
        """Run what ``asked(library)`` plans, and yield the values to show.

        ``asked`` may raise a `DiffAtlasError`, which is shown at its field.
        """
        view = BenchView()
        bounds: Bounds | None = bounds_here()
        confirmed = self.sessions.confirmed(session)
        if confirmed and not bounds.shared:
            bounds = None
        try:
            library = self._libraries.of(visitor)
            bench, capture = asked(library)
            self._libraries.check_bench(visitor)
            self._check(bench)
        except DiffAtlasError as error:
            yield view.failed(error)
            return
        spec = {**bench.study.spec, "capture": capture.to_dict()}
        bench = replace(bench, study=replace(bench.study, spec=spec))
        view = BenchView(bench, "loading", begun=False)
        yield from self._go(view, visitor, session, bench, capture, None, reuse, bounds, confirmed)

    def resume(
        self, visitor: str, session: str, bench_id: Any, cells: Collection[str]
    ) -> Generator[dict[str, Any], None, None]:
        """Run cells of a stored bench, with what was captured then."""
        view = BenchView()
        try:
            bench = Benches(self._libraries.of(visitor).folder).open(str(bench_id))
            self._libraries.check_room(visitor)
            capture = Capture.from_dict(bench.study.spec.get("capture") or {})
            self._check(bench)
        except DiffAtlasError as error:
            yield view.failed(error)
            return
        view = BenchView(bench, "loading")
        # Who may confirm has done so when these cells were asked for first.
        bounds = bounds_here()
        asks = bounds if bounds.shared else None
        yield from self._go(view, visitor, session, bench, capture, set(cells), True, asks, True)

    def judge(
        self, visitor: str, session: str, bench_id: Any, scorers: Sequence[str], again: bool
    ) -> Generator[dict[str, Any], None, None]:
        """Have scorers judge the images that a bench has, and yield the values to show."""
        view = BenchView()
        stops = Stops(self.sessions.begin(session))
        library = self._libraries.of(visitor)
        begun = False
        events: Generator[Any, None, None] | None = None
        try:
            bench = Benches(library.folder).open(str(bench_id))
            names = to_scorers(scorers)
            if HAND in names:
                raise InvalidParams("By hand a person judges: mark the cards.", field="scorers")
            view = BenchView(bench, "running", judges=names)
            self._running.begin(visitor, bench.id, stops)
            begun = True
            yield view.value()
            events = judge_bench(bench, library, names, stop=stops.all, again=again)
            yield from self._frames(view, events)
            events = None
            yield view.ended("stopped" if stops.all.is_set() else bench.study.status)
        except DiffAtlasError as error:
            yield view.failed(error)
        except Exception:
            log.exception("Judging a bench failed.")
            yield view.failed(BackendFailure("The app could not judge this bench; its log says why."))
        finally:
            if events is not None and begun:
                # The tab was closed, and the wait for the scorers is left to a thread.
                stops.all.set()
                ending = (events, visitor, str(bench_id))
                threading.Thread(target=self._close, args=ending, daemon=True).start()
            elif begun:
                self._running.end(visitor, str(bench_id))
            self.sessions.end(session, stops.all, None)

    def _go(
        self,
        view: BenchView,
        visitor: str,
        session: str,
        bench: Bench,
        capture: Capture,
        only: Collection[str] | None,
        reuse: bool,
        bounds: Bounds | None,
        confirmed: bool,
    ) -> Generator[dict[str, Any], None, None]:
        def events(opened: Any, library: Library, stops: Stops) -> Any:
            return run_bench(bench, opened, library, capture, stops=stops, only=only, reuse=reuse)

        self._live.begin(visitor, bench.id, view.cells)
        try:
            yield from self._follow(
                view, visitor, session, bench.study, capture, only, reuse, bounds, confirmed, events
            )
        finally:
            self._live.end(visitor, bench.id)

    def _check(self, bench: Bench) -> None:
        """Raise `InvalidParams` for a bench that this server does not run.

        It names files of a server that strangers share, or its workshop does not allow it. All cells of a lane ask for
        the same but for prompt and seed.
        """
        for lane in bench.study.lanes:
            params = bench.study.in_lane(lane.key)[0].params
            if self._libraries.shared:
                elsewhere.learn_models(lane.backend)
                refuse_server_files(params, lane.backend)
            check_run(params, lane.backend)
