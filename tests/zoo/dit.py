"""Other transformers: PixArt, Sana, HunyuanDiT, AuraFlow, Lumina, CogView, Chroma, DiT and their like."""

from __future__ import annotations

import copy
from typing import Any

import torch

from tests.zoo.flow import COND_FIRST, UNCOND_FIRST, _parts, _with, dynamic, flow
from tests.zoo.parts import (
    EMBED,
    Entry,
    assembled,
    embedded,
    embeds,
    model,
    picture,
    scheduler,
    t5,
    t5_tokenizer,
    vae,
)
from tests.zoo.sd import PAG, also, eighth


def shifted() -> Any:
    return vae(4, scaling_factor=0.3611, shift_factor=0.1159)


T5_USUAL = {"vae": vae, "text_encoder": t5, "tokenizer": t5_tokenizer}


def made(name: str, transformer: Any, extra: Any, own: bool = False, parts: Any = None, **row: Any) -> Entry:
    """parts: what is not a T5, an AutoencoderKL of 4 channels and a flow scheduler."""

    def build() -> Any:
        denoiser = copy.deepcopy(transformer()) if own else transformer()
        return assembled(
            row_name, T5_USUAL | {"scheduler": flow}, transformer=denoiser, **_parts(parts or {})
        )

    row_name = name.split("-")[0]
    return Entry(name, build, extra, **row)


def pixart(alpha: bool = False) -> Any:
    return model(
        "PixArtTransformer2DModel",
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=EMBED,
        cross_attention_dim=32,
        in_channels=4,
        out_channels=8,
        norm_type="ada_norm_single",
        use_additional_conditions=alpha,
    )


def dpm() -> Any:
    return scheduler("DPMSolverMultistepScheduler", beta_start=0.0001, beta_end=0.02)


def sana(**config: Any) -> Any:
    return model(
        "SanaTransformer2DModel",
        **{
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 8,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 8,
            "cross_attention_dim": 16,
            "caption_channels": EMBED,
            "sample_size": 32,
            "patch_size": 1,
            **config,
        },
    )


def dc() -> Any:
    return model(
        "AutoencoderDC",
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )


def scm() -> Any:
    return scheduler("SCMScheduler")


_SANA = _with(embedded(mask_key="prompt_attention_mask"), use_resolution_binning=False)


def _sprint(guided: bool, seed: int) -> dict[str, Any]:
    mask_ = torch.ones(1, 6, dtype=torch.long)
    call = {"prompt_embeds": embeds(1), "prompt_attention_mask": mask_, "use_resolution_binning": False}
    return call | {"intermediate_timesteps": None}


def hunyuan() -> Any:
    return model(
        "HunyuanDiT2DModel",
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=EMBED,
        cross_attention_dim_t5=EMBED,
        pooled_projection_dim=16,
        hidden_size=24,
        activation_fn="gelu-approximate",
        text_len=6,
        text_len_t5=6,
        use_style_cond_and_image_meta_size=False,
    )


def _hunyuan(guided: bool, seed: int) -> dict[str, Any]:
    ones = torch.ones(1, 6, dtype=torch.long)
    call: dict[str, Any] = {"use_resolution_binning": False}
    for end, shift in (("", 0), ("_2", 10)):
        call |= {f"prompt_embeds{end}": embeds(1 + shift), f"prompt_attention_mask{end}": ones}
        call |= {
            f"negative_prompt_embeds{end}": embeds(2 + shift),
            f"negative_prompt_attention_mask{end}": ones,
        }
    return call


HUNYUAN = {
    "vae": eighth,
    "text_encoder": None,
    "tokenizer": None,
    "scheduler": lambda: scheduler("DDPMScheduler"),
    "requires_safety_checker": False,
}


def aura() -> Any:
    return model(
        "AuraFlowTransformer2DModel",
        sample_size=16,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=EMBED,
        caption_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )


def chroma() -> Any:
    return model(
        "ChromaTransformer2DModel",
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=16,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )


def lumina2() -> Any:
    return model(
        "Lumina2Transformer2DModel",
        sample_size=16,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(128, 128, 128),
        cap_feat_dim=EMBED,
    )


def lumina() -> Any:
    return model(
        "LuminaNextDiT2DModel",
        sample_size=16,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=16,
        cross_attention_dim=EMBED,
    )


def cogview(plus: bool) -> Any:
    common = {
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "text_embed_dim": EMBED,
        "time_embed_dim": 8,
        "condition_dim": 4,
        "sample_size": 16,
    }
    if plus:
        return model("CogView3PlusTransformer2DModel", pos_embed_max_size=16, **common)
    return model("CogView4Transformer2DModel", rope_axes_dim=(16, 16), **common)


def dit() -> Any:
    return model(
        "DiTTransformer2DModel",
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_num_groups=8,
    )


def flux_like(name: str, **config: Any) -> Any:
    return lambda: model(
        name,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        axes_dims_rope=(4, 4, 8),
        **config,
    )


ENTRIES = [
    made(
        "PixArtSigmaPipeline",
        pixart,
        also(use_resolution_binning=False, clean_caption=False, max_sequence_length=16),
        parts={"scheduler": dpm},
        **UNCOND_FIRST,
    ),
    made(
        "PixArtAlphaPipeline",
        pixart,
        also(use_resolution_binning=False, clean_caption=False),
        parts={"scheduler": dpm},
        **UNCOND_FIRST,
    ),
    made(
        "PixArtSigmaPAGPipeline",
        pixart,
        also(use_resolution_binning=False, clean_caption=False, max_sequence_length=16),
        own=True,
        parts={"scheduler": dpm, "pag_applied_layers": "blocks.1"},
        **PAG,
    ),
    made("SanaPipeline", sana, _SANA, parts={"vae": dc}, **UNCOND_FIRST),
    made(
        "SanaPAGPipeline",
        sana,
        _SANA,
        own=True,
        parts={"vae": dc, "pag_applied_layers": "transformer_blocks.1"},
        **PAG,
    ),
    made(
        "SanaSprintPipeline",
        lambda: sana(guidance_embeds=True, qk_norm="rms_norm_across_heads"),
        _sprint,
        parts={"vae": dc, "scheduler": scm},
        # What its scheduler is given is not the prediction but the clean state that the pipeline makes of it.
        scale={"guidance_scale": (4.0, 4.0)},
    ),
    made("HunyuanDiTPipeline", hunyuan, _hunyuan, parts=HUNYUAN, **UNCOND_FIRST),
    made(
        "HunyuanDiTPAGPipeline",
        hunyuan,
        _hunyuan,
        own=True,
        parts=HUNYUAN | {"pag_applied_layers": "blocks.1"},
        **PAG,
    ),
    made("AuraFlowPipeline", aura, embedded(mask_key="prompt_attention_mask"), **UNCOND_FIRST),
    made(
        "ChromaPipeline",
        chroma,
        embedded(mask_key="prompt_attention_mask", dtype=torch.bool),
        parts={"vae": shifted, "scheduler": dynamic},
        **COND_FIRST,
    ),
    made(
        "ChromaImg2ImgPipeline",
        chroma,
        _with(embedded(mask_key="prompt_attention_mask", dtype=torch.bool), image=picture, strength=0.8),
        parts={"vae": shifted, "scheduler": dynamic},
        count=5,
        steps=4,
        **COND_FIRST,
    ),
    made(
        "Lumina2Pipeline",
        lumina2,
        embedded(mask_key="prompt_attention_mask"),
        parts={"vae": shifted},
        **COND_FIRST,
    ),
    made("LuminaPipeline", lumina, embedded(mask_key="prompt_attention_mask"), **COND_FIRST),
    made(
        "CogView3PlusPipeline",
        lambda: cogview(True),
        embedded(),
        parts={"scheduler": lambda: scheduler("CogVideoXDDIMScheduler")},
        **UNCOND_FIRST,
    ),
    made("CogView4Pipeline", lambda: cogview(False), embedded(), parts={"scheduler": dynamic}, **COND_FIRST),
    made(
        "DiTPipeline",
        dit,
        also(class_labels=[3]),
        parts={"scheduler": lambda: scheduler("DDIMScheduler")},
        # Its scheduler steps the doubled batch, guided half beside guided half: no pass has as many rows less.
        unguided_roles=("cond",),
    ),
    made("BriaPipeline", flux_like("BriaTransformer2DModel"), embedded(), **UNCOND_FIRST),
    made(
        "OvisImagePipeline",
        flux_like("OvisImageTransformer2DModel", out_channels=16),
        embedded(),
        parts={"vae": shifted, "scheduler": dynamic},
        **COND_FIRST,
    ),
]
