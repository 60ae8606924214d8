"""Running a benchmark once, as small as can be: it raises where it did not do what it times."""

from __future__ import annotations

import os
from pathlib import Path

from tests import copied

ROOT = Path(__file__).parents[1]


def run_short(name: str) -> str:
    """Return what ``python -m benchmarks.NAME --short`` prints; it must end well."""
    done = copied.run("-m", f"benchmarks.{name}", "--short", folder=ROOT, environment=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
