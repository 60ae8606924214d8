"""Pictures in a row as a GIF that loops."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

#: Milliseconds for which the last frame stands.
HOLD = 1500


def looping_gif(frames: list[Image], milliseconds: int) -> bytes:
    """Return a GIF: ``milliseconds`` a frame, the last one for `HOLD`. Each frame keeps its own palette."""
    file = io.BytesIO()
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[milliseconds] * (len(frames) - 1) + [HOLD],
        loop=0,
        optimize=False,
        disposal=1,
    )
    return file.getvalue()
