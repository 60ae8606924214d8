"""What does a bench cost end to end (images made, judged, kept), against the plain pipeline calls alone?

Rounds of some prompts of the pack `shapes` alternate with plain calls of the same pipeline for the same prompts and
seeds: one image a call, and all the seeds of a prompt in one call. Each is timed whole; of the bench that is from its
plan to the last verdict on disk. The images of the bench have to be those of the plain calls of as many images, bit for
bit, none may come from the library, and each has to be judged. Run from the project's root::

    python -m benchmarks.bench_run
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.rounds import Short, quartiles
from diffatlas.backends.local import LocalBackend
from diffatlas.bench import ask, judged, resume, shipped_pack
from diffatlas.bench.bench import Bench
from diffatlas.bench.pictures import picture
from diffatlas.bench.tasks import Pack
from diffatlas.library import Library


def plain_calls(pipe: Any, pack: Pack, seeds: int, at_once: int, steps: int) -> list[np.ndarray]:
    """The images of a pack, ``at_once`` seeds a call, by prompt and seed: (H, W, 3) uint8."""
    import torch

    images = []
    for task in pack.tasks:
        for first in range(0, seeds, at_once):
            generators = [torch.Generator().manual_seed(first + k) for k in range(at_once)]
            made = pipe(
                task.prompt,
                num_images_per_prompt=at_once,
                num_inference_steps=steps,
                guidance_scale=3.0,
                generator=generators,
            ).images
            images += [np.asarray(one) for one in made]
    return images


def whole_bench(backend: Any, library: Library, pack: Pack, seeds: int, steps: int, keep: str) -> Bench:
    """A bench of the pack, run to its end."""
    options = {"num_inference_steps": steps, "guidance_scale": 3.0, "keep": keep, "library": library}
    asked = ask(pack, "shapes", seeds=seeds, scorers="shapes", **options)
    return resume(asked, library=library, backends=lambda name: backend)


def check(bench: Bench, library: Library, images: list[np.ndarray]) -> None:
    """Hold a bench against the plain calls: made here, judged, and the same bit for bit."""
    assert bench.study.status == "complete"
    assert not any(cell.cached for cell in bench.study.cells)
    verdicts = [one.judgement.verdict for one in judged(bench, "shapes")]
    assert len(verdicts) == len(images)
    assert "cannot judge" not in verdicts
    for cell, image in zip(bench.study.cells, images, strict=True):
        assert np.array_equal(picture(bench.id, cell, library), image), cell.key


def main(
    prompts: Annotated[int, typer.Option(help="Prompts in all.")] = 100,
    seeds: Annotated[int, typer.Option(help="Images of each.")] = 4,
    rounds: Annotated[int, typer.Option(help="Rounds that the prompts are dealt out to.")] = 10,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 30,
    short: Short = False,
) -> None:
    """Print a table of ratios."""
    if short:
        prompts, seeds, rounds, steps = 2, 2, 1, 2
    pack = shipped_pack("shapes", -(-prompts // 6))
    tasks = pack.tasks[:: max(1, len(pack.tasks) // prompts)][:prompts]
    backend = LocalBackend()
    seconds: dict[str, list[float]] = {name: [] for name in ("one", "together", "paths", "pictures")}
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        # Loads the model and warms it up.
        whole_bench(backend, library, replace(pack, tasks=tasks[:1]), seeds, 2, "paths")
        pipe = backend.pipeline("shapes")
        for number in range(rounds):
            part = replace(pack, tasks=tasks[number::rounds])
            libraries = {keep: Library(Path(folder, f"{keep}{number}")) for keep in ("paths", "pictures")}
            calls = {
                "one": lambda part=part: plain_calls(pipe, part, seeds, 1, steps),
                "together": lambda part=part: plain_calls(pipe, part, seeds, seeds, steps),
                **{
                    keep: lambda part=part, keep=keep, library=library: whole_bench(
                        backend, library, part, seeds, steps, keep
                    )
                    for keep, library in libraries.items()
                },
            }
            got = {}
            for name in list(calls) if number % 2 else list(calls)[::-1]:
                began = time.perf_counter()
                got[name] = calls[name]()
                seconds[name].append(time.perf_counter() - began)
            for keep, library in libraries.items():
                check(got[keep], library, got["together"])
    images = len(tasks) * seeds
    print(f"{len(tasks)} prompts x {seeds} seeds of {steps} steps, in {rounds} rounds")
    print(f"OMP_WAIT_POLICY: {os.environ.get('OMP_WAIT_POLICY', 'not set')}")
    print("| | seconds | against one image a call | against a prompt's images in one call |")
    print("|---|---|---|---|")
    names = {
        "one": "plain, one image a call",
        "together": f"plain, {seeds} images a call",
        "paths": "bench, with paths",
        "pictures": "bench, pictures alone",
    }
    for name, words in names.items():
        ratios = []
        for against in ("one", "together"):
            low, median, high = quartiles(
                [a / b for a, b in zip(seconds[name], seconds[against], strict=True)]
            )
            ratios.append(f"{median:.3f} ({low:.3f} to {high:.3f})")
        print(f"| {words} | {sum(seconds[name]):.1f} | {' | '.join(ratios)} |")
    print(
        f"{images} images of each bench were made, judged, and equal to those of the plain calls bit for bit."
    )


if __name__ == "__main__":
    typer.run(main)
