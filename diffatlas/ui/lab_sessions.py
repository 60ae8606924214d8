"""The labs of the visitors: each a target with a network, and a thread while it trains."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.figures.lab_words import target_name
from diffatlas.figures.loss import Losses, errors_of
from diffatlas.formats.wire import rounded
from diffatlas.lab2d.floors import Excess, loss_floor
from diffatlas.lab2d.mixtures import Target, draw, points_target
from diffatlas.lab2d.samplers import Frames
from diffatlas.lab2d.shelf import Kept
from diffatlas.lab2d.studies import Point, Yardstick, noise_floor, yardstick
from diffatlas.lab2d.training import Learned, Recipe, Trainer
from diffatlas.ui.budgets import ByVisitor
from diffatlas.ui.turns import MOST_IN_ALL, MOST_WAITING, Place, Ticket, Turns, about

log = logging.getLogger("diffatlas")

#: Labs that are remembered of each visitor of a shared server, and of all.
EACH, REMEMBERED = 12, 200
#: Seconds for which a lab that somebody has just looked at is taken for one that is open.
OPEN = 30.0
FULL = (
    f"{EACH} labs of yours are open, as many as one visitor may have: close one of their tabs, and try again."
)
#: Steps between two looks at the stop signal, and the losses that are shown as one.
SLICE = 10
#: Steps whose mean loss is told: that of one batch says little.
RECENT = 500
#: A training that nobody has asked about in so many seconds ends: its page is closed.
ABANDONED = 30.0
#: Trainings at once; each takes one processor.
PLACES = max(1, os.cpu_count() or 1)

#: Seconds after which a training lets others have its place, where they wait for one.
STINT = 5.0
#: Steps after which a training stops for a moment to work out its floor: first there is something to see.
FLOOR_AFTER = 300
#: Seconds after which a network that trains is kept as it is by then, should the server end.
KEEP_EVERY = 20.0
#: Seconds for which the errors of a network that trains are told as they were.
OLD = 3.0
#: Measurements of a target against itself.
FLOORS = 6

_threads = threading.Lock()
_single = False


def one_thread() -> None:
    """Keep NumPy's matrix products of this process on one thread each: these are too small to be shared out."""
    global _single
    with _threads:
        if not _single:
            from threadpoolctl import threadpool_limits

            threadpool_limits(1, user_api="blas")
            _single = True


def give_way() -> None:
    """Let the calling thread come after others: where page and server share a few processors, the page comes first."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


@dataclass(frozen=True)
class Shown:
    """The sampling that was shown last. labels: (n,), or None without classes; label: the one class, if there is."""

    frames: Frames
    labels: np.ndarray | None
    label: int | None


class Lab:
    """A target, a recipe and a network, and the thread that trains it. Safe to use from any thread."""

    def __init__(self, visitor: str, trainer: Trainer, origin: str) -> None:
        one_thread()
        self.id = uuid.uuid4().hex
        self.visitor = visitor
        self.trainer = trainer
        #: "scratch", "pretrained" or "file": where the weights began.
        self.origin = origin
        #: Points of a drawing or a table, before they were thinned out.
        self.given = 0
        #: The step with which this lab began, and the one at which its weights left their origin.
        self.start = trainer.step
        self.begun = 0 if origin == "scratch" else trainer.step
        #: How network and drawing are kept, and why the network is not; `keeper` sees to it.
        self.kept: Kept | None = None
        self.drawing: Kept | None = None
        self.unkept = ""
        self.keeper: Callable[[Lab], None] = lambda lab: None
        self.shown: Shown | None = None
        self.status = "idle"
        #: Where it stands while it waits for a place to train.
        self.place = Place(0)
        self.problem = ""
        self.rate = 0.0
        #: Of the loss; known once a training has worked it out.
        self.floor: float | None = None
        #: The errors by level, with their step and the time at which they were measured.
        self._errors: tuple[int, float, dict[str, Excess]] = (0, 0.0, {})
        self._sticks: dict[int | None, Yardstick] = {}
        self._floors: dict[tuple[int | None, int], list[Point]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen = time.monotonic()
        self._thread: threading.Thread | None = None
        #: That of the sampling which was asked for last.
        self._sampling = threading.Event()

    @property
    def target(self) -> Target:
        """What is to be learned."""
        return self.trainer.target

    def stick(self, label: int | None = None) -> Yardstick:
        """Return entropy and median distance of the target, or of one class of it."""
        if label not in self._sticks:
            self._sticks[label] = yardstick(self.aim(label))
        return self._sticks[label]

    def aim(self, label: int | None) -> Target:
        """Return the target, or one class of it."""
        return self.target if label is None else self.target.only(label)

    def floors(self, label: int | None, n: int) -> list[Point]:
        """Return measurements of the target against itself with ``n`` points, made once."""
        if (label, n) not in self._floors:
            self._floors[label, n] = list(noise_floor(self.aim(label), n, FLOORS, self.stick(label)))
        return self._floors[label, n]

    def find_floor(self) -> float | None:
        """Return the least loss that this recipe can reach on what it trains on, worked out once and then ``floor``.

        None where it has no closed form.
        """
        recipe = self.trainer.recipe
        if self.floor is None and recipe.pairing != "ot":
            self.floor = loss_floor(
                self.trainer.source, self.trainer.schedule, recipe.objective, recipe.label_drop
            )
        return self.floor

    def errors(self) -> dict[str, Excess]:
        """Return the errors by level (`diffatlas.figures.loss.errors_of`); of a training not older than `OLD` seconds.

        Empty where nothing is trained yet, and where the loss has no floor.
        """
        step, when, found = self._errors
        fresh = step == self.trainer.step or (self.training and time.monotonic() - when < OLD)
        if not self.trainer.step or self.trainer.recipe.pairing == "ot" or (found and fresh):
            return found
        step = self.trainer.step
        found = errors_of(self.learned(), self.target, self.trainer.schedule)
        self._errors = (step, time.monotonic(), found)
        return found

    def losses(self) -> Losses:
        """Return what is known of the training by now. While it trains, its floor may not be worked out yet."""
        floor = self.floor if self.training else self.find_floor()
        errors = self.errors()
        with self._lock:
            kept, step = list(self.trainer.losses), self.trainer.step
        return Losses(target_name(self.target), self.trainer.recipe, step, kept, floor, errors)

    def learned(self) -> Learned:
        """Return the model of the averaged weights as they are now."""
        with self._lock:
            return self.trainer.learned()

    def weak(self) -> Learned | None:
        """Return the model as it was early in its training, where that was kept."""
        with self._lock:
            return None if self.trainer.early is None else self.trainer.learned(self.trainer.early)

    def empirical(self, n: int) -> Target:
        """Return a training set as a target: the trainer's own, or ``n`` points drawn as one would be."""
        if self.trainer.recipe.train_points:
            return self.trainer.source
        points, labels = draw(self.target, n, np.random.default_rng([self.trainer.recipe.seed, 2]))
        return points_target(self.target.name, points, labels, self.target.classes)

    def locked(self) -> threading.Lock:
        """The lock under which the trainer changes."""
        return self._lock

    @property
    def open(self) -> bool:
        """Whether somebody has just looked at it."""
        return time.monotonic() - self._seen < OPEN

    @property
    def training(self) -> bool:
        """Whether it trains, or waits for a place to."""
        return self._thread is not None and self._thread.is_alive()

    def train(self, steps: int, turns: Turns) -> None:
        """Train on for ``steps`` steps, in a thread."""
        if self.training:
            raise InvalidParams("This network is being trained already: stop it first.")
        ticket = turns.join(self.visitor)
        self._stop.clear()
        self.status, self.problem, self._seen = "waiting", "", time.monotonic()
        self._thread = threading.Thread(
            target=self._train,
            args=(self.trainer.step + steps, turns, ticket),
            name="diffatlas-lab",
            daemon=True,
        )
        self._thread.start()

    def sampling(self) -> Callable[[], bool]:
        """Return whether the sampling that begins now is to end: it was stopped, replaced, or its page is gone."""
        self._sampling.set()
        self._sampling = stop = threading.Event()
        self._seen = time.monotonic()
        return lambda: stop.is_set() or time.monotonic() - self._seen > ABANDONED

    def look(self) -> None:
        """Note that somebody still waits."""
        self._seen = time.monotonic()

    def stop(self, wait: bool = False) -> None:
        """End the training within a few steps, and the sampling within one."""
        self._stop.set()
        self._sampling.set()
        if wait and self._thread is not None:
            self._thread.join(5)

    def watch(self, since: int) -> dict[str, Any]:
        """Return where the training stands, and the losses from block ``since`` on, each the mean of `SLICE` steps."""
        self._seen = time.monotonic()
        with self._lock:
            losses = self.trainer.losses
            whole = len(losses) // SLICE
            recent = float(np.mean(losses[-RECENT:])) if losses else None
            blocks = np.array(losses[since * SLICE : whole * SLICE]).reshape(-1, SLICE).mean(axis=1)
            # Of a pretrained start the losses are not kept: its curve begins where its training goes on.
            first = self.trainer.step - len(losses)
        return {
            "status": self.status,
            "step": self.trainer.step,
            "ahead": self.place.ahead,
            "wait": "" if self.place.seconds is None else about(self.place.seconds),
            "rate": self.rate,
            "problem": self.problem,
            "block": SLICE,
            "since": since,
            "first": first,
            "floor": self.floor,
            "recent": rounded(recent),
            "losses": [rounded(float(value)) for value in blocks],
        }

    def _train(self, goal: int, turns: Turns, ticket: Ticket) -> None:
        give_way()
        try:
            while not self._stint(goal, turns, ticket):
                self.status = "waiting"
                ticket = turns.join(self.visitor, begun=True)
        except Exception:
            log.exception("A training of the lab failed.")
            self.status, self.problem = "stopped", "The training failed; the app’s log says why."

    def _stint(self, goal: int, turns: Turns, ticket: Ticket) -> bool:
        """Wait for a place and train there; return whether that was to the end, or only until others wanted it."""
        try:
            for place in turns.waiting(ticket, self._ended):
                self.place = place
            self.place = Place(0)
            over = time.monotonic() + STINT
            return self._run(goal, lambda: time.monotonic() > over and turns.others(ticket))
        finally:
            turns.leave(ticket)

    def _run(self, goal: int, wanted: Callable[[], bool]) -> bool:
        self.status = "training"
        began, first = time.monotonic(), self.trainer.step
        kept = began
        while self.trainer.step < goal and not self._ended():
            with self._lock:
                self.trainer.run(min(SLICE, goal - self.trainer.step))
                loss = self.trainer.losses[-1]
            self.rate = (self.trainer.step - first) / (time.monotonic() - began)
            if not math.isfinite(loss):
                self.problem = "The training diverged: choose a lower learning rate, and train from scratch."
                break
            if self.trainer.step - first >= FLOOR_AFTER:
                self.find_floor()
            if time.monotonic() - kept > KEEP_EVERY:
                self.keeper(self)
                kept = time.monotonic()
            if self.trainer.step < goal and wanted():
                return False
            time.sleep(0)
        self.find_floor()
        if not self.problem:
            self.keeper(self)
        self.status = "trained" if self.trainer.step >= goal else "stopped"
        return True

    def _ended(self) -> bool:
        return self._stop.is_set() or time.monotonic() - self._seen > ABANDONED


class Labs:
    """The labs of all visitors. A visitor reaches their own only.

    shared: whether they are strangers to each other.
    """

    def __init__(self, shared: bool = False) -> None:
        # One training takes one processor, and others of the lab wait among them.
        self.turns = Turns(PLACES, MOST_WAITING if shared else None, MOST_IN_ALL, "trainings and samplings")
        self._labs: ByVisitor[Lab] = ByVisitor(
            EACH if shared else None, REMEMBERED, FULL, lambda lab: lab.training or (shared and lab.open)
        )

    def add(self, lab: Lab) -> Lab:
        """Remember a lab; one that has not been used for long may go for it. Raises `TooMuch`."""
        for gone in self._labs.add(lab.visitor, lab.id, lab):
            gone.stop()
        return lab

    def take(self, visitor: str, name: Any) -> Lab | None:
        """Forget a visitor's lab and return it, its training ended; None where there is none."""
        lab = self._labs.pop(visitor, name) if isinstance(name, str) else None
        if lab is not None:
            lab.stop(wait=True)
        return lab

    def find(self, visitor: str, name: Any) -> Lab:
        """Return a lab. Raises `InvalidParams` where the visitor has none of this name."""
        lab = self._labs.get(visitor, name) if isinstance(name, str) else None
        if lab is None:
            raise InvalidParams("This lab is no longer kept: choose its target again.", field="lab")
        lab.look()
        return lab


def fresh(visitor: str, target: Target, recipe: Recipe) -> Lab:
    """Return a lab with a network that knows nothing yet."""
    return Lab(visitor, Trainer(target, recipe), "scratch")
