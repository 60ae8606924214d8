"""Pipelines of the sizes that people run on a GPU, with random weights: nothing is fetched.

Each is built on its device and in its dtype, ends at its latents and takes embeddings in the place of a prompt, so that
what is measured is the loop. Sizes are those of the published configs of Stable Diffusion 1.5, SDXL and FLUX.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@dataclass(frozen=True)
class Sized:
    """A pipeline, and what its call is given besides steps and generator."""

    name: str
    pipe: Any
    arguments: dict[str, Any]


def on_device(build: Callable[[], Any], device: str, dtype: Any) -> Any:
    """Build a module on its device and in its dtype, always with the same weights."""
    import torch

    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            torch.manual_seed(0)
            return build().eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)


def _vae(channels: int, scaling: float, shift: float | None, tiny: bool) -> Any:
    from diffusers import AutoencoderKL

    shifted = {} if shift is None else {"shift_factor": shift}
    return AutoencoderKL(
        block_out_channels=(16, 32, 32, 32) if tiny else (128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=channels,
        norm_num_groups=8 if tiny else 32,
        scaling_factor=scaling,
        force_upcast=False,
        **shifted,
    )


def sd15(device: str, dtype: Any, tiny: bool = False, text: Any = None) -> Sized:
    """Stable Diffusion 1.5 at 512 px.

    text: a pipeline whose tokenizer and text encoder it takes, so that it can be given a prompt.
    """
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    encoder = None if text is None else text.text_encoder.to(device, dtype)
    width = 768 if encoder is None else encoder.config.hidden_size
    unet = on_device(
        lambda: UNet2DConditionModel(
            sample_size=8 if tiny else 64,
            block_out_channels=(32, 64, 64, 64) if tiny else (320, 640, 1280, 1280),
            cross_attention_dim=width,
            attention_head_dim=8,
            norm_num_groups=8 if tiny else 32,
        ),
        device,
        dtype,
    )
    pipe = StableDiffusionPipeline(
        vae=on_device(lambda: _vae(4, 0.18215, None, tiny), device, dtype),
        text_encoder=encoder,
        tokenizer=None if text is None else text.tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    side = 64 if tiny else 512
    arguments: dict[str, Any] = {"height": side, "width": side, "guidance_scale": 7.5}
    if text is None:
        torch.manual_seed(1)
        names = ("prompt_embeds", "negative_prompt_embeds")
        arguments |= {name: torch.randn(1, 77, 768, device=device, dtype=dtype) for name in names}
    return Sized("SD 1.5, 512 px", _quiet(pipe), arguments)


def sdxl(device: str, dtype: Any, tiny: bool = False) -> Sized:
    """SDXL at 1024 px."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet = on_device(
        lambda: UNet2DConditionModel(
            sample_size=8 if tiny else 128,
            block_out_channels=(32, 64, 64) if tiny else (320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=[1, 1, 1] if tiny else [1, 2, 10],
            attention_head_dim=[4, 4, 4] if tiny else [5, 10, 20],
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
            norm_num_groups=8 if tiny else 32,
        ),
        device,
        dtype,
    )
    pipe = StableDiffusionXLPipeline(
        vae=on_device(lambda: _vae(4, 0.13025, None, tiny), device, dtype),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
    )
    torch.manual_seed(1)
    given = {
        name: torch.randn(1, *shape, device=device, dtype=dtype)
        for name, shape in (
            ("prompt_embeds", (77, 2048)),
            ("negative_prompt_embeds", (77, 2048)),
            ("pooled_prompt_embeds", (1280,)),
            ("negative_pooled_prompt_embeds", (1280,)),
        )
    }
    side = 64 if tiny else 1024
    return Sized(
        "SDXL, 1024 px", _quiet(pipe), given | {"height": side, "width": side, "guidance_scale": 7.0}
    )


def flux(device: str, dtype: Any, tiny: bool = False) -> Sized:
    """FLUX.1 dev at 1024 px, with 512 tokens of text; in bfloat16 where ``dtype`` is half precision."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    dtype = dtype if dtype == torch.float32 else torch.bfloat16
    size: dict[str, Any] = {
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
    }
    if tiny:
        size = {
            "num_layers": 2,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 4,
            "axes_dims_rope": (4, 6, 6),
        }
    transformer = on_device(
        lambda: FluxTransformer2DModel(
            patch_size=1,
            in_channels=64,
            joint_attention_dim=4096,
            pooled_projection_dim=768,
            guidance_embeds=True,
            **size,
        ),
        device,
        dtype,
    )
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=on_device(lambda: _vae(16, 0.3611, 0.1159, tiny), device, dtype),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer,
    )
    torch.manual_seed(1)
    given = {
        "prompt_embeds": torch.randn(1, 24 if tiny else 512, 4096, device=device, dtype=dtype),
        "pooled_prompt_embeds": torch.randn(1, 768, device=device, dtype=dtype),
    }
    side = 64 if tiny else 1024
    return Sized(
        "FLUX.1, 1024 px", _quiet(pipe), given | {"height": side, "width": side, "guidance_scale": 3.5}
    )


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe
