"""Runs of every sort that a dataset must bring back, without a model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from diffatlas.events import Finished, Image, Started, Step
from diffatlas.library import Library
from diffatlas.library.marks import Marks, write_marks
from diffatlas.params import GenerationParams

WHOLE, PACKED, BARE, STOPPED, EARLY = (f"20260131-12000{i}-1a2b3c4d" for i in range(5))
PROMPT = 'a <b>red</b> circle <script>alert("x")</script> | é 日本 **bold** [x](http://y)'


def events(run_id, *, steps=4, shape=(2, 4, 8, 8), seed=0, previews=True, latents=True, stop_at=None):
    """A run of random arrays: NaN in one, half precision in another, one captured at some steps only.

    Its latents were changed before the third step, and the noise level of the first is not known.
    """
    rng = np.random.default_rng(seed)

    def array(dtype=np.float32):
        return rng.normal(size=shape).astype(dtype)

    def pixels(*size):
        return rng.integers(0, 256, (*size, 3), np.uint8)

    params = GenerationParams(
        prompt=PROMPT, negative_prompt="grey", seed=2**63 - 1 - seed, num_inference_steps=steps, guidance_scale=1.1,
        width=64, height=64, scheduler="ddim", num_images_per_prompt=shape[0],
    )  # fmt: skip
    provenance = {"versions": {"torch": "2.13.0"}, "scheduler": {"config": {"shift": 0.1, "x": [1, None]}}}
    yield Started(run_id, params, array(), 14.6, steps, provenance, {"x0": True})
    for i in range(steps):
        if i == stop_at:
            yield Finished("stopped", 0.5, [0.1 * k for k in range(i)])
            return
        yield Step(
            index=i,
            timestep=999.0 - i / 3,
            sigma=(None, 1 / 6, math.inf, 1 / 12)[i],
            latents=array() if latents else None,
            noise_pred=array(np.float16) if i % 2 else None,
            x0_pred=np.where(array() > 2, np.nan, array()).astype(np.float32 if i < 3 else np.float64),
            metrics={"norm": float(rng.normal()), "cosine": math.nan if i == 1 else 0.1 + 0.2},
            preview=pixels(shape[0], 16, 16) if previews and i != 1 else None,
            x0_gain=0.1 * i,
            start_latents=array() if latents and i == 2 else None,
            other_preds={"perturbed": array(np.float16), "image": array()} if i == 1 else {},
        )
    for i in range(shape[0]):
        yield Image(i, pixels(16, 16))
    missing = {"cond_pred": "It cannot be told which of the passes is the conditional one."}
    yield Finished("complete", 1.25, [0.1 * i for i in range(steps)], missing)


def fill(folder: Path) -> Library:
    """Return a library of five runs, the first with marks."""
    library = Library(folder)
    for run in (
        events(WHOLE),
        events(PACKED, shape=(1, 16, 64), seed=1),
        events(BARE, previews=False, latents=False, seed=2),
        events(STOPPED, stop_at=2, seed=3),
        events(EARLY, stop_at=0, seed=4),
    ):
        list(library.record(run))
    marks = Marks("The first", ("a tag", "<i>"), "a note\nof two lines", locked=True)
    write_marks(library.folder / WHOLE, marks)
    return library


def files(folder: Path) -> dict[str, bytes]:
    """Return what a run's folder holds."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
