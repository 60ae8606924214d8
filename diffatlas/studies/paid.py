"""What a study pays providers of hosted models."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from diffatlas.backends.hosted import money
from diffatlas.errors import DiffAtlasError
from diffatlas.operations.expected import paid_of
from diffatlas.registry import HOSTED
from diffatlas.studies.refused import refusal

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Study


def paid_of_study(
    open_backend: Callable[[str], Backend],
    study: Study,
    capture: Capture,
    library: Library | None = None,
    only: Collection[str] | None = None,
) -> money.Estimate:
    """Return what the hosted cells of a study cost that are to run, ``only`` those of these keys, if given.

    Those that ``library`` would serve cost nothing, nor do those that their provider cannot run or has no key for.
    """
    paid = []
    for lane in study.lanes:
        if lane.backend not in HOSTED:
            continue
        try:
            backend = open_backend(lane.backend)
        except DiffAtlasError:
            continue
        for cell in study.in_lane(lane.key):
            runs = cell.status != "complete" if only is None else cell.key in only
            if runs and refusal(cell.params, backend, study) is None:
                paid += paid_of(backend, cell.params, capture, library)
    return money.estimate(paid)
