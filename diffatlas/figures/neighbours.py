"""A lane of a neighbourhood as its figures draw it: what its cells are called, and the look of its basins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.figures.template import symbol
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.look import GROUPS
from diffatlas.measured import finite
from diffatlas.names import cut
from diffatlas.studies.numbers import asked, base_column, cell_numbers, distances, lane_measures

#: What a distance is called within a sentence, and the unit of its axis.
WORDS = {"latent": "final latent distance"}
UNITS = {
    "start": "in norms",
    "latent": "in norms",
    "image": "root mean square, 0 to 1",
    "hash": "share of bits",
    "feature": "cosine distance",
}
NOTHING = "Nothing was measured of these cells."
TOO_FEW = "This lane has too few complete cells to measure."
#: Letters of a cell's label beside a dot.
_ROOM = 8
#: Letters of a title.
_TITLE = 120


@dataclass(frozen=True)
class Neighbours:
    """One lane. ``cells``: the keys of its measured cells, in the order of its matrices, labels and maps."""

    study: Study
    measures: Mapping[str, Any]
    lane: Lane

    @cached_property
    def found(self) -> Mapping[str, Any]:
        """What was measured of the lane; empty where nothing was."""
        return lane_measures(self.measures, self.lane.key)

    @cached_property
    def cells(self) -> list[str]:
        """The keys of its measured cells."""
        return list(self.found.get("cells") or ())

    @cached_property
    def mode(self) -> str:
        """How the neighbours were found."""
        return str(self.study.spec.get("mode") or self.measures.get("mode") or "")

    @cached_property
    def title(self) -> str:
        """Which neighbourhood this is, and which lane where it has several."""
        name = self.study.title or asked(self.study)
        return cut(f"{name}, {self.lane.name}" if len(self.study.lanes) > 1 else name, _TITLE)

    @cached_property
    def _known(self) -> dict[str, Cell]:
        return {cell.key: cell for cell in self.study.cells}

    @cached_property
    def _numbers(self) -> dict[str, dict[str, Any]]:
        return cell_numbers(self.study, self.measures)

    def column(self, key: str) -> int | None:
        """Return the column of a cell; None for a cell that the study does not have."""
        cell = self._known.get(key)
        return None if cell is None else cell.column

    def is_anchor(self, key: str) -> bool:
        """Whether the others are neighbours of this one."""
        return self.column(key) == base_column(self.study, self.measures)

    def is_far_end(self, key: str) -> bool:
        """Whether this is the other anchor, where the cells lie between two."""
        columns = [cell.column for cell in self.study.in_lane(self.lane.key)]
        return self.mode == "slerp" and len(columns) > 1 and self.column(key) == max(columns)

    def is_end(self, key: str) -> bool:
        """Whether this is an anchor."""
        return self.is_anchor(key) or self.is_far_end(key)

    def called(self, key: str) -> str:
        """Return what a cell is called within a sentence: "the anchor", "neighbour 3", "the stop at t 0.33"."""
        cell = self._known.get(key)
        if cell is None:
            return "a cell"
        if self.mode == "slerp":
            return f"the stop at {cell.label}" if cell.label.startswith("t ") else cell.label
        if self.is_anchor(key):
            return "the anchor"
        return f"neighbour {cell.column}" if self.mode == "perturb" else cell.label

    def tag(self, key: str) -> str:
        """Return the same in a few letters: its label where that is short, else its column."""
        cell = self._known.get(key)
        if cell is None:
            return ""
        words = cell.label.split(" · ")[0].removeprefix("t ")
        words = words.removeprefix("seed ") if self.mode == "offset" else words
        return words if 0 < len(words) <= _ROOM else str(cell.column)

    def label(self, key: str) -> str:
        """Return a cell's label."""
        cell = self._known.get(key)
        return "" if cell is None else cell.label or str(cell.column)

    def shows(self, key: str) -> str | None:
        """Return what the picture of a cell shows, where anything said so."""
        names = self.found.get("names") or ()
        place = self.cells.index(key) if key in self.cells else len(names)
        return names[place] if place < len(names) else None

    def told(self, key: str) -> str:
        """Return what is known of a cell: its distances from the anchor, its basin, and what it shows."""
        numbers = self._numbers.get(key) or {}
        away = [
            (entry["label"].lower(), finite(numbers.get(f"distance_{entry['key']}")))
            for entry in distances(self.study, self.measures)
        ]
        said = ", ".join(f"{name} {value:.3g}" for name, value in away if value is not None)
        anchor = next((one for one in self.cells if self.is_anchor(one)), None)
        from_anchor = anchor is not None and key != anchor and said
        words = [
            f"{capital(self.called(key))}{f', from {self.called(anchor)}: {said}' if from_anchor else ''}."
        ]
        if (basin := self.basin(key)) is not None:
            words.append(f"Basin {basin + 1}.")
        if shown := self.shows(key):
            words.append(f"Shows {shown}.")
        return " ".join(words)

    @cached_property
    def basins(self) -> Mapping[str, Any]:
        """What was found of basins."""
        return self.found.get("basins") or {}

    @cached_property
    def several(self) -> int:
        """The number of basins where there are two or more, else 0."""
        count = len({label for label in self.basins.get("labels") or () if label is not None})
        return count if count > 1 else 0

    def basin(self, key: str) -> int | None:
        """Return the basin of a cell, from 0, where there are several."""
        labels = self.basins.get("labels") or ()
        place = self.cells.index(key) if key in self.cells else len(labels)
        return labels[place] if self.several and place < len(labels) else None

    def members(self, basin: int) -> list[str]:
        """Return the cells of a basin."""
        return [key for key in self.cells if self.basin(key) == basin]

    def basin_words(self, basin: int) -> str:
        """Return a basin in a few words: "basin 1, 5 cells: a red circle, and 2 more"."""
        count = len(self.members(basin))
        names = self.basins.get("names") or ()
        shown = names[basin] if basin < len(names) else ()
        what = f": {shown[0]}{f', and {len(shown) - 1} more' if len(shown) > 1 else ''}" if shown else ""
        return f"basin {basin + 1}, {count} {'cell' if count == 1 else 'cells'}{what}"

    def mark(self, basin: int | None, muted: str) -> tuple[str, str]:
        """Return the colour and the symbol of a basin; of no basin those of all cells."""
        return (muted, "circle") if basin is None else (GROUPS[basin % len(GROUPS)], symbol(basin))

    def of(self) -> dict[str, str]:
        """Return what the `meta` of a trace says of where it is from."""
        return {"study": self.study.id, "lane": self.lane.key}


def neighbours_of(study: Study, measures: Mapping[str, Any], lane: str | None = None) -> Neighbours:
    """Return a lane of a neighbourhood, the first unless told.

    Raises `InvalidParams` for a study of another operation, and for a lane that it does not have.
    """
    check(study)
    found = next((one for one in study.lanes if lane in (None, one.key)), None)
    if found is None:
        there = ", ".join(f"{one.key} ({one.name})" for one in study.lanes) or "none"
        raise InvalidParams(f"There is no lane {lane!r:.40} in this study: there is {there}.", field="lane")
    return Neighbours(study, measures or {}, found)


def check(study: Study) -> None:
    """Raise `InvalidParams` for a study that is no neighbourhood."""
    if study.operation != "neighbourhood":
        raise InvalidParams(
            f"This study is a {study.operation}: this figure is of a neighbourhood, so give one."
        )


def one_of(given: Any, known: Sequence[str], what: str, field: str) -> None:
    """Raise `InvalidParams` for a value that is not one of those known."""
    if given not in known:
        raise InvalidParams(
            f"There is no {what} {given!r:.40}: choose one of {', '.join(known)}.", field=field
        )


def distance_word(key: str) -> str:
    """Return the name of a distance within a sentence: "start distance"."""
    return WORDS.get(key, f"{key} distance")


def capital(words: str) -> str:
    """Return words with a capital first letter."""
    return words[:1].upper() + words[1:]
