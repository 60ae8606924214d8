"""The kinds of export of a bench: what each is called, what it holds, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diffatlas.errors import InvalidParams
from diffatlas.formats.bench_report import BenchReport
from diffatlas.formats.named import slug
from diffatlas.formats.report import bench as bench_document
from diffatlas.formats.tables import bench as bench_tables


@dataclass(frozen=True)
class BenchKind:
    """One kind of file."""

    key: str
    label: str
    about: str
    suffix: str
    make: Callable[[BenchReport], bytes]


BENCH_KINDS: dict[str, BenchKind] = {
    kind.key: kind
    for kind in (
        BenchKind(
            "csv",
            "CSV",
            "A row per image with its verdict, for a spreadsheet.",
            ".csv",
            bench_tables.verdicts_csv,
        ),
        BenchKind(
            "rates", "Rates", "A row per category with its interval.", "-rates.csv", bench_tables.rates_csv
        ),
        BenchKind(
            "json",
            "JSON",
            "Verdicts, rates, comparisons and what judged, for a program.",
            ".json",
            bench_tables.json,
        ),
        BenchKind(
            "pdf",
            "PDF",
            "A report to read or print: rates, comparisons, prompts that fail, definitions.",
            ".pdf",
            bench_document.pdf,
        ),
    )
}


def export_bench(kind: str, report: BenchReport) -> bytes:
    """Return the file of this kind. Raises `InvalidParams` for an unknown kind, and where no image is there."""
    if not any(lane.judged for lane in report.lanes):
        raise InvalidParams("The bench has no image yet: run it first.", field="bench")
    return _checked(kind).make(report)


def bench_file_name(kind: str, report: BenchReport) -> str:
    """Return a name for the file, of letters, digits and hyphens. Raises `InvalidParams` for an unknown kind."""
    return f"diffatlas-bench-{slug(report.title or report.pack)}{_checked(kind).suffix}"


def _checked(kind: str) -> BenchKind:
    found = BENCH_KINDS.get(kind)
    if found is None:
        raise InvalidParams(
            f"There is no export of the kind {kind!r}: choose one of {', '.join(BENCH_KINDS)}.",
            field="format",
        )
    return found
