"""What the Bench page asks of the server. Each visitor reaches the benches of their own library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffatlas.bench.bench import HAND, Bench, Mark, check_scorer
from diffatlas.bench.kept import Benches
from diffatlas.bench.pictures import pictures
from diffatlas.bench.thresholds import judge_with_threshold, threshold_of
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rates import bench_rates
from diffatlas.figures.bench_why import bench_why
from diffatlas.figures.page_figure import page_figure
from diffatlas.library import Library
from diffatlas.library.study import Cell
from diffatlas.names import told_apart
from diffatlas.params import GenerationParams
from diffatlas.run import timestamp
from diffatlas.ui.answers import answered
from diffatlas.ui.bench_card import card_detail
from diffatlas.ui.bench_files import bench_file
from diffatlas.ui.bench_numbers import counted_lanes, results
from diffatlas.ui.bench_why import WhyFailed, explain_card
from diffatlas.ui.board_services import BoardServices
from diffatlas.ui.components.bench_view import card_state, lanes_told, mark_told, scorers_told
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import image_url, preview_uri
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.pack_services import PackServices
from diffatlas.ui.private_files import private_url
from diffatlas.ui.study_services import Running
from diffatlas.ui.wire import bench as wire
from diffatlas.ui.wire.kinds import Done, Figure, File, Nothing, One, Opened

#: Benches in the list of earlier ones, thumbnails of one answer, and runs that become layers at once.
LISTED, MOST_THUMBS, MOST_LAYERS = 100, 64, 24
#: Letters of a note.
MOST_NOTE = 2000


class BenchServices:
    """The server's side of the Bench page. ``functions`` are what the browser may call."""

    def __init__(
        self,
        libraries: Libraries,
        layers: Layers,
        model_names: dict[str, str],
        running: Running,
        live: LiveBenches,
    ) -> None:
        self._libraries = libraries
        self._layers = layers
        self._names = model_names
        self._running = running
        self._live = live
        self._packs = PackServices(libraries)
        self._boards = BoardServices(libraries, model_names)
        self._why = WhyFailed()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "benches": self.benches,
            "bench": self.bench,
            "bench_thumbs": self.thumbs,
            "bench_card": self.card,
            "bench_results": self.results,
            "bench_rates": self.rates,
            "bench_explain": self.explain,
            "bench_why": self.why,
            "bench_why_figure": self.why_figure,
            "bench_export": self.export,
            "mark_card": self.mark_card,
            "rename_bench": self.rename_bench,
            "forget_bench": self.forget_bench,
            "restore_bench": self.restore_bench,
            "bench_threshold": self.threshold,
            "stop_bench_lane": self.stop_lane,
            "open_card_runs": self.open_runs,
            **self._packs.calls,
            **self._boards.calls,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def own_packs(self, visitor: str) -> list[tuple[str, str]]:
        """Return the packs that a visitor keeps, as what they are called in a list and their names."""
        return self._packs.choices(visitor)

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
        _, bench = self.open(visitor, asked.id)
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
        library = self._libraries.of(visitor)
        running = self._live.cells(visitor, asked.id)
        if running is not None:
            cells = [running[key] for key in asked.cells if key in running]
        else:
            wanted = set(asked.cells)
            bench = self._live.open(Benches(library.folder), asked.id, said=False)
            cells = [cell for cell in bench.study.cells if cell.key in wanted]
        found = pictures(asked.id, cells, library)
        return {
            "thumbs": {
                cell.key: preview_uri(found[cell.key]) if cell.key in found else None for cell in cells
            }
        }

    def card(self, visitor: str, asked: wire.CardAsked) -> wire.CardDetail:
        """Return one card in full."""
        library, bench = self.open(visitor, asked.id)
        cell = cell_of(bench, asked.cell)
        pixels = pictures(bench.id, [cell], library).get(cell.key) if cell.status == "complete" else None
        url = None if pixels is None else image_url(pixels, visitor, f"{bench.task(cell).id}.png")
        return card_detail(bench, cell, library, pixels, url)

    def results(self, visitor: str, asked: wire.NumbersAsked) -> wire.BenchResults:
        """Return a bench in numbers."""
        _, bench = self.open(visitor, asked.id)
        return results(bench, asked.by_hand, self._lane_names(bench))

    def rates(self, visitor: str, asked: wire.RatesAsked) -> Figure:
        """Return the rates of the lanes by one scorer as a chart."""
        _, bench = self.open(visitor, asked.id)
        names = self._lane_names(bench)
        counted = counted_lanes(bench, asked.scorer, asked.by_hand)
        if not counted:
            raise InvalidParams("There is nothing to count yet: no image was made.")
        labels = told_apart([names[key] for key in counted], [{"lane": key} for key in counted])
        drawn = bench_rates(dict(zip(labels, counted.values(), strict=True)), dark=asked.dark)
        return page_figure({asked.across: drawn})

    def explain(self, visitor: str, asked: wire.ExplainAsked) -> wire.CardExplained:
        """Return what is known of a card beside the others of its prompt."""
        library, bench = self.open(visitor, asked.id)
        check_scorer(bench, asked.scorer)
        found, beside = explain_card(bench, library, cell_of(bench, asked.cell), asked.scorer)
        lines: list[wire.WhyLine] = [
            {"about": one.measure.about, "sentence": one.sentence} for one in found.numbers
        ]
        return {"notes": list(found.notes), "lines": lines, "beside": beside}

    def why(self, visitor: str, asked: wire.WhyAsked) -> wire.WhyTold:
        """Return how failing images of a lane differ from passing ones of the same prompts."""
        library, bench = self.open(visitor, asked.id)
        found = self._why.of(bench, library, asked.scorer, asked.lane)
        lines: list[wire.WhyLine] = [
            {"about": line.measure.about, "sentence": line.sentence} for line in found.lines
        ]
        return {"lines": lines}

    def why_figure(self, visitor: str, asked: wire.WhyFigureAsked) -> Figure:
        """Return the same as a chart."""
        library, bench = self.open(visitor, asked.id)
        found = self._why.of(bench, library, asked.scorer, asked.lane)
        return page_figure({asked.across: bench_why(found, asked.dark, asked.across)})

    def export(self, visitor: str, asked: wire.BenchExport) -> File:
        """Write a file of a bench where the browser can fetch it, and return its address."""
        library, bench = self.open(visitor, asked.id)
        data, name = bench_file(asked.kind, bench, library, asked.lane, asked.scorer)
        return {"url": private_url(visitor, data, name), "name": name}

    def mark_card(self, visitor: str, asked: wire.MarkAsked) -> wire.Marked:
        """Keep what a person says of an image, or take it back."""
        if len(asked.note) > MOST_NOTE:
            raise InvalidParams(f"A note has at most {MOST_NOTE} characters.", field="note")
        mark = None if asked.verdict is None else Mark(asked.verdict, asked.note.strip(), timestamp())
        try:
            self.kept(visitor).mark(asked.id, asked.cell, mark)
        except KeyError:
            raise no_card(asked.cell) from None
        return {"mark": mark_told(mark)}

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

    def threshold(self, visitor: str, asked: wire.ThresholdAsked) -> Done:
        """Hold the cosines of a scorer against another threshold."""
        _, bench = self.open(visitor, asked.id)
        judge_with_threshold(bench, asked.scorer, asked.threshold, self.kept(visitor))
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

    def library(self, visitor: str) -> Library:
        """Return a visitor's library."""
        return self._libraries.of(visitor)

    def kept(self, visitor: str) -> Benches:
        """Return the benches of a visitor's library."""
        return Benches(self._libraries.of(visitor).folder)

    def open(self, visitor: str, bench_id: str) -> tuple[Library, Bench]:
        """Return a visitor's library and a bench of it. Raises `RunNotFound` or `DamagedRun`."""
        library = self._libraries.of(visitor)
        return library, self._live.open(Benches(library.folder), bench_id)

    def _lane_names(self, bench: Bench) -> dict[str, str]:
        """Return what each lane is called: what it changes, or its model."""
        study = bench.study
        models = {lane.key: study.in_lane(lane.key)[0].params.model for lane in study.lanes}
        return {
            lane.key: lane.name or self._names.get(models[lane.key], models[lane.key]) for lane in study.lanes
        }

    def _card(self, bench: Bench, cell: Cell) -> wire.CardState:
        said = {name: each[cell.key] for name, each in bench.said.items() if cell.key in each}
        return card_state(cell, said, bench.marks.get(cell.key))

    def _told(self, bench: Bench) -> wire.BenchTold:
        study = bench.study
        base = GenerationParams.from_dict(study.spec["base"])
        first = study.in_lane(study.lanes[0].key)
        names = self._lane_names(bench)
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
                    "name": names[lane.key],
                    "model": models[lane.key],
                }
                for lane in study.lanes
            ],
            "tasks": [{"id": one.id, "prompt": one.prompt, "tag": one.tag} for one in bench.pack.tasks],
            "scorers": [
                {
                    "name": name,
                    "about": card.about if card else "",
                    "model": card.model if card else "",
                    "threshold": threshold_of(bench, name),
                }
                for name in dict.fromkeys([*bench.scorers, *bench.said])
                if name != HAND
                for card in [bench.cards.get(name)]
            ],
            "query": {**query_of(base, bench.study.lanes[0].backend), **_of_pack(study.spec)},
        }


def cell_of(bench: Bench, key: str) -> Cell:
    """Return a cell of a bench. Raises `InvalidParams` where it has none of that key."""
    try:
        return bench.study.cell(key)
    except KeyError:
        raise no_card(key) from None


def no_card(key: str) -> InvalidParams:
    """Return what is said of a key that no cell has."""
    return InvalidParams(f"The bench has no card {key!r:.80}.", field="cell")


def _of_pack(spec: Any) -> dict[str, str]:
    """Return what a link asks of the bench's own fields; "prompt" is the pack's to say."""
    asked = spec.get("asked") or {}
    own = {name: str(asked[name]) for name in ("pack", "each", "pack_seed") if asked.get(name) is not None}
    return {**own, "seeds": str(spec["seeds"]), "prompt": ""}
