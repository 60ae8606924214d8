"""What the form of the Bench page says of a bench before it runs: how many images it makes, and how long that takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffatlas.backends.bounds import duration, together
from diffatlas.backends.hosted import money
from diffatlas.bench.plan import MOST_IMAGES, MOST_SEEDS
from diffatlas.capture.spec import Capture
from diffatlas.errors import DiffAtlasError
from diffatlas.library import Library
from diffatlas.registry import HOSTED
from diffatlas.studies.plan_lanes import lanes_of, params_of
from diffatlas.ui.bench_packs import pack_of
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.study_form import to_lanes
from diffatlas.ui.expectations import image_of
from diffatlas.ui.places import LOCAL

#: What decides it, by the names of the form's inputs.
ASKED = (
    "model",
    "steps",
    "guidance",
    "size",
    "scheduler",
    "guidance_method",
    "backend",
    "lanes",
    "pack",
    "each",
    "pack_seed",
    "seeds",
)


def images_words(backend: Any, library: Library, asked: Mapping[str, Any]) -> str:
    """Return a sentence on a bench that the form asks for; empty where a field is wrong, which is for the run to say.

    asked: the values of `ASKED`.
    """
    try:
        pack = pack_of(library, asked["pack"], asked["each"], asked["pack_seed"])
        request = {name: asked[name] for name in ASKED[:6]}
        base = forms.to_params({**request, "prompt": pack.tasks[0].prompt, "seed": 0})
        lanes = lanes_of(base, to_lanes(asked["lanes"]), forms.to_backend(asked))
        seeds = forms.whole(asked["seeds"])
        if not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS:
            return ""
        here = [lane for lane in lanes if lane.backend == LOCAL]
        found = [backend.estimate(params_of(base, lane), Capture()) for lane in here]
        paid = [image_of(lane.backend, params_of(base, lane)) for lane in lanes if lane.backend in HOSTED]
        costs = money.estimate(paid * (len(pack.tasks) * seeds))
    except DiffAtlasError:
        return ""
    prompts = len(pack.tasks)
    count = prompts * seeds * len(lanes)
    if count > MOST_IMAGES:
        return f"{count:,} images, and a bench has at most {MOST_IMAGES:,}: ask for fewer."
    each = "1 seed" if seeds == 1 else f"{seeds} seeds"
    words = f"{count:,} images: {prompts:,} prompts with {each}"
    words += f" in {len(lanes)} lanes" if len(lanes) > 1 else ""
    if paid:
        words += f"; {costs.words()}"
    known = together(found)
    if known is None or None in found or len(here) + len(paid) < len(lanes):
        return f"{words}."
    return f"{words}, {duration(known.seconds * prompts * seeds)} one by one here, and less in batches."
