"""What the pages of studies ask of the server about layers: which studies are kept, and their curves together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diffatlas.errors import DiffAtlasError
from diffatlas.library import Library
from diffatlas.library.study import OPERATIONS, Study
from diffatlas.names import told_apart
from diffatlas.ui import study_names
from diffatlas.ui.layers import Layer, Layers, StudyLayers
from diffatlas.ui.wire import studies as wire

Measure = Callable[[Library, Study], Mapping[str, Any]]


class StudyLayerServices:
    """The server's side of the layers of studies. ``measure`` measures a study of a library, or has it from before."""

    def __init__(self, layers: Layers, model_names: Mapping[str, str], measure: Measure) -> None:
        self._of = {operation: layers.of_studies(operation) for operation in OPERATIONS}
        self._names = model_names
        self._measure = measure

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {"study_layers": self.listed, "edit_study_layer": self.edit, "study_curves": self.curves}

    def listed(self, visitor: str, asked: wire.OfOperation) -> wire.StudyLayers:
        """Return the visitor's layers of one operation, and a sentence on those that are left out."""
        layers = self._layers(asked)
        library = layers.library(visitor)
        found = [self._info(library, layer) for layer in layers.of(visitor)]
        labels = told_apart([info["name"] for info in found], [info.pop("facts") for info in found])
        told = [{**info, "label": label} for info, label in zip(found, labels, strict=True)]
        return {"layers": told, "left_out": _left_out(layers, visitor)}

    def edit(self, visitor: str, asked: wire.StudyLayerEdit) -> wire.StudyLayers:
        """Change a layer, or look at a study, and return them all.

        A layer is called what its study is, so renaming the one renames the other.
        """
        layers = self._layers(asked)
        studies = layers.library(visitor).studies
        study_id, action = asked.id, asked.action
        if action == "look":
            layers.look(visitor, study_id, studies.open(study_id).title)
        else:
            if action == "rename":
                layers.find(visitor, study_id)
                studies.rename(study_id, asked.name)
            layers.edit(visitor, asked)
        return self.listed(visitor, asked)

    def curves(self, visitor: str, asked: wire.StudyCurvesAsked) -> wire.Measured | wire.NeighbourhoodCurves:
        """Measure a layer's study; of a neighbourhood, return what is told of it beside another.

        A sweep's lines come with the figure (`diffatlas.ui.study_figures`), once it is measured.
        """
        layers = self._layers(asked)
        library = layers.library(visitor)
        study = library.studies.open(layers.find(visitor, asked.id).id)
        measured = self._measure(library, study)
        return {
            "id": study.id,
            **(neighbourhood_curves(study, measured) if study.operation != "sweep" else {}),
        }

    def _layers(self, asked: wire.OfOperation) -> StudyLayers:
        return self._of[asked.operation]

    def _info(self, library: Library, layer: Layer) -> dict[str, Any]:
        own = {"id": layer.id, "locked": layer.locked, "visible": layer.visible, "colour": layer.colour}
        try:
            study = library.studies.open(layer.id)
            told = study_names.facts(study, self._names)
        except DiffAtlasError as error:
            # It says so itself; the other layers are still there.
            return {**own, "name": layer.name, "error": error.message, "facts": {}} | _UNREAD
        done = sum(cell.status == "complete" for cell in study.cells)
        known = {"status": study.status, "cells": len(study.cells), "done": done, "error": None}
        return {**own, "name": study.title, **known, "facts": told}


_UNREAD = {"status": "damaged", "cells": 0, "done": 0}


def neighbourhood_curves(study: Study, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return how images part as their starts do in the lanes of a neighbourhood, and how these agree.

    measured: what `measure_neighbourhood` found, as a dict. The pairs themselves are left out.
    """
    lanes = []
    for lane in study.lanes:
        own = measured["lanes"][lane.key]
        basins = own["basins"]
        lanes.append(
            {
                "key": lane.key,
                "name": lane.name,
                "cells": len(own["cells"]),
                "growth": _without_pairs(own["growth"]),
                "growth_latent": _without_pairs(own["growth_latent"]),
                "jumps": len(own["jumps"]),
                "basins": basins and basins["count"],
                "silhouette": basins and basins["silhouette"],
            }
        )
    agreement = [{key: pair[key] for key in ("a", "b", "rank", "p", "n")} for pair in measured["agreement"]]
    return {"mode": measured["mode"], "lanes": lanes, "agreement": agreement}


def _without_pairs(growth: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if growth is None else {key: value for key, value in growth.items() if key != "pairs"}


def _left_out(layers: StudyLayers, visitor: str) -> str | None:
    """Say which layers are not shown because their studies are gone."""
    told = []
    for layer in layers.left_out(visitor):
        where = "is in the Trash" if layers.is_in_trash(visitor, layer.id) else "was deleted"
        told.append(f"The layer “{layer.name}” is left out: its {layers.kind} {where}.")
    return " ".join(told) or None
