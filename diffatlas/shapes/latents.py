"""The embedded model's latent space: what its four channels hold.

A latent is (4, 16, 16), one cell per 4 x 4 pixels, about zero mean and unit variance. Channels 0 to 2 are the
cell's mean colour in whitened principal axes of RGB over drawn scenes; channel 3 is the signed distance from
the cell's centre to the nearest edge of a shape, clipped at 6 pixels. The space is thus supervised by
construction; the model's VAE is fitted to it (see `train_vae`). A freely learned space of this size was harder
to denoise for so small a network.
"""

from __future__ import annotations

import functools
import random

import torch
import torch.nn.functional as F

from diffatlas.shapes.render import CLIP, Drawing, draw
from diffatlas.shapes.scenes import sample_scene

FACTOR = 4
CHANNELS = 4


def raw_latents(drawing: Drawing) -> torch.Tensor:
    """Cell means of RGB and of the clipped distance, unscaled: (N, 4, S / 4, S / 4)."""
    rgb = F.avg_pool2d(drawing.images, FACTOR)
    distance = F.avg_pool2d(drawing.distance.clamp(-CLIP, CLIP)[:, None], FACTOR)
    return torch.cat([rgb, distance], 1)


@functools.cache
def whitening() -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (4,) and matrix (4, 4) such that ``matrix @ (raw - mean)`` has unit variance, from 4,000 scenes of
    a fixed seed. The matrix is block diagonal: principal axes of RGB, and the distance's own scale."""
    rng = random.Random(2024)
    generator = torch.Generator().manual_seed(2024)
    raw = torch.cat(
        [raw_latents(draw([sample_scene(rng) for _ in range(500)], generator=generator)) for _ in range(8)]
    )
    cells = raw.permute(0, 2, 3, 1).reshape(-1, CHANNELS).double()
    mean = cells.mean(0)
    values, axes = torch.linalg.eigh(torch.cov((cells[:, :3] - mean[:3]).T))
    # Largest axis first, each pointing where its red, green and blue sum to more than nothing.
    values, axes = values.flip(0), axes.flip(1)
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)
    matrix = torch.zeros(CHANNELS, CHANNELS, dtype=torch.float64)
    matrix[:3, :3] = (axes / values.sqrt()).T
    matrix[3, 3] = 1 / cells[:, 3].std()
    return mean.float(), matrix.float()


def encode(drawing: Drawing) -> torch.Tensor:
    """The latents of drawn scenes, (N, 4, S / 4, S / 4)."""
    mean, matrix = (t.to(drawing.images.device) for t in whitening())
    return torch.einsum("ij,njhw->nihw", matrix, raw_latents(drawing) - mean[:, None, None])
