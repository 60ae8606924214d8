"""Running a bench: its images are made as those of a study, and judged as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diffatlas.backends.threads import computing_with, number_here
from diffatlas.bench.bench import HAND, Bench
from diffatlas.bench.judging import Judging, Opens, Scored, ScorerChanged
from diffatlas.bench.keep import check_room
from diffatlas.bench.kept import Benches
from diffatlas.bench.scored import open_scorer
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.studies.run import QUEUE_SIZE, CellEnded, Stops, StudyEvent, run_study

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library

BenchEvent = StudyEvent | Scored | ScorerChanged


def run_bench(
    bench: Bench,
    backends: Callable[[str], Backend],
    library: Library,
    capture: Capture | None = None,
    *,
    scorers: Opens = open_scorer,
    stops: Stops | None = None,
    only: Collection[str] | None = None,
    reuse: bool = True,
) -> Generator[BenchEvent, None, None]:
    """Run the cells of a bench, judge each image when it is there, and yield what happens.

    The bench is written as it goes: after a crash `Benches.open` gives it back, and this goes on with what is left.

    backends, capture, stops, only, reuse: as of `diffatlas.studies.run.run_study`.
    scorers: opens those of ``bench.scorers`` by name, each once. One that fails leaves images and other scorers alone.

    The events of the study come as `run_study` has them; between them and after them come `ScorerChanged` and `Scored`.
    A stop ends the judging too: what is not judged then, `judge_bench` judges.

    Raises, at the first event, what `run_study` raises, and after the first image `OverBound` where the library has no
    room for all (`diffatlas.bench.keep.check_room`).
    """
    return _run(bench, backends, library, capture or Capture(), scorers, stops or Stops(), only, reuse)


def judge_bench(
    bench: Bench,
    library: Library,
    only: Sequence[str],
    *,
    scorers: Opens = open_scorer,
    stop: threading.Event | None = None,
    again: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Generator[Scored | ScorerChanged, None, None]:
    """Judge the images that a bench has by the scorers ``only``, whether they were asked for before or not.

    again: whether to judge what has been judged already. options: what the scorers are opened with, besides what they
    judged this bench with before. No image is made. Raises, at the first event, `InvalidParams` for the scorer "hand",
    which is a person.
    """
    if HAND in only:
        raise InvalidParams("By hand a person judges, and no scorer.", field="scorers")
    events: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
    with _Threads(events, stop or threading.Event()) as threads:
        for name in only:
            judging = Judging(bench, name, scorers, library, threads.stop, threads.put, again, options)
            judging.finish()
            threads.start(judging.run)
        yield from threads.events()


def _run(
    bench: Bench,
    backends: Callable[[str], Backend],
    library: Library,
    capture: Capture,
    scorers: Opens,
    stops: Stops,
    only: Collection[str] | None,
    reuse: bool,
) -> Generator[BenchEvent, None, None]:
    benches = Benches(library.folder)
    if not (benches.folder / bench.id).is_dir():
        benches.create(bench)
    if only is not None:
        benches.forget(bench.id, only)
        bench = benches.open(bench.id)
        cells = [replace(one, status="waiting") if one.key in only else one for one in bench.study.cells]
        bench = replace(bench, study=replace(bench.study, cells=tuple(cells)))
    events: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
    with _Threads(events, stops.all) as threads:
        judges = [
            Judging(bench, name, scorers, library, threads.stop, threads.put)
            for name in bench.scorers
            if name != HAND
        ]

        todo = sum(one.status != "complete" for one in bench.study.cells) if only is None else len(only)

        def make() -> None:
            first = True
            try:
                run = run_study(
                    bench.study,
                    backends,
                    library,
                    capture,
                    stops=stops,
                    only=only,
                    reuse=reuse,
                    store=benches,
                )
                with closing(run):
                    for event in run:
                        threads.put(event)
                        if isinstance(event, CellEnded) and event.cell.status == "complete":
                            if first and event.cell.run_id and not event.cell.cached:
                                first = False
                                check_room(library, event.cell.run_id, todo)
                            for judging in judges:
                                judging.add(event.cell)
            finally:
                for judging in judges:
                    judging.finish()

        threads.start(make)
        for judging in judges:
            threads.start(judging.run)
        yield from threads.events()


class _Threads:
    """Threads that put what happens on one queue, and end with the block. What one raises, the reader raises."""

    def __init__(self, events: queue.Queue[Any], stop: threading.Event) -> None:
        self.stop = stop
        self._events = events
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._number = number_here()

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, *_: object) -> None:
        if any(thread.is_alive() for thread in self._threads):
            # The reader has left.
            self.stop.set()
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def put(self, event: Any) -> None:
        """Put what happened; dropped where nobody reads any more."""
        while not self._closed.is_set():
            try:
                self._events.put(event, timeout=0.1)
            except queue.Full:
                continue
            return

    def start(self, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread of its own."""

        def run() -> None:
            end = _Ended()
            try:
                with computing_with(self._number):
                    work()
            except Exception as error:
                end = _Ended(error)
            finally:
                self.put(end)

        # A backend may go by who asks, which the caller's context says.
        target = copy_context().run
        thread = threading.Thread(target=target, args=(run,), name="diffatlas-bench", daemon=True)
        self._threads.append(thread)
        thread.start()

    def events(self) -> Generator[Any, None, None]:
        """Yield what the threads put, until all have ended."""
        left = len(self._threads)
        while left:
            event = self._events.get()
            if not isinstance(event, _Ended):
                yield event
                continue
            left -= 1
            if event.error is not None:
                raise event.error


class _Ended:
    """A thread is at its end; with what it raised, if anything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
