"""The embedded models' parts, built from their configurations, and the pipeline folders they make up.

Two architectures know the same world: "unet" (cross-attention, v-prediction, `StableDiffusionPipeline`) and "dit"
(joint attention, flow matching, `StableDiffusion3Pipeline` with an empty T5).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffatlas.shapes.latents import CHANNELS, FACTOR
from diffatlas.shapes.scenes import SIZE, words_page
from diffatlas.shapes.tokenizer import MAX_LENGTH, build_tokenizer

TEXT_WIDTH = 128
WIDTHS = (32, 64, 128)
#: Of the second text encoder of "dit", which its pipeline demands.
SECOND_WIDTH = 32
DIT_WIDTH, DIT_HEADS, DIT_LAYERS, PATCH = 160, 5, 6, 2
#: Names of the parts in their pipelines.
PARTS = {
    "unet": ("tokenizer", "text_encoder", "unet", "vae", "scheduler"),
    "dit": (
        "tokenizer",
        "tokenizer_2",
        "tokenizer_3",
        "text_encoder",
        "text_encoder_2",
        "text_encoder_3",
        "transformer",
        "vae",
        "scheduler",
    ),
}
#: Of the parts, those that are trained together.
TRAINED = {"unet": ("unet", "text_encoder"), "dit": ("transformer", "text_encoder", "text_encoder_2")}


def build_text_encoder(
    vocab_size: int, end_id: int, width: int = TEXT_WIDTH, layers: int = 3, projected: bool = False
) -> Any:
    """Return a small `transformers.CLIPTextModel` (about 0.6 M parameters), with a projection where wanted."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            projection_dim=width,
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


def build_transformer() -> Any:
    """Return a `diffusers.SD3Transformer2DModel` over patches of 2 x 2 cells (about 5.7 M parameters)."""
    from diffusers import SD3Transformer2DModel

    width = TEXT_WIDTH + SECOND_WIDTH
    return SD3Transformer2DModel(
        sample_size=SIZE // FACTOR,
        patch_size=PATCH,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DIT_LAYERS,
        attention_head_dim=DIT_WIDTH // DIT_HEADS,
        num_attention_heads=DIT_HEADS,
        joint_attention_dim=width,
        caption_projection_dim=DIT_WIDTH,
        pooled_projection_dim=width,
        pos_embed_max_size=SIZE // FACTOR // PATCH,
        qk_norm="rms_norm",
    )


def build_empty_t5(vocab_size: int) -> Any:
    """Return a `transformers.T5EncoderModel` without layers that says zero of every token.

    It is what diffusers puts where a T5 is missing, but a folder without one is not loaded by a plain
    ``from_pretrained``.
    """
    import torch
    from transformers import T5Config, T5EncoderModel

    width = TEXT_WIDTH + SECOND_WIDTH
    empty = T5EncoderModel(
        T5Config(
            vocab_size=vocab_size, d_model=width, d_kv=8, d_ff=8, num_layers=0, num_heads=1, use_cache=False
        )
    )
    with torch.no_grad():
        empty.shared.weight.zero_()
    return empty.requires_grad_(False)


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
        shift_factor=0.0,
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


def build_flow_scheduler() -> Any:
    """Return the schedule of flow matching: x_t = (1 - t) x0 + t noise, t from 1 to 0 in even steps."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def build_parts(kind: str = "unet") -> dict[str, Any]:
    """Return new parts under their pipeline names; the weights come from torch's current seed."""
    tokenizer = build_tokenizer()
    if kind == "dit":
        words, end = len(tokenizer), tokenizer.eos_token_id
        return {
            "tokenizer": tokenizer,
            "tokenizer_2": tokenizer,
            "tokenizer_3": tokenizer,
            "text_encoder": build_text_encoder(words, end, projected=True),
            "text_encoder_2": build_text_encoder(words, end, SECOND_WIDTH, 2, projected=True),
            "text_encoder_3": build_empty_t5(words),
            "transformer": build_transformer(),
            "vae": build_vae(),
            "scheduler": build_flow_scheduler(),
        }
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
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    kind = "dit" if hasattr(pipe, "transformer") else "unet"
    return {name: getattr(pipe, name) for name in PARTS[kind]}


def kind_of(parts: dict[str, Any]) -> str:
    """Return the architecture of a pipeline's parts, "unet" or "dit"."""
    return "dit" if "transformer" in parts else "unet"


def build_pipeline(parts: dict[str, Any]) -> Any:
    """Join the parts to the pipeline of their architecture."""
    from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

    if kind_of(parts) == "dit":
        pipe = StableDiffusion3Pipeline(**parts)
    else:
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
    (folder / "words.md").write_text(words_page(), encoding="utf-8")
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
