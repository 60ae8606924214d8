"""The PDF report of a bench, on A4: what ran and what judged, rates, comparisons, prompts that fail, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from diffatlas.bench.counted import Counted, count, differences
from diffatlas.bench.difficulty import by_atoms
from diffatlas.bench.seeds import by_number
from diffatlas.errors import InvalidParams
from diffatlas.formats.bench_report import BenchReport
from diffatlas.formats.named import plain
from diffatlas.formats.report.bench_parts import (
    definitions_pages,
    failing_prompts,
    lanes_table,
    rates_table,
    unjudged_reasons,
)
from diffatlas.formats.report.parts import tight
from diffatlas.formats.report.run import document
from diffatlas.formats.report.text import markup
from diffatlas.formats.report.vector import BOTTOM, LEGEND, TOP, draw
from diffatlas.look import LANES, PAPER
from diffatlas.stopping import look

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable

    from diffatlas.figures import Figure

TITLE = "Bench report"
#: Points of a pixel of a figure that is as wide as the page, and of a chart at most: more would leave its page.
_POINT, _TALLEST = 0.62, 560
#: Points of a chart of difficulty or of seeds.
_CHART = 150

Styles = Mapping[str, "ParagraphStyle"]


def pdf(report: BenchReport) -> bytes:
    """Return the report as PDF; the same bench gives the same bytes. Text may hold anything: it is escaped."""
    counted = {
        name: count(lane.counted, report.level)
        for name, lane in zip(_names(report), report.lanes, strict=True)
        if lane.judged
    }

    def story(styles: dict[str, ParagraphStyle], width: float) -> list[Flowable]:
        pages = _front(report, styles, width) + _rates(report, counted, styles, width)
        pages += _comparisons(report, styles, width) + _more_charts(report, styles, width)
        pages += _belief(report, styles, width)
        for place, (name, lane) in enumerate(zip(_names(report), report.lanes, strict=True)):
            look()
            pages += failing_prompts(name, lane, LANES[place % len(LANES)], styles, width)
        return pages + unjudged_reasons(report, styles) + definitions_pages(report, styles)

    return document(f"{TITLE}: {plain(report.title)}", story)


def _names(report: BenchReport) -> list[str]:
    """The names of the lanes, each its own."""
    names: list[str] = []
    for place, lane in enumerate(report.lanes, 1):
        name = plain(lane.name) or f"Lane {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return names


def _front(report: BenchReport, styles: Styles, width: float) -> list[Flowable]:
    from reportlab.platypus import HRFlowable, Paragraph, Spacer, Table

    story: list[Flowable] = [
        Paragraph("Diffusion Atlas", styles["eyebrow"]),
        Paragraph(TITLE, styles["title"]),
        HRFlowable(width="100%", thickness=2.2, color=PAPER.gold, spaceBefore=2, spaceAfter=4),
        Paragraph(markup(report.title or report.pack), styles["layer"]),
    ]
    columns = []
    for rows in (ran(report), judged_by(report)):
        pairs = [
            [Paragraph(markup(name), styles["label"]), Paragraph(markup(value[:400]), styles["value"])]
            for name, value in rows
            if value
        ]
        columns.append(Table(pairs or [[""]], colWidths=[64, width / 2 - 74], style=tight(), hAlign="LEFT"))
    story += [Spacer(0, 4), Table([columns], colWidths=[width / 2] * 2, style=tight(), hAlign="LEFT")]
    if len(report.lanes) > 1:
        story += [Spacer(0, 8), lanes_table(_names(report), report.lanes, styles, width)]
    return story


def ran(report: BenchReport) -> list[tuple[str, str]]:
    """Return what was asked, as (name, value) pairs; of several lanes what they share."""
    lanes = report.lanes
    tasks = {one.task.id: one.task for lane in lanes for one in lane.judged}
    tags = dict.fromkeys(task.tag for task in tasks.values())
    seeds = sorted({seed for lane in lanes for seed in lane.seeds.values()})
    images = sum(len(lane.judged) for lane in lanes)
    found = [
        ("Pack", report.pack),
        ("Source", ", ".join(filter(None, (report.source, report.licence)))),
        ("Prompts", f"{len(tasks):,} in {len(tags)} categories"),
        ("Images", f"{images:,}"),
        (
            "Missing",
            f"{missing:,} images were not made" if (missing := sum(one.missing for one in lanes)) else "",
        ),
        ("Seeds", _seeds(seeds)),
    ]
    asked = [lane.params for lane in lanes if lane.params is not None]
    for name, of in (
        ("Model", "model"),
        ("Steps", "num_inference_steps"),
        ("Guidance scale", "guidance_scale"),
        ("Guidance method", "guidance_method"),
        ("Scheduler", "scheduler"),
    ):
        values = {getattr(params, of) for params in asked}
        if len(values) == 1 and (value := values.pop()) is not None:
            found.append((name, f"{value:g}" if isinstance(value, float) else str(value)))
    return [*found, ("Bench", report.id), ("Created", report.created[:19].replace("T", " "))]


def _seeds(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def judged_by(report: BenchReport) -> list[tuple[str, str]]:
    """Return what judged, as (name, value) pairs."""
    card = report.scorer
    marks = sum(len(lane.marks) for lane in report.lanes)
    return [
        ("Scorer", card.name),
        ("About", card.about),
        ("Its model", card.model),
        ("Revision", card.revision),
        ("Template", card.template),
        ("Precision", card.dtype),
        ("By hand", f"{marks:,} verdicts, which count in the place of the scorer’s" if marks else ""),
        ("Intervals", f"{report.level:.0%}, over prompts"),
    ]


def _rates(
    report: BenchReport, counted: Mapping[str, Counted], styles: Styles, width: float
) -> list[Flowable]:
    from reportlab.platypus import Paragraph, Spacer

    from diffatlas import figures

    story = _chart("Correct by category", "rates", [figures.bench_rates(counted)], styles, width)
    for name, own in counted.items():
        if len(counted) > 1:
            story += [Spacer(0, 6), Paragraph(f"<b>{markup(name)}</b>", styles["text"])]
        story += [Spacer(0, 3), rates_table(own, width)]
    return story


def _comparisons(report: BenchReport, styles: Styles, width: float) -> list[Flowable]:
    from reportlab.platypus import Paragraph

    from diffatlas import figures

    story: list[Flowable] = []
    names = _names(report)
    for name, lane in zip(names[1:], report.lanes[1:], strict=True):
        head = f"{name} minus {names[0]}"
        try:
            whole, found = differences(report.lanes[0].counted, lane.counted, report.level)
        except InvalidParams as error:
            story += [
                Paragraph(markup(head), styles["heading"]),
                Paragraph(markup(error.message), styles["text"]),
            ]
            continue
        made = figures.bench_compared(whole, found, (names[0], name))
        story += _chart(head, f"minus-{name}"[:40], [made], styles, width)
    return story


def _more_charts(report: BenchReport, styles: Styles, width: float) -> list[Flowable]:
    from diffatlas import figures

    lanes = dict(zip(_names(report), report.lanes, strict=True))
    difficulty = {name: by_atoms(lane.counted, report.level) for name, lane in lanes.items()}
    story: list[Flowable] = []
    if any(len([one for one in own if one.rate is not None]) > 1 for own in difficulty.values()):
        made = figures.bench_difficulty(difficulty)
        story += _chart("Correct by what is demanded", "difficulty", [made], styles, width, _CHART)
    for name, lane in lanes.items():
        found = by_number(lane.counted, report.level) if lane.judged else None
        if found is not None and found.shares is not None:
            head = "Do seeds matter?" if len(lanes) == 1 else f"Do seeds matter? {name}"
            made = figures.bench_seeds(found)
            story += _chart(head, f"seeds-{name}"[:40], [made], styles, width, _CHART, across=2)
    return story


def _belief(report: BenchReport, styles: Styles, width: float) -> list[Flowable]:
    from diffatlas import figures

    story: list[Flowable] = []
    if report.audits:
        story += _chart("Audit of the scorer", "audit", [figures.bench_audit(report.audits)], styles, width)
    if report.pairs:
        made = figures.bench_agreement(report.pairs)
        height = min(_TALLEST, _POINT * _plot_height(made) + TOP + BOTTOM)
        story += _chart("Agreement", "agreement", [made], styles, width, height, across=3)
    return story


def _chart(
    head: str,
    key: str,
    made: Sequence[Figure],
    styles: Styles,
    width: float,
    height: float | None = None,
    across: int = 1,
) -> list[Flowable]:
    """Return a heading, a figure as wide as the page, and what it says."""
    from reportlab.platypus import KeepTogether, Paragraph, Spacer

    heading = Paragraph(markup(head), styles["heading"])
    heading.bookmark = (key, plain(head)[:120])
    row = height or min(_TALLEST, _POINT * _plot_height(made[0]) + TOP + BOTTOM + LEGEND)
    if across == 1:
        # The heading is its title.
        for one in made:
            one.layout.title.text = ""
    told = [Paragraph(markup(words), styles["caption"]) for words in made[0].layout.meta["told"]]
    return [KeepTogether([heading, draw(made, width, row, across), Spacer(0, 2), *told])]


def _plot_height(made: Figure) -> float:
    return made.layout.height - made.layout.margin.t - made.layout.margin.b
