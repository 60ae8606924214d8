"""Maps and measures of a run's attention, against the stored arrays, SciPy and torch."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.operations.attention import AttentionTrace, js
from tests.operations import made_attention as made

DOWN, MID, UP = (f"cross:{name}" for name in made.CROSS)


@pytest.fixture
def trace():
    return made.trace()


@pytest.fixture
def attention(trace) -> AttentionTrace:
    return AttentionTrace.of(trace)


def bilinear(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import torch
    from torch.nn.functional import interpolate

    return interpolate(torch.from_numpy(maps.astype(np.float32))[None], size=size, mode="bilinear")[0].numpy()


def test_steps_layers_and_tokens(attention):
    assert attention.steps == (0, 1, 2, 3)
    assert [x.block for x in attention.cross_layers] == ["down", "mid", "up"]
    assert [x.key for x in attention.self_layers] == ["self:up_blocks.1.attn1"]
    assert attention.grid == (8, 16)
    assert [t.word_text for t in attention.tokens[1:5]] == ["a", "red", "circle", "circle"]


def test_token_maps_are_what_was_stored(trace, attention):
    maps = attention.token_maps(2, "mid_block.attn2")
    assert maps.dtype == np.float32
    assert (maps == trace.steps[2].attention[MID][0]).all()


def test_word_maps_are_means_over_subtokens_layers_and_steps(trace, attention):
    """circle is tokens 3 and 4; every layer is brought to 8 x 16 by torch."""
    by_step = []
    for step in trace.steps[:4]:
        layers = [bilinear(step.attention[key][0], (8, 16)) for key in (DOWN, MID, UP)]
        by_step.append(np.mean(layers, 0)[3:5].mean(0))
    assert attention.word_maps("circle") == pytest.approx(np.stack(by_step), abs=1e-6)
    assert attention.word_map("circle") == pytest.approx(np.mean(by_step, 0), abs=1e-6)
    assert attention.word_map("circle", steps=1) == pytest.approx(by_step[1], abs=1e-6)
    only = bilinear(trace.steps[0].attention[MID][0], (4, 8))[3:5].mean(0)
    assert attention.word_map("circle", steps=[0], layers="mid", resolution=8) == pytest.approx(
        only, abs=1e-6
    )


def test_repeated_words_and_phrases(attention):
    maps = attention.maps(steps=0)
    assert attention.word_maps("a", 0, steps=0)[0] == pytest.approx(maps[0, 1], abs=1e-7)
    assert attention.word_maps("a", 1, steps=0)[0] == pytest.approx(maps[0, 6], abs=1e-7)
    assert attention.word_maps("red circle", steps=0)[0] == pytest.approx(maps[0, 2:5].mean(0), abs=1e-6)


def test_common_resolution_keeps_probabilities(attention):
    maps = attention.maps(12)
    assert maps.shape == (4, 12, 6, 12)
    assert maps.sum(1) == pytest.approx(np.ones((4, 6, 12)), abs=2e-3)  # float16 storage


@pytest.mark.parametrize(
    "layers", ["down", "down_blocks.*", "down_blocks.0.attn2", ["down_blocks.0"], [DOWN]]
)
def test_layers_by_part_name_and_glob(attention, layers):
    assert attention.maps(steps=0, layers=layers)[0] == pytest.approx(
        attention.token_maps(0, "down_blocks.0.attn2"), abs=0
    )


def test_the_measures(trace, attention):
    stored = [{k: s.attention[k][0].astype(np.float64) for k in (DOWN, MID, UP)} for s in trace.steps[:4]]
    expected = [[scipy_entropy(s[k], axis=0).mean() for k in (DOWN, MID, UP)] for s in stored]
    assert attention.entropy() == pytest.approx(np.array(expected), abs=1e-4)
    assert attention.entropy(normalised=True) == pytest.approx(np.array(expected) / np.log(12), abs=1e-4)
    active = np.array([np.mean([s[k].mean((1, 2)) for k in (DOWN, MID, UP)], 0) for s in stored])
    assert attention.activation() == pytest.approx(active, abs=1e-6)
    between = [
        np.mean([scipy_entropy(now[k], before[k], axis=0).mean() for k in (DOWN, MID, UP)])
        for before, now in itertools.pairwise(stored)
    ]
    assert attention.kl()[0] is None
    assert attention.kl()[1:] == pytest.approx(between, abs=1e-3)
    own = trace.steps[0].attention["self:up_blocks.1.attn1"][0].reshape(32, 32).astype(np.float64)
    assert attention.entropy("self")[0, 0] == pytest.approx(scipy_entropy(own, axis=1).mean(), abs=1e-3)


def test_dominance_with_and_without_specials(attention):
    scores = attention.activation().mean(0)
    ranked = attention.dominance()
    assert [t.index for t, _ in ranked] == list(np.argsort(-scores, kind="stable"))
    assert [s for _, s in ranked] == pytest.approx(np.sort(scores)[::-1])
    words = attention.dominance(special=False, top=3)
    assert len(words) == 3
    assert not any(t.special for t, _ in words)


def test_a_step_that_reallocates_is_a_spike():
    still = made.trace(tuple(range(8)))
    for step in still.steps[1:8]:
        step.attention.update(still.steps[0].attention)
    other = made.trace((0,), seed=9)
    still.steps[5].attention.update(other.steps[0].attention)
    found = AttentionTrace.of(still).spikes()
    # There and back again.
    assert found == [5, 6]


def test_looking_from_a_place(trace, attention):
    own = trace.steps[1].attention["self:up_blocks.1.attn1"][0].astype(np.float32)
    seen = attention.looks_at(1, (0.3, 0.8))
    assert seen == pytest.approx(own[3, 2] * 32, rel=1e-5)
    assert attention.looks_at(1, (1.0, 1.0)) == pytest.approx(own[3, 7] * 32, rel=1e-5)
    assert attention.self_maps(1, "up").shape == (4, 8, 4, 8)
    assert attention.looks_at(1, (0, 0), resolution=16).shape == (8, 16)
    with pytest.raises(InvalidParams, match="place"):
        attention.looks_at(1, (1.2, 0))


@pytest.mark.parametrize("told", [True, False])
def test_images_heads_and_halves(told):
    trace = made.trace(batch=3, heads=4, both=True, told=told)
    attention = AttentionTrace.of(trace)
    stored = trace.steps[0].attention[UP].astype(np.float32)  # (2, 3, 4, tokens, h, w)
    assert attention.token_maps(0, "up") == pytest.approx(stored[0, 0].mean(0), abs=1e-6)
    chosen = attention.at(image=2, head=1, half="uncond")
    assert (chosen.token_maps(0, "up") == stored[1, 2, 1]).all()
    assert chosen.at(head="mean").token_maps(0, "up") == pytest.approx(stored[1, 2].mean(0), abs=1e-6)
    own = trace.steps[0].attention["self:up_blocks.1.attn1"]
    assert (chosen.self_maps(0, "up") == own[1, 2, 1]).all()
    with pytest.raises(InvalidParams, match="3 images"):
        attention.at(image=3).token_maps(0, "up")
    with pytest.raises(InvalidParams, match="4 heads"):
        attention.at(head=4).token_maps(0, "up")


@pytest.mark.parametrize("told", [True, False])
def test_halves_without_heads_and_heads_without_halves(told):
    both = made.trace(both=True, told=told)
    stored = both.steps[0].attention[MID]
    assert (AttentionTrace.of(both).at(half="uncond").token_maps(0, "mid") == stored[1, 0]).all()
    each = made.trace(heads=4, told=told)
    stored = each.steps[0].attention[MID]
    assert (AttentionTrace.of(each).at(head=3).token_maps(0, "mid") == stored[0, 3]).all()


def test_a_run_without_guidance_has_one_half_only():
    trace = made.trace(both=True)
    for step in trace.steps[:4]:
        step.attention.update({key: maps[:1] for key, maps in step.attention.items()})
    attention = AttentionTrace.of(trace)
    assert (attention.token_maps(0, "mid") == trace.steps[0].attention[MID][0, 0]).all()
    with pytest.raises(CapabilityError, match="not guided"):
        attention.at(half="uncond").token_maps(0, "mid")


def test_what_was_not_captured_is_said(attention):
    with pytest.raises(CapabilityError, match="attention_halves='both'"):
        attention.at(half="uncond").token_maps(0, "mid")
    with pytest.raises(CapabilityError, match="attention_heads='each'"):
        attention.at(head=1)
    with pytest.raises(InvalidParams, match="captured are 0, 1, 2, 3"):
        attention.token_maps(4, "mid")
    with pytest.raises(InvalidParams, match=r"mid_block\.attn2"):
        attention.token_maps(0, "nothing")
    with pytest.raises(InvalidParams, match="Its words are"):
        attention.word_map("green")
    with pytest.raises(InvalidParams, match="half"):
        attention.at(half="left")
    bare = made.trace()
    for step in bare.steps:
        object.__setattr__(step, "attention", None)
    with pytest.raises(CapabilityError, match="capture it again"):
        AttentionTrace.of(bare)
    no_cross = made.trace()
    del no_cross.provenance["attention"]["layers"][:3]
    with pytest.raises(CapabilityError, match="no cross-attention"):
        AttentionTrace.of(no_cross).entropy()


def test_tokens_may_be_given_where_the_prompt_was_not_known():
    trace = made.trace()
    trace.provenance["attention"]["text"] = []
    unknown = AttentionTrace.of(trace)
    assert [t.special for t in unknown.tokens] == [True] * 12
    assert unknown.activation().shape == (4, 12)
    given = AttentionTrace.of(trace, tokens=made.table())
    assert given.word_map("red").shape == (8, 16)


def test_js_of_two_runs_by_step_and_token():
    a, b = made.trace(), made.trace((0, 2, 3), seed=1, words=["a", "green", *made.WORDS[2:]])
    one, two = AttentionTrace.of(a), AttentionTrace.of(b)
    found = js(one, two)
    assert found.steps == (0, 2, 3)
    assert [x.text for x, _ in found.tokens if not x.special] == [
        "a",
        "cir",
        "cle",
        "and",
        "a",
        "blue",
        "square",
    ]
    assert all(x.text == y.text for x, y in found.tokens)
    k = [x.index for x, _ in found.tokens].index(7)  # blue
    left, right = one.maps(steps=2)[0, 7].ravel(), two.maps(steps=2)[0, 7].ravel()
    assert found.values[1, k] == pytest.approx(jensenshannon(left, right) ** 2, abs=1e-6)
    words = [not x.special for x, _ in found.tokens]
    assert found.by_step == pytest.approx(found.values[:, words].mean(1))
    assert js(one, one).values == pytest.approx(0, abs=1e-9)
    with pytest.raises(InvalidParams, match="no step"):
        js(one, AttentionTrace.of(made.trace((7, 8))))


def test_an_overlay_of_a_word(attention):
    picture = np.full((32, 64, 3), 90, np.uint8)
    out = attention.overlay(picture, "red", steps=0)
    assert out.shape == picture.shape
    light = out.astype(float).sum(-1)
    weights = bilinear(attention.word_map("red", steps=0)[None], (32, 64))[0]
    assert np.corrcoef(light.ravel(), weights.ravel())[0, 1] > 0.9


def test_measures_read_every_map_once(trace):
    reads = []
    base = AttentionTrace.of(trace)

    def reading(index, key):
        reads.append((index, key))
        return trace.steps[index].attention[key]

    attention = replace(base, read=reading)
    assert np.isfinite(attention.entropy()).all()
    (
        attention.kl(),
        attention.activation(),
        attention.dominance(),
        attention.spikes(),
        attention.entropy("self"),
    )
    assert sorted(reads) == sorted((k, key) for k in range(4) for key in trace.steps[0].attention)
