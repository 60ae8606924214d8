"""CLIP in NumPy, from its weights and the paper's description alone (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


class ClipByHand:
    """A saved CLIP whose tokens are the letters of `tests.bench.judges.letters`."""

    def __init__(self, folder: Path, heads: int = 2, patch: int = 8, side: int = 32) -> None:
        self.weights = {
            name: each.astype(np.float64) for name, each in load_file(folder / "model.safetensors").items()
        }
        self.words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        self.heads, self.patch, self.side = heads, patch, side

    def image(self, image: Image.Image) -> np.ndarray:
        """Return the unit vector of a picture."""
        scale = self.side / min(image.size)
        size = [max(self.side, int(edge * scale)) for edge in image.size]
        left, top = ((edge - self.side) // 2 for edge in size)
        small = image.resize(size, Image.Resampling.BICUBIC).crop(
            (left, top, left + self.side, top + self.side)
        )
        pixels = (np.asarray(small, float) / 255 - MEAN) / STD
        cells = self.side // self.patch
        patches = pixels.reshape(cells, self.patch, cells, self.patch, 3).transpose(0, 2, 4, 1, 3)
        kernel = self.weights["vision_model.embeddings.patch_embedding.weight"]
        x = patches.reshape(cells * cells, -1) @ kernel.reshape(len(kernel), -1).T
        x = np.vstack([self.weights["vision_model.embeddings.class_embedding"], x])
        x = x + self.weights["vision_model.embeddings.position_embedding.weight"]
        x = self._norm(x, "vision_model.pre_layrnorm")
        x = self._layers(x, "vision_model", masked=False)
        x = self._norm(x[0], "vision_model.post_layernorm")
        return self._unit(x @ self.weights["visual_projection.weight"].T)

    def text(self, text: str) -> np.ndarray:
        """Return the unit vector of a text, of as much as 77 tokens hold."""
        ids = [self.words["<|startoftext|>"]]
        for word in text.lower().replace("-", " - ").split():
            ids += [*(self.words[letter] for letter in word[:-1]), self.words[f"{word[-1]}</w>"]]
        ids = [*ids[:76], self.words["<|endoftext|>"]]
        x = self.weights["text_model.embeddings.token_embedding.weight"][ids]
        x = x + self.weights["text_model.embeddings.position_embedding.weight"][: len(ids)]
        x = self._layers(x, "text_model", masked=True)
        x = self._norm(x, "text_model.final_layer_norm")[-1]
        return self._unit(x @ self.weights["text_projection.weight"].T)

    def _layers(self, x: np.ndarray, part: str, masked: bool) -> np.ndarray:
        count = len(
            {name.split(".")[3] for name in self.weights if name.startswith(f"{part}.encoder.layers.")}
        )
        for number in range(count):
            layer = f"{part}.encoder.layers.{number}"
            x = x + self._attention(self._norm(x, f"{layer}.layer_norm1"), f"{layer}.self_attn", masked)
            hidden = self._linear(self._norm(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1")
            x = x + self._linear(hidden / (1 + np.exp(-1.702 * hidden)), f"{layer}.mlp.fc2")
        return x

    def _attention(self, x: np.ndarray, part: str, masked: bool) -> np.ndarray:
        q, k, v = (
            self._linear(x, f"{part}.{name}_proj").reshape(len(x), self.heads, -1).transpose(1, 0, 2)
            for name in "qkv"
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        if masked:
            scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return self._linear((weights @ v).transpose(1, 0, 2).reshape(len(x), -1), f"{part}.out_proj")

    def _linear(self, x: np.ndarray, part: str) -> np.ndarray:
        return x @ self.weights[f"{part}.weight"].T + self.weights[f"{part}.bias"]

    def _norm(self, x: np.ndarray, part: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{part}.weight"] + self.weights[f"{part}.bias"]

    @staticmethod
    def _unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x)
