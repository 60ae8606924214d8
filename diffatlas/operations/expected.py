"""What requests are expected to take before they run, as far as it is known."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diffatlas.backends.bounds import together
from diffatlas.errors import DiffAtlasError
from diffatlas.operations import cache

if TYPE_CHECKING:
    from diffatlas.backends.estimate import Estimate
    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.params import GenerationParams


def expected_of_study(
    backend: Any,
    study: Study,
    capture: Capture,
    library: Library | None = None,
    stop: threading.Event | None = None,
    only: Collection[str] | None = None,
) -> Estimate | None:
    """Return what the local cells of a study should take that are to run: ``only`` those of these keys, if given.

    As `expected` else.
    """
    local = {lane.key for lane in study.lanes if lane.backend == "local"}
    cells = [
        cell.params
        for cell in study.cells
        if cell.lane in local and (cell.status != "complete" if only is None else cell.key in only)
    ]
    return expected(backend, cells, capture, library, stop)


def expected(
    backend: Any,
    cells: Sequence[GenerationParams],
    capture: Capture,
    library: Library | None = None,
    stop: threading.Event | None = None,
) -> Estimate | None:
    """Return what ``cells`` should take on a local backend, those left out that ``library`` would serve.

    The first one's model is loaded, and tried out where it is small (`LocalBackend.measure`). None
    where nothing is known, such as of a backend that measures nothing. What is wrong is for the run to say.
    """
    if not hasattr(backend, "measure"):
        return None
    left = [
        cell for cell in cells if library is None or cache.lookup(library, backend, cell, capture) is None
    ]
    found = []
    for number, cell in enumerate(left):
        with suppress(DiffAtlasError):
            found.append(backend.estimate(cell, capture) if number else backend.measure(cell, capture, stop))
    return together(found)
