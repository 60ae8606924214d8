"""Detectors that put boxes around the classes that they were trained on: DETR and its kin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.scorers.detectors.box import Box, as_pictures, boxes_in
from diffatlas.bench.scorers.detectors.trained import TrainedDetector
from diffatlas.bench.scorers.pretrained import check_finite, judging


class BoxDetector(TrainedDetector):
    """Finds objects of the classes that it was trained on."""

    masks = False

    def detect(self, images: Sequence[np.ndarray], nouns: Sequence[str], threshold: float) -> list[list[Box]]:
        """See `Detector`; it looks for all its classes at once."""
        size = images[0].shape[:2]
        with judging(self.loaded):
            given = self.loaded.placed(self._processor(images=as_pictures(images), return_tensors="pt"))
            out = self.loaded.model(**given)
            out.logits, out.pred_boxes = out.logits.float(), out.pred_boxes.float()
            check_finite(self.loaded, out.logits, out.pred_boxes)
            found = self._processor.post_process_object_detection(
                out, threshold=threshold, target_sizes=[size] * len(images)
            )
        return [
            boxes_in(
                one["boxes"].cpu().numpy(),
                one["scores"].cpu().numpy(),
                [self._nouns.get(label, "") for label in one["labels"].tolist()],
                size,
            )
            for one in found
        ]
