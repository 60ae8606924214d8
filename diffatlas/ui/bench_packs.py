"""The packs that a visitor may run, by name."""

from __future__ import annotations

from typing import Any

from diffatlas.bench.packs.own import find_pack
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.ui.components.form import whole


def pack_of(library: Library, name: Any, each: Any, seed: Any) -> Pack:
    """Return a pack by name, of ``each`` prompts of each category, drawn by ``seed``.

    Raises `InvalidParams` with the name of the form's field that is wrong.
    """
    numbers = {"each": whole(each), "pack_seed": whole(0 if seed is None else seed)}
    for field, words in (("each", "The size of the pack"), ("pack_seed", "What draws the pack")):
        value = numbers[field]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise InvalidParams(f"{words} is {value!r:.40}: give a whole number.", field=field)
    try:
        return find_pack(library.folder, str(name or ""), numbers["each"], numbers["pack_seed"])
    except InvalidParams as error:
        raise InvalidParams(error.message, field="each" if error.field == "size" else "pack") from None
