"""Fit the VAE to the latent space of `latents`: the decoder to draw it, the encoder to read it.

Or let it find a space of its own (``learned``), as the VAEs of the large models do.
"""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.nn.functional as F

from diffatlas.shapes.data import Batch, SceneStream
from diffatlas.shapes.latents import is_learned, read

#: The encoder's log variance: what it is taught to say of its own certainty.
LOG_VARIANCE = -9.0
#: Of a learned space: weights of the divergence from N(0, 1) and of the image at half its size.
KL_WEIGHT, SMOOTH_WEIGHT = 1e-3, 0.25
#: Scenes over which it is given zero mean and unit variance.
STANDARD_SCENES = 1024


def train_vae(
    vae: Any,
    *,
    minutes: float,
    batch: int,
    seed: int,
    device: str = "cpu",
    rate: float = 2e-3,
    progress: Any = None,
    learned: bool = False,
    workers: int = 0,
) -> Any:
    """Train in place for ``minutes`` and return the VAE.

    The decoder sees latents with noise of a standard deviation drawn from U(0, 0.12), so that it forgives
    what a denoiser leaves behind. Where they are ``learned``, see `learned_losses`; the space is given zero mean
    and unit variance at the end.
    """
    vae.train().to(device)
    stream = SceneStream(seed, device, workers=workers)
    noise = torch.Generator(device=device).manual_seed(seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    start, step = time.monotonic(), 0
    while (spent := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1, (step + 1) / 100) * (1 if spent < 0.4 else (1 - spent) / 0.6 * 0.98 + 0.02)
            )
        data = stream.batch(batch)
        drawing_loss, reading_loss = (learned_losses if learned else fitted_losses)(vae, data, noise)
        optimizer.zero_grad(set_to_none=True)
        (drawing_loss + reading_loss).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if progress and step % 20 == 0:
            progress(
                spent,
                f"vae step {step}  drawing {drawing_loss.item():.4f}  reading {reading_loss.item():.4f}",
            )
    vae.eval().to("cpu")
    if learned:
        standardise(vae, SceneStream(seed + 1).batch(STANDARD_SCENES).images)
    return vae


def fitted_losses(vae: Any, data: Batch, noise: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """How badly the decoder draws the latents of `latents.encode`, and how badly the encoder reads them."""
    target = data.images * 2 - 1
    amount = 0.12 * torch.rand(len(target), 1, 1, 1, generator=noise, device=target.device)
    spoiled = data.latents + amount * torch.randn(data.latents.shape, generator=noise, device=target.device)
    posterior = vae.encode(target).latent_dist
    reading = F.mse_loss(posterior.mean, data.latents) + 0.01 * F.mse_loss(
        posterior.logvar, torch.full_like(posterior.logvar, LOG_VARIANCE)
    )
    return _distance(vae.decode(spoiled).sample, target), 0.1 * reading


def learned_losses(vae: Any, data: Batch, noise: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction from a sample of the posterior, also at half the size, and the divergence from N(0, 1).

    That latents averaged over 2 x 2 cells draw the image at half its size keeps the space smooth (Kouzelis et al.
    2025, EQ-VAE, arXiv 2502.09509), which denoisers need (Rombach et al. 2022, arXiv 2112.10752, for the rest).
    """
    target = data.images * 2 - 1
    posterior = vae.encode(target).latent_dist
    sample = posterior.mean + posterior.std * torch.randn(
        posterior.mean.shape, generator=noise, device=target.device
    )
    drawing = _distance(vae.decode(sample).sample, target)
    half = _distance(vae.decode(F.avg_pool2d(sample, 2)).sample, F.avg_pool2d(target, 2))
    # KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2, the mean over cells and channels.
    divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return drawing + SMOOTH_WEIGHT * half, KL_WEIGHT * divergence


def _distance(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(drawn, target) + 0.1 * F.l1_loss(drawn, target)


@torch.no_grad()
def standardise(vae: Any, images: torch.Tensor) -> None:
    """Give each latent channel zero mean and unit variance over ``images`` (N, 3, S, S) in [0, 1], in place.

    The change is folded into the convolutions on both sides of the latents, so the images drawn stay the same.
    """
    latents = read(vae, images)
    mean, scale = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    # z' = (z - mean) / scale, and log s'^2 = log s^2 - 2 log scale.
    into.weight[:channels] /= scale[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / scale
    into.bias[channels:] -= 2 * scale.log()
    # z = scale z' + mean.
    out.bias += torch.einsum("oi,i->o", out.weight[:, :, 0, 0], mean)
    out.weight *= scale[None, :, None, None]


@torch.no_grad()
def vae_quality(vae: Any, *, n: int = 256, seed: int = 99) -> dict[str, float]:
    """PSNR in dB over ``n`` unseen scenes: decoding true latents, and encoding then decoding.

    Of a learned space the true latents are what the encoder reads, and the two are the same.
    """
    data = SceneStream(seed, vae=vae if is_learned(vae) else None).batch(n)
    target = data.images * 2 - 1

    def psnr(drawn: torch.Tensor) -> float:
        return float(10 * torch.log10(4 / F.mse_loss(drawn.clamp(-1, 1), target)))

    return {
        "decode_psnr": psnr(vae.decode(data.latents).sample),
        "reconstruct_psnr": psnr(vae.decode(vae.encode(target).latent_dist.mode()).sample),
    }
