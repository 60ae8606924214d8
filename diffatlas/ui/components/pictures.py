"""Pictures on their way to the browser: previews inline and small, final images as files."""

from __future__ import annotations

import base64
import io

import numpy as np

from diffatlas.ui.private_files import private_url

#: (longest side in pixels, WebP quality), best first.
PREVIEW_SIZES = ((96, 75), (96, 50), (80, 40), (64, 30))
#: Bytes that a preview should take: it is sent twice, once as it is made and once with the whole run.
PREVIEW_BYTES = 1200


def preview_uri(pixels: np.ndarray) -> str:
    """Return (H, W, 3) uint8 pixels as a WebP data URI, the best of `PREVIEW_SIZES` that fits `PREVIEW_BYTES`.

    Where none fits, it is the smallest of them. Smaller pictures keep their size: the browser enlarges them.
    """
    from PIL import Image

    whole = Image.fromarray(pixels)
    for side, quality in PREVIEW_SIZES:
        picture = whole.copy()
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, "WEBP", quality=quality, method=2)
        if file.tell() <= PREVIEW_BYTES:
            break
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def image_url(pixels: np.ndarray, visitor: str) -> str:
    """Store (H, W, 3) uint8 pixels as PNG for one visitor and return the address, relative to the page."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return private_url(visitor, file.getvalue(), "image.png")
