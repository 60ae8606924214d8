"""The picture that goes with an answer to an agent: a run's image, or those of a study side by side."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

from PIL import Image

from diffatlas.errors import DiffAtlasError
from diffatlas.ui.programs.callers import Caller
from diffatlas.ui.programs.kept import Kept

#: Pixels of the longer side of a run's image, and of one of several.
ALONE, EACH = 512, 128
#: Images side by side, and in a row.
MOST, ACROSS = 32, 8


def picture_of(kept: Kept, caller: Caller, told: dict[str, Any]) -> bytes | None:
    """Return the picture of an answer as PNG; None where it tells of no image.

    told: what a tool has answered: of a study its cells in their order, from left to right and from the top.
    """
    if "cells" in told and "study" in told:
        return _png(_side_by_side(kept, caller, told["cells"]))
    if told.get("image") and "id" in told:
        return _png(_small(kept, caller, told["id"], ALONE))
    return None


def _side_by_side(kept: Kept, caller: Caller, cells: list[dict[str, Any]]) -> Image.Image | None:
    found = [_small(kept, caller, cell["run"], EACH) for cell in cells[:MOST] if cell["run"]]
    pictures = [picture for picture in found if picture is not None]
    if not pictures:
        return None
    across = min(len(pictures), ACROSS)
    sheet = Image.new("RGB", (across * EACH, -(-len(pictures) // across) * EACH))
    for at, picture in enumerate(pictures):
        sheet.paste(picture, (at % across * EACH, at // across * EACH))
    return sheet


def _small(kept: Kept, caller: Caller, run_id: str, side: int) -> Image.Image | None:
    with suppress(DiffAtlasError):
        picture = Image.fromarray(kept.image(caller.visitor, run_id))
        picture.thumbnail((side, side))
        return picture
    return None


def _png(picture: Image.Image | None) -> bytes | None:
    if picture is None:
        return None
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
