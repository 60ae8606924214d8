"""Find the shapes in an image: what they are, their colour, their box, and how sure that is.

No learned part: the ground is the border's colour, an object is a connected patch of one hue that differs from
it, and its shape is the drawn template that overlaps it best.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.shapes.scenes import BACKGROUNDS, COLORS, SHAPES

#: Patches smaller than this (pixels of a 64 x 64 image) are specks, not objects.
MIN_AREA = 24
#: Objects whose overlap with the best template is lower are not recognised as any shape.
MIN_SCORE = 0.72
#: Half of the distance between a palette colour and the ground: where an edge lies.
EDGE = 0.5
#: Least distance of two hues that touch, in units of that of their palette colours: less, and they are one colour.
APART = 0.5
#: Levels (of 255) by which a pixel has to differ to be seen, and the share of lone pixels that makes speckle. Thin
#: arms and tips are lone too, up to 4.4% of the pixels in 1,500 drawn scenes.
VISIBLE, SPECKLED = 60, 0.08
#: Templates are compared on a square of this many cells around the object's centre.
GRID = 40
#: Half the side of that square, in units of the radius of a disc of the object's area.
REACH = 2.4


@dataclass(frozen=True)
class Detection:
    """One object: its shape and colour by name, box (left, top, right, bottom) in pixels, right and bottom
    exclusive, and the overlap (intersection over union, 0 to 1) with the template of its shape."""

    shape: str
    color: str
    box: tuple[int, int, int, int]
    score: float

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the box, (x, y)."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def background(image: np.ndarray) -> str:
    """Name of the ground's colour: the palette's nearest to the border's median. ``image`` is (H, W, 3) uint8."""
    ground = _ground(image.astype(np.float64))
    return min(BACKGROUNDS, key=lambda name: np.abs(ground - BACKGROUNDS[name]).sum())


def detect(image: np.ndarray, min_score: float = MIN_SCORE) -> list[Detection]:
    """Return the objects of an image (H, W, 3) uint8, the surest first."""
    from scipy import ndimage

    pixels = np.asarray(image, dtype=np.float64)
    ground = _ground(pixels)
    names = list(COLORS)
    palette = np.array([COLORS[n] for n in names], dtype=np.float64)
    # A pixel is a mixture ground + a (paint - ground); for each paint, the a that fits and what is left over.
    toward = palette - ground
    offset = pixels - ground
    length = (toward**2).sum(1)
    cover = np.clip(offset @ toward.T / length, 0, 1.2)
    left = ((offset[:, :, None] - cover[..., None] * toward) ** 2).sum(-1)
    nearest = left.argmin(-1)
    inside = np.take_along_axis(cover, nearest[..., None], -1)[..., 0] > EDGE
    found = []
    area_scale = image.shape[0] * image.shape[1] / 64**2
    for patch in _patches(pixels, palette, inside, nearest, MIN_AREA * area_scale, ndimage):
        core = ndimage.binary_erosion(patch)
        paint = np.median(pixels[core if core.sum() >= 4 else patch], axis=0)
        color = names[int(((palette - paint) ** 2).sum(1).argmin())]
        shape, score = _best_shape(patch)
        if score >= min_score:
            rows, columns = np.nonzero(patch)
            box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
            found.append(Detection(shape, color, box, score))
    return sorted(found, key=lambda d: -d.score)


def is_blank(image: np.ndarray) -> bool:
    """Whether no pixel of an image (H, W, 3) uint8 differs from the ground by more than `VISIBLE` in any channel."""
    pixels = np.asarray(image, dtype=np.float64)
    return bool(np.abs(pixels - _ground(pixels)).max() <= VISIBLE)


def is_speckled(image: np.ndarray) -> bool:
    """Whether more than `SPECKLED` of the pixels differ by more than `VISIBLE` from the median of those around."""
    from scipy import ndimage

    pixels = np.asarray(image, dtype=np.float64)
    around = ndimage.median_filter(pixels, size=(5, 5, 1))
    return bool((np.abs(pixels - around).max(-1) > VISIBLE).mean() > SPECKLED)


def _ground(pixels: np.ndarray) -> np.ndarray:
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return np.median(border, axis=0)


def _patches(
    pixels: np.ndarray,
    palette: np.ndarray,
    inside: np.ndarray,
    nearest: np.ndarray,
    min_area: float,
    ndimage: Any,
) -> list[np.ndarray]:
    """Connected patches; one that joins objects of different hues is split where each hue is large enough."""
    patches = []
    labels, n = ndimage.label(inside)
    for i in range(1, n + 1):
        patch = labels == i
        if patch.sum() < min_area:
            continue
        parts: list[np.ndarray] = []
        hues: list[int] = []
        for hue in np.unique(nearest[patch]):
            # Opening drops the rim, where mixing with the ground can pass for another hue.
            core = ndimage.binary_opening(patch & (nearest == hue), np.ones((3, 3)))
            sub, m = ndimage.label(core)
            large = [sub == j for j in range(1, m + 1) if (sub == j).sum() >= min_area]
            parts += large
            hues += [int(hue)] * len(large)
        parts = _of_one_colour(pixels, palette, parts, hues)
        if len(parts) < 2:
            patches.append(patch)
            continue
        # Each pixel of the patch goes to the part that is nearest to it.
        distances = np.stack([ndimage.distance_transform_edt(~p) for p in parts])
        owner = distances.argmin(0)
        patches += [patch & (owner == j) for j in range(len(parts))]
    return patches


def _of_one_colour(
    pixels: np.ndarray, palette: np.ndarray, parts: list[np.ndarray], hues: list[int]
) -> list[np.ndarray]:
    """Join parts whose hues differ in name only: one colour between red and pink, say, is not two.

    They are two where their medians are at least half as far apart as the palette's colours.
    """
    joined: list[tuple[np.ndarray, int]] = []
    for part, hue in zip(parts, hues, strict=True):
        middle = np.median(pixels[part], axis=0)
        for k, (other, known) in enumerate(joined):
            apart = np.linalg.norm(middle - np.median(pixels[other], axis=0))
            if known != hue and apart < APART * np.linalg.norm(palette[hue] - palette[known]):
                joined[k] = (other | part, known)
                break
        else:
            joined.append((part, hue))
    return [part for part, _ in joined]


def _best_shape(patch: np.ndarray) -> tuple[str, float]:
    """The shape whose template, at the patch's centre of mass and area, overlaps it most, and how much."""
    from scipy import ndimage

    rows, columns = np.nonzero(patch)
    reach = REACH * np.sqrt(len(rows) / np.pi)
    steps = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    where = np.meshgrid(rows.mean() + reach * steps, columns.mean() + reach * steps, indexing="ij")
    sample = ndimage.map_coordinates(patch.astype(np.float64), np.stack(where), order=1).ravel()
    names, templates = _templates()
    overlap = np.minimum(sample, templates).sum(1) / np.maximum(sample, templates).sum(1)
    best = int(overlap.argmax())
    return names[best], float(overlap[best])


@functools.cache
def _templates() -> tuple[tuple[str, ...], np.ndarray]:
    """Every shape with the area of a unit disc, its mass in the middle, at several turns: names, (M, GRID^2)."""
    from diffatlas.shapes.render import ANNULI

    names, rows = [], []
    for shape in SHAPES:
        turns = [0.0] if shape in ANNULI else np.linspace(-0.3, 0.3, 7)
        names += [shape] * len(turns)
        rows += [_template(shape, float(turn)).ravel() for turn in turns]
    return tuple(names), np.array(rows)


def _template(shape: str, turn: float) -> np.ndarray:
    """One template (GRID, GRID), drawn four times finer, then scaled and moved until area and mass fit."""
    import torch

    from diffatlas.shapes.render import signed_distance

    fine = 4 * GRID
    x = y = fine / 2
    radius = unit = fine / (2 * REACH)
    for _ in range(4):
        place = (torch.tensor([v]) for v in (x, y, radius, turn))
        sdf = signed_distance([shape], *place, fine)[0].numpy()
        rows, columns = np.nonzero(sdf < 0)
        radius *= np.sqrt(np.pi * unit**2 / len(rows))
        x, y = x + fine / 2 - columns.mean() - 0.5, y + fine / 2 - rows.mean() - 0.5
    cover = np.clip(0.5 - sdf, 0, 1).reshape(GRID, 4, GRID, 4)
    return cover.mean((1, 3)).astype(np.float64)
