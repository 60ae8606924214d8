"""The pictures that a request starts from or is held to: of image-to-image, inpainting, ControlNet, IP-Adapter."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams

#: Modes of Pillow whose pixels are kept as they are; a PNG file holds each without a loss.
MODES = {"RGB": 3, "RGBA": 4, "L": 0, "1": 0}
MAX_INPUTS = 32
MAX_SIDE = 16384
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageInput:
    """One picture among the arguments of a pipeline's call.

    ``name`` is the argument's; ``place`` where in it the picture is: () for the argument itself, (1,) for the second
    of a list, (0, 1) in lists of lists. ``sha256`` is that of mode, size and pixels, and stands for them in a key.
    """

    name: str
    sha256: str
    mode: str
    width: int
    height: int
    place: tuple[int, ...] = ()
    #: (H, W, channels) or (H, W), uint8; of the mode "1" 0 and 255. None where only the rest has been read.
    pixels: np.ndarray | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, picture: Any, place: tuple[int, ...] = ()) -> ImageInput:
        """Build from a Pillow image of one of `MODES`; others are converted to RGB."""
        if picture.mode not in MODES:
            picture = picture.convert("RGB")
        mode = picture.mode
        pixels = np.asarray(picture.convert("L") if mode == "1" else picture).copy()
        return cls(name, digest(mode, pixels), mode, picture.width, picture.height, place, pixels)

    def picture(self) -> Any:
        """Return the Pillow image. Raises `InvalidParams` where its pixels are not at hand."""
        from PIL import Image

        if self.pixels is None:
            raise InvalidParams(
                f"The picture {self.name!r} of this request is not at hand: give it again.", field="inputs"
            )
        made = Image.fromarray(self.pixels)
        return made.convert("1") if self.mode == "1" else made

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pixels as plain JSON types."""
        data = {name: getattr(self, name) for name in ("name", "sha256", "mode", "width", "height")}
        return data | ({"place": list(self.place)} if self.place else {})

    def with_pixels(self, pixels: np.ndarray) -> ImageInput:
        """Return it with its pixels. Raises `InvalidParams` for other ones than those that it was made of."""
        if digest(self.mode, pixels) != self.sha256:
            raise InvalidParams(f"The picture {self.name!r} has been changed since.", field="inputs")
        return ImageInput(self.name, self.sha256, self.mode, self.width, self.height, self.place, pixels)


def digest(mode: str, pixels: np.ndarray) -> str:
    """Return the SHA-256 (hex) of a picture's mode, size and pixels."""
    head = f"{mode}\0{pixels.shape[1]}x{pixels.shape[0]}\0".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def inputs_in(name: str, value: Any) -> tuple[ImageInput, ...] | None:
    """Return the pictures that the argument ``name`` is made of; None where it is made of anything else.

    ``value``: a Pillow image, or a list of them, or lists in a list.
    """
    found: list[ImageInput] = []

    def collect(part: Any, place: tuple[int, ...]) -> bool:
        if hasattr(part, "getbands") and hasattr(part, "convert"):
            found.append(ImageInput.of(name, part, place))
            return True
        return (
            isinstance(part, (list, tuple))
            and bool(part)
            and len(place) < 2
            and all(collect(each, (*place, i)) for i, each in enumerate(part))
        )

    return tuple(found) if collect(value, ()) else None


def arguments_of(inputs: Iterable[ImageInput]) -> dict[str, Any]:
    """Return the arguments that `inputs_in` has taken apart, by name, as Pillow images."""
    arguments: dict[str, Any] = {}
    for one in inputs:
        if not one.place:
            arguments[one.name] = one.picture()
            continue
        held = arguments.setdefault(one.name, [])
        for _ in one.place[:-1]:
            if len(held) <= one.place[0]:
                held.append([])
            held = held[one.place[0]]
        held.append(one.picture())
    return arguments


def inputs_from(data: Any) -> tuple[ImageInput, ...]:
    """Read a list of what `ImageInput.to_dict` gives. Raises `InvalidParams` for anything else."""
    if not isinstance(data, (list, tuple)):
        raise InvalidParams("The pictures of a request must be a list.", field="inputs")
    return tuple(one if isinstance(one, ImageInput) else _read(one) for one in data)


def check_inputs(inputs: Sequence[ImageInput]) -> None:
    """Raise `InvalidParams` for pictures that can be none of a request's, or whose SHA-256 is that of others."""
    if not isinstance(inputs, tuple) or not all(isinstance(one, ImageInput) for one in inputs):
        raise InvalidParams("Pictures must be a tuple of `diffatlas.ImageInput`.", field="inputs")
    if len(inputs) > MAX_INPUTS:
        raise InvalidParams(f"{len(inputs)} pictures are too many: at most {MAX_INPUTS}.", field="inputs")
    places = [(one.name, one.place) for one in inputs]
    if len(set(places)) < len(places):
        raise InvalidParams("Two pictures have one place: give each once.", field="inputs")
    for one in inputs:
        _read(one.to_dict())
        if one.pixels is not None:
            one.with_pixels(one.pixels)


def _read(data: Any) -> ImageInput:
    wrong = InvalidParams("A picture of this request is not described as it must be.", field="inputs")
    if not isinstance(data, Mapping):
        raise wrong
    place = data.get("place", [])
    sides = (data.get("width"), data.get("height"))
    if (
        set(data) - {"name", "sha256", "mode", "width", "height", "place"}
        or not all(isinstance(data.get(name), str) for name in ("name", "sha256", "mode"))
        or not _NAME.fullmatch(data["name"])
        or not _SHA.fullmatch(data["sha256"])
        or data["mode"] not in MODES
        or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides)
        or not isinstance(place, (list, tuple))
        or len(place) > 2
        or not all(type(i) is int and 0 <= i < MAX_INPUTS for i in place)
    ):
        raise wrong
    return ImageInput(data["name"], data["sha256"], data["mode"], *sides, tuple(place))
