"""What a page asks of the server about single runs: their data, their projections, steps, comparisons and files.

What each is asked and answers is typed in `diffatlas.ui.wire.runs`. Which runs a visitor reaches is for the page to
say.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from fastapi import Response

from diffatlas.backends.listed import refuse_server_files
from diffatlas.errors import InvalidParams
from diffatlas.figures.comparison import draw_comparison
from diffatlas.figures.page_figure import page_figure
from diffatlas.formats.kinds import KINDS, export, file_name
from diffatlas.formats.named import Named
from diffatlas.formats.wire import floats, rounded
from diffatlas.geometry import compare as comparison
from diffatlas.library import Library, StoredRun
from diffatlas.look import PAPER
from diffatlas.names import told_apart
from diffatlas.operations.projections import Projections
from diffatlas.params import seed_words
from diffatlas.stopping import look
from diffatlas.ui import run_names
from diffatlas.ui.answers import answered
from diffatlas.ui.components import step_data
from diffatlas.ui.components.change_maps import change_maps
from diffatlas.ui.components.run_data import stored_fields
from diffatlas.ui.layers import Layer
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.run_figures import RunFigures
from diffatlas.ui.wire.kinds import Figure, File, One
from diffatlas.ui.wire.runs import (
    ChangeMaps,
    Compared,
    Export,
    Projected,
    Projection,
    StepAsked,
    StepDetail,
)

#: Runs whose data is kept as JSON, in bytes.
KEPT_BYTES = 64 << 20
#: And for how long: the picture that it names is deleted some hours later.
KEPT_SECONDS = 6 * 3600
#: What a layer without a colour of its own is drawn in where there is no theme: exports.
INK = PAPER.ink
ENDED = ("complete", "stopped", "failed", "partial")


class Reach(Protocol):
    """The runs that a visitor reaches on a page, and what they are called there."""

    @property
    def shared(self) -> bool:
        """Whether strangers share the server."""
        ...

    def library(self, visitor: str) -> Library:
        """Return the library that the runs are in."""
        ...

    def find(self, visitor: str, run_id: Any) -> Layer:
        """Return a run's name and colour. Raises `RunNotFound` where the visitor does not reach it."""
        ...


class LibraryRuns:
    """All runs of a visitor's library: what they reach on the pages of studies and of attention."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries

    @property
    def shared(self) -> bool:
        """Whether strangers share the server."""
        return self._libraries.shared

    def library(self, visitor: str) -> Library:
        """Return the visitor's library."""
        return self._libraries.of(visitor)

    def find(self, visitor: str, run_id: Any) -> Layer:
        """Return a run as a layer without a colour, named by what was asked. Raises `RunNotFound`."""
        info = self.library(visitor).open(run_id if isinstance(run_id, str) else "").info
        return Layer(
            info.id, info.name or f"{info.prompt}, guidance {info.guidance_scale:g}, {seed_words(info.seed)}"
        )


def umap_words(projections: Projections) -> str:
    """Say what an embedding that was asked for waits for."""
    if projections.preparing:
        return (
            "UMAP is getting ready: that takes some seconds, and half a minute the first time on a machine."
        )
    return "UMAP is being computed."


class RunServices:
    """The server's side of the views of runs. ``functions`` are what the browser may call."""

    def __init__(
        self, reach: Reach, backend: Any, model_names: dict[str, str], projections: Projections | None = None
    ) -> None:
        self._reach = reach
        self._backend = backend
        self._names = model_names
        self._projections = projections or Projections()
        self.figures = RunFigures(reach)
        self._kept: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "run_data": self.run_data,
            "curves": self.figures.curves,
            "project": self.project,
            "step": self.step,
            "deep": self.deep,
            "compare": self.compare,
            "export": self.export,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def empty(self) -> None:
        """Let go of what is kept, to be read again when it is asked for."""
        with self._lock:
            self._kept.clear()
        self._projections.empty()
        self.figures.empty()

    def run_data(self, visitor: str, asked: One) -> Response:
        """Return a stored run as the live view would show it."""
        run_id = self._reach.find(visitor, asked.id).id
        with self._lock:
            kept, data = self._kept.get((visitor, run_id), (0.0, b""))
        if not data or time.monotonic() - kept > KEPT_SECONDS:
            stored = self._stored(visitor, asked.id)
            name = run_names.model_name(stored, self._names)
            data = json.dumps(stored_fields(stored, name, visitor), allow_nan=False).encode()
            if stored.status in ENDED:
                with self._lock:
                    self._kept[visitor, run_id] = time.monotonic(), data
                    while sum(len(each) for _, each in self._kept.values()) > KEPT_BYTES:
                        self._kept.popitem(last=False)
        return Response(data, media_type="application/json")

    def project(self, visitor: str, asked: Projected) -> Projection:
        """Return the asked layers' paths in one basis."""
        ids = self._ids(visitor, asked.ids)
        library = self._reach.library(visitor)
        found = self._projections.pca(library, ids, None if asked.fit == "all" else asked.fit)
        answer: Projection = {
            "view": "pca",
            "pending": False,
            "coords": {run: floats(coords) for run, coords in zip(ids, found.coords, strict=True)},
            "axes": [rounded(ratio) for ratio in found.explained_variance_ratio],
            "captured": {run: rounded(share) for run, share in zip(ids, found.captured, strict=True)},
            "message": None,
        }
        if asked.view != "umap":
            return answer
        try:
            embedded = self._projections.umap(library, ids, visitor)
        except InvalidParams as error:
            return {**answer, "message": error.message}
        if embedded is None:
            words = f"{umap_words(self._projections)} This is PCA meanwhile."
            return {**answer, "pending": True, "message": words}
        coords = {run: floats(part) for run, part in zip(ids, embedded, strict=True)}
        return {**answer, "view": "umap", "coords": coords, "axes": None, "captured": None}

    def step(self, visitor: str, asked: StepAsked) -> StepDetail:
        """Return one step: its pictures at full size, histogram, statistics and scalars."""
        stored = self._stored(visitor, asked.id)
        if not 0 <= asked.index < stored.step_count:
            raise InvalidParams(
                f"This run has {stored.step_count} steps, and none of the number {asked.index}.",
                field="index",
            )
        if asked.decode and self._reach.shared:
            # A run that was imported may name what it likes.
            refuse_server_files(stored.params)
        return step_data.step_detail(stored, asked.index, self._backend, asked.decode, visitor, asked.dark)

    def deep(self, visitor: str, asked: One) -> ChangeMaps:
        """Return where and in which channels a run changes, step by step."""
        return change_maps(self._stored(visitor, asked.id))

    def compare(self, visitor: str, asked: Compared) -> Figure:
        """Return `diffatlas.figures.comparison` of two layers."""
        first, second = self.named(visitor, [asked.a, asked.b])
        if first.id == second.id:
            raise InvalidParams("These are the same layer: choose two.")
        library = self._reach.library(visitor)
        paths = [library.open(layer.id).latents()[:, 0] for layer in (first, second)]
        try:
            found = comparison.compare(*paths, align=asked.align)
        except ValueError as error:
            raise InvalidParams(str(error)) from error
        drawn = draw_comparison(first.name, second.name, found, asked.dark, asked.across, read=True)
        return page_figure({asked.across: drawn})

    def export(self, visitor: str, asked: Export) -> File:
        """Write a file of the asked layers where the browser can fetch it, and return its address."""
        kind = asked.kind
        if kind not in KINDS:
            raise InvalidParams(f"There is no export of the kind {kind!r}: choose one of {', '.join(KINDS)}.")
        ids = self._ids(visitor, asked.ids)
        if KINDS[kind].most == 1:
            ids = ids[-1:]
        runs = []
        for layer in self.named(visitor, ids):
            look()
            runs.append(Named(layer.name, self._reach.library(visitor).load(layer.id), layer.colour or INK))
        name = file_name(kind, runs)
        return {"url": private_url(visitor, export(kind, runs), name), "name": name}

    def named(self, visitor: str, ids: Sequence[Any]) -> list[Layer]:
        """Return runs under names that tell them apart. Raises `RunNotFound`."""
        layers = [self._reach.find(visitor, run_id) for run_id in ids]
        library = self._reach.library(visitor)
        facts = [run_names.facts(library.open(layer.id), self._names) for layer in layers]
        labels = told_apart([layer.name for layer in layers], facts)
        return [replace(layer, name=label) for layer, label in zip(layers, labels, strict=True)]

    def _stored(self, visitor: str, run_id: str) -> StoredRun:
        return self._reach.library(visitor).open(self._reach.find(visitor, run_id).id)

    def _ids(self, visitor: str, ids: Sequence[str]) -> list[str]:
        if not ids:
            raise InvalidParams("No layer is visible: show one, or run a prompt.")
        return [self._reach.find(visitor, run).id for run in dict.fromkeys(ids)]
