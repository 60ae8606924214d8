"""Whether a word looks at the object that it names, on pictures whose objects the exact detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas.attention.tokens import Token
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import InvalidParams
from diffatlas.geometry import attention as maths
from diffatlas.shapes.detect import Detection, detect
from diffatlas.shapes.scenes import COLORS, SHAPES

BINDING_DEFINITION = (
    "Binding of a colour word at a step: (p - q) / (p + q), where p is the mean of the word's map over the box of the"
    " object that it should describe and q that over the box of the other object. 1: it looks only at its own object,"
    " 0: at both alike, -1: only at the other."
)


@dataclass(frozen=True)
class WordOverlap:
    """How much of a word's map lies on the objects that it names, by step S.

    ``found``: the detected objects that fit the word; where there are none the numbers are NaN, as they are at steps
    that have no map of it. ``share`` (S,): of
    the map's mass inside their boxes; ``uniform``: that share for a map that is the same everywhere; ``iou`` (S,): of
    the boxes with the places where the map is at least half its maximum.
    """

    word: str
    steps: tuple[int, ...]
    found: tuple[Detection, ...]
    share: np.ndarray
    uniform: float
    iou: np.ndarray

    @property
    def lift(self) -> np.ndarray:
        """``share / uniform`` (S,): above 1 where the word looks at its objects more than at the rest."""
        return self.share / self.uniform


@dataclass(frozen=True)
class Bound:
    """One colour word and its object: `BINDING_DEFINITION` by step in ``values`` (S,), NaN where a step has no map.

    ``shape``: of the object that the prompt gives the colour; ``own`` and ``other``: the detected objects. ``holds``:
    whether the image gave the object that colour.
    """

    word: str
    nth: int
    shape: str
    own: Detection
    other: Detection
    holds: bool
    values: np.ndarray


@dataclass(frozen=True)
class Binding:
    """The binding of the two colour words of a prompt, by step S; ``values`` (S,) is the mean of the two."""

    steps: tuple[int, ...]
    words: tuple[Bound, Bound]

    @property
    def values(self) -> np.ndarray:
        """Mean of the words' binding by step, (S,)."""
        return np.mean([w.values for w in self.words], axis=0)

    @property
    def mean(self) -> float:
        """The mean of ``values`` over the steps that have one; NaN where none has."""
        known = self.values[np.isfinite(self.values)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def holds(self) -> bool:
        """Whether the image gave both objects their colours."""
        return all(w.holds for w in self.words)


def word_overlap(
    attention: AttentionTrace,
    image: np.ndarray,
    word: str,
    nth: int = 0,
    layers: str | Sequence[str] | None = None,
) -> WordOverlap:
    """Return by step how much of a word's map lies in the boxes of the detected objects that it names.

    image: the final image (H, W, 3) uint8. word: a colour or a shape of the embedded models' grammar that the prompt
    holds, shapes also in the plural. The map is the mean over the layers at the finest grid; a cell that a box covers
    in part counts in part.

    Raises `InvalidParams` for a word that names neither, or that the prompt does not hold.
    """
    name = _named(word)
    if name not in COLORS and name not in SHAPES:
        known = ", ".join((*COLORS, *SHAPES))
        raise InvalidParams(f"{word!r} names no colour and no shape: give one of {known}.", field="word")
    maps = attention.word_maps(word, nth, layers=layers)
    found = tuple(d for d in detect(image) if name in (d.color, d.shape))
    if not found:
        missing = np.full(len(maps), np.nan)
        return WordOverlap(word, attention.steps, (), missing, float("nan"), missing.copy())
    covered = np.max([_covered(maps, d, image) for d in found], axis=0)
    iou = np.where(np.isnan(maps).any((-2, -1)), np.nan, maths.iou_at_half(maps, covered))
    return WordOverlap(
        word, attention.steps, found, maths.share_inside(maps, covered), maths.uniform_share(covered), iou
    )


def binding(
    attention: AttentionTrace, image: np.ndarray, layers: str | Sequence[str] | None = None
) -> Binding | None:
    """Return whether the two colour words of a prompt look at their objects, for "a red circle and a blue square".

    image: the final image (H, W, 3) uint8. The object of a colour word is the surest detection of the shape that
    follows it, so that it is found also where the image gave it another colour; where both shapes are the same it is
    the one of that colour. None where an object is not in the image, or where the two would be one.

    Raises `InvalidParams` where the prompt does not hold two colour words, each followed by a shape.
    """
    pairs = _pairs(attention.tokens)
    if len(pairs) != 2:
        raise InvalidParams(
            "Binding needs a prompt with two colours, each followed by its shape, such as 'a red circle and a blue"
            " square'."
        )
    objects = _objects(pairs, detect(image))
    if objects is None:
        return None
    bound = []
    for (color, nth, shape), own, other in zip(pairs, objects, objects[::-1], strict=True):
        maps = attention.word_maps(color, nth, layers=layers).astype(np.float64)
        p, q = (_mean_inside(maps, _covered(maps, d, image)) for d in (own, other))
        # 0 where neither is looked at, NaN where there is no map.
        values = np.divide(p - q, p + q, out=0 * p, where=p + q > 0)
        bound.append(Bound(color, nth, shape, own, other, own.color == color, values))
    return Binding(attention.steps, (bound[0], bound[1]))


def named_words(table: Sequence[Token]) -> list[tuple[str, int]]:
    """Return (word, which of equal ones) of every word of a prompt that names a colour or a shape, in order."""
    text = {t.word: t.word_text or "" for t in table if t.word is not None}
    order = [text[i] for i in sorted(text)]
    folded = [word.casefold() for word in order]
    known = (*COLORS, *SHAPES)
    return [(word, folded[:k].count(folded[k])) for k, word in enumerate(order) if _named(word) in known]


def _pairs(table: Sequence[Token]) -> list[tuple[str, int, str]]:
    """(colour, which of equal colour words, shape) wherever a colour word is followed by a shape."""
    text = {t.word: _named(t.word_text or "") for t in table if t.word is not None}
    order = [text[i] for i in sorted(text)]
    pairs = []
    for k, color in enumerate(order[:-1]):
        if color in COLORS and order[k + 1] in SHAPES:
            pairs.append((color, order[:k].count(color), order[k + 1]))
    return pairs


def _objects(
    pairs: Sequence[tuple[str, int, str]], detections: Sequence[Detection]
) -> tuple[Detection, Detection] | None:
    same = pairs[0][2] == pairs[1][2]
    chosen = []
    for color, _, shape in pairs:
        fitting = [d for d in detections if d.shape == shape and (not same or d.color == color)]
        # Of several of one shape, the one of the colour is meant.
        fitting.sort(key=lambda d: d.color != color)
        if not fitting:
            return None
        chosen.append(fitting[0])
    return None if chosen[0] == chosen[1] else (chosen[0], chosen[1])


def _covered(maps: np.ndarray, detection: Detection, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return maths.coverage(maps.shape[-2:], detection.box, (width, height))


def _mean_inside(maps: np.ndarray, covered: np.ndarray) -> np.ndarray:
    return (maps * covered).sum((-2, -1)) / covered.sum()


def _named(word: str) -> str:
    """The colour or shape that a word stands for, in the singular and lower case."""
    word = word.strip().casefold()
    singular = word.removesuffix("s")
    return singular if singular in SHAPES else word
