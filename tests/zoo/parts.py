"""What the zoo's pipelines are made of: small seeded parts, each built once, and one way to call them all."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests import pipelines

SIDE = pipelines.SIDE
EMBED = pipelines.EMBED
PROMPT, NEGATIVE = "a red circle", "a blue square"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Entry:
    """One pipeline of the zoo.

    build: makes it. extra: arguments beside the usual ones, from (guided, seed). scale: the guidance scales by the
    names of their arguments, with guidance and without. steps: how many calls of ``scheduler.step`` one call of the
    pipeline makes. roles, unguided_roles: what the denoiser's outputs of one step are, in order of the rows; None
    where nothing is held about them. views: whether a step of the pipeline is several of the scheduler, which no
    schedule counts.
    """

    name: str
    build: Callable[[], Any]
    extra: Callable[[bool, int], dict[str, Any]] = lambda guided, seed: {}
    scale: dict[str, tuple[float, float]] = field(default_factory=lambda: {"guidance_scale": (4.0, 1.0)})
    count: int = 3
    steps: int | None = 3
    roles: tuple[str | None, ...] | None = None
    unguided_roles: tuple[str | None, ...] | None = None
    views: bool = False

    @property
    def guidance(self) -> bool:
        """Whether the entry can be called with guidance and without."""
        return any(on != off for on, off in self.scale.values())

    def call(self, pipe: Any, *, guided: bool, seed: int, callback: Any = None) -> dict[str, Any]:
        """Return the arguments of one call; the global generators are the caller's matter."""
        usual = {
            "prompt": PROMPT,
            "negative_prompt": NEGATIVE if guided else None,
            "num_inference_steps": self.count,
            "height": SIDE,
            "width": SIDE,
            "output_type": "np",
            "generator": torch.Generator().manual_seed(seed),
            "callback_on_step_end": callback,
        }
        given = self.extra(guided, seed)
        if "prompt_embeds" in given:
            usual["prompt"] = usual["negative_prompt"] = None
        taken = inspect.signature(type(pipe).__call__).parameters
        call = {k: v for k, v in usual.items() if k in taken and v is not None}
        if "prompt_embeds" in given and "negative_prompt" in taken:
            call["negative_prompt"] = None  # some have a default that is a text
        return call | {k: on if guided else off for k, (on, off) in self.scale.items()} | given


def takes_callback(pipe: Any) -> bool:
    """Whether the pipeline's call has ``callback_on_step_end``."""
    return "callback_on_step_end" in inspect.signature(type(pipe).__call__).parameters


def settled(module: Any, seed: int = 0) -> Any:
    """Give seeded values to what is made uninitialised or zero, so that every input has its effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            plain = type(part).__module__.startswith("torch.nn")
            for name, value in part.named_parameters(recurse=False):
                if not value.dtype.is_floating_point:
                    continue
                if not plain and name != "weight":
                    value.copy_(0.1 * torch.randn(value.shape, generator=generator))
                elif name == "weight" and not bool(value.any()):
                    value.copy_(
                        torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5
                    )
    return module.eval().requires_grad_(False)


@functools.cache
def _cached(name: str, config: tuple[tuple[str, Any], ...]) -> Any:
    import diffusers

    torch.manual_seed(0)
    return settled(getattr(diffusers, name)(**{k: _thawed(v) for k, v in config}))


def _frozen(value: Any) -> Any:
    return ("list", *map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    return [_thawed(v) for v in value[1:]] if isinstance(value, tuple) and value[:1] == ("list",) else value


def model(name: str, **config: Any) -> Any:
    """A model of diffusers; the same one for the same config."""
    return _cached(name, tuple(sorted((k, _frozen(v)) for k, v in config.items())))


def scheduler(name: str, **config: Any) -> Any:
    """A scheduler of diffusers, always a new one."""
    import diffusers

    return getattr(diffusers, name)(**config)


@functools.cache
def vae(channels: int = 4, **config: Any) -> Any:
    """AutoencoderKL with a factor of 4."""
    torch.manual_seed(0)
    return settled(pipelines._vae(channels, **config))


@functools.cache
def clip(projected: bool = False) -> Any:
    torch.manual_seed(1)
    return settled(pipelines._clip(projected))


@functools.cache
def t5(width: int = EMBED) -> Any:
    torch.manual_seed(2)
    return settled(pipelines._t5(width))


@functools.cache
def clip_tokenizer() -> Any:
    return pipelines._clip_tokenizer()


@functools.cache
def t5_tokenizer() -> Any:
    return pipelines._t5_tokenizer()


@functools.cache
def image_encoder() -> Any:
    """CLIP's image encoder with a projection, for images of 32 x 32."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=EMBED,
        projection_dim=EMBED,
        intermediate_size=EMBED,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    return settled(CLIPVisionModelWithProjection(config))


@functools.cache
def image_processor() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(crop_size=32, size=32)


@functools.cache
def unet(**config: Any) -> Any:
    """Stable Diffusion's UNet, 16 and 32 wide."""
    usual = {
        "sample_size": SIDE // 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": EMBED,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return model("UNet2DConditionModel", **(usual | config))


XL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 2 * EMBED,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + EMBED,
    "transformer_layers_per_block": (1, 2),
}


def classes(name: str) -> Any:
    """The class of a pipeline, also of one that diffusers keeps as deprecated."""
    import diffusers

    return getattr(diffusers, name)


def assembled(name: str, usual: dict[str, Callable[[], Any]], **parts: Any) -> Any:
    """Build a pipeline from its parts: those given, else those of ``usual`` that it takes, else None or its default."""
    cls = classes(name)
    given: dict[str, Any] = {}
    for key, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if key in parts:
            given[key] = parts[key]
        elif key in usual:
            given[key] = usual[key]()
        elif parameter.default is inspect.Parameter.empty:
            given[key] = None
    pipe = cls(**given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def picture(seed: int = 0, side: int = SIDE) -> Image.Image:
    """A smooth random picture."""
    values = np.random.RandomState(seed).randint(0, 255, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC)


def mask(side: int = SIDE) -> Image.Image:
    """The left half is painted."""
    values = np.zeros((side, side), np.uint8)
    values[:, : side // 2] = 255
    return Image.fromarray(values)


def embeds(seed: int, width: int = EMBED, length: int = 6) -> torch.Tensor:
    """(1, length, width): stands for a text where the text encoder cannot be small."""
    return torch.randn(1, length, width, generator=torch.Generator().manual_seed(seed))


def embedded(
    width: int = EMBED, length: int = 6, mask_key: str | None = None, dtype: Any = torch.long
) -> Any:
    """Return an `Entry.extra` that passes embeddings in place of texts, and their masks under ``mask_key``."""

    def extra(guided: bool, seed: int) -> dict[str, Any]:
        call: dict[str, Any] = {"prompt_embeds": embeds(1, width, length)}
        if guided:
            call["negative_prompt_embeds"] = embeds(2, width, length)
        if mask_key:
            call[mask_key] = torch.ones(1, length, dtype=dtype)
            if guided:
                call["negative_" + mask_key] = torch.ones(1, length, dtype=dtype)
        return call

    return extra
