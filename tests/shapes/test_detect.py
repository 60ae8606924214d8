import random

import numpy as np
import pytest
import torch

from diffatlas.shapes.detect import Detection, background, detect, is_blank, is_speckled
from diffatlas.shapes.render import draw
from diffatlas.shapes.scenes import COLORS, RELATIONS, Object, Scene, sample_scene
from diffatlas.shapes.tasks import CATEGORIES, Demand, Task, all_tasks, fault, judge, relations, sample_tasks


def pictures(scenes: list[Scene], seed: int | None = None) -> np.ndarray:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    images = draw(scenes, generator=generator).images
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_detector_agrees_with_the_renderer_on_held_out_scenes():
    rng = random.Random(8675309)
    scenes = [sample_scene(rng) for _ in range(1000)]
    right = 0
    for scene, image in zip(scenes, pictures(scenes, seed=8675309), strict=True):
        found = detect(image)
        same = sorted((o.shape, o.color) for o in scene.objects) == sorted((d.shape, d.color) for d in found)
        right += same and background(image) == scene.background and _boxes_fit(scene, found)
    assert right / len(scenes) >= 0.99


def _boxes_fit(scene: Scene, found: list[Detection]) -> bool:
    """Every object's centre lies in a box of its own, whose half side is about its radius."""
    for o in scene.objects:
        fits = [
            d
            for d in found
            if d.shape == o.shape
            and d.box[0] < o.x < d.box[2]
            and d.box[1] < o.y < d.box[3]
            and 0.6 * o.radius < (d.box[2] - d.box[0]) / 2 < 1.4 * o.radius
        ]
        if len(fits) != 1:
            return False
    return True


def test_noise_and_blank_pictures_hold_nothing():
    rng = np.random.default_rng(0)
    assert detect(np.full((64, 64, 3), 250, np.uint8)) == []
    speckle = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert [d for d in detect(speckle) if d.score > 0.85] == []


def test_blank_and_speckled_pictures_are_told_from_drawn_ones():
    rng, noise = random.Random(4), np.random.default_rng(0)
    drawn = pictures([sample_scene(rng) for _ in range(200)], seed=4)
    assert not any(is_blank(image) or is_speckled(image) for image in drawn)
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert is_blank(flat)
    assert not is_speckled(flat)
    assert is_blank(flat + noise.integers(0, 20, flat.shape).astype(np.uint8))
    spoiled = drawn[0].copy()
    spoiled[noise.random((64, 64)) < 0.2] = (255, 0, 255)
    assert is_speckled(spoiled)


def test_touching_objects_of_two_colours_are_told_apart():
    touching = Scene(
        "two", "white", (Object("circle", "red", 22, 32, 10), Object("square", "blue", 42, 32, 11))
    )
    found = {(d.shape, d.color) for d in detect(pictures([touching])[0])}
    assert found == {("circle", "red"), ("square", "blue")}


def tinted(shape: str, left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    """A picture of one shape on black whose halves have colours of their own."""
    cover = pictures([Scene("single", "black", (Object(shape, "yellow", 32, 32, 14),))])[0][..., :1] > 120
    halves = np.where(np.arange(64)[None, :, None] < 32, left, right)
    return np.where(cover, halves, 12).astype(np.uint8)


@pytest.mark.parametrize("shape", ["circle", "ring", "star"])
def test_a_colour_between_two_names_is_one_colour_and_two_colours_are_two(shape):
    red, pink = (np.array(COLORS[name]) for name in ("red", "pink"))
    # Either side of the middle: the names differ, the colours hardly do.
    near = [tuple((red + (pink - red) * k).astype(int)) for k in (0.4, 0.6)]
    assert [d.shape for d in detect(tinted(shape, *near))] == [shape]
    found = detect(tinted(shape, tuple(red), tuple(pink)))
    assert shape not in {d.shape for d in found if d.score > 0.9}
    assert len(found) != 1


def test_a_blurred_picture_is_still_read():
    from PIL import Image, ImageFilter

    scene = Scene("two", "black", (Object("star", "yellow", 20, 20, 12), Object("ring", "green", 44, 44, 12)))
    soft = np.asarray(Image.fromarray(pictures([scene])[0]).filter(ImageFilter.GaussianBlur(0.8)))
    assert {(d.shape, d.color) for d in detect(soft)} == {("star", "yellow"), ("ring", "green")}


def brute_force_relations(a: tuple, b: tuple) -> set[str]:
    """GenEval's rule written out case by case."""
    ax, ay, bx, by = (a[0] + a[2]) / 2, (a[1] + a[3]) / 2, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2
    dx, dy = ax - bx, ay - by
    wx, wy = 0.1 * (a[2] - a[0] + b[2] - b[0]), 0.1 * (a[3] - a[1] + b[3] - b[1])
    rx = 0 if abs(dx) < wx else dx - wx if dx > 0 else dx + wx
    ry = 0 if abs(dy) < wy else dy - wy if dy > 0 else dy + wy
    if abs(rx) < 1e-3 and abs(ry) < 1e-3:
        return set()
    n = (dx * dx + dy * dy) ** 0.5
    out = set()
    if rx / n < -0.5:
        out.add("to the left of")
    if rx / n > 0.5:
        out.add("to the right of")
    if ry / n < -0.5:
        out.add("above")
    if ry / n > 0.5:
        out.add("below")
    return out


def test_relations_follow_the_written_rule():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(2000):
        boxes = []
        for _ in range(2):
            x, y = rng.integers(0, 45, 2)
            w, h = rng.integers(4, 20, 2)
            boxes.append((int(x), int(y), int(x + w), int(y + h)))
        a, b = (Detection("ring", "red", box, 1.0) for box in boxes)
        expected = brute_force_relations(*boxes)
        assert relations(a, b) == expected
        seen |= expected
    assert seen == set(RELATIONS)


def test_verdicts():
    def judge_scene(scene: Scene, task: Task) -> bool:
        return judge(pictures([scene])[0], task).correct

    left, right = Object("circle", "red", 18, 32, 9), Object("square", "blue", 46, 32, 9)
    scene = Scene("two", "white", (left, right))
    assert judge_scene(scene, Task("two", "", (Demand("circle"), Demand("square"))))
    assert judge_scene(scene, Task("binding", "", (Demand("circle", "red"), Demand("square", "blue"))))
    assert not judge_scene(scene, Task("binding", "", (Demand("circle", "blue"), Demand("square", "red"))))
    pair = (Demand("circle"), Demand("square"))
    assert judge_scene(scene, Task("position", "", pair, relation="to the left of"))
    assert not judge_scene(scene, Task("position", "", pair, relation="above"))
    assert not judge_scene(scene, Task("count", "", (Demand("circle", count=2, exactly=True),)))
    assert judge_scene(scene, Task("single", "", (Demand("circle"),)))
    assert not judge(pictures([scene])[0], Task("single", "", (Demand("circle"),))).nothing_else
    assert not judge_scene(scene, Task("background", "", (Demand("circle"),), background="black"))
    assert not judge_scene(scene, Task("negation", "", (Demand("circle"),), without="square"))
    assert judge_scene(scene, Task("negation", "", (Demand("circle"),), without="heart"))
    assert not judge_scene(scene, Task("negation", "", (Demand("circle", but="red"),)))
    assert judge_scene(scene, Task("negation", "", (Demand("circle", but="blue"),)))


PAIR = (Demand("circle"), Demand("square"))


@pytest.mark.parametrize(
    ("shown", "task", "expected"),
    [
        ("red circle, blue square", Task("two", "", PAIR), ""),
        ("red circle, blue circle", Task("two", "", PAIR), "one noun twice"),
        ("red circle, blue heart", Task("two", "", PAIR), "a shape is missing"),
        ("red circle", Task("two", "", PAIR), "a shape is missing"),
        ("", Task("two", "", PAIR), "nothing is there"),
        (
            "red circle, blue square",
            Task("binding", "", (Demand("circle", "blue"), Demand("square", "red"))),
            "a colour, place or ground is wrong",
        ),
        (
            "red circle, blue square",
            Task("position", "", PAIR, relation="above"),
            "a colour, place or ground is wrong",
        ),
        ("red circle", Task("count", "", (Demand("circle", count=2, exactly=True),)), "too few"),
        ("", Task("count", "", (Demand("circle", count=2, exactly=True),)), "too few"),
        ("red heart, blue heart", Task("count", "", (Demand("heart", exactly=True),)), "too many"),
        ("red circle", Task("negation", "", (Demand("circle", but="red"),)), "what is denied is there"),
        (
            "red circle, blue square",
            Task("negation", "", (Demand("circle"),), without="square"),
            "what is denied is there",
        ),
        ("red heart", Task("negation", "", (Demand("circle", but="red"),)), "a shape is missing"),
    ],
)
def test_faults_are_told_apart(shown, task, expected):
    looks = [look.split() for look in shown.split(", ") if look]
    objects = tuple(Object(s, c, x, 32, 9) for (c, s), x in zip(looks, (18, 46), strict=False))
    image = pictures([Scene("two", "white", objects)])[0] if objects else np.full((64, 64, 3), 255, np.uint8)
    verdict = judge(image, task)
    assert fault(task, verdict) == expected
    assert (expected == "") == verdict.correct


def test_count_forbids_one_more():
    rings = tuple(Object("ring", "green", x, y, 8) for x, y in ((14, 14), (44, 14), (14, 44)))
    image = pictures([Scene("count", "white", rings)])[0]
    verdicts = {
        n: judge(image, Task("count", "", (Demand("ring", None, n, True),))).correct for n in (2, 3, 4)
    }
    assert verdicts == {2: False, 3: True, 4: False}


@pytest.mark.parametrize("category", CATEGORIES)
def test_drawn_scenes_fulfil_the_tasks_that_describe_them(category):
    """Tasks and captions are one grammar: a task's prompt is the caption of a scene that fulfils it."""
    prompts = {t.prompt for t in all_tasks(category)}
    assert len(prompts) == len(all_tasks(category))
    assert [t.prompt for t in sample_tasks(category, 8)] == [t.prompt for t in sample_tasks(category, 8)]
    from diffatlas.shapes.scenes import vocabulary

    words = {w for p in prompts for w in p.split()}
    assert words <= set(vocabulary())
