"""The parts of a study's report that are the same for all studies: pictures, the table of numbers, definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.formats.lettering import fit
from diffatlas.formats.report.parts import picture, tight
from diffatlas.formats.report.text import markup, term_words
from diffatlas.glossary import TERMS
from diffatlas.library.study import Cell, Study
from diffatlas.look import PAPER
from diffatlas.studies.numbers import base_column, cell_numbers, distances, number_names

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable

#: Pictures in a row, and the pixels of one's longer side at most.
ACROSS, PIXELS = 6, 320
#: Heads of the columns of numbers.
HEADS = {
    "parting": "parts at",
    "guidance_norm_mean": "guid. norm",
    "guidance_angle_mean": "guid. angle °",
    "straightness": "straight- ness",
    "saturation": "satur- ation",
    "luma_std": "luma spread",
    "latent_max": "largest latent",
    "jumps_to": "jump to",
}
#: Columns of text.
TEXTS = ("contains", "jumps_to")
#: The glossary's terms that a report may use; what the measures define themselves is not said twice.
_TERMS = frozenset(
    [
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "guidance",
        "size",
        "scheduler",
        "model",
        "latents",
        "lane",
        "guidance_method",
        "agreement",
    ]
)
_TERMS_OF = {
    "sweep": frozenset(
        [
            "baseline",
            "drift",
            "parting",
            "guidance_norm",
            "guidance_angle",
            "path_length",
            "straightness",
            "saturation",
            "luma_std",
            "clipped",
            "clipping_onset",
            "diversity",
            "collapse",
        ]
    ),
    "neighbourhood": frozenset(
        [
            "anchor",
            "radius",
            "slerp",
            "seed_offset",
            "growth",
            "growth_slope",
            "basin",
            "silhouette",
            "gap_statistic",
            "jump",
            "mds",
            "stress",
            "procrustes",
            "rand_index",
        ]
    ),
}

#: Definitions of the measures that the glossary has under another key.
_SAME = {"basins": "basin", "rand": "rand_index", "rank": "rank_correlation", "clipping": "clipping_onset"}


def pictures(
    study: Study,
    cells: Sequence[Cell],
    images: Mapping[str, np.ndarray],
    measures: Mapping[str, Any],
    styles: Mapping[str, ParagraphStyle],
    width: float,
) -> Flowable:
    """Return up to `ACROSS` cells in a row, the label beneath each image, or the reason why there is none."""
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Paragraph, Table

    side = width / ACROSS
    shown, captions = [], []
    style = [*tight(), ("VALIGN", (0, 0), (-1, 0), "BOTTOM"), ("BOTTOMPADDING", (0, 1), (-1, 1), 6)]
    for place, cell in enumerate(cells):
        pixels = images.get(cell.key)
        if pixels is not None:
            shown.append(picture(shrunk(pixels), side - 5, side * 1.3))
        else:
            why = (cell.error or {}).get("message") or ""
            words = "no image kept" if cell.status == "complete" else f"{cell.status}. {why[:160]}"
            shown.append(Paragraph(markup(words), styles["caption"]))
            style += [
                ("BACKGROUND", (place, 0), (place, 0), HexColor(PAPER.paper)),
                ("VALIGN", (place, 0), (place, 0), "TOP"),
                ("LEFTPADDING", (place, 0), (place, 0), 3),
                ("RIGHTPADDING", (place, 0), (place, 0), 7),
            ]
        base = {True: "baseline", False: "anchor"}[study.operation == "sweep"]
        marked = cell.column == base_column(study, measures) and cell.label != base
        mark = f' <font color="{PAPER.burgundy}">{base}</font>' if marked else ""
        captions.append(Paragraph(f"<b>{markup(cell.label)}</b>{mark}", styles["caption"]))
    return Table([shown, captions], colWidths=[side] * len(cells), style=style, hAlign="LEFT")


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, 3) of which the longer side has at most `PIXELS`."""
    from PIL import Image as Pictures

    if max(pixels.shape[:2]) <= PIXELS:
        return pixels
    small = Pictures.fromarray(pixels)
    small.thumbnail((PIXELS, PIXELS), Pictures.Resampling.LANCZOS)
    return np.asarray(small)


def numbers_table(
    study: Study, measures: Mapping[str, Any], styles: Mapping[str, ParagraphStyle], width: float
) -> list[Flowable]:
    """Return a heading and a row of numbers per cell; of the numbers, those that any cell has."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import CondPageBreak, LongTable, Paragraph

    numbers = cell_numbers(study, measures)
    names = [
        name
        for name in number_names(study, measures)
        if not name.startswith("map_") and any(known[name] is not None for known in numbers.values())
    ]
    labels = {cell.key: cell.label for cell in study.cells}
    small = ParagraphStyle("cell", fontName="Courier", fontSize=6, leading=7, textColor=HexColor(PAPER.ink))
    head = ParagraphStyle("head", parent=small, fontName="Times-Bold", fontSize=6.6, leading=7.4)
    head.textColor = HexColor(PAPER.burgundy)
    right = ParagraphStyle("right", parent=head, alignment=2)
    first = ["cell", "seed", "status"]
    heads = [Paragraph(word, head) for word in first]
    heads += [
        Paragraph(markup(HEADS.get(name, name.replace("_", " "))), head if name in TEXTS else right)
        for name in names
    ]
    rows: list[list[Any]] = [heads]
    style: list[tuple[Any, ...]] = [
        ("FONT", (0, 1), (-1, -1), "Courier", 6, 7),
        ("TEXTCOLOR", (0, 1), (-1, -1), HexColor(PAPER.ink)),
        ("ALIGN", (len(first), 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("LEFTPADDING", (0, 0), (-1, -1), 1),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 0.6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(PAPER.gold)),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [HexColor("#ffffff"), HexColor(PAPER.paper)]),
        ("LINEBELOW", (0, -1), (-1, -1), 0.4, HexColor(PAPER.rule)),
    ]
    for lane in study.lanes:
        if len(study.lanes) > 1:
            style.append(("SPAN", (0, len(rows)), (-1, len(rows))))
            rows.append([Paragraph(markup(lane.name), head), *[""] * (len(heads) - 1)])
        for cell in study.in_lane(lane.key):
            told = (cell.label, str(cell.params.seed), cell.status)
            row: list[Any] = [Paragraph(markup(word), small) for word in told]
            row += [_number(name, numbers[cell.key][name], labels, small) for name in names]
            rows.append(row)
    shares = [1.9, 1.2, 1.4, *(2.6 if name in TEXTS else 1.0 for name in names)]
    unit = width / max(sum(shares), 12)
    heading = Paragraph("Numbers", ParagraphStyle("numbers", parent=styles["heading"], keepWithNext=0))
    heading.bookmark = ("numbers", "Numbers")
    table = LongTable(
        rows, colWidths=[unit * share for share in shares], style=style, repeatRows=1, hAlign="LEFT"
    )
    return [CondPageBreak(90), heading, table]


def _number(name: str, value: Any, labels: Mapping[str, str], style: ParagraphStyle) -> Any:
    from reportlab.platypus import Paragraph

    if name not in TEXTS:
        return fit(value, 7, 4)
    if name == "jumps_to":
        value = ", ".join(labels[key] for key in (value or "").split() if key in labels)
    return Paragraph(markup(value or ""), style)


def definitions_pages(
    study: Study, measures: Mapping[str, Any], styles: Mapping[str, ParagraphStyle]
) -> list[Flowable]:
    """Return the definitions of the measures, and the glossary's terms that the report uses, from a new page on."""
    from reportlab.platypus import BalancedColumns, PageBreak, Paragraph

    heading = Paragraph("Definitions", styles["layer"])
    heading.bookmark = ("definitions", "Definitions")
    entries = [
        Paragraph(f"<b>{markup(name)}</b> &nbsp;{markup(words)}", styles["term"])
        for name, words in definitions(study, measures)
    ]
    said = {_SAME.get(key, key) for key in measures.get("definitions") or ()}
    used = (_TERMS | _TERMS_OF.get(study.operation, set())) - said
    if not any(cell.params.negative_prompt for cell in study.cells):
        used -= {"negative_prompt"}
    for entry in (entry for entry in TERMS if entry.key in used):
        entries.append(Paragraph(term_words(entry, PAPER.burgundy, PAPER.muted), styles["term"]))
    return [PageBreak(), heading, BalancedColumns(entries, nCols=2, innerPadding=16)]


def definitions(study: Study, measures: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Return (name, sentence) pairs: each distance that was measured, then the definitions of the measures."""
    found = [
        (entry["label"], entry.get("about") or "")
        for entry in distances(study, measures)
        if entry["key"] not in (measures.get("definitions") or {})
        and (entry["key"] != "feature" or measures.get("feature"))
    ]
    names = {entry.key: entry.name for entry in TERMS}
    for key, words in (measures.get("definitions") or {}).items():
        name = names.get(_SAME.get(key, key), key.replace("_", " "))
        name = name[:1].upper() + name[1:]
        words = words.removeprefix(f"{name}: ")
        found.append((name, words[:1].upper() + words[1:]))
    return [(name, words) for name, words in found if words]
