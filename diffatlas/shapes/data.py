"""Endless batches of drawn scenes with their captions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from diffatlas.shapes.latents import encode, read
from diffatlas.shapes.render import Plan, each_tensor, paint, plan
from diffatlas.shapes.scenes import (
    BACKGROUNDS,
    COLORS,
    NUMBERS,
    RELATIONS,
    SHAPES,
    Scene,
    sample_caption,
    sample_scene,
)
from diffatlas.shapes.tokenizer import build_tokenizer, token_ids


@dataclass(frozen=True)
class Planned:
    """Scenes before they are drawn, small enough to pass between processes: token ids of their captions (N, 24), what
    these say (`slots`, (N, slots)), and how to draw them."""

    captions: list[str]
    ids: torch.Tensor
    slots: torch.Tensor
    plan: Plan

    def pin_memory(self) -> Planned:
        """Return a copy that a GPU can fetch by itself."""
        return each_tensor(self, torch.Tensor.pin_memory)


@dataclass(frozen=True)
class Batch:
    """Latents (N, 4, 16, 16), images (N, 3, 64, 64) in [0, 1], the index of the shape and the colour at each 4 x 4 cell
    (N, 16, 16), 0 for the ground, and the captions as in `Planned`."""

    latents: torch.Tensor
    images: torch.Tensor
    shape_cells: torch.Tensor
    color_cells: torch.Tensor
    captions: list[str]
    ids: torch.Tensor
    slots: torch.Tensor


class ScenePlans(IterableDataset):
    """Endless batches of ``n`` fresh scenes, `Planned`; each of a loader's workers has a seed of its own."""

    def __init__(self, seed: int, n: int) -> None:
        self.seed, self.n = seed, n

    def __iter__(self) -> Iterator[Planned]:
        worker = get_worker_info()
        seed = self.seed if worker is None else self.seed + 1_000_003 * (1 + worker.id)
        rng, generator, tokenizer = (
            random.Random(seed),
            torch.Generator().manual_seed(seed),
            build_tokenizer(),
        )
        while True:
            yield planned(rng, generator, tokenizer, self.n)


def planned(rng: random.Random, generator: torch.Generator, tokenizer: Any, n: int) -> Planned:
    """Draw ``n`` scenes and their captions; ``generator`` is of the colours' jitter."""
    scenes = [sample_scene(rng) for _ in range(n)]
    captions = [sample_caption(rng, s) for s in scenes]
    return Planned(
        captions,
        token_ids(tokenizer, captions),
        slot_table(scenes, captions),
        plan(scenes, generator=generator),
    )


class SceneStream:
    """Draws fresh scenes from a seed; two streams of one seed give the same scenes.

    The latents are those of `latents.encode`, or what ``vae`` reads in the images where one is given. With
    ``workers`` the scenes are laid out ahead in so many processes; all batches are then of one size.
    """

    def __init__(
        self, seed: int, device: str | torch.device = "cpu", vae: Any = None, workers: int = 0
    ) -> None:
        self.vae, self.seed, self.device, self.workers = vae, seed, torch.device(device), workers
        self.rng = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.tokenizer = build_tokenizer()
        self.ahead: Iterator[Planned] | None = None

    def batch(self, n: int) -> Batch:
        """Draw ``n`` scenes."""
        found = self._ahead(n) if self.workers else planned(self.rng, self.generator, self.tokenizer, n)
        found = each_tensor(found, lambda x: x.to(self.device, non_blocking=True))
        drawing = paint(found.plan)
        return Batch(
            encode(drawing) if self.vae is None else read(self.vae, drawing.images),
            drawing.images,
            drawing.shape_map[:, 2::4, 2::4],
            drawing.color_map[:, 2::4, 2::4],
            found.captions,
            found.ids,
            found.slots,
        )

    def _ahead(self, n: int) -> Planned:
        if self.ahead is None:
            loader = DataLoader(
                ScenePlans(self.seed, n),
                batch_size=None,
                num_workers=self.workers,
                prefetch_factor=4,
                pin_memory=self.device.type == "cuda",
            )
            self.ahead = iter(loader)
        return next(self.ahead)


#: Places that a relation names, each with the relation of which it is the first object's place.
PLACES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
#: Classes of a shape, of a colour, and of each slot.
LOOK = (1 + len(SHAPES), 1 + len(COLORS))
SLOT_SIZES = (
    *LOOK,
    *LOOK,
    2 + len(NUMBERS),
    1 + len(RELATIONS),
    1 + len(BACKGROUNDS),
    *LOOK,
    *LOOK * len(PLACES),
)


def slots(scene: Scene, caption: str) -> list[int]:
    """What a caption says, as class indices (0 = unsaid).

    In this order: shape and colour of the first and of the second noun, how many, which relation, which
    background, the shape and the colour that are denied; then shape and colour of what stands at the left, at the
    right, above and below.
    """
    words = caption.split()
    # What is denied comes after all that is not.
    end = min((words.index(w) for w in ("no", "without") if w in words), default=len(words))
    nouns = [k for k, word in enumerate(words[:end]) if word.removesuffix("s") in SHAPES]
    looks = []
    for k in nouns:
        colored = words[k - 1] in COLORS
        shape = 1 + SHAPES.index(words[k].removesuffix("s"))
        looks.append((shape, 1 + list(COLORS).index(words[k - 1]) if colored else 0))
    out = [value for look in [*looks, (0, 0)][:2] for value in look]
    out.append(len(scene.objects) if scene.kind == "count" else 0)
    out.append(0 if scene.relation is None else 1 + list(RELATIONS).index(scene.relation))
    out.append(0 if "background" not in words else 1 + list(BACKGROUNDS).index(scene.background))
    out.append(1 + SHAPES.index(scene.denied) if scene.denied in SHAPES else 0)
    out.append(1 + list(COLORS).index(scene.denied) if scene.denied in COLORS else 0)
    # The second object stands on the side opposite to the first's.
    vectors = [RELATIONS[relation] for relation in PLACES.values()]
    first = RELATIONS[scene.relation] if scene.relation else None
    for vector in vectors:
        opposite = (-vector[0], -vector[1])
        out += looks[0] if vector == first else looks[1] if opposite == first else (0, 0)
    return out


def slot_table(scenes: list[Scene], captions: list[str]) -> torch.Tensor:
    """The slots of many captions, (N, slots)."""
    return torch.tensor([slots(s, c) for s, c in zip(scenes, captions, strict=True)])
