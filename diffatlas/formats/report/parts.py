"""The parts of the PDF report that are made of one run: facts, pictures, totals and tables."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.events import Step
from diffatlas.formats import told
from diffatlas.formats.hosted import device_of, heeded, hosted_run
from diffatlas.formats.lettering import fit
from diffatlas.formats.named import first_preview
from diffatlas.formats.report.text import markup
from diffatlas.geometry.image_stats import statistics
from diffatlas.glossary import term
from diffatlas.look import PAPER
from diffatlas.measured import METRICS, TOTALS, State
from diffatlas.run import Run

if TYPE_CHECKING:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Flowable

STATISTICS = (
    "entropy",
    "edge_density",
    "high_frequency",
    "centroid_x",
    "centroid_y",
    "luma_mean",
    "luma_std",
    "saturation",
)
#: Heads of the columns, two lines each.
HEADS = {
    "step": ("", "step"),
    "timestep": ("", "t"),
    "sigma_before": ("", "sigma"),
    "sigma": ("sigma", "after"),
    "norm": ("", "norm"),
    "step_length": ("step", "length"),
    "cosine_to_end": ("cosine", "to end"),
    "cosine_to_start": ("cosine", "to start"),
    "distance_to_end": ("distance", "to end"),
    "mean": ("", "mean"),
    "std": ("", "std"),
    "min": ("", "min"),
    "max": ("", "max"),
    "guidance_norm": ("guidance", "norm"),
    "guidance_angle": ("guidance", "angle °"),
    "between_length": ("moved", "between"),
    "entropy": ("entropy,", "bits"),
    "edge_density": ("edge", "density"),
    "high_frequency": ("high", "frequency"),
    "centroid_x": ("centroid,", "across"),
    "centroid_y": ("centroid,", "down"),
    "luma_mean": ("luma,", "mean"),
    "luma_std": ("luma,", "spread"),
    "saturation": ("", "saturation"),
}
#: Previews in the row at the head of a layer.
SHOWN = 8
#: Pixels of an embedded picture's longer side: at most, and at least (by whole factors).
MOST, LEAST = 900, 128
_LONGEST = 160
ROW = 9.6


def facts(run: Run) -> list[list[tuple[str, str]]]:
    """Return two lists of (name, value) pairs: what was asked, and what it ran on."""
    asked, ran = run.params, run.provenance
    hosted = hosted_run(ran)
    total = f" of {run.total_steps}" if len(run.steps) < (run.total_steps or 0) else ""
    size = f"{asked.width} x {asked.height}" if asked.width and asked.height else "the model's own"
    request = [
        ("Model", asked.model),
        ("Seed", asked.seed_words.removeprefix("seed ") if heeded(ran, "seed") else "not heeded"),
        ("Steps", f"{len(run.steps)}{total}" if hosted is None else _if_heeded(run, "num_inference_steps")),
        ("Guidance scale", _if_heeded(run, "guidance_scale")),
        ("Size", size),
        ("Scheduler", asked.scheduler or "the model's own"),
    ]
    if asked.num_images_per_prompt > 1:
        request.append(("Images", f"{asked.num_images_per_prompt}; the first is shown"))
    request += [
        (name.capitalize(), words) for name, words in told.made_with(asked, ran) if name != "pipeline"
    ]
    shape = "" if run.initial_latents is None else " x ".join(map(str, np.shape(run.initial_latents)[1:]))
    versions = ", ".join(f"{name} {version}" for name, version in _mapping(ran.get("versions")).items())
    revision = "" if told.in_memory(ran) else _revision(ran)
    machine = [
        ("Run", run.id),
        ("Status", run.status),
        ("Began", str(ran.get("started") or run.created)[:19].replace("T", " ") + " UTC"),
        ("Seconds", "" if run.seconds is None else f"{run.seconds:.3g}"),
        ("Device", device_of(ran)),
        ("Precision", str(ran.get("dtype") or "")),
        ("Latents", shape),
        ("Pipeline", told.in_memory(ran) or str(ran.get("pipeline") or "")),
        ("Revision", revision),
        ("Versions", versions),
        *((name.capitalize(), words) for name, words in (hosted.told if hosted else ())),
    ]
    return [[(name, value[:_LONGEST]) for name, value in pairs if value] for pairs in (request, machine)]


def _if_heeded(run: Run, field: str) -> str:
    return f"{getattr(run.params, field):g}" if heeded(run.provenance, field) else "not heeded"


def _revision(ran: Mapping[str, Any]) -> str:
    return next((f"{key} {str(value)[:12]}" for key, value in _mapping(ran.get("revision")).items()), "")


def opening(run: Run, styles: Mapping[str, ParagraphStyle], width: float) -> Flowable:
    """Return the final image beside what was asked and what it ran on."""
    from reportlab.platypus import Paragraph, Table

    image = width * 0.29 if run.images else 0.0
    columns = (
        [image + 12, (width - image - 12) * 0.44, (width - image - 12) * 0.56]
        if run.images
        else [width / 2] * 2
    )
    cells: list[Any] = []
    for rows, wide in zip(facts(run), columns[-2:], strict=True):
        pairs = [
            [Paragraph(markup(n), styles["label"]), Paragraph(markup(v), styles["value"])] for n, v in rows
        ]
        cells.append(Table(pairs, colWidths=[58, wide - 68], style=tight(), hAlign="LEFT"))
    if run.images:
        cells.insert(0, picture(run.images[0], image, image))
    return Table([cells], colWidths=columns, style=tight(), hAlign="LEFT")


def given(run: Run, styles: Mapping[str, ParagraphStyle], width: float) -> Flowable | None:
    """Return a row of the first `SHOWN` pictures that the run was given, each with the argument's name; or None."""
    from reportlab.platypus import Paragraph, Table

    kept = [one for one in run.params.inputs if one.pixels is not None][:SHOWN]
    if not kept:
        return None
    side = width / SHOWN
    pictures = [picture(np.asarray(one.picture().convert("RGB")), side - 5, side * 1.3) for one in kept]
    captions = [
        Paragraph(f"given: {markup(one.name)}<br/>{one.width} x {one.height}", styles["caption"])
        for one in kept
    ]
    style = [*tight(), ("VALIGN", (0, 0), (-1, 0), "BOTTOM")]
    return Table([pictures, captions], colWidths=[side] * len(pictures), style=style, hAlign="LEFT")


def previews(run: Run, styles: Mapping[str, ParagraphStyle], width: float) -> Flowable | None:
    """Return a row of up to `SHOWN` previews, evenly over the run, the first and the last among them; or None."""
    from reportlab.platypus import Paragraph, Table

    exposed = [
        one for one in zip(run.steps, run.sigmas_before, strict=True) if first_preview(one[0]) is not None
    ]
    if not exposed:
        return None
    chosen = np.unique(np.linspace(0, len(exposed) - 1, SHOWN).round().astype(int))
    side = width / SHOWN
    pictures, captions = [], []
    for step, before in (exposed[i] for i in chosen):
        pictures.append(picture(first_preview(step), side - 5, side * 1.3))
        words = f"step {step.index + 1}<br/>t {fit(step.timestep)}, sigma {fit(before)}"
        captions.append(Paragraph(words, styles["caption"]))
    style = [*tight(), ("VALIGN", (0, 0), (-1, 0), "BOTTOM")]
    return Table([pictures, captions], colWidths=[side] * len(pictures), style=style, hAlign="LEFT")


def picture(pixels: np.ndarray, width: float, height: float) -> Flowable:
    """Return (H, W, 3) pixels as large as fits into width x height points."""
    from PIL import Image as Pictures
    from reportlab.platypus import Image

    picture = Pictures.fromarray(pixels)
    picture.thumbnail((MOST, MOST), Pictures.Resampling.LANCZOS)
    factor = -(-LEAST // max(picture.size))
    # A viewer would blur the few pixels of a small preview.
    picture = picture.resize((picture.width * factor, picture.height * factor), Pictures.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG")
    scale = min(width / picture.width, height / picture.height)
    return Image(file, picture.width * scale, picture.height * scale, hAlign="LEFT")


def totals(
    values: Mapping[str, float | None], styles: Mapping[str, ParagraphStyle], width: float
) -> Flowable:
    """Return the totals of a path as a band of numbers."""
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Paragraph, Table

    numbers, labels = [], []
    for name in TOTALS:
        unit = "°" if name == "mean_curvature" and values[name] is not None else ""
        numbers.append(Paragraph(fit(values[name], 8, 5) + unit, styles["number"]))
        labels.append(Paragraph(markup(term(name).name), styles["label"]))
    style = [
        ("LINEABOVE", (0, 0), (-1, 0), 0.8, HexColor(PAPER.gold)),
        ("LINEBELOW", (0, -1), (-1, -1), 0.4, HexColor(PAPER.rule)),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
    return Table([numbers, labels], colWidths=[width / len(TOTALS)] * len(TOTALS), style=style, hAlign="LEFT")


def steps_table(states: Sequence[State], width: float) -> Flowable:
    """Return a row per state, x_T first, its head repeated on each page."""
    shown = shown_metrics(states)
    rows = [
        [
            str(s.step),
            *(fit(value, 8, 5) for value in (s.timestep, s.sigma_before, s.sigma)),
            *(fit(s.metrics[m], 8, 5) for m in shown),
        ]
        for s in states
    ]
    return _table(("step", "timestep", "sigma_before", "sigma", *shown), rows, width)


def shown_metrics(states: Sequence[State]) -> list[str]:
    """Return the metrics that the table of steps has: all, but "between_length" where nothing was moved."""
    moved = any(state.metrics["between_length"] is not None for state in states)
    return [name for name in METRICS if moved or name != "between_length"]


def statistics_table(steps: Sequence[Step], width: float) -> Flowable | None:
    """Return a row of image statistics per preview; None for a run without previews."""
    rows = []
    for step in steps:
        pixels = first_preview(step)
        if pixels is not None:
            found = statistics(pixels)
            rows.append([str(step.index + 1), *(fit(found[name], 8, 5) for name in STATISTICS)])
    return _table(("step", *STATISTICS), rows, width * 0.78) if rows else None


def _table(columns: Sequence[str], rows: list[list[str]], width: float) -> Flowable:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import LongTable

    narrow = 0.62 * width / len(columns)
    wide = (width - narrow) / (len(columns) - 1)
    heads = [[HEADS[name][line] for name in columns] for line in (0, 1)]
    style = [
        ("FONT", (0, 0), (-1, 1), "Times-Bold", 7.2, 8),
        ("TEXTCOLOR", (0, 0), (-1, 1), HexColor(PAPER.burgundy)),
        ("LINEBELOW", (0, 1), (-1, 1), 0.8, HexColor(PAPER.gold)),
        ("FONT", (0, 2), (-1, -1), "Courier", 6.2, 7.4),
        ("TEXTCOLOR", (0, 2), (-1, -1), HexColor(PAPER.ink)),
        ("TEXTCOLOR", (0, 2), (0, -1), HexColor(PAPER.muted)),
        ("ALIGN", (0, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LEFTPADDING", (0, 0), (-1, -1), 1),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("ROWBACKGROUNDS", (0, 2), (-1, -1), [HexColor("#ffffff"), HexColor(PAPER.paper)]),
        ("LINEBELOW", (0, "splitlast"), (-1, "splitlast"), 0.4, HexColor(PAPER.rule)),
        ("LINEBELOW", (0, -1), (-1, -1), 0.4, HexColor(PAPER.rule)),
    ]
    heights = [9, 10] + [ROW] * len(rows)
    return LongTable(
        [*heads, *rows],
        colWidths=[narrow] + [wide] * (len(columns) - 1),
        rowHeights=heights,
        style=style,
        repeatRows=2,
        hAlign="LEFT",
    )


def tight() -> list[tuple[Any, ...]]:
    """Return the style of a table without padding."""
    return [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
