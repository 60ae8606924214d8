"""What does reading attention cost, against the plain pipeline call?

A random Stable Diffusion of SD 1.5's layout with one transformer a level: 20 attention layers, 8 heads each, cross and
self in turn, guided; and a random FLUX of 6 blocks, 8 heads, 1,024 places and 128 tokens in one sequence. Plain and
observed calls alternate; each round gives one ratio of process CPU time, and the median of the rounds is reported with
their quartiles. Only attention is captured, in one thread, in float32.

Memory: each setting runs in a process of its own, whose peak (VmHWM) after an observed call is compared with that after
the plain call before it; "kept" is what the maps of the run take. Run from the project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.attention_cost
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from benchmarks.rounds import Short, quartiles

#: (model, side of the latents, steps)
MODELS = (("SD", 32, 20), ("SD", 64, 6), ("FLUX", 64, 4))
PROMPT = "a red circle to the left of a blue square"
SETTINGS = {
    "cross-attention of all layers": {"attention": "cross"},
    "self-attention, 32 x 32": {"attention": "self"},
    "both, 32 x 32": {"attention": "all"},
}
NOTHING = {"latents": False, "predictions": False, "x0": False, "metrics": False}
#: The limits that the project holds itself to.
MOST = {"cross-attention of all layers": 1.10, "self-attention, 32 x 32": 1.35, "both, 32 x 32": 1.35}


def random_sd(width: int) -> Any:
    """A random Stable Diffusion; ``width``: channels of the first level."""
    import torch
    from diffusers import UNet2DConditionModel

    from tests.pipelines import build_sd

    pipe = build_sd()
    torch.manual_seed(0)
    pipe.unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        layers_per_block=1,
        cross_attention_dim=pipe.text_encoder.config.hidden_size,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    pipe.register_modules(unet=pipe.unet)
    return pipe


def random_flux(width: int) -> Any:
    """A random FLUX.1; ``width``: channels of two heads."""
    import torch
    from diffusers import FluxTransformer2DModel

    from tests.pipelines import build_flux

    pipe = build_flux()
    torch.manual_seed(0)
    pipe.transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=width // 2,
        num_attention_heads=8,
        joint_attention_dim=pipe.transformer.config.joint_attention_dim,
        pooled_projection_dim=pipe.transformer.config.pooled_projection_dim,
        axes_dims_rope=(width // 8, width // 8, width // 4),
        guidance_embeds=True,
    )
    pipe.register_modules(transformer=pipe.transformer)
    return pipe


def random_model(name: str, width: int) -> Any:
    """A random model of `MODELS`."""
    return random_flux(width) if name == "FLUX" else random_sd(width)


def call_of(pipe: Any, side: int, steps: int) -> Callable[[], Any]:
    """Return one pipeline call that ends at the latents."""
    import torch

    more = {"max_sequence_length": 128} if hasattr(pipe, "transformer") else {"guidance_scale": 7.5}

    def call() -> None:
        pipe(
            PROMPT,
            num_inference_steps=steps,
            width=side * pipe.vae_scale_factor,
            height=side * pipe.vae_scale_factor,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
            **more,
        )

    return call


def ratios(
    model: str, side: int, steps: int, setting: dict[str, Any], width: int, rounds: int
) -> list[float]:
    """CPU time of an observed call over that of a plain one, one ratio a round, order alternating."""
    from diffatlas import Capture, observe

    pipe = random_model(model, width)
    plain = call_of(pipe, side, steps)

    def observed() -> None:
        with observe(pipe, Capture(**NOTHING, **setting)):
            plain()

    plain(), observed()
    out = []
    for i in range(rounds):
        spent = {}
        for call in (plain, observed) if i % 2 else (observed, plain):
            start = time.process_time()
            call()
            spent[call] = time.process_time() - start
        out.append(spent[observed] / spent[plain])
    return out


def memory(model: str, side: int, steps: int, setting: dict[str, Any], width: int) -> dict[str, float]:
    """Peak memory of an observed call beyond that of a plain one, and what its maps take, in MB."""
    from diffatlas import Capture, observe

    pipe = random_model(model, width)
    call = call_of(pipe, side, steps)
    call(), call()
    before = _peak()
    with observe(pipe, Capture(**NOTHING, **setting)) as trace:
        call()
    extra = _peak() - before
    kept = sum(maps.nbytes for step in trace.steps for maps in (step.attention or {}).values())
    return {"plain": before, "extra": extra, "kept": kept / 1e6}


def _peak() -> float:
    """Peak resident memory of this process, in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def main(
    rounds: Annotated[int, typer.Option(help="Pairs of calls.")] = 5,
    width: Annotated[int, typer.Option(help="Channels of the first level.")] = 64,
    one: Annotated[str, typer.Option(hidden=True)] = "",
    short: Short = False,
) -> None:
    """Print a table of ratios and of memory."""
    import torch

    torch.set_num_threads(1)
    if one:
        model, side, steps, setting = json.loads(one)
        print(json.dumps(memory(model, side, steps, setting, width)))
        return
    print(
        "| model, latents, steps | captured | ratio (median) | quartiles | limit | extra peak MB | kept MB |"
    )
    print("|---|---|---|---|---|---|---|")
    models, settings = MODELS, SETTINGS
    if short:
        rounds, width, settings = 1, 16, dict(list(SETTINGS.items())[-1:])
        models = (("SD", 16, 2), ("FLUX", 16, 2))
    for model, side, steps in models:
        for label, setting in settings.items():
            low, median, high = quartiles(ratios(model, side, steps, setting, width, rounds))
            asked = json.dumps([model, side, steps, setting])
            command = [
                sys.executable,
                "-m",
                "benchmarks.attention_cost",
                "--width",
                str(width),
                "--one",
                asked,
            ]
            used = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"| {model}, {side} x {side}, {steps} | {label} | {median:.3f} | {low:.3f} to {high:.3f} |"
                f" {MOST[label]:.2f} | {used['extra']:.0f} | {used['kept']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
