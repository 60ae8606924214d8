"""Requests worth running, for each page: what they ask, and what to look for when they have run.

Each sentence is true of what the model does; ``tests/ui/test_preset_claims.py`` runs them and measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A request of a page. ``look_for`` is one sentence about what it shows.

    settings: by the names in the ids of the page's fields, such as "guidance_scale"; all others are the model's own.
    """

    name: str
    look_for: str
    prompt: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    model: str = "shapes"


_TWO = "an orange ring and a blue star"

#: By page. The first of each is what the page begins with.
PRESETS: Mapping[str, tuple[Preset, ...]] = {
    "trajectory": (
        Preset(
            "Colours",
            "At step 6 of 30 a blue and a yellow blob lie where star and ring will be; neither shape can be told.",
            _TWO,
            8,
        ),
        Preset(
            "Two steps",
            "Two steps put two blobs in the right places, and neither becomes a ring or a star.",
            _TWO,
            8,
            {"num_inference_steps": 2},
        ),
        Preset(
            "A miscount",
            "Three squares are asked for and one is drawn: look whether there ever were three blobs.",
            "three green squares",
            6,
        ),
        Preset(
            "Fresh noise",
            "The seed of “Colours” with fresh noise at each step: the star ends right of the ring, not left of it.",
            _TWO,
            8,
            {"scheduler": "euler_a"},
        ),
    ),
    "sweep": (
        Preset(
            "Too much guidance",
            "Up to 15 there are a ring and a star; at 30 colours clip, and the star is one no longer.",
            _TWO,
            8,
        ),
        Preset(
            "One colour for all",
            "No colour is asked for: four seeds bring four colours at 3, and only red and orange at 30.",
            "a star",
            1,
            {"values": "1, 3, 10, 30", "seeds": 4},
        ),
        Preset(
            "Enough steps",
            "With 1, 2 or 3 steps there is neither ring nor star; from 5 steps on there are both.",
            _TWO,
            8,
            {"field": "num_inference_steps", "values": "1, 2, 3, 5, 10, 30"},
        ),
        Preset(
            "Five schedulers",
            "Four end in the same picture; euler_a, which adds fresh noise at each step, ends in another.",
            _TWO,
            8,
            {"field": "scheduler", "values": "ddim, euler, dpm++_2m, unipc, euler_a"},
        ),
    ),
    "neighbourhood": (
        Preset(
            "Three grounds",
            "The prompt names no ground. The map shows three basins: navy near by, black further out, one grey.",
            "a yellow triangle to the left of a red ring",
            9,
        ),
        Preset(
            "Two basins",
            "The prompt names no colour. The map shows two basins: ten circles are yellow, three are orange.",
            "a circle on a black background",
            3,
            {"k": 12, "radius": 0.7},
        ),
        Preset(
            "One cloud",
            "Stars of many colours, and yet no basins: on the map nothing tells them from one cloud.",
            "a star",
            3,
            {"k": 12, "radius": 0.9},
        ),
    ),
    "attention": (
        Preset(
            "Each at its own",
            "“ring” and “star” look at their own shapes: from step 10 on over twice as much as by chance.",
            _TWO,
            8,
        ),
        Preset(
            "The wrong object",
            "Without guidance the colours change places: at every step “blue” looks at the square, not at the star.",
            "a blue star and a purple square",
            22,
            {"guidance_scale": 1.0},
        ),
        Preset(
            "The transformer",
            "The same words in a transformer: “ring” looks at its ring, “star” less at its star than by chance until "
            "step 24.",
            _TWO,
            8,
            model="shapes-dit",
        ),
    ),
}
