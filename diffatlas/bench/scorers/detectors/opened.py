"""A detector by the name of its checkpoint."""

from __future__ import annotations

from diffatlas.bench.scorers.detectors.box import Detector
from diffatlas.bench.scorers.detectors.boxes import BoxDetector
from diffatlas.bench.scorers.detectors.masks import MaskDetector, PaddedMaskDetector
from diffatlas.bench.scorers.detectors.words import GroundingDinoDetector, Owlv2Detector
from diffatlas.bench.scorers.pretrained import (
    find_checkpoint,
    load_image_processor,
    load_model,
    load_tokenizer,
)
from diffatlas.errors import ModelLoadError

#: Kind of a checkpoint -> the class of transformers that it is loaded as, and what asks it, of its own classes.
_CLOSED = {
    "mask2former": ("Mask2FormerForUniversalSegmentation", MaskDetector),
    "eomt": ("EomtForUniversalSegmentation", PaddedMaskDetector),
    "detr": ("DetrForObjectDetection", BoxDetector),
    "rt_detr": ("RTDetrForObjectDetection", BoxDetector),
    "rt_detr_v2": ("RTDetrV2ForObjectDetection", BoxDetector),
    "d_fine": ("DFineForObjectDetection", BoxDetector),
}
#: The same of what is named, with the class of its tokenizer.
_OPEN = {
    "owlv2": ("Owlv2ForObjectDetection", Owlv2Detector, "CLIPTokenizer"),
    "grounding-dino": ("GroundingDinoForObjectDetection", GroundingDinoDetector, "BertTokenizer"),
    "mm-grounding-dino": ("MMGroundingDinoForObjectDetection", GroundingDinoDetector, "BertTokenizer"),
}
KINDS = (*_CLOSED, *_OPEN)


def open_detector(
    model: str, device: str | None = None, dtype: str | None = None, revision: str | None = None
) -> Detector:
    """Load a detector by its id in the registry, its folder, or its id on the Hub.

    device, dtype, revision: as `load_model` and `find_checkpoint` have them. Raises `ModelLoadError` where it cannot be
    loaded, or is of a kind that is not known here.
    """
    checkpoint = find_checkpoint(model, revision)
    kind = checkpoint.kind
    if kind not in KINDS:
        raise ModelLoadError(
            f"{checkpoint.name} is a {kind}, which is no detector that is known here: there are {', '.join(KINDS)}.",
            field="model",
        )
    processor = load_image_processor(checkpoint)
    if kind in _CLOSED:
        cls, asking = _CLOSED[kind]
        return asking(load_model(checkpoint, cls, device, dtype), processor)
    cls, asking, tokens = _OPEN[kind]
    tokenizer = load_tokenizer(checkpoint, tokens)
    return asking(load_model(checkpoint, cls, device, dtype), processor, tokenizer)
