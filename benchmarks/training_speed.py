"""What a scene costs in training the embedded models, in float32 and with matrix products in bfloat16.

One process of one thread, as each of `torchrun`'s is: ``OMP_NUM_THREADS=1 python -m benchmarks.training_speed``
"""

from __future__ import annotations

import statistics
import time

import torch
import typer

from benchmarks.rounds import Short
from diffatlas.registry import models_folder
from diffatlas.shapes.model import PARTS, build_parts, load_parts
from diffatlas.shapes.train_denoiser import DenoiserTrainer

BATCH, STEPS = 64, 9


def cost(trainer: DenoiserTrainer, batch: int, steps: int) -> float:
    """Milliseconds a scene: the median of the steps."""
    trainer.step(batch, 0.0)
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        trainer.step(batch, 0.0)
        taken.append((time.perf_counter() - start) / batch * 1e3)
    return statistics.median(taken)


def main(short: Short = False) -> None:
    """Print a line a model."""
    batch, steps = (2, 1) if short else (BATCH, STEPS)
    torch.set_num_threads(1)
    vae = load_parts(models_folder() / "shapes")["vae"]
    for kind in list(PARTS)[: 1 if short else None]:
        found = []
        for bf16 in (False, True):
            parts = build_parts(kind)
            parts["vae"].load_state_dict(vae.state_dict())
            trainer = DenoiserTrainer(parts, seed=1, device="cpu", rate=1e-3, bf16=bf16)
            found.append(cost(trainer, batch, steps))
        exact, coarse = found
        print(
            f"{kind:5} float32 {exact:5.1f} ms a scene   bfloat16 {coarse:5.1f} ms   {exact / coarse:.2f} times"
        )


if __name__ == "__main__":
    typer.run(main)
