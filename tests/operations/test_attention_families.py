"""The attention of the families of pipelines: their words, grids and halves, through the real capture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.operations.attention import AttentionTrace, attention_of, js
from diffatlas.params import GenerationParams
from diffatlas.run import collect

PROMPT = "a red circle"


def traced(pipe: Any, capture: Capture, **options: Any) -> Any:
    from tests import pipelines

    own = {name: options.pop(name) for name in [*options] if name.startswith("prompt")}
    asked = pipelines.arguments(pipe, steps=2, prompts=(PROMPT,), **options) | own
    asked = {name: value for name, value in asked.items() if name not in own or value is not None}
    if "prompt_embeds" in own:
        asked.pop("negative_prompt", None)
    with observe(pipe, capture) as trace:
        pipe(**{**asked, "output_type": "latent"})
    return trace.attention


@pytest.mark.parametrize(
    ("fixture", "encoders", "joint"),
    [
        ("sd_pipe", {"clip"}, False),
        ("sdxl_pipe", {"clip"}, False),
        ("sd3_pipe", {"clip", "t5"}, True),
        ("flux_pipe", {"t5"}, True),
        ("pixart_pipe", {"t5"}, False),
    ],
)
def test_words_have_maps_in_every_family(fixture, encoders, joint, request):
    attention = traced(request.getfixturevalue(fixture), Capture(attention="all"), width=96, height=64)
    assert attention.steps == (0, 1)
    assert attention.cross_layers
    assert attention.self_layers
    assert {t.encoder for t in attention.tokens if t.word_text == "red"} == encoders
    rows, columns = attention.grid
    assert columns / rows == pytest.approx(1.5)
    assert attention.word_map("red").shape == attention.grid
    text = attention.maps().sum(1)
    assert text.max() < 1.01
    assert (text.min() < 0.99) == joint
    entropy = attention.entropy(normalised=True)
    assert np.isfinite(entropy).all()
    assert 0 <= entropy.min() <= entropy.max() <= 1 + 1e-9
    seen = attention.looks_at(1, (0.9, 0.1))
    assert seen.ndim == 2
    assert attention.kl()[1] >= 0


def test_images_of_a_batch_and_the_unconditional_half(sd_pipe):
    from tests import pipelines

    asked = {**pipelines.arguments(sd_pipe, steps=2, prompts=(PROMPT, PROMPT)), "output_type": "latent"}
    with observe(
        sd_pipe, Capture(attention="cross", attention_halves="both", attention_heads="each")
    ) as trace:
        sd_pipe(**asked)
    attention = trace.attention
    assert attention.per_head
    first, second = attention.word_map("red"), attention.at(image=1).word_map("red")
    assert np.abs(first - second).max() > 1e-6
    alone = traced(sd_pipe, Capture(attention="cross"))
    assert alone.word_map("red") == pytest.approx(first, abs=1e-3)
    heads = [attention.at(head=h).word_map("red") for h in range(attention.cross_layers[0].heads)]
    assert np.mean(heads, 0) == pytest.approx(first, abs=1e-4)
    uncond = attention.at(half="uncond").token_maps(0, "down")
    assert np.abs(uncond - attention.token_maps(0, "down")).max() > 1e-6


def test_words_are_those_of_the_prompt_that_the_keys_carry(flux_pipe, sd_pipe):
    """Another prompt for FLUX's second encoder; prompts of their own for the images of a batch and for both halves."""
    from tests import pipelines

    flux = traced(flux_pipe, Capture(attention="cross"), prompt_2="some big dog")
    assert {t.word_text for t in flux.tokens if t.text == "d"} == {"dog"}
    with pytest.raises(InvalidParams, match="some, big, dog"):
        flux.word_map("circle")
    prompts = ("a red circle", "some dog")
    asked = pipelines.arguments(sd_pipe, steps=2, prompts=prompts, negative="ugly")
    with observe(sd_pipe, Capture(attention="cross", attention_halves="both")) as trace:
        sd_pipe(**{**asked, "output_type": "latent"})
    for image, words in enumerate((["a", "red", "circle"], ["some", "dog"])):
        attention = trace.attention.at(image=image)
        assert list(dict.fromkeys(t.word_text for t in attention.tokens if t.word is not None)) == words
        assert attention.word_map(words[-1]).shape == attention.grid
        assert attention.at(half="uncond").word_map("ugly").shape == attention.grid
    with pytest.raises(InvalidParams, match="Its words are: some, dog"):
        trace.attention.at(image=1).word_map("circle")


def test_embeddings_that_were_made_elsewhere_have_positions_only(sd_pipe):
    embeds, _ = sd_pipe.encode_prompt(PROMPT, "cpu", 1, False)
    attention = traced(sd_pipe, Capture(attention="cross"), guided=False, prompt=None, prompt_embeds=embeds)
    assert len(attention.tokens) == 77
    assert attention.activation().shape == (2, 77)
    with pytest.raises(InvalidParams, match="its text was not seen"):
        attention.word_map("red")


def test_layers_that_a_cache_skips_are_left_out(tmp_path):
    """FLUX with FirstBlockCache: after the first step the first block of each stack runs alone."""
    from diffusers import FirstBlockCacheConfig

    from tests import pipelines

    pipe = pipelines.build_flux()
    torch.manual_seed(0)
    blocks = pipe.transformer.config
    pipe.register_modules(
        transformer=type(pipe.transformer)(**{**blocks, "num_layers": 2, "num_single_layers": 2}).eval()
    )
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    asked = {**pipelines.arguments(pipe, steps=5, prompts=(PROMPT,)), "output_type": "latent"}
    with observe(pipe, Capture(attention="cross")) as trace:
        pipe(**asked)
    attention = trace.attention
    there = attention.coverage()
    ran = [[layer.key in step.attention for layer in attention.cross_layers] for step in trace.steps]
    assert there.tolist() == ran
    assert there[0].all()
    assert there.any(1).all()
    assert not there[1:].all(1).any()
    assert (np.isnan(attention.entropy()) == ~there).all()
    assert attention.rests_on() == "over 5 steps, 1 to 4 layers"
    for found in (attention.word_map("red"), attention.daam("red"), attention.activation()):
        assert np.isfinite(found).all()
    ran_later = [x.name for x, n in zip(attention.cross_layers, there[1], strict=True) if n]
    first = [attention.word_maps("red", layers=name)[1:] for name in ran_later]
    assert attention.word_maps("red")[1:] == pytest.approx(np.mean(first, 0), abs=1e-6)


def test_stored_runs_without_latents_and_without_attention(shapes_backend, tmp_path):
    from diffatlas.library import Library

    library = Library(tmp_path)
    asked = GenerationParams(prompt=PROMPT, seed=7, num_inference_steps=3)
    kept = Capture(attention="all", attention_every=2, attention_resolution=8, latents=False)
    run = collect(shapes_backend.trace(asked, kept)).raise_for_error()
    library.save(run)
    stored = attention_of(library.open(run.id))
    assert stored.steps == (0, 2)
    assert stored.latents == (16, 16)
    assert stored.daam("red").shape == stored.grid == (16, 16)
    assert {x.cells for x in stored.self_layers} == {(8, 8), (4, 4)}
    assert stored.entropy("self", normalised=True).max() <= 1 + 1e-6
    assert len(stored.kl()) == 2
    assert js(stored, AttentionTrace.of(run)).values == pytest.approx(0, abs=1e-9)

    plain = collect(shapes_backend.trace(asked, Capture())).raise_for_error()
    library.save(plain)
    with pytest.raises(CapabilityError, match="capture it again"):
        attention_of(library.open(plain.id))
