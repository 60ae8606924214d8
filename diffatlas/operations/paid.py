"""What runs are paid for: images of hosted models, and containers on Modal; and when that is to be confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffatlas.backends.hosted import money
from diffatlas.backends.on_modal import prices
from diffatlas.errors import DiffAtlasError, PaidImages
from diffatlas.operations import cache
from diffatlas.registry import HOSTED

if TYPE_CHECKING:
    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.params import GenerationParams


@dataclass(frozen=True)
class Paid:
    """What is expected to be paid for; None where nothing is."""

    images: money.Estimate | None = None
    modal: prices.Cost | None = None

    def words(self) -> str:
        """Return it in words, to go into a sentence."""
        return "; and for ".join(part.words() for part in (self.images, self.modal) if part)


def check_confirmed(expected: Paid, instead: str) -> None:
    """Raise `PaidImages` where a part of it is to be confirmed: `money.is_much`, `prices.is_much`.

    instead: how to confirm it, to end the sentence.
    """
    images, modal = expected.images, expected.modal
    if (images and money.is_much(images)) or (modal and prices.is_much(modal)):
        raise PaidImages(f"This asks for {expected.words()}: {instead}.", asked=expected.words())


def images_of(
    backend: Any, params: GenerationParams, capture: Capture, library: Library | None = None
) -> list[tuple[str, str, int | None, int | None]]:
    """Return the image that a hosted backend is paid for, as `diffatlas.backends.hosted.money.estimate` takes it.

    Nothing where ``library`` would serve it, or the model cannot make it.
    """
    try:
        params = backend.resolve(params)
    except DiffAtlasError:
        return []
    if library is not None and cache.lookup(library, backend, params, capture) is not None:
        return []
    return [(backend.name, params.model, params.width, params.height)]


def paid_of(
    backend: Any, cells: Sequence[GenerationParams], capture: Capture, library: Library | None = None
) -> Paid:
    """Return what ``cells`` are paid for on a backend of any kind; those that ``library`` would serve cost nothing."""
    if backend.name in HOSTED:
        return Paid(
            money.estimate([one for cell in cells for one in images_of(backend, cell, capture, library)])
        )
    return Paid(modal=on_modal(backend, cells, capture, library)) if backend.name == "modal" else Paid()


def on_modal(
    backend: Any,
    cells: Sequence[GenerationParams],
    capture: Capture,
    library: Library | None = None,
    batched: bool = False,
) -> prices.Cost | None:
    """Return what ``cells`` should cost on a `diffatlas.backends.modal.ModalBackend`; None where none is to run.

    Which of them ``library`` would serve is asked only where all together would have to be confirmed: it takes a
    question to Modal for each. None too where Modal does not answer, which is for the run to say. batched: as
    `diffatlas.operations.cache.lookup` has it.
    """
    try:
        if cells and library is not None and prices.is_much(backend.cost_of(cells)):
            cells = [cell for cell in cells if cache.lookup(library, backend, cell, capture, batched) is None]
        return backend.cost_of(cells) if cells else None
    except DiffAtlasError:
        return None
