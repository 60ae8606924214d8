"""Pictures on their way to the browser: previews inline and small, final images as files."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from diffatlas.params import GenerationParams
from diffatlas.ui.private_files import private_url

#: (longest side in pixels, WebP quality), best first.
PREVIEW_SIZES = ((96, 75), (96, 50), (80, 40), (64, 30))
#: Bytes that a preview should take: it is sent twice, once as it is made and once with the whole run.
PREVIEW_BYTES = 1200
#: Pixels of the longer side of a picture that a run was given, where it is shown beside the run.
GIVEN_SIDE = 512


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


def image_url(pixels: np.ndarray, visitor: str, name: str = "image.png") -> str:
    """Store (H, W, 3) uint8 pixels as PNG for one visitor and return the address, relative to the page.

    name: of the file, where somebody saves it.
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=4)
    return private_url(visitor, file.getvalue(), name)


def given_pictures(params: GenerationParams, visitor: str) -> list[dict[str, Any]]:
    """Return the pictures that a run was given: name, size, and the address of each for one visitor.

    One whose file is not there has no address.
    """
    return [
        {
            "name": " ".join([one.name, *(str(i + 1) for i in one.place)]),
            "width": one.width,
            "height": one.height,
            "url": None if one.pixels is None else _small_url(one.picture(), visitor),
        }
        for one in params.inputs
    ]


def _small_url(picture: Any, visitor: str) -> str:
    picture.thumbnail((GIVEN_SIDE, GIVEN_SIDE))
    return image_url(np.asarray(picture.convert("L") if picture.mode == "1" else picture), visitor)
