"""Overlap of words with objects and binding, on drawn pictures and maps whose answers are known, and on the model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas.capture import Capture
from diffatlas.errors import InvalidParams
from diffatlas.operations.attention import AttentionTrace, attention_of
from diffatlas.operations.attention_boxes import binding, word_overlap
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from diffatlas.shapes.detect import detect
from tests.operations import made_attention as made

RED, BLUE = (222, 40, 44), (40, 92, 222)
#: A square of 16 x 16 pixels at the left and one at the right, of a picture of 64 x 64: four cells of 8 each.
LEFT, RIGHT = (8, 24, 24, 40), (40, 24, 56, 40)


def picture(left: tuple[int, int, int] | None, right: tuple[int, int, int] | None) -> np.ndarray:
    """A white ground with a disc in the left box and a square in the right one."""
    image = np.full((64, 64, 3), 250, np.uint8)
    y, x = np.mgrid[:64, :64] + 0.5
    if left:
        image[np.hypot(x - 16, y - 32) < 8] = left
    if right:
        image[24:40, 40:56] = right
    return image


def looking(
    where: dict[str, list[np.ndarray]], words: str = "a red circle and a blue square"
) -> AttentionTrace:
    """Attention in which each word's map at each step is given, (8, 8); the rest of the words look evenly."""
    tokens = made.table(words.split(), split="")
    steps = []
    for k in range(len(next(iter(where.values())))):
        maps = np.full((1, len(tokens), 8, 8), 0.01)
        for token in tokens:
            if token.word_text in where:
                maps[0, token.index] = where[token.word_text][k]
        steps.append(SimpleNamespace(index=k, attention={"cross:up.attn2": maps.astype(np.float16)}))
    layer = {
        "name": "up.attn2",
        "kind": "cross",
        "heads": 2,
        "grid": [8, 8],
        "tokens": len(tokens),
        "block": "up",
    }
    provenance = {"attention": {"layers": [layer], "text": [t.to_dict() for t in tokens]}}
    return AttentionTrace.of(SimpleNamespace(steps=steps, initial_latents=None, provenance=provenance))


def on(box: tuple[int, int, int, int], inside: float = 0.5, outside: float = 0.0) -> np.ndarray:
    left, top, right, bottom = (v // 8 for v in box)
    weights = np.full((8, 8), outside)
    weights[top:bottom, left:right] = inside
    return weights


def test_a_word_on_its_object():
    even = np.full((8, 8), 0.25)
    attention = looking({"red": [even, on(LEFT), on(RIGHT)]})
    found = word_overlap(attention, picture(RED, BLUE), "red")
    assert [(d.color, d.shape, d.box) for d in found.found] == [("red", "circle", LEFT)]
    assert found.uniform == pytest.approx(4 / 64)
    assert found.share == pytest.approx([4 / 64, 1, 0])
    assert found.lift == pytest.approx([1, 16, 0])
    assert found.iou == pytest.approx([4 / 64, 1, 0])


def test_a_shape_in_the_plural_has_the_boxes_of_all():
    attention = looking({"squares": [on(LEFT, 0.5) + on(RIGHT, 0.25)]}, "two red squares")
    image = picture(None, RED)
    image[24:40, 8:24] = RED
    found = word_overlap(attention, image, "squares")
    assert len(found.found) == 2
    assert found.share == pytest.approx([1])
    assert found.uniform == pytest.approx(8 / 64)


def test_an_object_that_is_not_there_gives_no_numbers():
    attention = looking({"red": [on(LEFT), on(LEFT)]})
    found = word_overlap(attention, picture(BLUE, BLUE), "red")
    assert found.found == ()
    assert np.isnan(found.share).all()
    assert found.share.shape == (2,)


def test_words_that_name_nothing_are_refused():
    attention = looking({"red": [on(LEFT)]})
    with pytest.raises(InvalidParams, match="names no colour and no shape"):
        word_overlap(attention, picture(RED, BLUE), "and")
    with pytest.raises(InvalidParams, match="Its words are"):
        word_overlap(attention, picture(RED, BLUE), "green")


def test_binding_by_its_definition():
    """red: 0.5 on its circle and 0.1 on the other: 0.4 / 0.6; blue looks at the wrong object only."""
    red = on(LEFT, 0.5) + on(RIGHT, 0.125)
    attention = looking({"red": [red], "blue": [on(LEFT)]})
    found = binding(attention, picture(RED, BLUE))
    assert [(w.word, w.shape, w.own.box, w.holds) for w in found.words] == [
        ("red", "circle", LEFT, True),
        ("blue", "square", RIGHT, True),
    ]
    assert found.words[0].values == pytest.approx([0.375 / 0.625])
    assert found.words[1].values == pytest.approx([-1])
    assert found.values == pytest.approx([(0.6 - 1) / 2])
    assert found.holds


def test_binding_is_measured_where_the_image_swapped_the_colours():
    attention = looking({"red": [on(RIGHT)], "blue": [on(LEFT)]})
    found = binding(attention, picture(BLUE, RED))
    assert [(w.own.box, w.holds) for w in found.words] == [(LEFT, False), (RIGHT, False)]
    assert found.values == pytest.approx([-1])
    assert not found.holds


def test_objects_of_one_shape_are_told_by_their_colour():
    attention = looking({"red": [on(RIGHT)], "blue": [on(LEFT)]}, "a red square and a blue square")
    image = picture(None, RED)
    image[24:40, 8:24] = BLUE
    found = binding(attention, image)
    assert [w.own.box for w in found.words] == [RIGHT, LEFT]
    assert found.values == pytest.approx([1])


def test_binding_needs_two_objects_and_two_pairs():
    attention = looking({"red": [on(LEFT)]})
    assert binding(attention, picture(RED, None)) is None
    single = looking({"red": [on(LEFT)]}, "a red circle")
    with pytest.raises(InvalidParams, match="two colours"):
        binding(single, picture(RED, BLUE))


def test_the_embedded_model_looks_at_what_it_names(shapes_backend, tmp_path: Path):
    """A picture that is right: each word looks at its object more and more; the stored run says the same."""
    from diffatlas.library import Library

    asked = GenerationParams(prompt="a green star and a red circle", num_inference_steps=10)
    runs = (
        collect(shapes_backend.trace(asked.replace(seed=seed), Capture(attention="cross"))).raise_for_error()
        for seed in range(10)
    )
    right = {("star", "green"), ("circle", "red")}
    run = next(run for run in runs if {(d.shape, d.color) for d in detect(run.images[0])} == right)
    live = AttentionTrace.of(run)
    found = binding(live, run.images[0])
    assert found.holds
    assert found.values[-1] > 0.3
    assert found.values[-1] > found.values[0] + 0.2
    red = word_overlap(live, run.images[0], "red")
    assert red.lift[-1] > 1.5
    assert red.lift[-1] > 1.25 * red.lift[0]
    assert len(red.steps) == 10

    library = Library(tmp_path)
    library.save(run)
    stored = attention_of(library.open(run.id))
    assert stored.tokens == live.tokens
    assert stored.layers == live.layers
    assert (stored.word_maps("red") == live.word_maps("red")).all()
    assert stored.entropy() == pytest.approx(live.entropy())
    assert (stored.daam("red") == live.daam("red")).all()
