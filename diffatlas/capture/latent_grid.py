"""From latents as a pipeline holds them to the grid that its VAE decodes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.capture.tables import numbers
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch

#: FLUX and its kin make one token of a patch of this many latents a side.
PATCH = 2


def token_grid(call: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (rows, columns) of the image tokens, from the keyword arguments of a denoiser call, or None.

    FLUX and its kin pass ``img_ids``, a (frame, row, column, ...) per token, where the tokens of reference images
    follow as other frames; Qwen-Image passes ``img_shapes``, a (frames, rows, columns) per image.
    """
    ids = call.get("img_ids")
    if getattr(ids, "ndim", 0) >= 2 and ids.shape[-1] >= 3:
        ids = ids.detach().reshape(-1, *ids.shape[-2:])[0].cpu()
        others = (ids[:, 0] != ids[0, 0]).nonzero()
        own = ids[: int(others[0])] if len(others) else ids
        grid = int(own[:, 1].max()) + 1, int(own[:, 2].max()) + 1
        return grid if math.prod(grid) == len(own) else None
    shapes = call.get("img_shapes")
    while isinstance(shapes, (list, tuple)) and shapes and isinstance(shapes[0], (list, tuple)):
        shapes = shapes[0]
    if isinstance(shapes, (list, tuple)) and len(shapes) == 3:
        return int(shapes[1]), int(shapes[2])
    return None


def grid_of(tokens: int, width: int, height: int) -> tuple[int, int] | None:
    """Return the (rows, columns) with rows * columns = tokens whose aspect is nearest to that of the image.

    None where even that is far off (by more than a factor of 1.5), so that the tokens do not fill the image.
    """
    pairs = [(n, tokens // n) for n in range(1, tokens + 1) if tokens % n == 0]

    def error(pair: tuple[int, int]) -> float:
        return abs(math.log(pair[0] / pair[1] * width / height))

    best = min(pairs, key=error, default=None)
    return best if best is not None and error(best) < math.log(1.5) else None


def describe_packing(pipe: Any, latents: torch.Tensor, grid: tuple[int, int] | None) -> dict[str, Any]:
    """Return what lays packed latents out without the pipeline, as entries of a run's provenance.

    ``latent_grid``: (rows, columns) of the tokens. ``latent_layout``: ``{"patch": 2}`` where `unpack_patches`
    does what the pipeline does, with ``"mean"`` and ``"std"`` by channel where the patches are normalised.
    What is not known is absent; latents that are not packed have neither.

    latents: (B, tokens, channels) whose numbers differ, such as x_T: they are laid out both ways to find out.
    """
    if latents.ndim != 3:
        return {}
    tokens = latents.shape[1]
    side = math.isqrt(tokens)
    rows, columns = grid or (side, side)
    if rows * columns != tokens:
        return {}
    layout: dict[str, Any] = {"patch": PATCH}
    try:
        ours = latents[:1].float()
        theirs = unpack(pipe, ours, grid).cpu().numpy()
        if hasattr(pipe, "_unpatchify_latents") and hasattr(pipe.vae, "bn"):
            mean, std = (statistic.float().cpu() for statistic in _batch_norm(pipe.vae))
            layout |= {"mean": mean.tolist(), "std": std.tolist()}
        same = np.allclose(unpack_patches(ours.cpu().numpy(), (rows, columns), layout), theirs, atol=1e-4)
    except (CapabilityError, ValueError):
        same = False
    if not same:
        return {"latent_grid": [rows, columns]} if grid else {}
    return {"latent_grid": [rows, columns], "latent_layout": layout}


def unpack_patches(latents: np.ndarray, grid: tuple[int, int], layout: Mapping[str, Any]) -> np.ndarray:
    """Return packed latents (B, rows * columns, 4 C) as (B, C, 2 rows, 2 columns), float32, without a pipeline.

    Each token is a patch of 2 x 2 latents, its channels ordered as (C, row, column) within the patch; FLUX.1,
    Qwen-Image and FLUX.2 pack in this way. ``layout`` as `describe_packing` returns it.

    Raises ValueError for other shapes.
    """
    patch = int(layout["patch"])
    batch, tokens, channels = latents.shape
    rows, columns = grid
    if rows * columns != tokens or channels % patch**2:
        raise ValueError(f"{tokens} tokens of {channels} channels are no {rows} x {columns} patches.")
    x = latents.astype(np.float32, copy=False)
    if "mean" in layout:
        x = x * np.asarray(layout["std"], np.float32) + np.asarray(layout["mean"], np.float32)
    x = x.reshape(batch, rows, columns, channels // patch**2, patch, patch)
    return x.transpose(0, 3, 1, 4, 2, 5).reshape(batch, -1, rows * patch, columns * patch)


def lay_out(latents: np.ndarray, provenance: Mapping[str, Any]) -> np.ndarray | None:
    """Return the latents of a stored run as (B, C, H, W), float32, by its provenance; None where it cannot tell.

    latents: (B, C, H, W), one frame (B, C, 1, H, W), or packed (B, tokens, channels).
    """
    if latents.ndim == 5 and latents.shape[2] == 1:
        latents = latents[:, :, 0]
    if latents.ndim == 4:
        return latents.astype(np.float32, copy=False)
    grid, layout = provenance.get("latent_grid"), provenance.get("latent_layout")
    if latents.ndim != 3 or not grid or not layout:
        return None
    return unpack_patches(latents, (int(grid[0]), int(grid[1])), layout)


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
    mean, std = (statistic.view(1, -1, 1, 1).to(patches) for statistic in _batch_norm(vae))
    return patches * std + mean


def _batch_norm(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (mean, std) of a VAE's batch norm, by channel, on the CPU: copied once, not at each preview."""
    import torch

    statistics = (vae.bn.running_mean, vae.bn.running_var)
    mean, variance = (torch.from_numpy(numbers(one)).to(one.dtype) for one in statistics)
    return mean, (variance + vae.config.batch_norm_eps).sqrt()


def vae_factor(vae: Mapping[str, Any]) -> int:
    """Return pixels per latent along a side, from a VAE's config: each block but the last halves the picture."""
    if blocks := vae.get("encoder_block_out_channels") or vae.get("block_out_channels"):
        return 2 ** (len(blocks) - 1)
    if down := vae.get("temperal_downsample"):  # diffusers' own spelling (Qwen-Image's VAE)
        return 2 ** len(down)
    return 8


def image_size(
    pipe: Any, latents: np.ndarray, provenance: Mapping[str, Any]
) -> tuple[int | None, int | None]:
    """Return (width, height) in pixels of what latents (B, C, H, W) or packed ones stand for; None where unknown.

    provenance: with what `describe_packing` has returned.
    """
    vaes = (getattr(pipe, name, None) for name in ("vae", "movq", "vqvae", "vqgan"))
    vae = next((one for one in vaes if one is not None), None)
    # Without one, the latents are the picture.
    factor = 1 if vae is None else vae_factor(getattr(vae, "config", {}))
    grid, layout = provenance.get("latent_grid"), provenance.get("latent_layout")
    if latents.ndim == 4:
        return latents.shape[3] * factor, latents.shape[2] * factor
    if grid and layout:
        return grid[1] * factor * layout["patch"], grid[0] * factor * layout["patch"]
    return None, None
