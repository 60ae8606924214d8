"""Denoisers of few channels, which a test can train for a moment, and how far a moment brings them."""

from __future__ import annotations

from typing import Any

import torch

from diffatlas.shapes.data import SceneStream
from diffatlas.shapes.train_denoiser import DenoiserTrainer


def narrow(parts: dict[str, Any]) -> dict[str, Any]:
    """The same parts with a new, narrow denoiser of the same class and blocks."""
    if "unet" in parts:
        name, changes = "unet", {"block_out_channels": (8, 16, 32), "attention_head_dim": (1, 1, 1)}
    else:
        heads = parts["transformer"].config.num_attention_heads
        name, changes = "transformer", {"attention_head_dim": 8, "caption_projection_dim": 8 * heads}
    wide = parts[name]
    return {**parts, name: type(wide).from_config({**wide.config, **changes})}


def share_of_loss_after(trainer: DenoiserTrainer, steps: int, batch: int = 4) -> float:
    """Train for some steps; return the loss after them by the loss before, on the same 16 scenes and noise."""
    task = trainer.task(SceneStream(11).batch(16))

    def loss() -> float:
        with torch.no_grad():
            found, *_ = trainer.loss(task)
        return float(found)

    before = loss()
    for _ in range(steps):
        trainer.step(batch, 0.0)
    return loss() / before
