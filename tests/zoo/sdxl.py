"""SDXL, Kolors and what is built on them."""

from __future__ import annotations

import copy
from typing import Any

from tests.zoo.parts import (
    BETAS,
    XL,
    Entry,
    assembled,
    clip,
    clip_tokenizer,
    model,
    picture,
    scheduler,
    unet,
    vae,
)
from tests.zoo.sd import CFG, PAG, also, controlnet, image, painted


def xl_unet(**config: Any) -> Any:
    return unet(**(XL | config))


def own() -> Any:
    return copy.deepcopy(xl_unet())


def euler() -> Any:
    return scheduler("EulerDiscreteScheduler", timestep_spacing="leading", steps_offset=1, **BETAS)


USUAL = {
    "vae": lambda: vae(4, scaling_factor=0.13025),
    "text_encoder": clip,
    "text_encoder_2": lambda: clip(True),
    "tokenizer": clip_tokenizer,
    "tokenizer_2": clip_tokenizer,
    "unet": xl_unet,
    "scheduler": euler,
    "add_watermarker": lambda: False,
    "requires_aesthetics_score": lambda: False,
}


def sdxl(name: str, **parts: Any) -> Any:
    return lambda: assembled(name, USUAL, **{k: v() if callable(v) else v for k, v in parts.items()})


XL_CONTROL = {k: v for k, v in XL.items() if k != "up_block_types"}


def xl_controlnet() -> Any:
    return controlnet(**XL_CONTROL)


def xl_adapter() -> Any:
    return model(
        "T2IAdapter", channels=[16, 32], num_res_blocks=1, downscale_factor=8, adapter_type="full_adapter_xl"
    )


def union() -> Any:
    return model(
        "ControlNetUnionModel",
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 16, 16),
        num_trans_channel=16,
        num_trans_head=2,
        num_proj_channel=16,
        **XL_CONTROL,
    )


ENTRIES = [
    Entry("StableDiffusionXLPipeline", sdxl("StableDiffusionXLPipeline"), **CFG),
    Entry(
        "StableDiffusionXLImg2ImgPipeline",
        sdxl("StableDiffusionXLImg2ImgPipeline"),
        image(strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLInpaintPipeline",
        sdxl("StableDiffusionXLInpaintPipeline"),
        painted(strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLInpaintPipeline-9",
        sdxl("StableDiffusionXLInpaintPipeline", unet=lambda: xl_unet(in_channels=9)),
        painted(strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLInstructPix2PixPipeline",
        sdxl("StableDiffusionXLInstructPix2PixPipeline", unet=lambda: xl_unet(in_channels=8)),
        image(image_guidance_scale=1.5),
        roles=("cond", "image", "uncond"),
    ),
    Entry(
        "StableDiffusionXLControlNetPipeline",
        sdxl("StableDiffusionXLControlNetPipeline", controlnet=xl_controlnet),
        image(),
        **CFG,
    ),
    Entry(
        "StableDiffusionXLControlNetImg2ImgPipeline",
        sdxl("StableDiffusionXLControlNetImg2ImgPipeline", controlnet=xl_controlnet),
        image(control_image=lambda: picture(1), strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLControlNetInpaintPipeline",
        sdxl("StableDiffusionXLControlNetInpaintPipeline", controlnet=xl_controlnet),
        painted(control_image=lambda: picture(1), strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLControlNetUnionPipeline",
        sdxl("StableDiffusionXLControlNetUnionPipeline", controlnet=union),
        also(control_image=picture, control_mode=1),
        **CFG,
    ),
    Entry(
        "StableDiffusionXLControlNetUnionImg2ImgPipeline",
        sdxl("StableDiffusionXLControlNetUnionImg2ImgPipeline", controlnet=union),
        image(control_image=lambda: picture(1), control_mode=1, strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLControlNetUnionInpaintPipeline",
        sdxl("StableDiffusionXLControlNetUnionInpaintPipeline", controlnet=union),
        painted(control_image=lambda: picture(1), control_mode=1, strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionXLAdapterPipeline",
        sdxl("StableDiffusionXLAdapterPipeline", adapter=xl_adapter),
        image(),
        **CFG,
    ),
    Entry("StableDiffusionXLPAGPipeline", sdxl("StableDiffusionXLPAGPipeline", unet=own), **PAG),
    Entry(
        "StableDiffusionXLPAGImg2ImgPipeline",
        sdxl("StableDiffusionXLPAGImg2ImgPipeline", unet=own),
        image(strength=0.8),
        count=5,
        steps=4,
        **PAG,
    ),
    Entry(
        "StableDiffusionXLPAGInpaintPipeline",
        sdxl("StableDiffusionXLPAGInpaintPipeline", unet=own),
        painted(strength=0.8),
        count=5,
        steps=4,
        **PAG,
    ),
    Entry(
        "StableDiffusionXLControlNetPAGPipeline",
        sdxl("StableDiffusionXLControlNetPAGPipeline", unet=own, controlnet=xl_controlnet),
        image(),
        **PAG,
    ),
    Entry(
        "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        sdxl("StableDiffusionXLControlNetPAGImg2ImgPipeline", unet=own, controlnet=xl_controlnet),
        image(control_image=lambda: picture(1), strength=0.8),
        count=5,
        steps=4,
        **PAG,
    ),
]
