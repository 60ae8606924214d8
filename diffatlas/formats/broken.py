"""What is said of a run that broke: what happened, and what to do, in one or two plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.geometry.broken import first_broken, one_colour
from diffatlas.run import Run

if TYPE_CHECKING:
    from diffatlas.library.stored import StoredRun

_HALF = ("fp16", "float16", "torch.float16")
_FULL = "Run the model in fp32 or bf16 (DIFFATLAS_DTYPE)"


def broken(
    first: int | None, images: Sequence[np.ndarray], provenance: Mapping[str, Any], latents_kept: bool = True
) -> list[str]:
    """Return the sentences on latents that are no numbers, else on images that are one colour; none where all is well.

    first: the first state that holds NaN or infinity, 0 for x_T (`first_broken`), or None. images: each (H, W, 3)
    uint8. latents_kept: whether the states could be looked at.
    """
    half = str(provenance.get("dtype")) in _HALF
    if first is not None:
        where = (
            "The noise that the run began from holds"
            if first == 0
            else f"From step {first} on the latents hold"
        )
        told = f"{where} values that are no numbers (NaN or infinity), so what comes after means nothing."
        if half:
            return [f"{told} Half precision (fp16) probably ran out of range: {_lower(_FULL)}."]
        return [f"{told} Try a lower guidance scale, more steps or another scheduler."]
    colours = [one_colour(image) for image in images]
    found = [(place, colour) for place, colour in enumerate(colours) if colour is not None]
    if not found:
        return []
    place, colour = found[0]
    which = "The image is" if len(images) == 1 else f"Image {place + 1} is"
    if len(found) > 1:
        which = f"{len(found)} of {len(images)} images are, the first of them"
    if any(colour):
        named = "white" if all(level == 255 for level in colour) else "one colour"
        return [f"{which} {named} all over. Try a lower guidance scale, more steps or another scheduler."]
    whole = ", though its latents are all numbers" if latents_kept else ""
    if half:
        why = f"In fp16 the decoder (VAE) often runs out of range: {_lower(_FULL)}"
        return [f"{which} entirely black{whole}. {why}. A safety checker would blank it, too."]
    why = "A safety checker blanks what it objects to, and a decoder (VAE) may run out of range"
    return [f"{which} entirely black{whole}. {why}: try another seed or prompt, or fp32."]


def broken_run(run: Run) -> list[str]:
    """Return the same of a whole run."""
    states = [run.initial_latents, *(step.latents for step in run.steps)]
    kept = bool(run.steps) and all(state is not None for state in states)
    return broken(first_broken(states), run.images, run.provenance, kept)


def broken_stored(stored: StoredRun, images: Sequence[np.ndarray]) -> list[str]:
    """Return the same of a stored run, whose latents are read only where one of its images is one colour."""
    if all(one_colour(image) is None for image in images):
        return []
    try:
        first, kept = first_broken(stored.latents()), True
    except CapabilityError:
        first, kept = None, False
    return broken(first, images, stored.provenance, kept)


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
