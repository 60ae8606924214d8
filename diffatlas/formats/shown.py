"""Runs and studies as a notebook shows them: what was asked, a contact sheet, the numbers, and what it ran on."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diffatlas import measured
from diffatlas.bench.bench import HAND, judged
from diffatlas.bench.counted import count
from diffatlas.errors import DiffAtlasError
from diffatlas.formats.lettering import fit
from diffatlas.formats.named import Named, plain
from diffatlas.formats.report import parts as report_parts
from diffatlas.formats.report import study as study_report
from diffatlas.formats.sheet import film
from diffatlas.glossary import term
from diffatlas.library.reader import read_run
from diffatlas.look import MONO, PAPER, SANS, SERIF

if TYPE_CHECKING:
    from diffatlas.bench.bench import Bench
    from diffatlas.bench.counted import Counted
    from diffatlas.bench.statistics import Rate
    from diffatlas.capture.trace import Trace
    from diffatlas.library.stored import StoredRun
    from diffatlas.library.study import Study
    from diffatlas.run import Run

_BOX = (
    f"background: {PAPER.paper}; color: {PAPER.ink}; padding: 14px 18px; max-width: 900px; font: 13px/1.45 {SANS}, "
    "sans-serif"
)
_HEAD = f"font: 20px/1.25 {html.escape(SERIF, quote=True)}; margin-bottom: 4px"
_MUTED = f"color: {PAPER.muted}"
_CELL = (
    f"padding: 1px 14px 1px 0; text-align: left; vertical-align: top; border: 0; background: {PAPER.paper}"
)
_NUMBER = f"font-family: {html.escape(MONO, quote=True)}"


def run_html(run: Run) -> str:
    """Return a run as HTML: its prompt, its film, the numbers of its path, what was asked and what it ran on."""
    parts = [_heading(run.params.prompt or "A run without a prompt", run.status)]
    if run.error:
        parts.append(f'<div style="color: {PAPER.burgundy}">{_text(run.error.get("message", ""))}</div>')
    if run.steps:
        sheet = base64.b64encode(film.png([Named(run.params.prompt or run.id, run)])).decode()
        parts.append(
            f'<img alt="The film of the run" style="max-width: 100%" src="data:image/png;base64,{sheet}">'
        )
        values = measured.totals(run)
        numbers = [
            (term(name).name, fit(values[name], 8, 5)) for name in measured.TOTALS if values[name] is not None
        ]
        parts.append(_pairs(numbers, across=True))
    parts += [_pairs(rows) for rows in report_parts.facts(run)]
    return _box(parts)


def stored_html(stored: StoredRun) -> str:
    """Return a stored run as HTML, or why it cannot be read."""
    try:
        run = read_run(stored.folder)
    except DiffAtlasError as error:
        return _box([_heading(f"Run {stored.id}", "not readable"), f"<div>{_text(error.message)}</div>"])
    return run_html(run)


def trace_html(trace: Trace) -> str:
    """Return the trace of a call as HTML, or what it has not recorded yet."""
    try:
        run = trace.run
    except DiffAtlasError as error:
        return _box([_heading("A trace", f"{len(trace.steps)} steps"), f"<div>{_text(error.message)}</div>"])
    return run_html(run)


def study_html(study: Study) -> str:
    """Return a study as HTML: its title, what was asked, and what became of each cell."""
    parts = [_heading(study.title or study.id, study.status)]
    parts += [_pairs(rows) for rows in study_report.facts(study)]
    for lane in study.lanes:
        cells = study.in_lane(lane.key)
        told = [(cell.label, cell.status if not cell.error else _why(cell.error)) for cell in cells]
        parts.append(f'<div style="{_MUTED}; margin-top: 8px">{_text(lane.name or lane.key)}</div>')
        parts.append(_pairs(told))
    return _box(parts)


def bench_html(bench: Bench) -> str:
    """Return a bench as HTML: how many of its images are there, and what is counted of each lane by each scorer."""
    cells = bench.study.cells
    done = sum(cell.status == "complete" for cell in cells)
    parts = [_heading(bench.title or bench.id, f"{bench.study.status}, {done} of {len(cells)} images")]
    for lane in bench.study.lanes:
        for scorer in dict.fromkeys([*bench.said, *([HAND] if bench.marks else [])]):
            found = judged(bench, scorer, lane.key)
            words = f"{lane.name or lane.key}, judged by {scorer}"
            parts.append(f'<div style="{_MUTED}; margin-top: 8px">{_text(words)}</div>')
            parts.append(_pairs([_rate_words(*one) for one in _rates(count(found))] if found else []))
    return _box(parts)


def _rates(counted: Counted) -> list[tuple[str, Rate | None]]:
    return [*((line.tag, line.rate) for line in counted.lines), ("mean of categories", counted.overall)]


def _rate_words(name: str, one: Rate | None) -> tuple[str, str]:
    if one is None:
        return name, "nothing could be judged"
    return name, f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f}), {one.images} images"


def _why(error: Any) -> str:
    return str(error.get("message", "failed")) if isinstance(error, dict) else "failed"


def _box(parts: Sequence[str]) -> str:
    return f'<div style="{_BOX}">{"".join(parts)}</div>'


def _heading(words: str, status: str) -> str:
    return f'<div style="{_HEAD}">{_text(words)}</div><div style="{_MUTED}">{_text(status)}</div>'


def _pairs(rows: Sequence[tuple[str, str]], across: bool = False) -> str:
    """Return (name, value) pairs as a table, a row each, or beside each other."""
    if not rows:
        return ""
    style = f'style="border-collapse: collapse; margin: 8px 0; background: {PAPER.paper}; color: {PAPER.ink}"'
    names = [f'<td style="{_CELL}; {_MUTED}">{_text(name)}</td>' for name, _ in rows]
    values = [f'<td style="{_CELL}; {_NUMBER}">{_text(value)}</td>' for _, value in rows]
    lines = (
        ["".join(names), "".join(values)] if across else [a + b for a, b in zip(names, values, strict=True)]
    )
    return f"<table {style}>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _text(words: object) -> str:
    return html.escape(plain(words), quote=True)
