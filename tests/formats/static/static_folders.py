"""A static run folder as the reference tools write one, independent of our writer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

TOKENS = ["<|startoftext|>", "a</w>", "cro", "codile</w>", ",</w>", "blue</w>"] + ["<|endoftext|>"] * 71
CROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor"
OWN = "up_blocks.2.attentions.0.transformer_blocks.0.attn1.processor"


def reference_folder(folder: Path, *, steps: int = 3, bins: int = 4, side: int = 8, seed: int = 0) -> Path:
    """Write one: no ``.npz``, cross-attention at 8 x 8, self-attention in ``bins`` bands of a layer of ``side`` a side.

    PNDM takes a step more than is asked: ``num_steps`` is one less than ``steps``.
    """
    rng = np.random.default_rng(seed)
    for name in ("images", "attention/cross", "attention/self"):
        (folder / name).mkdir(parents=True)
    entries = []
    for step in range(steps):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
            folder / f"images/step_{step:03d}.png"
        )
        weights = np.exp(rng.normal(size=(77, 8, 8)))
        cross = (weights / weights.sum(0)).astype("<f2")
        whole = np.exp(rng.normal(size=(side * side, side * side)))
        whole /= whole.sum(1, keepdims=True)
        per = side * side // bins
        own = whole.reshape(bins, per, bins, per).mean((1, 3)).astype("<f2")
        for layer, kind, maps in (("layer_0", "cross", cross), ("layer_1", "self", own)):
            path = f"attention/{kind}/{layer}_step_{step:03d}.bin"
            (folder / path).write_bytes(maps.tobytes())
            entries.append(
                {
                    "step": step,
                    "layer_id": layer,
                    "attention_type": kind,
                    "path": path,
                    "shape": list(maps.shape),
                    "dtype": "float16",
                }
            )
    metadata = {
        "schema_version": "1.0.0",
        "generator": {
            "model_id": "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "seed": 42,
            "cfg_scale": 7.5,
            "num_steps": steps - 1,
            "height": 512,
            "width": 512,
            "layers": ["*attn*"],
            "max_layers": 2,
            "include_cross_attention": True,
            "include_self_attention": True,
            "attention_resolution": 8,
            "self_attention_resolution": bins,
            "dtype": "float16",
            "device": "cuda",
        },
        "prompt": {
            "text": "a crocodile, blue",
            "negative": "blurry",
            "tokens": TOKENS,
            "token_ids": list(range(77)),
            "meaningful_token_count": 7,
        },
        "steps": steps,
        "timesteps": [961 - 20 * k for k in range(steps)],
        "images": [f"images/step_{k:03d}.png" for k in range(steps)],
        "layers": [
            {"id": "layer_0", "processor_key": CROSS, "attention_type": "cross"},
            {"id": "layer_1", "processor_key": OWN, "attention_type": "self"},
        ],
        "attention_files": entries,
        "artifacts": {"metrics": "metrics.json", "latent_pca": "latent_pca.json", "latents_noise": None},
    }
    metrics = {
        "latent_l2_norm": [60.0, 50.0, 40.0][:steps],
        "predicted_noise_l2_norm": [64.0] * steps,
        "cosine_similarity_to_previous": [None, *[0.99] * (steps - 1)],
        "cross_attention_entropy": [
            {"step": k, "mean": 2.0, "by_layer": {"layer_0": 2.0}} for k in range(steps)
        ],
    }
    pca = {"points": [[float(k), 0.0] for k in range(steps)], "explained_variance_ratio": [1.0, 0.0]}
    for name, data in (("metadata", metadata), ("metrics", metrics), ("latent_pca", pca)):
        (folder / f"{name}.json").write_text(json.dumps(data, indent=2, sort_keys=True))
    return folder
