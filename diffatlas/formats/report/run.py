"""The PDF report of layers, on A4: what was asked, what happened, the curves as vectors, tables and a glossary."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffatlas import measured
from diffatlas.formats import told
from diffatlas.formats.broken import broken_run
from diffatlas.formats.hosted import hosted_sentences
from diffatlas.formats.named import Named, plain
from diffatlas.formats.report import parts as report_parts
from diffatlas.formats.report.text import SUBSTITUTE, lacking, markup, register_fonts, term_words
from diffatlas.formats.report.vector import draw
from diffatlas.glossary import TERMS, Term
from diffatlas.look import PAPER
from diffatlas.measured import METRICS, TOTALS
from diffatlas.stopping import look

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable

TITLE = "Trajectory report"
MARGIN = 51  # points: 18 mm
#: Points of a row of curves.
HEIGHT = 96
_ASKED = ("prompt", "negative_prompt", "seed", "steps", "guidance", "size", "scheduler", "model")
_STATE = ("latents", "x_t", "x0", "timestep", "sigma", "sigma_after")
_RAN = ("device", "seconds")


def pdf(runs: Sequence[Named]) -> bytes:
    """Return the report as PDF, grouped by layer; the same runs give the same bytes.

    Of a batch it shows the first image. Text may hold anything: it is escaped, and a character that no font of
    the report has is drawn as "¤", which a note beneath it explains.
    """
    title = f"{TITLE}: {', '.join(plain(entry.name) for entry in runs)}"

    def story(styles: dict[str, ParagraphStyle], width: float) -> list[Flowable]:
        pages = _front(runs, styles)
        for number, entry in enumerate(runs):
            look()
            pages += _layer(entry, number, styles, width)
        return pages + _glossary(runs, styles)

    return document(title, story)


def document(title: str, story: Callable[[dict[str, ParagraphStyle], float], list[Flowable]]) -> bytes:
    """Return a PDF of A4 pages. ``story(styles, width)`` makes what is on them, ``width`` in points."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    register_fonts()
    file = io.BytesIO()
    pages = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=title[:200],
        author="Diffusion Atlas",
        creator="Diffusion Atlas",
        invariant=1,
    )
    pages.afterFlowable = lambda flowable: _bookmark(pages.canv, flowable)
    width = pages.width - 12  # a frame keeps 6 points on each side
    pages.build(story(_styles(), width), canvasmaker=_numbered_canvas())
    return file.getvalue()


def used_terms(runs: Sequence[Named]) -> list[Term]:
    """Return the terms that the report of these runs uses, in the glossary's order."""
    used = {*_ASKED, *_STATE, *METRICS, *TOTALS, *_RAN}
    if not any(told.changed_before(entry.run.steps) for entry in runs):
        used.discard("between_length")
    if any(step.preview is not None for entry in runs for step in entry.run.steps):
        used |= {"previews", "luma", *report_parts.STATISTICS}
    if not any(entry.run.params.negative_prompt for entry in runs):
        used.discard("negative_prompt")
    return [entry for entry in TERMS if entry.key in used]


def _front(runs: Sequence[Named], styles: dict[str, ParagraphStyle]) -> list[Flowable]:
    from reportlab.platypus import Paragraph, Spacer

    story: list[Flowable] = [
        Paragraph("Diffusion Atlas", styles["eyebrow"]),
        Paragraph(TITLE, styles["title"]),
    ]
    if len(runs) > 1:
        story.append(Paragraph(f"{len(runs)} layers, in this order:", styles["text"]))
        for entry in runs:
            run = entry.run
            line = f"{run.params.model}, {run.params.seed_words}, {len(run.steps)} steps, {run.status}"
            dot = f'<font name="ZapfDingbats" color="{entry.colour}">n</font>&nbsp; '
            words = f'{dot}{markup(entry.name[:200])} <font color="{PAPER.muted}">{markup(line)}</font>'
            story.append(Paragraph(words, styles["text"]))
        story.append(Spacer(0, 10))
    return story


def _layer(entry: Named, number: int, styles: dict[str, ParagraphStyle], width: float) -> list[Flowable]:
    from reportlab.platypus import HRFlowable, KeepTogether, PageBreak, Paragraph, Spacer

    from diffatlas import figures

    run = entry.run
    path = measured.first_path(run)
    states = measured.states(run, path)
    head = Paragraph(markup(entry.name), styles["layer"])
    head.bookmark = (f"layer-{number}", plain(entry.name)[:120])
    story: list[Flowable] = [PageBreak()] if number else []
    rule = HRFlowable(width="100%", thickness=2.2, color=entry.colour, spaceBefore=2, spaceAfter=4)
    story += [rule, head, *_prompts(entry, styles), Spacer(0, 6), report_parts.opening(run, styles, width)]
    if row := report_parts.given(run, styles, width):
        story += [Spacer(0, 8), row]
    if row := report_parts.previews(run, styles, width):
        about = "What the model expected to draw, as the noise level fell."
        story += [Spacer(0, 8), KeepTogether([row, Paragraph(about, styles["caption"])])]
    if len(states) > 1:
        curves = figures.curves(run, [entry.name], [entry.colour])
        band = report_parts.totals(measured.totals(run, path), styles, width)
        heading = Paragraph("The path", styles["heading"])
        story.append(KeepTogether([heading, band, Spacer(0, 8), draw(curves, width, HEIGHT, 4)]))
        story.append(Paragraph(markup(curves.layout.meta["says"]), styles["caption"]))
        story += [Paragraph("Steps", styles["heading"]), report_parts.steps_table(states, width)]
    if table := report_parts.statistics_table(run.steps, width):
        story += [Paragraph("Statistics of the previews", styles["heading"]), table]
    return story


def _prompts(entry: Named, styles: dict[str, ParagraphStyle]) -> list[Flowable]:
    """Return the prompts and what ended the run; texts of any length, which may break over pages."""
    from reportlab.platypus import Paragraph

    run = entry.run
    shown = [] if plain(run.params.prompt) == plain(entry.name) else [run.params.prompt]
    if run.params.negative_prompt.strip():
        shown.append(f"Not: {run.params.negative_prompt}")
    parts = [Paragraph(markup(text), styles["prompt"]) for text in shown]
    if run.error:
        parts.append(Paragraph(markup(run.error.get("message", "")), styles["error"]))
    notes = told.unread(run.provenance) + _lacks(run.provenance) + told.left_out(run.provenance)
    notes += broken_run(run)
    for text in (*notes, *told.changed(told.changed_before(run.steps))):
        parts.append(Paragraph(markup(text), styles["caption"]))
    missing = sum(lacking(text) for text in (entry.name, *shown))
    if missing:
        words = f"{SUBSTITUTE} stands for a character that the fonts of this report lack ({missing} here); the JSON "
        words += "export has the text in full."
        parts.append(Paragraph(words, styles["caption"]))
    return parts


def _lacks(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run has not, and why, in sentences."""
    return hosted_sentences(provenance) or told.not_recorded(provenance)


def _glossary(runs: Sequence[Named], styles: dict[str, ParagraphStyle]) -> list[Flowable]:
    from reportlab.platypus import BalancedColumns, PageBreak, Paragraph

    heading = Paragraph("Glossary", styles["layer"])
    heading.bookmark = ("glossary", "Glossary")
    entries = [
        Paragraph(term_words(entry, PAPER.burgundy, PAPER.muted), styles["term"])
        for entry in used_terms(runs)
    ]
    return [PageBreak(), heading, BalancedColumns(entries, nCols=2, innerPadding=16)]


def _bookmark(canvas: Canvas, flowable: Any) -> None:
    """Enter a flowable that has a ``bookmark`` (key, words) into the outline."""
    if found := getattr(flowable, "bookmark", None):
        key, words = found
        canvas.bookmarkPage(key)
        canvas.addOutlineEntry(words, key, 0)


def _styles() -> dict[str, ParagraphStyle]:
    """Return the report's styles of text, by name."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle

    def style(name: str, font: str, size: float, colour: str = PAPER.ink, **more: Any) -> ParagraphStyle:
        leading = more.pop("leading", size * 1.28)
        return ParagraphStyle(
            name, fontName=font, fontSize=size, leading=leading, textColor=HexColor(colour), **more
        )

    found: Iterable[ParagraphStyle] = (
        style("eyebrow", "Times-Italic", 11, PAPER.burgundy),
        style("title", "Times-Roman", 26, spaceAfter=10),
        style("text", "Times-Roman", 10.5, spaceAfter=2),
        style("layer", "Times-Bold", 16, spaceAfter=4),
        style("prompt", "Times-Italic", 12, spaceAfter=3),
        style("error", "Times-Roman", 10.5, PAPER.burgundy, spaceAfter=3),
        style("heading", "Times-Bold", 11.5, PAPER.burgundy, spaceBefore=12, spaceAfter=5, keepWithNext=1),
        style("label", "Times-Roman", 8.2, PAPER.muted, leading=10.5),
        style("value", "Courier", 7.6, leading=10.5),
        style("number", "Courier", 12.5, leading=15),
        style("caption", "Times-Roman", 8, PAPER.muted, leading=9.6, spaceBefore=2),
        style("term", "Times-Roman", 9, spaceAfter=4.5),
    )
    return {entry.name: entry for entry in found}


def _numbered_canvas() -> type[Canvas]:
    """Return a canvas that holds its pages back until their number is known, and prints it at their foot."""
    from reportlab.lib.colors import HexColor
    from reportlab.pdfgen.canvas import Canvas

    class NumberedCanvas(Canvas):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._held: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._held.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._held, start=1):
                self.__dict__.update(page)
                self._foot(number, len(self._held))
                super().showPage()
            super().save()

        def _foot(self, number: int, total: int) -> None:
            width = self._pagesize[0]
            self.setLineWidth(0.5)
            self.setStrokeColor(HexColor(PAPER.rule))
            self.line(MARGIN + 6, 42, width - MARGIN - 6, 42)
            self.setStrokeColor(HexColor(PAPER.gold))
            self.line(MARGIN + 6, 42, MARGIN + 46, 42)
            self.setFillColor(HexColor(PAPER.muted))
            self.setFont("Times-Italic", 8.5)
            self.drawString(MARGIN + 6, 31, "Diffusion Atlas")
            self.setFont("Courier", 7.5)
            self.drawRightString(width - MARGIN - 6, 31, f"{number} of {total}")

    return NumberedCanvas
