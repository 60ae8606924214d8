"""Stable Diffusion 1 and 2 and what is built on them."""

from __future__ import annotations

from typing import Any

import torch

from tests.zoo.parts import (
    BETAS,
    EMBED,
    SIDE,
    Entry,
    assembled,
    clip,
    clip_tokenizer,
    image_encoder,
    image_processor,
    mask,
    model,
    picture,
    scheduler,
    unet,
    vae,
)

CFG = {"roles": ("uncond", "cond"), "unguided_roles": ("cond",)}


def ddim(**config: Any) -> Any:
    return scheduler(
        "DDIMScheduler", clip_sample=False, set_alpha_to_one=False, steps_offset=1, **BETAS, **config
    )


USUAL = {
    "vae": vae,
    "text_encoder": clip,
    "tokenizer": clip_tokenizer,
    "unet": unet,
    "scheduler": ddim,
    "requires_safety_checker": lambda: False,
}


def sd(name: str, **parts: Any) -> Any:
    """Return a builder of a pipeline of this class; parts: given as functions."""
    return lambda: assembled(name, USUAL, **{k: v() if callable(v) else v for k, v in parts.items()})


def controlnet(**config: Any) -> Any:
    return model(
        "ControlNetModel",
        **{
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "cross_attention_dim": EMBED,
            "attention_head_dim": 8,
            "norm_num_groups": 8,
            "conditioning_embedding_out_channels": (8, 16, 16),
            **config,
        },
    )


def adapter() -> Any:
    return model("T2IAdapter", channels=[16, 32], num_res_blocks=1, downscale_factor=4)


def own_unet() -> Any:
    """A UNet of its own, for a pipeline that leaves its attention processors in it."""
    import copy

    return copy.deepcopy(unet())


def own_vae() -> Any:
    """A VAE of its own, for a pipeline that writes into its config."""
    import copy

    return copy.deepcopy(vae())


def eighth() -> Any:
    """A VAE with the factor of 8 that the panorama's views are cut by: a width of 72 makes two views."""
    return model(
        "AutoencoderKL",
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
    )


def lcm() -> Any:
    return scheduler("LCMScheduler", **BETAS)


def image(**more: Any) -> Any:
    """Return an `Entry.extra` with a picture to start from."""
    return lambda guided, seed: {
        "image": picture(),
        **{k: v() if callable(v) else v for k, v in more.items()},
    }


def painted(**more: Any) -> Any:
    return image(mask_image=mask, **more)


def also(**more: Any) -> Any:
    return lambda guided, seed: {k: v() if callable(v) else v for k, v in more.items()}


PAG = {
    "scale": {"guidance_scale": (4.0, 1.0), "pag_scale": (2.0, 2.0)},
    "roles": ("uncond", "cond", "perturbed"),
    "unguided_roles": ("cond", "perturbed"),
}


def _ip2p(guided: bool, seed: int) -> dict[str, Any]:
    return {"image": picture(), "image_guidance_scale": 1.5}


def _gligen(guided: bool, seed: int) -> dict[str, Any]:
    return {"gligen_phrases": ["a circle"], "gligen_boxes": [[0.1, 0.1, 0.6, 0.6]]}


ENTRIES = [
    Entry("StableDiffusionPipeline", sd("StableDiffusionPipeline"), **CFG),
    Entry(
        "StableDiffusionImg2ImgPipeline",
        sd("StableDiffusionImg2ImgPipeline"),
        image(strength=0.8),
        count=5,
        steps=4,
        **CFG,
    ),
    Entry(
        "StableDiffusionInpaintPipeline", sd("StableDiffusionInpaintPipeline"), painted(strength=1.0), **CFG
    ),
    Entry(
        "StableDiffusionInpaintPipeline-9",
        sd("StableDiffusionInpaintPipeline", unet=lambda: unet(in_channels=9)),
        painted(strength=1.0),
        **CFG,
    ),
    Entry(
        "StableDiffusionInstructPix2PixPipeline",
        sd("StableDiffusionInstructPix2PixPipeline", unet=lambda: unet(in_channels=8)),
        _ip2p,
        roles=("cond", "image", "uncond"),
    ),
    Entry(
        "StableDiffusionDepth2ImgPipeline",
        sd("StableDiffusionDepth2ImgPipeline", unet=lambda: unet(in_channels=5)),
        image(
            strength=1.0,
            depth_map=lambda: torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(5)),
        ),
        **CFG,
    ),
    Entry(
        "StableDiffusionImageVariationPipeline",
        sd(
            "StableDiffusionImageVariationPipeline",
            image_encoder=image_encoder,
            feature_extractor=image_processor,
        ),
        image(),
        **CFG,
    ),
    Entry(
        "StableDiffusionUpscalePipeline",
        sd(
            "StableDiffusionUpscalePipeline",
            unet=lambda: unet(in_channels=7, num_class_embeds=1000),
            low_res_scheduler=lambda: scheduler("DDPMScheduler"),
            max_noise_level=350,
            vae=own_vae,
        ),
        lambda guided, seed: {"image": picture(side=16), "noise_level": 20},
        **CFG,
    ),
    Entry(
        "StableDiffusionLDM3DPipeline",
        sd("StableDiffusionLDM3DPipeline", vae=lambda: vae(4, in_channels=6, out_channels=6)),
        **CFG,
    ),
    Entry(
        "StableDiffusionPanoramaPipeline",
        sd("StableDiffusionPanoramaPipeline", vae=eighth),
        also(width=8 * 72),
        steps=6,
        views=True,
    ),
    Entry(
        "StableDiffusionSAGPipeline",
        sd("StableDiffusionSAGPipeline", unet=own_unet),
        also(sag_scale=0.75),
    ),
    Entry(
        "StableDiffusionAttendAndExcitePipeline",
        sd("StableDiffusionAttendAndExcitePipeline", unet=own_unet),
        also(token_indices=[3, 4], max_iter_to_alter=2, thresholds={}, attn_res=(16, 16)),
    ),
    Entry(
        "StableDiffusionGLIGENPipeline",
        sd("StableDiffusionGLIGENPipeline", unet=lambda: unet(attention_type="gated")),
        _gligen,
        **CFG,
    ),
    Entry("StableDiffusionPipelineSafe", sd("StableDiffusionPipelineSafe"), also(), roles=None),
    Entry(
        "SemanticStableDiffusionPipeline",
        sd("SemanticStableDiffusionPipeline"),
        also(editing_prompt=["a star"], edit_warmup_steps=1),
        roles=None,
    ),
    Entry(
        "StableDiffusionControlNetPipeline",
        sd("StableDiffusionControlNetPipeline", controlnet=controlnet),
        image(),
        **CFG,
    ),
    Entry(
        "StableDiffusionControlNetImg2ImgPipeline",
        sd("StableDiffusionControlNetImg2ImgPipeline", controlnet=controlnet),
        image(control_image=lambda: picture(1), strength=1.0),
        **CFG,
    ),
    Entry(
        "StableDiffusionControlNetInpaintPipeline",
        sd("StableDiffusionControlNetInpaintPipeline", controlnet=controlnet),
        painted(control_image=lambda: picture(1), strength=1.0),
        **CFG,
    ),
    Entry(
        "StableDiffusionAdapterPipeline",
        sd("StableDiffusionAdapterPipeline", adapter=adapter),
        image(),
        **CFG,
    ),
    Entry(
        "LatentConsistencyModelPipeline",
        sd("LatentConsistencyModelPipeline", unet=lambda: unet(time_cond_proj_dim=16), scheduler=lcm),
        also(original_inference_steps=50),
        scale={"guidance_scale": (8.0, 8.0)},
        unguided_roles=("cond",),
    ),
    Entry(
        "LatentConsistencyModelImg2ImgPipeline",
        sd("LatentConsistencyModelImg2ImgPipeline", unet=lambda: unet(time_cond_proj_dim=16), scheduler=lcm),
        image(original_inference_steps=50, strength=1.0),
        scale={"guidance_scale": (8.0, 8.0)},
        unguided_roles=("cond",),
    ),
    Entry("StableDiffusionPAGPipeline", sd("StableDiffusionPAGPipeline", unet=own_unet), **PAG),
    Entry(
        "StableDiffusionPAGImg2ImgPipeline",
        sd("StableDiffusionPAGImg2ImgPipeline", unet=own_unet),
        image(strength=1.0),
        **PAG,
    ),
    Entry(
        "StableDiffusionPAGInpaintPipeline",
        sd("StableDiffusionPAGInpaintPipeline", unet=own_unet),
        painted(strength=1.0),
        **PAG,
    ),
    Entry(
        "StableDiffusionControlNetPAGPipeline",
        sd("StableDiffusionControlNetPAGPipeline", unet=own_unet, controlnet=controlnet),
        image(),
        **PAG,
    ),
    Entry(
        "StableDiffusionControlNetPAGInpaintPipeline",
        sd("StableDiffusionControlNetPAGInpaintPipeline", unet=own_unet, controlnet=controlnet),
        painted(control_image=lambda: picture(1), strength=1.0),
        **PAG,
    ),
    Entry(
        "MarigoldDepthPipeline",
        sd(
            "MarigoldDepthPipeline",
            unet=lambda: unet(in_channels=8),
            prediction_type="depth",
            scale_invariant=True,
            shift_invariant=True,
            default_denoising_steps=3,
            default_processing_resolution=0,
        ),
        image(),
        scale={},
        unguided_roles=("cond",),
    ),
    Entry(
        "MarigoldNormalsPipeline",
        sd(
            "MarigoldNormalsPipeline",
            unet=lambda: unet(in_channels=8),
            prediction_type="normals",
            use_full_z_range=True,
            default_denoising_steps=3,
            default_processing_resolution=0,
        ),
        image(),
        scale={},
        unguided_roles=("cond",),
    ),
    Entry(
        "LDMTextToImagePipeline",
        lambda: assembled(
            "LDMTextToImagePipeline",
            {"vqvae": vae, "bert": clip, "tokenizer": clip_tokenizer, "unet": unet, "scheduler": ddim},
        ),
        **CFG,
    ),
    Entry(
        "LDMSuperResolutionPipeline",
        lambda: assembled(
            "LDMSuperResolutionPipeline",
            {},
            vqvae=model(
                "VQModel",
                block_out_channels=(16, 32),
                norm_num_groups=8,
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                latent_channels=3,
            ),
            unet=model(
                "UNet2DModel",
                sample_size=32,
                in_channels=6,
                out_channels=3,
                block_out_channels=(16, 32),
                layers_per_block=1,
                norm_num_groups=8,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            ),
            scheduler=scheduler("DDIMScheduler"),
        ),
        lambda guided, seed: {"image": picture(side=32)},
        scale={},
        unguided_roles=("cond",),
    ),
]

U2D = {
    "sample_size": 32,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
ENTRIES += [
    Entry(
        name,
        lambda name=name, s=s: assembled(name, {}, unet=model("UNet2DModel", **U2D), scheduler=scheduler(s)),
        scale={},
        unguided_roles=("cond",),
    )
    for name, s in (
        ("DDIMPipeline", "DDIMScheduler"),
        ("DDPMPipeline", "DDPMScheduler"),
        ("ConsistencyModelPipeline", "CMStochasticIterativeScheduler"),
    )
]
