"""Fit the VAE to the latent space of `latents`: the decoder to draw it, the encoder to read it."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.nn.functional as F

from diffatlas.shapes.data import SceneStream

#: The encoder's log variance: what it is taught to say of its own certainty.
LOG_VARIANCE = -9.0


def train_vae(
    vae: Any,
    *,
    minutes: float,
    batch: int,
    seed: int,
    device: str = "cpu",
    rate: float = 2e-3,
    progress: Any = None,
) -> Any:
    """Train in place for ``minutes`` and return the VAE.

    The decoder sees latents with noise of a standard deviation drawn from U(0, 0.12), so that it forgives
    what a denoiser leaves behind.
    """
    vae.train().to(device)
    stream = SceneStream(seed, device)
    noise = torch.Generator(device=device).manual_seed(seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    start, step = time.monotonic(), 0
    while (spent := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1, (step + 1) / 100) * (1 if spent < 0.4 else (1 - spent) / 0.6 * 0.98 + 0.02)
            )
        data = stream.batch(batch)
        target = data.images * 2 - 1
        amount = 0.12 * torch.rand(batch, 1, 1, 1, generator=noise, device=device)
        noisy = data.latents + amount * torch.randn(data.latents.shape, generator=noise, device=device)
        drawn = vae.decode(noisy).sample
        posterior = vae.encode(target).latent_dist
        drawing_loss = F.mse_loss(drawn, target) + 0.1 * F.l1_loss(drawn, target)
        reading_loss = F.mse_loss(posterior.mean, data.latents) + 0.01 * F.mse_loss(
            posterior.logvar, torch.full_like(posterior.logvar, LOG_VARIANCE)
        )
        optimizer.zero_grad(set_to_none=True)
        (drawing_loss + 0.1 * reading_loss).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if progress and step % 20 == 0:
            progress(
                spent,
                f"vae step {step}  drawing {drawing_loss.item():.4f}  reading {reading_loss.item():.4f}",
            )
    return vae.eval().to("cpu")


@torch.no_grad()
def vae_quality(vae: Any, *, n: int = 256, seed: int = 99) -> dict[str, float]:
    """PSNR in dB over ``n`` unseen scenes: decoding true latents, and encoding then decoding."""
    data = SceneStream(seed).batch(n)
    target = data.images * 2 - 1

    def psnr(drawn: torch.Tensor) -> float:
        return float(10 * torch.log10(4 / F.mse_loss(drawn.clamp(-1, 1), target)))

    return {
        "decode_psnr": psnr(vae.decode(data.latents).sample),
        "reconstruct_psnr": psnr(vae.decode(vae.encode(target).latent_dist.mode()).sample),
    }
