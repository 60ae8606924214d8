"""Where the words of a prompt's objects look: at the same place, and how much the second one is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from diffatlas.attention.compare import COMMON
from diffatlas.attention.info import mean_there
from diffatlas.attention.trace import AttentionTrace
from diffatlas.bench.tasks import Task
from diffatlas.bench.why.words import Named, objects_named
from diffatlas.errors import CapabilityError, DamagedRun, RunNotFound
from diffatlas.geometry.attention import overlap

ONE_OBJECT = "Its prompt names fewer than two of the objects that are demanded."


@dataclass(frozen=True)
class Looked:
    """Where the objects of a prompt were looked for: their words, and the map (n, h, w) of each.

    A map is the mean over the words' tokens, the layers and the steps: for each place the probability with which it
    looks at them.
    """

    objects: tuple[Named, ...]
    maps: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share (n,) that each object has of the attention to all of them."""
        amounts = self.maps.mean((-2, -1), dtype=np.float64)
        return amounts / amounts.sum()

    @property
    def most_alike(self) -> tuple[Named, Named, float]:
        """The two objects whose maps overlap most, and how much."""
        pairs = list(combinations(range(len(self.objects)), 2))
        found = [float(overlap(self.maps[i], self.maps[j])) for i, j in pairs]
        i, j = pairs[int(np.argmax(found))]
        return self.objects[i], self.objects[j], max(found)


def looked_at(task: Task, trace: AttentionTrace) -> Looked | str:
    """Return where a run looked for the objects of its task, or why that is not known."""
    objects = objects_named(task, trace.tokens)
    if len(objects) < 2:
        return ONE_OBJECT
    tokens = [token for one in objects for token in one.tokens]
    try:
        # By area, which keeps how much a word is looked at.
        maps = trace.maps(min(COMMON, max(trace.grid)), tokens=tokens, method="area")
    except (CapabilityError, DamagedRun, RunNotFound) as error:
        return error.message
    maps = mean_there(maps, 0)
    ends = np.cumsum([len(one.tokens) for one in objects])
    own = [part.mean(0) for part in np.split(maps, ends[:-1])]
    return Looked(objects, np.stack(own))
