"""Detectors that look for whatever is named: OWLv2 (Minderer et al. 2023) and Grounding DINO (Liu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffatlas.bench.scorers.detectors.box import Box, as_pictures, boxes_in, corners_of
from diffatlas.bench.scorers.pretrained import Loaded, check_finite, judging


class Owlv2Detector:
    """Asks for each class by a text of its own; a box is of the class that it is likest to."""

    template = "a photo of a {class}"
    masks = False

    def __init__(self, loaded: Loaded, processor: Any, tokenizer: Any) -> None:
        self.loaded = loaded
        self._processor, self._tokenizer = processor, tokenizer
        self._window = int(loaded.model.config.text_config.max_position_embeddings)

    def cannot(self, nouns: Sequence[str]) -> str | None:
        """See `Detector`."""
        for noun in nouns:
            tokens = self._tokenizer(self._asked(noun), truncation=False, verbose=False)["input_ids"]
            if len(tokens) > self._window:
                return f"{self.loaded.name} reads {self._window} tokens, and {noun!r} has more."
        return None

    def detect(self, images: Sequence[np.ndarray], nouns: Sequence[str], threshold: float) -> list[list[Box]]:
        """See `Detector`."""
        size = images[0].shape[:2]
        with judging(self.loaded):
            asked = self._tokenizer(
                [self._asked(noun) for noun in nouns],
                padding="max_length",
                max_length=self._window,
                return_tensors="pt",
            )
            texts = {name: asked[name].repeat(len(images), 1) for name in ("input_ids", "attention_mask")}
            pixels = self._processor(images=as_pictures(images), return_tensors="pt")["pixel_values"]
            out = self.loaded.model(**self.loaded.placed({**texts, "pixel_values": pixels}))
            scores, labels = out.logits.float().sigmoid().max(-1)
            # An image stands in the corner of a square.
            corners = corners_of(out.pred_boxes.float()) * max(size)
            check_finite(self.loaded, scores, corners)
        return _sure(corners, scores, labels, nouns, size, threshold)

    def _asked(self, noun: str) -> str:
        return self.template.replace("{class}", noun)


class GroundingDinoDetector:
    """Asks for all classes in one text; a class is as sure as its tokens are on average.

    So its authors join the tokens of a class when they measure it on COCO; a box is of the class that is surest.
    """

    template = "{class}. {class}."
    masks = False

    def __init__(self, loaded: Loaded, processor: Any, tokenizer: Any) -> None:
        self.loaded = loaded
        self._processor, self._tokenizer = processor, tokenizer
        self._window = int(loaded.model.config.max_text_len)

    def cannot(self, nouns: Sequence[str]) -> str | None:
        """See `Detector`."""
        text, spans = self._text(nouns)
        tokens = self._tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
        if len(tokens["input_ids"]) > self._window:
            return f"{self.loaded.name} reads {self._window} tokens, and the names of its classes have more."
        strange = next(
            (
                noun
                for noun, places in zip(nouns, self._places(tokens["offset_mapping"], spans), strict=True)
                if not places
            ),
            None,
        )
        return None if strange is None else f"{self.loaded.name} has no tokens for {strange!r}."

    def detect(self, images: Sequence[np.ndarray], nouns: Sequence[str], threshold: float) -> list[list[Box]]:
        """See `Detector`."""
        import torch

        size = images[0].shape[:2]
        text, spans = self._text(nouns)
        with judging(self.loaded):
            tokens = self._tokenizer(text, return_offsets_mapping=True)
            places = self._places(tokens["offset_mapping"], spans)
            ids = torch.tensor([tokens["input_ids"]] * len(images))
            texts = {
                "input_ids": ids,
                "token_type_ids": torch.zeros_like(ids),
                "attention_mask": torch.ones_like(ids),
            }
            seen = self._processor(images=as_pictures(images), return_tensors="pt")
            out = self.loaded.model(**self.loaded.placed({**texts, **seen}))
            likely = out.logits.float().sigmoid()
            scores, labels = torch.stack([likely[..., place].mean(-1) for place in places], -1).max(-1)
            corners = corners_of(out.pred_boxes.float())
            check_finite(self.loaded, scores, corners)
            corners = corners * torch.tensor([size[1], size[0]] * 2, device=corners.device)
        return _sure(corners, scores, labels, nouns, size, threshold)

    def _text(self, nouns: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
        """What is asked, and where in it each class is: its first letter and that after its last."""
        text, spans = "", []
        for noun in nouns:
            # A full stop or a question mark ends a class.
            words = noun.lower().replace(".", " ").replace("?", " ").strip()
            text += " " if text else ""
            spans.append((len(text), len(text) + len(words)))
            text += f"{words}."
        return text, spans

    @staticmethod
    def _places(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
        """The numbers of each class's tokens. offsets: where in the text each is; (0, 0) for what is not of it."""
        return [
            [k for k, (first, end) in enumerate(offsets) if start <= first < end <= stop]
            for start, stop in spans
        ]


def _sure(
    corners: Any, scores: Any, labels: Any, nouns: Sequence[str], size: tuple[int, int], threshold: float
) -> list[list[Box]]:
    """The boxes of each image that are surer than ``threshold``; of tensors with images first."""
    found = []
    for box, score, label in zip(corners, scores, labels, strict=True):
        sure = score > threshold
        named = [nouns[k] for k in label[sure].tolist()]
        found.append(boxes_in(box[sure].cpu().numpy(), score[sure].cpu().numpy(), named, size))
    return found
