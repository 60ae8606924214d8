"""The presets of a workshop, run once by the server: who asks for one has its run at once, as a copy of their own.

What visitors ask is not kept here, so nobody learns from an answer that comes fast what another has asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress

from diffatlas.backends.bounds import BoundedBackend, bounds_here
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError
from diffatlas.library import Library
from diffatlas.operations import cache
from diffatlas.operations.trace import shared_local_backend, trace
from diffatlas.params import GenerationParams
from diffatlas.registry import find_model
from diffatlas.ui.components.attention_form import kind_for, to_watching
from diffatlas.ui.components.fields import preview_decoder_for
from diffatlas.ui.components.form import to_capture
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.presets import Preset
from diffatlas.ui.workshop.held import first_value, held, presets_of

log = logging.getLogger("diffatlas")

#: Below the folder of all libraries.
FOLDER = "workshop"
#: Pages whose presets are single runs.
RUN_PAGES = ("trajectory", "attention")


class Prepared:
    """Runs of the presets of the workshop of this server; none where it holds no workshop, or all have one library."""

    def __init__(self, libraries: Libraries) -> None:
        workshop = held()
        self._library: Library | None = None
        self._asked: list[tuple[GenerationParams, Capture]] = []
        if workshop is not None and libraries.shared:
            self._library = Library(libraries.root / FOLDER)
            self._asked = list(_asked_by(workshop.pages))

    def make(self) -> int:
        """Run the presets that were not run yet, and return how many are ready."""
        ready = 0
        for params, capture in self._asked:
            try:
                run = trace(
                    params, capture, BoundedBackend(shared_local_backend(), bounds_here()), self._library
                )
                ready += run.status == "complete"
            except DiffAtlasError as error:
                log.info("A preset could not be run ahead: %s", error)
        return ready

    def give(self, library: Library, params: GenerationParams, capture: Capture) -> None:
        """Copy the run of a preset into a visitor's library, where it was asked for and is ready."""
        if self._library is None:
            return
        found = cache.lookup(self._library, shared_local_backend(), params, capture)
        if found is not None:
            with suppress(DiffAtlasError):
                library.take_in(found)


def _asked_by(pages: tuple[str, ...]) -> Iterator[tuple[GenerationParams, Capture]]:
    """Yield what the forms of the pages ask when their presets have filled them, each request once."""
    found: dict[GenerationParams, Capture] = {}
    for page in RUN_PAGES:
        for preset in presets_of(page) if page in pages else ():
            with suppress(DiffAtlasError):
                params, capture = _asked(preset, page == "attention")
                # Attention comes last, and holds what the other has.
                found[params] = capture
    yield from found.items()


def _asked(preset: Preset, attention: bool) -> tuple[GenerationParams, Capture]:
    entry = find_model(preset.model)
    given = {
        "num_inference_steps": entry.steps or 30,
        "guidance_scale": 5.0 if entry.guidance is None else entry.guidance,
        "size": first_value("size"),
        "scheduler": first_value("scheduler"),
        "negative_prompt": first_value("negative_prompt") or "",
        **preset.settings,
    }
    if size := given.pop("size"):
        given["width"], given["height"] = map(int, size.split("x"))
    params = GenerationParams(model=preset.model, prompt=preset.prompt, seed=preset.seed, **given).validate()
    previews = {"previews": "every", "preview_decoder": preview_decoder_for(entry)}
    if not attention:
        return params, to_capture(**previews)
    capture = to_watching(
        {
            **previews,
            "kind": kind_for(entry),
            "heads": "mean",
            "halves": "cond",
            "every": 1,
            "most_layers": None,
            "layers": "",
        }
    )
    return params, capture
