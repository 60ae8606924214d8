"""Monospaced lettering: the font that Pillow draws with, and numbers and lines that fit a width."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from diffatlas.formats.named import plain

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

#: Width of a character by the size of the font: so it is in IBM Plex Mono, Menlo, Courier and DejaVu Sans Mono.
ADVANCE = 0.6
_FOLDER = "templates/frontend/static/fonts/IBMPlexMono"


@lru_cache(maxsize=32)
def font(size: float, bold: bool = False) -> FreeTypeFont:
    """Return IBM Plex Mono as Gradio bundles it, or Pillow's own font where it cannot be read."""
    from PIL import ImageFont

    found = find_spec("gradio")  # looks for the package, does not import it
    for root in (found and found.submodule_search_locations) or ():
        path = Path(root) / _FOLDER / f"IBMPlexMono-{'Bold' if bold else 'Regular'}.woff2"
        try:
            return ImageFont.truetype(str(path), size)
        except OSError:  # moved, or a FreeType without Brotli
            continue
    return ImageFont.load_default(size)


def fit(value: float | None, width: int = 6, digits: int = 4) -> str:
    """Return a number in at most ``width`` characters where that can be, with up to ``digits`` significant digits."""
    if value is None:
        return "–"
    for kept in range(digits, 0, -1):
        text = f"{value:.{kept}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
        if len(text) <= width:
            break
    return text


def wrap(text: str, cells: int, lines: int) -> list[str]:
    """Return ``text`` in at most ``lines`` lines of ``cells`` cells (wide characters take two), cut with "…"."""
    wrapped: list[str] = []
    line = ""
    for word in _words(plain(text), cells):
        joined = f"{line} {word}" if line else word
        if _cells(joined) <= cells:
            line = joined
        else:
            wrapped.append(line)
            line = word
    wrapped = [*wrapped, line] if line else wrapped
    if len(wrapped) > lines:
        wrapped = [*wrapped[: lines - 1], wrapped[lines - 1][: cells - 2] + " …"]
    return wrapped


def _words(text: str, cells: int) -> Iterator[str]:
    """Yield words, those longer than a line in pieces."""
    for word in text.split():
        piece = ""
        for character in word:
            if _cells(piece + character) > cells:
                yield piece
                piece = ""
            piece += character
        yield piece


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
