"""What the 2D Lab shows, as the lines of Python that make it, and what its file is called."""

from __future__ import annotations

from diffatlas.formats.lab_code import LabLines, lab_code
from diffatlas.lab2d.samplers import Plan
from diffatlas.ui.lab_asked import WIDENED, Field
from diffatlas.ui.lab_sessions import Lab


def file_name(lab: Lab) -> str:
    """Return what the file of a lab is called, as it is now."""
    name = f"lab-{lab.target.name.replace('_', '-')}-{lab.trainer.step}.json"
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)


def lines_of(lab: Lab, field: Field, plan: Plan, n: int, seed: int) -> str:
    """Return the lines that make a lab's network, a sampling of it, and what is measured of that."""
    return lab_code(
        LabLines(
            lab.target, lab.trainer.recipe, lab.origin, lab.begun, lab.trainer.step, file_name(lab), field.which,
            field.empirical, field.classes, field.weight, field.kind, field.interval, WIDENED, plan, n, seed,
        )
    )  # fmt: skip
