"""Small pipelines of the kinds that join text and image in a way of their own, with seeded random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests import pipelines


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(width: int, height: int) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def with_ip_adapters(pipe: Any, count: int = 1) -> Any:
    """Load image prompt adapters of random weights, each of 4 tokens an image."""
    unet = pipe.unet
    weights: dict[str, torch.Tensor] = {}
    number = 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            shape = (layer.to_q.out_features, unet.config.cross_attention_dim)
            weights[f"{number}.to_k_ip.weight"] = 0.1 * noise(*shape, seed=number)
            weights[f"{number}.to_v_ip.weight"] = 0.1 * noise(*shape, seed=number + 1)
            number += 2
    width = unet.config.cross_attention_dim
    project = {
        "proj.weight": 0.1 * noise(4 * width, 16),
        "proj.bias": torch.zeros(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    unet._load_ip_adapter_weights([{"image_proj": project, "ip_adapter": weights}] * count)
    pipe.set_ip_adapter_scale([0.6] * count)
    return quiet(pipe)


def cogview4() -> Any:
    """Text and image are joined in the processor, where the mask and the rotary embedding are added."""
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler

    torch.manual_seed(0)
    transformer = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=4,
        sample_size=16,
    )
    pipe = CogView4Pipeline(
        tokenizer=None,
        text_encoder=None,
        vae=pipelines._vae(4),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(base_shift=0.25, max_shift=0.75),
    )
    return quiet(pipe)


def kontext() -> Any:
    """FLUX with the tokens of a reference image behind those of the latents."""
    from diffusers import FluxKontextPipeline

    parts = pipelines.build_flux().components
    return quiet(FluxKontextPipeline(**parts))


def added_keys(**config: Any) -> Any:
    """DeepFloyd IF's UNet, whose keys are those of the text, by a projection of their own, and of the image."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    options = {
        "sample_size": 16,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "cross_attention_dim": 32,
        "encoder_hid_dim": 32,
        "attention_head_dim": 8,
        "cross_attention_norm": "group_norm",
        "resnet_time_scale_shift": "scale_shift",
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(options | config))


def with_unet(pipe: Any, unet: Any) -> Any:
    """The pipeline with another UNet."""
    pipe = type(pipe)(**{**pipe.components, "unet": unet}, requires_safety_checker=False)
    return quiet(pipe)


def kandinsky22() -> Any:
    """A UNet that is given an image's embedding and no text."""
    from diffusers import DDIMScheduler, KandinskyV22Pipeline, VQModel

    unet = added_keys(
        encoder_hid_dim=16,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        in_channels=4,
        out_channels=8,
        class_embed_type=None,
    )
    movq = VQModel(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    )
    return quiet(KandinskyV22Pipeline(unet=unet, scheduler=DDIMScheduler(), movq=movq))


def flux2_call(width: int = 96, height: int = 64) -> dict[str, Any]:
    """Arguments of a FLUX.2 call with two reference images."""
    return {
        "prompt_embeds": noise(1, 6, 32),
        "negative_prompt_embeds": noise(1, 6, 32, seed=4),
        "image": [picture(64, 64), picture(64, 80)],
        "width": width,
        "height": height,
    }
