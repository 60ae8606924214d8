"""What the configs of a model must be: one description of what is read of them, whoever wrote them.

Everything else in them is for diffusers and transformers to judge, but for numbers that alone would have them build for
minutes, or fill the memory, before they are held against the weights.
"""

from __future__ import annotations

import re
from typing import Any

from diffatlas.described import Wrong, either, fields, listed, maybe, text, whole

#: Pixels or latents along a side, and channels.
_SIDE, _CHANNELS = 16_384, 1_000_000
#: Layers of one kind, and places of what is worked out for each (positions, timesteps, words).
MOST_LAYERS, MOST_PLACES = 1000, 20_000_000
_LAYERS = re.compile(r"(layers|layers_per_block|num_blocks|num_res_blocks|depths?)$")
_PLACES = re.compile(
    r"(max_position_embeddings|n_positions|vocab_size|type_vocab_size|num_embeds|max_length)$"
)
_SIDES = re.compile(r"(sample_size|image_size|pos_embed_max_size|patch_size|sample_(height|width|frames))$")
_PART = re.compile(r"\w{1,100}")
#: What a part of a pipeline may be of, besides the pipelines of diffusers.
LIBRARIES = ("diffusers", "transformers")

_name = text(200)
_side = whole(1, _SIDE)
_sides = either(_side, listed(_side, 2, 2))
_blocks = listed(whole(1, _CHANNELS), 16, 1)


def _length(value: Any) -> None:
    # A tokenizer without a limit says so by a number of thirty digits.
    if type(value) not in (int, float) or not value >= 0:
        raise Wrong("is no number from 0")


_DENOISER = fields(
    {
        "_class_name": maybe(_name),
        "in_channels": maybe(whole(1, _CHANNELS)),
        "patch_size": maybe(either(_side, listed(_side, 8, 1))),
        "all_patch_size": maybe(either(_side, listed(_side, 100, 1))),
        "sample_size": maybe(_sides),
    }
)
_VAE = fields(
    {
        "latent_channels": maybe(whole(1, _CHANNELS)),
        "z_dim": maybe(whole(1, _CHANNELS)),
        "block_out_channels": maybe(_blocks),
        "encoder_block_out_channels": maybe(_blocks),
        "temperal_downsample": maybe(listed(None, 16)),
    }
)
_SCHEDULER = fields(
    {
        "_class_name": maybe(_name),
        "prediction_type": maybe(_name),
        "algorithm_type": maybe(_name),
        "num_train_timesteps": maybe(whole(1, 1_000_000)),
        "steps_offset": maybe(whole(0, 1_000_000)),
    }
)
_BY_PART = {
    **dict.fromkeys(("unet", "transformer"), _DENOISER),
    **dict.fromkeys(("vae", "movq", "vqvae"), _VAE),
    "scheduler": _SCHEDULER,
    "tokenizer": fields({"model_max_length": maybe(_length)}),
}


def check_index(index: dict[str, Any]) -> None:
    """Raise `Wrong` where the index of a pipeline names what can be no part of one, or a part outside of its folder."""
    fields({"_class_name": _name}, ("_class_name",))(index)
    for part, entry in index.items():
        if part.startswith("_") or not is_part(entry):
            continue
        if not _PART.fullmatch(part):
            raise Wrong(f"has a part of the name {part[:60]!r}, which no folder of it has")


def is_part(entry: Any) -> bool:
    """Whether an entry of an index is a part: its library and its class."""
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(each, (str, type(None))) for each in entry)
    )


def check_config(part: str, config: dict[str, Any]) -> None:
    """Raise `Wrong` where what is read of a part's config is not of its kind, or asks for more than any model has."""
    if described := _BY_PART.get(part):
        described(config)
    if part != "tokenizer":
        _check_sizes(config)


def _check_sizes(config: dict[str, Any]) -> None:
    for name, value in config.items():
        for pattern, most in ((_LAYERS, MOST_LAYERS), (_PLACES, MOST_PLACES), (_SIDES, _SIDE)):
            if pattern.search(name) and _largest(value) > most:
                raise Wrong(f"is more than {most:,}", name)
        if isinstance(value, dict):
            try:
                _check_sizes(value)
            except Wrong as wrong:
                raise wrong.inside(name) from None


def _largest(value: Any) -> float:
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return value if isinstance(value, (int, float)) else 0
