"""The parts of a bench's report: tables of lanes and of rates, prompts that fail, what was not judged, definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffatlas.bench.counted import Counted, Line
from diffatlas.bench.judgements import Judged
from diffatlas.bench.statistics import Rate
from diffatlas.formats.bench_report import BenchReport, ReportedLane
from diffatlas.formats.named import plain
from diffatlas.formats.report.parts import picture, tight
from diffatlas.formats.report.study_parts import shrunk
from diffatlas.formats.report.text import markup
from diffatlas.look import PAPER
from diffatlas.names import cut, facts_of

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable

Styles = Mapping[str, "ParagraphStyle"]
#: Prompts of a lane that are shown, pictures of each, and reasons.
WORST, PICTURES, REASONS = 8, 4, 3
#: Letters of a prompt, or of what was wrong, at most.
MOST_LETTERS = 300
#: Reasons for which images could not be judged, at most.
MOST_REASONS = 12
MEAN = "mean of categories"
HEADS = (
    "Category", "Correct", "Interval", "Images", "Prompts", "Any\ncorrect", "Alike", "Worth", "Not\njudged"
)  # fmt: skip
#: What the numbers mean, in the order in which the report has them.
DEFINITIONS = (
    ("Correct", "Share of images that are correct. An image that could not be judged counts as neither."),
    (
        "Interval",
        "Wilson's, of as many independent images as the images are worth, with Student's t for the prompts: the images"
        " of a prompt are alike, and an interval over images would be too narrow.",
    ),
    (MEAN[0].upper() + MEAN[1:], "The mean of the categories' rates, as GenEval's overall score is one."),
    ("Any correct", "Share of prompts of which at least one image is correct."),
    (
        "Alike",
        "Correlation of two images of one prompt: 0 where they are independent, 1 where they are all alike.",
    ),
    ("Worth", "Independent images that would say as much as these."),
    ("Not judged", "Images of which the scorer could not say whether they are correct."),
    (
        "Second minus first",
        "The mean over prompts of the difference of their shares, on the prompts that both have. p: by flipping the"
        " signs of prompts, of categories with Holm's adjustment for how many there are.",
    ),
    ("Detectable", "The smallest difference that would have been found four times of five."),
    (
        "Things demanded",
        "Objects, their numbers and colours, relations, and what must not be there, one each; or questions.",
    ),
    (
        "Variance",
        "Shares of the verdicts' variance by prompt, by seed and by neither, of a two-way layout. p: by exchanging the"
        " seeds within each prompt.",
    ),
    (
        "Agreement",
        "Raw: share of pairs of marks that are alike. Kappa (Fleiss) and AC1 (Gwet) are beyond chance; kappa falls to"
        " 0 where nearly all marks are equal.",
    ),
)


def lanes_table(
    names: Sequence[str], lanes: Sequence[ReportedLane], styles: Styles, width: float
) -> Flowable:
    """Return a row a lane: its name, and what it asked for."""
    from reportlab.platypus import Paragraph, Table

    facts = [{} if lane.params is None else facts_of(lane.params) for lane in lanes]
    # What tells lanes apart; prompt and seed are those of each image.
    apart = [
        key
        for key in dict.fromkeys(key for own in facts for key in own)
        if key not in ("prompt", "seed", "ended") and len({own.get(key) for own in facts}) > 1
    ]
    rows = []
    for name, own in zip(names, facts, strict=True):
        words = ", ".join(own[key] for key in apart if own.get(key)) or ("" if own else "made elsewhere")
        rows.append(
            [Paragraph(f"<b>{markup(name)}</b>", styles["text"]), Paragraph(markup(words), styles["value"])]
        )
    return Table(rows, colWidths=[width * 0.4, width * 0.6], style=tight(), hAlign="LEFT")


def rates_table(counted: Counted, width: float) -> Flowable:
    """Return a row for each category, and one for the mean of them."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import LongTable, Paragraph

    name = ParagraphStyle("category", fontName="Times-Roman", fontSize=8.2, leading=9.4)
    lacking = sum(line.unjudged for line in counted.lines)
    lines = [*counted.lines, Line(MEAN, counted.overall, lacking)]
    rows: list[list[Any]] = [list(HEADS)]
    rows += [[Paragraph(markup(line.tag), name), *_cells(line.rate), str(line.unjudged)] for line in lines]
    style = [
        ("FONT", (0, 0), (-1, 0), "Times-Bold", 7.4, 8.4),
        ("TEXTCOLOR", (0, 0), (-1, 0), HexColor(PAPER.burgundy)),
        ("FONT", (1, 1), (-1, -1), "Courier", 7.2, 9),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("LEFTPADDING", (0, 0), (-1, -1), 1),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 0.6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.4),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(PAPER.gold)),
        ("LINEABOVE", (0, -1), (-1, -1), 0.4, HexColor(PAPER.muted)),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [HexColor("#ffffff"), HexColor(PAPER.paper)]),
        ("LINEBELOW", (0, -1), (-1, -1), 0.4, HexColor(PAPER.rule)),
    ]
    shares = (0.32, 0.08, 0.16, 0.07, 0.08, 0.08, 0.07, 0.07, 0.07)
    return LongTable(
        rows, colWidths=[width * share for share in shares], style=style, repeatRows=1, hAlign="LEFT"
    )


def _cells(one: Rate | None) -> list[str]:
    if one is None:
        return ["none", "", "0", "0", "", "", ""]
    alike = "" if one.correlation is None else f"{one.correlation:.2f}"
    interval = f"{one.low:.3f} to {one.high:.3f}"
    counts = [str(one.images), str(one.prompts)]
    return [f"{one.value:.3f}", interval, *counts, f"{one.any_correct:.3f}", alike, f"{one.effective:.0f}"]


def failing_prompts(
    name: str, lane: ReportedLane, colour: str, styles: Styles, width: float
) -> list[Flowable]:
    """Return the prompts of a lane that fail most, two beside each other: pictures, verdicts, and what was wrong."""
    from reportlab.platypus import HRFlowable, KeepTogether, Paragraph, Table

    worst = worst_prompts(lane.counted)
    if not worst:
        return []
    heading = Paragraph(markup(f"Prompts that fail: {name}"), styles["heading"])
    heading.bookmark = (f"fail-{name}"[:40], plain(f"Prompts that fail: {name}")[:120])
    none = sum(not share for share, _ in worst)
    said = f"Of {len(worst)} prompts an image at least is wrong; of {none} all are."
    if len(worst) > WORST:
        said += f" The {WORST} of which the least is correct:"
    rule = HRFlowable(width="100%", thickness=1.2, color=colour, spaceBefore=10, spaceAfter=3)
    cells = [_failing(lane, share, images, styles, width / 2 - 12) for share, images in worst[:WORST]]
    rows = [[*cells[k : k + 2], *[""] * (2 - len(cells[k : k + 2]))] for k in range(0, len(cells), 2)]
    style = [*tight(), ("TOPPADDING", (0, 0), (-1, -1), 3), ("BOTTOMPADDING", (0, 0), (-1, -1), 5)]
    style.append(("RIGHTPADDING", (0, 0), (-1, -1), 10))
    tables = [Table([row], colWidths=[width / 2] * 2, style=style, hAlign="LEFT") for row in rows]
    opening = [rule, heading, Paragraph(markup(said), styles["caption"]), tables[0]]
    return [KeepTogether(opening), *tables[1:]]


def _failing(
    lane: ReportedLane, share: float, images: Sequence[Judged], styles: Styles, width: float
) -> list[Flowable]:
    """One prompt that fails: what was asked, what was wrong, and its pictures."""
    from reportlab.platypus import Paragraph, Spacer

    task = images[0].task
    told = [one.judgement.value for one in images if one.judgement.value is not None]
    words = f"{task.tag}: {share:.2f} correct of {len(told)}"
    reasons = Counter(
        reason for one in images if one.judgement.value != 1 for reason in one.judgement.reasons
    )
    if reasons:
        words += ". " + "; ".join(reason for reason, _ in reasons.most_common(REASONS))
    block: list[Flowable] = [
        Paragraph(markup(cut(task.prompt, MOST_LETTERS)), styles["prompt"]),
        Paragraph(markup(cut(words, MOST_LETTERS)), styles["caption"]),
        Spacer(0, 2),
    ]
    row = _pictures(lane, images, styles, width)
    return [*block, row] if row is not None else block


def worst_prompts(judged: Sequence[Judged]) -> list[tuple[float, list[Judged]]]:
    """Return the tasks of which an image is wrong, with what share is correct and their images; the worst first."""
    by_task: dict[str, list[Judged]] = {}
    for one in judged:
        by_task.setdefault(one.task.id, []).append(one)
    found = []
    for images in by_task.values():
        values = [one.judgement.value for one in images if one.judgement.value is not None]
        if values and sum(values) < len(values):
            found.append((sum(values) / len(values), images))
    return sorted(found, key=lambda pair: pair[0])


def _pictures(lane: ReportedLane, images: Sequence[Judged], styles: Styles, width: float) -> Flowable | None:
    """Return a row of up to `PICTURES` images, the verdict beneath each; None where there is no picture."""
    from reportlab.platypus import Paragraph, Table

    if lane.picture is None:
        return None
    side = width / PICTURES
    shown, captions = [], []
    for one in images[:PICTURES]:
        pixels = lane.picture((one.task.id, one.number))
        if pixels is None:
            continue
        seed = lane.seeds.get(one.number)
        label = f"image {one.number}" if seed is None else f"seed {seed}"
        by_hand = ", by hand" if (one.task.id, one.number) in lane.marks else ""
        shown.append(picture(shrunk(pixels), side - 5, side * 1.3))
        captions.append(Paragraph(f"<b>{one.judgement.verdict}</b>{by_hand}<br/>{label}", styles["caption"]))
    if not shown:
        return None
    style = [*tight(), ("VALIGN", (0, 0), (-1, 0), "BOTTOM")]
    return Table([shown, captions], colWidths=[side] * len(shown), style=style, hAlign="LEFT")


def unjudged_reasons(report: BenchReport, styles: Styles) -> list[Flowable]:
    """Return why images could not be judged, and of how many each is true; nothing where all were."""
    from reportlab.platypus import Paragraph

    lacking = [one for lane in report.lanes for one in lane.counted if one.judgement.value is None]
    if not lacking:
        return []
    reasons = Counter(" ".join(one.judgement.reasons) or "It was not said why." for one in lacking)
    heading = Paragraph("What could not be judged", styles["heading"])
    heading.bookmark = ("unjudged", "What could not be judged")
    tags = Counter(one.task.tag for one in lacking)
    listed = ", ".join(f"{count:,} of {tag}" for tag, count in tags.most_common())
    story: list[Flowable] = [
        heading,
        Paragraph(
            markup(f"{len(lacking):,} images, which count as neither right nor wrong: {listed}."),
            styles["text"],
        ),
    ]
    for reason, count in reasons.most_common(MOST_REASONS):
        story.append(Paragraph(markup(f"{count:,}: {reason[:300]}"), styles["caption"]))
    if len(reasons) > MOST_REASONS:
        story.append(
            Paragraph(f"And {len(reasons) - MOST_REASONS} more reasons, in the CSV.", styles["caption"])
        )
    return story


def definitions_pages(report: BenchReport, styles: Styles) -> list[Flowable]:
    """Return what the numbers mean, in two columns."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import BalancedColumns, CondPageBreak, Paragraph

    left_out = set() if len(report.lanes) > 1 else {"Second minus first", "Detectable"}
    if not report.pairs:
        left_out.add("Agreement")
    # To keep columns with what is before them has them balanced again and again.
    apart = ParagraphStyle("apart", parent=styles["heading"], keepWithNext=0)
    heading = Paragraph("What the numbers mean", apart)
    heading.bookmark = ("definitions", "What the numbers mean")
    entries = [
        Paragraph(f"<b>{markup(name)}</b> &nbsp;{markup(words)}", styles["term"])
        for name, words in DEFINITIONS
        if name not in left_out
    ]
    return [CondPageBreak(160), heading, BalancedColumns(entries, nCols=2, innerPadding=16)]
