"""Pipelines of several stages, and those whose state is the picture itself or an embedding."""

from __future__ import annotations

import functools
from typing import Any

import torch

from tests.zoo.parts import (
    EMBED,
    SIDE,
    Entry,
    assembled,
    clip,
    clip_tokenizer,
    image_encoder,
    image_processor,
    model,
    picture,
    scheduler,
    settled,
    t5,
    t5_tokenizer,
)

CFG = ("uncond", "cond")
#: UNets whose keys are those of the text, by a projection of their own, and of the image.
ADDED_KEYS = {
    "layers_per_block": 1,
    "block_out_channels": (16, 32),
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "cross_attention_dim": EMBED,
    "attention_head_dim": 8,
    "resnet_time_scale_shift": "scale_shift",
    "norm_num_groups": 8,
}


def deepfloyd(name: str, **config: Any) -> Any:
    """Pixels of 32 x 32, and a learned variance."""
    unet = {
        "sample_size": SIDE // 2,
        "in_channels": 3,
        "out_channels": 6,
        "encoder_hid_dim": EMBED,
        "encoder_hid_dim_type": "text_proj",
        "cross_attention_norm": "group_norm",
        "act_fn": "gelu",
    }
    ddpm = {"variance_type": "learned_range", "clip_sample": True}
    usual = {
        "tokenizer": t5_tokenizer,
        "text_encoder": t5,
        "unet": lambda: model("UNet2DConditionModel", **(ADDED_KEYS | unet | config)),
        "scheduler": lambda: scheduler("DDPMScheduler", **ddpm),
        "image_noising_scheduler": lambda: scheduler("DDPMScheduler"),
        "requires_safety_checker": lambda: False,
    }
    return lambda: assembled(name, usual)


def pixels(**more: Any) -> Any:
    side = {"height": SIDE // 2, "width": SIDE // 2, "clean_caption": False}
    return lambda guided, seed: side | {name: value() for name, value in more.items()}


def kandinsky(name: str) -> Any:
    """A UNet that is given an image's embedding and no text."""
    unet = {
        "sample_size": SIDE // 8,
        "encoder_hid_dim": EMBED,
        "encoder_hid_dim_type": "image_proj",
        "addition_embed_type": "image",
        "in_channels": 4,
        "out_channels": 8,
    }
    movq = {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
        "norm_num_groups": 4,
    }
    usual = {
        "unet": lambda: model("UNet2DConditionModel", **(ADDED_KEYS | unet)),
        "scheduler": lambda: scheduler("DDIMScheduler", clip_sample=False),
        "movq": lambda: model("VQModel", **movq),
    }
    return lambda: assembled(name, usual)


def image_embeds(**more: Any) -> Any:
    def extra(guided: bool, seed: int) -> dict[str, Any]:
        of = [torch.randn(1, EMBED, generator=torch.Generator().manual_seed(k)) for k in (1, 2)]
        given = {"image_embeds": of[0], "negative_image_embeds": of[1]}
        return given | {name: value() for name, value in more.items()}

    return extra


@functools.cache
def paella() -> Any:
    """What makes a picture of the decoder's latents."""
    from diffusers.pipelines.stable_cascade.pipeline_stable_cascade import PaellaVQModel

    torch.manual_seed(0)
    return settled(PaellaVQModel(levels=2, bottleneck_blocks=1, embed_dim=8, num_vq_embeddings=16))


def cascade(name: str, part: str, **config: Any) -> Any:
    """Stable Cascade's stages; what denoises is called ``prior`` or ``decoder``."""
    unet = {
        "conditioning_dim": EMBED,
        "block_out_channels": (16, 32),
        "num_attention_heads": (2, 4),
        "down_num_layers_per_block": (1, 1),
        "up_num_layers_per_block": (1, 1),
        "down_blocks_repeat_mappers": (1, 1),
        "up_blocks_repeat_mappers": (1, 1),
        "block_types_per_layer": (
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        "self_attn": True,
        "clip_text_pooled_in_channels": EMBED,
        "timestep_ratio_embedding_dim": 16,
    }
    usual = {
        "tokenizer": clip_tokenizer,
        "text_encoder": lambda: clip(True),
        part: lambda: model("StableCascadeUNet", **(unet | config)),
        "scheduler": lambda: scheduler("DDPMWuerstchenScheduler"),
        "vqgan": paella,
    }
    return lambda: assembled(name, usual)


PRIOR = {
    "in_channels": 4,
    "out_channels": 4,
    "clip_text_in_channels": EMBED,
    "clip_image_in_channels": EMBED,
    "switch_level": [False],
    "timestep_conditioning_type": ["sca", "crp"],
}
DECODER = {
    "in_channels": 4,
    "out_channels": 4,
    "patch_size": 2,
    "effnet_in_channels": 4,
    "timestep_conditioning_type": ["sca"],
}


def cascade_decoder(guided: bool, seed: int) -> dict[str, Any]:
    embedding = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    return {"image_embeddings": embedding}


def kandinsky_combined() -> Any:
    """The prior, which makes an embedding of an image, and the pipeline that decodes it, in one."""
    decoder = kandinsky("KandinskyV22Pipeline")()
    prior = model(
        "PriorTransformer", num_attention_heads=2, attention_head_dim=8, embedding_dim=EMBED, num_layers=1
    )
    unclip = {"variance_type": "fixed_small_log", "prediction_type": "sample", "clip_sample_range": 10.0}
    return assembled(
        "KandinskyV22CombinedPipeline",
        {},
        **decoder.components,
        prior_prior=prior,
        prior_image_encoder=image_encoder(),
        prior_text_encoder=clip(True),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=scheduler("UnCLIPScheduler", **unclip),
        prior_image_processor=image_processor(),
    )


def cascade_combined() -> Any:
    prior = cascade("StableCascadePriorPipeline", "prior", **PRIOR)()
    decoder = cascade("StableCascadeDecoderPipeline", "decoder", **DECODER)()
    before = {f"prior_{name}": part for name, part in prior.components.items() if part is not None}
    return assembled("StableCascadeCombinedPipeline", {}, **decoder.components, **before)


ENTRIES: list[Entry] = [
    Entry("IFPipeline", deepfloyd("IFPipeline"), pixels(), roles=CFG, unguided_roles=("cond",)),
    Entry(
        "IFImg2ImgPipeline",
        deepfloyd("IFImg2ImgPipeline"),
        lambda guided, seed: {"image": picture(1, SIDE // 2), "strength": 1.0, "clean_caption": False},
        roles=CFG,
        unguided_roles=("cond",),
    ),
    Entry(
        "IFSuperResolutionPipeline",
        deepfloyd(
            "IFSuperResolutionPipeline",
            in_channels=6,
            class_embed_type="timestep",
        ),
        pixels(image=lambda: picture(1, SIDE // 4)),
        roles=CFG,
        unguided_roles=("cond",),
    ),
    Entry("KandinskyV22Pipeline", kandinsky("KandinskyV22Pipeline"), image_embeds(), roles=CFG),
    Entry(
        "KandinskyV22Img2ImgPipeline",
        kandinsky("KandinskyV22Img2ImgPipeline"),
        image_embeds(image=lambda: picture(1), strength=lambda: 1.0),
        roles=CFG,
    ),
    Entry(
        "StableCascadePriorPipeline",
        cascade("StableCascadePriorPipeline", "prior", **PRIOR),
        lambda guided, seed: {"height": 128, "width": 128, "output_type": "np"},
        roles=("cond", "uncond"),
    ),
    Entry(
        "StableCascadeDecoderPipeline",
        cascade("StableCascadeDecoderPipeline", "decoder", **DECODER),
        cascade_decoder,
        roles=("cond", "uncond"),
    ),
    Entry(
        "KandinskyV22CombinedPipeline",
        kandinsky_combined,
        lambda guided, seed: {"prior_num_inference_steps": 2},
        roles=CFG,
    ),
    Entry(
        "StableCascadeCombinedPipeline",
        cascade_combined,
        lambda guided, seed: {"prior_num_inference_steps": 2, "height": 128, "width": 128},
        {"decoder_guidance_scale": (4.0, 0.0)},
        roles=("cond", "uncond"),
    ),
]
