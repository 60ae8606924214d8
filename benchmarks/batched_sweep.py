"""What does a guidance sweep cost in one batch, against one run after another?

Batched and sequential sweeps alternate; each round gives a ratio of wall-clock time and one of process CPU time, and
the medians of the rounds are reported, with the largest differences of final latents (relative to the largest value)
and of images (levels of 255). Both record what a sweep records. Run from the project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.batched_sweep
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.capture_cost import PROMPT, larger_random_sd
from benchmarks.rounds import Short
from diffatlas import Capture, GenerationParams
from diffatlas.backends.local import LocalBackend
from diffatlas.operations.trace import stream, stream_batch
from diffatlas.run import Run, collect

#: Guidance values: those of the page, and nine.
VALUES = {5: (1.0, 4.0, 7.5, 12.0, 18.0), 9: (1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 14.0, 18.0)}
CAPTURE = Capture(previews=5)


def sequential(backend: LocalBackend, cells: Sequence[GenerationParams]) -> list[Run]:
    """One pipeline call for each cell."""
    return [collect(stream(cell, CAPTURE, backend)) for cell in cells]


def batched(backend: LocalBackend, cells: Sequence[GenerationParams]) -> list[Run]:
    """One pipeline call for all."""
    events: dict[int, list] = {i: [] for i in range(len(cells))}
    for i, event in stream_batch(cells, CAPTURE, backend):
        events[i].append(event)
    return [collect(events[i]) for i in range(len(cells))]


def timed(call: Callable[[], list[Run]]) -> tuple[float, float, list[Run]]:
    """Wall-clock seconds, CPU seconds of all threads, and the runs."""
    wall, cpu = time.perf_counter(), time.process_time()
    runs = call()
    return time.perf_counter() - wall, time.process_time() - cpu, runs


@dataclass(frozen=True)
class Compared:
    """What a sweep in one batch took against one run after another, by round, and how far apart their results are.

    seconds: of the runs one after another. walls, cpus: ratios of wall-clock and of process CPU time. latents: largest
    difference, relative to the largest value. levels: of the images, of 255.
    """

    seconds: list[float]
    walls: list[float]
    cpus: list[float]
    latents: float
    levels: int

    def columns(self) -> str:
        """Return the columns of the table."""
        return (
            f"{statistics.median(self.seconds):.2f} s | {statistics.median(self.walls):.3f} | "
            f"{statistics.median(self.cpus):.3f} | {min(self.cpus):.3f} to {max(self.cpus):.3f} | "
            f"{self.latents:.1e} | {self.levels}"
        )


def compare(backend: LocalBackend, cells: Sequence[GenerationParams], rounds: int) -> Compared:
    """Make a sweep both ways, in turn, and say what each took."""
    calls = {"batched": lambda: batched(backend, cells), "sequential": lambda: sequential(backend, cells)}
    for call in calls.values():
        call()
    walls, cpus, seconds = [], [], []
    for i in range(rounds):
        order = list(calls) if i % 2 else list(calls)[::-1]
        got = {name: timed(calls[name]) for name in order}
        walls.append(got["batched"][0] / got["sequential"][0])
        cpus.append(got["batched"][1] / got["sequential"][1])
        seconds.append(got["sequential"][0])
    latents, levels = 0.0, 0
    for a, b in zip(got["batched"][2], got["sequential"][2], strict=True):
        a.raise_for_error(), b.raise_for_error()
        latents = max(
            latents, float(np.abs(a.latents[-1] - b.latents[-1]).max() / np.abs(b.latents[-1]).max())
        )
        levels = max(levels, int(np.abs(a.images[0].astype(int) - b.images[0]).max()))
    return Compared(seconds, walls, cpus, latents, levels)


def main(
    rounds: Annotated[int, typer.Option(help="Pairs of sweeps.")] = 5,
    steps: Annotated[int, typer.Option(help="Denoising steps a run.")] = 30,
    large_steps: Annotated[
        int, typer.Option(help="Denoising steps of the larger model; 0 leaves it out.")
    ] = 10,
    device: Annotated[str, typer.Option(help="cpu, cuda...")] = "cpu",
    threads: Annotated[int, typer.Option(help="PyTorch's threads.")] = 1,
    short: Short = False,
) -> None:
    """Print a table of ratios."""
    import torch

    torch.set_num_threads(threads)
    if short:
        rounds, steps, large_steps = 1, 2, 0
    backend = LocalBackend(device=device)
    print(
        "| model | values | sequential | wall ratio | CPU ratio | range | latents | image |\n"
        + "|---" * 8
        + "|"
    )
    with tempfile.TemporaryDirectory() as folder:
        models = [("shapes, 64 px", "shapes", steps)]
        if large_steps:
            path = Path(folder) / "larger"
            larger_random_sd().save_pretrained(path)
            models.append(("random SD, 256 px", str(path), large_steps))
        for name, model, count in models:
            base = GenerationParams(model=model, prompt=PROMPT, seed=7, num_inference_steps=count)
            for n, values in VALUES.items():
                cells = [base.replace(guidance_scale=g) for g in values]
                print(
                    f"| {name}, {count} steps | {n} | {compare(backend, cells, rounds).columns()} |",
                    flush=True,
                )


if __name__ == "__main__":
    typer.run(main)
