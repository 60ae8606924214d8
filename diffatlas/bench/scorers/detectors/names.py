"""The names of COCO's classes: checkpoints spell some of them otherwise than GenEval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A checkpoint's name -> GenEval's, where they differ. The last are those of Pascal VOC, which some keep.
_OTHERWISE = {
    "mouse": "computer mouse",
    "remote": "tv remote",
    "keyboard": "computer keyboard",
    "hair dryer": "hair drier",
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


def noun_of(label: str) -> str:
    """Return GenEval's name of a class from that of a checkpoint; another class keeps its own, in small letters."""
    words = " ".join(label.lower().replace("_", " ").replace("-", " ").split())
    return _OTHERWISE.get(words, words)


def nouns_of(config: Any) -> dict[int, str]:
    """Return GenEval's name of each class of a model's config, by number."""
    labels: Mapping[Any, Any] = config.id2label or {}
    return {int(number): noun_of(str(label)) for number, label in labels.items()}


def unknown(nouns: Any, known: Mapping[int, str], name: str) -> str | None:
    """Return why a detector cannot look for classes, as a sentence; None where it knows all of them."""
    strange = [noun for noun in nouns if noun not in known.values()]
    if not strange:
        return None
    return f"{name} does not know {strange[0]!r}: it knows the {len(set(known.values()))} classes it was trained on."
