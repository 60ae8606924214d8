"""Does the page stay responsive with many locked layers: how long does the server take, and how much is sent?

Twenty locked layers of fifty steps, of the embedded model's latents and of SDXL's size (4 x 128 x 128, random walks),
each called as the browser calls it. Run from the project's root::

    python -m benchmarks.layers
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.rounds import Short

LAYERS, STEPS = 20, 50
SECRET = "5" * 32


def fill(folder: Path, shape: tuple[int, ...]) -> Any:
    """Store the runs as locked layers of one visitor, and return what the page may call."""
    from diffatlas.events import Finished, Started, Step
    from diffatlas.geometry.path import step_metrics
    from diffatlas.library import Library
    from diffatlas.operations.trace import shared_local_backend
    from diffatlas.params import GenerationParams
    from diffatlas.ui.layers import Layers
    from diffatlas.ui.libraries import Libraries
    from diffatlas.ui.services import Services
    from diffatlas.ui.visitors import COOKIE, visitor_of

    library = Library(folder)
    layers = Layers(Libraries(folder))
    request = SimpleNamespace(cookies={COOKIE: SECRET})
    rng = np.random.default_rng(0)
    for run in range(LAYERS):
        params = GenerationParams(
            prompt="a red circle", seed=run, num_inference_steps=STEPS, scheduler="ddim"
        )
        start = rng.standard_normal((1, *shape), dtype=np.float32)
        target = rng.standard_normal((1, *shape), dtype=np.float32)
        states = [start]
        for k in range(STEPS):
            drift = (target - states[-1]) / (STEPS - k)
            states.append(states[-1] + drift + 0.02 * rng.standard_normal((1, *shape), dtype=np.float32))
        picture = rng.integers(0, 255, (1, shape[1], shape[2], 3), dtype=np.uint8)
        events: list[Any] = [Started(f"run-{run}", params, start, 1.0, STEPS)]
        for k, (before, after) in enumerate(pairwise(states)):
            events.append(
                Step(
                    k,
                    999.0 - k,
                    1 - k / STEPS,
                    after,
                    metrics=step_metrics(after, before, start),
                    preview=picture,
                )
            )
        list(library.record([*events, Finished("complete", 1.0)]))
        visitor = visitor_of(request)
        layers.begin(visitor, f"run-{run}", f"layer {run}")
        layers.lock(visitor, f"run-{run}")
    calls = {call.__name__: call for call in Services(layers, shared_local_backend(), {}).functions}

    def ask(name: str, **asked: Any) -> tuple[float, int]:
        began = time.perf_counter()
        answer = calls[name](asked, request)
        data = answer.body if hasattr(answer, "body") else json.dumps(answer).encode()
        seconds = time.perf_counter() - began
        assert b'"error": {' not in data[:40], data[:200]
        return seconds, len(data)

    return ask


def report(label: str, found: list[tuple[float, int]]) -> None:
    milliseconds = [1000 * seconds for seconds, _ in found]
    largest = max(size for _, size in found)
    print(
        f"  {label:34s} median {statistics.median(milliseconds):7.1f} ms, worst {max(milliseconds):7.1f} ms, "
        f"at most {largest / 1000:7.1f} kB"
    )


def main(
    rounds: Annotated[int, typer.Option(help="Toggles that are measured.")] = 12, short: Short = False
) -> None:
    """Print the server's time and the bytes sent for what a visitor does with twenty layers."""
    models = [("shapes, 4 x 16 x 16", (4, 16, 16)), ("SDXL, 4 x 128 x 128", (4, 128, 128))]
    if short:
        rounds, models = 1, models[:1]
    for title, shape in models:
        with tempfile.TemporaryDirectory() as folder:
            ask = fill(Path(folder), shape)
            ids = [f"run-{run}" for run in range(LAYERS)]
            print(f"{title}: {LAYERS} layers of {STEPS} steps")
            report("first view after a restart", [ask("project", view="pca", ids=ids, fit="all")])
            toggles, fits, shown = [], [], []
            for k in range(rounds):
                hidden = ids[k % LAYERS]
                shown.append(ask("edit", action="show", id=hidden, visible=False))
                toggles.append(
                    ask("project", view="pca", ids=[run for run in ids if run != hidden], fit="all")
                )
                toggles.append(ask("project", view="pca", ids=ids, fit="all"))
                fits.append(ask("project", view="pca", ids=ids, fit=hidden))
            report("showing or hiding a layer: its list", shown)
            report("showing or hiding a layer: the basis", toggles)
            report("fitting on one layer", fits)
            report("one layer's data, first time", [ask("run_data", id=run) for run in ids[:5]])
            report("one layer's data, again", [ask("run_data", id=run) for run in ids[:5]])


if __name__ == "__main__":
    typer.run(main)
