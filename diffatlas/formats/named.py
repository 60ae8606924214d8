"""A run under the name and colour that its layer has, and text made safe for a file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.events import Step
from diffatlas.look import PAPER
from diffatlas.run import Run

#: Codes that reorder the text after them: a name must not rearrange the words beside it.
_BIDI_CONTROLS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Named:
    """A layer: ``name`` is shown, ``colour`` is "#rrggbb". Raises `InvalidParams` for another spelling of it."""

    name: str
    run: Run
    colour: str = PAPER.burgundy

    def __post_init__(self) -> None:
        if not isinstance(self.colour, str) or not _COLOUR.fullmatch(self.colour):
            raise InvalidParams(f"The colour of a layer is {self.colour!r}: give it as #rrggbb.")


def plain(text: object) -> str:
    """Return text on one line that every format can hold: no control, bidirectional or lone surrogate codes."""
    kept = []
    for character in str(text):
        category = unicodedata.category(character)
        if character.isspace():
            kept.append(" ")
        elif category == "Cs" or ord(character) & 0xFFFE == 0xFFFE:
            kept.append("\ufffd")
        elif category != "Cc" and unicodedata.bidirectional(character) not in _BIDI_CONTROLS:
            kept.append(character)
    return " ".join("".join(kept).split())


def slug(text: str, length: int = 48) -> str:
    """Return a name for files and archive members: ASCII letters, digits and hyphens; "run" where none is left."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:length].strip("-") or "run"


def slugs(runs: Sequence[Named]) -> list[str]:
    """Return a slug for each layer, all different."""
    names: list[str] = []
    for entry in runs:
        base = name = slug(entry.name)
        number = 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names


def first_preview(step: Step) -> np.ndarray | None:
    """Return the preview of the first image of the batch, (H, W, 3) uint8, or None."""
    preview = step.preview
    return None if preview is None or not len(preview) else preview[0]
