"""Pictures of stored latents, by the VAE of a loaded pipeline."""

from __future__ import annotations

import numpy as np

from diffatlas.backends.loading import Loaded
from diffatlas.capture import latent_grid, preview
from diffatlas.errors import CapabilityError
from diffatlas.params import GenerationParams


def decode(loaded: Loaded, params: GenerationParams, latents: np.ndarray) -> np.ndarray:
    """Return pictures (B, H, W, 3), uint8, of latents (B, ...) as the pipeline holds clean latents.

    Packed latents are unpacked by the aspect of ``params.width`` and ``params.height``. The random state and
    the VAE are left as they were. The caller holds the pipeline.

    Raises `CapabilityError` where the latents are not of a form that this VAE decodes.
    """
    import torch

    preview.vae_of(loaded.pipe)
    tensor = torch.from_numpy(np.array(latents, dtype=np.float32, order="C"))
    grid = None
    if tensor.ndim == 3 and params.width and params.height:
        grid = latent_grid.grid_of(tensor.shape[1], params.width, params.height)
    try:
        tensor = latent_grid.unpack(loaded.pipe, tensor, grid)
    except (CapabilityError, RuntimeError) as error:
        raise CapabilityError(
            f"Latents of the shape {tuple(latents.shape)} cannot be decoded by the VAE of {loaded.info.name}."
        ) from error
    return preview.decode(loaded.pipe, tensor)
