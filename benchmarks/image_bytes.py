"""How many bytes, and seconds of CPU, does an image of a usual size cost on its way from a worker to the library?

Runs of the sizes and number types of SD 1.5, SDXL and FLUX.1 on a GPU (bfloat16 arrives as float32) are made up: random
arrays, which compress least, and a picture of soft colours with grain. They are written as a worker writes them, read
as the other end reads them, and recorded into a library; with the path (latents, predictions, x0, previews) and with
the picture alone. Each is timed by this process's CPU time. Run from the project's root::

    python -m benchmarks.image_bytes
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image as Picture

from benchmarks.rounds import Short
from diffatlas import Capture, GenerationParams, Library
from diffatlas.backends.wire import answer_from_bytes, answer_to_bytes
from diffatlas.bench.keep import capture_of
from diffatlas.events import Event, Finished, Image, Started, Step
from diffatlas.run import new_run_id

#: Name -> shape of the latents, their type, whether guidance predicts twice, pixels of a side, steps.
SIZES = {
    "SD 1.5, 512 px": ((1, 4, 64, 64), np.float16, True, 512, 30),
    "SDXL, 1024 px": ((1, 4, 128, 128), np.float16, True, 1024, 30),
    "FLUX.1, 1024 px": ((1, 4096, 64), np.float32, False, 1024, 28),
}


def picture(side: int, random: np.random.Generator) -> np.ndarray:
    """A picture that compresses about as a photograph does: (side, side, 3) uint8."""
    small = random.integers(0, 256, (side // 32, side // 32, 3), np.uint8)
    soft = np.asarray(Picture.fromarray(small).resize((side, side), Picture.Resampling.BICUBIC), np.float32)
    return np.clip(soft + random.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def made_up_run(name: str, capture: Capture, steps: int, seed: int) -> Iterator[Event]:
    """The events of a run of this size."""
    shape, kind, twice, side, _ = SIZES[name]
    random = np.random.default_rng(seed)

    def state(of: type = kind) -> np.ndarray:
        return random.standard_normal(shape).astype(of)

    params = GenerationParams(model="made-up", prompt="a red circle", seed=seed, width=side, height=side)
    yield Started(new_run_id(), params, state(), 1.0, steps, {}, capture.to_dict())
    for index in range(steps):
        arrays = {}
        if capture.latents:
            arrays = {"latents": state(), "noise_pred": state(), "x0_pred": state(np.float32)}
            arrays |= {"cond_pred": state(), "uncond_pred": state()} if twice else {}
            # As large as the latents' grid, as the linear map makes it.
            arrays["preview"] = picture(side // 8, random)[None]
        yield Step(index, float(steps - index), 1.0, x0_gain=1.0 if arrays else None, **arrays)
    yield Image(0, picture(side, random))
    yield Finished("complete", 1.0)


def main(
    images: Annotated[int, typer.Option(help="Images of each size.")] = 5,
    short: Short = False,
) -> None:
    """Print a table of bytes and seconds an image."""
    if short:
        images = 1
    print("| | kept | MB on the wire | MB on disk | wire, CPU s | library, CPU s |")
    print("|---" * 6 + "|")
    for name, (*_, steps) in SIZES.items():
        for keep in ("paths", "pictures"):
            capture = capture_of(keep)
            sent = on_wire = in_library = 0.0
            with tempfile.TemporaryDirectory() as folder:
                library = Library(Path(folder))
                for seed in range(images):
                    events = list(made_up_run(name, capture, 2 if short else steps, seed))
                    began = time.process_time()
                    answers = [answer_to_bytes(0, event) for event in events]
                    events = [answer_from_bytes(answer)[1] for answer in answers]
                    on_wire += time.process_time() - began
                    sent += sum(map(len, answers))
                    began = time.process_time()
                    for _ in library.record(iter(events)):
                        pass
                    in_library += time.process_time() - began
                runs = library.search(limit=None).runs
                assert len(runs) == images
                kept = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
            print(
                f"| {name}, {steps} steps | {keep} | {sent / images / 1e6:.2f} | {kept / images / 1e6:.2f} | "
                f"{on_wire / images:.3f} | {in_library / images:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
