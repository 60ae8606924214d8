"""What a dataset of runs takes, said before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffatlas.files import bytes_words
from diffatlas.library import format as layout

if TYPE_CHECKING:
    from diffatlas.library.store import Library


@dataclass(frozen=True)
class DatasetSize:
    """The bytes of runs: ``attention`` those of their maps, ``rest`` those of all else; ``attended`` runs have maps.

    They are the bytes in the library. Parquet files are compressed: the dataset takes at most about as much.
    """

    runs: int
    attended: int
    attention: int
    rest: int

    @property
    def sentence(self) -> str:
        """Say it in a line."""
        return self.sentence_with(True)

    def sentence_with(self, attention: bool) -> str:
        """Say it in a line, of a dataset with or without attention."""
        runs = f"{self.runs} run" + ("s" if self.runs != 1 else "")
        if not self.attended:
            none = "It has no attention." if self.runs == 1 else "None has attention."
            return f"{runs}, at most about {bytes_words(self.rest)}. {none}"
        if self.attended < self.runs:
            maps = f"The attention of {self.attended} of them"
        else:
            maps = "Its attention" if self.runs == 1 else "Their attention"
        size = bytes_words(self.attention)
        if not attention:
            return f"{runs}, at most about {bytes_words(self.rest)}. {maps}, {size}, is left out."
        return f"{runs}, at most about {bytes_words(self.rest + self.attention)}. {maps} is {size} of it."


def dataset_size(library: Library, run_ids: Sequence[str]) -> DatasetSize:
    """Return what a dataset of these runs would take, without reading an array. Raises `RunNotFound`."""
    attended = attention = rest = 0
    ids = dict.fromkeys(run_ids)
    for run_id in ids:
        sizes: dict[str, int] = {}
        total = layout.size_of(library.path(run_id), sizes)
        maps = sum(size for name, size in sizes.items() if layout.is_attention_file(name))
        attended += maps > 0
        attention += maps
        rest += total - maps
    return DatasetSize(len(ids), attended, attention, rest)
