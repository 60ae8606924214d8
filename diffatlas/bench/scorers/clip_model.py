"""CLIP: pictures and texts as unit vectors in one space (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.bench.scorers.pretrained import (
    Loaded,
    check_finite,
    find_checkpoint,
    judging,
    load_image_processor,
    load_model,
    load_tokenizer,
)
from diffatlas.errors import ModelLoadError

#: Pictures or texts that are embedded together.
AT_ONCE = 16


class Clip:
    """A CLIP in memory."""

    def __init__(self, loaded: Loaded, tokenizer: Any, processor: Any) -> None:
        self.loaded = loaded
        self._tokenizer, self._processor = tokenizer, processor
        #: Tokens that the text encoder reads, with those of the beginning and the end.
        self.window = int(loaded.model.config.text_config.max_position_embeddings)

    def images(self, images: Sequence[Any]) -> np.ndarray:
        """Return the unit vectors (N, D) float32 of pictures, each (H, W, 3) uint8 or one of Pillow's."""
        from PIL import Image

        model, found = self.loaded.model, []
        for start in range(0, len(images), AT_ONCE):
            part = [
                one if isinstance(one, Image.Image) else Image.fromarray(one)
                for one in images[start : start + AT_ONCE]
            ]
            with judging(self.loaded):
                inputs = self.loaded.placed(self._processor(images=part, return_tensors="pt"))
                pooled = model.vision_model(pixel_values=inputs["pixel_values"]).pooler_output
                found.append(self._unit(model.visual_projection(pooled)))
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the unit vectors (N, D) float32 of texts, of each as much as the window holds."""
        model, found = self.loaded.model, []
        for start in range(0, len(texts), AT_ONCE):
            part = list(texts[start : start + AT_ONCE])
            with judging(self.loaded):
                tokens = self._tokenizer(
                    part, padding=True, truncation=True, max_length=self.window, return_tensors="pt"
                )
                given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
                pooled = model.text_model(**self.loaded.placed(given)).pooler_output
                found.append(self._unit(model.text_projection(pooled)))
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def beyond(self, text: str) -> int:
        """Return how many tokens of a text the window does not hold: those are not read."""
        return max(0, len(self._tokenizer(text, truncation=False, verbose=False)["input_ids"]) - self.window)

    def _unit(self, features: Any) -> np.ndarray:
        features = features.float()
        check_finite(self.loaded, features)
        return (features / features.norm(dim=-1, keepdim=True)).cpu().numpy()


def open_clip(
    model: str, device: str | None = None, dtype: str | None = None, revision: str | None = None
) -> Clip:
    """Load a CLIP by its id in the registry, its folder, or its id on the Hub.

    device, dtype, revision: as `load_model` and `find_checkpoint` have them. Raises `ModelLoadError` where it cannot be
    loaded, or is none.
    """
    checkpoint = find_checkpoint(model, revision)
    if checkpoint.kind != "clip":
        raise ModelLoadError(
            f"{checkpoint.name} is a {checkpoint.kind} and no CLIP: choose a model of kind clip.",
            field="model",
        )
    tokenizer = load_tokenizer(checkpoint, "CLIPTokenizer")
    processor = load_image_processor(checkpoint)
    return Clip(load_model(checkpoint, "CLIPModel", device, dtype), tokenizer, processor)
