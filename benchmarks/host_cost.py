"""How much of the host's time does observing take at each step, at the size of Stable Diffusion 1.5?

Where the launching of a GPU's kernels decides the pace, each millisecond of it counts. The denoiser computes next to
nothing, latents are 4 x 64 x 64 in float16, and guidance is on. Calls of 20 and of 120 steps alternate, plain and
observed; of each the least CPU time is taken, so that what a call costs once is left out. Run from the project's
root::

    OMP_NUM_THREADS=1 python -m benchmarks.host_cost
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from benchmarks.capture_cost import cpu_seconds
from benchmarks.rounds import Short
from diffatlas.capture import Capture, observe

SETTINGS = {
    "latents": Capture(predictions=False, x0=False, metrics=False),
    "latents, predictions, x0, metrics": Capture(),
    "and linear previews every step": Capture(previews="every", preview_decoder="linear"),
}


def pipeline() -> Any:
    """A random Stable Diffusion whose denoiser returns a little of what it is given."""
    import torch
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel

    from tests.pipelines import build_sd

    class Nearly(UNet2DConditionModel):
        def forward(
            self, sample: Any, timestep: Any, encoder_hidden_states: Any = None, **others: Any
        ) -> Any:
            return (0.1 * sample.tanh() + 0.05 * encoder_hidden_states[:, :1, :1, None],)

    torch.set_num_threads(1)
    pipe = build_sd()
    pipe.unet.__class__ = Nearly
    pipe.unet.half()
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def calls(pipe: Any, capture: Capture) -> dict[str, Callable[[int], None]]:
    """Return a plain and an observed call, each of a number of steps."""
    import torch

    width = pipe.text_encoder.config.hidden_size
    texts = torch.randn(2, 1, 77, width, generator=torch.Generator().manual_seed(0)).half()
    side = 64 * pipe.vae_scale_factor

    def plain(steps: int) -> None:
        pipe(
            prompt_embeds=texts[0],
            negative_prompt_embeds=texts[1],
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=7.5,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
        )

    def observed(steps: int) -> None:
        with observe(pipe, capture, keep=False):
            plain(steps)

    return {"plain": plain, "observed": observed}


def milliseconds(pipe: Any, capture: Capture, rounds: int, lengths: tuple[int, int]) -> float:
    """Return what observing adds to a step."""
    by_name = calls(pipe, capture)
    for call in by_name.values():
        call(lengths[0])
    least: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for name, call in by_name.items():
            for steps in lengths:
                spent = cpu_seconds(lambda call=call, steps=steps: call(steps))
                least[name, steps] = min(spent, least.get((name, steps), spent))
    short, long = (least["observed", steps] - least["plain", steps] for steps in lengths)
    return 1e3 * (long - short) / (lengths[1] - lengths[0])


def main(
    rounds: Annotated[int, typer.Option(help="Calls of each kind.")] = 15,
    short: Short = False,
) -> None:
    """Print a table of milliseconds a step."""
    pipe = pipeline()
    lengths = (2, 4) if short else (20, 120)
    print("| captured | ms a step |\n|---|---|")
    for label, capture in SETTINGS.items():
        print(f"| {label} | {milliseconds(pipe, capture, 1 if short else rounds, lengths):.2f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
