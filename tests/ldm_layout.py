"""The weights of a Stable Diffusion pipeline under the names of the original trainers, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTER = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
VAE_MIDDLE = {
    "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2", "mid_block.attentions.0": "mid.attn_1",
    "conv_norm_out": "norm_out",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def write_single_file(pipe: Any, path: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write UNet, VAE and text encoder of a pipeline to ``path`` as one checkpoint."""
    weights = {f"model.diffusion_model.{n}": t for n, t in _unet(pipe.unet).items()}
    weights |= {f"first_stage_model.{n}": t for n, t in _vae(pipe.vae).items()}
    for name, tensor in pipe.text_encoder.state_dict().items():
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        weights[f"cond_stage_model.transformer.{name}"] = tensor
    save_file({n: t.to(dtype).contiguous() if t.is_floating_point() else t for n, t in weights.items()}, path)
    return path


def _unet(unet: Any) -> dict[str, torch.Tensor]:
    layers = unet.config.layers_per_block
    places = dict(OUTER)
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            place = f"input_blocks.{(layers + 1) * i + j + 1}"
            places |= {
                f"down_blocks.{i}.resnets.{j}": f"{place}.0",
                f"down_blocks.{i}.attentions.{j}": f"{place}.1",
            }
        places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{(layers + 1) * (i + 1)}.0.op"
    for i, block in enumerate(unet.up_blocks):
        for j in range(len(block.resnets)):
            place = f"output_blocks.{(layers + 1) * i + j}"
            places |= {
                f"up_blocks.{i}.resnets.{j}": f"{place}.0",
                f"up_blocks.{i}.attentions.{j}": f"{place}.1",
            }
        last = 2 if hasattr(block, "attentions") else 1
        places[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{(layers + 1) * i + layers}.{last}.conv"
    return {_moved(name, places, RESNET): tensor for name, tensor in unet.state_dict().items()}


def _vae(vae: Any) -> dict[str, torch.Tensor]:
    deep = len(vae.config.block_out_channels)
    moved = {}
    for name, tensor in vae.state_dict().items():
        places = dict(VAE_MIDDLE)
        for i in range(deep):
            up = deep - 1 - i
            places |= {f"down_blocks.{i}.downsamplers.0": f"down.{i}.downsample"}
            places |= {f"up_blocks.{i}.upsamplers.0": f"up.{up}.upsample"}
            for j in range(vae.config.layers_per_block + 1):
                places |= {f"down_blocks.{i}.resnets.{j}": f"down.{i}.block.{j}"}
                places |= {f"up_blocks.{i}.resnets.{j}": f"up.{up}.block.{j}"}
        half, _, rest = name.partition(".")
        if half in ("encoder", "decoder"):
            inner = VAE_ATTENTION if ".attentions." in name else {"conv_shortcut": "nin_shortcut"}
            name = f"{half}.{_moved(rest, places, inner)}"
            if ".attn_1." in name and name.endswith("weight") and tensor.ndim == 2:
                tensor = tensor[:, :, None, None]
        moved[name] = tensor
    return moved


def _moved(name: str, places: dict[str, str], inner: dict[str, str]) -> str:
    place = next((p for p in sorted(places, key=len, reverse=True) if name.startswith(f"{p}.")), None)
    if place is None:
        return name
    rest = name.removeprefix(f"{place}.")
    part = next((p for p in inner if rest.startswith(f"{p}.")), None)
    # What is inside of a transformer keeps its names.
    rest = f"{inner[part]}.{rest.removeprefix(part + '.')}" if part else rest
    return f"{places[place]}.{rest}"
