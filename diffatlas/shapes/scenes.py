"""The world of the embedded models: what a scene may hold, and how it is described in words.

A scene is a background and one to four objects; a caption names them as GenEval does ("a red circle",
"three green squares", "a purple star above a blue triangle"), or says what is not there ("a ring without a star", "a
heart that is not red"). Coordinates are pixels of a 64 x 64 image, x to the right and y downwards.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

SIZE = 64

SHAPES = ("circle", "square", "triangle", "star", "ring", "heart", "diamond")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (222, 40, 44),
    "orange": (243, 139, 20),
    "yellow": (247, 220, 42),
    "green": (38, 164, 74),
    "blue": (40, 92, 222),
    "purple": (142, 52, 178),
    "cyan": (60, 200, 220),
    "pink": (244, 112, 180),
}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (12, 12, 12),
    "grey": (128, 128, 128),
    "navy": (20, 30, 80),
}

#: Relation of the first object to the second: its words, and the unit vector (x, y) that it stands for.
RELATIONS: dict[str, tuple[float, float]] = {
    "to the left of": (-1.0, 0.0),
    "to the right of": (1.0, 0.0),
    "above": (0.0, -1.0),
    "below": (0.0, 1.0),
}

NUMBERS = {2: "two", 3: "three", 4: "four"}


#: Kinds of scene and their shares. Two objects without colours and relations are the hardest, and get the most.
KINDS = {"single": 0.14, "two": 0.34, "relation": 0.30, "count": 0.14, "negation": 0.08}
#: Share of captions that name colours. Where none is named the model has to settle on one for all of an object, or a
#: ring comes out in two.
COLORED = 0.4


@dataclass(frozen=True)
class Object:
    """One shape: its kind, its colour's name, centre (x, y), radius and turn (radians)."""

    shape: str
    color: str
    x: float
    y: float
    radius: float
    turn: float = 0.0


@dataclass(frozen=True)
class Scene:
    """What is drawn. ``kind`` says which part of the grammar it came from."""

    kind: str
    background: str
    objects: tuple[Object, ...]
    #: Relation of the first object to the second, where the caption names one.
    relation: str | None = None
    #: A shape that the caption says is missing, or a colour that it says the object is not.
    denied: str | None = None


def article(word: str) -> str:
    """Return the word with its indefinite article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def noun(shape: str, color: str | None) -> str:
    """Return "red circle", or "circle" where no colour is named."""
    return f"{color} {shape}" if color else shape


def sample_scene(rng: random.Random, kind: str | None = None) -> Scene:
    """Draw a scene of ``kind``, one of `KINDS`; by default the kind is drawn too."""
    kind = kind or rng.choices(tuple(KINDS), tuple(KINDS.values()))[0]
    background = rng.choice(tuple(BACKGROUNDS))
    denied = None
    if kind in ("single", "negation"):
        looks = [(rng.choice(SHAPES), rng.choice(tuple(COLORS)))]
    elif kind == "count":
        looks = [(rng.choice(SHAPES), rng.choice(tuple(COLORS)))] * rng.choice(tuple(NUMBERS))
    else:
        looks = [(rng.choice(SHAPES), rng.choice(tuple(COLORS))) for _ in range(2)]
        while looks[0] == looks[1]:
            looks[1] = (rng.choice(SHAPES), rng.choice(tuple(COLORS)))
    if kind == "negation":
        denied = rng.choice([word for word in rng.choice((SHAPES, tuple(COLORS))) if word not in looks[0]])
    relation = rng.choice(tuple(RELATIONS)) if kind == "relation" else None
    return Scene(kind, background, _place(rng, looks, relation), relation, denied)


def _place(rng: random.Random, looks: list[tuple[str, str]], relation: str | None) -> tuple[Object, ...]:
    """Put the objects where none touches another or the border, and the relation holds clearly."""
    low, high = {1: (9.0, 15.0), 2: (8.0, 12.5), 3: (7.5, 10.5), 4: (7.0, 9.5)}[len(looks)]
    while True:
        placed: list[Object] = []
        for shape, color in looks:
            radius = rng.uniform(low, high)
            margin = radius + 2
            x, y = rng.uniform(margin, SIZE - margin), rng.uniform(margin, SIZE - margin)
            if any(math.hypot(x - o.x, y - o.y) < radius + o.radius + 3 for o in placed):
                break
            placed.append(Object(shape, color, x, y, radius, rng.uniform(-0.26, 0.26)))
        if len(placed) == len(looks) and (relation is None or _holds(relation, *placed)):
            return tuple(placed)


def _holds(relation: str, a: Object, b: Object) -> bool:
    ux, uy = RELATIONS[relation]
    dx, dy = a.x - b.x, a.y - b.y
    along, across = dx * ux + dy * uy, abs(dx * uy) + abs(dy * ux)
    return along > 8 and across < 0.7 * along


def sample_caption(rng: random.Random, scene: Scene) -> str:
    """Describe a scene in the words of the grammar; colours, background and "a photo of" come and go."""
    colored = rng.random() < COLORED
    words = caption(
        scene,
        colored=colored,
        background=rng.random() < 0.3,
        short=rng.random() < 0.3,
        reverse=scene.relation is None and rng.random() < 0.5,
    )
    return f"a photo of {words}" if rng.random() < 0.15 else words


def caption(
    scene: Scene,
    *,
    colored: bool = True,
    background: bool = False,
    short: bool = False,
    reverse: bool = False,
) -> str:
    """Return the caption. ``short`` says "left of" for "to the left of" and "and no" for "without a"; ``reverse`` names
    B before A. Of an object that is said not to have a colour, no colour is named."""
    colored = colored and scene.denied not in COLORS
    names = [noun(o.shape, o.color if colored else None) for o in scene.objects]
    if scene.kind == "count":
        words = f"{NUMBERS[len(names)]} {names[0]}s"
    elif scene.kind == "single":
        words = article(names[0])
    elif scene.denied is not None:
        words = f"{article(names[0])} {denial(scene.denied, short)}"
    else:
        if reverse:
            names.reverse()
        relation = scene.relation or "and"
        if short:
            relation = relation.removeprefix("to the ")
        words = f"{article(names[0])} {relation} {article(names[1])}"
    return f"{words} on a {scene.background} background" if background else words


def denial(word: str, short: bool = False) -> str:
    """Say that a shape is missing, or that the object before is not of a colour."""
    if word in COLORS:
        return f"that is not {word}"
    return f"and no {word}" if short else f"without {article(word)}"


def words_by_kind() -> dict[str, list[str]]:
    """Every word that a caption can hold, in the phrases that it is used in, by kind."""
    relations = list(RELATIONS)
    return {
        "shapes": list(SHAPES),
        "several": [f"{shape}s" for shape in SHAPES],
        "colours": list(COLORS),
        "numbers": list(NUMBERS.values()),
        "relations": [*relations, *(r.removeprefix("to the ") for r in relations if r.startswith("to the "))],
        "negation": ["without", "and no", "that is not"],
        "backgrounds": [f"on a {name} background" for name in BACKGROUNDS],
        "others": ["a", "an", "and", "a photo of"],
    }


def vocabulary() -> list[str]:
    """Every word that a caption can hold, sorted."""
    return sorted(
        {word for of_kind in words_by_kind().values() for phrase in of_kind for word in phrase.split()}
    )


def words_page() -> str:
    """Return the ``words.md`` of a model's folder, by which the app tells what it was never taught."""
    lines = [f"- {kind}: {', '.join(phrases)}" for kind, phrases in words_by_kind().items()]
    about = "The words of the captions that the model was trained on. It was never taught any other."
    return "\n".join(["# Words", "", about, "", *lines, ""])
