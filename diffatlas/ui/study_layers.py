"""What the pages of studies ask of the server about layers: which studies are kept, and their curves together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diffatlas.errors import DiffAtlasError
from diffatlas.library import Library
from diffatlas.library.study import OPERATIONS, Study
from diffatlas.names import told_apart
from diffatlas.studies.measure_cells import mean
from diffatlas.ui import study_names
from diffatlas.ui.layers import Layer, Layers, StudyLayers
from diffatlas.ui.wire import studies as wire

Measure = Callable[[Library, Study], Mapping[str, Any]]

#: Numbers of a cell of a sweep that have a curve besides the distances: by the name of the curve, in the measures.
CELL_CURVES = {
    "parting": "parting",
    "saturation": "saturation",
    "clipped": "clipped",
    "guidance_norm": "guidance_norm_mean",
    "guidance_angle": "guidance_angle_mean",
    "straightness": "straightness",
    "max": "latent_max",
}


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

    def curves(
        self, visitor: str, asked: wire.StudyCurvesAsked
    ) -> wire.SweepCurves | wire.NeighbourhoodCurves:
        """Return what of a layer's study is drawn beside another: curves and counts of each lane, as measured."""
        layers = self._layers(asked)
        library = layers.library(visitor)
        study = library.studies.open(layers.find(visitor, asked.id).id)
        measured = self._measure(library, study)
        told = sweep_curves if study.operation == "sweep" else neighbourhood_curves
        return {"id": study.id, **told(study, measured)}

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


def sweep_curves(study: Study, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of a sweep's lanes by value, each a mean over its seeds; None where nothing is known.

    The distances are from the sweep's own baseline. measured: what `measure_sweep` found, as a dict.
    """
    labels = {cell.column: cell.label for cell in reversed(study.cells)}
    columns = sorted(labels)
    lanes = []
    for lane in study.lanes:
        cells = study.in_lane(lane.key)
        own = measured["lanes"][lane.key]
        curves = dict(own["curves"])
        for name, of in CELL_CURVES.items():
            curves[name] = [
                mean(
                    measured["cells"][cell.key][of]
                    for cell in cells
                    if cell.column == column and cell.key in measured["cells"]
                )
                for column in columns
            ]
        curves["diversity"] = own["diversity"] or [None] * len(columns)
        lanes.append({"key": lane.key, "name": lane.name, "curves": curves})
    return {
        "field": measured["field"],
        "feature": measured["feature"],
        "columns": [
            {"value": value, "label": labels[column]}
            for column, value in zip(columns, measured["values"], strict=True)
        ],
        "lanes": lanes,
    }


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
