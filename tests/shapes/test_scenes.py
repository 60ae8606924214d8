import math
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from diffatlas.shapes.data import SLOT_SIZES, SceneStream, slots
from diffatlas.shapes.latents import encode
from diffatlas.shapes.render import draw, signed_distance
from diffatlas.shapes.scenes import (
    COLORS,
    RELATIONS,
    SHAPES,
    SIZE,
    Object,
    Scene,
    caption,
    sample_caption,
    sample_scene,
)


def test_objects_neither_touch_nor_leave_the_picture():
    rng = random.Random(5)
    for _ in range(500):
        scene = sample_scene(rng)
        for i, a in enumerate(scene.objects):
            reach = 1.2 * a.radius
            assert reach <= a.x + 1
            assert a.x + reach <= SIZE + 1
            for b in scene.objects[:i]:
                assert math.hypot(a.x - b.x, a.y - b.y) >= a.radius + b.radius + 3


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_hold_in_the_picture(relation):
    rng = random.Random(6)
    scenes = [s for s in (sample_scene(rng, "relation") for _ in range(200)) if s.relation == relation]
    assert scenes
    for s in scenes:
        a, b = s.objects
        assert {
            "above": a.y < b.y,
            "below": a.y > b.y,
            "to the left of": a.x < b.x,
            "to the right of": a.x > b.x,
        }[relation]


def test_captions_say_what_the_scene_holds():
    a, b = Object("star", "orange", 20, 20, 8), Object("ring", "blue", 45, 45, 8)
    two = Scene("two", "white", (a, b))
    assert caption(two) == "an orange star and a blue ring"
    assert caption(two, reverse=True, colored=False) == "a ring and a star"
    related = Scene("relation", "black", (a, b), "to the left of")
    assert caption(related, short=True) == "an orange star left of a blue ring"
    assert caption(Scene("count", "black", (a, a, a)), background=True) == (
        "three orange stars on a black background"
    )


def test_slots_are_within_their_sizes_and_read_the_caption():
    rng = random.Random(7)
    for _ in range(300):
        scene = sample_scene(rng)
        values = slots(scene, sample_caption(rng, scene))
        assert all(0 <= v < n for v, n in zip(values, SLOT_SIZES, strict=True))
    star, ring = Object("star", "orange", 20, 20, 8), Object("ring", "blue", 45, 45, 8)
    scene = Scene("relation", "black", (star, ring), "above")
    words = caption(scene, background=True)
    assert slots(scene, words) == [
        1 + SHAPES.index("star"),
        1 + list(COLORS).index("orange"),
        1 + SHAPES.index("ring"),
        1 + list(COLORS).index("blue"),
        0,
        1 + list(RELATIONS).index("above"),
        2,
        *(0, 0),  # nothing is denied
        *(0, 0, 0, 0),  # nothing is said of left and right
        *(1 + SHAPES.index("star"), 1 + list(COLORS).index("orange")),
        *(1 + SHAPES.index("ring"), 1 + list(COLORS).index("blue")),
    ]
    plain = caption(scene, colored=False)
    assert slots(scene, plain)[1::2][:2] == [0, 0]


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("denied", ["ring", "blue"])
def test_what_is_denied_is_said_and_not_drawn(denied, short):
    scene = Scene("negation", "white", (Object("heart", "pink", 20, 20, 8),), denied=denied)
    words = caption(scene, short=short)
    assert words == {
        ("ring", False): "a pink heart without a ring",
        ("ring", True): "a pink heart and no ring",
    }.get((denied, short), "a heart that is not blue")
    values = slots(scene, words)
    pink = 1 + list(COLORS).index("pink") if denied == "ring" else 0
    ring, blue = (1 + SHAPES.index("ring"), 0) if denied == "ring" else (0, 1 + list(COLORS).index("blue"))
    assert values[:4] == [1 + SHAPES.index("heart"), pink, 0, 0]
    assert values[7:9] == [ring, blue]


def test_negations_deny_what_is_not_there():
    rng = random.Random(8)
    scenes = [sample_scene(rng, "negation") for _ in range(200)]
    assert all(s.denied not in (s.objects[0].shape, s.objects[0].color) for s in scenes)
    assert {s.denied for s in scenes} == {*SHAPES, *COLORS}


def _polygon(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Corners by hand, in units of the object's radius; the drawing code does not use them."""
    if shape == "triangle":
        corners = [(1.12, k * 120) for k in range(3)]
    elif shape == "square":
        corners = [(1.16, 45 + k * 90) for k in range(4)]
    elif shape == "diamond":
        corners = [((1.22, 0.72)[k % 2], k * 90) for k in range(4)]
    elif shape == "heart":
        return [(x + a * radius, y - b * radius) for a, b in _heart_corners()]
    else:
        corners = [((1.18, 0.52)[k % 2], k * 36) for k in range(10)]
    return [
        (x + r * radius * math.sin(math.radians(d)), y - r * radius * math.cos(math.radians(d)))
        for r, d in corners
    ]


def _heart_corners() -> list[tuple[float, float]]:
    """A square on its tip, of a diagonal of 1.7, and 64 points around each of two discs on its upper sides."""
    d, tip = 1.7, -0.94
    around = [math.radians(k * 180 / 64) for k in range(65)]
    right = [
        (
            d / 4 + d / math.sqrt(8) * math.cos(a - math.pi / 4),
            0.75 * d + d / math.sqrt(8) * math.sin(a - math.pi / 4),
        )
        for a in around
    ]
    half = [(0.0, 0.0), *right]
    return [(a, b + tip) for a, b in [*half, *((-a, b) for a, b in reversed(half))]]


@pytest.mark.parametrize("shape", SHAPES)
def test_drawing_agrees_with_pillow(shape):
    x, y, radius, fine = 30.3, 34.6, 13.0, 16
    sheet = Image.new("L", (SIZE * fine, SIZE * fine))
    pen = ImageDraw.Draw(sheet)
    if shape in ("circle", "ring"):
        outer = 0.95 if shape == "circle" else 1.0
        for r, ink in ((outer, 255), (0.52, 0 if shape == "ring" else 255)):
            r *= radius
            pen.ellipse([(x - r) * fine, (y - r) * fine, (x + r) * fine, (y + r) * fine], fill=ink)
    else:
        pen.polygon([(fine * a, fine * b) for a, b in _polygon(shape, x, y, radius)], fill=255)
    expected = np.asarray(sheet.resize((SIZE, SIZE), Image.Resampling.BOX)) / 255
    scene = Scene("single", "black", (Object(shape, "yellow", x, y, radius),))
    drawing = draw([scene]).images[0, 0].numpy()
    low, high = 12 / 255, 247 / 255
    assert np.abs((drawing - low) / (high - low) - expected).max() < 0.2
    assert np.abs((drawing - low) / (high - low) - expected).mean() < 0.003


def test_a_cell_is_of_one_shape_even_where_two_touch():
    last = [Object(SHAPES[-1], list(COLORS)[-1], x, 32, 12) for x in (28, 36)]
    drawing = draw([Scene("two", "white", tuple(last))])
    assert sorted(drawing.shape_map.unique().tolist()) == [0, len(SHAPES)]
    assert sorted(drawing.color_map.unique().tolist()) == [0, len(COLORS)]


@pytest.mark.parametrize("shape", SHAPES)
def test_signed_distance_has_unit_slope(shape):
    """A signed distance grows by one pixel a pixel (the eikonal equation), except where edges meet."""
    at = (torch.tensor([v], dtype=torch.float64) for v in (32.2, 31.7, 14.0, 0.1))
    sdf = signed_distance([shape], *at)[0]
    dy, dx = torch.gradient(sdf)
    slope = torch.sqrt(dx**2 + dy**2)
    assert float((slope - 1).abs().median()) < 0.01
    # Each axis on its own can never exceed it.
    assert float(torch.maximum(dx.abs(), dy.abs()).max()) < 1 + 1e-9


def test_latents_have_zero_mean_and_unit_variance():
    latents = SceneStream(31).batch(1500).latents
    assert latents.shape[1:] == (4, 16, 16)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.1, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=0.06, rtol=0)


def test_latents_tell_shapes_apart_where_colour_does_not():
    scenes = [Scene("single", "white", (Object(s, "red", 32, 32, 12),)) for s in ("circle", "ring")]
    circle, ring = encode(draw(scenes))
    assert float((circle - ring)[3, 7:9, 7:9].abs().min()) > 1


def test_streams_repeat_with_their_seed():
    a, b, c = SceneStream(1).batch(4), SceneStream(1).batch(4), SceneStream(2).batch(4)
    assert a.captions == b.captions
    torch.testing.assert_close(a.latents, b.latents, rtol=0, atol=0)
    assert a.captions != c.captions


def test_workers_lay_out_scenes_that_are_drawn_as_any_other():
    stream, again = SceneStream(1, workers=2), SceneStream(1, workers=2)
    batches = [stream.batch(5) for _ in range(4)]
    captions = [c for batch in batches for c in batch.captions]
    # Each worker has scenes of its own, and the same ones in every process.
    assert len(set(captions)) > 10
    assert captions == [c for _ in range(4) for c in again.batch(5).captions]
    for batch in batches:
        assert batch.latents.shape == (5, 4, 16, 16)
        assert batch.ids.shape == (5, 24)
        assert [s[2] == 0 for s in batch.slots.tolist()] == [_nouns(c) < 2 for c in batch.captions]


def _nouns(words: str) -> int:
    """Nouns of a caption that are not denied."""
    said = words.split(" without ")[0].split(" and no ")[0].split()
    return sum(word.removesuffix("s") in SHAPES for word in said)
