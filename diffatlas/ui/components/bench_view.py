"""A bench as its page shows it: events in, a plain JSON value out, that is small however large the bench is.

Cells are told by what has changed of late; the page asks for the whole when it first hears of a bench, and again where
it missed a frame.

    request    changes with every bench
    status     idle, waiting, loading, running, complete, stopped or failed
    message    what is being done, while loading
    ahead      how many runs come first, while waiting
    wait       how long that should take, in words, where it is known
    bench      {id, title}
    frame      the number of this value
    changed    by key, the cells that changed in the last `FRAMES` frames
    left       how long the rest should take, in words, where it is known
    lanes      by key: status, message, and how many cells there are, are complete and have failed
    scorers    by name: status, message, and how many images were judged
    notes      sentences: what the models do not read of the prompts
    known      [kind, words] that a model was taught, where a prompt had others
    error      {field, message} or null
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from diffatlas.bench.bench import HAND, Bench, Mark
from diffatlas.bench.judgements import Judgement
from diffatlas.bench.judging import Scored, ScorerChanged
from diffatlas.bench.running import BenchEvent
from diffatlas.errors import DiffAtlasError
from diffatlas.formats import told
from diffatlas.formats.wire import rounded
from diffatlas.library.study import Cell, Study
from diffatlas.studies.run import CellBegan, CellEnded, CellWaits, LaneChanged, StudyChanged
from diffatlas.ui.components.run_view import FORM_FIELDS
from diffatlas.ui.components.study_view import wait_told
from diffatlas.ui.turns import Place, about

IDLE: dict[str, Any] = {
    "request": "",
    "status": "idle",
    "message": "",
    "ahead": 0,
    "wait": "",
    "bench": None,
    "frame": 0,
    "changed": {},
    "left": "",
    "lanes": {},
    "scorers": {},
    "notes": [],
    "known": [],
    "error": None,
}
#: Frames for which a cell that changed is told: a browser may skip some.
FRAMES = 8
#: So many notes are told before the rest is counted.
MOST_NOTES = 6
#: Letters of the reason that a card has.
REASON = 120
#: Cells that were made before the time that the rest takes can be told.
ENOUGH = 3
DONE = ("complete", "stopped", "failed")


class BenchView:
    """Collects the events of one bench. Each method returns the value to show now."""

    def __init__(
        self,
        bench: Bench | None = None,
        status: str = "",
        begun: bool = True,
        judges: Collection[str] | None = None,
    ) -> None:
        """Begin with what is known.

        bench: what runs; status: what is shown of it first; begun: whether it is kept, and can be asked for; judges:
        the scorers that are to judge, None for all of the bench.
        """
        self._value = {**IDLE, "request": uuid.uuid4().hex[:8]}
        #: By key, as they are now.
        self.cells: dict[str, Cell] = {}
        #: What cells wait for now.
        self._waits: dict[str, dict[str, Any]] = {}
        self._said: dict[str, dict[str, Judgement]] = {}
        self._marks: dict[str, Mark] = {}
        self._fresh: set[str] = set()
        self._recent: deque[set[str]] = deque(maxlen=FRAMES)
        self._notes: dict[str, None] = {}
        self._made, self._began = 0, 0.0
        #: The status of the images, once they have ended.
        self._made_all = ""
        if bench is not None:
            self._said = {scorer: dict(said) for scorer, said in bench.said.items()}
            self._marks = dict(bench.marks)
            self._value["scorers"] = scorers_told(bench, judges)
            self._take(bench.study)
            self._set(status=status or bench.study.status, **({} if begun else {"bench": None}))

    @property
    def status(self) -> str:
        """The status shown last."""
        return self._value["status"]

    def waiting(self, place: Place) -> dict[str, Any]:
        """Other runs come first."""
        wait = "" if place.seconds is None else about(place.seconds)
        self._set(status="waiting", ahead=place.ahead, wait=wait)
        return self.value()

    def loading(self, message: str) -> dict[str, Any]:
        """The model is being made ready."""
        self._set(status="loading", message=message)
        return self.value()

    def failed(self, error: DiffAtlasError) -> dict[str, Any]:
        """The bench could not begin, or go on; what is finished stays."""
        field = FORM_FIELDS.get(error.field, error.field)
        self._set(status="failed", error={"field": field, "message": error.message})
        return self.value()

    def ended(self, status: str) -> dict[str, Any]:
        """It has come to an end."""
        self._set(status=status, message="", left="")
        return self.value()

    def value(self) -> dict[str, Any]:
        """Return what to show now, as a new value: Gradio compares it with the one before."""
        self._recent.append(self._fresh)
        self._fresh = set()
        keys = set().union(*self._recent)
        changed = {key: self._card(key) for key in sorted(keys) if key in self.cells}
        self._set(frame=self._value["frame"] + 1, changed=changed, left=self._left())
        return dict(self._value)

    def add(self, event: BenchEvent) -> None:
        """Take in one event."""
        if isinstance(event, StudyChanged):
            self._take(event.study)
            self._made_all = event.study.status if event.study.status in DONE else ""
            self._set(status="running", message="")
            self._end()
        elif isinstance(event, CellBegan):
            self._waits.pop(event.key, None)
            self._change(event.key, status="running", run_id=event.run_id, error=None)
            self._note(event.prompt)
        elif isinstance(event, CellWaits):
            self._waits[event.key] = wait_told(event)
            self._fresh.add(event.key)
        elif isinstance(event, CellEnded):
            self._waits.pop(event.key, None)
            before = self.cells[event.key].status
            self.cells[event.key] = event.cell
            self._fresh.add(event.key)
            self._count(event.cell, before)
        elif isinstance(event, LaneChanged):
            self._lane(event.key, status=event.status, message=event.message)
        elif isinstance(event, Scored):
            self._said.setdefault(event.scorer, {}).update(event.judgements)
            self._fresh |= set(event.judgements)
            self._scorer(event.scorer, judged=len(self._said[event.scorer]))
        elif isinstance(event, ScorerChanged):
            if event.card is not None and event.status == "judging":
                self._scorer(event.scorer, judged=len(self._said.get(event.scorer, {})))
            self._scorer(event.scorer, status=event.status, message=event.message)
            self._end()

    def _end(self) -> None:
        """Take the status of the images once they have ended, and the judging after them."""
        if self._made_all and not any(busy(one["status"]) for one in self._value["scorers"].values()):
            self._set(status=self._made_all)

    def _take(self, study: Study) -> None:
        self.cells.clear()
        self.cells.update({cell.key: cell for cell in study.cells})
        self._set(bench={"id": study.id, "title": study.title}, lanes=lanes_told(study, self._value["lanes"]))

    def _change(self, key: str, **changes: Any) -> None:
        self.cells[key] = replace(self.cells[key], **changes)
        self._fresh.add(key)

    def _count(self, cell: Cell, before: str) -> None:
        if cell.status == "complete" and not cell.cached:
            self._began = self._began or time.monotonic() - (cell.seconds or 0)
            self._made += 1
        lane = self._value["lanes"][cell.lane]
        if cell.status in ("complete", "failed") and before != cell.status:
            self._lane(cell.lane, **{cell.status: lane[cell.status] + 1})

    def _left(self) -> str:
        """How long the images that are not made yet should take, at the pace of those that were made."""
        lanes = self._value["lanes"].values()
        left = sum(lane["all"] - lane["complete"] - lane["failed"] for lane in lanes)
        if self._value["status"] != "running" or self._made < ENOUGH or not left:
            return ""
        return about(left * (time.monotonic() - self._began) / self._made)

    def _note(self, prompt: Mapping[str, Any]) -> None:
        self._notes.update(dict.fromkeys(told.unread({"prompt": prompt})))
        distinct = list(self._notes)
        more = len(distinct) - MOST_NOTES
        rest = [f"And {more} more, each in its own run."] if more > 0 else []
        known = self._value["known"] or told.known_words({"prompt": prompt})
        self._set(notes=[*distinct[:MOST_NOTES], *rest], known=known)

    def _card(self, key: str) -> dict[str, Any]:
        said = {name: each[key] for name, each in self._said.items() if key in each}
        return card_state(self.cells[key], said, self._marks.get(key), self._waits.get(key))

    def _lane(self, key: str, **changes: Any) -> None:
        lanes = self._value["lanes"]
        self._set(lanes={**lanes, key: {**lanes[key], **changes}})

    def _scorer(self, name: str, **changes: Any) -> None:
        scorers = self._value["scorers"]
        blank = {"status": "waiting", "message": "", "judged": 0}
        self._set(scorers={**scorers, name: {**scorers.get(name, blank), **changes}})

    def _set(self, **changes: Any) -> None:
        self._value = {**self._value, **changes}


def busy(status: str) -> bool:
    """Whether a scorer is still at work."""
    return status in ("waiting", "loading", "judging")


def card_state(
    cell: Cell, said: Mapping[str, Judgement], mark: Mark | None, wait: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return how far a cell is, and what is said of its image: by scorer its verdict, score and first reason.

    wait: what it waits for, as `diffatlas.ui.components.study_view.wait_told` tells it.
    """
    return {
        "status": cell.status,
        "run": cell.run_id,
        "cached": cell.cached,
        "seconds": None if cell.seconds is None else rounded(cell.seconds),
        "error": None if cell.error is None else str(cell.error.get("message") or "It failed."),
        "said": {
            name: [one.verdict, None if one.score is None else rounded(one.score), _first(one.reasons)]
            for name, one in said.items()
        },
        "mark": mark_told(mark),
        "wait": wait,
    }


def mark_told(mark: Mark | None) -> dict[str, Any] | None:
    """Return a mark as the page has it."""
    return None if mark is None else {"verdict": mark.verdict, "note": mark.note, "at": mark.at}


def _first(reasons: tuple[str, ...]) -> str:
    words = reasons[0] if reasons else ""
    return words if len(words) <= REASON else f"{words[: REASON - 1]}…"


def lanes_told(study: Study, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far each lane is. known: the status and message of those of which something was said."""
    found: dict[str, Any] = {
        lane.key: {"status": study.status, "message": "", "all": 0, "complete": 0, "failed": 0}
        for lane in study.lanes
    }
    for key, lane in found.items():
        if key in known:
            lane |= {"status": known[key]["status"], "message": known[key]["message"]}
    for cell in study.cells:
        lane = found[cell.lane]
        lane["all"] += 1
        if cell.status in ("complete", "failed"):
            lane[cell.status] += 1
    return found


def scorers_told(bench: Bench, judges: Collection[str] | None = ()) -> dict[str, Any]:
    """Return how far each scorer but the hand is. judges: those that are still to judge; None for all."""
    names = [name for name in dict.fromkeys([*bench.scorers, *bench.said]) if name != HAND]
    waiting = names if judges is None else judges
    return {
        name: {
            "status": "waiting" if name in waiting else "complete",
            "message": "",
            "judged": len(bench.said.get(name, {})),
        }
        for name in names
    }
