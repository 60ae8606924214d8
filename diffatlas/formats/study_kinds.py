"""The kinds of export of a study: what each is called, what it holds, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams
from diffatlas.formats.named import slug
from diffatlas.formats.report import study as study_report
from diffatlas.formats.sheet import study as study_sheet
from diffatlas.formats.tables import study as study_tables
from diffatlas.library.study import Study


@dataclass(frozen=True)
class StudyKind:
    """One kind of file. ``make`` takes the study, pixels by cell key, and the measures as plain JSON types."""

    key: str
    label: str
    about: str
    suffix: str
    make: Callable[[Study, Mapping[str, np.ndarray], Mapping[str, Any]], bytes]


STUDY_KINDS: dict[str, StudyKind] = {
    kind.key: kind
    for kind in (
        StudyKind(
            "csv", "CSV", "A row per cell with all its numbers, for a spreadsheet.", ".csv", study_tables.csv
        ),
        StudyKind(
            "json", "JSON", "The study and its measures whole, for a program.", ".json", study_tables.json
        ),
        StudyKind(
            "png", "PNG", "The contact sheet as a picture, at twice the size.", ".png", study_sheet.png
        ),
        StudyKind(
            "pdf",
            "PDF",
            "A report to read or print: pictures, charts, numbers, definitions.",
            ".pdf",
            study_report.pdf,
        ),
    )
}


def export_study(
    kind: str, study: Study, images: Mapping[str, np.ndarray], measures: Mapping[str, Any] | None = None
) -> bytes:
    """Return the file of this kind.

    images: pixels (H, W, 3) uint8 by cell key; cells without one are shown as blank. measures: the `to_dict()` of
    `SweepMeasures` or `NeighbourhoodMeasures`, any of it missing; None before anything was measured.
    Raises `InvalidParams` for an unknown kind.
    """
    return _checked(kind).make(study, images, measures or {})


def study_file_name(kind: str, study: Study) -> str:
    """Return a name for the file, of letters, digits and hyphens. Raises `InvalidParams` for an unknown kind."""
    return f"diffatlas-{slug(study.operation)}-{slug(study.title or study.id)}{_checked(kind).suffix}"


def _checked(kind: str) -> StudyKind:
    found = STUDY_KINDS.get(kind)
    if found is None:
        raise InvalidParams(
            f"There is no export of the kind {kind!r}: choose one of {', '.join(STUDY_KINDS)}.",
            field="format",
        )
    return found
