"""What a detector sees in an image, and what a detector is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from diffatlas.bench.rules import Found
from diffatlas.bench.scorers.pretrained import Loaded


@dataclass(frozen=True, eq=False)
class Box(Found):
    """An object: its box (left, top, right, bottom) in pixels, how sure the detector is, its class, and its mask."""

    noun: str = ""
    #: (H, W) bool, of the image's size; None where the detector knows only boxes.
    mask: np.ndarray | None = None


class Detector(Protocol):
    """Finds objects of classes in images."""

    loaded: Loaded
    #: How it is asked for a class; "" where it looks for all that it was trained on.
    template: str
    #: Whether its objects have masks.
    masks: bool

    def cannot(self, nouns: Sequence[str]) -> str | None:
        """Why it cannot look for these classes, as a sentence; None where it can."""

    def detect(self, images: Sequence[np.ndarray], nouns: Sequence[str], threshold: float) -> list[list[Box]]:
        """Return the objects in each image (H, W, 3) uint8, surer than ``threshold``.

        images: all of one size, so that none is padded and each is seen as it is alone. nouns: the classes that it is
        asked for; those of a detector that looks for all of its own are not read.
        """


def as_pictures(images: Sequence[np.ndarray]) -> list[Any]:
    """Return images (H, W, 3) uint8 as Pillow's, whose channels are known for sure."""
    from PIL import Image

    return [Image.fromarray(image) for image in images]


def boxes_in(
    corners: np.ndarray, scores: np.ndarray, nouns: Sequence[str], size: tuple[int, int]
) -> list[Box]:
    """Return boxes cut to the image; those that have nothing of it are left out.

    corners: (N, 4) left, top, right, bottom in pixels. size: height and width of the image.
    """
    height, width = size
    cut = np.clip(np.asarray(corners, float), 0, [width, height, width, height])
    return [
        Box(box=tuple(box.tolist()), score=float(score), noun=noun)
        for box, score, noun in zip(cut, scores, nouns, strict=True)
        if box[2] > box[0] and box[3] > box[1]
    ]


def corners_of(boxes: Any) -> Any:
    """Return (..., 4) centre x, centre y, width, height as left, top, right, bottom; of tensors."""
    import torch

    centre, side = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)
