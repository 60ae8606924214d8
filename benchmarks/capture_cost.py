"""What does observing a run cost, against the plain pipeline call?

Plain and observed calls alternate; each round gives one ratio of process CPU time, and the median of the rounds
is reported with their quartiles. Run from the project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.capture_cost
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from benchmarks.rounds import Short, quartiles
from diffatlas import Capture, observe

SETTINGS = {
    "latents, predictions, x0, metrics": Capture(),
    "and linear previews every step": Capture(previews="every", preview_decoder="linear"),
    "and decoded previews every step": Capture(previews="every", preview_decoder="vae"),
}
PROMPT = "a red circle to the left of a blue square"


def larger_random_sd() -> Any:
    """A random Stable Diffusion of SD 1.5's layout at an eighth of its width: 256 px, latents 4 x 32 x 32."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from tests.pipelines import build_sd

    pipe = build_sd()
    torch.manual_seed(0)
    pipe.unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(40, 80, 160, 160),
        cross_attention_dim=pipe.text_encoder.config.hidden_size,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    pipe.vae = AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=256,
    )
    pipe.vae_scale_factor = 8
    pipe.register_modules(unet=pipe.unet, vae=pipe.vae)
    return pipe


def embedded() -> Any:
    """The model that ships with the project."""
    from diffatlas.registry import models_folder
    from diffatlas.shapes.model import build_pipeline, load_parts

    return build_pipeline(load_parts(models_folder() / "shapes"))


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Process CPU time of a call, all threads."""
    start = time.process_time()
    call()
    return time.process_time() - start


def ratios(pipe: Any, capture: Capture, *, rounds: int, steps: int, guidance: float) -> list[float]:
    """CPU time of an observed call over that of a plain one, one ratio a round, order alternating."""
    import torch

    def plain() -> None:
        pipe(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(7),
            output_type="np",
        )

    def observed() -> None:
        with observe(pipe, capture):
            plain()

    plain(), observed()
    out = []
    for i in range(rounds):
        pair = (plain, observed) if i % 2 else (observed, plain)
        spent = {call: cpu_seconds(call) for call in pair}
        out.append(spent[observed] / spent[plain])
    return out


def main(
    rounds: Annotated[int, typer.Option(help="Pairs of calls.")] = 9,
    steps: Annotated[int, typer.Option(help="Denoising steps a call.")] = 30,
    short: Short = False,
) -> None:
    """Print a table of ratios."""
    import torch

    torch.set_num_threads(1)
    print("| model | captured | ratio (median) | quartiles |\n|---|---|---|---|")
    models = [("shapes, 64 px", embedded, 3.0), ("random SD, 256 px", larger_random_sd, 7.5)]
    if short:
        rounds, steps, models = 1, 2, models[:1]
    for name, build, guidance in models:
        pipe = build()
        for label, capture in SETTINGS.items():
            values = ratios(pipe, capture, rounds=rounds, steps=steps, guidance=guidance)
            low, median, high = quartiles(values)
            print(f"| {name} | {label} | {median:.3f} | {low:.3f} to {high:.3f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
