"""The figures of studies as a page draws them: Plotly's JSON, with as many charts in a row as it has room for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastapi import Response

from diffatlas import figures
from diffatlas.errors import InvalidParams
from diffatlas.figures.beside import Beside, Own
from diffatlas.figures.page_figure import page_figure
from diffatlas.figures.template import ground
from diffatlas.library import Library
from diffatlas.library.study import Study
from diffatlas.operations.projections import Projections
from diffatlas.stopping import look
from diffatlas.ui.run_services import umap_words
from diffatlas.ui.wire import study_figures as wire

Measure = Callable[[Library, Study], Mapping[str, Any]]


class StudyFigures:
    """The figures of a visitor's studies.

    open: returns a visitor's library and their study of an id; it raises `DiffAtlasError`. measure: measures it.
    """

    def __init__(
        self,
        open_study: Callable[[str, str], tuple[Library, Study]],
        measure: Measure,
        projections: Projections,
    ) -> None:
        self._open = open_study
        self._measure = measure
        self._projections = projections

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "drift_figure": self.drift,
            "guidance_figure": self.guidance,
            "growth_figure": self.growth,
            "distances_figure": self.distances,
            "agreement_figure": self.agreement,
            "map_figure": self.map,
        }

    def drift(self, visitor: str, asked: wire.Drift) -> Response:
        """Return `diffatlas.figures.drift`; without a colour a sweep is drawn in ink."""
        study, measured = self._measured(visitor, asked.id)
        own, beside = self._together(visitor, asked)
        return self._answer(
            asked,
            lambda across: figures.drift(
                study,
                measured,
                asked.dark,
                across,
                lane=asked.lane,
                row=_row(study, asked.row),
                own=own,
                beside=beside,
                read=True,
            ),
        )

    def guidance(self, visitor: str, asked: wire.Guidance) -> Response:
        """Return `diffatlas.figures.guidance_by_step`."""
        study, measured = self._measured(visitor, asked.id)
        return self._answer(
            asked,
            lambda across: figures.guidance_by_step(
                study,
                measured,
                asked.lane,
                asked.dark,
                row=_row(study, asked.row),
                across=across,
                read=True,
            ),
        )

    def growth(self, visitor: str, asked: wire.Growth) -> Response:
        """Return `diffatlas.figures.growth`."""
        study, measured = self._measured(visitor, asked.id)
        own, beside = self._together(visitor, asked)
        return self._answer(
            asked,
            lambda across: figures.growth(
                study,
                measured,
                asked.lane,
                asked.dark,
                across=min(across, 2),
                own=own,
                beside=beside,
            ),
        )

    def distances(self, visitor: str, asked: wire.Distances) -> Response:
        """Return `diffatlas.figures.distances`."""
        study, measured = self._measured(visitor, asked.id)
        return self._answer(
            asked,
            lambda across: figures.distances(
                study,
                measured,
                asked.lane,
                asked.by,
                asked.dark,
                order=asked.order,
                width=asked.width,
            ),
        )

    def map(self, visitor: str, asked: wire.Map) -> Response:
        """Return `diffatlas.figures.map`, or ``{"pending": sentence}`` while UMAP is computed."""
        study, measured = self._measured(visitor, asked.id)
        lane, of, kind = asked.lane, asked.of, asked.kind
        if kind == "umap":
            coords = self._umap(visitor, measured, lane, of)
            if coords is None:
                return _plain({"pending": umap_words(self._projections)})
            measured = _with_map(measured, lane, of, coords)
        return self._answer(asked, lambda across: figures.map(study, measured, lane, of, kind, asked.dark))

    def _umap(
        self, visitor: str, measured: Mapping[str, Any], lane: str | None, of: str
    ) -> list[list[float]] | None:
        """Return a lane's cells embedded by UMAP, (n, 2), or None while that is computed. Raises `InvalidParams`."""
        lanes = measured["lanes"]
        if lane not in lanes:
            raise InvalidParams("There is no such map: choose a lane.", field="lane")
        matrix = (lanes[lane].get("matrices") or {}).get(of)
        if matrix is None:
            raise InvalidParams("This lane has too little for a map.")
        coords = self._projections.map_of(np.array(matrix), visitor)
        return None if coords is None else coords.tolist()

    def agreement(self, visitor: str, asked: wire.FigureAsked) -> Response:
        """Return `diffatlas.figures.agreement`."""
        study, measured = self._measured(visitor, asked.id)
        return self._answer(
            asked, lambda across: figures.agreement(study, measured, asked.dark, across=across)
        )

    def _together(self, visitor: str, asked: wire.Growth) -> tuple[Own | None, list[Beside]]:
        """Return what the study in view is called beside others, and these, measured; None and nothing without."""
        ink, beside = ground(asked.dark).ink, []
        for told in asked.beside:
            look()
            beside.append(Beside(*self._measured(visitor, told.id), told.name, told.colour or ink))
        if not beside:
            return None, []
        if asked.own is None:
            raise InvalidParams("What is drawn beside others has a name: give it.", field="own")
        return Own(asked.own.name, asked.own.colour or ink), beside

    def _measured(self, visitor: str, study_id: Any) -> tuple[Study, Mapping[str, Any]]:
        """Return a visitor's study and what was measured of it. Raises `RunNotFound` and `DamagedRun`."""
        library, study = self._open(visitor, study_id)
        return study, self._measure(library, study)

    def _answer(self, asked: wire.FigureAsked, draw: Callable[[int], figures.Figure]) -> Response:
        return _plain(page_figure({asked.across: draw(asked.across)}))


def _plain(told: Mapping[str, Any]) -> Response:
    return Response(json.dumps(told, allow_nan=False), media_type="application/json")


def _with_map(
    measured: Mapping[str, Any], lane: str, of: str, coords: list[list[float]]
) -> Mapping[str, Any]:
    """Return measures in which a lane has a map by UMAP."""
    own = measured["lanes"][lane]
    maps = {**own["maps"], of: {**(own["maps"].get(of) or {}), "umap": {"coords": coords}}}
    return {**measured, "lanes": {**measured["lanes"], lane: {**own, "maps": maps}}}


def _row(study: Study, row: int | None) -> int | None:
    rows = {cell.row for cell in study.cells}
    if row is not None and row not in rows:
        raise InvalidParams(f"There is no such seed: it has {len(rows)}, counted from 0.", field="row")
    return row
