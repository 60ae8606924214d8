"""The contact sheet as shapes: where everything lies, in pixels at scale 1. `film` writes them as SVG or PNG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diffatlas import look
from diffatlas.events import Step
from diffatlas.formats.hosted import HostedRun, heeded, hosted_run
from diffatlas.formats.lettering import ADVANCE, fit, wrap
from diffatlas.formats.named import Named, first_preview, plain
from diffatlas.geometry.image_stats import histogram
from diffatlas.run import Run

PAPER, INK, MUTED = look.PAPER.paper, look.PAPER.ink, look.PAPER.muted
FILM, PRINT, UNEXPOSED = look.FILM.base, look.FILM.print, look.FILM.unexposed
GOLD, BURGUNDY = look.FILM.gold, look.FILM.burgundy

PER_ROW = 8
FRAME = 220
GAP = 10
MARGIN = 36
#: From the film's edge to its first frame, and between two strips.
LEAD, BETWEEN = 12, 18
#: Heights of a strip's bands: perforation, the print above the pictures and the print below them.
PERFORATION, ABOVE, BELOW = 24, 19, 52
SMALL, LINE = 11, 14
WIDTH = 2 * MARGIN + 2 * LEAD + PER_ROW * FRAME + (PER_ROW - 1) * GAP
HEADER = 108
#: Lines of a prompt that are printed; a longer one is cut with "…".
PROMPT_LINES = 12


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    radius: float = 0


@dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    points: tuple[tuple[float, float], ...]
    fill: str
    opacity: float = 1


@dataclass(frozen=True)
class Perforation:
    """A row of ``count`` rounded holes, the first at ``x``."""

    x: float
    y: float
    count: int
    pitch: float
    width: float
    height: float
    radius: float
    fill: str


@dataclass(frozen=True)
class Text:
    """A line of monospaced text on the baseline ``y``; ``x`` is its end where ``right`` is set."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    bold: bool = False
    right: bool = False


@dataclass(frozen=True)
class Picture:
    """Pixels (H, W, 3) uint8, drawn over a rectangle."""

    x: float
    y: float
    width: float
    height: float
    pixels: np.ndarray


Shape = Box | Polygon | Perforation | Text | Picture


@dataclass(frozen=True)
class Sheet:
    """Shapes, in drawing order, on a ground of the colour `PAPER`."""

    width: int
    height: int
    shapes: tuple[Shape, ...]


def contact_sheet(runs: Sequence[Named]) -> Sheet:
    """Lay out the film of each layer, one below the other: a head, then strips of eight frames."""
    shapes: list[Shape] = []
    y = float(MARGIN)
    for entry in runs:
        head, y = _head(entry, y)
        shapes += head
        aspect = _aspect(entry.run)
        steps = list(zip(entry.run.steps, entry.run.sigmas_before, strict=True))
        for start in range(0, len(steps), PER_ROW):
            strip, y = _strip(entry.run, steps[start : start + PER_ROW], y, aspect)
            shapes += strip
            y += BETWEEN
        y += MARGIN - BETWEEN if entry.run.steps else 0
    return Sheet(WIDTH, round(y), tuple(shapes))


def edge_print(step: Step, sigma_before: float | None, run: Run) -> dict[str, str]:
    """Return what is printed at the edge of a step's frame, by what it says.

    sigma_before: the noise level at which the model was asked (`Run.sigmas_before`), printed beside its timestep.
    """
    printed = {
        "timestep": f"t {fit(step.timestep)}",
        "sigma": f"sigma {fit(sigma_before)}",
        **{name: f"{name} {fit(step.metrics.get(name), 7)}" for name in ("norm", "mean", "std")},
    }
    return {"step": str(step.index + 1), **printed, "guidance": f"guidance {fit(run.params.guidance_scale)}"}


def facts(run: Run) -> str:
    """Return the line of a run's settings and how it ended."""
    asked, total = run.params, run.total_steps
    hosted = hosted_run(run.provenance)
    if hosted is not None:
        return _hosted_facts(run, hosted)
    done = (
        f"{len(run.steps)} of {total} steps" if len(run.steps) < (total or 0) else f"{len(run.steps)} steps"
    )
    size = f"{asked.width} x {asked.height}" if asked.width and asked.height else None
    parts = [
        asked.model,
        asked.seed_words,
        done,
        f"guidance {asked.guidance_scale:g}",
        size,
        asked.scheduler,
    ]
    return "  ·  ".join(plain(part) for part in (*parts, run.status) if part)


def _hosted_facts(run: Run, hosted: HostedRun) -> str:
    asked, ran = run.params, run.provenance
    size = asked.width and asked.height and heeded(ran, "size")
    parts = [
        asked.model,
        f"at {hosted.provider}",
        asked.seed_words if heeded(ran, "seed") else "",
        f"{asked.num_inference_steps} steps" if heeded(ran, "num_inference_steps") else "",
        f"guidance {asked.guidance_scale:g}" if heeded(ran, "guidance_scale") else "",
        f"{asked.width} x {asked.height}" if size else "",
        run.status,
        "no latents: a hosted service returns only the finished image",
    ]
    return "  ·  ".join(plain(part) for part in parts if part)


def _head(entry: Named, top: float) -> tuple[list[Shape], float]:
    run = entry.run
    shapes: list[Shape] = [Box(MARGIN, top, 5, HEADER, entry.colour)]
    x = MARGIN + 22.0
    if run.images:
        height, width = run.images[0].shape[:2]
        wide = HEADER * min(width / height, 2.5)
        shapes.append(Picture(x, top, wide, wide * height / width, run.images[0]))
        x += wide + 22
    shapes.append(Text(WIDTH - MARGIN, top + 17, "DIFFUSION ATLAS", 12, MUTED, right=True))
    cells = int((WIDTH - MARGIN - x) / (14 * ADVANCE))
    y = top + 21
    for line in wrap(entry.name, int((WIDTH - MARGIN - 140 - x) / (22 * ADVANCE)), 2):
        shapes.append(Text(x, y, line, 22, INK, bold=True))
        y += 28
    asked = run.params
    lines = [] if plain(asked.prompt) == plain(entry.name) else wrap(asked.prompt, cells, PROMPT_LINES)
    if asked.negative_prompt.strip():
        lines += wrap(f"not: {asked.negative_prompt}", cells, PROMPT_LINES)
    for line in lines:
        shapes.append(Text(x, y, line, 14, INK))
        y += 19
    shapes.append(Text(x, y, facts(run), 13, MUTED))
    bottom = max(top + HEADER, y + 6)
    shapes[0] = Box(MARGIN, top, 5, bottom - top, entry.colour)
    return shapes, bottom + 18


def _strip(
    run: Run, steps: Sequence[tuple[Step, float | None]], top: float, aspect: float
) -> tuple[list[Shape], float]:
    tall = FRAME * aspect
    pitch = (FRAME + GAP) / 8
    width = 2 * LEAD + len(steps) * (FRAME + GAP) - GAP
    height = 2 * PERFORATION + ABOVE + tall + BELOW
    holes = int((width - 6) // pitch)
    side = (width - (holes - 1) * pitch - 13) / 2
    shapes: list[Shape] = [Box(MARGIN, top, width, height, FILM, 2)]
    for y in (top + 5, top + height - 5 - 14):
        shapes.append(Perforation(MARGIN + side, y, holes, pitch, 13, 14, 3, PAPER))
    for place, (step, before) in enumerate(steps):
        x = MARGIN + LEAD + place * (FRAME + GAP)
        shapes += _frame(run, step, before, x, top + PERFORATION + ABOVE, tall)
    return shapes, top + height


def _frame(run: Run, step: Step, before: float | None, x: float, top: float, tall: float) -> Iterator[Shape]:
    printed = edge_print(step, before, run)
    ends = {run.steps[0].index: GOLD, run.steps[-1].index: BURGUNDY}
    mark = top - 6
    yield Polygon(((x, mark - 8), (x + 7, mark - 4), (x, mark)), ends.get(step.index, PRINT))
    yield Text(x + 12, mark, printed["step"], SMALL, PRINT, bold=True)
    yield Text(x + FRAME, mark, printed["timestep"], SMALL, PRINT, right=True)
    pixels = first_preview(step)
    if pixels is None:
        yield Box(x, top, FRAME, tall, UNEXPOSED)
    else:
        yield Picture(x, top, FRAME, tall, pixels)
        yield from _histogram(pixels, x + FRAME - 54, top + tall + 9, 54, 36)
    rows = (("sigma", "norm"), ("mean", "std"), ("guidance",))
    for number, row in enumerate(rows):
        for column, key in enumerate(row):
            at = x + column * 14 * SMALL * ADVANCE
            yield Text(at, top + tall + 17 + number * LINE, printed[key], SMALL, PRINT)


def _histogram(pixels: np.ndarray, x: float, y: float, width: float, height: float) -> Iterator[Shape]:
    """Yield 16 bins each of red, green and blue, as stepped areas that overlap; the fullest bin is the height."""
    counts = histogram(pixels, 16)[:3]
    heights = counts / counts.max() * height
    edge = width / heights.shape[1]
    for colour, channel in zip(look.CHANNELS, heights, strict=True):
        steps = [(x + (i + side) * edge, y + height - h) for i, h in enumerate(channel) for side in (0, 1)]
        yield Polygon(((x, y + height), *steps, (x + width, y + height)), colour, 0.7)
    yield Box(x, y + height, width, 0.75, PRINT)


def _aspect(run: Run) -> float:
    """Return height over width of the frames: of the previews, else of what was asked."""
    shown: Iterable[np.ndarray | None] = (first_preview(step) for step in run.steps)
    pixels = next((picture for picture in shown if picture is not None), None)
    if pixels is not None:
        ratio = pixels.shape[0] / pixels.shape[1]
    else:
        ratio = (run.params.height or 1) / (run.params.width or 1) if run.params.height else 1.0
    return min(max(ratio, 0.4), 2.5)
