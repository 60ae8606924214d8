"""Pictures of latents: the VAE's own decoder, or a linear map that imitates it at almost no cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch

# The fit sees this many images of this many latents a side: 1152 samples for the (C + 1) x 3 unknowns.
FIT_IMAGES = 8
FIT_SIDE = 12
FIT_PATCHES = 4


@dataclass(frozen=True)
class LinearMap:
    """rgb = latents @ weight + bias, with rgb in [0, 1]. weight: (C, 3), bias: (3,), float32."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Map latents (B, C, H, W) to pictures (B, H, W, 3), uint8."""
        rgb = latents.astype(np.float32, copy=False).transpose(0, 2, 3, 1) @ self.weight + self.bias
        return to_uint8(rgb)

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain JSON types, which keep every float32 exactly."""
        return {"weight": self.weight.tolist(), "bias": self.bias.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinearMap:
        """Read what `to_dict` returned. Raises ValueError for other shapes than (C, 3) and (3,)."""
        weight, bias = (np.asarray(data[name], dtype=np.float32) for name in ("weight", "bias"))
        if weight.ndim != 2 or weight.shape[1] != 3 or bias.shape != (3,):
            raise ValueError(
                f"A linear map has a weight (C, 3) and a bias (3,), not {weight.shape}, {bias.shape}."
            )
        return cls(weight=weight, bias=bias)


#: The state of a model that works on the picture itself, from -1 to 1 (DeepFloyd IF).
PIXELS = LinearMap(weight=np.eye(3, dtype=np.float32) / 2, bias=np.full(3, 0.5, dtype=np.float32))

_FITTED: WeakKeyDictionary[Any, LinearMap] = WeakKeyDictionary()


def vae_of(pipe: Any) -> Any:
    """Return the pipeline's VAE, or raise `CapabilityError` where it has none that encodes and decodes."""
    vae = getattr(pipe, "vae", None)
    if vae is None or not hasattr(vae, "encode") or not hasattr(vae, "decode"):
        raise CapabilityError(
            f"{type(pipe).__name__} has no VAE to make previews with: set previews='off'.", field="previews"
        )
    return vae


def are_pixels(pipe: Any, latents: torch.Tensor) -> bool:
    """Whether states (B, C, H, W) are pictures: of three channels, in a pipeline that has no decoder."""
    decoders = ("vae", "movq", "vqvae", "vqgan", "decoder")
    return latents.ndim == 4 and latents.shape[1] == 3 and not any(getattr(pipe, n, None) for n in decoders)


def linear_map(pipe: Any) -> LinearMap:
    """Return the least-squares linear map from the pipeline's latents to RGB, fitted once per VAE object.

    The samples are the latents of a few synthetic pictures (coloured patches, always the same), against what
    the decoder makes of them, averaged over the pixels of each latent. Fitting costs one encoding and one
    decoding of `FIT_IMAGES` small pictures and leaves the global random state alone.
    """
    vae = vae_of(pipe)
    if vae not in _FITTED:
        _FITTED[vae] = _fit(vae, int(getattr(pipe, "vae_scale_factor", 8)), _device(pipe))
    return _FITTED[vae]


def decode(pipe: Any, latents: torch.Tensor) -> np.ndarray:
    """Decode latents (B, C, H, W), as the pipeline scales them, into pictures (B, H, W, 3), uint8.

    The VAE computes as the pipeline lets it, in float32 where its config says ``force_upcast``, and is left
    with the dtypes it had.
    """
    vae, device = vae_of(pipe), _device(pipe)
    with _undisturbed(vae, device) as dtype:
        rgb = _decode(vae, to_vae(vae, latents.to(device)).to(dtype)).float()
    return to_uint8(rgb.permute(0, 2, 3, 1).cpu().numpy() / 2 + 0.5)


def to_vae(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Undo the scaling of a pipeline's latents (B, C, H, W), by the constants of the VAE's config."""
    mean, std, scale, shift = _constants(vae, latents)
    return latents * std / scale + mean + shift


def from_vae(vae: Any, z: torch.Tensor) -> torch.Tensor:
    """Scale the VAE's latents (B, C, H, W) as the pipeline holds them: the inverse of `to_vae`."""
    mean, std, scale, shift = _constants(vae, z)
    return (z - mean - shift) * scale / std


def resize(pictures: np.ndarray, longest_side: int) -> np.ndarray:
    """Resize pictures (B, H, W, 3), uint8, to the given longest side; the aspect ratio is kept."""
    from PIL import Image

    height, width = pictures.shape[1:3]
    ratio = longest_side / max(height, width)
    if ratio == 1:
        return pictures
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    method = Image.Resampling.BILINEAR if ratio > 1 else Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(p).resize(size, method)) for p in pictures])


def to_uint8(rgb: np.ndarray) -> np.ndarray:
    """Round colours in [0, 1] to uint8; those outside are clipped, and NaN becomes black."""
    levels = np.fmax(rgb, 0)  # Of NaN and 0 it gives 0.
    np.minimum(levels, 1, out=levels)
    levels *= 255
    return np.rint(levels, out=levels).astype(np.uint8)


def _constants(vae: Any, like: torch.Tensor) -> tuple[Any, Any, float, float]:
    """Return (mean, std, scale, shift): z = latents * std / scale + mean + shift."""
    config = vae.config
    scale = config.get("scaling_factor") or 1.0
    shift = config.get("shift_factor") or 0.0
    if config.get("latents_mean") is None or config.get("latents_std") is None:
        return 0.0, 1.0, scale, shift
    mean, std = (like.new_tensor(config[name]).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std"))
    return mean, std, scale, shift


def _device(pipe: Any) -> torch.device:
    # An offloaded VAE rests on the CPU and computes elsewhere.
    return getattr(pipe, "_execution_device", None) or pipe.vae.device


def _fit(vae: Any, factor: int, device: torch.device) -> LinearMap:
    import torch

    pictures = torch.from_numpy(_fit_pictures(FIT_SIDE * factor))
    with _undisturbed(vae, device) as dtype:
        z = _encode(vae, pictures.to(device, dtype))
        rgb = _decode(vae, z).float() / 2 + 0.5
        latents = from_vae(vae, z.float())
        targets = torch.nn.functional.adaptive_avg_pool2d(rgb, latents.shape[-2:])
    x = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).double().cpu().numpy()
    y = targets.permute(0, 2, 3, 1).reshape(-1, 3).double().cpu().numpy()
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    solution = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float32)
    return LinearMap(weight=solution[:-1], bias=solution[-1])


def _fit_pictures(side: int) -> np.ndarray:
    """Return (FIT_IMAGES, 3, side, side) float32 in [-1, 1]: discs and squares of one colour on white or black.

    Plain patches lie in the domain of nearly every image VAE, and together they span the colours.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    pictures = []
    for i in range(FIT_IMAGES):
        picture = np.full((3, side, side), -1.0 if i % 2 else 1.0)
        for _ in range(FIT_PATCHES):
            dy, dx = np.abs(y - rng.uniform(0, side)), np.abs(x - rng.uniform(0, side))
            radius, round_ = rng.uniform(side / 10, side / 4), rng.random() < 0.5
            inside = np.hypot(dy, dx) < radius if round_ else np.maximum(dy, dx) < radius
            picture[:, inside] = rng.uniform(-1, 1, (3, 1))
        pictures.append(picture.astype(np.float32))
    return np.stack(pictures)


def _encode(vae: Any, pictures: torch.Tensor) -> torch.Tensor:
    encoded = vae.encode(pictures.unsqueeze(2) if _has_frames(vae) else pictures, return_dict=False)[0]
    z = encoded.mode() if hasattr(encoded, "sample") else encoded  # a distribution, or the latents
    return z[:, :, 0] if z.ndim == 5 else z


def _decode(vae: Any, z: torch.Tensor) -> torch.Tensor:
    pictures = vae.decode(z.unsqueeze(2) if _has_frames(vae) else z, return_dict=False)[0]
    return pictures[:, :, 0] if pictures.ndim == 5 else pictures


def _has_frames(vae: Any) -> bool:
    import torch

    return any(isinstance(m, torch.nn.Conv3d) for m in vae.modules())


@contextmanager
def _brought(vae: Any, device: torch.device) -> Iterator[None]:
    """Have a VAE on the device that waits in main memory until it is used (diffusers' model offload).

    Its own hook would send the denoiser away, which the next step needs again, and leave the VAE beside it.
    """
    hook = vars(vae).get("_hf_hook")
    if type(hook).__name__ != "CpuOffload":
        yield
        return
    rests_on = vae.device
    del vae._hf_hook
    try:
        vae.to(device)
        yield
    finally:
        vae.to(rests_on)
        vae._hf_hook = hook


@contextmanager
def _undisturbed(vae: Any, device: torch.device) -> Iterator[torch.dtype]:
    """Use the VAE without gradients or a trace in the random state; yields the dtype to compute in."""
    import torch

    devices = [device] if device.type == "cuda" else []
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    dtypes = {name: p.dtype for name, p in vae.named_parameters()} if upcast else {}
    with torch.no_grad(), torch.random.fork_rng(devices), _brought(vae, device):
        try:
            if upcast:
                vae.to(torch.float32)
            yield vae.dtype
        finally:
            if upcast:
                vae.to(torch.float16)
                for name, p in vae.named_parameters():
                    p.data = p.data.to(dtypes[name])
