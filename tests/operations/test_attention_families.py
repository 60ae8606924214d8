"""The attention of the families of pipelines: their words, grids and halves, through the real capture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffatlas.capture import Capture, observe
from diffatlas.errors import CapabilityError
from diffatlas.operations.attention import AttentionTrace, attention_of, js
from diffatlas.params import GenerationParams
from diffatlas.run import collect

PROMPT = "a red circle"


def traced(pipe: Any, capture: Capture, **options: Any) -> Any:
    import pipelines

    with observe(pipe, capture) as trace:
        pipe(**{**pipelines.arguments(pipe, steps=2, prompts=(PROMPT,), **options), "output_type": "latent"})
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
    import pipelines

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
