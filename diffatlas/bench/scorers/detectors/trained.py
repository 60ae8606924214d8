"""What detectors have in common that look for all the classes that they were trained on, whatever is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffatlas.bench.scorers.detectors.names import nouns_of, unknown
from diffatlas.bench.scorers.pretrained import Loaded


class TrainedDetector:
    """Knows the classes of its model's config by GenEval's names."""

    template = ""

    def __init__(self, loaded: Loaded, processor: Any) -> None:
        self.loaded = loaded
        self._processor = processor
        self._nouns = nouns_of(loaded.model.config)

    def cannot(self, nouns: Sequence[str]) -> str | None:
        """See `Detector`."""
        return unknown(nouns, self._nouns, self.loaded.name)
