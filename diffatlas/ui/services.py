"""What the Trajectory page asks of the server besides a run: the visitor's layers, and all of `RunServices` on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.errors import DiffAtlasError
from diffatlas.formats.hosted import hosted_run
from diffatlas.library import StoredRun
from diffatlas.names import facts_of, told_apart
from diffatlas.operations.projections import Projections
from diffatlas.params import GenerationParams
from diffatlas.ui import run_names
from diffatlas.ui.layers import Layer, Layers
from diffatlas.ui.run_services import ENDED, RunServices
from diffatlas.ui.wire.kinds import Nothing
from diffatlas.ui.wire.runs import LayerEdit, LayersTold

#: Runs of which it is remembered what is told of their layers.
TOLD = 2000
#: What is told of a layer whose run cannot be read.
_DAMAGED: dict[str, Any] = {
    "status": "damaged",
    "steps": 0,
    "total_steps": 0,
    "latent_shape": [],
    "seed": None,
}


class Services(RunServices):
    """The server's side of the viewer. A visitor reaches the runs of their own layers only."""

    def __init__(
        self,
        layers: Layers,
        backend: Any,
        model_names: dict[str, str],
        projections: Projections | None = None,
    ) -> None:
        super().__init__(layers, backend, model_names, projections)
        self.layers = layers
        self._infos: OrderedDict[Path, dict[str, Any]] = OrderedDict()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {"layers": self.list_layers, "edit": self.edit, **super().calls}

    def list_layers(self, visitor: str, asked: Nothing | None = None) -> LayersTold:
        """Return the visitor's layers."""
        found = [self._info(visitor, layer) for layer in self.layers.of(visitor)]
        labels = told_apart([info["name"] for info in found], [info.pop("facts") for info in found])
        return {"layers": [{**info, "label": label} for info, label in zip(found, labels, strict=True)]}

    def named(self, visitor: str, ids: Sequence[Any]) -> list[Layer]:
        """Return layers under the names that the page shows: told apart from all the visitor's layers.

        Raises `RunNotFound`.
        """
        labels = {info["id"]: info["label"] for info in self.list_layers(visitor)["layers"]}
        layers = [self.layers.find(visitor, run_id) for run_id in ids]
        return [replace(layer, name=labels.get(layer.id, layer.name)) for layer in layers]

    def edit(self, visitor: str, asked: LayerEdit) -> LayersTold:
        """Change a layer, and return them all."""
        self.layers.edit(visitor, asked)
        return self.list_layers(visitor)

    def _info(self, visitor: str, layer: Layer) -> dict[str, Any]:
        library = self.layers.library(visitor)
        folder = library.folder / layer.id
        info = self._infos.get(folder)
        if info is None:
            try:
                info = self._told(library.open(layer.id))
            except DiffAtlasError:
                # It says so itself when it is looked at; the other layers are still there.
                info = _DAMAGED | {"prompt": layer.name, "facts": facts_of(GenerationParams(), "", "damaged")}
            if info["status"] in ENDED:
                self._infos[folder] = info
                while len(self._infos) > TOLD:
                    self._infos.popitem(last=False)
        return self._described(layer, info)

    def _told(self, stored: StoredRun) -> dict[str, Any]:
        hosted = hosted_run(stored.provenance) is not None
        return {
            "status": stored.status,
            "steps": stored.step_count,
            "total_steps": max(stored.total_steps or 0, stored.step_count),
            "latent_shape": [] if hosted else list(np.shape(stored.initial_latents())[1:]),
            "seed": stored.info.seed,
            "prompt": stored.info.prompt,
            "facts": run_names.facts(stored, self._names),
        }

    @staticmethod
    def _described(layer: Layer, info: dict[str, Any]) -> dict[str, Any]:
        named = {"id": layer.id, "name": layer.name, "locked": layer.locked}
        return {**named, "visible": layer.visible, "colour": layer.colour, **info}
