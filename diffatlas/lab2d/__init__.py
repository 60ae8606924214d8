"""Diffusion in the plane, where the exact answer is known: targets, training, samplers, fields, measures.

    from diffatlas import lab2d

    target = lab2d.preset("moons")
    trainer = lab2d.Trainer(target, lab2d.Recipe(steps=2000))
    trainer.run(2000)
    model = trainer.learned()
    x, labels = lab2d.generate(model, target, lab2d.Plan("heun", 18), model.schedule, n=1000)

NumPy and SciPy alone, and safetensors where a network is kept; no other room is needed.
"""

from __future__ import annotations

import numpy as np

from diffatlas.lab2d.denoisers import Denoiser, bound, exact, guided
from diffatlas.lab2d.mixtures import Target, denoise, draw, draw_labels, log_density, score
from diffatlas.lab2d.samplers import Plan, final, sample
from diffatlas.lab2d.schedules import Schedule, schedule
from diffatlas.lab2d.targets import drawn, preset, read_table
from diffatlas.lab2d.training import Learned, Recipe, Trainer

__all__ = [
    "Learned",
    "Plan",
    "Recipe",
    "Schedule",
    "Target",
    "Trainer",
    "bound",
    "denoise",
    "draw",
    "draw_labels",
    "drawn",
    "exact",
    "final",
    "generate",
    "guided",
    "log_density",
    "preset",
    "read_table",
    "sample",
    "schedule",
    "score",
]


def generate(
    denoiser: Denoiser,
    target: Target,
    plan: Plan,
    schedule: Schedule,
    n: int = 1000,
    weight: float = 0.0,
    seed: int = 0,
    classes: str | int = "all",
    interval: tuple[float, float] | None = None,
    weak: Denoiser | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``n`` samples and their classes, drawn as the target has them: (n, 2), (n,).

    denoiser: D(x, sigma, labels), such as a `Learned` or ``exact(target)``. classes: "all" for each point its own,
    "none" for the field without class, or the number of one class. weight, interval, weak: of the guidance, see
    `guided`; without class there is none.
    """
    rng = np.random.default_rng(seed)
    labels = draw_labels(target, n, rng)
    noise = rng.standard_normal((n, 2))
    if isinstance(classes, int):
        labels = np.full(n, classes)
    field = bound(denoiser, None) if classes == "none" else guided(denoiser, labels, weight, interval, weak)
    return final(sample(field, plan.validate(), schedule, noise, rng)), labels
