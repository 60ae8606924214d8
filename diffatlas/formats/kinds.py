"""The kinds of export: what each is called, what it holds, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diffatlas.errors import InvalidParams
from diffatlas.formats import bundle, charts
from diffatlas.formats.html import page as html_page
from diffatlas.formats.movie import run as movie
from diffatlas.formats.named import Named, slug
from diffatlas.formats.report import run as report
from diffatlas.formats.sheet import film
from diffatlas.formats.tables import arrays
from diffatlas.formats.tables import runs as tables


@dataclass(frozen=True)
class Kind:
    """One kind of file. ``most``: how many runs it holds at most; None for any number."""

    key: str
    suffix: str
    label: str
    about: str
    most: int | None
    make: Callable[[Sequence[Named]], bytes]


def _gif(runs: Sequence[Named]) -> bytes:
    return movie.gif(runs[0])


def _mp4(runs: Sequence[Named]) -> bytes:
    return movie.mp4(runs[0])


KINDS: dict[str, Kind] = {
    kind.key: kind
    for kind in (
        Kind("csv", ".csv", "CSV", "The table of steps, for a spreadsheet.", None, tables.csv),
        Kind(
            "json",
            ".json",
            "JSON",
            "Settings, machine, totals, steps and attention, for a program.",
            None,
            tables.json,
        ),
        Kind(
            "npz",
            ".npz",
            "NPZ",
            "Latents, predictions and maps of attention, as NumPy arrays.",
            None,
            arrays.npz,
        ),
        Kind(
            "safetensors",
            ".safetensors",
            "Safetensors",
            "The same arrays as safetensors.",
            None,
            arrays.safetensors,
        ),
        Kind(
            "pdf",
            ".pdf",
            "PDF",
            "A report to read or print: pictures, curves, tables, glossary.",
            None,
            report.pdf,
        ),
        Kind("svg", ".svg", "SVG", "The film as a drawing that scales.", None, film.svg),
        Kind("png", ".png", "PNG", "The film as a picture, at twice the size.", None, film.png),
        Kind("gif", ".gif", "GIF", "The previews of one layer as a loop.", 1, _gif),
        Kind("mp4", ".mp4", "MP4", "The previews of one layer as a film clip.", 1, _mp4),
        Kind(
            "html",
            ".html",
            "HTML",
            "A page of one run, or of two beside each other, that needs no server and no network.",
            2,
            html_page.html,
        ),
        Kind(
            "charts",
            "-charts.html",
            "Charts",
            "The curves as charts to zoom and to read, in a page that needs no server.",
            None,
            charts.html,
        ),
        Kind(
            "zip", ".zip", "ZIP", "The runs themselves, whole, as the Library keeps them.", None, bundle.zip
        ),
    )
}


def export(kind: str, runs: Sequence[Named]) -> bytes:
    """Return the file of this kind. Raises `InvalidParams` for an unknown kind, no layer, or too many of them."""
    found = _checked(kind, runs)
    return found.make(runs)


def file_name(kind: str, runs: Sequence[Named]) -> str:
    """Return a name for the file, of letters, digits and hyphens: that of the layer, or how many there are."""
    found = _checked(kind, runs)
    stem = slug(runs[0].name) if len(runs) == 1 else f"{len(runs)}-layers"
    return f"diffatlas-{stem}{found.suffix}"


def _checked(kind: str, runs: Sequence[Named]) -> Kind:
    found = KINDS.get(kind)
    if found is None:
        raise InvalidParams(f"There is no export of the kind {kind!r}: choose one of {', '.join(KINDS)}.")
    if not runs:
        raise InvalidParams("There is no run to export: choose one.")
    if found.most == 1 and len(runs) > 1:
        raise InvalidParams(f"A {found.label} shows one run, not {len(runs)}: choose one.")
    return found
