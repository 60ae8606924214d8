"""Train the embedded model: ``python -m diffatlas.shapes.train``.

Stages: the text encoder (seconds), the VAE (minutes), the denoiser (hours on a CPU, minutes on a GPU). Without
``--fresh`` the weights in ``--model`` are taken up and trained on; with a checkpoint in ``--work`` the optimizer
goes on where it stopped. On a CPU, one single-threaded process per core is fastest::

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m diffatlas.shapes.train --minutes 120
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
import typer

from diffatlas.shapes.model import build_parts, load_parts, save_pipeline
from diffatlas.shapes.train_text import train_text
from diffatlas.shapes.train_unet import UnetTrainer, load_checkpoint, train_unet
from diffatlas.shapes.train_vae import train_vae, vae_quality


class Bar:
    """A progress bar on a terminal, and a line every half minute elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.live = Console().is_terminal
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self.task = self.bar.add_task("starting", total=1.0)
        self.last = 0.0
        if self.live:
            self.bar.start()

    def __call__(self, share: float, text: str) -> None:
        """Show that ``share`` (0 to 1) of the present stage is done."""
        if self.live:
            self.bar.update(self.task, completed=share, description=text)
        elif time.monotonic() - self.last > 30:
            self.last = time.monotonic()
            print(f"{share:6.1%}  {text}", flush=True)


def main(
    model: Annotated[Path, typer.Option(help="The pipeline folder to train and to write.")] = Path(
        "models/shapes"
    ),
    work: Annotated[Path, typer.Option(help="Where the optimizer's checkpoint is kept.")] = Path(
        "runs/shapes"
    ),
    minutes: Annotated[float, typer.Option(help="Minutes of denoiser training in all.")] = 120,
    vae_minutes: Annotated[float, typer.Option(help="Minutes of VAE training; 0 keeps the VAE.")] = 0,
    text_steps: Annotated[
        int, typer.Option(help="Steps of text pre-training; 0 keeps the text encoder.")
    ] = 0,
    batch: Annotated[int, typer.Option(help="Scenes a step and process.")] = 32,
    rate: Annotated[float, typer.Option(help="Peak learning rate of the denoiser.")] = 1.2e-3,
    seed: Annotated[int, typer.Option(help="Seed of the scenes, the noise and new weights.")] = 0,
    device: Annotated[str, typer.Option(help='"cpu" or "cuda".')] = "cpu",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from new random weights.")] = False,
) -> None:
    """Train the embedded model and write its pipeline folder."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
        torch.set_num_threads(1)
    torch.manual_seed(seed)
    random.seed(seed)
    progress = Bar() if rank == 0 else None
    checkpoint = work / "unet.pt"
    parts = build_parts() if fresh else load_parts(model)
    if fresh:
        vae_minutes, text_steps = vae_minutes or 10, text_steps or 600
    # Rank 0 does the short stages; the others receive its text encoder with the denoiser's first broadcast.
    if rank == 0 and text_steps:
        train_text(
            parts["text_encoder"],
            parts["tokenizer"],
            steps=text_steps,
            batch=256,
            seed=seed,
            device=device,
            progress=progress,
        )
    if rank == 0 and vae_minutes:
        train_vae(parts["vae"], minutes=vae_minutes, batch=32, seed=seed, device=device, progress=progress)
        print({k: round(v, 2) for k, v in vae_quality(parts["vae"]).items()}, flush=True)
        save_pipeline(parts, model)
    if world > 1:
        dist.barrier()
    if minutes > 0:
        trainer = UnetTrainer(parts, seed=seed + 1, device=device, rate=rate, rank=rank, world=world)
        spent = load_checkpoint(trainer, checkpoint) if checkpoint.exists() and not fresh else 0.0
        train_unet(
            trainer,
            minutes=minutes,
            batch=batch,
            checkpoint=checkpoint,
            spent_before=spent,
            progress=progress,
            on_save=lambda t: save_pipeline(t.averaged_parts(), model),
        )
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    typer.run(main)
