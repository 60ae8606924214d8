"""The PDF report of a study, on A4: what was asked, the pictures, the charts as vectors, the numbers, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.formats.lettering import fit
from diffatlas.formats.named import plain
from diffatlas.formats.report.parts import tight
from diffatlas.formats.report.run import document
from diffatlas.formats.report.study_parts import ACROSS, definitions_pages, numbers_table, pictures
from diffatlas.formats.report.text import markup
from diffatlas.formats.report.vector import draw
from diffatlas.library.study import Cell, Lane, Study
from diffatlas.look import LANES, PAPER
from diffatlas.studies.numbers import (
    asked,
    captions_of,
    lane_measures,
    method_words,
    tally,
)

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable

TITLES = {"sweep": "Sweep report", "neighbourhood": "Neighbourhood report"}
#: Points of a row of charts.
SMALL, LARGE = 106, 190
#: Jumps that are told in words.
TOLD = 12
#: What is said of a neighbourhood, by its mode: words, and their place in the study's spec.
_OF_A_MODE = {
    "perturb": (("Radius", "radius"), ("Spread", "spread"), ("After step", "step")),
    "slerp": (("To seed", "to_seed"),),
    "offset": (("Offset", "offset"),),
}


def pdf(study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any]) -> bytes:
    """Return the report as PDF; the same study gives the same bytes.

    images: pixels (H, W, 3) uint8 by cell key. measures: as `diffatlas.studies.numbers` says; what is missing is
        left out.
    """
    from reportlab.platypus import Paragraph

    title = TITLES.get(study.operation, "Study")

    def story(styles: dict[str, ParagraphStyle], width: float) -> list[Flowable]:
        pages = _front(study, title, styles, width)
        for place, lane in enumerate(study.lanes):
            pages += _lane(study, lane, place, images, measures, styles, width)
        if measures.get("note"):
            pages.append(Paragraph(markup(measures["note"]), styles["text"]))
        if study.operation == "sweep":
            pages += _drift(study, measures, styles, width)
        else:
            pages += _sentences("Agreement of the lanes", measures.get("agreement"), styles)
        pages += numbers_table(study, measures, styles, width)
        return pages + definitions_pages(study, measures, styles)

    return document(f"{title}: {plain(study.title)}", story)


def _front(study: Study, title: str, styles: Mapping[str, ParagraphStyle], width: float) -> list[Flowable]:
    from reportlab.platypus import HRFlowable, Paragraph, Spacer, Table

    story: list[Flowable] = [
        Paragraph("Diffusion Atlas", styles["eyebrow"]),
        Paragraph(title, styles["title"]),
        HRFlowable(width="100%", thickness=2.2, color=PAPER.gold, spaceBefore=2, spaceAfter=4),
        Paragraph(markup(study.title or asked(study)), styles["layer"]),
    ]
    if study.cells:
        params = study.cells[0].params
        texts = [] if plain(study.title).endswith(plain(params.prompt)) else [params.prompt]
        texts += [f"Not: {params.negative_prompt}"] if params.negative_prompt.strip() else []
        story += [Paragraph(markup(text), styles["prompt"]) for text in texts]
    columns = []
    for rows in facts(study):
        pairs = [
            [Paragraph(markup(n), styles["label"]), Paragraph(markup(v), styles["value"])] for n, v in rows
        ]
        columns.append(Table(pairs or [[""]], colWidths=[64, width / 2 - 74], style=tight(), hAlign="LEFT"))
    story += [Spacer(0, 4), Table([columns], colWidths=[width / 2] * 2, style=tight(), hAlign="LEFT")]
    return story


def facts(study: Study) -> list[list[tuple[str, str]]]:
    """Return two lists of (name, value) pairs: what was asked, and the study."""
    spec, cells = study.spec, study.cells
    words = asked(study)
    request = [("Asked for", words[:1].upper() + words[1:])]
    labels = list(dict.fromkeys(cell.label for cell in sorted(cells, key=lambda c: c.column)))
    request.append(("Values", ", ".join(labels)))
    for name, key in _OF_A_MODE.get(spec.get("mode"), ()):
        if spec.get(key) is not None:
            request.append((name, str(spec[key])))
    if cells:
        request += _common(cells)
    batched = sum(cell.batched for cell in cells)
    ran = [
        ("Study", study.id),
        ("Status", study.status),
        ("Created", study.created[:19].replace("T", " ")),
        ("Cells", tally(cells)),
        ("Lanes", ", ".join(lane.name for lane in study.lanes)),
        ("Backends", ", ".join(dict.fromkeys(lane.backend for lane in study.lanes))),
        ("In batches", f"{batched} of {len(cells)} cells" if batched else "no: one run at a time"),
    ]
    cached = sum(cell.cached for cell in cells)
    if cached:
        ran.append(("From the library", f"{cached} of {len(cells)} cells"))
    return [[(name, value[:400]) for name, value in pairs if value] for pairs in (request, ran)]


def _common(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return the parameters that all cells share."""

    def shared(name: str) -> Any:
        values = {getattr(cell.params, name) for cell in cells}
        return values.pop() if len(values) == 1 else None

    seeds = sorted({cell.params.seed for cell in cells})
    found = [("Model", shared("model")), ("Steps", shared("num_inference_steps"))]
    found.insert(1, ("Seeds" if len(seeds) > 1 else "Seed", ", ".join(map(str, seeds))))
    scale = shared("guidance_scale")
    found.append(("Guidance scale", None if scale is None else f"{scale:g}"))
    methods = {method_words(cell) for cell in cells}
    found.append(("Guidance method", (methods.pop() or "plain") if len(methods) == 1 else None))
    size = {(cell.params.width, cell.params.height) for cell in cells}
    one = size.pop() if len(size) == 1 else (None, None)
    found.append(("Size", f"{one[0]} x {one[1]}" if all(one) else None))
    found.append(("Scheduler", shared("scheduler")))
    return [(name, str(value)) for name, value in found if value is not None]


def _lane(
    study: Study,
    lane: Lane,
    place: int,
    images: Mapping[str, np.ndarray],
    measures: Mapping[str, Any],
    styles: Mapping[str, ParagraphStyle],
    width: float,
) -> list[Flowable]:
    from reportlab.platypus import HRFlowable, KeepTogether, Paragraph, Spacer

    from diffatlas import figures

    cells = study.in_lane(lane.key)
    if not cells:
        return []
    colour = LANES[place % len(LANES)]
    head = Paragraph(markup(lane.name or f"Lane {lane.key}"), styles["layer"])
    head.bookmark = (f"lane-{place}", plain(lane.name or lane.key)[:120])
    params = cells[0].params
    said = (params.model, params.scheduler, method_words(cells[0]), lane.backend, tally(cells))
    opening: list[Flowable] = [
        Spacer(0, 10),
        HRFlowable(width="100%", thickness=2.2, color=colour, spaceBefore=2, spaceAfter=4),
        head,
        Paragraph(markup(", ".join(filter(None, said))), styles["caption"]),
        Spacer(0, 4),
    ]
    strips: list[list[Flowable]] = []
    rows = sorted({cell.row for cell in cells})
    for row in rows:
        in_row = [cell for cell in cells if cell.row == row]
        seed = Paragraph(f"seed {in_row[0].params.seed}", styles["caption"])
        for start in range(0, len(in_row), ACROSS):
            shown = pictures(study, in_row[start : start + ACROSS], images, measures, styles, width)
            strips.append([seed, Spacer(0, 2), shown] if len(rows) > 1 and not start else [shown])
    # The name of a lane is not left alone at the foot of a page.
    story: list[Flowable] = [
        KeepTogether([*opening, *strips[0]]),
        *(KeepTogether(strip) for strip in strips[1:]),
    ]
    story += [
        Paragraph(f"<b>{markup(label)}</b> &nbsp;{markup(words)}", styles["caption"])
        for label, words in captions_of(cells, measures)
        if words
    ]
    if study.operation == "sweep":
        guidance = figures.guidance_by_step(study, measures, lane.key)
        if guidance.data:
            about = Paragraph(markup(guidance.layout.meta["says"]), styles["caption"])
            story += [Spacer(0, 4), draw(guidance, width, SMALL + 14, 2), about]
        return story
    return story + _neighbours(study, lane, measures, styles, width)


def _drift(
    study: Study, measures: Mapping[str, Any], styles: Mapping[str, ParagraphStyle], width: float
) -> list[Flowable]:
    from reportlab.platypus import KeepTogether, Paragraph, Spacer

    from diffatlas import figures

    drift = figures.drift(study, measures)
    if not drift.data:
        return []
    heading = Paragraph("Drift from the baseline", styles["heading"])
    heading.bookmark = ("drift", "Drift from the baseline")
    drawn = draw(drift, width, SMALL, 3, empty=False)
    return [
        KeepTogether([heading, drawn]),
        Spacer(0, 3),
        Paragraph(markup(drift.layout.meta["says"]), styles["text"]),
    ]


def _neighbours(
    study: Study,
    lane: Lane,
    measures: Mapping[str, Any],
    styles: Mapping[str, ParagraphStyle],
    width: float,
) -> list[Flowable]:
    from reportlab.platypus import KeepTogether, Paragraph, Spacer

    from diffatlas import figures

    story: list[Flowable] = []
    measured = lane_measures(measures, lane.key)
    labels = {cell.key: cell.label for cell in study.cells}
    growth = figures.growth(study, measures, lane.key)
    if growth.data:
        about = Paragraph(markup(growth.layout.meta["says"]), styles["text"])
        story.append(
            KeepTogether(
                [Spacer(0, 4), draw(growth, width, SMALL * 1.5, 2, empty=False), Spacer(0, 3), about]
            )
        )
    maps = [figures.map(study, measures, lane.key, of) for of in ("image", "latent")]
    if maps := [one for one in maps if one.data]:
        said = Paragraph(markup(" ".join(one.layout.meta["says"] for one in maps)), styles["caption"])
        story.append(KeepTogether([draw(maps, width, LARGE, 2), said]))
    if measured.get("finding") and not maps:
        story.append(Paragraph(markup(measured["finding"]), styles["text"]))
    basins = measured.get("basins") or {}
    if basins:
        story += [Paragraph("Basins", styles["heading"])]
        if basins.get("sentence"):
            story.append(Paragraph(markup(basins["sentence"]), styles["text"]))
        names = basins.get("names") or ()
        for number, members in enumerate(basins.get("members") or ()):
            said = f"Basin {number + 1}: {', '.join(labels.get(key, key) for key in members)}."
            if number < len(names) and names[number]:
                said += f" It shows {'; '.join(names[number])}."
            story.append(Paragraph(markup(said), styles["text"]))
    jumps = measured.get("jumps") or ()
    looked = measures.get("mode") != "offset" and (measured.get("matrices") or {}).get("start")
    if looked:
        story.append(Paragraph("Jumps", styles["heading"]))
    if looked and not jumps:
        story.append(Paragraph("No two close neighbours have images that are far apart.", styles["text"]))
    contents = dict(zip(measured.get("cells") or (), measured.get("names") or (), strict=False))
    for jump in jumps[:TOLD]:
        a, b = jump["a"], jump["b"]
        said = f"{labels.get(a, a)} and {labels.get(b, b)} start {fit(jump['near'], 7, 3)} apart, "
        said += f"and their images are {fit(jump['far'], 7, 3)} apart"
        if contents.get(a) and contents.get(b) and contents[a] != contents[b]:
            said += f": one shows {contents[a]}, the other {contents[b]}"
        story.append(Paragraph(markup(f"{said[0].upper()}{said[1:]}."), styles["text"]))
    if len(jumps) > TOLD:
        story.append(Paragraph(f"And {len(jumps) - TOLD} more, in the CSV.", styles["text"]))
    return story


def _sentences(title: str, entries: Any, styles: Mapping[str, ParagraphStyle]) -> list[Flowable]:
    from reportlab.platypus import Paragraph

    said = [entry["sentence"] for entry in entries or () if entry.get("sentence")]
    if not said:
        return []
    return [
        Paragraph(title, styles["heading"]),
        *(Paragraph(markup(words), styles["text"]) for words in said),
    ]
