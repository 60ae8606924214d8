"""A scorer put to the test on scenes whose truth is known: drawn as asked, and with one fault planted.

A judge that reads pictures well in general may still pass a scene in which two colours have changed places. What it
does with each kind of fault is measured here, and its sensitivity and specificity correct its rates
(`diffatlas.bench.statistics.corrected_rate`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffatlas.bench.judgements import Scorer, judge_all
from diffatlas.bench.packs.shapes import as_task
from diffatlas.bench.statistics import Rate, rate
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams
from diffatlas.shapes.scenes import COLORS, SIZE, Object, Scene, caption, sample_scene
from diffatlas.shapes.tasks import Task as Demanded
from diffatlas.shapes.tasks import all_tasks

#: Tries at drawing a scene that a fault can be planted in.
TRIES = 20_000
#: What is drawn as asked, in the table of an audit.
AS_ASKED = "as asked"

Fault = Callable[[random.Random, Scene, Demanded], Scene | None]


@dataclass(frozen=True)
class Drawn:
    """A task, the scene that is drawn for it, and what is wrong with that: `AS_ASKED` where nothing is."""

    task: Task
    scene: Scene
    fault: str


@dataclass(frozen=True)
class Audited:
    """What a scorer did with one kind of scenes: the share that it judged rightly."""

    fault: str
    right: Rate | None
    unjudged: int


@dataclass(frozen=True)
class Audit:
    """A scorer's errors: by kind of fault, and in all (how many were judged rightly, of how many)."""

    kinds: tuple[Audited, ...]
    passed_of_correct: tuple[int, int]
    failed_of_wrong: tuple[int, int]


def audit(scorer: Scorer, each: int = 40, seed: int = 0) -> Audit:
    """Judge ``each`` scenes of each kind of fault, and as many drawn as asked for each of those.

    Raises `InvalidParams` for fewer than two.
    """
    if each < 2:
        raise InvalidParams(f"An audit of {each} scenes says nothing: give two or more.", field="each")
    drawn = [one for fault in FAULTS for one in planted(fault, each, seed)]
    images = pictures([one.scene for one in drawn])
    judged = judge_all(scorer, images, [one.task for one in drawn], [0] * len(drawn))
    told: dict[str, list[tuple[bool, str]]] = {fault: [] for fault in (AS_ASKED, *FAULTS)}
    missing = dict.fromkeys(told, 0)
    for one, said in zip(drawn, judged, strict=True):
        if said.judgement.verdict == "cannot judge":
            missing[one.fault] += 1
        else:
            right = (said.judgement.verdict == "pass") == (one.fault == AS_ASKED)
            told[one.fault].append((right, one.task.prompt))
    kinds = tuple(
        Audited(
            fault,
            rate([float(right) for right, _ in rows], [p for _, p in rows]) if rows else None,
            missing[fault],
        )
        for fault, rows in told.items()
    )
    wrong = [right for fault in FAULTS for right, _ in told[fault]]
    correct = [right for right, _ in told[AS_ASKED]]
    return Audit(kinds, (sum(correct), len(correct)), (sum(wrong), len(wrong)))


def planted(fault: str, each: int, seed: int = 0) -> list[Drawn]:
    """Return scenes as asked and the same with a fault, ``each`` of both.

    Their prompts are different where there are so many. Raises `InvalidParams` where there are not so many scenes.
    """
    category, kind, plant = FAULTS[fault]
    tasks = {task.prompt: task for task in all_tasks(category)}
    rng = random.Random(f"{fault} {seed}")
    found: list[Drawn] = []
    for number in range(TRIES):
        if len(found) >= 2 * each:
            return found
        scene = sample_scene(rng, kind)
        words = caption(scene, colored=rng.random() < 0.8, short=rng.random() < 0.5)
        again = any(one.task.prompt == words for one in found) and number < TRIES // 2
        if words not in tasks or again:
            continue
        wrong = plant(rng, scene, tasks[words])
        if wrong is not None:
            task = as_task(tasks[words], f"{fault}-{len(found) // 2:04d}")
            found += [Drawn(task, scene, AS_ASKED), Drawn(task, wrong, fault)]
    raise InvalidParams(
        f"There are only {len(found) // 2} scenes for {fault!r}: ask for fewer.", field="each"
    )


def pictures(scenes: Sequence[Scene]) -> np.ndarray:
    """Draw scenes: (N, 64, 64, 3) uint8."""
    from diffatlas.shapes.render import draw

    return (draw(scenes).images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def _removed(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """One of the two is not there."""
    kept = rng.randrange(2)
    return replace(scene, objects=(scene.objects[kept],))


def _recoloured(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """One of the two has a colour that neither was to have."""
    if any(demand.color is None for demand in asked.demands):
        return None
    at = rng.randrange(2)
    color = rng.choice([name for name in COLORS if name not in {one.color for one in scene.objects}])
    return _with(scene, at, replace(scene.objects[at], color=color))


def _swapped(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """The colours have changed places: which is whose is all that is wrong."""
    first, second = scene.objects
    if any(demand.color is None for demand in asked.demands) or first.color == second.color:
        return None
    return replace(scene, objects=(replace(first, color=second.color), replace(second, color=first.color)))


def _moved(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """The two have changed places: the relation is the opposite one."""
    first, second = scene.objects
    here, there = (replace(one, x=other.x, y=other.y) for one, other in ((first, second), (second, first)))
    # Each keeps its size; where the larger would leave the picture, both stay as they are.
    inside = all(one.radius + 1 < v < SIZE - one.radius - 1 for one in (here, there) for v in (one.x, one.y))
    return replace(scene, objects=(here, there)) if inside else None


def _doubled(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """There is one more than was asked for."""
    model = scene.objects[0]
    return _more(rng, scene, model.shape, model.color)


def _denied(rng: random.Random, scene: Scene, asked: Demanded) -> Scene | None:
    """What was denied is there."""
    if asked.without is None:
        at = replace(scene.objects[0], color=asked.demands[0].but)
        return _with(scene, 0, at)
    return _more(rng, scene, asked.without, rng.choice(tuple(COLORS)))


def _more(rng: random.Random, scene: Scene, shape: str, color: str) -> Scene | None:
    """The scene with one more object where there is room; None where there is none."""
    radius = min(8.0, *(one.radius for one in scene.objects))
    for _ in range(60):
        x, y = (rng.uniform(radius + 2, SIZE - radius - 2) for _ in range(2))
        if all(math.hypot(x - one.x, y - one.y) > radius + one.radius + 3 for one in scene.objects):
            return replace(scene, objects=(*scene.objects, Object(shape, color, x, y, radius)))
    return None


def _with(scene: Scene, at: int, one: Object) -> Scene:
    return replace(scene, objects=tuple(one if k == at else other for k, other in enumerate(scene.objects)))


#: Kind of fault -> the category of the tasks, the kind of scene, and how the fault is planted.
FAULTS: dict[str, tuple[str, str, Fault]] = {
    "removed": ("two", "two", _removed),
    "recoloured": ("binding", "two", _recoloured),
    "colours exchanged": ("binding", "two", _swapped),
    "moved": ("position", "relation", _moved),
    "one too many": ("count", "count", _doubled),
    "denied and there": ("negation", "negation", _denied),
}
