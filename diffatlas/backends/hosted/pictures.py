"""Pictures that came over the network: whole, of a kind that is known, and not too large, or not at all."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from diffatlas.errors import BadDownload

#: What is read; each has a plain form that any browser shows.
KINDS = ("PNG", "JPEG", "WEBP")
#: Of width times height.
MOST_PIXELS = 4096 * 4096
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class Picture:
    """A picture as it arrived."""

    #: (H, W, 3) uint8 RGB.
    pixels: np.ndarray
    #: "png", "jpeg" or "webp".
    kind: str
    #: Of the file, in hexadecimal.
    sha256: str
    #: Of the file.
    bytes: int


def read_picture(blob: bytes, most_pixels: int = MOST_PIXELS) -> Picture:
    """Read a file of a picture. What is transparent is laid on white; of several frames the first is taken.

    Raises `BadDownload` for what is no PNG, JPEG or WebP, for one that is cut off or damaged, and for one of more
    pixels than ``most_pixels``, before they are decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = Image.open(io.BytesIO(blob), formats=KINDS)
            kind, (width, height) = str(opened.format), opened.size
            if width * height > most_pixels:
                raise _bad(f"it has {width} x {height} pixels, more than are taken")
            if not _is_whole(blob, kind):
                raise _bad("it is cut off")
            opened.load()
            pixels = np.asarray(_rgb(ImageOps.exif_transpose(opened)))
    except BadDownload:
        raise
    except Exception as error:
        raise _bad(_reason(blob, error)) from None
    return Picture(pixels, kind.lower(), hashlib.sha256(blob).hexdigest(), len(blob))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16 bits of grey: the upper eight.
        return Image.fromarray(
            (np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)
        ).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def _is_whole(blob: bytes, kind: str) -> bool:
    """Whether a file ends as its kind does: Pillow can be told by others to read one that is cut off."""
    if kind == "PNG":
        return _PNG_END in blob
    if kind == "JPEG":
        return _JPEG_END in blob[-64 * 1024 :]
    return len(blob) >= 8 + int.from_bytes(blob[4:8], "little")


def _reason(blob: bytes, error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        begin = "".join(c for c in blob[:24].decode("latin-1") if c.isascii() and c.isprintable())
        return (
            f"it is no PNG, JPEG or WebP, but begins with {begin!r}"
            if begin
            else "it is no PNG, JPEG or WebP"
        )
    return "it is cut off or damaged"


def _bad(why: str) -> BadDownload:
    return BadDownload(f"The provider's picture cannot be used: {why}. Ask for it again.")
