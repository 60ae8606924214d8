"""Score an embedded model on prompts of its grammar: ``python -m diffatlas.shapes.evaluate``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from diffatlas.geometry.shares import wilson
from diffatlas.shapes.detect import is_blank, is_speckled
from diffatlas.shapes.tasks import CATEGORIES, Task, fault, judge, sample_tasks

#: Images made together. It decides the last digits, so it is part of what a table was measured with.
BATCH = 20


@dataclass(frozen=True)
class Score:
    """Of ``n`` images in a category those that are correct, that also hold nothing else, that are blank or speckled;
    and how many have which `tasks.fault`."""

    category: str
    n: int
    correct: int
    clean: int
    broken: int
    faults: dict[str, int]

    @property
    def share(self) -> float:
        """Share of correct images."""
        return self.correct / self.n


def generate(
    pipe: Any, tasks: list[Task], *, guidance: float, steps: int, seed: int, batch: int = BATCH
) -> np.ndarray:
    """One image a task, (N, 64, 64, 3) uint8; image i starts from the noise of seed ``seed + i``."""
    import torch

    images = []
    for start in range(0, len(tasks), batch):
        part = tasks[start : start + batch]
        generators = [torch.Generator().manual_seed(seed + i) for i in range(start, start + len(part))]
        out = pipe(
            [t.prompt for t in part],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators,
            output_type="np",
        ).images
        images.append((out * 255).round().astype(np.uint8))
    return np.concatenate(images)


def pipeline_to_score(model: Path) -> Any:
    """Return a folder's pipeline; the transformer's in a form that draws the same in less time (`predict.shorten`)."""
    from diffatlas.shapes.model import build_pipeline, kind_of, load_parts
    from diffatlas.shapes.predict import shorten

    parts = load_parts(model)
    pipe = build_pipeline(parts)
    if kind_of(parts) == "dit":
        shorten(pipe)
    return pipe


@dataclass(frozen=True)
class Protocol:
    """How a table is measured: ``n`` images a category, image i of each from the noise of seed ``seed + i``, ``batch``
    made together."""

    n: int = 200
    guidance: float = 3.0
    steps: int = 30
    seed: int = 10_000
    categories: tuple[str, ...] = CATEGORIES
    batch: int = BATCH

    def generate(self, pipe: Any, category: str, start: int, stop: int) -> tuple[list[Task], np.ndarray]:
        """Return some of a category's tasks, and an image for each."""
        tasks = sample_tasks(category, self.n)[start:stop]
        asked = {"guidance": self.guidance, "steps": self.steps, "batch": self.batch}
        return tasks, generate(pipe, tasks, seed=self.seed + start, **asked)


def evaluate(
    pipe: Any,
    protocol: Protocol,
    progress: Callable[[Score], None] | None = None,
    keep: Callable[[str, list[Task], np.ndarray], None] | None = None,
) -> list[Score]:
    """Score a pipeline. keep: told of each category's tasks and images."""
    scores = []
    for category in protocol.categories:
        tasks, images = protocol.generate(pipe, category, 0, protocol.n)
        scores.append(_score(category, _judged(tasks, images)))
        if progress:
            progress(scores[-1])
        if keep:
            keep(category, tasks, images)
    return scores


def evaluate_in_processes(
    model: Path, protocol: Protocol, processes: int, progress: Callable[[Score], None] | None = None
) -> list[Score]:
    """`evaluate` for a pipeline folder, shared among processes of one thread each; the verdicts are the same."""
    from multiprocessing import get_context

    # Whole batches, so that each image is made beside the same others.
    starts = range(0, protocol.n, protocol.batch)
    shares = [
        (protocol, category, start, min(start + protocol.batch, protocol.n))
        for category in protocol.categories
        for start in starts
    ]
    scores = []
    with get_context("spawn").Pool(processes, _begin, (model,)) as pool:
        found = pool.imap(_judge_share, shares)
        for category in protocol.categories:
            scores.append(_score(category, [judged for _ in starts for judged in next(found)]))
            if progress:
                progress(scores[-1])
    return scores


class Judged(NamedTuple):
    """Of an image whether it is correct, whether it also holds nothing else, whether it is blank or speckled, and its
    `tasks.fault`."""

    correct: bool
    clean: bool
    broken: bool
    fault: str


def _judged(tasks: list[Task], images: np.ndarray) -> list[Judged]:
    found = []
    for image, task in zip(images, tasks, strict=True):
        v = judge(image, task)
        broken = is_blank(image) or is_speckled(image)
        found.append(Judged(v.correct, v.correct and v.nothing_else, broken, fault(task, v)))
    return found


def _score(category: str, judged: list[Judged]) -> Score:
    correct, clean, broken = (sum(j[k] for j in judged) for k in range(3))
    faults = Counter(j.fault for j in judged if j.fault)
    return Score(category, len(judged), correct, clean, broken, dict(faults.most_common()))


_pipe: Any = None


def _begin(model: Path) -> None:
    global _pipe
    import torch

    torch.set_num_threads(1)
    _pipe = pipeline_to_score(model)


def _judge_share(share: tuple[Protocol, str, int, int]) -> list[Judged]:
    protocol, *which = share
    return _judged(*protocol.generate(_pipe, *which))


def table(scores: list[Score]) -> str:
    """The scores as a Markdown table with 95% intervals."""
    lines = ["| category | correct | 95% interval | images | and nothing else |", "|---|---|---|---|---|"]
    for s in scores:
        low, high = wilson(s.share, s.n)
        lines.append(
            f"| {s.category} | {s.share:.3f} | {low:.3f} to {high:.3f} | {s.n} | {s.clean / s.n:.3f} |"
        )
    return "\n".join(lines)


def faults(scores: list[Score]) -> str:
    """A line a category of what is wrong with the images that are not correct."""
    return "\n".join(
        f"{s.category}: {', '.join(f'{name} ({count})' for name, count in s.faults.items()) or 'no fault'}"
        for s in scores
    )


def main(
    model: Annotated[Path, typer.Option(help="The pipeline folder.")] = Path("models/shapes"),
    n: Annotated[int, typer.Option(help="Images a category.")] = 200,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 3.0,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the first image of each category.")] = 10_000,
    sheet: Annotated[Path | None, typer.Option(help="Folder for a contact sheet of each category.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the work; 0 for one a processor.")] = 0,
    write: Annotated[bool, typer.Option("--write", help="Put the table into the model card.")] = False,
) -> None:
    """Print the table of the model card, and what is wrong with the images that are not correct."""

    def told(score: Score) -> None:
        print(f"{score.category:12} {score.share:.3f}", flush=True)

    protocol = Protocol(n, guidance, steps, seed)
    if sheet:
        scores = evaluate(
            pipeline_to_score(model), protocol, told, keep=lambda c, t, i: contact_sheet(sheet, c, t, i)
        )
    else:
        scores = evaluate_in_processes(model, protocol, processes or os.cpu_count() or 1, told)
    print(table(scores))
    print(faults(scores))
    print(f"{sum(s.n for s in scores):,} images, {sum(s.broken for s in scores)} of them blank or speckled")
    if write:
        write_table(model / "README.md", table(scores))


def write_table(card: Path, text: str) -> None:
    """Replace what stands between the card's ``<!-- table -->`` marks."""
    before, _, rest = card.read_text().partition("<!-- table -->")
    _, mark, after = rest.partition("<!-- /table -->")
    if not mark:
        raise ValueError(f"{card} has no <!-- table --> ... <!-- /table --> marks.")
    card.write_text(f"{before}<!-- table -->\n{text}\n{mark}{after}")


def contact_sheet(folder: Path, category: str, tasks: list[Task], images: np.ndarray) -> None:
    """Write the first 40 images of a category as one picture, a red bar under each that failed."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (10 * 132, 4 * 140), "grey")
    for i, (task, pixels) in enumerate(zip(tasks[:40], images[:40], strict=True)):
        x, y = i % 10 * 132 + 2, i // 10 * 140 + 2
        sheet.paste(Image.fromarray(pixels).resize((128, 128), Image.Resampling.NEAREST), (x, y))
        if not judge(pixels, task).correct:
            sheet.paste((200, 0, 0), (x, y + 129, x + 128, y + 134))
    sheet.save(folder / f"{category}.png")
    (folder / f"{category}.txt").write_text(
        "\n".join(f"{t.prompt}  {judge(i, t).reason}" for t, i in zip(tasks[:40], images[:40], strict=True))
        + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
