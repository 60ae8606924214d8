"""Attention made by hand: steps as `observe` would keep them, of layers with known maps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from diffatlas.attention.tokens import Token
from diffatlas.events import Step

#: name -> (rows, columns), block
CROSS = {
    "down_blocks.0.attn2": ((8, 16), "down"),
    "mid_block.attn2": ((2, 4), "mid"),
    "up_blocks.1.attn2": ((4, 8), "up"),
}
OWN = {"up_blocks.1.attn1": ((4, 8), "up")}
WORDS = ["a", "red", "circle", "and", "a", "blue", "square"]


def table(words: list[str] = WORDS, length: int = 12, split: str = "circle") -> list[Token]:
    """A CLIP-like table: the beginning, a token a word (two for ``split``), the end and padding."""
    tokens = [Token(0, "clip", "<start>", None, True)]
    for w, word in enumerate(words):
        for text in (word[:3], word[3:]) if word == split else (word,):
            tokens.append(Token(len(tokens), "clip", text, w, False, word))
    return tokens + [Token(i, "clip", "<end>", None, True) for i in range(len(tokens), length)]


def trace(
    steps: tuple[int, ...] = (0, 1, 2, 3),
    *,
    seed: int = 0,
    batch: int = 1,
    heads: int = 0,
    both: bool = False,
    words: list[str] = WORDS,
    told: bool = True,
) -> Any:
    """A trace with random cross and self attention in float16, and one step without any at the end.

    heads: 0 for the mean. told: whether the capture that made it is known.
    """
    rng = np.random.default_rng(seed)
    tokens = table(words)
    lead = (*((2,) if both else ()), batch, *((heads,) if heads else ()))
    made = []
    for index in steps:
        maps = {}
        for name, (grid, _) in CROSS.items():
            maps[f"cross:{name}"] = softmax(rng.normal(size=(*lead, len(tokens), *grid)) * 2, -3)
        for name, (grid, _) in OWN.items():
            flat = softmax(rng.normal(size=(*lead, *grid, grid[0] * grid[1])) * 2, -1)
            maps[f"self:{name}"] = flat.reshape(*flat.shape[:-1], *grid)
        made.append(Step(index=index, timestep=0.0, sigma=0.0))
        # A frozen event; `Step.attention` may not be among its fields yet.
        object.__setattr__(made[-1], "attention", {k: v.astype(np.float16) for k, v in maps.items()})
    last = Step(index=steps[-1] + 1, timestep=0.0, sigma=0.0)
    object.__setattr__(last, "attention", None)
    layers = [
        {"name": n, "kind": kind, "heads": heads or 4, "grid": list(grid), "tokens": count, "block": block}
        for kind, group, count in (("cross", CROSS, len(tokens)), ("self", OWN, 0))
        for n, (grid, block) in group.items()
    ]
    capture = {"attention": "all", "attention_heads": "each" if heads else "mean"}
    return SimpleNamespace(
        steps=[*made, last],
        initial_latents=np.zeros((batch, 4, 8, 16), np.float32),
        provenance={"attention": {"layers": layers, "text": [t.to_dict() for t in tokens]}},
        capture=capture if told else None,
    )


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(logits - logits.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
