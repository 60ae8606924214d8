"""Endless batches of drawn scenes with their captions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch

from diffatlas.shapes.latents import encode, read
from diffatlas.shapes.render import draw
from diffatlas.shapes.scenes import (
    BACKGROUNDS,
    COLORS,
    RELATIONS,
    SHAPES,
    Scene,
    sample_caption,
    sample_scene,
)


@dataclass(frozen=True)
class Batch:
    """Latents (N, 4, 16, 16), images (N, 3, 64, 64) in [0, 1], captions, scenes, and the index of the shape
    and the colour at each 4 x 4 cell (N, 16, 16), 0 for the ground."""

    latents: torch.Tensor
    images: torch.Tensor
    captions: list[str]
    scenes: list[Scene]
    shape_cells: torch.Tensor
    color_cells: torch.Tensor


class SceneStream:
    """Draws fresh scenes from a seed; two streams of one seed give the same scenes.

    The latents are those of `latents.encode`, or what ``vae`` reads in the images where one is given.
    """

    def __init__(self, seed: int, device: str | torch.device = "cpu", vae: Any = None) -> None:
        self.vae = vae
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def batch(self, n: int) -> Batch:
        """Draw ``n`` scenes."""
        scenes = [sample_scene(self.rng) for _ in range(n)]
        captions = [sample_caption(self.rng, s) for s in scenes]
        drawing = draw(scenes, generator=self.generator, device=self.device)
        return Batch(
            encode(drawing) if self.vae is None else read(self.vae, drawing.images),
            drawing.images,
            captions,
            scenes,
            drawing.shape_map[:, 2::4, 2::4],
            drawing.color_map[:, 2::4, 2::4],
        )


#: Places that a relation names, each with the relation of which it is the first object's place.
PLACES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
#: Classes of each slot.
SLOT_SIZES = (6, 7, 6, 7, 5, 5, 3) + (6, 7) * len(PLACES)


def slots(scene: Scene, caption: str) -> list[int]:
    """What a caption says, as class indices (0 = unsaid).

    In this order: shape and colour of the first and of the second noun, how many, which relation, which
    background; then shape and colour of what stands at the left, at the right, above and below.
    """
    words = caption.split()
    nouns = [k for k, word in enumerate(words) if word.removesuffix("s") in SHAPES]
    looks = []
    for k in nouns:
        colored = words[k - 1] in COLORS
        shape = 1 + SHAPES.index(words[k].removesuffix("s"))
        looks.append((shape, 1 + list(COLORS).index(words[k - 1]) if colored else 0))
    out = [value for look in [*looks, (0, 0)][:2] for value in look]
    out.append(len(scene.objects) if scene.kind == "count" else 0)
    out.append(0 if scene.relation is None else 1 + list(RELATIONS).index(scene.relation))
    out.append(0 if "background" not in words else 1 + list(BACKGROUNDS).index(scene.background))
    # The second object stands on the side opposite to the first's.
    vectors = [RELATIONS[relation] for relation in PLACES.values()]
    first = RELATIONS[scene.relation] if scene.relation else None
    for vector in vectors:
        opposite = (-vector[0], -vector[1])
        out += looks[0] if vector == first else looks[1] if opposite == first else (0, 0)
    return out
