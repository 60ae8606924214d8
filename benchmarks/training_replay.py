"""Training steps a second on a GPU, launched kernel by kernel and replayed at once; and whether both are the same.

``python -m benchmarks.training_replay``; with ``--kind``, ``--batch``, ``--muon`` and ``--compile`` as in
`diffatlas.shapes.train`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from diffatlas.shapes.model import load_parts
from diffatlas.shapes.replay import recorded
from diffatlas.shapes.train_denoiser import DenoiserTrainer

FOLDERS = {"unet": Path("models/shapes"), "dit": Path("models/shapes-dit")}
STEPS = 20


def speed(trainer: DenoiserTrainer, batch: int) -> float:
    """Steps a second over `STEPS` steps."""
    trainer.step(batch, 0.0)
    trainer.step(batch, 0.0)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        trainer.step(batch, 0.0)
    torch.cuda.synchronize()
    return STEPS / (time.perf_counter() - start)


def gradients(trainer: DenoiserTrainer, run: Callable[..., torch.Tensor], task: tuple) -> list[torch.Tensor]:
    """Copies of the gradients that ``run`` leaves."""
    run(*task)
    return [p.grad.clone() for p in trainer.parameters]


def apart(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """The greatest relative difference of a parameter's gradient."""
    return max(float((x - y).norm() / y.norm().clamp(min=1e-12)) for x, y in zip(a, b, strict=True))


def differences(trainer: DenoiserTrainer, batch: int) -> tuple[float, float]:
    """How far the gradients of a batch not recorded on are apart: replayed and not, and twice not."""
    first, second = (trainer.task(trainer.stream.batch(batch)) for _ in range(2))
    replayed = gradients(trainer, recorded(trainer.gradients, first), second)
    plain = gradients(trainer, trainer.gradients, second)
    again = gradients(trainer, trainer.gradients, second)
    return apart(replayed, plain), apart(again, plain)


def trainer_of(kind: str, *, compiled: bool, muon: bool, replayed: bool = False) -> DenoiserTrainer:
    """A trainer that goes on from the committed weights."""
    return DenoiserTrainer(
        load_parts(FOLDERS[kind]),
        seed=1,
        device="cuda",
        rate=1e-4,
        bf16=True,
        compiled=compiled,
        muon=muon,
        workers=3,
        replayed=replayed,
    )


def main(
    kind: Annotated[str, typer.Option(help='"unet" or "dit".')] = "dit",
    batch: Annotated[int, typer.Option(help="Scenes a step.")] = 768,
    compiled: Annotated[bool, typer.Option("--compile")] = False,
    muon: Annotated[bool, typer.Option("--muon")] = False,
) -> None:
    """Print a line."""
    plain = trainer_of(kind, compiled=compiled, muon=muon)
    one = speed(plain, batch)
    at_once = speed(trainer_of(kind, compiled=compiled, muon=muon, replayed=True), batch)
    replayed, again = differences(plain, batch)
    print(
        f"{kind:5} batch {batch}: {one:5.1f} steps/s, replayed {at_once:5.1f} ({at_once / one:.1f} times; "
        f"{at_once * batch:,.0f} scenes/s); gradients differ by {replayed:.1e} at most, unreplayed by {again:.1e}"
    )


if __name__ == "__main__":
    typer.run(main)
