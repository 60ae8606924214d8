"""How near are the estimates of what a request takes to what it takes?

Each embedded model is tried out once, as the app does, and then runs at sizes that it was not tried at. Seconds are
those of the run, memory is the most that the process held above what it held before. Linux only. Run from the
project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.estimates
"""

from __future__ import annotations

import gc
import threading
import time
from typing import Annotated

import psutil
import typer

from benchmarks.rounds import Short
from diffatlas.backends.local import LocalBackend
from diffatlas.operations.trace import trace
from diffatlas.params import GenerationParams

#: The transformer has places for 64 pixels and no more.
SIDES = {"shapes": (64, 96, 128, 192, 256), "shapes-dit": (32, 48, 64)}


class Peak:
    """The most memory of this process, looked at every few milliseconds."""

    def __enter__(self) -> Peak:
        gc.collect()
        self._process, self._ended = psutil.Process(), threading.Event()
        self._before = self.most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self.most -= self._before

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.most = max(self.most, self._process.memory_info().rss)


def main(steps: Annotated[int, typer.Option(help="Steps of each run.")] = 4, short: Short = False) -> None:
    """Print a table of estimates beside what was measured."""
    backend = LocalBackend(device="cpu")
    models = {"shapes": (96,)} if short else SIDES
    steps = 1 if short else steps
    print("| model | size | seconds, estimated | taken | ratio | MB, estimated | taken |")
    print("|---|---|---|---|---|---|---|")
    for model, sides in models.items():
        asked = GenerationParams(model=model, prompt="a red circle", num_inference_steps=steps)
        backend.measure(asked)
        estimates = {side: backend.estimate(asked.replace(width=side, height=side)) for side in sides}
        for side, estimate in estimates.items():
            with Peak() as peak:
                began = time.perf_counter()
                run = trace(asked.replace(width=side, height=side), backend=backend)
                seconds = time.perf_counter() - began
            if run.status != "complete" or len(run.steps) != steps:
                raise RuntimeError(f"The run is {run.status} after {len(run.steps)} of {steps} steps.")
            print(
                f"| {model} | {side} | {estimate.seconds:.2f} | {seconds:.2f} | {estimate.seconds / seconds:.2f} |"
                f" {estimate.memory / 1e6:.0f} | {peak.most / 1e6:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
