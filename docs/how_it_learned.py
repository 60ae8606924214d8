"""Record how an embedded model learned: the same seeds through checkpoints of its training, as a dataset of runs.

Run from the project's root, on what ``python -m diffatlas.shapes.train --keep`` kept::

    python -m docs.how_it_learned runs/shapes --name shapes --to docs/how-it-learned

``diffatlas dataset import how-it-learned`` brings the runs into a library (`diffatlas/library/shipped.py`).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import diffatlas
from diffatlas import Capture, GenerationParams, Library

PROMPTS = ("a red circle", "a yellow star above a blue square", "three green triangles")
SEED, STEPS, GUIDANCE = 7, 30, 3.0
TAG = "how it learned"


def kept(work: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a training, (scenes seen, pipeline folder), the earliest first."""
    return sorted((int(path.name.removeprefix("kept-")), path) for path in work.glob("kept-*"))


def spread(checkpoints: list[tuple[int, Path]], count: int) -> list[tuple[int, Path]]:
    """``count`` of them, evenly apart in the order kept, with the last: as their scenes double, so do these."""
    if len(checkpoints) <= count:
        return checkpoints
    last = len(checkpoints) - 1
    return [checkpoints[round(k * last / (count - 1))] for k in range(count)]


def register(checkpoints: list[tuple[int, Path]], name: str, models: Path) -> list[tuple[int, str]]:
    """Make a folder of models of the checkpoints; return (scenes seen, model id)."""
    models.mkdir()
    known = []
    for scenes, path in checkpoints:
        model = f"{name}-{scenes}"
        (models / model).symlink_to(path.resolve(), target_is_directory=True)
        known.append((scenes, model))
    lines = [f"{model} | {name} after {scenes:,} scenes" for scenes, model in known]
    (models / "local.md").write_text("\n".join(lines) + "\n")
    return known


def record(known: list[tuple[int, str]], library: Library) -> list[str]:
    """Run every prompt on every checkpoint; return the runs' ids, prompt by prompt."""
    capture = Capture(predictions=False, previews=STEPS // 5, preview_decoder="vae")
    ids = []
    for prompt in PROMPTS:
        for scenes, model in known:
            asked = GenerationParams(
                prompt=prompt, seed=SEED, num_inference_steps=STEPS, guidance_scale=GUIDANCE, model=model
            )
            run = diffatlas.trace(asked, capture, library=library)
            run.raise_for_error()
            library.mark(run.id, name=f"After {scenes:,} scenes: {prompt}", tags=[TAG])
            ids.append(run.id)
    return ids


def main(
    work: Annotated[Path, typer.Argument(help="The --work folder of the training.")],
    name: Annotated[str, typer.Option(help="The model's name.")],
    to: Annotated[Path, typer.Option(help="The dataset's folder: absent or empty.")],
    count: Annotated[int, typer.Option(help="Checkpoints to take.", min=2)] = 6,
) -> None:
    """Record the runs and write the dataset."""
    checkpoints = spread(kept(work), count)
    if not checkpoints:
        raise typer.BadParameter(f"{work} holds no kept-* folder: train with --keep.")
    with tempfile.TemporaryDirectory() as folder:
        known = register(checkpoints, name, Path(folder) / "models")
        os.environ["DIFFATLAS_MODELS"] = str(Path(folder) / "models")
        library = Library(Path(folder) / "library")
        ids = record(known, library)
        told = ", ".join(f"{scenes:,}" for scenes, _ in checkpoints)
        library.export_dataset(
            to,
            ids,
            licence="mit",
            title=f"How {name} learned",
            description=f"Seed {SEED} through checkpoints of the training of `{name}`, after {told} scenes.",
        )
    print(to)


if __name__ == "__main__":
    typer.run(main)
