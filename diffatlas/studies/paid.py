"""What a study pays for: providers of hosted models, and Modal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from diffatlas.backends.hosted import money
from diffatlas.errors import DiffAtlasError
from diffatlas.operations.paid import Paid, images_of, on_modal
from diffatlas.registry import HOSTED
from diffatlas.studies.refused import refusal

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Study
    from diffatlas.params import GenerationParams


def paid_of_study(
    open_backend: Callable[[str], Backend],
    study: Study,
    capture: Capture,
    library: Library | None = None,
    only: Collection[str] | None = None,
) -> Paid:
    """Return what the cells of a study cost that are to run, ``only`` those of these keys, if given.

    Those that ``library`` would serve cost nothing, nor do those that their provider cannot run or has no key for.
    """
    images = []
    runs: list[GenerationParams] = []
    for lane in study.lanes:
        if lane.backend not in HOSTED and lane.backend != "modal":
            continue
        try:
            backend = open_backend(lane.backend)
        except DiffAtlasError:
            continue
        cells = [
            cell.params
            for cell in study.in_lane(lane.key)
            if (cell.status != "complete" if only is None else cell.key in only)
            and refusal(cell.params, backend, study) is None
        ]
        if lane.backend == "modal":
            runs += cells
        else:
            images += [one for cell in cells for one in images_of(backend, cell, capture, library)]
    modal = (
        on_modal(open_backend("modal"), runs, capture, library, not study.spec.get("exact")) if runs else None
    )
    return Paid(money.estimate(images) if images else None, modal)
