"""Where the image and the text are in a denoiser's sequences, told from shapes and from what is joined to what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffatlas.capture.attention_maps import Part
from diffatlas.capture.latent_grid import token_grid

if TYPE_CHECKING:
    import torch


#: What UNets of diffusers make their keys of, by ``encoder_hid_dim_type`` (Kandinsky 2.1 and 2.2).
_BESIDE = {"text_image_proj": "before", "image_proj": "only"}


@dataclass(frozen=True)
class Sequences:
    """The sequences of one denoiser call.

    rows: samples in the call, both halves of guidance where they share it.
    side: (H, W) of the latents; None for packed ones.
    tokens: (rows, columns) of packed latents.
    text: tokens of the text; None where the denoiser is not given it as one tensor.
    patch: latents of one token, a side, where the denoiser says so.
    references: tokens of other images that follow the packed latents (FLUX Kontext, Qwen-Image-Edit, FLUX.2). They are
        neither of the text nor of the image that is made.
    """

    rows: int
    side: tuple[int, int] | None
    tokens: tuple[int, int] | None
    text: int | None
    patch: int | None = None
    references: int = 0
    #: What the keys of the text hold beside it: an image's tokens before it ("before"), or these alone ("only").
    beside: str | None = None
    #: Tokens of the model's own that it puts before those of the text, and counts in ``text`` (AuraFlow).
    registers: int = 0

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
        references = 0
        if len(shape) > 3:
            side = (int(shape[-2]), int(shape[-1]))
        else:
            root = math.isqrt(shape[1])
            tokens = token_grid(kwargs) or ((root, root) if root**2 == shape[1] else None)
            references = 0 if tokens is None else max(0, int(shape[1]) - math.prod(tokens))
        text = sequence_length(kwargs.get("encoder_hidden_states"))
        registers = 0 if text is None else sequence_length(getattr(denoiser, "register_tokens", None)) or 0
        text = None if text is None else text + registers
        # What has blocks that go down works at several sizes.
        several = any(hasattr(denoiser, name) for name in ("down_blocks", "down_block", "mid_block"))
        config = getattr(denoiser, "config", None)
        patch = None if several else getattr(config, "patch_size", None)
        patch = patch if isinstance(patch, int) else None
        beside = _BESIDE.get(getattr(config, "encoder_hid_dim_type", None))
        return cls(int(rows), side, tokens, text, patch, references, beside, registers)

    def grid(self, places: int) -> tuple[int, int] | None:
        """Return the (rows, columns) of so many places of the image, row by row; None where they are not of it.

        Those of reference images may follow: the grid is that of the places which come first.

        A UNet halves the sides of its latents, rounding up; a transformer makes one token of p x p latents.
        """
        if self.tokens is not None:
            own = math.prod(self.tokens)
            return self.tokens if places in (own, own + self.references) else None
        if self.side is None:
            return None
        height, width = self.side
        for size in [self.patch] if self.patch else range(1, max(height, width) + 1):
            found = (-(-height // size), -(-width // size))
            if math.prod(found) <= places:
                return found if math.prod(found) == places else None
        return None

    def words(self, keys: slice | None) -> slice | None:
        """Return which of the keys that are not of the image are of the text; None for none."""
        if keys is None or self.beside == "only":
            return None
        length = keys.stop - keys.start
        if length == self.text:
            return slice(keys.start + self.registers, keys.stop)
        if self.beside == "before" and self.text is not None and self.text < length:
            return slice(keys.stop - self.text, keys.stop)
        return keys

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


@dataclass(frozen=True)
class Known:
    """What the first call of a layer has shown, for later ones on inputs of the same lengths.

    part: None where nothing of the kinds that are asked for is in it, so that it need not be looked at.
    shape: its queries and keys. by_name: whether it was seen without a mode that sees every function.
    """

    lengths: tuple[int | None, int | None]
    part: Part | None
    shape: tuple[int, int] = (0, 0)
    by_name: bool = True


@dataclass
class Frame:
    """One call of an attention layer: how long its inputs are, and which comes first where it joins them.

    done: whether its attention was read. backend: (queries' shape, keys) that a backend of diffusers computes with now.
    known: what an earlier call of the layer, on such inputs, has shown. found: what this one shows.
    in_torch: whether torch's attention is being looked at already. in_mode: whether the mode is on for it.
    slices: queries, keys and masks of the scores that were computed so far.
    """

    layer: Any
    image: int | None
    text: int | None
    text_input: Any = None
    #: Whether the text comes first in the joint sequence, once that is seen.
    text_first: bool | None = None
    done: bool = False
    backend: tuple[tuple[int, ...], int] | None = None
    in_torch: bool = False
    in_mode: bool = False
    known: Known | None = None
    found: Known | None = None
    slices: list[list[Any]] = field(default_factory=list)
    #: What was made of the text, where only this tells it from the image. Held, so that no other takes its place.
    from_text: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, layer: Any, args: tuple, kwargs: Mapping[str, Any]) -> Frame:
        """Read the arguments of an attention layer's ``forward``."""
        image = next((kwargs[name] for name in ("hidden_states", "x") if name in kwargs), None)
        image = image if image is not None else args[0] if args else None
        text = kwargs.get("encoder_hidden_states")
        # An IP-Adapter's processors are given (text, [tokens of an image, ...]).
        text = text[0] if isinstance(text, (tuple, list)) and text else text
        text = text if text is not None or len(args) < 2 else args[1]
        # Lumina gives self-attention the same sequence as both.
        text = text if getattr(text, "ndim", 0) == 3 and text is not image else None
        return cls(layer, sequence_length(image), sequence_length(text), text)

    @property
    def needs_origin(self) -> bool:
        """Whether lengths cannot tell the text from the image."""
        return self.text is not None and self.text == self.image

    def trace_origin(self, args: tuple, output: Any) -> None:
        """What a function makes of the text is of the text."""
        if args and self._is_text(args[0]):
            found = output if isinstance(output, (tuple, list)) else [output]
            self.from_text += [t for t in found if hasattr(t, "untyped_storage")]

    def first_of(self, tensors: Sequence[torch.Tensor]) -> bool | None:
        """Whether the first of two joined tensors is the text, told from what they were made of."""
        # Both may be views of one tensor, where only being the very one tells.
        for is_text in ([t is self.text_input for t in tensors], [self._is_text(t) for t in tensors]):
            if is_text[0] != is_text[1]:
                return is_text[0]
        return None

    def _is_text(self, value: Any) -> bool:
        if value is self.text_input:
            return True
        if not self.from_text or not hasattr(value, "untyped_storage"):
            return False
        place = value.untyped_storage().data_ptr()
        return any(place == t.untyped_storage().data_ptr() for t in self.from_text)


class TextOrder:
    """Whether the text or the image comes first where they are one sequence, learned from what is joined.

    first: of blocks of one stream; None as long as none is seen. image: places of the image there, where the denoiser
    does not tell how long the text is.
    """

    def __init__(self) -> None:
        self.first: bool | None = None
        self.image: int | None = None

    def forget(self) -> None:
        """What was learned is of a call that is over."""
        self.first = self.image = None

    def on_cat(
        self, sequences: Sequences, frame: Frame | None, args: tuple, kwargs: Mapping[str, Any]
    ) -> None:
        """Tensors were joined: see whether they are the text and the image, and which is first."""
        tensors = joined(args, kwargs, one=frame is None and sequences.text is None)
        if tensors is None:
            return
        lengths = joined_lengths(args, kwargs)
        if frame is not None:
            if frame.text is None or frame.image is None:
                return
            found = text_first(lengths, frame.text, frame.image)
            if found is None and frame.needs_origin and lengths == (frame.text, frame.image):
                found = frame.first_of(tensors)
            if found is not None:
                frame.text_first = self.first = found
            return
        if sequences.text is None:
            self.image, self.first = sequences.split(lengths) or (self.image, self.first)
        elif sequences.text in lengths:
            image = sum(lengths) - sequences.text
            if sequences.grid(image) is not None:
                found = text_first(lengths, sequences.text, image)
                self.first = self.first if found is None else found


def part_of(
    frame: Frame,
    sequences: Sequences,
    order: TextOrder,
    shape: tuple[int, int],
    kinds: Sequence[str],
    resolution: int,
) -> Part | None:
    """Return where the image and the text are in an attention call; None where that is not known, or not asked for.

    shape: (queries, keys). kinds and resolution: `Capture.attention_kinds`, `Capture.attention_resolution`.
    """
    queries, keys = shape
    places, text, image = queries, None, None
    start = 0
    if frame.text is not None and queries == frame.image and keys == frame.text:
        text = slice(0, keys)
    elif frame.text is not None and frame.image is not None and keys == frame.text + frame.image:
        first = frame.text_first if frame.text_first is not None else order.first
        if first is None or queries not in (keys, frame.image):
            return None
        places = frame.image
        text, image = joint_slices(frame.text, frame.image, first)
        start = image.start if queries == keys else 0
    elif frame.text is None and queries == keys and "context_refiner" not in frame.layer.name:
        image = slice(0, keys)
        places = order.image or queries - (sequences.text or 0)
        if order.first is not None and sequences.grid(queries) is None and places < queries:
            # A block of one stream: its text and image were joined before it.
            text, image = joint_slices(queries - places, places, order.first)
            start = image.start
        else:
            places = queries
    else:
        return None
    grid = sequences.grid(places)
    text = sequences.words(text) if "cross" in kinds else None
    image = image if "self" in kinds else None
    if grid is None or (text is None and image is None):
        return None
    # Of reference images, which may follow, neither queries nor keys.
    own = math.prod(grid)
    if image is not None:
        image = slice(image.start, image.start + own)
    return Part(slice(start, start + own), grid, text, image, -(-max(grid) // resolution))


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
