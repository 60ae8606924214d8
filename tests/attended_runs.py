"""Runs with attention made by hand, without a model: random latents, pictures and maps that are probabilities."""

from __future__ import annotations

import numpy as np

from diffatlas.attention.tokens import Token
from diffatlas.events import Step
from diffatlas.params import GenerationParams
from diffatlas.run import Run

WORDS = ["a", "red", "circle", "and", "a", "blue", "square"]
#: name -> (rows, columns), part of the model
CROSS = {"down_blocks.0.attn2": ((8, 8), "down"), "up_blocks.0.attn2": ((16, 16), "up")}


def table(length: int = 77) -> list[Token]:
    """CLIP's: the beginning, a token a word, the end, and padding that is spelled like the end."""
    words = [
        Token(k + 1, "clip", word, k, False, word, 300 + k, f"{word}</w>") for k, word in enumerate(WORDS)
    ]
    ends = [
        Token(i, "clip", "<|endoftext|>", None, True, None, 999, "<|endoftext|>")
        for i in range(len(words) + 1, length)
    ]
    return [Token(0, "clip", "<|startoftext|>", None, True, None, 998, "<|startoftext|>"), *words, *ends]


def run_of(
    seed: int = 0,
    *,
    steps: int = 3,
    cross: dict[str, tuple[tuple[int, int], str]] | None = None,
    own: dict[str, tuple[tuple[int, int], tuple[int, int], str]] | None = None,
    side: int = 16,
    pixels: int = 64,
    prompt: str = "a red circle and a blue square",
    every: int = 1,
    previews: bool = True,
) -> Run:
    """A run. ``cross``: layers of cross-attention as `CROSS`; ``own``: name -> (grid, cells, part), of self-attention.

    every: which steps have attention. previews: whether steps have pictures.
    """
    rng = np.random.default_rng(seed)
    cross = CROSS if cross is None else cross
    own = own or {}
    tokens = table()

    def latents() -> np.ndarray:
        return rng.normal(size=(1, 4, side, side)).astype(np.float32)

    def picture() -> np.ndarray:
        # Soft shapes with some grain, about as hard to compress as a photograph.
        rough = np.kron(rng.random((8, 8, 3)), np.ones((pixels // 8, pixels // 8, 1)))
        return (235 * rough + 20 * rng.random((pixels, pixels, 3))).astype(np.uint8)

    def shares(*shape: int, axis: int) -> np.ndarray:
        weights = np.exp(rng.normal(size=shape))
        return (weights / weights.sum(axis, keepdims=True)).astype(np.float16)

    made = []
    for index in range(steps):
        maps = {}
        if index % every == 0:
            for name, (grid, _) in cross.items():
                maps[f"cross:{name}"] = shares(1, len(tokens), *grid, axis=1)
            for name, (_, cells, _) in own.items():
                count = cells[0] * cells[1]
                maps[f"self:{name}"] = shares(1, count, count, axis=2).reshape(1, *cells, *cells)
        made.append(
            Step(
                index,
                900.0 - index,
                1.0 / (index + 1),
                latents(),
                noise_pred=latents(),
                preview=picture()[None] if previews else None,
                attention=maps or None,
            )
        )
    described = [
        {"name": n, "kind": "cross", "heads": 8, "grid": list(grid), "tokens": len(tokens), "block": part}
        for n, (grid, part) in cross.items()
    ] + [
        {
            "name": n,
            "kind": "self",
            "heads": 8,
            "grid": list(grid),
            "tokens": None,
            "block": part,
            "cells": list(cells),
        }
        for n, (grid, cells, part) in own.items()
    ]
    kinds = [kind for kind, there in (("cross", cross), ("self", own)) if there]
    captured = (
        {"attention": kinds[0] if len(kinds) == 1 else "all", "attention_heads": "mean"} if kinds else {}
    )
    text = [token.to_dict() for token in tokens]
    return Run(
        id=f"20260131-120000-{seed:08x}",
        params=GenerationParams(
            prompt=prompt, seed=seed, num_inference_steps=steps, width=pixels, height=pixels, scheduler="ddim"
        ),
        status="complete",
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=latents(),
        initial_sigma=14.6,
        total_steps=steps,
        steps=tuple(made),
        images=(picture(),),
        provenance={
            "pipeline": "StableDiffusionPipeline",
            "dtype": "fp32",
            "device": "cpu",
            **({"attention": {"layers": described, "text": text}} if kinds else {}),
        },
        capture={"latents": True, **captured},
    )
