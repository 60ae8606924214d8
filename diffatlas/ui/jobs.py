"""Work that takes longer than an answer may: done in a thread, asked about until it is over."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.stopping import Stopped
from diffatlas.ui.budgets import ByVisitor

log = logging.getLogger("diffatlas")

#: Jobs that are remembered of each visitor of a shared server, and of all.
EACH, REMEMBERED = 20, 400
#: Jobs of one visitor at a time.
AT_ONCE = 2
#: A job that can be stopped is, where nobody has asked about it in so many seconds: its page is gone.
ABANDONED = 30.0

_BUSY = f"{AT_ONCE} jobs of yours are under way: wait until one has ended."

Progress = Callable[..., None]


class Stop(threading.Event):
    """A stop signal that is also set where nobody asks any more."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = time.monotonic()

    def is_set(self) -> bool:
        """Whether it was stopped, or left alone."""
        return super().is_set() or time.monotonic() - self.seen > ABANDONED


@dataclass
class Job:
    """One piece of work and how far it has come. What looks at ``stop`` ends soon after its page is gone.

    ``kept``: what further questions about it are answered from; it is not sent.
    """

    state: dict[str, Any] = field(default_factory=lambda: dict(IDLE))
    stop: Stop = field(default_factory=Stop)
    kept: Any = None


IDLE: dict[str, Any] = {"done": False, "progress": None, "message": "", "result": None, "error": None}


class Jobs:
    """The jobs of all visitors. A visitor reaches their own only.

    shared: whether visitors are strangers to each other.
    """

    def __init__(self, shared: bool = False) -> None:
        self._lock = threading.Lock()
        self._jobs: ByVisitor[Job] = ByVisitor(
            EACH if shared else None, REMEMBERED, _BUSY, lambda job: not job.state["done"]
        )

    def start(self, visitor: str, work: Callable[[Job, Progress], Any]) -> str:
        """Run ``work(job, progress)`` in a thread and return the job's name.

        ``progress(**changes)`` changes the state that is shown: progress (0 to 1), message, or others. What
        ``work`` returns is the result. Raises `InvalidParams` where the visitor has too much under way.
        """
        job, name = Job(), uuid.uuid4().hex
        with self._lock:
            if sum(not one.state["done"] for one in self._jobs.of(visitor)) >= AT_ONCE:
                raise InvalidParams(_BUSY)
            self._jobs.add(visitor, name, job)
        # What a GPU is lent for is counted to who asks, which the context says.
        target, arguments = copy_context().run, (_work, job, work)
        threading.Thread(target=target, args=arguments, name="diffatlas-job", daemon=True).start()
        return name

    def under_way(self, visitor: str) -> int:
        """How many jobs of a visitor have not ended."""
        with self._lock:
            return sum(not job.state["done"] for job in self._jobs.of(visitor))

    def find(self, visitor: str, name: Any) -> Job:
        """Return a job. Raises `InvalidParams` where the visitor has none of this name."""
        job = self._jobs.get(visitor, name) if isinstance(name, str) else None
        if job is None:
            raise InvalidParams("This job is no longer known: start it again.")
        job.stop.seen = time.monotonic()
        return job


def _work(job: Job, work: Callable[[Job, Progress], Any]) -> None:
    def progress(**changes: Any) -> None:
        job.state = {**job.state, **changes}

    try:
        result = work(job, progress)
        progress(done=True, progress=1.0, result=result)
    except Stopped:
        progress(done=True, error={"message": "This was stopped."})
    except DiffAtlasError as error:
        progress(done=True, error={"message": error.message})
    except Exception:
        log.exception("A job failed.")
        progress(
            done=True,
            error={"message": BackendFailure("The app could not do this; its log says why.").message},
        )
