"""Pictures on their way to the browser: previews inline and small, final images as files."""

from __future__ import annotations

import base64
import io

import numpy as np

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


def image_url(pixels: np.ndarray) -> str:
    """Store (H, W, 3) uint8 pixels as PNG in Gradio's cache and return its address, relative to the page.

    The name is a hash of the picture, so it can be fetched only by who was told it.
    """
    from gradio.processing_utils import save_img_array_to_cache
    from gradio.utils import get_upload_folder

    return "gradio_api/file=" + save_img_array_to_cache(pixels, get_upload_folder(), format="png")
