"""What the Bench page asks of benches held against each other. Each visitor reaches those of their own library only."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.bench.bench import HAND, Bench, judged
from diffatlas.bench.board import Apart, Row, Side, apart, digest_of, rows_of
from diffatlas.bench.counted import differences
from diffatlas.bench.judgements import Card
from diffatlas.bench.kept import CELLS, MARKS, PACK, VERDICTS, Benches
from diffatlas.bench.pictures import picture
from diffatlas.bench.statistics import Compared, Rate
from diffatlas.bench.words import demands
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.figures import bench_compared
from diffatlas.figures.page_figure import page_figure
from diffatlas.library import Library
from diffatlas.library.shelf import TITLE
from diffatlas.library.study import Cell
from diffatlas.names import facts_of, told_apart
from diffatlas.params import GenerationParams, seed_words
from diffatlas.stopping import look
from diffatlas.ui.components.pictures import image_url
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.wire import boards as wire
from diffatlas.ui.wire.kinds import Figure

#: Benches on the boards, the newest; and benches whose rows are remembered.
SHOWN, KEPT = 100, 500
#: Pixels of the longer side of a picture beside another.
SIDE = 384
_FILES = (Benches.file, PACK, CELLS, VERDICTS, MARKS, TITLE)


class BoardServices:
    """The server's side of leaderboards and comparisons. ``calls`` are what the browser may call."""

    def __init__(self, libraries: Libraries, model_names: Mapping[str, str]) -> None:
        self._libraries = libraries
        self._names = model_names
        self._lock = threading.Lock()
        self._rows: OrderedDict[tuple[Any, ...], tuple[Bench, list[Row]]] = OrderedDict()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "boards": self.boards,
            "board_compare": self.compare,
            "board_figure": self.figure,
            "board_apart": self.apart,
        }

    def boards(self, visitor: str, asked: wire.BoardsAsked) -> wire.Boards:
        """Return the boards: of each pack and scorer all lanes that were judged."""
        benches = self._libraries.of(visitor).benches
        found: dict[str, list[tuple[Bench, Row]]] = {}
        unread = []
        for info in benches.list()[:SHOWN]:
            look()
            try:
                bench, rows = self._rows_of(benches, info.id, asked.by_hand)
            except DiffAtlasError as error:
                unread.append(error.message)
                continue
            for row in rows:
                found.setdefault(row.board, []).append((bench, row))
        return {"boards": [self._board(members) for members in found.values()], "unread": unread}

    def compare(self, visitor: str, asked: wire.TwoAsked) -> wire.TwoCompared:
        """Return the second minus the first, over all prompts that both have and by category."""
        _, first, second = self._sides(visitor, asked)
        whole, categories = _differences(first, second)
        names = self._pair_names(first, second)
        differing = apart(first, second)
        only_first = sum(one.first_right for one in differing)
        return {
            "first": names[0],
            "second": names[1],
            "notes": _notes(first, second),
            "all": _compared("all prompts", whole, whole.p),
            "categories": [_compared(one.tag, one.compared, one.adjusted) for one in categories],
            "only_first": only_first,
            "only_second": len(differing) - only_first,
        }

    def figure(self, visitor: str, asked: wire.TwoDrawn) -> Figure:
        """Return `diffatlas.figures.bench_compared`."""
        _, first, second = self._sides(visitor, asked)
        whole, categories = _differences(first, second)
        names = self._pair_names(first, second)
        return page_figure({1: bench_compared(whole, categories, names, asked.dark)})

    def apart(self, visitor: str, asked: wire.ApartAsked) -> wire.ApartFound:
        """Return some of the images on which the two differ, with their pictures."""
        library, first, second = self._sides(visitor, asked)
        wanted = {"any": (True, False), "first": (True,), "second": (False,)}[asked.which]
        found = [one for one in apart(first, second) if one.first_right in wanted]
        shown = found[asked.offset : asked.offset + asked.limit]
        return {
            "total": len(found),
            "pairs": [_pair(one, (first, second), library, visitor) for one in shown],
        }

    def _rows_of(self, benches: Benches, bench_id: str, by_hand: bool) -> tuple[Bench, list[Row]]:
        """A bench without what is said of its cells, and its rows; remembered as long as its files stay as they are."""
        folder = benches.folder / bench_id
        key = (folder, by_hand, *(_stamp(folder / name) for name in _FILES))
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
        bench = benches.open(bench_id)
        rows = rows_of(bench, by_hand)
        # Its cells take much room, and no row needs them.
        small = replace(bench, study=replace(bench.study, cells=()), said={}, marks={})
        if bench.study.status != "running":
            with self._lock:
                self._rows[key] = small, rows
                while len(self._rows) > KEPT:
                    self._rows.popitem(last=False)
        return small, rows

    def _board(self, members: list[tuple[Bench, Row]]) -> wire.Board:
        bench, row = members[0]
        names = self._lane_names([(own, each.params, each.scorer) for own, each in members])
        return {
            "id": row.board[:12],
            "pack": bench.pack.title,
            "prompts": len(bench.pack.tasks),
            "scorer": row.scorer,
            "about": card_words(row.scorer, row.card),
            "tags": list(bench.pack.tags),
            "rows": [_row(own, each, name) for (own, each), name in zip(members, names, strict=True)],
        }

    def _pair_names(self, first: Side, second: Side) -> tuple[str, str]:
        one, other = self._lane_names(
            [
                (side.bench, side.bench.study.in_lane(side.lane)[0].params, side.scorer)
                for side in (first, second)
            ]
        )
        return one, other

    def _lane_names(self, lanes: Sequence[tuple[Bench, GenerationParams, str]]) -> list[str]:
        """Names for lanes, no two the same: by model and what was asked, and by their dates where that is alike."""
        names = [self._names.get(params.model, params.model) for _, params, _ in lanes]
        facts = [_facts(*lane) for lane in lanes]
        known = [json.dumps([name, fact]) for name, fact in zip(names, facts, strict=True)]
        for (bench, _, _), fact, key in zip(lanes, facts, known, strict=True):
            if known.count(key) > 1:
                fact["created"] = bench.study.created[:16].replace("T", " ")
        return told_apart(names, facts)

    def _sides(self, visitor: str, asked: wire.TwoAsked) -> tuple[Library, Side, Side]:
        library = self._libraries.of(visitor)
        if asked.first == asked.second:
            raise InvalidParams("The two are the same: choose two lanes, or two benches.", field="second")
        benches = {one.bench: library.benches.open(one.bench) for one in (asked.first, asked.second)}
        first, second = (
            Side(benches[one.bench], one.lane, one.scorer, asked.by_hand)
            for one in (asked.first, asked.second)
        )
        return library, first, second


def card_words(scorer: str, card: Card | None) -> str:
    """Return what decides a scorer's judgements, in one line."""
    if card is None:
        return "What a person said of each image." if scorer == HAND else "Nothing more is known of it."
    parts = [part for part in (card.model, card.revision and f"revision {card.revision}", card.dtype) if part]
    settings = [f"{name.replace('_', ' ')} {value}" for name, value in card.settings.items()]
    return " · ".join([card.about, *parts, *settings])


def _differences(first: Side, second: Side) -> Any:
    return differences(
        *(judged(side.bench, side.scorer, side.lane, side.by_hand) for side in (first, second))
    )


def _notes(first: Side, second: Side) -> list[str]:
    """What differs between two besides the lane, as sentences."""
    notes = []
    if digest_of(first.bench.pack) != digest_of(second.bench.pack):
        notes.append("Their packs differ: only the prompts that both have are compared.")
    cards = [side.bench.cards.get(side.scorer) for side in (first, second)]
    if (first.scorer, cards[0]) != (second.scorer, cards[1]):
        said = " and ".join(
            f"“{side.scorer}” ({card_words(side.scorer, card).rstrip('.')})"
            for side, card in zip((first, second), cards, strict=True)
        )
        notes.append(f"They were not judged alike, but by {said}: a difference may be that of the judges.")
    for words, side in (("first", first), ("second", second)):
        cells = side.bench.study.in_lane(side.lane)
        there = sum(cell.status == "complete" for cell in cells)
        if there < len(cells):
            notes.append(f"Of the {words} {there} of {len(cells)} images are there.")
    return notes


def _facts(bench: Bench, params: GenerationParams, scorer: str) -> dict[str, str]:
    """What may tell a lane from another. Prompt and seed of ``params`` are those of its first image."""
    asked = {name: words for name, words in facts_of(params).items() if name not in ("prompt", "seed")}
    seeds, first = bench.study.spec["seeds"], bench.study.spec["base"].get("seed")
    words = seed_words(first) if seeds == 1 else f"{seeds} seeds from {first}"
    return {**asked, "seeds": words, "title": bench.title, "scorer": f"judged by {scorer}"}


def _row(bench: Bench, row: Row, name: str) -> wire.BoardRow:
    lines = {line.tag: line for line in row.counted.lines}
    unjudged = sum(line.unjudged for line in row.counted.lines)
    return {
        "bench": bench.id,
        "title": bench.title,
        "created": bench.study.created,
        "lane": row.lane,
        "scorer": row.scorer,
        "name": name,
        "images": row.images,
        "of": row.of,
        "marked": row.marked,
        "overall": _share("", row.counted.overall, unjudged),
        "categories": [
            _share(tag, lines[tag].rate, lines[tag].unjudged) if tag in lines else _share(tag, None, 0)
            for tag in bench.pack.tags
        ],
    }


def _share(tag: str, rate: Rate | None, unjudged: int) -> wire.Share:
    value, low, high = (None, None, None) if rate is None else (rate.value, rate.low, rate.high)
    images = 0 if rate is None else rate.images
    return {"tag": tag, "value": value, "low": low, "high": high, "images": images, "unjudged": unjudged}


def _compared(tag: str, one: Compared, p: float) -> wire.CategoryCompared:
    return {
        "tag": tag,
        "prompts": one.prompts,
        "differ": one.differ,
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "p": p,
        "detectable": one.detectable,
    }


def _pair(one: Apart, sides: tuple[Side, Side], library: Library, visitor: str) -> wire.ApartPair:
    look()
    first, second = (
        {
            "cell": cell.key,
            "seed": seed_words(cell.params.seed),
            "picture": _picture(side.bench, cell, library, visitor),
            "verdict": said.verdict,
            "reasons": list(said.reasons),
        }
        for side, cell, said in zip(sides, one.cells, one.judgements, strict=True)
    )
    return {
        "task": one.task.id,
        "prompt": one.task.prompt,
        "tag": one.task.tag,
        "demands": demands(one.task),
        "first": first,
        "second": second,
    }


def _picture(bench: Bench, cell: Cell, library: Library, visitor: str) -> str | None:
    from PIL import Image

    try:
        pixels = picture(bench.id, cell, library)
    except DiffAtlasError:
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image_url(np.asarray(small), visitor)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size
