"""What to capture of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from diffatlas.errors import InvalidParams

#: Raised by one whenever what a run records under the same `Capture` changes, so that runs recorded before are
#: not taken for what would be recorded now. Part of every cache key.
CAPTURE_FORMAT = 1


@dataclass(frozen=True)
class Capture:
    """What `observe` keeps of each step. Nothing here changes the image.

    previews: "off", "every", or N for every Nth step; the first and the last step are always previewed
        unless "off".
    preview_decoder: "linear" (a fitted latent-to-RGB map, nearly free) or "vae" (the pipeline's decoder).
    preview_size: longest side in pixels of a preview; None keeps the decoder's own size (for "linear", the
        latent grid's).
    """

    latents: bool = True
    predictions: bool = True
    x0: bool = True
    metrics: bool = True
    previews: str | int = "off"
    preview_decoder: str = "linear"
    preview_size: int | None = None

    def __post_init__(self) -> None:
        n = self.previews
        every_nth = isinstance(n, int) and not isinstance(n, bool) and n >= 1
        if n not in ("off", "every") and not every_nth:
            raise InvalidParams(
                f"previews is {n!r}: give 'off', 'every' or a whole number of steps, 1 or more.",
                field="previews",
            )
        if self.preview_decoder not in ("linear", "vae"):
            raise InvalidParams(
                f"preview_decoder is {self.preview_decoder!r}: give 'linear' or 'vae'.",
                field="preview_decoder",
            )
        size = self.preview_size
        if size is not None and (not isinstance(size, int) or not 8 <= size <= 4096):
            raise InvalidParams(
                f"preview_size is {size!r}: give None or a number of pixels from 8 to 4096.",
                field="preview_size",
            )

    def wants_preview(self, index: int, total: int) -> bool:
        """Whether step ``index`` (0-based) of ``total`` is previewed."""
        if self.previews == "off":
            return False
        return index % self._interval == 0 or index == total - 1

    def covers(self, other: Capture) -> bool:
        """Whether a run captured with this holds everything that one captured with ``other`` would.

        Previews every n-th step hold those of every step that is a multiple of n. They must come from the same
        decoder and be of the same size: a picture of the VAE is another one than that of the linear map.
        """
        for name in ("latents", "predictions", "x0", "metrics"):
            if getattr(other, name) and not getattr(self, name):
                return False
        if other.previews == "off":
            return True
        if self.previews == "off" or other._interval % self._interval:
            return False
        return (self.preview_decoder, self.preview_size) == (other.preview_decoder, other.preview_size)

    @property
    def _interval(self) -> int:
        """Steps from one preview to the next."""
        return 1 if self.previews == "every" else int(self.previews)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Capture:
        """Build from a dict; unknown names raise `InvalidParams` rather than being dropped."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise InvalidParams(
                f"Unknown capture {unknown[0]!r}: known are {', '.join(sorted(known))}.", field=unknown[0]
            )
        return cls(**data)
