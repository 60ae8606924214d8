"""Detectors that see each object as a mask: Mask2Former (Cheng et al. 2022) and EoMT (Kerssies et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.bench.scorers.detectors.box import Box, as_pictures
from diffatlas.bench.scorers.detectors.trained import TrainedDetector
from diffatlas.bench.scorers.pretrained import check_finite, judging

#: Pairs of a mask and a class that are looked at, the likeliest: as the detector of GenEval's program has it.
MOST = 100


class MaskDetector(TrainedDetector):
    """Segments instances of the classes that it was trained on."""

    masks = True

    def detect(self, images: Sequence[np.ndarray], nouns: Sequence[str], threshold: float) -> list[list[Box]]:
        """See `Detector`; it looks for all its classes at once."""
        size = images[0].shape[:2]
        with judging(self.loaded):
            given = self._processor(images=as_pictures(images), return_tensors="pt")
            pixels = self.loaded.placed({"pixel_values": given["pixel_values"]})["pixel_values"]
            out = self.loaded.model(pixel_values=pixels)
            logits, drawn = out.class_queries_logits.float(), out.masks_queries_logits.float()
            check_finite(self.loaded, logits, drawn)
            return [
                [
                    Box(box=edges(mask), score=score, noun=self._nouns[label], mask=mask)
                    for label, score, mask in instances(
                        logits[k],
                        lambda chosen, k=k: self._whole(drawn[k, chosen], pixels.shape[-2:], size),
                        threshold,
                    )
                ]
                for k in range(len(images))
            ]

    def _whole(self, masks: Any, seen: tuple[int, int], size: tuple[int, int]) -> Any:
        """Masks' logits (N, h, w) at the size of the image. seen: the size of what the model was given."""
        return stretched(stretched(masks, seen), size)


class PaddedMaskDetector(MaskDetector):
    """EoMT, which sees an image in the corner of a square."""

    def _whole(self, masks: Any, seen: tuple[int, int], size: tuple[int, int]) -> Any:
        masks = stretched(masks, seen)
        sides = self._processor.size
        return self._processor.unpad_image(
            masks[None],
            [size],
            {"shortest_edge": sides["shortest_edge"], "longest_edge": sides["longest_edge"]},
        )[0]


def stretched(masks: Any, size: Sequence[int]) -> Any:
    """Return masks (N, h, w) at another height and width, bilinearly between the middles of their pixels."""
    import torch

    return torch.nn.functional.interpolate(
        masks[None], size=tuple(size), mode="bilinear", align_corners=False
    )[0]


def instances(logits: Any, whole: Any, threshold: float) -> list[tuple[int, float, np.ndarray]]:
    """Return class, score and mask (H, W) bool of each object that is surer than ``threshold``.

    The score is that of the class times the mean of the mask's probabilities within it, of the `MOST` likeliest pairs
    of a mask and a class: as the detector of GenEval's program has it (mmdetection, ``MaskFormerFusionHead``).

    logits: (Q, C + 1) of each mask's class, the last of none. whole: takes numbers of masks, and returns their logits
    (N, H, W) at the size of the image.
    """
    import torch

    likely = logits.softmax(-1)[:, :-1]
    scores, places = likely.flatten().topk(min(MOST, likely.numel()))
    # No mask makes a score higher: those below the threshold need not be drawn.
    places = places[scores > threshold]
    if not len(places):
        return []
    queries, labels = places // likely.shape[1], places % likely.shape[1]
    drawn, back = torch.unique(queries, return_inverse=True)
    masks = whole(drawn)
    inside = masks > 0
    sure = (masks.sigmoid() * inside).flatten(1).sum(1) / (inside.flatten(1).sum(1) + 1e-6)
    found = likely[queries, labels] * sure[back]
    inside = inside.cpu().numpy()
    return [
        (label, score, inside[k])
        for label, score, k in zip(labels.tolist(), found.tolist(), back.tolist(), strict=True)
        if score > threshold
    ]


def edges(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the box of a mask (H, W) that is somewhere true: its first column and row, and those after its last."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
