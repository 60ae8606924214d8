"""What the pages of studies ask of the server. Each visitor reaches the studies and runs of their own library only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.formats.study_kinds import STUDY_KINDS, export_study, study_file_name
from diffatlas.library import Library
from diffatlas.library.studies import Studies
from diffatlas.library.study import Cell, Study
from diffatlas.operations.features import encoder_for_study, names_for
from diffatlas.operations.projections import Projections
from diffatlas.studies.measure_neighbourhood import measure_neighbourhood
from diffatlas.studies.measure_sweep import measure_sweep
from diffatlas.ui import desks
from diffatlas.ui.components import step_data
from diffatlas.ui.components.pictures import image_url, preview_uri
from diffatlas.ui.components.study_view import stored_value
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.run_services import LibraryRuns, RunServices
from diffatlas.ui.study_figures import StudyFigures
from diffatlas.ui.study_layers import StudyLayerServices
from diffatlas.ui.wire import studies as wire
from diffatlas.ui.wire.kinds import Done, File, Nothing, One, Opened

#: Studies whose measures are kept.
KEPT = 64
#: Studies in the list of earlier ones.
LISTED = 100


class StudyServices(RunServices):
    """The server's side of a page of studies. ``functions`` are what the browser may call."""

    def __init__(
        self,
        libraries: Libraries,
        layers: Layers,
        backend: Any,
        model_names: dict[str, str],
        projections: Projections,
        running: Running,
    ) -> None:
        super().__init__(LibraryRuns(libraries), backend, model_names, projections)
        self._libraries = libraries
        self._layers = layers
        self._running = running
        self._measured: OrderedDict[tuple[Any, ...], dict[str, Any]] = OrderedDict()
        self._layer_services = StudyLayerServices(layers, model_names, self._measure)
        self._study_figures = StudyFigures(self._open, self._measure, self._projections)

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        own = {
            "studies": self.studies,
            "study": self.study,
            "rename_study": self.rename_study,
            "forget_study": self.forget_study,
            "restore_study": self.restore_study,
            "measures": self.measures,
            "study_export": self.study_export,
            "to_layers": self.to_layers,
            "image_detail": self.image_detail,
            "stop_lane": self.stop_lane,
            "stop_measures": self.stop_measures,
        }
        return {**own, **self._layer_services.calls, **self._study_figures.calls, **super().calls}

    def empty(self) -> None:
        """See `RunServices.empty`."""
        super().empty()
        with self._lock:
            self._measured.clear()

    def studies(self, visitor: str, asked: wire.OfOperation) -> wire.StudyList:
        """Return the studies of one operation, the newest first."""
        return self._listed(visitor, asked.operation)

    def _listed(self, visitor: str, operation: str) -> wire.StudyList:
        library = self._libraries.of(visitor)
        infos = library.studies.list(operation)[:LISTED]
        return {
            "studies": [
                {
                    "id": info.id,
                    "title": info.title,
                    "created": info.created,
                    "status": info.status,
                    "cells": info.cells,
                    "done": info.done,
                    "thumb": self._thumb(library, info.id),
                    "error": info.error,
                }
                for info in infos
            ]
        }

    def study(self, visitor: str, asked: One) -> wire.StudyValue:
        """Return a stored study as the live one was shown."""
        library, study = self._open(visitor, asked.id)
        return stored_value(study, images_of(study, library), prompts_of(study, library), visitor)

    def rename_study(self, visitor: str, asked: wire.Rename) -> wire.StudyList:
        """Give a study another title."""
        library, study = self._open(visitor, asked.id)
        library.studies.rename(study.id, asked.title)
        return self._listed(visitor, study.operation)

    def forget_study(self, visitor: str, asked: One) -> Done:
        """Move a study to the trash; its runs stay in the library."""
        self._libraries.of(visitor).studies.trash(asked.id)
        return {"done": True}

    def restore_study(self, visitor: str, asked: One) -> Done:
        """Bring a study back from the trash."""
        self._libraries.of(visitor).studies.restore(asked.id)
        return {"done": True}

    def measures(self, visitor: str, asked: One) -> wire.SweepMeasures | wire.NeighbourhoodMeasures:
        """Return what can be measured of a study's finished cells."""
        library, study = self._open(visitor, asked.id)
        measured = self._measure(library, study)
        if any(lane.get("matrices") for lane in measured["lanes"].values()):
            # There is a map, of which UMAP is one.
            self._projections.prepare()
        return measured

    def study_export(self, visitor: str, asked: wire.StudyExport) -> File:
        """Write a file of a study where the browser can fetch it, and return its address."""
        library, study = self._open(visitor, asked.id)
        kind = asked.kind
        if kind not in STUDY_KINDS:
            raise InvalidParams(
                f"There is no export of the kind {kind!r}: choose one of {', '.join(STUDY_KINDS)}."
            )
        data = export_study(kind, study, images_of(study, library), self._measure(library, study))
        name = study_file_name(kind, study)
        return {"url": private_url(visitor, data, name), "name": name}

    def to_layers(self, visitor: str, asked: wire.CellsAsked) -> Opened:
        """Make runs of cells locked layers of the Trajectory page."""
        library, study = self._open(visitor, asked.id)
        cells = [cell for cell in study.cells if cell.run_id in asked.ids]
        if not cells:
            raise InvalidParams("No cell with a path is chosen: choose one that is complete.")
        for cell in cells:
            self._layers.open(visitor, cell.run_id, f"{cell.label} · {cell.params.prompt}")
            library.touch(cell.run_id)
        return {"layers": [cell.run_id for cell in cells]}

    def image_detail(self, visitor: str, asked: wire.CellDetail) -> wire.ImageDetail:
        """Return a cell's image with its histogram and statistics, for a cell that has no run."""
        library, study = self._open(visitor, asked.id)
        pixels = images_of(study, library, only=asked.cell).get(asked.cell)
        if pixels is None:
            raise InvalidParams("This cell has no image.")
        return {"image": image_url(pixels, visitor), **step_data.measured(pixels, asked.dark)}

    def stop_lane(self, visitor: str, asked: wire.LaneAsked) -> Done:
        """Stop one lane of a study that runs."""
        stops = self._running.of(visitor, asked.id)
        if stops is None:
            raise InvalidParams("This study is not running.")
        stops.lane(asked.lane).set()
        return {"done": True}

    def stop_measures(self, visitor: str, asked: Nothing) -> Done:
        """End measuring, wherever the visitor has asked for it."""
        for name in (
            "measures",
            "study_curves",
            "drift_figure",
            "guidance_figure",
            "growth_figure",
            "distances_figure",
            "agreement_figure",
        ):
            desks.stop(visitor, name)
        return {"done": True}

    def _open(self, visitor: str, study_id: str) -> tuple[Library, Study]:
        library = self._libraries.of(visitor)
        return library, library.studies.open(study_id)

    def _measure(self, library: Library, study: Study) -> dict[str, Any]:
        encoder = encoder_for_study(self._backend, study)
        facts = (library.folder, study.id, encoder and encoder.name)
        key = (*facts, *((cell.key, cell.status, cell.run_id) for cell in study.cells))
        with self._lock:
            if key in self._measured:
                return self._measured[key]
        if study.operation == "sweep":
            found = measure_sweep(study, library, encoder).to_dict()
        else:
            found = measure_neighbourhood(study, library, encoder, names_for(study)).to_dict()
        with self._lock:
            self._measured[key] = found
            while len(self._measured) > KEPT:
                self._measured.popitem(last=False)
        return found

    def _thumb(self, library: Library, study_id: str) -> str | None:
        try:
            study = library.studies.open(study_id)
            for cell in study.cells:
                picture = image_of(study, cell, library)
                if picture is not None:
                    return preview_uri(picture)
        except DiffAtlasError:
            pass
        return None


class Running:
    """The studies that run now, so that a lane of one can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: dict[tuple[str, str], Any] = {}

    def begin(self, visitor: str, study_id: str, stops: Any) -> None:
        """A study begins. Raises `InvalidParams` where it runs already."""
        with self._lock:
            if (visitor, study_id) in self._stops:
                raise InvalidParams("This study is running: wait until it has ended, or stop it.")
            self._stops[visitor, study_id] = stops

    def end(self, visitor: str, study_id: str) -> None:
        """It has ended."""
        with self._lock:
            self._stops.pop((visitor, study_id), None)

    def count(self, visitor: str) -> int:
        """How many studies of a visitor run."""
        with self._lock:
            return sum(own == visitor for own, _ in self._stops)

    def of(self, visitor: str, study_id: Any) -> Any:
        """Return the stop signals of a study that runs, or None."""
        with self._lock:
            return self._stops.get((visitor, study_id))


def images_of(study: Study, library: Library, only: Any = None) -> dict[str, np.ndarray]:
    """Return the final images of a study's cells, (H, W, 3) uint8, by key; those that cannot be read are left out."""
    found = {}
    for cell in study.cells:
        if only is None or cell.key == only:
            picture = image_of(study, cell, library)
            if picture is not None:
                found[cell.key] = picture
    return found


def prompts_of(study: Study, library: Library) -> dict[str, Any]:
    """Return what the runs of a study's cells did not read of their prompts, by key, where there is something."""
    found = {}
    for cell in study.cells:
        with suppress(DiffAtlasError):
            prompt = library.open(cell.run_id).provenance.get("prompt") if cell.run_id else None
            if prompt:
                found[cell.key] = prompt
    return found


def image_of(study: Study, cell: Cell, library: Library, kept: Studies | None = None) -> np.ndarray | None:
    """Return the final image of one cell, or None where there is none to read.

    kept: where the study is; None for those of the library.
    """
    try:
        if cell.run_id is not None and cell.status == "complete":
            images = library.open(cell.run_id).images()
            return images[0] if images else None
        return (kept or library.studies).image(study.id, cell.key) if cell.image else None
    except DiffAtlasError:
        return None
