"""What the Bench page asks of the server. Each visitor reaches the benches of their own library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffatlas.bench.bench import HAND, Bench, Mark
from diffatlas.bench.kept import Benches
from diffatlas.bench.pictures import pictures
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.params import GenerationParams
from diffatlas.run import timestamp
from diffatlas.ui.answers import answered
from diffatlas.ui.components.bench_view import card_state, lanes_told, scorers_told
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import preview_uri
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.study_services import Running
from diffatlas.ui.wire import bench as wire
from diffatlas.ui.wire.kinds import Done, Nothing, One, Opened

#: Benches in the list of earlier ones, thumbnails of one answer, and runs that become layers at once.
LISTED, MOST_THUMBS, MOST_LAYERS = 100, 64, 24
#: Letters of a note.
MOST_NOTE = 2000


class BenchServices:
    """The server's side of the Bench page. ``functions`` are what the browser may call."""

    def __init__(
        self, libraries: Libraries, layers: Layers, model_names: dict[str, str], running: Running
    ) -> None:
        self._libraries = libraries
        self._layers = layers
        self._names = model_names
        self._running = running

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "benches": self.benches,
            "bench": self.bench,
            "bench_thumbs": self.thumbs,
            "mark_card": self.mark_card,
            "rename_bench": self.rename_bench,
            "forget_bench": self.forget_bench,
            "restore_bench": self.restore_bench,
            "stop_bench_lane": self.stop_lane,
            "open_card_runs": self.open_runs,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def benches(self, visitor: str, asked: Nothing) -> wire.BenchList:
        """Return the benches, the newest first."""
        infos = self.kept(visitor).list()[:LISTED]
        return {
            "benches": [
                {
                    "id": info.id,
                    "title": info.title,
                    "created": info.created,
                    "status": info.status,
                    "pack": info.pack,
                    "lanes": list(info.lanes),
                    "scorers": [name for name in info.scorers if name != HAND],
                    "cells": info.cells,
                    "done": info.done,
                    "error": info.error,
                }
                for info in infos
            ]
        }

    def bench(self, visitor: str, asked: One) -> wire.BenchWhole:
        """Return a stored bench whole: what was asked, and every card."""
        bench = self.kept(visitor).open(asked.id)
        cells = {cell.key: self._card(bench, cell) for cell in bench.study.cells}
        return {
            "status": bench.study.status,
            "bench": self._told(bench),
            "cells": cells,
            "lanes": lanes_told(bench.study, {}),
            "scorers": scorers_told(bench),
        }

    def thumbs(self, visitor: str, asked: wire.Cards) -> wire.Thumbs:
        """Return small pictures of some cells."""
        if len(asked.cells) > MOST_THUMBS:
            raise InvalidParams(f"Ask for at most {MOST_THUMBS} pictures at once.", field="cells")
        library, bench = self.open(visitor, asked.id)
        wanted = set(asked.cells)
        cells = [cell for cell in bench.study.cells if cell.key in wanted]
        found = pictures(bench.id, cells, library)
        return {
            "thumbs": {
                cell.key: preview_uri(found[cell.key]) if cell.key in found else None for cell in cells
            }
        }

    def mark_card(self, visitor: str, asked: wire.MarkAsked) -> wire.CardState:
        """Keep what a person says of an image, or take it back."""
        if len(asked.note) > MOST_NOTE:
            raise InvalidParams(f"A note has at most {MOST_NOTE} characters.", field="note")
        kept = self.kept(visitor)
        mark = None if asked.verdict is None else Mark(asked.verdict, asked.note.strip(), timestamp())
        kept.mark(asked.id, asked.cell, mark)
        bench = kept.open(asked.id)
        return self._card(bench, bench.study.cell(asked.cell))

    def rename_bench(self, visitor: str, asked: wire.RenameBench) -> wire.BenchList:
        """Give a bench another title."""
        self.kept(visitor).rename(asked.id, asked.title)
        return self.benches(visitor, Nothing())

    def forget_bench(self, visitor: str, asked: One) -> Done:
        """Move a bench to the trash; its runs stay in the library."""
        self.kept(visitor).trash(asked.id)
        return {"done": True}

    def restore_bench(self, visitor: str, asked: One) -> Done:
        """Bring a bench back from the trash."""
        self.kept(visitor).restore(asked.id)
        return {"done": True}

    def stop_lane(self, visitor: str, asked: wire.LaneOfBench) -> Done:
        """Stop one lane of a bench that runs."""
        stops = self._running.of(visitor, asked.id)
        if stops is None:
            raise InvalidParams("This bench is not running.")
        stops.lane(asked.lane).set()
        return {"done": True}

    def open_runs(self, visitor: str, asked: wire.Cards) -> Opened:
        """Make the runs of cards locked layers of the Trajectory page."""
        library, bench = self.open(visitor, asked.id)
        wanted = set(asked.cells)
        cells = [cell for cell in bench.study.cells if cell.key in wanted and cell.run_id]
        if not 0 < len(cells) <= MOST_LAYERS:
            raise InvalidParams(
                f"Choose from 1 to {MOST_LAYERS} cards that left a run: a backend that shows no steps leaves none."
            )
        for cell in cells:
            self._layers.open(visitor, cell.run_id, f"{cell.label} · {cell.params.prompt}")
            library.touch(cell.run_id)
        return {"layers": [cell.run_id for cell in cells]}

    def kept(self, visitor: str) -> Benches:
        """Return the benches of a visitor's library."""
        return Benches(self._libraries.of(visitor).folder)

    def open(self, visitor: str, bench_id: str) -> tuple[Library, Bench]:
        """Return a visitor's library and a bench of it. Raises `RunNotFound` or `DamagedRun`."""
        library = self._libraries.of(visitor)
        return library, Benches(library.folder).open(bench_id)

    def _card(self, bench: Bench, cell: Cell) -> wire.CardState:
        said = {name: each[cell.key] for name, each in bench.said.items() if cell.key in each}
        return card_state(cell, said, bench.marks.get(cell.key))

    def _told(self, bench: Bench) -> wire.BenchTold:
        study = bench.study
        base = GenerationParams.from_dict(study.spec["base"])
        first = study.in_lane(study.lanes[0].key)
        models = {lane.key: study.in_lane(lane.key)[0].params.model for lane in study.lanes}
        return {
            "id": bench.id,
            "title": bench.title,
            "created": study.created,
            "pack": bench.pack.name,
            "seeds": [cell.params.seed for cell in first if cell.row == 0],
            "lanes": [
                {
                    "key": lane.key,
                    "name": lane.name or self._names.get(models[lane.key], models[lane.key]),
                    "model": models[lane.key],
                }
                for lane in study.lanes
            ],
            "tasks": [{"id": one.id, "prompt": one.prompt, "tag": one.tag} for one in bench.pack.tasks],
            "scorers": [
                {"name": name, "about": card.about if card else "", "model": card.model if card else ""}
                for name in dict.fromkeys([*bench.scorers, *bench.said])
                if name != HAND
                for card in [bench.cards.get(name)]
            ],
            "query": {**query_of(base), **_of_pack(study.spec)},
        }


def _of_pack(spec: Any) -> dict[str, str]:
    """Return what a link asks of the bench's own fields; "prompt" is the pack's to say."""
    asked = spec.get("asked") or {}
    own = {name: str(asked[name]) for name in ("pack", "each", "pack_seed") if asked.get(name) is not None}
    return {**own, "seeds": str(spec["seeds"]), "prompt": ""}
