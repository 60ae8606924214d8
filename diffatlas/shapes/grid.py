"""A grid of samples, the same prompts and seeds every time, by which checkpoints are compared at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.shapes.evaluate import generate
from diffatlas.shapes.tasks import CATEGORIES, sample_tasks

EACH, STEPS, GUIDANCE, SEED = 5, 20, 3.0, 70_000


def sample_grid(pipe: Any, path: Path) -> None:
    """Write a picture with a row a category, of `EACH` images with `STEPS` steps, at twice their size."""
    from PIL import Image

    tasks = [task for category in CATEGORIES for task in sample_tasks(category, EACH)]
    images = generate(pipe, tasks, guidance=GUIDANCE, steps=STEPS, seed=SEED)
    rows = images.reshape(len(CATEGORIES), EACH, *images.shape[1:])
    # One white pixel between the images, which are 64 wide.
    padded = np.pad(rows, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    height, width = padded.shape[2:4]
    sheet = padded.transpose(0, 2, 1, 3, 4).reshape(len(CATEGORIES) * height, EACH * width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(sheet)
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(path, quality=90)
