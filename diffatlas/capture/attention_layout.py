"""Where the image and the text are in a denoiser's sequences, told from shapes and from what is joined to what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffatlas.capture.latent_grid import token_grid

if TYPE_CHECKING:
    import torch


@dataclass
class Sequences:
    """The sequences of one denoiser call.

    rows: samples in the call, both halves of guidance where they share it.
    side: (H, W) of the latents; None for packed ones.
    tokens: (rows, columns) of packed latents.
    text: tokens of the text; None where the denoiser is not given it as one tensor.
    patch: latents of one token, a side, where the denoiser says so.
    """

    rows: int
    side: tuple[int, int] | None
    tokens: tuple[int, int] | None
    text: int | None
    patch: int | None = None

    @classmethod
    def of(cls, denoiser: Any, args: tuple, kwargs: Mapping[str, Any]) -> Sequences | None:
        """Read the arguments of a denoiser's ``forward``; None where they have no latents."""
        sample = next((kwargs[name] for name in ("sample", "hidden_states", "x") if name in kwargs), None)
        sample = sample if sample is not None else args[0] if args else None
        if isinstance(sample, (list, tuple)) and sample:
            rows, shape = len(sample), (1, *sample[0].shape)
        elif hasattr(sample, "shape") and len(sample.shape) >= 3:
            rows, shape = sample.shape[0], tuple(sample.shape)
        else:
            return None
        side = tokens = None
        if len(shape) > 3:
            side = (int(shape[-2]), int(shape[-1]))
        else:
            root = math.isqrt(shape[1])
            tokens = token_grid(kwargs) or ((root, root) if root**2 == shape[1] else None)
        text = sequence_length(kwargs.get("encoder_hidden_states"))
        # What has blocks that go down works at several sizes.
        several = any(hasattr(denoiser, name) for name in ("down_blocks", "down_block", "mid_block"))
        patch = None if several else getattr(getattr(denoiser, "config", None), "patch_size", None)
        return cls(int(rows), side, tokens, text, patch if isinstance(patch, int) else None)

    def grid(self, places: int) -> tuple[int, int] | None:
        """Return the (rows, columns) of so many places of the image, row by row; None where they are not of it.

        A UNet halves the sides of its latents, rounding up; a transformer makes one token of p x p latents.
        """
        if self.tokens is not None:
            return self.tokens if math.prod(self.tokens) == places else None
        if self.side is None:
            return None
        height, width = self.side
        for size in [self.patch] if self.patch else range(1, max(height, width) + 1):
            found = (-(-height // size), -(-width // size))
            if math.prod(found) <= places:
                return found if math.prod(found) == places else None
        return None

    def split(self, lengths: tuple[int, int]) -> tuple[int, bool] | None:
        """Return (places of the image, whether the text comes first) of two joined lengths; None for any others.

        For a text whose length is not known. It may differ by sample: behind the image it is found all the same.
        """
        fits = [self.grid(length) is not None for length in lengths]
        if not any(fits) or lengths[0] == lengths[1]:
            return None
        # A text may happen to be as long as a coarser grid; the image is longer.
        last = lengths[1] > lengths[0] if all(fits) else fits[1]
        return None if last and self.rows > 1 else (lengths[last], last)


@dataclass
class Frame:
    """One call of an attention layer: how long its inputs are, and which comes first where it joins them."""

    layer: Any
    image: int | None
    text: int | None
    text_input: Any = None
    #: Whether the text comes first in the joint sequence, once that is seen.
    text_first: bool | None = None
    done: bool = False
    #: What was made of the text, where only this tells it from the image. Held, so that no other takes its place.
    from_text: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, layer: Any, args: tuple, kwargs: Mapping[str, Any]) -> Frame:
        """Read the arguments of an attention layer's ``forward``."""
        image = next((kwargs[name] for name in ("hidden_states", "x") if name in kwargs), None)
        image = image if image is not None else args[0] if args else None
        text = kwargs.get("encoder_hidden_states")
        if text is None and len(args) > 1 and getattr(args[1], "ndim", 0) == 3:
            text = args[1]
        return cls(layer, sequence_length(image), sequence_length(text), text)

    @property
    def needs_origin(self) -> bool:
        """Whether lengths cannot tell the text from the image."""
        return self.text is not None and self.text == self.image


def sequence_length(value: Any) -> int | None:
    """Return the places of (B, N, C), or of (B, C, H, W); None of anything else."""
    shape = getattr(value, "shape", ())
    if len(shape) == 3:
        return int(shape[1])
    return int(shape[2] * shape[3]) if len(shape) == 4 else None


def joined(args: tuple, kwargs: Mapping[str, Any], one: bool = False) -> Sequence[torch.Tensor] | None:
    """Return the two tensors that a ``torch.cat`` joins along a sequence; None for any other.

    one: whether (N, C), the sequence of one sample, counts.
    """
    tensors = args[0] if args else kwargs.get("tensors")
    if not isinstance(tensors, (list, tuple)) or len(tensors) != 2:
        return None
    first, second = tensors
    dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    dims = getattr(first, "ndim", 0)
    if dims < 2 or getattr(second, "ndim", 0) != dims or not isinstance(dim, int):
        return None
    if dims == 2:
        return tensors if one and dim == 0 else None
    # Not the samples, which are first, and not the channels, which are last.
    return tensors if 1 <= dim % dims <= dims - 2 else None


def joined_lengths(args: tuple, kwargs: Mapping[str, Any]) -> tuple[int, int]:
    """Return the lengths of what such a call joins."""
    tensors = args[0] if args else kwargs["tensors"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    return int(tensors[0].shape[dim]), int(tensors[1].shape[dim])


def text_first(lengths: tuple[int, int], text: int, image: int) -> bool | None:
    """Whether the text comes first of two joined sequences; None where their lengths do not tell."""
    if text == image:
        return None
    return {(text, image): True, (image, text): False}.get(lengths)


def joint_slices(text: int, image: int, first: bool) -> tuple[slice, slice]:
    """Return where (text, image) are in their joint sequence."""
    if first:
        return slice(0, text), slice(text, text + image)
    return slice(image, image + text), slice(0, image)
