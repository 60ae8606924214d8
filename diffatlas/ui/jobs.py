"""Work that takes longer than an answer may: done in a thread, asked about until it is over."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams

log = logging.getLogger("diffatlas")

#: Jobs that are remembered; the oldest go first.
REMEMBERED = 200
#: Jobs of one visitor at a time.
AT_ONCE = 2

Progress = Callable[..., None]


@dataclass
class Job:
    """One piece of work and how far it has come."""

    visitor: str
    state: dict[str, Any] = field(default_factory=lambda: dict(IDLE))
    stop: threading.Event = field(default_factory=threading.Event)


IDLE: dict[str, Any] = {"done": False, "progress": None, "message": "", "result": None, "error": None}


class Jobs:
    """The jobs of all visitors. A visitor reaches their own only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def start(self, visitor: str, work: Callable[[Job, Progress], Any]) -> str:
        """Run ``work(job, progress)`` in a thread and return the job's name.

        ``progress(**changes)`` changes the state that is shown: progress (0 to 1), message, or others. What
        ``work`` returns is the result. Raises `InvalidParams` where the visitor has too much under way.
        """
        job, name = Job(visitor), uuid.uuid4().hex
        with self._lock:
            busy = [j for j in self._jobs.values() if j.visitor == visitor and not j.state["done"]]
            if len(busy) >= AT_ONCE:
                raise InvalidParams(f"{AT_ONCE} jobs of yours are under way: wait until one has ended.")
            self._jobs[name] = job
            while len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)
        threading.Thread(target=_work, args=(job, work), name="diffatlas-job", daemon=True).start()
        return name

    def find(self, visitor: str, name: Any) -> Job:
        """Return a job. Raises `InvalidParams` where the visitor has none of this name."""
        with self._lock:
            job = self._jobs.get(name) if isinstance(name, str) else None
        if job is None or job.visitor != visitor:
            raise InvalidParams("This job is no longer known: start it again.")
        return job


def _work(job: Job, work: Callable[[Job, Progress], Any]) -> None:
    def progress(**changes: Any) -> None:
        job.state = {**job.state, **changes}

    try:
        result = work(job, progress)
        progress(done=True, progress=1.0, result=result)
    except DiffAtlasError as error:
        progress(done=True, error={"message": error.message})
    except Exception:
        log.exception("A job failed.")
        progress(
            done=True,
            error={"message": BackendFailure("The app could not do this; its log says why.").message},
        )
