"""What to capture of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from diffatlas.errors import InvalidParams

#: Raised by one whenever what a run records under the same `Capture` changes, so that runs recorded before are
#: not taken for what would be recorded now. Part of every cache key.
CAPTURE_FORMAT = 2

_KINDS = {"off": (), "cross": ("cross",), "self": ("self",), "all": ("cross", "self")}
_ATTENTION_CHOICES = {
    "attention": tuple(_KINDS),
    "attention_heads": ("mean", "each"),
    "attention_halves": ("cond", "both"),
}
#: (field, least, most)
_ATTENTION_NUMBERS = (
    ("attention_max_layers", 1, 10_000),
    ("attention_every", 1, 10_000),
    ("attention_resolution", 1, 256),
)


@dataclass(frozen=True)
class Capture:
    """What `observe` keeps of each step. Nothing here changes the image.

    previews: "off", "every", or N for every Nth step; the first and the last step are always previewed
        unless "off".
    preview_decoder: "linear" (a fitted latent-to-RGB map, nearly free) or "vae" (the pipeline's decoder).
    preview_size: longest side in pixels of a preview; None keeps the decoder's own size (for "linear", the
        latent grid's).
    attention: "off", "cross" (what places of the image read from the tokens of the prompt), "self" (what they
        read from each other) or "all".
    attention_layers: which layers, by glob over their names ("down_blocks.1.*"), by part ("down", "mid", "up") or
        by the place of their block in a transformer ("blocks.3"); None for all.
    attention_max_layers: at most so many layers of each kind, spread over the whole depth; None for all.
    attention_every: every Nth step; the first and the last always.
    attention_heads: "mean" over the heads of a layer, or "each".
    attention_halves: "cond" (the pass for the prompt), or "both" that guidance makes.
    attention_resolution: longest side of the grid that self-attention is pooled to.
    """

    latents: bool = True
    predictions: bool = True
    x0: bool = True
    metrics: bool = True
    previews: str | int = "off"
    preview_decoder: str = "linear"
    preview_size: int | None = None
    attention: str = "off"
    attention_layers: tuple[str, ...] | None = None
    attention_max_layers: int | None = None
    attention_every: int = 1
    attention_heads: str = "mean"
    attention_halves: str = "cond"
    attention_resolution: int = 32

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
        self._check_attention()

    def _check_attention(self) -> None:
        for name, allowed in _ATTENTION_CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(repr(choice) for choice in allowed)
                raise InvalidParams(f"{name} is {value!r}: give one of {known}.", field=name)
        for name, low, high in _ATTENTION_NUMBERS:
            value = getattr(self, name)
            if value is None and name == "attention_max_layers":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidParams(
                    f"{name} is {value!r}: give a whole number from {low} to {high}.", field=name
                )
        layers = self.attention_layers
        if layers is not None:
            if isinstance(layers, str) or not all(isinstance(glob, str) and glob for glob in layers):
                raise InvalidParams(
                    f"attention_layers is {layers!r}: give None or a list of names, such as ['mid', 'up_blocks.1.*'].",
                    field="attention_layers",
                )
            if not layers:
                raise InvalidParams(
                    "attention_layers is empty: give None for all layers, or attention='off'.",
                    field="attention_layers",
                )
            object.__setattr__(self, "attention_layers", tuple(layers))

    @property
    def attention_kinds(self) -> tuple[str, ...]:
        """The kinds of attention that are kept: of "cross" and "self"."""
        return _KINDS[self.attention]

    def wants_attention(self, index: int, total: int) -> bool:
        """Whether the attention of step ``index`` (0-based) of ``total`` is kept."""
        if self.attention == "off":
            return False
        return index % self.attention_every == 0 or index == total - 1

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
        return self._covers_previews(other) and self._covers_attention(other)

    def _covers_previews(self, other: Capture) -> bool:
        if other.previews == "off":
            return True
        if self.previews == "off" or other._interval % self._interval:
            return False
        return (self.preview_decoder, self.preview_size) == (other.preview_decoder, other.preview_size)

    def _covers_attention(self, other: Capture) -> bool:
        if not set(other.attention_kinds) <= set(self.attention_kinds):
            return False
        if other.attention == "off":
            return True
        if other.attention_every % self.attention_every or other.attention_heads != self.attention_heads:
            return False
        if other.attention_halves == "both" and self.attention_halves != "both":
            return False
        if "self" in other.attention_kinds and other.attention_resolution != self.attention_resolution:
            return False
        same = (self.attention_layers, self.attention_max_layers) == (
            other.attention_layers,
            other.attention_max_layers,
        )
        # Which layers a number spreads over can be told of a live model only; names can be told of a stored run.
        everything = self.attention_layers is None and self.attention_max_layers is None
        return same or (everything and other.attention_max_layers is None)

    @property
    def _interval(self) -> int:
        """Steps from one preview to the next."""
        return 1 if self.previews == "every" else int(self.previews)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types; without those of attention where there is none.

        A run without attention thus says what runs said that were made before attention could be captured.
        """
        data = asdict(self)
        if self.attention == "off":
            return {name: value for name, value in data.items() if not name.startswith("attention")}
        if self.attention_layers is not None:
            data["attention_layers"] = list(self.attention_layers)
        return data

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
