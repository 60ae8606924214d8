"""What do images of a hosted model take beyond the provider's own time, one at a time and several?

A provider on loopback takes a fixed time over each image, however many it is asked for at once. A study of as many
seeds is made, from its plan to the last image in the library, and its time is put against what the provider's own time
alone would be (``ratio``), and against that time as it is noticed: a request under way is looked at now and then, so
that its image is found at the first look after it is done (``to looks``). CPU seconds are those of the whole process,
in which the provider runs too. Each image has to be complete and asked for once, and none may come from the library.
Run from the project's root::

    python -m benchmarks.hosted_overhead
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.rounds import Short
from diffatlas import GenerationParams, Library
from diffatlas.backends import open_backend
from diffatlas.backends.hosted.backend import GROWTH
from diffatlas.backends.hosted.http import Patience
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.run import StudyChanged, run_study
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY, png


class Steady(FakeReplicate):
    """Replicate on loopback, whose picture is always the same: to make one takes no time."""

    def __init__(self, delay: float, side: int) -> None:
        super().__init__()
        self.delay = delay
        self._file = png(side=side)

    def picture(self, seed: int = 0) -> bytes:
        return self._file


def whole_study(fake: Steady, images: int, at_once: int) -> tuple[float, float]:
    """Make a study of as many seeds, and return its seconds by the clock and of this process's CPU time."""
    backend = open_backend("replicate", key=KEY, url=fake.url)
    backend.capabilities = replace(backend.capabilities, concurrent=at_once)
    base = GenerationParams(
        model=fake.model, prompt="a red circle", seed=1, num_inference_steps=28, guidance_scale=3.0
    )
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        wall, cpu = time.perf_counter(), time.process_time()
        study = plan_neighbourhood(base, "offset", k=images - 1, backend="replicate")
        for event in run_study(study, lambda name: backend, library):
            if isinstance(event, StudyChanged):
                study = event.study
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        assert len(study.cells) == images
        assert all(cell.status == "complete" and not cell.cached for cell in study.cells), study.status
        assert all(len(library.load(cell.run_id).images) == 1 for cell in study.cells)
    return seconds


def first_look(delay: float, patience: Patience) -> float:
    """Return when an image is noticed that takes so long, in seconds."""
    at, wait = 0.0, patience.look
    while at < delay:
        at += wait
        wait = min(wait * GROWTH, patience.look_most)
    return at


def main(
    images: Annotated[int, typer.Option(help="Images of a study.")] = 40,
    delay: Annotated[float, typer.Option(help="Seconds that the provider takes over each.")] = 0.3,
    at_once: Annotated[int, typer.Option(help="Images under way at a time, in the second study.")] = 8,
    side: Annotated[int, typer.Option(help="Pixels of a side of the picture that it sends.")] = 1024,
    short: Short = False,
) -> None:
    """Print a table of ratios."""
    if short:
        images, delay, at_once, side = 4, 0.05, 2, 64
    noticed = first_look(delay, Patience())
    print("| at a time | images | seconds an image | the provider's | ratio | to looks | CPU an image |")
    print("|---" * 7 + "|")
    with tempfile.TemporaryDirectory() as folder, Steady(delay, side) as fake:
        os.environ["DIFFATLAS_HOSTED_LEDGER"] = str(Path(folder) / "ledger.sqlite")
        for several in (1, at_once):
            before = fake.made
            each, cpu = (seconds / images for seconds in whole_study(fake, images, several))
            assert fake.made - before == images
            own, looks = delay / several, noticed / several
            print(
                f"| {several} | {images} | {each:.3f} | {own:.3f} | {each / own:.2f} | {each / looks:.2f} | "
                f"{cpu:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
