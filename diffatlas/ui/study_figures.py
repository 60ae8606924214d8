"""The figures of studies as a page draws them: Plotly's JSON, with as many charts in a row as it has room for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import Response

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.beside import Beside, Own
from diffatlas.figures.template import ground
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.operations.projections import Projections
from diffatlas.stopping import look
from diffatlas.ui.page_figure import page_figure
from diffatlas.ui.run_services import umap_words

Measure = Callable[[Library, Study], Mapping[str, Any]]

#: Charts in a row, and other studies in a figure, at most.
MOST_ACROSS, MOST_BESIDE = 4, 24
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class StudyFigures:
    """The figures of a visitor's studies.

    open: returns a visitor's library and their study of an id; it raises `DiffAtlasError`. measure: measures it.
    """

    def __init__(
        self,
        open_study: Callable[[str, Any], tuple[Library, Study]],
        measure: Measure,
        projections: Projections,
    ) -> None:
        self._open = open_study
        self._measure = measure
        self._projections = projections

    @property
    def calls(self) -> dict[str, Callable[[str, dict[str, Any]], Any]]:
        """What the browser may call, by name. All take ``id``, ``dark`` and ``across``, the charts in a row."""
        return {
            "drift_figure": self.drift,
            "guidance_figure": self.guidance,
            "growth_figure": self.growth,
            "distances_figure": self.distances,
            "agreement_figure": self.agreement,
            "map_figure": self.map,
        }

    def drift(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.drift`.

        asked: ``lane`` and ``row``, or null for all; ``own`` {name, colour} and ``beside`` [{id, name, colour}] where
        it is drawn beside other sweeps; without a colour one is drawn in ink.
        """
        library, study = self._open(visitor, asked.get("id"))
        dark = asked.get("dark") is True
        own, beside = self._together(visitor, asked, dark)
        return self._answer(
            asked,
            lambda across: figures.drift(
                study,
                self._measure(library, study),
                dark,
                across,
                lane=_lane(asked),
                row=_row(study, asked),
                own=own,
                beside=beside,
                read=True,
            ),
        )

    def guidance(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.guidance_by_step`. asked: as in `drift`, without the other sweeps."""
        library, study = self._open(visitor, asked.get("id"))
        return self._answer(
            asked,
            lambda across: figures.guidance_by_step(
                study,
                self._measure(library, study),
                _lane(asked),
                asked.get("dark") is True,
                row=_row(study, asked),
                across=across,
                read=True,
            ),
        )

    def growth(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.growth`.

        asked: ``lane``, or null for the first; ``own`` and ``beside`` as in `drift`.
        """
        library, study = self._open(visitor, asked.get("id"))
        dark = asked.get("dark") is True
        own, beside = self._together(visitor, asked, dark)
        return self._answer(
            asked,
            lambda across: figures.growth(
                study,
                self._measure(library, study),
                _lane(asked),
                dark,
                across=min(across, 2),
                own=own,
                beside=beside,
            ),
        )

    def distances(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.distances`. asked: ``lane``, ``by``, ``order`` and ``width``, as there."""
        library, study = self._open(visitor, asked.get("id"))
        return self._answer(
            asked,
            lambda across: figures.distances(
                study,
                self._measure(library, study),
                _lane(asked),
                asked.get("by", "image"),
                asked.get("dark") is True,
                order=asked.get("order", "basin"),
                width=_count(asked, "width", 100, 10_000),
            ),
        )

    def map(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.map`, or ``{"pending": sentence}`` while UMAP is computed.

        asked: ``lane``, ``of`` and ``kind``, as there.
        """
        library, study = self._open(visitor, asked.get("id"))
        measured = self._measure(library, study)
        lane, of, kind = _lane(asked), asked.get("of", "image"), asked.get("kind", "mds")
        if kind == "umap":
            coords = self._umap(visitor, measured, lane, of)
            if coords is None:
                return _plain({"pending": umap_words(self._projections)})
            measured = _with_map(measured, lane, of, coords)
        dark = asked.get("dark") is True
        return self._answer(asked, lambda across: figures.map(study, measured, lane, of, kind, dark))

    def _umap(
        self, visitor: str, measured: Mapping[str, Any], lane: str | None, of: Any
    ) -> list[list[float]] | None:
        """Return a lane's cells embedded by UMAP, (n, 2), or None while that is computed. Raises `InvalidParams`."""
        lanes = measured["lanes"]
        if lane not in lanes or of not in ("latent", "image"):
            raise InvalidParams("There is no such map: choose a lane, and latents or images.")
        matrix = (lanes[lane].get("matrices") or {}).get(of)
        if matrix is None:
            raise InvalidParams("This lane has too little for a map.")
        coords = self._projections.map_of(np.array(matrix), visitor)
        return None if coords is None else coords.tolist()

    def agreement(self, visitor: str, asked: dict[str, Any]) -> Response:
        """Return `diffatlas.figures.agreement`."""
        library, study = self._open(visitor, asked.get("id"))
        measured, dark = self._measure(library, study), asked.get("dark") is True
        return self._answer(asked, lambda across: figures.agreement(study, measured, dark, across=across))

    def _together(
        self, visitor: str, asked: Mapping[str, Any], dark: bool
    ) -> tuple[Own | None, list[Beside]]:
        """Return what the study in view is called beside others, and these, measured; None and nothing without."""
        beside = []
        for told in _listed(asked.get("beside")):
            look()
            library, other = self._open(visitor, told.get("id"))
            name, colour = _named(told, "beside", dark)
            beside.append(Beside(other, self._measure(library, other), name, colour))
        return Own(*_named(asked.get("own"), "own", dark)) if beside else None, beside

    def _answer(self, asked: Mapping[str, Any], draw: Callable[[int], figures.Figure]) -> Response:
        across = _count(asked, "across", 1, MOST_ACROSS)
        return _plain(page_figure({across: draw(across)}))


def _plain(told: Mapping[str, Any]) -> Response:
    return Response(json.dumps(told, allow_nan=False), media_type="application/json")


def _with_map(
    measured: Mapping[str, Any], lane: str, of: str, coords: list[list[float]]
) -> Mapping[str, Any]:
    """Return measures in which a lane has a map by UMAP."""
    own = measured["lanes"][lane]
    maps = {**own["maps"], of: {**(own["maps"].get(of) or {}), "umap": {"coords": coords}}}
    return {**measured, "lanes": {**measured["lanes"], lane: {**own, "maps": maps}}}


def _listed(asked: Any) -> list[Mapping[str, Any]]:
    found = [] if asked is None else asked
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise InvalidParams("The studies beside another are a list: give each with an id.", field="beside")
    if len(found) > MOST_BESIDE:
        raise InvalidParams(f"Beside a study go at most {MOST_BESIDE} others: show fewer.", field="beside")
    return found


def _named(told: Any, field: str, dark: bool) -> tuple[str, str]:
    name, colour = (told.get(key) if isinstance(told, Mapping) else None for key in ("name", "colour"))
    colour = ground(dark).ink if colour is None else colour
    if not isinstance(name, str) or not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
        raise InvalidParams('A study beside another has a name, and a colour like "#7c2d36".', field=field)
    return name, colour


def _lane(asked: Mapping[str, Any]) -> str | None:
    lane = asked.get("lane")
    if lane is not None and not isinstance(lane, str):
        raise InvalidParams("A lane is named by its key: give that, or none for all.", field="lane")
    return lane


def _row(study: Study, asked: Mapping[str, Any]) -> int | None:
    row = asked.get("row")
    if row is None:
        return None
    rows = sorted({cell.row for cell in study.cells})
    if isinstance(row, bool) or not isinstance(row, int) or row not in rows:
        raise InvalidParams(f"There is no such seed: it has {len(rows)}, counted from 0.", field="row")
    return row


def _count(asked: Mapping[str, Any], name: str, least: int, most: int) -> int:
    number = asked.get(name, least)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise InvalidParams(f"“{name}” is a whole number from {least} to {most}.", field=name)
    return number
