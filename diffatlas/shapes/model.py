"""The embedded model's parts, built from their configurations, and the pipeline folder they make up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffatlas.shapes.latents import CHANNELS, FACTOR
from diffatlas.shapes.scenes import SIZE
from diffatlas.shapes.tokenizer import MAX_LENGTH, build_tokenizer

TEXT_WIDTH = 128
WIDTHS = (32, 64, 128)


def build_text_encoder(vocab_size: int, end_id: int) -> Any:
    """Return a small `transformers.CLIPTextModel` (about 0.6 M parameters)."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=end_id - 1,
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    )


def build_unet() -> Any:
    """Return a `diffusers.UNet2DConditionModel` with cross-attention at 16, 8 and 4 cells."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=TEXT_WIDTH,
        # diffusers reads this as the number of heads: 32 channels each.
        attention_head_dim=tuple(w // 32 for w in WIDTHS),
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_vae() -> Any:
    """Return a `diffusers.AutoencoderKL` that reduces each side by four."""
    from diffusers import AutoencoderKL

    widths = (16, 32, 64)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def build_scheduler() -> Any:
    """Return the training schedule: v-prediction, scaled-linear betas rescaled to zero terminal SNR
    (Lin et al. 2023, arXiv 2305.08891), sampled with trailing spacing."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        # Unused with trailing spacing, but pipelines insist on it.
        steps_offset=1,
    )


def build_parts() -> dict[str, Any]:
    """Return new parts under their pipeline names; the weights come from torch's current seed."""
    tokenizer = build_tokenizer()
    return {
        "tokenizer": tokenizer,
        "text_encoder": build_text_encoder(len(tokenizer), tokenizer.eos_token_id),
        "unet": build_unet(),
        "vae": build_vae(),
        "scheduler": build_scheduler(),
    }


def load_parts(folder: Path) -> dict[str, Any]:
    """Return the parts of a saved pipeline folder, in fp32."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return {name: getattr(pipe, name) for name in ("tokenizer", "text_encoder", "unet", "vae", "scheduler")}


def build_pipeline(parts: dict[str, Any]) -> Any:
    """Join the parts to a `StableDiffusionPipeline`."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_pipeline(parts: dict[str, Any], folder: Path) -> None:
    """Write the pipeline folder with fp16 weights; the parts themselves stay as they are."""
    import copy

    import torch

    halves = {
        name: copy.deepcopy(part).to(torch.float16) if isinstance(part, torch.nn.Module) else part
        for name, part in parts.items()
    }
    build_pipeline(halves).save_pretrained(folder, safe_serialization=True)
    _tidy_configs(folder)


def _tidy_configs(folder: Path) -> None:
    """Drop the path a part was loaded from, and let transformers compute in fp32 as diffusers does by default:
    it would otherwise take the dtype of the stored weights, and the two halves of the pipeline would not fit."""
    for path in folder.rglob("*.json"):
        data = json.loads(path.read_text())
        if not isinstance(data, dict):
            continue
        changed = dict(data)
        changed.pop("_name_or_path", None)
        if "dtype" in changed:
            changed["dtype"] = "float32"
        if changed != data:
            path.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n")
