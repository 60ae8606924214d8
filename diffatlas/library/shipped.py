"""What comes with the project: recorded runs and studies to begin with, and datasets of runs.

``diffatlas/examples`` is laid out as a library is, and only read. The datasets are in the project's checkout; the
wheel leaves them out.
"""

from __future__ import annotations

from pathlib import Path

#: Recorded runs and studies: every library opens them as if they were its own, and none lists them.
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: Name, by which `import_dataset` takes it in, and title.
SHIPPED = {"how-it-learned": "How shapes learned: one seed, six checkpoints"}


def shipped() -> dict[str, Path]:
    """The folders of `SHIPPED` that are here, by name: ``docs/NAME`` beside the package."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    return {name: docs / name for name in SHIPPED if (docs / name).is_dir()}
