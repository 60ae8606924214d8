"""Packs of GenEval's form: photographs of the 80 classes of COCO, with what must be seen in them.

The forms of the prompts and the demands are those of Ghosh, Hajishirzi and Schmidt 2023 (arXiv 2310.11513); the classes
are COCO's, as GenEval spells them. Prompts are drawn here: the official 553 are read from one's own copy
(`diffatlas.bench.packs.geneval`).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from diffatlas.bench.tasks import COLORS, RELATIONS, Exclude, Include, Pack, Task
from diffatlas.errors import InvalidParams

# fmt: off
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "computer mouse", "tv remote",
    "computer keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
NUMBERS = {2: "two", 3: "three", 4: "four"}

#: Classes whose plural is not theirs with an s.
_PLURALS = {
    "person": "people",
    "bus": "buses",
    "bench": "benches",
    "wine glass": "wine glasses",
    "sandwich": "sandwiches",
    "couch": "couches",
    "knife": "knives",
    "toothbrush": "toothbrushes",
    "computer mouse": "computer mice",
}
#: Of these one does not say how many by number, or one is as good as several.
UNCOUNTED = {"skis", "scissors", "broccoli", "sheep"}
#: Pairs of which the second is in most photographs of the first: a model paints it though it is told not to.
_CRITICAL = (
    ("bed", "person"),
    ("dining table", "chair"),
    ("tv", "tv remote"),
    ("laptop", "computer mouse"),
    ("boat", "person"),
    ("bicycle", "person"),
    ("horse", "person"),
    ("surfboard", "person"),
    ("skateboard", "person"),
    ("pizza", "fork"),
    ("cake", "knife"),
    ("bowl", "spoon"),
    ("vase", "potted plant"),
    ("baseball bat", "baseball glove"),
    ("tennis racket", "sports ball"),
    ("traffic light", "car"),
    ("parking meter", "car"),
    ("bench", "person"),
)


def article(words: str) -> str:
    """Return words with their indefinite article."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(noun: str) -> str:
    """Return the plural of a class."""
    return _PLURALS.get(noun, f"{noun}s")


def _single(rng: random.Random) -> tuple[str, dict]:
    noun = rng.choice(CLASSES)
    return f"a photo of {article(noun)}", {"include": (Include(noun=noun),)}


def _two(rng: random.Random) -> tuple[str, dict]:
    a, b = rng.sample(CLASSES, 2)
    return f"a photo of {article(a)} and {article(b)}", {"include": (Include(noun=a), Include(noun=b))}


def _counting(rng: random.Random) -> tuple[str, dict]:
    noun = rng.choice([one for one in CLASSES if one not in UNCOUNTED])
    count = rng.choice(tuple(NUMBERS))
    demands = {
        "include": (Include(noun=noun, count=count),),
        "exclude": (Exclude(noun=noun, count=count + 1),),
    }
    return f"a photo of {NUMBERS[count]} {plural(noun)}", demands


def _colors(rng: random.Random) -> tuple[str, dict]:
    noun, color = rng.choice(CLASSES[1:]), rng.choice(COLORS)
    return f"a photo of {article(f'{color} {noun}')}", {"include": (Include(noun=noun, color=color),)}


def _position(rng: random.Random) -> tuple[str, dict]:
    target, noun = rng.sample(CLASSES, 2)
    relation = rng.choice(RELATIONS)
    include = (Include(noun=target), Include(noun=noun, position=(relation, 0)))
    return f"a photo of {article(noun)} {relation} {article(target)}", {"include": include}


def _color_attr(rng: random.Random) -> tuple[str, dict]:
    # No coloured persons.
    a, b = rng.sample(CLASSES[1:], 2)
    c, d = rng.sample(COLORS, 2)
    prompt = f"a photo of {article(f'{c} {a}')} and {article(f'{d} {b}')}"
    return prompt, {"include": (Include(noun=a, color=c), Include(noun=b, color=d))}


def _negation(rng: random.Random) -> tuple[str, dict]:
    noun, missing = rng.sample(CLASSES, 2)
    return f"a photo of {article(noun)} without {article(missing)}", {
        "include": (Include(noun=noun),),
        "exclude": (Exclude(noun=missing),),
    }


def _critical(rng: random.Random) -> tuple[str, dict]:
    noun, missing = rng.choice(_CRITICAL)
    return f"a photo of {article(noun)} and no {missing}", {
        "include": (Include(noun=noun),),
        "exclude": (Exclude(noun=missing),),
    }


_FORMS: dict[str, Callable[[random.Random], tuple[str, dict]]] = {
    "single_object": _single,
    "two_object": _two,
    "counting": _counting,
    "colors": _colors,
    "position": _position,
    "color_attr": _color_attr,
    "negation": _negation,
    "critical_absence": _critical,
}
SIX = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def coco_pack(name: str, title: str, tags: tuple[str, ...], each: int, seed: int, description: str) -> Pack:
    """Return a pack of ``each`` different prompts of each tag.

    Raises `InvalidParams` where there are not so many different prompts of a tag.
    """
    tasks = []
    for tag in tags:
        rng, prompts, tries = random.Random(f"{tag} {seed}"), {}, 0
        while len(prompts) < each:
            prompt, demands = _FORMS[tag](rng)
            prompts.setdefault(prompt, demands)
            tries += 1
            if tries > 100 * each + 1000:
                raise InvalidParams(
                    f"There are only {len(prompts)} prompts of {tag}: ask for fewer.", field="size"
                )
        for prompt, demands in prompts.items():
            tasks.append(Task(id=f"{tag}-{len(tasks):05d}", prompt=prompt, tag=tag, **demands))
    source = "Drawn by Diffusion Atlas in the form of GenEval (arXiv 2310.11513) over the classes of COCO."
    return Pack(
        name=name, title=title, description=description, licence="MIT", source=source, tasks=tuple(tasks)
    )
