"""Transformers with flow matching: SD3, FLUX, Qwen-Image, Z-Image and their like."""

from __future__ import annotations

import copy
from typing import Any

from tests.zoo.parts import (
    EMBED,
    Entry,
    assembled,
    clip,
    clip_tokenizer,
    embedded,
    embeds,
    mask,
    model,
    picture,
    scheduler,
    t5,
    t5_tokenizer,
    vae,
)
from tests.zoo.sd import also, image, painted

UNCOND_FIRST = {"roles": ("uncond", "cond"), "unguided_roles": ("cond",)}
COND_FIRST = {"roles": ("cond", "uncond"), "unguided_roles": ("cond",)}
TRUE_CFG = {"scale": {"true_cfg_scale": (4.0, 1.0)}, **COND_FIRST}
#: Guidance is a number that the model is given.
EMBEDDED = {"scale": {"guidance_scale": (4.0, 4.0)}, "unguided_roles": ("cond",)}
SHORT = {"max_sequence_length": 16}


def flow(**config: Any) -> Any:
    return scheduler("FlowMatchEulerDiscreteScheduler", **{"shift": 3.0, **config})


def dynamic() -> Any:
    return flow(use_dynamic_shifting=True)


SD3 = {
    "sample_size": 16,
    "patch_size": 2,
    "in_channels": 8,
    "out_channels": 8,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 4 * EMBED,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 2 * EMBED,
    "pos_embed_max_size": 16,
}
SD3_USUAL = {
    "transformer": lambda: model("SD3Transformer2DModel", **SD3),
    "scheduler": flow,
    "vae": lambda: vae(8, scaling_factor=1.5305, shift_factor=0.0609),
    "text_encoder": lambda: clip(True),
    "tokenizer": clip_tokenizer,
    "text_encoder_2": lambda: clip(True),
    "tokenizer_2": clip_tokenizer,
    "text_encoder_3": lambda: t5(4 * EMBED),
    "tokenizer_3": t5_tokenizer,
}


def own_sd3(**config: Any) -> Any:
    return lambda: copy.deepcopy(model("SD3Transformer2DModel", **(SD3 | config)))


def flux_model(**config: Any) -> Any:
    return model(
        "FluxTransformer2DModel",
        **{
            "patch_size": 1,
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": EMBED,
            "pooled_projection_dim": EMBED,
            "axes_dims_rope": (4, 4, 8),
            "guidance_embeds": False,
            **config,
        },
    )


FLUX_USUAL = {
    "transformer": flux_model,
    "scheduler": dynamic,
    "vae": lambda: vae(4, scaling_factor=0.3611, shift_factor=0.1159),
    "text_encoder": clip,
    "tokenizer": clip_tokenizer,
    "text_encoder_2": t5,
    "tokenizer_2": t5_tokenizer,
}


def _parts(parts: dict[str, Any]) -> dict[str, Any]:
    return {k: v() if callable(v) else v for k, v in parts.items()}


def sd3(name: str, **parts: Any) -> Any:
    return lambda: assembled(name, SD3_USUAL, **_parts(parts))


def flux(name: str, **parts: Any) -> Any:
    return lambda: assembled(name, FLUX_USUAL, **_parts(parts))


def flux_controlnet() -> Any:
    return model(
        "FluxControlNetModel",
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        pooled_projection_dim=EMBED,
        axes_dims_rope=[4, 4, 8],
    )


def _sd3_controlnet(**more: Any) -> Any:
    return lambda: model(
        "SD3ControlNetModel", **{**SD3, "num_layers": 1, "force_zeros_for_pooled_projection": False, **more}
    )


SD3_ENTRIES = [
    Entry("StableDiffusion3Pipeline", sd3("StableDiffusion3Pipeline"), also(**SHORT), **UNCOND_FIRST),
    Entry(
        "StableDiffusion3Pipeline-skipped",
        sd3("StableDiffusion3Pipeline"),
        also(skip_guidance_layers=[1], skip_layer_guidance_start=0.0, skip_layer_guidance_stop=1.0, **SHORT),
    ),
    Entry(
        "StableDiffusion3Img2ImgPipeline",
        sd3("StableDiffusion3Img2ImgPipeline"),
        image(strength=0.8, **SHORT),
        count=5,
        steps=4,
        **UNCOND_FIRST,
    ),
    Entry(
        "StableDiffusion3InpaintPipeline",
        sd3(
            "StableDiffusion3InpaintPipeline",
            transformer=lambda: model(
                "SD3Transformer2DModel", **(SD3 | {"in_channels": 16, "out_channels": 16})
            ),
            vae=lambda: vae(16, scaling_factor=1.5305, shift_factor=0.0609),
        ),
        painted(strength=0.8, **SHORT),
        count=5,
        steps=4,
        **UNCOND_FIRST,
    ),
    Entry(
        "StableDiffusion3ControlNetPipeline",
        sd3("StableDiffusion3ControlNetPipeline", controlnet=_sd3_controlnet()),
        also(control_image=picture, **SHORT),
        **UNCOND_FIRST,
    ),
    Entry(
        "StableDiffusion3ControlNetInpaintingPipeline",
        sd3(
            "StableDiffusion3ControlNetInpaintingPipeline",
            controlnet=_sd3_controlnet(extra_conditioning_channels=1),
        ),
        also(control_image=picture, control_mask=mask, **SHORT),
        **UNCOND_FIRST,
    ),
    Entry(
        "StableDiffusion3PAGPipeline",
        sd3("StableDiffusion3PAGPipeline", transformer=own_sd3(), pag_applied_layers="1"),
        also(**SHORT),
        scale={"guidance_scale": (4.0, 1.0), "pag_scale": (2.0, 2.0)},
        roles=("uncond", "cond", "perturbed"),
        unguided_roles=("cond", "perturbed"),
    ),
    Entry(
        "StableDiffusion3PAGImg2ImgPipeline",
        sd3("StableDiffusion3PAGImg2ImgPipeline", transformer=own_sd3(), pag_applied_layers="1"),
        image(strength=0.8, **SHORT),
        count=5,
        steps=4,
        scale={"guidance_scale": (4.0, 1.0), "pag_scale": (2.0, 2.0)},
        roles=("uncond", "cond", "perturbed"),
        unguided_roles=("cond", "perturbed"),
    ),
]
FLUX_ENTRIES = [
    Entry(
        "FluxPipeline",
        flux("FluxPipeline", transformer=lambda: flux_model(guidance_embeds=True)),
        also(**SHORT),
        **EMBEDDED,
    ),
    Entry("FluxPipeline-true-cfg", flux("FluxPipeline"), also(**SHORT), **TRUE_CFG),
    Entry(
        "FluxImg2ImgPipeline",
        flux("FluxImg2ImgPipeline"),
        image(strength=0.8, **SHORT),
        count=5,
        steps=4,
        **TRUE_CFG,
    ),
    Entry(
        "FluxInpaintPipeline",
        flux("FluxInpaintPipeline"),
        painted(strength=0.8, **SHORT),
        count=5,
        steps=4,
        **TRUE_CFG,
    ),
    Entry(
        "FluxFillPipeline",
        flux(
            "FluxFillPipeline",
            transformer=lambda: flux_model(in_channels=16 + 16 + 64, out_channels=16, guidance_embeds=True),
        ),
        painted(strength=1.0, **SHORT),
        **EMBEDDED,
    ),
    Entry(
        "FluxControlPipeline",
        flux(
            "FluxControlPipeline",
            transformer=lambda: flux_model(in_channels=32, out_channels=16, guidance_embeds=True),
        ),
        also(control_image=picture, **SHORT),
        **EMBEDDED,
    ),
    Entry(
        "FluxControlImg2ImgPipeline",
        flux(
            "FluxControlImg2ImgPipeline",
            transformer=lambda: flux_model(in_channels=32, out_channels=16, guidance_embeds=True),
        ),
        image(control_image=lambda: picture(1), strength=0.8, **SHORT),
        count=5,
        steps=4,
        **EMBEDDED,
    ),
    Entry(
        "FluxControlInpaintPipeline",
        flux(
            "FluxControlInpaintPipeline",
            transformer=lambda: flux_model(in_channels=32, out_channels=16, guidance_embeds=True),
        ),
        painted(control_image=lambda: picture(1), strength=0.8, **SHORT),
        count=5,
        steps=4,
        **EMBEDDED,
    ),
    Entry(
        "FluxControlNetPipeline",
        flux("FluxControlNetPipeline", controlnet=flux_controlnet),
        also(control_image=picture, **SHORT),
        **TRUE_CFG,
    ),
    Entry(
        "FluxControlNetImg2ImgPipeline",
        flux("FluxControlNetImg2ImgPipeline", controlnet=flux_controlnet),
        image(control_image=lambda: picture(1), strength=0.8, **SHORT),
        count=5,
        steps=4,
        **EMBEDDED,
    ),
    Entry(
        "FluxControlNetInpaintPipeline",
        flux("FluxControlNetInpaintPipeline", controlnet=flux_controlnet),
        painted(control_image=lambda: picture(1), strength=0.8, **SHORT),
        count=5,
        steps=4,
        **EMBEDDED,
    ),
    Entry(
        "FluxKontextPipeline",
        flux("FluxKontextPipeline"),
        image(_auto_resize=False, max_area=64 * 64, **SHORT),
        **TRUE_CFG,
    ),
    Entry(
        "FluxKontextInpaintPipeline",
        flux("FluxKontextInpaintPipeline"),
        painted(_auto_resize=False, max_area=64 * 64, strength=0.8, **SHORT),
        count=5,
        steps=4,
        **TRUE_CFG,
    ),
]


def qwen_vae() -> Any:
    return model(
        "AutoencoderKLQwenImage",
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, -0.4],
        latents_std=[0.8, 1.1, 1.4, 0.9],
    )


def qwen_model() -> Any:
    return model(
        "QwenImageTransformer2DModel",
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        axes_dims_rope=(4, 6, 6),
    )


QWEN_USUAL = {"transformer": qwen_model, "vae": qwen_vae, "scheduler": dynamic}


def _with(extra: Any, **more: Any) -> Any:
    return lambda guided, seed: extra(guided, seed) | _parts(more)


_QWEN = embedded(mask_key="prompt_embeds_mask")


def qwen(name: str, extra: Any, **row: Any) -> Entry:
    return Entry(name, lambda: assembled(name, QWEN_USUAL), extra, **(TRUE_CFG | row))


def zimage_model(**config: Any) -> Any:
    return model(
        "ZImageTransformer2DModel",
        in_channels=4,
        dim=64,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=EMBED,
        axes_dims=[8, 12, 12],
        axes_lens=[64, 32, 32],
    )


Z_USUAL = {
    "transformer": zimage_model,
    "vae": lambda: vae(4, scaling_factor=0.3611, shift_factor=0.1159),
    "scheduler": flow,
}


def _z(guided: bool, seed: int) -> dict[str, Any]:
    return {"prompt_embeds": [embeds(1)[0]], "negative_prompt_embeds": [embeds(2)[0]]}


def z(name: str, extra: Any, **row: Any) -> Entry:
    return Entry(
        name,
        lambda: assembled(name, Z_USUAL),
        extra,
        **({"scale": {"guidance_scale": (4.0, 0.0)}, **COND_FIRST} | row),
    )


def flux2_model(**config: Any) -> Any:
    return model(
        "Flux2Transformer2DModel",
        **{
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": EMBED,
            "timestep_guidance_channels": 32,
            "axes_dims_rope": (4, 4, 4, 4),
            "guidance_embeds": False,
            **config,
        },
    )


def flux2_vae() -> Any:
    return model(
        "AutoencoderKLFlux2",
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )


F2_USUAL = {"transformer": flux2_model, "vae": flux2_vae, "scheduler": dynamic}


def f2(name: str, extra: Any, transformer: Any = flux2_model, **row: Any) -> Entry:
    return Entry(name, lambda: assembled(name, F2_USUAL | {"transformer": transformer}), extra, **row)


def one_text(**more: Any) -> Any:
    return lambda guided, seed: {"prompt_embeds": embeds(1)} | _parts(more)


LATER_ENTRIES = [
    qwen("QwenImagePipeline", _QWEN),
    qwen("QwenImageImg2ImgPipeline", _with(_QWEN, image=picture, strength=0.8), count=5, steps=4),
    qwen(
        "QwenImageInpaintPipeline",
        _with(_QWEN, image=picture, mask_image=mask, strength=0.8),
        count=5,
        steps=4,
    ),
    z("ZImagePipeline", _z),
    z("ZImageImg2ImgPipeline", _with(_z, image=picture, strength=0.8), count=5, steps=4),
    z("ZImageInpaintPipeline", _with(_z, image=picture, mask_image=mask, strength=0.8), count=5, steps=4),
    f2("Flux2KleinPipeline", embedded(), **COND_FIRST),
    f2(
        "Flux2KleinInpaintPipeline",
        _with(embedded(), image=picture, mask_image=mask, strength=0.8),
        count=5,
        steps=4,
        **COND_FIRST,
    ),
    f2("Flux2KleinKVPipeline", one_text(), scale={}, unguided_roles=("cond",)),
    f2("Flux2Pipeline", one_text(), lambda: flux2_model(guidance_embeds=True), **EMBEDDED),
]
ENTRIES = [*SD3_ENTRIES, *FLUX_ENTRIES, *LATER_ENTRIES]
