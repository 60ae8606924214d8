"""Packs for the embedded models: scenes of their grammar, and some that are beyond it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from diffatlas.bench.tasks import Exclude, Include, Pack, Task
from diffatlas.errors import InvalidParams
from diffatlas.shapes.scenes import COLORS, SHAPES, article, noun
from diffatlas.shapes.tasks import Task as Scene
from diffatlas.shapes.tasks import sample_tasks

#: The categories of the pack, of those that the models' cards are scored by.
SIX = ("colour", "two", "binding", "count", "position", "negation")
#: A relation in the words of the grammar, and in GenEval's.

AS_GENEVAL = {"to the left of": "left of", "to the right of": "right of", "above": "above", "below": "below"}
_OPPOSITE = {"above": "below", "below": "above"}


def shapes_pack(each: int = 25, seed: int = 0) -> Pack:
    """Return a pack of ``each`` prompts of six categories that the models were trained on."""
    tasks = []
    for category in SIX:
        scenes = sample_tasks(category, each, seed)
        if len({scene.prompt for scene in scenes}) < each:
            known = len({scene.prompt for scene in scenes})
            raise InvalidParams(f"There are only {known} prompts of {category}: ask for fewer.", field="size")
        tasks += [as_task(scene, f"{category}-{number:04d}") for number, scene in enumerate(scenes)]
    return Pack(
        name="shapes",
        title="Shapes",
        description="What the embedded models were trained on: colours, two objects, which colour is whose, how many,"
        " where, and what is not there.",
        licence="MIT",
        source="Diffusion Atlas",
        tasks=tuple(tasks),
    )


def as_task(scene: Scene, name: str) -> Task:
    """Return a prompt of the models' grammar as a task of objects that demands the same."""
    include, exclude = [], []
    # As in GenEval what something stands in a relation to comes first, though the prompt names it last.
    for number, demand in enumerate(reversed(scene.demands) if scene.relation else scene.demands):
        position = (AS_GENEVAL[scene.relation], 0) if scene.relation and number == 1 else None
        include.append(Include(noun=demand.shape, count=demand.count, color=demand.color, position=position))
        if demand.exactly:
            exclude.append(Exclude(noun=demand.shape, count=demand.count + 1))
        if demand.but:
            exclude.append(Exclude(noun=demand.shape, color=demand.but))
    if scene.without:
        exclude.append(Exclude(noun=scene.without))
    return Task(
        id=name,
        prompt=scene.prompt,
        tag=scene.category,
        include=tuple(include),
        exclude=tuple(exclude),
        background=scene.background,
    )


def hard_pack(each: int = 12, seed: int = 0) -> Pack:
    """Return a pack of ``each`` prompts of four kinds that are beyond what the models were trained on."""
    tasks = []
    for tag, forms in (
        ("three_colours", _three),
        ("count_five_six", _many),
        ("two_relations", _two_relations),
        ("negated_colour", _negated),
    ):
        drawn = forms(random.Random(f"{tag} {seed}"))
        found: dict[str, Task] = {}
        for task in itertools.islice(drawn, 50 * each):
            if len(found) < each:
                found.setdefault(task.prompt, task)
        if len(found) < each:
            raise InvalidParams(f"There are only {len(found)} prompts of {tag}: ask for fewer.", field="size")
        tasks += list(found.values())
    named = tuple(
        Task(
            id=f"{task.tag}-{number:04d}",
            prompt=task.prompt,
            tag=task.tag,
            include=task.include,
            exclude=task.exclude,
        )
        for number, task in enumerate(tasks)
    )
    return Pack(
        name="shapes-hard",
        title="Shapes, beyond what was learned",
        description="Three objects with three colours, five and six of one, two relations at once, and a colour that is"
        " denied: where the embedded models fail in ways worth looking at.",
        licence="MIT",
        source="Diffusion Atlas",
        tasks=named,
    )


def _three(rng: random.Random) -> Iterator[Task]:
    while True:
        shapes, colors = rng.sample(SHAPES, 3), rng.sample(tuple(COLORS), 3)
        a, b, c = (article(noun(*look)) for look in zip(shapes, colors, strict=True))
        include = tuple(Include(noun=s, color=k) for s, k in zip(shapes, colors, strict=True))
        yield Task(id="-", prompt=f"{a}, {b} and {c}", tag="three_colours", include=include)


def _many(rng: random.Random) -> Iterator[Task]:
    while True:
        shape, color, count = rng.choice(SHAPES), rng.choice((None, *COLORS)), rng.choice((5, 6))
        yield Task(
            id="-",
            prompt=f"{'five' if count == 5 else 'six'} {noun(shape, color)}s",
            tag="count_five_six",
            include=(Include(noun=shape, count=count, color=color),),
            exclude=(Exclude(noun=shape, count=count + 1),),
        )


def _two_relations(rng: random.Random) -> Iterator[Task]:
    while True:
        a, b, c = rng.sample(SHAPES, 3)
        across = rng.choice(("to the left of", "to the right of"))
        along = rng.choice(("above", "below"))
        yield Task(
            id="-",
            prompt=f"{article(a)} {across} {article(b)} and {along} {article(c)}",
            tag="two_relations",
            include=(
                Include(noun=b),
                Include(noun=a, position=(AS_GENEVAL[across], 0)),
                # That the first is above the third is that the third is below the first.
                Include(noun=c, position=(_OPPOSITE[along], 1)),
            ),
        )


def _negated(rng: random.Random) -> Iterator[Task]:
    while True:
        a, b = rng.sample(SHAPES, 2)
        color, other = rng.sample(tuple(COLORS), 2)
        yield Task(
            id="-",
            prompt=f"{article(noun(a, color))} and {article(b)} that is not {other}",
            tag="negated_colour",
            include=(Include(noun=a, color=color), Include(noun=b)),
            exclude=(Exclude(noun=b, color=other),),
        )
