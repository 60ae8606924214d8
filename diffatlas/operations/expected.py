"""What requests are expected to take before they run, as far as it is known."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diffatlas.backends.bounds import Bounds, together
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
    bounds: Bounds | None = None,
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
    return expected(backend, cells, capture, library, stop, bounds)


def expected(
    backend: Any,
    cells: Sequence[GenerationParams],
    capture: Capture,
    library: Library | None = None,
    stop: threading.Event | None = None,
    bounds: Bounds | None = None,
) -> Estimate | None:
    """Return what ``cells`` should take on a local backend, those left out that ``library`` would serve.

    The first one's model is loaded, and tried out where it is small (`LocalBackend.measure`). None
    where nothing is known, such as of a backend that measures nothing. What is wrong is for the run to say.

    bounds: what seems to take longer than these is measured once more (`LocalBackend.measure_again`), so that nothing
    is refused because the machine was busy when its model was tried out.
    """
    if not hasattr(backend, "measure"):
        return None
    left = [
        cell for cell in cells if library is None or cache.lookup(library, backend, cell, capture) is None
    ]
    if not left:
        return None
    first = None
    with suppress(DiffAtlasError):
        first = backend.measure(left[0], capture, stop)
    found = together([first, *_known(backend, left[1:], capture)])
    if found is None or bounds is None or not bounds.too_slow(found) or not hasattr(backend, "measure_again"):
        return found
    with suppress(DiffAtlasError):
        if backend.measure_again(left[0], stop):
            return together(_known(backend, left, capture))
    return found


def _known(backend: Any, cells: Sequence[GenerationParams], capture: Capture) -> list[Estimate | None]:
    """Return what each of ``cells`` should take, without those that cannot run."""
    found = []
    for cell in cells:
        with suppress(DiffAtlasError):
            found.append(backend.estimate(cell, capture))
    return found
