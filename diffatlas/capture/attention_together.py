"""Small attention calls of one shape, read in one product: on a GPU starting a kernel costs more than such a kernel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from diffatlas.capture import attention_maps_gpu
from diffatlas.capture.attention_maps import Part
from diffatlas.capture.attention_ways import Attended, one_by_one


@dataclass
class _Waiting:
    """Calls of one shape: names of their layers, what they were given, and the samples to read."""

    part: Part
    rows: range
    names: list[str] = field(default_factory=list)
    attended: list[Attended] = field(default_factory=list)


class Together:
    """Collects attention calls until one chunk is full, and hands them on as if they were samples of one call.

    read: called with the names of the layers, their samples, and the queries and keys of all of them one after the
        other.
    """

    def __init__(self, read: Callable[[list[str], range, Attended, Part], None]) -> None:
        self._read = read
        self._waiting: dict[Hashable, _Waiting] = {}

    def add(self, name: str, attended: Attended, part: Part, rows: Sequence[int]) -> bool:
        """Take an attention call on; False where it is to be read by itself: a large one, or with a mask of its own."""
        query, key = attended.query, attended.key
        numbers = len(rows) * query.shape[1] * query.shape[2] * key.shape[2]
        alone = part.image is not None or attended.mask is not None or attended.log_sum_exp is not None
        if alone or one_by_one(query) or not 0 < 2 * numbers <= attention_maps_gpu.CHUNK:
            return False
        rows = range(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else None
        if rows is None:
            return False
        places = (part.grid, part.queries.start, part.text.start, part.text.stop)
        form = (places, rows, query.shape, key.shape, query.dtype, query.device, attended.scale)
        waiting = self._waiting.setdefault(form, _Waiting(part, rows))
        waiting.names.append(name)
        waiting.attended.append(attended)
        if (len(waiting.names) + 1) * numbers > attention_maps_gpu.CHUNK:
            self._hand_on(self._waiting.pop(form))
        return True

    def end(self) -> None:
        """Hand on what waits: the denoiser's call is over."""
        while self._waiting:
            self._hand_on(self._waiting.popitem()[1])

    def forget(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def _hand_on(self, waiting: _Waiting) -> None:
        import torch

        some = slice(waiting.rows.start, waiting.rows.stop)
        query, key = (
            torch.cat([getattr(one, of)[some] for one in waiting.attended]) for of in ("query", "key")
        )
        attended = Attended(query, key, waiting.attended[0].scale, None)
        self._read(waiting.names, waiting.rows, attended, waiting.part)
