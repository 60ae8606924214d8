"""Runs in progress, for pages that ask for what is new to them.

A page asks when it has drawn what it got before: however slow it is, the steps wait here and come together, and its
buttons are never behind a queue of messages.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from fastapi import Response

from diffatlas.errors import DiffAtlasError, RunNotFound
from diffatlas.settings import settings
from diffatlas.ui.budgets import ByVisitor
from diffatlas.ui.components.run_view import ENDED, RunView
from diffatlas.ui.wire.calls import CALLS
from diffatlas.ui.wire.runs import Grown

log = logging.getLogger("diffatlas")

#: Seconds that a question waits for something new; then it is answered with nothing, and asked again.
PATIENCE = 10.0
#: Views that are remembered of each visitor of a shared server, more than one may have waiting; and of all.
EACH, REMEMBERED = 10, 100
FULL = "You are following as many runs as one visitor may: close a tab, and run again."
UNKNOWN = "The server no longer knows this run: look for it in the Library."


class GrowingRuns:
    """The views of the runs of one page, by the names of their requests.

    A name is a secret of the tab that began the run, so it needs no cookie.

    shared: whether visitors are strangers to each other.
    """

    def __init__(self, shared: bool = False) -> None:
        self._changed = threading.Condition()
        self._views: ByVisitor[RunView] = ByVisitor(
            EACH if shared else None, REMEMBERED, FULL, lambda view: view.status not in ENDED
        )
        self._whose: dict[str, str] = {}

    def grown(self, view: RunView) -> None:
        """Tell those who wait that a view has something new."""
        with self._changed:
            for gone in self._views.add(view.visitor, view.request, view):
                del self._whose[gone.request]
            self._whose[view.request] = view.visitor
            self._changed.notify_all()

    def forget(self, view: RunView) -> None:
        """Nobody asks for a view any more."""
        with self._changed:
            self._views.pop(view.visitor, view.request)
            self._whose.pop(view.request, None)

    def ask(self, asked: Grown) -> Response:
        """Return what is new (`RunView.news`), as soon as there is something.

        Raises `RunNotFound` for a run that is not remembered.
        """
        known = asked.changes, asked.steps, asked.points
        until = time.monotonic() + PATIENCE
        with self._changed:
            view = self._views.get(self._whose.get(asked.request, ""), asked.request)
            if view is None:
                raise RunNotFound(UNKNOWN)
            while not view.is_news(*known) and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        return Response(json.dumps(view.news(*known), allow_nan=False), media_type="application/json")

    @property
    def function(self) -> Any:
        """`ask` as a function of a component; an error as `diffatlas.ui.answers.answered` tells it."""
        wire = CALLS["grown"]

        def grown(asked: Any) -> Any:
            try:
                answer = self.ask(wire.read(asked))
                if settings().check_answers:
                    wire.check(answer)
                return answer
            except DiffAtlasError as error:
                return {"error": {"message": error.message, "field": error.field}}
            except Exception:
                log.exception("A run in progress could not be told of.")
                return {"error": {"message": "The app could not show this run; its log says why."}}

        return grown
