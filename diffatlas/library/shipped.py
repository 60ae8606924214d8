"""Datasets of runs that come with the project's checkout; the wheel leaves them out."""

from __future__ import annotations

from pathlib import Path

#: Name, by which `import_dataset` takes it in, and title.
SHIPPED = {"how-it-learned": "How shapes learned: one seed, six checkpoints"}


def shipped() -> dict[str, Path]:
    """The folders of `SHIPPED` that are here, by name: ``docs/NAME`` beside the package."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    return {name: docs / name for name in SHIPPED if (docs / name).is_dir()}
