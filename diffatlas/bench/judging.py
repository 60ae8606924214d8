"""Judging the images of a bench, as they come or afterwards."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.bench.bench import Bench
from diffatlas.bench.judgements import Card, Judgement, Scorer, by_pack, judge_all
from diffatlas.bench.kept import Benches
from diffatlas.bench.pictures import pictures
from diffatlas.bench.scored import AT_ONCE
from diffatlas.errors import DiffAtlasError
from diffatlas.library.study import Cell

if TYPE_CHECKING:
    from diffatlas.library import Library

log = logging.getLogger("diffatlas")

#: Opens a scorer by its name, with its options.
Opens = Callable[..., Scorer]
#: Seconds between two looks at whether to stop.
LOOK = 0.1


@dataclass(frozen=True)
class Scored:
    """What a scorer says of images, by the key of the cell."""

    scorer: str
    judgements: Mapping[str, Judgement]


@dataclass(frozen=True)
class ScorerChanged:
    """A scorer is "loading", "judging", "complete", "stopped" or "failed"."""

    scorer: str
    status: str
    message: str = ""
    #: What decides its judgements, once that is known.
    card: Card | None = None


class Judging:
    """One scorer at work on a bench: `run` is for a thread of its own, the cells are given by `add` until `finish`.

    options: what it is opened with, besides what it judged this bench with before.
    """

    def __init__(
        self,
        bench: Bench,
        name: str,
        opens: Opens,
        library: Library,
        stop: threading.Event,
        put: Callable[[Scored | ScorerChanged], None],
        again: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._options = {**bench.options.get(name, {}), **(options or {})}
        self._bench = bench
        self._opens = opens
        self._library = library
        self._benches = Benches(library.folder)
        self._stop = stop
        self._put = put
        self._again = again
        self._cells: queue.SimpleQueue[Cell | None] = queue.SimpleQueue()

    def add(self, cell: Cell) -> None:
        """Have the image of a complete cell judged."""
        self._cells.put(cell)

    def finish(self) -> None:
        """Say that no more cells will come."""
        self._cells.put(None)

    def run(self) -> None:
        """Judge what the bench has already and then what comes; nothing is raised."""
        try:
            self._say("loading")
            scorer = by_pack(self._opens(self.name, **self._options), self._bench.pack)
            # Where a model runs is for the machine at hand to say.
            kept = {name: value for name, value in self._options.items() if name != "device"}
            self._benches.judge_with(self._bench.id, self.name, scorer.card, kept)
            self._put(ScorerChanged(self.name, "judging", card=scorer.card))
            gone = self._judge_all(scorer)
            status = "stopped" if self._stop.is_set() else "complete"
            self._say(status, f"{gone} images are in the library no more." if gone else "")
        except DiffAtlasError as error:
            self._say("failed", error.message)
        except Exception as error:
            log.exception("A scorer failed.")
            self._say("failed", f"The scorer failed with {type(error).__name__}: the log says more.")

    def _judge_all(self, scorer: Scorer) -> int:
        """Judge until no more cells come, or a stop; return how many images were not to be had."""
        gone = 0
        left = self._before(scorer.card)
        more = True
        while (left or more) and not self._stop.is_set():
            if more:
                more = self._take(left)
            now, left = left[:AT_ONCE], left[AT_ONCE:]
            gone += self._judge(scorer, now)
        return gone

    def _before(self, card: Card) -> list[Cell]:
        """The complete cells that were there before, and are not judged under this card."""
        said = self._bench.said.get(self.name, {}) if self._bench.cards.get(self.name) == card else {}
        return [
            cell
            for cell in self._bench.study.cells
            if cell.status == "complete" and (self._again or cell.key not in said)
        ]

    def _take(self, left: list[Cell]) -> bool:
        """Add what has come to ``left``, waiting where that is empty; return whether more may come."""
        while True:
            try:
                cell = self._cells.get(timeout=0 if left else LOOK)
            except queue.Empty:
                if left or self._stop.is_set():
                    return True
                continue
            if cell is None:
                return False
            left.append(cell)

    def _judge(self, scorer: Scorer, cells: Sequence[Cell]) -> int:
        images = pictures(self._bench.id, list(cells), self._library, self._benches)
        found = [cell for cell in cells if cell.key in images]
        if found:
            tasks = [self._bench.task(cell) for cell in found]
            judged = judge_all(
                scorer, [images[cell.key] for cell in found], tasks, [cell.column for cell in found]
            )
            said = {cell.key: one.judgement for cell, one in zip(found, judged, strict=True)}
            self._benches.say(self._bench.id, self.name, said)
            self._put(Scored(self.name, said))
        return len(cells) - len(found)

    def _say(self, status: str, message: str = "", **more: Any) -> None:
        self._put(ScorerChanged(self.name, status, message, **more))
