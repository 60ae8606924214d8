"""How well a denoiser does on held-out scenes, noise level by noise level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from diffatlas.shapes.data import Batch, SceneStream
from diffatlas.shapes.latents import is_learned, read
from diffatlas.shapes.model import TRAINED, kind_of
from diffatlas.shapes.predict import conditioning, count_zero_tokens, ids_of, predict, spoil

#: Of the scenes and the noise; training draws from other seeds.
SEED = 987_654_321
SCENES = 192
#: Levels at which the loss is measured: the middles of so many equal parts of the schedule.
LEVELS = 8


@dataclass(frozen=True)
class Validation:
    """What `validate` measured, by noise level.

    timesteps: (L,). losses: (L,), the mean squared error of the prediction over scenes, channels and cells. blind:
    (L,), the same of a model that always predicts 0.
    """

    timesteps: list[int]
    losses: list[float]
    blind: list[float]

    @property
    def mean(self) -> float:
        """The mean over the levels."""
        return sum(self.losses) / len(self.losses)

    def line(self) -> str:
        """One line for a log: the mean, and the loss at each level from little noise to much."""
        levels = "  ".join(f"{t}: {loss:.3f}" for t, loss in zip(self.timesteps, self.losses, strict=True))
        return f"validation {self.mean:.4f}   {levels}"


@cache
def held_out(n: int) -> Batch:
    """The scenes, always the same, with the latents of `latents.encode`."""
    return SceneStream(SEED).batch(n)


@torch.no_grad()
def validate(parts: dict[str, Any], device: str = "cpu", n: int = SCENES, batch: int = 64) -> Validation:
    """Measure a pipeline's parts (as `model.load_parts` returns them) on ``n`` held-out scenes a level.

    Each level has the same scenes and noise at every call, so that two checkpoints can be compared.
    """
    data = held_out(n)
    if is_learned(parts["vae"]):
        data = replace(data, latents=read(parts["vae"], data.images.to(parts["vae"].device)).cpu())
    kind = kind_of(parts)
    modules = [parts[name].to(device).eval() for name in TRAINED[kind]]
    processors = modules[0].attn_processors
    if kind == "dit":
        count_zero_tokens(modules[0])
    told = conditioning(parts, ids_of(parts, data.captions, device))
    timesteps, losses, blind = [], [], []
    for k in range(LEVELS):
        noise = torch.randn(data.latents.shape, generator=torch.Generator().manual_seed(SEED + k))
        spoiled = spoil(parts, data.latents, noise, torch.full((n,), (k + 0.5) / LEVELS))
        total = 0.0
        for start in range(0, n, batch):
            part = slice(start, start + batch)
            noisy, target, t = (x[part].to(device) for x in spoiled)
            error = predict(parts, noisy, t, told.take(part)) - target
            total += float(error.pow(2).mean(dim=(1, 2, 3)).sum())
        timesteps.append(int(spoiled.timesteps[0]))
        losses.append(total / n)
        blind.append(float(spoiled.target.pow(2).mean()))
    modules[0].set_attn_processor(processors)
    return Validation(timesteps, losses, blind)
