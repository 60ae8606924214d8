"""The colour of an object, by zero-shot CLIP on what is cut out of the image around it: GenEval's way.

Ghosh, Hajishirzi and Schmidt 2023 (arXiv 2310.11513), appendix, and their program: ten colours, three templates, on the
crop of each box with everything outside the object's mask painted grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.bench.scorers.clip_model import Clip
from diffatlas.bench.scorers.detectors.box import Box
from diffatlas.bench.tasks import COLORS

TEMPLATES = (
    "a photo of a {color} {class}",
    "a photo of a {color}-colored {class}",
    "a photo of a {color} object",
)
#: What is painted outside of a mask: #999.
GREY = 0x99


class ColorJudge:
    """Tells the colours of objects; the texts of a class are embedded once."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._classifiers: dict[str, np.ndarray] = {}

    def colors(self, image: np.ndarray, boxes: Sequence[Box], noun: str) -> list[str]:
        """Return one of `COLORS` for each box of a class in an image (H, W, 3) uint8."""
        if noun not in self._classifiers:
            self._classifiers[noun] = self._classifier(noun)
        seen = self.clip.images([crop(image, box) for box in boxes])
        return [COLORS[k] for k in (seen @ self._classifiers[noun].T).argmax(1)]

    def _classifier(self, noun: str) -> np.ndarray:
        """The unit vectors (10, D) of the colours: of each the mean over the templates, made a unit vector again."""
        texts = [
            template.replace("{color}", color).replace("{class}", noun)
            for color in COLORS
            for template in TEMPLATES
        ]
        means = self.clip.texts(texts).reshape(len(COLORS), len(TEMPLATES), -1).mean(1)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def crop(image: np.ndarray, box: Box) -> Any:
    """Return what is cut out around an object, as Pillow's image: everything outside its mask is grey.

    The box is rounded as Pillow rounds it; one that is left without a pixel is a pixel wide.
    """
    from PIL import Image

    if box.mask is not None:
        image = np.where(box.mask[..., None], image, np.uint8(GREY))
    left, top, right, bottom = (round(side) for side in box.box)
    height, width = image.shape[:2]
    left, top = min(left, width - 1), min(top, height - 1)
    return Image.fromarray(image).crop((left, top, max(right, left + 1), max(bottom, top + 1)))
