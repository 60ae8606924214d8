"""How far is a run in half precision from the same run in float32?

The same prompts and seeds run in float32, bfloat16 and float16. Of each dtype it prints the largest and the mean
difference of the latents after the first, the middle and the last step, their norm against that of the latents, and the
differences of the images in levels of 255; all of them are medians over the runs, and the largest over all runs. Run
from the project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.half_precision
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks.capture_cost import PROMPT
from benchmarks.rounds import Short
from diffatlas import GenerationParams
from diffatlas.cli.output import quieten
from diffatlas.operations.precision import HALVES, Apart, compare_dtypes

PROMPTS = (PROMPT, "a green star above a yellow triangle", "two blue circles")


def _row(model: str, dtype: str, found: list[Apart]) -> str:
    steps = len(found[0].largest)

    def told(value: Callable[[Apart], float], form: str = ".1e") -> str:
        values = [value(one) for one in found]
        return f"{statistics.median(values):{form}} ({max(values):{form}})"

    cells = [model, dtype]
    for step in (0, steps // 2, steps - 1):
        cells.append(told(lambda one, step=step: one.relative[step]))
    cells += [told(lambda one: one.largest[-1]), told(lambda one: one.mean[-1])]
    cells += [told(lambda one: one.image_largest, ".0f"), told(lambda one: one.image_mean, ".2f")]
    return "| " + " | ".join(cells) + " |"


def main(
    model: Annotated[list[str], typer.Option(help="Models; may be given several times.")] = (
        "shapes",
        "shapes-dit",
    ),
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 30,
    seeds: Annotated[int, typer.Option(help="Seeds of each prompt.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, cuda...")] = "cpu",
    short: Short = False,
) -> None:
    """Print a table: medians over prompts and seeds, and the largest in brackets."""
    # diffusers says at each loading that float16 is not for a CPU.
    quieten()
    prompts = PROMPTS
    if short:
        model, steps, seeds, prompts = model[:1], 2, 1, PROMPTS[:1]
    print(
        "| model | dtype | first step | middle | last | largest | mean | image, largest | image, mean |\n"
        + "|---" * 9
        + "|"
    )
    for name in model:
        found: dict[str, list[Apart]] = {dtype: [] for dtype in HALVES}
        for prompt in prompts:
            for seed in range(seeds):
                asked = GenerationParams(model=name, prompt=prompt, seed=seed, num_inference_steps=steps)
                for one in compare_dtypes(asked, device=device):
                    found[one.dtype].append(one)
        for dtype, apart in found.items():
            print(_row(name, dtype, apart), flush=True)


if __name__ == "__main__":
    typer.run(main)
