"""Does memory stay flat when two models take turns?

Two random models, one with a UNet and one with a transformer, are loaded in turn by one backend, and each makes an
image with previews, attention and predictions. It prints the memory of the process and what PyTorch holds on the GPU,
above what was held before the first model: with each model in memory, and with none after the last turn. Run from the
project's root::

    OMP_NUM_THREADS=1 python -m benchmarks.models_in_turn
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.capture_cost import PROMPT
from benchmarks.rounds import Short
from diffatlas import Capture, GenerationParams
from diffatlas.backends.local import LocalBackend
from diffatlas.run import collect


def large_sd(width: int) -> Any:
    """A random Stable Diffusion whose UNet begins with ``width`` channels: 128 are 135 million parameters."""
    import torch
    from diffusers import UNet2DConditionModel

    from tests.pipelines import build_sd

    pipe = build_sd()
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        cross_attention_dim=pipe.text_encoder.config.hidden_size,
        attention_head_dim=8,
    )
    pipe.register_modules(unet=unet)
    return pipe


def large_sd3(width: int) -> Any:
    """A random Stable Diffusion 3 of ``width`` heads of 64 numbers: 16 are 220 million parameters."""
    import torch
    from diffusers import SD3Transformer2DModel

    from tests.pipelines import build_sd3

    pipe = build_sd3()
    torch.manual_seed(0)
    told = {
        **pipe.transformer.config,
        "num_layers": 6,
        "attention_head_dim": 64,
        "num_attention_heads": width,
    }
    told = {name: value for name, value in told.items() if not name.startswith("_")}
    pipe.register_modules(transformer=SD3Transformer2DModel(**told | {"caption_projection_dim": 64 * width}))
    return pipe


def held(device: str) -> tuple[float, float]:
    """Return MB of this process, after what is free has gone back to the system, and of PyTorch on a GPU."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    on_gpu = 0
    if device.startswith("cuda"):
        import torch

        on_gpu = torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss / 1e6, on_gpu / 1e6


def main(
    turns: Annotated[int, typer.Option(help="How often each model is loaded.")] = 4,
    device: Annotated[str, typer.Option(help="cpu, cuda...")] = "cpu",
    short: Short = False,
) -> None:
    """Print a row for each model that is loaded, and one for none."""
    turns, unet, transformer = (1, 32, 2) if short else (turns, 128, 16)
    capture = Capture(attention="cross", previews="every", preview_decoder="vae")
    with tempfile.TemporaryDirectory() as room:
        folders = {}
        for name, pipe in (("UNet", large_sd(unet)), ("transformer", large_sd3(transformer))):
            folders[name] = Path(room) / name
            pipe.save_pretrained(folders[name])
        del pipe
        backend = LocalBackend(device=device, dtype="fp32")

        def run(name: str) -> None:
            asked = GenerationParams(str(folders[name]), PROMPT, num_inference_steps=2, width=64, height=64)
            collect(backend.trace(asked, capture)).raise_for_error()

        # The libraries that a first run imports are no part of a model.
        for name in folders:
            run(name)
        backend.close()
        before = held(device)
        print("| in memory | turn | process, MB | GPU, MB |\n|---|---|---|---|")

        def tell(name: str, turn: int) -> None:
            now = held(device)
            print(f"| {name} | {turn} | {now[0] - before[0]:.1f} | {now[1] - before[1]:.1f} |", flush=True)

        for turn in range(1, turns + 1):
            for name in folders:
                run(name)
                tell(name, turn)
        backend.close()
        tell("none", turns)


if __name__ == "__main__":
    typer.run(main)
