"""An audit of scorers: what share of each kind of images they judge rightly."""

from __future__ import annotations

from collections.abc import Mapping

from diffatlas.bench.audit import Audit, Audited
from diffatlas.errors import InvalidParams
from diffatlas.figures.bench_rows import (
    SHARES,
    WHOLE,
    Point,
    Rows,
    counted_words,
    draw_points,
    lay_rows,
    letters_of,
    note,
    one_chart,
    rate_words,
    write,
)
from diffatlas.figures.figure import Figure, figure
from diffatlas.figures.template import ground

ABOUT = (
    "Share of images that are judged rightly, by what is in them: an image that is as it should be is to be passed, one"
    " with a fault to be failed."
)
NOTHING = "nothing could be judged"


def bench_audit(
    audits: Mapping[str, Audit], title: str = "Whom to believe", dark: bool = False, across: int = 3
) -> Figure:
    """Return the share of each kind of images that a scorer judges rightly, with its interval.

    audits: what `diffatlas.bench.audit.audit` or `diffatlas.bench.against_marks.audit_by_marks` returns, by the name of
    the scorer; several are apart by colour and symbol. across: as in `bench_rates`. Raises `InvalidParams` where there
    is none.
    """
    if not audits:
        raise InvalidParams("There is no audit to draw: give one.")
    faults = [*dict.fromkeys(kind.fault for audit in audits.values() for kind in audit.kinds)]
    kinds = {name: {kind.fault: kind for kind in audit.kinds} for name, audit in audits.items()}
    several = len(audits) > 1
    told = [ABOUT, *(f"{name}: {_sentence(audit)}" for name, audit in audits.items())]
    spoken = " ".join([*told, *(_listed(name, audit) for name, audit in audits.items())])
    made = figure("bench_audit", title, " ".join(told), spoken, dark)
    write(made, told, audits)
    only = next(iter(kinds.values()))
    values = () if several else tuple(_value(only[fault]) for fault in faults)
    rows = Rows(tuple(faults), len(audits), values)
    axes = one_chart(made, rows.height, several)
    lay_rows(
        made, axes, rows, WHOLE, SHARES, "share of images that are judged rightly", dark, letters_of(across)
    )
    for place, (name, own) in enumerate(kinds.items()):
        points = []
        for row, fault in enumerate(faults):
            kind = own.get(fault)
            if kind is not None and kind.right is not None:
                said = f"{name}, {fault}: {rate_words(kind.right)} of {counted_words(kind.right.images, 'image')}"
                points.append(Point(row, kind.right.value, kind.right.low, kind.right.high, said))
            else:
                words = "not among its images" if kind is None else f"{NOTHING}: {kind.unjudged}"
                note(made, axes, rows.at(row, place), words, ground(dark).muted, 10)
        draw_points(made, axes, rows, name, points, place, several, dark, {"measure": "right"})
    return made


def _value(kind: Audited) -> str:
    """What is written after the name of a row of one scorer."""
    if kind.right is None:
        return ""
    return f": {rate_words(kind.right)}" + (f", {kind.unjudged} not judged" if kind.unjudged else "")


def _sentence(audit: Audit) -> str:
    known = [kind for kind in audit.kinds if kind.right is not None]
    if not known:
        return f"{NOTHING}."
    (passed, correct), (failed, wrong) = audit.passed_of_correct, audit.failed_of_wrong
    said = (
        f"passes {passed:,} of {correct:,} images without a fault and fails {failed:,} of {wrong:,} with one"
    )
    worst = min(known, key=lambda kind: kind.right.value)
    if worst.right.value < 1:
        said += f"; least often right about “{worst.fault}”, {rate_words(worst.right)}"
    lacking = [f"{kind.unjudged:,} of {kind.fault}" for kind in audit.kinds if kind.unjudged]
    return f"{said}." + (f" Not judged: {', '.join(lacking)}." if lacking else "")


def _listed(name: str, audit: Audit) -> str:
    told = [
        f"{kind.fault} {NOTHING if kind.right is None else rate_words(kind.right)}" for kind in audit.kinds
    ]
    return f"{name}, by kind: {'; '.join(told)}."
