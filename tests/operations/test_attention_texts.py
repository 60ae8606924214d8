"""The words of each image and of each half of guidance, as a run keeps them and as its attention reads them."""

from __future__ import annotations

import numpy as np
import pytest

from diffatlas.capture.texts import describe_texts
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.operations.attention import AttentionTrace, attention_of, js
from diffatlas.params import GenerationParams
from diffatlas.run import Run
from tests.operations import made_attention as made

CAT = made.table(["a", "red", "cat"], split="")
DOG = made.table(["a", "big", "dog"], split="")
BAD = made.table(["bad", "dog"], split="")


def trace(cond, uncond=None, **options):
    """Random attention of two images and both halves, with these words."""
    found = made.trace(batch=2, both=True, **options)
    del found.provenance["attention"]["text"]
    found.provenance["attention"] |= describe_texts(cond, uncond)
    return found


def names(attention: AttentionTrace) -> list[str]:
    return [t.word_text for t in attention.tokens if t.word is not None]


def test_each_image_and_half_has_its_words():
    made_of = trace([CAT, DOG], [BAD, BAD])
    attention = AttentionTrace.of(made_of)
    assert names(attention) == ["a", "red", "cat"]
    assert names(attention.at(image=1)) == ["a", "big", "dog"]
    assert names(attention.at(half="uncond")) == names(attention.at(image=1, half="uncond")) == ["bad", "dog"]
    assert names(attention.at(image=1).at(half="uncond").at(half="cond", image=0)) == ["a", "red", "cat"]
    assert attention.at(image=1, head=None).tokens == tuple(DOG)
    up = "cross:up_blocks.1.attn2"
    maps = made_of.steps[2].attention[up].astype(np.float32)  # (halves, images, tokens, h, w)
    of_image = attention.at(image=1).word_maps("dog", steps=2, layers="up")
    assert of_image[0] == pytest.approx(maps[0, 1, 3], abs=1e-6)
    of_half = attention.at(image=1, half="uncond").word_maps("dog", steps=2, layers="up")
    assert of_half[0] == pytest.approx(maps[1, 1, 2], abs=1e-6)
    with pytest.raises(InvalidParams, match="Its words are: a, red, cat"):
        attention.word_map("dog")
    with pytest.raises(InvalidParams, match="Its words are: bad, dog"):
        attention.at(half="uncond").word_map("cat")
    assert [t.word_text for t, _ in attention.at(image=1).dominance(special=False)] != []
    pairs = js(attention, attention.at(image=1)).tokens
    assert [x.text for x, _ in pairs if not x.special] == ["a"]


def test_a_half_whose_words_are_not_known_has_none():
    attention = AttentionTrace.of(trace([CAT, CAT], None))
    assert names(attention.at(image=1)) == ["a", "red", "cat"]
    other = attention.at(half="uncond")
    assert len(other.tokens) == 12
    assert len(other.cross_layers) == 3
    assert other.maps().shape == (4, 12, 8, 16)
    with pytest.raises(InvalidParams, match="not known: its text was not seen"):
        other.word_map("red")
    only = AttentionTrace.of(trace(None, [BAD, BAD]))
    assert names(only) == []
    assert names(only.at(half="uncond")) == ["bad", "dog"]


def test_where_no_words_are_known_positions_are_left():
    attention = AttentionTrace.of(trace(None))
    assert [t.index for t in attention.tokens] == list(range(12))
    assert attention.activation().shape == (4, 12)
    with pytest.raises(InvalidParams, match="not known: its text was not seen"):
        attention.word_map("red")


def test_older_runs_are_read_as_before():
    attention = AttentionTrace.of(made.trace(batch=2, both=True))
    assert attention.tokens == attention.at(image=1, half="uncond").tokens == tuple(made.table())
    given = AttentionTrace.of(trace([CAT, DOG], [BAD, BAD]), tokens=made.table())
    assert given.at(image=1, half="uncond").tokens == tuple(made.table())


def test_an_image_that_is_not_there_is_refused_when_it_is_read():
    attention = AttentionTrace.of(trace([CAT, DOG], [BAD, BAD])).at(image=5)
    assert len(attention.tokens) == 12
    with pytest.raises(InvalidParams, match="2 images"):
        attention.token_maps(0, "mid")


def test_stored_runs_keep_the_words(tmp_path):
    live = trace([CAT, DOG], [BAD, DOG])
    steps = tuple(step for step in live.steps if step.attention)
    run = Run(
        id="20260131-120000-00000002",
        params=GenerationParams(prompt="a red cat", seed=1),
        status="complete",
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=live.initial_latents,
        initial_sigma=1.0,
        total_steps=len(steps),
        steps=steps,
        provenance=live.provenance,
        capture=live.capture,
    )
    library = Library(tmp_path)
    library.save(run)
    stored, own = attention_of(library.open(run.id)), AttentionTrace.of(live)
    for image in (0, 1):
        for half in ("cond", "uncond"):
            assert stored.at(image=image, half=half).tokens == own.at(image=image, half=half).tokens
    assert names(stored.at(image=1, half="uncond")) == ["a", "big", "dog"]
