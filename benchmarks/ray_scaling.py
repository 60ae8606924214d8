"""What do two workers of Ray make of two cores, against one worker and against plain calls in this process?

All compute with one thread each. In each round the same seeds are made by plain calls of the pipeline, eight images a
call; by the local backend, without a library and as a study; and as studies by one worker and by two, whose runs go
through Ray into the library of this process. Every image has to be that of the plain calls bit for bit, made here and
now, and each worker has to have made its share, once. CPU seconds are those of this process and of the workers, which
tell what is lost where also on a machine that is busy with something else. Run from the project's root::

    python -m benchmarks.ray_scaling
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from benchmarks.rounds import Short
from diffatlas import Capture, GenerationParams, Library
from diffatlas.backends import open_backend
from diffatlas.events import Image
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import run_study

#: As much as a batch of a study takes.
AT_ONCE = 8
CAPTURE = Capture()


def plain_calls(pipe: Any, asked: GenerationParams, seeds: list[int]) -> list[np.ndarray]:
    """The images of all seeds, `AT_ONCE` a call."""
    import torch

    images: list[np.ndarray] = []
    for first in range(0, len(seeds), AT_ONCE):
        part = seeds[first : first + AT_ONCE]
        made = pipe(
            asked.prompt,
            num_images_per_prompt=len(part),
            num_inference_steps=asked.num_inference_steps,
            guidance_scale=asked.guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in part],
        ).images
        images += [np.asarray(one) for one in made]
    return images


def events_alone(backend: Any, asked: GenerationParams, seeds: list[int]) -> list[np.ndarray]:
    """The same as events of a backend that nobody keeps."""
    images: dict[int, np.ndarray] = {}
    for first in range(0, len(seeds), AT_ONCE):
        cells = [asked.replace(seed=seed) for seed in seeds[first : first + AT_ONCE]]
        for position, event in backend.trace_batch(cells, CAPTURE):
            if isinstance(event, Image):
                images[first + position] = event.pixels
    return [images[i] for i in range(len(seeds))]


def whole_study(backend: Any, asked: GenerationParams, seeds: list[int]) -> list[np.ndarray]:
    """The same as a study in a library of its own, from its plan to the last file on disk."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        *_, last = run_study(plan_sweep(asked, "seed", seeds), lambda name: backend, library, CAPTURE)
        cells = last.study.cells
        assert all(cell.status == "complete" and not cell.cached for cell in cells), last.study.status
        assert len(library.search(limit=None).runs) == len(seeds)
        return [library.load(cell.run_id).images[0] for cell in cells]


def cpu_seconds(pids: list[int]) -> float:
    """CPU seconds that these processes have taken."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def all_up(backend: Any, number: int) -> float:
    """Wait until so many workers are up, and return the seconds that took."""
    began = time.perf_counter()
    while len(backend.counts()) < number:
        time.sleep(0.05)
    return time.perf_counter() - began


def main(
    images: Annotated[int, typer.Option(help="Images of a round.")] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds, each with other seeds.")] = 4,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 30,
    short: Short = False,
) -> None:
    """Print a table of images a minute and of CPU seconds an image."""
    if short:
        images, rounds, steps = 16, 1, 2
    # Before torch is imported, here and on the workers.
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    asked = GenerationParams(
        model="shapes", prompt="a red circle", num_inference_steps=steps, guidance_scale=3.0
    )
    local = open_backend("local", device="cpu")
    pipe = local.pipeline("shapes")
    began = time.perf_counter()
    two = open_backend("ray", workers=2, threads=1)
    cluster = time.perf_counter() - began
    up = all_up(two, 2)
    # They share the cluster. To go through it once, two workers are enough.
    one = two if short else open_backend("ray", workers=1, threads=1)
    try:
        all_up(one, 1)
        began = time.perf_counter()
        whole_study(two, asked.replace(num_inference_steps=2), list(range(2 * AT_ONCE)))
        first = time.perf_counter() - began
        events_alone(one, asked.replace(num_inference_steps=2), [0])
        events_alone(local, asked.replace(num_inference_steps=2), [0])
        ways: dict[str, tuple[str, Callable[[list[int]], list[np.ndarray]], list[int]]] = {
            "plain": ("plain calls", lambda seeds: plain_calls(pipe, asked, seeds), []),
            "events": ("local, events alone", lambda seeds: events_alone(local, asked, seeds), []),
            "local": ("local, a study", lambda seeds: whole_study(local, asked, seeds), []),
            "ray": ("Ray, 1 worker, events alone", lambda seeds: events_alone(one, asked, seeds), pids(one)),
            "one": ("Ray, 1 worker, a study", lambda seeds: whole_study(one, asked, seeds), pids(one)),
            "two": ("Ray, 2 workers, a study", lambda seeds: whole_study(two, asked, seeds), pids(two)),
        }
        if short:
            del ways["ray"], ways["one"]
        before = made(two), sum(made(one))
        taken = {name: np.zeros(3) for name in ways}
        for number in range(rounds):
            seeds = list(range(1000 * (number + 1), 1000 * (number + 1) + images))
            got = {}
            for name in list(ways) if number % 2 else list(ways)[::-1]:
                _, make, workers = ways[name]
                began, here, there = time.perf_counter(), time.process_time(), cpu_seconds(workers)
                got[name] = make(seeds)
                taken[name] += (
                    time.perf_counter() - began,
                    time.process_time() - here,
                    cpu_seconds(workers) - there,
                )
            for name in ways:
                same = [np.array_equal(a, b) for a, b in zip(got[name], got["plain"], strict=True)]
                assert all(same), name
        total = images * rounds
        shares = [after - began for after, began in zip(made(two), before[0], strict=True)]
        assert sum(shares) == total
        # The one worker also made the events that nobody kept.
        assert short or sum(made(one)) - before[1] == 2 * total
    finally:
        one.close()
        two.close()
    print(
        f"{total} images of {steps} steps in {rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"start: the cluster {cluster:.1f} s, two workers {up:.1f} s more, the model on both {first:.1f} s")
    print("| | images a minute | against plain calls | CPU s an image, here | on the workers |")
    print("|---" * 5 + "|")
    for name, (words, _, _) in ways.items():
        wall, here, there = taken[name]
        ratio = taken["plain"][0] / wall
        print(
            f"| {words} | {60 * total / wall:.1f} | {ratio:.2f} | {here / total:.3f} | {there / total:.3f} |"
        )
    print(
        f"Of two workers each made {' and '.join(map(str, shares))}; all images are those of the plain calls."
    )


def pids(backend: Any) -> list[int]:
    """The process ids of a backend's workers."""
    return [one["pid"] for one in backend.counts()]


def made(backend: Any) -> list[int]:
    """How many images each of them has made."""
    return [one["whole"] for one in backend.counts()]


if __name__ == "__main__":
    typer.run(main)
