"""Train an embedded model: ``python -m diffatlas.shapes.train``.

Stages: the text encoder (seconds), the VAE (minutes), the denoiser (hours on a CPU, minutes on a GPU). Without
``--fresh`` the weights in ``--model`` are taken up and trained on; with a checkpoint in ``--work`` the optimizer
goes on where it stopped. At every checkpoint the pipeline is written, and into ``--work`` a grid of samples and the
validation loss by noise level; at the end the table of the card, where ``--table`` asks for it. On a CPU, one
single-threaded process per core is fastest::

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m diffatlas.shapes.train --minutes 120

On CPUs with AMX, ``--bf16 --compile --batch 64`` is twice as fast. ``--muon`` learns more from a scene: eleven minutes
of the transformer on one core came to a validation loss of 0.2005 after 33,216 scenes, without it to 0.2035 after
38,144. On a GPU, launching so small kernels one by one is what takes the time; a step's are launched at once
(`replay.recorded`): on an H200 25.4 steps a second of the UNet instead of 7.7 (batch 512), and 12.0 of the transformer
instead of 7.3 (batch 768, ``--muon``)::

    python -m diffatlas.shapes.train --device cuda --batch 768 --rate 2e-3 --muon --minutes 10

``--keep`` keeps the weights whenever the scenes seen have doubled, and at the end, from which
`docs/how_it_learned.py` records runs.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
import typer

from diffatlas.shapes.evaluate import (
    Protocol,
    evaluate,
    evaluate_in_processes,
    pipeline_to_score,
    table,
    write_table,
)
from diffatlas.shapes.grid import sample_grid
from diffatlas.shapes.model import PARTS, build_parts, build_pipeline, kind_of, load_parts, save_pipeline
from diffatlas.shapes.train_denoiser import DenoiserTrainer, load_checkpoint, train_denoiser
from diffatlas.shapes.train_text import train_text
from diffatlas.shapes.train_vae import train_vae, vae_quality
from diffatlas.shapes.validate import validate


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
    table_images: Annotated[
        int, typer.Option("--table", help="Images a category of the table at the end; 0 for none.")
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from new random weights.")] = False,
    kind: Annotated[str, typer.Option(help='Of new weights: "unet" or "dit".')] = "unet",
    vae_from: Annotated[
        Path | None, typer.Option(help="Of new weights: a pipeline folder whose VAE is taken over.")
    ] = None,
    latents: Annotated[
        str, typer.Option(help='Of a VAE that is trained: "supervised", or "learned" for a space of its own.')
    ] = "supervised",
    bf16: Annotated[
        bool | None,
        typer.Option(
            help="Matrix products in bfloat16; by default on a GPU. On CPUs with AMX 1.5 to 1.8 times as fast."
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the denoiser first: two minutes, then faster. Needs a C++ compiler."
        ),
    ] = False,
    muon: Annotated[
        bool,
        typer.Option("--muon", help="Orthogonalised steps for the matrices of the denoiser's blocks."),
    ] = False,
    replay: Annotated[bool, typer.Option(help="On a GPU, launch the kernels of a step all at once.")] = True,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that lay scenes out ahead; by default 4 on a GPU and none on a CPU."),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep the pipeline in --work whenever the scenes seen have doubled, and at the end.",
        ),
    ] = False,
) -> None:
    """Train an embedded model and write its pipeline folder."""
    if kind not in PARTS:
        raise typer.BadParameter(f"kind is one of {', '.join(PARTS)}")
    if latents not in ("supervised", "learned"):
        raise typer.BadParameter("latents is supervised or learned")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
        torch.set_num_threads(1)
    torch.manual_seed(seed)
    random.seed(seed)
    progress = Bar() if rank == 0 else None
    on_gpu = device.startswith("cuda")
    torch.backends.cuda.matmul.allow_tf32 = True
    if workers is None:
        workers = 4 if on_gpu else 0
    parts = build_parts(kind) if fresh else load_parts(model)
    if fresh and vae_from is not None:
        parts["vae"].load_state_dict(load_parts(vae_from)["vae"].state_dict())
    if fresh:
        text_steps = text_steps or 300
        vae_minutes = 0 if vae_from is not None else vae_minutes or 10
    # Rank 0 does the short stages; the others receive its weights with the denoiser's first broadcast.
    checkpoint = work / f"{kind_of(parts)}.pt"
    for name in ("text_encoder", "text_encoder_2"):
        if rank == 0 and text_steps and name in parts:
            train_text(
                parts[name],
                parts["tokenizer"],
                steps=text_steps,
                batch=256,
                seed=seed,
                device=device,
                progress=progress,
            )
    if rank == 0 and vae_minutes:
        train_vae(
            parts["vae"],
            minutes=vae_minutes,
            batch=32,
            seed=seed,
            device=device,
            progress=progress,
            learned=latents == "learned",
            workers=workers,
        )
        print({k: round(v, 2) for k, v in vae_quality(parts["vae"]).items()}, flush=True)
        save_pipeline(parts, model)
    if world > 1:
        dist.barrier()
    if minutes > 0:
        trainer = DenoiserTrainer(
            parts,
            seed=seed + 1,
            device=device,
            rate=rate,
            rank=rank,
            world=world,
            bf16=on_gpu if bf16 is None else bf16,
            compiled=compiled,
            muon=muon,
            workers=workers,
            replayed=on_gpu and replay,
        )
        spent = load_checkpoint(trainer, checkpoint) if checkpoint.exists() and not fresh else 0.0
        train_denoiser(
            trainer,
            minutes=minutes,
            batch=batch,
            checkpoint=checkpoint,
            spent_before=spent,
            progress=progress,
            on_save=lambda t: _checkpointed(t, model, work, device),
            on_keep=(
                lambda t: save_pipeline(t.averaged_parts(), work / f"kept-{t.seen:09d}") if keep else None
            ),
        )
    if world > 1:
        dist.destroy_process_group()
    if rank == 0 and table_images:
        if on_gpu:
            pipe = pipeline_to_score(model).to(device)
            scores = evaluate(pipe, Protocol(n=table_images, batch=table_images))
        else:
            scores = evaluate_in_processes(model, Protocol(n=table_images), os.cpu_count() or 1)
        print(table(scores), flush=True)
        if (model / "README.md").exists():
            write_table(model / "README.md", table(scores))


def _checkpointed(trainer: DenoiserTrainer, model: Path, work: Path, device: str) -> None:
    """Write the pipeline, a grid of samples, and a line of the validation loss by noise level."""
    parts = trainer.averaged_parts()
    save_pipeline(parts, model)
    found = validate(parts, device)
    with (work / "validation.jsonl").open("a") as log:
        log.write(
            json.dumps({"scenes": trainer.seen, "timesteps": found.timesteps, "losses": found.losses}) + "\n"
        )
    print(f"{trainer.seen:,} scenes  {found.line()}", flush=True)
    sample_grid(build_pipeline(parts).to(device), work / f"grid-{trainer.seen:09d}.webp")


if __name__ == "__main__":
    typer.run(main)
