"""The contact sheet of a study in the manner of film: a strip per seed, lane below lane, a frame per value."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffatlas import look
from diffatlas.errors import CapabilityError
from diffatlas.formats.lettering import ADVANCE, fit, wrap
from diffatlas.formats.named import plain
from diffatlas.formats.sheet.film import MAX_PIXELS, drawn
from diffatlas.formats.sheet.shapes import (
    ABOVE,
    BETWEEN,
    FILM,
    FRAME,
    GAP,
    GOLD,
    INK,
    LEAD,
    LINE,
    MARGIN,
    MUTED,
    PAPER,
    PERFORATION,
    PRINT,
    SMALL,
    UNEXPOSED,
    Box,
    Perforation,
    Picture,
    Polygon,
    Shape,
    Sheet,
    Text,
)
from diffatlas.library.study import Cell, Study
from diffatlas.studies.numbers import (
    SHORT,
    asked,
    asked_by,
    base_column,
    caption_of,
    cell_numbers,
    method_words,
    tally,
)

#: Frames of a strip at most; a longer row is broken into strips of nearly the same length.
ACROSS = 9
#: Frames that the head of a sheet needs room for.
LEAST = 4
#: Numbers printed beneath a frame at most, two in a line.
PRINTED = 6
#: Characters of a line that is as wide as a frame.
_CELLS = int(FRAME / (SMALL * ADVANCE))
#: Pixels on the paper that a line of the key takes.
_KEY_LINE = 17
#: Sentences of the key at most; beyond that, the labels must do.
_KEY_MOST = 16
FAILED = look.FILM.failed


def study_sheet(study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any]) -> Sheet:
    """Lay out a study: its head, then each lane with its strips, then what the values mean.

    images: pixels (H, W, 3) uint8 by cell key. A cell without is a blank frame that says why.
    """
    columns = max((cell.column for cell in study.cells), default=0) + 1
    per_row = -(-columns // -(-columns // ACROSS))
    width = 2 * MARGIN + 2 * LEAD + max(per_row, LEAST) * (FRAME + GAP) - GAP
    numbers = cell_numbers(study, measures)
    shapes, y = _head(study, float(MARGIN), width)
    for place, lane in enumerate(study.lanes):
        cells = study.in_lane(lane.key)
        if not cells:
            continue
        if len(study.lanes) > 1:
            colour = look.LANES[place % len(look.LANES)]
            head, y = _lane_head(lane.name, cells, y, colour, int((width - 2 * MARGIN - 16) / (13 * ADVANCE)))
            shapes += head
        aspect = _aspect(cells, images)
        rows = sorted({cell.row for cell in cells})
        for row in rows:
            in_row = [cell for cell in cells if cell.row == row]
            if len(rows) > 1:
                shapes.append(Text(MARGIN, y + 12, f"seed {in_row[0].params.seed}", 13, MUTED))
                y += 20
            for start in range(0, len(in_row), per_row):
                strip, y = _strip(
                    study,
                    in_row[start : start + per_row],
                    images,
                    numbers,
                    y,
                    aspect,
                    base_column(study, measures),
                )
                shapes += strip
                y += BETWEEN
        y += MARGIN - BETWEEN
    key, y = _key(study, measures, y, width)
    return Sheet(width, round(y + MARGIN / 2), (*shapes, *key))


def png(study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any], scale: int = 2) -> bytes:
    """Return the sheet as PNG at twice its size, or once where that would exceed `film.MAX_PIXELS`.

    Raises `CapabilityError` for a sheet that exceeds it even so.
    """
    sheet = study_sheet(study, images, measures)
    scale = scale if sheet.width * sheet.height * scale**2 <= MAX_PIXELS else 1
    if sheet.width * sheet.height * scale**2 > MAX_PIXELS:
        raise CapabilityError(
            f"This sheet is {sheet.height:,} pixels tall, too much for one PNG: export the PDF instead."
        )
    file = io.BytesIO()
    drawn(sheet, scale).save(file, "PNG", compress_level=5)
    return file.getvalue()


def facts(study: Study, cells: Sequence[Cell]) -> str:
    """Return what the cells have in common, in a line, and how they ended."""
    parts = [
        cells[0].params.model if _same(cells, "model") else None,
        f"seed {cells[0].params.seed}" if _same(cells, "seed") else None,
        f"{cells[0].params.num_inference_steps} steps" if _same(cells, "num_inference_steps") else None,
        f"guidance {cells[0].params.guidance_scale:g}" if _same(cells, "guidance_scale") else None,
        method_words(cells[0]) if _same(cells, "guidance_method", "guidance_options") else None,
        cells[0].params.scheduler if _same(cells, "scheduler") else None,
        tally(cells),
    ]
    return "  ·  ".join(plain(part) for part in parts if part)


def _same(cells: Sequence[Cell], *fields: str) -> bool:
    first = [getattr(cells[0].params, name) for name in fields]
    return all([getattr(cell.params, name) for name in fields] == first for cell in cells)


def _head(study: Study, top: float, width: int) -> tuple[list[Shape], float]:
    x, y = MARGIN + 22.0, top + 21
    shapes: list[Shape] = [Text(width - MARGIN, top + 17, "DIFFUSION ATLAS", 12, MUTED, right=True)]
    for line in wrap(study.title or asked(study), int((width - MARGIN - 140 - x) / (22 * ADVANCE)), 2):
        shapes.append(Text(x, y, line, 22, INK, bold=True))
        y += 28
    first = study.cells[0].params if study.cells else None
    across = int((width - MARGIN - x) / (14 * ADVANCE))
    lines = []
    if first is not None:
        lines += [] if plain(study.title).endswith(plain(first.prompt)) else wrap(first.prompt, across, 4)
        lines += wrap(f"not: {first.negative_prompt}", across, 4) if first.negative_prompt.strip() else []
    for line in lines:
        shapes.append(Text(x, y, line, 14, INK))
        y += 19
    words = asked(study)
    told = [words[:1].upper() + words[1:], study.created[:10]]
    if study.cells:
        told.insert(1, facts(study, study.cells))
    for line in wrap("  ·  ".join(filter(None, told)), int((width - MARGIN - x) / (13 * ADVANCE)), 3):
        shapes.append(Text(x, y, line, 13, MUTED))
        y += 18
    bottom = max(top + 60, y - 6)
    return [Box(MARGIN, top, 5, bottom - top, GOLD), *shapes], bottom + 18


def _lane_head(
    name: str, cells: Sequence[Cell], top: float, colour: str, across: int
) -> tuple[list[Shape], float]:
    shapes: list[Shape] = [Box(MARGIN, top, 5, 40, colour)]
    shapes.append(Text(MARGIN + 16, top + 15, (wrap(name, 60, 1) or [""])[0], 17, INK, bold=True))
    done = cells[0].params
    said = "  ·  ".join(filter(None, (done.model, done.scheduler, method_words(cells[0]), tally(cells))))
    shapes.append(Text(MARGIN + 16, top + 34, (wrap(said, across, 1) or [""])[0], 13, MUTED))
    return shapes, top + 52


def _strip(
    study: Study,
    cells: Sequence[Cell],
    images: Mapping[str, np.ndarray],
    numbers: Mapping[str, Mapping[str, Any]],
    top: float,
    aspect: float,
    base: int,
) -> tuple[list[Shape], float]:
    tall = FRAME * aspect
    lines = max((len(_numbers(numbers[cell.key])) for cell in cells), default=0)
    below = 10 + LINE * lines
    pitch = (FRAME + GAP) / 8
    width = 2 * LEAD + len(cells) * (FRAME + GAP) - GAP
    height = 2 * PERFORATION + ABOVE + tall + below
    holes = int((width - 6) // pitch)
    side = (width - (holes - 1) * pitch - 13) / 2
    shapes: list[Shape] = [Box(MARGIN, top, width, height, FILM, 2)]
    for y in (top + 5, top + height - 5 - 14):
        shapes.append(Perforation(MARGIN + side, y, holes, pitch, 13, 14, 3, PAPER))
    for place, cell in enumerate(cells):
        x = MARGIN + LEAD + place * (FRAME + GAP)
        shapes += _frame(study, cell, images.get(cell.key), x, top + PERFORATION + ABOVE, tall, base)
        for number, line in enumerate(_numbers(numbers[cell.key])):
            for column, words in enumerate(line):
                at = x + column * 16 * SMALL * ADVANCE
                shapes.append(
                    Text(at, top + PERFORATION + ABOVE + tall + 17 + number * LINE, words, SMALL, PRINT)
                )
    return shapes, top + height


def _frame(
    study: Study, cell: Cell, pixels: np.ndarray | None, x: float, top: float, tall: float, base: int
) -> Iterator[Shape]:
    mark = top - 6
    is_base = cell.column == base
    yield Polygon(((x, mark - 8), (x + 7, mark - 4), (x, mark)), GOLD if is_base else PRINT)
    yield Text(x + 12, mark, (wrap(cell.label, _CELLS - 12, 1) or [""])[0], SMALL, PRINT, bold=True)
    words = "baseline" if study.operation == "sweep" else "anchor"
    if is_base and cell.label != words:
        yield Text(x + FRAME, mark, words, SMALL, GOLD, right=True)
    if pixels is not None:
        yield Picture(x, top, FRAME, tall, pixels)
        return
    yield Box(x, top, FRAME, tall, UNEXPOSED)
    failed = cell.status == "failed"
    words = "no image kept" if cell.status == "complete" else cell.status
    yield Text(x + 12, top + 22, words, SMALL, FAILED if failed else PRINT, bold=True)
    room = max(int((tall - 34) / LINE), 1)
    for number, line in enumerate(wrap((cell.error or {}).get("message", ""), _CELLS - 4, room)):
        yield Text(x + 12, top + 40 + number * LINE, line, SMALL, PRINT)


def _numbers(known: Mapping[str, Any]) -> list[list[str]]:
    """Return the lines beneath a frame: up to `PRINTED` numbers, two in a line, and what the image contains."""
    printed = [
        f"{word} {fit(known[name], 7, 3)}" for name, word in SHORT.items() if known.get(name) is not None
    ][:PRINTED]
    lines = [printed[at : at + 2] for at in range(0, len(printed), 2)]
    if known.get("contains"):
        lines.append(wrap(known["contains"], _CELLS, 1))
    return lines


def _key(study: Study, measures: Mapping[str, Any], top: float, width: int) -> tuple[list[Shape], float]:
    """Return what each column means, each sentence once; of one strip, what was measured as well."""
    said: dict[str, list[str]] = {}
    alone = len({(cell.lane, cell.row) for cell in study.cells}) == 1
    for cell in sorted(study.cells, key=lambda cell: cell.column):
        # Of several strips the numbers stand under the frames alone.
        caption = (caption_of if alone else asked_by)(cell, measures)
        labels = said.setdefault(plain(caption), [])
        if caption and cell.label not in labels:
            labels.append(cell.label)
    told = [f"{', '.join(labels)}: {caption}" for caption, labels in said.items() if caption]
    told = told if len(told) <= _KEY_MOST else []
    room = int((width - 2 * MARGIN) / (12 * ADVANCE))
    longest = max((len(words) for words in told), default=0)
    columns = max(1, min(3, room // (longest + 4), -(-len(told) // 6)))
    shapes: list[Shape] = []
    bottom = top
    for column in range(columns):
        y = top
        each = -(-len(told) // columns)
        for words in told[column * each : (column + 1) * each]:
            for line in wrap(words, room // columns, 4):
                shapes.append(Text(MARGIN + column * (width - 2 * MARGIN) / columns, y + 12, line, 12, MUTED))
                y += _KEY_LINE
        bottom = max(bottom, y)
    return shapes, bottom


def _aspect(cells: Sequence[Cell], images: Mapping[str, np.ndarray]) -> float:
    """Return height over width of a lane's frames: of its images, else of what was asked."""
    pixels = next((images[cell.key] for cell in cells if images.get(cell.key) is not None), None)
    if pixels is not None:
        ratio = pixels.shape[0] / pixels.shape[1]
    else:
        params = cells[0].params
        ratio = params.height / params.width if params.height and params.width else 1.0
    return min(max(ratio, 0.4), 2.5)
