"""Heat maps against DAAM's, computed by its definition from attention that a processor materialises.

castorini/daam keeps, for every cross-attention layer outside the mid block and not 8 times smaller than the latents,
the second (conditional) half of batch x heads, sums each head over time, upsamples it bicubically to the latents'
side, cuts off below 0, and averages over layers and heads; a word is the mean of its tokens. Two processes of the same
pipeline and seed are compared: the plain attention that `observe` reads, and one that computes the probabilities as
softmax(baddbmm), so the latents differ by rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from diffatlas.attention.trace import AttentionTrace
from diffatlas.capture import Capture, observe
from diffatlas.capture.tokens import token_table

PROMPT = "a red circle and a blue square"
#: Of the picture, in pixels; the latents have 16.
SIDE = 64


class Materialising:
    """A cross-attention processor that keeps the conditional probabilities, summed over time by head."""

    def __init__(self, latent_side: int, kept: dict[tuple[int, int], torch.Tensor], layer: int) -> None:
        self.latent_side, self.kept, self.layer = latent_side, kept, layer

    def __call__(self, attn: Any, hidden: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        query = attn.head_to_batch_dim(attn.to_q(hidden))
        key = attn.head_to_batch_dim(attn.to_k(encoder_hidden_states))
        value = attn.head_to_batch_dim(attn.to_v(encoder_hidden_states))
        probabilities = attn.get_attention_scores(query, key)  # (batch x heads, queries, tokens)
        queries = probabilities.shape[1]
        factor = int(math.sqrt(self.latent_side**2 // queries))
        if factor != 8:
            side = math.isqrt(queries)
            maps = probabilities[len(probabilities) // 2 :].transpose(1, 2).unflatten(2, (side, side))
            for head, heat_map in enumerate(maps):
                slot = (self.layer, head)
                self.kept[slot] = self.kept.get(slot, 0) + heat_map
        out = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        return attn.to_out[1](attn.to_out[0](out))


def reference(pipe: Any, asked: dict[str, Any], side: int) -> torch.Tensor:
    """DAAM's heat map of every token, (tokens, side, side)."""
    kept: dict[tuple[int, int], torch.Tensor] = {}
    own = dict(pipe.unet.attn_processors)
    processors = {
        name: Materialising(side, kept, i)
        if name.endswith("attn2.processor") and not name.startswith("mid")
        else processor
        for i, (name, processor) in enumerate(own.items())
    }
    pipe.unet.set_attn_processor(processors)
    try:
        pipe(**asked)
    finally:
        pipe.unet.set_attn_processor(own)
    merged = [
        interpolate(heat_map[:, None], size=(side, side), mode="bicubic").clamp_(min=0)
        for heat_map in kept.values()
    ]
    return torch.stack(merged).mean(0)[:, 0]


def of_word(pipe: Any, maps: torch.Tensor, word: str) -> np.ndarray:
    """The mean over the tokens of the first occurrence of a word, behind the beginning of the text."""
    pieces, wanted = pipe.tokenizer.tokenize(PROMPT), pipe.tokenizer.tokenize(word)
    start = next(i for i in range(len(pieces)) if pieces[i : i + len(wanted)] == wanted)
    return maps[[1 + start + i for i in range(len(wanted))]].mean(0).numpy()


@pytest.fixture(scope="module")
def deep_pipe() -> Any:
    """A random SD whose layers are 1, 2, 4 (and, in the mid block, 8) times smaller than the latents."""
    from diffusers import UNet2DConditionModel

    from tests import pipelines

    pipe = pipelines.build_sd()
    torch.manual_seed(3)
    pipe.unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    ).eval()
    for name, parameter in pipe.unet.named_parameters():
        if "attn2.to_q" in name or "attn2.to_k" in name:  # random weights attend evenly: make them choose
            parameter.data *= 6
    return pipe


def asked() -> dict[str, Any]:
    return {
        "prompt": PROMPT,
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "width": SIDE,
        "height": SIDE,
        "output_type": "latent",
        "generator": torch.Generator().manual_seed(7),
    }


@pytest.fixture(scope="module")
def theirs(deep_pipe) -> torch.Tensor:
    return reference(deep_pipe, asked(), 16)


@pytest.fixture(scope="module")
def by_heads(deep_pipe) -> dict[str, AttentionTrace]:
    found = {}
    for heads in ("each", "mean"):
        with observe(deep_pipe, Capture(attention="cross", attention_heads=heads)) as trace:
            deep_pipe(**asked())
        found[heads] = AttentionTrace.of(trace, tokens=token_table(deep_pipe, PROMPT))
    return found


@pytest.mark.parametrize("word", ["red", "square"])
@pytest.mark.parametrize(("heads", "tolerance"), [("each", 1e-3), ("mean", 6e-2)])
def test_word_maps_agree_with_daam(deep_pipe, theirs, by_heads, word, heads, tolerance):
    """Within 0.1% of the map's maximum with every head kept, 6% with their mean (it is cut off after the mean)."""
    ours, expected = by_heads[heads].daam(word), of_word(deep_pipe, theirs, word)
    assert ours.shape == expected.shape == (16, 16)
    assert expected.std() > 0.01 * expected.mean()  # it is a map, not a plain
    assert np.abs(ours - expected).max() < tolerance * expected.max()


def test_steps_add_up_and_are_of_one_step(by_heads):
    attention = by_heads["each"]
    every = attention.daam()
    by_step = np.stack([attention.daam(steps=s) for s in attention.steps])
    # Each step's undershoot is cut off by itself: the sum is never less, and hardly more.
    assert (by_step.sum(0) - every).min() > -1e-4
    assert np.abs(by_step.sum(0) - every).mean() < 0.02 * every.mean()
    only = attention.daam("red", steps=1, layers="down_blocks.0.*")
    (layer,) = [x for x in attention.cross_layers if x.name.startswith("down_blocks.0.")]
    assert layer.grid == (16, 16)
    assert only == pytest.approx(attention.word_map("red", steps=1, layers=layer.name), abs=1e-3)
    assert attention.daam(size=(8, 8)).shape == (77, 8, 8)
