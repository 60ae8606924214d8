"""Pictures that came over the network: whole, of a kind that is known, and not too large, or not at all."""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from diffatlas.errors import BadDownload

#: What is read; each has a plain form that any browser shows.
KINDS = ("PNG", "JPEG", "WEBP")
#: Of width times height.
MOST_PIXELS = 4096 * 4096
#: What of a JPEG's data is a marker: neither 0xFF itself, nor that the data starts anew, nor a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE = 0xD9
_CUT = "it is cut off or damaged"


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
        opened = Image.open(io.BytesIO(blob), formats=KINDS)
        width, height = opened.size
        if width * height > most_pixels:
            raise _bad(f"it has {width} x {height} pixels, more than are taken")
        # A JPEG with further pictures behind the first (MPO) is read as one.
        kind = "jpeg" if opened.format == "MPO" else str(opened.format).lower()
        if not _WHOLE[kind](blob):
            raise _bad(_CUT)
        opened.load()
        pixels = np.asarray(_rgb(_turned(opened)))
    except BadDownload:
        raise
    except Image.DecompressionBombError:
        raise _bad("it has far more pixels than are taken") from None
    except Exception as error:
        # The library has an exception for each of its parts.
        raise _bad(_reason(blob, error)) from None
    return Picture(pixels, kind, hashlib.sha256(blob).hexdigest(), len(blob))


def _turned(image: Image.Image) -> Image.Image:
    """Return a picture as its file says that it was held; as it is where the file does not say that properly."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


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


# Pillow reads files that are cut off where anybody in the process has told it to (`LOAD_TRUNCATED_IMAGES`), so that
# what is missing would be black. These look for themselves.


def _is_whole_png(blob: bytes) -> bool:
    """Whether all chunks up to the last are there, with the content that was written (PNG specification, 5.3)."""
    at = 8
    while at + 12 <= len(blob):
        end = at + 12 + int.from_bytes(blob[at : at + 4], "big")
        kind, check = blob[at + 4 : at + 8], blob[end - 4 : end]
        if end > len(blob) or zlib.crc32(memoryview(blob)[at + 4 : end - 4]) != int.from_bytes(check, "big"):
            return False
        if kind == b"IEND":
            return True
        at = end
    return False


def _is_whole_jpeg(blob: bytes) -> bool:
    """Whether its segments and its data end with the mark of an end (ITU T.81, B.1); not that of a small preview."""
    at = 2
    while found := _MARKER.search(blob, at):
        at, marker = found.end(), blob[found.end() - 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker != 0x01:
            at += int.from_bytes(blob[at : at + 2], "big")
    return False


def _is_whole_webp(blob: bytes) -> bool:
    """Whether there are as many bytes as it says (RFC 9649, 2.4)."""
    return len(blob) >= 8 + int.from_bytes(blob[4:8], "little")


_WHOLE = {"png": _is_whole_png, "jpeg": _is_whole_jpeg, "webp": _is_whole_webp}


def _reason(blob: bytes, error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        begin = "".join(c for c in blob[:24].decode("latin-1") if c.isascii() and c.isprintable())
        return (
            f"it is no PNG, JPEG or WebP, but begins with {begin!r}"
            if begin
            else "it is no PNG, JPEG or WebP"
        )
    return _CUT


def _bad(why: str) -> BadDownload:
    message = f"The provider's picture cannot be used: {why}. Ask for it again."
    return BadDownload(message, passing=why == _CUT)
