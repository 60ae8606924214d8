"""How things show themselves in a notebook.

What is shown (a run, a study) knows nothing of pictures, so what draws it is found by name when it is shown.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = "diffatlas.formats.shown"


def show_html(thing: Any, by: str) -> str:
    """Return what a notebook shows of a thing: what the function ``by`` of `diffatlas.formats.shown` makes of it."""
    return getattr(import_module(_HOME), by)(thing)
