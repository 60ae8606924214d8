"""Write the labs of this version that `tests/lab2d/test_former_labs.py` reads in every later one.

    python -m tests.lab2d.write_samples

writes ``tests/lab2d/samples/<version>/``, once for each version that is released: ``shelf``, a network and a drawing
that are kept, ``lab.json``, the network as a saved file, and ``held.json``, what was in memory. The files of a version
that has been released stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import diffatlas
from diffatlas.lab2d import Plan, Recipe, Target, Trainer, generate, preset, states
from diffatlas.lab2d.shelf import Shelf
from diffatlas.lab2d.targets import drawn

SAMPLES = Path(__file__).parent / "samples"
RECIPE = Recipe(objective="v", width=8, depth=1, batch=16, steps=400, seed=3)
#: Beyond the step whose weights are the weak model of autoguidance.
STEPS = 320


def write(folder: Path) -> None:
    """Write the samples into a folder that is absent."""
    angles = np.linspace(0, 6, 12)
    target = drawn(np.stack([np.cos(angles), np.sin(angles)], 1), np.arange(12) % 2, classes=("one", "two"))
    trainer = Trainer(preset("moons"), RECIPE)
    trainer.run(STEPS)
    shelf = Shelf(folder / "shelf")
    network = shelf.rename(shelf.keep_network(trainer).id, "Little moons")
    drawing = shelf.keep_drawing(target, given=40)
    states.write(folder / "lab.json", trainer, {"steps": 6})
    held = {
        "network": {"kept": asdict(network), **told(trainer)},
        "drawing": {"kept": asdict(drawing), "target": states.target_json(target)},
        "view": {"steps": 6},
    }
    (folder / "held.json").write_text(json.dumps(held, sort_keys=True) + "\n", encoding="utf-8")


def told(trainer: Trainer) -> dict[str, Any]:
    """Return what is to come back of a network: its recipe, and of its numbers the bytes' SHA-256 and the sums."""
    parts = states.parts_of(trainer)
    return {
        "recipe": asdict(trainer.recipe),
        "step": trainer.step,
        "target": states.target_json(trainer.target),
        "parts": {
            name: [values.size, hashlib.sha256(values.tobytes()).hexdigest()]
            for name, values in parts.items()
        },
        "sample": _sample(trainer, trainer.target),
    }


def _sample(trainer: Trainer, target: Target) -> list[list[float]]:
    points, _ = generate(trainer.learned(), target, Plan("heun", 4), trainer.schedule, n=3, seed=5)
    return points.tolist()


if __name__ == "__main__":
    place = SAMPLES / diffatlas.__version__
    if place.exists():
        sys.exit(f"{place} is there already: samples of a version are written once.")
    place.mkdir(parents=True)
    write(place)
    print(sum(path.stat().st_size for path in place.rglob("*") if path.is_file()), "bytes")
