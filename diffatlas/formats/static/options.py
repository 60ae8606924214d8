"""What of a run goes into a static folder."""

from __future__ import annotations

from dataclasses import dataclass

from diffatlas.errors import InvalidParams
from diffatlas.formats.static import contract


@dataclass(frozen=True)
class Options:
    """What of a run goes into the folder.

    resolution: longest side of cross-attention in cells; None for the finest layer's, at most `MOST_CELLS`.
    self_resolution: longest side of the grid of self-attention in cells; None as it was captured.
    layers: names, parts or globs (`Capture.attention_layers`); None for all. max_layers: at most so many of each kind,
    spread over the depth. dtype: "float16", or "float32" where ``allow_float32`` says so once more: the contract's own
    validator refuses such a folder. image: of the batch.
    """

    attention: bool = True
    resolution: int | None = None
    self_resolution: int | None = None
    layers: tuple[str, ...] | None = None
    max_layers: int | None = None
    dtype: str = "float16"
    npz: bool = True
    image: int = 0
    allow_float32: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in contract.DTYPES:
            raise InvalidParams(
                f"The dtype is {self.dtype!r}: give {' or '.join(contract.DTYPES)}.", field="dtype"
            )
        if self.dtype == "float32" and not self.allow_float32:
            raise InvalidParams(
                "The contract's own validator refuses a folder of float32, whose files are twice as long as it counts:"
                " leave the dtype out, or allow float32 as well (--allow-float32, allow_float32=True).",
                field="dtype",
            )
        for name in ("resolution", "self_resolution", "max_layers"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InvalidParams(f"{name} is {value!r}: give a whole number from 1.", field=name)
