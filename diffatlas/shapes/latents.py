"""The embedded models' latent space: what its four channels hold.

A latent is (4, 16, 16), one cell per 4 x 4 pixels, about zero mean and unit variance. Channels 0 to 2 are the
cell's mean colour in whitened principal axes of RGB over drawn scenes; channel 3 is the signed distance from
the cell's centre to the nearest edge of a shape, clipped at 6 pixels. The space is thus supervised by
construction; the model's VAE is fitted to it (see `train_vae`). A freely learned space of this size was harder
to denoise for so small a network.
"""

from __future__ import annotations

import random
from typing import Any

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


#: Mean of the raw channels, and the matrix that whitens them: principal axes of RGB over 4,000 drawn scenes,
#: largest variance first, and the distance's own scale. The VAE was fitted to this space.
MEAN = (0.4336726191521284, 0.4311371551469874, 0.4710636439261609, 4.480019189032326)
WHITENING = (
    (1.0263748869090688, 0.9951792325350209, 0.8907635440539617, 0.0),
    (4.6407989741621885, 0.035466743783242896, -5.386946200440229, 0.0),
    (5.6324337286202555, -10.092690743471115, 4.785835394277434, 0.0),
    (0.0, 0.0, 0.0, 0.3664),
)


def encode(drawing: Drawing) -> torch.Tensor:
    """The latents of drawn scenes, (N, 4, S / 4, S / 4)."""
    mean = torch.tensor(MEAN, device=drawing.images.device)
    matrix = torch.tensor(WHITENING, device=drawing.images.device)
    return torch.einsum("ij,njhw->nihw", matrix, raw_latents(drawing) - mean[:, None, None])


@torch.no_grad()
def read(vae: Any, images: torch.Tensor) -> torch.Tensor:
    """The latents that a VAE reads in images (N, 3, S, S) in [0, 1]: the mean of its posterior."""
    return vae.encode(images * 2 - 1).latent_dist.mean


def is_learned(vae: Any) -> bool:
    """Whether a VAE's latents are its own, rather than those of `encode`: how far it reads from these, in 32 scenes.

    The mean squared errors: 0.002 for the VAE of shapes, 1.2 for an untrained one.
    """
    rng = random.Random(0)
    drawing = draw([sample_scene(rng) for _ in range(32)])
    images = drawing.images.to(vae.device)
    return bool((read(vae, images) - encode(drawing).to(vae.device)).pow(2).mean() > 0.3)
