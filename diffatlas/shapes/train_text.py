"""Teach the text encoder what captions say, before the denoiser has to rely on it."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from diffatlas.shapes.data import SLOT_SIZES, slot_table
from diffatlas.shapes.scenes import sample_caption, sample_scene
from diffatlas.shapes.tokenizer import token_ids


class CaptionReader(nn.Module):
    """Linear heads that read what a caption says (`slots`) from the last token's state.

    CLIP's attention is causal, so only the tokens after the words have read all of them: the end token and
    the padding behind it carry the whole caption to the denoiser. Like `CellReader`, it only shapes what is
    trained, and is not part of the model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, n) for n in SLOT_SIZES)

    def forward(self, states: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy summed over the slots, and the share of captions read without a fault.

        states: (N, tokens, width); truth: class indices, (N, slots), -100 where nothing is to be read.
        """
        logits = [head(states[:, -1].float()) for head in self.heads]
        loss = sum(F.cross_entropy(x, truth[:, i]) for i, x in enumerate(logits))
        right = torch.stack([x.argmax(1) == truth[:, i] for i, x in enumerate(logits)]).all(0)
        return loss, right.float().mean()


def train_text(
    text_encoder: Any,
    tokenizer: Any,
    *,
    steps: int,
    batch: int,
    seed: int,
    device: str = "cpu",
    progress: Any = None,
) -> float:
    """Train in place to predict each caption's slots; return the last share of captions read right."""
    rng = random.Random(seed)
    text_encoder.train().to(device)
    reader = CaptionReader(text_encoder.config.hidden_size).to(device)
    parameters = [*text_encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    right = torch.zeros(())
    for step in range(steps):
        scenes = [sample_scene(rng) for _ in range(batch)]
        captions = [sample_caption(rng, s) for s in scenes]
        states = text_encoder(token_ids(tokenizer, captions, device)).last_hidden_state
        loss, right = reader(states, slot_table(scenes, captions).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if progress and step % 20 == 0:
            progress(
                step / steps, f"text step {step}  loss {loss.item():.3f}  captions right {right.item():.2f}"
            )
    return float(right)
