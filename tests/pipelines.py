"""Small pipelines of the common families with seeded random weights, built from configs, without downloads.

Their images mean nothing; their code paths are those of the real models. Native size: 64 x 64 pixels.
"""

from __future__ import annotations

import string
from typing import Any

import torch

SIDE = 64
EMBED = 32


def build_sd(**scheduler_config: Any) -> Any:
    """UNet with cross-attention, doubled-batch guidance, epsilon, DDIM."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=EMBED,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **scheduler_config,
    )
    pipe = StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _quiet(pipe)


def build_sdxl() -> Any:
    """UNet with two text encoders and added conditions, Euler."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * EMBED,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + EMBED,
        transformer_layers_per_block=(1, 2),
        norm_num_groups=8,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    pipe = StableDiffusionXLPipeline(
        vae=_vae(4, scaling_factor=0.13025, force_upcast=True),
        text_encoder=_clip(),
        text_encoder_2=_clip(projected=True),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet,
        scheduler=scheduler,
        add_watermarker=False,
    )
    return _quiet(pipe)


def build_sd3() -> Any:
    """Joint-attention transformer, doubled-batch guidance, flow matching."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 4,
        patch_size=2,
        in_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=4 * EMBED,
        caption_projection_dim=32,
        pooled_projection_dim=2 * EMBED,
        out_channels=8,
        pos_embed_max_size=SIDE // 4,
    )
    pipe = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(8, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=_clip(projected=True),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_clip(projected=True),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(4 * EMBED),
        tokenizer_3=_t5_tokenizer(),
    )
    return _quiet(pipe)


def build_flux(guidance_embeds: bool = True) -> Any:
    """Packed latents; embedded guidance, or true CFG by two calls where ``guidance_embeds`` is False."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        pooled_projection_dim=EMBED,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    )
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5(EMBED),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
    )
    return _quiet(pipe)


def build_pixart() -> Any:
    """PixArt-Sigma: the transformer also predicts a variance (twice the channels), DPM-Solver++ 2M."""
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    torch.manual_seed(0)
    transformer = PixArtTransformer2DModel(
        sample_size=SIDE // 4,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=EMBED,
        cross_attention_dim=32,
        in_channels=4,
        out_channels=8,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    pipe = PixArtSigmaPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(EMBED),
        vae=_vae(4, scaling_factor=0.13025),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, solver_order=2),
    )
    return _quiet(pipe)


def build_qwen() -> Any:
    """Qwen-Image: packed latents, true CFG by two calls with rescaled norm, a VAE with a frame axis.

    It has no text encoder: `arguments` passes prompt embeddings.
    """
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        axes_dims_rope=(4, 6, 6),
    )
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, -0.4],
        latents_std=[0.8, 1.1, 1.4, 0.9],
    )
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
    )
    return _quiet(pipe)


def build_zimage() -> Any:
    """Z-Image: the denoiser takes and returns lists, conditional half first, and the pipeline negates it.

    It has no text encoder: `arguments` passes prompt embeddings.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
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
    # The padding tokens are made by torch.empty, which is not seeded.
    for name in ("x_pad_token", "cap_pad_token"):
        torch.nn.init.normal_(getattr(transformer, name))
    pipe = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
    )
    return _quiet(pipe)


def build_flux2() -> Any:
    """FLUX.2 klein: patches normalised by the VAE's batch norm, packed; true CFG by two calls.

    It has no text encoder: `arguments` passes prompt embeddings.
    """
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

    torch.manual_seed(0)
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=EMBED,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.bn.running_mean.uniform_(-0.5, 0.5)
    vae.bn.running_var.uniform_(0.5, 2.0)
    pipe = Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
    )
    return _quiet(pipe)


def arguments(
    pipe: Any,
    *,
    seed: int = 7,
    steps: int = 4,
    scale: float = 4.0,
    guided: bool = True,
    prompts: tuple[str, ...] = ("a red circle",),
    negative: str = "a blue square",
    width: int = SIDE,
    height: int = SIDE,
) -> dict[str, Any]:
    """Return the arguments of one pipeline call in the words of that pipeline.

    ``scale`` is the guidance scale; without ``guided`` no guidance runs. FLUX with embedded guidance gets the
    scale as an embedding. Two prompts make a batch of two.
    """
    name, batch = type(pipe).__name__, len(prompts)
    call: dict[str, Any] = {
        "num_inference_steps": steps,
        "width": width,
        "height": height,
        "generator": [torch.Generator().manual_seed(seed + i) for i in range(batch)],
        "output_type": "np",
    }
    if name == "QwenImagePipeline":
        call["prompt_embeds"], call["prompt_embeds_mask"] = _embeds(1, batch)
        if guided:
            call["negative_prompt_embeds"], call["negative_prompt_embeds_mask"] = _embeds(2, batch)
            call["true_cfg_scale"] = scale
        return call
    if name == "ZImagePipeline":
        call["prompt_embeds"] = list(_embeds(1, batch)[0])
        call["negative_prompt_embeds"] = list(_embeds(2, batch)[0])
        return call | {"guidance_scale": scale if guided else 0.0}
    if name == "Flux2KleinPipeline":
        call["prompt_embeds"], call["negative_prompt_embeds"] = _embeds(1, batch)[0], _embeds(2, batch)[0]
        return call | {"guidance_scale": scale if guided else 1.0}
    call["prompt"] = list(prompts)
    if name == "FluxPipeline":
        call["max_sequence_length"] = 16
        if pipe.transformer.config.guidance_embeds:
            return call | {"guidance_scale": scale}
        return call | ({"negative_prompt": [negative] * batch, "true_cfg_scale": scale} if guided else {})
    if name in ("PixArtSigmaPipeline", "StableDiffusion3Pipeline"):
        call["max_sequence_length"] = 16
    if name == "PixArtSigmaPipeline":
        call |= {"use_resolution_binning": False, "clean_caption": False}
    return call | {
        "negative_prompt": [negative] * batch if name != "PixArtSigmaPipeline" else negative,
        "guidance_scale": scale if guided else 1.0,
    }


def _embeds(seed: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeds = torch.randn(1, 6, EMBED, generator=generator).expand(batch, -1, -1)
    return embeds.contiguous(), torch.ones(batch, 6, dtype=torch.long)


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipe


def _vae(channels: int, **config: Any) -> Any:
    """AutoencoderKL with a factor of 4."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        latent_channels=channels,
        norm_num_groups=4,
        **{"force_upcast": False, **config},
    )


def _clip(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(_clip_vocab()),
        hidden_size=EMBED,
        intermediate_size=EMBED,
        projection_dim=EMBED,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=_clip_vocab()["<|startoftext|>"],
        eos_token_id=_clip_vocab()["<|endoftext|>"],
        pad_token_id=_clip_vocab()["<|endoftext|>"],
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _clip_vocab() -> dict[str, int]:
    """CLIP's layout: the bytes, the bytes that end a word, the two specials; no merges."""
    letters = sorted(string.printable.strip())
    tokens = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=_clip_vocab(), merges=[], model_max_length=77)


def _t5_pieces() -> list[tuple[str, float]]:
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return [*specials, *((piece, -2.0) for piece in ["▁", *string.ascii_letters, *string.digits])]


def _t5(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(_t5_pieces()), d_model=width, d_kv=8, d_ff=width, num_layers=1, num_heads=4
    )
    return T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer(vocab=_t5_pieces(), extra_ids=0, model_max_length=64)
