"""How fast is the 2D Lab on one thread, and how good is what it trains?

Training steps a second of the network that the page trains (3 x 128, batch 256) are compared with the same network in
torch with autograd and fused Adam, in turn in one process. Then, for three targets: seconds until the page's first
samples, MMD^2 of Heun's samples against the noise floor after 5 and 10 seconds, the error above the floor after 20
seconds, and how long the page's questions take. Wall-clock times, on a machine that should do nothing else. Run from
the project's root::

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python -m benchmarks.lab2d
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.rounds import Short
from diffatlas.lab2d.denoisers import bound, exact
from diffatlas.lab2d.fields import field, grid
from diffatlas.lab2d.floors import excess
from diffatlas.lab2d.mixtures import draw_labels
from diffatlas.lab2d.samplers import Plan, final, sample
from diffatlas.lab2d.studies import STEP_COUNTS, noise_floor, quality, yardstick
from diffatlas.lab2d.targets import preset
from diffatlas.lab2d.training import Recipe, Trainer

TARGETS = ("eight_gaussians", "moons", "swiss_roll")
#: The limits that the project holds itself to.
STEPS_A_SECOND, STRETCH = 450, 800
#: (question, seconds)
LIMITS = {
    "DDPM, 1,000 points": 3.0,
    "DDIM-50, 1,000 points": 0.3,
    "Heun-18, 1,000 points": 0.3,
    "quality chart, 200 points": 1.0,
    "exact and learned field, 16 x 16": 0.02,
}


def torch_steps(trainer: Trainer) -> Callable[[int], None]:
    """The same training with torch's autograd and fused Adam, on batches drawn the same way."""
    import torch

    from diffatlas.lab2d.network import fill_inputs

    torch.set_num_threads(1)
    layers: list[Any] = []
    for number, (rows, columns) in enumerate(trainer.shape.layers):
        layers += [torch.nn.Linear(rows, columns)] + [torch.nn.SiLU()] * (
            number < len(trainer.shape.layers) - 1
        )
    network = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    average = [p.detach().clone() for p in network.parameters()]
    inputs = np.empty((trainer.recipe.batch, trainer.shape.inputs), np.float32)
    state = {"step": 0}

    def run(steps: int) -> None:
        for _ in range(steps):
            x, levels, classes, wanted = trainer._batch(state["step"])
            state["step"] += 1
            fill_inputs(trainer.shape, inputs, x, trainer._times[levels], classes)
            loss = torch.nn.functional.mse_loss(network(torch.from_numpy(inputs)), torch.from_numpy(wanted))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            with torch.no_grad():
                torch._foreach_lerp_(average, list(network.parameters()), 0.002)

    return run


def main(
    rounds: Annotated[int, typer.Option(help="pairs of speed measurements")] = 5, short: Short = False
) -> None:
    """Print the figures, each beside its limit."""
    targets, trained = (TARGETS[:1], (1, 2)) if short else (TARGETS, (5, 10, 20))
    rounds = 1 if short else rounds
    ours = Trainer(preset("moons"), Recipe())
    theirs = torch_steps(Trainer(preset("moons"), Recipe()))
    ours.run(50)
    theirs(50)
    rates: list[tuple[float, float]] = []
    for _ in range(rounds):
        rates.append((400 / timed(lambda: ours.run(400)), 400 / timed(lambda: theirs(400))))
    own = statistics.median(rate for rate, _ in rates)
    ratio = statistics.median(a / b for a, b in rates)
    print(
        f"training: {own:.0f} steps/s (limit {STEPS_A_SECOND}, stretch {STRETCH}), {ratio:.2f} times torch's"
    )

    for name in targets:
        target, stick = preset(name), yardstick(preset(name))
        floors = [point.measures.mmd2 for point in noise_floor(target, 2000, 5, stick)]
        top = np.mean(floors) + 2 * np.std(floors, ddof=1)
        trainer = Trainer(target, Recipe())
        first = timed(lambda trainer=trainer: (trainer.run(100), heun(trainer, 400, 12)))
        told = [f"first samples after {first:.2f} s (limit 2)"]
        spent = first
        for seconds in trained:
            began = time.perf_counter()
            while spent + time.perf_counter() - began < seconds:
                trainer.run(10)
            # What is measured in between does not count as training.
            spent += time.perf_counter() - began
            if seconds < trained[-1]:
                plans = [Plan("heun", 18)]
                found = quality(binder(trainer), target, trainer.schedule, plans, 2000, 3, stick)
                value = statistics.mean(point.measures.mmd2 for point in found)
                told.append(f"MMD² at {seconds} s {value:.4f} (chance <= {top:.4f})")
        known, hidden = (
            excess(trainer.learned(), target, trainer.schedule, given, n=4000).relative
            for given in (True, False)
        )
        told.append(
            f"at {trained[-1]} s ({trainer.step} steps) excess {known:.2%} with class (limit 1.5%), "
            f"{hidden:.2%} without (2%)"
        )
        print(f"{name}: " + "; ".join(told))

    model, schedule, places = trainer.learned(), trainer.schedule, grid()
    rng = np.random.default_rng(0)
    labels, noise = draw_labels(target, 1000, rng), rng.standard_normal((1000, 2))

    def sampled(plan: Plan) -> Callable[[], Any]:
        return lambda: final(sample(bound(model, labels), plan, schedule, noise, rng))

    plans = [Plan(sampler, steps) for steps in STEP_COUNTS for sampler in ("ddim", "heun")]
    questions = {
        "DDPM, 1,000 points": sampled(Plan("ddpm")),
        "DDIM-50, 1,000 points": sampled(Plan("ddim", 50)),
        "Heun-18, 1,000 points": sampled(Plan("heun", 18)),
        "quality chart, 200 points": lambda: list(
            quality(lambda given: bound(model, given), target, schedule, plans, 200, 1, stick)
        ),
        "exact and learned field, 16 x 16": lambda: [
            field(bound(d, labels[:256]), "score", places, 0.3, schedule) for d in (model, exact(target))
        ],
    }
    for name, ask in questions.items():
        ask()
        seconds = statistics.median(timed(ask) for _ in range(1 if short else 5))
        print(f"{name}: {seconds:.3f} s (limit {LIMITS[name]:g})")


def binder(trainer: Trainer) -> Callable[[np.ndarray], Any]:
    """The model as it is now, for classes."""
    model = trainer.learned()
    return lambda labels: bound(model, labels)


def heun(trainer: Trainer, n: int, steps: int) -> np.ndarray:
    """Samples as the page shows them while it trains."""
    rng = np.random.default_rng(0)
    labels = draw_labels(trainer.target, n, rng)
    plan = Plan("heun", steps)
    return final(sample(binder(trainer)(labels), plan, trainer.schedule, rng.standard_normal((n, 2)), rng))


def timed(act: Callable[[], Any]) -> float:
    """Seconds that ``act`` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    typer.run(main)
