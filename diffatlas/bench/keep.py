"""What a bench keeps of each image, and whether the library has room for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffatlas.backends.look_up import size_words
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams, OverBound
from diffatlas.library.format import size_of

if TYPE_CHECKING:
    from diffatlas.library import Library

#: "paths": latents, predictions and previews of each step, so that every card opens its trajectory at once.
#: "attention": these, and what each word looked at. "pictures": the picture alone; its trajectory is run when it is
#: asked for.
KEEPS = ("paths", "attention", "pictures")
PICTURES = Capture(latents=False, predictions=False, x0=False, metrics=False)


def capture_of(keep: str = "paths") -> Capture:
    """Return what a bench records of each image. Raises `InvalidParams` for another word than those of `KEEPS`."""
    if keep not in KEEPS:
        raise InvalidParams(
            f"A bench keeps {', '.join(KEEPS[:-1])} or {KEEPS[-1]}, and not {keep!r:.40}.", field="keep"
        )
    if keep == "pictures":
        return PICTURES
    return Capture(previews="every", attention="cross" if keep == "attention" else "off")


def keep_of(capture: Capture) -> str:
    """Return the word for what a bench records, as near as there is one."""
    if capture.attention != "off":
        return "attention"
    return "paths" if capture.latents else "pictures"


def check_room(library: Library, run_id: str, images: int) -> None:
    """Raise `OverBound` where so many runs as large as this one are more than the library is to hold.

    They would push each other, and all else, out of it.
    """
    cap = library.usage().cap
    each = size_of(library.path(run_id))
    if cap and each * images > cap:
        raise OverBound(
            f"An image takes {size_words(each)} with all that is kept of it, so that {images:,} take "
            f"{size_words(each * images)}, and the library is to hold {size_words(cap)}: keep the pictures alone, run "
            "fewer images, or let the library be larger (DIFFATLAS_LIBRARY_CAP).",
            field="keep",
        )
