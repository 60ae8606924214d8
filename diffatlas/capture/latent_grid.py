"""From latents as a pipeline holds them to the grid that its VAE decodes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch


def token_grid(call: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (rows, columns) of the image tokens, from the keyword arguments of a denoiser call, or None.

    FLUX and its kin pass ``img_ids``, a (frame, row, column, ...) per token; Qwen-Image passes ``img_shapes``,
    a (frames, rows, columns) per image.
    """
    ids = call.get("img_ids")
    if ids is not None:
        return int(ids[..., 1].max()) + 1, int(ids[..., 2].max()) + 1
    shapes = call.get("img_shapes")
    while isinstance(shapes, (list, tuple)) and shapes and isinstance(shapes[0], (list, tuple)):
        shapes = shapes[0]
    if shapes and len(shapes) == 3:
        return int(shapes[1]), int(shapes[2])
    return None


def unpack(pipe: Any, latents: torch.Tensor, grid: tuple[int, int] | None) -> torch.Tensor:
    """Return latents as (B, C, H, W), in the scaling that `diffatlas.capture.preview.to_vae` undoes.

    latents: (B, C, H, W), a single frame (B, C, 1, H, W), or packed (B, tokens, channels).
    grid: (rows, columns) of packed tokens; None assumes a square image.

    Raises `CapabilityError` for video latents and for a packing that the pipeline cannot undo.
    """
    if latents.ndim == 3:
        latents = _unpack_tokens(pipe, latents, grid)
    if latents.ndim == 5 and latents.shape[2] == 1:
        latents = latents[:, :, 0]
    if latents.ndim != 4:
        raise CapabilityError(
            f"These latents have the shape {tuple(latents.shape)}, which is no single image, and previews of"
            " video are not supported. Set previews='off'; everything else is captured.",
            field="previews",
        )
    config = pipe.vae.config
    channels = config.get("latent_channels") or config.get("z_dim")
    if channels is not None and channels != latents.shape[1]:
        raise CapabilityError(
            f"These latents have {latents.shape[1]} channels and the VAE decodes {channels}, so no preview can be"
            " made of them. Set previews='off'; everything else is captured.",
            field="previews",
        )
    return latents


def _unpack_tokens(pipe: Any, latents: torch.Tensor, grid: tuple[int, int] | None) -> torch.Tensor:
    tokens = latents.shape[1]
    rows, columns = grid or (math.isqrt(tokens), math.isqrt(tokens))
    if rows * columns == tokens and hasattr(pipe, "_unpack_latents"):  # FLUX.1, Qwen-Image
        # Each token is a patch of 2 x 2 latents, and the pipeline asks for the image's size in pixels.
        factor = pipe.vae_scale_factor
        known = {"height": 2 * factor * rows, "width": 2 * factor * columns, "vae_scale_factor": factor}
        names = list(inspect.signature(pipe._unpack_latents).parameters)[1:]
        if set(names) <= set(known):
            return pipe._unpack_latents(latents, **{name: known[name] for name in names})
    if rows * columns == tokens and hasattr(pipe, "_unpatchify_latents"):  # FLUX.2
        patches = latents.transpose(1, 2).unflatten(2, (rows, columns))
        return pipe._unpatchify_latents(_undo_batch_norm(pipe.vae, patches))
    raise CapabilityError(
        f"{type(pipe).__name__} packs its latents as {tokens} tokens in a way that cannot be undone here."
        " Set previews='off'; everything else is captured.",
        field="previews",
    )


def _undo_batch_norm(vae: Any, patches: torch.Tensor) -> torch.Tensor:
    """FLUX.2 normalises its latents, as patches, with the statistics that its VAE keeps in a batch norm."""
    if not hasattr(vae, "bn"):
        return patches
    mean, var = (s.view(1, -1, 1, 1).to(patches) for s in (vae.bn.running_mean, vae.bn.running_var))
    return patches * (var + vae.config.batch_norm_eps).sqrt() + mean
